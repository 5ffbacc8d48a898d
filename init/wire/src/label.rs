//! The names of kept descriptors.

use serde::{Deserialize, Serialize};

/// What sort of thing a kept descriptor is. A number, not an enum, so that an init of any age keeps
/// kinds that were invented later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Kind(pub u16);

impl Kind {
    /// In [`FromManager::List`]: every kind. Not a kind to keep anything under.
    pub const ANY: Kind = Kind(0);
    /// The manager's state store.
    pub const STATE: Kind = Kind(1);
    /// A helper's journal of commands.
    pub const JOURNAL: Kind = Kind(2);
    /// A helper's slots, which its forked children fill in.
    pub const SLOTS: Kind = Kind(3);
    /// A listening socket of ours (control, public, helper).
    pub const LISTENER: Kind = Kind(4);
    /// The notification socket of one unit.
    pub const NOTIFY: Kind = Kind(5);
    /// What a service deposited with `FDSTORE=1`. Counted against the quota of its unit.
    pub const SERVICE: Kind = Kind(6);
    /// A listening socket of a socket unit.
    pub const SOCKET_UNIT: Kind = Kind(7);
    /// The reading end of a unit's log pipe.
    pub const LOG: Kind = Kind(8);
    /// The manager's executable on trial: init starts managers from it while it is kept. The index
    /// of its label is how many seconds it has to be let go in; see the crate's "Trials".
    pub const TRIAL: Kind = Kind(9);
    /// Anything else a helper keeps for itself.
    pub const HELPER: Kind = Kind(10);
    /// The armed hardware watchdog. init feeds it (see [`FromManager::Watchdog`](crate::FromManager)).
    pub const WATCHDOG: Kind = Kind(11);
    /// The manager's executable from before what is installed: init starts managers from it while it
    /// is kept and nothing is on trial.
    pub const PREVIOUS: Kind = Kind(12);
}

/// The name of a kept descriptor: what it is, whose it is, which of them.
///
/// `hash` is [`hash128`] of the owner (a unit's name, a helper's type, …): all labels with one
/// `kind` and `hash` share one quota. `index` tells several descriptors of one owner apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[repr(C)] // part of the image that init hands to itself
pub struct Label {
    /// What it is.
    pub kind: Kind,
    /// Whose it is: [`hash128`] of the owner's name.
    pub hash: [u8; 16],
    /// Which of the owner's descriptors of this kind, from 0.
    pub index: u16,
}

impl Label {
    /// The label of `owner`'s first descriptor of that kind.
    #[must_use]
    pub fn of(kind: Kind, owner: &str) -> Label {
        Label {
            kind,
            hash: hash128(owner.as_bytes()),
            index: 0,
        }
    }

    /// The same label with another index.
    #[must_use]
    pub fn at(self, index: u16) -> Label {
        Label { index, ..self }
    }
}

/// FNV-1a, 128 bits, big-endian. Not against an adversary: unit names are root's.
#[must_use]
pub fn hash128(bytes: &[u8]) -> [u8; 16] {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in bytes {
        hash ^= u128::from(*byte);
        hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    hash.to_be_bytes()
}

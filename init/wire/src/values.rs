//! What the frames are made of, and how each part is written and read.

use crate::BuildId;
use crate::codec::{Put, Take};
use serde::{Deserialize, Serialize};

/// How the machine is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ending {
    /// Power off; where that is impossible, halt.
    Poweroff,
    /// Start again from the firmware.
    Reboot,
    /// Stop the processors, leave the power on.
    Halt,
    /// Start the kernel that was loaded with kexec; without one, [`Ending::Reboot`].
    Kexec,
}

/// A shutdown that was asked for and cannot be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shutdown {
    /// How it ends.
    pub ending: Ending,
    /// Time until init ends it by itself, in milliseconds.
    pub left_ms: u32,
}

/// Why there is a new manager: how the one before it died.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Before {
    /// There was none: the first since boot.
    #[default]
    Nobody,
    /// It exited with status 0, which is how a manager asks to be replaced.
    Asked,
    /// Killed or stopped by somebody else: no fault of its own.
    Outsider {
        /// The raw wait status.
        status: i32,
    },
    /// Its own fault: a fatal signal, an abort, an exit status other than 0, out of memory.
    Fault {
        /// The raw wait status.
        status: i32,
    },
    /// It was alive, owed something and did not move: init killed it.
    Hung,
    /// It was never executed, or died before its `Hello`.
    NotStarted {
        /// The raw wait status.
        status: i32,
    },
}

/// init's first frame to each manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of init.
    pub version: u16,
    /// Build of init.
    pub build: BuildId,
    /// This manager's epoch, from 1: higher than that of every manager before it since boot.
    pub epoch: u64,
    /// Bits of [`flags`].
    pub flags: u32,
    /// How the manager before it died.
    pub before: Before,
    /// A shutdown somebody asked an earlier manager for.
    pub shutdown: Option<Shutdown>,
    /// How many descriptors init can keep.
    pub capacity: u32,
    /// How many it keeps now.
    pub kept: u32,
    /// Exits since boot that were reaped without anybody to tell (see [`ToManager::Discarded`]).
    pub discarded: u64,
    /// Exits that are waiting in init's ring; they follow.
    pub waiting: u32,
}

/// The end of one process that init reaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Exit {
    /// Number of this report, from 1, without gaps, for the whole boot.
    pub seq: u64,
    /// Its process id. Free for reuse once this is sent.
    pub pid: u32,
    /// Its start time in ticks, 0 if unknown.
    pub start: u64,
    /// The raw wait status, as `waitpid` gives it.
    pub status: i32,
}

/// Why a descriptor is not kept, or a request not fulfilled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// The frame came without a descriptor, or with more than one.
    NotOne,
    /// The owner has as many descriptors of this kind as one owner may have.
    Quota,
    /// Kind 0 is not a kind.
    Kind,
}

/// Requests that can fail late; see [`ToManager::Failed`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// [`FromManager::Reexec`].
    Reexec,
    /// [`FromManager::SwitchRoot`].
    SwitchRoot,
    /// [`FromManager::Watchdog`].
    Watchdog,
}

impl Ending {
    /// The ending with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Ending> {
        Some(match number {
            0 => Ending::Poweroff,
            1 => Ending::Reboot,
            2 => Ending::Halt,
            3 => Ending::Kexec,
            _ => return None,
        })
    }

    /// Its number in a frame.
    pub(crate) fn put(self, out: &mut Put<'_>) {
        out.u8(self as u8);
    }

    pub(crate) fn take(bytes: &mut Take<'_>) -> Ending {
        Ending::from_number(bytes.u32()).unwrap_or_else(|| {
            bytes.wrong();
            Ending::Poweroff
        })
    }
}

impl Before {
    /// Its number, and the wait status, 0 where there is none.
    #[must_use]
    pub fn parts(self) -> (i32, i32) {
        match self {
            Before::Nobody => (0, 0),
            Before::Asked => (1, 0),
            Before::Outsider { status } => (2, status),
            Before::Fault { status } => (3, status),
            Before::Hung => (4, 0),
            Before::NotStarted { status } => (5, status),
        }
    }

    /// The opposite; what has no meaning is [`Before::Nobody`].
    #[must_use]
    pub fn from_parts(number: i32, status: i32) -> Before {
        match number {
            1 => Before::Asked,
            2 => Before::Outsider { status },
            3 => Before::Fault { status },
            4 => Before::Hung,
            5 => Before::NotStarted { status },
            _ => Before::Nobody,
        }
    }

    /// Appends it.
    pub fn put(self, out: &mut Put<'_>) {
        let (number, status) = self.parts();
        out.u8(number as u8);
        if matches!(number, 2 | 3 | 5) {
            out.int(status);
        }
    }

    /// Takes it off.
    pub fn take(bytes: &mut Take<'_>) -> Before {
        let number = bytes.u32() as i32;
        let status = if matches!(number, 2 | 3 | 5) {
            bytes.int()
        } else {
            0
        };
        if !(0..6).contains(&number) {
            bytes.wrong();
        }
        Before::from_parts(number, status)
    }
}

impl Shutdown {
    /// Appends it.
    pub fn put(&self, out: &mut Put<'_>) {
        self.ending.put(out);
        out.num(u64::from(self.left_ms));
    }

    /// Takes it off.
    pub fn take(bytes: &mut Take<'_>) -> Shutdown {
        Shutdown {
            ending: Ending::take(bytes),
            left_ms: bytes.u32(),
        }
    }
}

impl Exit {
    /// Appends it.
    pub fn put(&self, out: &mut Put<'_>) {
        out.num(self.seq);
        out.num(u64::from(self.pid));
        out.num(self.start);
        out.int(self.status);
    }

    /// Takes it off.
    pub fn take(bytes: &mut Take<'_>) -> Exit {
        Exit {
            seq: bytes.u64(),
            pid: bytes.u32(),
            start: bytes.u64(),
            status: bytes.int(),
        }
    }
}

impl Hello {
    /// Appends it.
    pub fn put(&self, out: &mut Put<'_>) {
        out.num(u64::from(self.version));
        out.bytes(&self.build);
        out.num(self.epoch);
        out.num(u64::from(self.flags));
        self.before.put(out);
        out.u8(u8::from(self.shutdown.is_some()));
        if let Some(shutdown) = &self.shutdown {
            shutdown.put(out);
        }
        out.num(u64::from(self.capacity));
        out.num(u64::from(self.kept));
        out.num(self.discarded);
        out.num(u64::from(self.waiting));
    }

    pub(crate) fn take(bytes: &mut Take<'_>) -> Hello {
        Hello {
            version: bytes.u16(),
            build: bytes.array(),
            epoch: bytes.u64(),
            flags: bytes.u32(),
            before: Before::take(bytes),
            shutdown: if bytes.bool() {
                Some(Shutdown::take(bytes))
            } else {
                None
            },
            capacity: bytes.u32(),
            kept: bytes.u32(),
            discarded: bytes.u64(),
            waiting: bytes.u32(),
        }
    }
}

impl Refusal {
    pub(crate) fn take(bytes: &mut Take<'_>) -> Refusal {
        match bytes.u32() {
            0 => Refusal::NotOne,
            1 => Refusal::Quota,
            2 => Refusal::Kind,
            _ => {
                bytes.wrong();
                Refusal::Kind
            }
        }
    }
}

impl Request {
    pub(crate) fn take(bytes: &mut Take<'_>) -> Request {
        match bytes.u32() {
            0 => Request::Reexec,
            1 => Request::SwitchRoot,
            2 => Request::Watchdog,
            _ => {
                bytes.wrong();
                Request::Watchdog
            }
        }
    }
}

//! What the manager says.

use crate::codec::{Put, Take};
use crate::{BuildId, Ending, FRAME_MAX, Kind, Label};
use serde::{Deserialize, Serialize};

/// From the manager to init.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromManager<'a> {
    /// The first frame, as early as possible.
    Hello {
        /// [`VERSION`] of the manager.
        version: u16,
        /// Build of the manager.
        build: BuildId,
        /// The epoch it was given.
        epoch: u64,
    },
    /// All exits up to and including this one are recorded.
    Ack {
        /// [`Exit::seq`].
        seq: u64,
    },
    /// Answer to `Ping`.
    Pong {
        /// The ping's nonce.
        nonce: u64,
    },
    /// Keep the descriptor that comes with this frame. Replaces what has the same label.
    Keep {
        /// Its label.
        label: Label,
    },
    /// Let one descriptor go. Answered by `Dropped`.
    Drop {
        /// Its label.
        label: Label,
    },
    /// Let all descriptors of one owner and kind go. Answered by `Dropped`.
    DropOwner {
        /// The kind.
        kind: Kind,
        /// The owner.
        hash: [u8; 16],
    },
    /// Send me a duplicate of that descriptor.
    Fetch {
        /// Its label.
        label: Label,
    },
    /// Send me all labels of a kind ([`Kind::ANY`]: all labels).
    List {
        /// The kind.
        kind: Kind,
    },
    /// The machine is to end. Irreversible; a second one may only bring the deadline nearer or
    /// change the ending.
    Shutdown {
        /// How.
        ending: Ending,
        /// After so many milliseconds init goes on by itself (at most an hour).
        deadline_ms: u32,
    },
    /// Every unit is stopped: do the last step now. Without a `Shutdown` before, ignored.
    Finish,
    /// Go over to another root file system: move the API file systems there, execute the init in
    /// there. The manager is ended first. Answered by `Failed`, or not at all.
    SwitchRoot {
        /// A mount point, absolute.
        root: &'a [u8],
        /// The init to execute, absolute, inside `root`.
        init: &'a [u8],
    },
    /// Execute init's binary again, keeping everything. Answered by `Failed`, or not at all.
    Reexec,
    /// The descriptor kept under [`Kind::WATCHDOG`] is an armed hardware watchdog with this timeout:
    /// feed it, at half of that, as long as managers are heard; 0: disarm it and let it go.
    /// Answered by `WatchdogArmed`.
    Watchdog {
        /// Milliseconds.
        timeout_ms: u32,
    },
    /// The first boot, or the recovery, is finished: everything is managed.
    Ready,
    /// A `Signal` was recorded and need not be repeated.
    Taken {
        /// Its number.
        signo: u8,
    },
    /// In the last step of a reboot the watchdog is fed for so long and no longer; 0 (which is so
    /// before anything is said): to the end. Without an answer.
    WatchdogAtReboot {
        /// Milliseconds.
        ms: u32,
    },
}

impl<'a> FromManager<'a> {
    /// Writes the frame into `buf` and returns the part that was written; `None` if it does not fit.
    pub fn encode<'b>(&self, buf: &'b mut [u8; FRAME_MAX]) -> Option<&'b [u8]> {
        let mut out = Put::new(buf);
        match self {
            FromManager::Hello {
                version,
                build,
                epoch,
            } => {
                out.u8(0);
                out.num(u64::from(*version));
                out.bytes(build);
                out.num(*epoch);
            }
            FromManager::Ack { seq } => {
                out.u8(1);
                out.num(*seq);
            }
            FromManager::Pong { nonce } => {
                out.u8(2);
                out.num(*nonce);
            }
            FromManager::Keep { label } => {
                out.u8(3);
                out.label(label);
            }
            FromManager::Drop { label } => {
                out.u8(4);
                out.label(label);
            }
            FromManager::DropOwner { kind, hash } => {
                out.u8(5);
                out.num(u64::from(kind.0));
                out.bytes(hash);
            }
            FromManager::Fetch { label } => {
                out.u8(6);
                out.label(label);
            }
            FromManager::List { kind } => {
                out.u8(7);
                out.num(u64::from(kind.0));
            }
            FromManager::Shutdown {
                ending,
                deadline_ms,
            } => {
                out.u8(8);
                ending.put(&mut out);
                out.num(u64::from(*deadline_ms));
            }
            FromManager::Finish => out.u8(9),
            FromManager::SwitchRoot { root, init } => {
                out.u8(10);
                out.counted(root);
                out.counted(init);
            }
            FromManager::Reexec => out.u8(11),
            FromManager::Watchdog { timeout_ms } => {
                out.u8(12);
                out.num(u64::from(*timeout_ms));
            }
            FromManager::Ready => out.u8(13),
            FromManager::Taken { signo } => {
                out.u8(14);
                out.u8(*signo);
            }
            FromManager::WatchdogAtReboot { ms } => out.pair(15, u64::from(*ms)),
        }
        out.finish()?;
        Some(out.into_written())
    }

    /// Reads a frame. `None`: it is none, or one from the future.
    #[must_use]
    pub fn decode(frame: &'a [u8]) -> Option<FromManager<'a>> {
        if frame.len() > FRAME_MAX {
            return None;
        }
        let mut bytes = Take::new(frame);
        let decoded = match bytes.u32() {
            0 => FromManager::Hello {
                version: bytes.u16(),
                build: bytes.array(),
                epoch: bytes.u64(),
            },
            1 => FromManager::Ack { seq: bytes.u64() },
            2 => FromManager::Pong { nonce: bytes.u64() },
            3 => FromManager::Keep {
                label: bytes.label(),
            },
            4 => FromManager::Drop {
                label: bytes.label(),
            },
            5 => FromManager::DropOwner {
                kind: Kind(bytes.u16()),
                hash: bytes.array(),
            },
            6 => FromManager::Fetch {
                label: bytes.label(),
            },
            7 => FromManager::List {
                kind: Kind(bytes.u16()),
            },
            8 => FromManager::Shutdown {
                ending: Ending::take(&mut bytes),
                deadline_ms: bytes.u32(),
            },
            9 => FromManager::Finish,
            10 => FromManager::SwitchRoot {
                root: bytes.counted(),
                init: bytes.counted(),
            },
            11 => FromManager::Reexec,
            12 => FromManager::Watchdog {
                timeout_ms: bytes.u32(),
            },
            13 => FromManager::Ready,
            14 => FromManager::Taken { signo: bytes.u8() },
            15 => FromManager::WatchdogAtReboot { ms: bytes.u32() },
            _ => return None,
        };
        bytes.finish(decoded)
    }
}

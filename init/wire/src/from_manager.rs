//! What the manager says.

use crate::codec::Put;
use crate::parts::{self, Parts};
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
    /// What its frame begins with.
    fn number(&self) -> u32 {
        match self {
            FromManager::Hello { .. } => parts::HELLO,
            FromManager::Ack { .. } => parts::ACK,
            FromManager::Pong { .. } => parts::PONG,
            FromManager::Keep { .. } => parts::KEEP,
            FromManager::Drop { .. } => parts::DROP,
            FromManager::DropOwner { .. } => parts::DROP_OWNER,
            FromManager::Fetch { .. } => parts::FETCH,
            FromManager::List { .. } => parts::LIST,
            FromManager::Shutdown { .. } => parts::SHUTDOWN,
            FromManager::Finish => parts::FINISH,
            FromManager::SwitchRoot { .. } => parts::SWITCH_ROOT,
            FromManager::Reexec => parts::REEXEC,
            FromManager::Watchdog { .. } => parts::WATCHDOG,
            FromManager::Ready => parts::READY,
            FromManager::Taken { .. } => parts::TAKEN,
            FromManager::WatchdogAtReboot { .. } => parts::WATCHDOG_AT_REBOOT,
        }
    }

    /// Writes the frame into `buf` and returns the part that was written; `None` if it does not fit.
    pub fn encode<'b>(&self, buf: &'b mut [u8; FRAME_MAX]) -> Option<&'b [u8]> {
        let mut out = Put::new(buf);
        out.num(u64::from(self.number()));
        match self {
            FromManager::Hello {
                version,
                build,
                epoch,
            } => {
                out.num(u64::from(*version));
                out.bytes(build);
                out.num(*epoch);
            }
            FromManager::Ack { seq: number } | FromManager::Pong { nonce: number } => {
                out.num(*number);
            }
            FromManager::Keep { label }
            | FromManager::Drop { label }
            | FromManager::Fetch { label } => out.label(label),
            FromManager::DropOwner { kind, hash } => {
                out.num(u64::from(kind.0));
                out.bytes(hash);
            }
            FromManager::List { kind } => out.num(u64::from(kind.0)),
            FromManager::Shutdown {
                ending,
                deadline_ms,
            } => {
                ending.put(&mut out);
                out.num(u64::from(*deadline_ms));
            }
            FromManager::SwitchRoot { root, init } => {
                out.counted(root);
                out.counted(init);
            }
            FromManager::Watchdog { timeout_ms: ms } | FromManager::WatchdogAtReboot { ms } => {
                out.num(u64::from(*ms));
            }
            FromManager::Taken { signo } => out.u8(*signo),
            FromManager::Finish | FromManager::Reexec | FromManager::Ready => {}
        }
        out.finish()?;
        Some(out.into_written())
    }

    /// Reads a frame. `None`: it is none, or one from the future.
    #[must_use]
    pub fn decode(frame: &'a [u8]) -> Option<FromManager<'a>> {
        let mut parts = Parts::default();
        if !parts.take(frame) {
            return None;
        }
        let label = parts.label();
        let last = parts.last;
        Some(match parts.number {
            parts::HELLO => FromManager::Hello {
                version: parts.first as u16,
                build: parts.build,
                epoch: last,
            },
            parts::ACK => FromManager::Ack { seq: last },
            parts::PONG => FromManager::Pong { nonce: last },
            parts::KEEP => FromManager::Keep { label },
            parts::DROP => FromManager::Drop { label },
            parts::DROP_OWNER => FromManager::DropOwner {
                kind: Kind(last as u16),
                hash: parts.hash,
            },
            parts::FETCH => FromManager::Fetch { label },
            parts::LIST => FromManager::List {
                kind: Kind(last as u16),
            },
            parts::SHUTDOWN => FromManager::Shutdown {
                ending: Ending::from_number(parts.first as u32)?,
                deadline_ms: last as u32,
            },
            parts::FINISH => FromManager::Finish,
            parts::SWITCH_ROOT => FromManager::SwitchRoot {
                root: parts.first_text,
                init: parts.last_text,
            },
            parts::REEXEC => FromManager::Reexec,
            parts::WATCHDOG => FromManager::Watchdog {
                timeout_ms: last as u32,
            },
            parts::READY => FromManager::Ready,
            parts::TAKEN => FromManager::Taken { signo: last as u8 },
            parts::WATCHDOG_AT_REBOOT => FromManager::WatchdogAtReboot { ms: last as u32 },
            _ => return None,
        })
    }
}

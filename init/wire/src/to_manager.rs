//! What init says.

use crate::codec::{Put, Take};
use crate::{Exit, FRAME_MAX, Hello, Label, Refusal, Request, number};
use serde::{Deserialize, Serialize};

/// From init to the manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToManager {
    /// The first frame.
    Hello(Hello),
    /// A process ended. Repeated to each new manager until acknowledged.
    Exited(Exit),
    /// So many exits since boot were reaped and not recorded, because no manager came for minutes
    /// and the ring was full.
    Discarded {
        /// Sum since boot.
        count: u64,
    },
    /// init received this signal. Repeated to each new manager until one answers `Taken`. Of
    /// SIGCHLD only that one of its children was stopped is told: perhaps a helper that outlived
    /// the manager which started it.
    Signal {
        /// The signal's number (`SIGRTMIN` is 34 here, whatever the C library says).
        signo: u8,
    },
    /// Answer to `Keep`: init holds it; it survives the manager.
    Kept {
        /// Its label.
        label: Label,
    },
    /// Answer to `Keep`: there is no room; the descriptor was closed.
    Full {
        /// Its label.
        label: Label,
    },
    /// Answer to `Keep`: not taken; the descriptor was closed.
    Refused {
        /// Its label.
        label: Label,
        /// Why not.
        why: Refusal,
    },
    /// Answer to `Fetch`, with one descriptor: a duplicate, init keeps its own.
    Fd {
        /// Its label.
        label: Label,
    },
    /// Answer to `Fetch`: nothing is kept under that label.
    NotFound {
        /// The label that was asked for.
        label: Label,
    },
    /// Part of the answer to `List`.
    Listed {
        /// One label.
        label: Label,
    },
    /// End of the answer to `List`.
    ListEnd {
        /// How many were listed.
        count: u32,
    },
    /// Answer with `Pong` and the same nonce.
    Ping {
        /// Any number.
        nonce: u64,
    },
    /// Answer to `Watchdog`: what is armed now.
    WatchdogArmed {
        /// The hardware's timeout in milliseconds, 0 when not armed.
        timeout_ms: u32,
    },
    /// A request could not be fulfilled; everything is as before.
    Failed {
        /// Which.
        request: Request,
        /// The system's error number, 0 if it was none.
        errno: i32,
    },
    /// Answer to `Drop` and `DropOwner`.
    Dropped {
        /// How many descriptors were let go.
        count: u32,
    },
}

impl ToManager {
    /// Writes the frame into `buf` and returns the part that was written; `None` if it does not fit.
    pub fn encode<'b>(&self, buf: &'b mut [u8; FRAME_MAX]) -> Option<&'b [u8]> {
        let mut out = Put::new(buf);
        let mut labelled = |number: u8, label: &Label| {
            out.u8(number);
            out.label(label);
        };
        match self {
            ToManager::Kept { label } => labelled(number::KEPT, label),
            ToManager::Full { label } => labelled(number::FULL, label),
            ToManager::Fd { label } => labelled(number::FD, label),
            ToManager::NotFound { label } => labelled(number::NOT_FOUND, label),
            ToManager::Listed { label } => labelled(number::LISTED, label),
            ToManager::Refused { label, why } => {
                labelled(number::REFUSED, label);
                out.u8(*why as u8);
            }
            ToManager::Hello(hello) => {
                out.u8(number::HELLO);
                hello.put(&mut out);
            }
            ToManager::Exited(exit) => {
                out.u8(number::EXITED);
                exit.put(&mut out);
            }
            ToManager::Failed { request, errno } => {
                out.u8(number::FAILED);
                out.u8(*request as u8);
                out.int(*errno);
            }
            ToManager::Signal { signo } => {
                out.u8(number::SIGNAL);
                out.u8(*signo);
            }
            ToManager::Discarded { count } => out.pair(number::DISCARDED, *count),
            ToManager::ListEnd { count } => out.pair(number::LIST_END, u64::from(*count)),
            ToManager::Ping { nonce } => out.pair(number::PING, *nonce),
            ToManager::WatchdogArmed { timeout_ms } => {
                out.pair(number::WATCHDOG_ARMED, u64::from(*timeout_ms));
            }
            ToManager::Dropped { count } => out.pair(number::DROPPED, u64::from(*count)),
        }
        out.finish()?;
        Some(out.into_written())
    }

    /// Reads a frame. `None`: it is none, or one from the future.
    #[must_use]
    pub fn decode(frame: &[u8]) -> Option<ToManager> {
        if frame.len() > FRAME_MAX {
            return None;
        }
        let mut bytes = Take::new(frame);
        let decoded = match u8::try_from(bytes.u32()).unwrap_or(u8::MAX) {
            number::HELLO => ToManager::Hello(Hello::take(&mut bytes)),
            number::EXITED => ToManager::Exited(Exit::take(&mut bytes)),
            number::DISCARDED => ToManager::Discarded { count: bytes.u64() },
            number::SIGNAL => ToManager::Signal { signo: bytes.u8() },
            number::KEPT => ToManager::Kept {
                label: bytes.label(),
            },
            number::FULL => ToManager::Full {
                label: bytes.label(),
            },
            number::REFUSED => ToManager::Refused {
                label: bytes.label(),
                why: Refusal::take(&mut bytes),
            },
            number::FD => ToManager::Fd {
                label: bytes.label(),
            },
            number::NOT_FOUND => ToManager::NotFound {
                label: bytes.label(),
            },
            number::LISTED => ToManager::Listed {
                label: bytes.label(),
            },
            number::LIST_END => ToManager::ListEnd { count: bytes.u32() },
            number::PING => ToManager::Ping { nonce: bytes.u64() },
            number::WATCHDOG_ARMED => ToManager::WatchdogArmed {
                timeout_ms: bytes.u32(),
            },
            number::FAILED => ToManager::Failed {
                request: Request::take(&mut bytes),
                errno: bytes.int(),
            },
            number::DROPPED => ToManager::Dropped { count: bytes.u32() },
            _ => return None,
        };
        bytes.finish(decoded)
    }
}

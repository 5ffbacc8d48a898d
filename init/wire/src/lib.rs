//! The frames between init (PID 1) and the manager.
//!
//! # Model
//!
//! init and the manager talk over one `AF_UNIX`/`SOCK_SEQPACKET` socketpair that init makes for
//! each manager it spawns. One packet is one frame: a postcard encoding of [`ToManager`] (init
//! speaks) or [`FromManager`] (the manager speaks), at most [`FRAME_MAX`] bytes, with at most one
//! descriptor as `SCM_RIGHTS`, and only where the frame says so.
//!
//! init changes least of all parts, so this format is **append-only**:
//!
//! * a variant, once released, keeps its number and its fields; what is new is a new variant at
//!   the end of the enum (the golden vectors in `tests/golden.rs` hold this down);
//! * bytes after the decoded frame are ignored, so a newer speaker may append to a variant what an
//!   older listener need not know;
//! * a frame that cannot be decoded (a variant from the future, garbage) is ignored by init and the
//!   descriptors that came with it are closed; it is never a reason to end the connection.
//!
//! # The spawn contract
//!
//! init executes the manager as `sysmaster --init-fd 3`. Descriptor [`MANAGER_FD`] is the
//! manager's end of the socketpair, not close-on-exec (the manager sets that). Descriptors 0 to 2
//! are init's own: the console, or `/dev/null`. All signals are at their default and unblocked, the
//! process leads a session of its own, the umask is 022, the working directory is `/`, the
//! environment is what the kernel's command line gave to init plus a `PATH`, resource limits are the
//! ones init was born with, and the cgroup is `init.scope` where init found a cgroup2 hierarchy.
//!
//! # The conversation
//!
//! 1. init sends `Hello`, then every exit that is not acknowledged yet, then every signal that
//!    was not taken yet. The manager sends its `Hello` as early as it can (within 10 s).
//! 2. `Exited` is repeated to each new manager until some manager acknowledges it. `Ack{seq}` means
//!    "all up to and including `seq` are in my store". The sequence never restarts.
//! 3. `Keep{label}` with one descriptor is answered by `Kept`, `Full` or `Refused`; the same label
//!    again replaces the descriptor. Nothing may depend on a descriptor before `Kept`. `Fetch{label}`
//!    is answered by `Fd{label}` with the descriptor, or `NotFound`. `List{kind}` is answered by
//!    any number of `Listed` and one `ListEnd`. Answers come in the order of the questions; init
//!    reads the next question when the previous answer has left.
//! 4. Something owed (an exit not acknowledged, a signal not taken, a frame not read, `Hello`) starts
//!    init's hang timer: after a second init sends `Ping`, and without any frame from the
//!    manager during another second it is hung, and replaced. A manager that owes nothing is never
//!    asked anything, except while a hardware watchdog is armed.
//! 5. `Shutdown` is irreversible: it is recorded in init and told to each later manager in its
//!    `Hello`. The manager stops the units and sends `Finish`; at the deadline init goes on without
//!    it. A manager that exits with status 0 asked to be replaced, and is, at once.
//!
//! Times are milliseconds where a name ends in `_ms`. Process start times are field 22 of
//! `/proc/<pid>/stat` (clock ticks since boot), 0 if unknown.

#![no_std]

pub mod codec;

use codec::{Put, Take};
use serde::{Deserialize, Serialize};

/// Version of the conversation. Either side accepts this one and the one before.
pub const VERSION: u16 = 1;

/// No frame is longer than this, in bytes.
pub const FRAME_MAX: usize = 512;

/// The descriptor on which a manager finds its end of the socketpair.
pub const MANAGER_FD: i32 = 3;

/// Longest path in a [`FromManager::SwitchRoot`], in bytes. (Two of them fit into a frame only if
/// both are shorter than this in sum with the header; `encode` answers `None` otherwise.)
pub const PATH_LEN_MAX: usize = 255;

/// Prefix of the build identifier both sides send in their `Hello`; equal builds need no
/// negotiation. Any eight bytes.
pub type BuildId = [u8; 8];

/// What sort of thing a kept descriptor is. A number, not an enum, so that an init of any age keeps
/// kinds that were invented later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
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
    /// A binary kept during a trial upgrade.
    pub const BINARY: Kind = Kind(9);
    /// Anything else a helper keeps for itself.
    pub const HELPER: Kind = Kind(10);
}

/// The name of a kept descriptor: what it is, whose it is, which of them.
///
/// `hash` is [`hash128`] of the owner (a unit's name, a helper's type, …): all labels with one
/// `kind` and `hash` share one quota. `index` tells several descriptors of one owner apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Before {
    /// There was none: the first since boot.
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

/// Bits of [`Hello::flags`]: what the kernel's command line asked for and what init found.
pub mod flags {
    /// `rescue`, `single`, `s`, `1` or `systemd.unit=rescue.target` on the command line.
    pub const RESCUE: u32 = 1;
    /// `emergency`, `-b` or `systemd.unit=emergency.target` on the command line.
    pub const EMERGENCY: u32 = 1 << 1;
    /// Several managers in a row died by their own fault: activate nothing new.
    pub const SAFE_MODE: u32 = 1 << 2;
    /// init is not in the first pid namespace: a container, or a test.
    pub const CONTAINER: u32 = 1 << 3;
    /// There is no `/proc`: no start times, no mount table.
    pub const NO_PROC: u32 = 1 << 8;
    /// There is no cgroup2 hierarchy at `/sys/fs/cgroup`.
    pub const NO_CGROUP2: u32 = 1 << 9;
    /// There is no `/dev/console` to write to.
    pub const NO_CONSOLE: u32 = 1 << 10;
    /// `/run` is neither mounted nor could be.
    pub const NO_RUN: u32 = 1 << 11;
    /// `/sys` is neither mounted nor could be.
    pub const NO_SYS: u32 = 1 << 12;
    /// `/dev` is neither mounted nor could be.
    pub const NO_DEV: u32 = 1 << 13;
    /// init could not raise its limit of open files: [`super::Hello::capacity`] is small.
    pub const FEW_FILES: u32 = 1 << 14;
}

/// init's first frame to each manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
        root: &'a str,
        /// The init to execute, absolute, inside `root`.
        init: &'a str,
    },
    /// Execute init's binary again, keeping everything. Answered by `Failed`, or not at all.
    Reexec,
    /// Arm the hardware watchdog, or change its timeout; 0 disarms it.
    Watchdog {
        /// Milliseconds; the hardware rounds up to seconds.
        timeout_ms: u32,
    },
    /// The first boot, or the recovery, is finished: everything is managed.
    Ready,
    /// A `Signal` was recorded and need not be repeated.
    Taken {
        /// Its number.
        signo: u8,
    },
}

impl Ending {
    /// Its number in a frame.
    fn put(self, out: &mut Put<'_>) {
        out.u8(match self {
            Ending::Poweroff => 0,
            Ending::Reboot => 1,
            Ending::Halt => 2,
            Ending::Kexec => 3,
        });
    }

    fn take(bytes: &mut Take<'_>) -> Ending {
        match bytes.u32() {
            0 => Ending::Poweroff,
            1 => Ending::Reboot,
            2 => Ending::Halt,
            3 => Ending::Kexec,
            _ => {
                bytes.wrong();
                Ending::Poweroff
            }
        }
    }
}

impl Before {
    /// Appends it.
    pub fn put(&self, out: &mut Put<'_>) {
        let (number, status) = match *self {
            Before::Nobody => (0, None),
            Before::Asked => (1, None),
            Before::Outsider { status } => (2, Some(status)),
            Before::Fault { status } => (3, Some(status)),
            Before::Hung => (4, None),
            Before::NotStarted { status } => (5, Some(status)),
        };
        out.u8(number);
        if let Some(status) = status {
            out.int(status);
        }
    }

    /// Takes it off.
    pub fn take(bytes: &mut Take<'_>) -> Before {
        match bytes.u32() {
            0 => Before::Nobody,
            1 => Before::Asked,
            2 => Before::Outsider {
                status: bytes.int(),
            },
            3 => Before::Fault {
                status: bytes.int(),
            },
            4 => Before::Hung,
            5 => Before::NotStarted {
                status: bytes.int(),
            },
            _ => {
                bytes.wrong();
                Before::Nobody
            }
        }
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
    fn put(&self, out: &mut Put<'_>) {
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

    fn take(bytes: &mut Take<'_>) -> Hello {
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
    fn take(bytes: &mut Take<'_>) -> Refusal {
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
    fn take(bytes: &mut Take<'_>) -> Request {
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

impl ToManager {
    /// Writes the frame into `buf` and returns the part that was written; `None` if it does not fit.
    pub fn encode<'b>(&self, buf: &'b mut [u8; FRAME_MAX]) -> Option<&'b [u8]> {
        let mut out = Put::new(buf);
        let mut labelled = |number: u8, label: &Label| {
            out.u8(number);
            out.label(label);
        };
        match self {
            ToManager::Kept { label } => labelled(4, label),
            ToManager::Full { label } => labelled(5, label),
            ToManager::Refused { label, why } => {
                labelled(6, label);
                out.u8(match why {
                    Refusal::NotOne => 0,
                    Refusal::Quota => 1,
                    Refusal::Kind => 2,
                });
            }
            ToManager::Fd { label } => labelled(7, label),
            ToManager::NotFound { label } => labelled(8, label),
            ToManager::Listed { label } => labelled(9, label),
            ToManager::Hello(hello) => {
                out.u8(0);
                hello.put(&mut out);
            }
            ToManager::Exited(exit) => {
                out.u8(1);
                exit.put(&mut out);
            }
            ToManager::Failed { request, errno } => {
                out.u8(13);
                out.u8(match request {
                    Request::Reexec => 0,
                    Request::SwitchRoot => 1,
                    Request::Watchdog => 2,
                });
                out.int(*errno);
            }
            _ => {
                let (number, value) = match *self {
                    ToManager::Discarded { count } => (2, count),
                    ToManager::Signal { signo } => (3, u64::from(signo)),
                    ToManager::ListEnd { count } => (10, u64::from(count)),
                    ToManager::Ping { nonce } => (11, nonce),
                    ToManager::WatchdogArmed { timeout_ms } => (12, u64::from(timeout_ms)),
                    ToManager::Dropped { count } => (14, u64::from(count)),
                    _ => return None,
                };
                out.u8(number);
                match number {
                    3 => out.u8(value as u8),
                    _ => out.num(value),
                }
            }
        }
        let used = out.finish()?;
        buf.get(..used)
    }

    /// Reads a frame. `None`: it is none, or one from the future.
    #[must_use]
    pub fn decode(frame: &[u8]) -> Option<ToManager> {
        if frame.len() > FRAME_MAX {
            return None;
        }
        let mut bytes = Take::new(frame);
        let decoded = match bytes.u32() {
            0 => ToManager::Hello(Hello::take(&mut bytes)),
            1 => ToManager::Exited(Exit::take(&mut bytes)),
            2 => ToManager::Discarded { count: bytes.u64() },
            3 => ToManager::Signal { signo: bytes.u8() },
            4 => ToManager::Kept {
                label: bytes.label(),
            },
            5 => ToManager::Full {
                label: bytes.label(),
            },
            6 => ToManager::Refused {
                label: bytes.label(),
                why: Refusal::take(&mut bytes),
            },
            7 => ToManager::Fd {
                label: bytes.label(),
            },
            8 => ToManager::NotFound {
                label: bytes.label(),
            },
            9 => ToManager::Listed {
                label: bytes.label(),
            },
            10 => ToManager::ListEnd { count: bytes.u32() },
            11 => ToManager::Ping { nonce: bytes.u64() },
            12 => ToManager::WatchdogArmed {
                timeout_ms: bytes.u32(),
            },
            13 => ToManager::Failed {
                request: Request::take(&mut bytes),
                errno: bytes.int(),
            },
            14 => ToManager::Dropped { count: bytes.u32() },
            _ => return None,
        };
        bytes.finish(decoded)
    }
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
                out.text(root);
                out.text(init);
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
        }
        let used = out.finish()?;
        buf.get(..used)
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
                root: bytes.text(),
                init: bytes.text(),
            },
            11 => FromManager::Reexec,
            12 => FromManager::Watchdog {
                timeout_ms: bytes.u32(),
            },
            13 => FromManager::Ready,
            14 => FromManager::Taken { signo: bytes.u8() },
            _ => return None,
        };
        bytes.finish(decoded)
    }
}

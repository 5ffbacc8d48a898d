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
//! # Trials
//!
//! While a descriptor is kept under [`Kind::TRIAL`], init starts managers from it instead of the
//! installed file, says so by [`flags::TRIAL`], and asks for a sign of life every second. It lets go
//! of it, and so goes back, when such a manager dies by its own fault, and when it is still kept so
//! many seconds after it came as its label's index says, and thirty more. Whatever else makes a trial
//! good or bad is the manager's to find: a `Drop` ends it. Then managers are started from what is
//! kept under [`Kind::PREVIOUS`], and without that from the installed file.
//!
//! Times are milliseconds where a name ends in `_ms`. Process start times are field 22 of
//! `/proc/<pid>/stat` (clock ticks since boot), 0 if unknown.

#![no_std]

pub mod codec;
pub mod flags;
pub mod number;
pub mod parts;

mod from_manager;
mod label;
mod to_manager;
mod values;

pub use from_manager::FromManager;
pub use label::{Kind, Label, hash128};
pub use to_manager::ToManager;
pub use values::{Before, Ending, Exit, Hello, Refusal, Request, Shutdown};

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

//! PID 1.
//!
//! # What it does
//!
//! init reaps, reports exits, keeps the manager alive, keeps the manager's descriptors, pats the
//! hardware watchdog and does the last step of a shutdown. Everything else is decided elsewhere.
//!
//! ```text
//!   early boot ─▶ supervise ─▶ last step ─▶ reboot(2), or back to the initramfs
//!                  ▲  │  ▲
//!         rescue ◀─┘  │  └── re-exec: the same state in a new binary
//!                     └────▶ switch-root: the same state in a new root
//! ```
//!
//! # What it may never do
//!
//! * **Fail.** No allocator, no recursion, no unbounded loop, no thread, no panic: with the pinned
//!   toolchain a release build proves at link time that no panic path is left (`prove-no-panic`),
//!   with any other the panic handler goes on reaping and opens the rescue path.
//! * **Sleep in the kernel.** Mounts, unmounts, `sync`, terminals and descriptors of unknown kind
//!   are handled by forked children under a deadline (`workers`), most of them by the worker's
//!   executable ([`work`]), while PID 1 goes on reaping.
//! * **Trust.** Frames, labels, the command line, `/proc` and the state of a former self are input.
//! * **Wake up** without an obligation: each timeout in `supervise` belongs to something that is
//!   owed, and with nothing owed there is none.
//!
//! # Capacities, and what happens when full
//!
//! | what | how many | when full |
//! |---|---|---|
//! | exits not acknowledged ([`ring`]) | 1,024 | nothing is reaped, zombies wait in the kernel; after 120 s (`sysmaster.discard_after=`) without a manager that takes any they are reaped and counted |
//! | kept descriptors ([`store`]) | limit of open files − 64, at most 8,192 | `Full` |
//! | of one owner and kind | an eighth of that | `Refused` |
//! | descriptors of unknown kind to be closed | 512 | the manager's frames wait |
//! | children of its own | 8 | what needs one waits |
//!
//! # Signals
//!
//! | signal | what init does |
//! |---|---|
//! | SIGCHLD | reaps; tells the manager if it was a child that stopped |
//! | SIGINT (ctrl-alt-del), SIGTERM, SIGHUP, SIGPWR, SIGUSR1, SIGUSR2, SIGWINCH, SIGRTMIN+0 to +12 | tells the manager, which acts as systemd's conventions say (reboot, re-exec, reload, power failure, …) |
//! | SIGINT seven times within two seconds | reboots without asking anybody |
//! | SIGRTMIN+13, +14, +15, +16 | halts, powers off, reboots, kexecs without asking anybody |
//! | SIGINT, SIGRTMIN+3 to +6 in rescue | reboots; halts, powers off, reboots, kexecs |
//!
//! SIGRTMIN is the kernel's idea as glibc shows it: 34.
//!
//! The pure parts ([`ring`], [`store`], [`deaths`], [`liveness`], [`procfs`],
//! [`state`]) are tested on the host; `tests/` runs the whole as PID 1 of a namespace.

#![cfg_attr(not(test), no_std)]

pub mod deaths;
pub mod liveness;
pub mod procfs;
pub mod ring;
pub mod state;
pub mod store;
pub mod text;
pub mod work;

mod boot;
mod conversation;
mod last;
mod manager;
mod say;
mod supervise;
mod switch;
mod sys;
mod workers;

pub use boot::start;
pub use sys::exit;

/// What a panic does where it could not be proved impossible: reap for ever, and open the rescue path.
pub fn defect() -> ! {
    last::last_resort(boot::reboot_on_defect())
}

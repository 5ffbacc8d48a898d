//! The helper of unit type `mount`: file systems that are there or not, whoever mounted them.
//!
//! # The model
//!
//! ```text
//!            Start                      the table has it
//!  dead ───────────────▶ mounting ───────────────────────▶ mounted ⇄ remounting (Reload)
//!   ▲ ▲                      │                              │  ▲ │
//!   │ │                      │ failed, too late             │  │ │ umount failed
//!   │ └── the table has      ▼                        Stop  │  │ ▼
//!   │     it no more       failed                           ▼  │
//!   └───────────────────────────────────────────────── unmounting
//! ```
//!
//! *What is true* is the kernel's table of mounts, `/proc/self/mountinfo`, which says by `POLLPRI` that
//! it has changed. What others mount is up, what others unmount is down, and how a command ended
//! matters only for the words. So a record that is lost costs nothing, and neither does an exit that nobody saw:
//! the table is looked at instead.
//!
//! *What may sleep* is done by the system's programs `mount` and `umount` in a child: a dead
//! server keeps that waiting, and not the helper. A child that takes longer than
//! `TimeoutSec=` gets SIGTERM, then SIGKILL; one that cannot even be killed is left to itself, and if it
//! does mount in the end, the table says so.
//!
//! *Nothing is mounted twice.* Each command is in the journal before it is forked, its slot says what became of the
//! fork ([`units::journal`]), and a successor follows it or, if it is proven never to have
//! begun, begins it. Before a command is forked the table is asked whether it is still needed.
//!
//! Dependencies on other mounts and on targets are the loader's (`unit_files`), since they count before
//! this helper is there. It has no other configuration than `[Mount]`.

mod adopt;
mod children;
pub mod command;
pub mod config;
pub mod helper;
pub mod record;
#[cfg(test)]
mod tests;

pub use helper::Mounts;

use units::runtime::{Settings, socket};

/// Runs the helper until the manager says that it is not needed any more. Returns the exit code.
pub fn main() -> i32 {
    socket::run(
        Box::new(Mounts::default()),
        Settings::new(env!("CARGO_PKG_VERSION")),
    )
}

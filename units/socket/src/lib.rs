//! The helper of unit type `socket`: listening sockets that outlive everybody.
//!
//! # The model
//!
//! ```text
//!         Start: record               every descriptor          something
//!         what is opened              is in init's keeping       comes in
//!  dead ─────────────────▶ start-pre ─────────────────────▶ listening ⇄ running
//!   ▲                          │                                │   what it triggers is down
//!   │ Stop                     │ refused, full, taken           │
//!   └──────────────────────────┴────────▶ failed ◀──────────────┘ triggered too often
//! ```
//!
//! A socket unit owns descriptors, and init has them all under labels (kind `SOCKET_UNIT`, the unit's
//! hash, the listener's number) *before* the unit is up: from then on the death of this helper, of
//! the manager, of both, or of the service closes nothing. Whoever connects meanwhile waits in the
//! kernel's backlog, whoever sends waits in the buffer.
//!
//! The helper never accepts and never reads. While nothing serves, it waits for a descriptor to
//! become readable ("listening") and then says so; the engine decides on the start. While the service
//! is up or on its way ("running") the helper looks away, since what comes in is the service's. Which
//! of the two it is follows from what the manager tells ([`units::wire::helper::Triggered`]) and is
//! not recorded: a readable descriptor is still readable for the next helper.
//!
//! *Who gets them.* The helper offers its descriptors (unit, name, number) to the service it
//! triggers, before it says that the unit is up. The manager records the offer and tells the service's
//! helper, which fetches the descriptors from init by label when it starts the service. So the
//! service starts with its sockets whether this helper lives or not.
//!
//! *Recovery.* For every listener the same is done at a start and after a death: init is asked for it;
//! if there is one and it is what the unit's file describes, it is taken; else it is made and given to
//! init. A unit nobody has a record of any more is asked for in the same way. What a stop was to drop is dropped again with each new manager: dropping twice does no harm,
//! and a socket that nobody listens to any more must not go on taking connections.
//!
//! It owns the sockets' paths and links, and forks nothing.

pub mod config;
pub mod helper;
pub mod listener;
pub mod record;
#[cfg(test)]
mod tests;
mod unit;

pub use helper::Sockets;

use units::runtime::{Settings, socket};

/// Runs the helper until the manager says that it is not needed any more. Returns the exit code.
pub fn main() -> i32 {
    socket::run(
        Box::new(Sockets::default()),
        Settings::new(env!("CARGO_PKG_VERSION")),
    )
}

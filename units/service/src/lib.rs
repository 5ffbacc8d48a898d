//! The helper of unit type `service`: processes with a life cycle.
//!
//! # The model
//!
//! A service is a record ([`run::Run`]) on which a state machine ([`machine`]) works by rules
//! ([`policy`]) read from the unit's files ([`config`]). The machine is pure; everything it wants is
//! carried out by [`services::Services`], which the runtime of [`units::runtime`] drives in a process
//! of its own or inside the manager.
//!
//! * [`spawn`] makes processes: slot in the journal, fork into the control group, set-up in the child
//!   ([`child`], by [`context`] and [`plan`]), exec.
//! * [`services`] is all of them and how one is found; `helper` brings what comes from outside to
//!   the one that it concerns, `commands` what the manager says.
//! * [`effects`] carries out a turn; [`sockets`] hears what services say ([`notify`]);
//!   [`descriptors`] are what they start with; [`adopt`] goes on where a killed helper stopped.
//!
//! It owns the services' processes, control groups, run-time directories and notify sockets. It
//! never waits, never decides on a restart by itself, and does nothing before a manager has
//! welcomed it and said what it knows.

pub mod adopt;
pub mod child;
mod commands;
pub(crate) mod compare;
pub mod config;
pub mod context;
pub mod descriptors;
pub mod effects;
mod helper;
pub mod machine;
pub mod notify;
pub mod plan;
pub mod policy;
pub mod run;
pub mod service;
pub mod services;
pub mod sockets;
pub mod spawn;

pub use services::Services;

use std::path::Path;
use units::runtime::{Settings, socket};

/// Where the notify sockets are.
pub const NOTIFY_DIRECTORY: &str = "/run/sysmaster/notify";

/// The services of this machine, for the runtime.
pub fn services() -> Services {
    Services::new(Path::new(NOTIFY_DIRECTORY))
}

/// Runs the helper until the manager says that it is not needed any more. Returns the exit code.
pub fn main() -> i32 {
    // What services without WorkingDirectory= begin in.
    let _ = std::env::set_current_dir("/");
    // What nearly all of them have as standard input, and many as output.
    platform::child::take_null_streams();
    socket::run(
        Box::new(services()),
        Settings::new(env!("CARGO_PKG_VERSION")),
    )
}

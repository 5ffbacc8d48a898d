//! The manager: decides everything about units, forks nothing but helpers.
//!
//! # Model
//!
//! ```text
//!              exits, kept descriptors, signals
//!      init ◀────────────────────────────────────▶ manager ◀── control, public ──▶ sctl, users
//!                                                    │  ▲
//!                                  loads, commands,  │  │  reports, exits taken,
//!                                  exits             ▼  │  descriptors to be kept
//!                                                  helpers (one for each unit type in use)
//! ```
//!
//! All decisions are the [`engine`]'s, a pure state machine: the manager feeds it what happened and
//! carries out what it decided, each effect in order, each record in the store before the effect it
//! makes safe. This crate is the shell around it: one thread, one loop that sleeps until something
//! happens ([`manager`]), and files.
//!
//! *What it owns.* The state store ([`persist`]), the three listening sockets, its connections.
//! All but the connections are kept by init under labels, so a manager that dies leaves nothing but
//! closed connections behind: the next one fetches store and listeners, gives the engine its
//! records, reads the unit files again, accepts the helpers that outlived its predecessor (their
//! connections wait in the backlog), has them report, and lets the engine compare. Jobs in flight
//! go on, commands without an outcome are sent again under their sequence, exits nobody has taken
//! are repeated by init.
//!
//! *What it never does.* Fork anything but a helper; wait for a client, a helper or a file on
//! another machine; act before its record stands; acknowledge an exit that somebody may still need;
//! keep a timer while nothing is owed; die of bad input. To be replaced (`sctl reexec`, SIGTERM) it
//! exits with 0 and init starts what is installed now: there is no state to hand over.
//!
//! | Module | What |
//! |---|---|
//! | [`manager`] | state and loop |
//! | [`persist`], [`boot`] | state store; boot and shutdown |
//! | [`crashes`] | reports of our own crashes, and quarantine |
//! | [`salvage`] | a store that is damaged, lost or full |
//! | [`init_link`], [`relay`], [`exits`] | the channel to init and what comes over it |
//! | [`helpers`], [`lifecycle`], [`contact`], [`backoff`] | the helpers: table, processes, talk, pauses |
//! | [`inside`] | helpers that are no processes |
//! | [`load`], [`effects`] | units into the engine; decisions out of it |
//! | [`triggers`] | units that start others, and the descriptors they hand on |
//! | [`server`], [`client`], [`requests`], [`answers`] | control and public socket |
//! | [`upgrade`] | another version of ourselves is tried |
//! | `watchdog` | the hardware watchdog: opened, set and handed to init |
//! | [`generate`] | what runs before units are loaded |
//! | [`console`], [`log`] | what people see |

pub mod answers;
pub mod backoff;
pub mod boot;
pub mod client;
pub mod console;
pub mod contact;
pub mod crashes;
pub mod effects;
mod ending;
pub mod exits;
pub mod explain;
pub mod generate;
pub mod helpers;
pub mod init_link;
pub mod inside;
pub mod lifecycle;
pub mod load;
pub mod log;
pub mod manager;
pub mod persist;
pub mod reconcile;
pub mod relay;
pub mod requests;
pub(crate) mod salvage;
pub mod server;
mod start;
#[cfg(test)]
mod tests;
pub(crate) mod triggers;
pub mod upgrade;
mod watchdog;

pub use start::Places;

use std::ffi::{OsStr, OsString};

/// This build, for the greetings of all channels.
pub const BUILD: &str = concat!("sysmaster ", env!("CARGO_PKG_VERSION"));

/// The manager as a program: `sysmaster --init-fd 3`, started by init. Returns the exit status: 0
/// asks init for a new manager, 1 says that this one could not go on. It contains no helpers.
pub fn main(arguments: Vec<OsString>) -> i32 {
    main_with(arguments, |_| None)
}

/// The same for an executable that contains helpers, which run inside the manager where
/// `Helpers=in-process` is set.
pub fn main_with(arguments: Vec<OsString>, builtin: inside::Builtin) -> i32 {
    let name = arguments.first().map(std::path::Path::new);
    if name.and_then(|name| name.file_name()) == Some(OsStr::new(unit_files::generate::PROGRAM)) {
        return unit_files::generate::main(arguments);
    }
    let arguments: Vec<String> = arguments
        .into_iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--init-fd", number] => match number.parse() {
            Ok(number) => start::run(number, builtin),
            Err(_) => usage(&format!("found --init-fd {number}, expected a number")),
        },
        ["--version"] => {
            println!("{BUILD}");
            0
        }
        [] => usage(
            "this is the manager, which init (PID 1) starts with a socket to talk to; to look at \
             a running system or change it, use sctl",
        ),
        _ => usage(&format!(
            "found {}, expected --init-fd NUMBER",
            words.join(" ")
        )),
    }
}

fn usage(text: &str) -> i32 {
    eprintln!("sysmaster: {text}");
    2
}

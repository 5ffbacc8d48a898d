//! What every helper runs in: the conversation with the manager, children, deadlines, descriptors.
//!
//! # The model
//!
//! A unit type is an object, [`UnitType`], that is told what happens and never waits. The runtime
//! calls it, and carries what it says to the manager. There are two ways to run one:
//!
//! * [`socket`]: the helper is a process of its own, with the loop of this module;
//! * [`in_process`]: the manager's own loop drives the object, without sockets or encoding (tests,
//!   and builds that are one process).
//!
//! A helper goes through these phases, of which only the first two are the runtime's alone:
//!
//! ```text
//! Apart ──connected: Hello──▶ Greeting ──Welcome──▶ Settling ──journal there──▶ Bound
//!   ▲                                                  │                          │
//!   └─────────────────────── connection lost ──────────┴──────────────────────────┘
//! ```
//!
//! *Apart* and *Greeting*, a new process does nothing at all. One that has been bound before goes
//! on with what it has accepted: its children's ends, deadlines and descriptors reach the type;
//! what the type says waits. *Settling*: the manager hands over the two memories of the journal,
//! or says that there are none; then they are made and given to init to keep. What the manager
//! sends meanwhile waits. *Bound*: the type has its journal ([`UnitType::adopt`], once in the life
//! of a process) and gets everything.
//!
//! *One manager*: a `Welcome` of a lower epoch than the highest seen ends the connection.
//!
//! *Nothing is lost between two managers*: requests without an answer (`Keep`, `Fetch`) and watches
//! are repeated to the next one; reports are not, since the type reports all units at `Sync`.
//!
//! *Exits*: of own children, they are peeked, told to the type, which records them, and only then
//! reaped. Of others, the manager tells them (`Exited`); they reach the type by the same call, and
//! the acknowledgement goes out after it returned. The same exit may come by both ways, or twice:
//! the type knows it by process id and start time.
//!
//! *A message that kills*: what is being handed to the type is noted in the journal. A process that
//! follows one that died by its own fault finds the note; what was in flight at two such deaths is in
//! quarantine ([`flight`]): a `Load` is answered with an error, a command fails, and nothing else of
//! the type is affected.

mod flight;
mod helper;
pub mod in_process;
mod outbox;
pub mod socket;

use crate::journal::Journal;
use crate::state::{Micros, ProcId};
use crate::wire::helper::{
    About, Command, Difference, FromHelper, HelperConfig, Label, Sockets, Triggered, UnitSource,
};
use alloc::string::{String, ToString};
use helper::{Helper, Then};
pub use init_wire::hash128;
use outbox::Outbox;
use platform::poll::{Interest, Poller, Ready};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Kinds of labels that the runtime uses itself; the numbers are init-wire's.
pub mod kind {
    /// The records of a journal.
    pub const JOURNAL: u16 = 2;
    /// The slots of a journal.
    pub const SLOTS: u16 = 3;
    /// The listeners of a socket unit.
    pub const SOCKET_UNIT: u16 = 7;
}

/// Tokens of a type's descriptors are below this.
pub const MAX_TOKEN: u64 = 1 << 48;

/// What of the manager's messages reaches a type; the runtime answers the others itself.
#[derive(Debug)]
pub enum Message {
    /// Here is a unit, or its new configuration. Answer: `Loaded`.
    Load(UnitSource),
    /// Forget a unit that is down.
    Unload(String),
    /// All known units are loaded: report on each of which anything is known. `Synced` is sent by
    /// the runtime when the type returns.
    Sync,
    /// Do this.
    Command(Command),
    /// How it stands with what this unit triggers.
    Triggered(String, Triggered),
    /// Listening descriptors for one of the units.
    Sockets(Sockets),
    /// What to know about a unit's next command.
    About(About),
    /// Compare what is recorded with what the kernel says: see [`ToHelper::Reconcile`].
    ///
    /// [`ToHelper::Reconcile`]: crate::wire::helper::ToHelper::Reconcile
    Reconcile,
    /// The descriptor is in init's keeping.
    Kept(Label),
    /// It could not be kept, for this reason.
    NotKept(Label, String),
    /// Here is what was fetched.
    Fetched(Label, OwnedFd),
    /// init keeps nothing under this label.
    NotFound(Label),
}

/// A unit type: what a helper does for its units. No call may wait for anything.
pub trait UnitType {
    /// Its name, which is the suffix of its units: `service`.
    fn name(&self) -> &'static str;

    /// The journal is there: read what an earlier process has left in it. Called once, before
    /// anything else.
    fn adopt(&mut self, context: &mut Context<'_>);

    /// A manager, the first or another, has welcomed the helper, with these settings.
    fn welcome(&mut self, config: &HelperConfig, context: &mut Context<'_>);

    /// The manager said something.
    fn message(&mut self, message: Message, context: &mut Context<'_>);

    /// A process has ended. When this returns its end must be recorded.
    fn exited(&mut self, proc: ProcId, status: i32, context: &mut Context<'_>);

    /// A watched descriptor is ready; the token is as given to [`Context::watch`].
    fn ready(&mut self, ready: Ready, context: &mut Context<'_>);

    /// [`UnitType::deadline`] has come.
    fn tick(&mut self, now: Micros, context: &mut Context<'_>);

    /// The machine was suspended for so long, which the clock counts and no process could use: what waits for one
    /// has so much longer. Called before [`UnitType::tick`].
    fn slept(&mut self, span: Micros, context: &mut Context<'_>) {
        let _ = (span, context);
    }

    /// When [`UnitType::tick`] is to be called; `None` while nothing is owed.
    fn deadline(&self) -> Option<Micros>;
}

/// What a type can do while it is called.
pub struct Context<'a> {
    /// What it remembers.
    pub journal: &'a mut Journal,
    outbox: &'a mut Outbox,
    poller: &'a Poller,
    token_base: u64,
}

impl Context<'_> {
    /// Time now; asked anew at each call.
    pub fn now(&self) -> Micros {
        platform::clock::now()
    }

    /// Whether there is a manager, as far as is known.
    pub fn in_contact(&self) -> bool {
        self.outbox.in_contact()
    }

    /// Says something to the manager. `Keep` is for [`Context::keep`]; `Watch` and `Unwatch` go
    /// the same way as everything else, and are repeated to later managers.
    pub fn send(&mut self, message: FromHelper) {
        self.outbox.push(message, None);
    }

    /// Says that something was not as it was recorded, and what was done about it.
    pub fn differs(&mut self, unit: &str, kind: &str, found: String, done: &str) {
        self.outbox.push(
            FromHelper::Difference(Difference {
                unit: unit.to_string(),
                kind: kind.to_string(),
                found,
                done: done.to_string(),
            }),
            None,
        );
    }

    /// Has init keep a descriptor, in place of what it holds under this label. `Kept` or `NotKept`
    /// follows, if need be from a later manager.
    pub fn keep(&mut self, label: Label, fd: OwnedFd) {
        self.outbox.push(FromHelper::Keep { label }, Some(fd));
    }

    /// Gets a descriptor back. `Fetched` or `NotFound` follows.
    pub fn fetch(&mut self, label: Label) {
        self.outbox.push(FromHelper::Fetch { label }, None);
    }

    /// A line for the manager's log, with a syslog level; `unit` may be empty.
    pub fn log(&mut self, level: u8, unit: &str, text: String) {
        self.outbox.push(
            FromHelper::Log {
                level,
                unit: unit.to_string(),
                text,
            },
            None,
        );
    }

    /// Be told when a descriptor is ready. `token` is below [`MAX_TOKEN`].
    pub fn watch(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller.add(fd, self.token(token)?, interest)
    }

    /// Be told something else about a watched descriptor.
    pub fn watch_again(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller.modify(fd, self.token(token)?, interest)
    }

    /// Be told nothing more. To be called before a descriptor is closed that somebody else holds
    /// too (one that init keeps).
    pub fn unwatch(&self, fd: &impl AsFd) -> io::Result<()> {
        self.poller.remove(fd)
    }

    fn token(&self, token: u64) -> io::Result<u64> {
        if token < MAX_TOKEN {
            Ok(self.token_base + token)
        } else {
            Err(io::Error::from(io::ErrorKind::InvalidInput))
        }
    }
}

/// Settings of a helper process or object.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Build, for the hello.
    pub build: String,
    /// Where unlinked files take the place of memory files.
    pub fallback: PathBuf,
    /// Added to the type's tokens, so that several objects can share a poller.
    pub token_base: u64,
}

impl Settings {
    /// Those of a helper process.
    pub fn new(build: &str) -> Self {
        Self {
            build: build.to_string(),
            fallback: Path::new("/run/sysmaster").to_path_buf(),
            token_base: 0,
        }
    }
}

impl From<platform::process::ProcId> for ProcId {
    fn from(proc: platform::process::ProcId) -> Self {
        Self {
            pid: proc.pid,
            start: proc.start,
        }
    }
}

impl From<ProcId> for platform::process::ProcId {
    fn from(proc: ProcId) -> Self {
        Self {
            pid: proc.pid,
            start: proc.start,
        }
    }
}

#[cfg(test)]
mod tests;

//! The helper's side of the conversation, without a transport: see the phases in [`super`].

use super::flight::{self, Flight};
use super::outbox::Outbox;
use super::{Context, Message, Settings, UnitType, hash128, kind};
use crate::journal::Journal;
use crate::state::Micros;
use crate::wire::helper::{FromHelper, HelperConfig, LOAD, Label, ToHelper};
use crate::wire::{self, VERSION};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use platform::memory::Memory;
use platform::poll::{Poller, Ready};
use platform::process::Exit;
use std::io;
use std::os::fd::OwnedFd;

/// How many messages of the manager wait at most while the journal is being made. The manager
/// sends one for each unit, so this is a limit on units.
const MAX_HELD: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Apart,
    Greeting,
    Settling,
    Bound,
}

/// What a connection is to do after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Go on.
    Continue,
    /// End this connection and look for another manager.
    Disconnect,
    /// The helper is not needed any more.
    Quit,
}

/// The descriptors of the two memories, as they come in.
#[derive(Debug, Default)]
struct Memories {
    records: Option<OwnedFd>,
    slots: Option<OwnedFd>,
    /// Answers (descriptor or `NotFound`, `Kept` or `NotKept`) that are still to come.
    awaited: u8,
    /// Made by us, and given to init.
    made: Option<Journal>,
}

/// A message that waits for the journal.
enum Held {
    /// A unit, as it came: a quarter of what it takes once it is decoded, and there is one for each.
    Load(Box<[u8]>),
    Other(ToHelper, Option<OwnedFd>),
}

/// A type and everything the runtime knows about its conversation; what both transports drive.
pub(crate) struct Helper {
    unit_type: Box<dyn UnitType>,
    settings: Settings,
    phase: Phase,
    epoch: u64,
    config: HelperConfig,
    journal: Option<Journal>,
    memories: Memories,
    held: VecDeque<Held>,
    /// What killed two processes of this type and is not done any more.
    quarantine: Vec<Flight>,
    /// How much of what the machine was suspended is known to the type.
    suspended: Micros,
    pub(crate) outbox: Outbox,
}

impl Helper {
    pub(crate) fn new(unit_type: Box<dyn UnitType>, settings: Settings) -> Self {
        Self {
            unit_type,
            settings,
            phase: Phase::Apart,
            epoch: 0,
            config: HelperConfig::default(),
            journal: None,
            memories: Memories::default(),
            held: VecDeque::new(),
            quarantine: Vec::new(),
            suspended: platform::clock::suspended(),
            outbox: Outbox::default(),
        }
    }

    /// A connection stands: the first frame for it.
    pub(crate) fn connected(&mut self) -> FromHelper {
        self.phase = Phase::Greeting;
        FromHelper::Hello {
            version: VERSION,
            build: self.settings.build.clone(),
            unit_type: self.unit_type.name().to_string(),
            epoch: self.epoch,
            adopted: self.journal.is_some(),
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        self.phase = Phase::Apart;
        self.held.clear();
        // Made memories were perhaps not kept; nothing is in them yet, so the next manager's answer
        // begins it anew.
        self.memories = Memories::default();
        if !self.is_adopted() {
            self.outbox = Outbox::default();
        }
        self.outbox.disconnected();
    }

    /// Whether what the type says may go out.
    pub(crate) fn may_send(&self) -> bool {
        matches!(self.phase, Phase::Settling | Phase::Bound)
    }

    /// Whether a manager has welcomed this connection.
    pub(crate) fn is_welcome(&self) -> bool {
        self.may_send()
    }

    /// Whether the type has its journal.
    pub(crate) fn is_adopted(&self) -> bool {
        self.journal.is_some()
    }

    /// Whether everything that came was taken, and everything said has gone out.
    pub(crate) fn is_quiet(&self) -> bool {
        self.held.is_empty() && self.outbox.is_empty()
    }

    pub(crate) fn deadline(&self) -> Option<Micros> {
        if self.is_adopted() {
            self.unit_type.deadline()
        } else {
            None
        }
    }

    /// Calls the type, if it has its journal.
    fn with<R>(
        &mut self,
        poller: &Poller,
        call: impl FnOnce(&mut dyn UnitType, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let journal = self.journal.as_mut()?;
        let token_base = self.settings.token_base;
        let mut context = Context {
            journal,
            outbox: &mut self.outbox,
            poller,
            token_base,
        };
        Some(call(self.unit_type.as_mut(), &mut context))
    }

    pub(crate) fn ready(&mut self, ready: Ready, poller: &Poller) {
        let token = ready.token.saturating_sub(self.settings.token_base);
        self.with(poller, |unit_type, context| {
            unit_type.ready(Ready { token, ..ready }, context);
        });
    }

    /// A child has ended; the caller reaps it when this returns.
    pub(crate) fn child_exited(&mut self, exit: Exit, poller: &Poller) {
        self.with(poller, |unit_type, context| {
            unit_type.exited(exit.proc.into(), exit.status, context);
        });
    }

    /// Calls the type if its deadline has come.
    pub(crate) fn tick(&mut self, poller: &Poller) {
        if let Some(slept) = platform::clock::slept(&mut self.suspended) {
            self.with(poller, |unit_type, context| unit_type.slept(slept, context));
        }
        let now = platform::clock::now();
        if self.deadline().is_some_and(|at| at <= now) {
            self.with(poller, |unit_type, context| unit_type.tick(now, context));
        }
    }

    /// A message of the manager. Descriptors that do not belong to it are closed.
    pub(crate) fn receive(
        &mut self,
        message: ToHelper,
        fd: Option<OwnedFd>,
        poller: &Poller,
    ) -> Then {
        match (self.phase, message) {
            (_, ToHelper::Quit) => Then::Quit,
            (
                Phase::Greeting,
                ToHelper::Welcome {
                    version,
                    epoch,
                    config,
                    ..
                },
            ) => self.welcomed(version, epoch, config, poller),
            // Before the welcome nothing counts, and nobody is welcome twice.
            (Phase::Apart | Phase::Greeting, _) | (_, ToHelper::Welcome { .. }) => Then::Disconnect,
            (_, ToHelper::Ping { nonce }) => {
                self.outbox.push(FromHelper::Pong { nonce }, None);
                Then::Continue
            }
            (Phase::Settling, message) => {
                self.settle(message, fd, poller);
                Then::Continue
            }
            (Phase::Bound, message) => {
                self.deliver(message, fd, poller);
                Then::Continue
            }
        }
    }

    fn welcomed(
        &mut self,
        version: u16,
        epoch: u64,
        config: HelperConfig,
        poller: &Poller,
    ) -> Then {
        let known = version <= VERSION && version + 1 >= VERSION;
        if epoch < self.epoch || !known {
            return Then::Disconnect;
        }
        self.epoch = epoch;
        self.config = config;
        self.outbox.welcomed();
        if self.is_adopted() {
            self.bind(poller);
        } else {
            self.phase = Phase::Settling;
            self.memories = Memories {
                awaited: 2,
                ..Memories::default()
            };
        }
        Then::Continue
    }

    /// Everything is there: the type gets what was held back, and from now on all.
    fn bind(&mut self, poller: &Poller) {
        self.phase = Phase::Bound;
        let config = self.config.clone();
        self.with(poller, |unit_type, context| {
            unit_type.welcome(&config, context)
        });
        for held in std::mem::take(&mut self.held) {
            match held {
                Held::Other(message, fd) => self.deliver(message, fd, poller),
                Held::Load(frame) => match wire::decode(&frame) {
                    Ok(message) => self.deliver(message, None, poller),
                    Err(_) => self.unknown(frame.len()),
                },
            }
        }
    }

    /// While the journal is not there, a frame with a unit waits as it is. `false`: it is none, or is to be
    /// delivered at once.
    pub(crate) fn hold(&mut self, frame: &[u8]) -> bool {
        let holds = self.phase == Phase::Settling
            && frame.first() == Some(&LOAD)
            && self.held.len() < MAX_HELD;
        if holds {
            self.held.push_back(Held::Load(frame.into()));
        }
        holds
    }

    /// A frame came that cannot be read.
    pub(crate) fn unknown(&mut self, length: usize) {
        let text = format!(
            "a frame of {length} bytes from the manager is none this helper knows: ignored"
        );
        self.log(3, text);
    }

    /// While the journal is not there: collects its memories, and holds everything else.
    fn settle(&mut self, message: ToHelper, fd: Option<OwnedFd>, poller: &Poller) {
        let memory_kind = |label: &Label| matches!(label.kind, kind::JOURNAL | kind::SLOTS);
        match message {
            ToHelper::Fd { label } if memory_kind(&label) => {
                if label.kind == kind::JOURNAL {
                    self.memories.records = fd;
                } else {
                    self.memories.slots = fd;
                }
                self.answered(poller);
            }
            ToHelper::NotFound { label } if memory_kind(&label) => self.answered(poller),
            ToHelper::Kept { label } if memory_kind(&label) => {
                self.outbox.answered(label);
                self.answered(poller);
            }
            ToHelper::NotKept { label, reason } if memory_kind(&label) => {
                self.outbox.answered(label);
                let text = format!(
                    "the journal cannot be kept beyond the life of this helper ({reason}): a \
                     restart of the helper will take every running unit for a stranger"
                );
                self.log(3, text);
                self.answered(poller);
            }
            message if self.held.len() < MAX_HELD => {
                self.held.push_back(Held::Other(message, fd));
            }
            _ => self.log(
                3,
                format!("more than {MAX_HELD} messages while starting: one is lost"),
            ),
        }
    }

    /// One of two answers has come: for what was asked for at the welcome, or for what was made.
    fn answered(&mut self, poller: &Poller) {
        self.memories.awaited = self.memories.awaited.saturating_sub(1);
        if self.memories.awaited > 0 {
            return;
        }
        if let Some(journal) = self.memories.made.take() {
            self.adopt(journal, poller);
            return;
        }
        let (records, slots) = (self.memories.records.take(), self.memories.slots.take());
        // Nothing is done before both are kept, so one alone is of a helper that did nothing.
        if let (Some(records), Some(slots)) = (records, slots) {
            match open_journal(records, slots) {
                Ok((journal, damaged)) => {
                    if damaged > 0 {
                        let text = format!("the journal has {damaged} damaged places, left out");
                        self.log(3, text);
                    }
                    self.adopt(journal, poller);
                    return;
                }
                Err(error) => {
                    self.log(
                        2,
                        format!("the journal cannot be read and is begun anew: {error}"),
                    );
                }
            }
        }
        self.make_journal();
    }

    fn make_journal(&mut self) {
        let made = Journal::create(&self.settings.fallback).and_then(|journal| {
            let records = journal.records.memory().duplicate()?;
            let slots = journal.slots.memory().duplicate()?;
            Ok((journal, records, slots))
        });
        match made {
            Ok((journal, records, slots)) => {
                self.memories = Memories {
                    awaited: 2,
                    made: Some(journal),
                    ..Memories::default()
                };
                for (kind, fd) in [(kind::JOURNAL, records), (kind::SLOTS, slots)] {
                    let label = self.memory_label(kind);
                    self.outbox.push(FromHelper::Keep { label }, Some(fd));
                }
            }
            Err(error) => {
                let text = format!("no memory for a journal: {error}; no unit can be started");
                self.log(2, text);
            }
        }
    }

    fn memory_label(&self, kind: u16) -> Label {
        Label {
            kind,
            hash: hash128(self.unit_type.name().as_bytes()),
            index: 0,
        }
    }

    fn adopt(&mut self, mut journal: Journal, poller: &Poller) {
        let (quarantine, said) = flight::judge(&mut journal.records, self.config.fault);
        self.quarantine = quarantine;
        for frame in said {
            self.outbox.push(frame, None);
        }
        self.journal = Some(journal);
        self.with(poller, |unit_type, context| unit_type.adopt(context));
        self.bind(poller);
    }

    /// Hands a message to the type, with a note of what is in flight; one that is in quarantine is
    /// answered in its place.
    fn deliver(&mut self, message: ToHelper, fd: Option<OwnedFd>, poller: &Poller) {
        if let ToHelper::Pardon { unit } = &message {
            if let Some(journal) = &mut self.journal {
                self.quarantine = flight::pardon(&mut journal.records, unit);
            }
            return;
        }
        let Some(flight) = Flight::of(&message) else {
            return self.hand_over(message, fd, poller);
        };
        let Some(journal) = &self.journal else { return };
        if let Some(culprit) = self.quarantine.iter().find(|one| one.forbids(&flight)) {
            let answer = match message {
                ToHelper::Command(command) => culprit.refuse_command(&command),
                ToHelper::Load(source) => culprit.refuse_load(source.unit),
                _ => return,
            };
            return self.outbox.push(answer, None);
        }
        journal.records.begin(flight.step, &flight.with);
        crate::fault::point_at(|| [&flight.step.to_string(), "=", &flight.with].concat());
        self.hand_over(message, fd, poller);
        if let Some(journal) = &self.journal {
            journal.records.end();
        }
    }

    fn hand_over(&mut self, message: ToHelper, fd: Option<OwnedFd>, poller: &Poller) {
        let message = match message {
            ToHelper::Load(source) => Message::Load(source),
            ToHelper::Unload { unit } => Message::Unload(unit),
            ToHelper::Command(command) => Message::Command(command),
            ToHelper::About(about) => Message::About(about),
            ToHelper::Reconcile => Message::Reconcile,
            ToHelper::Sync => {
                self.with(poller, |unit_type, context| {
                    unit_type.message(Message::Sync, context)
                });
                self.outbox.push(FromHelper::Synced, None);
                return;
            }
            ToHelper::Exited { proc, status } => {
                self.outbox.unwatch(proc);
                self.with(poller, |unit_type, context| {
                    unit_type.exited(proc, status, context)
                });
                self.outbox.push(FromHelper::ExitTaken { proc }, None);
                return;
            }
            ToHelper::Triggered { unit, state } => Message::Triggered(unit, state),
            ToHelper::Sockets(sockets) => Message::Sockets(sockets),
            ToHelper::Kept { label } if self.outbox.answered(label) => Message::Kept(label),
            ToHelper::NotKept { label, reason } if self.outbox.answered(label) => {
                Message::NotKept(label, reason)
            }
            ToHelper::Fd { label } if self.outbox.answered(label) => match fd {
                Some(fd) => Message::Fetched(label, fd),
                None => Message::NotFound(label),
            },
            ToHelper::NotFound { label } if self.outbox.answered(label) => Message::NotFound(label),
            // An answer to nothing: the memories again, or one that came twice.
            _ => return,
        };
        self.with(poller, |unit_type, context| {
            unit_type.message(message, context)
        });
    }

    pub(crate) fn log(&mut self, level: u8, text: String) {
        self.outbox.push(
            FromHelper::Log {
                level,
                unit: String::new(),
                text,
            },
            None,
        );
    }
}

fn open_journal(records: OwnedFd, slots: OwnedFd) -> io::Result<(Journal, usize)> {
    let (journal, found) = Journal::open(Memory::from_fd(records)?, Memory::from_fd(slots)?)?;
    Ok((journal, found.damaged + usize::from(found.reset)))
}

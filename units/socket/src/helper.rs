//! The helper of type `socket`: all socket units, and what comes from outside.
//!
//! Each message changes one unit's record, stores it, and then acts: see the model in the library.
//! Nothing here waits.

use crate::config;
use crate::record::{Record, State};
use crate::unit::{Slot, Unit, label, make_links};
use platform::poll::Ready;
use std::os::fd::OwnedFd;
use std::path::Path;
use units::file::first_error;
use units::journal::Remembered;
use units::runtime::{Context, Message, UnitType};
use units::state::{Micros, Outcome, ProcId};
use units::wire::helper::{
    Command, FromHelper, HelperConfig, Label, Sockets as Offer, Triggered, UnitSource, Verb,
};

/// systemd's words for how it went wrong.
const RESOURCES: &str = "resources";
const TRIGGER_LIMIT: &str = "trigger-limit-hit";

/// All socket units.
#[derive(Debug, Default)]
pub struct Sockets {
    units: Vec<Unit>,
    last_number: u32,
    strict: bool,
    adopted: bool,
}

impl Sockets {
    fn find(&mut self, what: impl Fn(&Unit) -> bool) -> Option<&mut Unit> {
        self.units.iter_mut().find(|unit| what(unit))
    }

    fn entry(&mut self, name: &str) -> &mut Unit {
        let known = self.units.iter().position(|unit| unit.record.unit == name);
        let at = known.unwrap_or_else(|| {
            self.last_number += 1;
            self.units.push(Unit::new(name, self.last_number));
            self.units.len() - 1
        });
        // It is there: found, or just added.
        #[allow(clippy::indexing_slicing)]
        &mut self.units[at]
    }

    /// Stores the record of a unit.
    fn record(&mut self, ctx: &mut Context<'_>, name: &str) {
        let Some(unit) = self.find(|unit| unit.record.unit == name) else {
            return;
        };
        ctx.remember(&unit.record);
    }

    /// Stores the record and tells the manager.
    fn tell(&mut self, ctx: &mut Context<'_>, name: &str) {
        self.record(ctx, name);
        if let Some(unit) = self.find(|unit| unit.record.unit == name) {
            ctx.send(FromHelper::Report(unit.report()));
        }
    }

    fn load(&mut self, ctx: &mut Context<'_>, source: &UnitSource) {
        let Some(reading) = config::read(source, self.strict) else {
            return;
        };
        let broken = first_error(&reading.findings, &source.files).unwrap_or_default();
        let unit = self.entry(&source.unit);
        if broken.is_empty() {
            unit.config = Some(reading.config);
        }
        unit.broken = broken;
        ctx.send(FromHelper::Loaded {
            unit: source.unit.clone(),
            findings: reading.findings,
            implied: reading.implied,
            can_reload: false,
        });
    }

    fn unload(&mut self, ctx: &mut Context<'_>, name: &str) {
        let Some(unit) = self.find(|unit| unit.record.unit == name) else {
            return;
        };
        if unit.record.state.is_down() {
            if unit.record.count > 0 {
                unit.release(ctx);
            }
            ctx.journal.forget(name);
            self.units.retain(|unit| unit.record.unit != name);
        }
    }

    fn command(&mut self, ctx: &mut Context<'_>, command: &Command) {
        let unit = self.entry(&command.unit);
        if let Verb::Kill { .. } = command.verb {
            return ctx.log(5, &command.unit, "it has no process to be signalled".into());
        }
        if command.seq <= unit.record.seq {
            return ctx.send(FromHelper::Report(unit.report()));
        }
        unit.record.seq = command.seq;
        match command.verb {
            Verb::Start => self.start(ctx, command),
            Verb::Stop => {
                let was_up = !unit.record.state.is_down();
                if was_up {
                    unit.enter(State::Dead);
                }
                unit.record.outcome = Outcome::Done;
                self.record(ctx, &command.unit);
                if was_up {
                    self.entry(&command.unit).release(ctx);
                }
                self.tell(ctx, &command.unit);
            }
            Verb::ResetFailed => {
                if unit.record.state == State::Failed {
                    unit.enter(State::Dead);
                    unit.record.why.clear();
                    unit.record.detail.clear();
                }
                unit.record.outcome = Outcome::Done;
                self.tell(ctx, &command.unit);
            }
            Verb::Reload | Verb::Kill { .. } => {
                unit.record.outcome = Outcome::Failed;
                self.tell(ctx, &command.unit);
            }
        }
    }

    fn start(&mut self, ctx: &mut Context<'_>, command: &Command) {
        let unit = self.entry(&command.unit);
        if !unit.record.state.is_down() {
            if unit.record.state == State::Listening {
                unit.record.outcome = Outcome::Done;
            }
            return self.tell(ctx, &command.unit);
        }
        let left = unit.record.count;
        let record = &mut unit.record;
        record.invocation = command.invocation;
        record.outcome = Outcome::Pending;
        record.why.clear();
        record.detail.clear();
        record.triggers = (0, 0);
        let Some(config) = unit.config.as_ref().filter(|_| unit.broken.is_empty()) else {
            let why = match unit.broken.as_str() {
                "" => "the socket helper was not told its configuration".into(),
                broken => broken.into(),
            };
            return self.fail(ctx, &command.unit, RESOURCES, why);
        };
        record.to.clone_from(&config.to);
        record.name.clone_from(&config.name);
        record.paths = config.removed();
        record.places = config.places();
        record.count = config.listeners.len() as u16;
        if unit.served {
            let why = format!("{} is already active: stop it first", unit.record.to);
            return self.fail(ctx, &command.unit, RESOURCES, why);
        }
        unit.enter(State::Opening);
        self.tell(ctx, &command.unit);
        let unit = self.entry(&command.unit);
        // More were left by an earlier configuration than there are now.
        for index in unit.record.count..left {
            ctx.send(FromHelper::Drop {
                label: label(&command.unit, index),
            });
        }
        unit.ask(ctx);
    }

    /// It goes down, and not as it should.
    fn fail(&mut self, ctx: &mut Context<'_>, name: &str, why: &str, detail: String) {
        let unit = self.entry(name);
        let had = !unit.record.state.is_down();
        unit.enter(State::Failed);
        unit.record.why = why.into();
        unit.record.detail = detail;
        if unit.record.outcome == Outcome::Pending {
            unit.record.outcome = Outcome::Failed;
        }
        self.record(ctx, name);
        if had {
            self.entry(name).release(ctx);
        }
        self.tell(ctx, name);
    }

    /// init has answered about a listener.
    fn answered(&mut self, ctx: &mut Context<'_>, about: Label, answer: Answer) {
        let index = usize::from(about.index);
        if matches!(answer, Answer::Have(_) | Answer::Nothing) {
            let of = |unit: &Unit| about == label(&unit.record.unit, about.index);
            let unit = self.find(of);
            let late = unit.and_then(|unit| {
                let at = unit.stale.iter().position(|index| *index == about.index)?;
                Some(unit.stale.swap_remove(at))
            });
            if late.is_some() {
                return;
            }
        }
        let found = self.find(|unit| {
            about == label(&unit.record.unit, about.index) && index < unit.slots.len()
        });
        let Some(unit) = found else { return };
        let name = unit.record.unit.clone();
        let slot = unit.slots.get_mut(index);
        let taken = slot.map(|slot| std::mem::replace(slot, Slot::Asked));
        let next = match (taken, answer) {
            (Some(Slot::Asked), Answer::Have(fd)) if unit.accepts(index, &fd) => Ok(Slot::Here(fd)),
            (Some(Slot::Asked), Answer::Have(_) | Answer::Nothing)
                if unit.record.state.is_down() =>
            {
                // It was only asked whether there are any.
                unit.clear_slots();
                unit.stale.retain(|index| *index != about.index);
                return;
            }
            (Some(Slot::Asked), Answer::Have(_) | Answer::Nothing) => {
                if unit.record.state == State::Listening {
                    ctx.log(3, &name, "a listener was lost and is made anew".into());
                }
                unit.make(index, ctx).map(Slot::Made)
            }
            (Some(Slot::Made(fd)), Answer::Kept) => Ok(Slot::Here(fd)),
            (Some(Slot::Made(_)), Answer::Refused(why)) => {
                Err(format!("init does not keep what it listens on: {why}"))
            }
            (Some(slot), _) => Ok(slot),
            (None, _) => return,
        };
        match next {
            Ok(next) => {
                if let Some(slot) = unit.slots.get_mut(index) {
                    *slot = next;
                }
                self.settle(ctx, &name);
            }
            Err(why) => self.fail(ctx, &name, RESOURCES, why),
        }
    }

    /// If everything is in init's keeping, it is up.
    fn settle(&mut self, ctx: &mut Context<'_>, name: &str) {
        let unit = self.entry(name);
        if !unit.is_complete() {
            return;
        }
        let offer = unit.offer(unit.record.count);
        if unit.record.state == State::Opening {
            if let Err(why) = unit.config.as_ref().map_or(Ok(()), make_links) {
                return self.fail(ctx, name, RESOURCES, why);
            }
            unit.enter(State::Listening);
            unit.record.outcome = Outcome::Done;
            ctx.send(offer);
            self.tell(ctx, name);
        } else if unit.record.state.is_down() {
            unit.take_up(unit.record.count);
            ctx.log(
                4,
                name,
                "its record was lost: what init keeps of it is adopted".into(),
            );
            ctx.send(unit.offer(unit.record.count));
            self.tell(ctx, name);
        } else {
            ctx.send(offer);
        }
        self.entry(name).look(ctx);
    }

    fn triggered(&mut self, ctx: &mut Context<'_>, name: &str, state: Triggered) {
        let Some(unit) = self.find(|unit| unit.record.unit == name) else {
            return;
        };
        let served = state == Triggered::Up;
        if let (Triggered::Refused(why), State::Listening) = (state, unit.record.state) {
            unit.served = false;
            let text = [&unit.record.to, " cannot be started: ", &why].concat();
            let why = match why.as_str() {
                "service-start-limit-hit" => &why,
                _ => RESOURCES,
            };
            return self.fail(ctx, name, why, text);
        }
        if std::mem::replace(&mut unit.served, served) != served {
            unit.look(ctx);
            if unit.record.state == State::Listening {
                ctx.send(FromHelper::Report(unit.report()));
            }
        }
    }

    /// Something has come in.
    fn incoming(&mut self, ctx: &mut Context<'_>, number: u32) {
        let found = self.find(|unit| unit.number == number && unit.watched);
        let Some(unit) = found else { return };
        let name = unit.record.unit.clone();
        if unit.count_trigger() {
            let why = "it was triggered more often than TriggerLimitBurst= allows".into();
            return self.fail(ctx, &name, TRIGGER_LIMIT, why);
        }
        unit.served = true;
        unit.look(ctx);
        ctx.send(FromHelper::Trigger { unit: name.clone() });
        self.tell(ctx, &name);
    }

    /// What the manager has on record of a unit's listeners. It counts if the journal does not know
    /// the unit: then that was lost.
    fn known_offer(&mut self, offer: &Offer) {
        let adopted = self.adopted;
        let unit = self.find(|unit| unit.record.unit == offer.from);
        if let Some(unit) = unit.filter(|unit| !adopted && unit.record.is_blank()) {
            unit.take_up(offer.count);
            unit.record.to.clone_from(&offer.to);
            unit.record.name.clone_from(&offer.name);
        }
    }

    /// Nobody knows anything of a unit that is loaded: init may have its listeners all the same.
    fn probe(&mut self, ctx: &mut Context<'_>) {
        for unit in self.units.iter_mut().filter(|unit| unit.record.is_blank()) {
            let Some(config) = unit.config.as_ref().filter(|_| unit.broken.is_empty()) else {
                continue;
            };
            unit.record.count = config.listeners.len() as u16;
            unit.ask(ctx);
        }
    }

    /// What listens at a path must have one: see the manager's `reconcile`.
    fn compare(&mut self, ctx: &mut Context<'_>) {
        let mut lost = Vec::new();
        for unit in self.units.iter_mut().filter(|unit| unit.is_complete()) {
            let listeners = unit.config.as_ref().map(|config| config.listeners.iter());
            let paths: Vec<(usize, String)> = listeners
                .into_iter()
                .flatten()
                .enumerate()
                .filter_map(|(index, listener)| Some((index, listener.path()?.to_owned())))
                .filter(|(_, path)| !platform::files::exists(Path::new(path)))
                .collect();
            for (index, path) in paths {
                let name = unit.record.unit.clone();
                let found = ["nobody can connect: ", &path, " is gone"].concat();
                if unit.served {
                    let done = "left alone: the service has the old one; restart both";
                    ctx.differs(&name, "socket", found, done);
                    continue;
                }
                match unit.make_again(index, ctx) {
                    Ok(()) => ctx.differs(&name, "socket", found, "made anew"),
                    Err(why) => lost.push((name, why)),
                }
            }
        }
        for (name, why) in lost {
            self.fail(ctx, &name, RESOURCES, why);
        }
    }

    /// All units are loaded: takes over what an earlier process left, and tells the manager all.
    fn sync(&mut self, ctx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.adopted, true) {
            let (left, _) = ctx.journal.remembered::<Record>();
            for record in left {
                let unit = record.unit.clone();
                self.entry(&unit).record = record;
            }
            for unit in self.units.iter_mut().filter(|u| !u.record.state.is_down()) {
                unit.ask(ctx);
            }
            self.probe(ctx);
        }
        for unit in &mut self.units {
            if unit.record.is_blank() {
                continue;
            }
            if unit.record.state.is_down() {
                // The last manager may have died before it passed this on.
                unit.release(ctx);
            } else if unit.is_complete() {
                ctx.send(unit.offer(unit.record.count));
            }
            ctx.send(FromHelper::Report(unit.report()));
        }
    }
}

/// What init says about a listener.
enum Answer {
    Have(OwnedFd),
    Nothing,
    Kept,
    Refused(String),
}

impl UnitType for Sockets {
    fn name(&self) -> &'static str {
        "socket"
    }

    /// What the journal holds is taken over at the first `Sync`: not before the configuration of the
    /// units is there.
    fn adopt(&mut self, _: &mut Context<'_>) {}

    fn welcome(&mut self, config: &HelperConfig, _: &mut Context<'_>) {
        self.strict = config.strict;
    }

    fn message(&mut self, message: Message, ctx: &mut Context<'_>) {
        match message {
            Message::Load(source) => self.load(ctx, &source),
            Message::Unload(unit) => self.unload(ctx, &unit),
            Message::Sync => self.sync(ctx),
            Message::Reconcile => self.compare(ctx),
            Message::Command(command) => self.command(ctx, &command),
            Message::Triggered(unit, state) => self.triggered(ctx, &unit, state),
            Message::Kept(label) => self.answered(ctx, label, Answer::Kept),
            Message::NotKept(label, why) => self.answered(ctx, label, Answer::Refused(why)),
            Message::Fetched(label, fd) => self.answered(ctx, label, Answer::Have(fd)),
            Message::NotFound(label) => self.answered(ctx, label, Answer::Nothing),
            Message::Sockets(offer) => self.known_offer(&offer),
            Message::About(_) => {}
        }
    }

    /// It has no processes.
    fn exited(&mut self, _: ProcId, _: i32, _: &mut Context<'_>) {}

    fn ready(&mut self, ready: Ready, ctx: &mut Context<'_>) {
        self.incoming(ctx, (ready.token >> 8) as u32);
    }

    fn tick(&mut self, _: Micros, _: &mut Context<'_>) {}

    /// Nothing is ever owed.
    fn deadline(&self) -> Option<Micros> {
        None
    }
}

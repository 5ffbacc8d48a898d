//! What is on its way between the manager and its helpers, what the helpers do, and the time that passes meanwhile.

use super::{Command, Said, World, short};
use crate::helper::Does;
use crate::rng::Rng;
use engine::api::Input;
use units::name::UnitName;
use units::state::{ActiveState, Micros};
use units::wire::helper::Verb;

/// Pieces of work after which a world that does not come to rest is given up.
const RESTLESS: usize = 20_000;

impl World {
    /// A command for a helper out of contact is dropped: it will be sent again.
    pub(super) fn send(&mut self, command: Command) {
        if self.lost.contains(command.unit.unit_type()) {
            return;
        }
        let slot = self.helper.slots.get(&command.unit);
        if slot.is_none_or(|slot| slot.seq < command.seq) {
            let word = match command.verb {
                Verb::Start => "start",
                Verb::Stop => "stop",
                Verb::Reload => "reload",
                _ => "reset",
            };
            let unit = short(command.unit.as_str());
            self.trace.push(format!("{word} {unit}"));
        }
        self.to_helper.push_back(command);
    }

    /// The helper says what it knows of a unit.
    pub fn report(&mut self, unit: &UnitName) {
        if let Some(said) = self.helper.said(unit) {
            self.to_manager.push_back(Said::Report(unit.clone(), said));
        }
    }

    /// The manager reads the next message. False if there is none.
    pub fn hear(&mut self) -> bool {
        match self.to_manager.pop_front() {
            None => return false,
            Some(Said::Report(unit, observed)) => {
                if self.engine.find(&unit).is_none_or(|it| it.load.is_none()) {
                    self.load_for(&unit);
                }
                let unit = self.engine.intern(&unit);
                self.feed(Input::Report { unit, observed });
            }
            Some(Said::Synced(unit_type, names)) => {
                self.lost.remove(&unit_type);
                let reported = names.iter().map(|unit| self.engine.intern(unit)).collect();
                self.feed(Input::HelperSynced {
                    unit_type,
                    reported,
                });
            }
        }
        true
    }

    /// The helper reads the next command. False if there is none.
    fn obey(&mut self) -> bool {
        let Some(command) = self.to_helper.pop_front() else {
            return false;
        };
        let known = !self.helper.accept(&command, self.now);
        let slot = self.helper.slots.get(&command.unit);
        // What is done at once is said once.
        if known || slot.is_none_or(|slot| slot.due != Some(self.now)) {
            self.report(&command.unit);
        }
        true
    }

    /// All messages arrive; nothing is carried out.
    pub fn deliver(&mut self) {
        while self.hear() || self.obey() {}
    }

    /// What is due of a unit happens, and is said.
    fn happen(&mut self, unit: &UnitName) {
        self.helper.happen(unit);
        self.report(unit);
    }

    /// A report is read, something due happens, or a command is read, the first of these there is.
    /// False if there is none.
    pub fn work(&mut self) -> bool {
        if self.hear() {
            return true;
        }
        let due = self.helper.due(self.now).next().cloned();
        match due {
            Some(unit) => self.happen(&unit),
            None => return self.obey(),
        }
        true
    }

    /// One of them, by chance.
    pub fn work_by_chance(&mut self, rng: &mut Rng) {
        let due: Vec<UnitName> = self.helper.due(self.now).cloned().collect();
        match rng.below(3) {
            0 if self.hear() => {}
            1 if !due.is_empty() => self.happen(&due[rng.below(due.len())]),
            _ if self.obey() => {}
            _ if !due.is_empty() => self.happen(&due[rng.below(due.len())]),
            _ => {
                self.hear();
            }
        }
    }

    /// Until nothing is on its way and nothing due.
    pub fn settle(&mut self) {
        for _ in 0..RESTLESS {
            if !self.work() {
                return;
            }
        }
        let tail = self.trace.iter().rev().take(10).collect::<Vec<_>>();
        self.broken
            .push(format!("rest: it never comes to rest: {tail:?}"));
        self.to_helper.clear();
        self.to_manager.clear();
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        let due = self.helper.due(self.now).next().is_some();
        self.to_helper.is_empty() && self.to_manager.is_empty() && !due
    }

    /// Whether every helper that there is has been synchronised with.
    pub fn is_in_contact(&self) -> bool {
        self.lost.is_subset(&self.missing)
    }

    /// Time passes until then, deadline by deadline.
    pub fn wait(&mut self, micros: Micros) {
        let until = self.now.saturating_add(micros);
        self.settle();
        for turn in 0.. {
            let next = [self.engine.next_deadline(), self.helper.next_due()];
            let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.feed(Input::Tick);
            self.settle();
            if turn == RESTLESS || self.broken.len() > 20 {
                self.broken.push("rest: a deadline that never goes".into());
                break;
            }
        }
        self.now = until;
    }

    /// It is later at once; what was due in between is due now.
    pub fn jump(&mut self, micros: Micros) {
        self.now = self.now.saturating_add(micros);
        self.feed(Input::Tick);
    }

    /// It is later at once, and nobody was awake.
    pub fn sleep(&mut self, micros: Micros) {
        self.now = self.now.saturating_add(micros);
        self.feed(Input::Slept { span: micros });
        self.feed(Input::Tick);
    }

    /// The wall clock is set back. The engine never hears of it; should its shell ever mistake it
    /// for the time, nothing follows from that either.
    pub fn wall(&mut self, micros: Micros) {
        self.feed(Input::Tick);
        let now = self.now;
        let before = self.effects;
        self.now = now.saturating_sub(micros);
        self.feed(Input::Tick);
        self.now = now;
        if self.effects != before && self.cut.is_none() {
            self.broken.push("clock: a step back had effects".into());
        }
    }

    /// What hangs comes to this end.
    pub fn complete(&mut self, unit: &UnitName, how: Does) {
        self.helper.complete(unit, how, self.now);
        self.report(unit);
    }

    /// A unit ends by itself.
    pub fn ends(&mut self, unit: &UnitName, end: ActiveState) {
        self.helper.ends(unit, end);
        self.report(unit);
    }
}

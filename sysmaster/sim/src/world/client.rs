//! Clients: what they ask for, again if the manager dies before it has answered.

use super::{World, name};
use engine::api::{Input, Ticket};
use units::name::UnitName;
use units::state::{JobMode, JobVerb};

impl World {
    /// A client's request. False if it was refused. If the manager dies before it has answered, the
    /// client connects again and repeats.
    pub fn ask(&mut self, verb: JobVerb, unit: &str, mode: JobMode) -> bool {
        let unit = name(unit);
        self.ticket += 1;
        let ticket = Ticket(self.ticket);
        self.answered = None;
        for _ in 0..3 {
            let crashes = self.crashes;
            self.load_for(&unit);
            self.feed(Input::Tick);
            if self.crashes == crashes {
                self.watch.asked(verb, &unit, mode);
                self.feed(Input::Enqueue {
                    ticket,
                    unit: unit.clone(),
                    verb,
                    mode,
                });
            }
            if let Some(answer) = self.answered.take() {
                return answer;
            }
        }
        self.broken.push(format!("answer: none for {unit}"));
        false
    }

    /// A client's request for an atomic start. False if it was refused. As [`World::ask`].
    pub fn ask_atomically(&mut self, units: &[&str]) -> bool {
        let units: Vec<UnitName> = units.iter().map(|unit| name(unit)).collect();
        self.ticket += 1;
        self.answered = None;
        for _ in 0..3 {
            let crashes = self.crashes;
            units.iter().for_each(|unit| self.load_for(unit));
            self.feed(Input::Tick);
            if self.crashes == crashes {
                self.feed(Input::Atomic {
                    ticket: Ticket(self.ticket),
                    units: units.clone(),
                    mode: JobMode::Replace,
                });
            }
            if let Some(answer) = self.answered.take() {
                return answer;
            }
        }
        self.broken.push("answer: none for an atomic start".into());
        false
    }

    /// An atomic start, until it has ended, by a client that asks again if the manager dies. False if refused.
    pub fn atomic(&mut self, units: &[&str]) -> bool {
        let units: Vec<UnitName> = units.iter().map(|unit| name(unit)).collect();
        self.ticket += 1;
        loop {
            let before = self.crashes;
            self.answered = None;
            for unit in &units {
                self.load_for(unit);
                self.watch.asked(JobVerb::Start, unit, JobMode::Replace);
            }
            self.feed(Input::Atomic {
                ticket: Ticket(self.ticket),
                units: units.clone(),
                mode: JobMode::Replace,
            });
            self.settle();
            let ended = |last: &u32| *last == 0 || self.closed.contains_key(last);
            let done = self.crashes == before || self.opened.last().is_none_or(ended);
            match self.answered {
                Some(false) => return false,
                Some(true) if done => return true,
                _ => {}
            }
        }
    }
}

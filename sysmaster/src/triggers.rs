//! Units that start others when something comes (sockets), and the descriptors they hand on.
//!
//! The helper of such a unit says that something came; what the unit triggers is a relation of the
//! graph (`Triggers`), and the start is a transaction of the engine's like any other. The helper is
//! told how it stands with the other unit: after each trigger, with each change of the unit's state,
//! at the end of each of its jobs, and when contact is made. So nothing is lost if the helper or this
//! manager dies in between: a unit that still waits is told "down" and triggers again.
//!
//! *Offers.* Which unit has listening descriptors for which is in the state store before the unit that
//! has them counts as up, and told to the helper of the other with its `Load` and with each change.
//! The descriptors themselves are in init's keeping; nobody hands them round.

use crate::manager::Manager;
use engine::Rel;
use engine::api::{Input, Ticket, UnitId};
use units::collections::Map;
use units::name::UnitName;
use units::state::{JobMode, JobVerb};
use units::wire::helper::{Sockets, ToHelper, Triggered};

/// What is offered, by the unit that has it.
pub(crate) type Offers = Map<String, Sockets>;

impl Manager {
    /// Something has come in for a unit of this helper's type.
    pub(crate) fn on_trigger(&mut self, index: usize, unit: &str) {
        let Some(id) = self.unit_of_helper(index, unit) else {
            return;
        };
        if self.boot.safe_until.is_some() {
            // Its helper hears of the end of safe mode.
            return self.log(
                4,
                unit,
                "something came in; nothing is started in safe mode",
            );
        }
        for target in self.related(id, Rel::Triggers) {
            let Some(name) = self.engine.unit(target).map(|view| view.name.clone()) else {
                continue;
            };
            self.load_for(&name);
            self.inputs.push_back(Input::Enqueue {
                ticket: Ticket::default(),
                unit: name.clone(),
                verb: JobVerb::Start,
                mode: JobMode::Replace,
            });
            self.pump();
            let (state, loaded) = self.standing(target);
            // Neither up nor on its way: the transaction was refused, or ended at once.
            let state = match state {
                Triggered::Down if !loaded => Triggered::Refused("it cannot be loaded".into()),
                state => state,
            };
            self.tell_triggered(id, state);
        }
    }

    /// The unit, if it is one of the helper's type that the engine knows.
    fn unit_of_helper(&self, index: usize, unit: &str) -> Option<UnitId> {
        let name = UnitName::new(unit).ok()?;
        let own = self.helpers.get(index)?.unit_type == name.unit_type();
        let found = self.engine.find(&name).filter(|_| own)?;
        Some(found.id)
    }

    fn related(&self, unit: UnitId, rel: Rel) -> Vec<UnitId> {
        let edges = self.engine.edges(unit).filter(|(kind, _)| *kind == rel);
        edges.map(|(_, other)| other).collect()
    }

    /// How it stands with a unit, for those that trigger it; and whether it can be used.
    fn standing(&self, unit: UnitId) -> (Triggered, bool) {
        let Some(view) = self.engine.unit(unit) else {
            return (Triggered::Down, false);
        };
        let loaded = view.load.is_none_or(units::spec::LoadState::is_loaded);
        let starts = view.job.is_some_and(|job| job.verb != JobVerb::Stop);
        let state = if starts || !view.active.is_down() {
            Triggered::Up
        } else if view.limit_hit {
            Triggered::Refused("service-start-limit-hit".into())
        } else {
            Triggered::Down
        };
        (state, loaded)
    }

    fn tell_triggered(&mut self, unit: UnitId, state: Triggered) {
        let Some(name) = self.name_of(unit) else {
            return;
        };
        let Some(index) = self.helpers.find(crate::answers::type_of(&name)) else {
            return;
        };
        self.tell_helper(index, &ToHelper::Triggered { unit: name, state });
    }

    /// A unit has changed: those that trigger it are told.
    pub(crate) fn tell_triggers_of(&mut self, unit: UnitId) {
        let triggers = self.related(unit, Rel::TriggeredBy);
        if triggers.is_empty() {
            return;
        }
        let (state, _) = self.standing(unit);
        for trigger in triggers {
            self.tell_triggered(trigger, state.clone());
        }
    }

    /// Contact is made: how it stands with what the units of this type trigger. A refusal of the past
    /// is none before something comes again.
    pub(crate) fn tell_all_triggered(&mut self, unit_type: &str) {
        let units: Vec<UnitId> = self
            .engine
            .units()
            .filter(|unit| unit.name.unit_type() == unit_type && unit.load.is_some())
            .map(|unit| unit.id)
            .collect();
        for unit in units {
            for target in self.related(unit, Rel::Triggers) {
                let state = match self.standing(target).0 {
                    Triggered::Up => Triggered::Up,
                    _ => Triggered::Down,
                };
                self.tell_triggered(unit, state);
            }
        }
    }

    /// A unit has listening descriptors for another, or has them no more.
    pub(crate) fn on_offer(&mut self, index: usize, sockets: Sockets) {
        if self.unit_of_helper(index, &sockets.from).is_none() {
            return;
        }
        if self.offers.get(&sockets.from) == Some(&sockets)
            || sockets.count == 0 && !self.offers.contains_key(&sockets.from)
        {
            return;
        }
        let stored = self.persist.offer(&sockets);
        self.stored(stored);
        self.tell_offer(&sockets);
        if sockets.count == 0 {
            self.offers.remove(&sockets.from);
        } else {
            self.offers.insert(sockets.from.clone(), sockets);
        }
    }

    /// To the helper of the unit that gets them; one out of contact is told with the `Load`.
    fn tell_offer(&mut self, sockets: &Sockets) {
        if let Some(index) = self.helpers.find(crate::answers::type_of(&sockets.to)) {
            self.tell_helper(index, &ToHelper::Sockets(sockets.clone()));
        }
    }

    /// What is offered to a unit, for its `Load`; and what it offers itself, in case its helper has
    /// lost its journal.
    pub(crate) fn offers_to(&self, unit: &str) -> Vec<ToHelper> {
        let concerns = |sockets: &&Sockets| sockets.to == unit || sockets.from == unit;
        let offers = self.offers.values().filter(concerns);
        offers.cloned().map(ToHelper::Sockets).collect()
    }
}

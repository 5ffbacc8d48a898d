//! The helper: what becomes of a unit's commands, and what is said of it.
//!
//! A helper remembers of each unit what a journal would: the last command and its outcome, the state,
//! the wish for another invocation. That outlives its process. A command takes its time and then ends
//! as the unit's [`Behaviour`] says; a unit that is up may end by itself later. Everything it says is
//! the unit's whole state, so what is lost on the way is made good by the next report.

use crate::world::Command;
use engine::api::Observed;
use std::collections::BTreeMap;
use units::name::UnitName;
use units::state::{ActiveState, Invocation, Micros, Outcome, RestartWish};
use units::wire::helper::Verb;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// As asked.
    Works,
    /// Not as asked; a stop leaves the unit up.
    Fails,
    /// A start: done and inactive, as a oneshot.
    Finishes,
    /// Not at all, until [`crate::World::finish`].
    Hangs,
    /// A start: its own condition says no.
    Skips,
    /// A stop: refused until it is killed; down, and failed.
    Killed,
}

/// Which ends of an invocation are followed by another one (`Restart=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartOn {
    /// Every end that no command asked for.
    Always,
    /// The failed ones.
    Failure,
    /// The others.
    Success,
}

/// What a unit does when it is told something, and by itself.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// A start, and how long it takes.
    pub start: Does,
    /// In microseconds.
    pub start_takes: Micros,
    /// A stop.
    pub stop: Does,
    /// In microseconds.
    pub stop_takes: Micros,
    /// A reload.
    pub reload: Does,
    /// In microseconds.
    pub reload_takes: Micros,
    /// It ends by itself so long after it came up, in this state.
    pub lasts: Option<(Micros, ActiveState)>,
    /// `RestartSec=`, if it is restarted at all.
    pub restart: Option<Micros>,
    /// `Restart=`.
    pub restart_on: RestartOn,
    /// What its conditions say.
    pub verdict: engine::api::Verdict,
    /// Whether it can reload.
    pub can_reload: bool,
    /// A command in flight is not repeated when the helper dies: it counts as interrupted.
    pub once: bool,
    /// It forked away: after the death of its helper nobody knows it.
    pub forks: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            start: Does::Works,
            start_takes: 0,
            stop: Does::Works,
            stop_takes: 0,
            reload: Does::Works,
            reload_takes: 0,
            lasts: None,
            restart: None,
            restart_on: RestartOn::Always,
            verdict: engine::api::Verdict::Go,
            can_reload: true,
            once: false,
            forks: false,
        }
    }
}

impl Behaviour {
    fn of(&self, verb: Verb) -> (Does, Micros) {
        match verb {
            Verb::Start => (self.start, self.start_takes),
            Verb::Stop => (self.stop, self.stop_takes),
            Verb::Reload => (self.reload, self.reload_takes),
            _ => (Does::Works, 0),
        }
    }

    fn wish(&self, end: ActiveState) -> Option<RestartWish> {
        let wanted = match self.restart_on {
            RestartOn::Always => true,
            RestartOn::Failure => end == ActiveState::Failed,
            RestartOn::Success => end == ActiveState::Inactive,
        };
        self.restart
            .filter(|_| wanted)
            .map(|delay| RestartWish { delay })
    }
}

/// What is remembered of a unit: its journal.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// State.
    pub active: ActiveState,
    /// Current or last invocation.
    pub invocation: Invocation,
    /// Last command accepted.
    pub seq: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Another invocation is wished for.
    pub restart: Option<RestartWish>,
    /// The command under way.
    pub verb: Option<Verb>,
    /// When it ends, or when the unit ends by itself.
    pub due: Option<Micros>,
    /// Starts so far.
    pub starts: u32,
}

/// All helpers: one journal for each unit they know.
#[derive(Clone, Debug, Default)]
pub struct Helper {
    /// The journals.
    pub slots: BTreeMap<UnitName, Slot>,
    /// What units do; [`Behaviour::default`] where nothing is said.
    pub behaviour: BTreeMap<UnitName, Behaviour>,
    /// Promises seen broken.
    pub broken: Vec<String>,
}

impl Helper {
    /// What a unit does.
    pub fn does(&self, unit: &UnitName) -> Behaviour {
        self.behaviour.get(unit).copied().unwrap_or_default()
    }

    /// A command arrived. False if it was known: its report is to be said again.
    pub fn accept(&mut self, command: &Command, now: Micros) -> bool {
        let does = self.does(&command.unit);
        let slot = self.slots.entry(command.unit.clone()).or_default();
        if command.seq <= slot.seq {
            return false;
        }
        slot.seq = command.seq;
        slot.outcome = Outcome::Pending;
        let by_itself = !matches!(command.unit.unit_type(), "service");
        match command.verb {
            Verb::Start if !slot.active.is_down() => {
                if !by_itself {
                    let text = format!("twice: {} started while {:?}", command.unit, slot.active);
                    self.broken.push(text);
                }
                slot.outcome = Outcome::Done;
                return true;
            }
            Verb::Start => {
                slot.starts += 1;
                slot.invocation = command.invocation;
                slot.active = ActiveState::Activating;
                slot.restart = None;
            }
            Verb::Stop => {
                slot.restart = None;
                if !slot.active.is_down() {
                    slot.active = ActiveState::Deactivating;
                }
            }
            Verb::Reload if slot.active == ActiveState::Active => {
                slot.active = ActiveState::Reloading;
            }
            Verb::Reload => {
                slot.outcome = Outcome::Failed;
                return true;
            }
            _ => {}
        }
        let pending = slot.outcome == Outcome::Pending;
        slot.verb = pending.then_some(command.verb);
        slot.due = None;
        if pending {
            let (how, takes) = does.of(command.verb);
            let (how, takes) = match slot.active.is_down() {
                true => (Does::Works, 0),
                false => (how, takes),
            };
            slot.due = (how != Does::Hangs).then(|| now.saturating_add(takes));
        }
        true
    }

    /// Units whose next thing is due.
    pub fn due(&self, now: Micros) -> impl Iterator<Item = &UnitName> {
        self.slots
            .iter()
            .filter(move |(_, slot)| slot.due.is_some_and(|due| due <= now))
            .map(|(unit, _)| unit)
    }

    /// When the next thing is due.
    pub fn next_due(&self) -> Option<Micros> {
        self.slots.values().filter_map(|slot| slot.due).min()
    }

    /// What is due happens.
    pub fn happen(&mut self, unit: &UnitName) {
        let does = self.does(unit);
        let Some(slot) = self.slots.get_mut(unit) else {
            return;
        };
        match (slot.verb, does.lasts) {
            (Some(verb), _) => {
                let now = slot.due.unwrap_or_default();
                self.complete(unit, does.of(verb).0, now);
            }
            (None, Some((_, end))) => self.ends(unit, end),
            (None, None) => slot.due = None,
        }
    }

    /// The command under way comes to this end.
    pub fn complete(&mut self, unit: &UnitName, how: Does, now: Micros) {
        let does = self.does(unit);
        let Some(slot) = self.slots.get_mut(unit) else {
            return;
        };
        let Some(verb) = slot.verb.take() else {
            return;
        };
        slot.outcome = match how {
            Does::Fails => Outcome::Failed,
            Does::Skips => Outcome::Skipped,
            _ => Outcome::Done,
        };
        let was = slot.active;
        let how = if was.is_down() { Does::Works } else { how };
        slot.active = match (verb, how) {
            (Verb::Start, Does::Fails) => ActiveState::Failed,
            (Verb::Start, Does::Works | Does::Hangs | Does::Killed) => ActiveState::Active,
            (Verb::Start, _) => ActiveState::Inactive,
            (Verb::Stop, Does::Fails) if !was.is_down() => ActiveState::Active,
            (Verb::Stop, Does::Killed) => ActiveState::Failed,
            (Verb::Reload, _) => ActiveState::Active,
            (Verb::ResetFailed, _) if !was.is_down() => was,
            _ => ActiveState::Inactive,
        };
        slot.restart = None;
        slot.due = None;
        if verb == Verb::Start && slot.active.is_down() && how != Does::Skips {
            slot.restart = does.wish(slot.active);
        }
        if slot.active == ActiveState::Active {
            slot.due = does.lasts.map(|(after, _)| now.saturating_add(after));
        }
    }

    /// The unit ends by itself.
    pub fn ends(&mut self, unit: &UnitName, end: ActiveState) {
        let does = self.does(unit);
        let Some(slot) = self.slots.get_mut(unit) else {
            return;
        };
        if slot.active.is_down() {
            return;
        }
        let stopping = slot.verb == Some(Verb::Stop);
        if slot.outcome == Outcome::Pending {
            slot.outcome = if stopping {
                Outcome::Done
            } else {
                Outcome::Failed
            };
        }
        slot.verb = None;
        slot.active = end;
        slot.due = (end == ActiveState::Deactivating).then_some(0);
        if slot.due.is_some() {
            // Its stop commands run; then it is down.
            slot.verb = Some(Verb::Stop);
        }
        slot.restart = does.wish(end).filter(|_| !stopping && end.is_down());
    }

    /// A unit that nobody started is there, as a mount or a device may be.
    pub fn appears(&mut self, unit: &UnitName) {
        let slot = self.slots.entry(unit.clone()).or_default();
        if slot.active.is_down() && slot.verb.is_none() {
            slot.active = ActiveState::Active;
            slot.restart = None;
        }
    }

    /// The helper of a type dies; another one takes its journals up.
    pub fn dies(&mut self, unit_type: &str) {
        let behaviour = &self.behaviour;
        let of_type = |unit: &UnitName| unit.unit_type() == unit_type;
        let lost = |unit: &UnitName, slot: &Slot| {
            let forks = behaviour.get(unit).is_some_and(|does| does.forks);
            of_type(unit) && forks && slot.active.is_up() && slot.verb.is_none()
        };
        self.slots.retain(|unit, slot| !lost(unit, slot));
        for (unit, slot) in self.slots.iter_mut().filter(|(unit, _)| of_type(unit)) {
            let once = behaviour.get(unit).is_some_and(|does| does.once);
            let Some(verb) = slot.verb.filter(|verb| once && *verb != Verb::Stop) else {
                continue;
            };
            slot.verb = None;
            slot.due = None;
            slot.outcome = Outcome::Interrupted;
            slot.active = match verb {
                Verb::Start => ActiveState::Failed,
                _ if slot.active.is_up() => ActiveState::Active,
                _ => slot.active,
            };
        }
    }

    /// What it says of a unit.
    pub fn said(&self, unit: &UnitName) -> Option<Observed> {
        let slot = self.slots.get(unit)?;
        Some(Observed {
            invocation: slot.invocation,
            seq: slot.seq,
            outcome: slot.outcome,
            active: slot.active,
            restart: slot.restart,
            can_reload: self.does(unit).can_reload,
        })
    }
}

//! Whether a unit may stay as it is, whatever brought it there.
//!
//! Most of what follows from a change is an event ([`crate::unit`]). Some of it is a condition that
//! must hold whenever nothing moves: a unit that is up does not stay so while one it is bound to is
//! down, or when nobody needs it any more and it says `StopWhenUnneeded=`; a unit that is down does
//! not stay so while one that is up upholds it; and a unit that is down and that nobody refers to
//! does not stay at all (`CollectMode=`). So after each change, and when a job has ended, the unit is
//! looked at, and with it those for which it may have made the difference. A unit with a job is on
//! its way, and is looked at when it has arrived. A stop that fails leaves the unit as it was, to be
//! looked at again: only so many are tried in ten seconds ([`Engine::may_follow_again`]).

use crate::api::{Effect, JobCause, UnitId};
use crate::mutants::mutant;
use crate::record::is_blank;
use crate::rel::{Rel, THEIRS};
use crate::{Engine, Timer};
use alloc::string::String;
use units::spec::CollectMode;
use units::state::{ActiveState, JobMode, JobVerb, Micros};

impl Engine {
    /// Looks at a unit, and at those for which its state may make the difference.
    pub(crate) fn look_at(&mut self, unit: u32) {
        let it = self.arena.get(unit);
        if it.has_job() {
            return;
        }
        if it.active.is_up() {
            self.look_at_binding(unit);
            self.look_at_need(unit);
            for at in self.arena.range(unit, Rel::Upholds) {
                self.look_at_upheld(self.arena.end(unit, at));
            }
        } else if it.active.is_down() {
            for at in self.arena.range(unit, Rel::BoundBy) {
                self.look_at_binding(self.arena.end(unit, at));
            }
            for rel in NEEDS {
                for at in self.arena.range(unit, rel) {
                    self.look_at_need(self.arena.end(unit, at));
                }
            }
            self.look_at_upheld(unit);
            self.look_at_use(unit);
        }
    }

    /// Has a unit looked at again at this time.
    pub(crate) fn look_at_time(&mut self, unit: u32, at: Micros) {
        if at != Micros::MAX {
            self.deadlines.insert((at, unit, Timer::Look));
        }
    }

    /// A unit may not be up while one it is bound to is down and has no job.
    fn look_at_binding(&mut self, unit: u32) {
        let it = self.arena.get(unit);
        if it.active != ActiveState::Active || it.has_job() || mutant!(17) {
            return;
        }
        let gone = |other: &u32| {
            let other = self.arena.get(*other);
            other.active.is_down() && !other.has_job()
        };
        let culprit = self.arena.ends(unit, Rel::BindsTo).find(gone);
        if let Some(culprit) = culprit
            && self.may_follow_again(unit)
        {
            let parts = ["stopped, because it is bound to ", self.arena.name(culprit)];
            let text = [&parts.concat(), ", which is not active"].concat();
            self.log(5, Some(unit), text);
            let cause = JobCause::Unit(UnitId(culprit), Rel::BoundBy);
            self.ask(unit, JobVerb::Stop, JobMode::Replace, cause);
        }
    }

    /// `StopWhenUnneeded=`.
    fn look_at_need(&mut self, unit: u32) {
        let it = self.arena.get(unit);
        let stops = it.settings().stop_when_unneeded;
        if !stops || it.active != ActiveState::Active || it.has_job() {
            return;
        }
        let needed = NEEDS
            .into_iter()
            .flat_map(|rel| self.arena.ends(unit, rel.inverse()))
            .any(|other| {
                let other = self.arena.get(other);
                !other.at_rest() || other.has_job()
            });
        if !needed && self.may_follow_again(unit) {
            let text = "stopped, because nothing needs it any more";
            self.log(6, Some(unit), String::from(text));
            self.ask(unit, JobVerb::Stop, JobMode::Fail, JobCause::Unneeded);
        }
    }

    /// `Upholds=`: what is down and at rest, while a unit that upholds it is up and has no job, is
    /// started.
    fn look_at_upheld(&mut self, unit: u32) {
        let it = self.arena.get(unit);
        if !it.at_rest() || it.has_job() {
            return;
        }
        let up = |other: &u32| {
            let other = self.arena.get(*other);
            other.active.is_up() && !other.has_job()
        };
        let upholds = self.arena.ends(unit, Rel::UpheldBy).find(up);
        if let Some(other) = upholds {
            let until = it.limit_until();
            if it.limit_hit && until > self.now {
                return self.look_at_time(unit, until);
            }
            let cause = JobCause::Unit(UnitId(other), Rel::Upholds);
            self.ask(unit, JobVerb::Start, JobMode::Fail, cause);
        }
    }

    /// A unit this one is bound to and ordered after, and which is not up.
    pub(crate) fn bound_to_inactive(&self, unit: u32) -> Option<u32> {
        if mutant!(16) {
            return None;
        }
        self.arena
            .ends(unit, Rel::BindsTo)
            .find(|other| !self.active(*other).is_up() && self.arena.has(unit, Rel::After, *other))
    }

    /// `CollectMode=`: forgets a unit that is down and that no loaded unit refers to. See
    /// [`Unit::remembered_until`](crate::node::Unit).
    fn look_at_use(&mut self, unit: u32) {
        let it = self.arena.get(unit);
        let failed = it.active == ActiveState::Failed;
        let kept = failed && it.settings().collect == CollectMode::Inactive;
        let referred = it.edges.iter().any(|edge| edge.by & THEIRS != 0);
        if it.load.is_none() || it.is_alias() || !it.at_rest() || kept || referred {
            return;
        }
        let (now, until) = (self.now, it.remembered_until());
        if until > now {
            return self.look_at_time(unit, until);
        }
        if failed {
            self.reset_failed(unit);
        }
        if !is_blank(self.arena.get(unit), now) {
            return;
        }
        self.arena.unload(unit);
        self.touch_unit(unit);
        self.outbox.push(Effect::Collected { unit: UnitId(unit) });
        // What only this one referred to may go as well.
        self.look.extend(self.arena.lost.drain(..));
    }
}

/// How a unit may need another: what pins one that stops when it is unneeded.
const NEEDS: [Rel; 5] = [
    Rel::Requires,
    Rel::Requisite,
    Rel::Wants,
    Rel::BindsTo,
    Rel::Upholds,
];

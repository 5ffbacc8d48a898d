//! What would be done, and why things are as they are, in the frames of the control protocol. The
//! sentences are the client's.

use crate::manager::Manager;
use engine::api::UnitId;
use engine::{Dropped, Fate, Plan, PlanJob, Rel};
use units::collections::Map;
use units::wire::control::{PlannedJob, Reply, UnitHistory};

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::New => "new",
        Fate::Joins(..) => "joins",
        Fate::Replaces(..) => "replaces",
        Fate::Left(why) => match why {
            Dropped::Redundant => "redundant",
            Dropped::Unusable => "unusable",
            Dropped::Cycle => "cycle",
            Dropped::Contradiction => "contradiction",
            Dropped::Impact => "impact",
            Dropped::No | Dropped::Orphan | Dropped::Fused => "orphan",
        },
    }
}

impl Manager {
    /// A plan, job by job, and then what the log would say.
    pub(crate) fn planned(&self, plan: Plan) -> Vec<Reply> {
        let stays = |job: &PlanJob| !matches!(job.fate, Fate::Left(_));
        let mut places: Map<UnitId, u32> = Map::new();
        for (job, at) in plan.jobs.iter().zip(0..).filter(|(job, _)| stays(job)) {
            places.insert(job.unit, at);
        }
        let mut frames = Vec::with_capacity(plan.jobs.len() + 1);
        for job in &plan.jobs {
            let (cause, cause_unit) = self.engine.cause_words(job.cause);
            let outside = job.after.iter().filter(|unit| !places.contains_key(unit));
            let mut after: Vec<u32> = job
                .after
                .iter()
                .filter_map(|unit| places.get(unit))
                .copied()
                .collect();
            after.sort_unstable();
            frames.push(Reply::Planned(PlannedJob {
                unit: self.name_of(job.unit).unwrap_or_default(),
                verb: job.verb,
                cause,
                cause_unit,
                needed: job.needed,
                fate: word(job.fate).into(),
                queued: match job.fate {
                    Fate::Joins(id, verb) | Fate::Replaces(id, verb) => Some((id.0, verb)),
                    _ => None,
                },
                after,
                waits_for: outside.filter_map(|unit| self.name_of(*unit)).collect(),
            }));
        }
        frames.push(Reply::Findings(plan.notes));
        frames
    }

    /// What is remembered of a unit; `None` for one that was never loaded.
    pub(crate) fn history(&self, id: UnitId) -> Option<UnitHistory> {
        let view = self.engine.unit(id)?;
        view.load?;
        let times = self.engine.times(id);
        let mut before = (0, UnitId(u32::MAX));
        for (rel, other) in self.engine.edges(id) {
            let there = self.engine.times(other);
            // A oneshot is never up: it was there when it was down again.
            let there = match there.active_enter {
                0 => there.inactive_enter,
                at => at,
            };
            if rel == Rel::After && there <= times.inactive_exit {
                before = before.max((there, other));
            }
        }
        Some(UnitHistory {
            unit: view.name.as_str().to_owned(),
            active: view.active,
            times,
            job: self.engine.past(id),
            before: match before.0 {
                0 => String::new(),
                _ => self.name_of(before.1).unwrap_or_default(),
            },
            limit_hit: view.limit_hit,
        })
    }
}

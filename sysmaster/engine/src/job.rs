//! Jobs: what they do, which of them can be one, and which of two goes first.
//!
//! A unit has at most one job. Its verb is one of five: Start, VerifyActive, Stop, Restart,
//! Reload. The other words a client may use (`try-restart` …) are *collapsed* into these, or into
//! nothing, by the state the unit is in when the transaction is built.
//!
//! Two jobs for one unit are merged where one job can do both (systemd's table, below) and
//! contradict each other where none can: a Stop goes with nothing but another Stop.
//!
//! A job is in one of four phases:
//!
//! * **Waiting**: jobs that go first are not done; `blockers` counts them.
//! * **Held**: nothing goes before it, but its unit must leave the state it is in (a Start while
//!   the unit is still on its way down).
//! * **Checking**: the shell evaluates the unit's conditions.
//! * **Running**: the unit was told, or is on its way there by itself.
//!
//! A Restart runs as a Stop. When the unit is down it becomes a Start and waits again, so that the
//! order of starts holds for it.

use crate::api::{CauseRecord, JobCause, JobId, JobRecord};
use crate::mutants::mutant;
use units::name::UnitName;
use units::state::{ActiveState, JobVerb, Micros};

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Others go first.
    Waiting,
    /// The unit must leave its present state first.
    Held,
    /// Conditions are being evaluated.
    Checking,
    /// The unit is at it.
    Running,
}

/// A queued job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub unit: u32,
    pub id: JobId,
    pub verb: JobVerb,
    pub phase: Phase,
    /// Jobs that go first and are not done.
    pub blockers: u32,
    pub irreversible: bool,
    pub ignore_order: bool,
    /// Conditions said yes.
    pub checked: bool,
    pub since: Micros,
    pub transaction: u32,
    /// Sequence of the command it was given under; 0 if none.
    pub seq: u64,
    /// Before `transaction` changed it.
    pub was: Option<(JobVerb, u32)>,
    pub cause: JobCause,
    /// When it will be given up; 0: never.
    pub deadline: Micros,
    /// In the run queue.
    pub queued: bool,
    /// It came with the transaction that is being committed, and is in nobody's count yet.
    pub fresh: bool,
    /// A record of it is stored.
    pub recorded: bool,
    /// The stored record is not up to date.
    pub dirty: bool,
}

impl Job {
    /// What must outlive the manager.
    pub fn record(&self, unit: UnitName, cause: CauseRecord) -> JobRecord {
        JobRecord {
            id: self.id,
            unit,
            verb: self.verb,
            running: self.phase == Phase::Running,
            irreversible: self.irreversible,
            ignore_order: self.ignore_order,
            since: self.since,
            transaction: self.transaction,
            seq: self.seq,
            was: self.was,
            cause,
            deadline: Some(self.deadline),
        }
    }
}

/// The one job that does both, if there is one. Verbs are collapsed, or the result of a merge.
pub(crate) fn merge(a: JobVerb, b: JobVerb) -> Option<JobVerb> {
    use JobVerb::{Reload, ReloadOrStart, Restart, Start, Stop, VerifyActive};
    Some(match (a, b) {
        (a, b) if a == b => a,
        (Stop, Start) if mutant!(8) => Start,
        (Stop, _) | (_, Stop) => return None,
        (Restart, _) | (_, Restart) => Restart,
        (ReloadOrStart, _) | (_, ReloadOrStart) => ReloadOrStart,
        (Start, Reload) | (Reload, Start) => ReloadOrStart,
        (Start, VerifyActive) | (VerifyActive, Start) => Start,
        (Reload, VerifyActive) | (VerifyActive, Reload) => Reload,
        _ => return None,
    })
}

/// What a verb means for a unit in this state; `None`: nothing.
pub(crate) fn collapse(verb: JobVerb, active: ActiveState) -> Option<JobVerb> {
    let down = active.is_down() || active == ActiveState::Deactivating;
    match verb {
        JobVerb::TryRestart if down => None,
        JobVerb::TryRestart => Some(JobVerb::Restart),
        JobVerb::TryReload if down => None,
        JobVerb::TryReload => Some(JobVerb::Reload),
        JobVerb::ReloadOrStart if down => Some(JobVerb::Start),
        JobVerb::ReloadOrStart => Some(JobVerb::Reload),
        other => Some(other),
    }
}

/// [`merge`], collapsed.
pub(crate) fn merge_for(a: JobVerb, b: JobVerb, active: ActiveState) -> Option<JobVerb> {
    merge(a, b).and_then(|verb| collapse(verb, active))
}

/// Whether the unit is already what the job would make it.
pub(crate) fn is_redundant(verb: JobVerb, active: ActiveState) -> bool {
    match verb {
        JobVerb::Start | JobVerb::VerifyActive => active.is_up(),
        JobVerb::Stop => active.is_down(),
        _ => false,
    }
}

/// Whether the job begins with bringing the unit down.
pub(crate) fn goes_down(verb: JobVerb) -> bool {
    matches!(verb, JobVerb::Stop | JobVerb::Restart)
}

/// Who goes first of two jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The job of the unit that stands before the other.
    Former,
    /// The job of the unit that stands after the other.
    Latter,
    /// Neither waits.
    Neither,
}

/// Of a job and one for a unit ordered after it, who goes first: starting keeps the order,
/// stopping turns it round, and where one stops and the other starts, the stop goes first. (If
/// both stop, the latter unit does so first; if only the former stops, it goes first.)
pub(crate) fn order(former: (JobVerb, bool), latter: (JobVerb, bool)) -> First {
    if former.1 || latter.1 {
        First::Neither
    } else if mutant!(3) && goes_down(former.0) && goes_down(latter.0) {
        First::Former
    } else if goes_down(latter.0) {
        First::Latter
    } else {
        First::Former
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use JobVerb::{Reload, ReloadOrStart, Restart, Start, Stop, VerifyActive};

    #[test]
    fn the_merge_table_is_systemds() {
        let table = [
            (VerifyActive, Start, Some(Start)),
            (Reload, Start, Some(ReloadOrStart)),
            (Reload, VerifyActive, Some(Reload)),
            (Restart, Start, Some(Restart)),
            (Restart, VerifyActive, Some(Restart)),
            (Restart, Reload, Some(Restart)),
            (Stop, Start, None),
            (Stop, VerifyActive, None),
            (Stop, Reload, None),
            (Stop, Restart, None),
        ];
        for (a, b, both) in table {
            assert_eq!(merge(a, b), both, "{a:?} and {b:?}");
            assert_eq!(merge(b, a), both, "{b:?} and {a:?}");
        }
        for verb in [Start, VerifyActive, Stop, Restart, Reload] {
            assert_eq!(merge(verb, verb), Some(verb));
        }
    }

    /// What makes the deletion of one contradicting job enough: if a and b go together and c goes
    /// with neither, then not with both.
    #[test]
    fn merging_is_associative() {
        let all = [Start, VerifyActive, Stop, Restart, Reload, ReloadOrStart];
        for a in all {
            for b in all {
                for c in all {
                    let left = merge(a, b).and_then(|ab| merge(ab, c));
                    let right = merge(b, c).and_then(|bc| merge(a, bc));
                    assert_eq!(left, right, "{a:?} {b:?} {c:?}");
                }
            }
        }
    }

    #[test]
    fn stops_go_first_and_in_reverse() {
        let job = |verb| (verb, false);
        assert_eq!(order(job(Start), job(Start)), First::Former);
        assert_eq!(order(job(Stop), job(Start)), First::Former);
        assert_eq!(order(job(Start), job(Stop)), First::Latter);
        assert_eq!(order(job(Stop), job(Stop)), First::Latter);
        assert_eq!(order(job(Restart), job(Restart)), First::Latter);
        assert_eq!(order(job(Start), (Stop, true)), First::Neither);
    }
}

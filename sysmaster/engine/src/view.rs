//! Looking in: what status, list and show need. Nothing here changes anything, and nothing is
//! allocated in proportion to all units.

use crate::Engine;
use crate::api::{Backing, JobId, UnitId};
use crate::job::{Job, Phase};
use crate::rel::Rel;
use units::name::UnitName;
use units::spec::LoadState;
use units::state::{ActiveState, Invocation, JobVerb, Micros};
use units::wire::helper::Verb;

/// A unit as it is now.
#[derive(Clone, Copy, Debug)]
pub struct UnitView<'a> {
    /// Number.
    pub id: UnitId,
    /// Name.
    pub name: &'a UnitName,
    /// Whether it can be used; `None` if it was only referred to, or restored, and never loaded.
    pub load: Option<&'a LoadState>,
    /// Who carries it out.
    pub backing: Backing,
    /// State. A unit that waits for its automatic restart is down, and `restart_at` is set.
    pub active: ActiveState,
    /// Since when.
    pub since: Micros,
    /// Current or last invocation; 0 if it was never started.
    pub invocation: Invocation,
    /// Sequence of the last command; 0 if none.
    pub seq: u64,
    /// The last command, while its outcome is not known.
    pub pending: Option<Verb>,
    /// When the automatic restart is due.
    pub restart_at: Option<Micros>,
    /// Automatic restarts since the last start by hand.
    pub restarts: u32,
    /// It was started too often and is not started again until it is reset.
    pub limit_hit: bool,
    /// Whether it can reload, as its helper last said.
    pub can_reload: bool,
    /// Its queued job.
    pub job: Option<JobView>,
}

/// A queued job as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Number.
    pub id: JobId,
    /// Its unit.
    pub unit: UnitId,
    /// What it does. A restart whose stop is done is a start.
    pub verb: JobVerb,
    /// How far it is.
    pub phase: Phase,
    /// Queued since.
    pub since: Micros,
    /// When it will be given up.
    pub deadline: Option<Micros>,
    /// How many jobs go first.
    pub blockers: u32,
    /// Only an irreversible transaction may undo it.
    pub irreversible: bool,
}

impl Engine {
    /// A unit by its number (an alias' leads to the unit). `None` if the number was never given.
    pub fn unit(&self, id: UnitId) -> Option<UnitView<'_>> {
        let id = self.arena.resolve(id.0);
        let name = self.arena.title(id)?;
        let unit = self.arena.get(id);
        Some(UnitView {
            id: UnitId(id),
            name,
            load: unit.load.as_ref(),
            backing: unit.backing,
            active: unit.active,
            since: unit.since,
            invocation: unit.invocation,
            seq: unit.seq,
            pending: unit.pending,
            restart_at: unit.restart_at,
            restarts: unit.restarts,
            limit_hit: unit.limit_hit,
            can_reload: unit.can_reload == Some(true),
            job: self.job_of(id),
        })
    }

    /// A unit by its name or alias, if it was ever mentioned.
    pub fn find(&self, name: &UnitName) -> Option<UnitView<'_>> {
        self.arena.find(name).and_then(|id| self.unit(UnitId(id)))
    }

    /// All units, in the order of their numbers; aliases are not among them.
    pub fn units(&self) -> impl Iterator<Item = UnitView<'_>> {
        let own = |id: &u32| !self.arena.get(*id).is_alias();
        (0..self.arena.len())
            .filter(own)
            .filter_map(|id| self.unit(UnitId(id)))
    }

    /// The number of a name; given if it is new.
    pub fn intern(&mut self, name: &UnitName) -> UnitId {
        UnitId(self.arena.intern(name))
    }

    fn job_of(&self, unit: u32) -> Option<JobView> {
        self.arena.job(unit).map(view_of)
    }

    /// Queued jobs, in no particular order.
    pub fn jobs(&self) -> impl Iterator<Item = JobView> + '_ {
        self.arena.jobs.iter().map(view_of)
    }

    /// A queued job by its number.
    pub fn job(&self, id: JobId) -> Option<JobView> {
        self.jobs().find(|job| job.id == id)
    }

    /// Units whose jobs go before this unit's.
    pub fn waiting_for(&self, unit: UnitId) -> impl Iterator<Item = UnitId> + '_ {
        self.waits_for(self.arena.resolve(unit.0)).map(UnitId)
    }

    /// The unit's relations, declared by itself or by others, sorted by kind. (Edges of units that
    /// were loaded since the last other input may be out of order or repeated.)
    pub fn edges(&self, unit: UnitId) -> impl Iterator<Item = (Rel, UnitId)> + '_ {
        let unit = self.arena.get(self.arena.resolve(unit.0));
        unit.edges
            .iter()
            .filter(|edge| edge.is_declared())
            .map(|edge| (edge.rel, UnitId(edge.to)))
    }

    /// When the next `Tick` is due: a restart, or a job's time is over.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.deadlines.first().map(|(at, _, _)| *at)
    }

    /// The machine is going down.
    pub fn is_shutting_down(&self) -> bool {
        self.record.shutting_down
    }
}

fn view_of(job: &Job) -> JobView {
    JobView {
        id: job.id,
        unit: UnitId(job.unit),
        verb: job.verb,
        phase: job.phase,
        since: job.since,
        deadline: (job.deadline != 0).then_some(job.deadline),
        blockers: job.blockers,
        irreversible: job.irreversible,
    }
}

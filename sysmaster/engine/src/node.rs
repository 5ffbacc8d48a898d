//! A unit in the arena: what its file says of it, what it is now, and scratch.
//!
//! There is one of these for each name ever mentioned, so its size counts. What few unit files say
//! is apart, in [`Settings`], and is there only if the file does say something; a job is a number;
//! names are the arena's.

use crate::api::Backing;
use crate::graph::NONE;
use crate::history::History;
use crate::job;
use crate::rel::Edge;
use alloc::boxed::Box;
use alloc::vec::Vec;
use units::spec::{Action, CollectMode, LoadState, StartLimit, UnitSpec};
use units::state::{ActiveState, Invocation, JobMode, JobVerb, Micros, Outcome};
use units::wire::helper::Verb;

/// What a unit file may say and most do not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub start_limit: StartLimit,
    pub job_timeout: Option<Micros>,
    pub job_running_timeout: Option<Micros>,
    pub job_timeout_action: Action,
    pub failure_action: Action,
    pub success_action: Action,
    pub on_failure_mode: JobMode,
    pub on_success_mode: JobMode,
    pub collect: CollectMode,
    pub refuse_manual_start: bool,
    pub refuse_manual_stop: bool,
    pub allow_isolate: bool,
    pub stop_when_unneeded: bool,
}

/// Those of a file that says nothing.
static PLAIN: Settings = Settings {
    start_limit: StartLimit {
        interval: 10_000_000,
        burst: 5,
        action: Action::None,
    },
    job_timeout: None,
    job_running_timeout: None,
    job_timeout_action: Action::None,
    failure_action: Action::None,
    success_action: Action::None,
    on_failure_mode: JobMode::Replace,
    on_success_mode: JobMode::Fail,
    collect: CollectMode::Inactive,
    refuse_manual_start: false,
    refuse_manual_stop: false,
    allow_isolate: false,
    stop_when_unneeded: false,
};

impl Settings {
    fn of(spec: &UnitSpec) -> Self {
        let some_time = |time: Option<Micros>| time.filter(|t| *t != 0 && *t != Micros::MAX);
        Self {
            start_limit: spec.start_limit,
            job_timeout: some_time(spec.job_timeout),
            job_running_timeout: some_time(spec.job_running_timeout),
            job_timeout_action: spec.job_timeout_action,
            failure_action: spec.failure_action,
            success_action: spec.success_action,
            on_failure_mode: spec.on_failure_mode,
            on_success_mode: spec.on_success_mode,
            collect: spec.collect,
            refuse_manual_start: spec.refuse_manual_start,
            refuse_manual_stop: spec.refuse_manual_stop,
            allow_isolate: spec.allow_isolate,
            stop_when_unneeded: spec.stop_when_unneeded,
        }
    }
}

/// What a search for cycles has found out about a unit so far: whether it is on the search's path, what of its job
/// counts for the order, and how many jobs go first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visit {
    /// Its number; of another search, the rest says nothing.
    search: u32,
    /// Four bits, and the count above them.
    found: u32,
}

impl Visit {
    const ON_PATH: u32 = 1;
    const GOES_DOWN: u32 = 2;
    const IGNORES_ORDER: u32 = 4;
    const HAS_NO_JOB: u32 = 8;
    const ONE_FIRST: u32 = 16;

    /// The search comes to a unit whose job does this.
    pub fn new(search: u32, (verb, ignore_order): (JobVerb, bool)) -> Self {
        let down = u32::from(job::goes_down(verb)) * Self::GOES_DOWN;
        let alone = u32::from(ignore_order) * Self::IGNORES_ORDER;
        Self {
            search,
            found: Self::ON_PATH | down | alone,
        }
    }

    /// The search has come to a unit without a job.
    pub fn idle(search: u32) -> Self {
        Self {
            search,
            found: Self::HAS_NO_JOB,
        }
    }

    #[inline(always)]
    pub fn is_of(self, search: u32) -> bool {
        self.search == search
    }

    #[inline(always)]
    pub fn is_on_path(self) -> bool {
        self.found & Self::ON_PATH != 0
    }

    /// Everything behind the unit was seen.
    pub fn leave(&mut self) {
        self.found &= !Self::ON_PATH;
    }

    /// What its job does and whether that ignores order, as far as it counts for the order.
    #[inline(always)]
    pub fn doing(self) -> Option<(JobVerb, bool)> {
        if self.found & Self::HAS_NO_JOB != 0 {
            return None;
        }
        let verb = if self.found & Self::GOES_DOWN != 0 {
            JobVerb::Stop
        } else {
            JobVerb::Start
        };
        Some((verb, self.found & Self::IGNORES_ORDER != 0))
    }

    /// One more job goes before its job.
    #[inline(always)]
    pub fn wait(&mut self) {
        self.found += Self::ONE_FIRST;
    }

    /// How many jobs go first.
    pub fn blockers(self) -> u32 {
        self.found / Self::ONE_FIRST
    }
}

/// A unit.
#[derive(Debug)]
pub(crate) struct Unit {
    pub edges: Vec<Edge>,
    /// Where among the edges `Before` and `After`, the last two kinds, begin.
    pub order_at: (u32, u32),
    /// Which kinds of edges it has: bit n for the kind of number n.
    pub rels: u32,
    /// Scratch of the transaction being built: its generation and the unit's first job in it.
    pub scratch: (u32, u32),
    /// Scratch of the search for cycles.
    pub visit: Visit,
    /// Where its job is among all; `NONE` if it has none.
    pub job: u32,
    pub active: ActiveState,
    pub backing: Backing,
    pub pending: Option<Verb>,
    /// The unit this name is an alias of.
    pub alias: u32,
    /// Index into the arena's types.
    pub kind: u16,

    /// Of the last command, once it is known.
    pub outcome: Outcome,
    pub limit_hit: bool,
    pub ignore_on_isolate: bool,
    pub has_conditions: bool,
    /// `None`: its helper has not said yet.
    pub can_reload: Option<bool>,
    /// A record of it is stored.
    pub recorded: bool,
    /// The stored record is not up to date.
    pub dirty: bool,
    /// The edges are not in order.
    pub unsorted: bool,
    /// `None`: never loaded, known by reference or from a record.
    pub load: Option<LoadState>,
    settings: Option<Box<Settings>>,

    pub since: Micros,
    pub invocation: Invocation,
    pub seq: u64,
    /// Sequence of the last report.
    pub heard: u64,
    pub restart_at: Option<Micros>,
    pub restarts: u32,
    pub limit: (Micros, u32),
    /// Starts the engine wanted by itself: since when, how many. Not recorded.
    pub own_jobs: (Micros, u32),
    /// For people; none before its first change or job.
    pub history: Option<Box<History>>,
}

impl Unit {
    pub fn new(kind: u16) -> Self {
        Self {
            edges: Vec::new(),
            order_at: (0, 0),
            rels: 0,
            scratch: (0, NONE),
            visit: Visit::default(),
            job: NONE,
            active: ActiveState::Inactive,
            backing: Backing::Helper,
            pending: None,
            alias: NONE,
            kind,
            outcome: Outcome::None,
            limit_hit: false,
            ignore_on_isolate: false,
            has_conditions: false,
            can_reload: None,
            recorded: false,
            dirty: false,
            unsorted: false,
            load: None,
            settings: None,
            since: 0,
            invocation: Invocation::default(),
            seq: 0,
            heard: 0,
            restart_at: None,
            restarts: 0,
            limit: (0, 0),
            own_jobs: (0, 0),
            history: None,
        }
    }

    pub fn settings(&self) -> &Settings {
        self.settings.as_deref().unwrap_or(&PLAIN)
    }

    pub fn has_job(&self) -> bool {
        self.job != NONE
    }

    /// Down, and nothing is owed: no automatic restart, no command without its outcome.
    pub fn at_rest(&self) -> bool {
        self.active.is_down()
            && self.restart_at.is_none()
            && matches!(self.pending, None | Some(Verb::ResetFailed))
    }

    /// Whether it is the unit of a name, not an alias.
    pub fn is_alias(&self) -> bool {
        self.alias != NONE
    }

    /// When the start limit's interval is over; 0 if it does not run.
    pub fn limit_until(&self) -> Micros {
        match self.limit {
            (_, 0) => 0,
            (begun, _) => begun.saturating_add(self.settings().start_limit.interval),
        }
    }

    pub fn take_over(&mut self, spec: &UnitSpec, backing: Backing) {
        self.backing = backing;
        self.load = Some(spec.load.clone());
        self.ignore_on_isolate = spec.ignore_on_isolate;
        self.has_conditions = !spec.conditions.is_empty() || !spec.asserts.is_empty();
        let settings = Settings::of(spec);
        self.settings = (settings != PLAIN).then(|| Box::new(settings));
    }
}

//! Which jobs may run, running them, and ending them.
//!
//! **Order.** `blockers` of a job counts the jobs that go before it: for every `Before`/`After`
//! edge between two units that both have a job, the one that [`job::order`] puts second has one
//! more. The counts are kept as jobs come, change their verb and go, so a job is looked at when
//! its count reaches zero and not each time a neighbour ends: a target after ten thousand units
//! costs ten thousand steps, not their square.
//!
//! **Ending.** Whoever waits learns of it; if it failed, the unit is *doomed*: jobs of units that
//! cannot do without it end as `dependency` before anything else runs.
//!
//! **Standstill.** Transactions are free of cycles when they are committed, but loading units
//! again can close one among queued jobs. If jobs are queued, none is under way and none may run,
//! the youngest job on a cycle is canceled, with a line that says so. No job stands for ever.

use crate::api::{Cause, Effect, UnitId, Verdict};
use crate::graph::NONE;
use crate::history::Past;
use crate::job::{self, First, Job, Phase};
use crate::mutants::mutant;
use crate::rel::Rel;
use crate::unit::Doom;
use crate::{Backing, Engine, Entropy, Timer};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use units::spec::LoadState;
use units::state::{ActiveState, Invocation, JobResult, JobVerb, Outcome};
use units::wire::helper::Verb;

impl Engine {
    /// Gives a unit a job. A fresh one is in nobody's count until [`Engine::count_fresh`].
    pub(crate) fn attach(&mut self, job: Job) {
        let unit = job.unit;
        if job.phase != Phase::Waiting {
            self.busy += 1;
        }
        if job.deadline != 0 {
            self.deadlines.insert((job.deadline, unit, Timer::Job));
        }
        self.arena.put_job(job);
    }

    fn detach(&mut self, unit: u32) -> Option<Job> {
        self.count_order(unit, false);
        let job = self.arena.take_job(unit)?;
        if job.phase != Phase::Waiting {
            self.busy -= 1;
        }
        if job.deadline != 0 {
            self.deadlines.remove(&(job.deadline, unit, Timer::Job));
        }
        Some(job)
    }

    /// Adds the unit's job to, or takes it from, the counts of what goes before what.
    pub(crate) fn count_order(&mut self, unit: u32, add: bool) {
        let (before, _) = self.arena.order_at(unit);
        self.count_edges(unit, before..self.arena.get(unit).edges.len(), add);
    }

    /// The same for some of its edges.
    fn count_edges(&mut self, unit: u32, edges: Range<usize>, add: bool) {
        let Some(job) = self.arena.job(unit) else {
            return;
        };
        let ours = (job.verb, job.ignore_order);
        let (_, after) = self.arena.order_at(unit);
        for at in edges {
            let other = self.arena.end(unit, at);
            let Some(job) = self.arena.job(other) else {
                continue;
            };
            let theirs = (job.verb, job.ignore_order);
            let (former, latter, first) = if at < after {
                (unit, other, job::order(ours, theirs))
            } else {
                (other, unit, job::order(theirs, ours))
            };
            let waits = match first {
                First::Former => latter,
                First::Latter => former,
                First::Neither => continue,
            };
            if add {
                self.add_blocker(waits);
            } else if let Some(job) = self.arena.job_mut(waits) {
                job.blockers = job.blockers.saturating_sub(1);
                if job.blockers == 0 && waits != unit {
                    self.push_run(waits);
                }
            }
        }
    }

    /// Counts the order of the jobs that were attached behind the first `old` ones. Each pair once:
    /// from its former end, or, where the job there is an old one, from its latter.
    pub(crate) fn count_fresh(&mut self, old: usize) {
        for at in old..self.arena.jobs.len() {
            let unit = self.unit_of_job(at);
            self.count_order_once(unit);
            if old == 0 {
                continue;
            }
            for at in self.arena.range(unit, Rel::After) {
                let other = self.arena.end(unit, at);
                if self.arena.job(other).is_some_and(|job| !job.fresh) {
                    self.count_edges(unit, at..at + 1, true);
                }
            }
        }
        for job in self.arena.jobs.iter_mut().skip(old) {
            job.fresh = false;
        }
    }

    /// One more job goes before this unit's. If that was held, it waits for its turn first.
    fn add_blocker(&mut self, unit: u32) {
        if let Some(job) = self.arena.job_mut(unit) {
            job.blockers += 1 + u32::from(mutant!(9));
            if job.phase == Phase::Held {
                self.set_phase(unit, Phase::Waiting);
            }
        }
    }

    /// Counts everything again: edges changed under queued jobs.
    pub(crate) fn recount(&mut self) {
        for job in &mut self.arena.jobs {
            job.blockers = 0;
        }
        for at in 0..self.arena.jobs.len() {
            self.count_order_once(self.unit_of_job(at));
        }
        for at in 0..self.arena.jobs.len() {
            self.push_run(self.unit_of_job(at));
        }
    }

    /// The unit of the job at this place among all.
    pub(crate) fn unit_of_job(&self, at: usize) -> u32 {
        self.arena.jobs.get(at).map_or(NONE, |job| job.unit)
    }

    /// The share of one unit where all units are counted: each pair from its former end.
    fn count_order_once(&mut self, unit: u32) {
        let (before, after) = self.arena.order_at(unit);
        self.count_edges(unit, before..after, true);
    }

    /// The unit's job may run, as far as order goes; if not, what held it holds it no more.
    pub(crate) fn push_run(&mut self, unit: u32) {
        let Some(job) = self.arena.job_mut(unit) else {
            return;
        };
        if !matches!(job.phase, Phase::Waiting | Phase::Held) {
            return;
        }
        if job.blockers != 0 {
            if job.phase == Phase::Held {
                self.set_phase(unit, Phase::Waiting);
            }
        } else if !core::mem::replace(&mut job.queued, true) {
            self.runnable.push_back(unit);
        }
    }

    pub(crate) fn set_phase(&mut self, unit: u32, phase: Phase) {
        let Some(job) = self.arena.job_mut(unit) else {
            return;
        };
        let was = core::mem::replace(&mut job.phase, phase);
        match (was == Phase::Waiting, phase == Phase::Waiting) {
            (true, false) => self.busy += 1,
            (false, true) => self.busy -= 1,
            _ => {}
        }
        if was != phase && (was == Phase::Running || phase == Phase::Running) {
            self.touch_job(unit);
        }
    }

    /// Runs a unit's job if it may.
    pub(crate) fn run(&mut self, unit: u32, entropy: Entropy<'_>) {
        let Some(job) = self.arena.job_mut(unit) else {
            return;
        };
        job.queued = false;
        if job.blockers != 0 || !matches!(job.phase, Phase::Waiting | Phase::Held) {
            return;
        }
        match job.verb {
            JobVerb::Start => self.run_start(unit, entropy),
            JobVerb::Stop | JobVerb::Restart => self.run_stop(unit),
            JobVerb::Reload => self.run_reload(unit),
            _ => self.run_verify(unit),
        }
    }

    fn run_verify(&mut self, unit: u32) {
        match self.active(unit) {
            state if state.is_up() => self.end(unit, JobResult::Done),
            ActiveState::Activating => {
                self.set_phase(unit, Phase::Running);
                self.limit_running(unit);
            }
            _ => {
                let text = [self.arena.name(unit), " is not active"].concat();
                self.end_job(unit, JobResult::Failed, text, true);
            }
        }
    }

    fn run_start(&mut self, unit: u32, entropy: Entropy<'_>) {
        let it = self.arena.get(unit);
        if it.active.is_up() {
            return self.end(unit, JobResult::Done);
        }
        if it.active == ActiveState::Deactivating || it.pending == Some(Verb::Stop) {
            return self.set_phase(unit, Phase::Held);
        }
        if it.active == ActiveState::Activating {
            let seq = it.seq;
            return self.under_way(unit, seq);
        }
        match &it.load {
            Some(LoadState::Loaded) => {}
            load => {
                let why = load
                    .as_ref()
                    .map_or("it was never loaded", LoadState::reason);
                let text = String::from(why);
                return self.end_job(unit, JobResult::Invalid, text, true);
            }
        }
        if it.has_conditions && !self.arena.job(unit).is_some_and(|job| job.checked) {
            let seq = self.next_seq();
            if let Some(job) = self.arena.job_mut(unit) {
                job.seq = seq;
            }
            self.set_phase(unit, Phase::Checking);
            return self.outbox.push(Effect::Check {
                unit: UnitId(unit),
                seq,
            });
        }
        if self.arena.is_unsupported(unit) {
            let text = String::from("there is no helper for units of this type");
            return self.end_job(unit, JobResult::Unsupported, text, true);
        }
        if let Some(culprit) = self.bound_to_inactive(unit) {
            let text = [
                "it is bound to ",
                self.arena.name(culprit),
                ", which is not active",
            ];
            let text = text.concat();
            self.end_job(unit, JobResult::Dependency, text, true);
            return self.blame(unit, culprit);
        }
        self.launch(unit, entropy);
    }

    /// The conditions were evaluated.
    pub(crate) fn checked(&mut self, unit: u32, seq: u64, verdict: Verdict, entropy: Entropy<'_>) {
        let Some(job) = self.arena.job_mut(unit) else {
            return;
        };
        if job.phase != Phase::Checking || job.seq != seq {
            return;
        }
        job.checked = true;
        job.seq = 0;
        match verdict {
            Verdict::Go => {
                // If a job that goes first came meanwhile, it waits for that one.
                self.set_phase(unit, Phase::Waiting);
                self.run(unit, entropy);
            }
            Verdict::Skip => {
                let text = String::from("a condition does not hold");
                self.end_job(unit, JobResult::Skipped, text, true);
            }
            Verdict::Refuse => {
                let text = String::from("an assertion does not hold");
                self.end_job(unit, JobResult::Assert, text, true);
            }
        }
    }

    fn launch(&mut self, unit: u32, entropy: Entropy<'_>) {
        let by_helper = self.arena.get(unit).backing == Backing::Helper;
        if by_helper && !self.within_limit(unit) {
            return;
        }
        self.forget_restart(unit);
        let invocation = Invocation(entropy());
        self.arena.at(unit).invocation = invocation;
        self.touch_unit(unit);
        if by_helper {
            let seq = self.command(unit, Verb::Start);
            self.under_way(unit, seq);
            self.set_state(unit, ActiveState::Activating, None);
        } else {
            self.set_phase(unit, Phase::Running);
            self.set_state(unit, ActiveState::Active, None);
        }
    }

    fn run_stop(&mut self, unit: u32) {
        let it = self.arena.get(unit);
        let job = self.arena.job(unit);
        let restarts = job.is_some_and(|job| job.verb == JobVerb::Restart);
        let at_rest = it.active.is_down() && matches!(it.pending, None | Some(Verb::ResetFailed));
        if at_rest && (it.restart_at.is_none() || restarts) {
            return self.end(unit, JobResult::Done);
        }
        if it.backing == Backing::Engine || self.arena.is_unsupported(unit) {
            self.forget_restart(unit);
            self.arena.at(unit).pending = None;
            self.set_phase(unit, Phase::Running);
            return self.set_state(unit, ActiveState::Inactive, None);
        }
        if it.pending == Some(Verb::Stop) {
            let seq = it.seq;
            return self.under_way(unit, seq);
        }
        // A unit that is down and waits for its restart is told too: its helper's wish must end.
        self.forget_restart(unit);
        let seq = self.command(unit, Verb::Stop);
        self.under_way(unit, seq);
        if !self.active(unit).is_down() {
            self.set_state(unit, ActiveState::Deactivating, None);
        }
    }

    fn run_reload(&mut self, unit: u32) {
        let it = self.arena.get(unit);
        match it.active {
            ActiveState::Active | ActiveState::Reloading if it.pending.is_none() => {
                let seq = self.command(unit, Verb::Reload);
                self.under_way(unit, seq);
                self.set_state(unit, ActiveState::Reloading, None);
            }
            ActiveState::Active | ActiveState::Reloading | ActiveState::Activating => {
                self.set_phase(unit, Phase::Held);
            }
            _ => {
                let text = String::from("it cannot be reloaded because it is not active");
                self.end_job(unit, JobResult::Invalid, text, true);
            }
        }
    }

    fn under_way(&mut self, unit: u32, seq: u64) {
        if let Some(job) = self.arena.job_mut(unit) {
            job.seq = seq;
        }
        self.set_phase(unit, Phase::Running);
        self.touch_job(unit);
        self.limit_running(unit);
    }

    /// `JobRunningTimeoutSec=` counts from now.
    fn limit_running(&mut self, unit: u32) {
        let limit = self.arena.get(unit).settings().job_running_timeout;
        let Some(limit) = limit.filter(|_| !mutant!(5)) else {
            return;
        };
        self.set_job_deadline(unit, self.now.saturating_add(limit));
    }

    /// The earlier of this deadline and the one it has.
    pub(crate) fn set_job_deadline(&mut self, unit: u32, at: u64) {
        let Some(job) = self.arena.job_mut(unit) else {
            return;
        };
        let old = job.deadline;
        if old == 0 || at < old {
            job.deadline = at;
            self.deadlines.remove(&(old, unit, Timer::Job));
            self.deadlines.insert((at, unit, Timer::Job));
        }
    }

    /// The job has ended, and there is nothing to explain.
    pub(crate) fn end(&mut self, unit: u32, result: JobResult) {
        self.end_job(unit, result, String::new(), true);
    }

    /// The job has ended. Without `spread` it made room for others: nothing follows from that.
    /// With it, what depends on its unit learns of a failure.
    pub(crate) fn end_job(&mut self, unit: u32, result: JobResult, why: String, spread: bool) {
        let Some(job) = self.arena.job(unit) else {
            return;
        };
        if job.verb == JobVerb::Restart && result == JobResult::Done {
            return self.start_again(unit);
        }
        let Some(job) = self.detach(unit) else { return };
        self.arena.at(unit).history().past = Some(Past {
            verb: job.verb,
            result,
            cause: job.cause,
            culprit: NONE,
            asked: job.since,
            ended: self.now,
        });
        self.touch_unit(unit);
        if job.recorded {
            self.outbox.ended(job.id, !spread);
        }
        self.atomic_job_ended(unit, job.verb, result, &why);
        self.outbox.push(Effect::JobEnded {
            job: job.id,
            unit: UnitId(unit),
            verb: job.verb,
            result,
            detail: why,
        });
        if spread {
            self.note_end(unit, job.verb, result);
        }
        self.look.push_back(unit);
    }

    fn note_end(&mut self, unit: u32, verb: JobVerb, result: JobResult) {
        // A restart that ends so was a start whose turn had not come.
        let starts = matches!(verb, JobVerb::Start | JobVerb::VerifyActive)
            || verb == JobVerb::Restart && result == JobResult::Dependency;
        if !result.is_success() && starts && !mutant!(10) {
            self.doomed.push_back((unit, Doom::Start));
        } else if !result.is_success() && verb == JobVerb::Stop {
            self.doomed.push_back((unit, Doom::Stop));
        } else if matches!(verb, JobVerb::Start | JobVerb::Reload | JobVerb::Restart)
            && !self.active(unit).is_up()
        {
            self.doomed.push_back((unit, Doom::NotUp));
        }
        if matches!(result, JobResult::Timeout | JobResult::Dependency) {
            self.want_all(unit, Rel::OnFailure);
        }
    }

    /// The stop of a restart is done: now the start, in the order of starts.
    fn start_again(&mut self, unit: u32) {
        self.count_order(unit, false);
        self.set_phase(unit, Phase::Waiting);
        if let Some(job) = self.arena.job_mut(unit) {
            job.verb = JobVerb::Start;
            job.seq = 0;
            job.checked = false;
        }
        self.touch_job(unit);
        self.count_order(unit, true);
        self.push_run(unit);
    }

    pub(crate) fn job_timed_out(&mut self, unit: u32) {
        if let Some(job) = self.arena.job_mut(unit) {
            job.deadline = 0;
            if mutant!(21) {
                return;
            }
            let verb = job.verb.as_str();
            let text = [
                "the ",
                verb,
                " did not end in the time it has (JobTimeoutSec=)",
            ]
            .concat();
            self.end_job(unit, JobResult::Timeout, text, true);
            let action = self.arena.get(unit).settings().job_timeout_action;
            if !mutant!(36) {
                self.act(unit, action, Cause::JobTimeout);
            }
        }
    }

    /// Jobs are queued and nothing can move any of them: cancels one. False if all is well.
    pub(crate) fn break_standstill(&mut self) -> bool {
        if self.arena.jobs.is_empty() || self.busy != 0 || self.recovering {
            return false;
        }
        // From job to a job it waits for, as many steps as there are jobs: then on a cycle. Once
        // more round it for the youngest.
        let mut unit = self.unit_of_job(0);
        for _ in 0..self.arena.jobs.len() {
            unit = self.waits_for(unit).next().unwrap_or(unit);
        }
        let (start, mut youngest) = (unit, unit);
        let mut text = String::from("queued jobs wait for each other: ");
        loop {
            text.push_str(self.arena.name(unit));
            text.push_str(" waits for ");
            unit = self.waits_for(unit).next().unwrap_or(start);
            let id = |unit| self.arena.job(unit).map(|job| job.id);
            if id(unit) > id(youngest) {
                youngest = unit;
            }
            if unit == start {
                break;
            }
        }
        text.push_str(self.arena.name(start));
        text.push_str("; canceled: ");
        text.push_str(self.arena.name(youngest));
        self.log(3, Some(youngest), text);
        self.end_job(youngest, JobResult::Canceled, String::new(), true);
        true
    }

    /// Units whose jobs go before this unit's.
    pub(crate) fn waits_for(&self, unit: u32) -> impl Iterator<Item = u32> + '_ {
        let doing = move |unit: u32| {
            let job = self.arena.job(unit);
            job.map(|job| (job.verb, job.ignore_order))
        };
        let ours = doing(unit);
        let theirs = move |other: &u32| doing(*other);
        let after = self.arena.ends(unit, Rel::After).filter(move |other| {
            matches!((theirs(other), ours), (Some(a), Some(b)) if job::order(a, b) == First::Former)
        });
        let before = self.arena.ends(unit, Rel::Before).filter(move |other| {
            matches!((ours, theirs(other)), (Some(a), Some(b)) if job::order(a, b) == First::Latter)
        });
        after.chain(before)
    }

    /// Sends a command. It is pending until a report tells its outcome.
    pub(crate) fn command(&mut self, unit: u32, verb: Verb) -> u64 {
        let seq = self.next_seq();
        let it = self.arena.at(unit);
        it.seq = seq;
        it.pending = Some(verb);
        it.outcome = Outcome::None;
        let invocation = it.invocation;
        if !mutant!(6) {
            self.touch_unit(unit);
        }
        self.outbox.push(Effect::Command {
            unit: UnitId(unit),
            invocation,
            seq,
            verb,
        });
        seq
    }

    fn next_seq(&mut self) -> u64 {
        self.counter += 1;
        u64::from(self.config.epoch) << 32 | u64::from(self.counter)
    }

    /// All units with a job, by the numbers of the jobs.
    pub(crate) fn by_age(&self) -> Vec<u32> {
        let mut jobs: Vec<_> = self
            .arena
            .jobs
            .iter()
            .map(|job| (job.id, job.unit))
            .collect();
        jobs.sort_unstable();
        jobs.into_iter().map(|(_, unit)| unit).collect()
    }
}

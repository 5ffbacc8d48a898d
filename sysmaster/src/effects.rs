//! Carrying out what the engine decided, one effect at a time, in its order.
//!
//! A `Record` is in the store when this returns from it; only then comes the effect it makes safe.
//! Commands for a helper that is out of contact are dropped: the engine repeats every command
//! without an outcome, under its sequence, when the helper is synced.

use crate::crashes::Step;
use crate::manager::Manager;
use engine::Rel;
use engine::api::{Effect, Input, JobId, Rejection, UnitId, Verdict};
use platform::clock;
use units::name::UnitName;
use units::state::{ActiveState, Invocation, JobResult, JobVerb, Report};
use units::wire::control::{ErrorKind, Reply};
use units::wire::helper::{About, Command, ToHelper, Verb};

impl Manager {
    pub(crate) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Record(record) => {
                let stored = self.persist.record(&record);
                self.stored(stored);
            }
            Effect::ForgetUnit { unit } => {
                self.persist.forget_unit(unit.as_str());
            }
            Effect::ForgetJob { job } => {
                self.persist.forget_job(job);
            }
            Effect::ForgetAtomic { transaction } => {
                self.persist.forget_atomic(transaction);
            }
            Effect::Command {
                unit,
                invocation,
                seq,
                verb,
            } => self.command(unit, invocation, seq, verb),
            Effect::Check { unit, seq } => self.check(unit, seq),
            Effect::Queued { ticket, job } => self.ticket_queued(ticket, job),
            Effect::Opened {
                ticket,
                transaction,
            } => self.atomic_opened(ticket, transaction),
            Effect::Closed {
                transaction,
                failed,
                stopped,
            } => self.atomic_closed(transaction, failed, &stopped),
            Effect::Rejected { ticket, reason } => self.ticket_rejected(ticket, reason),
            Effect::JobEnded {
                job,
                unit,
                verb,
                result,
                detail,
            } => {
                self.job_ended(job, unit, verb, result, detail);
            }
            Effect::Changed { unit, from, to } => self.changed(unit, from, to),
            Effect::Act {
                unit,
                action,
                cause,
            } => self.act(unit, action, cause),
            Effect::Collected { unit } => self.collected(unit),
            Effect::Log { level, unit, text } => {
                let name = unit.and_then(|unit| self.name_of(unit)).unwrap_or_default();
                self.log(level, &name, &text);
            }
        }
    }

    /// Passes a command on to the unit's helper, which is started if there is none. One out of contact is told later.
    fn command(&mut self, unit: UnitId, invocation: Invocation, seq: u64, verb: Verb) {
        let Some(name) = self.name_of(unit) else {
            return;
        };
        let unit_type = String::from(crate::answers::type_of(&name));
        if !self.need_helper(&unit_type) {
            return;
        }
        let Some(index) = self.helpers.find(&unit_type) else {
            return;
        };
        let helper = self.helpers.get(index);
        if helper.is_some_and(crate::helpers::Helper::synced) {
            self.tell_about(index, unit, verb);
            let command = Command {
                unit: name,
                invocation,
                seq,
                verb,
            };
            self.tell_helper(index, &ToHelper::Command(command));
        }
    }

    /// What the helper is to know about a command: only where there is something to know.
    fn tell_about(&mut self, index: usize, unit: UnitId, verb: Verb) {
        let Some(view) = self.engine.unit(unit) else {
            return;
        };
        let restarts = |job: engine::JobView| job.verb == JobVerb::Restart;
        let about = About {
            unit: view.name.as_str().into(),
            triggered_by: match verb {
                Verb::Start => self.trigger_of(unit).unwrap_or_default(),
                _ => String::new(),
            },
            restarting: verb == Verb::Stop && view.job.is_some_and(restarts),
        };
        let known = self
            .helpers
            .get(index)
            .is_some_and(|helper| helper.version >= 2);
        if known && (about.restarting || !about.triggered_by.is_empty()) {
            self.tell_helper(index, &ToHelper::About(about));
        }
    }

    /// Tells a helper that adopts its units which of them others' ends may have started.
    pub(crate) fn tell_about_triggers(&mut self, index: usize, unit_type: &str) {
        let up = |unit: &engine::UnitView<'_>| {
            unit.name.unit_type() == unit_type && !unit.active.is_down()
        };
        let units: Vec<UnitId> = self.engine.units().filter(up).map(|unit| unit.id).collect();
        for unit in units {
            self.tell_about(index, unit, Verb::Start);
        }
    }

    /// The one unit whose `OnFailure=` or `OnSuccess=` names this one.
    fn trigger_of(&self, unit: UnitId) -> Option<String> {
        let triggers = |rel| matches!(rel, Rel::OnFailureOf | Rel::OnSuccessOf);
        let mut found = None;
        for (_, other) in self.engine.edges(unit).filter(|(rel, _)| triggers(*rel)) {
            if found.is_some_and(|found| found != other) {
                return None;
            }
            found = Some(other);
        }
        let name = self.engine.unit(found?)?.name;
        Some(name.as_str().into())
    }

    /// Nobody refers to a unit any more, and it is down.
    fn collected(&mut self, unit: UnitId) {
        let name = self.name_of(unit).unwrap_or_default();
        *self.info(unit) = crate::manager::UnitInfo::default();
        if let Ok(name) = UnitName::new(&name) {
            self.loader.forget(&name);
        }
        let index = self.helpers.find(crate::answers::type_of(&name));
        let synced = |index: &usize| {
            let helper = self.helpers.get(*index);
            helper.is_some_and(crate::helpers::Helper::synced)
        };
        if let Some(index) = index.filter(synced) {
            self.tell_helper(index, &ToHelper::Unload { unit: name });
        }
    }

    /// Evaluates a unit's conditions and assertions.
    fn check(&mut self, unit: UnitId, seq: u64) {
        let info = self.info(unit);
        let (conditions, asserts) = (
            std::mem::take(&mut info.conditions),
            std::mem::take(&mut info.asserts),
        );
        let name = self.name_of(unit).unwrap_or_default();
        let (failed, refused) = if self.takes_off(Step::Check, &name) {
            (
                self.loader.failed_condition(&conditions),
                self.loader.failed_condition(&asserts),
            )
        } else {
            (
                None,
                Some("its conditions, which are in quarantine (sctl crashes),".into()),
            )
        };
        self.lands();
        let verdict = match (&failed, &refused) {
            (Some(_), _) => Verdict::Skip,
            (None, Some(_)) => Verdict::Refuse,
            (None, None) => Verdict::Go,
        };
        let info = self.info(unit);
        (info.conditions, info.asserts) = (conditions, asserts);
        let text = failed.or(refused).unwrap_or_default();
        if info.condition != text {
            let stored = self.persist.condition(&name, &text);
            self.stored(stored);
            self.info(unit).condition = text;
        }
        self.inputs.push_back(Input::Checked { unit, seq, verdict });
    }

    fn changed(&mut self, unit: UnitId, from: ActiveState, to: ActiveState) {
        let now = clock::now();
        let Some(name) = self.name_of(unit) else {
            return;
        };
        let info = self.info(unit);
        info.since = now;
        if matches!(to, ActiveState::Activating | ActiveState::Deactivating) {
            info.begun = now;
        }
        let took = if info.begun == 0 { 0 } else { now - info.begun };
        let text = match (to, &info.report) {
            (ActiveState::Failed, Some(report)) => reason(report),
            _ => info.description.to_string(),
        };
        // `ExecCondition=` said: not now. That is no line.
        let skipped = info
            .report
            .as_ref()
            .is_some_and(|report| to == ActiveState::Inactive && report.result == "exec-condition");
        self.console.progress(now);
        let line = self.console.changed(&name, from, to, &text, took);
        if let Some(line) = line.filter(|_| !skipped) {
            self.show(&line);
        }
        if to == ActiveState::Failed {
            self.log(3, &name, &format!("failed: {text}"));
        } else {
            self.log(7, &name, &format!("{} -> {}", from.as_str(), to.as_str()));
        }
        self.tell_triggers_of(unit);
        self.boot_changed(unit, to);
    }

    fn job_ended(
        &mut self,
        job: JobId,
        unit: UnitId,
        verb: JobVerb,
        result: JobResult,
        detail: String,
    ) {
        let name = self.name_of(unit).unwrap_or_default();
        let detail = self.why(unit, result, detail);
        if !result.is_success() && result != JobResult::Canceled {
            let text = format!(
                "{} job ended as {}: {detail}",
                verb.as_str(),
                result.as_str()
            );
            self.log(4, &name, text.trim_end_matches([':', ' ']));
            // A unit that failed has said so by its change of state.
            if !matches!(result, JobResult::Failed | JobResult::Timeout) {
                let text = if detail.is_empty() {
                    result.as_str()
                } else {
                    &detail
                };
                if let Some(line) =
                    self.console
                        .changed(&name, ActiveState::Inactive, ActiveState::Failed, text, 0)
                {
                    self.show(&line);
                }
            }
        }
        self.server.job_ended(job, &name, verb, result, &detail);
        self.tell_triggers_of(unit);
        self.boot_job_ended(unit, verb, result);
    }

    /// An atomic start has ended: all are up, or it was rolled back.
    fn atomic_closed(
        &mut self,
        transaction: u32,
        failed: Option<(UnitId, JobResult, String)>,
        stopped: &[UnitId],
    ) {
        let undone = failed.map(|(unit, result, detail)| {
            let detail = self.why(unit, result, detail);
            let unit = self.name_of(unit).unwrap_or_default();
            let names = stopped.iter().filter_map(|unit| self.name_of(*unit));
            let stopped: Vec<String> = names.collect();
            let text = format!(
                "an atomic start is rolled back ({}): {detail}",
                result.as_str()
            );
            self.log(4, &unit, text.trim_end_matches([':', ' ']));
            Reply::Undone {
                unit,
                result,
                detail,
                stopped,
            }
        });
        self.server.atomic_closed(transaction, undone.as_ref());
    }

    /// A sentence on why a job failed: the engine's, or what the helper said of the unit.
    fn why(&mut self, unit: UnitId, result: JobResult, detail: String) -> String {
        if result.is_success() || !detail.is_empty() {
            return detail;
        }
        let info = self.info(unit);
        match (&info.report, result) {
            (_, JobResult::Assert) => format!("{} does not hold", info.condition),
            (Some(report), _) => reason(report),
            (None, _) => detail,
        }
    }
}

/// Why a unit failed, as its helper says it.
fn reason(report: &Report) -> String {
    match (report.result.as_str(), report.detail.as_str()) {
        ("" | "success", detail) => detail.into(),
        (result, "") => result.into(),
        (result, detail) => format!("{result}: {detail}"),
    }
}

/// A refused transaction, in the words of the control protocol.
pub(crate) fn rejection(reason: Rejection) -> (ErrorKind, String) {
    match reason {
        Rejection::NotLoaded(unit, why) if why == "no such unit file" => {
            (ErrorKind::NotFound, format!("{unit}: {why}"))
        }
        Rejection::NotLoaded(unit, why) => (ErrorKind::BadUnit, format!("{unit}: {why}")),
        Rejection::Refused(why) => (ErrorKind::Unsupported, why),
        // systemctl's exit status for both is that of a missing permission.
        Rejection::Forbidden(why) | Rejection::Destructive(why) => (ErrorKind::Denied, why),
        Rejection::Misfit(why) => (ErrorKind::BadRequest, why),
        Rejection::Contradiction(why) | Rejection::Cycle(why) => (ErrorKind::Transaction, why),
        Rejection::ShuttingDown => (
            ErrorKind::ShuttingDown,
            "the machine is going down, nothing new is started".into(),
        ),
        Rejection::Full => (
            ErrorKind::Busy,
            "there are more jobs queued than there is room".into(),
        ),
    }
}

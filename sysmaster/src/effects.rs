//! Carrying out what the engine decided, one effect at a time, in its order.
//!
//! A `Record` is in the store when this returns from it; only then comes the effect it makes safe.
//! Commands for a helper that is out of contact are dropped: the engine repeats every command
//! without an outcome, under its sequence, when the helper is synced.

use crate::manager::Manager;
use engine::api::{Effect, Input, JobId, Rejection, UnitId, Verdict};
use platform::clock;
use units::state::{ActiveState, JobResult, JobVerb, Report};
use units::wire::control::ErrorKind;
use units::wire::helper::{Command, ToHelper};

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
            Effect::Command {
                unit,
                invocation,
                seq,
                verb,
            } => {
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
                if self
                    .helpers
                    .get(index)
                    .is_some_and(crate::helpers::Helper::synced)
                {
                    let command = Command {
                        unit: name,
                        invocation,
                        seq,
                        verb,
                    };
                    self.tell_helper(index, &ToHelper::Command(command));
                }
            }
            Effect::Check { unit, seq } => self.check(unit, seq),
            Effect::Queued { ticket, job } => self.ticket_queued(ticket, job),
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
            Effect::Log { level, unit, text } => {
                let name = unit.and_then(|unit| self.name_of(unit)).unwrap_or_default();
                self.log(level, &name, &text);
            }
        }
    }

    /// Evaluates a unit's conditions and assertions.
    fn check(&mut self, unit: UnitId, seq: u64) {
        let info = self.info(unit);
        let (conditions, asserts) = (
            std::mem::take(&mut info.conditions),
            std::mem::take(&mut info.asserts),
        );
        let failed = self.loader.failed_condition(&conditions);
        let refused = self.loader.failed_condition(&asserts);
        let verdict = match (&failed, &refused) {
            (Some(_), _) => Verdict::Skip,
            (None, Some(_)) => Verdict::Refuse,
            (None, None) => Verdict::Go,
        };
        let info = self.info(unit);
        (info.conditions, info.asserts) = (conditions, asserts);
        info.condition = failed.or(refused).unwrap_or_default();
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
        self.console.progress(now);
        if let Some(line) = self.console.changed(&name, from, to, &text, took) {
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
        Rejection::Contradiction(why) => (ErrorKind::Transaction, why),
        Rejection::Cycle(why) => (ErrorKind::Transaction, why),
        Rejection::Destructive(why) => (ErrorKind::Transaction, why),
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

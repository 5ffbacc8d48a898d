//! The settings of a unit that a case can make: key and value, as they stand in its lines.
//!
//! | key | value |
//! |---|---|
//! | `start`, `stop`, `reload` | `works`, `fails`, `finishes`, `hangs`, `skips`, `killed`; how long it takes |
//! | `lasts` | how long it stays up, and how it ends: `inactive`, `failed`; `forever` |
//! | `restart` | `no`; `always`, `on-failure`, `on-success` and the delay |
//! | `condition` | `go`, `skip`, `refuse`; `none` |
//! | `limit` | starts in an interval: number and time |
//! | `job-timeout`, `job-running-timeout` | time, `never` |
//! | `on-failure-mode` | a job mode |
//! | `failure-action`, `success-action`, `limit-action`, `timeout-action` | what they mean for the machine |
//! | `allow-isolate`, `ignore-on-isolate`, `unneeded`, `refuse-start`, `refuse-stop`, `masked` | `yes`, `no` |
//! | `no-reload`, `once`, `forks` | `yes`, `no` (of its behaviour) |

use crate::case::{mode, parse_time};
use crate::helper::{Behaviour, Does, RestartOn};
use engine::api::Verdict;
use units::spec::{Action, Condition, ConditionKind, LoadState, UnitSpec};
use units::state::ActiveState;

/// Makes a setting. `None`: there is no such setting, or it has no such value.
pub fn set(spec: &mut UnitSpec, does: &mut Behaviour, key: &str, value: &str) -> Option<()> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let first = *words.first()?;
    let span = |at: usize| words.get(at).and_then(|word| parse_time(word));
    let yes = first == "yes";
    match key {
        "start" => (does.start, does.start_takes) = (how(first)?, span(1).unwrap_or(0)),
        "stop" => (does.stop, does.stop_takes) = (how(first)?, span(1).unwrap_or(0)),
        "reload" => (does.reload, does.reload_takes) = (how(first)?, span(1).unwrap_or(0)),
        "lasts" => {
            let end = match words.get(1) {
                Some(&"failed") => ActiveState::Failed,
                _ => ActiveState::Inactive,
            };
            does.lasts = span(0).map(|after| (after, end));
        }
        "restart" => {
            does.restart = span(1);
            does.restart_on = match first {
                "on-failure" => RestartOn::Failure,
                "on-success" => RestartOn::Success,
                _ => RestartOn::Always,
            };
        }
        "condition" => condition(spec, does, first)?,
        "limit" => {
            spec.start_limit.burst = first.parse().ok()?;
            spec.start_limit.interval = span(1)?;
        }
        "job-timeout" => spec.job_timeout = span(0),
        "job-running-timeout" => spec.job_running_timeout = span(0),
        "on-failure-mode" => spec.on_failure_mode = mode(first)?,
        "failure-action" => spec.failure_action = action(first)?,
        "success-action" => spec.success_action = action(first)?,
        "limit-action" => spec.start_limit.action = action(first)?,
        "timeout-action" => spec.job_timeout_action = action(first)?,
        "allow-isolate" => spec.allow_isolate = yes,
        "ignore-on-isolate" => spec.ignore_on_isolate = yes,
        "unneeded" => spec.stop_when_unneeded = yes,
        "refuse-start" => spec.refuse_manual_start = yes,
        "refuse-stop" => spec.refuse_manual_stop = yes,
        "masked" if yes => spec.load = LoadState::Masked,
        "masked" => spec.load = LoadState::Loaded,
        "no-reload" => does.can_reload = !yes,
        "once" => does.once = yes,
        "forks" => does.forks = yes,
        _ => return None,
    }
    Some(())
}

fn action(word: &str) -> Option<Action> {
    let known = [Action::None, Action::Reboot, Action::Poweroff, Action::Halt];
    known.into_iter().find(|action| action.as_str() == word)
}

fn how(word: &str) -> Option<Does> {
    Some(match word {
        "works" => Does::Works,
        "fails" => Does::Fails,
        "finishes" => Does::Finishes,
        "hangs" => Does::Hangs,
        "skips" => Does::Skips,
        "killed" => Does::Killed,
        _ => return None,
    })
}

fn condition(spec: &mut UnitSpec, does: &mut Behaviour, verdict: &str) -> Option<()> {
    spec.conditions.clear();
    does.verdict = match verdict {
        "none" | "go" => Verdict::Go,
        "skip" => Verdict::Skip,
        "refuse" => Verdict::Refuse,
        _ => return None,
    };
    if verdict != "none" {
        spec.conditions.push(Condition {
            kind: ConditionKind::PathExists,
            trigger: false,
            negate: false,
            param: "/x".into(),
        });
    }
    Some(())
}

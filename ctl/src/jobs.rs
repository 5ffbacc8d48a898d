//! Commands that change something: jobs, signals, shutdown.
//!
//! A command that queues jobs waits until they have ended, shows on a terminal what is waited
//! for, and fails if one of them does. If the manager is replaced meanwhile its jobs survive, and
//! we find our way back to them: the next manager remembers each unit's job, or the last it had, with the time it
//! was asked for. One of our time is ours, and what became of it is the answer. Only where there is none the
//! request is sent again: a restart, a reload or a start of what ends by itself must not be done twice.

use crate::style::{Paint, span};
use crate::{Fault, Run, exit, is_pattern, json, query, unit_name};
use std::io::Write;
use std::time::Duration;
use units::state::{JobMode, JobPast, JobResult, JobVerb};
use units::wire::control::{JobLine, Reply, Request, ShutdownKind};

/// How many managers may die under one command before it gives up.
pub const MANAGERS: u32 = 64;

/// One unit's job of ours.
pub struct Watched {
    /// Its name.
    pub unit: String,
    /// 0: there was nothing to do.
    pub job: u32,
    /// How it ended.
    pub ended: Option<(JobVerb, JobResult, String)>,
}

/// `start`, `stop`, `restart` and their kin.
pub fn queue(run: &mut Run<'_, '_>, verb: JobVerb, words: &[String]) -> Result<i32, Fault> {
    let units = expand(run, words)?;
    let mode = run.options.mode;
    if run.options.atomic && verb != JobVerb::Start {
        return Err(Fault::usage(
            "--atomic goes with start: nothing else can be taken back",
        ));
    }
    if run.options.atomic {
        return crate::atomic::start(run, units, mode);
    }
    carry_out(run, verb, units, mode)
}

/// `isolate`, `default`, `rescue`, `emergency`.
pub fn isolate(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let units = targets(words)?;
    carry_out(run, JobVerb::Start, units, JobMode::Isolate)
}

/// The units these words stand for, where a name without a type is a target.
pub fn targets(words: &[String]) -> Result<Vec<String>, Fault> {
    let mut units = Vec::new();
    for word in words {
        let known = word.contains('.') || word.starts_with('/');
        units.push(unit_name(&if known {
            word.clone()
        } else {
            format!("{word}.target")
        })?);
    }
    Ok(units)
}

fn carry_out(
    run: &mut Run<'_, '_>,
    verb: JobVerb,
    units: Vec<String>,
    mode: JobMode,
) -> Result<i32, Fault> {
    if units.is_empty() {
        return Err(Fault::new(exit::NOT_INSTALLED, "no loaded unit matches"));
    }
    let watched = follow(run, verb, units, mode)?;
    if run.options.json {
        run.print(&json::jobs(verb, &watched));
    }
    let mut code = exit::OK;
    // Of some it is known at once how they ended; who does not wait does not ask.
    for one in watched.iter().filter(|_| !run.options.no_block) {
        let Some((verb, result, detail)) = &one.ended else {
            continue;
        };
        if result.is_success() {
            continue;
        }
        code = exit::FAILURE;
        if !run.options.json {
            report(run, &one.unit, *verb, *result, detail);
        }
    }
    Ok(code)
}

/// Says why a job failed. What the manager knows comes first, then where to look.
pub fn report(run: &mut Run<'_, '_>, unit: &str, verb: JobVerb, result: JobResult, detail: &str) {
    let why = match result {
        JobResult::Dependency => "a unit it needs did not come up",
        JobResult::Timeout => "its time was over",
        JobResult::Canceled => "the job was cancelled or replaced by another",
        JobResult::Assert => "an assertion of the unit does not hold",
        JobResult::Invalid => "the unit cannot be loaded, or cannot do this",
        JobResult::Unsupported => "there is no helper for its type",
        JobResult::Failed | JobResult::Done | JobResult::Skipped => "it failed",
    };
    let head = run.error_style().paint(
        Paint::Bad,
        &format!("{unit}: {} did not succeed", verb.as_str()),
    );
    let detail = if detail.is_empty() { why } else { detail };
    let _ = writeln!(run.screen.err, "{head}: {detail}\n  more: sctl why {unit}");
}

/// Sends the request and stays with its jobs until they have ended.
fn follow(
    run: &mut Run<'_, '_>,
    verb: JobVerb,
    units: Vec<String>,
    mode: JobMode,
) -> Result<Vec<Watched>, Fault> {
    let wait = !run.options.no_block;
    let mut watched: Vec<Watched> = Vec::new();
    let sent = query::boot_clock();
    let mut left = units;
    for _ in 0..MANAGERS {
        let request = Request::Jobs {
            verb,
            units: left.clone(),
            mode,
            wait,
        };
        let whole = attend(run, &request, &mut |reply| take(reply, &mut watched))?;
        if whole {
            return Ok(watched);
        }
        left = remaining(run, sent, &left, &mut watched)?;
        if left.is_empty() {
            return Ok(watched);
        }
    }
    Err(many_managers())
}

/// Too many managers died under one command.
pub fn many_managers() -> Fault {
    Fault::failed(format!(
        "{MANAGERS} managers ended while this was under way; giving up"
    ))
}

/// Sends a request that waits for jobs, and shows on a terminal what is waited for. `false` if the
/// manager went away before the end.
pub fn attend(
    run: &mut Run<'_, '_>,
    request: &Request,
    each: &mut dyn FnMut(Reply),
) -> Result<bool, Fault> {
    let Run {
        client,
        screen,
        options,
    } = &mut *run;
    let mut progress = Progress {
        live: screen.live && !options.quiet,
        drawn: false,
    };
    let result = client.follow(request, &mut |reply| {
        match reply {
            Reply::Waiting(jobs) => progress.draw(&jobs, screen.err),
            other => each(other),
        }
        Ok(())
    });
    progress.clear(screen.err);
    result
}

/// Notes that a job is queued, or has ended.
pub fn take(reply: Reply, watched: &mut Vec<Watched>) {
    match reply {
        Reply::Queued { unit, job } => match watched.iter_mut().find(|one| one.unit == unit) {
            Some(one) => one.job = job,
            None => watched.push(Watched {
                unit,
                job,
                ended: None,
            }),
        },
        Reply::Ended {
            unit,
            verb,
            result,
            detail,
        } => {
            let ended = Some((verb, result, detail));
            match watched.iter_mut().find(|one| one.unit == unit) {
                Some(one) => one.ended = ended,
                None => watched.push(Watched {
                    unit,
                    job: 0,
                    ended,
                }),
            }
        }
        _ => {}
    }
}

/// What still has to be asked for after the manager was replaced: what it knows nothing of.
fn remaining(
    run: &mut Run<'_, '_>,
    sent: u64,
    asked: &[String],
    watched: &mut Vec<Watched>,
) -> Result<Vec<String>, Fault> {
    let mut again = Vec::new();
    for unit in asked {
        let known = watched.iter().find(|one| one.unit == *unit);
        if known.is_some_and(|one| one.ended.is_some() || one.job == 0) {
            continue;
        }
        let Some(past) = fate(run, unit, sent)? else {
            again.push(unit.clone());
            continue;
        };
        let detail = if past.result.is_success() {
            String::new()
        } else {
            query::detail(run, unit)?.detail
        };
        let (unit, verb, result) = (unit.clone(), past.verb, past.result);
        let ended = Reply::Ended {
            unit,
            verb,
            result,
            detail,
        };
        take(ended, watched);
    }
    Ok(again)
}

/// How the job of this unit ended that was asked for since we sent our request; one that has not is waited
/// for, if we wait at all. `None`: there is none, the request was not taken up.
fn fate(run: &mut Run<'_, '_>, unit: &str, sent: u64) -> Result<Option<JobPast>, Fault> {
    const AGAIN: Duration = Duration::from_millis(50);
    loop {
        let past = crate::why::history(run, unit)?.job;
        let Some(past) = past.filter(|past| past.asked >= sent && past.cause == "command") else {
            return Ok(None);
        };
        if past.ended != 0 || run.options.no_block {
            return Ok(Some(past));
        }
        std::thread::sleep(AGAIN);
    }
}

/// One line on the terminal that says what is waited for, drawn over itself.
struct Progress {
    live: bool,
    drawn: bool,
}

impl Progress {
    fn draw(&mut self, jobs: &[JobLine], err: &mut dyn Write) {
        if !self.live || jobs.is_empty() {
            return;
        }
        self.drawn = true;
        let _ = write!(err, "\r\x1b[K{}", waiting(jobs));
        let _ = err.flush();
    }

    fn clear(&mut self, err: &mut dyn Write) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(err, "\r\x1b[K");
            let _ = err.flush();
        }
    }
}

/// `nginx.service start, 12s of 1min 30s; 3 more`. Times in the answer are the manager's clock,
/// which is the machine's: boot time.
fn waiting(jobs: &[JobLine]) -> String {
    let shown = jobs.iter().find(|job| job.running).or_else(|| jobs.first());
    let Some(job) = shown else {
        return String::new();
    };
    let now = query::boot_clock();
    let mut text = format!("waiting: {} {}", job.unit, job.verb.as_str());
    if job.since > 0 && now >= job.since {
        text.push_str(&format!(
            ", {}",
            span((now - job.since) / 1_000_000 * 1_000_000)
        ));
        if let Some(deadline) = job.deadline {
            text.push_str(&format!(" of {}", span(deadline.saturating_sub(job.since))));
        }
    }
    if let Some(first) = job.waits_for.first() {
        text.push_str(&format!(" (after {first})"));
    }
    if jobs.len() > 1 {
        text.push_str(&format!("; {} more", jobs.len() - 1));
    }
    text
}

/// Full names; patterns stand for the loaded units they match.
pub fn expand(run: &mut Run<'_, '_>, words: &[String]) -> Result<Vec<String>, Fault> {
    let mut units: Vec<String> = Vec::new();
    for word in words {
        if is_pattern(word) {
            let lines = query::lines(run, vec![word.clone()], true)?;
            units.extend(lines.into_iter().map(|line| line.name));
        } else {
            units.push(unit_name(word)?);
        }
    }
    let mut seen = Vec::new();
    units.retain(|unit| {
        let new = !seen.contains(unit);
        if new {
            seen.push(unit.clone());
        }
        new
    });
    Ok(units)
}

/// A request whose answer is that it was done.
pub fn simple(run: &mut Run<'_, '_>, request: &Request) -> Result<i32, Fault> {
    let replies = run.client.ask(request)?;
    let findings: Vec<String> = replies
        .into_iter()
        .filter_map(|reply| match reply {
            Reply::Findings(lines) => Some(lines),
            _ => None,
        })
        .flatten()
        .collect();
    if run.options.json {
        run.print(&json::done(&findings));
    } else {
        for line in findings {
            run.say(&line);
        }
    }
    Ok(exit::OK)
}

/// `kill`.
pub fn kill(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let signal = match &run.options.signal {
        None => 15,
        Some(text) => units::value::signal::signal(text)
            .map_err(|error| Fault::usage(format!("--signal: {error}")))?,
    };
    for unit in expand(run, words)? {
        simple(
            run,
            &Request::Kill {
                unit,
                whom: run.options.whom,
                signal,
            },
        )?;
    }
    Ok(exit::OK)
}

/// `cancel`.
pub fn cancel(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let mut jobs = Vec::new();
    for word in words {
        jobs.push(word.parse().map_err(|_| {
            Fault::usage(format!(
                "cancel {word}: expected a job's number; `sctl list-jobs` has them"
            ))
        })?);
    }
    simple(run, &Request::Cancel { jobs })
}

/// `reset-failed`.
pub fn reset_failed(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let units = expand(run, words)?;
    if units.is_empty() && !words.is_empty() {
        return Ok(exit::OK);
    }
    // Only what queues jobs tells by its status that there is no such unit.
    simple(run, &Request::ResetFailed { units }).map_err(|fault| match fault.code {
        exit::NOT_INSTALLED => Fault {
            code: exit::FAILURE,
            ..fault
        },
        _ => fault,
    })
}

/// `poweroff`, `reboot`, `halt`, `kexec`.
pub fn shutdown(run: &mut Run<'_, '_>, kind: ShutdownKind) -> Result<i32, Fault> {
    let force = run.options.force;
    simple(run, &Request::Shutdown { kind, force })
}

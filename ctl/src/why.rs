//! `sctl why UNIT`: why it is what it is.
//!
//! Two chains are followed from unit to unit, each by what the manager remembers of their last jobs.
//! *Who wanted it*: from a job to the job that caused it, up to the boot or somebody's command. *What
//! is in the way*: from a waiting job to a job it waits for; from a failed one to the unit it failed
//! because of. Facts without another unit (an exit status, a condition, a start limit, the next
//! restart) stand beside them.

use crate::style::{Paint, span};
use crate::{Fault, Run, exit, jobs, json, query, status};
use std::fmt::Write;
use units::state::{ActiveState, JobPast, JobResult, JobVerb};
use units::wire::control::{JobLine, Reply, Request, UnitDetail, UnitHistory};

/// Longest chain that is followed.
const FAR: usize = 64;

/// Everything there is to say of a unit.
pub struct Answer {
    /// The unit.
    pub detail: UnitDetail,
    /// What is remembered of it, then of what caused its job, and so on.
    pub wanted: Vec<UnitHistory>,
    /// The jobs it waits for: its own, one of those that go first, and so on.
    pub waits: Vec<JobLine>,
    /// Units to blame, the first cause last.
    pub blamed: Vec<UnitDetail>,
    /// Facts: label and text.
    pub facts: Vec<(&'static str, String)>,
}

/// The command.
pub fn why(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let mut answers = Vec::new();
    for unit in jobs::expand(run, words)? {
        answers.push(examine(run, &unit)?);
    }
    if run.options.json {
        run.print(&json::why(&answers));
        return Ok(exit::OK);
    }
    let now = run.manager()?.now;
    for answer in &answers {
        let text = screen(run, answer, now);
        run.print(&text);
    }
    Ok(exit::OK)
}

/// What is remembered of a unit.
pub fn history(run: &mut Run<'_, '_>, unit: &str) -> Result<UnitHistory, Fault> {
    let units = vec![unit.to_owned()];
    let replies = run.client.ask(&Request::History { units })?;
    let found = replies.into_iter().find_map(|reply| match reply {
        Reply::History(found) => Some(found),
        _ => None,
    });
    found.ok_or_else(|| Fault::failed(format!("the manager said nothing about {unit}")))
}

fn examine(run: &mut Run<'_, '_>, unit: &str) -> Result<Answer, Fault> {
    let detail = query::detail(run, unit)?;
    let wanted = who_wanted(run, &detail.line.name)?;
    let waits = match detail.line.job {
        Some(_) => what_it_waits_for(run, &detail.line.name)?,
        None => Vec::new(),
    };
    let blamed = who_is_to_blame(run, &wanted)?;
    let mut answer = Answer {
        facts: Vec::new(),
        detail,
        wanted,
        waits,
        blamed,
    };
    answer.facts = facts(&answer);
    Ok(answer)
}

/// From a unit to the one whose job caused its job. A cause that has had a later job itself cannot
/// tell any more what made it want this one.
fn who_wanted(run: &mut Run<'_, '_>, unit: &str) -> Result<Vec<UnitHistory>, Fault> {
    let mut chain = vec![history(run, unit)?];
    while let Some(job) = chain.last().and_then(|last| last.job.clone()) {
        let known = chain.iter().any(|one| one.unit == job.cause_unit);
        if job.cause_unit.is_empty() || known || chain.len() >= FAR {
            break;
        }
        let next = history(run, &job.cause_unit)?;
        let later = next.job.as_ref().is_none_or(|next| next.asked > job.asked);
        if later {
            break;
        }
        chain.push(next);
    }
    Ok(chain)
}

/// From a job to one that goes first: rather one that runs than one that waits itself.
fn what_it_waits_for(run: &mut Run<'_, '_>, unit: &str) -> Result<Vec<JobLine>, Fault> {
    let queued = query::jobs(run)?;
    let mut chain: Vec<JobLine> = Vec::new();
    let mut next = queued.iter().find(|job| job.unit == unit);
    while let Some(job) = next.filter(|job| chain.iter().all(|one| one.id != job.id)) {
        chain.push(job.clone());
        let first = queued
            .iter()
            .filter(|other| job.waits_for.contains(&other.unit));
        next = first.min_by_key(|other| (!other.running, other.since));
    }
    Ok(chain)
}

fn who_is_to_blame(
    run: &mut Run<'_, '_>,
    wanted: &[UnitHistory],
) -> Result<Vec<UnitDetail>, Fault> {
    let mut blamed: Vec<UnitDetail> = Vec::new();
    let mut next = wanted.first().and_then(|one| one.job.clone());
    while let Some(job) = next.filter(|job| !job.culprit.is_empty()) {
        if blamed.iter().any(|one| one.line.name == job.culprit) {
            break;
        }
        blamed.push(query::detail(run, &job.culprit)?);
        next = history(run, &job.culprit)?.job;
    }
    Ok(blamed)
}

fn facts(answer: &Answer) -> Vec<(&'static str, String)> {
    let detail = &answer.detail;
    let first = answer.wanted.first();
    let job = first.and_then(|one| one.job.as_ref());
    let mut facts = Vec::new();
    if detail.line.load != "loaded" {
        let text = match detail.load_error.as_str() {
            "" => detail.line.load.clone(),
            error => [&detail.line.load, ": ", error].concat(),
        };
        facts.push(("file", text));
    }
    let skipped =
        job.is_some_and(|job| matches!(job.result, JobResult::Skipped | JobResult::Assert));
    if skipped && detail.line.active.is_down() {
        facts.push(("condition", condition(detail)));
    }
    if detail.line.active == ActiveState::Failed {
        facts.extend(failure(detail));
    }
    if first.is_some_and(|one| one.limit_hit) {
        let text =
            "it was started too often (StartLimitBurst=): `sctl reset-failed` allows it again";
        facts.push(("limit", text.to_owned()));
    }
    if job.is_none() && detail.line.active.is_down() {
        facts.push((
            "asked",
            "nothing and nobody asked for it in this boot".to_owned(),
        ));
    }
    if detail.line.active.is_down() && detail.line.job.is_none() {
        facts.push(("again", starters(detail)));
    }
    facts
}

/// How it failed: result, what the helper said of the step, how the process ended.
fn failure(detail: &UnitDetail) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    for (label, text) in [("result", &detail.result), ("step", &detail.detail)] {
        if !text.is_empty() && text != "success" {
            facts.push((label, text.clone()));
        }
    }
    if let Some(exit) = detail.exit {
        facts.push((
            "process",
            ["it ended with ", &status::ending(exit)].concat(),
        ));
    }
    facts
}

/// The condition that does not hold, and the line it stands on.
fn condition(detail: &UnitDetail) -> String {
    if detail.condition.is_empty() {
        return "a condition did not hold when it was to start".to_owned();
    }
    let bare = |line: &str| line.replace([' ', '\t'], "");
    let wanted = bare(&detail.condition);
    for path in std::iter::once(&detail.fragment).chain(&detail.dropins) {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let says = |line: &str| {
            let line = bare(line);
            ["Condition", "Assert"]
                .iter()
                .any(|word| line.strip_prefix(word) == Some(&wanted))
        };
        if let Some(at) = text.lines().position(says) {
            return format!("{path}:{}: {} does not hold", at + 1, detail.condition);
        }
    }
    [&detail.condition, " does not hold"].concat()
}

/// What would start it again.
fn starters(detail: &UnitDetail) -> String {
    let mut ways = Vec::new();
    if let Some(at) = detail.restart_at {
        let left = at.saturating_sub(query::boot_clock());
        ways.push(["its own restart, in ", &span(left)].concat());
    }
    for (kind, names) in &detail.dependencies {
        if matches!(
            kind.as_str(),
            "RequiredBy" | "WantedBy" | "BoundBy" | "UpheldBy" | "TriggeredBy"
        ) {
            ways.push([&names.join(", "), " (", kind, ")"].concat());
        }
    }
    ways.push(["sctl start ", &detail.line.name].concat());
    ["started by: ", &ways.join("; ")].concat()
}

/// Why a job came to be, in words.
fn cause(job: &JobPast, unit: &str) -> String {
    let of = job.cause_unit.as_str();
    match job.cause.as_str() {
        "" => "it is not known why".to_owned(),
        "boot" => "the machine booted to it".to_owned(),
        "shutdown" => "the machine goes down".to_owned(),
        "signal" => "a signal to init asked for it".to_owned(),
        "command" => ["somebody's command: sctl ", job.verb.as_str(), " ", unit].concat(),
        "restart" => "it ended, and its Restart= starts it again".to_owned(),
        "rollback" => "an atomic start was rolled back".to_owned(),
        "unneeded" => "nothing needs it any more (StopWhenUnneeded=)".to_owned(),
        "cycle" => "it was left out of the transaction: it stands on an ordering cycle".to_owned(),
        "unusable" => "it was left out: it, or a unit it requires, cannot be loaded".to_owned(),
        "contradiction" => "it was left out: it contradicts another job".to_owned(),
        "isolate" => [of, " was isolated"].concat(),
        relation => [of, " has ", relation, "=", unit].concat(),
    }
}

fn screen(run: &Run<'_, '_>, answer: &Answer, now: u64) -> String {
    let style = run.screen.style;
    let detail = &answer.detail;
    let line = &detail.line;
    let name = style.paint(Paint::Strong, &line.name);
    let mut out = [
        &style.dot(line.active, &line.load),
        " ",
        &name,
        " is ",
        line.active.as_str(),
    ]
    .concat();
    if detail.since > 0 {
        let _ = write!(out, ", for {}", span(now.saturating_sub(detail.since)));
    }
    out.push('\n');
    let mut say = |label: &str, paint: Paint, text: &str| {
        let label = style.paint(Paint::Dim, &format!("  {label:<9} "));
        let _ = writeln!(out, "{label}{}", style.paint(paint, text));
    };
    if let Some(job) = answer.wanted.first().and_then(|one| one.job.as_ref()) {
        say("job", Paint::Plain, &last_job(job, now));
    }
    for (at, job) in answer.waits.iter().enumerate() {
        say(
            if at == 0 { "waits" } else { "for" },
            Paint::Busy,
            &waiting(job, now),
        );
    }
    for one in &answer.wanted {
        if let Some(job) = &one.job {
            say("because", Paint::Plain, &cause(job, &one.unit));
        }
    }
    for one in &answer.blamed {
        let facts: Vec<String> = failure(one).into_iter().map(|(_, text)| text).collect();
        let mut text = [one.line.name.as_str(), " is ", one.line.active.as_str()].concat();
        if !facts.is_empty() {
            text.push_str(": ");
            text.push_str(&facts.join("; "));
        }
        say("blame", Paint::Bad, &text);
    }
    for (label, text) in &answer.facts {
        say(
            label,
            if *label == "again" {
                Paint::Plain
            } else {
                Paint::Bad
            },
            text,
        );
    }
    out
}

fn last_job(job: &JobPast, now: u64) -> String {
    let verb = job.verb.as_str();
    if job.ended == 0 {
        let age = span(now.saturating_sub(job.asked));
        return [verb, ", queued ", &age, " ago"].concat();
    }
    let age = span(now.saturating_sub(job.ended));
    let mut text = [verb, ": ", job.result.as_str(), ", ", &age, " ago"].concat();
    if job.verb == JobVerb::Start && job.ended > job.asked {
        text.push_str(", after ");
        text.push_str(&span(job.ended - job.asked));
    }
    text
}

fn waiting(job: &JobLine, now: u64) -> String {
    let age = span(now.saturating_sub(job.since));
    let mut text = [job.unit.as_str(), " ", job.verb.as_str(), ", "].concat();
    text.push_str(if job.running {
        "under way for "
    } else {
        "queued for "
    });
    text.push_str(&age);
    if let Some(deadline) = job.deadline.filter(|deadline| *deadline != u64::MAX) {
        let _ = write!(text, " of {}", span(deadline.saturating_sub(job.since)));
    }
    if job.waits_for.len() > 1 {
        let _ = write!(text, ", after {} jobs", job.waits_for.len());
    }
    text
}

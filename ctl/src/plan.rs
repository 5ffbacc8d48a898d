//! `sctl plan VERB UNIT…`: the transaction that would be queued, and nothing of it done.
//!
//! The manager builds it and says of each job what pulled it in and which jobs go first. From that
//! the *waves* are made here: a job is in the first wave after those of all jobs that go before it, so
//! what stands in one wave goes in parallel. Several units are planned as one transaction, although
//! without `--atomic` they would be queued one after the other.

use crate::commands::{COMMANDS, Verb};
use crate::style::{Cell, Paint, Style, table};
use crate::{Fault, Run, exit, jobs, json};
use units::collections::Map;
use units::state::{JobMode, JobVerb};
use units::wire::control::{PlannedJob, Reply, Request};

/// A job and its wave, from 1; 0 if it is left out.
pub type Placed = (PlannedJob, usize);

/// Jobs by their units.
type Known<'a> = Map<&'a str, &'a PlannedJob>;

/// The command.
pub fn plan(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let (typed, names) = words.split_first().ok_or_else(|| unknown(""))?;
    let command = COMMANDS.iter().find(|command| command.name == *typed);
    let mut mode = run.options.mode;
    let (verb, units) = match command.map(|command| command.verb) {
        Some(Verb::Jobs(verb)) => (verb, jobs::expand(run, names)?),
        Some(Verb::Isolate) => {
            mode = JobMode::Isolate;
            (JobVerb::Start, jobs::targets(names)?)
        }
        _ => return Err(unknown(typed)),
    };
    if units.is_empty() {
        return Err(Fault::new(
            exit::NOT_INSTALLED,
            "plan: which unit? none is named, or none matches",
        ));
    }
    let atomic = run.options.atomic;
    let replies = run.client.ask(&Request::Plan {
        verb,
        units: units.clone(),
        mode,
        atomic,
    })?;
    let (mut planned, mut notes) = (Vec::new(), Vec::new());
    for reply in replies {
        match reply {
            Reply::Planned(job) => planned.push(job),
            Reply::Findings(lines) => notes.extend(lines),
            _ => {}
        }
    }
    let waves = waves(&planned);
    let mut placed: Vec<Placed> = planned.into_iter().zip(waves).collect();
    if run.options.json {
        run.print(&json::plan(&placed, &notes));
        return Ok(exit::OK);
    }
    // A unit may stand there twice: with the job it gets, and with one that is left out.
    let jobs = placed.iter().filter(|(_, wave)| *wave > 0);
    let known: Known<'_> = jobs.map(|(job, _)| (job.unit.as_str(), job)).collect();
    let chains = placed
        .iter()
        .map(|(job, _)| chain(&run.screen.style, &known, job));
    let chains: Vec<String> = chains.collect();
    let head = [typed.as_str(), " ", &units.join(" "), ": "].concat();
    let mut rows: Vec<(Placed, String)> = placed.drain(..).zip(chains).collect();
    rows.sort_by(|((a, left), _), ((b, right), _)| (left, &a.unit).cmp(&(right, &b.unit)));
    let text = draw(&run.screen.style, &head, &rows, &notes, run.options.all);
    run.print(&text);
    Ok(exit::OK)
}

fn unknown(typed: &str) -> Fault {
    Fault::usage(format!(
        "plan {typed}: expected start, stop, restart, try-restart, reload, reload-or-restart, \
         try-reload-or-restart or isolate, and units"
    ))
}

fn stays(job: &PlannedJob) -> bool {
    matches!(job.fate.as_str(), "new" | "joins" | "replaces")
}

/// The wave of each job: one more than the highest of those that go first. Jobs on a cycle among
/// queued ones have none before them that is done; they get the wave after the last.
fn waves(jobs: &[PlannedJob]) -> Vec<usize> {
    let mut waves = vec![0; jobs.len()];
    let mut open: Vec<usize> = (0..jobs.len())
        .filter(|at| jobs.get(*at).is_some_and(stays))
        .collect();
    let mut wave = 0;
    while !open.is_empty() {
        wave += 1;
        let before = waves.clone();
        let free = |at: &usize| {
            let after = jobs.get(*at).map_or(&[][..], |job| &job.after);
            after
                .iter()
                .all(|one| before.get(*one as usize).is_none_or(|wave| *wave > 0))
        };
        let mut now: Vec<usize> = open.iter().copied().filter(free).collect();
        if now.is_empty() {
            now.clone_from(&open);
        }
        for at in now {
            if let Some(place) = waves.get_mut(at) {
                *place = wave;
            }
        }
        open.retain(|at| waves.get(*at) == Some(&0));
    }
    waves
}

/// What pulled a job in, and what pulled that in, up to what was asked for.
fn chain(style: &Style, known: &Known<'_>, job: &PlannedJob) -> String {
    let mut text = String::new();
    let mut job = job;
    for _ in 0..known.len() {
        if job.cause_unit.is_empty() {
            break;
        }
        for part in [style.back(), " ", &job.cause_unit, " (", &job.cause, ") "] {
            text.push_str(part);
        }
        match known.get(job.cause_unit.as_str()) {
            Some(cause) => job = cause,
            None => break,
        }
    }
    if text.is_empty() {
        text.push_str("asked for");
    }
    text.trim_end().to_owned()
}

/// What is special about a job, beyond being queued.
fn remark(job: &PlannedJob) -> String {
    let queued = job.queued.map_or("", |(_, verb)| verb.as_str());
    let text = match job.fate.as_str() {
        "new" => "",
        "joins" => "joins the queued ",
        "replaces" => "replaces the queued ",
        "redundant" if job.verb == JobVerb::Stop => "already down",
        "redundant" => "already up",
        "unusable" => "cannot be loaded, or needs one that cannot",
        "cycle" => "on an ordering cycle",
        "contradiction" => "contradicts another job",
        "impact" => "would stop or undo something (--job-mode=fail)",
        _ => "what pulled it in is left out",
    };
    let mut text = [text, queued].concat();
    if !job.waits_for.is_empty() {
        text.push_str(if text.is_empty() { "" } else { ", " });
        text.push_str("after the queued jobs of ");
        text.push_str(&job.waits_for.join(", "));
    }
    text
}

/// Whether that a job is left out is more than that its unit is there already.
fn is_news(job: &PlannedJob) -> bool {
    !matches!(job.fate.as_str(), "redundant" | "orphan")
}

fn draw(
    style: &Style,
    head: &str,
    rows: &[(Placed, String)],
    notes: &[String],
    all: bool,
) -> String {
    let left = rows.iter().filter(|((_, wave), _)| *wave == 0).count();
    let news = rows
        .iter()
        .filter(|((job, wave), _)| *wave == 0 && is_news(job))
        .count();
    let last = rows.last().map_or(0, |((_, wave), _)| *wave);
    let count =
        |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let mut text = match last {
        0 => "nothing to do".to_owned(),
        _ => [
            &count(rows.len() - left, "job", "jobs"),
            " in ",
            &count(last, "wave", "waves"),
        ]
        .concat(),
    };
    if news > 0 {
        text.push_str(&format!(", {news} left out"));
    }
    let mut out = [&style.paint(Paint::Strong, head), text.as_str(), "\n"].concat();
    let [single, first, middle, end] = style.brace();
    let mut lines = Vec::new();
    for wave in (1..=last).chain([0]) {
        let here = rows
            .iter()
            .filter(|((job, at), _)| *at == wave && (all || *at > 0 || is_news(job)));
        let here: Vec<_> = here.collect();
        for (index, ((job, _), chain)) in here.iter().enumerate() {
            let number = match (wave, index) {
                (0, _) => String::new(),
                (_, 0) => wave.to_string(),
                _ => String::new(),
            };
            let glyph = match (index, here.len() - 1 - index) {
                _ if wave == 0 => " ",
                (0, 0) => single,
                (0, _) => first,
                (_, 0) => end,
                _ => middle,
            };
            let paint = match job.verb {
                _ if wave == 0 => Paint::Dim,
                JobVerb::Stop => Paint::Bad,
                JobVerb::Start | JobVerb::VerifyActive => Paint::Good,
                _ => Paint::Busy,
            };
            let verb = if wave == 0 { "-" } else { job.verb.as_str() };
            lines.push(vec![
                Cell::plain(format!("{number:>3} {glyph} {}", job.unit)),
                Cell::painted(paint, verb),
                Cell::painted(Paint::Busy, remark(job)),
                Cell::painted(Paint::Dim, chain.as_str()),
            ]);
        }
    }
    out.push_str(&table(style, None, &lines));
    let there = rows
        .iter()
        .filter(|((job, _), _)| job.fate == "redundant" && job.verb != JobVerb::Stop);
    let there: Vec<&str> = there.map(|((job, _), _)| job.unit.as_str()).collect();
    if !there.is_empty() && !all {
        let text = style.cut(&["      up already: ", &there.join(", ")].concat(), 0);
        out.push_str(&style.paint(Paint::Dim, &[&text, "\n"].concat()));
    }
    if rows
        .iter()
        .any(|((job, wave), _)| *wave > 0 && job.verb == JobVerb::Restart)
    {
        let text = "      what is restarted goes down in this order and comes up in the reverse\n";
        out.push_str(&style.paint(Paint::Dim, text));
    }
    for note in notes {
        out.push_str(&style.paint(Paint::Busy, &["  ! ", note, "\n"].concat()));
    }
    out
}

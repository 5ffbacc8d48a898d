//! Answers as JSON.
//!
//! One value on one line, for `jq` and for programs. States are systemd's words, times are
//! microseconds since boot (sleep included), what is not there is null.

use crate::Fault;
use crate::atomic::Undone;
use crate::chart::{Bar, Chart};
use crate::jobs::Watched;
use crate::plan::Placed;
use crate::properties::Properties;
use crate::verify::{Level, Problem};
use crate::why::Answer;
use serde_json::{Map, Value};
use units::state::{ActiveState, Exit, JobPast, JobResult, JobVerb};
use units::wire::control::{CrashLine, JobLine, ManagerInfo, UnitDetail, UnitLine, UpgradeLine};
use units::wire::helper::Difference;

/// Whatever a field can be.
trait Json {
    fn json(&self) -> Value;
}

impl Json for Value {
    fn json(&self) -> Value {
        self.clone()
    }
}

impl Json for str {
    fn json(&self) -> Value {
        self.into()
    }
}

impl Json for String {
    fn json(&self) -> Value {
        self.as_str().into()
    }
}

impl Json for bool {
    fn json(&self) -> Value {
        (*self).into()
    }
}

impl Json for u64 {
    fn json(&self) -> Value {
        (*self).into()
    }
}

impl Json for u32 {
    fn json(&self) -> Value {
        (*self).into()
    }
}

impl Json for i32 {
    fn json(&self) -> Value {
        (*self).into()
    }
}

impl<T: Json + ?Sized> Json for &T {
    fn json(&self) -> Value {
        (**self).json()
    }
}

impl<T: Json> Json for Option<T> {
    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::json)
    }
}

impl<T: Json> Json for [T] {
    fn json(&self) -> Value {
        self.iter().map(T::json).collect()
    }
}

impl<T: Json> Json for Vec<T> {
    fn json(&self) -> Value {
        self.as_slice().json()
    }
}

/// An object of these fields. One function instead of an expansion at every use: it is the greater
/// part of what JSON costs.
fn object(fields: &mut [(&str, Value)]) -> Value {
    let mut map = Map::new();
    for (name, value) in fields {
        map.insert((*name).to_owned(), value.take());
    }
    Value::Object(map)
}

fn line_of(value: &Value) -> String {
    let mut text = value.to_string();
    text.push('\n');
    text
}

/// A refusal, or the lack of a manager.
pub fn fault(fault: &Fault) -> String {
    object(&mut [("error", fault.text.json()), ("code", fault.code.json())]).to_string()
}

/// One word.
pub fn word(name: &str, value: &str) -> String {
    let mut map = Map::new();
    map.insert(name.to_owned(), value.into());
    line_of(&Value::Object(map))
}

/// It is done; remarks.
pub fn done(findings: &[String]) -> String {
    line_of(&object(&mut [
        ("done", true.json()),
        ("findings", findings.json()),
    ]))
}

/// How an upgrade stands.
pub fn upgrade(line: &UpgradeLine) -> String {
    line_of(&object(&mut [
        ("upgrade", line.what.json()),
        ("state", line.state.json()),
        ("left", line.left.json()),
        ("why", line.why.json()),
    ]))
}

/// Versions.
pub fn version(ours: &str, manager: Option<&ManagerInfo>) -> String {
    line_of(&object(&mut [
        ("sctl", ours.json()),
        ("manager", manager.map(|info| &info.version).json()),
        ("build", manager.map(|info| &info.build).json()),
    ]))
}

fn unit(line: &UnitLine) -> Value {
    object(&mut [
        ("unit", line.name.json()),
        ("load", line.load.json()),
        ("active", line.active.as_str().json()),
        ("sub", line.sub.json()),
        ("description", line.description.json()),
        (
            "job",
            line.job
                .map(|(id, verb)| object(&mut [("id", id.json()), ("verb", verb.as_str().json())]))
                .json(),
        ),
    ])
}

/// Units.
pub fn lines(lines: &[UnitLine]) -> String {
    line_of(&lines.iter().map(unit).collect())
}

/// What was not as it was recorded.
pub fn differences(all: &[Difference]) -> String {
    let line = |one: &Difference| {
        object(&mut [
            ("unit", one.unit.json()),
            ("kind", one.kind.json()),
            ("found", one.found.json()),
            ("done", one.done.json()),
        ])
    };
    line_of(&all.iter().map(line).collect())
}

/// Crashes.
pub fn crash_lines(crashes: &[CrashLine]) -> String {
    let line = |crash: &CrashLine| {
        object(&mut [
            ("at", crash.at.json()),
            ("who", crash.who.json()),
            ("how", crash.how.json()),
            ("what", crash.what.json()),
        ])
    };
    line_of(&crashes.iter().map(line).collect())
}

/// Queued jobs.
pub fn job_lines(jobs: &[JobLine]) -> String {
    line_of(&jobs.iter().map(job).collect())
}

fn job(job: &JobLine) -> Value {
    object(&mut [
        ("id", job.id.json()),
        ("unit", job.unit.json()),
        ("verb", job.verb.as_str().json()),
        ("running", job.running.json()),
        ("since", job.since.json()),
        ("deadline", job.deadline.json()),
        ("waits_for", job.waits_for.json()),
    ])
}

/// What became of the jobs of one command: unit, number, verb, result if known, reason.
pub fn jobs(verb: JobVerb, jobs: &[Watched]) -> String {
    line_of(&job_ends(verb, jobs))
}

fn job_ends(asked: JobVerb, jobs: &[Watched]) -> Value {
    let one = |one: &Watched| {
        let (verb, result, detail) = match &one.ended {
            Some((verb, result, detail)) => (*verb, Some(*result), detail.as_str()),
            None => (asked, None, ""),
        };
        object(&mut [
            ("unit", one.unit.json()),
            ("job", one.job.json()),
            ("verb", verb.as_str().json()),
            ("result", result.map(JobResult::as_str).json()),
            ("detail", detail.json()),
        ])
    };
    jobs.iter().map(one).collect()
}

/// What became of an atomic start: its jobs, and the reason if it was rolled back.
pub fn atomic(jobs: &[Watched], undone: Option<&Undone>) -> String {
    let why = undone.map(|undone| {
        object(&mut [
            ("unit", undone.unit.json()),
            ("result", undone.result.as_str().json()),
            ("detail", undone.detail.json()),
            ("stopped", undone.stopped.json()),
        ])
    });
    line_of(&object(&mut [
        ("jobs", job_ends(JobVerb::Start, jobs)),
        ("undone", why.json()),
    ]))
}

/// Units and whether they are active; null for no such unit.
pub fn states(states: &[(String, Option<ActiveState>)]) -> String {
    line_of(
        &states
            .iter()
            .map(|(unit, state)| {
                object(&mut [
                    ("unit", unit.json()),
                    ("active", state.map(ActiveState::as_str).json()),
                ])
            })
            .collect(),
    )
}

/// Units and whether they are enabled.
pub fn file_states(states: &[(String, &str)]) -> String {
    line_of(
        &states
            .iter()
            .map(|(unit, state)| object(&mut [("unit", unit.json()), ("state", state.json())]))
            .collect(),
    )
}

/// Links made (with where they lead) and removed; remarks.
pub fn changes(changes: &[(&str, Option<&str>)], notes: &[String]) -> String {
    let links: Value = changes
        .iter()
        .map(|(link, target)| object(&mut [("link", link.json()), ("target", target.json())]))
        .collect();
    line_of(&object(&mut [("links", links), ("notes", notes.json())]))
}

/// Findings in unit files.
pub fn verified(units: usize, problems: &[Problem]) -> String {
    let count = |level| problems.iter().filter(|p| p.level == level).count() as u64;
    let findings: Vec<Value> = problems
        .iter()
        .map(|problem| {
            object(&mut [
                ("level", problem.level.as_str().json()),
                ("kind", problem.kind.as_str().json()),
                ("unit", problem.unit.json()),
                ("file", problem.file.json()),
                ("line", problem.line.json()),
                ("text", problem.text.json()),
            ])
        })
        .collect();
    line_of(&object(&mut [
        ("good", (count(Level::Error) == 0).json()),
        ("units", (units as u64).json()),
        ("errors", count(Level::Error).json()),
        ("warnings", count(Level::Warning).json()),
        ("findings", findings.json()),
    ]))
}

/// The manager.
pub fn manager(info: &ManagerInfo) -> String {
    line_of(&manager_value(info))
}

/// The manager as a value.
pub fn manager_value(info: &ManagerInfo) -> Value {
    let helpers: Vec<Value> = info
        .helpers
        .iter()
        .map(|(kind, pid, contact)| {
            object(&mut [
                ("type", kind.json()),
                ("pid", pid.json()),
                ("contact", contact.json()),
            ])
        })
        .collect();
    object(&mut [
        ("version", info.version.json()),
        ("build", info.build.json()),
        ("state", info.state.json()),
        ("epoch", info.epoch.json()),
        ("pid", info.pid.json()),
        ("now", info.now.json()),
        ("units", info.units.json()),
        ("jobs", info.jobs.json()),
        ("failed", info.failed.json()),
        ("started", info.started.json()),
        ("finished", info.finished.json()),
        ("recovery", info.recovery.json()),
        ("helpers", helpers.json()),
        ("quarantine", info.quarantine.json()),
        ("missing", info.missing.json()),
    ])
}

/// The machine: the manager and units that have failed.
pub fn machine(host: &str, info: &ManagerInfo, units: &[UnitLine]) -> String {
    let failed: Vec<Value> = units
        .iter()
        .filter(|line| line.active == ActiveState::Failed)
        .map(unit)
        .collect();
    line_of(&object(&mut [
        ("host", host.json()),
        ("manager", manager_value(info).json()),
        ("failed", failed.json()),
    ]))
}

/// Units in full, each with the findings in its files.
pub fn details(units: &[(UnitDetail, Vec<String>)]) -> String {
    line_of(
        &units
            .iter()
            .map(|(unit, findings)| detail(unit, findings))
            .collect(),
    )
}

fn detail(one: &UnitDetail, findings: &[String]) -> Value {
    let dependencies: Map<String, Value> = one
        .dependencies
        .iter()
        .map(|(kind, names)| (kind.clone(), names.clone().into()))
        .collect();
    let mut value = unit(&one.line);
    let more = object(&mut [
        ("names", one.names.json()),
        ("fragment", one.fragment.json()),
        ("dropins", one.dropins.json()),
        ("need_reload", one.need_reload.json()),
        ("load_error", one.load_error.json()),
        ("result", one.result.json()),
        ("detail", one.detail.json()),
        ("status", one.status.json()),
        ("invocation", one.invocation.json()),
        ("main_pid", one.main.map(|proc| proc.pid).json()),
        ("control_pid", one.control.map(|proc| proc.pid).json()),
        ("exit", one.exit.map(exit_words).json()),
        ("since", one.since.json()),
        ("deadline", one.deadline.json()),
        ("restarts", one.restarts.json()),
        ("restart_at", one.restart_at.json()),
        ("cgroup", one.cgroup.json()),
        ("documentation", one.documentation.json()),
        ("unsupported", one.unsupported.json()),
        ("condition", one.condition.json()),
        ("dependencies", Value::Object(dependencies)),
        ("can_reload", one.can_reload.json()),
        ("findings", findings.json()),
    ]);
    if let (Value::Object(value), Value::Object(mut more)) = (&mut value, more) {
        value.append(&mut more);
    }
    value
}

/// The job a unit has, or had last.
fn past(job: &JobPast) -> Value {
    object(&mut [
        ("verb", job.verb.as_str().json()),
        (
            "result",
            (job.ended > 0).then(|| job.result.as_str()).json(),
        ),
        ("cause", job.cause.json()),
        ("cause_unit", job.cause_unit.json()),
        ("culprit", job.culprit.json()),
        ("asked", job.asked.json()),
        ("ended", job.ended.json()),
    ])
}

/// Why units are what they are.
pub fn why(answers: &[Answer]) -> String {
    let one = |answer: &Answer| {
        let chain = answer.wanted.iter().map(|one| {
            object(&mut [
                ("unit", one.unit.json()),
                ("active", one.active.as_str().json()),
                ("job", one.job.as_ref().map(past).json()),
            ])
        });
        let facts = answer.facts.iter();
        let facts = facts.map(|(label, text)| ((*label).to_owned(), text.json()));
        object(&mut [
            ("unit", answer.detail.line.name.json()),
            ("active", answer.detail.line.active.as_str().json()),
            ("wanted", chain.collect()),
            ("waits", answer.waits.iter().map(job).collect()),
            (
                "blame",
                answer.blamed.iter().map(|one| unit(&one.line)).collect(),
            ),
            ("facts", Value::Object(facts.collect())),
        ])
    };
    line_of(&answers.iter().map(one).collect())
}

/// A plan: each job with its wave (0: left out), and remarks.
pub fn plan(jobs: &[Placed], notes: &[String]) -> String {
    let one = |(job, wave): &Placed| {
        let after = job.after.iter().filter_map(|at| jobs.get(*at as usize));
        object(&mut [
            ("unit", job.unit.json()),
            ("verb", job.verb.as_str().json()),
            ("wave", (*wave as u64).json()),
            ("fate", job.fate.json()),
            ("needed", job.needed.json()),
            ("cause", job.cause.json()),
            ("cause_unit", job.cause_unit.json()),
            ("queued", job.queued.map(|(id, _)| id).json()),
            ("after", after.map(|(job, _)| job.unit.json()).collect()),
            ("waits_for", job.waits_for.json()),
        ])
    };
    line_of(&object(&mut [
        ("jobs", jobs.iter().map(one).collect()),
        ("notes", notes.json()),
    ]))
}

/// When units came up.
pub fn chart(chart: &Chart) -> String {
    let one = |bar: &Bar| {
        object(&mut [
            ("unit", bar.unit.json()),
            ("asked", bar.asked.json()),
            ("began", bar.began.json()),
            ("there", bar.there.json()),
            ("failed", bar.failed.json()),
            ("before", bar.before.json()),
            ("critical", bar.critical.json()),
        ])
    };
    line_of(&object(&mut [
        ("started", chart.started.json()),
        ("end", chart.end.json()),
        ("units", chart.bars.iter().map(one).collect()),
    ]))
}

/// How a process ended, in words: `code 3`, `signal 9`.
pub fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::Core(signal) => format!("signal {signal}, with a core"),
    }
}

/// Edges of the dependency tree.
pub fn edges(edges: &[(String, String, String, ActiveState)]) -> String {
    line_of(
        &edges
            .iter()
            .map(|(from, to, kind, active)| {
                object(&mut [
                    ("from", from.json()),
                    ("to", to.json()),
                    ("kind", kind.json()),
                    ("active", active.as_str().json()),
                ])
            })
            .collect(),
    )
}

/// Blocks of properties.
pub fn property_blocks(blocks: &[Properties]) -> String {
    line_of(
        &blocks
            .iter()
            .map(|block| {
                Value::Object(
                    block
                        .iter()
                        .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
                        .collect(),
                )
            })
            .collect(),
    )
}

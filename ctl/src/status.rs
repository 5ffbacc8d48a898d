//! `sctl status UNIT`: one unit at a glance.
//!
//! The first line is the unit, the second what it is and since when; below stands what somebody
//! who came because something is wrong looks for, and nothing that is empty: why it failed, what
//! its job waits for, when the next restart is due, which directives of its files are not carried
//! out, its processes, and the last lines of its output.

use crate::output::{self, Tail};
use crate::style::{Paint, paint_of, span, stamp, wrap};
use crate::verify::directive;
use crate::{Fault, Run, exit, files, jobs, json, processes, query};
use std::fmt::Write;
use units::state::{ActiveState, Exit};
use units::wire::control::{JobLine, UnitDetail};

/// Columns in front of the facts.
const INDENT: usize = 12;

/// Everything a screen is made of.
struct Facts<'a> {
    detail: &'a UnitDetail,
    findings: &'a [String],
    job: Option<&'a JobLine>,
    /// `enabled` …; empty if it cannot be told.
    file_state: String,
    /// What it wrote last.
    output: Vec<Tail>,
    /// Boot clock.
    now: u64,
}

/// The command.
pub fn units(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let names = jobs::expand(run, words)?;
    let mut shown = Vec::new();
    let mut code = exit::OK;
    for name in &names {
        match query::examine(run, name) {
            Ok(found) => {
                let line = &found.0.line;
                if !line.active.is_up() {
                    let unknown = line.load == "not-found" && line.active.is_down();
                    code = if unknown {
                        exit::UNKNOWN
                    } else {
                        exit::NOT_RUNNING
                    };
                }
                shown.push(found);
            }
            Err(fault) if query::is_unknown(&fault) => {
                code = exit::UNKNOWN;
                run.say(&format!("sctl: {}", fault.text));
            }
            Err(fault) => return Err(fault),
        }
    }
    if run.options.json {
        run.print(&json::details(&shown));
        return Ok(code);
    }
    if run.options.quiet || shown.is_empty() {
        return Ok(code);
    }
    let now = run.manager()?.now;
    let jobs = if shown.iter().any(|(detail, _)| detail.line.job.is_some()) {
        query::jobs(run)?
    } else {
        Vec::new()
    };
    for (index, (detail, findings)) in shown.iter().enumerate() {
        if index > 0 {
            run.print("\n");
        }
        let facts = Facts {
            detail,
            findings,
            job: jobs.iter().find(|job| job.unit == detail.line.name),
            output: output::of(run.options, &detail.line.name),
            file_state: files::state_for_status(run.options, &detail.line.name),
            now,
        };
        let text = screen(run, &facts);
        run.print(&text);
    }
    Ok(code)
}

fn screen(run: &Run<'_, '_>, facts: &Facts<'_>) -> String {
    let style = run.screen.style;
    let detail = facts.detail;
    let line = &detail.line;
    let mut out = String::new();
    let name = style.paint(Paint::Strong, &line.name);
    let _ = write!(out, "{} {name}", style.dot(line.active, &line.load));
    if !line.description.is_empty() && line.description != line.name {
        let _ = write!(out, " {} {}", style.dash(), line.description);
    }
    out.push('\n');
    let mut page = Page { out, run };
    page.state(facts);
    page.origin(facts);
    page.trouble(facts);
    page.plans(facts);
    page.processes(facts);
    page.output(facts);
    page.out
}

struct Page<'r, 'a, 's> {
    out: String,
    run: &'r Run<'a, 's>,
}

impl Page<'_, '_, '_> {
    fn fact(&mut self, label: &str, paint: Paint, text: &str) {
        if text.is_empty() {
            return;
        }
        let style = self.run.screen.style;
        let label = style.paint(Paint::Dim, &format!("  {label:<9} "));
        let text = style.paint(paint, &style.cut(text, INDENT));
        let _ = writeln!(self.out, "{label}{text}");
    }

    /// The same label over several lines, written once. Nothing of it is cut: these are lines one
    /// wants to copy.
    fn facts(&mut self, label: &str, paint: Paint, texts: &[String]) {
        let style = self.run.screen.style;
        for (index, text) in texts.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let label = style.paint(Paint::Dim, &format!("  {label:<9} "));
            let _ = writeln!(self.out, "{label}{}", style.paint(paint, text));
        }
    }

    fn state(&mut self, facts: &Facts<'_>) {
        let style = self.run.screen.style;
        let detail = facts.detail;
        let line = &detail.line;
        let word = style.paint(paint_of(line.active, &line.load), line.active.as_str());
        let label = style.paint(Paint::Dim, &format!("  {:<9} ", "state"));
        let _ = write!(self.out, "{label}{word}");
        if !line.sub.is_empty() && line.sub != line.active.as_str() {
            let _ = write!(self.out, " ({})", line.sub);
        }
        if detail.since > 0 {
            let ago = facts.now.saturating_sub(detail.since);
            let wall = self.run.screen.wall.saturating_sub(ago);
            let _ = write!(self.out, " since {}, for {}", stamp(wall), span(ago));
        }
        self.out.push('\n');
        if let Some(deadline) = detail.deadline.filter(|deadline| *deadline != u64::MAX) {
            let left = deadline.saturating_sub(facts.now);
            self.fact(
                "deadline",
                Paint::Plain,
                &format!("gives up in {}", span(left)),
            );
        }
        self.fact("status", Paint::Strong, &detail.status);
    }

    fn origin(&mut self, facts: &Facts<'_>) {
        let detail = facts.detail;
        let line = &detail.line;
        let enabled = match facts.file_state.as_str() {
            "" => String::new(),
            word => format!(" ({word})"),
        };
        match (line.load.as_str(), detail.fragment.as_str()) {
            ("loaded", "") => {}
            ("loaded", path) => self.fact("file", Paint::Plain, &format!("{path}{enabled}")),
            ("not-found", _) => {
                self.fact("file", Paint::Bad, "there is no unit file of this name");
            }
            ("masked", _) => {
                self.fact(
                    "file",
                    Paint::Busy,
                    "masked: it cannot be started (`sctl unmask` allows it)",
                );
            }
            ("no-helper", path) => {
                let kind = line.name.rsplit_once('.').map_or("", |(_, kind)| kind);
                let text = format!("{path}: there is no helper for units of type {kind}");
                self.fact("file", Paint::Bad, text.trim_start_matches(": "));
            }
            (load, path) => self.fact("file", Paint::Bad, format!("{load} {path}").trim_end()),
        }
        self.facts("drop-in", Paint::Plain, &detail.dropins);
        if detail.need_reload {
            self.fact(
                "changed",
                Paint::Busy,
                "its files are newer than what is loaded: sctl daemon-reload",
            );
        }
        let others: Vec<String> = detail
            .names
            .iter()
            .filter(|name| **name != line.name)
            .cloned()
            .collect();
        self.fact("also", Paint::Plain, &others.join(" "));
        self.facts("docs", Paint::Plain, &detail.documentation);
    }

    fn trouble(&mut self, facts: &Facts<'_>) {
        let detail = facts.detail;
        if !detail.load_error.is_empty() {
            self.facts(
                "error",
                Paint::Bad,
                std::slice::from_ref(&detail.load_error),
            );
        }
        let failed = detail.line.active == ActiveState::Failed
            || !matches!(detail.result.as_str(), "" | "success");
        if failed && !detail.result.is_empty() {
            let ended = match detail.exit {
                Some(exit) => format!(
                    "{}: main process ended with {}",
                    detail.result,
                    ending(exit)
                ),
                None => detail.result.clone(),
            };
            self.fact("result", Paint::Bad, &ended);
        } else if let Some(exit) = detail.exit.filter(|exit| !exit.is_clean_code()) {
            self.fact(
                "ended",
                Paint::Plain,
                &format!("main process ended with {}", ending(exit)),
            );
        }
        if !detail.detail.is_empty() {
            self.facts("because", Paint::Bad, std::slice::from_ref(&detail.detail));
        }
        if !detail.condition.is_empty() {
            let text = format!("{} does not hold", detail.condition);
            self.fact("condition", Paint::Busy, &text);
        }
        self.facts("ignored", Paint::Busy, &self.ignored(&detail.unsupported));
        let rest: Vec<String> = facts
            .findings
            .iter()
            .filter(|finding| !detail.unsupported.contains(finding))
            .cloned()
            .collect();
        self.facts("findings", Paint::Busy, &rest);
    }

    /// What is not carried out, by file: the names alone, over as many lines as they need.
    fn ignored(&self, unsupported: &[String]) -> Vec<String> {
        let mut files: Vec<(&str, Vec<&str>)> = Vec::new();
        for text in unsupported {
            let (place, rest) = text.split_once(": ").unwrap_or(("", text));
            let file = place.rsplit_once(':').map_or(place, |(file, _)| file);
            let name = directive(rest);
            match files.iter_mut().find(|(known, _)| *known == file) {
                Some((_, names)) if names.contains(&name) => {}
                Some((_, names)) => names.push(name),
                None => files.push((file, vec![name])),
            }
        }
        let width = self.run.screen.style.width.unwrap_or(100).max(40) - INDENT;
        let mut lines = Vec::new();
        for (file, names) in files {
            lines.push(format!("in {file} (`sctl verify` names the lines):"));
            let names = wrap(&names.join(" "), 0, width);
            lines.extend(names.lines().map(str::to_owned));
        }
        lines
    }

    fn plans(&mut self, facts: &Facts<'_>) {
        let detail = facts.detail;
        if let Some((id, verb)) = detail.line.job {
            let mut text = format!("#{id} {}", verb.as_str());
            if let Some(job) = facts.job {
                let state = if job.running { "running" } else { "waiting" };
                let age = span(facts.now.saturating_sub(job.since));
                let _ = write!(text, ", {state} for {age}");
                if !job.waits_for.is_empty() {
                    let _ = write!(text, ", after {}", job.waits_for.join(", "));
                }
            }
            self.fact("job", Paint::Busy, &text);
        }
        let times = match detail.restarts {
            0 => String::new(),
            1 => "restarted once by itself".to_owned(),
            n => format!("restarted {n} times by itself"),
        };
        let next = detail.restart_at.map(|at| {
            format!(
                "the next restart is due in {}",
                span(at.saturating_sub(facts.now))
            )
        });
        let text = match (times.is_empty(), next) {
            (_, None) => times,
            (true, Some(next)) => next,
            (false, Some(next)) => format!("{times}; {next}"),
        };
        self.fact("restarts", Paint::Plain, &text);
    }

    fn processes(&mut self, facts: &Facts<'_>) {
        let detail = facts.detail;
        for (label, proc) in [("main", detail.main), ("control", detail.control)] {
            if let Some(proc) = proc {
                let name = processes::name(proc.pid);
                self.fact(
                    label,
                    Paint::Plain,
                    format!("{} {name}", proc.pid).trim_end(),
                );
            }
        }
        if detail.cgroup.is_empty() {
            return;
        }
        let style = self.run.screen.style;
        let lines = processes::tree(&style, &detail.cgroup);
        if lines.is_empty() && detail.line.active.is_down() {
            return;
        }
        self.fact("cgroup", Paint::Plain, &detail.cgroup);
        for line in lines {
            let pad = " ".repeat(INDENT);
            let _ = writeln!(self.out, "{pad}{}", style.cut(&line, INDENT));
        }
    }

    fn output(&mut self, facts: &Facts<'_>) {
        let style = self.run.screen.style;
        for Tail { file, lines } in &facts.output {
            self.fact("output", Paint::Plain, file);
            for line in lines {
                let pad = " ".repeat(INDENT);
                let _ = writeln!(self.out, "{pad}{}", style.cut(line, INDENT));
            }
        }
    }
}

/// How a process ended.
pub fn ending(exit: Exit) -> String {
    let signal = |number| format!("signal {number} ({})", units::value::signal::name(number));
    match exit {
        Exit::Code(code) => format!("exit status {code}"),
        Exit::Signal(number) => signal(number),
        Exit::Core(number) => format!("{}, leaving a core", signal(number)),
    }
}

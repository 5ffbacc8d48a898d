//! `sctl status` alone: the machine at a glance.
//!
//! The manager, its helpers, what this machine lacks, what has failed, and then everything that
//! runs: by slices as the kernel's cgroups have it, or, on a machine without cgroups, a list.

use crate::style::{Paint, paint_of, span, stamp};
use crate::{Fault, Run, exit, json, processes, query};
use std::fmt::Write;
use std::path::Path;
use units::collections::Map;
use units::state::ActiveState;
use units::wire::control::{ManagerInfo, UnitLine};

/// Most levels of slices.
const DEEP: usize = 16;

/// The command.
pub fn status(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let info = run.manager()?;
    let lines = query::lines(run, Vec::new(), false)?;
    let host = run.screen.host.clone();
    if run.options.json {
        run.print(&json::machine(&host, &info, &lines));
        return Ok(exit::OK);
    }
    let style = run.screen.style;
    let active = match info.state.as_str() {
        "running" => ActiveState::Active,
        "degraded" | "maintenance" => ActiveState::Failed,
        _ => ActiveState::Activating,
    };
    let mut out = String::new();
    let name = style.paint(
        Paint::Strong,
        if host.is_empty() {
            "this machine"
        } else {
            &host
        },
    );
    let _ = writeln!(out, "{} {name}", style.dot(active, "loaded"));
    head(run, &info, active, &lines, &mut out);
    let known: Map<&str, &UnitLine> = lines
        .iter()
        .map(|line| (line.name.as_str(), line))
        .collect();
    // Where our slices are; other people's groups may be beside them in a container.
    let top = processes::place("system.slice");
    let mut tree = String::new();
    if let Some(top) = top.as_deref().and_then(Path::parent) {
        grow(run, top, "  ", DEEP, &known, &mut tree);
    }
    let drawn = !tree.is_empty();
    out.push_str(&tree);
    if !drawn {
        for line in lines.iter().filter(|line| line.active.is_up()) {
            let dot = style.dot(line.active, &line.load);
            let text = style.cut(&format!("{} ({})", line.name, line.sub), 4);
            let _ = writeln!(out, "  {dot} {text}");
        }
    }
    run.print(&out);
    Ok(exit::OK)
}

/// What begins a line on an upgrade among what is in quarantine.
pub const UPGRADE: &str = "upgrade of ";

fn head(
    run: &Run<'_, '_>,
    info: &ManagerInfo,
    active: ActiveState,
    lines: &[UnitLine],
    out: &mut String,
) {
    let style = run.screen.style;
    let mut fact = |label: &str, paint: Paint, text: &str| {
        let label = style.paint(Paint::Dim, &format!("  {label:<9} "));
        let _ = writeln!(out, "{label}{}", style.paint(paint, &style.cut(text, 12)));
    };
    let counts = format!(
        "{}; {} units, {} failed, {} jobs",
        info.state, info.units, info.failed, info.jobs
    );
    fact("state", paint_of(active, "loaded"), &counts);
    let age = info.now.saturating_sub(info.started);
    let since = stamp(run.screen.wall.saturating_sub(age));
    let boot = match info.finished.checked_sub(info.started) {
        Some(took) if info.finished > 0 => format!("; default target after {}", span(took)),
        _ => String::new(),
    };
    fact(
        "since",
        Paint::Plain,
        &format!("{since}, for {}{boot}", span(age)),
    );
    let replaced = match (info.epoch, info.recovery) {
        (0 | 1, _) => String::new(),
        (epoch, 0) => format!(", epoch {epoch}"),
        (epoch, took) => format!(", epoch {epoch}, took over in {}", span(took)),
    };
    let build = match info.build.as_str() {
        "" => String::new(),
        // The build of a release is its version and would be said twice.
        build if build.ends_with(&info.version) => String::new(),
        build => format!(" ({build})"),
    };
    let manager = format!(
        "sysmaster {}{build}, pid {}{replaced}",
        info.version, info.pid
    );
    fact("manager", Paint::Plain, &manager);
    let helpers: Vec<String> = info
        .helpers
        .iter()
        .map(|(kind, pid, contact)| {
            let silent = if *contact { "" } else { ", out of contact" };
            format!("{kind} (pid {pid}{silent})")
        })
        .collect();
    let silent = info.helpers.iter().any(|(_, _, contact)| !contact);
    if !helpers.is_empty() {
        fact(
            "helpers",
            if silent { Paint::Busy } else { Paint::Plain },
            &helpers.join(", "),
        );
    }
    for text in &info.quarantine {
        match text.strip_prefix(UPGRADE) {
            Some(text) => fact("upgrade", Paint::Busy, text),
            None => fact("quarantine", Paint::Bad, text),
        }
    }
    for text in &info.missing {
        fact("missing", Paint::Busy, text);
    }
    for line in lines
        .iter()
        .filter(|line| line.active == ActiveState::Failed)
    {
        fact(
            "failed",
            Paint::Bad,
            &format!("{} {} {}", line.name, style.dash(), line.description),
        );
    }
}

fn grow(
    run: &Run<'_, '_>,
    path: &Path,
    before: &str,
    depth: usize,
    known: &Map<&str, &UnitLine>,
    out: &mut String,
) {
    let style = run.screen.style;
    let [branch, last, through, gap] = style.branches();
    let mut groups = processes::groups(path);
    groups.retain(|group| populated(&group.path));
    let pids = if before.len() > 2 {
        processes::processes(path)
    } else {
        Vec::new()
    };
    for (index, pid) in pids.iter().enumerate() {
        let end = groups.is_empty() && index + 1 == pids.len();
        let line = format!(
            "{before}{}{pid} {}",
            if end { last } else { branch },
            processes::command(*pid)
        );
        let _ = writeln!(out, "{}", style.cut(&line, 0));
    }
    for (index, group) in groups.iter().enumerate() {
        let end = index + 1 == groups.len();
        let dot = known
            .get(group.name.as_str())
            .map_or(String::new(), |line| {
                format!("{} ", style.dot(line.active, &line.load))
            });
        let _ = writeln!(
            out,
            "{before}{}{dot}{}",
            if end { last } else { branch },
            group.name
        );
        if depth > 0 {
            let inner = format!("{before}{}", if end { gap } else { through });
            grow(run, &group.path, &inner, depth - 1, known, out);
        }
    }
}

/// Whether a cgroup or one below it has a process. Old ones without `cgroup.events` count.
fn populated(path: &Path) -> bool {
    std::fs::read_to_string(path.join("cgroup.events"))
        .map_or(true, |text| !text.lines().any(|line| line == "populated 0"))
}

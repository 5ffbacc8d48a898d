//! Commands that only look, except the two with screens of their own (`status`, `machine`).

use crate::style::{Cell, Paint, paint_of, span, table};
use crate::{Fault, Run, exit, json, properties, unit_name};
use units::state::ActiveState;
use units::wire::control::{ErrorKind, JobLine, Reply, Request, UnitDetail, UnitLine};
use units::wire::helper::Difference;

/// Microseconds since boot, sleep included: the clock of all times in answers.
pub fn boot_clock() -> u64 {
    platform::clock::now()
}

/// Loaded units that match; all if there are no patterns.
pub fn lines(
    run: &mut Run<'_, '_>,
    patterns: Vec<String>,
    all: bool,
) -> Result<Vec<UnitLine>, Fault> {
    let replies = run.client.ask(&Request::ListUnits { patterns, all })?;
    Ok(replies
        .into_iter()
        .filter_map(|reply| match reply {
            Reply::Unit(line) => Some(line),
            _ => None,
        })
        .collect())
}

/// Queued jobs.
pub fn jobs(run: &mut Run<'_, '_>) -> Result<Vec<JobLine>, Fault> {
    let replies = run.client.ask(&Request::ListJobs)?;
    Ok(replies
        .into_iter()
        .filter_map(|reply| match reply {
            Reply::Job(job) => Some(job),
            _ => None,
        })
        .collect())
}

/// Everything about a unit, and what was found wrong in its files.
pub fn examine(run: &mut Run<'_, '_>, unit: &str) -> Result<(UnitDetail, Vec<String>), Fault> {
    let replies = run.client.ask(&Request::Show {
        unit: unit.to_owned(),
    })?;
    let mut found = None;
    let mut findings = Vec::new();
    for reply in replies {
        match reply {
            Reply::Detail(detail) => found = Some(detail),
            Reply::Findings(lines) => findings.extend(lines),
            _ => {}
        }
    }
    let detail =
        found.ok_or_else(|| Fault::failed(format!("the manager said nothing about {unit}")))?;
    Ok((detail, findings))
}

/// Everything about a unit.
pub fn detail(run: &mut Run<'_, '_>, unit: &str) -> Result<UnitDetail, Fault> {
    examine(run, unit).map(|(detail, _)| detail)
}

/// Whether the fault says that there is no such unit.
pub fn is_unknown(fault: &Fault) -> bool {
    matches!(fault.kind, Some(ErrorKind::NotFound))
}

/// `list-units`.
pub fn list_units(run: &mut Run<'_, '_>, patterns: &[String]) -> Result<i32, Fault> {
    let options = run.options;
    let all = options.all || !options.states.is_empty();
    let mut lines = lines(run, patterns.to_vec(), all)?;
    lines.retain(|line| {
        let typed = line.name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        let state = |wanted: &String| {
            wanted == line.active.as_str() || *wanted == line.sub || *wanted == line.load
        };
        (options.types.is_empty() || options.types.iter().any(|wanted| wanted == typed))
            && (options.states.is_empty() || options.states.iter().any(state))
            && (!options.failed || line.active == ActiveState::Failed)
    });
    lines.sort_by(|a, b| by_type_then_name(&a.name, &b.name));
    if options.json {
        run.print(&json::lines(&lines));
        return Ok(exit::OK);
    }
    let style = run.screen.style;
    let mut rows = Vec::new();
    for line in &lines {
        let paint = paint_of(line.active, &line.load);
        let job = line
            .job
            .map_or(String::new(), |(_, verb)| format!(" [{}]", verb.as_str()));
        rows.push(vec![
            Cell::plain(&*line.name),
            Cell::painted(
                if line.load == "loaded" {
                    Paint::Plain
                } else {
                    Paint::Bad
                },
                &*line.load,
            ),
            Cell::painted(paint, line.active.as_str()),
            Cell::plain(format!("{}{job}", line.sub)),
            Cell::plain(&*line.description),
        ]);
    }
    let heading: &[&str] = &["UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"];
    let legend = !options.no_legend && !options.plain;
    let mut text = table(&style, legend.then_some(heading), &rows);
    if legend {
        let failed = lines
            .iter()
            .filter(|line| line.active == ActiveState::Failed)
            .count();
        let more = if all {
            ""
        } else {
            "; --all lists those that are down too"
        };
        text.push_str(&style.paint(
            Paint::Dim,
            &format!("{} units, {failed} failed{more}", lines.len()),
        ));
        text.push('\n');
    }
    run.print(&text);
    Ok(exit::OK)
}

fn by_type_then_name(left: &str, right: &str) -> std::cmp::Ordering {
    let key = |name: &str| {
        let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
        (suffix.to_owned(), stem.to_owned())
    };
    key(left).cmp(&key(right))
}

/// `list-jobs`.
pub fn list_jobs(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let mut jobs = jobs(run)?;
    jobs.sort_by_key(|job| job.id);
    if run.options.json {
        run.print(&json::job_lines(&jobs));
        return Ok(exit::OK);
    }
    if jobs.is_empty() {
        run.say("no job is queued");
        return Ok(exit::OK);
    }
    let now = run.manager()?.now;
    let style = run.screen.style;
    let mut rows = Vec::new();
    for job in &jobs {
        let waits = match (job.running, job.waits_for.len()) {
            (true, _) => "running".to_owned(),
            (false, 0) => "next".to_owned(),
            (false, 1..=3) => format!("waits for {}", job.waits_for.join(", ")),
            (false, more) => {
                let first = job.waits_for.first().map_or("", String::as_str);
                format!("waits for {first} and {} more", more - 1)
            }
        };
        rows.push(vec![
            Cell::painted(Paint::Strong, &*job.unit),
            Cell::plain(job.id.to_string()),
            Cell::plain(job.verb.as_str()),
            Cell::plain(span(now.saturating_sub(job.since))),
            Cell::painted(
                if job.running {
                    Paint::Busy
                } else {
                    Paint::Plain
                },
                waits,
            ),
        ]);
    }
    let heading: &[&str] = &["UNIT", "JOB", "WHAT", "FOR", "STATE"];
    let text = table(&style, (!run.options.no_legend).then_some(heading), &rows);
    run.print(&text);
    Ok(exit::OK)
}

/// `reconcile`.
pub fn reconcile(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let replies = run.client.ask(&Request::Reconcile)?;
    let difference = |reply| match reply {
        Reply::Difference(difference) => Some(difference),
        _ => None,
    };
    let all: Vec<_> = replies.into_iter().filter_map(difference).collect();
    if run.options.json {
        run.print(&json::differences(&all));
        return Ok(exit::OK);
    }
    if all.is_empty() {
        run.say("everything is as it is on record");
        return Ok(exit::OK);
    }
    let row = |one: &Difference| {
        let unit = if one.unit.is_empty() { "-" } else { &one.unit };
        vec![
            Cell::painted(Paint::Strong, unit),
            Cell::plain(&*one.kind),
            Cell::plain(&*one.found),
            Cell::plain(&*one.done),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let heading: &[&str] = &["UNIT", "WHAT", "FOUND", "DONE"];
    let heading = (!run.options.no_legend).then_some(heading);
    run.print(&table(&run.screen.style, heading, &rows));
    Ok(exit::OK)
}

/// `crashes`.
pub fn crashes(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let replies = run.client.ask(&Request::Crashes)?;
    let crash = |reply| match reply {
        Reply::Crash(crash) => Some(crash),
        _ => None,
    };
    let crashes: Vec<_> = replies.into_iter().filter_map(crash).collect();
    if run.options.json {
        run.print(&json::crash_lines(&crashes));
        return Ok(exit::OK);
    }
    let info = run.manager()?;
    let style = run.screen.style;
    let rows: Vec<_> = crashes
        .iter()
        .map(|crash| {
            vec![
                Cell::plain(span(info.now.saturating_sub(crash.at))),
                Cell::painted(Paint::Strong, &*crash.who),
                Cell::plain(&*crash.how),
                Cell::plain(&*crash.what),
            ]
        })
        .collect();
    if rows.is_empty() {
        run.say("none of our processes has died by its own fault since boot");
        return Ok(exit::OK);
    }
    let heading: &[&str] = &["AGO", "WHO", "HOW", "AT WHAT"];
    let mut text = table(&style, (!run.options.no_legend).then_some(heading), &rows);
    let quarantine = info.quarantine.iter();
    for line in quarantine.filter(|line| !line.starts_with(crate::machine::UPGRADE)) {
        text.push_str(&["in quarantine: ", line, "\n"].concat());
    }
    run.print(&text);
    Ok(exit::OK)
}

/// `show`: a unit's properties, or the manager's.
pub fn show(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let mut blocks = Vec::new();
    if words.is_empty() {
        blocks.push(properties::of_manager(&run.manager()?));
    }
    for unit in crate::jobs::expand(run, words)? {
        // systemctl shows a unit nobody has heard of as not found, and calls that success.
        let detail = match detail(run, &unit) {
            Ok(detail) => detail,
            Err(fault) if is_unknown(&fault) => properties::unknown(&unit),
            Err(fault) => return Err(fault),
        };
        let mut block = properties::of_unit(&detail);
        if let Ok(one) = crate::why::history(run, &detail.line.name) {
            properties::add_times(&mut block, one.times);
        }
        blocks.push(block);
    }
    let wanted = &run.options.properties;
    for block in &mut blocks {
        if !wanted.is_empty() {
            block.retain(|(name, _)| {
                wanted
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(name))
            });
        }
    }
    if run.options.json {
        run.print(&json::property_blocks(&blocks));
        return Ok(exit::OK);
    }
    let mut text = String::new();
    for (index, block) in blocks.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        for (name, value) in block {
            if value.is_empty() && !run.options.all && wanted.is_empty() {
                continue;
            }
            if !run.options.value {
                text.push_str(name);
                text.push('=');
            }
            text.push_str(value);
            text.push('\n');
        }
    }
    run.print(&text);
    Ok(exit::OK)
}

/// State of each named unit; `None` where there is no such unit.
fn states(
    run: &mut Run<'_, '_>,
    words: &[String],
) -> Result<Vec<(String, Option<ActiveState>)>, Fault> {
    let mut states = Vec::new();
    for word in words {
        if crate::is_pattern(word) {
            let found = lines(run, vec![word.clone()], true)?;
            states.extend(found.into_iter().map(|line| (line.name, Some(line.active))));
            continue;
        }
        let unit = unit_name(word)?;
        match detail(run, &unit) {
            Ok(detail) if detail.line.load == "not-found" && detail.line.active.is_down() => {
                states.push((unit, None));
            }
            Ok(detail) => states.push((unit, Some(detail.line.active))),
            Err(fault) if is_unknown(&fault) => states.push((unit, None)),
            Err(fault) => return Err(fault),
        }
    }
    Ok(states)
}

fn print_states(run: &mut Run<'_, '_>, states: &[(String, Option<ActiveState>)]) {
    if run.options.json {
        run.print(&json::states(states));
    } else if !run.options.quiet {
        for (_, state) in states {
            let word = state.unwrap_or(ActiveState::Inactive).as_str();
            run.print(&format!("{word}\n"));
        }
    }
}

/// `is-active`.
pub fn is_active(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let states = states(run, words)?;
    print_states(run, &states);
    Ok(
        if states
            .iter()
            .any(|(_, state)| state.is_some_and(ActiveState::is_up))
        {
            exit::OK
        } else if states.iter().all(|(_, state)| state.is_none()) {
            exit::UNKNOWN
        } else {
            exit::NOT_RUNNING
        },
    )
}

/// `is-failed`: of these units, or of any.
pub fn is_failed(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    if words.is_empty() {
        let info = run.manager()?;
        if run.options.json {
            run.print(&json::manager(&info));
        } else if !run.options.quiet {
            run.print(&format!("{}\n", info.state));
        }
        return Ok(if info.failed > 0 {
            exit::OK
        } else {
            exit::FAILURE
        });
    }
    let states = states(run, words)?;
    print_states(run, &states);
    let failed = states
        .iter()
        .any(|(_, state)| *state == Some(ActiveState::Failed));
    Ok(if failed { exit::OK } else { exit::FAILURE })
}

/// `is-system-running`.
pub fn is_system_running(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let state = match run.manager() {
        Ok(info) => info.state,
        Err(fault) if matches!(fault.kind, Some(ErrorKind::ShuttingDown)) => "offline".to_owned(),
        Err(fault) => return Err(fault),
    };
    if run.options.json {
        run.print(&json::word("state", &state));
    } else if !run.options.quiet {
        run.print(&format!("{state}\n"));
    }
    Ok(if state == "running" {
        exit::OK
    } else {
        exit::FAILURE
    })
}

/// `version`: ours, and the manager's where there is one.
pub fn version(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let manager = run.manager().ok();
    let ours = env!("CARGO_PKG_VERSION");
    let text = match (&manager, run.options.json) {
        (manager, true) => json::version(ours, manager.as_ref()),
        (Some(info), false) => {
            format!(
                "sctl {ours}\nsysmaster {} ({}), running\n",
                info.version, info.build
            )
        }
        (None, false) => format!("sctl {ours}\nsysmaster does not run here\n"),
    };
    run.print(&text);
    Ok(exit::OK)
}

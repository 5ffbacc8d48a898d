//! The manager's knowledge in the frames of the control protocol.

use crate::manager::Manager;
use engine::api::{JobId, UnitId};
use engine::{JobView, Phase, Rel};
use units::glob;
use units::name::UnitName;
use units::spec::LoadState;
use units::state::{ActiveState, Invocation, Micros};
use units::wire::control::{JobLine, ManagerInfo, Reply, UnitDetail, UnitLine};

/// Edges of a dependency tree that are answered at most: beyond it nobody reads them.
const MOST_EDGES: usize = 20_000;

/// What stands behind a name's last dot.
pub(crate) fn type_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, unit_type)| unit_type)
}

/// Whether a list shows this unit.
pub(crate) fn wanted(line: &UnitLine, patterns: &[String], all: bool) -> bool {
    let named = patterns
        .iter()
        .any(|pattern| glob::matches(pattern, &line.name));
    if !patterns.is_empty() && !named {
        return false;
    }
    all || line.active != ActiveState::Inactive || line.job.is_some()
}

impl Manager {
    /// A unit's name.
    pub(crate) fn name_of(&self, unit: UnitId) -> Option<String> {
        self.engine
            .unit(unit)
            .map(|view| view.name.as_str().to_owned())
    }

    /// A unit in one line; `None` for a name nobody has loaded and nothing is known of.
    pub(crate) fn unit_line(&mut self, id: UnitId) -> Option<UnitLine> {
        let view = self.engine.unit(id)?;
        let load = view.load?.as_str().to_owned();
        let (name, active) = (view.name.as_str().to_owned(), view.active);
        let job = view.job.map(|job| (job.id.0, job.verb));
        let info = self.info(id);
        let sub = match &info.report {
            // It ended well, and its next start was refused: the helper has not heard of that one.
            Some(report) if active == ActiveState::Failed && report.sub == "dead" => {
                "failed".into()
            }
            Some(report) if !report.sub.is_empty() => report.sub.clone(),
            _ if active.is_up() => "active".into(),
            _ if active == ActiveState::Inactive => "dead".into(),
            _ => active.as_str().into(),
        };
        let description = info.description.to_string();
        Some(UnitLine {
            name,
            load,
            active,
            sub,
            description,
            job,
        })
    }

    /// A unit in full, and the findings in its files.
    pub(crate) fn detail(&mut self, id: UnitId) -> Option<(UnitDetail, Vec<String>)> {
        let line = self.unit_line(id)?;
        let name = UnitName::new(&line.name).ok()?;
        // What is only shown is not kept: it is read from the files again.
        let spec = self.loader.load(&name).spec;
        let need_reload = self.loader.changed(&name);
        let mut detail = UnitDetail {
            names: spec
                .names
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
            documentation: spec.documentation.clone(),
            cgroup: crate::load::cgroup_of(&spec),
            need_reload,
            ..UnitDetail::of(line)
        };
        let mut limit_hit = false;
        if let Some(view) = self.engine.unit(id) {
            limit_hit = view.limit_hit;
            detail.load_error = view.load.map_or("", LoadState::reason).to_owned();
            detail.since = view.since;
            detail.restarts = view.restarts;
            detail.restart_at = view.restart_at;
            detail.can_reload = view.can_reload;
            if view.invocation != Invocation::default() {
                detail.invocation = view.invocation.to_string();
            }
        }
        detail.dependencies = self.dependencies(id);
        let info = self.info(id);
        detail.fragment = info.files.first().cloned().unwrap_or_default();
        detail.dropins = info.files.iter().skip(1).cloned().collect();
        detail.unsupported.clone_from(&info.unsupported);
        detail.condition.clone_from(&info.condition);
        detail.detail.clone_from(&info.detail);
        if let Some(report) = &info.report {
            detail.result.clone_from(&report.result);
            if !report.detail.is_empty() {
                detail.detail.clone_from(&report.detail);
            }
            detail.status.clone_from(&report.status);
            detail.main = report.main;
            detail.control = report.control;
            detail.exit = report.exit;
            detail.deadline = report.deadline;
        }
        let nothing_worse = matches!(detail.result.as_str(), "" | "success");
        if limit_hit && nothing_worse && detail.line.active == ActiveState::Failed {
            detail.result = "start-limit-hit".into();
        }
        let findings = info.findings.clone();
        Some((detail, findings))
    }

    fn dependencies(&self, id: UnitId) -> Vec<(String, Vec<String>)> {
        let mut kinds: Vec<(String, Vec<String>)> = Vec::new();
        for (kind, other) in self.engine.edges(id) {
            let Some(name) = self.name_of(other) else {
                continue;
            };
            let kind = kind.as_str();
            match kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, names)) => names.push(name),
                None => kinds.push((kind.to_owned(), vec![name])),
            }
        }
        kinds
    }

    /// The tree below a unit, or above it, each unit's edges once.
    pub(crate) fn dependency_tree(&mut self, root: UnitId, reverse: bool, all: bool) -> Vec<Reply> {
        let mut edges = Vec::new();
        let mut seen = vec![root];
        let mut queue = std::collections::VecDeque::from([root]);
        while let Some(from) = queue.pop_front() {
            let Some(from_name) = self.name_of(from) else {
                continue;
            };
            for (kind, to) in self.tree_edges(from, reverse) {
                let Some(view) = self.engine.unit(to) else {
                    continue;
                };
                let (to_name, active) = (view.name.as_str().to_owned(), view.active);
                if edges.len() >= MOST_EDGES {
                    return edges;
                }
                let deeper = all || type_of(&to_name) == "target";
                edges.push(Reply::Edge {
                    from: from_name.clone(),
                    to: to_name,
                    kind,
                    active,
                });
                if deeper && !seen.contains(&to) {
                    seen.push(to);
                    queue.push_back(to);
                }
            }
        }
        edges
    }

    /// The edges of one unit that make up the tree: what starting it pulls in, or the reverse.
    fn tree_edges(&self, unit: UnitId, reverse: bool) -> Vec<(String, UnitId)> {
        const PULLS: [Rel; 5] = [
            Rel::Requires,
            Rel::Requisite,
            Rel::BindsTo,
            Rel::Wants,
            Rel::Upholds,
        ];
        let wanted = |rel: Rel| PULLS.contains(&if reverse { rel.inverse() } else { rel });
        self.engine
            .edges(unit)
            .filter(|(rel, _)| wanted(*rel))
            .map(|(rel, other)| (rel.as_str().to_owned(), other))
            .collect()
    }

    /// A job in one line.
    pub(crate) fn job_line(&mut self, job: JobId) -> Option<JobLine> {
        let view = self.engine.job(job)?;
        let waits_for = self.engine.waiting_for(view.unit);
        let waits_for = waits_for.filter_map(|unit| self.name_of(unit)).collect();
        let deadline = self.job_deadline(&view);
        Some(JobLine {
            id: job.0,
            unit: self.name_of(view.unit)?,
            verb: view.verb,
            running: view.phase != Phase::Waiting,
            since: view.since,
            deadline,
            waits_for,
        })
    }

    /// When a job will be given up: by the engine, or by the unit's helper.
    pub(crate) fn job_deadline(&mut self, job: &JobView) -> Option<Micros> {
        let report = self.info(job.unit).report.as_ref();
        let of_helper = report.and_then(|report| report.deadline);
        job.deadline.into_iter().chain(of_helper).min()
    }

    /// All jobs.
    pub(crate) fn job_lines(&mut self) -> Vec<JobLine> {
        let jobs: Vec<JobId> = self.engine.jobs().map(|view| view.id).collect();
        jobs.into_iter()
            .filter_map(|job| self.job_line(job))
            .collect()
    }

    /// What is not done at present, and why.
    fn trouble(&self) -> Vec<String> {
        let mut list = self.crashes.quarantined();
        list.extend(self.upgrade_trouble());
        if let Some(until) = self.boot.safe_until {
            let left = until
                .saturating_sub(platform::clock::now())
                .div_ceil(1_000_000);
            list.push(format!(
                "safe mode for {left} s more: the managers before this one failed, nothing is                  started by itself"
            ));
        }
        list
    }

    /// The manager as a whole.
    pub(crate) fn manager_info(&mut self) -> ManagerInfo {
        let (mut units, mut failed) = (0, 0);
        for view in self.engine.units().filter(|view| view.load.is_some()) {
            units += 1;
            failed += u32::from(view.active == ActiveState::Failed);
        }
        let jobs = self.engine.jobs().count() as u32;
        let record = &self.boot.record;
        let state = if record.shutdown.is_some() {
            "stopping"
        } else if record.finished == 0 {
            if jobs > 0 { "starting" } else { "initializing" }
        } else if matches!(record.target.as_str(), "rescue.target" | "emergency.target") {
            "maintenance"
        } else if failed > 0 {
            "degraded"
        } else {
            "running"
        };
        let own = platform::process::own_pid();
        let helpers = self.helpers.iter().filter_map(|helper| {
            let pid = helper.proc.map(|proc| proc.pid);
            let pid = pid.or(helper.inside.then_some(own))?;
            Some((helper.unit_type.clone(), pid, helper.synced()))
        });
        ManagerInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            build: crate::BUILD.into(),
            state: state.into(),
            epoch: self.epoch,
            pid: platform::process::own_pid(),
            now: platform::clock::now(),
            units,
            jobs,
            failed,
            started: record.started,
            finished: record.finished,
            recovery: if self.boot.recovery {
                self.recovered.saturating_sub(self.started)
            } else {
                0
            },
            helpers: helpers.collect(),
            quarantine: self.trouble(),
            missing: platform::degrade::list()
                .into_iter()
                .map(|(name, text)| format!("{name}: {text}"))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_units_a_list_shows() {
        let mut line = UnitLine {
            name: "a.service".into(),
            load: "loaded".into(),
            active: ActiveState::Inactive,
            sub: "dead".into(),
            description: String::new(),
            job: None,
        };
        assert!(!wanted(&line, &[], false));
        assert!(wanted(&line, &[], true));
        assert!(!wanted(&line, &["b*".into()], true));
        line.active = ActiveState::Failed;
        assert!(wanted(&line, &["a*".into()], false));
    }
}

//! Loading units: from files into the engine, and their own sections to their helpers.
//!
//! Loading is lazy. A request names a unit; the engine says which names its requirements reach
//! that were never loaded; each is read, given to the engine, and asked about again, until nothing
//! is missing. Units nobody's requirements reach are never read.
//!
//! A unit's own sections go to its helper as a `Load`, before any command for it, over a channel
//! that keeps the order. Nobody waits for the answer: a unit whose sections cannot be used fails to
//! start with the reason the helper gives, and its findings arrive with `Loaded`. While there is no
//! contact yet the frames are collected. A helper that is started anew later gets its units from
//! the files again, as the manager itself does after its own restart; a unit file that was changed
//! in between thereby takes effect before `daemon-reload`, which `sctl status` shows anyway as
//! "changed on disk".

use crate::crashes::Step;
use crate::manager::Manager;
use engine::api::{Backing, Input, UnitId};
use units::file::describe;
use units::name::UnitName;
use units::spec::{DepKind, LoadState, UnitSpec};
use units::state::Report;
use units::wire;
use units::wire::helper::{Finding, Implied, RawEntry, Severity, ToHelper, UnitSource};

impl Manager {
    /// Loads what starting this unit reaches and is not loaded yet.
    pub(crate) fn load_for(&mut self, name: &UnitName) {
        // Who has just written a unit file may start it without a reload, as with systemd.
        if self.loader.appeared(name) {
            self.load_one(name);
        }
        loop {
            let missing = self.engine.missing(name);
            if missing.is_empty() {
                return self.order_targets();
            }
            for name in missing {
                self.load_one(&name);
            }
            self.pump();
        }
    }

    /// Loads a unit, or loads it again.
    pub(crate) fn load_unit(&mut self, name: &UnitName) {
        self.load_one(name);
        self.order_targets();
    }

    /// Puts targets that were loaded after what they pull in, which is loaded by now: so each unit is
    /// read when it goes to the engine, and none has to be kept from its target's load to its own.
    fn order_targets(&mut self) {
        for mut spec in std::mem::take(&mut self.unordered) {
            if self.takes_off(Step::Load, spec.id.as_str()) {
                self.loader.order(&mut spec);
            }
            self.lands();
            let spec = Box::new(spec);
            let backing = Backing::Engine;
            self.inputs.push_back(Input::Loaded { spec, backing });
        }
        self.pump();
    }

    /// Loads a unit; a target is not in its place yet, see [`Manager::order_targets`].
    pub(crate) fn load_one(&mut self, name: &UnitName) {
        let sound = self.takes_off(Step::Load, name.as_str());
        let loaded = if sound {
            self.loader.load_unordered(name)
        } else {
            self.loader.quarantined(name)
        };
        self.lands();
        let loaded_files = loaded.files();
        let mut spec = loaded.spec;
        let backing = self.backing(&mut spec);
        let id = self.engine_id(&spec, backing);
        let files = loaded_files;
        let fresh = self.note_spec(id, &spec, &files, &loaded.findings);
        if fresh {
            self.report_findings(id, spec.id.as_str());
        }
        if backing == Backing::Helper && spec.load.is_loaded() {
            let entries = loaded.entries;
            self.send_load(&spec, files, entries);
        }
        if spec.id.unit_type() == "target" && spec.load.is_loaded() {
            self.unordered.push(spec);
        }
    }

    /// Gives the engine a unit at once, so that it has an id.
    fn engine_id(&mut self, spec: &UnitSpec, backing: Backing) -> UnitId {
        self.inputs.push_back(Input::Loaded {
            spec: Box::new(spec.clone()),
            backing,
        });
        self.pump();
        self.engine.intern(&spec.id)
    }

    /// Who carries out units of this type. One without a helper cannot be used.
    fn backing(&mut self, spec: &mut UnitSpec) -> Backing {
        let unit_type = spec.id.unit_type();
        if matches!(unit_type, "target" | "slice") {
            return Backing::Engine;
        }
        if spec.load.is_loaded() && !self.need_helper(unit_type) {
            spec.load = LoadState::NoHelper;
        }
        Backing::Helper
    }

    /// Keeps what the shell needs of a unit. Returns whether it was not known before.
    fn note_spec(
        &mut self,
        id: UnitId,
        spec: &UnitSpec,
        files: &[String],
        findings: &[Finding],
    ) -> bool {
        let lines = findings
            .iter()
            .map(|finding| describe(finding, files))
            .collect();
        let recovery = self.boot.recovery && self.recovered == 0;
        let info = self.info(id);
        let fresh = !info.loaded && !recovery;
        info.loaded = true;
        info.description = spec.description.as_str().into();
        info.files = files.to_vec();
        info.conditions.clone_from(&spec.conditions);
        info.asserts.clone_from(&spec.asserts);
        info.ending = crate::ending::Ending::of(spec);
        info.unsupported.clone_from(&spec.unsupported);
        info.findings = lines;
        fresh
    }

    /// Logs what was found in a unit's files, once a boot.
    fn report_findings(&mut self, id: UnitId, name: &str) {
        let info = self.info(id);
        let mut lines: Vec<String> = info.findings.clone();
        lines.extend(
            info.unsupported
                .iter()
                .map(|line| format!("{line} is not carried out yet")),
        );
        for line in lines {
            self.log(4, name, &line);
        }
    }

    /// Sends a unit's own sections to its helper, or keeps them until there is contact.
    fn send_load(&mut self, spec: &UnitSpec, files: Vec<String>, entries: Vec<RawEntry>) {
        let Some(index) = self.helpers.find(spec.id.unit_type()) else {
            return;
        };
        let source = UnitSource {
            unit: spec.id.as_str().into(),
            files,
            entries,
            description: spec.description.clone(),
            cgroup: cgroup_of(spec),
        };
        let Ok(bytes) = wire::encode(&ToHelper::Load(source)) else {
            let text = "its sections do not fit into 64 KiB: its helper cannot get them";
            self.log(3, spec.id.as_str(), text);
            return;
        };
        let offers = self.offers_to(spec.id.as_str());
        let offers = offers.iter().filter_map(|offer| wire::encode(offer).ok());
        let frames = std::iter::once(bytes).chain(offers);
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        match &mut helper.preload {
            Some(waiting) => waiting.extend(frames),
            None => {
                for bytes in frames {
                    helper.queue_bytes(bytes, None);
                }
            }
        }
    }

    /// Sends all units of a type that are loaded, from their files.
    pub(crate) fn send_from_files(&mut self, index: usize, unit_type: &str) {
        let names: Vec<UnitName> = self
            .engine
            .units()
            .filter(|unit| unit.name.unit_type() == unit_type)
            .filter(|unit| unit.load.is_some_and(LoadState::is_loaded))
            .map(|unit| unit.name.clone())
            .collect();
        for name in names {
            let loaded = self.loader.load(&name);
            if loaded.spec.load.is_loaded() {
                let files = loaded.files();
                self.send_load(&loaded.spec, files, loaded.entries);
            }
        }
        let _ = index;
    }

    /// A helper has read a unit's sections.
    pub(crate) fn on_loaded(
        &mut self,
        unit: &str,
        findings: &[Finding],
        implied: &[Implied],
        can_reload: bool,
    ) {
        let Ok(name) = UnitName::new(unit) else {
            return;
        };
        let Some(id) = self.engine.find(&name).map(|view| view.id) else {
            return;
        };
        let recovery = self.boot.recovery && self.recovered == 0;
        let info = self.info(id);
        let fresh = !info.checked && !recovery;
        info.checked = true;
        info.can_reload = can_reload;
        let files = info.files.clone();
        let (mut said, mut error) = (Vec::new(), None);
        for finding in findings {
            let line = describe(finding, &files);
            if finding.severity == Severity::Unsupported {
                info.unsupported.push(line.clone());
            } else {
                info.findings.push(line.clone());
            }
            if finding.severity == Severity::Error && error.is_none() {
                error = Some(line.clone());
            }
            said.push((finding.severity, line));
        }
        for (severity, line) in said.iter().filter(|_| fresh) {
            self.log(if *severity == Severity::Error { 3 } else { 4 }, unit, line);
        }
        if error.is_some() || !implied.is_empty() {
            self.amend(&name, error, implied);
        }
        let can = can_reload;
        self.inputs.push_back(Input::CanReload { unit: id, can });
    }

    /// Loads a unit into the engine again with what its helper added: dependencies that follow
    /// from its sections, or the reason why it cannot be used.
    fn amend(&mut self, name: &UnitName, error: Option<String>, implied: &[Implied]) {
        let mut spec = self.loader.load(name).spec;
        if let Some(reason) = error {
            spec.load = LoadState::BadSetting { reason };
        }
        for item in implied {
            if let Some(required) = mounts_for(&item.key) {
                spec.mounts_for.push((required, item.value.clone()));
                continue;
            }
            let Some(kind) = DepKind::from_key(&item.key) else {
                continue;
            };
            if let Ok(other) = UnitName::new(&item.value) {
                spec.add_dep(kind, other);
            }
        }
        self.loader.need_mounts(&mut spec);
        spec.tidy();
        self.inputs.push_back(Input::Loaded {
            spec: Box::new(spec),
            backing: Backing::Helper,
        });
    }

    /// A helper says what a unit is now.
    pub(crate) fn on_report(&mut self, index: usize, mut report: Report) {
        let name = std::mem::take(&mut report.unit);
        let Ok(name) = UnitName::new(&name) else {
            return;
        };
        if !self.takes_off(Step::Report, name.as_str()) {
            return self.log(
                4,
                name.as_str(),
                "a report on it was passed over: quarantine",
            );
        }
        self.take_report(index, &name, report);
        self.lands();
    }

    fn take_report(&mut self, index: usize, name: &UnitName, report: Report) {
        let Some(helper) = self.helpers.get(index) else {
            return;
        };
        if helper.unit_type != name.unit_type() {
            let text = format!("the helper for .{} units speaks of it", helper.unit_type);
            self.log(4, name.as_str(), &text);
            return;
        }
        // A unit we do not know is one whose record is lost, or that was forgotten and is there again: it is taken
        // up as it is.
        if self
            .engine
            .find(name)
            .is_none_or(|view| view.load.is_none())
        {
            self.load_for(name);
        }
        let Some(unit) = self.engine.find(name).map(|view| view.id) else {
            return;
        };
        if let Some(helper) = self
            .helpers
            .get_mut(index)
            .filter(|helper| !helper.synced())
        {
            helper.reported.push(unit);
        }
        let observed = engine::api::Observed {
            invocation: report.invocation,
            seq: report.seq,
            outcome: report.outcome,
            active: report.active,
            restart: report.restart,
            can_reload: report.can_reload,
        };
        let info = self.info(unit);
        info.can_reload = report.can_reload;
        info.report = Some(Box::new(report));
        self.inputs.push_back(Input::Report { unit, observed });
    }

    /// Reads again what changed of the unit files (`daemon-reload`). States and jobs stay.
    pub(crate) fn reload(&mut self) {
        self.config = unit_files::config::Config::read(&self.root);
        self.log.set_level(self.config.log_level);
        self.set_watchdog();
        for finding in std::mem::take(&mut self.config.findings) {
            self.log(4, "", &finding);
        }
        let names: Vec<UnitName> = self
            .engine
            .units()
            .filter(|unit| unit.load.is_some())
            .map(|unit| unit.name.clone())
            .collect();
        let changed = self.loader.reload(&self.config.search_path(), &names);
        for name in &changed {
            let id = self.engine.intern(name);
            let info = self.info(id);
            (info.loaded, info.checked) = (false, false);
            self.load_unit(name);
        }
        let text = format!(
            "{} of {} units had changed and were read again",
            changed.len(),
            names.len()
        );
        self.log(6, "", &text);
    }
}

/// Whether a directive that names paths requires their mounts, or only wants them.
fn mounts_for(key: &str) -> Option<bool> {
    match key {
        "RequiresMountsFor" => Some(true),
        "WantsMountsFor" => Some(false),
        _ => None,
    }
}

/// Where a unit's processes belong below our cgroup root. The slice `a-b.slice` lies in `a.slice`.
pub(crate) fn cgroup_of(spec: &UnitSpec) -> String {
    let slice = spec.slice.as_ref();
    let mut path = slice.map(UnitName::slice_path).unwrap_or_default();
    path.push_str(spec.id.as_str());
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_follow_slices() {
        let mut spec = UnitSpec::new(UnitName::new("a.service").unwrap());
        assert_eq!(cgroup_of(&spec), "a.service");
        let mut in_slice = |slice: &str| {
            spec.slice = Some(UnitName::new(slice).unwrap());
            cgroup_of(&spec)
        };
        assert_eq!(in_slice("-.slice"), "a.service");
        assert_eq!(in_slice("system.slice"), "system.slice/a.service");
        assert_eq!(
            in_slice("a-b-c.slice"),
            "a.slice/a-b.slice/a-b-c.slice/a.service"
        );
    }
}

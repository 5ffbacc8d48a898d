//! When the state store is not what it should be.
//!
//! | What is wrong | What is done |
//! |---|---|
//! | a damaged place in the log | its record is dropped, the helpers say what is true; the log is written anew, so that it is told once |
//! | a record that cannot be decoded | the same |
//! | a record of another version | passed over, and kept for the manager that wrote it |
//! | the boot's record is gone | the boot counts as finished: nothing is started a second time |
//! | a helper's record is gone, or does not say when it started | its process is looked for, and taken up |
//! | everything is gone | the helpers' processes are looked for; units of the default target, and those with a control group, are loaded; what their helpers find is adopted as it is |
//! | no room for a record | told once; nothing new is started for anybody until there is room again |
//!
//! That something ran before is known from the processes, and from init, which keeps a journal for
//! each helper that ever did anything.

use crate::boot::BootRecord;
use crate::manager::Manager;
use crate::persist::{HelperRecord, Recovered};
use init_wire::{Kind, Label};
use platform::process;
use std::path::{Path, PathBuf};
use units::name::UnitName;
use units::state::ProcId;

impl Manager {
    /// Completes what was found in the store by what can be seen. Returns whether anything of this
    /// boot ran before.
    pub(crate) fn salvage(&mut self, found: &mut Recovered) -> bool {
        if found.unreadable > 0 {
            let text = format!(
                "{} records of the state store cannot be read: what they said is asked of the \
                 helpers",
                found.unreadable
            );
            self.log(3, "", &text);
        }
        if found.foreign > 0 {
            let text = format!(
                "{} records of the state store are of another version: passed over",
                found.foreign
            );
            self.log(4, "", &text);
        }
        // A number alone may be anybody's by now.
        let named = found.helpers.len();
        found.helpers.retain(|helper| helper.proc.start != 0);
        let whole = found.boot.is_some() && found.unreadable == 0 && found.helpers.len() == named;
        if whole || self.epoch <= 1 {
            return found.boot.is_some();
        }
        for process in self.running_helpers() {
            let known = |record: &HelperRecord| record.unit_type == process.unit_type;
            if !found.helpers.iter().any(known) {
                found.helpers.push(process);
            }
        }
        let ran = !found.records.is_empty() || !found.helpers.is_empty() || self.has_journal();
        if found.boot.is_none() && ran {
            self.log(
                2,
                "",
                "the record of this boot is lost: what runs is adopted, and nothing is started by \
                 itself; `sctl start default.target` starts what is missing",
            );
            let now = self.started;
            let record = BootRecord {
                target: "default.target".into(),
                started: now,
                finished: now,
                ..BootRecord::default()
            };
            let stored = self.persist.boot(&record);
            self.stored(stored);
            found.boot = Some(record);
            // Their helpers are told of them, look for what runs, and report it.
            found.adopted.extend(UnitName::new("default.target").ok());
            let mut all = Vec::new();
            groups(Path::new(&self.cgroup_root), &mut all);
            found.adopted.extend(all.into_iter().map(|(name, _)| name));
        }
        found.boot.is_some()
    }

    /// Processes that are helpers by what they execute, and that no helper made: init is the parent
    /// of those an earlier manager left.
    fn running_helpers(&self) -> Vec<HelperRecord> {
        let Ok(entries) = std::fs::read_dir(&self.helper_dir) else {
            return Vec::new();
        };
        let types = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut found = Vec::new();
        for unit_type in types {
            let path = self.helper_dir.join(&unit_type);
            let mut processes = process::find(|pid, status| {
                status.parent == process::parent_pid() && executes(pid, &path)
            });
            processes.sort_by_key(|proc| proc.start);
            if let Some(first) = processes.first() {
                let proc = ProcId::from(*first);
                found.push(HelperRecord { unit_type, proc });
            }
        }
        found
    }

    fn has_journal(&mut self) -> bool {
        let Some(init) = &mut self.init else {
            return false;
        };
        let entries = std::fs::read_dir(&self.helper_dir)
            .into_iter()
            .flatten()
            .flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut labels = names.map(|name| Label::of(Kind::JOURNAL, &name));
        labels.any(|label| matches!(init.fetch_now(label), Ok(Some(_))))
    }

    /// The store took a record, or refused it. The machine goes on, but what was decided since is lost
    /// if the manager dies now: people must know, once, and nothing new is begun.
    pub(crate) fn stored(&mut self, result: std::io::Result<()>) {
        let full = result.is_err();
        if std::mem::replace(&mut self.store_full, full) == full {
            return;
        }
        match result {
            Err(error) => {
                let text = format!(
                    "the state store takes no more records: {error}; nothing new is started until \
                     it does"
                );
                self.log(2, "", &text);
            }
            Ok(()) => self.log(5, "", "the state store takes records again"),
        }
    }

    /// Whether there is room for what something new would have to have recorded.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.store_full {
            let room = self.persist.has_room();
            self.stored(room);
        }
        !self.store_full
    }
}

/// Units that have a control group below this one.
pub(crate) fn groups(group: &Path, found: &mut Vec<(UnitName, PathBuf)>) {
    if group.as_os_str().is_empty() {
        return;
    }
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        // Beside the groups are the files of this one.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| UnitName::new(name).ok()) else {
            continue;
        };
        if name.unit_type() == "slice" {
            groups(&entry.path(), found);
        } else if name.unit_type() != "scope" {
            found.push((name, entry.path()));
        }
    }
}

/// Whether a process executes this file, by its first argument.
fn executes(pid: u32, path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let file = format!("/proc/{pid}/cmdline");
    let line = platform::files::read_file(Path::new(&file), 4096).unwrap_or_default();
    line.split(|byte| *byte == 0).next() == Some(path.as_os_str().as_bytes())
}

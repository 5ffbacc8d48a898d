//! Units of SysV init scripts: `/etc/init.d` with LSB headers, and the links in `/etc/rcN.d`.
//!
//! Every executable script becomes a service of its name that calls it with `start`, `stop` and,
//! if it says it can, `reload`. A script with a native unit of the same name is left alone; all go
//! to the late directory besides. `Provides:` gives further names, `Required-Start:` and its like the
//! order; what begins with `$` is a facility and stands for a target. A link `S…` in `rc2.d` to
//! `rc4.d` has the script started by `multi-user.target`, in `rc5.d` by `graphical.target`, in
//! `rc1.d` by `rescue.target`; scripts without a header are ordered by their links' numbers.

use super::{Item, Place};
use crate::loader::index::below;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use units::collections::{Map, Set};
use units::name::escape;

const SCRIPTS: &str = "/etc/init.d";
/// Largest script that is read, in bytes.
const MAX_SCRIPT: usize = 1 << 20;

/// Directories of run levels, and who starts what is linked there.
const LEVELS: [(&str, &str); 5] = [
    ("rc1.d", "rescue.target"),
    ("rc2.d", "multi-user.target"),
    ("rc3.d", "multi-user.target"),
    ("rc4.d", "multi-user.target"),
    ("rc5.d", "graphical.target"),
];

/// A facility and the target that stands for it; none where the start of every service comes after
/// it anyway.
const FACILITIES: [(&str, Option<&str>); 8] = [
    ("$fs", None),
    ("$local_fs", None),
    ("$named", Some("nss-lookup.target")),
    ("$network", Some("network-online.target")),
    ("$portmap", Some("rpcbind.target")),
    ("$remote_fs", Some("remote-fs.target")),
    ("$syslog", None),
    ("$time", Some("time-sync.target")),
];

/// A script, as far as its header tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Script {
    description: String,
    provides: Vec<String>,
    /// `Required-Start:`, `Should-Start:`, `X-Start-After:`.
    after: Vec<String>,
    /// `X-Start-Before:`.
    before: Vec<String>,
    has_header: bool,
    can_reload: bool,
    /// `# pidfile:`, as some distributions have it.
    pid_file: String,
    /// Targets that start it.
    wanted_by: Set<&'static str>,
    /// The least number of its links; 99 without one.
    priority: u32,
}

/// Whether there is any script.
pub(super) fn has_work(root: &Path) -> bool {
    fs::read_dir(below(root, SCRIPTS)).is_ok_and(|mut entries| entries.next().is_some())
}

/// The units. `has` says whether there is a native one.
pub(super) fn items(root: &Path, has: &dyn Fn(&str) -> bool) -> Vec<Item> {
    let mut scripts = Map::new();
    for entry in fs::read_dir(below(root, SCRIPTS))
        .into_iter()
        .flatten()
        .flatten()
    {
        let file = entry.file_name().to_string_lossy().into_owned();
        let runs = fs::metadata(entry.path())
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        let helper = matches!(
            file.as_str(),
            "rc" | "rcS" | "rcK" | "functions" | "skeleton"
        );
        if !runs || helper || file.starts_with('.') || has(&service(&file)) {
            continue;
        }
        let bytes = platform::files::read_file(&entry.path(), MAX_SCRIPT).unwrap_or_default();
        scripts.insert(file, Script::read(&String::from_utf8_lossy(&bytes)));
    }
    follow_links(root, &mut scripts);
    let mut items = Vec::new();
    for (file, script) in &scripts {
        script.items(file, &scripts, has, &mut items);
    }
    items
}

/// Takes the run levels' links into account.
fn follow_links(root: &Path, scripts: &mut Map<String, Script>) {
    for (dir, target) in LEVELS {
        let real = below(root, "/etc").join(dir);
        for entry in fs::read_dir(real).into_iter().flatten().flatten() {
            let link = entry.file_name();
            let Some(rest) = link.to_str().and_then(|link| link.strip_prefix('S')) else {
                continue;
            };
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let Some((number, name)) = rest.split_at_checked(digits) else {
                continue;
            };
            let to = fs::read_link(entry.path()).ok();
            let to = to
                .as_deref()
                .and_then(Path::file_name)
                .and_then(|f| f.to_str());
            let Some(script) = scripts.get_mut(to.unwrap_or(name)) else {
                continue;
            };
            script.wanted_by.insert(target);
            script.priority = script.priority.min(number.parse().unwrap_or(99));
        }
    }
}

/// The service of a script or of a name in a header.
fn service(name: &str) -> String {
    unit(name.strip_suffix(".sh").unwrap_or(name), ".service")
}

/// The unit of a name that may hold anything.
fn unit(name: &str, suffix: &str) -> String {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b));
    let name = if plain { name.to_owned() } else { escape(name) };
    [&name, suffix].concat()
}

/// What a name in a header stands for; `None`: nothing to be ordered by.
fn facility(name: &str) -> Option<String> {
    if !name.starts_with('$') {
        return Some(service(name));
    }
    let known = FACILITIES.iter().find(|(facility, _)| *facility == name);
    match known {
        Some((_, target)) => target.map(str::to_owned),
        None => Some(unit(name.trim_start_matches('$'), ".target")),
    }
}

impl Script {
    /// Reads the header, and what the usage line says of `reload`.
    fn read(text: &str) -> Self {
        let mut script = Self {
            priority: 99,
            ..Self::default()
        };
        let mut inside = false;
        // Whatever a unit file takes for the end of a line, or cannot hold, ends one here.
        for line in text.split(['\n', '\r', '\0']) {
            let comment = line.strip_prefix('#').map(str::trim);
            match comment {
                Some("## BEGIN INIT INFO") => (inside, script.has_header) = (true, true),
                Some("## END INIT INFO") => inside = false,
                Some(comment) => script.comment(comment, inside),
                None => script.can_reload |= line.contains("Usage") && line.contains("reload"),
            }
        }
        script
    }

    fn comment(&mut self, comment: &str, inside: bool) {
        let Some((key, value)) = comment.split_once(':') else {
            return;
        };
        // In a unit file it would go on in the next line.
        let value = value.trim().trim_end_matches('\\');
        let words = || value.split_whitespace().map(str::to_owned);
        match (key.to_ascii_lowercase().as_str(), inside) {
            ("provides", true) => self.provides.extend(words()),
            ("required-start" | "should-start" | "x-start-after", true) => {
                self.after.extend(words())
            }
            ("x-start-before", true) => self.before.extend(words()),
            ("short-description", true) => self.description = value.to_owned(),
            ("pidfile", false) => self.pid_file = value.replace('%', "%%"),
            _ => {}
        }
    }

    /// The unit of a script, and its links.
    fn items(
        &self,
        file: &str,
        all: &Map<String, Self>,
        has: &dyn Fn(&str) -> bool,
        items: &mut Vec<Item>,
    ) {
        let unit = service(file);
        let (mut after, mut before, mut wants) = (Set::new(), Set::new(), Set::new());
        for name in &self.after {
            let Some(other) = facility(name) else {
                continue;
            };
            if name == "$network" {
                wants.insert(other.clone());
            }
            after.insert(other);
        }
        before.extend(self.before.iter().filter_map(|name| facility(name)));
        before.extend(self.wanted_by.iter().map(|target| (*target).to_owned()));
        for name in &self.provides {
            let Some(other) = facility(name).filter(|other| *other != unit) else {
                continue;
            };
            if name.starts_with('$') {
                before.insert(other.clone());
                wants.insert(other);
            } else if !has(&other) && !all.keys().any(|file| service(file) == other) {
                items.push(Item::Link(Place::Late, other, unit.clone()));
            }
        }
        if !self.has_header {
            let earlier = all.iter().filter(|(_, other)| {
                let mut wanted = other.wanted_by.iter();
                other.priority < self.priority && wanted.any(|by| self.wanted_by.contains(by))
            });
            after.extend(earlier.map(|(file, _)| service(file)));
        }
        after.remove(&unit);
        for target in &self.wanted_by {
            let link = [target, ".wants/", &unit].concat();
            items.push(Item::Link(Place::Late, link, ["../", &unit].concat()));
        }
        let text = self.text(file, [&after, &before, &wants]);
        items.push(Item::Unit(Place::Late, unit, text));
    }

    fn text(&self, file: &str, [after, before, wants]: [&Set<String>; 3]) -> String {
        let path = [SCRIPTS, "/", file].concat();
        let about = if self.description.is_empty() {
            ["SysV: ", file].concat()
        } else {
            ["LSB: ", &self.description].concat()
        };
        // A percent sign would be taken for a specifier.
        let about = about.replace('%', "%%");
        let mut text = format!(
            "# Made of an init script by {}.\n[Unit]\nSourcePath={path}\nDescription={about}\n",
            super::PROGRAM
        );
        for (key, list) in [("After", after), ("Before", before), ("Wants", wants)] {
            for name in list {
                let _ = writeln!(text, "{key}={name}");
            }
        }
        text.push_str(
            "\n[Service]\nType=forking\nRestart=no\nTimeoutSec=5min\nIgnoreSIGPIPE=no\n\
             KillMode=process\nGuessMainPID=no\nSuccessExitStatus=5 6\n",
        );
        if self.pid_file.is_empty() {
            text.push_str("RemainAfterExit=yes\n");
        } else {
            let _ = writeln!(text, "RemainAfterExit=no\nPIDFile={}", self.pid_file);
        }
        let _ = write!(text, "ExecStart={path} start\nExecStop={path} stop\n");
        if self.can_reload {
            let _ = writeln!(text, "ExecReload={path} reload");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAEMON: &str = "#!/bin/sh\n# pidfile: /run/x.pid\n### BEGIN INIT INFO\n\
        # Provides:          daemon $time other\n# Required-Start:    $local_fs $network $named\n\
        # Should-Start:      syslog.sh\n# X-Start-Before:    late\n# Required-Stop:     never\n\
        # Short-Description: 100% of it\n### END INIT INFO\n# Provides: no\n\
        echo \"Usage: $0 {start|stop|force-reload}\"\n";

    fn unit<'a>(items: &'a [Item], name: &str) -> &'a str {
        let found = items.iter().find_map(|item| match item {
            Item::Unit(Place::Late, unit, text) if unit == name => Some(text.as_str()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no {name} in {items:?}"))
    }

    fn made(scripts: &[(&str, &str, &[&'static str], u32)]) -> Vec<Item> {
        let all = scripts.iter().map(|(file, text, wanted, priority)| {
            let mut script = Script::read(text);
            script.wanted_by.extend(wanted.iter().copied());
            script.priority = *priority;
            ((*file).to_owned(), script)
        });
        let all: Map<String, Script> = all.collect();
        let mut items = Vec::new();
        for (file, script) in &all {
            script.items(file, &all, &|_| false, &mut items);
        }
        items
    }

    #[test]
    fn no_value_gets_out_of_its_line() {
        let header = "### BEGIN INIT INFO\n# Provides: $a%n\n# Required-Start: $b/c x\\\n\
            # Short-Description: a\r[Service]\rUser=x \\\n### END INIT INFO\n# pidfile: /run/%n.pid\\\n";
        let script = Script::read(header);
        assert_eq!(script.description, "a");
        let mut items = Vec::new();
        script.items("d", &Map::new(), &|_| false, &mut items);
        let Some(Item::Unit(_, _, text)) = items.last() else {
            panic!("{items:?}")
        };
        assert!(
            !text.contains(['\r', '\0']) && !text.contains("User="),
            "{text}"
        );
        assert!(text.lines().all(|line| !line.ends_with('\\')), "{text}");
        assert!(
            text.contains("PIDFile=/run/%%n.pid\n") && text.contains("After=b-c.target\n"),
            "{text}"
        );
        assert!(text.contains("Before=a\\x25n.target\n"), "{text}");
    }

    #[test]
    fn sysv_headers_facilities_and_names() {
        let items = made(&[("daemon", DAEMON, &["multi-user.target"], 20)]);
        let text = unit(&items, "daemon.service");
        for line in [
            "SourcePath=/etc/init.d/daemon",
            "Description=LSB: 100%% of it",
            "After=network-online.target",
            "After=nss-lookup.target",
            "After=syslog.service",
            "Before=late.service",
            "Before=multi-user.target",
            "Before=time-sync.target",
            "Wants=network-online.target",
            "Wants=time-sync.target",
            "PIDFile=/run/x.pid",
            "ExecReload=/etc/init.d/daemon reload",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(
            !text.contains("never") && !text.contains("no.service"),
            "{text}"
        );
        let link =
            |path: &str, to: &str| items.contains(&Item::Link(Place::Late, path.into(), to.into()));
        assert!(link("other.service", "daemon.service"));
        assert!(link(
            "multi-user.target.wants/daemon.service",
            "../daemon.service"
        ));
        assert_eq!(items.len(), 3);
    }

    #[test]
    fn sysv_scripts_without_header_are_ordered_by_number() {
        let items = made(&[
            ("a.sh", "", &["multi-user.target"], 10),
            ("b", "", &["multi-user.target"], 20),
            ("c", "", &["graphical.target"], 5),
        ]);
        assert!(unit(&items, "b.service").contains("After=a.service\n"));
        assert!(!unit(&items, "b.service").contains("c.service"));
        assert!(!unit(&items, "a.service").contains("After="));
        assert!(unit(&items, "c.service").contains("RemainAfterExit=yes"));
    }

    #[test]
    fn sysv_units_load() {
        let tree = crate::loader::tests::Tree::new();
        for item in made(&[("daemon", DAEMON, &["multi-user.target"], 20)]) {
            if let Item::Unit(_, name, text) = item {
                tree.write(&format!("usr/lib/u/{name}"), text);
            }
        }
        let loaded = tree.load("daemon.service");
        assert!(
            loaded.spec.load.is_loaded() && loaded.findings.is_empty(),
            "{:?}",
            loaded.findings
        );
        assert_eq!(loaded.spec.description, "LSB: 100% of it");
    }
}

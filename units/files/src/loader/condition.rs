//! Whether the conditions and assertions of a unit hold (systemd.unit(5)).
//!
//! All plain ones must hold, and, where there are any with `|`, at least one of those. A condition
//! that cannot be found out counts as not holding, negated or not, as in systemd: its text then
//! ends in a remark that says why.
//!
//! Paths are looked at where they are: one on a file server that does not answer makes the manager
//! wait, as it does systemd's.

use super::host;
use super::index::below;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use units::facts::Machine;
use units::glob;
use units::spec::{Condition, ConditionKind as K};
use units::value::words::Words;
use units::value::{self, size};

/// What conditions are asked of.
pub struct World<'a> {
    /// Paths are below it: `/` on the running machine.
    pub root: &'a Path,
    /// Names and ids.
    pub machine: &'a Machine,
}

/// Why it cannot be found out whether a condition holds.
type Unknown = &'static str;

const NOT_HERE: Unknown = "this kind of condition is not supported";

impl World<'_> {
    /// The first condition that keeps the list from holding, as it is written; `None` if it holds.
    pub fn failed(&self, conditions: &[Condition]) -> Option<String> {
        let mut failed_trigger = None;
        let mut triggered = false;
        for condition in conditions {
            let result = self.test(condition);
            let holds = result.is_ok_and(|found| found != condition.negate);
            if condition.trigger {
                triggered |= holds;
                if !holds && failed_trigger.is_none() {
                    failed_trigger = Some(describe(condition, result));
                }
            } else if !holds {
                return Some(describe(condition, result));
            }
        }
        failed_trigger.filter(|_| !triggered)
    }

    fn path(&self, path: &str) -> PathBuf {
        below(self.root, path)
    }

    /// Whether it is as the condition says, negation aside.
    fn test(&self, condition: &Condition) -> Result<bool, Unknown> {
        let param = condition.param.as_str();
        match condition.kind {
            kind if kind.takes_path() => self.test_path(kind, param),
            K::KernelCommandLine => Ok(kernel_command_line(&host::command_line(), param)),
            K::KernelVersion => version_list(&self.machine.names().release, param),
            K::KernelModuleLoaded => Ok(self
                .path("sys/module")
                .join(param.replace('-', "_"))
                .exists()),
            K::Virtualization => Ok(virtualization(param)),
            K::Architecture => Ok(param == "native" || param == self.machine.architecture()),
            K::Host => Ok(self.host(param)),
            K::FirstBoot => flag(param, self.first_boot()),
            K::User => user(param),
            K::Group => group(param),
            K::ControlGroupController => Ok(host::controllers(param)),
            K::Memory => compare_number(host::memory_total(), param, |t| size::bytes(t).ok()),
            K::CPUs => compare_number(host::cpus(), param, |t| value::unsigned(t).ok()),
            K::CPUFeature => Ok(host::cpu_feature(param)),
            K::Environment => Ok(environment(param)),
            K::ACPower => flag(param, host::ac_power()),
            K::Security => Ok(host::security(param)),
            K::Capability => host::capability(param).ok_or("no such capability is known"),
            K::OSRelease => self.os_release(param),
            K::Firmware => Ok(host::firmware(param)),
            K::Credential => Ok(host::credential(param)),
            K::MemoryPressure | K::CPUPressure | K::IOPressure => pressure(condition.kind, param),
            _ => Err(NOT_HERE),
        }
    }

    fn test_path(&self, kind: K, param: &str) -> Result<bool, Unknown> {
        let path = self.path(param);
        let meta = || fs::metadata(&path).ok();
        Ok(match kind {
            K::PathExists => path.exists(),
            K::PathExistsGlob => self.glob(param),
            K::PathIsDirectory => meta().is_some_and(|m| m.is_dir()),
            K::PathIsSymbolicLink => path.is_symlink(),
            K::PathIsSocket => meta().is_some_and(|m| m.file_type().is_socket()),
            K::PathIsMountPoint => host::is_mount_point(&path),
            K::PathIsReadWrite => !host::is_read_only(&path).unwrap_or(true),
            K::DirectoryNotEmpty => {
                fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some())
            }
            K::FileNotEmpty => meta().is_some_and(|m| m.is_file() && m.len() > 0),
            K::FileIsExecutable => {
                meta().is_some_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
            }
            K::NeedsUpdate => self.needs_update(&path),
            _ => return Err(NOT_HERE),
        })
    }

    /// Whether anything matches a pattern; only parts with wildcards list a directory.
    fn glob(&self, pattern: &str) -> bool {
        let mut found = vec![self.root.to_path_buf()];
        for part in pattern.split('/').filter(|p| !p.is_empty()) {
            let mut next = Vec::new();
            for dir in found {
                if !glob::is_pattern(part) {
                    next.push(dir.join(part));
                    continue;
                }
                for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    // As in the shell, wildcards do not match hidden names.
                    let hidden = name.starts_with('.') && !part.starts_with('.');
                    if !hidden && glob::matches(part, &name) && next.len() < 4096 {
                        next.push(entry.path());
                    }
                }
            }
            found = next
                .into_iter()
                .filter(|path| path.is_symlink() || path.exists())
                .collect();
        }
        !found.is_empty()
    }

    fn host(&self, param: &str) -> bool {
        let id = param.replace('-', "");
        if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return id.eq_ignore_ascii_case(self.machine.machine_id());
        }
        let host = self.machine.names().host.to_ascii_lowercase();
        glob::matches(&param.to_ascii_lowercase(), &host)
    }

    fn first_boot(&self) -> bool {
        self.path("run/sysmaster/first-boot").exists()
            || self.path("run/systemd/first-boot").exists()
    }

    /// `/etc` or `/var` is older than `/usr`.
    fn needs_update(&self, path: &Path) -> bool {
        if host::is_read_only(path).unwrap_or(false) {
            return false;
        }
        let time = |path: &Path| fs::symlink_metadata(path).and_then(|m| m.modified()).ok();
        match (time(&path.join(".updated")), time(&self.path("usr"))) {
            (Some(updated), Some(usr)) => usr > updated,
            _ => true,
        }
    }

    fn os_release(&self, param: &str) -> Result<bool, Unknown> {
        for word in Words::plain(param) {
            let word = word.map_err(|_| "its parameter cannot be read")?;
            let at = word
                .find(['=', '<', '>', '!', '$'])
                .ok_or("expected FIELD=value")?;
            let (field, rest) = word.split_at_checked(at).ok_or("expected FIELD=value")?;
            let found = self.machine.os_release(field);
            let holds = match rest.strip_prefix('=').filter(|v| !v.starts_with('=')) {
                // A single “=” compares text.
                Some(text) => found == text,
                None => version_list(found, rest)?,
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn describe(condition: &Condition, result: Result<bool, Unknown>) -> String {
    let text = format!(
        "{}={}{}{}",
        condition.kind.as_str(),
        if condition.trigger { "|" } else { "" },
        if condition.negate { "!" } else { "" },
        condition.param
    );
    match result {
        Ok(_) => text,
        Err(why) => format!("{text} ({why})"),
    }
}

/// Compares what is with a boolean parameter.
fn flag(param: &str, is: bool) -> Result<bool, Unknown> {
    value::boolean(param)
        .map(|wanted| wanted == is)
        .map_err(|_| "expected yes or no")
}

/// A word of the command line, or with `=` a whole assignment.
fn kernel_command_line(line: &str, param: &str) -> bool {
    Words::relaxed(line).filter_map(Result::ok).any(|word| {
        if param.contains('=') {
            word == param
        } else {
            word.strip_prefix(param)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        }
    })
}

fn virtualization(param: &str) -> bool {
    let found = host::virtualization();
    match (param, found) {
        ("vm", Some((kind, _))) => kind == host::VirtKind::Machine,
        ("container", Some((kind, _))) => kind == host::VirtKind::Container,
        ("private-users", _) => host::private_users(),
        (id, Some((_, name))) if id == name => true,
        (text, found) => value::boolean(text).is_ok_and(|wanted| wanted == found.is_some()),
    }
}

fn user(param: &str) -> Result<bool, Unknown> {
    let me = host::own_ids().0;
    match param {
        "@system" => Ok(!(1000..65_534).contains(&me)),
        _ => Ok(platform::users::user(param)
            .map_err(|_| "the users cannot be read")?
            .is_some_and(|user| user.uid == me)),
    }
}

fn group(param: &str) -> Result<bool, Unknown> {
    let (_, main, others) = host::own_ids();
    let group = platform::users::group(param).map_err(|_| "the groups cannot be read")?;
    Ok(group.is_some_and(|group| group == main || others.contains(&group)))
}

/// A variable of the manager's own environment, or an assignment.
fn environment(param: &str) -> bool {
    match param.split_once('=') {
        Some((name, value)) => std::env::var(name).is_ok_and(|found| found == value),
        None => std::env::var_os(param).is_some(),
    }
}

/// What an operator lets through.
type Test = fn(std::cmp::Ordering) -> bool;

/// The operator a comparison begins with, and what stands behind it.
fn operator(text: &str) -> (Option<Test>, &str) {
    use std::cmp::Ordering as O;
    const LIST: [(&str, Test); 8] = [
        ("<=", |o| o != O::Greater),
        (">=", |o| o != O::Less),
        ("!=", |o| o != O::Equal),
        ("<>", |o| o != O::Equal),
        ("==", |o| o == O::Equal),
        ("<", |o| o == O::Less),
        (">", |o| o == O::Greater),
        ("=", |o| o == O::Equal),
    ];
    let found = LIST
        .into_iter()
        .find_map(|(sign, test)| Some((test, text.strip_prefix(sign)?)));
    match found {
        Some((test, rest)) => (Some(test), rest.trim_start()),
        None => (None, text),
    }
}

fn compare_number(
    is: Option<u64>,
    param: &str,
    read: impl Fn(&str) -> Option<u64>,
) -> Result<bool, Unknown> {
    let (test, number) = operator(param);
    let wanted = read(number).ok_or("expected a comparison with a number, as >=512")?;
    let is = is.ok_or("the kernel does not tell")?;
    Ok(test.unwrap_or(|order| order != std::cmp::Ordering::Less)(
        is.cmp(&wanted),
    ))
}

/// Comparisons of versions that must all hold: `>=5.10 <7`; one without operator is a pattern.
fn version_list(is: &str, param: &str) -> Result<bool, Unknown> {
    let words: Result<Vec<String>, _> = Words::plain(param).collect();
    let words = words.map_err(|_| "its parameter cannot be read")?;
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (test, rest) = operator(word);
        let holds = match test {
            None => glob::matches(word, is),
            Some(test) => {
                // The version may be a word of its own: `>= 5.10`.
                let version = if rest.is_empty() {
                    words.next().unwrap_or("")
                } else {
                    rest
                };
                if version.is_empty() {
                    return Err("expected a version behind the operator");
                }
                test(host::compare_versions(is, version))
            }
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `[slice:]10%[/1min]`: true as long as there is no more pressure than that.
fn pressure(kind: K, param: &str) -> Result<bool, Unknown> {
    if param.contains(':') {
        return Err("the pressure of a slice is not supported here");
    }
    let (limit, span) = param.split_once('/').unwrap_or((param, "5min"));
    let limit = size::percent(limit).map_err(|_| "expected a percentage")?;
    let field = match value::time::span(span.trim()) {
        Ok(10_000_000) => "avg10=",
        Ok(60_000_000) => "avg60=",
        Ok(300_000_000) => "avg300=",
        _ => return Err("expected 10s, 1min or 5min"),
    };
    let (file, line) = match kind {
        K::MemoryPressure => ("memory", "full"),
        K::CPUPressure => ("cpu", "some"),
        _ => ("io", "full"),
    };
    // Without pressure information there is nothing to be said against it.
    Ok(host::pressure(file, line, field).is_none_or(|now| now <= limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::facts::Machine;

    fn condition(kind: K, text: &str) -> Condition {
        let (trigger, rest) = (text.starts_with('|'), text.trim_start_matches('|'));
        let (negate, param) = (rest.starts_with('!'), rest.trim_start_matches('!'));
        Condition {
            kind,
            trigger,
            negate,
            param: param.into(),
        }
    }

    fn on(root: &Path, list: &[(K, &str)]) -> Option<String> {
        let machine = Machine::new(root);
        let list: Vec<Condition> = list.iter().map(|(k, t)| condition(*k, t)).collect();
        World {
            root,
            machine: &machine,
        }
        .failed(&list)
    }

    fn holds(kind: K, text: &str) -> bool {
        on(Path::new("/"), &[(kind, text)]).is_none()
    }

    #[test]
    fn paths() {
        let root = crate::loader::tests::Tree::new();
        root.write("etc/full", "x");
        root.write("etc/empty", "");
        root.write("etc/d/.hidden", "");
        fs::create_dir(root.path().join("none")).unwrap();
        root.link("link", "nowhere");
        let exec = root.path().join("etc/full");
        let t = |kind, text: &str| on(root.path(), &[(kind, text)]).is_none();
        assert!(t(K::PathExists, "/etc/full") && t(K::PathExists, "!/etc/gone"));
        assert!(!t(K::PathExists, "/link") && t(K::PathIsSymbolicLink, "/link"));
        assert!(t(K::PathExistsGlob, "/etc/f*l") && !t(K::PathExistsGlob, "/etc/d/*"));
        assert!(t(K::PathExistsGlob, "/e?c/[a-e]*/.h*") && !t(K::PathExistsGlob, "/x*/y"));
        assert!(t(K::PathIsDirectory, "/etc") && !t(K::PathIsDirectory, "/etc/full"));
        assert!(t(K::DirectoryNotEmpty, "/etc/d") && !t(K::DirectoryNotEmpty, "/none"));
        assert!(t(K::FileNotEmpty, "/etc/full") && !t(K::FileNotEmpty, "/etc/empty"));
        assert!(!t(K::FileIsExecutable, "/etc/full"));
        fs::set_permissions(&exec, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(t(K::FileIsExecutable, "/etc/full"));
        assert!(t(K::PathIsReadWrite, "/etc") && !t(K::PathIsMountPoint, "/etc"));
        assert!(holds(K::PathIsMountPoint, "/proc") && holds(K::PathIsMountPoint, "/"));
    }

    #[test]
    fn plain_ones_must_all_hold_and_one_of_the_others() {
        let list = |list: &[(K, &str)]| on(Path::new("/"), list);
        assert_eq!(list(&[]), None);
        assert_eq!(
            list(&[(K::PathExists, "/proc"), (K::PathExists, "!/proc")]),
            Some("PathExists=!/proc".into())
        );
        assert_eq!(
            list(&[(K::PathExists, "|/gone"), (K::PathExists, "|/proc")]),
            None
        );
        assert_eq!(
            list(&[(K::PathExists, "|/gone"), (K::PathExists, "/proc")]),
            Some("PathExists=|/gone".into())
        );
        assert_eq!(
            list(&[(K::PathExists, "|/proc"), (K::PathExists, "/gone")]),
            Some("PathExists=/gone".into())
        );
    }

    #[test]
    fn what_cannot_be_found_out_does_not_hold_either_way() {
        for text in ["x", "!x"] {
            let failed = on(Path::new("/"), &[(K::Version, text)]).unwrap();
            assert!(failed.ends_with("not supported)"), "{failed}");
        }
    }

    #[test]
    fn the_command_line() {
        let line = "root=/dev/vda \"a b\" quiet rescue=1";
        for (param, want) in [
            ("quiet", true),
            ("quie", false),
            ("root", true),
            ("root=/dev/vda", true),
            ("root=/dev/vdb", false),
            ("rescue=", false),
        ] {
            assert_eq!(kernel_command_line(line, param), want, "{param}");
        }
    }

    #[test]
    fn versions_and_numbers() {
        for (is, param, want) in [
            ("6.12.48+deb13-amd64", ">=6.1", true),
            ("6.12.48+deb13-amd64", ">=6.1 <6.12", false),
            ("6.12.48", "< 6.100", true),
            ("6.12.48", "6.*", true),
            ("6.12.48", "!=6.12.48", false),
            ("5.10", "=5.10", true),
        ] {
            assert_eq!(version_list(is, param), Ok(want), "{is} {param}");
        }
        assert!(version_list("5", ">=").is_err());
        let n = |param| compare_number(Some(4), param, |t| t.parse().ok());
        assert_eq!(
            (n("4"), n(">4"), n("<= 4"), n("!=4")),
            (Ok(true), Ok(false), Ok(true), Ok(false))
        );
        assert!(n(">x").is_err());
    }

    #[test]
    fn of_this_machine() {
        assert!(holds(K::Architecture, "native") && !holds(K::Architecture, "vax"));
        assert!(holds(K::Memory, ">1M") && !holds(K::Memory, "<1M"));
        assert!(holds(K::CPUs, ">=1") && !holds(K::CPUs, ">100000"));
        assert!(holds(K::KernelVersion, ">2.6") && !holds(K::KernelVersion, "<2.6"));
        assert!(holds(K::Host, "*") && !holds(K::Host, "00000000000000000000000000000001"));
        assert!(holds(K::Environment, "PATH") && !holds(K::Environment, "PATH=x"));
        assert!(!holds(K::User, "no-such-user") && !holds(K::Group, "no-such-group"));
        assert!(!holds(K::Security, "moon") && !holds(K::Capability, "CAP_MOON"));
        let (uid, gid, _) = host::own_ids();
        assert!(holds(K::User, &uid.to_string()) && holds(K::Group, &gid.to_string()));
        // Either it is virtual or it is not.
        assert_ne!(
            holds(K::Virtualization, "yes"),
            holds(K::Virtualization, "no")
        );
    }
}

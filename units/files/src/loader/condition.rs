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
use std::cmp::Ordering;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use units::facts::Machine;
use units::glob;
use units::name::UnitName;
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
            K::KernelVersion => each_word(param, |words, word| {
                let kernel = &self.machine.names().release;
                // The version may be a word of its own: `>= 5.10`.
                match operator(word) {
                    (Some(_), "") => {
                        let version = words
                            .next()
                            .ok_or("expected a version behind the operator")?;
                        Ok(compare_text(kernel, &[word, version].concat()))
                    }
                    (None, _) => Ok(glob::matches(word, kernel)),
                    _ => Ok(compare_text(kernel, word)),
                }
            }),
            K::KernelModuleLoaded => Ok(self
                .path("sys/module")
                .join(param.replace('-', "_"))
                .exists()),
            K::Virtualization => Ok(virtualization(param)),
            K::Architecture => Ok(architecture(param, self.machine.architecture())),
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
            K::Firmware => firmware(param),
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
            K::PathIsEncrypted => host::is_encrypted(&path),
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
        override_by("systemd.condition_first_boot")
            .unwrap_or_else(|| self.path(crate::first_boot::FLAG).exists())
    }

    /// `/etc` or `/var` is older than `/usr`.
    fn needs_update(&self, path: &Path) -> bool {
        if let Some(said) = override_by("systemd.condition_needs_update") {
            return said;
        }
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
        each_word(param, |_, word| {
            let at = word.find(SIGNS).ok_or("expected FIELD=value")?;
            let (field, rest) = word.split_at_checked(at).ok_or("expected FIELD=value")?;
            Ok(compare_text(self.machine.os_release(field), rest))
        })
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

/// What operators begin with.
const SIGNS: [char; 5] = ['=', '<', '>', '!', '$'];

/// What an operator compares.
#[derive(Clone, Copy)]
enum Compare {
    /// Shell patterns: the operators with `$`.
    Pattern,
    /// Text as it is: `=` and `!=`.
    Text,
    /// Versions, or numbers.
    Order,
}

/// An operator: what it compares and which results it lets through.
type Operator = (Compare, fn(Ordering) -> bool);

/// The operator a comparison begins with, and what stands behind it.
fn operator(text: &str) -> (Option<Operator>, &str) {
    const LIST: [(&str, Operator); 10] = [
        ("$=", (Compare::Pattern, Ordering::is_eq)),
        ("!$=", (Compare::Pattern, Ordering::is_ne)),
        ("<=", (Compare::Order, Ordering::is_le)),
        (">=", (Compare::Order, Ordering::is_ge)),
        ("!=", (Compare::Text, Ordering::is_ne)),
        ("<>", (Compare::Order, Ordering::is_ne)),
        ("==", (Compare::Order, Ordering::is_eq)),
        ("<", (Compare::Order, Ordering::is_lt)),
        (">", (Compare::Order, Ordering::is_gt)),
        ("=", (Compare::Text, Ordering::is_eq)),
    ];
    let found = LIST
        .into_iter()
        .find_map(|(sign, operator)| Some((operator, text.strip_prefix(sign)?)));
    match found {
        Some((operator, rest)) => (Some(operator), rest.trim_start()),
        None => (None, text),
    }
}

/// Whether a text is as an operator and a value say; without operator it must be that value.
fn compare_text(is: &str, comparison: &str) -> bool {
    let (found, value) = operator(comparison);
    let (compare, test) = found.unwrap_or((Compare::Text, Ordering::is_eq));
    test(match compare {
        // A pattern that matches is “equal”.
        Compare::Pattern => glob::matches(value, is).cmp(&true),
        Compare::Text => is.cmp(value),
        Compare::Order => host::compare_versions(is, value),
    })
}

fn compare_number(
    is: Option<u64>,
    param: &str,
    read: impl Fn(&str) -> Option<u64>,
) -> Result<bool, Unknown> {
    let (found, number) = operator(param);
    let wanted = read(number).ok_or("expected a comparison with a number, as >=512")?;
    let is = is.ok_or("the kernel does not tell")?;
    let (_, test) = found.unwrap_or((Compare::Order, Ordering::is_ge));
    Ok(test(is.cmp(&wanted)))
}

/// Whether a test holds for every word of a parameter; it may take further words itself.
fn each_word(
    param: &str,
    test: impl Fn(&mut std::slice::Iter<'_, String>, &str) -> Result<bool, Unknown>,
) -> Result<bool, Unknown> {
    let words: Result<Vec<String>, _> = Words::plain(param).collect();
    let words = words.map_err(|_| "its parameter cannot be read")?;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !test(&mut words, word)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `[slice:]10%[/1min]`: true as long as there is no more pressure than that.
fn pressure(kind: K, param: &str) -> Result<bool, Unknown> {
    let (slice, param) = match param.split_once(':') {
        Some((slice, rest)) => (Some(slice.trim()), rest.trim()),
        None => (None, param),
    };
    let (limit, span) = param.split_once('/').unwrap_or((param, "5min"));
    let limit = size::percent(limit.trim()).map_err(|_| "expected a percentage")?;
    let field = match value::time::span(span.trim()) {
        Ok(10_000_000) => "avg10=",
        Ok(60_000_000) => "avg60=",
        Ok(300_000_000) => "avg300=",
        _ => return Err("expected 10s, 1min or 5min"),
    };
    let resource = match kind {
        K::MemoryPressure => "memory",
        K::CPUPressure => "cpu",
        _ => "io",
    };
    let file = match slice {
        None => format!("/proc/pressure/{resource}"),
        Some(slice) => {
            let slice = UnitName::new(slice)
                .ok()
                .filter(|name| name.unit_type() == "slice")
                .ok_or("expected the name of a slice before the colon")?;
            host::cgroup_file(&slice, &format!("{resource}.pressure"))
        }
    };
    // Without pressure information there is nothing to be said against it.
    Ok(host::pressure(&file, field).is_none_or(|now| now <= limit))
}

/// Whether the machine's architecture is this one; `native` is what we were compiled for.
fn architecture(param: &str, machine: &str) -> bool {
    let native = match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    };
    machine == if param == "native" { native } else { param }
}

/// `uefi`, `device-tree`, `device-tree-compatible(X)`, `smbios-field(FIELD OPERATOR VALUE)`.
fn firmware(param: &str) -> Result<bool, Unknown> {
    let inner = |name: &str| param.strip_prefix(name)?.strip_suffix(')');
    if let Some(wanted) = inner("device-tree-compatible(") {
        return Ok(host::device_tree_compatible(wanted));
    }
    if let Some(text) = inner("smbios-field(") {
        let wrong = "expected smbios-field(FIELD OPERATOR VALUE)";
        let (field, rest) = text
            .find(SIGNS)
            .and_then(|at| text.split_at_checked(at))
            .ok_or(wrong)?;
        let field = field.trim();
        if field.is_empty() || field.contains('/') {
            return Err(wrong);
        }
        // A machine without this field has none that compares.
        let found = host::smbios(field);
        return Ok(found.is_some_and(|found| compare_text(&found, rest.trim())));
    }
    match param {
        "uefi" => Ok(Path::new("/sys/firmware/efi").exists()),
        "device-tree" => Ok(Path::new("/sys/firmware/devicetree/base").exists()),
        _ => Err("no such firmware is known"),
    }
}

/// What a boolean option of the kernel's command line says; `None` if it is not there.
fn override_by(option: &str) -> Option<bool> {
    flag_of(&host::command_line(), option)
}

/// The last value of a boolean option; one without a value is a yes.
pub(crate) fn flag_of(line: &str, option: &str) -> Option<bool> {
    let words = line.split_ascii_whitespace().rev();
    words
        .filter_map(|word| word.strip_prefix(option))
        .find_map(|rest| match rest.strip_prefix('=') {
            None if rest.is_empty() => Some(true),
            None => None,
            Some(text) => value::boolean(text).ok(),
        })
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
        for (is, comparison, want) in [
            ("6.12.48+deb13-amd64", ">=6.1", true),
            ("6.12.48+deb13-amd64", "<6.12", false),
            ("6.12.48", "< 6.100", true),
            ("6.12.48", "$=6.*", true),
            ("6.12.48", "!$=6.*", false),
            ("6.12.48", "!=6.12.48", false),
            ("5.10", "=5.10", true),
            // “=” compares text, “==” versions.
            ("5.10", "=5.010", false),
            ("5.10", "==5.010", true),
            ("5.10", "<>5.010", false),
        ] {
            assert_eq!(compare_text(is, comparison), want, "{is} {comparison}");
        }
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

//! What follows from a mount's own section (systemd.mount(5)).
//!
//! It has to be known before a transaction is built, and so before a helper has read the section:
//! the mounts its place and its source lie on come first; and, with default dependencies, its place
//! between `local-fs-pre.target` and `local-fs.target` (`remote-fs` where it comes over the
//! network), and before the end of all mounts, `umount.target`. What is there as long as the
//! machine runs ([`stays`]) has no such place.

use units::file::UnitFile;
use units::mounts::{has_option, is_network};
use units::name::{UnitName, path_unescape};
use units::spec::{DepKind, UnitSpec};
use units::value::specifier::{Facts, expand};

/// Adds them. `Where=` is what the unit's name says; its helper sees to that.
pub(super) fn depend(spec: &mut UnitSpec, file: &UnitFile, facts: &dyn Facts) {
    let Some(point) = point_of(&spec.id) else {
        return;
    };
    let value = |key: &str| -> String {
        let entry = file.last("Mount", key);
        let text = entry.map(|entry| expand(entry.value, &spec.id, facts));
        text.and_then(Result::ok).unwrap_or_default().into_owned()
    };
    let (what, kind, options) = (value("What"), value("Type"), value("Options"));
    let network = is_network(&kind) || has_option(&options, "_netdev");
    if let Some((parent, _)) = point.rsplit_once('/').filter(|_| point != "/") {
        let parent = if parent.is_empty() { "/" } else { parent };
        spec.mounts_for.push((true, parent.into()));
    }
    let of_file = ["bind", "rbind", "loop"]
        .iter()
        .any(|name| has_option(&options, name));
    if what.starts_with('/') && (of_file || !network) {
        spec.mounts_for.push((true, what));
    }
    if spec.default_dependencies && !stays(&point) {
        default(
            spec,
            network,
            has_option(&options, "nofail"),
            kind == "tmpfs",
        );
    }
}

fn default(spec: &mut UnitSpec, network: bool, dispensable: bool, in_memory: bool) {
    use DepKind as D;
    let (pre, target) = match network {
        true => ("remote-fs-pre.target", "remote-fs.target"),
        false => ("local-fs-pre.target", "local-fs.target"),
    };
    let mut add = |kind, other: &str| {
        if let Ok(other) = UnitName::new(other) {
            spec.add_dep(kind, other);
        }
    };
    add(D::After, pre);
    if !dispensable {
        add(D::Before, target);
    }
    add(D::Conflicts, "umount.target");
    add(D::Before, "umount.target");
    if network {
        add(D::Wants, "network-online.target");
        add(D::After, "network-online.target");
    }
    if in_memory {
        add(D::After, "swap.target");
    }
}

/// Where a mount's name says that it is.
pub(super) fn point_of(id: &UnitName) -> Option<String> {
    path_unescape(id.stem()).ok()
}

/// What is never unmounted before the very end.
fn stays(point: &str) -> bool {
    const BELOW: [&str; 5] = ["/proc", "/sys", "/dev", "/run/initramfs", "/run/host"];
    let below = |dir: &str| {
        let rest = point.strip_prefix(dir);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    matches!(point, "/" | "/etc" | "/usr" | "/run") || BELOW.iter().any(|dir| below(dir))
}

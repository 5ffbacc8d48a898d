//! What follows from a unit's type, as systemd documents it.
//!
//! * **Implicit**: whoever has processes belongs to a slice (`Slice=`, else `system.slice`, an
//!   instance to the slice of its template), requires it and comes after it; a slice belongs to the
//!   one its name says; a mount required by path is required and comes first; a socket, timer or
//!   path comes before the unit it triggers.
//! * **Default**, unless `DefaultDependencies=no`: the type's place between `sysinit.target` and
//!   `shutdown.target`. That a target comes after everything it pulls in needs the other units, see
//!   [`target_order`].
//!
//! Types we do not know are treated as services: whoever adds one can say `DefaultDependencies=no`
//! in its units, and more than that over the helper's `Implied`.

use std::rc::Rc;
use units::name::{UnitName, escape};
use units::spec::{DepKind, UnitSpec};

/// What a target needs to know of a unit it pulls in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peek {
    /// Name it is loaded under.
    pub id: UnitName,
    /// Loaded, and with default dependencies.
    pub orderable: bool,
    /// Targets it comes after.
    pub after: Box<[UnitName]>,
}

impl Peek {
    pub fn of(spec: &UnitSpec) -> Self {
        Self {
            id: spec.id.clone(),
            orderable: spec.load.is_loaded() && spec.default_dependencies,
            after: spec
                .deps_of(DepKind::After)
                .filter(|n| n.as_str().ends_with(".target"))
                .cloned()
                .collect(),
        }
    }
}

/// Whether units of this type exist without a file: the kernel has them, or nothing needs saying.
pub(super) fn needs_no_file(id: &UnitName) -> bool {
    matches!(id.unit_type(), "slice" | "device" | "scope")
}

fn has_processes(unit_type: &str) -> bool {
    !matches!(
        unit_type,
        "target" | "device" | "timer" | "path" | "automount" | "slice"
    )
}

fn name(text: &str) -> Option<UnitName> {
    UnitName::new(text).ok()
}

/// The slice a unit's processes live in when nothing else is said.
fn default_slice(id: &UnitName) -> Option<UnitName> {
    let unit_type = id.unit_type();
    if unit_type == "slice" {
        let stem = id.stem();
        return match stem.rsplit_once('-') {
            _ if stem == "-" => None,
            Some((parent, _)) if !parent.is_empty() => name(&format!("{parent}.slice")),
            _ => name("-.slice"),
        };
    }
    if !has_processes(unit_type) {
        return None;
    }
    match id.instance() {
        Some(_) => name(&format!("system-{}.slice", escape(id.prefix()))),
        None => name("system.slice"),
    }
}

/// Puts a unit into its slice. `asked` is the value of `Slice=`.
pub(super) fn place_in_slice(spec: &mut UnitSpec, asked: Option<UnitName>) {
    let unit_type = spec.id.unit_type();
    let asked = asked.filter(|_| has_processes(unit_type));
    if let Some(slice) = asked.or_else(|| default_slice(&spec.id)) {
        spec.add_dep(DepKind::Slice, slice.clone());
        spec.add_dep(DepKind::Requires, slice.clone());
        spec.add_dep(DepKind::After, slice.clone());
        spec.slice = Some(slice);
    }
    // These two are always there, also while everything else is stopped.
    if matches!(spec.id.as_str(), "-.slice" | "system.slice") {
        spec.default_dependencies = false;
    }
}

/// What a unit of this type is there to start is named in this section by this directive; without
/// it, it is the service of the same name.
pub(super) fn trigger_directive(unit_type: &str) -> Option<(&'static str, &'static str)> {
    match unit_type {
        "socket" => Some(("Socket", "Service")),
        "timer" => Some(("Timer", "Unit")),
        "path" => Some(("Path", "Unit")),
        _ => None,
    }
}

/// A unit triggers another and comes before it. `asked` is the value of its directive.
pub(super) fn trigger(spec: &mut UnitSpec, asked: Option<UnitName>) {
    let own = || spec.id.with_type("service").ok();
    if let Some(other) = asked.or_else(own) {
        spec.add_dep(DepKind::Triggers, other.clone());
        spec.add_dep(DepKind::Before, other);
    }
}

/// Requires the mounts of a unit's paths, as far as there are units for them.
pub(super) fn need_mounts(spec: &mut UnitSpec, has_mount: impl Fn(&UnitName) -> bool) {
    for (required, path) in std::mem::take(&mut spec.mounts_for) {
        let ends = path
            .match_indices('/')
            .skip(1)
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends.collect::<Vec<_>>() {
            let part = path.get(..end).unwrap_or("/");
            let Ok(mount) = UnitName::from_path(part, "mount") else {
                continue;
            };
            if mount == spec.id || !has_mount(&mount) {
                continue;
            }
            spec.add_dep(DepKind::After, mount.clone());
            spec.add_dep(
                if required {
                    DepKind::Requires
                } else {
                    DepKind::Wants
                },
                mount,
            );
        }
        spec.mounts_for.push((required, path));
    }
}

type Named = Rc<[(DepKind, UnitName)]>;

/// The default dependencies of units, but for the order of targets. All units share the names.
#[derive(Default)]
pub(super) struct Defaults(Vec<(&'static [(DepKind, &'static str)], Named)>);

impl Defaults {
    /// Adds what a unit gets by its type.
    pub fn add(&mut self, spec: &mut UnitSpec) {
        if !spec.default_dependencies {
            return;
        }
        for (kind, other) in self.named(of_type(spec.id.unit_type())).iter() {
            spec.add_dep(*kind, other.clone());
        }
    }

    fn named(&mut self, list: &'static [(DepKind, &'static str)]) -> Named {
        if let Some((_, named)) = self.0.iter().find(|(known, _)| std::ptr::eq(*known, list)) {
            return Rc::clone(named);
        }
        let named = list
            .iter()
            .filter_map(|(kind, other)| Some((*kind, name(other)?)));
        let named: Named = named.collect();
        self.0.push((list, Rc::clone(&named)));
        named
    }
}

fn of_type(unit_type: &str) -> &'static [(DepKind, &'static str)] {
    use DepKind as D;
    match unit_type {
        "target" | "slice" | "scope" => &[
            (D::Conflicts, "shutdown.target"),
            (D::Before, "shutdown.target"),
        ],
        "device" | "mount" | "swap" | "automount" => &[],
        "socket" => &[
            (D::Requires, "sysinit.target"),
            (D::After, "sysinit.target"),
            (D::Before, "sockets.target"),
            (D::Conflicts, "shutdown.target"),
            (D::Before, "shutdown.target"),
        ],
        "timer" => &[
            (D::Requires, "sysinit.target"),
            (D::After, "sysinit.target"),
            (D::Before, "timers.target"),
            (D::Conflicts, "shutdown.target"),
            (D::Before, "shutdown.target"),
        ],
        "path" => &[
            (D::Requires, "sysinit.target"),
            (D::After, "sysinit.target"),
            (D::Before, "paths.target"),
            (D::Conflicts, "shutdown.target"),
            (D::Before, "shutdown.target"),
        ],
        _ => &[
            (D::Requires, "sysinit.target"),
            (D::After, "sysinit.target"),
            (D::After, "basic.target"),
            (D::Conflicts, "shutdown.target"),
            (D::Before, "shutdown.target"),
        ],
    }
}

/// Puts a target after the units it pulls in, unless one of both wants no default dependencies or
/// is ordered the other way round already.
pub(super) fn target_order(target: &mut UnitSpec, mut peek: impl FnMut(&UnitName) -> Rc<Peek>) {
    if target.id.unit_type() != "target" || !target.default_dependencies {
        return;
    }
    let pulls = |kind| {
        matches!(
            kind,
            DepKind::Requires
                | DepKind::Requisite
                | DepKind::Wants
                | DepKind::BindsTo
                | DepKind::PartOf
                | DepKind::Upholds
        )
    };
    let others: Vec<UnitName> = target
        .deps
        .iter()
        .filter(|(kind, _)| pulls(*kind))
        .map(|(_, n)| n.clone())
        .collect();
    let before: Vec<UnitName> = target.deps_of(DepKind::Before).cloned().collect();
    for other in others {
        let peek = peek(&other);
        let opposite = peek.after.contains(&target.id)
            || before.iter().any(|name| *name == other || *name == peek.id);
        if peek.orderable && !opposite {
            target.add_dep(DepKind::After, peek.id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: &str) -> UnitSpec {
        UnitSpec::new(name(id).unwrap())
    }

    #[test]
    fn slices() {
        let of = |id: &str| {
            let mut spec = spec(id);
            place_in_slice(&mut spec, None);
            spec.slice.map(String::from)
        };
        assert_eq!(of("a.service").as_deref(), Some("system.slice"));
        assert_eq!(of("a-b@i.service").as_deref(), Some(r"system-a\x2db.slice"));
        assert_eq!(of("a-b.slice").as_deref(), Some("a.slice"));
        assert_eq!(of("a.slice").as_deref(), Some("-.slice"));
        assert_eq!(of("-.slice"), None);
        assert_eq!(of("a.target"), None);
        assert_eq!(of("a.timer"), None);
    }

    #[test]
    fn requires_mounts_for_and_wants_mounts_for_every_prefix_that_has_a_unit() {
        let mut spec = spec("a.service");
        spec.mounts_for = vec![(true, "/var/lib/x".into()), (false, "/srv".into())];
        need_mounts(&mut spec, |mount| {
            matches!(mount.as_str(), "var.mount" | "srv.mount")
        });
        spec.tidy();
        let deps: Vec<String> = spec
            .deps
            .iter()
            .map(|(k, n)| format!("{}={n}", k.as_str()))
            .collect();
        assert_eq!(
            deps,
            [
                "Requires=var.mount",
                "Wants=srv.mount",
                "After=srv.mount",
                "After=var.mount"
            ]
        );
        assert_eq!(spec.mounts_for.len(), 2);
    }
}

//! The directives of `[Unit]` and what each does to a [`super::UnitSpec`].
//!
//! Conditions and assertions are not in the table: their names are made of two parts.

use super::DepKind;

/// How a value is read and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Description,
    Documentation,
    SourcePath,
    Dep(DepKind),
    /// Requires (true) or wants (false) the mounts of these paths.
    MountsFor(bool),
    DefaultDependencies,
    RefuseManualStart,
    RefuseManualStop,
    AllowIsolate,
    IgnoreOnIsolate,
    StopWhenUnneeded,
    SurviveFinalKill,
    LimitInterval,
    LimitBurst,
    LimitAction,
    JobTimeout,
    JobRunningTimeout,
    JobTimeoutAction,
    FailureAction,
    SuccessAction,
    FailureExitStatus,
    SuccessExitStatus,
    RebootArgument,
    JobTimeoutArgument,
    OnFailureMode,
    /// `OnFailureIsolate=`, the older way to say `OnFailureJobMode=isolate`.
    OnFailureIsolate,
    OnSuccessMode,
    Collect,
    /// systemd knows it, we do not carry it out.
    Unsupported,
}

impl Field {
    /// Whether the manager does what it says. What it does not do yet is read all the same, so that
    /// a bad value is found, and then reported.
    pub(super) fn is_carried_out(self) -> bool {
        !matches!(
            self,
            Self::Unsupported | Self::Dep(DepKind::JoinsNamespaceOf) | Self::SurviveFinalKill
        )
    }
}

use DepKind as D;
use Field as F;

/// Sorted by name.
const UNIT: [(&str, Field); 50] = [
    ("After", F::Dep(D::After)),
    ("AllowIsolate", F::AllowIsolate),
    ("Before", F::Dep(D::Before)),
    ("BindTo", F::Dep(D::BindsTo)),
    ("BindsTo", F::Dep(D::BindsTo)),
    ("CollectMode", F::Collect),
    ("Conflicts", F::Dep(D::Conflicts)),
    ("DefaultDependencies", F::DefaultDependencies),
    ("Description", F::Description),
    ("Documentation", F::Documentation),
    ("FailureAction", F::FailureAction),
    ("FailureActionExitStatus", F::FailureExitStatus),
    ("IgnoreOnIsolate", F::IgnoreOnIsolate),
    ("JobRunningTimeoutSec", F::JobRunningTimeout),
    ("JobTimeoutAction", F::JobTimeoutAction),
    ("JobTimeoutRebootArgument", F::JobTimeoutArgument),
    ("JobTimeoutSec", F::JobTimeout),
    ("JoinsNamespaceOf", F::Dep(D::JoinsNamespaceOf)),
    ("OnFailure", F::Dep(D::OnFailure)),
    ("OnFailureIsolate", F::OnFailureIsolate),
    ("OnFailureJobMode", F::OnFailureMode),
    ("OnSuccess", F::Dep(D::OnSuccess)),
    ("OnSuccessJobMode", F::OnSuccessMode),
    ("PartOf", F::Dep(D::PartOf)),
    ("PropagateReloadFrom", F::Dep(D::ReloadPropagatedFrom)),
    ("PropagateReloadTo", F::Dep(D::PropagatesReloadTo)),
    ("PropagatesReloadTo", F::Dep(D::PropagatesReloadTo)),
    ("PropagatesStopTo", F::Dep(D::PropagatesStopTo)),
    ("RebootArgument", F::RebootArgument),
    ("RefuseManualStart", F::RefuseManualStart),
    ("RefuseManualStop", F::RefuseManualStop),
    ("ReloadPropagatedFrom", F::Dep(D::ReloadPropagatedFrom)),
    ("Requires", F::Dep(D::Requires)),
    ("RequiresMountsFor", F::MountsFor(true)),
    ("RequiresOverridable", F::Unsupported),
    ("Requisite", F::Dep(D::Requisite)),
    ("RequisiteOverridable", F::Unsupported),
    ("SourcePath", F::SourcePath),
    ("StartLimitAction", F::LimitAction),
    ("StartLimitBurst", F::LimitBurst),
    ("StartLimitInterval", F::LimitInterval),
    ("StartLimitIntervalSec", F::LimitInterval),
    ("StopPropagatedFrom", F::Dep(D::StopPropagatedFrom)),
    ("StopWhenUnneeded", F::StopWhenUnneeded),
    ("SuccessAction", F::SuccessAction),
    ("SuccessActionExitStatus", F::SuccessExitStatus),
    ("SurviveFinalKillSignal", F::SurviveFinalKill),
    ("Upholds", F::Dep(D::Upholds)),
    ("Wants", F::Dep(D::Wants)),
    ("WantsMountsFor", F::MountsFor(false)),
];

/// Directives that older systemd had in `[Service]` and that still work there.
const IN_SERVICE: [(&str, Field); 6] = [
    ("FailureAction", F::FailureAction),
    ("RebootArgument", F::RebootArgument),
    ("StartLimitAction", F::LimitAction),
    ("StartLimitBurst", F::LimitBurst),
    ("StartLimitInterval", F::LimitInterval),
    ("SuccessAction", F::SuccessAction),
];

fn look_up(table: &[(&'static str, Field)], key: &str) -> Option<Field> {
    let at = table.binary_search_by(|(name, _)| (*name).cmp(key)).ok()?;
    table.get(at).map(|(_, field)| *field)
}

/// The same of so few that their lengths tell most apart.
fn in_service(key: &str) -> Option<Field> {
    let found = IN_SERVICE.iter().find(|(name, _)| *name == key);
    found.map(|(_, field)| *field)
}

/// What a directive does, conditions and assertions apart.
pub(super) fn field(section: &str, key: &str) -> Option<Field> {
    match section {
        "Unit" => look_up(&UNIT, key),
        "Service" => in_service(key),
        _ => None,
    }
}

/// Whether a directive is the manager's, so that a type's helper never sees it: everything in
/// `[Unit]` and `[Install]`, and those of `[Unit]` that are also allowed in `[Service]`.
pub fn reads(section: &str, key: &str) -> bool {
    matches!(section, "Unit" | "Install") || section == "Service" && in_service(key).is_some()
}

/// The directives of `[Unit]` that are carried out, conditions and assertions apart, by name.
pub fn keys() -> impl Iterator<Item = &'static str> {
    UNIT.iter()
        .filter(|(_, field)| field.is_carried_out())
        .map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives::is_known;

    /// Those of older systemd that are other spellings, or gone for ever.
    const OLD: [&str; 6] = [
        "BindTo",
        "PropagateReloadFrom",
        "PropagateReloadTo",
        "RequiresOverridable",
        "RequisiteOverridable",
        "StartLimitInterval",
    ];

    #[test]
    fn the_reference_has_every_directive() {
        let reference = include_str!("../../../../docs/reference/unit.md");
        for (name, _) in UNIT.iter().filter(|(name, _)| !OLD.contains(name)) {
            let found = reference.contains(&alloc::format!("`{name}"));
            assert!(found, "docs/reference/unit.md does not mention {name}=");
        }
    }

    #[test]
    fn tables_are_sorted_and_known() {
        assert!(UNIT.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(IN_SERVICE.windows(2).all(|w| w[0].0 < w[1].0));
        for (name, _) in UNIT {
            assert!(is_known("Unit", name), "{name}");
        }
        for (name, _) in IN_SERVICE {
            assert!(is_known("Service", name), "{name}");
        }
    }
}

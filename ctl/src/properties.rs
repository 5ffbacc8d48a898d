//! What is known of a unit or of the manager as properties: `sctl show`.
//!
//! Names and words are systemd's where systemd has the same thing; times are microseconds since boot,
//! sleep included.

use units::state::{ActiveState, Exit, Times};
use units::wire::control::{ManagerInfo, UnitDetail, UnitLine};

/// A block of properties, in order.
pub type Properties = Vec<(&'static str, String)>;

fn yes(on: bool) -> String {
    if on { "yes" } else { "no" }.to_owned()
}

fn number(value: impl Into<Option<u64>>) -> String {
    value
        .into()
        .map_or(String::new(), |value| value.to_string())
}

/// A unit nobody knows.
pub fn unknown(name: &str) -> UnitDetail {
    UnitDetail {
        names: vec![name.to_owned()],
        ..UnitDetail::of(UnitLine {
            name: name.to_owned(),
            load: "not-found".to_owned(),
            active: ActiveState::Inactive,
            sub: "dead".to_owned(),
            description: name.to_owned(),
            job: None,
        })
    }
}

/// The unit's result. One that never failed, because it never ran for instance, succeeded.
fn result_of(one: &UnitDetail) -> &str {
    match one.result.as_str() {
        "" if one.line.active != ActiveState::Failed => "success",
        result => result,
    }
}

/// A unit's properties.
pub fn of_unit(one: &UnitDetail) -> Properties {
    let (code, status) = match one.exit {
        None => ("", String::new()),
        Some(Exit::Code(code)) => ("exited", code.to_string()),
        Some(Exit::Signal(signal)) => ("killed", signal.to_string()),
        Some(Exit::Core(signal)) => ("dumped", signal.to_string()),
    };
    let mut list: Properties = vec![
        ("Id", one.line.name.clone()),
        ("Names", one.names.join(" ")),
        ("Description", one.line.description.clone()),
        ("LoadState", one.line.load.clone()),
        ("LoadError", one.load_error.clone()),
        ("ActiveState", one.line.active.as_str().to_owned()),
        ("SubState", one.line.sub.clone()),
        ("StateChangeTimestampMonotonic", one.since.to_string()),
        ("FragmentPath", one.fragment.clone()),
        ("DropInPaths", one.dropins.join(" ")),
        ("NeedDaemonReload", yes(one.need_reload)),
        ("CanReload", yes(one.can_reload)),
        ("Documentation", one.documentation.join(" ")),
        ("Result", result_of(one).to_owned()),
        ("ResultDetail", one.detail.clone()),
        ("StatusText", one.status.clone()),
        ("InvocationID", one.invocation.clone()),
        ("MainPID", one.main.map_or(0, |proc| proc.pid).to_string()),
        (
            "ControlPID",
            one.control.map_or(0, |proc| proc.pid).to_string(),
        ),
        ("MainStartTicks", number(one.main.map(|proc| proc.start))),
        ("ExecMainCode", code.to_owned()),
        ("ExecMainStatus", status),
        ("NRestarts", one.restarts.to_string()),
        ("NextRestartMonotonic", number(one.restart_at)),
        ("DeadlineMonotonic", number(one.deadline)),
        ("ControlGroup", one.cgroup.clone()),
        ("ConditionText", one.condition.clone()),
        ("Job", number(one.line.job.map(|(id, _)| u64::from(id)))),
        (
            "JobType",
            one.line
                .job
                .map_or("", |(_, verb)| verb.as_str())
                .to_owned(),
        ),
        ("Unsupported", one.unsupported.join("; ")),
    ];
    for (kind, names) in &one.dependencies {
        if let Some(name) = DEPENDENCIES.iter().find(|known| *known == kind) {
            list.push((name, names.join(" ")));
        }
    }
    list
}

/// When a unit changed, in systemd's names.
pub fn add_times(block: &mut Properties, times: Times) {
    for (name, at) in [
        ("InactiveExitTimestampMonotonic", times.inactive_exit),
        ("ActiveEnterTimestampMonotonic", times.active_enter),
        ("ActiveExitTimestampMonotonic", times.active_exit),
        ("InactiveEnterTimestampMonotonic", times.inactive_enter),
    ] {
        block.push((name, at.to_string()));
    }
}

/// Dependency kinds that are properties.
const DEPENDENCIES: &[&str] = &[
    "Requires",
    "Requisite",
    "Wants",
    "BindsTo",
    "PartOf",
    "Upholds",
    "Conflicts",
    "Before",
    "After",
    "OnFailure",
    "OnSuccess",
    "Triggers",
    "TriggeredBy",
    "RequiredBy",
    "RequisiteOf",
    "WantedBy",
    "BoundBy",
    "ConsistsOf",
    "UpheldBy",
    "ConflictedBy",
    "PropagatesReloadTo",
    "ReloadPropagatedFrom",
    "PropagatesStopTo",
    "StopPropagatedFrom",
    "JoinsNamespaceOf",
    "RequiresMountsFor",
];

/// The manager's properties.
pub fn of_manager(info: &ManagerInfo) -> Properties {
    let helpers: Vec<String> = info
        .helpers
        .iter()
        .map(|(kind, pid, _)| format!("{kind}:{pid}"))
        .collect();
    vec![
        ("Version", info.version.clone()),
        ("Build", info.build.clone()),
        ("SystemState", info.state.clone()),
        ("Epoch", info.epoch.to_string()),
        ("ManagerPID", info.pid.to_string()),
        ("NowMonotonic", info.now.to_string()),
        ("NNames", info.units.to_string()),
        ("NJobs", info.jobs.to_string()),
        ("NFailedUnits", info.failed.to_string()),
        ("UserspaceTimestampMonotonic", info.started.to_string()),
        ("FinishTimestampMonotonic", info.finished.to_string()),
        ("RecoveryUSec", info.recovery.to_string()),
        ("Helpers", helpers.join(" ")),
        ("Quarantine", info.quarantine.join("; ")),
        ("Missing", info.missing.join("; ")),
    ]
}

//! What follows from several directives together.

use super::{Config, Draft};
use crate::context::{Input, Output, Sort};
use crate::policy::{Access, Kind, NEVER, Policy, Restart, Step};
use units::wire::helper::{Finding, HelperConfig, Implied, Severity, UnitSource};

/// The dependencies that follow from paths.
pub(super) fn implied(draft: &Draft<'_>) -> Vec<Implied> {
    let context = &draft.context;
    let mut paths: Vec<String> = Vec::new();
    for list in &context.directories {
        if list.sort != Sort::Runtime {
            paths.extend(
                list.names
                    .iter()
                    .map(|name| format!("{}/{name}", list.sort.root())),
            );
        }
    }
    paths.extend(context.root.iter().map(|path| path.to_string()));
    let directory = context
        .directory
        .as_ref()
        .filter(|directory| !directory.optional);
    paths.extend(
        directory
            .and_then(|directory| directory.path.as_ref())
            .map(|p| p.to_string()),
    );
    for stream in [&context.output, &context.error] {
        if let Output::File(path) | Output::Append(path) | Output::Truncate(path) = stream {
            paths.push(path.to_string());
        }
    }
    if let Input::File(path) = &context.input {
        paths.push(path.to_string());
    }
    let key = || "RequiresMountsFor".to_owned();
    paths
        .into_iter()
        .map(|value| Implied { key: key(), value })
        .collect()
}

/// Fills in the defaults that depend on other directives and checks that the whole makes sense.
pub(super) fn settle(
    mut draft: Draft<'_>,
    source: &UnitSource,
    defaults: &HelperConfig,
    findings: &mut Vec<Finding>,
) -> Config {
    let policy = &mut draft.policy;
    // Without Type= a service that runs nothing to stay up for is a oneshot.
    let said = source.entries.iter().any(|entry| entry.key == "Type");
    let starts = draft.commands.get(usize::from(Step::Start.number()));
    if !said && starts.is_none_or(Vec::is_empty) {
        policy.kind = Kind::Oneshot;
    }
    policy.times.start = draft.set.timeout_start.unwrap_or(match policy.kind {
        Kind::Oneshot => NEVER,
        _ => defaults.timeout_start,
    });
    policy.times.abort = draft.set.timeout_abort.unwrap_or(policy.times.stop);
    let wants = policy.kind.notifies() || policy.times.watchdog > 0 || draft.context.store_max > 0;
    policy.access = match draft.set.access {
        None | Some(Access::None) if wants => Access::Main,
        explicit => explicit.unwrap_or(Access::None),
    };
    policy.pid_file = draft.context.pid_file.is_some();
    for list in &mut draft.context.directories {
        let mode = draft.set.modes.get(list.sort as usize).copied().flatten();
        list.mode = mode.unwrap_or(list.mode);
    }
    if !draft.set.output && matches!(draft.context.input, Input::Terminal { .. }) {
        draft.context.output = Output::Inherit;
    }
    check(policy, &draft.commands, source, findings);
    for (flags, list) in policy.commands.iter_mut().zip(&draft.commands) {
        *flags = list.iter().map(|command| command.ignore_failure).collect();
    }
    Config {
        policy: draft.policy,
        context: draft.context,
        commands: draft.commands.map(Vec::into_boxed_slice),
        cgroup: source.cgroup.as_str().into(),
    }
}

fn check(
    policy: &Policy,
    commands: &[Vec<units::value::exec::Command>; 7],
    source: &UnitSource,
    findings: &mut Vec<Finding>,
) {
    let count = |step: Step| commands.get(usize::from(step.number())).map_or(0, Vec::len);
    // Where to point at: the last line that names this key, or the whole file.
    let at = |key: &str| {
        let entry = source.entries.iter().rev().find(|entry| entry.key == key);
        entry.map_or((0, 0), |entry| (entry.file, entry.line))
    };
    let mut error = |key: &str, text: &str| {
        let (file, line) = at(key);
        findings.push(Finding {
            severity: Severity::Error,
            file,
            line,
            text: text.into(),
        });
    };
    let (starts, oneshot) = (count(Step::Start), policy.kind == Kind::Oneshot);
    // A service without commands may be there for what follows from its success.
    let acts = source
        .entries
        .iter()
        .any(|e| e.key == super::SUCCESS_ACTION);
    if starts == 0 && count(Step::Stop) == 0 {
        if !acts {
            error(
                "Type",
                "there is neither ExecStart=, ExecStop= nor SuccessAction=: add a command",
            );
        }
    } else if starts == 0 && !oneshot {
        error(
            "Type",
            "there is no ExecStart=: only Type=oneshot may do without",
        );
    } else if starts == 0 && !policy.remain {
        error(
            "Type",
            "without ExecStart= there must be RemainAfterExit=yes",
        );
    }
    if starts > 1 && !oneshot {
        error(
            "ExecStart",
            "there is more than one ExecStart=: only Type=oneshot may have that",
        );
    }
    if oneshot && matches!(policy.again.restart, Restart::Always | Restart::OnSuccess) {
        error(
            "Restart",
            "Type=oneshot cannot have Restart=always or Restart=on-success",
        );
    }
    if policy.kind == Kind::NotifyReload && policy.access == Access::None {
        error(
            "NotifyAccess",
            "Type=notify-reload needs NotifyAccess= other than none",
        );
    }
}

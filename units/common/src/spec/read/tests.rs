//! What the directives of `[Unit]` become, and what is said about those that are wrong.

use super::*;
use crate::value::specifier::SystemFacts;

fn load(name: &str, text: &str) -> (UnitSpec, Vec<Finding>) {
    let mut file = UnitFile::new();
    let mut findings = Vec::new();
    assert!(file.add(0, text.as_bytes(), &mut findings));
    let mut spec = UnitSpec::new(UnitName::new(name).unwrap());
    spec.fragment = format!("/u/{name}");
    read(&mut spec, &file, &SystemFacts, &mut findings);
    (spec, findings)
}

fn names(spec: &UnitSpec, kind: DepKind) -> Vec<&str> {
    spec.deps_of(kind).map(UnitName::as_str).collect()
}

#[test]
fn every_field() {
    let (spec, findings) = load(
        "a@b.service",
        "[Unit]\nDescription=the %i of %p\nDocumentation=man:a(8) https://x/%i\n\
         SourcePath=/etc//x\nRequires=r.service r.service\nWants=w@.service a@b.service\n\
         After=r.service\nBindTo=bound.mount\nRequiresMountsFor=/var//lib /srv\n\
         WantsMountsFor=/opt\nDefaultDependencies=no\nRefuseManualStart=yes\n\
         RefuseManualStop=on\nAllowIsolate=1\nIgnoreOnIsolate=t\nStopWhenUnneeded=y\n\
         StartLimitIntervalSec=1min\nStartLimitBurst=9\nStartLimitAction=reboot-force\n\
         JobTimeoutSec=5\nJobTimeoutAction=poweroff\nFailureAction=reboot\n\
         SuccessAction=exit\nRebootArgument=x\nOnFailureJobMode=isolate\nOnFailure=f.service\n\
         OnSuccessJobMode=triggering\nCollectMode=inactive-or-failed\nX-Mine=1\n\
         SuccessActionExitStatus=0\nFailureActionExitStatus=255\nJobTimeoutRebootArgument=y\n",
    );
    assert!(findings.is_empty(), "{findings:?}");
    assert!(spec.unsupported.is_empty());
    assert_eq!(spec.load, LoadState::Loaded);
    assert_eq!(spec.description, "the b of a");
    assert_eq!(spec.documentation, ["man:a(8)", "https://x/b"]);
    assert_eq!(spec.source_path, "/etc/x");
    assert_eq!(names(&spec, DepKind::Requires), ["r.service"]);
    assert_eq!(names(&spec, DepKind::Wants), ["w@b.service"]);
    assert_eq!(names(&spec, DepKind::BindsTo), ["bound.mount"]);
    assert_eq!(names(&spec, DepKind::OnFailure), ["f.service"]);
    assert_eq!(
        spec.mounts_for,
        [
            (true, "/var/lib".into()),
            (true, "/srv".into()),
            (false, "/opt".into())
        ]
    );
    assert!(!spec.default_dependencies && spec.refuse_manual_start && spec.refuse_manual_stop);
    assert!(spec.allow_isolate && spec.ignore_on_isolate && spec.stop_when_unneeded);
    assert_eq!(spec.start_limit.interval, 60_000_000);
    assert_eq!(
        (spec.start_limit.burst, spec.start_limit.action),
        (9, Action::RebootForce)
    );
    assert_eq!(
        (spec.job_timeout, spec.job_running_timeout),
        (Some(5_000_000), Some(5_000_000))
    );
    assert_eq!(spec.job_timeout_action, Action::Poweroff);
    assert_eq!(
        (spec.failure_action, spec.success_action),
        (Action::Reboot, Action::Exit)
    );
    assert_eq!(spec.on_failure_mode, JobMode::Isolate);
    assert_eq!(spec.on_success_mode, JobMode::Triggering);
    assert_eq!(spec.collect, CollectMode::InactiveOrFailed);
    assert_eq!(
        (spec.success_exit_status, spec.failure_exit_status),
        (Some(0), Some(255))
    );
    assert_eq!(
        (
            spec.reboot_argument.as_str(),
            spec.job_timeout_argument.as_str()
        ),
        ("x", "y")
    );
}

#[test]
fn job_timeouts_in_any_order() {
    let of = |text: &str| {
        let (spec, _) = load("a.service", text);
        (spec.job_timeout, spec.job_running_timeout)
    };
    let (five, nine) = (Some(5_000_000), Some(9_000_000));
    assert_eq!(of("[Unit]\nJobTimeoutSec=5\n"), (five, five));
    assert_eq!(
        of("[Unit]\nJobTimeoutSec=9\nJobTimeoutSec=5\n"),
        (five, five)
    );
    let never = "[Unit]\nJobRunningTimeoutSec=infinity\nJobTimeoutSec=5\n";
    assert_eq!(of(never), (five, None));
    let both = "[Unit]\nJobTimeoutSec=5\nJobRunningTimeoutSec=9\n";
    assert_eq!(of(both), (five, nine));
}

#[test]
fn older_places_of_the_start_limit() {
    let (spec, _) = load(
        "a.service",
        "[Service]\nStartLimitInterval=0\nStartLimitBurst=3\nFailureAction=reboot\nType=x\n",
    );
    assert_eq!((spec.start_limit.interval, spec.start_limit.burst), (0, 3));
    assert_eq!(spec.failure_action, Action::Reboot);
}

#[test]
fn conditions() {
    let (spec, findings) = load(
        "a.service",
        "[Unit]\nConditionPathExists=/gone\nConditionPathExists=\n\
         ConditionPathExists=!/etc/x\nConditionVirtualization=|!container\n\
         ConditionKernelCommandLine=| quiet\nAssertPathIsDirectory=%t/d\n",
    );
    assert!(findings.is_empty(), "{findings:?}");
    let brief: Vec<_> = spec
        .conditions
        .iter()
        .map(|c| (c.kind.as_str(), c.trigger, c.negate, c.param.as_str()))
        .collect();
    assert_eq!(
        brief,
        [
            ("PathExists", false, true, "/etc/x"),
            ("Virtualization", true, true, "container"),
            ("KernelCommandLine", true, false, "quiet")
        ]
    );
    assert_eq!(spec.asserts[0].param, "/run/d");
}

#[test]
fn bad_values_name_file_and_line() {
    for (line, part) in [
        ("Requires=no-type", "name of a unit"),
        ("BindsTo=x@.service", "an instance"),
        ("DefaultDependencies=perhaps", "yes or no"),
        ("StartLimitIntervalSec=soon", "time span"),
        ("ConditionPathExists=etc/x", "absolute path"),
        ("FailureAction=explode", "reboot"),
        ("Wants=%F.service", "specifier"),
        ("CollectMode=x", "inactive"),
        ("SuccessActionExitStatus=256", "0 to 255"),
        ("OnFailureJobMode=x", "job mode"),
        ("RequiresMountsFor=rel", "absolute"),
    ] {
        let (spec, findings) = load("a.service", &format!("[Unit]\nDescription=x\n{line}\n"));
        let LoadState::BadSetting { reason } = &spec.load else {
            panic!("{line}")
        };
        let key = line.split('=').next().unwrap();
        assert!(
            reason.starts_with(&format!("/u/a.service:3: {key}=: ")),
            "{reason}"
        );
        assert!(reason.contains(part), "{reason}");
        assert_eq!(findings.len(), 1);
    }
}

#[test]
fn an_order_that_names_no_unit_is_left_out_with_a_warning() {
    let text = "[Unit]\nAfter=udev b.service\nBefore=t@.service\nWants=x\n";
    let (spec, findings) = load("a.service", text);
    assert_eq!(spec.load, LoadState::Loaded);
    assert_eq!(names(&spec, DepKind::After), ["b.service"]);
    let lines: Vec<_> = findings.iter().map(|f| (f.severity, f.line)).collect();
    assert_eq!(lines, [2, 3, 4].map(|line| (Severity::Warning, line)));
}

#[test]
fn the_unknown_and_the_unsupported_are_told_apart() {
    let (spec, findings) = load(
        "a.service",
        "[Unit]\nDescripton=x\nSurviveFinalKillSignal=yes\nDocumentation=foo\n",
    );
    assert_eq!(spec.load, LoadState::Loaded);
    assert_eq!(
        spec.unsupported,
        ["/u/a.service:3: SurviveFinalKillSignal="]
    );
    let kinds: Vec<_> = findings.iter().map(|f| (f.severity, f.line)).collect();
    assert_eq!(
        kinds,
        [
            (Severity::Warning, 2),
            (Severity::Unsupported, 3),
            (Severity::Warning, 4)
        ]
    );
}

#[test]
fn description_documentation_and_source_path() {
    let (spec, findings) = load(
        "a@b.service",
        "[Unit]\nDescription=the %i\nDocumentation=man:a(8) https://x/%i\nSourcePath=/etc//%i\n",
    );
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(spec.description, "the b");
    assert_eq!(spec.documentation, ["man:a(8)", "https://x/b"]);
    assert_eq!(spec.source_path, "/etc/b");
    // None of these keeps a unit from being used.
    let (spec, findings) = load(
        "a.service",
        "[Unit]\nDescription=100%Q\nDocumentation=man:a(8) b man:c(8)\n",
    );
    assert_eq!(spec.load, LoadState::Loaded);
    assert_eq!(spec.description, "100%Q");
    assert_eq!(spec.documentation, ["man:a(8)", "man:c(8)"]);
    let lines: Vec<_> = findings.iter().map(|f| (f.severity, f.line)).collect();
    assert_eq!(lines, [2, 3].map(|line| (Severity::Warning, line)));
}

#[test]
fn survive_final_kill_signal_is_read_and_reported() {
    let (spec, findings) = load("a.service", "[Unit]\nSurviveFinalKillSignal=yes\n");
    assert_eq!(spec.load, LoadState::Loaded);
    assert!(spec.survive_final_kill);
    let lines: Vec<_> = findings.iter().map(|f| (f.severity, f.line)).collect();
    assert_eq!(lines, [(Severity::Unsupported, 2)]);
}

#[test]
fn a_spec_survives_the_wire() {
    let (spec, _) = load("a.service", "[Unit]\nRequires=b.service\nConditionHost=x\n");
    let bytes = postcard::to_allocvec(&spec).unwrap();
    assert_eq!(postcard::from_bytes::<UnitSpec>(&bytes).unwrap(), spec);
}

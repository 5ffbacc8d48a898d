//! What is shown, compared as a whole, and the exit status that goes with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod support;

use support::*;
use units::state::{ActiveState, Exit, JobVerb};
use units::wire::control::{ErrorKind, JobLine, Reply, Request, UnitDetail};

/// A machine that knows these units.
fn machine(known: Vec<UnitDetail>) -> Fake {
    Fake::new(move |request, _| match request {
        Request::Manager => vec![Step::Say(Reply::Manager(manager()))],
        Request::Show { unit } => match known.iter().find(|one| one.line.name == *unit) {
            Some(one) => vec![
                Step::Say(Reply::Detail(one.clone())),
                Step::Say(Reply::Findings(one.unsupported.clone())),
            ],
            None => refuse(ErrorKind::NotFound, &format!("there is no unit {unit}")),
        },
        Request::ListUnits { .. } => known
            .iter()
            .map(|one| Step::Say(Reply::Unit(one.line.clone())))
            .collect(),
        Request::ListJobs => known
            .iter()
            .filter_map(|one| one.line.job.map(|(id, verb)| (one, id, verb)))
            .map(|(one, id, verb)| {
                Step::Say(Reply::Job(JobLine {
                    id,
                    unit: one.line.name.clone(),
                    verb,
                    running: false,
                    since: NOW - 3_000_000,
                    deadline: None,
                    waits_for: vec!["network.target".into()],
                }))
            })
            .collect(),
        Request::History { units } => units
            .iter()
            .map(|unit| Step::Say(Reply::History(history(unit))))
            .collect(),
        other => panic!("{other:?}"),
    })
}

fn failed() -> UnitDetail {
    let mut one = detail("bad.service");
    one.line.active = ActiveState::Failed;
    one.line.sub = "failed".into();
    one.result = "exit-code".into();
    one.detail = "ExecStart=/usr/bin/bad (step EXEC): No such file or directory".into();
    one.exit = Some(Exit::Code(203));
    one.main = None;
    one.restarts = 5;
    one.unsupported =
        vec!["/usr/lib/sysmaster/system/bad.service:9: ProtectHome= is not carried out".into()];
    one
}

#[test]
fn a_unit_that_is_well() {
    let mut one = detail("web.service");
    one.status = "3 clients".into();
    one.documentation = vec!["man:web(8)".into()];
    let fake = machine(vec![one]);
    let run = sctl(&fake, &["status", "web", "--root=/nonexistent"]);
    assert_eq!(run.code, 0);
    assert_eq!(
        run.out,
        "\
● web.service — The web of the test
  state     active (running) since 2026-11-22 21:17:58 UTC, for 2min 5s
  status    3 clients
  file      /usr/lib/sysmaster/system/web.service
  docs      man:web(8)
  main      4000000000
"
    );
}

#[test]
fn a_unit_that_has_failed() {
    let fake = machine(vec![failed()]);
    let run = sctl(&fake, &["status", "bad", "--root=/nonexistent"]);
    assert_eq!(run.code, 3);
    assert_eq!(
        run.out,
        "\
× bad.service — The bad of the test
  state     failed since 2026-11-22 21:17:58 UTC, for 2min 5s
  file      /usr/lib/sysmaster/system/bad.service
  result    exit-code: main process ended with exit status 203
  because   ExecStart=/usr/bin/bad (step EXEC): No such file or directory
  ignored   in /usr/lib/sysmaster/system/bad.service (`sctl verify` names the lines):
            ProtectHome=
  restarts  restarted 5 times by itself
"
    );
}

#[test]
fn a_unit_on_its_way() {
    let mut one = detail("slow.service");
    one.line.active = ActiveState::Activating;
    one.line.sub = "start-pre".into();
    one.line.job = Some((12, JobVerb::Start));
    one.main = None;
    one.deadline = Some(NOW + 87_000_000);
    one.restart_at = Some(NOW + 4_000_000);
    let fake = machine(vec![one]);
    let run = sctl(&fake, &["status", "slow", "--root=/nonexistent"]);
    assert_eq!(run.code, 3);
    assert_eq!(
        run.out,
        "\
↻ slow.service — The slow of the test
  state     activating (start-pre) since 2026-11-22 21:17:58 UTC, for 2min 5s
  deadline  gives up in 1min 27s
  file      /usr/lib/sysmaster/system/slow.service
  job       #12 start, waiting for 3s, after network.target
  restarts  the next restart is due in 4s
"
    );
}

#[test]
fn a_unit_kept_down_by_a_condition() {
    let mut one = detail("cond.service");
    one.line.active = ActiveState::Inactive;
    one.line.sub = "dead".into();
    one.main = None;
    one.since = 0;
    one.cgroup = "system.slice/cond.service".into();
    one.condition = "PathExists=/nix".into();
    let fake = machine(vec![one]);
    let run = sctl(&fake, &["status", "cond", "--root=/nonexistent"]);
    assert_eq!(run.code, 3);
    assert_eq!(
        run.out,
        "\
○ cond.service — The cond of the test
  state     inactive (dead)
  file      /usr/lib/sysmaster/system/cond.service
  condition PathExists=/nix does not hold
"
    );
}

#[test]
fn no_such_unit_is_four() {
    let fake = machine(vec![]);
    let run = sctl(&fake, &["status", "nix"]);
    assert_eq!(
        (run.code, run.err.as_str()),
        (4, "sctl: there is no unit nix.service\n")
    );
    let mut ghost = detail("ghost.service");
    ghost.line.load = "not-found".into();
    ghost.line.active = ActiveState::Inactive;
    let fake = machine(vec![ghost]);
    assert_eq!(sctl(&fake, &["status", "ghost"]).code, 4);
    assert_eq!(sctl(&fake, &["is-active", "ghost"]).code, 4);
}

#[test]
fn on_a_narrow_terminal_nothing_is_wider_than_it() {
    let mut one = detail("web.service");
    one.status = "a status line that goes on and on and on and on and on".into();
    let fake = machine(vec![one]);
    let socket = format!("--socket={}", fake.path.display());
    let run = sctl_alone(&[&socket, "status", "web", "--root=/nonexistent"], Some(40));
    let status = run
        .out
        .lines()
        .find(|line| line.contains("status"))
        .unwrap();
    assert_eq!(status, "  status    a status line that goes on …");
    let run = sctl_alone(
        &[&socket, "status", "web", "--full", "--root=/nonexistent"],
        Some(40),
    );
    assert!(run.out.contains("on and on and on and on and on\n"));
}

#[test]
fn is_active_and_is_failed() {
    let fake = machine(vec![detail("a.service"), failed()]);
    for (args, code, out) in [
        (&["is-active", "a"][..], 0, "active\n"),
        (&["is-active", "bad"], 3, "failed\n"),
        (&["is-active", "bad", "a"], 0, "failed\nactive\n"),
        (&["is-active", "nix"], 4, "inactive\n"),
        (&["is-active", "-q", "a"], 0, ""),
        (&["is-failed", "bad"], 0, "failed\n"),
        (&["is-failed", "a"], 1, "active\n"),
        (&["is-failed", "nix"], 1, "inactive\n"),
        (&["is-system-running"], 0, "running\n"),
    ] {
        let run = sctl(&fake, args);
        assert_eq!((run.code, run.out.as_str()), (code, out), "{args:?}");
    }
}

#[test]
fn the_list_of_units() {
    let fake = machine(vec![failed(), detail("a.service"), {
        let mut one = detail("a.target");
        one.line.sub = "active".into();
        one.line.job = Some((3, JobVerb::Stop));
        one
    }]);
    let run = sctl(&fake, &["list-units"]);
    assert_eq!(
        run.out,
        "\
UNIT         LOAD    ACTIVE  SUB            DESCRIPTION
a.service    loaded  active  running        The a of the test
bad.service  loaded  failed  failed         The bad of the test
a.target     loaded  active  active [stop]  The a of the test
3 units, 1 failed; --all lists those that are down too
"
    );
    let run = sctl(&fake, &["--failed", "--plain"]);
    assert_eq!(
        run.out,
        "bad.service  loaded  failed  failed  The bad of the test\n"
    );
    let run = sctl(&fake, &["list-units", "-t", "target", "--no-legend"]);
    assert_eq!(
        run.out,
        "a.target  loaded  active  active [stop]  The a of the test\n"
    );
    let run = sctl(&fake, &["list-units", "--state=failed", "--json"]);
    assert_eq!(
        run.out,
        "[{\"active\":\"failed\",\"description\":\"The bad of the test\",\"job\":null,\"load\":\"loaded\",\"sub\":\"failed\",\"unit\":\"bad.service\"}]\n"
    );
}

#[test]
fn the_list_of_jobs() {
    let mut one = detail("slow.service");
    one.line.job = Some((12, JobVerb::Start));
    let fake = machine(vec![one]);
    assert_eq!(
        sctl(&fake, &["list-jobs"]).out,
        "\
UNIT          JOB  WHAT   FOR  STATE
slow.service  12   start  3s   waits for network.target
"
    );
    assert_eq!(
        sctl(&machine(vec![]), &["list-jobs"]).err,
        "no job is queued\n"
    );
}

#[test]
fn properties() {
    let fake = machine(vec![failed()]);
    let run = sctl(
        &fake,
        &[
            "show",
            "bad",
            "-p",
            "Id,ActiveState,execmainstatus,NRestarts",
        ],
    );
    assert_eq!(
        run.out,
        "Id=bad.service\nActiveState=failed\nExecMainStatus=203\nNRestarts=5\n"
    );
    assert_eq!(
        sctl(&fake, &["show", "bad", "--value", "-p", "MainPID"]).out,
        "0\n"
    );
    assert_eq!(
        sctl(&fake, &["show", "-P", "Requires", "bad"]).out,
        "sysinit.target\n"
    );
    let run = sctl(&fake, &["show", "nix", "-p", "LoadState"]);
    assert_eq!((run.code, run.out.as_str()), (0, "LoadState=not-found\n"));
    assert!(sctl(&fake, &["show"]).out.contains("SystemState=running\n"));
}

#[test]
fn the_tree_of_needs_marks_what_comes_again() {
    let edges = [
        ("top.target", "a.service", "Wants"),
        ("top.target", "b.service", "Requires"),
        ("top.target", "z.service", "After"),
        ("a.service", "base.target", "Requires"),
        ("b.service", "base.target", "Requires"),
        ("base.target", "c.service", "Wants"),
        ("c.service", "top.target", "Wants"),
    ];
    let fake = Fake::new(move |request, _| match request {
        Request::Show { unit } => vec![Step::Say(Reply::Detail(detail(unit)))],
        _ => edges
            .map(|(from, to, kind)| {
                Step::Say(Reply::Edge {
                    from: from.into(),
                    to: to.into(),
                    kind: kind.into(),
                    active: ActiveState::Active,
                })
            })
            .into(),
    });
    assert_eq!(
        sctl(&fake, &["list-dependencies", "top.target"]).out,
        "\
● top.target
● ├─a.service
● │ └─base.target
● │   └─c.service
● │     └─top.target …
● └─b.service
●   └─base.target …
"
    );
    let run = sctl(&fake, &["list-dependencies", "top.target", "--after"]);
    assert_eq!(run.out, "● top.target\n● └─z.service\n");
}

#[test]
fn the_machine() {
    let fake = machine(vec![detail("a.service"), failed()]);
    let run = sctl(&fake, &["status"]);
    assert_eq!(run.code, 0);
    let head: Vec<&str> = run.out.lines().take(6).collect();
    assert_eq!(
        head,
        [
            "● board",
            "  state     running; 3 units, 0 failed, 0 jobs",
            "  since     2026-11-22 21:16:44 UTC, for 3min 19s; default target after 1.2s",
            "  manager   sysmaster 0.1.0 (b1), pid 2",
            "  helpers   service (pid 3)",
            "  failed    bad.service — The bad of the test",
        ]
    );
    let run = sctl(&fake, &["status", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(value["manager"]["helpers"][0]["type"], "service");
    assert_eq!(value["failed"][0]["unit"], "bad.service");
}

#[test]
fn help_and_errors() {
    let run = sctl_alone(&["help"], None);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("list-dependencies"));
    assert!(
        run.out.lines().all(|line| line.chars().count() <= 100),
        "{}",
        run.out
    );
    let run = sctl_alone(&["statsu"], None);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.err,
        "sctl: there is no command \"statsu\"; did you mean status?\n"
    );
}

#[test]
fn the_last_lines_of_output_that_goes_into_a_file() {
    let root = std::env::temp_dir().join(format!("sctl-output-{}", std::process::id()));
    let units = root.join("etc/sysmaster/system");
    std::fs::create_dir_all(&units).unwrap();
    std::fs::create_dir_all(root.join("var/log")).unwrap();
    let unit = "[Service]\nExecStart=/bin/true\nStandardOutput=append:/var/log/web\nStandardError=file:/var/log/%N.err\n";
    std::fs::write(units.join("web.service"), unit).unwrap();
    std::fs::write(root.join("var/log/web"), "one\ntwo\nthree\n").unwrap();
    std::fs::write(root.join("var/log/web.err"), "oh\n").unwrap();
    let fake = machine(vec![detail("web.service")]);
    let root = format!("--root={}", root.display());
    let run = sctl(&fake, &["status", "web", "--lines=2", &root]);
    let shown = "
  output    /var/log/web
            two
            three
  output    /var/log/web.err
            oh
";
    assert!(run.out.ends_with(shown), "{}", run.out);
    let run = sctl(&fake, &["status", "web", "-n0", &root]);
    assert!(!run.out.contains("output"), "{}", run.out);
    let run = sctl(&fake, &["status", "web", "--lines=some", &root]);
    assert_eq!(run.code, 1);
}

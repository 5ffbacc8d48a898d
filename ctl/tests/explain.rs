//! Plans, reasons and the picture of the boot: what is made of the manager's answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod support;

use support::*;
use units::state::{ActiveState, JobMode, JobResult, JobVerb};
use units::wire::control::{JobLine, PlannedJob, Reply, Request, UnitDetail, UnitHistory};

fn job(unit: &str, verb: JobVerb, cause: (&str, &str), fate: &str, after: &[u32]) -> PlannedJob {
    PlannedJob {
        unit: unit.into(),
        verb,
        cause: cause.0.into(),
        cause_unit: cause.1.into(),
        needed: true,
        fate: fate.into(),
        queued: (fate == "joins" || fate == "replaces").then_some((4, JobVerb::Stop)),
        after: after.into(),
        waits_for: Vec::new(),
    }
}

fn planned() -> Vec<Step> {
    let start = JobVerb::Start;
    let jobs = vec![
        job("app.target", start, ("command", ""), "new", &[1, 2]),
        job("web.service", start, ("Wants", "app.target"), "new", &[3]),
        job("log.service", start, ("Wants", "app.target"), "new", &[]),
        job(
            "db.service",
            start,
            ("Requires", "web.service"),
            "replaces",
            &[],
        ),
        job(
            "old.service",
            JobVerb::Stop,
            ("Conflicts", "db.service"),
            "new",
            &[],
        ),
        job("x.service", start, ("Wants", "app.target"), "cycle", &[]),
        job(
            "up.service",
            start,
            ("Wants", "app.target"),
            "redundant",
            &[],
        ),
        job(
            "down.target",
            JobVerb::Stop,
            ("Conflicts", "up.service"),
            "orphan",
            &[],
        ),
    ];
    let note = "ordering cycle: x goes before x; broken by leaving out x.service";
    let jobs = jobs.into_iter().map(|job| Step::Say(Reply::Planned(job)));
    jobs.chain([Step::Say(Reply::Findings(vec![note.into()]))])
        .collect()
}

#[test]
fn a_plan_is_drawn_in_waves_with_the_chain_of_causes() {
    let fake = Fake::new(|_, _| planned());
    let run = sctl(&fake, &["plan", "start", "app.target"]);
    assert_eq!(
        run.out,
        "\
start app.target: 5 jobs in 3 waves, 1 left out
  1 ┬ db.service   start  replaces the queued stop  ← web.service (Requires) ← app.target (Wants)
    ├ log.service  start                            ← app.target (Wants)
    └ old.service  stop                             ← db.service (Conflicts) ← web.service (Requires) ← app.target (Wants)
  2 ─ web.service  start                            ← app.target (Wants)
  3 ─ app.target   start                            asked for
      x.service    -      on an ordering cycle      ← app.target (Wants)
      up already: up.service
  ! ordering cycle: x goes before x; broken by leaving out x.service
"
    );
    let units = vec!["app.target".to_owned()];
    let (verb, mode, atomic) = (JobVerb::Start, JobMode::Replace, false);
    assert_eq!(
        fake.requests(),
        [Request::Plan {
            verb,
            units,
            mode,
            atomic
        }]
    );
    let run = sctl(&fake, &["plan", "--all", "start", "app.target"]);
    assert!(
        run.out.contains("what pulled it in is left out"),
        "{}",
        run.out
    );
}

#[test]
fn a_plan_of_isolation_and_what_is_no_plan() {
    let fake = Fake::new(|_, _| Vec::new());
    let run = sctl(&fake, &["plan", "isolate", "rescue"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, "isolate rescue.target: nothing to do\n")
    );
    let asked = fake.requests();
    assert!(
        matches!(
            &asked[0],
            Request::Plan {
                mode: JobMode::Isolate,
                ..
            }
        ),
        "{asked:?}"
    );
    for words in [
        &["plan", "status", "a"][..],
        &["plan", "frob", "a"],
        &["plan", "start"],
    ] {
        let run = sctl(&fake, words);
        assert!(run.code != 0 && run.err.contains("plan"), "{}", run.err);
    }
}

#[test]
fn a_plan_in_json() {
    let fake = Fake::new(|_, _| planned());
    let run = sctl(&fake, &["plan", "--json", "start", "app.target"]);
    let value: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(value["jobs"][0]["wave"], 3);
    assert_eq!(value["jobs"][0]["after"][0], "web.service");
    assert_eq!(value["jobs"][3]["fate"], "replaces");
    assert_eq!(value["jobs"][5]["wave"], 0);
    assert_eq!(value["notes"].as_array().unwrap().len(), 1);
}

/// A machine that knows these units, with what is remembered of them.
fn machine(known: Vec<(UnitDetail, UnitHistory)>, jobs: Vec<JobLine>) -> Fake {
    Fake::new(move |request, _| match request {
        Request::Manager => vec![Step::Say(Reply::Manager(manager()))],
        Request::ListJobs => jobs
            .iter()
            .cloned()
            .map(|job| Step::Say(Reply::Job(job)))
            .collect(),
        Request::Show { unit } => {
            let one = known.iter().find(|one| one.0.line.name == *unit).unwrap();
            vec![Step::Say(Reply::Detail(one.0.clone()))]
        }
        Request::History { units } => known
            .iter()
            .filter(|one| units.is_empty() || units.contains(&one.1.unit))
            .map(|one| Step::Say(Reply::History(one.1.clone())))
            .collect(),
        other => panic!("{other:?}"),
    })
}

fn unit(name: &str, cause: &str, of: &str) -> (UnitDetail, UnitHistory) {
    let mut remembered = history(name);
    remembered.job = Some(past(cause, of));
    let mut known = detail(name);
    known.dependencies = Vec::new();
    (known, remembered)
}

#[test]
fn why_a_unit_is_up() {
    let known = vec![
        unit("db.service", "Requires", "web.service"),
        unit("web.service", "Wants", "multi-user.target"),
        unit("multi-user.target", "boot", ""),
    ];
    let run = sctl(&machine(known, Vec::new()), &["why", "db"]);
    assert_eq!(
        run.out,
        "\
● db.service is active, for 2min 5s
  job       start: done, 3min 18s ago, after 600ms
  because   web.service has Requires=db.service
  because   multi-user.target has Wants=web.service
  because   the machine booted to it
"
    );
}

/// A cause that was asked for something else since cannot say any more why it wanted the unit.
#[test]
fn a_chain_ends_where_memory_ends() {
    let mut known = vec![
        unit("db.service", "Requires", "web.service"),
        unit("web.service", "command", ""),
    ];
    known[1].1.job.as_mut().unwrap().asked = 90_000_000;
    let run = sctl(&machine(known, Vec::new()), &["why", "db"]);
    assert!(
        run.out
            .ends_with("because   web.service has Requires=db.service\n"),
        "{}",
        run.out
    );
}

#[test]
fn why_a_unit_has_failed_and_who_is_to_blame() {
    let mut web = unit("web.service", "Wants", "multi-user.target");
    web.0.line.active = ActiveState::Inactive;
    web.0.since = 0;
    web.0.dependencies = vec![("WantedBy".into(), vec!["multi-user.target".into()])];
    let job = web.1.job.as_mut().unwrap();
    (job.result, job.culprit) = (JobResult::Dependency, "db.service".into());
    let mut db = unit("db.service", "Requires", "web.service");
    db.0.line.active = ActiveState::Failed;
    db.0.result = "exit-code".into();
    db.0.detail = "ExecStart= exited with code 3".into();
    db.0.exit = Some(units::state::Exit::Code(3));
    db.1.job.as_mut().unwrap().result = JobResult::Failed;
    db.1.limit_hit = true;
    let fake = machine(
        vec![web, db, unit("multi-user.target", "boot", "")],
        Vec::new(),
    );
    let run = sctl(&fake, &["why", "web", "db"]);
    assert_eq!(
        run.out,
        "\
○ web.service is inactive
  job       start: dependency, 3min 18s ago, after 600ms
  because   multi-user.target has Wants=web.service
  because   the machine booted to it
  blame     db.service is failed: exit-code; ExecStart= exited with code 3; it ended with exit status 3
  again     started by: multi-user.target (WantedBy); sctl start web.service
× db.service is failed, for 2min 5s
  job       start: failed, 3min 18s ago, after 600ms
  because   web.service has Requires=db.service
  because   multi-user.target has Wants=web.service
  because   the machine booted to it
  result    exit-code
  step      ExecStart= exited with code 3
  process   it ended with exit status 3
  limit     it was started too often (StartLimitBurst=): `sctl reset-failed` allows it again
  again     started by: sctl start db.service
"
    );
    let run = sctl(&fake, &["why", "--json", "web"]);
    let value: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(value[0]["blame"][0]["unit"], "db.service");
    assert_eq!(value[0]["wanted"][1]["job"]["cause"], "boot");
}

#[test]
fn why_a_unit_waits() {
    let mut web = unit("web.service", "command", "");
    web.0.line.active = ActiveState::Inactive;
    web.0.since = 0;
    web.0.line.job = Some((7, JobVerb::Start));
    web.1.job.as_mut().unwrap().ended = 0;
    let line = |id, unit: &str, running, after: &[&str]| JobLine {
        id,
        unit: unit.into(),
        verb: JobVerb::Start,
        running,
        since: NOW - 6_000_000,
        deadline: running.then_some(NOW + 84_000_000),
        waits_for: after.iter().map(|unit| (*unit).into()).collect(),
    };
    let jobs = vec![
        line(7, "web.service", false, &["a.target", "db.service"]),
        line(8, "a.target", false, &["db.service"]),
        line(9, "db.service", true, &[]),
    ];
    let run = sctl(&machine(vec![web], jobs), &["why", "web"]);
    assert_eq!(
        run.out,
        "\
○ web.service is inactive
  job       start, queued 3min 18s ago
  waits     web.service start, queued for 6s, after 2 jobs
  for       db.service start, under way for 6s of 1min 30s
  because   somebody's command: sctl start web.service
"
    );
}

#[test]
fn why_a_unit_is_down() {
    let dir = std::env::temp_dir().join(format!("sctl-why-{}", std::process::id()));
    std::fs::write(&dir, "[Unit]\nConditionPathExists = /nix\n").unwrap();
    let mut skipped = unit("skipped.service", "boot", "");
    skipped.1.job.as_mut().unwrap().result = JobResult::Skipped;
    skipped.0.condition = "PathExists=/nix".into();
    skipped.0.fragment = dir.to_str().unwrap().into();
    let mut never = unit("never.service", "", "");
    never.1.job = None;
    let mut stopped = unit("stopped.service", "Conflicts", "other.service");
    stopped.1.job.as_mut().unwrap().verb = JobVerb::Stop;
    let mut known = vec![
        skipped,
        never,
        stopped,
        unit("other.service", "command", ""),
    ];
    for one in &mut known {
        one.0.line.active = ActiveState::Inactive;
        one.0.since = 0;
    }
    let fake = machine(known, Vec::new());
    let run = sctl(&fake, &["why", "skipped", "never", "stopped"]);
    std::fs::remove_file(&dir).unwrap();
    let place = format!(
        "condition {}:2: PathExists=/nix does not hold\n",
        dir.display()
    );
    assert!(run.out.contains(&place), "{}", run.out);
    assert!(
        run.out.contains("nothing and nobody asked for it"),
        "{}",
        run.out
    );
    assert!(
        run.out.contains("because   other.service has Conflicts=stopped.service\n  because   somebody's command: sctl start other.service\n"),
        "{}",
        run.out
    );
}

fn booted() -> Fake {
    let mut known = vec![
        unit("a.service", "Wants", "t.target"),
        unit("b.service", "Wants", "t.target"),
        unit("c.service", "Wants", "t.target"),
        unit("t.target", "boot", ""),
        unit("later.service", "command", ""),
        unit("odd<&>.service", "boot", ""),
    ];
    let set = |one: &mut (UnitDetail, UnitHistory), began, there, before: &str| {
        (one.1.times.inactive_exit, one.1.times.active_enter) = (began, there);
        one.1.before = before.into();
    };
    set(&mut known[0], 1_100_000, 1_400_000, "");
    set(&mut known[1], 1_400_000, 2_100_000, "a.service");
    set(&mut known[2], 1_400_000, 0, "a.service");
    known[2].1.times.inactive_enter = 1_450_000;
    known[2].1.active = ActiveState::Failed;
    set(&mut known[3], 2_200_000, 2_200_000, "b.service");
    set(&mut known[4], 9_000_000, 9_500_000, "");
    machine(known, Vec::new())
}

#[test]
fn what_took_long_and_what_waited_for_what() {
    let fake = booted();
    let run = sctl(&fake, &["blame"]);
    assert_eq!(
        run.out,
        "    700ms  b.service\n    300ms  a.service\n    200ms  odd<&>.service\n     50ms  c.service       failed\n"
    );
    let run = sctl(&fake, &["critical-chain"]);
    assert_eq!(
        run.out,
        "t.target @1.2s\n└─b.service @1.1s +700ms\n  └─a.service @400ms +300ms\n"
    );
    let run = sctl(&fake, &["critical-chain", "c"]);
    assert_eq!(
        run.out,
        "c.service @450ms +50ms\n└─a.service @400ms +300ms\n"
    );
    assert_eq!(sctl(&fake, &["critical-chain", "nothere"]).code, 1);
}

#[test]
fn the_picture_of_the_boot() {
    let fake = booted();
    let run = sctl(&fake, &["boot-chart"]);
    assert!(run.out.starts_with("<svg ") && run.out.ends_with("</svg>\n"));
    assert!(run.out.contains("odd&lt;&amp;&gt;.service") && !run.out.contains("later.service"));
    // Every tag is closed: one that opens, for one that ends, or ends itself.
    let tags = |what: &str| run.out.matches(what).count();
    assert_eq!(tags("<text"), tags("</text>"));
    assert_eq!(tags("<rect") + tags("<path"), tags("/>"));
    let critical = ["a.service", "b.service", "t.target"];
    for unit in critical {
        assert!(
            run.out
                .lines()
                .any(|line| line.contains("class=\"n c\"") && line.contains(unit))
        );
    }
    assert_eq!(run.out.matches("class=\"n c\"").count(), critical.len());
    assert_eq!(
        run.out.matches("<rect class=\"f\"").count(),
        2,
        "the failed unit, and the key"
    );

    let path = std::env::temp_dir().join(format!("sctl-chart-{}", std::process::id()));
    let name = path.to_str().unwrap();
    assert_eq!(sctl(&fake, &["boot-chart", name]).code, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), run.out);
    std::fs::remove_file(path).unwrap();
    assert_eq!(sctl(&fake, &["boot-chart", "/nonexistent/x"]).code, 1);
}

#[test]
fn the_times_systemd_has_are_properties() {
    let fake = machine(vec![unit("a.service", "boot", "")], Vec::new());
    let run = sctl(&fake, &["show", "-p", "ActiveEnterTimestampMonotonic", "a"]);
    assert_eq!(run.out, "ActiveEnterTimestampMonotonic=1700000\n");
}

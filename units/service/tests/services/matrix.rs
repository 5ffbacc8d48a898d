//! The helper is killed at every step; services do not notice, and nothing is done twice.

use super::Scenario;
use super::rig::{Rig, Transport};
use units::state::{ActiveState, Exit, Outcome};
use units::wire::helper::{END_UNKNOWN, Verb};

pub const ALL: &[Scenario] = &[
    ("taken over: running", running),
    ("taken over: died in the outage", died),
    ("taken over: died, and nobody knows how", died_unseen),
    ("taken over: died, and told late", told_late),
    ("taken over: in each step", each_step),
    ("taken over: forking", forking),
    ("taken over: a command again", again),
    ("taken over: time-outs go on", timeouts),
    ("taken over: twenty times", twenty),
    ("fault points", fault_points),
];

fn running(rig: &mut Rig) {
    rig.load("a.service", "ExecStart=/bin/sleep 1000\n");
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    rig.until("its identity is known", |rig| {
        rig.reports["a.service"].main.is_some()
    });
    let before = rig.reports["a.service"].clone();
    rig.kill_helper();
    rig.reports.clear();
    rig.helper();
    let after = &rig.reports["a.service"];
    assert_eq!(after.active, ActiveState::Active);
    assert_eq!(
        (after.since, after.invocation),
        (before.since, before.invocation)
    );
    assert_eq!(after.main.unwrap().pid, before.main.unwrap().pid);
    assert!(after.main.unwrap().start > 0);
    assert!(platform::process::is_alive(after.main.unwrap().into()));
    assert_eq!(rig.stop("a.service"), Outcome::Done);
}

fn died(rig: &mut Rig) {
    rig.load("a.service", "Restart=always\nExecStart=/bin/sleep 1000\n");
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    let main = rig.reports["a.service"].main.unwrap();
    rig.kill_helper();
    platform::process::kill(main.into(), 9).unwrap();
    rig.within(50_000, |_| false);
    rig.helper();
    rig.is("a.service", ActiveState::Failed);
    let report = &rig.reports["a.service"];
    assert_eq!(
        (report.result.as_str(), report.exit),
        ("signal", Some(Exit::Signal(9)))
    );
    assert!(report.restart.is_some());
}

fn died_unseen(rig: &mut Rig) {
    rig.load("a.service", "Restart=always\nExecStart=/bin/sleep 1000\n");
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    let main = rig.reports["a.service"].main.unwrap();
    rig.kill_helper();
    platform::process::kill(main.into(), 9).unwrap();
    rig.until("its end", |rig| !rig.exits.is_empty());
    for (_, status) in &mut rig.exits {
        *status = END_UNKNOWN;
    }
    rig.helper();
    rig.is("a.service", ActiveState::Failed);
    let report = &rig.reports["a.service"];
    assert_eq!(report.result, "interrupted");
    assert_eq!(report.exit, None);
    assert!(report.restart.is_some());
}

/// Init keeps what it has told nobody; until there is a manager to pass it on, nobody is late.
fn told_late(rig: &mut Rig) {
    rig.load("a.service", "ExecStart=/bin/sleep 1000\n");
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    let main = rig.reports["a.service"].main.unwrap();
    rig.kill_helper();
    platform::process::kill(main.into(), 9).unwrap();
    rig.until("its end", |rig| !rig.exits.is_empty());
    let told = std::mem::take(&mut rig.exits);
    rig.helper();
    rig.manager_away(std::time::Duration::from_millis(5500));
    rig.exits = told;
    rig.manager_away(std::time::Duration::ZERO);
    rig.is("a.service", ActiveState::Failed);
    let report = &rig.reports["a.service"];
    assert_eq!(report.exit, Some(Exit::Signal(9)));
    assert_eq!(report.result, "signal");
}

/// Each command says that it ran, then waits for the word to go on.
fn step(name: &str) -> String {
    format!("/bin/sh -c 'echo {name} >>@D/out; while ! test -e @D/{name}; do sleep 0.01; done'")
}

fn each_step(rig: &mut Rig) {
    rig.load(
        "a.service",
        &format!(
            "Type=oneshot\nRemainAfterExit=yes\nExecCondition={}\nExecStartPre={}\nExecStart={}\n\
             ExecStart={}\nExecStartPost={}\nExecStop={}\nExecStopPost={}\n",
            step("cond"),
            step("pre"),
            step("one"),
            step("two"),
            step("post"),
            step("stop"),
            step("late"),
        ),
    );
    rig.helper();
    let mut seq = rig.command("a.service", Verb::Start);
    let mut done = String::new();
    for name in ["cond", "pre", "one", "two", "post", "stop", "late"] {
        if name == "stop" {
            assert_eq!(rig.outcome("a.service", seq), Outcome::Done);
            seq = rig.command("a.service", Verb::Stop);
        }
        done.push_str(name);
        done.push('\n');
        rig.reads("out", &done);
        rig.kill_helper();
        if name.len() == 3 {
            // Half of the steps end while nobody looks.
            std::fs::write(rig.directory.join(name), "").unwrap();
            rig.within(40_000, |_| false);
        }
        rig.helper();
        std::fs::write(rig.directory.join(name), "").unwrap();
    }
    assert_eq!(rig.outcome("a.service", seq), Outcome::Done);
    assert_eq!(rig.active("a.service"), ActiveState::Inactive);
    assert_eq!(rig.read("out"), done);
}

fn forking(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Type=forking\nPIDFile=@D/pid\nExecStart=/bin/sh -c 'setsid sleep 1000 & \
         (while ! test -e @D/go; do sleep 0.01; done; echo '$!' >@D/pid) &'\n",
    );
    rig.helper();
    let seq = rig.command("a.service", Verb::Start);
    rig.within(100_000, |_| false);
    rig.kill_helper();
    std::fs::write(rig.directory.join("go"), "").unwrap();
    rig.helper();
    assert_eq!(
        rig.outcome("a.service", seq),
        Outcome::Done,
        "{:?}",
        rig.reports
    );
    let main = rig.reports["a.service"].main.unwrap();
    rig.kill_helper();
    rig.helper();
    assert_eq!(rig.reports["a.service"].main, Some(main));
    platform::process::kill(main.into(), 9).unwrap();
    rig.is("a.service", ActiveState::Failed);
}

fn again(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Type=oneshot\nExecStart=/bin/sh -c 'echo ran >>@D/out'\n",
    );
    rig.helper();
    let seq = rig.command("a.service", Verb::Start);
    assert_eq!(rig.outcome("a.service", seq), Outcome::Done);
    let invocation = rig.reports["a.service"].invocation;
    rig.kill_helper();
    rig.helper();
    let command = units::wire::helper::Command {
        unit: "a.service".into(),
        invocation,
        seq,
        verb: Verb::Start,
    };
    rig.reports.clear();
    rig.send(units::wire::helper::ToHelper::Command(command), None);
    assert_eq!(rig.outcome("a.service", seq), Outcome::Done);
    assert!(!rig.within(100_000, |rig| rig.read("out") != "ran\n"));
}

fn timeouts(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Type=oneshot\nTimeoutStartSec=400ms\nExecStart=/bin/sleep 1000\n",
    );
    rig.helper();
    let begun = platform::clock::now();
    let seq = rig.command("a.service", Verb::Start);
    rig.within(200_000, |_| false);
    rig.kill_helper();
    rig.helper();
    assert_eq!(rig.outcome("a.service", seq), Outcome::Failed);
    let took = platform::clock::now() - begun;
    assert!((400_000..2_000_000).contains(&took), "{took}");
    assert_eq!(rig.reports["a.service"].result, "timeout");
}

fn twenty(rig: &mut Rig) {
    for number in 0..10 {
        rig.load(&format!("a{number}.service"), "ExecStart=/bin/sleep 1000\n");
    }
    rig.helper();
    for number in 0..10 {
        assert_eq!(rig.start(&format!("a{number}.service")), Outcome::Done);
    }
    let pids = |rig: &Rig| -> Vec<u32> {
        rig.reports
            .values()
            .map(|report| report.main.unwrap().pid)
            .collect()
    };
    let before = pids(rig);
    for _ in 0..20 {
        rig.kill_helper();
        rig.reports.clear();
        rig.helper();
        assert_eq!(pids(rig), before);
    }
    for number in 0..10 {
        assert_eq!(rig.stop(&format!("a{number}.service")), Outcome::Done);
    }
}

/// The helper kills itself, or is killed by its child, at each point between slot and exec and
/// between exit and record; the command runs exactly once.
fn fault_points(rig: &mut Rig) {
    if rig.transport() != Transport::Process {
        return;
    }
    rig.load(
        "a.service",
        "Type=oneshot\nExecStart=/bin/sh -c 'echo ran >>@D/out'\n",
    );
    rig.load(
        "b.service",
        "ExecStart=/bin/sh -c 'echo ran >>@D/out; exec sleep 1000'\n",
    );
    for unit in ["a.service", "b.service"] {
        for point in [
            "slot-claimed",
            "forked",
            "child-born",
            "slot-filled",
            "before-exec",
            "exit-peeked",
            "exit-recorded",
        ] {
            let _ = std::fs::remove_file(rig.directory.join("out"));
            rig.fault = Some(point.into());
            rig.helper();
            rig.fault = None;
            let seq = rig.command(unit, Verb::Start);
            if unit == "b.service" && point.starts_with("exit") {
                rig.until("it runs", |rig| rig.read("out") == "ran\n");
                let main = rig.reports[unit].main.unwrap();
                platform::process::kill(main.into(), 15).unwrap();
            }
            rig.until(point, |rig| !rig.has_helper());
            rig.reports.clear();
            rig.helper();
            assert_eq!(rig.outcome(unit, seq), Outcome::Done, "{unit} {point}");
            rig.reads("out", "ran\n");
            if unit == "b.service" {
                rig.stop(unit);
            }
            assert!(
                !rig.within(80_000, |rig| rig.read("out") != "ran\n"),
                "{unit} {point}"
            );
            rig.kill_helper();
        }
    }
}

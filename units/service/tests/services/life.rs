//! Lives of services.

use super::Scenario;
use super::rig::Rig;
use units::state::{ActiveState, Exit, Outcome, Whom};
use units::wire::helper::{About, ToHelper, Verb};

pub const ALL: &[Scenario] = &[
    ("simple", simple),
    ("exec", exec),
    ("oneshot sequence", oneshot),
    ("conditions and steps", steps),
    ("forking with a PID file", forking),
    ("forking with a late PID file", forking_late),
    ("forking with a guess", forking_guess),
    ("stop time-out", stop_timeout),
    ("start time-out", start_timeout),
    ("kill modes", kill_modes),
    ("restart wish", restart),
    ("restart kill signal", restart_kill_signal),
    ("reload", reload),
    ("kill", kill),
];

fn simple(rig: &mut Rig) {
    rig.load(
        "a.service",
        "ExecStart=/bin/sh -c 'echo up >@D/out; exec sleep 1000'",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    assert_eq!(rig.active("a.service"), ActiveState::Active);
    rig.reads("out", "up\n");
    let main = rig.reports["a.service"].main.unwrap();
    assert_eq!(rig.stop("a.service"), Outcome::Done);
    assert_eq!(rig.active("a.service"), ActiveState::Inactive);
    assert!(!platform::process::is_alive(main.into()));
    assert_eq!(rig.reports["a.service"].exit, Some(Exit::Signal(15)));
    // A second time, in the same control group.
    assert_eq!(rig.start("a.service"), Outcome::Done);
    assert_eq!(rig.stop("a.service"), Outcome::Done);
}

fn exec(rig: &mut Rig) {
    rig.load("a.service", "Type=exec\nExecStart=/bin/sleep 1000");
    rig.load("b.service", "Type=exec\nExecStart=/no/such/program");
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    assert_eq!(rig.start("b.service"), Outcome::Failed);
    let report = &rig.reports["b.service"];
    assert_eq!(report.active, ActiveState::Failed);
    assert_eq!(report.exit, Some(Exit::Code(203)));
    assert!(report.detail.contains("EXEC") && report.detail.contains("/no/such/program"));
    assert_eq!(rig.stop("a.service"), Outcome::Done);
}

fn oneshot(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Type=oneshot\nExecStart=/bin/sh -c 'echo 1 >>@D/out'\nExecStart=-/bin/false\n\
         ExecStart=/bin/sh -c 'echo 2 >>@D/out'\n",
    );
    rig.load(
        "b.service",
        "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStart=/bin/false\n\
         ExecStart=/bin/sh -c 'echo never >>@D/out'\nExecStopPost=/bin/sh -c \
         'echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS >@D/post'\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    assert_eq!(rig.active("a.service"), ActiveState::Inactive);
    assert_eq!(rig.read("out"), "1\n2\n");
    assert_eq!(rig.start("b.service"), Outcome::Failed);
    assert_eq!(rig.active("b.service"), ActiveState::Failed);
    assert_eq!(rig.read("post"), "exit-code exited 1\n");
    assert!(rig.reports["b.service"].detail.contains("command 2 of 3"));
    assert_eq!(rig.read("out"), "1\n2\n");
}

fn steps(rig: &mut Rig) {
    rig.load(
        "a.service",
        "ExecCondition=/bin/sh -c 'echo cond >>@D/out'\nExecStartPre=/bin/sh -c 'echo pre >>@D/out'\n\
         ExecStart=/bin/sleep 1000\nExecStartPost=/bin/sh -c 'echo post $MAINPID >>@D/out'\n\
         ExecStop=/bin/sh -c 'echo stop >>@D/out'\nExecStopPost=/bin/sh -c 'echo late >>@D/out'\n",
    );
    rig.load(
        "b.service",
        "ExecCondition=/bin/false\nExecStart=/bin/sleep 1000\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    let pid = rig.reports["a.service"].main.unwrap().pid;
    assert_eq!(rig.stop("a.service"), Outcome::Done);
    assert_eq!(
        rig.read("out"),
        format!("cond\npre\npost {pid}\nstop\nlate\n")
    );
    assert_eq!(rig.start("b.service"), Outcome::Skipped);
    assert_eq!(rig.active("b.service"), ActiveState::Inactive);
}

/// A daemon in the old style: the shell goes, its child stays and is named in a file.
const DAEMON: &str = "Type=forking\nPIDFile=@D/pid\n\
    ExecStart=/bin/sh -c 'setsid sleep 1000 & echo $! >@D/pid'\n";

fn forking(rig: &mut Rig) {
    rig.load("a.service", DAEMON);
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.reports);
    let main = rig.reports["a.service"].main.unwrap();
    assert_eq!(rig.read("pid").trim(), main.pid.to_string());
    assert_eq!(rig.stop("a.service"), Outcome::Done);
    assert!(!platform::process::is_alive(main.into()));
    assert!(!rig.directory.join("pid").exists());
}

fn forking_late(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Type=forking\nPIDFile=@D/pid\nExecStart=/bin/sh -c \
         '(sleep 0.1; echo $$$$ >@D/none; setsid sleep 1000 & echo $! >@D/pid) &'\n",
    );
    rig.load(
        "b.service",
        "Type=forking\nPIDFile=@D/other\nExecStart=/bin/true\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.reports);
    assert!(rig.reports["a.service"].main.is_some());
    assert_eq!(rig.start("b.service"), Outcome::Failed);
    assert_eq!(rig.reports["b.service"].result, "protocol");
}

fn forking_guess(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Type=forking\nExecStart=/bin/sh -c 'sleep 1000 &'\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    let main = rig.reports["a.service"].main.unwrap();
    platform::process::kill(main.into(), 9).unwrap();
    rig.is("a.service", ActiveState::Failed);
    assert_eq!(rig.reports["a.service"].result, "signal");
}

const STUBBORN: &str =
    "/bin/sh -c 'trap : TERM; echo ready >@D/ready; while :; do sleep 0.05; done'";

fn stop_timeout(rig: &mut Rig) {
    rig.load(
        "a.service",
        &format!("TimeoutStopSec=200ms\nExecStart={STUBBORN}\n"),
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    rig.reads("ready", "ready\n");
    assert_eq!(rig.stop("a.service"), Outcome::Done);
    let report = &rig.reports["a.service"];
    assert_eq!(
        (report.active, report.result.as_str()),
        (ActiveState::Failed, "timeout")
    );
    assert_eq!(report.exit, Some(Exit::Signal(9)));
}

fn start_timeout(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Type=oneshot\nTimeoutStartSec=200ms\nExecStart=/bin/sleep 1000\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Failed);
    assert_eq!(rig.reports["a.service"].result, "timeout");
}

fn kill_modes(rig: &mut Rig) {
    let script = "ExecStart=/bin/sh -c 'sleep 1000 & echo $! >@D/child; exec sleep 1001'\n";
    let child = |rig: &Rig| rig.read("child").trim().parse::<u32>().unwrap();
    for (mode, survives) in [
        ("control-group", false),
        ("mixed", false),
        ("process", true),
        ("none", true),
    ] {
        rig.load("a.service", &format!("KillMode={mode}\n{script}"));
        if !rig.has_helper() {
            rig.helper();
        }
        let _ = std::fs::remove_file(rig.directory.join("child"));
        assert_eq!(rig.start("a.service"), Outcome::Done);
        rig.until("the child is there", |rig| {
            rig.read("child").ends_with('\n')
        });
        assert_eq!(rig.stop("a.service"), Outcome::Done);
        assert_eq!(rig.active("a.service"), ActiveState::Inactive, "{mode}");
        let pid = child(rig);
        let lives = platform::process::status(pid).is_some_and(|status| !status.is_dead());
        assert_eq!(lives, survives, "{mode}");
        if lives {
            let _ = platform::process::kill_child(pid, 9);
            rig.until("the child is gone", |_| {
                platform::process::status(pid).is_none_or(|status| status.is_dead())
            });
        }
    }
}

fn restart(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Restart=on-failure\nRestartSec=3\nExecStart=/bin/sleep 1000\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    let main = rig.reports["a.service"].main.unwrap();
    platform::process::kill(main.into(), 9).unwrap();
    rig.is("a.service", ActiveState::Failed);
    let report = &rig.reports["a.service"];
    assert_eq!(report.restart.map(|wish| wish.delay), Some(3_000_000));
    assert_eq!(report.exit, Some(Exit::Signal(9)));
    assert_eq!(rig.start("a.service"), Outcome::Done);
    assert_eq!(rig.reports["a.service"].restart, None);
}

fn reload(rig: &mut Rig) {
    rig.load(
        "a.service",
        "ExecStart=/bin/sleep 1000\nExecReload=/bin/sh -c 'echo again >>@D/out; exit $$(cat @D/code)'\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    for (code, outcome) in [("0", Outcome::Done), ("1", Outcome::Failed)] {
        std::fs::write(rig.directory.join("code"), code).unwrap();
        let seq = rig.command("a.service", Verb::Reload);
        assert_eq!(rig.outcome("a.service", seq), outcome, "{:?}", rig.reports);
        assert_eq!(rig.active("a.service"), ActiveState::Active);
    }
    assert_eq!(rig.read("out"), "again\nagain\n");
    // Its configuration goes bad: what runs stops by the old one, the next start is refused.
    rig.load("a.service", "ExecStart=./relative\n");
    assert_eq!(rig.stop("a.service"), Outcome::Done);
    assert_eq!(rig.start("a.service"), Outcome::Failed);
    assert!(
        rig.reports["a.service"]
            .detail
            .contains("/test/a.service:1")
    );
}

fn kill(rig: &mut Rig) {
    rig.load(
        "a.service",
        "ExecStart=/bin/sh -c 'trap \"echo got >>@D/out\" USR1; echo up >@D/up; \
         while :; do sleep 0.02; done'\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    rig.reads("up", "up\n");
    rig.command(
        "a.service",
        Verb::Kill {
            whom: Whom::Main,
            signal: 10,
        },
    );
    rig.reads("out", "got\n");
    assert_eq!(rig.active("a.service"), ActiveState::Active);
}

/// `RestartKillSignal=` is for a stop that a start follows, and for no other.
fn restart_kill_signal(rig: &mut Rig) {
    rig.load(
        "a.service",
        "KillSignal=SIGTERM\nRestartKillSignal=SIGINT\nExecStart=/bin/sleep 1000",
    );
    rig.helper();
    for (restarting, signal) in [(true, 2), (false, 15)] {
        assert_eq!(rig.start("a.service"), Outcome::Done);
        if restarting {
            let about = About {
                unit: "a.service".into(),
                restarting,
                ..About::default()
            };
            rig.send(ToHelper::About(about), None);
        }
        assert_eq!(rig.stop("a.service"), Outcome::Done);
        assert_eq!(rig.reports["a.service"].exit, Some(Exit::Signal(signal)));
    }
}

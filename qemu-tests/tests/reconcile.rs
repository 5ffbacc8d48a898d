//! What is not as it is on record: each difference is made by hand, is found, is seen to by its rule, and is
//! gone afterwards; and nobody else notices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Proc, Setup};
use std::fs;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const KILL: i32 = 9;
const STOP: i32 = 19;

fn machine() -> Option<Machine> {
    let setup = Setup::new()?;
    setup
        .wanted("steady.service", "[Service]\nExecStart=/bin/sleep 7700\n")
        .wanted(
            "speaker.service",
            "[Service]\nNotifyAccess=all\nRuntimeDirectory=speaker\nExecStart=/bin/sleep 7701\n",
        )
        .unit("late.service", "[Service]\nExecStart=/bin/sleep 7702\n")
        .unit(
            "gentle.service",
            "[Service]\nKillMode=process\nExecStart=/bin/sleep 7703\n",
        )
        .unit("new.service", "[Service]\nExecStart=/bin/sleep 7704\n")
        .unit("door.service", "[Service]\nExecStart=/bin/sleep 7705\n")
        .wanted("door.socket", "[Socket]\nListenStream=/run/door\n");
    let machine = setup.boot();
    for unit in ["steady.service", "speaker.service", "door.socket"] {
        machine.wait_state(unit, "active");
    }
    Some(machine)
}

fn found(machine: &Machine) -> Vec<String> {
    let answer = machine.sctl(&["reconcile", "--no-legend"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let lines = answer
        .out
        .lines()
        .filter(|line| !line.starts_with("everything is"));
    lines.map(str::to_owned).collect()
}

/// This difference and no other is found, and it is gone then.
fn finds(machine: &Machine, unit: &str, words: &[&str]) {
    let lines = found(machine);
    let told =
        |line: &String| line.starts_with(unit) && words.iter().all(|word| line.contains(word));
    assert_eq!(lines.len(), 1, "{unit}, {words:?}: {lines:?}");
    assert!(told(&lines[0]), "{unit}, {words:?}: {lines:?}");
}

/// A process of nobody, put into this group.
fn stray(machine: &Machine, group: &str, seconds: u32) {
    let directory = format!("/sys/fs/cgroup/system.slice/{group}");
    let script = format!(
        "mkdir -p {directory} && (echo 0 > {directory}/cgroup.procs; exec setsid sleep {seconds}) > /dev/null 2>&1 &"
    );
    let _ = machine.inside(&["sh", "-c", &script]);
    machine.wait("the stray runs", || {
        machine.running(&format!("sleep {seconds}")).len() == 1
    });
    let cgroup = || {
        let one = machine.running(&format!("sleep {seconds}")).remove(0);
        fs::read_to_string(format!("/proc/{}/cgroup", one.pid)).unwrap_or_default()
    };
    machine.wait("it is in the group", || cgroup().contains(group));
}

fn steady(machine: &Machine) -> Vec<platform::process::ProcId> {
    machine.running("sleep 7700").iter().map(Proc::id).collect()
}

#[test]
fn every_difference_is_found_and_seen_to() {
    let Some(mut machine) = machine() else { return };
    let before = steady(&machine);
    assert_eq!(found(&machine), Vec::<String>::new());

    let notify = fs::read_dir(machine.path("run/sysmaster/notify")).unwrap();
    let sockets: Vec<_> = notify.flatten().map(|entry| entry.path()).collect();
    assert!(!sockets.is_empty());
    fs::remove_file(&sockets[0]).unwrap();
    finds(&machine, "speaker.service", &["socket", "made anew"]);
    machine.wait("it is there again", || sockets[0].exists());

    fs::remove_dir(machine.path("run/speaker")).unwrap();
    finds(&machine, "speaker.service", &["directory", "/run/speaker"]);
    fs::create_dir(machine.path("run/speaker")).unwrap();

    fs::remove_file(machine.path("run/door")).unwrap();
    finds(
        &machine,
        "door.socket",
        &["socket", "/run/door", "made anew"],
    );
    machine.wait("it listens again", || {
        UnixStream::connect(machine.path("run/door")).is_ok()
    });
    machine.wait("and is served", || machine.running("sleep 7705").len() == 1);
    fs::remove_file(machine.path("run/door")).unwrap();
    finds(&machine, "door.socket", &["socket", "left alone"]);
    assert_eq!(
        machine.sctl(&["stop", "door.socket", "door.service"]).code,
        0
    );

    fs::remove_file(machine.path("run/sysmaster/public")).unwrap();
    finds(
        &machine,
        "-",
        &["socket", "/run/sysmaster/public", "made anew"],
    );
    let public = ["--socket=/run/sysmaster/public", "is-active", "steady"];
    assert_eq!(machine.sctl(&public).code, 0);

    assert_eq!(steady(&machine), before, "somebody was disturbed");
    assert_eq!(found(&machine), Vec::<String>::new());
    machine.power_off();
}

#[test]
fn strays_are_adopted_or_cleaned_up() {
    let Some(mut machine) = machine() else { return };
    if !machine.path("sys/fs/cgroup/system.slice").exists() {
        println!("skipped: no control groups");
        return;
    }
    let before = steady(&machine);
    // Of a unit that was up and is down: as its own settings say.
    for (unit, seconds, word) in [("late", 991, "killed"), ("gentle", 992, "left alone")] {
        let name = format!("{unit}.service");
        let sleep = format!("sleep {seconds}");
        assert_eq!(machine.sctl(&["start", unit]).code, 0);
        assert_eq!(machine.sctl(&["stop", unit]).code, 0);
        stray(&machine, &name, seconds);
        finds(&machine, &name, &["process", word]);
        if word == "left alone" {
            machine.running(&sleep)[0].signal(KILL);
        }
        machine.wait("it is gone", || machine.running(&sleep).is_empty());
        finds(&machine, &name, &["cgroup", "removed"]);
    }
    // Of a unit nobody has loaded: it is, and what runs is its.
    stray(&machine, "new.service", 993);
    let lines = found(&machine);
    assert!(
        lines.iter().all(|line| line.starts_with("new.service")),
        "{lines:?}"
    );
    machine.wait_state("new.service", "active");
    assert_eq!(machine.sctl(&["stop", "new"]).code, 0);
    assert!(machine.running("sleep 993").is_empty(), "it is managed");
    // Of nobody at all.
    stray(&machine, "unheard.service", 994);
    finds(&machine, "unheard.service", &["cgroup", "left alone"]);
    machine.running("sleep 994")[0].signal(KILL);
    machine.wait("it is gone", || machine.running("sleep 994").is_empty());
    finds(&machine, "unheard.service", &["cgroup", "removed"]);
    assert_eq!(steady(&machine), before, "somebody was disturbed");
    assert_eq!(found(&machine), Vec::<String>::new());
    let json = machine.sctl(&["--json", "reconcile"]);
    assert_eq!(json.out, "[]\n");
    machine.power_off();
}

#[test]
fn a_recovery_reports_the_same_in_the_log() {
    let Some(mut machine) = machine() else { return };
    fs::remove_dir(machine.path("run/speaker")).unwrap();
    let victims = [machine.manager().unwrap(), machine.helper().unwrap()];
    victims.iter().for_each(|one| one.signal(KILL));
    machine.wait("it is in the log", || {
        let console = machine.console();
        console.contains("speaker.service: directory: /run/speaker")
    });
    machine.power_off();
}

#[test]
fn a_restart_that_became_due_meanwhile_is_done_and_told() {
    let Some(setup) = Setup::new() else { return };
    setup.wanted(
        "again.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=1\nExecStart=/bin/sleep 7706\n",
    );
    let mut machine = setup.boot();
    machine.wait_state("again.service", "active");
    // Whichever manager there is when the restart is due must be a stopped one, which is so for 0.2 s: that may take
    // some attempts.
    let told = || {
        machine
            .console()
            .contains("again.service: timer: its restart was due")
    };
    for _ in 0..20 {
        machine.wait("it runs", || machine.running("sleep 7706").len() == 1);
        let service = machine.running("sleep 7706");
        service[0].signal(KILL);
        machine.wait("its death is known", || {
            machine.property("again.service", "ActiveState") != "active"
                || machine
                    .running("sleep 7706")
                    .first()
                    .is_some_and(|now| *now != service[0])
        });
        let due = Instant::now() + Duration::from_secs(1);
        while Instant::now() < due {
            let manager = machine.manager().unwrap();
            manager.signal(STOP);
            machine.wait("another manager has come", || {
                let now = machine.manager();
                now.is_some_and(|now| now.id() != manager.id())
            });
        }
        machine.wait_state("again.service", "active");
        if told() {
            break;
        }
    }
    assert!(told());
    machine.wait("it runs, once", || machine.running("sleep 7706").len() == 1);
    machine.power_off();
}

//! SIGKILL and SIGSTOP of the manager, of the service helper, and of both, at every moment that
//! matters. After each: every service is the process it was, nothing ran twice, a service that
//! died meanwhile was treated by its Restart=, `sctl` answers, and the machine still powers off.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Proc, Setup};
use std::time::{Duration, Instant};

const KILL: i32 = 9;
const STOP: i32 = 19;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Manager,
    Helper,
    Both,
}

const VICTIMS: [Victim; 3] = [Victim::Manager, Victim::Helper, Victim::Both];

/// Hits; gives back who was hit.
fn hit(machine: &Machine, victim: Victim, signal: i32) -> Vec<Proc> {
    let mut victims = Vec::new();
    if victim != Victim::Helper {
        victims.extend(machine.manager());
    }
    if victim != Victim::Manager {
        victims.extend(machine.helper());
    }
    for one in &victims {
        one.signal(signal);
    }
    victims
}

/// Waits until those hit are gone and others have taken their place and answer for everything.
fn managed_again(machine: &Machine, hit: &[Proc]) -> Duration {
    let began = Instant::now();
    machine.wait("those that were hit are gone", || {
        hit.iter().all(|one| !one.is_alive())
    });
    machine.wait("a manager and a helper are there", || {
        machine.manager().is_some() && machine.helper().is_some()
    });
    machine.wait("the helper is in contact again", || {
        machine
            .sctl(&["status"])
            .out
            .contains("helpers   service (pid")
            && !machine.sctl(&["status"]).out.contains("out of contact")
    });
    began.elapsed()
}

const SLEEPERS: usize = 8;

/// Services whose every step leaves a mark.
fn workload(setup: &Setup) {
    for number in 0..SLEEPERS {
        setup.wanted(
            &format!("w{number}.service"),
            &format!(
                "[Service]\nExecStartPre=/bin/sh -c 'echo x >> /run/pre-{number}'\n\
                 ExecStart=/bin/sleep 77{number}\n"
            ),
        );
    }
    setup
        .wanted(
            "once.service",
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo x >> /run/once'\n",
        )
        .wanted(
            "forking.service",
            "[Service]\nType=forking\nPIDFile=/run/forking.pid\n\
             ExecStart=/bin/sh -c 'sleep 779 & echo $$! > /run/forking.pid'\n",
        )
        .wanted(
            "victim.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=10ms\nExecStart=/bin/sleep 880\n",
        );
}

fn wait_workload(machine: &Machine) {
    machine.wait("the workload is up", || {
        machine.running("sleep 77").len() == SLEEPERS + 1
            && machine.running("sleep 880").len() == 1
            && machine.read("run/once") == "x\n"
            && machine.sctl(&["is-system-running"]).out == "running\n"
    });
}

/// Nothing changed since, nothing ran twice.
fn undisturbed(machine: &Machine, before: &[Proc]) {
    let now = machine.running("sleep 77");
    let ids = |list: &[Proc]| list.iter().map(Proc::id).collect::<Vec<_>>();
    assert_eq!(
        ids(before),
        ids(&now),
        "every service is the process it was"
    );
    for number in 0..SLEEPERS {
        assert_eq!(
            machine.read(&format!("run/pre-{number}")),
            "x\n",
            "ExecStartPre of w{number}"
        );
        assert_eq!(
            machine.property(&format!("w{number}.service"), "ActiveState"),
            "active"
        );
    }
    assert_eq!(machine.read("run/once"), "x\n", "the oneshot ran once");
    assert_eq!(machine.property("once.service", "ActiveState"), "active");
    assert_eq!(
        machine.running("sleep 880").len(),
        1,
        "the victim runs, once"
    );
}

fn idle(victim: Victim, signal: i32, times: u32) {
    println!("idle: {victim:?} gets signal {signal}, {times} times in ten seconds at most");
    let Some(setup) = Setup::new() else { return };
    workload(&setup);
    let mut machine = setup.boot();
    wait_workload(&machine);
    let before = machine.running("sleep 77");
    let pause = Duration::from_secs(10) / times;
    let mut last = Vec::new();
    for round in 0..times {
        if round > 0 {
            // The spacing of the blows is what is tested, not something to wait for.
            std::thread::sleep(pause);
        }
        last = hit(&machine, victim, signal);
    }
    let victim_before = machine.running("sleep 880");
    for one in &victim_before {
        one.signal(KILL);
    }
    let took = managed_again(&machine, &last);
    println!("managed again after {took:?}");
    machine.wait("the service that died meanwhile is restarted", || {
        let now = machine.running("sleep 880");
        now.len() == 1 && now != victim_before
    });
    undisturbed(&machine, &before);
    machine.power_off();
}

macro_rules! idle_tests {
    ($($name:ident: $victim:ident $signal:ident $times:literal;)*) => {$(
        #[test]
        fn $name() {
            idle(Victim::$victim, $signal, $times);
        }
    )*};
}

idle_tests! {
    idle_kill_manager: Manager KILL 1;
    idle_kill_helper: Helper KILL 1;
    idle_kill_both: Both KILL 1;
    idle_stop_manager: Manager STOP 1;
    idle_stop_helper: Helper STOP 1;
    idle_stop_both: Both STOP 1;
    twenty_times_kill_manager: Manager KILL 20;
    twenty_times_kill_helper: Helper KILL 20;
    twenty_times_kill_both: Both KILL 20;
    twenty_times_stop_manager: Manager STOP 20;
    twenty_times_stop_helper: Helper STOP 20;
    twenty_times_stop_both: Both STOP 20;
}

/// Fifty services that start while the blows fall, at several moments of the boot.
fn while_starting(signal: i32) {
    const MANY: usize = 50;
    for (round, victim) in VICTIMS.into_iter().enumerate() {
        println!("fifty services start: {victim:?} gets signal {signal}");
        let Some(setup) = Setup::new() else { return };
        for number in 0..MANY {
            setup.wanted(
                &format!("s{number}.service"),
                &format!(
                    "[Service]\nExecStartPre=/bin/sh -c 'echo x >> /run/pre-{number}; sleep 0.1'\n\
                     ExecStart=/bin/sleep 66{number:02}\n"
                ),
            );
        }
        let machine = setup.boot();
        machine.wait("the first has begun", || machine.path("run/pre-0").exists());
        std::thread::sleep(Duration::from_millis(20 * round as u64));
        let victims = hit(&machine, victim, signal);
        managed_again(&machine, &victims);
        machine.wait("all are up", || machine.running("sleep 66").len() == MANY);
        machine.wait("all jobs are done", || {
            machine.sctl(&["is-system-running"]).out == "running\n"
        });
        for number in 0..MANY {
            assert_eq!(
                machine.read(&format!("run/pre-{number}")),
                "x\n",
                "ExecStartPre of s{number}"
            );
        }
        assert_eq!(machine.running("sleep 66").len(), MANY, "none runs twice");
    }
}

#[test]
fn fifty_start_kill() {
    while_starting(KILL);
}

#[test]
fn fifty_start_stop() {
    while_starting(STOP);
}

/// In an ExecStartPre that takes a while: it is followed, not repeated.
fn in_start_pre(signal: i32) {
    for victim in VICTIMS {
        println!("in ExecStartPre: {victim:?} gets signal {signal}");
        let Some(setup) = Setup::new() else { return };
        setup.unit(
            "slow.service",
            "[Service]\nExecStartPre=/bin/sh -c 'echo x >> /run/one; sleep 0.6'\n\
             ExecStartPre=/bin/sh -c 'echo x >> /run/two; sleep 0.6'\nExecStart=/bin/sleep 551\n",
        );
        let machine = setup.boot();
        assert_eq!(machine.sctl(&["start", "--no-block", "slow"]).code, 0);
        for step in ["run/one", "run/two"] {
            machine.wait("the step has begun", || machine.path(step).exists());
            let victims = hit(&machine, victim, signal);
            managed_again(&machine, &victims);
        }
        machine.wait_state("slow.service", "active");
        assert_eq!(machine.read("run/one"), "x\n");
        assert_eq!(machine.read("run/two"), "x\n");
        machine.wait("the program runs", || {
            machine.running("/bin/sleep 551").len() == 1
        });
    }
}

#[test]
fn start_pre_kill() {
    in_start_pre(KILL);
}

#[test]
fn start_pre_stop() {
    in_start_pre(STOP);
}

/// While a service stops slowly.
fn in_stop(signal: i32) {
    for victim in VICTIMS {
        println!("with a slow ExecStop: {victim:?} gets signal {signal}");
        let Some(setup) = Setup::new() else { return };
        setup.wanted(
            "slow.service",
            "[Service]\nExecStart=/bin/sleep 552\nExecStop=/bin/sh -c 'echo x >> /run/stop; sleep 1'\n",
        );
        let machine = setup.boot();
        machine.wait_state("slow.service", "active");
        assert_eq!(machine.sctl(&["stop", "--no-block", "slow"]).code, 0);
        machine.wait("the stop has begun", || machine.path("run/stop").exists());
        let victims = hit(&machine, victim, signal);
        managed_again(&machine, &victims);
        machine.wait_state("slow.service", "inactive");
        assert_eq!(machine.read("run/stop"), "x\n", "ExecStop ran once");
        assert!(machine.running("sleep 552").is_empty());
    }
}

#[test]
fn slow_stop_kill() {
    in_stop(KILL);
}

#[test]
fn slow_stop_stop() {
    in_stop(STOP);
}

/// During a shutdown: it still ends, and in order.
fn in_shutdown(signal: i32) {
    for victim in VICTIMS {
        println!("during shutdown: {victim:?} gets signal {signal}");
        let Some(setup) = Setup::new() else { return };
        setup
            .wanted(
                "first.service",
                "[Unit]\nAfter=last.service\n[Service]\nExecStart=/bin/sleep 553\n\
                 ExecStop=/bin/sh -c 'echo x >> /run/stop; sleep 1; echo first-stopped > /dev/console'\n",
            )
            .wanted(
                "last.service",
                "[Service]\nExecStart=/bin/sleep 554\n\
                 ExecStop=/bin/sh -c 'echo last-stopped > /dev/console'\n",
            );
        let mut machine = setup.boot();
        machine.wait_state("first.service", "active");
        assert_eq!(machine.sctl(&["poweroff", "--no-block"]).code, 0);
        machine.wait("the stop has begun", || machine.path("run/stop").exists());
        hit(&machine, victim, signal);
        let took = machine.wait_down(Duration::from_secs(15));
        println!("down after {took:?}");
        let console = machine.console();
        assert_eq!(console.matches("first-stopped").count(), 1, "{console}");
        assert_eq!(console.matches("last-stopped").count(), 1, "{console}");
        assert!(
            console.find("first-stopped") < console.find("last-stopped"),
            "{console}"
        );
    }
}

#[test]
fn shutdown_kill() {
    in_shutdown(KILL);
}

#[test]
fn shutdown_stop() {
    in_shutdown(STOP);
}

#[test]
fn sctl_waits_through_the_death_of_the_manager() {
    println!("a start that waits is answered by the next manager");
    let Some(setup) = Setup::new() else { return };
    setup.unit(
        "slow.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /run/once; sleep 1; exit 4'\n",
    );
    let machine = setup.boot();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| machine.sctl(&["start", "slow"]));
        machine.wait("it has begun", || machine.path("run/once").exists());
        hit(&machine, Victim::Manager, KILL);
        let answer = asked.join().unwrap();
        assert_eq!(answer.code, 1, "{answer:?}");
    });
    assert_eq!(machine.read("run/once"), "x\n");
    assert_eq!(machine.property("slow.service", "ExecMainStatus"), "4");
}

/// The helper dies at this point of making or burying a process (feature `fault-points`).
fn helper_dies_at(points: &[&str]) {
    for point in points {
        println!("the helper is killed at {point}");
        let Some(mut setup) = Setup::with_faults() else {
            return;
        };
        setup
            .wanted(
                "f.service",
                "[Service]\nExecStartPre=/bin/sh -c 'echo x >> /run/pre'\nExecStart=/bin/sleep 555\n",
            )
            .wanted(
                "once.service",
                "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo x >> /run/once'\n",
            );
        setup.file("fault-once", "");
        setup
            .environment("SYSMASTER_FAULT", &format!("{point}:kill"))
            .environment("SYSMASTER_FAULT_ONCE", "/fault-once");
        let mut machine = setup.boot();
        machine.wait("the service is up", || {
            machine.running("sleep 555").len() == 1
        });
        assert!(!machine.path("fault-once").exists(), "nobody came by");
        machine.wait_state("f.service", "active");
        machine.wait_state("once.service", "active");
        assert_eq!(machine.read("run/pre"), "x\n", "ExecStartPre ran once");
        assert_eq!(machine.read("run/once"), "x\n", "the oneshot ran once");
        assert_eq!(
            machine.running("sleep 555").len(),
            1,
            "the service runs once"
        );
        machine.power_off();
    }
}

#[test]
fn helper_dies_around_the_fork() {
    helper_dies_at(&["slot-claimed", "forked", "child-born"]);
}

#[test]
fn helper_dies_around_the_exec() {
    helper_dies_at(&["slot-filled", "before-exec"]);
}

#[test]
fn helper_dies_around_an_exit() {
    helper_dies_at(&["exit-peeked", "exit-recorded"]);
}

#[test]
fn manager_dies_or_stops_after_a_record() {
    for what in ["kill", "stop"] {
        println!("the manager gets {what} right after a record, before its effect");
        let Some(mut setup) = Setup::with_faults() else {
            return;
        };
        workload(&setup);
        setup.file("fault-once", "");
        setup
            .environment("SYSMASTER_FAULT", &format!("after-record:{what}"))
            .environment("SYSMASTER_FAULT_ONCE", "/fault-once");
        let mut machine = setup.boot();
        wait_workload(&machine);
        assert!(!machine.path("fault-once").exists(), "nobody came by");
        let before = machine.running("sleep 77");
        undisturbed(&machine, &before);
        machine.power_off();
    }
}

//! A machine boots, runs services of every type, answers, and powers off in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::Setup;

/// Notifies from a child, which stays: of one that is gone when its message is read nobody can say whose it was.
const READY: &str = "python3 -c 'import os,signal,socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b\"READY=1\\nSTATUS=well\", os.environ[\"NOTIFY_SOCKET\"])
signal.pause()' &
exec sleep 1003";

#[test]
fn services_of_every_type_come_up_and_go_down_in_order() {
    println!(
        "simple, oneshot, forking and notify come up; stop order is the reverse; it ends by itself"
    );
    let Some(setup) = Setup::new() else { return };
    setup
        .wanted("simple.service", "[Service]\nExecStart=/bin/sleep 1001\n")
        .wanted(
            "once.service",
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo x >> /run/once'\n\
             ExecStop=/bin/sh -c 'echo stopped-once > /dev/console'\n",
        )
        .wanted(
            "forking.service",
            "[Unit]\nAfter=once.service\n[Service]\nType=forking\nPIDFile=/run/forking.pid\n\
             ExecStart=/bin/sh -c 'sleep 1002 & echo $$! > /run/forking.pid'\n\
             ExecStop=/bin/sh -c 'echo stopped-forking > /dev/console'\n",
        )
        .script("usr/bin/ready", READY)
        .wanted("notify.service", "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/usr/bin/ready\n");
    let mut machine = setup.boot();
    for unit in ["simple", "once", "forking", "notify"] {
        machine.wait_state(&format!("{unit}.service"), "active");
    }
    assert_eq!(machine.read("run/once"), "x\n");
    machine.wait("three programs run", || {
        machine.running("sleep 100").len() == 3
    });
    assert_eq!(machine.sctl(&["is-system-running"]).out, "running\n");
    let main = machine.property("forking.service", "MainPID");
    assert_eq!(main, machine.read("run/forking.pid").trim());
    assert!(machine.sctl(&["status", "notify"]).out.contains("well"));
    assert_eq!(machine.sctl(&["status"]).code, 0);
    let took = machine.power_off();
    println!("down after {took:?}");
    let console = machine.console();
    let forking = console.find("stopped-forking").expect(&console);
    let once = console.find("stopped-once").expect(&console);
    assert!(
        forking < once,
        "forking is After=once, so it stops first:\n{console}"
    );
}

#[test]
fn sctl_starts_stops_and_says_why() {
    println!("start, stop, restart, kill, failures with their step, masks and unknown units");
    let Some(setup) = Setup::new() else { return };
    setup
        .unit("a.service", "[Service]\nExecStart=/bin/sleep 1001\n")
        .unit(
            "missing.service",
            "[Service]\nExecStart=/nonexistent/program\n",
        )
        .unit(
            "wrong.service",
            "[Service]\nExecStart=/bin/sleep 1\nTimeoutStartSec=soon\n",
        )
        .unit(
            "fails.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 3'\n",
        )
        .unit(
            "once.service",
            "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1h\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
        );
    let machine = setup.boot();
    assert_eq!(machine.sctl(&["is-active", "a"]).code, 3);
    assert_eq!(machine.sctl(&["start", "a"]).code, 0);
    assert_eq!(machine.sctl(&["is-active", "a"]).code, 0);
    // A simple service is up when it is forked; its program follows.
    let program = || machine.running("/bin/sleep 1001");
    machine.wait("the program runs", || program().len() == 1);
    let first = program()[0].clone();
    assert_eq!(machine.sctl(&["start", "a"]).code, 0);
    assert!(first.is_alive(), "starting what runs does nothing");
    assert_eq!(machine.sctl(&["restart", "a"]).code, 0);
    machine.wait("the program runs", || program().len() == 1);
    let second = program();
    assert_ne!(second[0], first);
    assert_eq!(machine.sctl(&["kill", "-s", "KILL", "a"]).code, 0);
    machine.wait_state("a.service", "failed");
    assert_eq!(machine.property("a.service", "Result"), "signal");
    assert_eq!(machine.sctl(&["reset-failed", "a"]).code, 0);
    machine.wait_state("a.service", "inactive");
    assert_eq!(machine.sctl(&["stop", "a"]).code, 0);

    assert_eq!(machine.sctl(&["start", "once"]).code, 0);
    assert_eq!(machine.sctl(&["start", "once"]).code, 1);
    assert_eq!(machine.property("once.service", "SubState"), "failed");
    assert_eq!(
        machine.property("once.service", "Result"),
        "start-limit-hit"
    );

    let failed = machine.sctl(&["start", "fails"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(machine.property("fails.service", "ExecMainStatus"), "3");
    machine.sctl(&["start", "missing"]);
    machine.wait_state("missing.service", "failed");
    let status = machine.sctl(&["status", "missing"]);
    assert_eq!(status.code, 3);
    assert!(
        status.out.contains("EXEC") && status.out.contains("/nonexistent/program"),
        "{}",
        status.out
    );
    let wrong = machine.sctl(&["start", "wrong"]);
    assert_ne!(wrong.code, 0);
    assert!(
        wrong.err.contains("wrong.service:3") && wrong.err.contains("soon"),
        "{}",
        wrong.err
    );
    let unknown = machine.sctl(&["start", "unknown"]);
    assert_eq!(unknown.code, 5, "{unknown:?}");
    assert_eq!(machine.sctl(&["status", "unknown"]).code, 4);
}

#[test]
fn reload_and_reexec_disturb_nobody() {
    println!("daemon-reload and daemon-reexec: the next start is the new one, what runs goes on");
    let Some(setup) = Setup::new() else { return };
    setup
        .wanted("a.service", "[Service]\nExecStart=/bin/sleep 1001\n")
        .wanted("b.service", "[Service]\nExecStart=/bin/sleep 1002\n");
    let mut machine = setup.boot();
    machine.wait("both run", || machine.running("/bin/sleep 100").len() == 2);
    let before = machine.running("/bin/sleep 100");
    let manager = machine.manager().expect("a manager");
    let unit = machine.path("etc/sysmaster/system/a.service");
    std::fs::write(unit, "[Service]\nExecStart=/bin/sleep 2001\n").unwrap();
    assert!(machine.sctl(&["status", "a"]).out.contains("daemon-reload"));
    assert_eq!(machine.sctl(&["daemon-reload"]).code, 0);
    assert!(!machine.sctl(&["status", "a"]).out.contains("daemon-reload"));
    assert_eq!(machine.sctl(&["daemon-reexec"]).code, 0);
    assert_ne!(
        machine.manager().expect("a manager").id(),
        manager.id(),
        "it was replaced"
    );
    let ids = |list: &[qemu_tests::Proc]| list.iter().map(qemu_tests::Proc::id).collect::<Vec<_>>();
    assert_eq!(ids(&machine.running("/bin/sleep 100")), ids(&before));
    assert_eq!(machine.sctl(&["restart", "a"]).code, 0);
    machine.wait("the new command runs", || {
        machine.running("/bin/sleep 2001").len() == 1
    });
    assert_eq!(machine.property("b.service", "ActiveState"), "active");
    let unit = machine.path("etc/sysmaster/system/new.service");
    std::fs::write(unit, "[Service]\nExecStart=/bin/sleep 3001\n").unwrap();
    let started = machine.sctl(&["start", "new"]);
    assert_eq!(started.code, 0, "what is new needs no reload: {started:?}");
    machine.wait("it runs", || machine.running("/bin/sleep 3001").len() == 1);
    machine.power_off();
}

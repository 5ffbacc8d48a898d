//! A machine that lacks something boots and manages all the same, survives the death of our
//! processes, powers off, and says what is missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::setup::Lacking;
use qemu_tests::{Machine, Proc, Setup};

/// memfd_create, pidfd_open, pidfd_send_signal, clone3 on x86_64.
#[cfg(target_arch = "x86_64")]
const MODERN: &[u32] = &[319, 434, 424, 435];
/// The same by the numbers all later architectures share.
#[cfg(not(target_arch = "x86_64"))]
const MODERN: &[u32] = &[279, 434, 424, 435];

fn workload(setup: &Setup) {
    setup
        .wanted("a.service", "[Service]\nExecStart=/bin/sleep 1001\n")
        .wanted(
            "forking.service",
            "[Service]\nType=forking\nPIDFile=/run/forking.pid\n\
             ExecStart=/bin/sh -c 'sleep 1002 & echo $$! > /run/forking.pid'\n",
        )
        .wanted(
            "again.service",
            "[Service]\nRestart=always\nRestartSec=10ms\nExecStart=/bin/sleep 1003\n",
        );
}

/// Everything a machine must do whatever it lacks.
fn works(mut machine: Machine) -> String {
    // The shell of `forking` has the command of its child in its own line: it must be over.
    machine.wait_state("forking.service", "active");
    machine.wait("three services are up", || {
        machine.running("sleep 100").len() == 3
    });
    let steady = |machine: &Machine| {
        let mut all = machine.running("sleep 1001");
        all.extend(machine.running("sleep 1002"));
        all.iter().map(Proc::id).collect::<Vec<_>>()
    };
    let before = steady(&machine);
    let hit = [
        machine.manager().expect("a manager"),
        machine.helper().expect("a helper"),
    ];
    for one in &hit {
        one.signal(9);
    }
    let again = machine.running("sleep 1003");
    again[0].signal(9);
    machine.wait("both are replaced", || {
        machine.manager().is_some_and(|one| one.id() != hit[0].id())
            && machine.helper().is_some_and(|one| one.id() != hit[1].id())
    });
    machine.wait("what died is restarted", || {
        let now = machine.running("sleep 1003");
        now.len() == 1 && now != again
    });
    for unit in ["a", "forking", "again"] {
        machine.wait_state(&format!("{unit}.service"), "active");
    }
    assert_eq!(steady(&machine), before, "nobody else noticed");
    assert_eq!(machine.sctl(&["stop", "forking"]).code, 0);
    assert!(machine.running("sleep 1002").is_empty());
    let status = machine.sctl(&["status"]).out;
    machine.power_off();
    status
}

#[test]
fn without_cgroups() {
    println!("no control groups at all");
    let Some(mut setup) = Setup::new() else {
        return;
    };
    workload(&setup);
    setup.lacking(Lacking {
        cgroups: true,
        ..Lacking::default()
    });
    let status = works(setup.boot());
    assert!(status.contains("cgroup"), "{status}");
}

#[test]
fn without_memfd_pidfd_and_clone3() {
    println!("memfd_create, pidfd_open, pidfd_send_signal and clone3 answer ENOSYS");
    let Some(mut setup) = Setup::new() else {
        return;
    };
    workload(&setup);
    setup.lacking(Lacking {
        system_calls: MODERN,
        ..Lacking::default()
    });
    let status = works(setup.boot());
    assert!(status.contains("missing"), "{status}");
}

#[test]
fn with_a_read_only_root() {
    println!("the root cannot be written to");
    let Some(mut setup) = Setup::new() else {
        return;
    };
    workload(&setup);
    setup.lacking(Lacking {
        writable_root: true,
        ..Lacking::default()
    });
    works(setup.boot());
}

#[test]
fn without_a_console() {
    println!("there is no /dev/console");
    let Some(mut setup) = Setup::new() else {
        return;
    };
    workload(&setup);
    setup.lacking(Lacking {
        console: true,
        ..Lacking::default()
    });
    works(setup.boot());
}

#[test]
fn with_a_full_run() {
    println!("/run fills up after the boot, and our processes die then");
    let Some(mut setup) = Setup::new() else {
        return;
    };
    workload(&setup);
    setup.run_bytes(1 << 20);
    let machine = setup.boot();
    // The shell of `forking` has the command of its child in its own line: it must be over.
    machine.wait_state("forking.service", "active");
    machine.wait("three services are up", || {
        machine.running("sleep 100").len() == 3
    });
    let filled = machine.inside(&[
        "sh",
        "-c",
        "cat /dev/zero > /run/full 2> /dev/null; : > /run/x; echo y > /run/x",
    ]);
    assert!(!filled.status.success(), "it is full");
    works(machine);
}

/// With this in place of the helper, a service's job fails and says so, nobody spins, and the
/// machine goes down in order.
fn with_a_broken_helper(what: &str, text: &[u8]) {
    println!("the helper {what}: jobs fail with a reason");
    let Some(setup) = Setup::new() else { return };
    let path = "usr/lib/sysmaster/helpers/service";
    std::fs::remove_file(setup.files().join(path)).unwrap();
    setup.file(path, text);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(setup.files().join(path), mode).unwrap();
    setup.wanted("a.service", "[Service]\nExecStart=/bin/sleep 1001\n");
    let mut machine = setup.boot();
    machine.wait("the log says why", || {
        machine.console().contains("failed 3 times before")
    });
    let answer = machine.sctl(&["start", "a"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.contains("no helper"), "{answer:?}");
    let count = |machine: &Machine| machine.console().matches("the helper for .service").count();
    let before = count(&machine);
    // How often it is tried again is what is tested.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let tried = count(&machine) - before;
    assert!(tried <= 5, "{tried} times in two seconds");
    machine.power_off();
}

#[test]
fn with_a_helper_that_cannot_be_executed() {
    with_a_broken_helper("is no program", b"\x7fno program");
}

#[test]
fn with_a_helper_that_fails_at_once() {
    with_a_broken_helper("fails at once", b"#!/bin/sh\nexit 1\n");
}

#[test]
fn twenty_thousand_orphans() {
    println!("20,000 double-forked orphans come to init and are reaped");
    let Some(setup) = Setup::new() else { return };
    setup.script(
        "usr/bin/orphans",
        "i=0; while [ $i -lt 5000 ]; do (: &); i=$((i + 1)); done; echo x >> /run/orphans",
    );
    for number in 0..4 {
        setup.wanted(
            &format!("orphans{number}.service"),
            "[Service]\nType=oneshot\nTimeoutStartSec=60\nExecStart=/usr/bin/orphans\n",
        );
    }
    setup.wanted("a.service", "[Service]\nExecStart=/bin/sleep 1001\n");
    let mut machine = setup.boot();
    let done = qemu_tests::machine::poll(std::time::Duration::from_secs(60), || {
        (machine.read("run/orphans").lines().count() == 4).then_some(())
    });
    assert!(done.is_some(), "the orphans are made");
    machine.wait("none is left", || {
        machine.processes().iter().all(|one| one.state != 'Z')
    });
    machine.wait_state("a.service", "active");
    machine.power_off();
}

//! Mount units: what is mounted by us and by others, and that nothing is mounted twice whoever is killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Setup};

const KILL: i32 = 9;

/// How many mounts there are at this point.
fn mounts_at(machine: &Machine, point: &str) -> usize {
    let table = machine.inside(&["cat", "/proc/self/mountinfo"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let at = |line: &&str| line.split(' ').nth(4) == Some(point);
    table.lines().filter(at).count()
}

fn good(machine: &Machine, args: &[&str]) {
    let answer = machine.sctl(args);
    assert_eq!(
        answer.code, 0,
        "sctl {args:?}: {}{}",
        answer.out, answer.err
    );
}

fn sub_state(machine: &Machine, unit: &str, state: &str) {
    machine.wait(&format!("{unit} is {state}"), || {
        machine.property(unit, "SubState") == state
    });
}

/// A file system of type `slow`, whose program does as its options say, and logs what it does.
fn with_slow(setup: &Setup, script: &str) {
    setup.script(
        "usr/sbin/mount.slow",
        &format!("#!/bin/sh\necho mount >>/run/slow.log\n{script}\nexec mount -i -n -t tmpfs slow \"$2\"\n"),
    );
}

#[test]
fn mounts_come_and_go_by_us_and_by_others() {
    let Some(setup) = Setup::new() else { return };
    setup
        .unit("mnt-a.mount", "[Mount]\nWhat=tmpfs\nWhere=/mnt/a\nType=tmpfs\nOptions=size=1m,x-note,nofail\nDirectoryMode=0711\n")
        .unit("mnt-b.mount", "[Mount]\nWhat=/mnt/a\nWhere=/mnt/b\nType=none\nOptions=bind\n")
        .unit("mnt-bad.mount", "[Mount]\nWhat=nothing\nWhere=/mnt/bad\nType=nonsense\n")
        .unit("mnt-c.mount", "[Mount]\nWhat=x\nWhere=/mnt/d\n")
        .unit("a.service", "[Unit]\nRequiresMountsFor=/mnt/b/deep\n[Service]\nExecStart=/bin/sleep 1000\nWorkingDirectory=/mnt/b\n");
    let mut machine = setup.boot();
    // The service needs the bind mount, and that needs what it binds.
    good(&machine, &["start", "a.service"]);
    for unit in ["mnt-a.mount", "mnt-b.mount"] {
        assert_eq!(machine.property(unit, "SubState"), "mounted");
    }
    assert_eq!(
        (mounts_at(&machine, "/mnt/a"), mounts_at(&machine, "/mnt/b")),
        (1, 1)
    );
    let mode = machine.inside(&["stat", "-c", "%a", "/mnt"]);
    assert!(mode.status.success());
    // It is in use: the unmount fails, and it is still there.
    let busy = machine.sctl(&["stop", "--job-mode=ignore-dependencies", "mnt-b.mount"]);
    assert_eq!(busy.code, 1, "{}", busy.err);
    assert!(busy.err.contains("busy"), "{}", busy.err);
    assert_eq!(machine.property("mnt-b.mount", "ActiveState"), "active");
    // What others unmount is down, and takes along what needs it; what others mount is up.
    good(&machine, &["stop", "a.service"]);
    assert!(machine.inside(&["umount", "/mnt/b"]).status.success());
    sub_state(&machine, "mnt-b.mount", "dead");
    assert!(
        machine
            .inside(&["mount", "--bind", "/mnt/a", "/mnt/b"])
            .status
            .success()
    );
    sub_state(&machine, "mnt-b.mount", "mounted");
    good(&machine, &["start", "mnt-b.mount"]);
    assert_eq!(mounts_at(&machine, "/mnt/b"), 1, "it was there already");
    good(&machine, &["reload", "mnt-a.mount"]);
    assert_eq!(machine.property("mnt-a.mount", "SubState"), "mounted");
    // Several on one point: a stop takes off all of them.
    assert!(
        machine
            .inside(&["mount", "-t", "tmpfs", "x", "/mnt/b"])
            .status
            .success()
    );
    assert_eq!(mounts_at(&machine, "/mnt/b"), 2);
    good(&machine, &["stop", "mnt-a.mount"]);
    assert_eq!(
        (mounts_at(&machine, "/mnt/a"), mounts_at(&machine, "/mnt/b")),
        (0, 0)
    );
    assert_eq!(machine.property("mnt-b.mount", "SubState"), "dead");
    // What cannot be mounted says why, in the program's own words.
    let bad = machine.sctl(&["start", "mnt-bad.mount"]);
    assert_eq!(bad.code, 1);
    assert!(bad.err.contains("mount: /mnt/bad: "), "{}", bad.err);
    assert_eq!(machine.property("mnt-bad.mount", "Result"), "exit-code");
    good(&machine, &["reset-failed", "mnt-bad.mount"]);
    let wrong = machine.sctl(&["start", "mnt-c.mount"]);
    assert!(wrong.err.contains("mnt-d.mount"), "{}", wrong.err);
    machine.power_off();
}

#[test]
fn what_is_mounted_already_is_a_unit_without_a_file() {
    let Some(setup) = Setup::new() else { return };
    setup.unit(
        "a.service",
        "[Unit]\nBindsTo=mnt-x.mount\nAfter=mnt-x.mount\n[Service]\nExecStart=/bin/sleep 1000\n",
    );
    let mut machine = setup.boot();
    let none = machine.sctl(&["start", "mnt-x.mount"]);
    assert_eq!(none.code, 5, "{}", none.err);
    assert!(machine.inside(&["mkdir", "-p", "/mnt/x"]).status.success());
    assert!(
        machine
            .inside(&["mount", "-t", "tmpfs", "x", "/mnt/x"])
            .status
            .success()
    );
    good(&machine, &["daemon-reload"]);
    good(&machine, &["start", "a.service"]);
    assert_eq!(machine.property("mnt-x.mount", "SubState"), "mounted");
    assert!(machine.inside(&["umount", "/mnt/x"]).status.success());
    machine.wait_state("a.service", "inactive");
    machine.power_off();
}

#[test]
fn nothing_is_mounted_twice_whoever_dies() {
    let Some(setup) = Setup::new() else { return };
    with_slow(&setup, "sleep 2");
    setup.unit(
        "mnt-s.mount",
        "[Mount]\nWhat=slow\nWhere=/mnt/s\nType=slow\n",
    );
    let mut machine = setup.boot();
    for (round, both) in [false, true].into_iter().enumerate() {
        good(&machine, &["start", "--no-block", "mnt-s.mount"]);
        machine.wait("mount runs", || {
            machine.read("run/slow.log").lines().count() == round + 1
        });
        machine.helper_of("mount").expect("the helper").signal(KILL);
        if both {
            machine.manager().expect("the manager").signal(KILL);
        }
        sub_state(&machine, "mnt-s.mount", "mounted");
        good(&machine, &["start", "mnt-s.mount"]);
        assert_eq!(machine.read("run/slow.log").lines().count(), round + 1);
        assert_eq!(mounts_at(&machine, "/mnt/s"), 1);
        // Mounted, and its helper dies: still mounted, and known to be.
        machine.helper_of("mount").expect("the helper").signal(KILL);
        machine.wait("another helper", || machine.helper_of("mount").is_some());
        good(&machine, &["stop", "mnt-s.mount"]);
        assert_eq!(mounts_at(&machine, "/mnt/s"), 0);
    }
    machine.power_off();
}

#[test]
fn what_hangs_is_ended_and_holds_nobody_up() {
    let Some(setup) = Setup::new() else { return };
    with_slow(&setup, "trap '' TERM\nsleep 1000 & wait\nsleep 1000");
    setup
        .unit(
            "mnt-s.mount",
            "[Mount]\nWhat=slow\nWhere=/mnt/s\nType=slow\nTimeoutSec=1\n",
        )
        .unit("mnt-t.mount", "[Mount]\nWhat=t\nWhere=/mnt/t\nType=tmpfs\n");
    let mut machine = setup.boot();
    good(&machine, &["start", "--no-block", "mnt-s.mount"]);
    machine.wait("mount runs", || {
        machine.read("run/slow.log").lines().count() == 1
    });
    good(&machine, &["start", "mnt-t.mount"]);
    machine.wait_state("mnt-s.mount", "failed");
    assert_eq!(machine.property("mnt-s.mount", "Result"), "timeout");
    machine.wait("nothing of it is left", || {
        machine.running("sleep 1000").is_empty()
    });
    // A stop ends a mount that is under way.
    good(&machine, &["start", "--no-block", "mnt-s.mount"]);
    machine.wait("mount runs", || {
        machine.read("run/slow.log").lines().count() == 2
    });
    machine.sctl(&["stop", "mnt-s.mount"]);
    assert_eq!(machine.property("mnt-s.mount", "ActiveState"), "inactive");
    assert_eq!(mounts_at(&machine, "/mnt/s"), 0);
    machine.power_off();
}

#[test]
fn fstab_is_mounted_at_boot_in_order() {
    let Some(setup) = Setup::new() else { return };
    setup
        .file(
            "etc/sysmaster/system.conf",
            "[Manager]\nUnitPath=/etc/sysmaster/system /run/sysmaster/system\nBuiltinGenerators=fstab\n",
        )
        .file(
            "etc/fstab",
            "# comment\n/mnt/a/in /mnt/b none bind 0 0\ntmpfs /mnt/a tmpfs size=1m 0 0\n\
             nothing /mnt/missing nonsense nofail 0 0\nt /mnt/later tmpfs noauto 0 0\n\
             t /mnt/sp\\040ace tmpfs defaults 0 0\n/dev/null none swap sw 0 0\n",
        )
        .unit("local-fs.target", "[Unit]\nDefaultDependencies=no\n")
        .unit("make.service", "[Unit]\nDefaultDependencies=no\nRequiresMountsFor=/mnt/a\nBefore=mnt-b.mount\n\
               [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/mkdir /mnt/a/in\n")
        .unit("sysinit.target", "[Unit]\nDefaultDependencies=no\nRequires=local-fs.target make.service\nAfter=local-fs.target\n")
        .wanted("last.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/touch /mnt/b/here\n");
    let mut machine = setup.boot();
    machine.wait_state("last.service", "active");
    for unit in [
        "mnt-a.mount",
        "mnt-b.mount",
        "mnt-sp\\x20ace.mount",
        "local-fs.target",
    ] {
        assert_eq!(machine.property(unit, "ActiveState"), "active", "{unit}");
    }
    machine.wait_state("mnt-missing.mount", "failed");
    assert_eq!(
        machine.property("mnt-later.mount", "ActiveState"),
        "inactive"
    );
    assert!(
        machine
            .inside(&["test", "-e", "/mnt/a/in/here"])
            .status
            .success()
    );
    good(&machine, &["start", "mnt-later.mount"]);
    machine.power_off();
}

//! The hardware watchdog, with a device that the test makes up: the child runs as it does on a machine.

use super::*;
use crate::watchdog::Order;
use platform::watchdog::Armed;
use std::io;

/// A pipe for a device; of the wanted times it takes those up to a minute.
fn takes_a_minute(order: &Order, device: Option<OwnedFd>) -> io::Result<(OwnedFd, Armed)> {
    let device = match device {
        Some(device) => device,
        None => platform::fd::pipe()?.1,
    };
    let armed = Armed {
        timeout: order.wanted.timeout.min(60),
        pretimeout: order.wanted.pretimeout,
        has_reset: false,
        governed: true,
    };
    Ok((device, armed))
}

fn absent(_: &Order, _: Option<OwnedFd>) -> io::Result<(OwnedFd, Armed)> {
    Err(io::Error::from_raw_os_error(libc::ENOENT))
}

fn dies(_: &Order, _: Option<OwnedFd>) -> io::Result<(OwnedFd, Armed)> {
    std::process::abort();
}

/// A machine with these settings.
fn world(settings: &str, set: crate::watchdog::Set) -> World {
    let mut world = World::new(&[
        ("default.target", "[Unit]\nDefaultDependencies=no\n"),
        ("reboot.target", "[Unit]\nDefaultDependencies=no\n"),
    ]);
    configure(&world, settings);
    world.places.set_device = set;
    world
}

fn configure(world: &World, settings: &str) {
    let path = world.places.root.join("etc/sysmaster/system.conf");
    std::fs::write(path, format!("[Manager]\n{settings}")).unwrap();
}

fn told(manager: &mut Manager, world: &World, timeouts: &[u32]) {
    until(manager, "init to be told of the watchdog", |_| {
        world.heard(|memory| (memory.timeouts == timeouts).then_some(()))
    });
    until(manager, "init's answer", |manager| {
        manager.watchdog.is_settled().then_some(())
    });
}

fn kept(world: &World) -> bool {
    world.heard(|memory| memory.kept.keys().any(|label| label.kind == Kind::WATCHDOG))
}

#[test]
fn it_is_set_handed_over_taken_up_changed_and_let_go() {
    let mut world = world(
        "RuntimeWatchdogSec=30\nRebootWatchdogSec=2min\n",
        takes_a_minute,
    );
    let (mut manager, _init) = world.manager();
    manager.begin();
    told(&mut manager, &world, &[30_000]);
    assert!(kept(&world));
    assert_eq!(world.heard(|memory| memory.at_reboot), 90_000);
    // The same again is nothing new.
    manager.reload();
    told(&mut manager, &world, &[30_000]);
    // A reboot that may take longer is.
    configure(&world, "RuntimeWatchdogSec=30\nRebootWatchdogSec=3min\n");
    manager.reload();
    told(&mut manager, &world, &[30_000, 30_000]);
    assert_eq!(world.heard(|memory| memory.at_reboot), 150_000);
    // More than the device can: what it took counts.
    configure(&world, "RuntimeWatchdogSec=5min\nRebootWatchdogSec=off\n");
    manager.reload();
    told(&mut manager, &world, &[30_000, 30_000, 60_000]);
    assert_eq!(world.heard(|memory| memory.at_reboot), 0);
    // Whoever takes over sets what is open already.
    drop(manager);
    let (mut manager, _init) = world.manager();
    manager.begin();
    told(&mut manager, &world, &[30_000, 30_000, 60_000, 60_000]);
    configure(&world, "");
    manager.reload();
    told(&mut manager, &world, &[30_000, 30_000, 60_000, 60_000, 0]);
    assert!(!kept(&world));
}

#[test]
fn a_setting_that_went_while_nobody_was_there_disarms_it() {
    let mut world = world("RuntimeWatchdogSec=30\n", takes_a_minute);
    let (mut manager, _init) = world.manager();
    manager.begin();
    told(&mut manager, &world, &[30_000]);
    drop(manager);
    configure(&world, "");
    let (mut manager, _init) = world.manager();
    manager.begin();
    told(&mut manager, &world, &[30_000, 0]);
}

#[test]
fn without_a_device_nothing_is_told_and_nothing_waits() {
    let mut world = world("RuntimeWatchdogSec=30\n", absent);
    let (mut manager, _init) = world.manager();
    manager.begin();
    until(&mut manager, "the boot", |manager| {
        (manager.boot.record.finished != 0 && manager.watchdog.is_settled()).then_some(())
    });
    assert_eq!(world.heard(|memory| memory.timeouts.len()), 0);
    assert_eq!(manager.watchdog.deadline(), None);
}

#[test]
fn a_child_that_dies_is_tried_again() {
    let mut world = world("RuntimeWatchdogSec=30\n", dies);
    let (mut manager, _init) = world.manager();
    manager.begin();
    until(&mut manager, "the second attempt", |manager| {
        manager
            .watchdog
            .deadline()
            .filter(|due| *due < clock::now() + 1_000_000)
    });
    manager.set_device = takes_a_minute;
    told(&mut manager, &world, &[30_000]);
}

#[test]
fn what_is_no_watchdog_is_left_alone() {
    let mut world = world(
        "RuntimeWatchdogSec=30\nWatchdogDevice=/dev/null\n",
        crate::watchdog::set,
    );
    let (mut manager, _init) = world.manager();
    manager.begin();
    until(&mut manager, "the verdict", |manager| {
        manager.watchdog.is_settled().then_some(())
    });
    assert_eq!(world.heard(|memory| memory.timeouts.len()), 0);
}

//! Helper processes over the socket transport, with this test as manager and init: real forks,
//! real kills. Each test runs in a process of its own (see `ports/platform/tests/processes/main.rs`).
#![allow(clippy::unwrap_used)]
#![allow(clippy::expect_used)]
#![allow(clippy::panic)]
#![allow(clippy::indexing_slicing)]

use platform::memory::Memory;
use platform::poll::{Event, Interest, Poller, Ready};
use platform::process;
use platform::{child, clock, fd, signal, socket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use units::journal::{Attempt, Journal, SlotId, SlotState};
use units::runtime::{Context, Message, Settings, UnitType, hash128, kind};
use units::state::{Invocation, Micros, ProcId, Report};
use units::wire::helper::{Command, FromHelper, HelperConfig, Label, ToHelper, Verb};
use units::wire::{self, VERSION};

mod toy;
mod world;

use toy::*;
use world::*;

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("a_helper_serves_and_quits", a_helper_serves_and_quits),
    (
        "a_manager_dies_and_another_comes",
        a_manager_dies_and_another_comes,
    ),
    (
        "a_connection_waits_in_the_backlog",
        a_connection_waits_in_the_backlog,
    ),
    (
        "a_helper_waits_for_a_listener",
        a_helper_waits_for_a_listener,
    ),
    (
        "a_refused_helper_does_not_spin",
        a_refused_helper_does_not_spin,
    ),
    (
        "garbage_leaves_no_descriptors",
        garbage_leaves_no_descriptors,
    ),
    (
        "children_are_told_while_there_is_no_manager",
        children_are_told_while_there_is_no_manager,
    ),
    ("killed_between_fork_and_slot", killed_between_fork_and_slot),
    ("killed_between_slot_and_exec", killed_between_slot_and_exec),
    ("killed_before_the_fork", killed_before_the_fork),
    ("killed_after_exec", killed_after_exec),
    ("idle_is_asleep", idle_is_asleep),
];

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    if let Some(exact) = name.strip_prefix("run:") {
        let (_, test) = TESTS.iter().find(|(test, _)| *test == exact).unwrap();
        test();
        return;
    }
    if std::env::args().any(|argument| argument == "--list") {
        TESTS.iter().for_each(|(test, _)| println!("{test}: test"));
        return;
    }
    let own = std::env::current_exe().unwrap();
    let (mut passed, mut failed) = (0, 0);
    for (test, _) in TESTS
        .iter()
        .filter(|(test, _)| name.starts_with('-') || test.contains(&name))
    {
        let done = std::process::Command::new(&own)
            .arg(format!("run:{test}"))
            .status()
            .unwrap();
        println!(
            "test {test} ... {}",
            if done.success() { "ok" } else { "FAILED" }
        );
        if done.success() {
            passed += 1
        } else {
            failed += 1
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored");
    std::process::exit(i32::from(failed > 0));
}

fn a_helper_serves_and_quits() {
    let mut world = World::ready();
    assert_eq!(world.kept.len(), 2);
    world.say(&ToHelper::Ping { nonce: 5 }, &[]);
    assert_eq!(world.hear(), FromHelper::Pong { nonce: 5 });
    world.command("short");
    let pid = world.forked();
    assert_eq!(world.report("exited"), format!("exited {pid} 0"));
    world.until("it to be reaped", |_| {
        process::status(pid).is_none().then_some(())
    });
    assert!(
        matches!(world.slot(), SlotState::Exited(proc, 0) if proc.pid == pid && proc.start > 0)
    );
    world.say(&ToHelper::Quit, &[]);
    let helper = world.helper;
    assert_eq!(world.ended(helper), 0);
}

fn a_manager_dies_and_another_comes() {
    let mut world = World::ready();
    for epoch in 2..5 {
        world.connection = None;
        assert_eq!(world.accept(), (epoch - 1, true));
        world.welcome(epoch);
        world.synced();
    }
    // One of the past is refused, and the helper is there for the next.
    world.connection = None;
    assert_eq!(world.accept(), (4, true));
    let config = HelperConfig::default();
    let old = ToHelper::Welcome {
        version: VERSION,
        build: "m".into(),
        epoch: 3,
        config,
    };
    world.say(&old, &[]);
    assert_eq!(world.hear_or_end(), None);
    assert_eq!(world.accept(), (4, true));
    world.welcome(5);
    world.synced();
}

fn a_connection_waits_in_the_backlog() {
    let mut world = World::ready();
    let helper = process::ProcId {
        pid: world.helper,
        start: process::start_time(world.helper).unwrap(),
    };
    world.connection = None;
    // Nobody accepts; the connection stands all the same, without another attempt.
    let mut events = Vec::new();
    while events.is_empty() {
        world.poller.wait(None, &mut events).unwrap();
    }
    let before = switches(helper.pid);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(switches(helper.pid) <= before + 1);
    assert!(process::is_alive(helper));
    assert_eq!(world.accept(), (1, true));
    assert!(
        socket::accept(world.listener.as_ref().unwrap())
            .unwrap()
            .is_none()
    );
}

fn a_helper_waits_for_a_listener() {
    let mut world = World::new();
    world.listener = None;
    std::fs::remove_file(world.base.join("helper")).unwrap();
    world.start_helper();
    let helper = world.helper;
    world.until("the helper to sleep", |_| {
        process::status(helper)
            .filter(|status| status.state == b'S')
            .map(|_| ())
    });
    world.listen();
    assert_eq!(world.accept(), (0, false));
}

fn a_refused_helper_does_not_spin() {
    let mut world = World::new();
    world.start_helper();
    let end = clock::now() + 1_000_000;
    let mut attempts = 0;
    let mut events = Vec::new();
    while clock::now() < end {
        world.poller.wait(Some(end), &mut events).unwrap();
        while let Some(connection) = socket::accept(world.listener.as_ref().unwrap()).unwrap() {
            drop(connection);
            attempts += 1;
        }
    }
    assert!((2..6).contains(&attempts), "{attempts} in a second");
}

fn open_descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

fn garbage_leaves_no_descriptors() {
    let mut world = World::ready();
    let before = open_descriptors(world.helper);
    let (reader, _writer) = fd::pipe().unwrap();
    let frames: [&[u8]; 4] = [
        b"\xff\xff\xff\xff\xff",
        &[200],
        &[0x80; 300],
        &[0xfe; 60_000],
    ];
    for frame in frames {
        let connection = world.connection.as_ref().unwrap();
        socket::send(connection, frame, &[reader.as_fd(); 20]).unwrap();
        assert!(matches!(world.hear(), FromHelper::Log { level: 3, .. }));
    }
    // Descriptors beside frames that take none, or more than the one.
    for _ in 0..5 {
        world.say(&ToHelper::Ping { nonce: 1 }, &[&reader, &reader]);
        assert_eq!(world.hear(), FromHelper::Pong { nonce: 1 });
        let label = Label {
            kind: 6,
            hash: [1; 16],
            index: 0,
        };
        world.say(&ToHelper::Fd { label }, &[&reader, &reader]);
    }
    world.say(&ToHelper::Ping { nonce: 2 }, &[]);
    assert_eq!(world.hear(), FromHelper::Pong { nonce: 2 });
    assert_eq!(open_descriptors(world.helper), before);
}

fn children_are_told_while_there_is_no_manager() {
    let mut world = World::ready();
    world.command("run");
    let pid = world.forked();
    world.connection = None;
    process::kill(find(pid), signal::SIGTERM).unwrap();
    world.until("it to be reaped", |_| {
        process::status(pid).is_none().then_some(())
    });
    assert_eq!(world.accept(), (1, true));
    world.welcome(2);
    assert_eq!(
        world.report("exited"),
        format!("exited {pid} {}", signal::SIGTERM)
    );
}

fn find(pid: u32) -> process::ProcId {
    process::ProcId {
        pid,
        start: process::start_time(pid).unwrap(),
    }
}

fn killed_between_fork_and_slot() {
    let mut world = World::ready();
    world.make_gate();
    world.command("before-fill");
    let late = world.forked();
    world.kill_helper();
    assert_eq!(world.slot(), SlotState::Forking);
    assert_eq!(world.next_helper(), "revoked");
    assert_eq!(world.slot(), SlotState::Revoked);
    // Only now the child goes on: it must end without having executed anything.
    assert!(process::is_alive(find(late)));
    world.open_gate();
    assert_eq!(world.ended(late), REVOKED_CODE << 8);
    assert_eq!(world.slot(), SlotState::Revoked);
}

fn killed_between_slot_and_exec() {
    let mut world = World::ready();
    world.make_gate();
    world.command("before-exec");
    let pid = world.forked();
    world.until("the slot", |world| {
        matches!(world.slot(), SlotState::Filled(_)).then_some(())
    });
    world.kill_helper();
    assert_eq!(world.next_helper(), "filled");
    world.open_gate();
    world.until("exec", |world| {
        matches!(world.slot(), SlotState::Started(_)).then_some(())
    });
    assert!(matches!(world.slot(), SlotState::Started(proc) if proc == find(pid).into()));
}

fn killed_before_the_fork() {
    let mut world = World::ready();
    world.command("die-before-fork");
    let helper = world.helper;
    assert_eq!(world.ended(helper), signal::SIGKILL);
    assert_eq!(world.slot(), SlotState::Forking);
    assert_eq!(world.next_helper(), "revoked");
    let left = process::children_of(process::own_pid());
    assert_eq!(left.len(), 1, "only the helper: nothing was forked");
}

fn killed_after_exec() {
    let mut world = World::ready();
    world.command("run");
    let pid = world.forked();
    world.until("exec", |world| {
        matches!(world.slot(), SlotState::Started(_)).then_some(())
    });
    let proc: ProcId = find(pid).into();
    world.kill_helper();
    assert_eq!(world.next_helper(), "started");
    assert!(process::is_alive(proc.into()));
    // The new helper is not its parent: we are, and tell it.
    process::kill(proc.into(), signal::SIGTERM).unwrap();
    let status = world.ended(pid);
    world.say(&ToHelper::Exited { proc, status }, &[]);
    assert_eq!(
        world.report("exited"),
        format!("exited {pid} {}", signal::SIGTERM)
    );
    while world.hear() != (FromHelper::ExitTaken { proc }) {}
    assert!(matches!(world.slot(), SlotState::Exited(..)));
}

fn switches(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

fn idle_is_asleep() {
    let mut world = World::ready();
    let helper = world.helper;
    world.until("the helper to sleep", |_| {
        process::status(helper)
            .filter(|status| status.state == b'S')
            .map(|_| ())
    });
    let before = switches(helper);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(switches(helper), before);
}

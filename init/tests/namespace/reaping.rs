//! Orphans and exits: none is lost, none is left, and nothing wakes up for nothing.

use crate::machine::{Machine, SECOND, manager_path, root, switches};
use std::process::Command;
use std::time::Instant;

#[test]
fn twenty_thousand_orphans() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    assert!(m.expect("hello").contains("epoch=1 before=Nobody kept=0"));
    let before = m.number("cpu");
    m.tell("orphans 20000");
    m.expect("exits 20000");
    assert_eq!(m.number("zombies"), 0);
    let ours = m.number("cpu") - before;
    let plain = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--"])
        .arg(manager_path())
        .args(["--plain-loop", "20000"])
        .output()
        .unwrap();
    println!(
        "CPU for 20,000 orphans: init {ours} us, plain loop {} us",
        String::from_utf8_lossy(&plain.stdout).trim()
    );
    println!("PSS {}", m.ask("pss", "pss"));
}

#[test]
fn full_ring_waits_in_the_kernel() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello");
    m.tell("noack");
    m.tell("orphans 3000");
    // It answers pings, so it lives; nothing is acknowledged, so nothing more is reaped.
    let zombies = loop {
        let zombies = m.number("zombies");
        if zombies >= 3000 - 1024 {
            break zombies;
        }
    };
    assert_eq!(zombies, 3000 - 1024);
    while m.number("exits") < 1024 {}
    assert_eq!(m.number("zombies"), 3000 - 1024, "and no more than that");
    // A new manager hears all of it again.
    m.signal(m.manager_pid(), libc::SIGKILL);
    let hello = m.expect("hello epoch=2");
    assert!(hello.contains("waiting=1024 discarded=0"), "{hello}");
    m.expect("exits 3000");
    assert_eq!(m.number("zombies"), 0);
}

#[test]
fn without_a_manager_that_takes_them_exits_are_discarded() {
    if !root() {
        return;
    }
    let m = Machine::start(&["sysmaster.discard_after=8"]);
    m.expect("hello epoch=1");
    m.tell("noack");
    m.tell("orphans 3000");
    // All are made, and init has taken what it has room for.
    while m.number("zombies") < 3000 - 1024 {}
    std::fs::write(m.dir.join("crash"), "").unwrap();
    let since = Instant::now();
    m.signal(m.manager_pid(), libc::SIGKILL);
    // From now on managers come and go, and none takes an exit.
    let children = format!("/proc/{0}/task/{0}/children", m.init);
    let count = || {
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        text.split_whitespace().count()
    };
    for _ in 0..5 {
        m.expect("crashing");
        let waiting = count();
        assert!(
            waiting > 1500 || since.elapsed() > 2 * SECOND,
            "{waiting} wait in the kernel"
        );
    }
    let end = Instant::now() + 30 * SECOND;
    while count() > 100 {
        assert!(Instant::now() < end, "nothing is discarded: {}", m.log());
        std::thread::sleep(SECOND / 20);
    }
    std::fs::remove_file(m.dir.join("crash")).unwrap();
    let hello = m.expect_within("hello", 60 * SECOND);
    let (_, discarded) = hello.split_once("discarded=").unwrap();
    let discarded = discarded.split_whitespace().next().unwrap();
    assert!(discarded.parse::<u32>().unwrap() >= 1900, "{hello}");
}

#[test]
fn idle_means_asleep() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("keep 1");
    m.expect("kept");
    m.tell("orphans 10");
    m.expect("exits 10");
    // The timer of the last debt may run out once.
    std::thread::sleep(3 * SECOND);
    let before = switches(m.init);
    std::thread::sleep(5 * SECOND);
    assert_eq!(switches(m.init), before);
    println!("PSS {}", m.ask("pss", "pss"));
}

//! Managers that die, stop, hang or talk nonsense, and the ladder they climb.

use crate::machine::{Machine, SECOND, init_path, root};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn not_process_1_refuses() {
    let output = Command::new(init_path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("sctl"));
}

#[test]
fn killed_managers_are_replaced_and_find_their_descriptors() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("keep 7");
    m.expect("kept");
    for epoch in 2..22 {
        let start = Instant::now();
        m.signal(m.manager_pid(), libc::SIGKILL);
        let hello = m.expect(&format!("hello epoch={epoch}"));
        assert!(
            hello.contains("before=Outsider { status: 9 } kept=1"),
            "{hello}"
        );
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
        assert_eq!(m.ask("fetch 7", "fd 7"), "content 7");
    }
    assert_eq!(m.ask("fetch 8", "notfound"), m.ask("fetch 8", "notfound"));
    assert!(m.ask("drop 7", "dropped").contains("count: 1"));
    m.tell("fetch 7");
    m.expect("notfound");
}

#[test]
fn stopped_and_hung_managers_are_replaced() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    let start = Instant::now();
    m.tell("stop");
    let hello = m.expect("hello epoch=2");
    assert!(hello.contains("before=Outsider"), "{hello}");
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "{:?}",
        start.elapsed()
    );

    // Hung, but owing nothing: nobody notices, nobody minds.
    m.tell("hang");
    assert_eq!(m.event(3 * SECOND), None);
    let start = Instant::now();
    m.signal(m.init, libc::SIGHUP);
    let hello = m.expect("hello epoch=3");
    assert!(hello.contains("before=Hung"), "{hello}");
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    m.expect("signal 1");

    // Spinning is hanging too.
    m.tell("spin");
    m.expect("spinning");
    m.signal(m.init, libc::SIGUSR1);
    assert!(m.expect("hello epoch=4").contains("before=Hung"));
    m.expect("signal 10");
    // Taken once, never told again.
    m.signal(m.manager_pid(), libc::SIGKILL);
    m.expect("hello epoch=5");
    m.tell("nothing");
    assert_eq!(m.event(SECOND).as_deref(), Some("nothing"));
}

/// Says something all the time, and never what it owes.
#[test]
fn a_manager_that_talks_and_answers_nothing_is_replaced() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("babble");
    m.expect("babbling");
    m.signal(m.init, libc::SIGHUP);
    let hello = m.expect_within("hello epoch=2", 60 * SECOND);
    assert!(hello.contains("before=Hung"), "{hello}");
    m.expect("signal 1");
}

#[test]
fn a_signal_is_told_until_taken() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("notake");
    m.tell("nothing");
    m.expect("nothing");
    m.signal(m.init, libc::SIGPWR);
    m.expect("signal 30");
    m.signal(m.manager_pid(), libc::SIGKILL);
    m.expect("hello epoch=2");
    m.expect("signal 30");
}

#[test]
fn garbage_costs_nothing() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    let files = m.number("files");
    m.tell("garbage");
    m.tell("keep-none");
    m.expect("refused");
    m.tell("keep 1");
    m.expect("kept");
    assert_eq!(m.ask("fetch 1", "fd 1"), "content 1");
    assert_eq!(m.number("files"), files + 1, "every stray was closed");
    assert_eq!(m.number("zombies"), 0);
}

#[test]
fn many_descriptors_and_a_list_that_nobody_reads() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("keep-unit 500");
    for _ in 0..500 {
        m.expect("kept");
    }
    assert_eq!(m.ask("list", "listed"), "500");
    // Asks again and again and does not read: hung, with a debt.
    m.tell("deaf");
    for _ in 0..20 {
        m.tell("list");
    }
    let hello = m.expect("hello epoch=2");
    assert!(hello.contains("before=Hung kept=500"), "{hello}");
    assert_eq!(m.ask("list", "listed"), "500");
}

#[test]
fn crashing_managers_end_in_rescue() {
    if !root() {
        return;
    }
    let mut m = Machine::boot(&[
        "sysmaster.manager=/nonexistent/manager",
        "sysmaster.rescue=reboot",
        "sysmaster.rescue_delay=1",
    ]);
    let took = m.ended(10 * SECOND);
    assert!(took > SECOND, "{took:?}");
}

#[test]
fn own_faults_lead_to_safe_mode() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("crash-from-now-on");
    for _ in 0..4 {
        m.expect("crashing");
    }
    std::fs::remove_file(m.dir.join("crash")).unwrap();
    let hello = m.expect("hello");
    assert!(
        hello.contains("safe=true") && hello.contains("before=Fault { status: 134 }")
            || hello.contains("safe=true") && hello.contains("before=Fault { status: 6 }"),
        "{hello}"
    );
}

#[test]
fn the_rescue_shell_is_left_for_a_manager() {
    if !root() {
        return;
    }
    let mut m = Machine::boot(&[
        "sysmaster.manager=/nonexistent/manager",
        "sysmaster.rescue_shell=/bin/true",
    ]);
    // A shell that ends: the manager is tried again, the shell comes again, and so on; init lives.
    std::thread::sleep(2 * SECOND);
    assert!(m.child.try_wait().unwrap().is_none());
    m.signal(m.init, libc::SIGRTMIN() + 14);
    m.ended(5 * SECOND);
}

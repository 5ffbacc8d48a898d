//! Another init, another manager on trial, another root: everything is taken along.

use crate::machine::{Machine, SECOND, exec_time, init_path, manager_path, root};
use std::time::Instant;

#[test]
fn reexec_keeps_everything() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("keep 3");
    m.expect("kept");
    m.tell("noack");
    m.tell("orphans 10");
    m.expect("exits 10");
    let manager = m.manager_pid();
    for round in 0..5 {
        let (exe, files) = (exec_time(m.init), m.number("files"));
        m.tell("reexec");
        let end = Instant::now() + 20 * SECOND;
        while exec_time(m.init) == exe {
            assert!(Instant::now() < end, "no new init: {}", m.log());
            std::thread::yield_now();
        }
        assert_eq!(m.ask("fetch 3", "fd 3"), "content 3");
        // The first time, what this test's own surroundings had left open is closed.
        assert!(round == 0 || m.number("files") == files, "nothing leaks");
    }
    assert_eq!(m.manager_pid(), manager, "the manager did not notice");
    assert_eq!(m.number("exits"), 10);
    m.tell("orphans 990");
    m.expect("exits 1000");
    m.tell("ack");
    m.tell("orphans 1000");
    m.expect("exits 2000");
    // An answer of init's: it has read the acknowledgement before the question.
    assert_eq!(m.ask("list", "listed"), "1");
    m.signal(manager, libc::SIGKILL);
    let hello = m.expect("hello");
    let expected = "epoch=2 before=Outsider { status: 9 } kept=1 waiting=0";
    assert!(hello.contains(expected), "{hello}");
}

#[test]
fn reexec_to_a_broken_binary_is_refused() {
    if !root() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("init-broken-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let copy = dir.join("init");
    std::fs::copy(init_path(), &copy).unwrap();
    let m = Machine::start_of(&copy, &[]);
    m.expect("hello epoch=1");
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, "not a program").unwrap();
    m.tell("reexec");
    assert!(m.expect("failed").contains("reexec"));
    m.tell("nothing");
    m.expect("nothing");
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn a_trial_is_ended_by_its_own_fault_and_no_other() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("trial 60");
    m.expect("kept");
    let kill = |signal, expected: &str| {
        m.signal(m.manager_pid(), signal);
        let hello = m.expect("hello");
        assert!(hello.contains(expected), "{hello}");
        hello
    };
    let hello = kill(libc::SIGKILL, "epoch=2 before=Outsider");
    assert!(
        hello.contains("kept=1") && hello.contains("trial=true"),
        "{hello}"
    );
    let exe = |pid| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(exe(m.manager_pid()), manager_path());
    kill(libc::SIGTERM, "trial=true");
    // It survives init's own replacement.
    let before = exec_time(m.init);
    m.tell("reexec");
    let end = Instant::now() + 20 * SECOND;
    while exec_time(m.init) == before {
        assert!(Instant::now() < end, "no new init: {}", m.log());
        std::thread::yield_now();
    }
    kill(libc::SIGSTOP, "trial=true");
    let hello = kill(libc::SIGABRT, "before=Fault");
    assert!(
        hello.contains("kept=0") && hello.contains("trial=false"),
        "{hello}"
    );
}

/// What was on trial is not what is started next, so nobody climbs the ladder for it.
#[test]
fn failed_trials_do_not_count_against_the_version_before() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    for _ in 0..6 {
        m.tell("trial 60");
        m.expect("kept");
        m.signal(m.manager_pid(), libc::SIGABRT);
        let hello = m.expect("hello");
        assert!(
            hello.contains("before=Fault") && hello.contains("safe=false"),
            "{hello}"
        );
    }
}

/// A manager on trial that answers, and does nothing else.
#[test]
fn a_trial_nobody_ends_is_given_up() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("trial 1");
    m.expect("kept");
    let began = Instant::now();
    m.signal(m.manager_pid(), libc::SIGKILL);
    assert!(m.expect("hello").contains("trial=true"));
    let hello = m.expect_within("hello", 60 * SECOND);
    assert!(
        hello.contains("before=Hung") && hello.contains("trial=false"),
        "{hello}"
    );
    assert!(began.elapsed() >= 30 * SECOND, "{:?}", began.elapsed());
}

#[test]
fn switch_root_takes_everything_along() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("keep 4");
    m.expect("kept");
    // What is not there leaves everything as it was.
    m.tell("switch-root /nonexistent /sbin/init");
    assert!(m.expect("failed").contains("errno: 2"));
    let new = m.dir.join("root");
    std::fs::create_dir(&new).unwrap();
    m.tell(&format!("bind-root {}", new.display()));
    m.expect("mounted");
    let mounts = || std::fs::read_to_string(format!("/proc/{}/mountinfo", m.init)).unwrap();
    let at_new = format!(" {} ", new.display());
    assert!(mounts().contains(&at_new));
    m.tell(&format!(
        "switch-root {} {}",
        new.display(),
        init_path().display()
    ));
    let hello = m.expect("hello epoch=2");
    assert!(hello.contains("kept=1"), "{hello}");
    assert_eq!(m.ask("fetch 4", "fd 4"), "content 4");
    assert!(!mounts().contains(&at_new), "it is the root now");
    assert!(mounts().contains(" /proc "), "taken along");
}

#[test]
fn a_shutdown_goes_back_to_the_initramfs() {
    if !root() {
        return;
    }
    let mut m = Machine::start(&["sysmaster.unmount=yes"]);
    m.expect("hello epoch=1");
    m.tell("initramfs");
    m.expect("mounted");
    m.tell("shutdown reboot 60000");
    m.tell("finish");
    m.ended(30 * SECOND);
    let log = m.log();
    assert!(log.contains("back in the initramfs: reboot 1"), "{log}");
}

//! Ways down: with the manager, without it, and past what never answers.

use crate::fuse;
use crate::machine::{Machine, SECOND, root};
use std::time::{Duration, Instant};

#[test]
fn a_shutdown_ends() {
    if !root() {
        return;
    }
    let mut m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("finish");
    m.tell("nothing");
    m.expect("nothing");
    m.tell("shutdown poweroff 60000");
    m.tell("nothing");
    m.expect("nothing");
    m.signal(m.manager_pid(), libc::SIGKILL);
    assert!(
        m.expect("hello epoch=2").contains("shutdown=true"),
        "told to the next one"
    );
    m.tell("finish");
    m.ended(5 * SECOND);
}

#[test]
fn a_shutdown_ends_without_the_manager() {
    if !root() {
        return;
    }
    let mut m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("shutdown reboot 1500");
    m.tell("hang");
    let took = m.ended(10 * SECOND);
    assert!(took > SECOND && took < 5 * SECOND, "{took:?}");
}

#[test]
fn seven_interrupts_end_it() {
    if !root() {
        return;
    }
    let mut m = Machine::start(&[]);
    m.expect("hello epoch=1");
    m.tell("hang");
    for n in 0..7 {
        m.signal(m.init, libc::SIGINT);
        // Each has to arrive by itself: pending signals are one.
        let status = format!("/proc/{}/status", m.init);
        let gone = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let pending = text
                .lines()
                .find_map(|l| l.strip_prefix("ShdPnd:"))
                .map(str::trim);
            let pending = pending
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .unwrap_or(0);
            (pending & 2 == 0).then_some(0)
        };
        m.until(&format!("signal {n} to be taken"), gone);
    }
    m.ended(8 * SECOND);
}

#[test]
fn what_never_answers_does_not_stop_it() {
    if !root() {
        return;
    }
    let mut fuse = match fuse::Server::start() {
        Ok(fuse) => fuse,
        Err(error) => return println!("skipped: /dev/fuse: {error}"),
    };
    let mut m = Machine::start(&["sysmaster.unmount=yes"]);
    m.expect("hello");
    let at = m.dir.join("fuse");
    std::fs::create_dir(&at).unwrap();
    fuse.hand_over(
        &format!("mount-fuse {}", at.display()),
        &m.dir.join("commands"),
    );
    m.expect("mounted");
    m.tell(&format!("mount-tmpfs {}/directory", at.display()));
    m.expect("mounted");
    // A close that never ends: the flush is not answered.
    m.tell(&format!("keep-file 1 {}/file", at.display()));
    m.expect("kept");
    let start = Instant::now();
    m.tell("drop-file 1");
    m.expect("dropped");
    m.tell("orphans 1000");
    m.expect("exits 1000");
    m.tell("keep 1");
    m.expect("kept");
    assert!(start.elapsed() < 10 * SECOND);
    // An unmount that never ends: its path is not answered. The last step goes on without it.
    fuse.answer_nothing();
    m.tell("shutdown poweroff 60000");
    m.tell("finish");
    let end = Instant::now() + 50 * SECOND;
    while !m.log().contains("could not unmount") {
        assert!(Instant::now() < end, "{}", m.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    // What sleeps in the kernel keeps the namespace from ending; a machine would be off by now.
    drop(fuse);
    m.ended(60 * SECOND);
}

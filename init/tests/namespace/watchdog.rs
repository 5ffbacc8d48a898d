//! The hardware watchdog: who feeds it, how long, and when it is disarmed.

use crate::machine::{Machine, SECOND, exec_time, root, switches};
use std::process::Command;
use std::time::Instant;

/// What a machine's watchdog hears, in place of the device: a FIFO.
struct Feed(std::fs::File);

impl Feed {
    fn of(m: &Machine) -> Feed {
        let path = m.dir.join("feed");
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let mut options = std::fs::File::options();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        Feed(options.read(true).open(path).unwrap())
    }

    /// Waits until it was fed so many times more.
    fn expect(&mut self, times: usize) {
        let end = Instant::now() + 20 * SECOND;
        let mut heard = Vec::new();
        while heard.len() < times {
            assert!(Instant::now() < end, "only {heard:?}");
            heard.extend(self.heard());
            std::thread::yield_now();
        }
        assert!(heard.iter().all(|letter| *letter == 0), "{heard:?}");
    }

    /// What came since anybody last looked.
    fn heard(&mut self) -> Vec<u8> {
        let mut buf = [0; 64];
        let got = std::io::Read::read(&mut self.0, &mut buf).unwrap_or_default();
        buf[..got].to_vec()
    }
}

#[test]
fn the_watchdog_is_fed_over_any_death_and_disarmed_at_the_end() {
    if !root() {
        return;
    }
    let mut m = Machine::start(&[]);
    let mut feed = Feed::of(&m);
    m.expect("hello epoch=1");
    // Without a device there is nothing to feed.
    m.tell("watchdog-again 1000");
    assert_eq!(m.expect("watchdogarmed"), "watchdogarmed { timeout_ms: 0 }");
    m.tell("watchdog 1000");
    m.expect("kept");
    assert_eq!(
        m.expect("watchdogarmed"),
        "watchdogarmed { timeout_ms: 1000 }"
    );
    let start = Instant::now();
    feed.expect(4);
    assert!(
        start.elapsed() > SECOND,
        "twice in its time: {:?}",
        start.elapsed()
    );
    // Killed, stopped, hung: replaced, and fed meanwhile.
    m.signal(m.manager_pid(), libc::SIGKILL);
    m.expect("hello epoch=2");
    feed.expect(2);
    m.tell("stop");
    m.expect("hello epoch=3");
    feed.expect(2);
    // It owes nothing but the answer to the watchdog's question.
    m.tell("hang");
    let hello = m.expect("hello epoch=4");
    assert!(hello.contains("before=Hung kept=1"), "{hello}");
    feed.expect(2);
    // A new init is as good as the old one.
    let (init, exe) = (m.init, exec_time(m.init));
    m.tell("reexec");
    m.until("a new init", || (exec_time(init) != exe).then_some(0));
    feed.heard();
    feed.expect(3);
    m.tell("shutdown poweroff 60000");
    m.tell("finish");
    m.ended(20 * SECOND);
    assert_eq!(feed.heard().last(), Some(&b'V'), "the end is intended");
}

#[test]
fn the_watchdog_is_disarmed_when_it_is_not_wanted_any_more() {
    if !root() {
        return;
    }
    let m = Machine::start(&[]);
    let mut feed = Feed::of(&m);
    m.expect("hello epoch=1");
    m.tell("watchdog 1000");
    m.expect("watchdogarmed");
    feed.expect(1);
    m.tell("watchdog-again 0");
    assert_eq!(m.expect("watchdogarmed"), "watchdogarmed { timeout_ms: 0 }");
    assert_eq!(feed.heard().last(), Some(&b'V'));
    assert_eq!(m.ask("list", "listed"), "0");
    // Nothing is owed any more: nobody wakes up.
    std::thread::sleep(3 * SECOND);
    let before = switches(m.init);
    std::thread::sleep(2 * SECOND);
    assert_eq!(switches(m.init), before);
}

#[test]
fn a_reboot_has_a_time_of_its_own() {
    if !root() {
        return;
    }
    let mut m = Machine::start(&["sysmaster.unmount=no"]);
    let mut feed = Feed::of(&m);
    m.expect("hello epoch=1");
    m.tell("watchdog-at-reboot 1");
    m.tell("watchdog 2000");
    m.expect("watchdogarmed");
    // Something that does not end keeps the last step busy for its five seconds.
    m.tell("stubborn");
    m.expect("stubborn");
    feed.expect(1);
    m.tell("shutdown reboot 60000");
    m.tell("finish");
    m.ended(20 * SECOND);
    let heard = feed.heard();
    assert!(
        heard.len() <= 2 && !heard.contains(&b'V'),
        "fed no longer than it may take: {heard:?}"
    );
}

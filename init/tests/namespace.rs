//! The whole of init as PID 1 of a fresh pid namespace, with a manager that does what the test says.
//! Needs root; without it each test says so and counts as passed. `INIT=PATH` tests another binary
//! (the static release one) than the one cargo has just built.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

struct Machine {
    dir: PathBuf,
    events: UnixDatagram,
    child: Child,
    /// Process id of init, as seen from here.
    init: i32,
}

fn root() -> bool {
    // SAFETY: no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("skipped: needs root for a pid namespace");
    }
    root
}

fn init_path() -> PathBuf {
    std::env::var_os("INIT")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_init")), PathBuf::from)
}

/// The worker that belongs to it.
fn worker_path() -> PathBuf {
    let beside = init_path().with_file_name("init-worker");
    if beside.exists() {
        return beside;
    }
    PathBuf::from(env!("CARGO_BIN_EXE_init-worker"))
}

/// The manager of these tests; cargo builds examples only when nobody names a test, so see to it.
fn manager_path() -> PathBuf {
    static BUILT: Once = Once::new();
    let mut profile = std::env::current_exe().unwrap();
    profile.pop();
    profile.pop();
    BUILT.call_once(|| {
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "init",
                "--example",
                "fake-manager",
            ])
            .arg("--target-dir")
            .arg(profile.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo");
        assert!(built.success(), "the manager of the tests does not build");
    });
    profile.join("examples/fake-manager")
}

impl Machine {
    fn start(words: &[&str]) -> Machine {
        let manager = format!("sysmaster.manager={}", manager_path().display());
        let mut all = vec![manager.as_str()];
        all.extend(words);
        Machine::boot(&all)
    }

    fn boot(words: &[&str]) -> Machine {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("init-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let events = UnixDatagram::bind(dir.join("events")).unwrap();
        let child = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(init_path())
            .args(words)
            .env("FAKE_DIR", &dir)
            .env("SYSMASTER_INIT_WORKER", worker_path())
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .expect("unshare");
        let mut machine = Machine {
            dir,
            events,
            child,
            init: 0,
        };
        let children = format!("/proc/{0}/task/{0}/children", machine.child.id());
        machine.until("init to be there", || {
            let text = std::fs::read_to_string(&children).unwrap_or_default();
            text.split_whitespace()
                .next()
                .and_then(|pid| pid.parse().ok())
        });
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        machine.init = text
            .split_whitespace()
            .next()
            .map_or(0, |pid| pid.parse().unwrap());
        machine
    }

    fn until(&mut self, what: &str, mut look: impl FnMut() -> Option<i32>) -> i32 {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(value) = look() {
                return value;
            }
            assert!(Instant::now() < end, "waited too long for {what}");
            std::thread::yield_now();
        }
    }

    fn event(&self, within: Duration) -> Option<String> {
        self.events.set_read_timeout(Some(within)).unwrap();
        let mut buf = [0; 512];
        let n = self.events.recv(&mut buf).ok()?;
        Some(String::from_utf8_lossy(&buf[..n]).into_owned())
    }

    /// Waits for an event that begins like this; others (pings) pass by.
    fn expect(&self, prefix: &str) -> String {
        self.expect_within(prefix, Duration::from_secs(30))
    }

    fn expect_within(&self, prefix: &str, within: Duration) -> String {
        let end = Instant::now() + within;
        loop {
            let left = end
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            match self.event(left) {
                Some(event) if event.starts_with(prefix) => return event,
                Some(_) if Instant::now() < end => {}
                _ => panic!("no event {prefix:?} within {within:?}"),
            }
        }
    }

    fn tell(&self, command: &str) {
        let sender = UnixDatagram::unbound().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while sender
            .send_to(command.as_bytes(), self.dir.join("commands"))
            .is_err()
        {
            assert!(Instant::now() < end, "nobody takes {command:?}");
            std::thread::yield_now();
        }
    }

    /// What init has said so far.
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn ask(&self, command: &str, answer: &str) -> String {
        self.tell(command);
        let event = self.expect(answer);
        event[answer.len()..].trim().to_string()
    }

    fn number(&self, command: &str) -> u64 {
        let answer = self.ask(command, command);
        answer.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The children of init, seen from here, whose command begins like this.
    fn manager_pid(&self) -> i32 {
        let children = format!("/proc/{0}/task/{0}/children", self.init);
        let text = std::fs::read_to_string(children).unwrap_or_default();
        let found = text.split_whitespace().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"sysmaster\0")
        });
        found.map_or(0, |pid| pid.parse().unwrap())
    }

    fn signal(&self, pid: i32, signal: i32) {
        assert!(pid > 1);
        // SAFETY: a process of this test's own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits for the namespace to end; how long that took.
    fn ended(&mut self, within: Duration) -> Duration {
        let start = Instant::now();
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return start.elapsed();
            }
            assert!(start.elapsed() < within, "the machine does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn not_process_1_refuses() {
    let output = Command::new(init_path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("sctl"));
}

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

/// Changes with every execution: where the stack begins.
fn exec_time(pid: i32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/auxv"));
    let bytes = stat
        .map(String::into_bytes)
        .unwrap_or_else(|_| std::fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default());
    format!("{bytes:?}")
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
    // SAFETY: the test program has no other thread that reads the environment now.
    let m = Machine::start_other(&copy);
    m.expect("hello epoch=1");
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, "not a program").unwrap();
    m.tell("reexec");
    assert!(m.expect("failed").contains("reexec"));
    m.tell("nothing");
    m.expect("nothing");
    let _ = std::fs::remove_dir_all(&dir);
}

impl Machine {
    fn start_other(init: &std::path::Path) -> Machine {
        let manager = format!("sysmaster.manager={}", manager_path().display());
        let dir = std::env::temp_dir().join(format!("init-test-{}-other", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let events = UnixDatagram::bind(dir.join("events")).unwrap();
        let child = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(init)
            .arg(manager)
            .env("FAKE_DIR", &dir)
            .env("SYSMASTER_INIT_WORKER", worker_path())
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .expect("unshare");
        Machine {
            dir,
            events,
            child,
            init: 0,
        }
    }
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

/// A file system that answers just enough to be mounted and opened.
mod fuse {
    use std::io::{Error, Read, Write};
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    pub struct Server {
        device: std::fs::File,
        silent: Arc<AtomicBool>,
        over: Arc<AtomicBool>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Server {
        pub fn start() -> Result<Server, Error> {
            let device = std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/fuse")?;
            let (silent, over) = Default::default();
            Ok(Server {
                device,
                silent,
                over,
                thread: None,
            })
        }

        pub fn answer_nothing(&self) {
            self.silent.store(true, Ordering::SeqCst);
        }

        /// Sends the device along with a command, and begins to serve.
        pub fn hand_over(&mut self, command: &str, to: &std::path::Path) {
            let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
            sender.connect(to).unwrap();
            let mut control = [0u64; 4];
            let mut part = libc::iovec {
                iov_base: command.as_ptr() as *mut _,
                iov_len: command.len(),
            };
            // SAFETY: a message over live locals, with room for the one descriptor.
            unsafe {
                let mut message: libc::msghdr = std::mem::zeroed();
                message.msg_iov = &raw mut part;
                message.msg_iovlen = 1;
                message.msg_control = control.as_mut_ptr().cast();
                message.msg_controllen = libc::CMSG_SPACE(4) as _;
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(4) as _;
                *libc::CMSG_DATA(header).cast::<i32>() = self.device.as_raw_fd();
                assert!(libc::sendmsg(sender.as_raw_fd(), &raw const message, 0) > 0);
            }
            let device = self.device.try_clone().unwrap();
            let (silent, over) = (self.silent.clone(), self.over.clone());
            self.thread = Some(std::thread::spawn(move || serve(device, &silent, &over)));
        }
    }

    /// With the last descriptor of the device gone, the kernel gives up what waits.
    impl Drop for Server {
        fn drop(&mut self) {
            self.over.store(true, Ordering::SeqCst);
            if let Some(thread) = self.thread.take() {
                thread.join().unwrap();
            }
        }
    }

    fn serve(mut device: std::fs::File, silent: &AtomicBool, over: &AtomicBool) {
        let mut request = vec![0u8; 256 * 1024];
        loop {
            let mut ready = libc::pollfd {
                fd: device.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid entry.
            unsafe { libc::poll(&raw mut ready, 1, 20) };
            if over.load(Ordering::SeqCst) {
                return;
            }
            if ready.revents & libc::POLLIN == 0 {
                // Not mounted yet, or nothing to do.
                std::thread::sleep(std::time::Duration::from_millis(1));
                continue;
            }
            let Ok(n) = device.read(&mut request) else {
                continue;
            };
            let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
            let (opcode, unique) = (word(4), request[8..16].to_vec());
            if silent.load(Ordering::SeqCst) {
                continue;
            }
            let name = request[40..n].split(|b| *b == 0).next().unwrap_or_default();
            let answer = match opcode {
                1 => {
                    let directory = name == b"directory";
                    let node: u64 = if directory { 3 } else { 2 };
                    let mut entry = node.to_ne_bytes().to_vec();
                    entry.resize(40, 0);
                    entry.extend(attributes(node, directory));
                    entry
                }
                3 => {
                    let node = u64::from_ne_bytes(request[16..24].try_into().unwrap());
                    let mut out = vec![0; 16];
                    out.extend(attributes(node, node != 2));
                    out
                }
                14 | 27 => vec![0; 16],
                26 => {
                    let mut out = Vec::new();
                    for number in [7u32, 31, 0, 0, 0, 4096] {
                        out.extend(number.to_ne_bytes());
                    }
                    out.resize(64, 0);
                    out
                }
                // Flush, and everything else: never.
                _ => continue,
            };
            let mut reply = (16 + answer.len() as u32).to_ne_bytes().to_vec();
            reply.extend(0i32.to_ne_bytes());
            reply.extend(unique);
            reply.extend(answer);
            let _ = device.write(&reply);
        }
    }

    fn attributes(node: u64, directory: bool) -> Vec<u8> {
        let mut out = node.to_ne_bytes().to_vec();
        out.resize(60, 0);
        let mode = if directory {
            libc::S_IFDIR | 0o755
        } else {
            libc::S_IFREG | 0o644
        };
        for number in [mode, 1, 0, 0, 0, 4096, 0] {
            out.extend(u32::to_ne_bytes(number));
        }
        out
    }
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

fn switches(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

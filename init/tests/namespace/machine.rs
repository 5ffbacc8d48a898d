//! A pid namespace with init as its process 1, and a manager that does what it is told over a socket.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const SECOND: Duration = Duration::from_secs(1);

pub struct Machine {
    pub dir: PathBuf,
    pub events: UnixDatagram,
    pub child: Child,
    /// Process id of init, as seen from here.
    pub init: i32,
}

pub fn root() -> bool {
    // SAFETY: no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("skipped: needs root for a pid namespace");
    }
    root
}

pub fn init_path() -> PathBuf {
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
pub fn manager_path() -> PathBuf {
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
    pub fn start(words: &[&str]) -> Machine {
        Machine::start_of(&init_path(), words)
    }

    /// The same with this program as init.
    pub fn start_of(init: &Path, words: &[&str]) -> Machine {
        let manager = format!("sysmaster.manager={}", manager_path().display());
        let mut all = vec![manager.as_str()];
        all.extend(words);
        Machine::boot_of(init, &all)
    }

    pub fn boot(words: &[&str]) -> Machine {
        Machine::boot_of(&init_path(), words)
    }

    /// With this program as init.
    pub fn boot_of(init: &Path, words: &[&str]) -> Machine {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("init-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let events = UnixDatagram::bind(dir.join("events")).unwrap();
        let child = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(init)
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

    pub fn until(&mut self, what: &str, mut look: impl FnMut() -> Option<i32>) -> i32 {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(value) = look() {
                return value;
            }
            assert!(Instant::now() < end, "waited too long for {what}");
            std::thread::yield_now();
        }
    }

    pub fn event(&self, within: Duration) -> Option<String> {
        self.events.set_read_timeout(Some(within)).unwrap();
        let mut buf = [0; 512];
        let n = self.events.recv(&mut buf).ok()?;
        Some(String::from_utf8_lossy(&buf[..n]).into_owned())
    }

    /// Waits for an event that begins like this; others (pings) pass by.
    pub fn expect(&self, prefix: &str) -> String {
        self.expect_within(prefix, Duration::from_secs(30))
    }

    pub fn expect_within(&self, prefix: &str, within: Duration) -> String {
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

    pub fn tell(&self, command: &str) {
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
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub fn ask(&self, command: &str, answer: &str) -> String {
        self.tell(command);
        let event = self.expect(answer);
        event[answer.len()..].trim().to_string()
    }

    pub fn number(&self, command: &str) -> u64 {
        let answer = self.ask(command, command);
        answer.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The children of init, seen from here, whose command begins like this.
    pub fn manager_pid(&self) -> i32 {
        let children = format!("/proc/{0}/task/{0}/children", self.init);
        let text = std::fs::read_to_string(children).unwrap_or_default();
        let found = text.split_whitespace().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"sysmaster\0")
        });
        found.map_or(0, |pid| pid.parse().unwrap())
    }

    pub fn signal(&self, pid: i32, signal: i32) {
        assert!(pid > 1);
        // SAFETY: a process of this test's own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits for the namespace to end; how long that took.
    pub fn ended(&mut self, within: Duration) -> Duration {
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

/// Changes with every execution: where the stack begins.
pub fn exec_time(pid: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default()
}

/// How often a process was put to sleep and woken up.
pub fn switches(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

//! A running machine.

use crate::setup::{LIBRARY, Setup};
use crate::view::{self, Proc};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything that should take milliseconds may take on a busy machine before a test
/// fails.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How often a state is looked at for which there is no event.
const LOOK: Duration = Duration::from_millis(5);

/// The same on every architecture these tests run on.
const O_NONBLOCK: i32 = 0o4000;

/// A booted machine. Dropping it ends every process in it.
pub struct Machine {
    directory: PathBuf,
    outside: Child,
    /// Process 1.
    pub init: Proc,
    console: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// Nobody wants to know any more what the console says.
    over: Arc<AtomicBool>,
    group: Option<PathBuf>,
    down: AtomicBool,
}

/// What `sctl` said.
#[derive(Debug)]
pub struct Answer {
    /// Exit status; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

#[allow(clippy::panic, clippy::expect_used)]
impl Machine {
    /// Boots it and waits until the manager answers.
    pub(crate) fn boot(setup: Setup) -> Self {
        let machine = Self::start(&setup);
        machine.wait("init runs", || {
            assert!(machine.init.is_alive(), "the way to init failed");
            view::read(machine.init.pid).is_some_and(|one| one.command.contains(LIBRARY))
        });
        machine.wait("the manager answers", || {
            assert!(machine.init.is_alive(), "init has ended");
            let state = machine.sctl(&["is-system-running"]).out;
            !matches!(state.trim(), "" | "offline")
        });
        machine
    }

    fn start(setup: &Setup) -> Self {
        let directory = setup.directory.clone();
        let fifo = directory.join("console");
        let made = Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo runs");
        assert!(made.success(), "mkfifo {}", fifo.display());
        // Open at both ends: it has a reader from the beginning and never comes to an end.
        let pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&fifo)
            .expect("the console");
        let console = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let reader = {
            let pipe = pipe.try_clone().expect("a descriptor");
            let (console, over) = (console.clone(), over.clone());
            std::thread::spawn(move || read_console(pipe, &console, &over))
        };
        fs::write(directory.join("boot.sh"), include_str!("boot.sh")).expect("the script");
        let group = (!setup.lacking.cgroups)
            .then(|| make_group(&directory))
            .flatten();
        let outside = launch(setup, &pipe, group.as_deref());
        let pid = poll(PATIENCE, || view::child_of(outside.id())).expect("unshare makes a child");
        let init = view::read(pid).expect("process 1 is there");
        Self {
            directory,
            outside,
            init,
            console,
            reader: Some(reader),
            over,
            group,
            down: AtomicBool::new(false),
        }
    }

    /// What was written to the console so far.
    pub fn console(&self) -> String {
        let bytes = self
            .console
            .lock()
            .map(|bytes| bytes.clone())
            .unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs a command line inside; forty seconds is more than anything may take.
    pub fn inside(&self, args: &[&str]) -> Output {
        Command::new("timeout")
            .args(["--kill-after=1", "40", "nsenter"])
            .args([
                "-t",
                &self.init.pid.to_string(),
                "-m",
                "-p",
                "-u",
                "-i",
                "-n",
                "-C",
                "-r",
                "-w",
            ])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter runs")
    }

    /// Asks `sctl` inside.
    pub fn sctl(&self, args: &[&str]) -> Answer {
        let mut all = vec!["/usr/bin/sctl"];
        all.extend(args);
        let output = self.inside(&all);
        Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// One property of a unit, by `sctl show`.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.sctl(&["show", unit, "--value", "-p", name])
            .out
            .trim()
            .to_owned()
    }

    /// A file inside as seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.init.pid.to_string())
            .join("root")
            .join(path)
    }

    /// Contents of a file inside; empty if there is none.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Puts another version of our executable at this path: these bytes, and behind them lines that only builds with
    /// fault points look at (`units::fault::doctored`). Who executes or copies the path finds the old one or the new.
    pub fn place_version(&self, path: &str, program: &[u8], lines: &str) {
        let at = self.path(path);
        let beside = at.with_extension("beside");
        let bytes = [program, format!("\ndoctored:\n{lines}\n").as_bytes()].concat();
        fs::write(&beside, bytes)
            .and_then(|()| fs::set_permissions(&beside, Permissions::from_mode(0o755)))
            .and_then(|()| fs::rename(&beside, &at))
            .expect("a file of the machine");
    }

    /// All processes inside.
    pub fn processes(&self) -> Vec<Proc> {
        view::all(self.init.pid)
    }

    /// Processes inside whose command line contains this text; no zombies.
    pub fn running(&self, text: &str) -> Vec<Proc> {
        let mut found = self.processes();
        found.retain(|one| one.state != 'Z' && one.command.contains(text));
        found
    }

    /// The manager, if one runs.
    pub fn manager(&self) -> Option<Proc> {
        self.processes().into_iter().find(|one| {
            one.parent == self.init.pid
                && one.state != 'Z'
                && one.command.starts_with(&format!("/{LIBRARY}/sysmaster"))
                || one.parent == self.init.pid && one.command.starts_with("sysmaster ")
        })
    }

    /// The service helper, if one runs.
    pub fn helper(&self) -> Option<Proc> {
        self.helper_of("service")
    }

    /// The helper of this unit type, if one runs. Children it has forked and not yet started as
    /// something else look the same, but are its children.
    pub fn helper_of(&self, unit_type: &str) -> Option<Proc> {
        let all = self.processes();
        let path = format!("helpers/{unit_type}");
        let own = format!("sysmaster-{unit_type}");
        let is_helper = |one: &&Proc| {
            one.state != 'Z'
                && (one.command.contains(&path) || one.command.starts_with(&own))
                && !in_a_unit(one.pid)
        };
        let helpers: Vec<&Proc> = all.iter().filter(is_helper).collect();
        helpers
            .iter()
            .find(|one| !helpers.iter().any(|other| other.pid == one.parent))
            .map(|one| (*one).clone())
    }

    /// Waits for a state there is no event for; a test fails if it does not come.
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let done = poll(PATIENCE, || condition().then_some(()));
        if done.is_none() {
            panic!(
                "in {} s it did not come to this: {what}",
                PATIENCE.as_secs()
            );
        }
    }

    /// Waits until a unit is in this active state.
    pub fn wait_state(&self, unit: &str, state: &str) {
        self.wait(&format!("{unit} is {state}"), || {
            self.property(unit, "ActiveState") == state
        });
    }

    /// Waits until the machine has ended by itself; how long that took.
    pub fn wait_down(&mut self, limit: Duration) -> Duration {
        let began = Instant::now();
        let ended = poll(limit, || match self.outside.try_wait() {
            Ok(Some(_)) => Some(()),
            _ => None,
        });
        assert!(
            ended.is_some(),
            "the machine did not end in {} s",
            limit.as_secs()
        );
        self.down.store(true, Ordering::Relaxed);
        began.elapsed()
    }

    /// Asks for a power-off and waits for its end.
    pub fn power_off(&mut self) -> Duration {
        let answer = self.sctl(&["poweroff"]);
        // It may have ended together with the machine.
        assert!(matches!(answer.code, 0 | -1), "{answer:?}");
        self.wait_down(PATIENCE)
    }
}

impl Machine {
    /// Whoever still writes to the console may do so before or after us: what ends the thread is
    /// the flag, and any byte wakes it up.
    fn end_reader(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(self.directory.join("console"));
        if let Ok(mut pipe) = pipe {
            // Full, it wakes the reader as well.
            let _ = pipe.write_all(b"\n");
            let _ = self.reader.take().map(JoinHandle::join);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if !self.down.load(Ordering::Relaxed) {
                for line in self.processes() {
                    eprintln!(
                        "  {} {} {} {}",
                        line.pid, line.parent, line.state, line.command
                    );
                }
                for question in ["list-units", "list-jobs"] {
                    let answer = self.sctl(&["--timeout=2", question]);
                    eprintln!("{}{}", answer.out, answer.err);
                }
                self.init.signal(9);
            }
            eprintln!("---- console ----\n{}\n----", self.console());
        }
        self.init.signal(9);
        let _ = self.outside.kill();
        let _ = self.outside.wait();
        self.end_reader();
        if let Some(group) = &self.group {
            let _ = poll(Duration::from_secs(2), || remove_group(group).ok());
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn read_console(mut pipe: File, console: &Mutex<Vec<u8>>, over: &AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok(length) = pipe.read(&mut buffer) {
        let Ok(mut bytes) = console.lock() else {
            return;
        };
        bytes.extend_from_slice(buffer.get(..length).unwrap_or(&[]));
        if over.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Looks until there is something, at most this long.
pub fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if began.elapsed() > limit {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether a process is in a unit's control group, as is what a helper has forked and not yet executed, and which is
/// init's child when its helper has died.
fn in_a_unit(pid: u32) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.lines().any(|line| line.ends_with(".service"))
}

/// A cgroup of the machine's own on the host, if the host has version 2.
fn make_group(directory: &Path) -> Option<PathBuf> {
    let mount = platform::cgroup::detect()?.mount;
    let group = mount.join(directory.file_name()?);
    fs::create_dir(&group).ok().map(|()| group)
}

fn remove_group(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

#[allow(clippy::expect_used)]
fn launch(setup: &Setup, console: &File, group: Option<&Path>) -> Child {
    let lacking = setup.lacking;
    let mut words = Vec::new();
    for (lacks, word) in [
        (lacking.cgroups || group.is_none(), "cgroups"),
        (lacking.console, "console"),
        (lacking.writable_root, "writable_root"),
    ] {
        if lacks {
            words.push(word);
        }
    }
    let join = group.map_or(String::new(), |group| {
        format!("echo $$ > {}/cgroup.procs && ", group.display())
    });
    let script = format!(
        "{join}exec setpriv --pdeathsig=KILL unshare --mount --uts --ipc --net --cgroup --pid --fork --kill-child=KILL \
         sh \"$D/boot.sh\""
    );
    let environment: Vec<String> = setup
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let calls: Vec<String> = lacking.system_calls.iter().map(u32::to_string).collect();
    Command::new("sh")
        .args(["-c", &script])
        .env("D", &setup.directory)
        .env("LACK", words.join(" "))
        .env(
            "RUN_SIZE",
            setup
                .run_bytes
                .map_or("64m".to_owned(), |bytes| bytes.to_string()),
        )
        .env("INIT_ENV", environment.join(" "))
        .env("SECCOMP", calls.join(","))
        .env("FILTER", include_str!("filter.py"))
        .stdin(Stdio::null())
        .stdout(console.try_clone().expect("a descriptor"))
        .stderr(console.try_clone().expect("a descriptor"))
        .spawn()
        .expect("sh runs")
}

//! The whole shell, with a fake init, a fake helper and hostile clients over real sockets.
//!
//! The manager under test is driven turn by turn in this process. Init is a thread that keeps
//! descriptors as the real one does; the helper is the test itself: its own process is entered in
//! the table as the helper's.

mod clients;
mod endings;
mod helpers;
mod life;
mod stores;
mod watchdog;

use crate::helpers::{Helper, Phase};
use crate::manager::Manager;
use crate::start::Places;
use init_wire::{FRAME_MAX, FromManager, Hello, Kind, Label, ToManager};
use platform::poll::{Interest, Poller};
use platform::{clock, process, socket};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use units::state::{ActiveState, JobMode, JobResult, JobVerb, Outcome, ProcId, Report};
use units::wire::control::{ErrorKind, Reply, Request, UnitLine};
use units::wire::helper::{Command, FromHelper, ToHelper, Verb};
use units::wire::{self, MAX_FRAME};

/// Nothing in here takes this long, except on a machine that does not run.
const PATIENCE: u64 = 20_000_000;

/// What the fake init has kept and heard.
#[derive(Default)]
struct Memory {
    kept: BTreeMap<Label, OwnedFd>,
    acked: u64,
    finish: bool,
    ready: bool,
    /// An exit that is on record and not told yet: it is before the end of the next list.
    untold: Option<init_wire::Exit>,
    /// Of the hardware watchdog: every timeout that was told, and the time at reboot.
    timeouts: Vec<u32>,
    at_reboot: u32,
}

/// A machine: directories, init's memory.
struct World {
    places: Places,
    memory: Arc<Mutex<Memory>>,
    epoch: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.places.root);
    }
}

impl World {
    fn new(units: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("sm-{:x}", platform::random::bits128() >> 80));
        let directory = root.join("etc/sysmaster/system");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::create_dir_all(root.join("helpers")).unwrap();
        for (name, text) in units {
            std::fs::write(directory.join(name), text).unwrap();
        }
        std::fs::write(root.join("helpers/service"), "").unwrap();
        Self {
            places: Places::below(&root, |_| None),
            memory: Arc::default(),
            epoch: 0,
        }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.places.run.join(name)
    }

    /// Starts the next manager. Returns it and init's end of its socket.
    fn manager(&mut self) -> (Manager, Arc<OwnedFd>) {
        self.epoch += 1;
        let (theirs, ours) = socket::pair().unwrap();
        let hello = Hello {
            version: init_wire::VERSION,
            epoch: self.epoch,
            flags: init_wire::flags::CONTAINER,
            capacity: 100,
            ..Hello::default()
        };
        let init = Arc::new(ours);
        say(&init, ToManager::Hello(hello));
        let (end, memory) = (init.clone(), self.memory.clone());
        std::thread::spawn(move || keep(&end, &memory));
        let manager = Manager::start(theirs, &self.places, clock::now()).unwrap();
        (manager, init)
    }

    fn heard<T>(&self, what: impl Fn(&Memory) -> T) -> T {
        what(&self.memory.lock().unwrap())
    }
}

fn say(init: &OwnedFd, frame: ToManager) {
    let mut buffer = [0; FRAME_MAX];
    socket::send(init, frame.encode(&mut buffer).unwrap(), &[]).unwrap();
}

fn say_with(init: &OwnedFd, frame: ToManager, fd: &OwnedFd) {
    let mut buffer = [0; FRAME_MAX];
    socket::send(init, frame.encode(&mut buffer).unwrap(), &[fd.as_fd()]).unwrap();
}

/// Init's side, until the manager is gone.
fn keep(init: &OwnedFd, memory: &Mutex<Memory>) {
    let mut poller = Poller::new(&[]).unwrap();
    poller.add(init, 0, Interest::READ).unwrap();
    let mut buffer = [0; FRAME_MAX];
    loop {
        let Some(got) = socket::receive(init, &mut buffer).unwrap() else {
            poller.wait(None, &mut Vec::new()).unwrap();
            continue;
        };
        if got.length == 0 {
            return;
        }
        let mut memory = memory.lock().unwrap();
        match FromManager::decode(&buffer[..got.length]).unwrap() {
            FromManager::Keep { label } => {
                memory
                    .kept
                    .insert(label, got.fds.into_iter().next().unwrap());
                say(init, ToManager::Kept { label });
            }
            FromManager::Fetch { label } => match memory.kept.get(&label) {
                Some(fd) => say_with(init, ToManager::Fd { label }, fd),
                None => say(init, ToManager::NotFound { label }),
            },
            FromManager::Ack { seq } => memory.acked = seq,
            FromManager::List { .. } => {
                if let Some(exit) = memory.untold.take() {
                    say(init, ToManager::Exited(exit));
                }
                say(init, ToManager::ListEnd { count: 0 });
            }
            FromManager::Finish => memory.finish = true,
            FromManager::Ready => memory.ready = true,
            FromManager::WatchdogAtReboot { ms } => memory.at_reboot = ms,
            FromManager::Watchdog { timeout_ms } => {
                memory.timeouts.push(timeout_ms);
                if timeout_ms == 0 {
                    memory.kept.retain(|label, _| label.kind != Kind::WATCHDOG);
                }
                let there = memory.kept.keys().any(|label| label.kind == Kind::WATCHDOG);
                let timeout_ms = if there { timeout_ms } else { 0 };
                say(init, ToManager::WatchdogArmed { timeout_ms });
            }
            _ => {}
        }
    }
}

/// Drives the manager until something is so.
fn until<T>(
    manager: &mut Manager,
    what: &str,
    mut done: impl FnMut(&mut Manager) -> Option<T>,
) -> T {
    let end = clock::now() + PATIENCE;
    loop {
        manager.turn();
        if let Some(found) = done(manager) {
            return found;
        }
        assert!(clock::now() < end, "never came: {what}");
        manager.wait(Some(clock::now() + 20_000)).unwrap();
    }
}

/// The next frame on a socket, driving the manager meanwhile.
fn next<T: serde::de::DeserializeOwned>(manager: &mut Manager, fd: &OwnedFd) -> T {
    until(manager, "a frame", |_| {
        let mut buffer = vec![0; MAX_FRAME];
        let got = socket::receive(fd, &mut buffer).unwrap()?;
        assert!(got.length > 0, "the manager closed the connection");
        Some(wire::decode(&buffer[..got.length]).unwrap())
    })
}

/// Whether the manager has closed this connection.
fn closed(manager: &mut Manager, fd: &OwnedFd) -> Vec<Reply> {
    let mut said = Vec::new();
    until(manager, "the end of a connection", |_| {
        let mut buffer = vec![0; MAX_FRAME];
        match socket::receive(fd, &mut buffer) {
            Ok(Some(got)) if got.length > 0 => {
                said.push(wire::decode(&buffer[..got.length]).unwrap());
                None
            }
            Ok(None) => None,
            _ => Some(()),
        }
    });
    said
}

/// A client that has said `Hello`.
fn client(manager: &mut Manager, path: &Path) -> OwnedFd {
    let fd = socket::connect(path).unwrap();
    send(&fd, &Request::Hello { version: 1 });
    assert!(matches!(next(manager, &fd), Reply::Hello { .. }));
    fd
}

fn send<T: serde::Serialize>(fd: &OwnedFd, frame: &T) {
    socket::send(fd, &wire::encode(frame).unwrap(), &[]).unwrap();
}

/// All frames of an answer.
fn ask(manager: &mut Manager, fd: &OwnedFd, request: &Request) -> Vec<Reply> {
    send(fd, request);
    let mut replies = Vec::new();
    loop {
        match next(manager, fd) {
            Reply::End => return replies,
            error @ Reply::Error { .. } => {
                replies.push(error);
                return replies;
            }
            reply => replies.push(reply),
        }
    }
}

fn units(manager: &mut Manager, fd: &OwnedFd) -> Vec<UnitLine> {
    let request = Request::ListUnits {
        patterns: Vec::new(),
        all: true,
    };
    let lines = ask(manager, fd, &request)
        .into_iter()
        .filter_map(|reply| match reply {
            Reply::Unit(line) => Some(line),
            _ => None,
        });
    lines.collect()
}

fn state(manager: &mut Manager, fd: &OwnedFd, unit: &str) -> ActiveState {
    units(manager, fd)
        .into_iter()
        .find(|line| line.name == unit)
        .unwrap()
        .active
}

/// The helper that this test plays. Its process is the test's own.
struct Fake {
    fd: OwnedFd,
}

impl Fake {
    fn own() -> ProcId {
        let own = process::own();
        ProcId {
            pid: own.pid,
            start: own.start,
        }
    }

    /// Enters itself in the table, as if the manager had started it.
    fn appoint(manager: &mut Manager) {
        let index = manager.helpers.index("service").unwrap();
        let helper = manager.helpers.get_mut(index).unwrap();
        helper.proc = Some(Self::own());
        helper.phase = Phase::Awaited;
        manager.persist.helper("service", Self::own()).unwrap();
    }

    /// Connects and is welcomed; reports these units as up and says `Synced`. Returns itself and
    /// the units it was sent.
    fn connect(manager: &mut Manager, world: &World, up: &[(&str, u64)]) -> (Self, Vec<String>) {
        let fd = socket::connect(&world.socket("helper")).unwrap();
        let fake = Self { fd };
        fake.say(&FromHelper::Hello {
            version: wire::VERSION,
            build: "fake".into(),
            unit_type: "service".into(),
            epoch: 0,
            adopted: false,
        });
        let mut loaded = Vec::new();
        let mut memories = 0;
        loop {
            match next(manager, &fake.fd) {
                ToHelper::Welcome { epoch, .. } => assert_eq!(epoch, world.epoch),
                ToHelper::NotFound { .. } => memories += 1,
                ToHelper::Load(source) => loaded.push(source.unit),
                ToHelper::Sync => break,
                other => panic!("unexpected before Sync: {other:?}"),
            }
        }
        assert_eq!(memories, 2);
        for (unit, seq) in up {
            fake.say(&FromHelper::Report(report(unit, *seq, ActiveState::Active)));
        }
        fake.say(&FromHelper::Synced);
        (fake, loaded)
    }

    fn say(&self, frame: &FromHelper) {
        send(&self.fd, frame);
    }

    /// The next frame that is not a ping, which is answered.
    fn next(&self, manager: &mut Manager) -> ToHelper {
        loop {
            match next(manager, &self.fd) {
                ToHelper::Ping { nonce } => self.say(&FromHelper::Pong { nonce }),
                other => return other,
            }
        }
    }

    /// The next command; it is carried out at once.
    fn obey(&self, manager: &mut Manager) -> (String, Verb, u64) {
        loop {
            if let ToHelper::Command(command) = self.next(manager) {
                self.carry_out(&command);
                return (command.unit, command.verb, command.seq);
            }
        }
    }

    fn carry_out(&self, command: &Command) {
        let active = match command.verb {
            Verb::Stop => ActiveState::Inactive,
            _ => ActiveState::Active,
        };
        let mut report = report(&command.unit, command.seq, active);
        report.invocation = command.invocation;
        self.say(&FromHelper::Report(report));
    }

    /// Carries out what was sent so far.
    fn obey_what_there_is(&self) {
        let mut buffer = vec![0; MAX_FRAME];
        while let Some(got) = socket::receive(&self.fd, &mut buffer).unwrap() {
            match wire::decode(&buffer[..got.length]).unwrap() {
                ToHelper::Ping { nonce } => self.say(&FromHelper::Pong { nonce }),
                ToHelper::Command(command) => self.carry_out(&command),
                _ => {}
            }
        }
    }
}

fn report(unit: &str, seq: u64, active: ActiveState) -> Report {
    Report {
        unit: unit.into(),
        seq,
        outcome: Outcome::Done,
        active,
        sub: if active.is_up() {
            "running".into()
        } else {
            "dead".into()
        },
        result: "success".into(),
        since: 1,
        ..Report::default()
    }
}

const TARGET: &str = "[Unit]\nDefaultDependencies=no\n";
const DEFAULT: &str =
    "[Unit]\nDefaultDependencies=no\nWants=a.service b.service\nAfter=a.service\n";
const SERVICE: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/x\n";

fn services() -> World {
    World::new(&[
        ("default.target", DEFAULT),
        ("a.service", SERVICE),
        ("b.service", SERVICE),
        (
            "poweroff.target",
            "[Unit]\nDefaultDependencies=no\nConflicts=a.service b.service\nAfter=a.service b.service\n",
        ),
    ])
}

/// A machine whose two services are up.
fn booted(world: &mut World) -> (Manager, Arc<OwnedFd>, Fake) {
    let (mut manager, init) = world.manager();
    Fake::appoint(&mut manager);
    manager.begin();
    let (fake, loaded) = Fake::connect(&mut manager, world, &[]);
    assert!(loaded.len() >= 2, "{loaded:?}");
    fake.obey(&mut manager);
    fake.obey(&mut manager);
    until(&mut manager, "the default target", |m| {
        (m.boot.record.finished != 0).then_some(())
    });
    (manager, init, fake)
}

//! The whole shell, with a fake init, a fake helper and hostile clients over real sockets.
//!
//! The manager under test is driven turn by turn in this process. Init is a thread that keeps
//! descriptors as the real one does; the helper is the test itself: its own process is entered in
//! the table as the helper's.

use crate::helpers::{Helper, Phase};
use crate::manager::Manager;
use crate::start::Places;
use init_wire::{Before, Exit, FRAME_MAX, FromManager, Hello, Label, ToManager};
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
        let places = Places {
            run: root.join("run"),
            helpers: root.join("helpers"),
            root: root.clone(),
            builtin: |_| None,
            speak: false,
        };
        Self {
            places,
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
            version: 1,
            build: [0; 8],
            epoch: self.epoch,
            flags: init_wire::flags::CONTAINER,
            before: Before::Nobody,
            shutdown: None,
            capacity: 100,
            kept: 0,
            discarded: 0,
            waiting: 0,
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
            FromManager::Finish => memory.finish = true,
            FromManager::Ready => memory.ready = true,
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
            version: 1,
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
    assert_eq!(loaded.len(), 2);
    fake.obey(&mut manager);
    fake.obey(&mut manager);
    until(&mut manager, "the default target", |m| {
        (m.boot.record.finished != 0).then_some(())
    });
    (manager, init, fake)
}

#[test]
fn it_boots_and_tells_init() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    assert_eq!(
        state(&mut manager, &control, "default.target"),
        ActiveState::Active
    );
    assert_eq!(
        state(&mut manager, &control, "a.service"),
        ActiveState::Active
    );
    until(&mut manager, "that init is told", |_| {
        world.heard(|memory| memory.ready).then_some(())
    });
}

#[test]
fn the_next_manager_knows_everything_and_repeats_what_was_in_flight() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    // A stop is sent and not answered; then the manager dies.
    let control = client(&mut manager, &world.socket("control"));
    let units = vec!["b.service".to_owned()];
    send(
        &control,
        &Request::Jobs {
            verb: JobVerb::Stop,
            units,
            mode: JobMode::Replace,
            wait: true,
        },
    );
    let seq = loop {
        if let ToHelper::Command(command) = fake.next(&mut manager) {
            assert_eq!(
                (command.unit.as_str(), command.verb),
                ("b.service", Verb::Stop)
            );
            break command.seq;
        }
    };
    drop((manager, fake));
    // A client that connects during the outage waits in the backlog.
    let early = socket::connect(&world.socket("control")).unwrap();
    send(&early, &Request::Hello { version: 1 });

    let (mut manager, _init) = world.manager();
    manager.begin();
    assert!(manager.boot.recovery);
    assert!(matches!(
        next(&mut manager, &early),
        Reply::Hello { control: true, .. }
    ));
    let (fake, loaded) = Fake::connect(
        &mut manager,
        &world,
        &[("a.service", 1 << 32), ("b.service", 1 << 32)],
    );
    assert_eq!(loaded.len(), 2);
    assert_eq!(
        fake.obey(&mut manager),
        ("b.service".into(), Verb::Stop, seq),
        "the same command"
    );
    until(&mut manager, "the stop", |m| {
        m.engine.jobs().next().is_none().then_some(())
    });
    assert_eq!(
        state(&mut manager, &early, "a.service"),
        ActiveState::Active
    );
    assert_eq!(
        state(&mut manager, &early, "b.service"),
        ActiveState::Inactive
    );
}

#[test]
fn an_exit_is_held_until_the_helper_that_was_away_has_taken_it() {
    let mut world = services();
    let (mut manager, init, fake) = booted(&mut world);
    let orphan = Exit {
        seq: 1,
        pid: 4_000_001,
        start: 7,
        status: 0,
    };
    say(&init, ToManager::Exited(orphan));
    until(&mut manager, "an orphan's exit", |_| {
        world.heard(|m| m.acked == 1).then_some(())
    });
    // The helper loses contact; then a process ends. Both wait to be read in the same turn.
    drop(fake);
    let exit = Exit {
        seq: 2,
        pid: 4_000_002,
        start: 8,
        status: 9,
    };
    say(&init, ToManager::Exited(exit));
    until(&mut manager, "the exit", |m| {
        (m.exits.held() == 1).then_some(())
    });
    assert_eq!(world.heard(|memory| memory.acked), 1);
    let up = [("a.service", 1 << 32), ("b.service", 1 << 32)];
    let (fake, _) = Fake::connect(&mut manager, &world, &up);
    let proc = ProcId {
        pid: exit.pid,
        start: exit.start,
    };
    loop {
        if let ToHelper::Exited { proc: told, status } = fake.next(&mut manager) {
            assert_eq!((told, status), (proc, 9));
            break;
        }
    }
    manager.turn();
    assert_eq!(
        world.heard(|memory| memory.acked),
        1,
        "not before it is recorded"
    );
    fake.say(&FromHelper::ExitTaken { proc });
    until(&mut manager, "the acknowledgement", |_| {
        world.heard(|m| m.acked == 2).then_some(())
    });
}

#[test]
fn a_client_waits_for_its_job() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let units = vec!["a.service".to_owned()];
    send(
        &control,
        &Request::Jobs {
            verb: JobVerb::Restart,
            units,
            mode: JobMode::Replace,
            wait: true,
        },
    );
    assert!(matches!(next(&mut manager, &control), Reply::Queued { job, .. } if job > 0));
    assert_eq!(fake.obey(&mut manager).1, Verb::Stop);
    assert_eq!(fake.obey(&mut manager).1, Verb::Start);
    let ended = loop {
        match next(&mut manager, &control) {
            Reply::Waiting(_) => {}
            other => break other,
        }
    };
    assert!(
        matches!(
            ended,
            Reply::Ended {
                result: JobResult::Done,
                ..
            }
        ),
        "{ended:?}"
    );
    assert_eq!(next::<Reply>(&mut manager, &control), Reply::End);
}

#[test]
fn refusals_say_why() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let start = |unit: &str| Request::Jobs {
        verb: JobVerb::Start,
        units: vec![unit.into()],
        mode: JobMode::Replace,
        wait: true,
    };
    for (request, expected) in [
        (start("nothing.service"), ErrorKind::NotFound),
        (start("no unit name"), ErrorKind::BadRequest),
        (Request::Cancel { jobs: vec![77] }, ErrorKind::NotFound),
        (
            Request::Kill {
                unit: "a.service".into(),
                whom: Default::default(),
                signal: 99,
            },
            ErrorKind::BadRequest,
        ),
        (
            Request::ListUnits {
                patterns: vec!["x".repeat(300)],
                all: false,
            },
            ErrorKind::BadRequest,
        ),
    ] {
        match ask(&mut manager, &control, &request).as_slice() {
            [Reply::Error { kind, message }] => {
                assert_eq!(*kind, expected, "{message}");
                assert!(!message.is_empty());
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }
}

#[test]
fn hostile_clients_cost_only_themselves() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let public = world.socket("public");
    let silent: Vec<OwnedFd> = (0..4).map(|_| socket::connect(&public).unwrap()).collect();
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        &[0x80; 9000],
    ] {
        let fd = socket::connect(&public).unwrap();
        // Descriptors that come along are closed.
        let (reader, writer) = platform::fd::pipe().unwrap();
        socket::send(&fd, bytes, &[writer.as_fd()]).unwrap();
        drop(writer);
        let said = closed(&mut manager, &fd);
        let kinds = |reply: &Reply| {
            matches!(
                reply,
                Reply::Error {
                    kind: ErrorKind::BadRequest,
                    ..
                }
            )
        };
        assert!(said.iter().all(kinds) && said.len() == 1, "{said:?}");
        assert_eq!(
            platform::fd::read(&reader, &mut [0; 1]).unwrap(),
            0,
            "a descriptor was kept"
        );
    }
    // More than a frame can have: the rest of the packet is cut, the client told.
    let fd = socket::connect(&public).unwrap();
    let sent = socket::send(&fd, &vec![0; MAX_FRAME * 2], &[]);
    if sent.is_ok() {
        assert_eq!(closed(&mut manager, &fd).len(), 1);
    }
    // Asks and asks and never reads.
    let greedy = client(&mut manager, &public);
    for _ in 0..2000 {
        let request = Request::ListUnits {
            patterns: Vec::new(),
            all: true,
        };
        if socket::send(&greedy, &wire::encode(&request).unwrap(), &[]).is_err() {
            break;
        }
    }
    let control = client(&mut manager, &world.socket("control"));
    assert_eq!(
        state(&mut manager, &control, "a.service"),
        ActiveState::Active
    );
    drop(silent);
}

#[test]
fn public_places_are_limited_and_control_is_not_concerned() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let crowd: Vec<OwnedFd> = (0..100)
        .map(|_| socket::connect(&world.socket("public")).unwrap())
        .collect();
    let control = client(&mut manager, &world.socket("control"));
    assert_eq!(
        state(&mut manager, &control, "a.service"),
        ActiveState::Active
    );
    for _ in 0..20 {
        manager.wait(Some(clock::now() + 1_000)).unwrap();
        manager.turn();
    }
    assert!(manager.server.serials().len() <= 65);
    // Somebody who speaks gets a place from those that are silent.
    let speaker = client(&mut manager, &world.socket("public"));
    let denied = ask(&mut manager, &speaker, &Request::Reload);
    assert!(matches!(
        denied.as_slice(),
        [Reply::Error {
            kind: ErrorKind::Denied,
            ..
        }]
    ));
    assert!(units(&mut manager, &speaker).len() >= 3);
    drop(crowd);
}

#[test]
fn a_stranger_is_no_helper() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    // The same process again takes the place of its own connection, as after a lost one; but a
    // process that was not started as a helper is closed.
    let index = manager.helpers.find("service").unwrap();
    manager.helpers.get_mut(index).unwrap().proc = Some(ProcId { pid: 1, start: 1 });
    let stranger = socket::connect(&world.socket("helper")).unwrap();
    until(&mut manager, "the end of the stranger", |_| {
        let mut buffer = [0; 16];
        socket::receive(&stranger, &mut buffer)
            .unwrap()
            .map(|got| assert_eq!(got.length, 0))
    });
    assert!(
        manager.helpers.get(index).is_some_and(Helper::synced),
        "the real one is not disturbed"
    );
    drop(fake);
}

#[test]
fn shutdown_stops_everything_and_then_it_is_inits_turn() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let kind = units::wire::control::ShutdownKind::PowerOff;
    assert!(
        ask(
            &mut manager,
            &control,
            &Request::Shutdown { kind, force: false }
        )
        .is_empty()
    );
    assert_eq!(fake.obey(&mut manager).1, Verb::Stop);
    assert!(
        !world.heard(|memory| memory.finish),
        "one service is still up"
    );
    drop((manager, fake));
    // The manager dies in the middle: the next one goes on.
    let (mut manager, _init) = world.manager();
    manager.begin();
    let (fake, _) = Fake::connect(&mut manager, &world, &[]);
    // Stops that were not confirmed to the manager before are repeated.
    until(&mut manager, "the last step", |_| {
        fake.obey_what_there_is();
        world.heard(|m| m.finish).then_some(())
    });
    let control = client(&mut manager, &world.socket("control"));
    let start = Request::Jobs {
        verb: JobVerb::Start,
        units: vec!["a.service".into()],
        mode: JobMode::Replace,
        wait: true,
    };
    match ask(&mut manager, &control, &start).as_slice() {
        [Reply::Error { kind, .. }] => assert_eq!(*kind, ErrorKind::ShuttingDown),
        other => panic!("{other:?}"),
    }
    drop(fake);
}

#[test]
fn a_type_without_a_helper_is_said_so() {
    let mut world = World::new(&[
        ("default.target", TARGET),
        ("x.mount", "[Mount]\nWhere=/x\n"),
    ]);
    let (mut manager, _init) = world.manager();
    manager.begin();
    let control = client(&mut manager, &world.socket("control"));
    let start = Request::Jobs {
        verb: JobVerb::Start,
        units: vec!["x.mount".into()],
        mode: JobMode::Replace,
        wait: true,
    };
    match ask(&mut manager, &control, &start).as_slice() {
        [
            Reply::Error {
                kind: ErrorKind::BadUnit,
                message,
            },
        ] => {
            assert!(message.contains("no helper"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// A process that stands in for a helper and can be stopped and killed. It is entered as an earlier
/// manager's child: its end is told by init.
struct Victim {
    child: std::process::Child,
    proc: ProcId,
}

impl Victim {
    fn new() -> Self {
        let child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let start = process::start_time(child.id()).unwrap();
        let proc = ProcId {
            pid: child.id(),
            start,
        };
        Self { child, proc }
    }

    /// Takes the place of the helper in the table.
    fn appoint(&self, manager: &mut Manager) {
        let index = manager.helpers.find("service").unwrap();
        manager.helpers.get_mut(index).unwrap().proc = Some(self.proc);
        manager.persist.helper("service", self.proc).unwrap();
    }

    fn stop(&self) {
        let proc = process::ProcId {
            pid: self.proc.pid,
            start: self.proc.start,
        };
        process::kill(proc, platform::signal::SIGSTOP).unwrap();
        while process::status(self.proc.pid).unwrap().state != b'T' {
            std::thread::yield_now();
        }
    }

    fn killed(&self) -> Option<()> {
        let now = process::status(self.proc.pid).filter(|now| now.start == self.proc.start);
        now.is_none_or(|now| now.is_dead()).then_some(())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CHILD_SIGNAL: ToManager = ToManager::Signal {
    signo: libc::SIGCHLD as u8,
};

#[test]
fn a_stopped_helper_of_an_earlier_manager_is_killed_when_init_tells() {
    let mut world = services();
    let (mut manager, init, _fake) = booted(&mut world);
    let victim = Victim::new();
    victim.appoint(&mut manager);
    victim.stop();
    say(&init, CHILD_SIGNAL);
    until(&mut manager, "the kill", |_| victim.killed());
}

#[test]
fn a_stop_right_after_the_look_is_found_without_a_notice() {
    let mut world = services();
    let (mut manager, init, fake) = booted(&mut world);
    let victim = Victim::new();
    victim.appoint(&mut manager);
    // The notice comes before the stop: nothing to be seen yet, but an answer is owed.
    say(&init, CHILD_SIGNAL);
    until(&mut manager, "a debt", |m| {
        m.helpers.iter().next().unwrap().debt.map(drop)
    });
    victim.stop();
    until(&mut manager, "the kill", |_| victim.killed());
    drop(fake);
}

#[test]
fn the_next_manager_replaces_a_helper_that_is_stopped() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let victim = Victim::new();
    victim.appoint(&mut manager);
    victim.stop();
    drop((manager, fake));
    let (manager, _init) = world.manager();
    assert_eq!(manager.helpers.iter().next().unwrap().phase, Phase::Dying);
    let end = clock::now() + PATIENCE;
    while victim.killed().is_none() {
        assert!(clock::now() < end, "it is killed");
        std::thread::yield_now();
    }
}

#[test]
fn every_phase_with_a_process_has_a_deadline() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let owes = |manager: &Manager| manager.helpers.iter().next().unwrap().debt.is_some();
    drop(fake);
    until(&mut manager, "the loss", |m| {
        (m.helpers.iter().next().unwrap().phase == Phase::Awaited).then_some(())
    });
    assert!(owes(&manager), "Hello");
    let fd = socket::connect(&world.socket("helper")).unwrap();
    until(&mut manager, "the connection", |m| {
        m.helpers.iter().next().unwrap().conn.as_ref().map(drop)
    });
    assert!(owes(&manager), "Hello on the new connection");
    send(
        &fd,
        &FromHelper::Hello {
            version: 1,
            build: "fake".into(),
            unit_type: "service".into(),
            epoch: 0,
            adopted: false,
        },
    );
    until(&mut manager, "the welcome", |m| {
        assert!(owes(m), "in every turn of it");
        (m.helpers.iter().next().unwrap().phase == Phase::Syncing).then_some(())
    });
    let victim = Victim::new();
    victim.appoint(&mut manager);
    manager.fail_helper(0, "is tested");
    assert!(owes(&manager), "its end");
}

/// Silent clients, more than there are places for.
fn fill_public_places(manager: &mut Manager, world: &World) -> Vec<OwnedFd> {
    let crowd = (0..100)
        .map(|_| socket::connect(&world.socket("public")).unwrap())
        .collect();
    // One is that of the control socket.
    until(manager, "a crowd", |m| {
        (m.server.serials().len() == 65).then_some(())
    });
    crowd
}

#[test]
fn a_job_is_answered_while_the_public_places_are_taken() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let crowd = fill_public_places(&mut manager, &world);
    let units = vec!["a.service".to_owned()];
    send(
        &control,
        &Request::Jobs {
            verb: JobVerb::Restart,
            units,
            mode: JobMode::Replace,
            wait: true,
        },
    );
    assert_eq!(fake.obey(&mut manager).1, Verb::Stop);
    // The crowd leaves and another comes while the job is under way.
    drop(crowd);
    let crowd: Vec<OwnedFd> = (0..200)
        .map(|_| socket::connect(&world.socket("public")).unwrap())
        .collect();
    assert_eq!(fake.obey(&mut manager).1, Verb::Start);
    let mut ended = 0;
    loop {
        match next(&mut manager, &control) {
            Reply::Ended { result, .. } => {
                assert_eq!(result, JobResult::Done);
                ended += 1;
            }
            Reply::End => break,
            Reply::Queued { .. } | Reply::Waiting(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended, 1);
    // When they have left there is room for somebody who asks.
    drop(crowd);
    let public = client(&mut manager, &world.socket("public"));
    assert_eq!(
        state(&mut manager, &public, "a.service"),
        ActiveState::Active
    );
}

//! Helper processes over the socket transport, with this test as manager and init: real forks,
//! real kills. Each test runs in a process of its own (see `ports/platform/tests/processes.rs`).
#![allow(clippy::unwrap_used)]
#![allow(clippy::expect_used)]
#![allow(clippy::panic)]
#![allow(clippy::indexing_slicing)]

use platform::memory::Memory;
use platform::poll::{Event, Interest, Poller, Ready};
use platform::process;
use platform::{child, clock, fd, signal, socket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use units::journal::{Attempt, Journal, SlotId, SlotState};
use units::runtime::{Context, Message, Settings, UnitType, hash128, kind};
use units::state::{Invocation, Micros, ProcId, Report};
use units::wire::helper::{Command, FromHelper, HelperConfig, Label, ToHelper, Verb};
use units::wire::{self, VERSION};

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("a_helper_serves_and_quits", a_helper_serves_and_quits),
    (
        "a_manager_dies_and_another_comes",
        a_manager_dies_and_another_comes,
    ),
    (
        "a_connection_waits_in_the_backlog",
        a_connection_waits_in_the_backlog,
    ),
    (
        "a_helper_waits_for_a_listener",
        a_helper_waits_for_a_listener,
    ),
    (
        "a_refused_helper_does_not_spin",
        a_refused_helper_does_not_spin,
    ),
    (
        "garbage_leaves_no_descriptors",
        garbage_leaves_no_descriptors,
    ),
    (
        "children_are_told_while_there_is_no_manager",
        children_are_told_while_there_is_no_manager,
    ),
    ("killed_between_fork_and_slot", killed_between_fork_and_slot),
    ("killed_between_slot_and_exec", killed_between_slot_and_exec),
    ("killed_before_the_fork", killed_before_the_fork),
    ("killed_after_exec", killed_after_exec),
    ("idle_is_asleep", idle_is_asleep),
];

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    if let Some(exact) = name.strip_prefix("run:") {
        let (_, test) = TESTS.iter().find(|(test, _)| *test == exact).unwrap();
        test();
        return;
    }
    if std::env::args().any(|argument| argument == "--list") {
        TESTS.iter().for_each(|(test, _)| println!("{test}: test"));
        return;
    }
    let own = std::env::current_exe().unwrap();
    let (mut passed, mut failed) = (0, 0);
    for (test, _) in TESTS
        .iter()
        .filter(|(test, _)| name.starts_with('-') || test.contains(&name))
    {
        let done = std::process::Command::new(&own)
            .arg(format!("run:{test}"))
            .status()
            .unwrap();
        println!(
            "test {test} ... {}",
            if done.success() { "ok" } else { "FAILED" }
        );
        if done.success() {
            passed += 1
        } else {
            failed += 1
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored");
    std::process::exit(i32::from(failed > 0));
}

// --- the helper -------------------------------------------------------------------------------

/// Forks one child for each command. The name of the command's unit says where the child waits
/// for the test to open its gate.
struct Toy {
    base: PathBuf,
    slots: Vec<(u32, SlotId)>,
}

const REVOKED_CODE: i32 = 99;

/// Waits until the test opens the gate's other end.
fn wait_at(gate: &Path) {
    drop(std::fs::File::open(gate));
}

impl Toy {
    fn report(context: &mut Context<'_>, sub: String, main: Option<ProcId>) {
        let report = Report {
            unit: sub.clone(),
            sub,
            main,
            ..Report::default()
        };
        context.send(FromHelper::Report(report));
    }

    fn fork(&mut self, command: &Command, context: &mut Context<'_>) {
        let attempt = Attempt {
            unit: 1,
            seq: command.seq,
            step: 7,
            ..Attempt::default()
        };
        let id = context.journal.slots.claim(&attempt).unwrap();
        if command.unit == "die-before-fork" {
            process::kill_child(process::own_pid(), signal::SIGKILL).unwrap();
        }
        let gate = self.base.join("gate");
        let hold = command.unit.as_str();
        let slots = &context.journal.slots;
        let made = process::spawn(None, |_| {
            if hold == "before-fill" {
                wait_at(&gate);
            }
            if !slots.fill(id, process::own().into()) {
                return REVOKED_CODE;
            }
            if hold == "before-exec" {
                wait_at(&gate);
            }
            let _ = child::reset_signals(false);
            slots.started(id);
            let mut arguments = child::Strings::new();
            let seconds: &[u8] = if hold == "short" { b"0" } else { b"1000" };
            for argument in [b"sleep", seconds] {
                arguments.push(argument).unwrap();
            }
            child::close_at_exec(3, &[]);
            child::execute(c"/bin/sleep", &mut arguments, &mut child::Strings::new());
            1
        });
        let pid = made.unwrap().pid;
        self.slots.push((pid, id));
        Self::report(context, format!("forked {pid}"), None);
    }
}

impl UnitType for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }
    fn adopt(&mut self, context: &mut Context<'_>) {
        for id in context.journal.slots.in_use() {
            let (word, main) = match context.journal.slots.revoke(id) {
                SlotState::Revoked => ("revoked", None),
                SlotState::Filled(proc) => ("filled", Some(proc)),
                SlotState::Started(proc) => ("started", Some(proc)),
                _ => ("other", None),
            };
            context
                .journal
                .records
                .put(2, 0, 0, word.as_bytes())
                .unwrap();
            self.slots.push((main.map_or(0, |proc| proc.pid), id));
        }
    }
    fn welcome(&mut self, _: &HelperConfig, _: &mut Context<'_>) {}
    fn message(&mut self, message: Message, context: &mut Context<'_>) {
        match message {
            Message::Command(command) => self.fork(&command, context),
            Message::Sync => {
                let found = context
                    .journal
                    .records
                    .records()
                    .map(|record| record.payload);
                for text in found.collect::<Vec<_>>() {
                    Self::report(context, String::from_utf8(text).unwrap(), None);
                }
            }
            _ => {}
        }
    }
    fn exited(&mut self, proc: ProcId, status: i32, context: &mut Context<'_>) {
        if let Some((_, id)) = self.slots.iter().find(|(pid, _)| *pid == proc.pid) {
            context.journal.slots.exited(*id, proc, status);
        }
        let text = format!("exited {} {status}", proc.pid);
        context
            .journal
            .records
            .put(1, 0, u64::from(proc.pid), text.as_bytes())
            .unwrap();
        Self::report(context, text, None);
    }
    fn ready(&mut self, _: Ready, _: &mut Context<'_>) {}
    fn tick(&mut self, _: Micros, _: &mut Context<'_>) {}
    fn deadline(&self) -> Option<Micros> {
        None
    }
}

// --- the manager ------------------------------------------------------------------------------

/// Manager and init in one: listens, keeps the memories, and inherits orphans.
struct World {
    base: PathBuf,
    poller: Poller,
    listener: Option<OwnedFd>,
    connection: Option<OwnedFd>,
    helper: u32,
    kept: Vec<(Label, OwnedFd)>,
}

impl Drop for World {
    fn drop(&mut self) {
        for proc in process::children_of(process::own_pid()) {
            let _ = process::kill(proc, signal::SIGKILL);
        }
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

impl World {
    fn new() -> Self {
        process::become_subreaper().unwrap();
        let name = format!("helper-test-{}", process::own_pid());
        let base = std::env::temp_dir().join(name);
        std::fs::create_dir(&base).unwrap();
        let poller = Poller::new(&[]).unwrap();
        let mut world = Self {
            base,
            poller,
            listener: None,
            connection: None,
            helper: 0,
            kept: Vec::new(),
        };
        world.listen();
        world
    }

    fn listen(&mut self) {
        let listener = socket::listen(&self.base.join("helper"), 0o600, 8).unwrap();
        self.poller.add(&listener, 1, Interest::READ).unwrap();
        self.listener = Some(listener);
    }

    fn start_helper(&mut self) {
        let base = self.base.clone();
        self.helper = process::spawn(None, |_| {
            child::close_from(3, &[]);
            let settings = Settings {
                fallback: base.clone(),
                ..Settings::new("test")
            };
            let toy = Toy {
                base: base.clone(),
                slots: Vec::new(),
            };
            units::runtime::socket::run_at(Box::new(toy), settings, &base.join("helper"))
        })
        .unwrap()
        .pid;
    }

    /// Waits until `ask` has an answer; fails after ten seconds.
    fn until<T>(&mut self, what: &str, mut ask: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = clock::now() + 10_000_000;
        let mut events: Vec<Event> = Vec::new();
        loop {
            if let Some(found) = ask(self) {
                return found;
            }
            assert!(clock::now() < end, "{what}: not within ten seconds");
            self.poller
                .wait(Some(clock::now() + 20_000), &mut events)
                .unwrap();
            events.clear();
        }
    }

    /// Accepts the helper and returns its hello: epoch and whether it has its journal.
    fn accept(&mut self) -> (u64, bool) {
        let connection = self.until("a connection", |world| {
            socket::accept(world.listener.as_ref().unwrap()).unwrap()
        });
        assert_eq!(socket::peer(&connection).unwrap().pid, self.helper);
        self.connection = Some(connection);
        match self.hear() {
            FromHelper::Hello {
                epoch,
                adopted,
                unit_type,
                ..
            } => {
                assert_eq!(unit_type, "toy");
                (epoch, adopted)
            }
            other => panic!("{other:?}"),
        }
    }

    fn say(&self, message: &ToHelper, fds: &[&OwnedFd]) {
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let bytes = wire::encode(message).unwrap();
        socket::send(self.connection.as_ref().unwrap(), &bytes, &fds).unwrap();
    }

    /// The next frame; keeps what is to be kept. `None` at the end of the connection.
    fn hear_or_end(&mut self) -> Option<FromHelper> {
        let mut buffer = vec![0; wire::MAX_FRAME];
        let got = self.until("a frame", |world| {
            socket::receive(world.connection.as_ref().unwrap(), &mut buffer).unwrap()
        });
        if got.length == 0 {
            return None;
        }
        let frame = wire::decode(&buffer[..got.length]).unwrap();
        if let FromHelper::Keep { label } = frame {
            self.kept.retain(|(old, _)| *old != label);
            self.kept.push((label, got.fds.into_iter().next().unwrap()));
            self.say(&ToHelper::Kept { label }, &[]);
        }
        Some(frame)
    }

    fn hear(&mut self) -> FromHelper {
        self.hear_or_end().expect("the helper ended the connection")
    }

    /// Frames up to a report whose word begins like this; returns the word.
    fn report(&mut self, begin: &str) -> String {
        loop {
            if let FromHelper::Report(report) = self.hear()
                && report.sub.starts_with(begin)
            {
                return report.sub;
            }
        }
    }

    fn welcome(&mut self, epoch: u64) {
        let config = HelperConfig::default();
        self.say(
            &ToHelper::Welcome {
                version: VERSION,
                build: "m".into(),
                epoch,
                config,
            },
            &[],
        );
        for kind in [kind::JOURNAL, kind::SLOTS] {
            let label = Label {
                kind,
                hash: hash128(b"toy"),
                index: 0,
            };
            match self.kept.iter().find(|(kept, _)| *kept == label) {
                Some((_, fd)) => self.say(&ToHelper::Fd { label }, &[fd]),
                None => self.say(&ToHelper::NotFound { label }, &[]),
            }
        }
        self.say(&ToHelper::Sync, &[]);
    }

    fn synced(&mut self) {
        while self.hear() != FromHelper::Synced {}
    }

    /// A helper, connected and synced.
    fn ready() -> Self {
        let mut world = Self::new();
        world.start_helper();
        assert_eq!(world.accept(), (0, false));
        world.welcome(1);
        world.synced();
        world
    }

    /// Has the helper fork; the child waits where `unit` says. Returns its pid.
    fn command(&mut self, unit: &str) {
        let command = Command {
            unit: unit.into(),
            invocation: Invocation(1),
            seq: 1,
            verb: Verb::Start,
        };
        self.say(&ToHelper::Command(command), &[]);
    }

    fn forked(&mut self) -> u32 {
        self.report("forked")[7..].parse().unwrap()
    }

    /// The view of the memories that init has.
    fn journal(&self) -> Journal {
        let of = |kind| {
            let found = self
                .kept
                .iter()
                .find(|(label, _)| label.kind == kind)
                .unwrap();
            Memory::from_fd(found.1.try_clone().unwrap()).unwrap()
        };
        Journal::open(of(kind::JOURNAL), of(kind::SLOTS)).unwrap().0
    }

    fn slot(&self) -> SlotState {
        let journal = self.journal();
        let used = journal.slots.in_use();
        assert_eq!(used.len(), 1);
        assert_eq!(journal.slots.attempt(used[0]).step, 7);
        journal.slots.state(used[0])
    }

    fn make_gate(&self) {
        let path = self.base.join("gate");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    }

    fn open_gate(&self) {
        drop(
            std::fs::OpenOptions::new()
                .write(true)
                .open(self.base.join("gate"))
                .unwrap(),
        );
    }

    /// The raw status of this process, once it has ended.
    fn ended(&mut self, pid: u32) -> i32 {
        self.until("an end", |_| process::reap(pid).unwrap())
    }

    fn kill_helper(&mut self) {
        process::kill_child(self.helper, signal::SIGKILL).unwrap();
        let helper = self.helper;
        assert_eq!(self.ended(helper), signal::SIGKILL);
    }

    fn next_helper(&mut self) -> String {
        self.start_helper();
        assert_eq!(self.accept(), (0, false));
        self.welcome(2);
        self.report("")
    }
}

fn a_helper_serves_and_quits() {
    let mut world = World::ready();
    assert_eq!(world.kept.len(), 2);
    world.say(&ToHelper::Ping { nonce: 5 }, &[]);
    assert_eq!(world.hear(), FromHelper::Pong { nonce: 5 });
    world.command("short");
    let pid = world.forked();
    assert_eq!(world.report("exited"), format!("exited {pid} 0"));
    world.until("it to be reaped", |_| {
        process::status(pid).is_none().then_some(())
    });
    assert!(
        matches!(world.slot(), SlotState::Exited(proc, 0) if proc.pid == pid && proc.start > 0)
    );
    world.say(&ToHelper::Quit, &[]);
    let helper = world.helper;
    assert_eq!(world.ended(helper), 0);
}

fn a_manager_dies_and_another_comes() {
    let mut world = World::ready();
    for epoch in 2..5 {
        world.connection = None;
        assert_eq!(world.accept(), (epoch - 1, true));
        world.welcome(epoch);
        world.synced();
    }
    // One of the past is refused, and the helper is there for the next.
    world.connection = None;
    assert_eq!(world.accept(), (4, true));
    let config = HelperConfig::default();
    let old = ToHelper::Welcome {
        version: VERSION,
        build: "m".into(),
        epoch: 3,
        config,
    };
    world.say(&old, &[]);
    assert_eq!(world.hear_or_end(), None);
    assert_eq!(world.accept(), (4, true));
    world.welcome(5);
    world.synced();
}

fn a_connection_waits_in_the_backlog() {
    let mut world = World::ready();
    let helper = process::ProcId {
        pid: world.helper,
        start: process::start_time(world.helper).unwrap(),
    };
    world.connection = None;
    // Nobody accepts; the connection stands all the same, without another attempt.
    let mut events = Vec::new();
    while events.is_empty() {
        world.poller.wait(None, &mut events).unwrap();
    }
    let before = switches(helper.pid);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(switches(helper.pid) <= before + 1);
    assert!(process::is_alive(helper));
    assert_eq!(world.accept(), (1, true));
    assert!(
        socket::accept(world.listener.as_ref().unwrap())
            .unwrap()
            .is_none()
    );
}

fn a_helper_waits_for_a_listener() {
    let mut world = World::new();
    world.listener = None;
    std::fs::remove_file(world.base.join("helper")).unwrap();
    world.start_helper();
    let helper = world.helper;
    world.until("the helper to sleep", |_| {
        process::status(helper)
            .filter(|status| status.state == b'S')
            .map(|_| ())
    });
    world.listen();
    assert_eq!(world.accept(), (0, false));
}

fn a_refused_helper_does_not_spin() {
    let mut world = World::new();
    world.start_helper();
    let end = clock::now() + 1_000_000;
    let mut attempts = 0;
    let mut events = Vec::new();
    while clock::now() < end {
        world.poller.wait(Some(end), &mut events).unwrap();
        while let Some(connection) = socket::accept(world.listener.as_ref().unwrap()).unwrap() {
            drop(connection);
            attempts += 1;
        }
    }
    assert!((2..6).contains(&attempts), "{attempts} in a second");
}

fn open_descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

fn garbage_leaves_no_descriptors() {
    let mut world = World::ready();
    let before = open_descriptors(world.helper);
    let (reader, _writer) = fd::pipe().unwrap();
    let frames: [&[u8]; 4] = [
        b"\xff\xff\xff\xff\xff",
        &[200],
        &[0x80; 300],
        &[0xfe; 60_000],
    ];
    for frame in frames {
        let connection = world.connection.as_ref().unwrap();
        socket::send(connection, frame, &[reader.as_fd(); 20]).unwrap();
        assert!(matches!(world.hear(), FromHelper::Log { level: 3, .. }));
    }
    // Descriptors beside frames that take none, or more than the one.
    for _ in 0..5 {
        world.say(&ToHelper::Ping { nonce: 1 }, &[&reader, &reader]);
        assert_eq!(world.hear(), FromHelper::Pong { nonce: 1 });
        let label = Label {
            kind: 6,
            hash: [1; 16],
            index: 0,
        };
        world.say(&ToHelper::Fd { label }, &[&reader, &reader]);
    }
    world.say(&ToHelper::Ping { nonce: 2 }, &[]);
    assert_eq!(world.hear(), FromHelper::Pong { nonce: 2 });
    assert_eq!(open_descriptors(world.helper), before);
}

fn children_are_told_while_there_is_no_manager() {
    let mut world = World::ready();
    world.command("run");
    let pid = world.forked();
    world.connection = None;
    process::kill(find(pid), signal::SIGTERM).unwrap();
    world.until("it to be reaped", |_| {
        process::status(pid).is_none().then_some(())
    });
    assert_eq!(world.accept(), (1, true));
    world.welcome(2);
    assert_eq!(
        world.report("exited"),
        format!("exited {pid} {}", signal::SIGTERM)
    );
}

fn find(pid: u32) -> process::ProcId {
    process::ProcId {
        pid,
        start: process::start_time(pid).unwrap(),
    }
}

fn killed_between_fork_and_slot() {
    let mut world = World::ready();
    world.make_gate();
    world.command("before-fill");
    let late = world.forked();
    world.kill_helper();
    assert_eq!(world.slot(), SlotState::Forking);
    assert_eq!(world.next_helper(), "revoked");
    assert_eq!(world.slot(), SlotState::Revoked);
    // Only now the child goes on: it must end without having executed anything.
    assert!(process::is_alive(find(late)));
    world.open_gate();
    assert_eq!(world.ended(late), REVOKED_CODE << 8);
    assert_eq!(world.slot(), SlotState::Revoked);
}

fn killed_between_slot_and_exec() {
    let mut world = World::ready();
    world.make_gate();
    world.command("before-exec");
    let pid = world.forked();
    world.until("the slot", |world| {
        matches!(world.slot(), SlotState::Filled(_)).then_some(())
    });
    world.kill_helper();
    assert_eq!(world.next_helper(), "filled");
    world.open_gate();
    world.until("exec", |world| {
        matches!(world.slot(), SlotState::Started(_)).then_some(())
    });
    assert!(matches!(world.slot(), SlotState::Started(proc) if proc == find(pid).into()));
}

fn killed_before_the_fork() {
    let mut world = World::ready();
    world.command("die-before-fork");
    let helper = world.helper;
    assert_eq!(world.ended(helper), signal::SIGKILL);
    assert_eq!(world.slot(), SlotState::Forking);
    assert_eq!(world.next_helper(), "revoked");
    let left = process::children_of(process::own_pid());
    assert_eq!(left.len(), 1, "only the helper: nothing was forked");
}

fn killed_after_exec() {
    let mut world = World::ready();
    world.command("run");
    let pid = world.forked();
    world.until("exec", |world| {
        matches!(world.slot(), SlotState::Started(_)).then_some(())
    });
    let proc: ProcId = find(pid).into();
    world.kill_helper();
    assert_eq!(world.next_helper(), "started");
    assert!(process::is_alive(proc.into()));
    // The new helper is not its parent: we are, and tell it.
    process::kill(proc.into(), signal::SIGTERM).unwrap();
    let status = world.ended(pid);
    world.say(&ToHelper::Exited { proc, status }, &[]);
    assert_eq!(
        world.report("exited"),
        format!("exited {pid} {}", signal::SIGTERM)
    );
    while world.hear() != (FromHelper::ExitTaken { proc }) {}
    assert!(matches!(world.slot(), SlotState::Exited(..)));
}

fn switches(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

fn idle_is_asleep() {
    let mut world = World::ready();
    let helper = world.helper;
    world.until("the helper to sleep", |_| {
        process::status(helper)
            .filter(|status| status.state == b'S')
            .map(|_| ())
    });
    let before = switches(helper);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(switches(helper), before);
}

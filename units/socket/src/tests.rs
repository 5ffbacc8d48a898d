//! The helper, driven by a manager and an init that the test plays.

use crate::Sockets;
use crate::config;
use platform::poll::{Event, Poller};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use units::runtime::Settings;
use units::runtime::in_process::InProcess;
use units::runtime::kind::SOCKET_UNIT;
use units::state::{ActiveState, Invocation, Outcome, Report};
use units::wire::VERSION;
use units::wire::helper::{
    Command, FromHelper, HelperConfig, Label, RawEntry, Severity, ToHelper, Triggered, UnitSource,
    Verb,
};

fn source(text: &str) -> UnitSource {
    let entries = text.lines().zip(1..).filter_map(|(line, number)| {
        let (key, value) = line.split_once('=')?;
        Some(RawEntry {
            section: "Socket".into(),
            key: key.into(),
            value: value.into(),
            file: 0,
            line: number,
        })
    });
    UnitSource {
        unit: "a.socket".into(),
        files: vec!["/test/a.socket".into()],
        entries: entries.collect(),
        ..UnitSource::default()
    }
}

/// The worst that is found in a unit, and what it listens on.
fn read(text: &str) -> (Option<Severity>, Vec<String>) {
    let reading = config::read(&source(text), false).unwrap();
    let worst = reading.findings.iter().map(|found| found.severity);
    let listeners = reading.config.listeners.iter().map(|l| l.describe());
    (
        worst.min_by_key(|severity| *severity as u8),
        listeners.collect(),
    )
}

#[test]
fn what_can_be_listened_on() {
    let good = [
        ("ListenStream=/run//x/", "/run/x (Stream)"),
        ("ListenStream=@name", "@name (Stream)"),
        ("ListenStream=80", "[::]:80 (Stream)"),
        ("ListenStream=127.0.0.1:80", "127.0.0.1:80 (Stream)"),
        ("ListenDatagram=[::1]:80", "[::1]:80 (Datagram)"),
        ("ListenSequentialPacket=/run/x", "/run/x (SequentialPacket)"),
        ("ListenFIFO=/run/x", "/run/x (FIFO)"),
        ("ListenStream=/run/%p", "/run/a (Stream)"),
        (
            "ListenStream=1\nListenFIFO=/x\nListenStream=\nListenStream=2",
            "[::]:2 (Stream)",
        ),
    ];
    for (text, listener) in good {
        assert_eq!(read(text), (None, vec![listener.into()]), "{text}");
    }
    let long = format!("ListenStream=/{}", "x".repeat(107));
    for text in [
        "",
        "ListenStream=",
        "ListenStream=0",
        "ListenStream=65536",
        "ListenStream=x",
        "ListenStream=@",
        "ListenStream=localhost:80",
        "ListenStream=1.2.3.4:0",
        "ListenStream=::1:80",
        "ListenStream=/a/../b",
        "ListenStream=vsock:2:3",
        "ListenSequentialPacket=80",
        "ListenFIFO=x",
        &long,
        "ListenStream=1\nAccept=yes",
        "ListenStream=1\nSocketMode=rw",
        "ListenStream=1\nBacklog=-1",
        "ListenStream=1\nFileDescriptorName=a:b",
        "ListenStream=1\nSymlinks=/x",
        "ListenStream=1\nPriority=4294967296",
    ] {
        assert_eq!(read(text).0, Some(Severity::Error), "{text}");
    }
    assert_eq!(
        read("ListenStream=1\nSmackLabel=x").0,
        Some(Severity::Unsupported)
    );
    assert_eq!(
        read("ListenStream=1\nNonsense=x").0,
        Some(Severity::Warning)
    );
}

#[test]
fn options_go_where_they_mean_something() {
    let text = "ListenStream=/x\nListenStream=80\nKeepAlive=yes\nPassCredentials=1\nMark=7\n\
                BindIPv6Only=ipv6-only\nKeepAliveTimeSec=1500ms\nKeepAlive=no\nReceiveBuffer=64K\n";
    let config = config::read(&source(text), false).unwrap().config;
    let of = |index: usize| match &config.listeners[index] {
        crate::listener::Listener::Socket(_, place) => format!("{:?}", config.options_for(place)),
        crate::listener::Listener::Fifo(_) => String::new(),
    };
    assert_eq!(
        of(0),
        "[(PassCredentials, 1), (Mark, 7), (ReceiveBuffer, 65536)]"
    );
    assert_eq!(
        of(1),
        "[(Mark, 7), (KeepAliveTime, 2), (KeepAlive, 0), (ReceiveBuffer, 65536), (OnlyIpv6, 1)]"
    );
}

#[test]
fn bind_ipv6_only_may_be_a_boolean() {
    use crate::config::Ipv6;
    for (text, want) in [
        ("yes", Ipv6::Only),
        ("no", Ipv6::Both),
        ("default", Ipv6::Default),
    ] {
        let text = format!("ListenStream=1\nBindIPv6Only={text}\n");
        let reading = config::read(&source(&text), false).unwrap();
        assert!(reading.findings.is_empty());
        assert_eq!(reading.config.ipv6, want);
    }
}

/// Manager and init.
struct World {
    poller: Poller,
    helper: InProcess,
    kept: BTreeMap<Label, OwnedFd>,
    /// init takes nothing more.
    full: bool,
    /// What init has answered and the manager has not passed on yet, while that is held back.
    held: Option<Vec<(Label, Option<OwnedFd>)>>,
    heard: Vec<FromHelper>,
    last: Report,
    text: String,
    path: String,
    seq: u64,
}

impl World {
    fn new() -> Self {
        let path = format!("/tmp/unit-socket-{:x}", platform::random::bits128() as u64);
        let mut world = Self {
            poller: Poller::new(&[]).unwrap(),
            helper: Self::helper(),
            kept: BTreeMap::new(),
            full: false,
            held: None,
            heard: Vec::new(),
            last: Report::default(),
            text: format!("ListenStream={path}\nListenFIFO={path}.fifo\n"),
            path,
            seq: 1 << 32,
        };
        world.greet();
        world
    }

    fn helper() -> InProcess {
        let settings = Settings {
            fallback: "/tmp".into(),
            ..Settings::new("test")
        };
        InProcess::new(Box::new(Sockets::default()), settings)
    }

    /// Another manager.
    fn greet(&mut self) {
        let hello = self.helper.connect();
        assert!(matches!(hello, FromHelper::Hello { .. }));
        self.say(ToHelper::Welcome {
            version: VERSION,
            build: String::new(),
            epoch: 1,
            config: HelperConfig::default(),
        });
        for kind in [units::runtime::kind::JOURNAL, units::runtime::kind::SLOTS] {
            self.give(Label {
                kind,
                hash: units::runtime::hash128(b"socket"),
                index: 0,
            });
        }
        self.say(ToHelper::Load(source(&self.text.clone())));
        self.say(ToHelper::Sync);
    }

    /// Another helper process, and the same init.
    fn replace(&mut self) {
        self.helper = Self::helper();
        self.heard.clear();
        self.greet();
    }

    fn say(&mut self, message: ToHelper) {
        self.helper.send(message, None, &self.poller);
        while let Some((frame, fd)) = self.helper.take().unwrap() {
            if let FromHelper::Report(report) = &frame {
                self.last = report.clone();
            }
            self.heard.push(frame.clone());
            match &frame {
                FromHelper::Keep { label } if self.full && label.kind == SOCKET_UNIT => {
                    let (label, reason) = (*label, "full".into());
                    self.say(ToHelper::NotKept { label, reason });
                }
                FromHelper::Keep { label } => {
                    self.kept.insert(*label, fd.unwrap());
                    self.say(ToHelper::Kept { label: *label });
                }
                FromHelper::Fetch { label } => self.give(*label),
                FromHelper::Drop { label } => {
                    self.kept.remove(label);
                }
                _ => {}
            }
        }
    }

    fn give(&mut self, label: Label) {
        let fd = self.kept.get(&label).map(|fd| fd.try_clone().unwrap());
        match &mut self.held {
            Some(held) if label.kind == SOCKET_UNIT => held.push((label, fd)),
            _ => self.answer(label, fd),
        }
    }

    fn answer(&mut self, label: Label, fd: Option<OwnedFd>) {
        match fd {
            Some(fd) => {
                self.helper
                    .send(ToHelper::Fd { label }, Some(fd), &self.poller);
            }
            None => {
                self.helper
                    .send(ToHelper::NotFound { label }, None, &self.poller);
            }
        }
    }

    fn command(&mut self, verb: Verb) -> Outcome {
        self.seq += 1;
        self.say(ToHelper::Command(Command {
            unit: "a.socket".into(),
            invocation: Invocation(1),
            seq: self.seq,
            verb,
        }));
        // What was answered while it was asked.
        self.say(ToHelper::Ping { nonce: 1 });
        self.report().outcome
    }

    fn triggered(&mut self, state: Triggered) {
        self.say(ToHelper::Triggered {
            unit: "a.socket".into(),
            state,
        });
    }

    fn report(&self) -> Report {
        self.last.clone()
    }

    fn listeners(&self) -> usize {
        let kinds = self.kept.keys().filter(|label| label.kind == SOCKET_UNIT);
        kinds.count()
    }

    /// Whether what is there to be seen made it trigger.
    fn triggers(&mut self) -> bool {
        self.heard.clear();
        let mut events = Vec::new();
        self.poller.wait(Some(1), &mut events).unwrap();
        for event in events {
            if let Event::Ready(ready) = event {
                self.helper.ready(ready, &self.poller);
            }
        }
        self.say(ToHelper::Ping { nonce: 1 });
        let trigger = |frame: &FromHelper| matches!(frame, FromHelper::Trigger { .. });
        self.heard.iter().any(trigger)
    }

    /// Where in what was heard this first comes.
    fn at(&self, what: impl Fn(&FromHelper) -> bool) -> usize {
        self.heard.iter().position(what).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(format!("{}.fifo", self.path));
    }
}

#[test]
fn nothing_is_up_before_init_has_everything() {
    let mut world = World::new();
    assert_eq!(world.command(Verb::Start), Outcome::Done);
    assert_eq!(world.listeners(), 2);
    let up = |frame: &FromHelper| matches!(frame, FromHelper::Report(report) if report.active == ActiveState::Active);
    let offer = |frame: &FromHelper| matches!(frame, FromHelper::Offer(o) if o.count == 2);
    let last_keep = world
        .heard
        .iter()
        .rposition(|f| matches!(f, FromHelper::Keep { .. }));
    assert!(last_keep.unwrap() < world.at(offer) && world.at(offer) < world.at(up));
    assert_eq!(world.report().sub, "listening");

    let mut world = World::new();
    world.full = true;
    assert_eq!(world.command(Verb::Start), Outcome::Failed);
    let report = world.report();
    assert_eq!(
        (report.active, &*report.result),
        (ActiveState::Failed, "resources")
    );
    assert!(report.detail.contains("full"), "{}", report.detail);
    assert_eq!(
        world.listeners(),
        0,
        "nothing is left that takes connections"
    );
    assert!(UnixStream::connect(&world.path).is_err());
}

#[test]
fn a_trigger_is_repeated_until_it_is_heeded() {
    let mut world = World::new();
    world.command(Verb::Start);
    assert!(!world.triggers());
    let _client = UnixStream::connect(&world.path).unwrap();
    assert!(world.triggers());
    assert!(!world.triggers(), "it waits for what comes of it");
    assert_eq!(world.report().sub, "running");
    // The start came to nothing; and again, through the death of a manager and of the helper.
    world.triggered(Triggered::Down);
    assert!(world.triggers());
    world.greet();
    world.triggered(Triggered::Down);
    assert!(world.triggers());
    world.replace();
    assert!(world.triggers());
    world.triggered(Triggered::Up);
    assert!(!world.triggers(), "the service's, not ours");
    world.replace();
    world.triggered(Triggered::Up);
    assert!(!world.triggers());
    assert_eq!(world.report().active, ActiveState::Active);
}

#[test]
fn what_init_kept_is_taken_over_and_what_is_lost_is_made_anew() {
    let mut world = World::new();
    world.command(Verb::Start);
    let first = UnixStream::connect(&world.path).unwrap();
    world.replace();
    assert_eq!(world.report().active, ActiveState::Active);
    assert!(
        !world
            .heard
            .iter()
            .any(|f| matches!(f, FromHelper::Keep { label } if label.kind == SOCKET_UNIT))
    );
    assert!(
        world.triggers(),
        "the connection from before waits: {first:?}"
    );
    // init lost one: everybody can connect again, and people hear of it.
    world
        .kept
        .retain(|label, _| label.kind != SOCKET_UNIT || label.index != 0);
    world.replace();
    world.say(ToHelper::Ping { nonce: 1 });
    assert_eq!(
        (world.listeners(), world.report().active),
        (2, ActiveState::Active)
    );
    assert!(
        world
            .heard
            .iter()
            .any(|f| matches!(f, FromHelper::Log { text, .. } if text.contains("lost")))
    );
    UnixStream::connect(&world.path).unwrap();
    // A start that finds something else under its label makes its own.
    world.command(Verb::Stop);
    let (reader, _) = platform::fd::pipe().unwrap();
    let label = Label {
        kind: SOCKET_UNIT,
        hash: units::runtime::hash128(b"a.socket"),
        index: 0,
    };
    world.kept.insert(label, reader);
    assert_eq!(world.command(Verb::Start), Outcome::Done);
    UnixStream::connect(&world.path).unwrap();
}

/// The listener that was asked for before a stop and comes after the next start is one that init has
/// dropped meanwhile.
#[test]
fn an_answer_from_before_a_stop_does_not_count_after_it() {
    let mut world = World::new();
    world.command(Verb::Start);
    world.held = Some(Vec::new());
    world.replace();
    world.command(Verb::Stop);
    world.command(Verb::Start);
    while let Some(held) = world.held.take().filter(|held| !held.is_empty()) {
        world.held = Some(Vec::new());
        for (label, fd) in held {
            world.answer(label, fd);
        }
        world.say(ToHelper::Ping { nonce: 1 });
    }
    assert_eq!(world.report().active, ActiveState::Active);
    assert_eq!(
        world.listeners(),
        2,
        "it is up, and init does not have what it listens on"
    );
    // Those who connect reach what init has.
    let _client = UnixStream::connect(&world.path).unwrap();
    assert!(world.triggers());
    world.replace();
    assert!(world.triggers());
}

#[test]
fn a_stop_is_told_to_each_manager() {
    let mut world = World::new();
    world.command(Verb::Start);
    assert_eq!(world.command(Verb::Stop), Outcome::Done);
    assert_eq!(world.listeners(), 0);
    assert!(UnixStream::connect(&world.path).is_err());
    for replace in [false, true] {
        world.heard.clear();
        if replace {
            world.replace();
        } else {
            world.greet();
        }
        let drops = world
            .heard
            .iter()
            .filter(|f| matches!(f, FromHelper::Drop { .. }));
        assert_eq!(drops.count(), 2);
        assert!(
            world
                .heard
                .iter()
                .any(|f| matches!(f, FromHelper::Offer(o) if o.count == 0))
        );
        assert_eq!(world.report().active, ActiveState::Inactive);
    }
}

#[test]
fn too_many_triggers_and_a_refused_start_end_it() {
    for (limit, times) in [
        ("TriggerLimitBurst=3\nTriggerLimitIntervalSec=1h\n", 3),
        ("", 20),
    ] {
        let mut world = World::new();
        world.text.push_str(limit);
        world.replace();
        world.command(Verb::Start);
        let _client = UnixStream::connect(&world.path).unwrap();
        for _ in 0..times {
            assert!(world.triggers());
            world.triggered(Triggered::Down);
        }
        assert!(!world.triggers());
        assert_eq!(world.report().result, "trigger-limit-hit");
        assert_eq!(world.listeners(), 0);
        assert_eq!(world.command(Verb::ResetFailed), Outcome::Done);
        assert_eq!(world.report().active, ActiveState::Inactive);
        assert_eq!(world.command(Verb::Start), Outcome::Done);
    }
    let mut world = World::new();
    world.command(Verb::Start);
    world.triggered(Triggered::Refused("no such unit file".into()));
    assert_eq!(world.report().result, "resources");
    assert!(world.report().detail.contains("no such unit file"));
    assert_eq!(world.command(Verb::Start), Outcome::Done);
}

//! The conversation, over the in-process transport, with a type that writes down what it is told.

use super::in_process::InProcess;
use super::*;
use crate::state::Report;
use crate::wire::VERSION;
use crate::wire::helper::ToHelper;
use std::cell::RefCell;
use std::rc::Rc;

type Diary = Rc<RefCell<Vec<String>>>;

/// Says a report for each load and command, and keeps a pipe when told to start one.
struct Toy {
    diary: Diary,
    deadline: Option<Micros>,
}

impl Toy {
    fn note(&self, text: String) {
        self.diary.borrow_mut().push(text);
    }
}

fn label(number: u8) -> Label {
    Label {
        kind: 6,
        hash: [number; 16],
        index: 0,
    }
}

impl UnitType for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }
    fn adopt(&mut self, context: &mut Context<'_>) {
        self.note(format!("adopt {}", context.journal.records.len()));
    }
    fn welcome(&mut self, config: &HelperConfig, _: &mut Context<'_>) {
        self.note(format!("welcome {}", config.strict));
    }
    fn message(&mut self, message: Message, context: &mut Context<'_>) {
        match message {
            Message::Load(source) => {
                self.note(format!("load {}", source.unit));
                context
                    .journal
                    .records
                    .put(1, 0, 1, source.unit.as_bytes())
                    .unwrap();
            }
            Message::Command(command) => {
                self.note(format!("command {}", command.unit));
                let (reader, _) = platform::fd::pipe().unwrap();
                context.keep(label(command.seq as u8), reader);
                context.send(FromHelper::Watch { proc: WATCHED });
            }
            Message::About(about) => self.note(format!("about {}", about.unit)),
            Message::Reconcile => self.note("reconcile".into()),
            Message::Sync => {
                self.note("sync".into());
                context.send(report("a.toy", 1));
            }
            Message::Triggered(unit, state) => self.note(format!("{unit}: {state:?}")),
            Message::Sockets(sockets) => self.note(format!("sockets of {}", sockets.from)),
            Message::Kept(label) => self.note(format!("kept {}", label.hash[0])),
            Message::NotKept(..) => self.note("not kept".into()),
            Message::Fetched(label, _) => self.note(format!("fetched {}", label.hash[0])),
            Message::NotFound(label) => self.note(format!("not found {}", label.hash[0])),
            Message::Unload(unit) => {
                context.fetch(label(9));
                context.log(6, "", unit);
            }
        }
    }
    fn exited(&mut self, proc: ProcId, status: i32, _: &mut Context<'_>) {
        self.note(format!("exited {} {status}", proc.pid));
    }
    fn ready(&mut self, ready: Ready, _: &mut Context<'_>) {
        self.note(format!("ready {}", ready.token));
    }
    fn tick(&mut self, _: Micros, _: &mut Context<'_>) {
        self.deadline = None;
        self.note("tick".into());
    }
    fn deadline(&self) -> Option<Micros> {
        self.deadline
    }
}

const WATCHED: ProcId = ProcId { pid: 5, start: 6 };

fn report(unit: &str, seq: u64) -> FromHelper {
    FromHelper::Report(Report {
        unit: unit.into(),
        seq,
        ..Report::default()
    })
}

fn load(unit: &str) -> ToHelper {
    ToHelper::Load(UnitSource {
        unit: unit.into(),
        ..UnitSource::default()
    })
}

fn command(seq: u64) -> ToHelper {
    ToHelper::Command(Command {
        unit: "a.toy".into(),
        invocation: crate::state::Invocation(1),
        seq,
        verb: crate::wire::helper::Verb::Start,
    })
}

fn welcome(epoch: u64) -> ToHelper {
    let config = HelperConfig {
        strict: epoch > 1,
        ..HelperConfig::default()
    };
    ToHelper::Welcome {
        version: VERSION,
        build: "b".into(),
        epoch,
        config,
    }
}

struct Bench {
    helper: InProcess,
    diary: Diary,
    poller: Poller,
}

impl Bench {
    fn new(deadline: Option<Micros>) -> Self {
        let diary = Diary::default();
        let toy = Toy {
            diary: diary.clone(),
            deadline,
        };
        let settings = Settings {
            build: "test".into(),
            fallback: std::env::temp_dir(),
            token_base: 1 << 50,
        };
        let helper = InProcess::new(Box::new(toy), settings);
        Self {
            helper,
            diary,
            poller: Poller::new(&[]).unwrap(),
        }
    }

    fn send(&mut self, message: ToHelper) -> bool {
        self.helper.send(message, None, &self.poller)
    }

    fn said(&mut self) -> Vec<(FromHelper, Option<OwnedFd>)> {
        std::iter::from_fn(|| self.helper.take().unwrap()).collect()
    }

    fn frames(&mut self) -> Vec<FromHelper> {
        self.said().into_iter().map(|(frame, _)| frame).collect()
    }

    fn noted(&self) -> Vec<String> {
        std::mem::take(&mut self.diary.borrow_mut())
    }

    fn memory_label(kind: u16) -> Label {
        Label {
            kind,
            hash: hash128(b"toy"),
            index: 0,
        }
    }

    /// Through to Bound, as a first helper; returns the memories it had kept.
    fn begin(&mut self, epoch: u64) -> [OwnedFd; 2] {
        self.helper.connect();
        assert!(self.send(welcome(epoch)));
        for kind in [kind::JOURNAL, kind::SLOTS] {
            assert!(self.send(ToHelper::NotFound {
                label: Self::memory_label(kind)
            }));
        }
        let kept = self.said().into_iter().map(|(frame, fd)| match frame {
            FromHelper::Keep { label } => (label, fd.unwrap()),
            other => panic!("{other:?}"),
        });
        let kept: Vec<_> = kept.collect();
        let labels: Vec<_> = kept.iter().map(|(label, _)| *label).collect();
        assert_eq!(labels, [kind::JOURNAL, kind::SLOTS].map(Self::memory_label));
        for label in labels {
            assert!(
                self.noted().is_empty(),
                "nothing is done before both are kept"
            );
            assert!(self.send(ToHelper::Kept { label }));
        }
        let fds: Vec<OwnedFd> = kept.into_iter().map(|(_, fd)| fd).collect();
        fds.try_into().unwrap()
    }
}

#[test]
fn nothing_happens_before_the_welcome() {
    let mut bench = Bench::new(Some(1));
    let hello = bench.helper.connect();
    assert!(matches!(
        hello,
        FromHelper::Hello {
            epoch: 0,
            adopted: false,
            ..
        }
    ));
    assert_eq!(bench.helper.deadline(), None);
    bench.helper.tick(&bench.poller);
    assert!(
        !bench.send(load("a.toy")),
        "a message before the welcome ends the connection"
    );
    assert!(bench.noted().is_empty() && bench.frames().is_empty());
    bench.helper.connect();
    let strange = ToHelper::Welcome {
        version: VERSION + 2,
        build: String::new(),
        epoch: 9,
        config: HelperConfig::default(),
    };
    assert!(!bench.send(strange), "a protocol that is not ours");
}

#[test]
fn a_first_helper_makes_its_journal_and_then_hears_what_waited() {
    let mut bench = Bench::new(Some(1));
    bench.helper.connect();
    assert!(bench.send(welcome(1)));
    assert!(bench.send(load("early.toy")));
    drop(bench.begin(1));
    // `begin` began a second conversation: what the first one sent is not heard.
    assert_eq!(bench.noted(), ["adopt 0", "welcome false"]);
    assert!(bench.send(load("a.toy")) && bench.send(ToHelper::Sync));
    assert_eq!(bench.noted(), ["load a.toy", "sync"]);
    assert_eq!(bench.frames(), [report("a.toy", 1), FromHelper::Synced]);
    assert!(bench.send(ToHelper::Ping { nonce: 7 }));
    assert_eq!(bench.frames(), [FromHelper::Pong { nonce: 7 }]);
    bench.helper.tick(&bench.poller);
    assert_eq!(bench.noted(), ["tick"]);
    assert_eq!(bench.helper.deadline(), None);
}

/// What the socket does with a frame: whether it was held.
fn hold(bench: &mut Bench, frame: &[u8]) -> bool {
    bench.helper.helper.hold(frame)
}

#[test]
fn units_that_come_while_the_journal_is_made_are_held_as_they_are() {
    let mut bench = Bench::new(None);
    let unit = |name: &str| crate::wire::encode(&load(name)).unwrap();
    bench.helper.connect();
    assert!(!hold(&mut bench, &unit("early.toy")), "before the welcome");
    assert!(bench.send(welcome(1)));
    assert!(hold(&mut bench, &unit("a.toy")));
    assert!(!hold(
        &mut bench,
        &crate::wire::encode(&command(1)).unwrap()
    ));
    assert!(bench.send(command(1)));
    assert!(hold(&mut bench, &unit("b.toy")[..3]), "whatever is in it");
    assert!(hold(&mut bench, &unit("c.toy")));
    for kind in [kind::JOURNAL, kind::SLOTS] {
        let label = Bench::memory_label(kind);
        assert!(bench.send(ToHelper::NotFound { label }));
    }
    for (frame, _) in bench.said() {
        let FromHelper::Keep { label } = frame else {
            panic!("{frame:?}")
        };
        assert!(bench.send(ToHelper::Kept { label }));
    }
    let expected = [
        "adopt 0",
        "welcome false",
        "load a.toy",
        "command a.toy",
        "load c.toy",
    ];
    assert_eq!(bench.noted(), expected);
    let complaint = |frame: &FromHelper| matches!(frame, FromHelper::Log { text, .. } if text.contains("3 bytes"));
    assert!(bench.frames().iter().any(complaint));
    assert!(!hold(&mut bench, &unit("d.toy")), "now they are delivered");
}

#[test]
fn what_is_held_is_lost_with_the_manager_that_sent_it() {
    let mut bench = Bench::new(None);
    bench.helper.connect();
    assert!(bench.send(welcome(1)));
    assert!(hold(
        &mut bench,
        &crate::wire::encode(&load("a.toy")).unwrap()
    ));
    drop(bench.begin(2));
    assert_eq!(bench.noted(), ["adopt 0", "welcome true"]);
}

#[test]
fn what_comes_while_the_journal_is_made_waits_in_order() {
    let mut bench = Bench::new(None);
    bench.helper.connect();
    assert!(bench.send(welcome(1)));
    for kind in [kind::JOURNAL, kind::SLOTS] {
        assert!(bench.send(ToHelper::NotFound {
            label: Bench::memory_label(kind)
        }));
    }
    assert!(bench.send(load("a.toy")) && bench.send(command(3)) && bench.send(ToHelper::Sync));
    assert_eq!(bench.frames().len(), 2);
    let refused = ToHelper::NotKept {
        label: Bench::memory_label(kind::JOURNAL),
        reason: "full".into(),
    };
    assert!(bench.send(refused));
    assert!(bench.noted().is_empty());
    assert!(bench.send(ToHelper::Kept {
        label: Bench::memory_label(kind::SLOTS)
    }));
    assert_eq!(
        bench.noted(),
        [
            "adopt 0",
            "welcome false",
            "load a.toy",
            "command a.toy",
            "sync"
        ]
    );
    assert!(matches!(
        bench.frames()[0],
        FromHelper::Log { level: 3, .. }
    ));
}

#[test]
fn the_next_process_finds_the_journal() {
    let mut bench = Bench::new(None);
    let [records, slots] = bench.begin(1);
    assert!(bench.send(load("a.toy")));
    drop(bench);
    let mut bench = Bench::new(None);
    bench.helper.connect();
    assert!(bench.send(welcome(1)));
    for (kind, fd) in [(kind::JOURNAL, records), (kind::SLOTS, slots)] {
        let message = ToHelper::Fd {
            label: Bench::memory_label(kind),
        };
        assert!(bench.helper.send(message, Some(fd), &bench.poller));
    }
    assert_eq!(bench.noted(), ["adopt 1", "welcome false"]);
    assert!(bench.frames().is_empty(), "nothing to keep");
}

#[test]
fn a_journal_that_cannot_be_read_is_begun_anew() {
    for broken in [true, false] {
        let mut bench = Bench::new(None);
        bench.helper.connect();
        assert!(bench.send(welcome(1)));
        let (reader, _) = platform::fd::pipe().unwrap();
        let records = ToHelper::Fd {
            label: Bench::memory_label(kind::JOURNAL),
        };
        assert!(
            bench
                .helper
                .send(records, Some(reader.try_clone().unwrap()), &bench.poller)
        );
        let label = Bench::memory_label(kind::SLOTS);
        let (message, fd) = if broken {
            (ToHelper::Fd { label }, Some(reader))
        } else {
            (ToHelper::NotFound { label }, None)
        };
        assert!(bench.helper.send(message, fd, &bench.poller));
        let frames = bench.frames();
        let keeps = frames
            .iter()
            .filter(|frame| matches!(frame, FromHelper::Keep { .. }))
            .count();
        let logs = frames
            .iter()
            .filter(|frame| matches!(frame, FromHelper::Log { .. }))
            .count();
        assert_eq!((keeps, logs), (2, usize::from(broken)));
    }
}

#[test]
fn a_new_manager_gets_what_the_old_one_left_undone() {
    let mut bench = Bench::new(None);
    let _memories = bench.begin(5);
    bench.noted();
    for message in [
        command(1),
        command(2),
        ToHelper::Unload {
            unit: "x.toy".into(),
        },
    ] {
        assert!(bench.send(message));
    }
    // The first keep is answered, the second only sent; watch and fetch as well.
    assert_eq!(bench.frames().len(), 6);
    assert!(bench.send(ToHelper::Kept { label: label(1) }));
    assert!(bench.send(command(3)));
    bench.helper.disconnect();
    assert!(bench.frames().is_empty(), "nobody to hear it");
    let hello = bench.helper.connect();
    assert!(matches!(
        hello,
        FromHelper::Hello {
            epoch: 5,
            adopted: true,
            ..
        }
    ));
    assert!(!bench.send(welcome(4)), "a lower epoch");
    bench.helper.connect();
    assert!(bench.send(welcome(6)));
    let said = bench.said();
    let kept: Vec<u8> = said
        .iter()
        .filter_map(|(frame, fd)| match frame {
            FromHelper::Keep { label } => fd.as_ref().map(|_| label.hash[0]),
            _ => None,
        })
        .collect();
    assert_eq!(kept, [2, 3], "with their descriptors");
    let watches = said
        .iter()
        .filter(|(f, _)| matches!(f, FromHelper::Watch { .. }))
        .count();
    let fetches = said
        .iter()
        .filter(|(f, _)| matches!(f, FromHelper::Fetch { .. }))
        .count();
    assert_eq!((watches, fetches), (1, 1));
    assert_eq!(
        bench.noted(),
        [
            "command a.toy",
            "command a.toy",
            "kept 1",
            "command a.toy",
            "welcome true"
        ],
        "adopted once only"
    );
    // An exit that was watched is not watched any more, and acknowledged after it is told.
    assert!(bench.send(ToHelper::Exited {
        proc: WATCHED,
        status: 9
    }));
    assert_eq!(bench.noted(), ["exited 5 9"]);
    assert_eq!(bench.frames(), [FromHelper::ExitTaken { proc: WATCHED }]);
    bench.helper.disconnect();
    bench.helper.connect();
    assert!(bench.send(welcome(7)));
    assert!(
        !bench
            .frames()
            .iter()
            .any(|frame| matches!(frame, FromHelper::Watch { .. }))
    );
}

#[test]
fn answers_to_nothing_are_ignored() {
    let mut bench = Bench::new(None);
    let _memories = bench.begin(1);
    bench.noted();
    let (reader, _writer) = platform::fd::pipe().unwrap();
    let message = ToHelper::Fd { label: label(8) };
    assert!(bench.helper.send(message, Some(reader), &bench.poller));
    assert!(bench.send(ToHelper::Kept { label: label(8) }));
    assert!(bench.noted().is_empty());
    assert!(!bench.send(welcome(2)), "nobody is welcomed twice");
}

#[test]
fn only_the_last_report_of_a_unit_counts() {
    let mut outbox = Outbox::default();
    outbox.push(report("a", 1), None);
    assert!(
        outbox.front().is_none(),
        "without a manager reports are not kept"
    );
    outbox.welcomed();
    for (unit, seq) in [("a", 1), ("b", 1), ("a", 2), ("a", 3)] {
        outbox.push(report(unit, seq), None);
    }
    let sent: Vec<_> = std::iter::from_fn(|| outbox.sent()).collect();
    assert_eq!(sent, [report("a", 3), report("b", 1)]);
}

#[test]
fn log_lines_are_bounded_and_the_loss_is_told() {
    let mut outbox = Outbox::default();
    for number in 0..10_000 {
        let line = FromHelper::Log {
            level: 6,
            unit: String::new(),
            text: format!("{number}"),
        };
        outbox.push(line, None);
    }
    outbox.welcomed();
    let mut lines = Vec::new();
    while outbox.front().is_some() {
        if let Some(FromHelper::Log { text, .. }) = outbox.sent() {
            lines.push(text);
        }
    }
    assert_eq!(lines.len(), 257);
    assert_eq!(lines.last().unwrap(), "9744 lines of this helper were lost");
}

//! Configuration and commands, and the end of a command that nobody saw; what else the helper does is tested with real
//! mounts (`qemu-tests/tests/mounts.rs`).

use crate::Mounts;
use crate::command::{Action, arguments};
use crate::config::{self, Config};
use crate::record::State;
use platform::clock;
use platform::poll::{Poller, Ready};
use std::cell::RefCell;
use std::rc::Rc;
use units::runtime::in_process::InProcess;
use units::runtime::{Context, Message, Settings, UnitType, hash128, kind};
use units::state::{ActiveState, Micros, Outcome, ProcId, Report};
use units::value::time::INFINITY;
use units::wire::VERSION;
use units::wire::helper::{
    END_UNKNOWN, FromHelper, HelperConfig, Label, RawEntry, Severity, ToHelper, UnitSource,
};

fn source(unit: &str, text: &str) -> UnitSource {
    let entries = text.lines().zip(1..).filter_map(|(line, number)| {
        let (key, value) = line.split_once('=')?;
        Some(RawEntry {
            section: "Mount".into(),
            key: key.into(),
            value: value.into(),
            file: 0,
            line: number,
        })
    });
    UnitSource {
        unit: unit.into(),
        files: vec!["/test".into()],
        entries: entries.collect(),
        ..UnitSource::default()
    }
}

fn worst(unit: &str, text: &str) -> Option<Severity> {
    let reading = config::read(&source(unit, text), false).unwrap();
    let worst = reading.findings.iter().map(|found| found.severity);
    worst.min_by_key(|severity| *severity as u8)
}

fn config(text: &str) -> Config {
    config::read(&source("a-b.mount", text), false)
        .unwrap()
        .config
}

#[test]
fn what_can_be_mounted() {
    for text in [
        "What=/dev/sda1\nWhere=/a/b",
        "What=tmpfs\nWhere=/a//b/\nType=tmpfs\nOptions=size=1m",
        "What=LABEL=x y\nTimeoutSec=0\nDirectoryMode=0700",
        "What=//server/share\nSloppyOptions=yes\nLazyUnmount=yes\nForceUnmount=yes\nReadWriteOnly=yes",
    ] {
        assert_eq!(worst("a-b.mount", text), None, "{text}");
    }
    for text in [
        "",
        "Where=/a/b",
        "What=x\nWhere=/a/c",
        "What=x\nWhere=a/b",
        "What=x\nWhere=/a/../b",
        "What=-x",
        "What=x\nType=-o",
        "What=x\nOptions=-o",
        "What=x\nLazyUnmount=perhaps",
        "What=x\nDirectoryMode=9",
        "What=x\nTimeoutSec=soon",
    ] {
        assert_eq!(worst("a-b.mount", text), Some(Severity::Error), "{text}");
    }
    assert_eq!(
        worst("a-b.mount", "What=x\nKillMode=none"),
        Some(Severity::Unsupported)
    );
    assert_eq!(worst("-.mount", "What=x\nWhere=/"), None);
}

#[test]
fn the_name_is_the_place() {
    assert_eq!(config("What=x").point, "/a/b");
    let reading = config::read(
        &source("srv-x\\x20y.mount", "What=x\nWhere=/srv/x y"),
        false,
    )
    .unwrap();
    assert_eq!(
        (reading.config.point.as_str(), reading.findings.len()),
        ("/srv/x y", 0)
    );
}

#[test]
fn commands_as_mount_and_umount_want_them() {
    let of = |text: &str, action| arguments(&config(text), action).join(" ");
    assert_eq!(
        of("What=/dev/x\nType=ext4", Action::Mount),
        "mount /dev/x /a/b -t ext4"
    );
    assert_eq!(
        of(
            "What=x\nOptions=ro,x-systemd.after=y,nofail,_netdev,sync",
            Action::Mount
        ),
        "mount x /a/b -o ro,sync"
    );
    assert_eq!(
        of("What=x\nOptions=ro", Action::Remount),
        "mount x /a/b -o remount,ro"
    );
    assert_eq!(of("What=x", Action::Remount), "mount x /a/b -o remount");
    assert_eq!(
        of("What=x\nSloppyOptions=1\nReadWriteOnly=1", Action::Mount),
        "mount x /a/b -s -w"
    );
    assert_eq!(of("What=x", Action::Unmount), "umount /a/b");
    assert_eq!(
        of("What=x\nLazyUnmount=1\nForceUnmount=1", Action::Unmount),
        "umount /a/b -l -f"
    );
}

/// The type, in the runtime and in the test's hands as well.
struct Shared(Rc<RefCell<Mounts>>);

impl UnitType for Shared {
    fn name(&self) -> &'static str {
        "mount"
    }
    fn adopt(&mut self, context: &mut Context<'_>) {
        self.0.borrow_mut().adopt(context);
    }
    fn welcome(&mut self, config: &HelperConfig, context: &mut Context<'_>) {
        self.0.borrow_mut().welcome(config, context);
    }
    fn message(&mut self, message: Message, context: &mut Context<'_>) {
        self.0.borrow_mut().message(message, context);
    }
    fn exited(&mut self, proc: ProcId, status: i32, context: &mut Context<'_>) {
        self.0.borrow_mut().exited(proc, status, context);
    }
    fn ready(&mut self, ready: Ready, context: &mut Context<'_>) {
        self.0.borrow_mut().ready(ready, context);
    }
    fn tick(&mut self, now: Micros, context: &mut Context<'_>) {
        self.0.borrow_mut().tick(now, context);
    }
    fn deadline(&self) -> Option<Micros> {
        self.0.borrow().deadline()
    }
}

const UNIT: &str = "nowhere-at-all.mount";
/// No process has this number.
const GONE: ProcId = ProcId {
    pid: i32::MAX as u32,
    start: 1,
};

/// A helper whose unit has a command under way, of which nobody has told yet that it has ended.
struct Bench {
    mounts: Rc<RefCell<Mounts>>,
    helper: InProcess,
    poller: Poller,
    epoch: u64,
}

impl Bench {
    fn new() -> Self {
        let mounts = Rc::new(RefCell::new(Mounts::default()));
        let settings = Settings::new("test");
        let mut bench = Self {
            helper: InProcess::new(Box::new(Shared(mounts.clone())), settings),
            mounts,
            poller: Poller::new(&[]).unwrap(),
            epoch: 0,
        };
        bench.manager();
        let source = source(UNIT, "What=x\nWhere=/nowhere/at/all");
        bench.send(ToHelper::Load(source));
        bench.send(ToHelper::Sync);
        let mut mounts = bench.mounts.borrow_mut();
        let unit = mounts.entry(UNIT);
        unit.enter(State::Mounting);
        unit.record.outcome = Outcome::Pending;
        unit.record.process = Some(GONE);
        unit.lost = Some(clock::now());
        drop(mounts);
        bench
    }

    fn send(&mut self, message: ToHelper) {
        assert!(self.helper.send(message, None, &self.poller));
    }

    /// There is one, or the next one.
    fn manager(&mut self) {
        self.epoch += 1;
        let hello = self.helper.connect();
        self.send(ToHelper::Welcome {
            version: VERSION,
            build: "test".into(),
            epoch: self.epoch,
            config: HelperConfig::default(),
        });
        if let FromHelper::Hello { adopted: true, .. } = hello {
            return;
        }
        for kind in [kind::JOURNAL, kind::SLOTS] {
            let (hash, index) = (hash128(b"mount"), 0);
            let label = Label { kind, hash, index };
            self.send(ToHelper::NotFound { label });
        }
        let kept = self.said().into_iter().filter_map(|frame| match frame {
            FromHelper::Keep { label } => Some(label),
            _ => None,
        });
        for label in kept.collect::<Vec<_>>() {
            self.send(ToHelper::Kept { label });
        }
    }

    fn said(&mut self) -> Vec<FromHelper> {
        let next = || self.helper.take().unwrap().map(|(frame, _)| frame);
        std::iter::from_fn(next).collect()
    }

    /// The last of what it has said of its unit.
    fn report(&mut self) -> Report {
        let mut reports = self.said().into_iter().filter_map(|frame| match frame {
            FromHelper::Report(report) => Some(report),
            _ => None,
        });
        reports.next_back().expect("a report")
    }

    fn lost(&self) -> Option<Micros> {
        self.mounts.borrow_mut().entry(UNIT).lost
    }
}

#[test]
fn an_end_is_waited_for_until_there_is_a_manager_to_tell_it() {
    let mut bench = Bench::new();
    bench.helper.disconnect();
    bench.helper.tick(&bench.poller);
    assert_eq!(bench.lost(), Some(INFINITY), "however long");
    assert_eq!(bench.helper.deadline(), None, "nothing is to be done");
    bench.manager();
    let until = bench.lost().unwrap();
    assert!(until > clock::now() && until != INFINITY, "{until}");
    bench.send(ToHelper::Exited {
        proc: GONE,
        status: 32 << 8,
    });
    let report = bench.report();
    assert_eq!(
        (report.active, report.result.as_str()),
        (ActiveState::Failed, "exit-code")
    );
    assert_eq!(bench.lost(), None);
}

#[test]
fn an_end_nobody_tells_ends_what_was_under_way() {
    // Its manager says that nobody knows; or says nothing, for too long.
    let unknown = |bench: &mut Bench| {
        bench.send(ToHelper::Exited {
            proc: GONE,
            status: END_UNKNOWN,
        });
    };
    for ends in [unknown, |bench: &mut Bench| {
        bench.helper.tick(&bench.poller)
    }] {
        let mut bench = Bench::new();
        ends(&mut bench);
        let report = bench.report();
        assert_eq!(report.active, ActiveState::Failed);
        assert_eq!(report.outcome, Outcome::Failed);
        assert_eq!(bench.lost(), None);
    }
}

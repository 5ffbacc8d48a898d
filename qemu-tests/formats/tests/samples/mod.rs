//! One of everything that is stored, with a value in every field.

use engine::api::{AtomicRecord, EngineRecord, JobId, JobRecord, PastRecord, Record, UnitRecord};
use formats::stores;
use serde::Serialize;
use std::path::Path;
use sysmaster::boot::BootRecord;
use sysmaster::crashes::CrashRecord;
use sysmaster::persist::{ConditionRecord, HelperRecord, Persist, Recovered};
use sysmaster::upgrade::{Stage, UpgradeRecord};
use unit_service::policy::Step;
use unit_service::run::{At, Awaited, Order, Role, Run, Said, State, Why};
use units::journal::{Attempt, Journal, Remembered, SetupError, SlotId, Slots, key};
use units::name::UnitName;
use units::state::{
    ActiveState, Exit, Invocation, JobResult, JobVerb, Outcome, ProcId, RestartWish, Times,
};
use units::store::Store;
use units::wire::control::ShutdownKind;
use units::wire::helper::{Sockets, Verb};

pub const PROC: ProcId = ProcId {
    pid: 4711,
    start: 0x1_0000_0001,
};

fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

pub fn store() -> Store {
    let mut store = Store::create(stores::memory(&[]), 1 << 20).unwrap();
    store.put(1, 2, 3, b"a record that is replaced").unwrap();
    store.put(1, 2, u64::MAX - 1, b"").unwrap();
    store.put(2, 1, 1, b"a record that is deleted").unwrap();
    store.put(0xfffe, 0xabcd, 1 << 33, &[7; 13]).unwrap();
    store.put(1, 2, 3, b"replaced").unwrap();
    store.delete(2, 1);
    store.begin(7, "a unit with a name of forty-eight bytes, cut off here");
    store
}

/// The records of the engine, of a helper, the boot, an offer and the quarantine, as of this layout.
pub fn expected_state(layout: u32) -> Recovered {
    let unit = UnitRecord {
        name: name("a.service"),
        active: ActiveState::Active,
        since: 1_000_001,
        invocation: Invocation(0x0123_4567_89ab_cdef),
        seq: 1 << 32 | 7,
        pending: Some(Verb::Stop),
        restart_at: Some(77),
        restarts: 3,
        limit: (5, 6),
        limit_hit: true,
        outcome: Outcome::Failed,
        times: Times {
            active_enter: 8,
            ..Times::default()
        },
        past: None,
        can_reload: layout > 1,
    };
    let job = JobRecord {
        id: JobId(9),
        unit: name("a.service"),
        verb: JobVerb::Restart,
        running: true,
        irreversible: true,
        ignore_order: false,
        since: 11,
        transaction: 2,
        seq: 12,
        was: Some((JobVerb::Start, 1)),
        cause: Default::default(),
        deadline: (layout > 1).then_some(13),
    };
    let engine = EngineRecord {
        committed: 2,
        flushed: 1,
        last_job: 9,
        shutting_down: false,
    };
    let boot = BootRecord {
        target: "default.target".into(),
        started: 1,
        finished: 2,
        shutdown: None,
    };
    let mut expected = Recovered {
        records: vec![
            Record::Unit(Box::new(unit)),
            Record::Job(job),
            Record::Engine(engine),
        ],
        helpers: vec![HelperRecord {
            unit_type: "service".into(),
            proc: ProcId { pid: 5, start: 6 },
        }],
        offers: vec![Sockets {
            from: "a.socket".into(),
            to: "a.service".into(),
            name: "door".into(),
            count: 2,
        }],
        boot: Some(boot),
        ..Recovered::default()
    };
    expected.crashes.quarantine = vec![(2, "bad.service".into())];
    expected
}

/// What was not in the first of them: more of a unit, an atomic start, crashes, an upgrade; from layout 2 on, a condition.
pub fn expected_state_more(layout: u32) -> Recovered {
    let past = PastRecord {
        verb: JobVerb::Start,
        result: JobResult::Failed,
        cause: (1, Some(name("b.service"))),
        culprit: Some(name("c.service")),
        asked: 20,
        ended: 21,
    };
    let unit = UnitRecord {
        name: name("b@1.service"),
        active: ActiveState::Failed,
        since: 3,
        invocation: Invocation(u128::MAX - 1),
        seq: 2 << 32,
        pending: None,
        restart_at: None,
        restarts: 0,
        limit: (0, 0),
        limit_hit: false,
        outcome: Outcome::Interrupted,
        times: Times {
            inactive_exit: 1,
            active_enter: 2,
            active_exit: 3,
            inactive_enter: 4,
        },
        past: Some(past),
        can_reload: false,
    };
    let atomic = AtomicRecord {
        transaction: 5,
        anchors: vec![(name("b@1.service"), false), (name("d.target"), true)],
        started: vec![name("e.service")],
        failed: Some((
            name("b@1.service"),
            JobResult::Timeout,
            "it took too long".into(),
        )),
    };
    let boot = BootRecord {
        target: "rescue.target".into(),
        started: 1,
        finished: 0,
        shutdown: Some(ShutdownKind::Reboot),
    };
    let crash = |number: u64| CrashRecord {
        number,
        at: 30 + number,
        who: "manager 3".into(),
        how: "was killed by SIGSEGV".into(),
        what: "loading b@1.service".into(),
        step: 2,
        with: "b@1.service".into(),
    };
    let mut expected = Recovered {
        records: vec![Record::Unit(Box::new(unit)), Record::Atomic(atomic)],
        boot: Some(boot),
        upgrade: UpgradeRecord {
            stage: Stage::TakenBack,
            only: "service".into(),
            seconds: 30,
            until: 1 << 40,
            installs: true,
            why: "it died".into(),
        },
        ..Recovered::default()
    };
    expected.crashes.list = vec![crash(1), crash(2)];
    if layout > 1 {
        expected.conditions = vec![ConditionRecord {
            unit: "f.service".into(),
            text: "PathExists=!/there".into(),
        }];
    }
    expected
}

/// These, written by the manager's own store.
fn stored(what: Recovered) -> Persist {
    let mut persist = Persist::create(Path::new("/tmp")).unwrap();
    what.records
        .iter()
        .for_each(|record| persist.record(record).unwrap());
    what.helpers
        .iter()
        .for_each(|helper| persist.helper(&helper.unit_type, helper.proc).unwrap());
    persist.boot(&what.boot.unwrap()).unwrap();
    what.offers
        .iter()
        .for_each(|offer| persist.offer(offer).unwrap());
    what.conditions
        .iter()
        .for_each(|one| persist.condition(&one.unit, &one.text).unwrap());
    for (place, crash) in what.crashes.list.iter().enumerate() {
        persist.crash(crash, place as u64).unwrap();
    }
    if !what.crashes.quarantine.is_empty() {
        persist.quarantine(&what.crashes.quarantine).unwrap();
    }
    if what.upgrade != UpgradeRecord::default() {
        persist.upgrade(&what.upgrade).unwrap();
    }
    persist
}

pub fn state(layout: u32) -> Persist {
    stored(expected_state(layout))
}

pub fn state_more(layout: u32) -> Persist {
    let persist = stored(expected_state_more(layout));
    persist.begin(3, "a.service");
    persist
}

pub fn attempt(step: u32) -> Attempt {
    Attempt {
        unit: 1 << 40,
        invocation: Invocation(u128::MAX / 3),
        seq: 1 << 33,
        step,
        index: 2,
    }
}

/// A slot in each state a successor can find it in.
pub fn slots() -> (Slots, Vec<SlotId>) {
    let mut slots = Slots::open(stores::memory(&[])).unwrap();
    let ids: Vec<SlotId> = (0..6)
        .map(|step| slots.claim(&attempt(step)).unwrap())
        .collect();
    for id in &ids[1..5] {
        assert!(slots.fill(*id, PROC));
    }
    slots.started(ids[2]);
    slots.failed(
        ids[3],
        SetupError {
            step: 203,
            error: 2,
        },
    );
    slots.exited(ids[4], PROC, 256);
    slots.revoke(ids[5]);
    (slots, ids)
}

/// A record of a helper that can be stored.
pub trait Noted: Serialize {}
impl<T: Serialize> Noted for T {}

/// A journal with one record in it, where helpers put theirs.
pub fn journal(record: &(impl Remembered + Noted)) -> Journal {
    let mut journal = Journal::create(Path::new("/tmp")).unwrap();
    let bytes = postcard::to_allocvec(record).unwrap();
    journal
        .records
        .put(1, 1, key(record.unit()), &bytes)
        .unwrap();
    journal
}

pub fn service() -> Run {
    Run {
        unit: "a.service".into(),
        invocation: Invocation(1 << 100),
        seq: 1 << 32 | 5,
        kill_seq: 4,
        order: Order::Start,
        outcome: Outcome::Done,
        state: State::StartPost,
        since: 10,
        deadline: 20,
        awaited: Awaited::Fork(
            Role::Control,
            At {
                step: Step::StartPost,
                index: 1,
            },
        ),
        why: Why::Success,
        reload_why: Why::Success,
        main: Some(PROC),
        main_known: true,
        main_foreign: true,
        main_at: 1,
        control: Some(ProcId { pid: 5, start: 6 }),
        control_at: At {
            step: Step::StartPre,
            index: 2,
        },
        main_exit: Some(Exit::Core(11)),
        said: Said::Ready,
        status: "all is well".into(),
        errno: 3,
        detail: "a sentence".into(),
        watchdog: Some(7),
        forbid_restart: true,
        wish: Some(RestartWish { delay: 8 }),
        restarts: 9,
        next: Some((2 << 32, Invocation(12))),
        dirty: true,
        sessions: vec![13, 14],
        stored: vec![("connection".into(), 15)],
        socket: true,
        cgroup: "system.slice/a.service".into(),
        unwatched: vec![15],
    }
}

pub fn socket() -> unit_socket::record::Record {
    unit_socket::record::Record {
        unit: "a.socket".into(),
        invocation: Invocation(1 << 99),
        seq: 5,
        outcome: Outcome::Done,
        state: unit_socket::record::State::Listening,
        since: 6,
        why: "resources".into(),
        detail: "a sentence".into(),
        count: 2,
        to: "a.service".into(),
        name: "door".into(),
        paths: vec!["/run/a".into(), "/run/b".into()],
        places: "/run/a, [::]:80".into(),
        triggers: (7, 8),
    }
}

pub fn mount() -> unit_mount::record::Record {
    unit_mount::record::Record {
        unit: "srv.mount".into(),
        invocation: Invocation(1 << 98),
        seq: 5,
        outcome: Outcome::Failed,
        state: unit_mount::record::State::Unmounting,
        since: 6,
        why: "timeout".into(),
        detail: "a sentence".into(),
        process: Some(PROC),
        number: 7,
        deadline: 8,
        signalled: unit_mount::record::Signalled::Killed,
        tries: 9,
    }
}

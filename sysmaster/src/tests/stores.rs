//! A full state store, and the images of earlier layouts.

use super::*;
use crate::persist::Persist;
use std::path::PathBuf;

#[test]
fn a_full_store_is_told_once_and_nothing_new_is_started() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let ask_for = |verb, unit: &str| Request::Jobs {
        verb,
        units: vec![unit.into()],
        mode: JobMode::Replace,
        wait: false,
    };
    let fill = manager.persist.fill();
    assert!(fill > 0);
    // What must be recorded now cannot be: the machine goes on, people hear of it.
    let full = std::io::Error::other("full");
    manager.stored(Err(full));
    assert!(manager.store_full);
    let refused = ask(
        &mut manager,
        &control,
        &ask_for(JobVerb::Restart, "a.service"),
    );
    assert!(
        matches!(refused.first(), Some(Reply::Error { kind: ErrorKind::Busy, message })
            if message.contains("full")),
        "{refused:?}"
    );
    // A stop is possible, and does not need room.
    let stopped = ask(&mut manager, &control, &ask_for(JobVerb::Stop, "a.service"));
    assert!(
        matches!(stopped.first(), Some(Reply::Queued { .. })),
        "{stopped:?}"
    );
    assert_eq!(fake.obey(&mut manager).1, Verb::Stop);
    manager.persist.drain();
    let again = ask(
        &mut manager,
        &control,
        &ask_for(JobVerb::Start, "b.service"),
    );
    assert!(
        matches!(again.first(), Some(Reply::Queued { .. })),
        "{again:?}"
    );
    assert!(!manager.store_full);
}

fn images() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/images")
}

/// The words of an image: those in the file, and zeroes behind them.
fn image(bytes: &[u8]) -> platform::memory::Memory {
    let length = bytes.len().next_multiple_of(4096).max(64 << 10);
    let memory = platform::memory::Memory::create(c"image", length, Path::new("/tmp")).unwrap();
    for (word, chunk) in memory.words().iter().zip(bytes.chunks(4)) {
        let mut whole = [0; 4];
        whole[..chunk.len()].copy_from_slice(chunk);
        word.store(
            u32::from_le_bytes(whole),
            std::sync::atomic::Ordering::Relaxed,
        );
    }
    memory
}

/// A store of this layout with one record of each kind.
fn sample() -> Persist {
    use engine::api::{EngineRecord, JobId, JobRecord, Record, UnitRecord};
    let mut persist = Persist::create(Path::new("/tmp")).unwrap();
    let unit = UnitRecord {
        name: units::name::UnitName::new("a.service").unwrap(),
        active: ActiveState::Active,
        since: 1_000_001,
        invocation: units::state::Invocation(0x0123_4567_89ab_cdef),
        seq: 1 << 32 | 7,
        pending: Some(Verb::Stop),
        restart_at: Some(77),
        restarts: 3,
        limit: (5, 6),
        limit_hit: true,
        outcome: Outcome::Failed,
        times: units::state::Times {
            active_enter: 8,
            ..Default::default()
        },
        past: None,
        can_reload: false,
    };
    persist.record(&Record::Unit(unit)).unwrap();
    persist
        .record(&Record::Job(JobRecord {
            id: JobId(9),
            unit: units::name::UnitName::new("a.service").unwrap(),
            verb: JobVerb::Restart,
            running: true,
            irreversible: true,
            ignore_order: false,
            since: 11,
            transaction: 2,
            seq: 12,
            was: Some((JobVerb::Start, 1)),
            cause: Default::default(),
        }))
        .unwrap();
    persist
        .record(&Record::Engine(EngineRecord {
            committed: 2,
            flushed: 1,
            last_job: 9,
            shutting_down: false,
        }))
        .unwrap();
    persist
        .helper("service", ProcId { pid: 5, start: 6 })
        .unwrap();
    let boot = crate::boot::BootRecord {
        target: "default.target".into(),
        started: 1,
        finished: 2,
        ..Default::default()
    };
    persist.boot(&boot).unwrap();
    let offer = units::wire::helper::Sockets {
        from: "a.socket".into(),
        to: "a.service".into(),
        name: "door".into(),
        count: 2,
    };
    persist.offer(&offer).unwrap();
    persist.quarantine(&[(2, "bad.service".into())]).unwrap();
    persist
}

/// Every image that was ever released is read, and what it says is what it said. With
/// `GOLDEN=write` the present layout's image is written: a change of what is in the tree is a change of
/// the layout and takes a new version.
#[test]
fn the_stores_of_every_released_layout_are_read() {
    let path = images().join("state-1.bin");
    if std::env::var_os("GOLDEN").is_some() {
        let persist = sample();
        let memory = platform::memory::Memory::from_fd(persist.duplicate().unwrap()).unwrap();
        let words = memory.words().iter();
        let load = |w: &std::sync::atomic::AtomicU32| w.load(std::sync::atomic::Ordering::Relaxed);
        let mut bytes: Vec<u8> = words.flat_map(|word| load(word).to_le_bytes()).collect();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        bytes.truncate(used);
        std::fs::create_dir_all(images()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let found = Persist::open(image(&std::fs::read(path).unwrap()))
        .unwrap()
        .recover();
    let now = sample().recover();
    assert_eq!((found.unreadable, found.foreign), (0, 0));
    assert_eq!(found.records, now.records);
    assert_eq!(found.helpers, now.helpers);
    assert_eq!(found.boot, now.boot);
    assert_eq!(found.offers, now.offers);
    assert_eq!(found.crashes.quarantine, now.crashes.quarantine);
}

/// A record of a version to come is passed over, told as such, and still there for who wrote it.
#[test]
fn records_of_another_version_are_kept() {
    let mut persist = sample();
    persist.put_foreign();
    let memory = platform::memory::Memory::from_fd(persist.duplicate().unwrap()).unwrap();
    let mut again = Persist::open(memory).unwrap();
    for _ in 0..2 {
        let found = again.recover();
        assert_eq!(
            (found.foreign, found.unreadable, found.records.len()),
            (1, 0, 3)
        );
    }
}

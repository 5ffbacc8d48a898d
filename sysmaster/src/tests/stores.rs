//! A full state store, and records of a later version. (Images of earlier layouts: `qemu-tests/formats`.)

use super::*;
use crate::persist::Persist;

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

/// A record of a version to come is passed over, told as such, and still there for who wrote it.
#[test]
fn records_of_another_version_are_kept() {
    let mut persist = Persist::create(Path::new("/tmp")).unwrap();
    let proc = ProcId { pid: 5, start: 6 };
    persist.helper("service", proc).unwrap();
    persist.put_foreign();
    let memory = platform::memory::Memory::from_fd(persist.duplicate().unwrap()).unwrap();
    let mut again = Persist::open(memory).unwrap();
    for _ in 0..2 {
        let found = again.recover();
        assert_eq!(
            (found.foreign, found.unreadable, found.helpers.len()),
            (1, 0, 1)
        );
    }
}

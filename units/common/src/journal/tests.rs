//! The slots' protocol, step by step, with helper, successor and child as three views of one
//! memory. `tests/helper` does the same with real processes.

use super::*;

fn memory(slots: usize) -> Memory {
    Memory::create(c"slots-test", (slots + 1) * SLOT * 4, Path::new("/tmp")).unwrap()
}

fn again(slots: &Slots) -> Slots {
    Slots::open(Memory::from_fd(slots.memory().duplicate().unwrap()).unwrap()).unwrap()
}

const CHILD: ProcId = ProcId {
    pid: 1234,
    start: 0x1_0000_0005,
};

fn attempt(seq: u64) -> Attempt {
    Attempt {
        unit: u64::MAX - 1,
        invocation: Invocation(u128::MAX - 7),
        seq,
        step: 3,
        index: 2,
    }
}

#[test]
fn a_slot_tells_everything_to_the_next_helper() {
    let mut slots = Slots::open(memory(31)).unwrap();
    assert!(slots.in_use().is_empty());
    let id = slots.claim(&attempt(1 << 33)).unwrap();
    let next = again(&slots);
    assert_eq!(next.in_use(), [id]);
    assert_eq!(
        (next.attempt(id), next.state(id)),
        (attempt(1 << 33), SlotState::Forking)
    );
    assert!(slots.fill(id, CHILD));
    assert!(!slots.fill(id, CHILD), "a slot has one child");
    assert_eq!(next.state(id), SlotState::Filled(CHILD));
    slots.started(id);
    assert_eq!(next.state(id), SlotState::Started(CHILD));
    assert_eq!(next.setup_error(id), None);
    let why = SetupError {
        step: 203,
        error: 2,
    };
    slots.failed(id, why);
    assert_eq!(next.state(id), SlotState::Failed(CHILD, why));
    slots.exited(id, CHILD, 203 << 8);
    assert_eq!(next.state(id), SlotState::Exited(CHILD, 203 << 8));
    assert_eq!(next.setup_error(id), Some(why));
    slots.release(id);
    assert_eq!(next.state(id), SlotState::Empty);
    assert!(again(&slots).in_use().is_empty());
    let other = slots.claim(&Attempt::default()).unwrap();
    assert_eq!((other.number, slots.setup_error(other)), (id.number, None));
    assert_eq!(
        slots.state(id),
        SlotState::Empty,
        "an old use is not the new one"
    );
    slots.release(id);
    assert_eq!(
        slots.state(other),
        SlotState::Forking,
        "nor can it release it"
    );
}

#[test]
fn revoked_before_the_child_came() {
    let mut slots = Slots::open(memory(31)).unwrap();
    let id = slots.claim(&attempt(1)).unwrap();
    let mut next = again(&slots);
    assert_eq!(next.revoke(id), SlotState::Revoked);
    assert!(!slots.fill(id, CHILD), "the late child must end");
    slots.started(id);
    slots.failed(id, SetupError { step: 1, error: 1 });
    assert_eq!(next.state(id), SlotState::Revoked);
    next.release(id);
    assert!(!slots.fill(id, CHILD));
}

#[test]
fn the_child_was_faster() {
    let mut slots = Slots::open(memory(31)).unwrap();
    let id = slots.claim(&attempt(1)).unwrap();
    let next = again(&slots);
    assert!(slots.fill(id, CHILD));
    assert_eq!(next.revoke(id), SlotState::Filled(CHILD));
    slots.started(id);
    assert_eq!(next.revoke(id), SlotState::Started(CHILD));
}

#[test]
fn revoked_between_the_two_steps_of_the_child() {
    let mut slots = Slots::open(memory(3)).unwrap();
    let id = slots.claim(&attempt(1)).unwrap();
    let mut next = again(&slots);
    let other = ProcId { pid: 77, start: 78 };
    let mut reused = None;
    let won = slots.fill_slowly(id, CHILD, || {
        assert_eq!(next.revoke(id), SlotState::Revoked);
        next.release(id);
        // All that is free is used: the retired slot must not be among it.
        for seq in 2..4 {
            let used = next.claim(&attempt(seq)).unwrap();
            assert_ne!(used.number, id.number);
            assert!(next.fill(used, other));
            reused = Some(used);
        }
    });
    assert!(!won);
    assert_eq!(next.state(reused.unwrap()), SlotState::Filled(other));
    // Also not by the helper after that.
    let mut third = again(&slots);
    for seq in 4..20 {
        assert_ne!(third.claim(&attempt(seq)).unwrap().number, id.number);
    }
}

#[test]
fn they_grow_and_end_somewhere() {
    let mut slots = Slots::open(memory(31)).unwrap();
    let before = slots.memory().length();
    // A child that was forked before the growth still sees its slot.
    let first = slots.claim(&attempt(0)).unwrap();
    let child = again(&slots);
    let mut all: Vec<SlotId> = (1..MAX_SLOTS as u64)
        .map_while(|seq| slots.claim(&attempt(seq)).ok())
        .collect();
    assert!(slots.memory().length() > before);
    assert!(child.fill(first, CHILD));
    assert_eq!(slots.state(first), SlotState::Filled(CHILD));
    all.push(first);
    assert!(all.len() >= MAX_SLOTS / 2);
    all.sort();
    all.dedup_by_key(|id| id.number);
    while let Ok(id) = slots.claim(&attempt(9)) {
        all.push(id);
    }
    let full = slots.claim(&attempt(9)).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    // Retired ones serve when there is no other.
    let late = all[5];
    slots.revoke(late);
    slots.release(late);
    assert_eq!(slots.claim(&attempt(9)).unwrap().number, late.number);
}

#[test]
fn a_failed_fork_leaves_nothing() {
    let mut slots = Slots::open(memory(31)).unwrap();
    let id = slots.claim(&attempt(1)).unwrap();
    slots.release(id);
    assert!(slots.in_use().is_empty());
    slots.release(id);
    let (one, two) = (
        slots.claim(&attempt(1)).unwrap(),
        slots.claim(&attempt(1)).unwrap(),
    );
    assert_ne!(one.number, two.number, "released twice is released once");
}

#[test]
fn foreign_memory_is_refused_and_garbage_is_harmless() {
    let foreign = memory(3);
    foreign.words()[0].store(1, Relaxed);
    assert!(Slots::open(foreign).is_err());
    let garbage = memory(31);
    for (at, word) in garbage.words().iter().enumerate().skip(1) {
        word.store((at as u32).wrapping_mul(0x9e37_79b1), Relaxed);
    }
    garbage.words()[0].store(MAGIC, Relaxed);
    let mut slots = Slots::open(garbage).unwrap();
    for id in slots.in_use() {
        slots.revoke(id);
        let _ = (slots.state(id), slots.attempt(id), slots.setup_error(id));
        slots.release(id);
    }
    assert!(slots.claim(&attempt(1)).is_ok());
}

#[test]
fn a_journal_is_taken_over_whole() {
    let mut journal = Journal::create(Path::new("/tmp")).unwrap();
    journal.records.put(1, 0, 2, b"record").unwrap();
    let id = journal.slots.claim(&attempt(5)).unwrap();
    let copy = |memory: &Memory| Memory::from_fd(memory.duplicate().unwrap()).unwrap();
    let (records, slots) = (copy(journal.records.memory()), copy(journal.slots.memory()));
    drop(journal);
    let (next, found) = Journal::open(records, slots).unwrap();
    assert_eq!(found.live, 1);
    assert_eq!(next.records.get(1, 2).unwrap().payload, b"record");
    assert_eq!(next.slots.in_use(), [id]);
}

/// What a type of these tests remembers of a unit.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Note {
    unit: String,
    count: u32,
    /// Appended by a later version.
    more: Option<String>,
}

impl Remembered for Note {
    fn unit(&self) -> &str {
        &self.unit
    }

    fn is_blank(&self) -> bool {
        self.count == 0
    }
}

#[test]
fn what_an_earlier_and_a_later_version_remembered_is_read() {
    let mut journal = Journal::create(&std::env::temp_dir()).unwrap();
    let mut put = |unit: &str, version: u16, bytes: &[u8]| {
        journal.records.put(1, version, key(unit), bytes).unwrap();
    };
    let earlier = |unit: &str| postcard::to_allocvec(&(unit, 7u32)).unwrap();
    put("short", 1, &earlier("short"));
    put("long", 1, &[earlier("long"), vec![0, 0xa5, 0xa5]].concat());
    put("foreign", 2, &earlier("foreign"));
    put("not-mine", 1, &earlier("of-another-name"));
    let (mut notes, foreign) = journal.remembered::<Note>();
    notes.sort_by(|a, b| a.unit.cmp(&b.unit));
    let note = |unit: &str| Note {
        unit: unit.into(),
        count: 7,
        more: None,
    };
    assert_eq!((notes, foreign), (vec![note("long"), note("short")], 1));
    journal.forget("short");
    assert_eq!(journal.remembered::<Note>().0, [note("long")]);
}

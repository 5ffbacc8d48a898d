//! What becomes of a store by what is wrong with it: each class of defect, what is found, and that it is found once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use formats::stores::{image, memory};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use platform::memory::Memory;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use sysmaster::persist::Persist;
use units::journal::Journal;
use units::state::ProcId;
use units::store::{MIN_LENGTH, Store, StoreError};

const LIMIT: usize = 64 << 10;
/// Words of a record with forty bytes in it, and where the first begins.
const RECORD: usize = 16;
const FIRST: usize = 20;
const RECORDS: usize = 8;

fn sound() -> Store {
    let mut store = Store::create(memory(&[]), LIMIT).unwrap();
    for key in 0..RECORDS as u64 {
        store.put(1, 1, key, &[key as u8 + 1; 40]).unwrap();
    }
    store
}

/// A way to damage it, and what is found then: live records, damaged places, whether it is begun anew.
type Defect = (&'static str, fn(&Memory), (usize, usize, bool));

fn set(memory: &Memory, at: usize, value: u32) {
    memory.words()[at].store(value, Relaxed);
}

fn word(memory: &Memory, at: usize) -> u32 {
    memory.words()[at].load(Relaxed)
}

const DEFECTS: &[Defect] = &[
    ("nothing", |_| {}, (8, 0, false)),
    (
        "a wrong checksum",
        |m| set(m, FIRST + 2, word(m, FIRST + 2) ^ 1),
        (7, 1, false),
    ),
    (
        "a wrong payload",
        |m| set(m, FIRST + RECORD + 9, 0x5555),
        (7, 1, false),
    ),
    (
        "a torn record: its second half is not there",
        |m| (8..16).for_each(|at| set(m, FIRST + at, 0)),
        (7, 1, false),
    ),
    (
        "two torn records in a row",
        |m| (8..28).for_each(|at| set(m, FIRST + at, 0)),
        (6, 1, false),
    ),
    (
        "a length that leads out of the log",
        |m| set(m, FIRST + 1, 4_000_000),
        (7, 1, false),
    ),
    (
        "a dead mark that is none",
        |m| set(m, FIRST + 3, 7),
        (7, 1, false),
    ),
    (
        "a log cut short by two records",
        |m| set(m, 18, word(m, 18) - 2 * RECORD as u32),
        (6, 0, false),
    ),
    (
        "more in use than the region has",
        |m| set(m, 18, 1 << 20),
        (0, 0, true),
    ),
    ("a wild switch", |m| set(m, 2, 0x7fff_fff0), (0, 0, true)),
    ("another layout", |m| set(m, 1, 2), (0, 0, true)),
    (
        "somebody else's memory",
        |m| set(m, 0, 0x1234),
        (0, 0, true),
    ),
    (
        "no header, zeroes only",
        |m| m.words().iter().for_each(|word| word.store(0, Relaxed)),
        (0, 0, false),
    ),
];

#[test]
fn every_defect_has_one_outcome_and_is_found_once() {
    for (what, damage, outcome) in DEFECTS {
        let damaged = memory(&image(sound().memory()));
        damage(&damaged);
        let (store, found) = Store::recover(damaged, LIMIT).unwrap();
        assert_eq!((found.live, found.damaged, found.reset), *outcome, "{what}");
        let (mut store, again) = Store::recover(store.into_memory(), LIMIT).unwrap();
        assert_eq!(
            (again.live, again.damaged, again.reset),
            (outcome.0, 0, false),
            "{what}, the second time"
        );
        for record in store.records() {
            assert_eq!(record.payload, [record.key as u8 + 1; 40], "{what}");
        }
        store.put(2, 1, 1, b"written afterwards").unwrap();
        let (store, _) = Store::recover(store.into_memory(), LIMIT).unwrap();
        assert_eq!(
            store.get(2, 1).unwrap().payload,
            b"written afterwards",
            "{what}"
        );
        assert_eq!(store.len(), outcome.0 + 1, "{what}");
    }
}

/// A memory that was cut to less than its header says: what is left cannot be trusted.
#[test]
fn a_truncated_image_is_begun_anew() {
    let mut store = Store::create(memory(&[0; 4 * MIN_LENGTH]), LIMIT).unwrap();
    store.put(1, 1, 1, &[7; 40]).unwrap();
    let (store, found) = Store::recover(memory(&image(store.memory())), LIMIT).unwrap();
    assert!(found.reset && store.is_empty());
    let (_, again) = Store::recover(store.into_memory(), LIMIT).unwrap();
    assert!(!again.reset);
}

/// When the system gives no more memory, what is stored stays, what is new is refused, and deleting makes room.
#[test]
fn a_refused_grow_is_an_answer() {
    let fixed = memory(&[]);
    fcntl(fixed.as_fd(), FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).unwrap();
    let mut store = Store::create(fixed, LIMIT).unwrap();
    let mut stored = 0;
    while store.put(1, 1, stored, &[3; 40]).is_ok() {
        stored += 1;
    }
    assert_eq!(store.put(1, 1, stored, &[3; 40]), Err(StoreError::Full));
    assert!(stored > 10 && store.len() as u64 == stored && store.memory().length() == MIN_LENGTH);
    assert!((0..stored).all(|key| store.get(1, key).unwrap().payload == [3; 40]));
    assert!(store.delete(1, 0) && store.delete(1, 1));
    // Full of what was deleted, it is compacted.
    for round in 0..100 {
        store.put(1, 1, 0, &[round; 40]).unwrap();
    }
    let (store, found) = Store::recover(store.into_memory(), LIMIT).unwrap();
    assert_eq!((found.damaged, found.live as u64), (0, stored - 1));
    assert_eq!(store.get(1, 0).unwrap().payload, [99; 40]);
}

/// The manager is told of as many places as cannot be read, and of none the next time.
#[test]
fn the_manager_hears_of_it_once() {
    let mut persist = Persist::create(Path::new("/tmp")).unwrap();
    for unit_type in ["service", "socket", "mount"] {
        persist
            .helper(unit_type, ProcId { pid: 5, start: 6 })
            .unwrap();
    }
    let shared = || Memory::from_fd(persist.duplicate().unwrap()).unwrap();
    set(&shared(), FIRST + 4, 0x5555);
    let found = Persist::open(shared()).unwrap().recover();
    assert_eq!((found.unreadable, found.helpers.len()), (1, 2));
    let found = Persist::open(shared()).unwrap().recover();
    assert_eq!((found.unreadable, found.helpers.len()), (0, 2));
}

/// A helper's journal whose slots are somebody else's is refused as a whole; whose records are, is begun anew.
#[test]
fn a_journal_of_somebody_else_is_not_taken_over() {
    let foreign = || memory(&[1, 2, 3, 4]);
    assert!(Journal::open(memory(&[]), foreign()).is_err());
    let (journal, found) = Journal::open(foreign(), memory(&[])).unwrap();
    assert!(found.reset && journal.records.is_empty() && journal.slots.in_use().is_empty());
}

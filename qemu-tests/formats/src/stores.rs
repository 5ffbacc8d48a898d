//! The stores and journals in memory, with anything in them.

use platform::memory::Memory;
use postcard::to_allocvec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use units::journal::{Attempt, Journal, Remembered, SlotState, Slots, key};
use units::state::{Invocation, ProcId};
use units::store::{MIN_LENGTH, Record, Store, StoreError};

/// A store of the tests grows to this many bytes at most.
const LIMIT: usize = 64 << 10;

/// Memory with these bytes in it, zeroes behind them.
pub fn memory(bytes: &[u8]) -> Memory {
    let length = bytes.len().next_multiple_of(MIN_LENGTH).max(MIN_LENGTH);
    let memory = Memory::create(c"formats", length, Path::new("/tmp")).unwrap();
    for (word, chunk) in memory.words().iter().zip(bytes.chunks(4)) {
        let mut whole = [0; 4];
        whole[..chunk.len()].copy_from_slice(chunk);
        word.store(u32::from_le_bytes(whole), Relaxed);
    }
    memory
}

/// What is in a memory, without the zeroes at the end.
pub fn image(memory: &Memory) -> Vec<u8> {
    let words = memory.words().iter();
    let mut bytes: Vec<u8> = words
        .flat_map(|word| word.load(Relaxed).to_le_bytes())
        .collect();
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bytes.truncate(used);
    bytes
}

fn copy(memory_of: &Memory) -> Memory {
    let copy = memory(&image(memory_of));
    assert!(copy.length() <= memory_of.length());
    let mut copy = copy;
    copy.grow(memory_of.length()).unwrap();
    copy
}

/// A store with something in each place.
fn valid() -> Store {
    let mut store = Store::create(memory(&[]), LIMIT).unwrap();
    for key in 0..12u64 {
        store
            .put(
                1 + key as u16 % 3,
                1,
                key,
                &vec![key as u8; key as usize * 7],
            )
            .unwrap();
    }
    store.put(1, 1, 3, b"replaced").unwrap();
    store.delete(2, 1);
    store.begin(7, "a.service");
    store
}

/// Words of a memory are changed as the bytes say, seven for each: where (two), how (one), to what (four).
fn patch(memory: &Memory, bytes: &[u8]) {
    let words = memory.words();
    for patch in bytes.chunks_exact(7) {
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % words.len();
        let value = u32::from_le_bytes([patch[3], patch[4], patch[5], patch[6]]);
        match patch[2] % 4 {
            0 => words[at].store(value, Relaxed),
            1 => drop(words[at].fetch_xor(1 << (value % 32), Relaxed)),
            // Small numbers, as lengths and offsets are.
            2 => words[at].store(value % 2048, Relaxed),
            // Everything from here on is lost.
            _ => words[at..].iter().for_each(|word| word.store(0, Relaxed)),
        }
    }
}

/// The first byte says what the image is: these bytes, or a good one changed by them.
fn hostile(bytes: &[u8], good: &Memory) -> Memory {
    match bytes.split_first() {
        Some((kind, rest)) if kind % 2 == 1 => {
            let copy = copy(good);
            patch(&copy, rest);
            copy
        }
        Some((_, rest)) => memory(rest),
        None => memory(&[]),
    }
}

fn content(store: &Store) -> Vec<Record> {
    store.records().collect()
}

/// A store of any content: it is recovered, what is found is listed once, nothing damaged is found a second time,
/// and it takes, keeps, replaces and gives up records afterwards; another recovery finds exactly that. What it
/// says of a damaged one: [`units::store::Recovery`].
pub fn store(bytes: &[u8]) {
    let hostile = hostile(bytes, valid().memory());
    let empty = hostile.words().iter().all(|word| word.load(Relaxed) == 0);
    let (store, found) = Store::recover(hostile, LIMIT).unwrap();
    let before = content(&store);
    assert_eq!((before.len(), found.live), (store.len(), store.len()));
    assert!(!empty || (before.is_empty() && !found.reset && found.damaged == 0));
    assert!(!found.reset || before.is_empty());
    assert!(before.is_sorted_by_key(|record| (record.kind, record.key)));
    // A second reader finds the same, and nothing of the damage.
    let (mut store, again) = Store::recover(store.into_memory(), LIMIT).unwrap();
    assert_eq!(content(&store), before);
    assert!(!again.reset && (again.damaged == 0 || again.damaged == found.damaged));
    assert!(
        again.damaged == 0 || store.put(999, 1, 1, &[0; 4096]) == Err(StoreError::Full),
        "found twice"
    );
    works(&mut store, &before);
}

/// It is a map, whatever was in it: what was there stays, what is put is there, what is deleted is not.
fn works(store: &mut Store, before: &[Record]) {
    for record in before.iter().take(3) {
        assert!(
            store.delete(record.kind, record.key) && store.get(record.kind, record.key).is_none()
        );
    }
    let (kind, mut stored) = (777, 0);
    while stored < 40 && store.put(kind, 2, stored, &[stored as u8; 60]).is_ok() {
        stored += 1;
    }
    let room = store.memory().length() < LIMIT;
    assert!(
        stored == 40 || !room,
        "full with {} of {LIMIT} bytes",
        store.memory().length()
    );
    let (again, found) = Store::recover(copy(store.memory()), LIMIT).unwrap();
    assert_eq!((found.damaged, found.reset), (0, false));
    assert_eq!(content(&again), content(store));
    for record in before.iter().skip(3).filter(|record| record.kind != kind) {
        assert_eq!(again.get(record.kind, record.key).as_ref(), Some(record));
    }
    for at in 0..stored {
        assert_eq!(again.get(kind, at).unwrap().payload, [at as u8; 60]);
    }
    let keys: Vec<_> = store
        .records()
        .map(|record| (record.kind, record.key))
        .collect();
    assert!(keys.iter().all(|(kind, key)| store.delete(*kind, *key)) && store.is_empty());
}

/// A helper's records with any payload: one that is read is read again as the same once it is written anew; what a
/// later version appends changes nothing; and one that is not read is passed over alone.
pub fn records(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    match kind % 3 {
        0 => record::<unit_service::run::Run>(payload),
        1 => record::<unit_socket::record::Record>(payload),
        _ => record::<unit_mount::record::Record>(payload),
    }
}

fn record<T: Remembered + Serialize + DeserializeOwned + PartialEq + Debug>(payload: &[u8]) {
    let stored = |payload: &[u8]| Record {
        kind: 1,
        version: 1,
        key: 0,
        payload: payload.to_vec(),
    };
    let Some(read) = stored(payload).read::<T>() else {
        return;
    };
    let written = to_allocvec(&read).unwrap();
    assert_eq!(stored(&written).read::<T>().as_ref(), Some(&read));
    let later = [&written[..], &[0xa5; 8]].concat();
    assert_eq!(stored(&later).read::<T>().as_ref(), Some(&read));
    let mut journal = Journal::create(Path::new("/tmp")).unwrap();
    journal
        .records
        .put(1, 1, key(read.unit()), payload)
        .unwrap();
    journal
        .records
        .put(1, 1, key("other"), &[0xff; 12])
        .unwrap();
    assert_eq!(journal.remembered::<T>(), (vec![read], 0));
}

/// Slots of any content: they are refused, or a successor goes through them, proves them empty or follows them,
/// releases them, and has a place for each new attempt, whose story is told as it was written.
pub fn slots(bytes: &[u8]) {
    let mut good = Slots::open(memory(&[])).unwrap();
    for step in 0..6 {
        let id = good.claim(&attempt(step)).unwrap();
        if step > 1 {
            assert!(good.fill(id, PROC));
        }
        if step > 3 {
            good.started(id);
        }
    }
    let hostile = hostile(bytes, good.memory());
    let first = hostile.words()[0].load(Relaxed);
    let Ok(mut slots) = Slots::open(hostile) else {
        return assert!(first != 0 && first != good.memory().words()[0].load(Relaxed));
    };
    for id in slots.in_use() {
        let state = slots.revoke(id);
        assert_ne!(
            state,
            SlotState::Forking,
            "revoked, and neither proven empty nor taken"
        );
        assert_ne!(state, SlotState::Empty);
        assert!(!slots.fill(id, PROC), "a child comes after all");
        slots.release(id);
        assert_eq!(slots.state(id), SlotState::Empty);
    }
    assert!(slots.in_use().is_empty());
    for step in 0..40 {
        let id = slots.claim(&attempt(step)).unwrap();
        assert_eq!(
            (slots.attempt(id), slots.state(id)),
            (attempt(step), SlotState::Forking)
        );
        assert!(slots.fill(id, PROC));
        assert_eq!(
            (slots.state(id), slots.setup_error(id)),
            (SlotState::Filled(PROC), None)
        );
    }
    assert_eq!(slots.in_use().len(), 40);
}

const PROC: ProcId = ProcId {
    pid: 4711,
    start: 0x1_0000_0001,
};

fn attempt(step: u32) -> Attempt {
    Attempt {
        unit: 1 << 40,
        invocation: Invocation(u128::MAX / 3),
        seq: 1 << 33,
        step,
        index: 2,
    }
}

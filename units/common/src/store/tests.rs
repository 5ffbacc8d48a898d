//! The store against a map in the test, cut off at every instruction, and against garbage.

use super::*;
use std::cell::Cell;
use std::collections::BTreeMap as Map;
use std::os::fd::AsFd;
use std::path::Path;

thread_local! {
    /// How many more stores take effect; negative: all.
    static FUSE: Cell<i64> = const { Cell::new(-1) };
    static STORES: Cell<i64> = const { Cell::new(0) };
}

/// Whether the writer still lives at this store instruction.
pub(super) fn fuse_holds() -> bool {
    STORES.set(STORES.get() + 1);
    match FUSE.get() {
        0 => false,
        left => {
            FUSE.set((left - 1).max(-1));
            true
        }
    }
}

fn blown() -> bool {
    FUSE.get() == 0
}

/// Random numbers whose seed is printed when a test fails.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = platform::random::bits128() as u64 | 1;
        println!("seed {seed:#x}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What one version wrote, the one before and the one after it read.
#[test]
fn records_grow_at_their_end() {
    let record = |payload: Vec<u8>| Record {
        kind: 1,
        version: 1,
        key: 0,
        payload,
    };
    type Before = (String, u32);
    type After = (String, u32, Option<u64>, Vec<u8>, bool);
    let before: Before = ("a".into(), 7);
    let after: After = ("a".into(), 7, Some(1), vec![2], true);
    let written = record(postcard::to_allocvec(&after).unwrap());
    assert_eq!(written.read(), Some(before.clone()));
    let written = record(postcard::to_allocvec(&before).unwrap());
    let read: After = ("a".into(), 7, None, vec![], false);
    assert_eq!(written.read(), Some(read));
    assert_eq!(
        record(vec![0xff; 3]).read::<Before>(),
        None,
        "no text is that long"
    );
}

fn memory(bytes: usize) -> Memory {
    Memory::create(c"store-test", bytes, Path::new("/tmp")).unwrap()
}

/// A copy of the memory as it is at this moment, in a memory of its own.
fn image(of: &Memory) -> Memory {
    let copy = memory(of.length());
    for (to, from) in copy.words().iter().zip(of.words()) {
        to.store(from.load(Relaxed), Relaxed);
    }
    copy
}

type Model = Map<(u16, u64), (u16, Vec<u8>)>;

fn content(store: &Store) -> Model {
    store
        .records()
        .map(|r| ((r.kind, r.key), (r.version, r.payload)))
        .collect()
}

#[derive(Clone, Debug)]
enum Op {
    Put(u16, u16, u64, Vec<u8>),
    Delete(u16, u64),
}

fn random_ops(random: &mut Random, count: usize, keys: u64, longest: u64) -> Vec<Op> {
    let op = |random: &mut Random| {
        let (kind, key) = (random.below(3) as u16, random.below(keys));
        if random.below(4) == 0 {
            return Op::Delete(kind, key);
        }
        let payload = (0..random.below(longest))
            .map(|_| random.next() as u8)
            .collect();
        Op::Put(kind, random.below(5) as u16, key, payload)
    };
    (0..count).map(|_| op(random)).collect()
}

fn apply(store: &mut Store, op: &Op) -> Result<(), StoreError> {
    match op {
        Op::Put(kind, version, key, payload) => store.put(*kind, *version, *key, payload),
        Op::Delete(kind, key) => {
            store.delete(*kind, *key);
            Ok(())
        }
    }
}

fn apply_to_model(model: &mut Model, op: &Op) {
    match op {
        Op::Put(kind, version, key, payload) => {
            model.insert((*kind, *key), (*version, payload.clone()));
        }
        Op::Delete(kind, key) => {
            model.remove(&(*kind, *key));
        }
    }
}

#[test]
fn it_is_a_map_that_survives() {
    let mut random = Random::new();
    let mut model = Model::new();
    let mut store = Store::create(memory(MIN_LENGTH), 1 << 20).unwrap();
    assert!(store.is_empty());
    for op in random_ops(&mut random, 3000, 40, 200) {
        apply(&mut store, &op).unwrap();
        apply_to_model(&mut model, &op);
    }
    assert_eq!(content(&store), model);
    assert!(
        store.memory().length() <= 256 << 10,
        "{}",
        store.memory().length()
    );
    let (again, found) = Store::recover(image(store.memory()), 1 << 20).unwrap();
    assert_eq!(content(&again), model);
    assert_eq!(
        (found.live, found.damaged, found.reset),
        (model.len(), 0, false)
    );
    let kept = Memory::from_fd(store.memory().as_fd().try_clone_to_owned().unwrap()).unwrap();
    drop(store);
    let (again, _) = Store::recover(kept, 1 << 20).unwrap();
    assert_eq!(content(&again), model);
    let of_kind: Vec<_> = again.records_of(1).map(|record| record.key).collect();
    assert!(of_kind.is_sorted() && of_kind.len() == model.keys().filter(|key| key.0 == 1).count());
}

#[test]
fn killed_at_every_instruction() {
    let mut random = Random::new();
    let ops = random_ops(&mut random, 120, 12, 160);
    FUSE.set(-1);
    STORES.set(0);
    let mut store = Store::create(memory(MIN_LENGTH), 64 << 10).unwrap();
    let made = STORES.get();
    for op in &ops {
        apply(&mut store, op).unwrap();
    }
    let total = STORES.get();
    assert!(
        store.memory().length() > MIN_LENGTH,
        "the test must see growth"
    );
    for stores in 0..=total {
        FUSE.set(stores);
        let mut store = Store::create(memory(MIN_LENGTH), 64 << 10).unwrap();
        let (mut before, mut after) = (Model::new(), Model::new());
        for op in ops.iter().take_while(|_| !blown()) {
            before = after.clone();
            apply_to_model(&mut after, op);
            apply(&mut store, op).unwrap();
        }
        FUSE.set(-1);
        let (again, found) = Store::recover(image(store.memory()), 64 << 10).unwrap();
        let got = content(&again);
        assert!(
            got == before || got == after,
            "killed after store {stores} of {total}"
        );
        assert_eq!(found.damaged, 0, "killed after store {stores} of {total}");
        assert!(!found.reset || stores < made);
        // What was recovered can be worked with.
        let mut again = again;
        again.put(9, 9, 9, b"after").unwrap();
        let (third, _) = Store::recover(image(again.memory()), 64 << 10).unwrap();
        assert_eq!(third.get(9, 9).unwrap().payload, b"after");
        assert_eq!(third.len(), got.len() + 1);
    }
}

#[test]
fn full_is_an_answer_and_deleting_always_works() {
    for limit in [MIN_LENGTH, 3 * MIN_LENGTH, 10 * MIN_LENGTH] {
        let mut store = Store::create(memory(MIN_LENGTH), limit).unwrap();
        let mut stored = 0;
        let full = loop {
            match store.put(1, 0, stored, &[stored as u8; 100]) {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full, StoreError::Full);
        assert!(store.memory().length() <= limit);
        assert_eq!(store.len() as u64, stored);
        assert!(
            stored as usize * 128 > limit / 4,
            "{stored} records in {limit} bytes"
        );
        let (again, found) = Store::recover(image(store.memory()), limit).unwrap();
        assert_eq!((again.len() as u64, found.damaged), (stored, 0));
        assert!((0..stored).all(|key| again.get(1, key).unwrap().payload == [key as u8; 100]));
        for key in 0..stored {
            assert!(store.delete(1, key));
            assert!(!store.delete(1, key));
        }
        assert!(store.is_empty());
        for key in 0..stored {
            store.put(2, 0, key, &[7; 100]).unwrap();
        }
        assert_eq!(
            store.put(1, 0, 0, &vec![0; MAX_PAYLOAD + 1]),
            Err(StoreError::TooLong)
        );
    }
}

#[test]
fn replacing_one_record_for_ever_needs_no_more_memory() {
    let mut store = Store::create(memory(MIN_LENGTH), 1 << 20).unwrap();
    for round in 0..20_000u32 {
        store.put(1, 0, 5, &round.to_le_bytes()).unwrap();
    }
    assert_eq!(store.memory().length(), MIN_LENGTH);
    assert_eq!(store.get(1, 5).unwrap().payload, 19_999u32.to_le_bytes());
}

#[test]
fn unknown_kinds_and_versions_are_kept() {
    let mut store = Store::create(memory(MIN_LENGTH), 1 << 20).unwrap();
    store
        .put(0xfffe, 0xabcd, u64::MAX, b"from a later version")
        .unwrap();
    for round in 0..2_000u32 {
        store
            .put(1, 0, u64::from(round % 3), &round.to_le_bytes())
            .unwrap();
    }
    let (again, _) = Store::recover(image(store.memory()), 1 << 20).unwrap();
    let kept = again.get(0xfffe, u64::MAX).unwrap();
    assert_eq!(
        (kept.version, kept.payload.as_slice()),
        (0xabcd, b"from a later version".as_slice())
    );
}

#[test]
fn a_damaged_record_costs_only_itself() {
    let mut store = Store::create(memory(MIN_LENGTH), 1 << 20).unwrap();
    for key in 0..8 {
        store.put(1, 0, key, &[key as u8; 40]).unwrap();
    }
    let at = store.index[&(1, 3)] as usize;
    for word in at..at + record_words(40) {
        if word == at + AT_DEAD {
            continue;
        }
        let copy = image(store.memory());
        copy.words()[word].fetch_xor(0x0001_0000, Relaxed);
        let (again, found) = Store::recover(copy, 1 << 20).unwrap();
        assert_eq!((found.damaged, found.live), (1, 7), "word {}", word - at);
        assert!(again.get(1, 3).is_none());
        assert_eq!(again.get(1, 7).unwrap().payload, [7; 40]);
        let (_, found) = Store::recover(again.into_memory(), 1 << 20).unwrap();
        assert_eq!((found.damaged, found.live), (0, 7), "found once");
    }
}

/// Recovers from any content without a panic, and works afterwards.
fn must_cope(copy: Memory) {
    let (mut store, _) = Store::recover(copy, 64 << 10).unwrap();
    let listed = store.records().count();
    assert_eq!(listed, store.len());
    let before = content(&store);
    if store.put(77, 1, 77, b"new").is_ok() {
        let (again, _) = Store::recover(image(store.memory()), 64 << 10).unwrap();
        assert_eq!(again.get(77, 77).unwrap().payload, b"new");
        assert!(
            before
                .keys()
                .all(|key| *key == (77, 77) || again.get(key.0, key.1).is_some())
        );
    }
}

#[test]
fn garbage_is_survived() {
    let mut random = Random::new();
    let mut valid = Store::create(memory(2 * MIN_LENGTH), 64 << 10).unwrap();
    for op in random_ops(&mut random, 200, 20, 80) {
        apply(&mut valid, &op).unwrap();
    }
    for round in 0..2_000 {
        let copy = image(valid.memory());
        let words = copy.words();
        match round % 4 {
            // All of it, with and without a header that looks right.
            0 => words
                .iter()
                .for_each(|word| word.store(random.next() as u32, Relaxed)),
            1 => {
                words
                    .iter()
                    .skip(3)
                    .for_each(|word| word.store(random.next() as u32, Relaxed));
                words[AT_SWITCH].store(random.below(40) as u32, Relaxed);
            }
            // Numbers in places where they count.
            2 => {
                let start = words[AT_SWITCH].load(Relaxed) as usize;
                let at = start + random.below(4) as usize;
                words[at].store((random.next() >> random.below(33)) as u32, Relaxed);
            }
            _ => {
                for _ in 0..=random.below(20) {
                    let at = random.below(words.len() as u64) as usize;
                    words[at].store(random.next() as u32 >> random.below(32), Relaxed);
                }
            }
        }
        must_cope(copy);
    }
    assert!(
        Store::recover(memory(1), 1 << 20).is_ok(),
        "a page is enough"
    );
}

#[test]
fn empty_and_foreign_memory_becomes_an_empty_store() {
    let (store, found) = Store::recover(memory(MIN_LENGTH), 1 << 20).unwrap();
    assert!(store.is_empty() && !found.reset);
    let foreign = memory(MIN_LENGTH);
    foreign.words()[0].store(0x1234, Relaxed);
    let (store, found) = Store::recover(foreign, 1 << 20).unwrap();
    assert!(store.is_empty() && found.reset);
    let (store, found) = Store::recover(store.into_memory(), 1 << 20).unwrap();
    assert!(store.is_empty() && !found.reset);
}

#[test]
fn what_is_in_flight_outlives_its_writer_and_is_no_record() {
    let mut store = Store::create(memory(MIN_LENGTH), 1 << 20).unwrap();
    assert_eq!(store.in_flight(), None);
    store.put(1, 0, 1, b"a").unwrap();
    let long = "x".repeat(100);
    for (text, found) in [
        ("", ""),
        ("a.service", "a.service"),
        (&*long, &long[..48]),
        ("b", "b"),
    ] {
        store.begin(7, text);
        let (again, damaged) = Store::recover(image(store.memory()), 1 << 20).unwrap();
        assert_eq!(again.in_flight(), Some((7, found.into())));
        assert_eq!((damaged.damaged, again.len()), (0, 1));
    }
    store.end();
    assert_eq!(
        Store::recover(image(store.memory()), 1 << 20)
            .unwrap()
            .0
            .in_flight(),
        None
    );
    // Garbage in its place is text like any other.
    store.begin(1, "x");
    store.memory().words()[AT_FLIGHT + 1].store(0xfffe_fdfc, Relaxed);
    assert!(store.in_flight().is_some());
}

//! Golden images: what every released layout wrote is in `images/`, and is read to the last field.
//!
//! A *family* is something that outlives its writer; its layouts are numbered. `FAMILY-N.bin` is what layout N wrote of
//! [`samples`]. Two tests hold them:
//!
//! * what is written today is, byte for byte, the image of the newest layout. So no layout changes unseen: a field that
//!   is appended fails here until there is an image with it;
//! * every image is read by today's readers, and says what its sample says, with nothing in the fields it did not have.
//!
//! **A new layout**: append the field (never change or remove one), raise the family's number in [`FAMILIES`], give the
//! field a value in its sample from that layout on, run `GOLDEN=write cargo test -p formats --test golden`, and
//! commit the new image. An image that is in the tree is never written again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod samples;

use formats::{init_side, stores};
use platform::memory::Memory;
use samples::{Noted, PROC};
use std::fs;
use std::path::PathBuf;
use sysmaster::persist::{Persist, Recovered};
use units::journal::{Journal, Remembered, SetupError, SlotState, Slots};
use units::store::{Recovery, Store};

/// A family: its name, the number of its newest layout, what that writes.
struct Family {
    name: &'static str,
    newest: u32,
    written: fn() -> Vec<u8>,
}

const FAMILIES: [Family; 8] = [
    Family {
        name: "store",
        newest: 1,
        written: || stores::image(samples::store().memory()),
    },
    // Layout 2 appends to jobs their deadline, and to units whether they can reload.
    Family {
        name: "state",
        newest: 2,
        written: || of_manager(&samples::state(2)),
    },
    // Layout 2 has conditions as well.
    Family {
        name: "state-more",
        newest: 2,
        written: || of_manager(&samples::state_more(2)),
    },
    Family {
        name: "slots",
        newest: 1,
        written: || stores::image(samples::slots().0.memory()),
    },
    Family {
        name: "service",
        newest: 1,
        written: || of_helper(&samples::service()),
    },
    Family {
        name: "socket",
        newest: 1,
        written: || of_helper(&samples::socket()),
    },
    Family {
        name: "mount",
        newest: 1,
        written: || of_helper(&samples::mount()),
    },
    Family {
        name: "init",
        newest: 1,
        written: init_image,
    },
];

fn of_manager(persist: &Persist) -> Vec<u8> {
    stores::image(&Memory::from_fd(persist.duplicate().unwrap()).unwrap())
}

fn of_helper(record: &(impl Remembered + Noted)) -> Vec<u8> {
    stores::image(samples::journal(record).records.memory())
}

fn init_image() -> Vec<u8> {
    let (mut facts, ring, store) = init_side::sample();
    init_side::written(&mut facts, &ring, &store)
}

fn path(family: &str, layout: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("images/{family}-{layout}.bin"))
}

fn golden(family: &str, layout: u32) -> Vec<u8> {
    let path = path(family, layout);
    fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `GOLDEN=write` makes it", path.display()))
}

/// The memory an image was: the zeroes at its end are not in the file.
fn memory_of(family: &str, layout: u32) -> Memory {
    let mut bytes = golden(family, layout);
    bytes.resize(64 << 10, 0);
    stores::memory(&bytes)
}

#[test]
fn what_is_written_today_is_the_newest_image() {
    for family in &FAMILIES {
        let (written, path) = ((family.written)(), path(family.name, family.newest));
        if std::env::var_os("GOLDEN").is_some() && !path.exists() {
            fs::write(path, &written).unwrap();
        }
        assert!(
            written == golden(family.name, family.newest),
            "{} is not written any more as layout {} was: see the top of this file for what a new layout takes",
            family.name,
            family.newest
        );
    }
}

/// An image without its family, or of a layout that is not said to exist, is a number that was not raised.
#[test]
fn every_image_belongs_to_a_layout() {
    let known: Vec<PathBuf> = FAMILIES
        .iter()
        .flat_map(|family| (1..=family.newest).map(|layout| path(family.name, layout)))
        .collect();
    let directory = path("", 0);
    let found: Vec<PathBuf> = fs::read_dir(directory.parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert!(found.iter().all(|path| known.contains(path)), "{found:?}");
    assert_eq!(found.len(), known.len());
}

fn recovered(family: &str, layout: u32) -> Recovered {
    Persist::open(memory_of(family, layout)).unwrap().recover()
}

fn same(found: &Recovered, expected: &Recovered) {
    assert_eq!((found.unreadable, found.foreign), (0, 0));
    assert_eq!(found.records, expected.records);
    assert_eq!(found.helpers, expected.helpers);
    assert_eq!(found.boot, expected.boot);
    assert_eq!(found.offers, expected.offers);
    assert_eq!(found.conditions, expected.conditions);
    assert_eq!(found.upgrade, expected.upgrade);
    assert_eq!(found.crashes.list, expected.crashes.list);
    assert_eq!(found.crashes.quarantine, expected.crashes.quarantine);
}

#[test]
fn the_managers_store_of_every_layout_is_read() {
    for layout in 1..=2 {
        same(
            &recovered("state", layout),
            &samples::expected_state(layout),
        );
    }
    for layout in 1..=2 {
        same(
            &recovered("state-more", layout),
            &samples::expected_state_more(layout),
        );
        let persist = Persist::open(memory_of("state-more", layout)).unwrap();
        assert_eq!(persist.in_flight(), Some((3, "a.service".into())));
    }
}

#[test]
fn the_store_itself_is_read() {
    let (store, found) = Store::recover(memory_of("store", 1), 1 << 20).unwrap();
    assert_eq!(
        found,
        Recovery {
            live: 3,
            took: found.took,
            ..Recovery::default()
        }
    );
    let content: Vec<_> = store
        .records()
        .map(|r| (r.kind, r.version, r.key, r.payload))
        .collect();
    assert_eq!(
        content,
        [
            (1, 2, 3, b"replaced".to_vec()),
            (1, 2, u64::MAX - 1, vec![]),
            (0xfffe, 0xabcd, 1 << 33, vec![7; 13]),
        ]
    );
    assert_eq!(
        store.in_flight(),
        Some((7, "a unit with a name of forty-eight bytes, cut off".into()))
    );
}

#[test]
fn what_helpers_remembered_is_read() {
    fn read<T: Remembered>(family: &str) -> (Vec<T>, usize) {
        let slots = memory_of("slots", 1);
        let (journal, found) = Journal::open(memory_of(family, 1), slots).unwrap();
        assert_eq!((found.damaged, found.reset, found.live), (0, false, 1));
        journal.remembered()
    }
    assert_eq!(read("service"), (vec![samples::service()], 0));
    assert_eq!(read("socket"), (vec![samples::socket()], 0));
    assert_eq!(read("mount"), (vec![samples::mount()], 0));
}

#[test]
fn slots_in_every_state_are_read() {
    let slots = Slots::open(memory_of("slots", 1)).unwrap();
    let ids = samples::slots().1;
    assert_eq!(slots.in_use(), ids);
    let why = SetupError {
        step: 203,
        error: 2,
    };
    let states: Vec<SlotState> = ids.iter().map(|id| slots.state(*id)).collect();
    assert_eq!(
        states,
        [
            SlotState::Forking,
            SlotState::Filled(PROC),
            SlotState::Started(PROC),
            SlotState::Failed(PROC, why),
            SlotState::Exited(PROC, 256),
            SlotState::Revoked,
        ]
    );
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(slots.attempt(*id), samples::attempt(number as u32));
    }
    assert_eq!(slots.setup_error(ids[3]), Some(why));
}

#[test]
fn what_init_hands_to_itself_is_read() {
    let (mut facts, ring, store) = init_side::read(&golden("init", 1)).expect("an image of init");
    let (mut expected, exits, descriptors) = init_side::sample();
    let written = init_side::written(&mut expected, &exits, &descriptors);
    assert_eq!(init_side::written(&mut facts, &ring, &store), written);
    assert_eq!(
        (facts.epoch, facts.before, facts.trial, facts.ending),
        (7, [3, 11], 77, 2)
    );
    assert_eq!(
        (facts.watchdog_ms, facts.settings.discard_after_ms),
        (30_000, 9)
    );
    assert_eq!((ring.len(), ring.sent(), store.len()), (3, 1, 3));
    for index in 0..3 {
        assert_eq!(
            (ring.get(index), store.at(index)),
            (exits.get(index), descriptors.at(index))
        );
    }
}

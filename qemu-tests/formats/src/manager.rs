//! The real manager: hostile clients, and stores with anything in their records.

use crate::stores::memory;
use crate::world::World;
use platform::memory::Memory;
use platform::socket;
use std::os::fd::OwnedFd;
use sysmaster::persist::{self, HelperRecord, Persist};
use units::state::ActiveState;
use units::store::Store;
use units::wire::control::{Reply, Request};
use units::wire::{self, MAX_FRAME};

/// The largest store of a test, in bytes.
const LIMIT: usize = 1 << 20;
/// Kinds of the manager's records; the last one is nobody's.
const KINDS: [u16; 11] = [1, 2, 3, 4, 16, 17, 18, 19, 20, 21, 999];
/// No process has a number this large.
const NOBODY: u32 = 1 << 30;

/// Frames of a client, each behind its length in a byte; the first byte says whether to the control or the public
/// socket. Whatever it sends, it gets nothing but replies; another client is answered; a manager only ends because
/// it was asked to; the next manager knows the same units in the same states; and what a public client sends changes
/// nothing at all.
pub fn control(bytes: &[u8]) {
    let Some((first, frames)) = bytes.split_first() else {
        return;
    };
    let mut world = World::new(0);
    let mut manager = world.manager();
    let before = manager.states();
    let name = if first % 2 == 0 { "control" } else { "public" };
    let client = manager.connect(name);
    let hello = wire::encode(&Request::Hello {
        version: wire::VERSION,
    })
    .unwrap();
    let _ = socket::send(&client, &hello, &[]);
    let mut runs = manager.turn(0);
    for frame in pieces(frames) {
        // A client whose connection was closed may go on.
        let _ = socket::send(&client, frame, &[]);
        runs = runs && manager.turn(0) && manager.turn(0);
        hear(&client);
    }
    let states = if runs { manager.states() } else { None };
    hear(&client);
    drop(manager);
    let mut manager = world.manager();
    let after = manager.states();
    if let (Some(states), Some(after)) = (states, after) {
        assert!(
            name == "control" || Some(&states) == before.as_ref(),
            "changed over the public socket"
        );
        let settled =
            |state: &ActiveState| matches!(state, ActiveState::Active | ActiveState::Failed);
        for (unit, state) in states.iter().filter(|(_, state)| settled(state)) {
            assert_eq!(
                after.get(unit),
                Some(state),
                "{unit} after the manager's death"
            );
        }
    }
}

/// Bytes behind their length in a byte; the last may be shorter than it says.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        Some(piece)
    })
}

/// Everything a client was sent.
fn hear(client: &OwnedFd) {
    let mut buffer = vec![0; MAX_FRAME];
    while let Ok(Some(got)) = socket::receive(client, &mut buffer) {
        if got.length == 0 {
            return;
        }
        wire::decode::<Reply>(&buffer[..got.length]).expect("a reply");
    }
}

/// A state store whose records are sound and say anything: kind and key in a byte each, payload behind its length. A
/// manager starts with it and answers; what cannot be read is found once; and the manager after that knows
/// the same units in the same states.
pub fn recovery(bytes: &[u8]) {
    let mut world = World::new(1);
    let mut store = Store::create(memory(&[]), LIMIT).unwrap();
    let mut rest = bytes;
    while let [kind, key, length, behind @ ..] = rest {
        let (payload, after) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = after;
        let kind = KINDS[usize::from(*kind) % KINDS.len()];
        let version = if key % 16 == 15 { 2 } else { 1 };
        store
            .put(kind, version, u64::from(*key), &harmless(kind, payload))
            .unwrap();
    }
    let kept = store.memory().duplicate().unwrap();
    world.kept.lock().unwrap().insert(persist::label(), kept);
    let mut manager = world.manager();
    let states = manager.states();
    drop(manager);
    let kept = world.kept.lock().unwrap()[&persist::label()]
        .try_clone()
        .unwrap();
    let found = Persist::open(Memory::from_fd(kept).unwrap())
        .unwrap()
        .recover();
    assert_eq!(found.unreadable, 0, "found a second time");
    let mut manager = world.manager();
    let after = manager.states();
    if let (Some(states), Some(after)) = (states, after) {
        for (unit, state) in states
            .iter()
            .filter(|(_, state)| **state == ActiveState::Active)
        {
            assert_eq!(after.get(unit), Some(state), "{unit} after another death");
        }
    }
}

/// The manager may kill what is recorded as a helper: here, nobody.
fn harmless(kind: u16, payload: &[u8]) -> Vec<u8> {
    let record = |payload: &[u8]| units::store::Record {
        kind,
        version: 1,
        key: 0,
        payload: payload.to_vec(),
    };
    match record(payload).read::<HelperRecord>() {
        Some(mut helper) if kind == 16 => {
            helper.proc.pid |= NOBODY;
            postcard::to_allocvec(&helper).unwrap()
        }
        _ => payload.to_vec(),
    }
}

//! The journal of one helper process: what it has attempted, in memory that outlives it.
//!
//! # The model
//!
//! The journal is two memories, both kept by init and handed to the next helper of the type:
//!
//! * **Records** ([`crate::store::Store`]): for each unit what its type wants to remember, one
//!   record that is replaced as a whole. Written by the helper alone.
//! * **Slots**: for each process the helper forks one slot of fixed size, written by the helper
//!   before the fork and by the child after it. The slots close the gap between fork and record.
//!
//! A slot goes through these states:
//!
//! ```text
//! Empty ──claim──▶ Forking ──the child: fill──▶ Filled ──the child: about to exec──▶ Started
//!   ▲                 │                            │                                   │
//!   │                 │ a successor: revoke        │ the child: set-up failed          │ exec failed
//!   │                 ▼                            ▼                                   ▼
//!   │   Retired ◀── release ── Revoked         Failed ◀────────────────────────────────┘
//!   └── release ──────────────── Exited ◀── the reaper, before it reaps: any of the three
//! ```
//!
//! *Claim*: the helper writes what it is about to do (unit, invocation, command sequence, step),
//! then sets the state. *Fill*: the child writes its own pid and start time, then tries to change
//! Forking to Filled; if that fails it ends without executing anything. *Revoke*: a helper that
//! finds Forking in the slots of its predecessor tries to change it to Revoked. One of the two
//! wins. If the helper does, no foreign code has run or ever will for this slot, whether its
//! predecessor was killed before the fork or after it: the step may be tried again. If the child
//! does, the slot names it and it is followed. Each use of a slot has a new generation, which is
//! part of the compared word, so a child that sleeps through all of this cannot take a later use
//! for its own. It could still write its number into it, just before it finds out: so a slot whose
//! child may yet come is retired, and only used again when there is no other.
//!
//! Contents are hostile to the reader: a slot with numbers that make no sense is still only a pid
//! and a start time to be checked against the kernel.

use crate::state::{Invocation, ProcId};
use crate::store::{Recovery, Store, StoreError};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use platform::memory::Memory;
use std::io;
use std::path::Path;

/// The most processes a helper can have forked and not forgotten.
pub const MAX_SLOTS: usize = 16_384;
/// Slots in a new journal; it grows by doubling.
pub const FIRST_SLOTS: usize = 31;
/// The most bytes of records a journal grows to.
pub const MAX_RECORDS: usize = 64 << 20;
const FIRST_RECORDS: usize = 32 << 10;

const MAGIC: u32 = 0x534c_4f31;
/// Words in a slot, and in the header before the first.
const SLOT: usize = 32;

const AT_STATE: usize = 0;
const AT_PID: usize = 1;
const AT_START: usize = 2;
const AT_UNIT: usize = 4;
const AT_SEQ: usize = 6;
const AT_INVOCATION: usize = 8;
const AT_STEP: usize = 12;
const AT_INDEX: usize = 13;
const AT_FAILED_STEP: usize = 14;
const AT_ERROR: usize = 15;
const AT_STATUS: usize = 16;

/// What a slot's process is to do: who forks it, for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Key of the unit's record (a hash of its name).
    pub unit: u64,
    /// The invocation it belongs to.
    pub invocation: Invocation,
    /// Sequence of the command that is carried out.
    pub seq: u64,
    /// Which step of it; the meaning is the type's.
    pub step: u32,
    /// Which command of that step.
    pub index: u32,
}

/// How far a slot's process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Not in use.
    Empty,
    /// The helper is about to fork, or has, and the child has not come so far.
    Forking,
    /// The child is setting itself up; nothing foreign has run.
    Filled(ProcId),
    /// The child is about to execute its program, or has.
    Started(ProcId),
    /// The child could not be set up and is about to end, or has.
    Failed(ProcId, SetupError),
    /// The process has ended; its status is recorded, it may or may not be reaped.
    Exited(ProcId, i32),
    /// Proven empty: no process of this slot has executed anything, or will.
    Revoked,
}

/// Where the set-up of a child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupError {
    /// The step; the meaning is the type's.
    pub step: u32,
    /// The system's error number; 0 if it was none of the system's.
    pub error: i32,
}

/// A slot in use: which, and which use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId {
    number: u32,
    generation: u32,
}

const EMPTY: u32 = 0;
const FORKING: u32 = 1;
const FILLED: u32 = 2;
const STARTED: u32 = 3;
const FAILED: u32 = 4;
const EXITED: u32 = 5;
const REVOKED: u32 = 6;
const RETIRED: u32 = 7;

/// State in the low byte, generation above.
const GENERATION_STEP: u32 = 1 << 8;
const STATE_MASK: u32 = GENERATION_STEP - 1;

/// The slots of a helper.
#[derive(Debug)]
pub struct Slots {
    memory: Memory,
    /// Numbers of the slots that are not in use.
    free: Vec<u32>,
    /// Of these the child of an earlier use may still come.
    retired: Vec<u32>,
}

impl Slots {
    /// Takes the slots in `memory`. `InvalidData` if it holds none and is not empty.
    pub fn open(memory: Memory) -> io::Result<Self> {
        let words = memory.words();
        match words.first().map(|word| word.load(Acquire)) {
            Some(MAGIC) => {}
            Some(0) => set(words, 0, MAGIC),
            _ => return Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
        let mut slots = Self {
            memory,
            free: Vec::new(),
            retired: Vec::new(),
        };
        slots.free_from(0);
        Ok(slots)
    }

    /// Adds the unused slots from this number on to the free ones, so that low ones come first.
    fn free_from(&mut self, first: u32) {
        for number in (first..self.count()).rev() {
            match self.word(number, AT_STATE) & STATE_MASK {
                FORKING..=REVOKED => {}
                RETIRED => self.retired.push(number),
                _ => self.free.push(number),
            }
        }
    }

    fn count(&self) -> u32 {
        (self.memory.words().len() / SLOT)
            .saturating_sub(1)
            .min(MAX_SLOTS) as u32
    }

    fn slot(&self, number: u32) -> &[AtomicU32] {
        let from = (number as usize + 1) * SLOT;
        self.memory.words().get(from..from + SLOT).unwrap_or(&[])
    }

    fn word(&self, number: u32, at: usize) -> u32 {
        get(self.slot(number), at)
    }

    /// Claims a slot and records what will be attempted: from now until [`Slots::release`] the
    /// attempt outlives us. `StorageFull` if there are too many, `OutOfMemory` and the like if there
    /// is no memory for more.
    pub fn claim(&mut self, attempt: &Attempt) -> io::Result<SlotId> {
        let count = self.count();
        if self.free.is_empty() && (count as usize) < MAX_SLOTS {
            self.memory.grow(self.memory.length() * 2)?;
            self.free_from(count);
        }
        let next = self.free.pop().or_else(|| self.retired.pop());
        let number = next.ok_or(io::ErrorKind::StorageFull)?;
        let slot = self.slot(number);
        for at in AT_PID..SLOT {
            set(slot, at, 0);
        }
        set_long(slot, AT_UNIT, attempt.unit);
        set_long(slot, AT_SEQ, attempt.seq);
        set_long(slot, AT_INVOCATION, attempt.invocation.0 as u64);
        set_long(slot, AT_INVOCATION + 2, (attempt.invocation.0 >> 64) as u64);
        set(slot, AT_STEP, attempt.step);
        set(slot, AT_INDEX, attempt.index);
        let generation = (get(slot, AT_STATE) & !STATE_MASK).wrapping_add(GENERATION_STEP);
        if let Some(state) = slot.first() {
            state.store(generation | FORKING, Release);
        }
        Ok(SlotId { number, generation })
    }

    /// In the child, first of all: claims the slot for this process. `false`: it was revoked, end
    /// at once without having done anything.
    #[must_use]
    pub fn fill(&self, id: SlotId, own: ProcId) -> bool {
        self.fill_slowly(id, own, || {})
    }

    /// As [`Slots::fill`], with something happening between the child's two steps.
    fn fill_slowly(&self, id: SlotId, own: ProcId, between: impl FnOnce()) -> bool {
        let slot = self.slot(id.number);
        let Some(state) = slot.first() else {
            return false;
        };
        if state.load(Acquire) != id.generation | FORKING {
            return false;
        }
        set(slot, AT_PID, own.pid);
        set_long(slot, AT_START, own.start);
        between();
        self.change(id, FORKING, FILLED)
    }

    /// In the child: everything is set up, the next thing is exec.
    pub fn started(&self, id: SlotId) {
        self.change(id, FILLED, STARTED);
    }

    /// In the child: the set-up, or exec, failed.
    pub fn failed(&self, id: SlotId, why: SetupError) {
        let slot = self.slot(id.number);
        set(slot, AT_FAILED_STEP, why.step);
        set(slot, AT_ERROR, why.error as u32);
        if !self.change(id, FILLED, FAILED) {
            self.change(id, STARTED, FAILED);
        }
    }

    /// Proves the slot empty, if no child has filled it. Returns the state it is in now: `Revoked`,
    /// or what the child has made of it.
    pub fn revoke(&self, id: SlotId) -> SlotState {
        self.change(id, FORKING, REVOKED);
        self.state(id)
    }

    /// Records how the process ended; to be called before it is reaped. What the child said of its
    /// set-up stays readable by [`Slots::setup_error`].
    pub fn exited(&self, id: SlotId, proc: ProcId, status: i32) {
        let slot = self.slot(id.number);
        set(slot, AT_PID, proc.pid);
        set_long(slot, AT_START, proc.start);
        set(slot, AT_STATUS, status as u32);
        for before in [STARTED, FILLED, FAILED, FORKING] {
            if self.change(id, before, EXITED) {
                break;
            }
        }
    }

    /// Forgets the attempt: its result is in the unit's record. Not for a slot that is still
    /// Forking, unless the fork itself failed.
    pub fn release(&mut self, id: SlotId) {
        let slot = self.slot(id.number);
        let Some(state) = slot.first() else { return };
        let now = state.load(Relaxed);
        if now & !STATE_MASK != id.generation || !(FORKING..=REVOKED).contains(&(now & STATE_MASK))
        {
            return;
        }
        if now & STATE_MASK == REVOKED {
            state.store(id.generation | RETIRED, Release);
            self.retired.push(id.number);
        } else {
            state.store(id.generation | EMPTY, Release);
            self.free.push(id.number);
        }
    }

    /// What the slot says now. A slot that has been released since is `Empty`.
    pub fn state(&self, id: SlotId) -> SlotState {
        let slot = self.slot(id.number);
        let state = slot.first().map_or(0, |word| word.load(Acquire));
        if state & !STATE_MASK != id.generation {
            return SlotState::Empty;
        }
        let proc = ProcId {
            pid: get(slot, AT_PID),
            start: get_long(slot, AT_START),
        };
        match state & STATE_MASK {
            FORKING => SlotState::Forking,
            FILLED => SlotState::Filled(proc),
            STARTED => SlotState::Started(proc),
            FAILED => SlotState::Failed(proc, error_in(slot)),
            EXITED => SlotState::Exited(proc, get(slot, AT_STATUS) as i32),
            REVOKED => SlotState::Revoked,
            _ => SlotState::Empty,
        }
    }

    /// What the child wrote about a failed set-up, also after its exit is recorded.
    pub fn setup_error(&self, id: SlotId) -> Option<SetupError> {
        let error = error_in(self.slot(id.number));
        (error.step != 0).then_some(error)
    }

    /// What the slot's process is to do.
    pub fn attempt(&self, id: SlotId) -> Attempt {
        let slot = self.slot(id.number);
        let low = u128::from(get_long(slot, AT_INVOCATION));
        let high = u128::from(get_long(slot, AT_INVOCATION + 2));
        Attempt {
            unit: get_long(slot, AT_UNIT),
            invocation: Invocation(low | (high << 64)),
            seq: get_long(slot, AT_SEQ),
            step: get(slot, AT_STEP),
            index: get(slot, AT_INDEX),
        }
    }

    /// All slots in use, for a helper that takes over.
    pub fn in_use(&self) -> Vec<SlotId> {
        let numbers = 0..self.count();
        let used = numbers.filter_map(|number| {
            let state = self.word(number, AT_STATE);
            let in_use = (FORKING..=REVOKED).contains(&(state & STATE_MASK));
            in_use.then_some(SlotId {
                number,
                generation: state & !STATE_MASK,
            })
        });
        used.collect()
    }

    /// The memory, to be kept by somebody.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn change(&self, id: SlotId, from: u32, to: u32) -> bool {
        let slot = self.slot(id.number);
        slot.first().is_some_and(|state| {
            let (from, to) = (id.generation | from, id.generation | to);
            state.compare_exchange(from, to, AcqRel, Acquire).is_ok()
        })
    }
}

fn error_in(slot: &[AtomicU32]) -> SetupError {
    SetupError {
        step: get(slot, AT_FAILED_STEP),
        error: get(slot, AT_ERROR) as i32,
    }
}

fn get(words: &[AtomicU32], at: usize) -> u32 {
    words.get(at).map_or(0, |word| word.load(Relaxed))
}

fn set(words: &[AtomicU32], at: usize, value: u32) {
    if let Some(word) = words.get(at) {
        word.store(value, Relaxed);
    }
}

fn get_long(words: &[AtomicU32], at: usize) -> u64 {
    u64::from(get(words, at)) | (u64::from(get(words, at + 1)) << 32)
}

fn set_long(words: &[AtomicU32], at: usize, value: u64) {
    set(words, at, value as u32);
    set(words, at + 1, (value >> 32) as u32);
}

/// The journal of a helper: see the module.
#[derive(Debug)]
pub struct Journal {
    /// One record for each unit, or whatever the type wants to remember.
    pub records: Store,
    /// One slot for each process forked.
    pub slots: Slots,
    full: bool,
}

impl Journal {
    /// Makes an empty journal. `fallback` is a directory for files in place of memory files.
    pub fn create(fallback: &Path) -> io::Result<Self> {
        let records = Memory::create(c"sysmaster-journal", FIRST_RECORDS, fallback)?;
        let bytes = (FIRST_SLOTS + 1) * SLOT * 4;
        let slots = Memory::create(c"sysmaster-slots", bytes, fallback)?;
        Self::open(records, slots).map(|(journal, _)| journal)
    }

    /// Takes over the journal in these memories, with what was found in the records.
    pub fn open(records: Memory, slots: Memory) -> io::Result<(Self, Recovery)> {
        let (records, found) = Store::recover(records, MAX_RECORDS)
            .map_err(|_: StoreError| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok((
            Self {
                records,
                slots: Slots::open(slots)?,
                full: false,
            },
            found,
        ))
    }
}

mod records;

pub use records::{Remembered, key};

#[cfg(test)]
mod tests;

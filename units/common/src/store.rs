//! The state store: a map that survives its writer, in memory that somebody else keeps.
//!
//! # The model
//!
//! A store is a log of records in a [`Memory`]. A record says "under (kind, key) stands this
//! payload"; the last one counts, unless it is marked dead. There is one writer.
//!
//! ```text
//! word 0        magic        set last when the store is made: without it there is nothing
//!      1        version      of this layout
//!      2        switch       where the active region begins, in words: the one word by which a
//!                            snapshot takes the place of the log before it
//!      3        in flight: what its writer is at (0: nothing)
//!      4 … 15   and with what: 48 bytes of text, zeroes behind it
//!     16 …      two regions at most, one of them active, anywhere behind the header
//!
//! region: 0     magic        so that a wild switch is noticed
//!         1     length       in words, with this header
//!         2     commit       how many words are in use: the one word by which a record becomes
//!         3                  part of the log
//!         4 …   records
//!
//! record: 0     kind (16 bits), version of the payload (16 bits above)
//!         1     length of the payload in bytes
//!         2     checksum over all other words but the next
//!         3     0; or 1: dead, that is deleted or replaced
//!         4, 5  key, low half first
//!         6 …   payload, padded with zeroes to eight bytes
//! ```
//!
//! *Appending*: the words of the record first, in any order; then `commit`, with release ordering.
//! A writer killed at any instruction leaves the old log or the new one, never half of a record.
//!
//! *Replacing*: the new record is appended, then the old one marked dead. Killed in between, there
//! are two, the last counts, and recovery marks the other. *Deleting* marks the record dead: one
//! word, which needs no room, so that a full store can always be emptied.
//!
//! *Compaction*, when the region is full: the live records are copied to free space outside the
//! active region, behind a header of their own; then `switch`, with release ordering. The memory
//! grows when there is no room for a region twice as large as what lives, so that the cost of
//! compaction, spread over the records in between, is constant. When it cannot grow the store gets
//! slower, and at last says [`StoreError::Full`]; nothing that was stored is touched.
//!
//! *In flight* says what the writer is about to do and with what, for whoever finds out that it did not
//! survive that. It is no part of the log: a few words written anew each time.
//!
//! *Recovery* treats the content as hostile: no number in it is used before it is checked. A record
//! whose checksum is wrong is dropped and counted, and the log is searched for the next good one.
//! Kinds and payload versions mean nothing here: all are kept, so that a manager of another version
//! finds its own again.

use crate::state::Micros;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use platform::memory::Memory;
use words::*;

mod words;

/// The largest payload, in bytes.
pub const MAX_PAYLOAD: usize = 128 << 10;

/// The smallest memory a store fits in, in bytes.
pub const MIN_LENGTH: usize = 4096;

const MAGIC: u32 = 0x5354_4f31;
const LAYOUT: u32 = 1;
const REGION_MAGIC: u32 = 0x5245_4731;
const AT_MAGIC: usize = 0;
const AT_LAYOUT: usize = 1;
const AT_SWITCH: usize = 2;
const AT_FLIGHT: usize = 3;
/// Bytes of what is in flight.
const FLIGHT_TEXT: usize = (HEADER - AT_FLIGHT - 1) * 4;
const HEADER: usize = 16;
const REGION_HEADER: usize = 4;
const RECORD_HEADER: usize = 6;
const AT_DEAD: usize = 3;

/// Why a record was not stored. The store is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There is no room, and no memory to grow.
    Full,
    /// The payload is longer than [`MAX_PAYLOAD`].
    TooLong,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the state store is full and there is no memory to make it larger",
            Self::TooLong => "a record of more than 128 KiB cannot be stored",
        })
    }
}

/// What recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Live records.
    pub live: usize,
    /// Damaged places in the log, each of one record or several in a row. 0 if all is well.
    pub damaged: usize,
    /// The memory held no store (or one of a layout we do not know) although it was not empty.
    pub reset: bool,
    /// How long it took.
    pub took: Micros,
}

/// One live record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about; the meaning is the user's.
    pub kind: u16,
    /// Version of the payload's format; the meaning is the user's.
    pub version: u16,
    /// Which of that kind.
    pub key: u64,
    /// Content.
    pub payload: Vec<u8>,
}

/// Bytes by which a record may be longer than one of an earlier version.
const APPENDED: usize = 32;

impl Record {
    /// What it says. Fields are only ever appended: those an earlier version did not write read as
    /// zeroes (none, empty), those of a later one are passed over. So every version reads what any
    /// other wrote, which is what lets an upgrade be taken back.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        let bytes = [self.payload.as_slice(), &[0; APPENDED]].concat();
        let (read, _) = postcard::take_from_bytes(&bytes).ok()?;
        Some(read)
    }
}

/// A store. See the module.
#[derive(Debug)]
pub struct Store {
    memory: Memory,
    /// The memory never grows beyond this many bytes.
    max_length: usize,
    /// Active region: where it begins and how long it is, in words.
    start: usize,
    length: usize,
    /// Words of it in use; equals its commit word.
    used: usize,
    /// Where each live record begins, in words of the memory.
    index: BTreeMap<(u16, u64), u32>,
}

impl Store {
    /// Makes an empty store in new memory. It may grow to `max_length` bytes.
    pub fn create(memory: Memory, max_length: usize) -> Result<Self, StoreError> {
        Self::recover(memory, max_length).map(|(store, _)| store)
    }

    /// Reads the store in memory that was kept. Memory that holds none becomes an empty one. `Full`
    /// only if the memory is smaller than [`MIN_LENGTH`].
    pub fn recover(memory: Memory, max_length: usize) -> Result<(Self, Recovery), StoreError> {
        let began = platform::clock::now();
        if memory.length() < MIN_LENGTH {
            return Err(StoreError::Full);
        }
        let mut store = Self {
            memory,
            max_length,
            start: 0,
            length: 0,
            used: 0,
            index: BTreeMap::new(),
        };
        let mut found = Recovery::default();
        match store.find_region() {
            Some((start, length, used)) => {
                (store.start, store.length, store.used) = (start, length, used);
                found.damaged = store.read_log();
                if found.damaged > 0 {
                    // Written anew without what is damaged, so that it is found once. If there is no
                    // room for that, it is found again.
                    let _ = store.compact(0);
                }
            }
            None => {
                found.reset = load(store.memory.words(), AT_MAGIC) != 0;
                store.format();
            }
        }
        found.live = store.index.len();
        found.took = platform::clock::now().saturating_sub(began);
        Ok((store, found))
    }

    /// Stores a record in place of what stands under `(kind, key)`.
    pub fn put(
        &mut self,
        kind: u16,
        version: u16,
        key: u64,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(StoreError::TooLong);
        }
        let words = record_words(payload.len());
        self.make_room(words)?;
        let at = self.start + self.used;
        let first = u32::from(kind) | (u32::from(version) << 16);
        self.write_record(at, first, payload.len() as u32, key, payload);
        self.commit(words);
        if let Some(old) = self.index.insert((kind, key), at as u32) {
            self.mark_dead(old);
        }
        crate::fault::boundary();
        Ok(())
    }

    /// Removes what stands under `(kind, key)`; that nothing does is fine. Returns whether
    /// something did.
    pub fn delete(&mut self, kind: u16, key: u64) -> bool {
        let old = self.index.remove(&(kind, key));
        if let Some(old) = old {
            self.mark_dead(old);
            crate::fault::boundary();
        }
        old.is_some()
    }

    /// What stands under `(kind, key)`.
    pub fn get(&self, kind: u16, key: u64) -> Option<Record> {
        self.index.get(&(kind, key)).map(|at| self.read_record(*at))
    }

    /// All live records, by kind and key.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.index.values().map(|at| self.read_record(*at))
    }

    /// The live records of one kind, by key.
    pub fn records_of(&self, kind: u16) -> impl Iterator<Item = Record> {
        self.index
            .range((kind, 0)..=(kind, u64::MAX))
            .map(|(_, at)| self.read_record(*at))
    }

    /// From now on this is in flight: a step, not 0, and what it is done with (cut off at 48 bytes).
    pub fn begin(&self, step: u32, with: &str) {
        let words = self.memory.words();
        save(words, AT_FLIGHT, 0);
        let mut bytes = with.bytes().take(FLIGHT_TEXT);
        for at in AT_FLIGHT + 1..HEADER {
            let mut word = [0; 4];
            word.iter_mut()
                .zip(bytes.by_ref())
                .for_each(|(to, from)| *to = from);
            save(words, at, u32::from_le_bytes(word));
        }
        publish(words, AT_FLIGHT, step);
    }

    /// It is done.
    pub fn end(&self) {
        save(self.memory.words(), AT_FLIGHT, 0);
    }

    /// What was in flight when its writer was cut off.
    pub fn in_flight(&self) -> Option<(u32, String)> {
        let words = self.memory.words();
        let step = words.get(AT_FLIGHT)?.load(Acquire);
        let text = words.get(AT_FLIGHT + 1..HEADER)?.iter();
        let bytes: Vec<u8> = text
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect();
        let used = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
        (step != 0).then(|| (step, String::from_utf8_lossy(used).into_owned()))
    }

    /// How many live records there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The memory, to be kept by somebody.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The memory alone; what is in it stays.
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    // --- reading -------------------------------------------------------------------------------

    /// The active region, if the headers make sense: where it begins, its length, words in use.
    fn find_region(&self) -> Option<(usize, usize, usize)> {
        let words = self.memory.words();
        if words.first()?.load(Acquire) != MAGIC || load(words, AT_LAYOUT) != LAYOUT {
            return None;
        }
        let start = words.get(AT_SWITCH)?.load(Acquire) as usize;
        let header = words.get(start..start.checked_add(REGION_HEADER)?)?;
        let length = load(header, 1) as usize;
        let used = header.get(2)?.load(Acquire) as usize;
        let good = start >= HEADER
            && start.is_multiple_of(2)
            && load(header, 0) == REGION_MAGIC
            && length.is_multiple_of(2)
            && used.is_multiple_of(2)
            && used >= REGION_HEADER
            && used <= length
            && start.checked_add(length)? <= words.len();
        good.then_some((start, length, used))
    }

    /// Builds the index from the log; returns the number of damaged places.
    fn read_log(&mut self) -> usize {
        let end = self.start + self.used;
        let mut at = self.start + REGION_HEADER;
        let mut damaged = 0;
        let mut was_good = true;
        // A hostile log could make the search for the next good record quadratic.
        let mut patience = self.used * 4;
        while at < end && patience > 0 {
            match self.check_record(at, end, &mut patience) {
                Some((words, kind, key, dead)) => {
                    if !dead && let Some(old) = self.index.insert((kind, key), at as u32) {
                        self.mark_dead(old);
                    }
                    was_good = true;
                    at += words;
                }
                None => {
                    damaged += usize::from(was_good);
                    was_good = false;
                    at += 2;
                }
            }
        }
        damaged
    }

    /// Whether a good record begins here: its words, kind, key, and whether it is dead.
    fn check_record(
        &self,
        at: usize,
        end: usize,
        patience: &mut usize,
    ) -> Option<(usize, u16, u64, bool)> {
        let all = self.memory.words();
        *patience = patience.saturating_sub(1);
        let header = all.get(at..at.checked_add(RECORD_HEADER)?)?;
        let bytes = load(header, 1) as usize;
        let dead = load(header, AT_DEAD);
        if bytes > MAX_PAYLOAD || dead > 1 {
            return None;
        }
        let words = record_words(bytes);
        if at.checked_add(words)? > end {
            return None;
        }
        let record = all.get(at..at + words)?;
        *patience = patience.saturating_sub(words);
        if checksum(record) != load(header, 2) {
            return None;
        }
        let key = u64::from(load(header, 4)) | (u64::from(load(header, 5)) << 32);
        Some((words, load(header, 0) as u16, key, dead == 1))
    }

    fn read_record(&self, at: u32) -> Record {
        let words = self.memory.words();
        let at = at as usize;
        let first = load(words, at);
        let length = (load(words, at + 1) as usize).min(MAX_PAYLOAD);
        let mut payload = Vec::with_capacity(length.div_ceil(4) * 4);
        for word in words
            .iter()
            .skip(at + RECORD_HEADER)
            .take(length.div_ceil(4))
        {
            payload.extend_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        payload.truncate(length);
        let key = u64::from(load(words, at + 4)) | (u64::from(load(words, at + 5)) << 32);
        Record {
            kind: first as u16,
            version: (first >> 16) as u16,
            key,
            payload,
        }
    }

    // --- writing -------------------------------------------------------------------------------

    /// Makes the memory an empty store: one region, half of what there is.
    fn format(&mut self) {
        let total = self.memory.words().len();
        self.start = HEADER;
        self.length = ((total - HEADER) / 2) & !1;
        self.used = REGION_HEADER;
        self.write_region_header(self.start, self.length, self.used);
        let words = self.memory.words();
        save(words, AT_LAYOUT, LAYOUT);
        save(words, AT_SWITCH, self.start as u32);
        publish(words, AT_MAGIC, MAGIC);
    }

    fn mark_dead(&self, at: u32) {
        publish(self.memory.words(), at as usize + AT_DEAD, 1);
    }

    fn write_region_header(&self, start: usize, length: usize, used: usize) {
        let words = self.memory.words();
        save(words, start + 1, length as u32);
        save(words, start + 2, used as u32);
        save(words, start + 3, 0);
        save(words, start, REGION_MAGIC);
    }

    fn write_record(&self, at: usize, first: u32, length: u32, key: u64, payload: &[u8]) {
        let words = self.memory.words();
        let size = record_words(payload.len());
        let Some(record) = words.get(at..at + size) else {
            return;
        };
        let mut sum = Checksum::new();
        let mut place = record.iter().enumerate();
        let header = [first, length, 0, 0, key as u32, (key >> 32) as u32];
        for ((number, word), value) in place.by_ref().take(RECORD_HEADER).zip(header) {
            if number != 2 {
                store(word, value, Relaxed);
            }
            if number != 2 && number != AT_DEAD {
                sum.add(value);
            }
        }
        let mut chunks = payload.chunks_exact(4);
        for (_, word) in place {
            let value = match chunks.next() {
                Some([a, b, c, d]) => u32::from_le_bytes([*a, *b, *c, *d]),
                _ => {
                    let rest = core::mem::replace(&mut chunks, [].chunks_exact(4)).remainder();
                    let mut last = [0; 4];
                    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                    u32::from_le_bytes(last)
                }
            };
            sum.add(value);
            store(word, value, Relaxed);
        }
        save(record, 2, sum.finish());
    }

    /// Makes the `words` behind what is in use part of the log.
    fn commit(&mut self, words: usize) {
        self.used += words;
        publish(self.memory.words(), self.start + 2, self.used as u32);
    }

    fn make_room(&mut self, words: usize) -> Result<(), StoreError> {
        if self.length - self.used >= words {
            Ok(())
        } else {
            self.compact(words)
        }
    }

    /// Copies the live records to another region and switches over, so that `extra` more words
    /// fit.
    fn compact(&mut self, extra: usize) -> Result<(), StoreError> {
        let live: usize = self
            .index
            .values()
            .map(|at| record_size(self.memory.words(), *at))
            .sum();
        let needed = REGION_HEADER + live + extra;
        let (start, length) = self.find_space(needed).ok_or(StoreError::Full)?;
        let words = self.memory.words();
        let mut at = start + REGION_HEADER;
        // Nothing can fail from here on, so the index follows at once.
        for place in self.index.values_mut() {
            let from = *place as usize;
            let size = record_size(words, *place);
            let source = words.get(from..from + size).unwrap_or(&[]);
            let target = words.get(at..at + size).unwrap_or(&[]);
            for (to, from) in target.iter().zip(source) {
                store(to, from.load(Relaxed), Relaxed);
            }
            *place = at as u32;
            at += size;
        }
        self.write_region_header(start, length, at - start);
        publish(words, AT_SWITCH, start as u32);
        (self.start, self.length, self.used) = (start, length, at - start);
        Ok(())
    }

    /// Free space for a region of at least `needed` words, twice that if the memory can grow.
    fn find_space(&mut self, needed: usize) -> Option<(usize, usize)> {
        // Half of it free: one copy for each record written, and memory within some five times
        // what lives.
        let wanted = needed * 2;
        if let Some(space) = self.free_space(wanted) {
            return Some(space);
        }
        // Behind the active region there is always room after growing.
        let end = self.start + self.length;
        let bytes = (end + wanted) * 4;
        if bytes <= self.max_length
            && self.memory.grow(bytes).is_ok()
            && let Some(space) = self.free_space(wanted)
        {
            return Some(space);
        }
        self.free_space(needed)
    }

    /// The larger piece of free space before or behind the active region, if large enough.
    fn free_space(&self, needed: usize) -> Option<(usize, usize)> {
        let before = (HEADER, self.start - HEADER);
        let end = self.start + self.length;
        let behind = (end, (self.memory.words().len() - end) & !1);
        // The smaller one that is large enough: what is left may serve the next time.
        let fits = [before, behind]
            .into_iter()
            .filter(|(_, length)| *length >= needed);
        fits.min_by_key(|(_, length)| *length)
    }
}

#[cfg(test)]
mod tests;

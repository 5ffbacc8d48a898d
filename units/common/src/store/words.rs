//! The words of a store: how long a record is, how one is read, written and published, and its checksum.

use super::{AT_DEAD, MAX_PAYLOAD, RECORD_HEADER};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Length of the record that begins here, in words.
pub(super) fn record_size(words: &[AtomicU32], at: u32) -> usize {
    let length = load(words, at as usize + 1);
    record_words((length as usize).min(MAX_PAYLOAD))
}

/// Length of a record in words, for a payload of that many bytes.
pub(super) fn record_words(payload: usize) -> usize {
    RECORD_HEADER + payload.div_ceil(8) * 2
}

pub(super) fn load(words: &[AtomicU32], at: usize) -> u32 {
    words.get(at).map_or(0, |word| word.load(Relaxed))
}

pub(super) fn save(words: &[AtomicU32], at: usize, value: u32) {
    if let Some(word) = words.get(at) {
        store(word, value, Relaxed);
    }
}

/// Everything stored before is there for whoever sees this.
pub(super) fn publish(words: &[AtomicU32], at: usize, value: u32) {
    if let Some(word) = words.get(at) {
        store(word, value, Release);
    }
}

/// The only instruction by which a store changes; tests cut it off at each number of them.
pub(super) fn store(word: &AtomicU32, value: u32, order: core::sync::atomic::Ordering) {
    #[cfg(test)]
    if !super::tests::fuse_holds() {
        return;
    }
    word.store(value, order);
}

/// Not against an adversary, who could recompute it: against stray writes and half-written words.
pub(super) struct Checksum(u32);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(0x9747_b28c)
    }

    pub(super) fn add(&mut self, word: u32) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b1).rotate_left(13);
    }

    pub(super) fn finish(self) -> u32 {
        let mixed = (self.0 ^ (self.0 >> 15)).wrapping_mul(0x85eb_ca6b);
        mixed ^ (mixed >> 13)
    }
}

/// The checksum of a record in memory: over all words but itself and the mark.
pub(super) fn checksum(record: &[AtomicU32]) -> u32 {
    let mut sum = Checksum::new();
    for (number, word) in record.iter().enumerate() {
        if number != 2 && number != AT_DEAD {
            sum.add(word.load(Relaxed));
        }
    }
    sum.finish()
}

//! What a unit type remembers of its units: one record each, in the journal.
//!
//! A record stands under the hash of its unit's name, which it holds as well. Fields are only ever
//! appended (see [`crate::store::Record::read`]), so all records have one version.

use super::Journal;
use crate::runtime::{Context, hash128};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Kind and version of a unit's record.
const KIND: u16 = 1;
const VERSION: u16 = 1;

/// What is remembered of a unit.
pub trait Remembered: Serialize + DeserializeOwned {
    /// Whose it is.
    fn unit(&self) -> &str;
    /// There is nothing to remember.
    fn is_blank(&self) -> bool;
}

/// Key of a unit in records and slots: the low half of the hash of its name.
pub fn key(unit: &str) -> u64 {
    u128::from_be_bytes(hash128(unit.as_bytes())) as u64
}

impl Journal {
    /// Forgets a unit.
    pub fn forget(&mut self, unit: &str) {
        self.records.delete(KIND, key(unit));
    }

    /// Whether something could not be stored, and nothing has been since.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// What an earlier process remembered, and how many records are of a version that cannot be read.
    pub fn remembered<T: Remembered>(&self) -> (Vec<T>, usize) {
        let mut foreign = 0;
        let mut found = Vec::new();
        for stored in self.records.records_of(KIND) {
            if stored.version != VERSION {
                foreign += 1;
            } else if let Some(record) = stored.read::<T>()
                // The key is a hash: the name in the record is what counts.
                && key(record.unit()) == stored.key
            {
                found.push(record);
            }
        }
        (found, foreign)
    }

    fn store(&mut self, what: &impl Remembered) -> bool {
        let mut bytes = crate::wire::to_bytes(what).unwrap_or_default();
        if let Some(more) = crate::fault::number("SYSMASTER_APPENDED") {
            bytes.resize(bytes.len() + more as usize, 0xa5);
        }
        let stored = self.records.put(KIND, VERSION, key(what.unit()), &bytes);
        stored.is_ok()
    }
}

impl Context<'_> {
    /// Remembers this of a unit, in place of what was remembered before. If there is no room, that is said once.
    pub fn remember(&mut self, what: &impl Remembered) {
        let was_full = self.journal.full;
        if what.is_blank() {
            self.journal.forget(what.unit());
            self.journal.full = false;
        } else {
            self.journal.full = !self.journal.store(what);
        }
        if self.journal.full && !was_full {
            let text = "the journal is full: what happens from now on is not remembered across a \
                restart of this unit's helper";
            self.log(3, what.unit(), text.into());
        }
    }
}

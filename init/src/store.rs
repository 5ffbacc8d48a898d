//! The descriptor store: every descriptor that must outlive its user, by label.
//!
//! A dense array in all-zero memory: a page of it is touched when it is used, an idle system with
//! fifty entries costs one page. Look-up is a linear search of 24-byte entries; at the maximum of
//! 8,192 that is a fifth of a megabyte, some twenty microseconds, and nobody asks in a loop.
//!
//! Capacity is set once at boot from the limit of open files. What services deposit may fill it
//! only up to a reserve, so that our own stores always find a place, and one owner at most an
//! eighth of it.

use init_wire::{Kind, Label};

/// Entries at most.
pub const MAX: usize = 8192;

/// Places that only kinds other than [`Kind::SERVICE`] may take.
const RESERVE: usize = 64;

/// One descriptor. Part of the image that a re-exec hands over, so it stays as it is.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    label: Label,
    fd: i32,
}

// SAFETY: integers without padding.
#[allow(unsafe_code)]
unsafe impl crate::sys::Plain for Entry {}
const _: () = assert!(core::mem::size_of::<Entry>() == 24);

/// What became of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// It has a new place.
    Kept,
    /// It took the place of this descriptor, which is now nobody's.
    Replaced(i32),
    /// No room.
    Full,
    /// Its owner has enough.
    Quota,
    /// Kind 0.
    Kind,
}

/// The store.
pub struct Store {
    entries: [Entry; MAX],
    len: usize,
    capacity: usize,
}

impl Store {
    /// An empty store without capacity.
    #[must_use]
    pub const fn new() -> Store {
        const NONE: Entry = Entry {
            label: Label {
                kind: Kind(0),
                hash: [0; 16],
                index: 0,
            },
            fd: 0,
        };
        Store {
            entries: [NONE; MAX],
            len: 0,
            capacity: 0,
        }
    }

    /// Sets the capacity, at most [`MAX`].
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.min(MAX);
    }

    /// How many can be kept.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn used(&self) -> &[Entry] {
        self.entries.get(..self.len).unwrap_or_default()
    }

    /// Begins anew with `len` entries from a former self: the places to be filled with them.
    /// `None`: so many there cannot be.
    pub(crate) fn restart(&mut self, len: usize) -> Option<&mut [Entry]> {
        let entries = self.entries.get_mut(..len)?;
        self.len = len;
        Some(entries)
    }

    /// Forgets entries whose descriptor `there` does not confirm.
    pub(crate) fn retain(&mut self, there: impl Fn(i32) -> bool) {
        let mut index = 0;
        while let Some((label, fd)) = self.at(index) {
            if there(fd) {
                index += 1;
            } else {
                self.take(&|one| one == label);
            }
        }
    }

    /// Keeps `fd` under `label`.
    pub fn put(&mut self, label: Label, fd: i32) -> Put {
        if label.kind == Kind::ANY {
            return Put::Kind;
        }
        let mut owned = 0;
        for entry in self.entries.iter_mut().take(self.len) {
            if entry.label == label {
                let old = entry.fd;
                entry.fd = fd;
                return Put::Replaced(old);
            }
            if entry.label.kind == label.kind && entry.label.hash == label.hash {
                owned += 1;
            }
        }
        let room = match label.kind {
            Kind::SERVICE => self.capacity.saturating_sub(RESERVE),
            _ => self.capacity,
        };
        if self.len >= room {
            return Put::Full;
        }
        if owned >= (self.capacity / 8).max(16) {
            return Put::Quota;
        }
        let Some(place) = self.entries.get_mut(self.len) else {
            return Put::Full;
        };
        *place = Entry { label, fd };
        self.len += 1;
        Put::Kept
    }

    /// The descriptor kept under `label`.
    #[must_use]
    pub fn get(&self, label: Label) -> Option<i32> {
        self.find(|one| *one == label)
    }

    /// The first descriptor whose label is one that `is` accepts.
    #[must_use]
    pub fn find(&self, is: impl Fn(&Label) -> bool) -> Option<i32> {
        let found = self.used().iter().find(|entry| is(&entry.label));
        found.map(|entry| entry.fd)
    }

    /// The entry at `index`, for listing.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<(Label, i32)> {
        self.used().get(index).map(|entry| (entry.label, entry.fd))
    }

    /// Takes one entry that `wanted` accepts out of the store: its descriptor.
    pub fn take(&mut self, wanted: &dyn Fn(Label) -> bool) -> Option<i32> {
        let index = self.used().iter().position(|entry| wanted(entry.label))?;
        let last = *self.used().last()?;
        let place = self.entries.get_mut(index)?;
        let fd = place.fd;
        *place = last;
        self.len = self.len.saturating_sub(1);
        Some(fd)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(capacity: usize) -> Box<Store> {
        let mut store = Box::new(Store::new());
        store.set_capacity(capacity);
        store
    }

    #[test]
    fn keeps_replaces_takes() {
        let mut s = store(MAX);
        let a = Label::of(Kind::NOTIFY, "a.service");
        let b = Label::of(Kind::JOURNAL, "service");
        assert_eq!(s.put(a, 5), Put::Kept);
        assert_eq!(s.put(b, 6), Put::Kept);
        assert_eq!(s.put(a, 7), Put::Replaced(5));
        assert_eq!(
            (s.get(a), s.get(b), s.get(a.at(1))),
            (Some(7), Some(6), None)
        );
        assert_eq!(s.take(&|l| l == a), Some(7));
        assert_eq!(s.take(&|l| l == a), None);
        assert_eq!((s.get(b), s.len()), (Some(6), 1));
        assert_eq!(s.put(Label::default(), 1), Put::Kind);
    }

    #[test]
    fn services_cannot_fill_it_and_nobody_alone() {
        let mut s = store(1024);
        let mut refused = 0;
        for index in 0..200 {
            refused +=
                u32::from(s.put(Label::of(Kind::SERVICE, "greedy").at(index), 9) != Put::Kept);
        }
        assert_eq!(refused, 200 - 128);
        let mut n = 0;
        while s.put(Label::of(Kind::SERVICE, &format!("unit-{n}")), 9) == Put::Kept {
            n += 1;
        }
        assert_eq!(s.len(), 1024 - RESERVE);
        assert_eq!(s.put(Label::of(Kind::STATE, "sysmaster"), 3), Put::Kept);
        while s.put(Label::of(Kind::NOTIFY, &format!("unit-{n}")), 9) == Put::Kept {
            n += 1;
        }
        assert_eq!(s.len(), 1024);
        assert_eq!(
            s.put(Label::of(Kind::STATE, "sysmaster"), 4),
            Put::Replaced(3),
            "full replaces"
        );
    }
}

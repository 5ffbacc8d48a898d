//! The ring of exits: what was reaped and is not yet in a manager's store.
//!
//! Every process that init reaps gets the next sequence number and a place here, **before** it is
//! reaped. It stays until a manager acknowledges its number; a new manager is sent everything that
//! is here once more. When the ring is full nothing is reaped: the kernel's zombies are the longer
//! ring, and they come in as soon as there is room.
//!
//! An empty ring starts again at its first place, so an idle system touches one page of it.

use init_wire::Exit;

/// Places. A power of two. A manager that is away for a second on a machine where a thousand
/// processes end in that second just fits; everything beyond stays a zombie for so long.
pub const CAPACITY: usize = 1024;

/// One exit. Part of the image that a re-exec hands over, so it stays as it is.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Place {
    start: u64,
    pid: u32,
    status: i32,
}

// SAFETY: integers without padding.
#[allow(unsafe_code)]
unsafe impl crate::sys::Plain for Place {}
const _: () = assert!(core::mem::size_of::<Place>() == 16);

/// The ring.
pub struct Ring {
    places: [Place; CAPACITY],
    /// Index of the oldest.
    head: usize,
    len: usize,
    /// How many of them, from the oldest, the present manager was sent.
    sent: usize,
    /// Sequence number of the oldest, or of the next when empty.
    first: u64,
}

impl Ring {
    /// An empty ring; the first exit will be number 1.
    #[must_use]
    pub const fn new() -> Ring {
        // `first` counts from 0 in here (all-zero memory costs nothing in the file); see `seq`.
        Ring {
            places: [Place {
                start: 0,
                pid: 0,
                status: 0,
            }; CAPACITY],
            head: 0,
            len: 0,
            sent: 0,
            first: 0,
        }
    }

    fn seq(&self, index: usize) -> u64 {
        self.first.wrapping_add(index as u64).wrapping_add(1)
    }

    /// The sequence number the next exit will get.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.seq(self.len)
    }

    /// The sequence number of the oldest exit, or of the next one.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.seq(0)
    }

    /// Everything that is waiting: the older part, then the newer one.
    pub(crate) fn places(&self) -> (&[Place], &[Place]) {
        let (wrapped, older) = self.places.split_at_checked(self.head).unwrap_or_default();
        let older = older.get(..self.len).unwrap_or(older);
        let newer = wrapped.get(..self.len.saturating_sub(older.len()));
        (older, newer.unwrap_or_default())
    }

    /// Begins anew with `len` exits from a former self, of which the manager was sent some: the places
    /// to be filled with them. The oldest has the number
    /// `first_seq`. `None`: so many there cannot be.
    pub(crate) fn restart(
        &mut self,
        first_seq: u64,
        len: usize,
        sent: usize,
    ) -> Option<&mut [Place]> {
        let places = self.places.get_mut(..len)?;
        self.first = first_seq.saturating_sub(1);
        self.head = 0;
        self.len = len;
        self.sent = sent.min(len);
        Some(places)
    }

    /// How many are waiting for an acknowledgement.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len >= CAPACITY
    }

    /// Whether the present manager was sent something it has not acknowledged.
    #[must_use]
    pub fn owed(&self) -> bool {
        self.sent > 0
    }

    /// How many the present manager was sent and has not acknowledged.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Records an exit; `false` when full.
    pub fn push(&mut self, pid: u32, start: u64, status: i32) -> bool {
        if self.is_full() {
            return false;
        }
        let index = (self.head + self.len) % CAPACITY;
        let Some(place) = self.places.get_mut(index) else {
            return false;
        };
        *place = Place { start, pid, status };
        self.len += 1;
        true
    }

    /// The exit at this distance from the oldest.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Exit> {
        if index >= self.len {
            return None;
        }
        let place = self.places.get((self.head + index) % CAPACITY)?;
        let Place { start, pid, status } = *place;
        Some(Exit {
            seq: self.seq(index),
            pid,
            start,
            status,
        })
    }

    /// The oldest exit that the present manager was not sent.
    #[must_use]
    pub fn unsent(&self) -> Option<Exit> {
        self.get(self.sent)
    }

    /// [`Ring::unsent`] was sent.
    pub fn mark_sent(&mut self) {
        if self.sent < self.len {
            self.sent += 1;
        }
    }

    /// There is a new manager: everything is to be sent again.
    pub fn resend(&mut self) {
        self.sent = 0;
    }

    /// Everything up to and including `seq` is in the manager's store. Numbers that were never
    /// sent to it are not believed.
    pub fn acknowledge(&mut self, seq: u64) {
        let known = seq.saturating_sub(self.first).min(self.sent as u64) as usize;
        self.head = (self.head + known) % CAPACITY;
        self.len = self.len.saturating_sub(known);
        self.sent = self.sent.saturating_sub(known);
        self.first = self.first.wrapping_add(known as u64);
        if self.len == 0 {
            self.head = 0;
        }
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send_all(ring: &mut Ring) -> Vec<u64> {
        let mut seqs = Vec::new();
        while let Some(exit) = ring.unsent() {
            seqs.push(exit.seq);
            ring.mark_sent();
        }
        seqs
    }

    #[test]
    fn everything_is_sent_until_acknowledged() {
        let mut ring = Ring::new();
        for pid in 1..=3 {
            assert!(ring.push(pid, 10, 0));
        }
        assert!(!ring.owed());
        assert_eq!(send_all(&mut ring), [1, 2, 3]);
        assert!(ring.owed());
        ring.acknowledge(2);
        ring.resend();
        assert_eq!(
            send_all(&mut ring),
            [3],
            "a new manager gets the rest again"
        );
        ring.acknowledge(3);
        assert!(ring.is_empty() && !ring.owed());
        assert_eq!(ring.next_seq(), 4);
    }

    #[test]
    fn acknowledging_what_was_never_sent_loses_nothing() {
        let mut ring = Ring::new();
        ring.push(1, 1, 0);
        ring.push(2, 1, 0);
        ring.mark_sent();
        ring.acknowledge(u64::MAX);
        assert_eq!(ring.unsent().map(|e| e.pid), Some(2));
        ring.acknowledge(0);
        assert_eq!(ring.len(), 1);
    }

    #[test]
    fn full_refuses_and_wraps() {
        let mut ring = Ring::new();
        for round in 0..5u32 {
            while ring.push(round, 7, 9) {}
            assert!(ring.is_full());
            send_all(&mut ring);
            ring.acknowledge(ring.next_seq() - 500);
            assert_eq!(ring.len(), 499);
            assert_eq!(ring.get(0).map(|e| e.seq), Some(ring.next_seq() - 499));
        }
    }

    #[test]
    fn continues_its_numbers_after_a_reexec() {
        let mut ring = Ring::new();
        assert!(ring.restart(77, 0, 0).is_some());
        ring.push(1, 1, 0);
        assert_eq!(ring.get(0).map(|e| e.seq), Some(77));
    }
}

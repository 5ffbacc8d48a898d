//! Many seeds, on all processors.
//!
//! Seeds are given out in their order, and nobody is given one behind a seed that failed; those before it are played to
//! their end. So the seed that is told is the lowest that fails, however many processors there are and whichever of
//! them is faster.

use crate::{generate, play};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What came of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Seeds played.
    pub played: u64,
    /// Effects carried out in them.
    pub effects: usize,
    /// Managers that died in them.
    pub crashes: usize,
}

impl Tally {
    fn add(self, other: Self) -> Self {
        Self {
            played: self.played + other.played,
            effects: self.effects + other.effects,
            crashes: self.crashes + other.crashes,
        }
    }
}

/// The seeds that are to be played.
struct Series {
    next: AtomicU64,
    end: u64,
    until: Option<Instant>,
    /// The lowest that failed so far.
    failed: AtomicU64,
}

impl Series {
    fn take(&self) -> Option<u64> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        (seed < self.end.min(self.failed.load(Ordering::Relaxed))).then_some(seed)
    }

    fn work(&self) -> Tally {
        let mut tally = Tally::default();
        while let Some(seed) = self.take() {
            let run = play(&generate::case(seed));
            tally = tally.add(Tally {
                played: 1,
                effects: run.effects,
                crashes: run.crashes,
            });
            if !run.broken.is_empty() {
                self.failed.fetch_min(seed, Ordering::Relaxed);
            }
        }
        tally
    }
}

/// Plays these seeds, until one fails or it is so late, with so many threads. Tells the lowest that failed.
pub fn seeds(range: Range<u64>, until: Option<Instant>, threads: usize) -> (Tally, Option<u64>) {
    let series = Series {
        next: AtomicU64::new(range.start),
        end: range.end,
        until,
        failed: AtomicU64::new(u64::MAX),
    };
    let tally = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| series.work()))
            .collect();
        let own = series.work();
        let others = others.into_iter().map(|thread| thread.join().unwrap());
        others.fold(own, Tally::add)
    });
    let failed = series.failed.into_inner();
    (tally, (failed != u64::MAX).then_some(failed))
}

/// As many threads as there are processors.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_does_not_depend_on_who_plays_it() {
        let alone = seeds(1..9, None, 1);
        assert_eq!(alone.0.played, 8);
        assert_eq!(alone.1, None);
        assert_eq!(seeds(1..9, None, 3), alone);
    }

    #[test]
    fn nothing_behind_a_seed_that_failed_is_given_out() {
        let series = Series {
            next: AtomicU64::new(3),
            end: 100,
            until: None,
            failed: AtomicU64::new(5),
        };
        assert_eq!([series.take(), series.take()], [Some(3), Some(4)]);
        assert_eq!([series.take(), series.take()], [None, None]);
    }
}

//! The ledger of exits: what init reaped, and who has still to take it.
//!
//! Init keeps each exit until the manager acknowledges it, and acknowledgements go in order. An
//! exit may concern a helper: a daemon that left its parent, or, after a helper died, any of its
//! services. So an exit is acknowledged only when everybody who may need it has it in a record of
//! their own:
//!
//! * the helper that watches the process, if one does;
//! * otherwise each helper that is out of contact or still adopting, since it may come to watch
//!   the process when it reads its journal;
//! * nobody, if every helper is in contact and none watches it: it was an orphan.
//!
//! An exit nobody wanted is remembered for a while: a daemon may end before its helper has read
//! the pid file and asked for it.
//!
//! The ledger does no I/O. Helpers are known by their index in the helper table; the table has at
//! most [`MAX_HELPERS`] entries, one bit each.

use std::collections::VecDeque;
use units::collections::Map;
use units::state::ProcId;

/// Most helper types there can be: each has a bit in a mask.
pub const MAX_HELPERS: usize = 32;

/// How many unwanted exits are remembered. A helper asks for a daemon within milliseconds of its
/// parent's end; a burst of more orphans than this in that time is not a daemon's start.
const REMEMBERED: usize = 128;

/// An exit in the ledger.
#[derive(Debug)]
struct Entry {
    seq: u64,
    proc: ProcId,
    status: i32,
    /// Helpers that must take it and have not.
    wanted: u32,
    /// Of these, those it was sent to on their present connection.
    sent: u32,
}

/// All exits that are not acknowledged, and who watches what.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: VecDeque<Entry>,
    recent: VecDeque<(ProcId, i32)>,
    watched: Map<ProcId, usize>,
    taken: u64,
    acked: u64,
}

/// What [`Ledger::watch`] found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// It will be told when it ends.
    Armed,
    /// It has ended already, with this status.
    Ended(i32),
    /// It has ended and its exit stands in the ledger: `next_for` yields it.
    Queued,
}

fn bit(helper: usize) -> u32 {
    if helper < MAX_HELPERS { 1 << helper } else { 0 }
}

impl Ledger {
    /// Takes up an exit init reported. `absent` is the mask of helpers that exist and are not
    /// synced.
    pub fn add(&mut self, seq: u64, proc: ProcId, status: i32, absent: u32) {
        if seq <= self.taken {
            return;
        }
        self.taken = seq;
        let wanted = match self.watcher(proc) {
            Some(helper) => bit(helper),
            None => absent,
        };
        let wanted = if units::fault::without("exits") {
            0
        } else {
            wanted
        };
        if wanted == 0 {
            self.remember(proc, status);
        }
        self.entries.push_back(Entry {
            seq,
            proc,
            status,
            wanted,
            sent: 0,
        });
    }

    /// Notes an exit that concerns no helper's unit (a helper's own), so that it is acknowledged
    /// in its turn.
    pub fn add_done(&mut self, seq: u64, proc: ProcId, status: i32) {
        self.add(seq, proc, status, 0);
        self.recent.pop_back();
    }

    fn watcher(&self, proc: ProcId) -> Option<usize> {
        self.watched
            .iter()
            .find(|(known, _)| known.may_be(proc))
            .map(|(_, helper)| *helper)
    }

    fn remember(&mut self, proc: ProcId, status: i32) {
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((proc, status));
    }

    /// A helper wants to be told when this process ends.
    pub fn watch(&mut self, helper: usize, proc: ProcId) -> Watched {
        for entry in &mut self.entries {
            if entry.proc.may_be(proc) && entry.wanted != 0 {
                entry.wanted |= bit(helper);
                return Watched::Queued;
            }
        }
        if let Some((_, status)) = self
            .recent
            .iter()
            .rev()
            .find(|(known, _)| known.may_be(proc))
        {
            return Watched::Ended(*status);
        }
        self.watched.insert(proc, helper);
        Watched::Armed
    }

    /// Whether this watch is still open.
    pub fn still_watched(&self, helper: usize, proc: ProcId) -> bool {
        self.watched.get(&proc) == Some(&helper)
            && !self
                .entries
                .iter()
                .any(|entry| entry.wanted != 0 && entry.proc.may_be(proc))
    }

    /// It no longer does.
    pub fn unwatch(&mut self, helper: usize, proc: ProcId) {
        if self.watched.get(&proc) == Some(&helper) {
            self.watched.remove(&proc);
        }
    }

    /// The next exit to be sent to this helper, which is synced. Marked as sent.
    pub fn next_for(&mut self, helper: usize) -> Option<(ProcId, i32)> {
        let bit = bit(helper);
        let entry = self
            .entries
            .iter_mut()
            .find(|e| e.wanted & bit != 0 && e.sent & bit == 0)?;
        entry.sent |= bit;
        Some((entry.proc, entry.status))
    }

    /// The helper has recorded this exit.
    pub fn exit_taken(&mut self, helper: usize, proc: ProcId) {
        let bit = bit(helper);
        for entry in &mut self.entries {
            if entry.sent & bit != 0 && entry.proc.may_be(proc) {
                entry.wanted &= !bit;
            }
        }
        self.watched.remove(&proc);
    }

    /// Contact with the helper is lost: what it did not confirm is sent again to its successor or
    /// to itself, and its watches end (it names them again when it adopts).
    pub fn lost(&mut self, helper: usize) {
        let bit = bit(helper);
        for entry in &mut self.entries {
            entry.sent &= !bit;
        }
        self.watched.retain(|_, owner| *owner != helper);
    }

    /// There will be no such helper.
    pub fn gone(&mut self, helper: usize) {
        self.lost(helper);
        let bit = bit(helper);
        for entry in &mut self.entries {
            entry.wanted &= !bit;
        }
    }

    /// The highest sequence up to which everything is taken, if it has risen since last asked.
    pub fn acknowledge(&mut self) -> Option<u64> {
        let mut done = self.acked;
        while let Some(front) = self.entries.front() {
            if front.wanted != 0 {
                break;
            }
            done = front.seq;
            self.entries.pop_front();
        }
        if done > self.acked {
            self.acked = done;
            Some(done)
        } else {
            None
        }
    }

    /// Exits somebody has still to take.
    pub fn held(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.wanted != 0)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(pid: u32) -> ProcId {
        ProcId {
            pid,
            start: u64::from(pid) * 10,
        }
    }

    #[test]
    fn an_orphan_is_acknowledged_at_once_and_remembered() {
        let mut ledger = Ledger::default();
        ledger.add(1, p(5), 0x100, 0);
        assert_eq!(ledger.acknowledge(), Some(1));
        assert_eq!(ledger.acknowledge(), None);
        assert_eq!(ledger.watch(0, p(5)), Watched::Ended(0x100));
        assert_eq!(
            ledger.watch(0, ProcId { pid: 5, start: 51 }),
            Watched::Armed
        );
    }

    #[test]
    fn an_exit_waits_for_the_helper_that_is_away() {
        let mut ledger = Ledger::default();
        ledger.add(1, p(5), 9, 0b1);
        ledger.add(2, p(6), 0, 0);
        assert_eq!(ledger.acknowledge(), None, "acknowledgements go in order");
        assert_eq!(ledger.next_for(0), Some((p(5), 9)));
        assert_eq!(ledger.next_for(0), None);
        ledger.lost(0);
        assert_eq!(
            ledger.next_for(0),
            Some((p(5), 9)),
            "sent again on the next connection"
        );
        ledger.exit_taken(0, p(5));
        assert_eq!(ledger.acknowledge(), Some(2));
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn a_watched_exit_goes_to_its_watcher_alone() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.watch(1, p(7)), Watched::Armed);
        ledger.add(1, p(7), 15, 0b1);
        assert_eq!(ledger.next_for(0), None);
        assert_eq!(ledger.next_for(1), Some((p(7), 15)));
        assert_eq!(ledger.acknowledge(), None);
        ledger.exit_taken(1, p(7));
        assert_eq!(ledger.acknowledge(), Some(1));
    }

    #[test]
    fn a_watch_on_a_held_exit_queues_it_for_the_watcher_too() {
        let mut ledger = Ledger::default();
        ledger.add(1, p(7), 15, 0b1);
        assert_eq!(ledger.watch(1, p(7)), Watched::Queued);
        assert_eq!(ledger.next_for(1), Some((p(7), 15)));
        ledger.exit_taken(1, p(7));
        assert_eq!(ledger.acknowledge(), None);
        ledger.gone(0);
        assert_eq!(ledger.acknowledge(), Some(1));
    }

    #[test]
    fn a_repeated_report_is_one_exit() {
        let mut ledger = Ledger::default();
        ledger.add(3, p(7), 15, 0b1);
        ledger.add(3, p(7), 15, 0b1);
        assert_eq!(ledger.next_for(0), Some((p(7), 15)));
        assert_eq!(ledger.next_for(0), None);
    }

    #[test]
    fn ten_thousand_orphans_cost_nothing_that_stays() {
        let mut ledger = Ledger::default();
        for seq in 1..=10_000_u32 {
            ledger.add(u64::from(seq), p(seq), 0, 0);
            assert_eq!(ledger.acknowledge(), Some(u64::from(seq)));
        }
        assert!(ledger.entries.is_empty() && ledger.recent.len() == REMEMBERED);
    }
}

//! The table of helpers: one process for each unit type in use, and what is known of it.
//!
//! ```text
//!            needed                connects, is the          memories handed
//!            (a unit of its        recorded process          over, all units sent
//!            type is loaded)       and says Hello
//!   Idle ────────────────▶ Awaited ───────────────▶ Welcomed ──────────────▶ Syncing
//!    ▲                       ▲  ▲                                              │ says Synced
//!    │ no unit left          │  └──────────── contact lost, process lives ─┐   ▼
//!   Paused ◀── too many ─────┴── dead and reaped ◀── Dying ◀── hung or ── Synced
//!              deaths                                          stopped
//! ```
//!
//! A process is recorded in the state store (type, pid, start time) before it runs a helper's
//! first instruction: until then it waits in a gate that opens when the record stands and closes
//! when the manager dies. So a manager that comes later knows every helper there is; a connection
//! from a process that is not recorded is closed. The next process of a type is started only when
//! the one before is gone, identified by its start time: there is one live helper for each type.
//!
//! *Debts.* Whatever is sent to a helper is followed by a `Ping` unless one is on its way. The
//! `Pong` shows that all of it was read and recorded. Only while it is owed does a timer run. After
//! half of the time its processor time is noted, at the end looked at again. A helper that has said
//! anything meanwhile gets on, and goes on: for [`TALKS`] such periods, and [`TALK`] more for each unit of
//! its type, since talk alone pays for nothing. One that got no processor time although it wanted some is
//! starved and gets another period, once, and a higher priority until it answers. One that computes may do
//! so for [`WORK`] for each unit of its type: it may have thousands to load or to adopt. Otherwise it is
//! hung, is killed, and its successor adopts. A helper that does not connect owes its `Hello` the same way,
//! and so does one its `Synced` that has answered before it,
//! one whose memories are on their way is waited for as long, and one that was killed owes its end:
//! there is no phase with a process, other than `Synced` with nothing asked, without a deadline.
//!
//! *Stops.* A helper that somebody stopped answers nothing and is replaced. Our own child's stop is
//! told to us; that of an earlier manager's is told by init. So that nothing hangs on a single
//! notice, all recorded processes are looked at, and all helpers in contact asked, when a manager
//! has recovered and whenever init tells of a stop.

use crate::backoff::Deaths;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use units::state::{Micros, ProcId};
use units::wire::helper::{Label, ToHelper};
use units::wire::{self};

/// How long an answer may be owed before the helper is looked at, in microseconds. Two such
/// periods, or three with an extension, and the start of a new helper stay below three seconds.
pub const DEBT: Micros = 700_000;
/// Processor time a helper may use for each unit of its type before it answers, in microseconds: many times what a
/// slow board takes to adopt one, or to start it.
pub const WORK: Micros = 10_000;
/// Periods a helper may owe an answer for no better reason than that it says something else. Four in all, and the
/// start of a new helper, stay below three seconds.
pub const TALKS: u64 = 2;
/// How much longer for each unit of its type, in microseconds: it may have something to say of each, and may have
/// to share the processor.
pub const TALK: Micros = 50_000;
/// Processes in a row that end before their `Hello` until jobs do not wait for the next.
pub const STILLBORN: u32 = 3;
/// How long a new process has until its `Hello`.
pub const ARRIVAL: Micros = 5_000_000;
/// Frames that may wait for a helper that does not read. Beyond it the helper is as good as hung.
const LONGEST_QUEUE: usize = 65_536;

/// How far a helper has come. See the picture at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is no process, and nobody needs one.
    Idle,
    /// A process exists and is recorded; it has not said `Hello`.
    Awaited,
    /// It is welcomed; so many of its memories are still to come from init.
    Welcomed {
        /// 2, 1 or 0.
        memories: u8,
    },
    /// It has everything and adopts.
    Syncing,
    /// In contact.
    Synced,
    /// We killed it and wait for its end.
    Dying,
    /// The next start is due then.
    Paused {
        /// Boot time.
        until: Micros,
    },
    /// There is no executable for this type.
    Missing,
}

/// An answer that is owed.
#[derive(Clone, Copy, Debug)]
pub struct Debt {
    /// Of the ping, 0 for everything else that is owed.
    pub nonce: u64,
    /// When it is looked at.
    pub due: Micros,
    /// Processor time used when it was last looked at, in ticks.
    pub cpu: Option<u64>,
    /// Processor time it has used since it was first looked at, in ticks.
    pub worked: u64,
    /// It has said something since it was last looked at.
    pub heard: bool,
    /// For so many periods it has been waited for because of that.
    pub talked: u64,
    /// It has had its extension.
    pub extended: bool,
}

impl Debt {
    /// The answer to this ping, or for 0 what the phase waits for, is owed until then.
    pub fn new(nonce: u64, due: Micros) -> Self {
        Self {
            nonce,
            due,
            cpu: None,
            worked: 0,
            heard: false,
            talked: 0,
            extended: false,
        }
    }

    /// It is looked at: its process has used so much processor time by now, in ticks, and is ready to run or not.
    /// Why it is given another period, if it is; its type has so many units.
    pub fn extend(&mut self, cpu: u64, ready: bool, units: u64) -> Option<Reason> {
        let heard = std::mem::take(&mut self.heard);
        let Some(before) = self.cpu.replace(cpu) else {
            return Some(Reason::FirstLook);
        };
        let ticks = platform::kernel::ticks_per_second();
        let used = cpu.saturating_sub(before);
        self.worked += used;
        let idle = used * 10 < ticks;
        if heard && self.talked < TALKS + units * TALK / DEBT {
            self.talked += 1;
            return Some(Reason::Talks);
        }
        if !idle && self.worked < units * WORK * ticks / 1_000_000 {
            return Some(Reason::Works);
        }
        let starved = idle && ready && !std::mem::replace(&mut self.extended, true);
        starved.then_some(Reason::Starved)
    }
}

/// Why a helper that owes an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is known yet of what it does.
    FirstLook,
    /// It has said something else.
    Talks,
    /// It computes, and has something to compute.
    Works,
    /// It wants to, and gets no processor time.
    Starved,
}

/// A frame on its way to a helper, and the descriptor beside it.
#[derive(Debug)]
pub struct Outgoing {
    /// Encoded.
    pub bytes: Vec<u8>,
    /// At most one.
    pub fd: Option<OwnedFd>,
}

/// The helper of one unit type.
#[derive(Debug)]
pub struct Helper {
    /// `service` …
    pub unit_type: String,
    /// How far it has come.
    pub phase: Phase,
    /// The recorded process, until it is known to be gone.
    pub proc: Option<ProcId>,
    /// It is our own child; otherwise an earlier manager's, and init reports its end.
    pub child: bool,
    /// The connection.
    pub conn: Option<OwnedFd>,
    /// Rises with each connection, so that an event of the last one is not taken for this one's.
    pub generation: u16,
    /// What is owed.
    pub debt: Option<Debt>,
    /// Its deaths.
    pub deaths: Deaths,
    /// We killed it for not answering.
    pub hung: bool,
    /// Processes in a row that ended before they said `Hello`.
    pub stillborn: u32,
    /// So many did that nobody waits for it any more; it is tried again all the same.
    pub hopeless: bool,
    /// When last looked at, it was gone, and nobody had told of its end.
    pub missed: bool,
    /// Units reported since `Sync`.
    pub reported: Vec<engine::api::UnitId>,
    /// `Load` frames of all units of the type, made before there was contact; `None` once they are
    /// sent: a later process gets them from the files again.
    pub preload: Option<Vec<Vec<u8>>>,
    /// Protocol version of the connection.
    pub version: u16,
    /// When the process was started, or contact was lost.
    pub since: Micros,
    /// Its socket takes no more for now.
    pub blocked: bool,
    /// The process before this one died by its own fault.
    pub fault: bool,
    /// It runs inside the manager and has neither process nor connection.
    pub inside: bool,
    out: VecDeque<Outgoing>,
    asked: bool,
    next_nonce: u64,
}

impl Helper {
    /// A type of which nothing is known yet.
    pub fn new(unit_type: &str) -> Self {
        Self {
            unit_type: unit_type.into(),
            phase: Phase::Idle,
            proc: None,
            child: false,
            conn: None,
            generation: 0,
            debt: None,
            deaths: Deaths::default(),
            hung: false,
            missed: false,
            stillborn: 0,
            hopeless: false,
            reported: Vec::new(),
            preload: Some(Vec::new()),
            version: 0,
            since: 0,
            blocked: false,
            fault: false,
            inside: false,
            out: VecDeque::new(),
            asked: false,
            next_nonce: 0,
        }
    }

    /// Whether commands may be sent.
    pub fn synced(&self) -> bool {
        self.phase == Phase::Synced
    }

    /// Whether there may still be processes of this type that it will adopt.
    pub fn absent(&self) -> bool {
        !self.hopeless && !matches!(self.phase, Phase::Synced | Phase::Idle | Phase::Missing)
    }

    /// Queues a frame. `false`: it cannot be sent, since it is too long or the queue is full.
    pub fn queue(&mut self, frame: &ToHelper, fd: Option<OwnedFd>) -> bool {
        match wire::encode(frame) {
            Ok(bytes) => self.queue_bytes(bytes, fd),
            Err(_) => false,
        }
    }

    /// Queues an encoded frame.
    pub fn queue_bytes(&mut self, bytes: Vec<u8>, fd: Option<OwnedFd>) -> bool {
        if (self.conn.is_none() && !self.inside) || self.out.len() >= LONGEST_QUEUE {
            return false;
        }
        self.asked = true;
        self.out.push_back(Outgoing { bytes, fd });
        true
    }

    /// Adds the ping that makes what was queued a debt, unless one is on its way.
    pub fn close_batch(&mut self, now: Micros) {
        if !self.wants_ping() {
            return;
        }
        self.next_nonce += 1;
        let nonce = self.next_nonce;
        if self.queue(&ToHelper::Ping { nonce }, None) {
            self.debt = Some(Debt::new(nonce, now + DEBT));
        }
        self.asked = false;
    }

    /// The ping that closes the batch of what is queued now, or a later one.
    pub fn next_ping(&self) -> u64 {
        self.next_nonce + 1
    }

    fn wants_ping(&self) -> bool {
        self.asked
            && !self.inside
            && self.debt.is_none()
            && matches!(self.phase, Phase::Syncing | Phase::Synced)
    }

    /// Asks for a sign of life with the next batch.
    pub fn ask(&mut self) {
        self.asked |= self.conn.is_some();
    }

    /// It answered. Anything queued since the ping becomes the next debt; before it has adopted, that it has.
    /// Whether the answer was owed, and had cost a starved one's extension.
    pub fn pong(&mut self, nonce: u64, now: Micros) -> bool {
        let paid = self.debt.filter(|debt| nonce != 0 && debt.nonce == nonce);
        if paid.is_some() {
            self.debt = (self.phase == Phase::Syncing).then(|| Debt::new(0, now + ARRIVAL));
        }
        paid.is_some_and(|debt| debt.extended)
    }

    /// The frame to be sent next.
    pub fn front(&self) -> Option<&Outgoing> {
        self.out.front()
    }

    /// The front is sent.
    pub fn sent(&mut self) {
        self.out.pop_front();
    }

    /// Takes the front.
    pub fn pop(&mut self) -> Option<Outgoing> {
        self.out.pop_front()
    }

    /// The connection is over: what was queued is void, the engine will repeat what counts.
    pub fn disconnect(&mut self) {
        self.conn = None;
        self.generation = self.generation.wrapping_add(1);
        self.out.clear();
        self.blocked = false;
        self.asked = false;
        self.debt = None;
        self.reported = Vec::new();
        if matches!(
            self.phase,
            Phase::Welcomed { .. } | Phase::Syncing | Phase::Synced
        ) {
            self.phase = Phase::Awaited;
        }
    }
}

/// All helpers.
#[derive(Debug, Default)]
pub struct Table {
    helpers: Vec<Helper>,
}

impl Table {
    /// The index of a type, which gets an entry if it has none. `None`: there are as many types as
    /// there can be.
    pub fn index(&mut self, unit_type: &str) -> Option<usize> {
        if let Some(index) = self.find(unit_type) {
            return Some(index);
        }
        if self.helpers.len() >= crate::exits::MAX_HELPERS {
            return None;
        }
        self.helpers.push(Helper::new(unit_type));
        Some(self.helpers.len() - 1)
    }

    /// The index of a type that has an entry.
    pub fn find(&self, unit_type: &str) -> Option<usize> {
        self.helpers
            .iter()
            .position(|helper| helper.unit_type == unit_type)
    }

    /// The helper whose recorded process this is.
    pub fn by_proc(&self, proc: ProcId) -> Option<usize> {
        self.helpers
            .iter()
            .position(|helper| helper.proc == Some(proc))
    }

    /// The same for a process of which init may not know the start time.
    pub fn by_pid(&self, proc: ProcId) -> Option<usize> {
        let same = |known: ProcId| known.may_be(proc);
        self.helpers
            .iter()
            .position(|helper| helper.proc.is_some_and(same))
    }

    /// A helper.
    pub fn get(&self, index: usize) -> Option<&Helper> {
        self.helpers.get(index)
    }

    /// A helper.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Helper> {
        self.helpers.get_mut(index)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Helper> {
        self.helpers.iter()
    }

    /// Gives back what empty queues take. Whether all are.
    pub fn rest(&mut self) -> bool {
        let mut all = true;
        for helper in &mut self.helpers {
            all &= helper.out.is_empty() && !helper.absent();
            helper.out.shrink_to_fit();
            helper.reported.shrink_to_fit();
        }
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.helpers.len()
    }

    /// Whether no type has ever been used.
    pub fn is_empty(&self) -> bool {
        self.helpers.is_empty()
    }

    /// The mask of those that may still adopt.
    pub fn absent(&self) -> u32 {
        self.helpers
            .iter()
            .enumerate()
            .filter(|(_, h)| h.absent())
            .fold(0, |m, (n, _)| m | 1 << n)
    }

    /// The next moment something is due of one of them.
    pub fn deadline(&self) -> Option<Micros> {
        let debts = self
            .helpers
            .iter()
            .filter_map(|h| h.debt.map(|debt| debt.due));
        let pauses = self.helpers.iter().filter_map(|h| match h.phase {
            Phase::Paused { until } => Some(until),
            _ => None,
        });
        debts.chain(pauses).min()
    }
}

/// What init keeps for a helper and the manager hands over, in this order.
pub fn memory_labels(unit_type: &str) -> [Label; 2] {
    [init_wire::Kind::JOURNAL, init_wire::Kind::SLOTS]
        .map(|kind| label_from_init(init_wire::Label::of(kind, unit_type)))
}

/// A helper's label in init's words.
pub fn label_to_init(label: Label) -> init_wire::Label {
    init_wire::Label {
        kind: init_wire::Kind(label.kind),
        hash: label.hash,
        index: label.index,
    }
}

/// And back.
pub fn label_from_init(label: init_wire::Label) -> Label {
    Label {
        kind: label.kind.0,
        hash: label.hash,
        index: label.index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected() -> Helper {
        let mut helper = Helper::new("service");
        helper.phase = Phase::Synced;
        helper.conn = Some(platform::fd::pipe().unwrap().0);
        helper
    }

    #[test]
    fn a_batch_ends_in_one_ping_and_the_pong_pays_for_it() {
        let mut helper = connected();
        assert!(!helper.wants_ping());
        assert!(helper.queue(&ToHelper::Sync, None));
        helper.close_batch(100);
        assert_eq!(helper.debt.unwrap().due, 100 + DEBT);
        assert!(helper.queue(&ToHelper::Sync, None));
        helper.close_batch(200);
        assert_eq!(helper.debt.unwrap().due, 100 + DEBT, "one ping at a time");
        helper.pong(99, 250);
        assert!(helper.debt.is_some(), "not the answer to this ping");
        helper.pong(1, 250);
        assert!(
            helper.debt.is_none() && helper.wants_ping(),
            "what came later is owed next"
        );
        helper.close_batch(300);
        helper.pong(2, 350);
        assert!(helper.debt.is_none() && !helper.wants_ping());
    }

    #[test]
    fn who_owes_an_answer_is_starved_at_work_or_hung() {
        let second = platform::kernel::ticks_per_second();
        // A hundred may take a second of processor time.
        let units = 100;
        let looked_at = || {
            let mut debt = Debt::new(1, 0);
            let noted = debt.extend(1000, false, 0);
            assert_eq!(noted, Some(Reason::FirstLook), "its time is noted");
            debt
        };
        assert_eq!(looked_at().extend(1000, false, units), None, "asleep");
        let mut starved = looked_at();
        assert_eq!(starved.extend(1000, true, 0), Some(Reason::Starved));
        assert_eq!(starved.extend(1000, true, 0), None, "once");
        assert_eq!(looked_at().extend(1000 + second, true, units), None, "loop");
        let mut works = looked_at();
        let half = works.extend(1000 + second / 2, true, units);
        assert_eq!(half, Some(Reason::Works));
        assert_eq!(works.extend(1000 + second, false, units), None, "so long");
    }

    /// How many periods somebody gets who says something in each and never what is owed.
    fn talks(units: u64) -> u64 {
        let mut debt = Debt::new(1, 0);
        for period in 0.. {
            debt.heard = true;
            if debt.extend(1000, false, units).is_none() {
                return period;
            }
        }
        unreachable!()
    }

    #[test]
    fn talk_pays_for_nothing() {
        assert_eq!(talks(0), 1 + TALKS);
        let patience = talks(2000) * DEBT;
        assert!(
            patience > 100_000_000,
            "{patience}: a busy one has its time"
        );
        assert!(patience < 110_000_000, "{patience}: and no more");
    }

    #[test]
    fn who_answers_and_has_not_adopted_owes_that() {
        let mut helper = connected();
        helper.phase = Phase::Syncing;
        assert!(helper.queue(&ToHelper::Sync, None));
        helper.close_batch(100);
        helper.pong(1, 200);
        let debt = helper.debt.unwrap();
        assert_eq!((debt.nonce, debt.due), (0, 200 + ARRIVAL));
    }

    #[test]
    fn a_lost_connection_voids_its_queue() {
        let mut helper = connected();
        helper.queue(&ToHelper::Sync, None);
        helper.close_batch(1);
        let generation = helper.generation;
        helper.disconnect();
        assert!(helper.front().is_none() && helper.debt.is_none());
        assert_eq!(helper.phase, Phase::Awaited);
        assert_ne!(helper.generation, generation);
        assert!(!helper.queue(&ToHelper::Sync, None));
    }

    #[test]
    fn who_may_still_adopt() {
        let mut table = Table::default();
        let service = table.index("service").unwrap();
        let mount = table.index("mount").unwrap();
        assert_eq!(
            table.absent(),
            0,
            "a type without a process has nothing to adopt"
        );
        table.get_mut(service).unwrap().phase = Phase::Awaited;
        table.get_mut(mount).unwrap().phase = Phase::Synced;
        assert_eq!(table.absent(), 1 << service);
        for n in 0..40 {
            table.index(&format!("type{n}"));
        }
        assert_eq!(table.len(), crate::exits::MAX_HELPERS);
        assert_eq!(table.index("one-more"), None);
    }
}

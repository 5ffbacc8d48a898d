//! The state store: what was decided, in memory that init keeps for the next manager.
//!
//! Each record replaces the one of the same kind and key, and is in the store before the effect it
//! makes safe is carried out. Records of kinds we do not know, a later version's, are kept as they
//! are. After a death the next manager reads all of them ([`Persist::recover`]), gives the engine
//! its own, takes up the helpers that were recorded, loads the files of the units named, and asks
//! the helpers what is true now.
//!
//! A record that cannot be decoded is removed and counted, one of another version passed over: the
//! unit is then what its helper says it is. See [`crate::salvage`].

use crate::boot::BootRecord;
use crate::crashes::{CrashRecord, Crashes};
use crate::upgrade::UpgradeRecord;
use engine::api::{JobId, Record};
use init_wire::{Kind, Label};
use platform::memory::Memory;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use units::name::UnitName;
use units::state::ProcId;
use units::store::{Store, StoreError};
use units::wire::helper::Sockets;

/// Label under which init keeps the store.
pub fn label() -> Label {
    Label::of(Kind::STATE, "manager")
}

/// Bytes of a new store. It grows when its live records fill it.
const INITIAL: usize = 64 << 10;
/// It never grows beyond this: some two hundred thousand units.
const LARGEST: usize = 64 << 20;
/// Version of the payloads.
const PAYLOAD: u16 = 1;

/// Kinds of records.
mod kind {
    pub const UNIT: u16 = 1;
    pub const JOB: u16 = 2;
    pub const ENGINE: u16 = 3;
    pub const ATOMIC: u16 = 4;
    pub const HELPER: u16 = 16;
    pub const BOOT: u16 = 17;
    pub const OFFER: u16 = 18;
    pub const CRASH: u16 = 19;
    pub const QUARANTINE: u16 = 20;
    pub const UPGRADE: u16 = 21;
    pub const CONDITION: u16 = 22;
}

/// A helper's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperRecord {
    /// `service` …
    pub unit_type: String,
    /// Its process.
    pub proc: ProcId,
}

/// What kept a unit from starting, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionRecord {
    /// Whose it is.
    pub unit: String,
    /// `PathExists=/there`, as it is in the unit's file.
    pub text: String,
}

/// Everything an earlier manager left.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The engine's.
    pub records: Vec<Record>,
    /// The helpers'.
    pub helpers: Vec<HelperRecord>,
    /// Listening descriptors of units for others.
    pub offers: Vec<Sockets>,
    /// The boot's; `None`: no manager got as far as beginning it.
    pub boot: Option<BootRecord>,
    /// Conditions that kept units from starting.
    pub conditions: Vec<ConditionRecord>,
    /// Records that could not be read, and damaged places in the store.
    pub unreadable: usize,
    /// Our crashes, and what is in quarantine.
    pub crashes: Crashes,
    /// Units that run, or may, although nothing is recorded of them.
    pub adopted: Vec<UnitName>,
    /// Records of another version than ours.
    pub foreign: usize,
    /// The last upgrade.
    pub upgrade: UpgradeRecord,
}

/// The store and what is written to it.
#[derive(Debug)]
pub struct Persist {
    store: Store,
    damaged: usize,
}

/// 64-bit FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn refused(error: StoreError) -> io::Error {
    io::Error::other(error.to_string())
}

fn encode<T: Serialize>(record: &T) -> io::Result<Vec<u8>> {
    let mut bytes =
        units::wire::to_bytes(record).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if let Some(more) = units::fault::number("SYSMASTER_APPENDED") {
        bytes.resize(bytes.len() + more as usize, 0xa5);
    }
    Ok(bytes)
}

impl Persist {
    /// A new store. `fallback` is where a file takes the place of a memory file.
    pub fn create(fallback: &Path) -> io::Result<Self> {
        let memory = Memory::create(c"sysmaster-state", INITIAL, fallback)?;
        let store = Store::create(memory, LARGEST).map_err(refused)?;
        Ok(Self { store, damaged: 0 })
    }

    /// The store an earlier manager left.
    pub fn open(memory: Memory) -> io::Result<Self> {
        let (store, found) = Store::recover(memory, LARGEST).map_err(refused)?;
        Ok(Self {
            store,
            damaged: found.damaged + usize::from(found.reset),
        })
    }

    /// A descriptor for init to keep.
    pub fn duplicate(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.store.memory().duplicate()
    }

    /// Reads everything.
    pub fn recover(&mut self) -> Recovered {
        let mut bad = Vec::new();
        let mut found = Recovered {
            unreadable: self.damaged,
            ..Recovered::default()
        };
        for entry in self.store.records() {
            if entry.version != PAYLOAD {
                found.foreign += 1;
                continue;
            }
            let read = match entry.kind {
                kind::UNIT | kind::JOB | kind::ENGINE | kind::ATOMIC => {
                    entry.read().map(|record| found.records.push(record))
                }
                kind::HELPER => entry.read().map(|record| found.helpers.push(record)),
                kind::OFFER => entry.read().map(|record| found.offers.push(record)),
                kind::CONDITION => entry.read().map(|record| found.conditions.push(record)),
                kind::CRASH => entry.read().map(|record| found.crashes.list.push(record)),
                kind::QUARANTINE => entry.read().map(|list| found.crashes.quarantine = list),
                kind::BOOT => entry.read().map(|record| found.boot = Some(record)),
                kind::UPGRADE => entry.read().map(|record| found.upgrade = record),
                _ => Some(()),
            };
            if read.is_none() {
                bad.push((entry.kind, entry.key));
            }
        }
        found.crashes.list.sort_by_key(|crash| crash.number);
        found.unreadable += bad.len();
        for (kind, key) in bad {
            self.store.delete(kind, key);
        }
        found
    }

    fn put(&mut self, kind: u16, key: u64, payload: &[u8]) -> io::Result<()> {
        self.store
            .put(kind, PAYLOAD, key, payload)
            .map_err(refused)?;
        units::fault::point("after-record");
        Ok(())
    }

    /// Stores a record of the engine.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        if units::fault::without("records") {
            return Ok(());
        }
        let (kind, key) = match record {
            Record::Unit(unit) => (kind::UNIT, hash(unit.name.as_str())),
            Record::Job(job) => (kind::JOB, u64::from(job.id.0)),
            Record::Engine(_) => (kind::ENGINE, 0),
            Record::Atomic(atomic) => (kind::ATOMIC, u64::from(atomic.transaction)),
        };
        self.put(kind, key, &encode(record)?)
    }

    /// Removes a unit's record, and what explains it.
    pub fn forget_unit(&mut self, name: &str) {
        self.store.delete(kind::UNIT, hash(name));
        self.store.delete(kind::CONDITION, hash(name));
    }

    /// Stores the condition that keeps a unit from starting. None does if `text` is empty.
    pub fn condition(&mut self, unit: &str, text: &str) -> io::Result<()> {
        let key = hash(unit);
        if text.is_empty() {
            self.store.delete(kind::CONDITION, key);
            return Ok(());
        }
        let (unit, text) = (unit.into(), text.into());
        self.put(
            kind::CONDITION,
            key,
            &encode(&ConditionRecord { unit, text })?,
        )
    }

    /// Removes a job's record.
    pub fn forget_job(&mut self, job: JobId) {
        self.store.delete(kind::JOB, u64::from(job.0));
    }

    /// Whether a transaction of some size would find room.
    pub fn has_room(&mut self) -> io::Result<()> {
        const PROBE: u16 = u16::MAX;
        let probed = self.put(PROBE, 0, &[0; 4096]);
        self.store.delete(PROBE, 0);
        probed
    }

    /// Removes an atomic start's record.
    pub fn forget_atomic(&mut self, transaction: u32) {
        self.store.delete(kind::ATOMIC, u64::from(transaction));
    }

    /// Stores which process is the helper of a type.
    pub fn helper(&mut self, unit_type: &str, proc: ProcId) -> io::Result<()> {
        let record = HelperRecord {
            unit_type: unit_type.into(),
            proc,
        };
        self.put(kind::HELPER, hash(unit_type), &encode(&record)?)
    }

    /// Stores the report of a crash in this place.
    pub fn crash(&mut self, crash: &CrashRecord, place: u64) -> io::Result<()> {
        self.put(kind::CRASH, place, &encode(crash)?)
    }

    /// Stores what is not done any more.
    pub fn quarantine(&mut self, list: &[(u32, String)]) -> io::Result<()> {
        self.put(kind::QUARANTINE, 0, &encode(&list)?)
    }

    /// See [`Store::begin`].
    pub fn begin(&self, step: u32, with: &str) {
        self.store.begin(step, with);
    }

    /// See [`Store::end`].
    pub fn end(&self) {
        self.store.end();
    }

    /// See [`Store::in_flight`].
    pub fn in_flight(&self) -> Option<(u32, String)> {
        self.store.in_flight()
    }

    /// Stores which listening descriptors a unit has for another.
    pub fn offer(&mut self, offer: &Sockets) -> io::Result<()> {
        let key = hash(&offer.from);
        if offer.count == 0 {
            self.store.delete(kind::OFFER, key);
            return Ok(());
        }
        self.put(kind::OFFER, key, &encode(offer)?)
    }

    /// Stores how far an upgrade is.
    pub fn upgrade(&mut self, record: &UpgradeRecord) -> io::Result<()> {
        self.put(kind::UPGRADE, 0, &encode(record)?)
    }

    /// Stores how far the boot is.
    pub fn boot(&mut self, record: &BootRecord) -> io::Result<()> {
        self.put(kind::BOOT, 0, &encode(record)?)
    }
}

/// For tests of what happens when there is no room, or a later version was here.
#[cfg(test)]
impl Persist {
    const FILLING: u16 = 999;

    /// Stores until nothing more fits; how many records that were.
    pub fn fill(&mut self) -> u64 {
        let mut count = 0;
        for size in [100_000, 2_000, 8] {
            while self.put(Self::FILLING, count, &vec![1; size]).is_ok() {
                count += 1;
            }
        }
        count
    }

    /// Removes what filled it.
    pub fn drain(&mut self) {
        let keys: Vec<u64> = self
            .store
            .records_of(Self::FILLING)
            .map(|r| r.key)
            .collect();
        for key in keys {
            self.store.delete(Self::FILLING, key);
        }
    }

    /// A unit's record as a later version may write it.
    pub fn put_foreign(&mut self) {
        let put = self
            .store
            .put(kind::UNIT, PAYLOAD + 1, 1, b"something else");
        assert!(put.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::api::{EngineRecord, JobRecord};
    use units::state::JobVerb;

    fn reopened(persist: &Persist) -> Recovered {
        let memory = Memory::from_fd(persist.duplicate().unwrap()).unwrap();
        Persist::open(memory).unwrap().recover()
    }

    fn job(id: u32) -> Record {
        Record::Job(JobRecord {
            id: JobId(id),
            unit: units::name::UnitName::new(&format!("u{id}.service")).unwrap(),
            verb: JobVerb::Start,
            running: false,
            irreversible: false,
            ignore_order: false,
            since: 1,
            transaction: 1,
            seq: 0,
            was: None,
            cause: Default::default(),
            deadline: None,
        })
    }

    #[test]
    fn what_is_stored_is_found_by_the_next_manager() {
        let mut persist = Persist::create(Path::new("/tmp")).unwrap();
        let proc = ProcId { pid: 7, start: 8 };
        let boot = BootRecord {
            target: "a.target".into(),
            started: 5,
            ..BootRecord::default()
        };
        persist.record(&job(1)).unwrap();
        persist.record(&job(2)).unwrap();
        persist.forget_job(JobId(1));
        persist
            .record(&Record::Engine(EngineRecord {
                last_job: 2,
                ..Default::default()
            }))
            .unwrap();
        persist
            .helper("service", ProcId { pid: 1, start: 1 })
            .unwrap();
        persist.helper("service", proc).unwrap();
        persist.boot(&boot).unwrap();
        let found = reopened(&persist);
        assert_eq!(found.boot, Some(boot));
        assert_eq!(
            found.helpers,
            [HelperRecord {
                unit_type: "service".into(),
                proc
            }]
        );
        assert_eq!(found.records.len(), 2);
        assert!(found.records.contains(&job(2)));
        assert_eq!(found.unreadable, 0);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let mut persist = Persist::create(Path::new("/tmp")).unwrap();
        persist.put(kind::UNIT, 1, &[0xff; 9]).unwrap();
        persist.put(999, 1, &[0xff; 9]).unwrap();
        persist.record(&job(3)).unwrap();
        let found = reopened(&persist);
        assert_eq!((found.records, found.unreadable), (vec![job(3)], 1));
    }

    #[test]
    fn it_grows() {
        let mut persist = Persist::create(Path::new("/tmp")).unwrap();
        for id in 1..=5000 {
            persist.record(&job(id)).unwrap();
        }
        assert_eq!(reopened(&persist).records.len(), 5000);
    }
}

//! All services, and how one is found: by its number, its name, a process of its, the time it wants to be looked at.

use crate::machine::Effect;
use crate::policy::{NEVER, Policy};
use crate::service::Service;
use crate::spawn::Surroundings;
use std::path::{Path, PathBuf};
use units::collections::{Map, Set};
use units::state::{Micros, ProcId};
use units::wire::helper::HelperConfig;

/// What a watched descriptor is, and of which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The pipe that closes at exec.
    Pipe(u32),
    /// The notify socket.
    Notify(u32),
    /// What tells the end of the last process.
    Last(u32),
    /// A deposit, and its number.
    Deposit(u32, u16),
}

impl Token {
    /// As a number for the poller.
    pub(crate) fn number(self) -> u64 {
        let (kind, at) = match self {
            Self::Pipe(at) => (1, at),
            Self::Notify(at) => (2, at),
            Self::Last(at) => (3, at),
            Self::Deposit(at, number) => (4 + u64::from(number), at),
        };
        kind << 32 | u64::from(at)
    }

    /// What a number of the poller is.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        let at = number as u32;
        match number >> 32 {
            1 => Some(Self::Pipe(at)),
            2 => Some(Self::Notify(at)),
            3 => Some(Self::Last(at)),
            other => Some(Self::Deposit(
                at,
                u16::try_from(other.checked_sub(4)?).ok()?,
            )),
        }
    }
}

/// All services.
#[derive(Debug, Default)]
pub struct Services {
    pub(crate) list: Vec<Option<Box<Service>>>,
    /// Where each is in the list.
    names: Map<Box<str>, u32>,
    /// Which service the main and control processes belong to; an entry may be out of date.
    pids: Map<u32, u32>,
    /// When each wants to be looked at, soonest first; one that wants nothing is not here.
    times: Set<(Micros, u32)>,
    pub(crate) shared: Surroundings,
    /// Mount point of the control groups.
    pub(crate) mount: PathBuf,
    pub(crate) settings: HelperConfig,
    /// Rules for a unit whose configuration is not known any more.
    pub(crate) fallback: Policy,
    pub(crate) effects: Vec<Effect>,
    /// Notify sockets that init was asked to keep or to give back, by the hash in their label, and whose they are.
    /// It answers in this order.
    pub(crate) asked: Vec<([u8; 16], u32)>,
    /// The journal of the predecessor has been taken over.
    pub(crate) adopted: bool,
    /// Exits that came before that.
    pub(crate) early: Vec<(ProcId, i32)>,
}

impl Services {
    /// None yet. The notify sockets will be in this directory, normally `/run/sysmaster/notify`.
    pub fn new(notify: &Path) -> Self {
        let shared = Surroundings {
            notify: notify.into(),
            ..Surroundings::default()
        };
        Self {
            shared,
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, at: u32) -> Option<&Service> {
        self.list.get(at as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut Service> {
        self.list.get_mut(at as usize)?.as_deref_mut()
    }

    pub(crate) fn find(&self, mut what: impl FnMut(&Service) -> bool) -> Option<u32> {
        let found = self
            .list
            .iter()
            .position(|service| service.as_deref().is_some_and(&mut what));
        found.map(|at| at as u32)
    }

    pub(crate) fn by_name(&self, unit: &str) -> Option<u32> {
        self.names.get(unit).copied()
    }

    /// Brings the indices up to date after a service has changed.
    pub(crate) fn index(&mut self, at: u32) {
        let Self {
            list, pids, times, ..
        } = self;
        let Some(service) = list.get_mut(at as usize).and_then(Option::as_mut) else {
            return;
        };
        let now = [service.run.main, service.run.control].map(|proc| proc.map_or(0, |p| p.pid));
        if service.known_pids != now {
            for gone in service.known_pids.iter().filter(|pid| !now.contains(pid)) {
                pids.remove(gone);
            }
            for new in now.iter().filter(|pid| **pid != 0) {
                pids.insert(*new, at);
            }
            service.known_pids = now;
        }
        let next = service.next_deadline();
        if service.known_deadline != Some(next) {
            times.remove(&(service.known_deadline.unwrap_or(NEVER), at));
            if next != NEVER {
                times.insert((next, at));
            }
            service.known_deadline = Some(next);
        }
    }

    /// The number of a unit, which is made if need be.
    pub(crate) fn entry(&mut self, unit: &str) -> u32 {
        if let Some(at) = self.by_name(unit) {
            return at;
        }
        let free = self
            .list
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.list.len());
        let service = Some(Box::new(Service::new(unit)));
        match self.list.get_mut(free) {
            Some(place) => *place = service,
            None => self.list.push(service),
        }
        self.names.insert(unit.into(), free as u32);
        free as u32
    }

    pub(crate) fn numbers(&self) -> Vec<u32> {
        let all = (0u32..).zip(&self.list);
        all.filter(|(_, service)| service.is_some())
            .map(|(at, _)| at)
            .collect()
    }

    /// Forgets a unit; its number is free for another.
    pub(crate) fn remove(&mut self, at: u32) {
        let Some(service) = self.list.get_mut(at as usize).and_then(Option::take) else {
            return;
        };
        self.names.remove(service.run.unit.as_str());
        self.times.retain(|(_, other)| *other != at);
    }

    /// Which service this process was last seen with.
    pub(crate) fn by_pid(&self, pid: u32) -> Option<u32> {
        self.pids.get(&pid).copied()
    }

    /// Who wanted to be looked at by now.
    pub(crate) fn due_by(&self, now: Micros) -> Vec<u32> {
        let due = self.times.iter().take_while(|(when, _)| *when <= now);
        due.map(|(_, at)| *at).collect()
    }

    /// When the first of them wants to be looked at.
    pub(crate) fn first_time(&self) -> Option<Micros> {
        self.times.first().map(|(when, _)| *when)
    }
}

//! One service in the helper: its record, its configuration and what is open for it.

use crate::config::Config;
use crate::descriptors::{Deposit, Listening};
use crate::machine::Machine;
use crate::policy::NEVER;
use crate::run::{At, Role, Run};
use platform::cgroup::{self, Group};
use platform::process::{self, Held};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use units::journal::SlotId;
use units::state::{Micros, ProcId, Report};
use units::wire::helper::{About, Label, Sockets};

/// How it stands with the notify socket.
#[derive(Debug, Default)]
pub enum Socket {
    /// There is none.
    #[default]
    None,
    /// init was asked to keep it, or to give it back.
    Asked(Option<OwnedFd>),
    /// In init's keeping and read by us.
    Open(OwnedFd),
}

/// What tells that the last process of a unit has gone.
#[derive(Debug)]
pub enum Last {
    /// `cgroup.events`.
    Group(OwnedFd),
    /// One of the processes that are left; when it ends the others are looked at anew.
    Process(Held),
    /// Nothing tells: looked at again then.
    Poll(Micros),
}

/// A service.
#[derive(Debug, Default)]
pub struct Service {
    /// What is remembered.
    pub run: Run,
    /// Last good configuration.
    pub config: Option<Box<Config>>,
    /// Why it cannot be started, if the last configuration was not good.
    pub broken: Option<Box<str>>,
    /// What was said about the next command.
    pub about: Option<About>,
    /// The stop under way is the first half of a restart.
    pub restarting: bool,
    /// `MONITOR_…`: how the unit ended whose end started this one.
    pub monitor: Vec<String>,
    /// Whether the manager knows it.
    pub loaded: bool,
    /// When it last patted its watchdog.
    pub pat: Micros,
    /// Proven empty, and nothing was forked since.
    pub empty: bool,
    /// Tells the end of the last process, while that is awaited.
    pub last: Option<Last>,
    /// Notify socket.
    pub socket: Socket,
    /// Reading end of the pipe that closes when the main process executes its program.
    pub pipe: Option<OwnedFd>,
    /// Slots of the main and the control process.
    pub slots: [Option<SlotId>; 2],
    /// When to look for the PID file again, and after how long the next time.
    pub look: Option<(Micros, Micros)>,
    /// When an adopted process that is gone will be taken for lost.
    pub lost_at: [Option<Micros>; 2],
    /// When it was last complained about its notifications.
    pub complained: Option<Micros>,
    /// What socket units listen on for it, by their names.
    pub offers: Vec<Sockets>,
    /// The same while a start waits for it, in the same order.
    pub listening: Vec<Listening>,
    /// Answers still to come for what an earlier start asked for: it may be out of date.
    pub stale: Vec<Label>,
    /// The fork that waits for descriptors.
    pub waiting: Option<(Role, At, bool)>,
    /// What it has deposited, by number.
    pub deposits: Vec<Deposit>,
    /// What came with the first datagram in its notify socket is on its way to init: the datagram stays
    /// there, and the next are not read, until init has answered.
    pub held: bool,
    /// The process numbers under which it is indexed; 0 is none.
    pub known_pids: [u32; 2],
    /// The deadline under which it is indexed.
    pub known_deadline: Option<Micros>,
}

impl Service {
    /// One of which nothing is known.
    pub fn new(unit: &str) -> Self {
        Self {
            run: Run::new(unit),
            ..Self::default()
        }
    }

    /// The process in a role.
    pub fn proc(&self, role: Role) -> Option<ProcId> {
        match role {
            Role::Main => self.run.main,
            Role::Control => self.run.control,
        }
    }

    /// The slot of the process in a role.
    pub fn slot(&mut self, role: Role) -> &mut Option<SlotId> {
        let [main, control] = &mut self.slots;
        match role {
            Role::Main => main,
            Role::Control => control,
        }
    }

    /// When the process in a role will be taken for lost.
    pub fn lost(&mut self, role: Role) -> &mut Option<Micros> {
        let [main, control] = &mut self.lost_at;
        match role {
            Role::Main => main,
            Role::Control => control,
        }
    }

    /// The path of its control group, if there are any.
    pub fn group_path(&self, root: Option<&Path>) -> Option<PathBuf> {
        let below = match self.run.cgroup.as_str() {
            "" => self.config.as_ref().map(|config| &*config.cgroup)?,
            below => below,
        };
        root.filter(|_| !below.is_empty())
            .map(|root| root.join(below))
    }

    /// What the manager is told.
    pub fn report(&self) -> Report {
        let run = &self.run;
        Report {
            unit: run.unit.clone(),
            invocation: run.invocation,
            seq: run.seq,
            outcome: run.outcome,
            active: run.state.active(),
            sub: run.state.as_str().into(),
            result: run.why.as_str().into(),
            detail: run.detail.clone(),
            status: run.status.clone(),
            main: run.main,
            control: run.control,
            exit: run.main_exit,
            since: run.since,
            deadline: Some(run.deadline).filter(|deadline| *deadline != NEVER),
            restart: run.wish,
            can_reload: self
                .config
                .as_ref()
                .is_some_and(|config| config.policy.can_reload()),
        }
    }

    /// When something is to be done for it, if nothing happens before.
    pub fn next_deadline(&self) -> Micros {
        let mut next = match &self.config {
            Some(config) => Machine::next_deadline(&self.run, &config.policy, self.pat),
            None => self.run.deadline,
        };
        if let Some((look, _)) = self.look {
            next = next.min(look);
        }
        if let Some(Last::Poll(at)) = self.last {
            next = next.min(at);
        }
        self.lost_at
            .iter()
            .flatten()
            .fold(next, |next, at| next.min(*at))
    }

    /// When its watchdog is up, if it is not patted again.
    pub fn watchdog_end(&self) -> Micros {
        self.config.as_ref().map_or(NEVER, |config| {
            Machine::watchdog_deadline(&self.run, &config.policy, self.pat)
        })
    }

    /// The living processes of the unit, main and control process included.
    pub fn members(&self, root: Option<&Path>) -> Vec<ProcId> {
        match self.group_path(root) {
            Some(path) => Group::open(&path)
                .and_then(|group| group.all_members())
                .unwrap_or_default()
                .into_iter()
                .map(ProcId::from)
                .collect(),
            None if self.run.sessions.is_empty() => Vec::new(),
            None => process::find(|_, status| self.run.sessions.contains(&status.session))
                .into_iter()
                .map(ProcId::from)
                .collect(),
        }
    }

    /// Whether a process runs in the unit at all.
    pub fn is_populated(&self, root: Option<&Path>) -> bool {
        match self.group_path(root) {
            Some(path) => Group::open(&path)
                .and_then(|group| group.is_populated())
                .unwrap_or(false),
            None => !self.members(root).is_empty(),
        }
    }

    /// Whether this process belongs to the unit.
    pub fn owns(&self, root: Option<&Path>, mount: &Path, pid: u32) -> bool {
        if [self.run.main, self.run.control]
            .iter()
            .flatten()
            .any(|proc| proc.pid == pid)
        {
            return true;
        }
        match self.group_path(root) {
            Some(path) => Group::open(&path).is_ok_and(|group| group.contains(mount, pid)),
            None => process::status(pid)
                .is_some_and(|status| self.run.sessions.contains(&status.session)),
        }
    }

    /// Sends a signal to every process of the unit but the main and the control process.
    /// Returns whether there was one.
    pub fn signal_rest(&self, root: Option<&Path>, numbers: &[i32]) -> bool {
        let named = [self.run.main, self.run.control];
        let mut any = false;
        for proc in self.members(root) {
            if named.iter().flatten().any(|one| one.pid == proc.pid) {
                continue;
            }
            for number in numbers {
                any |= process::kill(proc.into(), *number).is_ok();
            }
        }
        any
    }

    /// Kills everything in the control group in one step, whatever it does meanwhile.
    pub fn kill_group(&self, root: Option<&Path>) -> Option<bool> {
        let path = self.group_path(root)?;
        let group = Group::open(&path).ok()?;
        let populated = group.is_populated().unwrap_or(false);
        if populated {
            group.kill().ok()?;
        }
        Some(populated)
    }

    /// Removes the control group; with processes left in it, it stays.
    pub fn remove_group(&self, root: Option<&Path>) {
        if let Some(path) = self.group_path(root) {
            let _ = cgroup::remove(&path);
        }
    }
}

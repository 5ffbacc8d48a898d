//! Plays the manager and init for one helper, over either transport.

use platform::poll::{Event, Interest, Poller};
use platform::{clock, process, socket};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use unit_service::Services;
use units::runtime::Settings;
use units::runtime::in_process::InProcess;
use units::state::{ActiveState, Invocation, Outcome, ProcId, Report};
use units::wire::helper::{
    Command, Finding, FromHelper, HelperConfig, Label, RawEntry, ToHelper, UnitSource, Verb,
};
use units::wire::{MAX_FRAME, VERSION, decode, encode};

/// How the helper is reached.
enum Link {
    None,
    Here(Box<InProcess>),
    Process { child: u32, stream: OwnedFd },
}

/// Which transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Here,
    Process,
}

const LINK: u64 = 1 << 60;

pub struct Rig {
    transport: Transport,
    pub directory: PathBuf,
    poller: Poller,
    link: Link,
    listener: Option<OwnedFd>,
    kept: BTreeMap<Label, OwnedFd>,
    sources: BTreeMap<String, UnitSource>,
    pub reports: BTreeMap<String, Report>,
    /// Every report in its order.
    pub history: Vec<Report>,
    pub findings: Vec<Finding>,
    pub logs: Vec<String>,
    /// Exits that no helper has taken.
    pub exits: Vec<(ProcId, i32)>,
    synced: bool,
    seq: u64,
    epoch: u64,
    group: String,
    /// Variables for a helper process.
    pub fault: Option<String>,
    /// init takes nothing more of what services deposit.
    pub full: bool,
}

/// Kind of what services deposit.
const SERVICE: u16 = 6;

impl Rig {
    /// `groups`: use control groups, if there are any.
    pub fn new(transport: Transport, groups: bool) -> Self {
        let directory =
            std::env::temp_dir().join(format!("service-{:x}", platform::random::bits128() as u64));
        std::fs::create_dir_all(&directory).unwrap();
        let group = match platform::cgroup::detect().filter(|_| groups) {
            Some(found) => {
                let path = found.own.join(directory.file_name().unwrap());
                match std::fs::create_dir(&path) {
                    Ok(()) => path.to_str().unwrap().to_owned(),
                    Err(_) => String::new(),
                }
            }
            None => String::new(),
        };
        let mut rig = Self {
            transport,
            directory,
            poller: Poller::new(&[]).unwrap(),
            link: Link::None,
            listener: None,
            kept: BTreeMap::new(),
            sources: BTreeMap::new(),
            reports: BTreeMap::new(),
            history: Vec::new(),
            findings: Vec::new(),
            logs: Vec::new(),
            exits: Vec::new(),
            synced: false,
            seq: 0,
            epoch: 1,
            group,
            fault: None,
            full: false,
        };
        if transport == Transport::Process {
            let path = rig.directory.join("helper");
            rig.listener = Some(socket::listen(&path, 0o600, 8).unwrap());
        }
        rig
    }

    /// How the helper is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    /// Loads a unit; `@D` stands for the rig's directory.
    pub fn load(&mut self, unit: &str, text: &str) {
        let text = text.replace("@D", self.directory.to_str().unwrap());
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if let Some((key, value)) = line.trim().split_once('=') {
                entries.push(RawEntry {
                    section: "Service".into(),
                    key: key.into(),
                    value: value.into(),
                    file: 0,
                    line: at as u32 + 1,
                });
            }
        }
        let source = UnitSource {
            unit: unit.into(),
            files: vec![format!("/test/{unit}")],
            entries,
            description: String::new(),
            cgroup: unit.into(),
        };
        self.sources.insert(unit.into(), source.clone());
        if self.synced {
            self.send(ToHelper::Load(source), None);
        }
    }

    /// Starts a helper and brings it up to `Synced`.
    pub fn helper(&mut self) {
        self.begin();
        self.until("the helper is in sync", |rig| rig.synced);
    }

    /// Starts a helper.
    pub fn begin(&mut self) {
        let notify = self.directory.join("notify");
        match self.transport {
            Transport::Here => {
                let settings = Settings {
                    fallback: self.directory.clone(),
                    ..Settings::new("test")
                };
                let mut here = InProcess::new(Box::new(Services::new(&notify)), settings);
                let hello = here.connect();
                self.link = Link::Here(Box::new(here));
                self.hear(hello, None);
            }
            Transport::Process => {
                let mut command = std::process::Command::new(std::env::current_exe().unwrap());
                command.env("RIG_HELPER", &self.directory);
                if let Some(fault) = &self.fault {
                    command.env("SYSMASTER_FAULT", format!("{fault}:kill"));
                    std::fs::write(self.directory.join("once"), "").unwrap();
                    command.env("SYSMASTER_FAULT_ONCE", self.directory.join("once"));
                }
                let child = command.spawn().unwrap().id();
                let stream = self.accept();
                self.poller.add(&stream, LINK, Interest::READ).unwrap();
                self.link = Link::Process { child, stream };
            }
        }
    }

    /// The helper's connection.
    fn accept(&self) -> OwnedFd {
        let listener = self.listener.as_ref().unwrap();
        loop {
            if let Some(stream) = socket::accept(listener).unwrap() {
                return stream;
            }
            let mut poller = Poller::new(&[]).unwrap();
            poller.add(listener, 1, Interest::READ).unwrap();
            poller
                .wait(Some(clock::now() + 100_000), &mut Vec::new())
                .unwrap();
        }
    }

    /// The manager is away for so long, and then there is another.
    pub fn manager_away(&mut self, span: std::time::Duration) {
        self.synced = false;
        match std::mem::replace(&mut self.link, Link::None) {
            Link::None => {}
            Link::Here(mut here) => {
                here.disconnect();
                std::thread::sleep(span);
                here.tick(&self.poller);
                let hello = here.connect();
                self.link = Link::Here(here);
                self.hear(hello, None);
            }
            Link::Process { child, stream } => {
                self.poller.remove(&stream).unwrap();
                drop(stream);
                std::thread::sleep(span);
                let stream = self.accept();
                self.poller.add(&stream, LINK, Interest::READ).unwrap();
                self.link = Link::Process { child, stream };
            }
        }
        self.until("the helper is in sync", |rig| rig.synced);
    }

    fn hear(&mut self, frame: FromHelper, fd: Option<OwnedFd>) {
        match frame {
            FromHelper::Hello { adopted, .. } => self.welcome(adopted),
            FromHelper::Report(report) => {
                self.history.push(report.clone());
                self.reports.insert(report.unit.clone(), report);
            }
            FromHelper::Loaded { findings, .. } => self.findings.extend(findings),
            FromHelper::Synced => {
                self.synced = true;
                for (proc, status) in std::mem::take(&mut self.exits) {
                    self.send(ToHelper::Exited { proc, status }, None);
                }
            }
            FromHelper::Keep { label } if self.full && label.kind == SERVICE => {
                let reason = "init has no room left".into();
                self.send(ToHelper::NotKept { label, reason }, None);
            }
            FromHelper::Keep { label } => {
                self.kept
                    .insert(label, fd.expect("a descriptor beside Keep"));
                self.send(ToHelper::Kept { label }, None);
            }
            FromHelper::Drop { label } => {
                self.kept.remove(&label);
            }
            FromHelper::Fetch { label } => self.give(label),
            FromHelper::Log { text, unit, .. } => self.logs.push(format!("{unit}: {text}")),
            _ => {}
        }
    }

    fn give(&mut self, label: Label) {
        match self.kept.get(&label).map(|fd| fd.try_clone().unwrap()) {
            Some(fd) => self.send(ToHelper::Fd { label }, Some(fd)),
            None => self.send(ToHelper::NotFound { label }, None),
        }
    }

    fn welcome(&mut self, adopted: bool) {
        self.epoch += 1;
        let config = HelperConfig {
            timeout_start: 10_000_000,
            timeout_stop: 10_000_000,
            restart_delay: 100_000,
            environment: vec!["FROM_MANAGER=1".into()],
            cgroup_root: self.group.clone(),
            ..HelperConfig::default()
        };
        let (version, build, epoch) = (VERSION, "test".into(), self.epoch);
        self.send(
            ToHelper::Welcome {
                version,
                build,
                epoch,
                config,
            },
            None,
        );
        let hash = units::runtime::hash128(b"service");
        let memories = [units::runtime::kind::JOURNAL, units::runtime::kind::SLOTS];
        for kind in memories.into_iter().filter(|_| !adopted) {
            self.give(Label {
                kind,
                hash,
                index: 0,
            });
        }
        for source in self.sources.values().cloned().collect::<Vec<_>>() {
            self.send(ToHelper::Load(source), None);
        }
        self.send(ToHelper::Sync, None);
    }

    pub fn send(&mut self, message: ToHelper, fd: Option<OwnedFd>) {
        match &mut self.link {
            Link::None => {}
            Link::Here(here) => {
                assert!(here.send(message, fd, &self.poller));
            }
            Link::Process { stream, .. } => {
                let bytes = encode(&message).unwrap();
                let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
                // It may have been killed meanwhile.
                let _ = socket::send(stream, &bytes, &fds);
            }
        }
        self.listen();
    }

    fn listen(&mut self) {
        while let Link::Here(here) = &mut self.link {
            let Some((frame, fd)) = here.take().unwrap() else {
                return;
            };
            self.hear(frame, fd);
        }
    }

    /// Goes on for as long as it takes for this to become true.
    pub fn until(&mut self, what: &str, done: impl FnMut(&Rig) -> bool) {
        assert!(
            self.within(20_000_000, done),
            "{what}: {:#?} {:#?}",
            self.history,
            self.logs
        );
    }

    /// The same, for at most so many microseconds.
    pub fn within(&mut self, span: u64, mut done: impl FnMut(&Rig) -> bool) -> bool {
        let end = clock::now() + span;
        loop {
            self.listen();
            if done(self) {
                return true;
            }
            if clock::now() >= end {
                return false;
            }
            self.turn(end);
        }
    }

    fn turn(&mut self, end: u64) {
        let mut deadline = end.min(clock::now() + 100_000);
        if let Link::Here(here) = &self.link {
            deadline = deadline.min(here.deadline().unwrap_or(end));
        }
        let mut events = Vec::new();
        self.poller.wait(Some(deadline), &mut events).unwrap();
        self.reap();
        for event in events {
            match event {
                Event::Ready(ready) if ready.token == LINK => self.receive(),
                Event::Ready(ready) => {
                    if let Link::Here(here) = &mut self.link {
                        here.ready(ready, &self.poller);
                    }
                }
                _ => {}
            }
        }
        if let Link::Here(here) = &mut self.link {
            here.tick(&self.poller);
        }
    }

    /// Reaps as the helper does for its own, or as init does for orphans.
    fn reap(&mut self) {
        while let Some(exit) = process::peek_exit().unwrap() {
            match &mut self.link {
                Link::Here(here) => here.exited(exit, &self.poller),
                Link::Process { child, .. } if *child == exit.proc.pid => {
                    self.link = Link::None;
                    self.synced = false;
                }
                _ => {
                    let proc = exit.proc.into();
                    self.exits.push((proc, exit.status));
                    if self.synced {
                        for (proc, status) in std::mem::take(&mut self.exits) {
                            self.send(ToHelper::Exited { proc, status }, None);
                        }
                    }
                }
            }
            process::reap(exit.proc.pid).unwrap();
        }
    }

    fn receive(&mut self) {
        let mut buffer = vec![0u8; MAX_FRAME];
        while let Link::Process { stream, .. } = &self.link {
            match socket::receive(stream, &mut buffer) {
                Ok(Some(mut got)) if got.length > 0 => {
                    let frame = decode(&buffer[..got.length]).unwrap();
                    self.hear(frame, got.fds.pop());
                }
                Ok(None) => return,
                _ => {
                    self.poller.remove(stream).unwrap();
                    self.reap();
                    return;
                }
            }
        }
    }

    /// Whether a helper runs.
    pub fn has_helper(&self) -> bool {
        !matches!(self.link, Link::None)
    }

    /// The helper is killed with SIGKILL.
    pub fn kill_helper(&mut self) {
        if let Link::Process { child, .. } = &self.link {
            process::kill_child(*child, platform::signal::SIGKILL).unwrap();
            self.until("the helper is dead", |rig| !rig.has_helper());
        }
        self.link = Link::None;
        self.synced = false;
    }

    /// The helper and this process stand still for so long, as if the whole machine did.
    pub fn stand_still(&mut self, process: u32, span: std::time::Duration) {
        let helper = match &self.link {
            Link::Process { child, .. } => Some(*child),
            _ => None,
        };
        let all = |signal| {
            for one in [Some(process), helper].into_iter().flatten() {
                process::kill_child(one, signal).unwrap();
            }
        };
        all(platform::signal::SIGSTOP);
        std::thread::sleep(span);
        all(platform::signal::SIGCONT);
    }

    pub fn command(&mut self, unit: &str, verb: Verb) -> u64 {
        self.seq += 1;
        let seq = (self.epoch << 32) | self.seq;
        let invocation = match verb {
            Verb::Start => Invocation(u128::from(seq)),
            _ => self
                .reports
                .get(unit)
                .map(|report| report.invocation)
                .unwrap_or_default(),
        };
        let command = Command {
            unit: unit.into(),
            invocation,
            seq,
            verb,
        };
        self.send(ToHelper::Command(command), None);
        seq
    }

    /// Starts a unit and waits for the outcome.
    pub fn start(&mut self, unit: &str) -> Outcome {
        let seq = self.command(unit, Verb::Start);
        self.outcome(unit, seq)
    }

    pub fn stop(&mut self, unit: &str) -> Outcome {
        let seq = self.command(unit, Verb::Stop);
        self.outcome(unit, seq)
    }

    pub fn outcome(&mut self, unit: &str, seq: u64) -> Outcome {
        self.until(&format!("{unit} answers"), |rig| {
            let report = rig.reports.get(unit);
            report.is_some_and(|r| r.seq == seq && r.outcome != Outcome::Pending)
        });
        self.reports[unit].outcome
    }

    /// How many descriptors of services init keeps.
    pub fn kept_services(&self) -> usize {
        self.kept
            .keys()
            .filter(|label| label.kind == SERVICE)
            .count()
    }

    pub fn active(&self, unit: &str) -> ActiveState {
        self.reports
            .get(unit)
            .map(|report| report.active)
            .unwrap_or_default()
    }

    pub fn is(&mut self, unit: &str, active: ActiveState) {
        self.until(&format!("{unit} is {}", active.as_str()), |rig| {
            rig.active(unit) == active
        });
    }

    /// A file has this content.
    pub fn reads(&mut self, name: &str, text: &str) {
        let what = format!("{name} reads {text:?}");
        let good = self.within(10_000_000, |rig| rig.read(name) == text);
        assert!(good, "{what}, found {:?} {:#?}", self.read(name), self.logs);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill_helper();
        if !self.group.is_empty() {
            let path = PathBuf::from(&self.group);
            if let Ok(group) = platform::cgroup::Group::open(&path) {
                let _ = group.kill();
                for _ in 0..100 {
                    if !group.is_populated().unwrap_or(false) {
                        break;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
            let _ = platform::cgroup::remove(&path);
        }
        for child in process::children_of(process::own_pid()) {
            let _ = process::kill(child, platform::signal::SIGKILL);
        }
        while !process::children_of(process::own_pid()).is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        while let Ok(Some(exit)) = process::peek_exit() {
            let _ = process::reap(exit.proc.pid);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

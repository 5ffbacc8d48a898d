//! The helper of type `service`: all services, and what comes from outside.
//!
//! Four things begin a turn: a frame of the manager, the end of a process, a ready descriptor, a
//! deadline. Each is brought to the one service that it concerns; its machine decides, and
//! [`crate::effects`] carries it out. Nothing here waits.
//!
//! The end of a child is written into its slot, then into the unit's record, and only then reaped.
//! A helper killed in between leaves a zombie to init, which reports it again; number and
//! start time tell that it is the same.

use crate::adopt::PATIENCE;
use crate::config;
use crate::effects::stop_waiting;
use crate::machine::{Effect, Event};
use crate::policy::{NEVER, Policy};
use crate::run::Role;
use crate::service::{Last, Service, of_platform};
use crate::spawn::{self, Surroundings};
use platform::poll::Ready;
use platform::{cgroup, process};
use std::path::{Path, PathBuf};
use units::collections::{Map, Set};
use units::fault;
use units::journal::Remembered;
use units::journal::SlotState;
use units::runtime::{Context, Message, UnitType};
use units::state::{Exit, Micros, Outcome, ProcId, Whom};
use units::wire::helper::{
    About, Command, END_UNKNOWN, FromHelper, HelperConfig, Severity, UnitSource, Verb,
};

/// Why a start is refused.
const FULL: &str = "the journal of the service helper is full, and what is started must be in it";

/// Who comes so late to a deadline was not there when it was due.
const LATE: Micros = 500_000;

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

    fn from_number(number: u64) -> Option<Self> {
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
    adopted: bool,
    /// Exits that came before that.
    early: Vec<(ProcId, i32)>,
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

    fn configure(&mut self, settings: &HelperConfig) {
        self.shared.environment.clone_from(&settings.environment);
        self.shared.score = platform::child::OomScore::own();
        self.shared.undo = spawn::undo(self.shared.score.as_ref());
        self.shared.root = match settings.cgroup_root.as_str() {
            "" => None,
            root => Some(root.into()),
        };
        if self.shared.root.is_some() {
            self.mount = cgroup::detect()
                .map(|found| found.mount)
                .unwrap_or_default();
        }
        self.settings = settings.clone();
    }

    fn load(&mut self, ctx: &mut Context<'_>, source: &UnitSource) {
        let reading = config::read(source, &self.settings);
        let bad = reading
            .findings
            .iter()
            .find(|found| found.severity == Severity::Error);
        let at = self.entry(&source.unit);
        let Some(service) = self.get_mut(at) else {
            return;
        };
        service.loaded = true;
        service.broken = bad.map(|found| {
            let file = source
                .files
                .get(usize::from(found.file))
                .map_or("", String::as_str);
            format!("{file}:{}: {}", found.line, found.text).into_boxed_str()
        });
        let can_reload = reading.config.policy.can_reload();
        // With errors, what runs goes on by its old configuration.
        if bad.is_none() || service.config.is_none() && service.run.state.is_down() {
            service.config = Some(Box::new(reading.config));
        }
        ctx.send(FromHelper::Loaded {
            unit: source.unit.clone(),
            findings: reading.findings,
            implied: reading.implied,
            can_reload,
        });
    }

    fn unload(&mut self, ctx: &mut Context<'_>, unit: &str) {
        let Some(at) = self.by_name(unit) else { return };
        if self
            .get(at)
            .is_some_and(|service| !service.run.state.is_down())
        {
            return;
        }
        self.drop_socket(ctx, at);
        self.drop_deposits(ctx, at, None);
        if let Some(service) = self.get_mut(at) {
            stop_waiting(service, ctx);
        }
        ctx.journal.forget(unit);
        self.names.remove(unit);
        self.times.retain(|(_, other)| *other != at);
        if let Some(place) = self.list.get_mut(at as usize) {
            *place = None;
        }
    }

    fn command(&mut self, ctx: &mut Context<'_>, command: &Command) {
        let at = self.entry(&command.unit);
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let (seq, invocation) = (command.seq, command.invocation);
        if let Verb::Kill { whom, signal } = command.verb {
            if seq > service.run.kill_seq {
                service.run.kill_seq = seq;
                self.record(ctx, at);
                self.kill(ctx, at, whom, signal);
            }
            return self.report(ctx, at);
        }
        if seq <= service.run.seq {
            return self.report(ctx, at);
        }
        let about = service.about.take().unwrap_or_default();
        service.restarting = about.restarting;
        match command.verb {
            Verb::Start => {
                self.monitor(at, &about);
                self.start(ctx, at, seq, invocation);
            }
            Verb::Stop => self.feed(ctx, at, Event::Stop { seq }),
            Verb::Reload => self.feed(ctx, at, Event::Reload { seq }),
            _ => self.feed(ctx, at, Event::ResetFailed { seq }),
        }
    }

    fn start(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        seq: u64,
        invocation: units::state::Invocation,
    ) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let down = service.run.state.is_down();
        let broken = match (&service.broken, &service.config) {
            (Some(why), _) => Some(why.to_string()),
            (None, None) => Some("the service helper was not told its configuration".into()),
            (None, Some(_)) => None,
        };
        if let Some(why) = broken.filter(|_| down) {
            return self.refuse(ctx, at, seq, invocation, why);
        }
        // What cannot be remembered must not be begun; what runs goes on.
        if down && ctx.journal.is_full() {
            self.record(ctx, at);
            if ctx.journal.is_full() {
                return self.refuse(ctx, at, seq, invocation, FULL.into());
            }
        }
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if down {
            let cgroup = service
                .config
                .as_ref()
                .map(|config| config.cgroup.to_string());
            service.run.cgroup = cgroup.unwrap_or_default();
        }
        self.feed(ctx, at, Event::Start { seq, invocation });
    }

    /// Something to know about a unit's next command. A unit that is up has had its start, from
    /// another helper process.
    fn about(&mut self, about: About) {
        let at = self.entry(&about.unit);
        let down = self.get(at).is_none_or(|s| s.run.state.is_down());
        if !down {
            self.monitor(at, &about);
        }
        if let Some(service) = self.get_mut(at) {
            service.about = Some(about);
        }
    }

    /// Notes how the unit ended whose end starts this one.
    fn monitor(&mut self, at: u32, about: &About) {
        let other = self.by_name(&about.triggered_by);
        let variables = other.and_then(|other| self.get(other)).map(spawn::monitor);
        if let Some(service) = self.get_mut(at) {
            service.monitor = variables.unwrap_or_default();
        }
    }

    /// A start that is not even begun.
    fn refuse(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        seq: u64,
        invocation: units::state::Invocation,
        why: String,
    ) {
        if let Some(service) = self.get_mut(at) {
            service.run.seq = seq;
            service.run.invocation = invocation;
            service.run.outcome = Outcome::Failed;
            service.run.detail = why;
        }
        self.record(ctx, at);
        self.report(ctx, at);
    }

    fn kill(&mut self, ctx: &mut Context<'_>, at: u32, whom: Whom, number: u8) {
        let root = self.shared.root.clone();
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let named = match whom {
            Whom::All => [service.run.main, service.run.control],
            Whom::Main => [service.run.main, None],
            Whom::Control => [None, service.run.control],
        };
        let mut reached = false;
        for proc in named.iter().flatten() {
            reached |= process::kill(of_platform(*proc), i32::from(number)).is_ok();
        }
        if whom == Whom::All {
            reached |= service.signal_rest(root.as_deref(), &[i32::from(number)]);
        }
        if !reached {
            let unit = service.run.unit.clone();
            let text = format!("no process of it was there to take signal {number}");
            ctx.send(FromHelper::Log {
                level: 5,
                unit,
                text,
            });
        }
    }

    /// A process has ended, or is gone and nobody knows how ([`END_UNKNOWN`]).
    fn ended(&mut self, ctx: &mut Context<'_>, proc: ProcId, status: i32) {
        let same = |own: Option<ProcId>| {
            own.is_some_and(|own| {
                own.pid == proc.pid
                    && (own.start == proc.start || proc.start == 0 || own.start == 0)
            })
        };
        let is_its = |service: &Service| same(service.run.main) || same(service.run.control);
        let of_pid = self.pids.get(&proc.pid).copied();
        // What it said before it ended comes first: it may have named another main process.
        if let Some(at) = of_pid.filter(|at| self.get(*at).is_some_and(is_its)) {
            self.read_socket(ctx, at);
        }
        let Some(at) = of_pid.filter(|at| self.get(*at).is_some_and(is_its)) else {
            return forget_slot(ctx, proc);
        };
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let role = if same(service.run.main) {
            Role::Main
        } else {
            Role::Control
        };
        let slot = service.slot(role).take();
        *service.lost(role) = None;
        if role == Role::Main {
            service.pipe = None;
        }
        let mut setup = None;
        let exit = Exit::from_wait(status);
        if let (Some(slot), Some(_)) = (slot, exit) {
            let slots = &ctx.journal.slots;
            slots.exited(slot, proc, status);
            fault::point("exit-recorded");
            setup = spawn::setup_detail(service, slots, slot, role);
        }
        let event = exit.map_or(Event::Lost(role), |exit| Event::Ended {
            role,
            exit,
            setup: setup.as_deref(),
        });
        self.feed(ctx, at, event);
        if let Some(slot) = slot {
            ctx.journal.slots.release(slot);
        }
    }

    fn sync(&mut self, ctx: &mut Context<'_>) {
        if !self.adopted {
            self.adopted = true;
            self.take_over(ctx);
            for (proc, status) in std::mem::take(&mut self.early) {
                self.ended(ctx, proc, status);
            }
        }
        for at in self.numbers() {
            if self.get(at).is_some_and(|service| !service.run.is_blank()) {
                self.report(ctx, at);
            }
        }
    }

    /// An exit that init reports before the journal was taken over: its slot remembers it. The
    /// processes without a slot were not forked by us.
    fn exited_early(&mut self, ctx: &mut Context<'_>, proc: ProcId, status: i32) {
        let slots = &ctx.journal.slots;
        let same = slots
            .in_use()
            .into_iter()
            .find(|slot| match slots.state(*slot) {
                SlotState::Filled(own) | SlotState::Started(own) | SlotState::Failed(own, _) => {
                    own == proc
                }
                _ => false,
            });
        match same {
            Some(slot) => slots.exited(slot, proc, status),
            None => self.early.push((proc, status)),
        }
    }

    /// When a service patted its watchdog, for who judges it now. We ourselves were not there when its time was up, nor,
    /// as likely, was the machine: time stood still for it, and it begins anew.
    fn pat(&mut self, at: u32, now: Micros) -> Micros {
        let Some(service) = self.get_mut(at) else {
            return now;
        };
        if service.watchdog_end().saturating_add(LATE) < now {
            service.pat = now;
        }
        service.pat
    }

    fn due(&mut self, ctx: &mut Context<'_>, at: u32, now: Micros) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if service.look.is_some_and(|(look, _)| look <= now) {
            self.look(ctx, at);
        }
        let Some(service) = self.get_mut(at) else {
            return;
        };
        for role in [Role::Main, Role::Control] {
            let lost = service.lost(role);
            if lost.is_some_and(|when| when <= now) {
                if !ctx.in_contact() {
                    // Nobody is there to say so: the next manager is waited for.
                    *lost = Some(NEVER);
                    return;
                }
                *lost = None;
                return self.feed(ctx, at, Event::Lost(role));
            }
        }
        if matches!(service.last, Some(Last::Poll(when)) if when <= now) {
            service.last = None;
        }
        let pat = self.pat(at, now);
        let mut out = std::mem::take(&mut self.effects);
        self.machine(at, &mut out, |machine| machine.starved(pat));
        self.machine(at, &mut out, |machine| machine.handle(Event::Deadline));
        self.carry_out(ctx, at, out);
    }
}

/// Ends that nobody has told are waited for until then. Whether there are any.
fn wait_anew(ends: &mut [Option<Micros>; 2], until: Micros) -> bool {
    let waited = ends.iter_mut().flatten();
    waited.map(|when| *when = until).count() > 0
}

/// A child that no service waits for has ended.
fn forget_slot(ctx: &mut Context<'_>, proc: ProcId) {
    let slots = &mut ctx.journal.slots;
    for slot in slots.in_use() {
        let own = match slots.state(slot) {
            SlotState::Filled(own)
            | SlotState::Started(own)
            | SlotState::Failed(own, _)
            | SlotState::Exited(own, _) => own,
            _ => continue,
        };
        if own == proc {
            slots.release(slot);
        }
    }
}

impl UnitType for Services {
    fn name(&self) -> &'static str {
        "service"
    }

    /// What the journal holds is taken over at the first `Sync`: not before the configuration of the
    /// units is there.
    fn adopt(&mut self, _: &mut Context<'_>) {}

    fn welcome(&mut self, config: &HelperConfig, ctx: &mut Context<'_>) {
        self.configure(config);
        let until = ctx.now().saturating_add(PATIENCE);
        for at in 0..self.list.len() as u32 {
            let ends = self.get_mut(at).map(|service| &mut service.lost_at);
            if ends.is_some_and(|ends| wait_anew(ends, until)) {
                self.index(at);
            }
        }
    }

    fn message(&mut self, message: Message, ctx: &mut Context<'_>) {
        match message {
            Message::Load(source) => self.load(ctx, &source),
            Message::Unload(unit) => self.unload(ctx, &unit),
            Message::Sync => self.sync(ctx),
            Message::Reconcile => self.compare(ctx),
            Message::Command(command) => self.command(ctx, &command),
            Message::Sockets(sockets) => self.offered(sockets),
            // Services trigger nothing.
            Message::Triggered(..) => {}
            Message::About(about) => self.about(about),
            Message::Kept(label) => self.kept(ctx, label, None),
            Message::NotKept(label, reason) => self.kept(ctx, label, Some(&reason)),
            Message::Fetched(label, fd) => self.fetched(ctx, label, Some(fd)),
            Message::NotFound(label) => self.fetched(ctx, label, None),
        }
    }

    fn exited(&mut self, proc: ProcId, status: i32, ctx: &mut Context<'_>) {
        fault::point("exit-peeked");
        if self.adopted {
            self.ended(ctx, proc, status);
        } else if status != END_UNKNOWN {
            self.exited_early(ctx, proc, status);
        }
    }

    fn ready(&mut self, ready: Ready, ctx: &mut Context<'_>) {
        match Token::from_number(ready.token) {
            Some(Token::Deposit(at, number)) => self.deposit_ended(ctx, at, number),
            Some(Token::Notify(at)) => self.read_socket(ctx, at),
            Some(Token::Pipe(at)) => {
                let Some(pipe) = self.get_mut(at).and_then(|service| service.pipe.take()) else {
                    return;
                };
                let _ = ctx.unwatch(&pipe);
                // A byte says that the set-up failed; the exit comes and says how.
                let mut byte = [0u8; 1];
                if matches!(platform::fd::read(&pipe, &mut byte), Ok(0)) {
                    self.feed(ctx, at, Event::Executed);
                }
            }
            Some(Token::Last(at)) => {
                let Some(service) = self.get_mut(at) else {
                    return;
                };
                if matches!(service.last, Some(Last::Process(_))) {
                    stop_waiting(service, ctx);
                }
                self.carry_out(ctx, at, Vec::new());
            }
            None => {}
        }
    }

    fn slept(&mut self, span: Micros, ctx: &mut Context<'_>) {
        for at in 0..self.list.len() as u32 {
            let Some(service) = self.get_mut(at) else {
                continue;
            };
            service.pat = service.pat.saturating_add(span);
            if service.run.deadline != NEVER {
                service.run.deadline = service.run.deadline.saturating_add(span);
                self.record(ctx, at);
            }
            self.index(at);
        }
    }

    fn tick(&mut self, now: Micros, ctx: &mut Context<'_>) {
        let times = self.times.iter().take_while(|(when, _)| *when <= now);
        for at in times.map(|(_, at)| *at).collect::<Vec<u32>>() {
            self.due(ctx, at, now);
            self.index(at);
        }
    }

    fn deadline(&self) -> Option<Micros> {
        self.times.first().map(|(when, _)| *when)
    }
}

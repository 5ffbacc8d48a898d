//! Carrying out what the machine wants: one turn of a service.
//!
//! A turn feeds an event to the machine, carries out the effects in their order, feeds the answers
//! at once, and ends when nothing is left to answer. What comes later (an exit, a datagram, a
//! deadline) begins another turn.

use crate::context::{Preserve, Sort};
use crate::machine::{Effect, Event, Machine, Signal};
use crate::policy::{KillMode, Step};
use crate::run::{At, Awaited, Role, Run, State};
use crate::service::{Last, Service, Socket};
use crate::services::{Services, Token};
use crate::spawn;
use platform::cgroup;
use platform::poll::Interest;
use platform::{clock, files, process, signal};
use std::path::Path;
use units::fault;
use units::journal::key;
use units::runtime::Context;
use units::state::{Micros, ProcId};
use units::wire::helper::FromHelper;

/// How soon a PID file, or processes that cannot be watched, are looked at again: first and last
/// interval.
const LOOK_FIRST: Micros = 10_000;
const LOOK_LAST: Micros = 250_000;

impl Services {
    /// One turn.
    pub(crate) fn feed(&mut self, ctx: &mut Context<'_>, at: u32, event: Event<'_>) {
        let mut out = std::mem::take(&mut self.effects);
        self.machine(at, &mut out, |machine| machine.handle(event));
        self.carry_out(ctx, at, out);
    }

    /// Lets the machine of a service do something.
    pub(crate) fn machine(
        &mut self,
        at: u32,
        out: &mut Vec<Effect>,
        act: impl FnOnce(Machine<'_>),
    ) {
        let now = clock::now();
        let fallback = &self.fallback;
        let Some(service) = self.list.get_mut(at as usize).and_then(Option::as_mut) else {
            return;
        };
        let policy = service
            .config
            .as_ref()
            .map_or(fallback, |config| &config.policy);
        let machine = Machine::new(&mut service.run, policy, now, out);
        act(machine.restarting(service.restarting));
    }

    pub(crate) fn carry_out(&mut self, ctx: &mut Context<'_>, at: u32, mut out: Vec<Effect>) {
        loop {
            let mut next = 0;
            while let Some(effect) = out
                .get_mut(next)
                .map(|e| std::mem::replace(e, Effect::Report))
            {
                next += 1;
                if let Some(answer) = self.one(ctx, at, effect) {
                    self.machine(at, &mut out, |machine| machine.handle(answer));
                }
            }
            out.clear();
            if !self.is_empty_now(ctx, at) {
                break;
            }
            // The last thing it did may have been to write its PID file.
            let found = match self.get(at).map(|service| service.run.awaited) {
                Some(Awaited::MainPid) => self.find_main(at).ok(),
                _ => None,
            };
            let event = found.map_or(Event::Empty, |proc| Event::Found(Ok(proc)));
            self.machine(at, &mut out, |machine| machine.handle(event));
            if out.is_empty() {
                break;
            }
        }
        self.effects = out;
        self.settle(at);
    }

    fn one(&mut self, ctx: &mut Context<'_>, at: u32, effect: Effect) -> Option<Event<'static>> {
        fault::boundary();
        match effect {
            Effect::Record => self.record(ctx, at),
            Effect::Report => self.report(ctx, at),
            Effect::Log(level, text) => {
                let unit = self.get(at)?.run.unit.clone();
                ctx.send(FromHelper::Log { level, unit, text });
            }
            Effect::Prepare => return self.prepare_socket(ctx, at).then_some(Event::Prepared),
            Effect::Fork {
                role,
                at: which,
                watch,
            } => {
                if which.step == Step::Start {
                    self.get_mut(at)?.waiting = None;
                    return self.fork_start(ctx, at, role, which, watch);
                }
                return Some(self.fork(ctx, at, role, which, watch));
            }
            Effect::Signal(signal) => return Some(self.signal(at, signal)),
            Effect::KillControl => {
                let service = self.get_mut(at)?;
                if let Some(proc) = service.run.control {
                    let _ = process::kill(proc.into(), signal::SIGKILL);
                }
            }
            Effect::SignalMain(number) => {
                // What it said before is not an answer to this.
                self.read_socket(ctx, at);
                let service = self.get_mut(at)?;
                if let Some(proc) = service.run.main {
                    let _ = process::kill(proc.into(), i32::from(number));
                }
            }
            Effect::FindMain => {
                let found = self.find_main(at);
                if let Err(why) = found {
                    self.look_again(at);
                    return Some(Event::Found(Err(why)));
                }
                return found.ok().map(|proc| Event::Found(Ok(proc)));
            }
            Effect::Watch(proc) => {
                // The slot is that of the process it takes over from.
                *self.get_mut(at)?.slot(Role::Main) = None;
                ctx.send(FromHelper::Watch { proc });
            }
            Effect::Clean { restarting } => {
                self.clean(ctx, at, restarting);
                // Until here a successor would do it again. (A start that waited may have begun.)
                let run = &mut self.get_mut(at)?.run;
                if run.state.is_down() {
                    run.dirty = false;
                    self.record(ctx, at);
                }
            }
        }
        None
    }

    /// Stores the record, with start times that have become known.
    pub(crate) fn record(&mut self, ctx: &mut Context<'_>, at: u32) {
        self.learn_starts(ctx, at);
        if let Some(service) = self.get(at) {
            ctx.remember(&service.run);
        }
    }

    /// A new child writes its start time into its slot itself.
    fn learn_starts(&mut self, ctx: &mut Context<'_>, at: u32) {
        use units::journal::SlotState;
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let slots = &ctx.journal.slots;
        let [main, control] = service.slots;
        let run = &mut service.run;
        for (proc, slot) in [(&mut run.main, main), (&mut run.control, control)] {
            let (Some(proc), Some(slot)) = (proc, slot) else {
                continue;
            };
            if proc.start != 0 {
                continue;
            }
            if let SlotState::Filled(own)
            | SlotState::Started(own)
            | SlotState::Failed(own, _)
            | SlotState::Exited(own, _) = slots.state(slot)
                && own.pid == proc.pid
            {
                *proc = own;
            }
        }
    }

    /// Tells the manager.
    pub(crate) fn report(&mut self, ctx: &mut Context<'_>, at: u32) {
        self.learn_starts(ctx, at);
        if let Some(service) = self.get(at) {
            ctx.send(FromHelper::Report(service.report()));
        }
    }

    pub(crate) fn fork(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        role: Role,
        which: At,
        watch: bool,
    ) -> Event<'static> {
        let token = Token::Pipe(at);
        let Self { list, shared, .. } = self;
        let Some(service) = list.get_mut(at as usize).and_then(Option::as_mut) else {
            return Event::NotForked("the unit is gone".into());
        };
        let unit_key = key(&service.run.unit);
        let slots = &mut ctx.journal.slots;
        match spawn::spawn(service, shared, slots, unit_key, (role, which, watch)) {
            Ok(born) => {
                service.empty = false;
                if shared.root.is_none() {
                    service.run.sessions.push(born.proc.pid);
                }
                *service.slot(role) = Some(born.slot);
                if let Some(pipe) = born.pipe {
                    let _ = ctx.watch(&pipe, token.number(), Interest::READ);
                    service.pipe = Some(pipe);
                }
                if role == Role::Main {
                    service.pat = clock::now();
                }
                Event::Forked(born.proc)
            }
            Err(why) => Event::NotForked(why),
        }
    }

    fn signal(&mut self, at: u32, signal: Signal) -> Event<'static> {
        let root = self.shared.root.clone();
        let root = root.as_deref();
        let Some(service) = self.get_mut(at) else {
            return Event::Signalled { left: false };
        };
        let number = i32::from(signal.number);
        if signal.rest
            && number == signal::SIGKILL
            && let Some(populated) = service.kill_group(root)
        {
            let named = service.run.main.is_some() || service.run.control.is_some();
            return Event::Signalled {
                left: populated || named,
            };
        }
        let mut numbers = vec![number];
        if number != signal::SIGKILL {
            // A stopped process would not see it.
            numbers.push(signal::SIGCONT);
        }
        if signal.hup {
            numbers.push(signal::SIGHUP);
        }
        let named = [
            service.run.main.filter(|_| signal.main),
            service.run.control.filter(|_| signal.control),
        ];
        for proc in named.iter().flatten() {
            for number in &numbers {
                let _ = process::kill((*proc).into(), *number);
            }
        }
        let known_empty = service.empty && named.iter().all(Option::is_none);
        let others = signal.rest && !known_empty && service.signal_rest(root, &numbers);
        Event::Signalled {
            left: others || named.iter().any(Option::is_some),
        }
    }

    /// The main process of a forking service: what its PID file says, or the only process of the unit
    /// whose parent is not of the unit.
    pub(crate) fn find_main(&self, at: u32) -> Result<ProcId, &'static str> {
        let service = self.get(at).ok_or("the unit is gone")?;
        let root = self.shared.root.as_deref();
        let file = service
            .config
            .as_ref()
            .and_then(|config| config.context.pid_file.as_deref());
        let Some(path) = file else {
            return guess(&service.members(root));
        };
        let text = files::read_file(Path::new(path), 64)
            .map_err(|_| "its PID file cannot be read yet: see PIDFile=")?;
        let pid: u32 = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|pid| *pid > 1)
            .ok_or("there is no process number in its PID file")?;
        let start = process::status(pid).filter(|status| !status.is_dead());
        let start = start
            .ok_or("the process in its PID file does not exist")?
            .start;
        // A service that can write its PID file must not make us kill what is not its own.
        if !service.owns(root, &self.mount, pid) && !written_by_root(Path::new(path)) {
            return Err("the process in its PID file is not of this unit");
        }
        Ok(ProcId { pid, start })
    }

    fn look_again(&mut self, at: u32) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let wait = service
            .look
            .map_or(LOOK_FIRST, |(_, wait)| (wait * 2).min(LOOK_LAST));
        service.look = Some((clock::now().saturating_add(wait), wait));
    }

    /// A look at what cannot be waited for otherwise is due.
    pub(crate) fn look(&mut self, ctx: &mut Context<'_>, at: u32) {
        let Some(service) = self.get(at) else { return };
        match service.run.awaited {
            Awaited::MainPid => match self.find_main(at) {
                Ok(proc) => self.feed(ctx, at, Event::Found(Ok(proc))),
                Err(why) => {
                    self.look_again(at);
                    self.feed(ctx, at, Event::Found(Err(why)));
                }
            },
            _ if self.has_executed(ctx, at) => self.feed(ctx, at, Event::Executed),
            _ => self.look_again(at),
        }
    }

    /// For a service of `Type=exec` that was taken over with its start in flight.
    fn has_executed(&self, ctx: &mut Context<'_>, at: u32) -> bool {
        let slot = self
            .get(at)
            .and_then(|service| service.slots.first().copied().flatten());
        slot.is_some_and(|slot| {
            use units::journal::SlotState;
            matches!(ctx.journal.slots.state(slot), SlotState::Started(_))
        })
    }

    /// Whether the machine waits for the unit to be empty, and it is. Sees to it that the end of the
    /// last process wakes us otherwise.
    fn is_empty_now(&mut self, ctx: &mut Context<'_>, at: u32) -> bool {
        let root = self.shared.root.clone();
        let root = root.as_deref();
        let Self { list, fallback, .. } = self;
        let Some(service) = list.get_mut(at as usize).and_then(Option::as_mut) else {
            return false;
        };
        let config = service.config.as_ref();
        let policy = config.map_or(&*fallback, |config| &config.policy);
        let named = service.run.main.is_some() || service.run.control.is_some();
        if !Machine::wants_empty(&service.run, policy) || named {
            stop_waiting(service, ctx);
            return false;
        }
        // Once more after the watch stands: what changed before is not told by it.
        for _ in 0..2 {
            if let Some(Last::Group(fd)) = &service.last {
                let _ = cgroup::rearm(fd);
            }
            if !service.is_populated(root) {
                stop_waiting(service, ctx);
                service.empty = true;
                return true;
            }
            if service.last.is_some() {
                break;
            }
            let token = Token::Last(at).number();
            service.last = Some(wait_for_last(service, root, ctx, token));
        }
        false
    }

    /// Forgets what the state no longer needs.
    fn settle(&mut self, at: u32) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let run: &Run = &service.run;
        if run.awaited != Awaited::MainPid && run.state != State::Start {
            service.look = None;
        }
        if run.state != State::Start {
            service.pipe = None;
        }
        self.index(at);
    }

    fn clean(&mut self, ctx: &mut Context<'_>, at: u32, restarting: bool) {
        let root = self.shared.root.clone();
        let Some(service) = self.get_mut(at) else {
            return;
        };
        stop_waiting(service, ctx);
        if let Some(config) = &service.config {
            let context = &config.context;
            if let Some(path) = &context.pid_file {
                let _ = std::fs::remove_file(&**path);
            }
            let keep = match context.preserve {
                Preserve::No => false,
                Preserve::Restart => restarting,
                Preserve::Yes => true,
            };
            let runtime = context
                .directories
                .iter()
                .filter(|list| list.sort == Sort::Runtime);
            for name in runtime.flat_map(|list| &list.names).filter(|_| !keep) {
                let _ = std::fs::remove_dir_all(Path::new(Sort::Runtime.root()).join(&**name));
            }
            if config.policy.kill.mode != KillMode::None && !restarting {
                service.remove_group(root.as_deref());
            }
        }
        self.release_deposits(ctx, at, restarting);
    }
}

fn written_by_root(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.uid() == 0)
}

pub(crate) fn guess(members: &[ProcId]) -> Result<ProcId, &'static str> {
    let own = |pid: u32| members.iter().any(|member| member.pid == pid);
    let mut roots = members
        .iter()
        .filter(|member| process::status(member.pid).is_some_and(|status| !own(status.parent)));
    match (roots.next(), roots.next()) {
        (Some(main), None) => Ok(*main),
        (None, _) => Err("no process is left that could be the main process"),
        _ => Err("several processes could be the main process: say which by PIDFile="),
    }
}

fn wait_for_last(
    service: &Service,
    root: Option<&Path>,
    ctx: &mut Context<'_>,
    token: u64,
) -> Last {
    let later = Last::Poll(clock::now().saturating_add(LOOK_LAST));
    if let Some(path) = service.group_path(root) {
        let watched = cgroup::Group::open(&path).and_then(|group| group.watch());
        return match watched {
            Ok(fd) if ctx.watch(&fd, token, cgroup::watch_interest()).is_ok() => Last::Group(fd),
            _ => later,
        };
    }
    let first = service.members(root).first().copied();
    match first.map(|proc| process::hold(proc.into())) {
        Some(Ok(held)) if ctx.watch(&held, token, Interest::READ).is_ok() => Last::Process(held),
        _ => later,
    }
}

/// Ends the watch for the last process.
pub(crate) fn stop_waiting(service: &mut Service, ctx: &mut Context<'_>) {
    match service.last.take() {
        Some(Last::Group(fd)) => {
            let _ = ctx.unwatch(&fd);
        }
        Some(Last::Process(held)) => {
            let _ = ctx.unwatch(&held);
        }
        Some(Last::Poll(_)) | None => {}
    }
}

/// The start time of a process of the unit, for a main process by notification.
pub(crate) fn identify(pid: u32) -> Option<ProcId> {
    let status = process::status(pid).filter(|status| !status.is_dead())?;
    Some(ProcId {
        pid,
        start: status.start,
    })
}

/// Whether a socket is there to be read.
pub(crate) fn is_open(socket: &Socket) -> bool {
    matches!(socket, Socket::Open(_))
}

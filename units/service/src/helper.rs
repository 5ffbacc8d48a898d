//! The helper of type `service`: what comes from outside.
//!
//! Four things begin a turn: a frame of the manager, the end of a process, a ready descriptor, a
//! deadline. Each is brought to the one service that it concerns; its machine decides, and
//! [`crate::effects`] carries it out. Nothing here waits.
//!
//! The end of a child is written into its slot, then into the unit's record, and only then reaped.
//! A helper killed in between leaves a zombie to init, which reports it again; number and
//! start time tell that it is the same.

use crate::adopt::PATIENCE;
use crate::effects::stop_waiting;
use crate::machine::Event;
use crate::policy::NEVER;
use crate::run::Role;
use crate::service::{Last, Service};
use crate::services::{Services, Token};
use crate::spawn;
use platform::poll::Ready;
use units::fault;
use units::journal::{Remembered, SlotState};
use units::runtime::{Context, Message, UnitType};
use units::state::{Exit, Micros, ProcId};
use units::wire::helper::{END_UNKNOWN, HelperConfig};

/// Who comes so late to a deadline was not there when it was due.
const LATE: Micros = 500_000;

impl Services {
    /// A process has ended, or is gone and nobody knows how ([`END_UNKNOWN`]).
    fn ended(&mut self, ctx: &mut Context<'_>, proc: ProcId, status: i32) {
        let same = |own: Option<ProcId>| own.is_some_and(|own| own.may_be(proc));
        let is_its = |service: &Service| same(service.run.main) || same(service.run.control);
        let of_pid = self.by_pid(proc.pid);
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
        for at in self.due_by(now) {
            self.due(ctx, at, now);
            self.index(at);
        }
    }

    fn deadline(&self) -> Option<Micros> {
        self.first_time()
    }
}

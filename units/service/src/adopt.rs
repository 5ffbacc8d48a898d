//! Taking over from a helper that was killed.
//!
//! For each record of the journal the service is made anew, and what its record leaves open is
//! looked up:
//!
//! * A fork was announced. Its slot says what became of it: there is none, or it can be revoked:
//!   then nothing has run and the step is done now. The child has taken it: it is followed.
//! * A process was known. If it lives, its end will be reported by init, whose child it is now.
//!   If it is gone, its status is in its slot (the old helper saw its end) or on its way from init
//!   by way of the manager. If neither tells within [`PATIENCE`], the end went unseen: the
//!   invocation's result is `interrupted`, and nothing is done twice.
//! * A signal, a look for a PID file, the notify socket: once more.
//!
//! Time-outs are points in time and stay as they were; a watchdog begins anew.

use crate::effects::guess;
use crate::machine::Event;
use crate::policy::{Kind, Step};
use crate::run::{At, Awaited, Role, Run, State};
use crate::services::Services;
use crate::spawn::{self, step_number};
use platform::{clock, process};
use units::fault;
use units::journal::Remembered;
use units::journal::{SlotId, SlotState, Slots};
use units::runtime::Context;
use units::state::{Exit, Invocation, Micros, ProcId};
use units::wire::helper::FromHelper;

/// The invocation a process was started under, as its environment says.
fn invocation_of(proc: ProcId) -> Option<Invocation> {
    const LONGEST: usize = 128 << 10;
    let path = format!("/proc/{}/environ", proc.pid);
    let bytes = platform::files::read_file(std::path::Path::new(&path), LONGEST).ok()?;
    let mut entries = bytes.split(|byte| *byte == 0);
    let value = entries.find_map(|entry| entry.strip_prefix(b"INVOCATION_ID="))?;
    let number = u128::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok()?;
    Some(Invocation(number))
}

/// How long the report of an exit that we know has happened may take, from a manager that is there: without one
/// the next is waited for, however long it takes. Init repeats what is not acknowledged and holds it for a
/// new manager, so only a discarded one never comes.
pub(crate) const PATIENCE: Micros = 5_000_000;

/// The slots in use with the units they are of, in the order of these.
fn by_unit(slots: &Slots) -> Vec<(u64, SlotId)> {
    let in_use = slots.in_use().into_iter();
    let mut found: Vec<_> = in_use
        .map(|slot| (slots.attempt(slot).unit, slot))
        .collect();
    found.sort_unstable();
    found
}

impl Services {
    /// Takes over what the journal holds. To be called once, when all units are loaded.
    pub(crate) fn take_over(&mut self, ctx: &mut Context<'_>) {
        if fault::without("journal") {
            return;
        }
        let (records, foreign) = ctx.journal.remembered::<Run>();
        if foreign > 0 {
            let text =
                format!("{foreign} records of the journal are of another version: passed over");
            ctx.log(4, "", text);
        }
        let slots = by_unit(&ctx.journal.slots);
        let mut numbers = Vec::with_capacity(records.len());
        for run in records {
            let at = self.entry(&run.unit.clone());
            if let Some(service) = self.get_mut(at) {
                service.run = run;
                service.pat = clock::now();
            }
            numbers.push(at);
        }
        for at in numbers {
            self.adopt_one(ctx, at, &slots);
        }
        self.release_rest(ctx, &slots);
        for (unit, how) in self.adopt_strangers(ctx) {
            ctx.log(4, &unit, ["its record was lost: ", &how].concat());
        }
    }

    /// Units of which the journal says nothing and whose control group has processes: their records
    /// were lost. What runs is theirs, and is adopted as it is. (Without control groups nobody could
    /// tell whose it is.)
    pub(crate) fn adopt_strangers(&mut self, ctx: &mut Context<'_>) -> Vec<(String, String)> {
        let mut adopted = Vec::new();
        let root = self.shared.root.clone();
        let Some(root) = root.as_deref() else {
            return adopted;
        };
        for at in self.numbers() {
            let Some(service) = self.get_mut(at) else {
                continue;
            };
            if !service.run.is_blank() || !service.is_populated(Some(root)) {
                continue;
            }
            let members = service.members(Some(root));
            let main = guess(&members).ok();
            let cgroup = service
                .config
                .as_ref()
                .map(|config| config.cgroup.to_string());
            let run = &mut service.run;
            run.state = State::Running;
            run.since = clock::now();
            run.cgroup = cgroup.unwrap_or_default();
            run.dirty = true;
            run.main = main;
            run.main_known = main.is_some();
            run.main_foreign = true;
            run.invocation = main.and_then(invocation_of).unwrap_or_default();
            let how = match main {
                Some(proc) => {
                    let number = proc.pid.to_string();
                    ["process ", &number, " is adopted as its main process"].concat()
                }
                None => ["its ", &members.len().to_string(), " processes are adopted"].concat(),
            };
            adopted.push((run.unit.clone(), how));
            if let Some(proc) = main {
                ctx.send(FromHelper::Watch { proc });
            }
            self.record(ctx, at);
            self.prepare_socket(ctx, at);
            self.report(ctx, at);
            self.index(at);
        }
        adopted
    }

    fn adopt_one(&mut self, ctx: &mut Context<'_>, at: u32, slots: &[(u64, SlotId)]) {
        self.fetch_deposits(ctx, at);
        let Some(service) = self.get(at) else { return };
        let key = units::journal::key(&service.run.unit);
        let first = slots.partition_point(|(unit, _)| *unit < key);
        let of_unit = slots
            .iter()
            .skip(first)
            .take_while(|(unit, _)| *unit == key);
        let invocation = service.run.invocation;
        let mine: Vec<SlotId> = of_unit
            .map(|(_, slot)| *slot)
            .filter(|slot| ctx.journal.slots.attempt(*slot).invocation == invocation)
            .collect();
        if let Awaited::Fork(role, which) = service.run.awaited {
            self.adopt_fork(ctx, at, role, which, &mine);
        }
        let mut ends = Vec::new();
        for role in [Role::Main, Role::Control] {
            ends.extend(self.adopt_process(ctx, at, role, &mine));
        }
        // First the machine goes on with what it had announced, then it hears what happened since.
        self.feed(ctx, at, Event::Adopted);
        for (role, proc, status) in ends {
            self.seen(ctx, at, role, proc, status);
        }
        self.watch_exec(at);
        self.fetch_socket(ctx, at);
    }

    /// A fork was announced: what became of it?
    fn adopt_fork(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        role: Role,
        which: At,
        mine: &[SlotId],
    ) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let journal = &mut ctx.journal.slots;
        let slot = mine.iter().copied().find(|slot| {
            let attempt = journal.attempt(*slot);
            attempt.seq == service.run.seq
                && attempt.step == step_number(role, which.step)
                && attempt.index == u32::from(which.index)
        });
        let Some(slot) = slot else { return };
        let found = if fault::without("slots") {
            SlotState::Empty
        } else {
            journal.revoke(slot)
        };
        let proc = match found {
            SlotState::Filled(proc)
            | SlotState::Started(proc)
            | SlotState::Failed(proc, _)
            | SlotState::Exited(proc, _) => proc,
            // Nothing has run: the machine does it when it hears that it was taken over.
            SlotState::Revoked | SlotState::Empty | SlotState::Forking => {
                return journal.release(slot);
            }
        };
        *service.slot(role) = Some(slot);
        self.feed(ctx, at, Event::Forked(proc));
    }

    /// A process was known: is it there, and if not, how did it end?
    fn adopt_process(
        &mut self,
        ctx: &mut Context<'_>,
        at: u32,
        role: Role,
        mine: &[SlotId],
    ) -> Option<(Role, ProcId, i32)> {
        let service = self.get_mut(at)?;
        let mut proc = service.proc(role)?;
        let which = match role {
            Role::Main => At {
                step: Step::Start,
                index: service.run.main_at,
            },
            Role::Control => service.run.control_at,
        };
        let slots = &ctx.journal.slots;
        for slot in mine {
            let mut ended = None;
            let attempt = slots.attempt(*slot);
            let own = match slots.state(*slot) {
                SlotState::Filled(own) | SlotState::Started(own) | SlotState::Failed(own, _) => own,
                SlotState::Exited(own, status) => {
                    ended = Some(status);
                    own
                }
                // The fork is on record with its number, and the child has not come to say its own:
                // it is on its way, and must not be stopped.
                SlotState::Forking
                    if (role == Role::Control || !service.run.main_foreign)
                        && attempt.step == step_number(role, which.step)
                        && attempt.index == u32::from(which.index) =>
                {
                    let start = process::start_time(proc.pid).unwrap_or(0);
                    ProcId {
                        pid: proc.pid,
                        start,
                    }
                }
                _ => continue,
            };
            if own.pid != proc.pid || (proc.start != 0 && own.start != proc.start) {
                continue;
            }
            proc = own;
            *service.slot(role) = Some(*slot);
            if let Some(status) = ended {
                return Some((role, proc, status));
            }
        }
        match role {
            Role::Main => service.run.main = Some(proc),
            Role::Control => service.run.control = Some(proc),
        }
        if !process::is_alive(proc.into()) {
            *service.lost(role) = Some(clock::now().saturating_add(PATIENCE));
        }
        ctx.send(FromHelper::Watch { proc });
        None
    }

    /// The old helper had seen the end of a process, and did not get to say so.
    fn seen(&mut self, ctx: &mut Context<'_>, at: u32, role: Role, proc: ProcId, status: i32) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        if service.proc(role).is_none_or(|own| own.pid != proc.pid) {
            return;
        }
        let slot = service.slot(role).take();
        let (Some(slot), Some(exit)) = (slot, Exit::from_wait(status)) else {
            return;
        };
        let setup = spawn::setup_detail(service, &ctx.journal.slots, slot, role);
        self.feed(
            ctx,
            at,
            Event::Ended {
                role,
                exit,
                setup: setup.as_deref(),
            },
        );
        ctx.journal.slots.release(slot);
    }

    /// The pipe that tells the exec of `Type=exec` is gone with the old helper: the slot is looked at
    /// instead.
    fn watch_exec(&mut self, at: u32) {
        let Some(service) = self.get_mut(at) else {
            return;
        };
        let exec = service
            .config
            .as_ref()
            .is_some_and(|config| config.policy.kind == Kind::Exec);
        if exec && service.run.state == State::Start && service.run.main.is_some() {
            service.look = Some((clock::now(), 1_000));
        }
        self.index(at);
    }

    /// Slots that no service goes on with: of attempts whose result is in the record already, of
    /// processes that are of no interest any more. What may still fork there is prevented.
    fn release_rest(&mut self, ctx: &mut Context<'_>, slots: &[(u64, SlotId)]) {
        let mut used: Vec<SlotId> = self
            .list
            .iter()
            .flatten()
            .flat_map(|service| service.slots)
            .flatten()
            .collect();
        used.sort_unstable();
        let slots = slots.iter().map(|(_, slot)| slot);
        for slot in slots.filter(|slot| used.binary_search(slot).is_err()) {
            let journal = &mut ctx.journal.slots;
            journal.revoke(*slot);
            journal.release(*slot);
        }
    }
}

//! The commands `mount` and `umount`: announced, forked, hurried, and what becomes of the unit at their end.

use crate::command::{self, Action};
use crate::config::Config;
use crate::helper::{Mounts, PATIENCE, Unit};
use crate::record::{Signalled, State};
use platform::{clock, fd, process, signal};
use units::journal::{Attempt, key};
use units::runtime::Context;
use units::state::{Exit, Micros, Outcome, ProcId};

/// How many mounts one stop takes off a point, one lying on the other; systemd's number.
const MOST_TRIES: u32 = 32;

/// How a command went, in systemd's word; empty for success.
fn verdict(status: i32, signalled: Signalled) -> &'static str {
    match Exit::from_wait(status) {
        _ if matches!(signalled, Signalled::Late | Signalled::Killed) => "timeout",
        Some(Exit::Code(0)) => "",
        Some(Exit::Code(_)) | None => "exit-code",
        Some(Exit::Signal(_)) => "signal",
        Some(Exit::Core(_)) => "core-dump",
    }
}

impl Unit {
    /// The first line that the command said; hints follow it.
    fn first_words(&mut self) -> String {
        let mut bytes = vec![0; 4096];
        let length = self.said.take().map_or(0, |said| {
            let _ = fd::set_nonblocking(&said, true);
            fd::read(&said, &mut bytes).unwrap_or(0)
        });
        bytes.truncate(length);
        let text = String::from_utf8_lossy(&bytes);
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or("")
            .into()
    }
}

impl Mounts {
    /// Announces a command and forks it.
    pub(crate) fn begin(
        &mut self,
        ctx: &mut Context<'_>,
        name: &str,
        state: State,
        action: Action,
    ) {
        let default = self.settings.timeout_start;
        let unit = self.entry(name);
        let timeout = unit
            .config
            .as_ref()
            .and_then(|config| config.timeout)
            .unwrap_or(default);
        unit.enter(state);
        let record = &mut unit.record;
        record.process = None;
        record.signalled = Signalled::No;
        record.number = record.number.wrapping_add(1);
        record.deadline = clock::now().saturating_add(timeout);
        self.record(ctx, name);
        self.fork(ctx, name, action);
    }

    pub(crate) fn fork(&mut self, ctx: &mut Context<'_>, name: &str, action: Action) {
        let root = self.settings.cgroup_root.clone();
        let unit = self.entry(name);
        let attempt = Attempt {
            unit: key(name),
            invocation: unit.record.invocation,
            seq: unit.record.seq,
            step: 0,
            index: unit.record.number,
        };
        let none = Config::default();
        let config = unit.config.as_ref().unwrap_or(&none);
        match command::spawn(config, action, &root, &mut ctx.journal.slots, &attempt) {
            Ok(born) => {
                unit.record.process = Some(born.proc);
                (unit.slot, unit.said) = (Some(born.slot), born.said);
                self.tell(ctx, name);
            }
            Err(why) => self.ended(ctx, name, "resources", why),
        }
    }

    pub(crate) fn signal(&mut self, name: &str, signal: i32) {
        let Some(proc) = self.entry(name).record.process else {
            return;
        };
        // The program's own helper (mount.nfs) is in its group. Of a child of an earlier helper the group may be
        // somebody else's by now: it alone is signalled, if it is still what it was.
        let group = process::is_child(proc.pid) && process::kill_group(proc.pid, signal).is_ok();
        if !group {
            let _ = process::kill(proc.into(), signal);
        }
    }

    pub(crate) fn action(state: State) -> Action {
        match state {
            State::Remounting => Action::Remount,
            State::Unmounting => Action::Unmount,
            _ => Action::Mount,
        }
    }

    /// A command has ended, or cannot have begun. What counts is the table.
    pub(crate) fn ended(&mut self, ctx: &mut Context<'_>, name: &str, why: &str, detail: String) {
        let mounted = self.is_mounted(name);
        let unit = self.entry(name);
        let stopped = unit.record.signalled == Signalled::Stopped;
        if !why.is_empty() && !stopped {
            unit.record.why = why.into();
            unit.record.detail = detail.clone();
        }
        match unit.record.state {
            State::Unmounting
                if mounted && (stopped || why.is_empty()) && unit.record.tries < MOST_TRIES =>
            {
                return self.unmount(ctx, name);
            }
            State::Unmounting if !mounted => {
                // Whatever was said about it, it is gone.
                unit.record.why.clear();
                unit.record.detail.clear();
                unit.enter(State::Dead);
                unit.conclude(Outcome::Done);
            }
            State::Mounting if !mounted => {
                let (why, detail) = match why {
                    "" => ("protocol", "mount succeeded, and nothing is mounted there: does its path go through a link?".into()),
                    why => (why, detail),
                };
                return self.fail(ctx, name, why, detail);
            }
            State::Mounting => {
                unit.enter(State::Mounted);
                unit.conclude(Outcome::Done);
            }
            State::Remounting | State::Unmounting => {
                let state = if mounted { State::Mounted } else { State::Dead };
                unit.enter(state);
                unit.conclude(if why.is_empty() && mounted {
                    Outcome::Done
                } else {
                    Outcome::Failed
                });
            }
            State::Dead | State::Mounted | State::Failed => return,
        }
        self.tell(ctx, name);
    }

    /// The process of a command has ended with this status.
    pub(crate) fn process_ended(
        &mut self,
        ctx: &mut Context<'_>,
        name: &str,
        proc: ProcId,
        status: i32,
    ) {
        let unit = self.entry(name);
        let slot = unit.slot.take();
        let why = verdict(status, unit.record.signalled);
        let mut detail = unit.first_words();
        if unit.record.signalled != Signalled::No {
            // Its program's own program may not obey the signal.
            self.signal(name, signal::SIGKILL);
        }
        let unit = self.entry(name);
        if let Some(slot) = slot {
            if let Some(error) = ctx.journal.slots.setup_error(slot) {
                detail = command::explain(unit.config.as_ref(), unit.record.state, error.error);
            }
            ctx.journal.slots.exited(slot, proc, status);
        }
        if !why.is_empty() {
            let program = if unit.record.state == State::Unmounting {
                "umount"
            } else {
                "mount"
            };
            let text = match detail.as_str() {
                "" => [program, " failed: ", why].concat(),
                said => said.to_owned(),
            };
            ctx.log(4, name, text.clone());
            detail = text;
        }
        self.ended(ctx, name, why, detail);
        if let Some(slot) = slot {
            ctx.journal.slots.release(slot);
        }
    }

    pub(crate) fn is_due(unit: &Unit, now: Micros) -> bool {
        unit.record.deadline <= now || unit.lost.is_some_and(|until| until <= now)
    }

    /// A command takes too long, or how it ended will not be heard any more.
    pub(crate) fn late(&mut self, ctx: &mut Context<'_>, name: &str, now: Micros) {
        let default = self.settings.timeout_stop;
        let unit = self.entry(name);
        if unit.lost.is_some_and(|until| until <= now) {
            if !ctx.in_contact() {
                // Nobody is there to say so: the next manager is waited for.
                unit.lost = Some(units::value::time::INFINITY);
                return;
            }
            let text = "how its command ended was not seen";
            if let Some(slot) = unit.slot.take() {
                ctx.journal.slots.release(slot);
            }
            return self.ended(ctx, name, "", text.into());
        }
        let timeout = unit
            .config
            .as_ref()
            .and_then(|config| config.timeout)
            .unwrap_or(default);
        let (next, sent) = match unit.record.signalled {
            Signalled::No | Signalled::Stopped => (Signalled::Late, signal::SIGTERM),
            Signalled::Late => (Signalled::Killed, signal::SIGKILL),
            Signalled::Killed => {
                let text = "it cannot be killed, and is left to itself: does a server not answer?";
                ctx.log(3, name, text.into());
                if let Some(slot) = unit.slot.take() {
                    ctx.journal.slots.release(slot);
                }
                return self.ended(ctx, name, "timeout", text.into());
            }
        };
        unit.record.signalled = next;
        unit.record.deadline = now.saturating_add(timeout.min(PATIENCE));
        ctx.log(4, name, "its command takes too long, and is ended".into());
        self.record(ctx, name);
        self.signal(name, sent);
    }
}

//! The helper of type `mount`: all mount units, and the kernel's table.
//!
//! Each message changes one unit's record, stores it, and then acts: see the model in the library.
//! Nothing here waits.

use crate::command::{self, Action};
use crate::config::{self, Config};
use crate::record::{Record, Signalled, State};
use platform::poll::{Interest, Ready};
use platform::{clock, fd, process, signal};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use units::journal::{Attempt, SlotId, SlotState};
use units::mounts;
use units::runtime::{Context, Message, UnitType, hash128};
use units::state::{Exit, Micros, Outcome, ProcId, Report};
use units::value::time::INFINITY;
use units::wire::helper::{Command, FromHelper, HelperConfig, Severity, UnitSource, Verb};

/// Kind and version of a unit's record in the journal.
const RECORD: u16 = 1;
const VERSION: u16 = 1;
/// The token of the kernel's table.
const TABLE: u64 = 0;
const TABLE_FILE: &str = "/proc/self/mountinfo";
const TABLE_LIMIT: usize = 16 << 20;
/// How many mounts one stop takes off a point, one lying on the other; systemd's number.
const MOST_TRIES: u32 = 32;
/// How long the report of an exit may take that happened while there was no helper.
const PATIENCE: Micros = 5_000_000;

/// One unit.
#[derive(Debug, Default)]
struct Unit {
    record: Record,
    config: Option<Config>,
    /// Why it cannot be started, if its last configuration was not good.
    broken: String,
    slot: Option<SlotId>,
    /// What the command says.
    said: Option<OwnedFd>,
    /// The command's process is gone: until when its exit may still be reported.
    lost: Option<Micros>,
}

/// All mount units.
#[derive(Debug, Default)]
pub struct Mounts {
    units: Vec<Unit>,
    table: Option<File>,
    /// The points of the kernel's table, as it was last read.
    points: BTreeSet<String>,
    settings: HelperConfig,
    adopted: bool,
    /// The journal is full, and it was said.
    full: bool,
}

fn key(unit: &str) -> u64 {
    u128::from_be_bytes(hash128(unit.as_bytes())) as u64
}

impl Unit {
    fn new(name: &str) -> Self {
        let record = Record {
            unit: name.into(),
            deadline: INFINITY,
            ..Record::default()
        };
        Self {
            record,
            ..Self::default()
        }
    }

    fn is_blank(&self) -> bool {
        self.record.state == State::Dead && self.record.seq == 0
    }

    fn enter(&mut self, state: State) {
        let record = &mut self.record;
        if record.state.active() != state.active() {
            record.since = clock::now();
        }
        record.state = state;
        if !state.is_busy() {
            record.process = None;
            record.deadline = INFINITY;
            record.signalled = Signalled::No;
            self.lost = None;
        }
    }

    /// What is under way has come to its end.
    fn conclude(&mut self, outcome: Outcome) {
        if self.record.outcome == Outcome::Pending {
            self.record.outcome = outcome;
        }
    }

    fn point(&self) -> &str {
        self.config.as_ref().map_or("", |config| &config.point)
    }

    fn report(&self) -> Report {
        let record = &self.record;
        let what = self.config.as_ref().map_or("", |config| &config.what);
        let mounted = record.state == State::Mounted && !what.is_empty();
        Report {
            unit: record.unit.clone(),
            invocation: record.invocation,
            seq: record.seq,
            outcome: record.outcome,
            active: record.state.active(),
            sub: record.state.as_str().into(),
            result: if record.why.is_empty() {
                "success".into()
            } else {
                record.why.clone()
            },
            detail: record.detail.clone(),
            status: if mounted {
                [what, " on ", self.point()].concat()
            } else {
                String::new()
            },
            control: record.process,
            since: record.since,
            deadline: (record.deadline != INFINITY).then_some(record.deadline),
            can_reload: !what.is_empty(),
            ..Report::default()
        }
    }

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

impl Mounts {
    fn find(&mut self, what: impl Fn(&Unit) -> bool) -> Option<&mut Unit> {
        self.units.iter_mut().find(|unit| what(unit))
    }

    fn entry(&mut self, name: &str) -> &mut Unit {
        let known = self.units.iter().position(|unit| unit.record.unit == name);
        let at = known.unwrap_or_else(|| {
            self.units.push(Unit::new(name));
            self.units.len() - 1
        });
        // It is there: found, or just added.
        #[allow(clippy::indexing_slicing)]
        &mut self.units[at]
    }

    /// Stores the record of a unit.
    fn record(&mut self, ctx: &mut Context<'_>, name: &str) {
        let unit = self.entry(name);
        let stored = if unit.is_blank() {
            ctx.journal.records.delete(RECORD, key(name));
            true
        } else {
            let bytes = postcard::to_allocvec(&unit.record).unwrap_or_default();
            ctx.journal
                .records
                .put(RECORD, VERSION, key(name), &bytes)
                .is_ok()
        };
        if !stored && !self.full {
            let text = "the journal is full: what happens from now on is not remembered across a \
                        death of the mount helper";
            ctx.log(3, name, text.into());
        }
        self.full = !stored;
    }

    fn tell(&mut self, ctx: &mut Context<'_>, name: &str) {
        self.record(ctx, name);
        ctx.send(FromHelper::Report(self.entry(name).report()));
    }

    // ---- the kernel's table ----------------------------------------------------------------------

    /// Reads the table again.
    fn read_table(&mut self) {
        let Ok(bytes) = platform::files::read_file(Path::new(TABLE_FILE), TABLE_LIMIT) else {
            return;
        };
        let text = String::from_utf8_lossy(&bytes);
        // An automount point waits for a mount, and is none.
        let mounts = mounts::table(&text).filter(|mount| mount.kind != "autofs");
        self.points = mounts.map(|mount| mount.point).collect();
    }

    fn is_mounted(&mut self, name: &str) -> bool {
        self.read_table();
        let found = self.units.iter().find(|unit| unit.record.unit == name);
        found.is_some_and(|unit| self.points.contains(unit.point()))
    }

    fn watch_table(&mut self, ctx: &mut Context<'_>) {
        let watched = File::open(TABLE_FILE).and_then(|file| {
            ctx.watch(&file, TABLE, Interest::CHANGE)?;
            Ok(file)
        });
        match watched {
            Ok(file) => self.table = Some(file),
            Err(error) => {
                let text =
                    format!("what others mount and unmount is not seen: {TABLE_FILE}: {error}");
                ctx.log(3, "", text);
            }
        }
    }

    /// What others have mounted or unmounted. A unit with a command of ours under way is that command's.
    fn compare(&mut self, ctx: &mut Context<'_>) {
        self.read_table();
        let names: Vec<String> = self
            .units
            .iter()
            .map(|unit| unit.record.unit.clone())
            .collect();
        for name in names {
            self.compare_one(ctx, &name);
        }
    }

    fn compare_one(&mut self, ctx: &mut Context<'_>, name: &str) {
        let point = self.entry(name).point().to_owned();
        let there = self.points.contains(&point);
        let unit = self.entry(name);
        match unit.record.state {
            State::Dead | State::Failed if there => {
                unit.record.why.clear();
                unit.record.detail.clear();
                unit.enter(State::Mounted);
            }
            State::Mounted if !there => unit.enter(State::Dead),
            _ => return,
        }
        self.tell(ctx, name);
    }

    // ---- configuration ---------------------------------------------------------------------------

    fn load(&mut self, ctx: &mut Context<'_>, source: &UnitSource) {
        let Some(reading) = config::read(source, self.settings.strict) else {
            return;
        };
        let error = reading
            .findings
            .iter()
            .find(|found| found.severity == Severity::Error);
        let broken = error.map_or(String::new(), |found| found.text.clone());
        let name = source.unit.as_str();
        let can_reload = !reading.config.what.is_empty();
        let unit = self.entry(name);
        // A place is good even where the rest is not: it can be seen, and unmounted.
        unit.config = Some(reading.config);
        unit.broken = broken;
        ctx.send(FromHelper::Loaded {
            unit: name.into(),
            findings: reading.findings,
            implied: Vec::new(),
            can_reload,
        });
        if self.adopted {
            self.read_table();
            self.compare_one(ctx, name);
        }
    }

    fn unload(&mut self, ctx: &mut Context<'_>, name: &str) {
        let idle = |unit: &Unit| unit.record.unit == name && !unit.record.state.is_busy();
        if self.find(idle).is_some() {
            ctx.journal.records.delete(RECORD, key(name));
            self.units.retain(|unit| unit.record.unit != name);
        }
    }

    // ---- commands --------------------------------------------------------------------------------

    fn command(&mut self, ctx: &mut Context<'_>, command: &Command) {
        let name = command.unit.as_str();
        let unit = self.entry(name);
        if let Verb::Kill { signal, .. } = command.verb {
            match unit.record.process {
                Some(proc) => drop(process::kill(proc.into(), i32::from(signal))),
                None => ctx.log(5, name, "it has no process to be signalled".into()),
            }
            return;
        }
        if command.seq <= unit.record.seq {
            return ctx.send(FromHelper::Report(unit.report()));
        }
        unit.record.seq = command.seq;
        unit.record.outcome = Outcome::Pending;
        match command.verb {
            Verb::Start => self.start(ctx, command),
            Verb::Stop => self.stop(ctx, name),
            Verb::Reload => self.remount(ctx, name),
            Verb::ResetFailed | Verb::Kill { .. } => {
                if unit.record.state == State::Failed {
                    unit.enter(State::Dead);
                }
                unit.record.why.clear();
                unit.record.detail.clear();
                unit.conclude(Outcome::Done);
                self.tell(ctx, name);
            }
        }
    }

    fn start(&mut self, ctx: &mut Context<'_>, command: &Command) {
        let name = command.unit.as_str();
        let mounted = self.is_mounted(name);
        let unit = self.entry(name);
        match unit.record.state {
            // It ends, and the end is told; or it is there.
            State::Mounting | State::Unmounting | State::Remounting => return self.tell(ctx, name),
            State::Mounted | State::Dead | State::Failed => {}
        }
        unit.record.invocation = command.invocation;
        unit.record.why.clear();
        unit.record.detail.clear();
        if mounted {
            unit.enter(State::Mounted);
            unit.conclude(Outcome::Done);
            return self.tell(ctx, name);
        }
        let described = unit
            .config
            .as_ref()
            .is_some_and(|config| !config.what.is_empty());
        let why = match unit.broken.as_str() {
            "" if described => return self.begin(ctx, name, State::Mounting, Action::Mount),
            "" => "it is not mounted, and no unit file says what to mount".into(),
            broken => broken.to_owned(),
        };
        self.fail(ctx, name, "resources", why);
    }

    fn stop(&mut self, ctx: &mut Context<'_>, name: &str) {
        let unit = self.entry(name);
        unit.record.tries = 0;
        unit.record.why.clear();
        unit.record.detail.clear();
        match unit.record.state {
            State::Mounting | State::Remounting => {
                unit.enter(State::Unmounting);
                unit.record.signalled = Signalled::Stopped;
                self.tell(ctx, name);
                self.signal(name, signal::SIGTERM);
            }
            State::Unmounting => self.tell(ctx, name),
            State::Mounted => self.unmount(ctx, name),
            State::Dead | State::Failed => {
                unit.enter(State::Dead);
                unit.conclude(Outcome::Done);
                self.tell(ctx, name);
            }
        }
    }

    fn remount(&mut self, ctx: &mut Context<'_>, name: &str) {
        let unit = self.entry(name);
        if unit.record.state == State::Mounted
            && unit.broken.is_empty()
            && !unit.report().status.is_empty()
        {
            return self.begin(ctx, name, State::Remounting, Action::Remount);
        }
        unit.conclude(Outcome::Failed);
        self.tell(ctx, name);
    }

    /// Takes off what is on top of its place, if anything is.
    fn unmount(&mut self, ctx: &mut Context<'_>, name: &str) {
        let mounted = self.is_mounted(name);
        let unit = self.entry(name);
        if mounted {
            unit.record.tries += 1;
            return self.begin(ctx, name, State::Unmounting, Action::Unmount);
        }
        unit.enter(State::Dead);
        unit.conclude(Outcome::Done);
        self.tell(ctx, name);
    }

    /// It is not mounted, and should be.
    fn fail(&mut self, ctx: &mut Context<'_>, name: &str, why: &str, detail: String) {
        let unit = self.entry(name);
        unit.record.why = why.into();
        unit.record.detail = detail;
        unit.enter(State::Failed);
        unit.conclude(Outcome::Failed);
        self.tell(ctx, name);
    }

    // ---- children --------------------------------------------------------------------------------

    /// Announces a command and forks it.
    fn begin(&mut self, ctx: &mut Context<'_>, name: &str, state: State, action: Action) {
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

    fn fork(&mut self, ctx: &mut Context<'_>, name: &str, action: Action) {
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

    fn signal(&mut self, name: &str, signal: i32) {
        let Some(proc) = self.entry(name).record.process else {
            return;
        };
        // The program's own helper (mount.nfs) is in its group. Of a child of an earlier helper the group may be
        // somebody else's by now: it alone is signalled, if it is still what it was.
        let group = proc.start == 0 && process::kill_group(proc.pid, signal).is_ok();
        if !group {
            let _ = process::kill(proc.into(), signal);
        }
    }

    fn action(state: State) -> Action {
        match state {
            State::Remounting => Action::Remount,
            State::Unmounting => Action::Unmount,
            _ => Action::Mount,
        }
    }

    /// A command has ended, or cannot have begun. What counts is the table.
    fn ended(&mut self, ctx: &mut Context<'_>, name: &str, why: &str, detail: String) {
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
    fn process_ended(&mut self, ctx: &mut Context<'_>, name: &str, proc: ProcId, status: i32) {
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

    fn is_due(unit: &Unit, now: Micros) -> bool {
        unit.record.deadline <= now || unit.lost.is_some_and(|until| until <= now)
    }

    /// A command takes too long, or how it ended will not be heard any more.
    fn late(&mut self, ctx: &mut Context<'_>, name: &str, now: Micros) {
        let default = self.settings.timeout_stop;
        let unit = self.entry(name);
        if unit.lost.is_some_and(|until| until <= now) {
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

    // ---- taking over -----------------------------------------------------------------------------

    /// All units are loaded: takes over what an earlier process left, and tells the manager all.
    fn sync(&mut self, ctx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.adopted, true) {
            self.watch_table(ctx);
            self.adopt_records(ctx);
            self.compare(ctx);
        }
        for unit in self.units.iter().filter(|unit| !unit.is_blank()) {
            ctx.send(FromHelper::Report(unit.report()));
        }
    }

    fn adopt_records(&mut self, ctx: &mut Context<'_>) {
        let records = ctx.journal.records.records_of(RECORD);
        let records = records.filter(|stored| stored.version == VERSION);
        let left: Vec<Record> = records
            .filter_map(|stored| {
                let (record, _) = postcard::take_from_bytes::<Record>(&stored.payload).ok()?;
                // The key is a hash: the name in the record is what counts.
                (key(&record.unit) == stored.key).then_some(record)
            })
            .collect();
        let slots = ctx.journal.slots.in_use();
        let mut busy = Vec::new();
        for record in left {
            let name = record.unit.clone();
            busy.extend(record.state.is_busy().then(|| name.clone()));
            self.entry(&name).record = record;
        }
        let mut followed = Vec::new();
        for name in busy {
            followed.extend(self.adopt_command(ctx, &name, &slots));
        }
        // Of commands whose result is on record already.
        for slot in slots.iter().filter(|slot| !followed.contains(slot)) {
            ctx.journal.slots.revoke(*slot);
            ctx.journal.slots.release(*slot);
        }
    }

    /// A command was under way: follows it, or begins it if it is proven that it has not begun.
    fn adopt_command(
        &mut self,
        ctx: &mut Context<'_>,
        name: &str,
        slots: &[SlotId],
    ) -> Option<SlotId> {
        let unit = self.entry(name);
        let (number, state) = (unit.record.number, unit.record.state);
        let journal = &mut ctx.journal.slots;
        let slot = slots.iter().copied().find(|slot| {
            let attempt = journal.attempt(*slot);
            attempt.unit == key(name) && attempt.index == number
        });
        let told = slot.map(|slot| (slot, journal.revoke(slot)));
        match told {
            Some((slot, SlotState::Exited(proc, status))) => {
                unit.slot = Some(slot);
                self.process_ended(ctx, name, proc, status);
                Some(slot)
            }
            Some((
                slot,
                SlotState::Filled(proc) | SlotState::Started(proc) | SlotState::Failed(proc, _),
            )) => {
                unit.slot = Some(slot);
                unit.record.process = Some(proc);
                let alive = process::is_alive(proc.into());
                unit.lost = (!alive).then(|| clock::now().saturating_add(PATIENCE));
                ctx.send(FromHelper::Watch { proc });
                self.record(ctx, name);
                Some(slot)
            }
            _ if state == State::Unmounting => {
                self.unmount(ctx, name);
                self.entry(name).slot
            }
            _ if state == State::Mounting && self.is_mounted(name) => {
                self.ended(ctx, name, "", String::new());
                None
            }
            _ => {
                self.fork(ctx, name, Self::action(state));
                self.entry(name).slot
            }
        }
    }
}

impl UnitType for Mounts {
    fn name(&self) -> &'static str {
        "mount"
    }

    /// What the journal holds is taken over at the first `Sync`: not before the configuration of the
    /// units is there.
    fn adopt(&mut self, _: &mut Context<'_>) {}

    fn welcome(&mut self, config: &HelperConfig, _: &mut Context<'_>) {
        self.settings = config.clone();
    }

    fn message(&mut self, message: Message, ctx: &mut Context<'_>) {
        match message {
            Message::Load(source) => self.load(ctx, &source),
            Message::Unload(unit) => self.unload(ctx, &unit),
            Message::Sync => self.sync(ctx),
            Message::Reconcile => self.compare(ctx),
            Message::Command(command) => self.command(ctx, &command),
            // It triggers nothing and keeps no descriptors.
            Message::Triggered(..)
            | Message::Kept(_)
            | Message::NotKept(..)
            | Message::Fetched(..)
            | Message::NotFound(_)
            | Message::Sockets(_)
            | Message::About(_) => {}
        }
    }

    fn exited(&mut self, proc: ProcId, status: i32, ctx: &mut Context<'_>) {
        let same = |known: ProcId| {
            known.pid == proc.pid && (known.start == 0 || known.start == proc.start)
        };
        let found = self.find(|unit| unit.record.process.is_some_and(same));
        let Some(name) = found.map(|unit| unit.record.unit.clone()) else {
            return;
        };
        self.process_ended(ctx, &name, proc, status);
    }

    fn ready(&mut self, ready: Ready, ctx: &mut Context<'_>) {
        if ready.token == TABLE {
            self.compare(ctx);
        }
    }

    fn tick(&mut self, now: Micros, ctx: &mut Context<'_>) {
        let due = self.units.iter().filter(|unit| Self::is_due(unit, now));
        let due: Vec<String> = due.map(|unit| unit.record.unit.clone()).collect();
        for name in due {
            self.late(ctx, &name, now);
        }
    }

    fn deadline(&self) -> Option<Micros> {
        let of = |unit: &Unit| unit.record.deadline.min(unit.lost.unwrap_or(INFINITY));
        self.units.iter().map(of).filter(|at| *at != INFINITY).min()
    }
}

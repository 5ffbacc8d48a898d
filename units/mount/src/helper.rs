//! The helper of type `mount`: all mount units, and the kernel's table.
//!
//! Each message changes one unit's record, stores it, and then acts: see the model in the library.
//! Nothing here waits.

use crate::command::Action;
use crate::config::{self, Config};
use crate::record::{Record, Signalled, State};
use platform::poll::{Interest, Ready};
use platform::{clock, process, signal};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use units::file::first_error;
use units::journal::SlotId;
use units::mounts;
use units::runtime::{Context, Message, UnitType};
use units::state::{Micros, Outcome, ProcId, Report};
use units::value::time::INFINITY;
use units::wire::helper::{Command, END_UNKNOWN, FromHelper, HelperConfig, UnitSource, Verb};

/// The token of the kernel's table.
const TABLE: u64 = 0;
const TABLE_FILE: &str = "/proc/self/mountinfo";
const TABLE_LIMIT: usize = 16 << 20;
/// How long the report of an exit may take that happened while there was no helper.
pub(crate) const PATIENCE: Micros = 5_000_000;

/// One unit.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    pub(crate) record: Record,
    pub(crate) config: Option<Config>,
    /// Why it cannot be started, if its last configuration was not good.
    pub(crate) broken: String,
    pub(crate) slot: Option<SlotId>,
    /// What the command says.
    pub(crate) said: Option<OwnedFd>,
    /// The command's process is gone: until when its exit may still be reported.
    pub(crate) lost: Option<Micros>,
}

/// All mount units.
#[derive(Debug, Default)]
pub struct Mounts {
    pub(crate) units: Vec<Unit>,
    table: Option<File>,
    /// The points of the kernel's table, as it was last read.
    points: BTreeSet<String>,
    pub(crate) settings: HelperConfig,
    pub(crate) adopted: bool,
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

    pub(crate) fn enter(&mut self, state: State) {
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
    pub(crate) fn conclude(&mut self, outcome: Outcome) {
        if self.record.outcome == Outcome::Pending {
            self.record.outcome = outcome;
        }
    }

    pub(crate) fn point(&self) -> &str {
        self.config.as_ref().map_or("", |config| &config.point)
    }

    pub(crate) fn report(&self) -> Report {
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
}

impl Mounts {
    pub(crate) fn find(&mut self, what: impl Fn(&Unit) -> bool) -> Option<&mut Unit> {
        self.units.iter_mut().find(|unit| what(unit))
    }

    pub(crate) fn entry(&mut self, name: &str) -> &mut Unit {
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
    pub(crate) fn record(&mut self, ctx: &mut Context<'_>, name: &str) {
        ctx.remember(&self.entry(name).record);
    }

    pub(crate) fn tell(&mut self, ctx: &mut Context<'_>, name: &str) {
        self.record(ctx, name);
        ctx.send(FromHelper::Report(self.entry(name).report()));
    }

    /// Reads the table again.
    pub(crate) fn read_table(&mut self) {
        let Ok(bytes) = platform::files::read_file(Path::new(TABLE_FILE), TABLE_LIMIT) else {
            return;
        };
        let text = String::from_utf8_lossy(&bytes);
        // An automount point waits for a mount, and is none.
        let mounts = mounts::table(&text).filter(|mount| mount.kind != "autofs");
        self.points = mounts.map(|mount| mount.point).collect();
    }

    pub(crate) fn is_mounted(&mut self, name: &str) -> bool {
        self.read_table();
        let found = self.units.iter().find(|unit| unit.record.unit == name);
        found.is_some_and(|unit| self.points.contains(unit.point()))
    }

    pub(crate) fn watch_table(&mut self, ctx: &mut Context<'_>) {
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
    pub(crate) fn compare(&mut self, ctx: &mut Context<'_>) {
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

    fn load(&mut self, ctx: &mut Context<'_>, source: &UnitSource) {
        let Some(reading) = config::read(source, self.settings.strict) else {
            return;
        };
        let broken = first_error(&reading.findings, &source.files).unwrap_or_default();
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
            ctx.journal.forget(name);
            self.units.retain(|unit| unit.record.unit != name);
        }
    }

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
    pub(crate) fn unmount(&mut self, ctx: &mut Context<'_>, name: &str) {
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
    pub(crate) fn fail(&mut self, ctx: &mut Context<'_>, name: &str, why: &str, detail: String) {
        let unit = self.entry(name);
        unit.record.why = why.into();
        unit.record.detail = detail;
        unit.enter(State::Failed);
        unit.conclude(Outcome::Failed);
        self.tell(ctx, name);
    }
}

impl UnitType for Mounts {
    fn name(&self) -> &'static str {
        "mount"
    }

    /// What the journal holds is taken over at the first `Sync`: not before the configuration of the
    /// units is there.
    fn adopt(&mut self, _: &mut Context<'_>) {}

    fn welcome(&mut self, config: &HelperConfig, ctx: &mut Context<'_>) {
        self.settings = config.clone();
        let until = ctx.now().saturating_add(PATIENCE);
        for unit in self.units.iter_mut().filter(|unit| unit.lost.is_some()) {
            unit.lost = Some(until);
        }
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
        let same = |known: ProcId| known.may_be(proc);
        let found = self.find(|unit| unit.record.process.is_some_and(same));
        let Some(name) = found.map(|unit| unit.record.unit.clone()) else {
            return;
        };
        if status == END_UNKNOWN {
            let now = clock::now();
            self.entry(&name).lost = Some(now);
            return self.late(ctx, &name, now);
        }
        self.process_ended(ctx, &name, proc, status);
    }

    fn ready(&mut self, ready: Ready, ctx: &mut Context<'_>) {
        if ready.token == TABLE {
            self.compare(ctx);
        }
    }

    fn slept(&mut self, span: Micros, ctx: &mut Context<'_>) {
        for unit in &mut self.units {
            if unit.record.deadline != INFINITY {
                unit.record.deadline = unit.record.deadline.saturating_add(span);
                ctx.remember(&unit.record);
            }
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

//! The manager's state and its loop.
//!
//! One turn: sleep until something happens or is due; take what there is from children, helpers,
//! init and clients, each of which may give the engine something to think about; let the engine
//! step until it has nothing left, carrying out each effect before the next; then send what was
//! queued and acknowledge what is taken. Nothing in a turn waits for anybody.

use crate::boot::Boot;
use crate::console::Console;
use crate::exits::Ledger;
use crate::generate::Generation;
use crate::helpers::Table;
use crate::init_link::InitLink;
use crate::inside::Inside;
use crate::log::Log;
use crate::persist::Persist;
use crate::server::{Listeners, Server};
use engine::Engine;
use engine::api::{Effect, Input, UnitId};
use platform::poll::{Event, Poller, Ready};
use platform::{clock, random};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use unit_files::config::{CommandLine, Config};
use unit_files::loader::Loader;
use units::spec::{Condition, UnitSpec};
use units::state::{Micros, Report};

/// Tokens of the poller.
pub(crate) mod token {
    /// The socket to init.
    pub const INIT: u64 = 1;
    /// The listener of the control socket.
    pub const CONTROL: u64 = 2;
    /// The listener of the public socket.
    pub const PUBLIC: u64 = 3;
    /// The listener for helpers.
    pub const HELPERS: u64 = 4;
    /// The child that sets the hardware watchdog.
    pub const WATCHDOG: u64 = 5;
    /// From here on: tokens of helpers inside, each with room for as many as the type may use.
    const INSIDE: u32 = 48;
    const HELPER: u64 = 1 << 32;
    const CLIENT: u64 = 1 << 40;

    /// A helper's connection.
    pub fn helper(index: usize, generation: u16) -> u64 {
        HELPER | (index as u64) << 16 | u64::from(generation)
    }

    /// A client's connection.
    pub fn client(serial: u32) -> u64 {
        CLIENT | u64::from(serial)
    }

    /// The first token of a helper inside.
    pub fn inside(index: usize) -> u64 {
        (index as u64 + 1) << INSIDE
    }

    /// Whose a token is.
    pub enum Owner {
        /// A helper inside.
        Inside(usize),
        /// Helper and generation of its connection.
        Helper(usize, u16),
        /// Client by serial number.
        Client(u32),
        /// One of the constants, or nobody.
        Other,
    }

    /// Takes a token apart.
    pub fn owner(token: u64) -> Owner {
        if token >> INSIDE != 0 {
            Owner::Inside((token >> INSIDE) as usize - 1)
        } else if token & CLIENT != 0 {
            Owner::Client(token as u32)
        } else if token & HELPER != 0 {
            Owner::Helper((token >> 16 & 0xffff) as usize, token as u16)
        } else {
            Owner::Other
        }
    }
}

/// What the shell knows of a unit beyond the engine.
#[derive(Debug, Default)]
pub(crate) struct UnitInfo {
    /// Its files were read in this manager's life, or since the last reload.
    pub loaded: bool,
    /// Its helper has read its sections since then.
    pub checked: bool,
    /// `Description=`.
    pub description: Box<str>,
    /// Unit file and drop-ins.
    pub files: Vec<String>,
    /// `Condition…=` and `Assert…=`.
    pub conditions: Vec<Condition>,
    pub asserts: Vec<Condition>,
    /// What its end tells the machine's end, where its file says anything.
    pub ending: Option<Box<crate::ending::Ending>>,
    /// The last report of its helper; without the name.
    pub report: Option<Box<Report>>,
    /// Findings of the loader and of the helper: `file:line: text`.
    pub findings: Vec<String>,
    /// Directives the helper does not carry out.
    pub unsupported: Vec<String>,
    /// The condition that kept it from starting.
    pub condition: String,
    /// When its state last changed; 0: not in this manager's life.
    pub since: Micros,
    /// When it began to come up or go down.
    pub begun: Micros,
    /// A helper said that it can be reloaded.
    pub can_reload: bool,
    /// Why its last job failed.
    pub detail: String,
}

/// What the shell knows of all units, by the engine's numbers.
#[derive(Debug, Default)]
pub(crate) struct Infos {
    known: Vec<UnitInfo>,
    /// For a number the engine never gave out.
    nobody: UnitInfo,
}

impl Infos {
    fn of(&mut self, unit: UnitId) -> &mut UnitInfo {
        let index = unit.0 as usize;
        if unit.0 != u32::MAX && index >= self.known.len() {
            self.known.resize_with(index + 1, UnitInfo::default);
        }
        self.known.get_mut(index).unwrap_or(&mut self.nobody)
    }
}

/// Everything the manager has.
pub struct Manager {
    pub(crate) config: Config,
    pub(crate) command_line: CommandLine,
    pub(crate) engine: Engine,
    pub(crate) loader: Loader,
    /// Targets that were loaded and do not come after what they pull in yet.
    pub(crate) unordered: Vec<UnitSpec>,
    pub(crate) persist: Persist,
    pub(crate) poller: Poller,
    pub(crate) init: Option<InitLink>,
    pub(crate) helpers: Table,
    pub(crate) exits: Ledger,
    pub(crate) listeners: Listeners,
    pub(crate) server: Server,
    pub(crate) console: Console,
    pub(crate) screen: Option<platform::console::Console>,
    pub(crate) log: Log,
    pub(crate) boot: Boot,
    pub(crate) units: Infos,
    /// The generators' process, while it runs.
    pub(crate) generating: Option<Generation>,
    /// What the kernel was called with; empty in a container.
    pub(crate) kernel_line: String,
    /// What was found when records were compared with the kernel last.
    pub(crate) comparison: crate::reconcile::Comparison,
    /// The program that generates.
    pub(crate) generator: PathBuf,
    /// The hardware watchdog, and what sets it.
    pub(crate) watchdog: crate::watchdog::Watchdog,
    pub(crate) set_device: crate::watchdog::Set,
    /// For invocations' ids.
    pub(crate) random: random::Pool,
    /// For the engine, in order.
    pub(crate) inputs: VecDeque<Input>,
    /// Watches asked for in this turn.
    pub(crate) fresh_watches: Vec<(usize, units::state::ProcId)>,
    /// Of earlier ones those that are gone, and of which init may still tell.
    pub(crate) gone_watches: Vec<(usize, units::state::ProcId)>,
    /// The user we run as.
    pub(crate) own_uid: u32,
    /// Frames from init were set aside or left unread.
    pub(crate) more_from_init: bool,
    /// Helpers that are not processes.
    pub(crate) inside: Inside,
    /// Our own crashes, and what is not done any more because of them.
    pub(crate) crashes: crate::crashes::Crashes,
    /// Units that are loaded again at the end of this turn, after whoever asked for that has his answer.
    pub(crate) pardoned: Vec<units::name::UnitName>,
    /// The state store took no record when last asked.
    pub(crate) store_full: bool,
    /// Listening descriptors of units for others.
    pub(crate) offers: crate::triggers::Offers,
    /// Where our sockets are.
    pub(crate) run_dir: PathBuf,
    /// Where the helpers' executables are.
    pub(crate) helper_dir: PathBuf,
    /// Below which unit files and settings are.
    pub(crate) root: PathBuf,
    /// The directory of our cgroups, or empty.
    pub(crate) cgroup_root: String,
    /// Epoch init gave us.
    pub(crate) epoch: u64,
    /// A helper has been welcomed by a later manager: we must end.
    pub(crate) fenced: bool,
    /// Asked to be replaced.
    pub(crate) leaving: bool,
    /// The last upgrade.
    pub(crate) upgrade: crate::upgrade::UpgradeRecord,
    /// Init was asked to keep what is tried.
    pub(crate) handing_over: bool,
    /// An upgrade was taken back by init.
    pub(crate) came_back: bool,
    /// When this manager began, and when it had everything under control again (0: not yet).
    pub(crate) started: Micros,
    pub(crate) recovered: Micros,
    /// How much of what the machine was suspended the engine knows.
    pub(crate) suspended: Micros,
    /// For frames from helpers and clients.
    pub(crate) buffer: Vec<u8>,
}

impl Manager {
    /// Runs until it is to be replaced. Returns the exit status: 0 asks init for a new manager.
    pub fn run(&mut self) -> i32 {
        self.read_init();
        self.turn();
        loop {
            if let Some(status) = self.step(None) {
                return status;
            }
        }
    }

    /// One turn, for which it sleeps until something happens or is due, or until `at` (boot time). The exit
    /// status once it is to be replaced.
    pub fn step(&mut self, at: Option<Micros>) -> Option<i32> {
        if let Some(status) = self.ending() {
            return Some(status);
        }
        let deadline = self.deadline().into_iter().chain(at).min();
        if let Err(error) = self.wait(deadline) {
            self.log(2, "", &format!("waiting for events failed: {error}"));
            return Some(1);
        }
        self.turn();
        None
    }

    /// Sleeps until something happens or boot time `deadline`, and takes what there is.
    pub(crate) fn wait(&mut self, deadline: Option<Micros>) -> io::Result<()> {
        let deadline = if self.more_from_init || !self.inputs.is_empty() {
            Some(1)
        } else {
            deadline
        };
        let mut events: Vec<Event> = Vec::new();
        self.poller.wait(deadline, &mut events)?;
        self.note_sleep();
        // Our children first: see `read_init` for why.
        if events.contains(&Event::Children) {
            self.reap_children();
        }
        for event in &events {
            match event {
                Event::Ready(ready) => self.on_ready(*ready),
                Event::Signal(signal) => self.on_own_signal(*signal),
                Event::Children => {}
            }
        }
        if self.more_from_init {
            self.read_init();
        }
        Ok(())
    }

    /// The second half of a turn: everything that follows from what was taken.
    pub(crate) fn turn(&mut self) {
        self.check_fresh_watches();
        let now = clock::now();
        self.helpers_due(now);
        self.generation_due(now);
        self.watchdog_due(now);
        self.safe_mode_due(now);
        self.upgrade_due(now);
        if self.engine.next_deadline().is_some_and(|due| due <= now) {
            self.inputs.push_back(Input::Tick);
        }
        self.pump();
        self.stop_units();
        self.check_recovered();
        self.tell_if_ready();
        for index in 0..self.helpers.len() {
            self.send_exits(index);
        }
        self.compare_if_due();
        self.progress(clock::now());
        self.answer_clients();
        self.flush_helpers();
        self.acknowledge();
        units::fault::point("turn");
        for name in std::mem::take(&mut self.pardoned) {
            self.load_unit(&name);
        }
        self.rest();
    }

    /// After a boot or a large request, once nothing is queued: what that took is given back.
    fn rest(&mut self) {
        let idle = self.engine.jobs().next().is_none() && self.inputs.is_empty();
        if idle && platform::heap::has_grown() && self.helpers.rest() {
            self.engine.rest();
            self.loader.rest();
            platform::heap::trim();
        }
    }

    fn ending(&mut self) -> Option<i32> {
        if self.init.as_ref().is_some_and(InitLink::lost) {
            self.log(
                2,
                "",
                "init has closed its connection: this manager is not wanted any more",
            );
            return Some(1);
        }
        if self.fenced {
            self.log(2, "", "a later manager is at work: this one ends");
            return Some(1);
        }
        (self.leaving && self.server.idle()).then_some(0)
    }

    /// The engine counts no time that the machine was suspended. It hears of that before what has happened since.
    fn note_sleep(&mut self) {
        if let Some(span) = clock::slept(&mut self.suspended) {
            self.inputs.push_front(Input::Slept { span });
        }
    }

    fn deadline(&self) -> Option<Micros> {
        [
            self.engine.next_deadline(),
            self.helpers.deadline(),
            self.inside.deadline(),
            self.console.deadline(),
            self.server.deadline(),
            self.generation_deadline(),
            self.watchdog.deadline(),
            self.boot.safe_until,
            self.upgrade_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_ready(&mut self, ready: Ready) {
        match ready.token {
            token::INIT => {
                if ready.writable {
                    self.flush_init();
                }
                self.read_init();
            }
            token::HELPERS => self.accept_helpers(),
            token::CONTROL => self.accept_clients(true),
            token::PUBLIC => self.accept_clients(false),
            token::WATCHDOG => self.watchdog_ready(),
            other => match token::owner(other) {
                token::Owner::Helper(index, generation) => {
                    self.helper_ready(index, generation, ready);
                }
                token::Owner::Client(serial) => self.client_ready(serial, ready),
                token::Owner::Inside(index) => self.inside_ready(index, ready),
                token::Owner::Other => {}
            },
        }
    }

    /// Lets the engine think until it has nothing left to think about.
    pub(crate) fn pump(&mut self) {
        let mut effects: Vec<Effect> = Vec::new();
        while let Some(input) = self.inputs.pop_front() {
            let random = &mut || self.random.bits128();
            self.engine.step(clock::now(), input, random, &mut effects);
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
        }
    }

    /// The shell's knowledge of a unit.
    pub(crate) fn info(&mut self, unit: UnitId) -> &mut UnitInfo {
        self.units.of(unit)
    }

    /// Writes to the log.
    pub(crate) fn log(&mut self, level: u8, unit: &str, text: &str) {
        self.log.write(level, unit, text);
    }

    /// Writes a line to the console, if there is one and lines are wanted.
    pub(crate) fn show(&mut self, line: &str) {
        if let Some(screen) = &self.screen {
            screen.write(line.as_bytes());
        }
    }

    fn flush_init(&mut self) {
        if let Some(init) = &mut self.init {
            init.flush();
        }
    }

    /// Everything is managed: init is told, once.
    fn check_recovered(&mut self) {
        if self.recovered == 0 && self.helpers.absent() == 0 {
            self.recovered = clock::now();
            self.look_after_helpers();
            if self.boot.recovery {
                let took = (self.recovered - self.started) / 1000;
                let text = format!(
                    "manager {} has taken over after {took} ms: {} units known",
                    self.epoch,
                    self.engine
                        .units()
                        .filter(|unit| unit.load.is_some())
                        .count()
                );
                self.log(5, "", &text);
                self.comparison.due = true;
            }
        }
    }
}

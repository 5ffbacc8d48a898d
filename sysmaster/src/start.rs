//! How a manager comes to life: alone, or in place of one that died.

use crate::boot::Boot;
use crate::console::{Console, Style};
use crate::crashes::Step;
use crate::exits::Ledger;
use crate::helpers::{Phase, Table};
use crate::init_link::InitLink;
use crate::inside::{Builtin, Inside};
use crate::lifecycle::{STOPPED, look_at};
use crate::log::Log;
use crate::manager::{Infos, Manager, token};
use crate::persist::{self, ConditionRecord, HelperRecord, Persist, Recovered};
use crate::server::{Listeners, Server};
use engine::Engine;
use init_wire::{Kind, Label, flags};
use platform::memory::Memory;
use platform::poll::{Interest, Poller};
use platform::{clock, fd, kernel, socket};
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use unit_files::config::{CommandLine, Config};
use unit_files::loader::{Loader, Settings};
use units::collections::Map;
use units::name::UnitName;
use units::spec::StartLimit;
use units::state::JobResult;
use units::wire::MAX_FRAME;

/// Where things are on this machine; elsewhere in tests.
#[derive(Clone, Debug)]
pub struct Places {
    /// The sockets, and memory files where the kernel has none.
    pub(crate) run: PathBuf,
    /// The helpers' executables.
    pub(crate) helpers: PathBuf,
    /// Unit files and settings are looked for below it.
    pub(crate) root: PathBuf,
    /// What generates units: an executable that does so when it is called by that name.
    pub(crate) generator: PathBuf,
    /// What sets the hardware watchdog.
    pub(crate) set_device: crate::watchdog::Set,
    /// Helpers this executable contains.
    pub(crate) builtin: Builtin,
    /// Whether there is a console and a kernel's log to write to.
    pub(crate) speak: bool,
}

impl Places {
    /// Those of a running machine.
    fn new(builtin: Builtin) -> Self {
        Self {
            builtin,
            run: "/run/sysmaster".into(),
            helpers: HELPERS.into(),
            // Ourselves, as we are and not as we may be installed by now.
            generator: "/proc/self/exe".into(),
            root: "/".into(),
            set_device: crate::watchdog::set,
            speak: true,
        }
    }

    /// All below one directory, and silent: a machine of a test.
    pub fn below(root: &Path, builtin: Builtin) -> Self {
        Self {
            builtin,
            run: root.join("run"),
            helpers: root.join("helpers"),
            generator: root.join("generate"),
            root: root.to_owned(),
            set_device: crate::watchdog::set,
            speak: false,
        }
    }
}

/// The helpers' executables on a running machine.
const HELPERS: &str = "/usr/lib/sysmaster/helpers";
/// Connections that may wait at a listener: helpers and clients during an outage.
pub(crate) const BACKLOG: i32 = 256;

/// Runs a manager whose socket to init has this number.
pub(crate) fn run(init_fd: i32, builtin: Builtin) -> i32 {
    let started = clock::now();
    let socket = fd::inherited(init_fd).map_err(failed("the descriptor of --init-fd"));
    match socket.and_then(|socket| Manager::start(socket, &Places::new(builtin), started)) {
        Ok(mut manager) => {
            manager.begin();
            manager.run()
        }
        Err(error) => {
            let log = platform::console::KernelLog::open();
            log.write(
                2,
                "sysmaster",
                &format!("the manager cannot start: {error}"),
            );
            eprintln!("sysmaster: cannot start: {error}");
            1
        }
    }
}

fn failed(what: &str) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

impl Manager {
    /// A manager that has its store and its listeners and has taken up what was left, but has not
    /// begun anything.
    pub fn start(socket: OwnedFd, places: &Places, started: u64) -> io::Result<Self> {
        let poller = Poller::new(&[libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGPIPE])
            .map_err(failed("no way to wait for events"))?;
        let mut build = [0; 8];
        for (to, from) in build.iter_mut().zip(env!("CARGO_PKG_VERSION").bytes()) {
            *to = from;
        }
        let mut init = InitLink::open(socket, build).map_err(failed("init does not greet"))?;
        make_directories(&places.run);
        let config = Config::read(&places.root);
        let mut log = Log::open(config.log_level, places.speak);
        let mut persist = open_store(&mut init, &places.run, &mut log)?;
        let listeners = open_listeners(&mut init, &places.run, &mut log);
        let recovered = persist.recover();
        let hello = *init.hello();
        let container = hello.flags & flags::CONTAINER != 0;
        let line = if container {
            String::new()
        } else {
            kernel::command_line()
        };
        let command_line = CommandLine::read(&line);
        let quiet = !config.show_status.unwrap_or(!command_line.quiet);
        let style = Style {
            colour: understands_colour(),
            quiet,
        };
        let mut manager = Self {
            engine: Engine::new(engine::Config {
                epoch: u32::try_from(hello.epoch).unwrap_or(u32::MAX),
                ..engine::Config::default()
            }),
            loader: Loader::new(loader_settings(&config, &places.root)),
            unordered: Vec::new(),
            command_line,
            generating: None,
            comparison: crate::reconcile::Comparison::default(),
            kernel_line: line,
            generator: places.generator.clone(),
            watchdog: crate::watchdog::Watchdog::default(),
            set_device: places.set_device,
            persist,
            poller,
            init: Some(init),
            helpers: Table::default(),
            exits: Ledger::default(),
            listeners,
            server: Server::default(),
            console: Console::new(style),
            screen: places.speak.then(platform::console::Console::open),
            log,
            boot: Boot::default(),
            units: Infos::default(),
            random: platform::random::Pool::default(),
            inputs: VecDeque::new(),
            fresh_watches: Vec::new(),
            gone_watches: Vec::new(),
            more_from_init: false,
            offers: Map::new(),
            store_full: false,
            pardoned: Vec::new(),
            crashes: crate::crashes::Crashes::default(),
            inside: Inside::new(places.builtin),
            run_dir: places.run.clone(),
            helper_dir: places.helpers.clone(),
            root: places.root.clone(),
            cgroup_root: cgroup_root(),
            epoch: hello.epoch,
            fenced: false,
            leaving: false,
            upgrade: crate::upgrade::UpgradeRecord::default(),
            handing_over: false,
            came_back: false,
            own_uid: own_uid(),
            started,
            recovered: 0,
            suspended: clock::suspended(),
            buffer: vec![0; MAX_FRAME + 1],
            config,
        };
        for finding in std::mem::take(&mut manager.config.findings) {
            manager.log(4, "", &finding);
        }
        manager.watch_all()?;
        manager.resume_upgrade(recovered.upgrade.clone())?;
        manager.recover(recovered);
        Ok(manager)
    }

    /// Tells the poller of what is open from the start.
    fn watch_all(&self) -> io::Result<()> {
        if let Some(init) = &self.init {
            self.poller.add(init, token::INIT, Interest::READ)?;
        }
        let listeners = &self.listeners;
        for (listener, token) in [
            (&listeners.control, token::CONTROL),
            (&listeners.public, token::PUBLIC),
            (&listeners.helper, token::HELPERS),
        ] {
            if let Some(listener) = listener {
                self.poller.add(listener, token, Interest::READ)?;
            }
        }
        Ok(())
    }

    /// Takes up what an earlier manager of this boot left.
    fn recover(&mut self, mut found: Recovered) {
        self.crashes = std::mem::take(&mut found.crashes);
        if let Some(before) = self.init.as_ref().map(|init| init.hello().before) {
            self.note_death(before);
        }
        if !self.takes_off(Step::Restore, "") {
            // As if they were lost.
            found.records.clear();
            found.boot = None;
            found.unreadable += 1;
        }
        if !self.salvage(&mut found) {
            self.lands();
            return;
        }
        let Some(record) = found.boot else { return };
        self.boot.record = record;
        self.boot.recovery = true;
        for helper in found.helpers {
            self.recover_helper(&helper);
        }
        let offers = found.offers.into_iter();
        self.offers = offers.map(|offer| (offer.from.clone(), offer)).collect();
        self.engine.restore(found.records);
        self.lands();
        for name in found.adopted {
            self.load_for(&name);
        }
        let on_trial = self.upgrade.runs();
        for name in self.engine.restored() {
            if on_trial {
                // A sign of life: init expects one every second.
                self.tell_init(&init_wire::FromManager::Pong { nonce: 0 });
            }
            // One that was recorded may have pulled this one in.
            if self
                .engine
                .find(&name)
                .is_none_or(|unit| unit.load.is_none())
            {
                self.load_one(&name);
            }
            self.load_for(&name);
        }
        self.recover_conditions(found.conditions);
        self.compare_timers();
        self.inputs.push_back(engine::api::Input::Tick);
        self.pump();
    }

    /// What kept units from starting, where that is what became of their last jobs: an earlier version that took over
    /// in between has not removed what was over.
    fn recover_conditions(&mut self, conditions: Vec<ConditionRecord>) {
        let kept = |result| matches!(result, JobResult::Skipped | JobResult::Assert);
        for ConditionRecord { unit, text } in conditions {
            let known = UnitName::new(&unit).ok();
            let known = known.and_then(|name| self.engine.find(&name).map(|unit| unit.id));
            let id = known.filter(|id| self.engine.past(*id).is_some_and(|past| kept(past.result)));
            if let Some(id) = id {
                self.info(id).condition = text;
            }
        }
    }

    /// A helper that was running: it is expected to connect. One that is stopped cannot, one that
    /// is gone will not.
    fn recover_helper(&mut self, record: &HelperRecord) {
        let Some(index) = self.helpers.index(&record.unit_type) else {
            return;
        };
        let now = clock::now();
        let Some(helper) = self.helpers.get_mut(index) else {
            return;
        };
        helper.proc = Some(record.proc);
        helper.phase = Phase::Awaited;
        helper.since = now;
        helper.debt = Some(crate::helpers::Debt::new(0, now + crate::helpers::ARRIVAL));
        match look_at(record.proc) {
            None => self.helper_died(index, libc::SIGKILL),
            Some(status) if status.state == STOPPED => self.helper_stopped(index),
            Some(_) => {}
        }
    }
}

/// The state store init keeps, or a new one.
fn open_store(init: &mut InitLink, run: &Path, log: &mut Log) -> io::Result<Persist> {
    let label = persist::label();
    if let Some(fd) = init
        .fetch_now(label)
        .map_err(failed("asking init for the state store"))?
    {
        match Memory::from_fd(fd).and_then(Persist::open) {
            Ok(store) => return Ok(store),
            Err(error) => {
                let text = format!("the state store that was kept cannot be used: {error}");
                log.write(2, "", &text);
            }
        }
    }
    let store = Persist::create(run).map_err(failed("memory for the state store"))?;
    let kept = store
        .duplicate()
        .and_then(|fd| init.keep_now(label, fd.as_fd()));
    if !kept.unwrap_or(false) {
        log.write(
            2,
            "",
            "init does not keep the state store: it ends with this manager",
        );
    }
    Ok(store)
}

/// The listening sockets init keeps, or new ones. Where /run cannot be written to there are none:
/// the machine boots, but nobody can talk to it.
fn open_listeners(init: &mut InitLink, run: &Path, log: &mut Log) -> Listeners {
    let mut open = |name: &str, mode: u32| -> Option<OwnedFd> {
        let label = Label::of(Kind::LISTENER, name);
        let path = run.join(name);
        if let Ok(Some(fd)) = init.fetch_now(label) {
            // A socket whose path is gone is of no use to anybody.
            if socket::adopt_listener(&fd).is_ok() && platform::files::exists(&path) {
                return Some(fd);
            }
        }
        let listener = match socket::listen(&path, mode, BACKLOG) {
            Ok(listener) => listener,
            Err(error) => {
                let text = format!("cannot listen at {}: {error}", path.display());
                log.write(2, "", &text);
                return None;
            }
        };
        if !init.keep_now(label, listener.as_fd()).unwrap_or(false) {
            let text = format!(
                "init does not keep {}: it ends with this manager",
                path.display()
            );
            log.write(3, "", &text);
        }
        Some(listener)
    };
    Listeners {
        control: open("control", 0o600),
        public: open("public", 0o666),
        helper: open("helper", 0o600),
    }
}

fn loader_settings(config: &Config, root: &Path) -> Settings {
    Settings {
        root: root.to_owned(),
        unit_path: config.search_path(),
        strict: config.strict,
        start_limit: StartLimit {
            interval: config.start_limit_interval,
            burst: config.start_limit_burst,
            ..StartLimit::default()
        },
        has_type: |unit_type| Path::new(HELPERS).join(unit_type).is_file(),
    }
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid())
}

fn make_directories(run: &Path) {
    let made = platform::files::make_dir(run, 0o755, None)
        .and_then(|()| platform::files::make_dir(&run.join("notify"), 0o755, None))
        .and_then(|()| platform::files::make_dir(&run.join("missing"), 0o755, None));
    if made.is_err() {
        platform::degrade::note(platform::degrade::Feature::RuntimeDirectory);
    }
}

/// The directory our services' cgroups lie in: that above our own leaf.
fn cgroup_root() -> String {
    let Some(found) = platform::cgroup::detect() else {
        return String::new();
    };
    let leaf = found
        .own
        .file_name()
        .is_some_and(|name| name == "init.scope");
    let root = if leaf {
        found.own.parent().map(Path::to_owned)
    } else {
        Some(found.own)
    };
    root.and_then(|root| root.to_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Colours need a terminal that is not dumb; the console of a board is `linux` or `vt100` and more,
/// unless somebody said otherwise on the kernel's command line.
fn understands_colour() -> bool {
    std::env::var("TERM").is_ok_and(|term| !matches!(term.as_str(), "" | "dumb" | "unknown"))
        && std::io::stdout().is_terminal()
}

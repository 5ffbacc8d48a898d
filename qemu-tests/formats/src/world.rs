//! A machine for the real manager: files in memory, an init that keeps descriptors, and services that do at once
//! what they are told, inside the manager. The manager is driven turn by turn; its clients use its real sockets.

use init_wire::{FRAME_MAX, FromManager, Hello, Label, ToManager};
use platform::poll::{Interest, Poller, Ready};
use platform::{clock, socket};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use sysmaster::Places;
use sysmaster::manager::Manager;
use units::journal::Remembered;
use units::runtime::{Context, Message, UnitType};
use units::state::{ActiveState, Invocation, Micros, Outcome, ProcId, Report};
use units::wire::control::{ErrorKind, Reply, Request};
use units::wire::helper::{FromHelper, HelperConfig, Verb};
use units::wire::{self, MAX_FRAME};

/// Nothing in here takes this long, except on a machine that does not run.
const PATIENCE: Micros = 20_000_000;

const CONFIG: &str =
    "[Manager]\nHelpers=in-process\nShowStatus=no\nUnitPath=/etc/sysmaster/system\n";
const UNITS: [(&str, &str); 6] = [
    (
        "default.target",
        "[Unit]\nDefaultDependencies=no\nWants=a.service b.service\nAfter=a.service\n",
    ),
    (
        "a.service",
        "[Unit]\nDefaultDependencies=no\nRequires=b.service\n[Service]\nExecStart=/bin/x\n",
    ),
    (
        "b.service",
        "[Unit]\nDefaultDependencies=no\nBefore=a.service\n[Service]\nExecStart=/bin/x\n",
    ),
    (
        "c@.service",
        "[Unit]\nDefaultDependencies=no\nConflicts=b.service\nOnFailure=d.target\n[Service]\nExecStart=/bin/x\n",
    ),
    (
        "d.target",
        "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\nBindsTo=a.service\nAfter=a.service\n",
    ),
    (
        "poweroff.target",
        "[Unit]\nDefaultDependencies=no\nConflicts=a.service b.service\nAfter=a.service b.service\n",
    ),
];

/// Descriptors by label, as init has them.
pub type Kept = Arc<Mutex<BTreeMap<Label, OwnedFd>>>;

/// A machine.
pub struct World {
    root: PathBuf,
    /// What init keeps.
    pub kept: Kept,
    epoch: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

impl World {
    /// One whose next manager has the epoch after this one.
    pub fn new(epoch: u64) -> Self {
        let base = ["/dev/shm", "/tmp"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.is_dir());
        let name = format!("sysmaster-world-{:x}", platform::random::bits128() >> 64);
        let root = base.unwrap().join(name);
        let directory = root.join("etc/sysmaster/system");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::create_dir_all(root.join("helpers")).unwrap();
        std::fs::write(root.join("helpers/service"), "").unwrap();
        std::fs::write(root.join("etc/sysmaster/system.conf"), CONFIG).unwrap();
        for (name, text) in UNITS {
            std::fs::write(directory.join(name), text).unwrap();
        }
        Self {
            root,
            kept: Kept::default(),
            epoch,
        }
    }

    /// The next manager, which has taken up what the last one left and begun.
    pub fn manager(&mut self) -> Driven {
        self.epoch += 1;
        let (theirs, ours) = socket::pair().unwrap();
        let hello = Hello {
            version: init_wire::VERSION,
            epoch: self.epoch,
            flags: init_wire::flags::CONTAINER,
            capacity: 100,
            ..Hello::default()
        };
        say(&ours, ToManager::Hello(hello), None);
        let (kept, ready) = (self.kept.clone(), Arc::new(AtomicBool::new(false)));
        let told = ready.clone();
        let init = std::thread::spawn(move || keep(&ours, &kept, &told));
        let places = Places::below(&self.root, |kind| {
            (kind == "service").then(|| Box::new(Obedient) as Box<dyn UnitType>)
        });
        let mut manager = Manager::start(theirs, &places, clock::now())
            .expect("a manager starts whatever was left");
        manager.begin();
        Driven {
            manager: Some(manager),
            init: Some(init),
            ready,
            run: self.root.join("run"),
        }
    }
}

fn say(init: &OwnedFd, frame: ToManager, fd: Option<&OwnedFd>) {
    let mut buffer = [0; FRAME_MAX];
    let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
    // A manager that is gone hears nothing.
    let _ = socket::send(init, frame.encode(&mut buffer).unwrap(), &fds);
}

/// init's side, until the manager is gone.
fn keep(init: &OwnedFd, kept: &Mutex<BTreeMap<Label, OwnedFd>>, ready: &AtomicBool) {
    let mut poller = Poller::new(&[]).unwrap();
    poller.add(init, 0, Interest::READ).unwrap();
    let mut buffer = [0; FRAME_MAX];
    loop {
        let got = match socket::receive(init, &mut buffer) {
            Ok(Some(got)) if got.length > 0 => got,
            Ok(Some(_)) | Err(_) => return,
            Ok(None) => {
                poller.wait(None, &mut Vec::new()).unwrap();
                continue;
            }
        };
        let mut kept = kept.lock().unwrap();
        match FromManager::decode(&buffer[..got.length]).expect("a frame") {
            FromManager::Keep { label } => {
                kept.insert(label, got.fds.into_iter().next().expect("a descriptor"));
                say(init, ToManager::Kept { label }, None);
            }
            FromManager::Fetch { label } => match kept.get(&label) {
                Some(fd) => say(init, ToManager::Fd { label }, Some(fd)),
                None => say(init, ToManager::NotFound { label }, None),
            },
            FromManager::Drop { label } => {
                let count = u32::from(kept.remove(&label).is_some());
                say(init, ToManager::Dropped { count }, None);
            }
            FromManager::Ready => ready.store(true, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// A manager that is driven.
pub struct Driven {
    manager: Option<Manager>,
    init: Option<std::thread::JoinHandle<()>>,
    ready: Arc<AtomicBool>,
    run: PathBuf,
}

impl Drop for Driven {
    fn drop(&mut self) {
        // Killed, as far as anybody can see.
        drop(self.manager.take());
        if let Some(init) = self.init.take() {
            let ended = init.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "init could not read a frame of the manager"
            );
        }
    }
}

impl Driven {
    /// A connection to `control` or `public`.
    pub fn connect(&self, name: &str) -> OwnedFd {
        socket::connect(&self.run.join(name)).unwrap()
    }

    /// One turn. `false`: it is to be replaced, which it may only ask for in good order.
    pub fn turn(&mut self, wait: Micros) -> bool {
        match self
            .manager
            .as_mut()
            .unwrap()
            .step(Some(clock::now() + wait))
        {
            None => true,
            Some(status) => {
                assert_eq!(status, 0, "the manager gave up");
                false
            }
        }
    }

    /// All frames of an answer; `None`: the manager is to be replaced before it answers.
    pub fn ask(&mut self, request: &Request) -> Option<Vec<Reply>> {
        let client = self.connect("control");
        for frame in [
            &Request::Hello {
                version: wire::VERSION,
            },
            request,
        ] {
            socket::send(&client, &wire::encode(frame).unwrap(), &[]).unwrap();
        }
        let end = clock::now() + PATIENCE;
        let mut replies = Vec::new();
        let mut buffer = vec![0; MAX_FRAME];
        loop {
            assert!(clock::now() < end, "a client has no answer to {request:?}");
            match socket::receive(&client, &mut buffer).unwrap() {
                None if self.turn(20_000) => {}
                None => return None,
                Some(got) if got.length == 0 => panic!("the manager hung up on a good client"),
                Some(got) => match wire::decode(&buffer[..got.length]).expect("a reply") {
                    Reply::Hello { .. } => {}
                    Reply::End => return Some(replies),
                    Reply::Error {
                        kind: ErrorKind::Internal,
                        message,
                    } => panic!("{message}"),
                    error @ Reply::Error { .. } => return Some(vec![error]),
                    reply => replies.push(reply),
                },
            }
        }
    }

    /// The states of all units once the manager has taken over, no job is left and nothing changes; `None` as for
    /// [`Driven::ask`], or if something always changes.
    pub fn states(&mut self) -> Option<BTreeMap<String, ActiveState>> {
        let end = clock::now() + PATIENCE;
        while !self.ready.load(Ordering::Relaxed) {
            assert!(
                clock::now() < end,
                "the manager never has everything under control"
            );
            if !self.turn(1_000) {
                return None;
            }
        }
        let mut before = None;
        for _ in 0..20 {
            let busy = !self.ask(&Request::ListJobs)?.is_empty();
            let now = Some(self.states_now()?);
            if !busy && now == before {
                return now;
            }
            before = now;
        }
        None
    }

    fn states_now(&mut self) -> Option<BTreeMap<String, ActiveState>> {
        let request = Request::ListUnits {
            patterns: Vec::new(),
            all: true,
        };
        let lines = self
            .ask(&request)?
            .into_iter()
            .filter_map(|reply| match reply {
                Reply::Unit(line) => Some((line.name, line.active)),
                _ => None,
            });
        Some(lines.collect())
    }
}

/// What is remembered of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Note {
    unit: String,
    seq: u64,
    invocation: Invocation,
    up: bool,
}

impl Remembered for Note {
    fn unit(&self) -> &str {
        &self.unit
    }

    fn is_blank(&self) -> bool {
        self.seq == 0
    }
}

/// Services that are up or down at once, and remember it.
struct Obedient;

impl Obedient {
    fn report(note: &Note, context: &mut Context<'_>) {
        let word = if note.up { "running" } else { "dead" };
        context.send(FromHelper::Report(Report {
            unit: note.unit.clone(),
            invocation: note.invocation,
            seq: note.seq,
            outcome: Outcome::Done,
            active: if note.up {
                ActiveState::Active
            } else {
                ActiveState::Inactive
            },
            sub: word.into(),
            result: "success".into(),
            since: 1,
            can_reload: true,
            ..Report::default()
        }));
    }
}

impl UnitType for Obedient {
    fn name(&self) -> &'static str {
        "service"
    }

    fn adopt(&mut self, _: &mut Context<'_>) {}

    fn welcome(&mut self, _: &HelperConfig, _: &mut Context<'_>) {}

    fn message(&mut self, message: Message, context: &mut Context<'_>) {
        match message {
            Message::Load(source) => context.send(FromHelper::Loaded {
                unit: source.unit,
                findings: Vec::new(),
                implied: Vec::new(),
                can_reload: true,
            }),
            Message::Sync => {
                let (notes, _) = context.journal.remembered::<Note>();
                notes.iter().for_each(|note| Self::report(note, context));
            }
            Message::Unload(unit) => context.journal.forget(&unit),
            Message::Command(command) => {
                let known = context.journal.remembered::<Note>().0;
                let before = known
                    .into_iter()
                    .find(|note| note.unit == command.unit)
                    .unwrap_or_default();
                let up = match command.verb {
                    Verb::Start => true,
                    Verb::Stop => false,
                    _ => before.up,
                };
                let note = Note {
                    unit: command.unit,
                    seq: command.seq,
                    invocation: command.invocation,
                    up,
                };
                context.remember(&note);
                Self::report(&note, context);
            }
            _ => {}
        }
    }

    fn exited(&mut self, _: ProcId, _: i32, _: &mut Context<'_>) {}

    fn ready(&mut self, _: Ready, _: &mut Context<'_>) {}

    fn tick(&mut self, _: Micros, _: &mut Context<'_>) {}

    fn deadline(&self) -> Option<Micros> {
        None
    }
}

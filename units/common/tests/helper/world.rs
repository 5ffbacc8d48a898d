//! The manager and init of a helper under test.

use super::*;

/// Manager and init in one: listens, keeps the memories, and inherits orphans.
pub struct World {
    pub base: PathBuf,
    pub poller: Poller,
    pub listener: Option<OwnedFd>,
    pub connection: Option<OwnedFd>,
    pub helper: u32,
    pub kept: Vec<(Label, OwnedFd)>,
}

impl Drop for World {
    fn drop(&mut self) {
        for proc in process::children_of(process::own_pid()) {
            let _ = process::kill(proc, signal::SIGKILL);
        }
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

impl World {
    pub fn new() -> Self {
        process::become_subreaper().unwrap();
        let name = format!("helper-test-{}", process::own_pid());
        let base = std::env::temp_dir().join(name);
        std::fs::create_dir(&base).unwrap();
        let poller = Poller::new(&[]).unwrap();
        let mut world = Self {
            base,
            poller,
            listener: None,
            connection: None,
            helper: 0,
            kept: Vec::new(),
        };
        world.listen();
        world
    }

    pub fn listen(&mut self) {
        let listener = socket::listen(&self.base.join("helper"), 0o600, 8).unwrap();
        self.poller.add(&listener, 1, Interest::READ).unwrap();
        self.listener = Some(listener);
    }

    pub fn start_helper(&mut self) {
        let base = self.base.clone();
        self.helper = process::spawn(None, |_| {
            child::close_from(3, &[]);
            let settings = Settings {
                fallback: base.clone(),
                ..Settings::new("test")
            };
            let toy = Toy {
                base: base.clone(),
                slots: Vec::new(),
            };
            units::runtime::socket::run_at(Box::new(toy), settings, &base.join("helper"))
        })
        .unwrap()
        .pid;
    }

    /// Waits until `ask` has an answer; fails after ten seconds.
    pub fn until<T>(&mut self, what: &str, mut ask: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = clock::now() + 10_000_000;
        let mut events: Vec<Event> = Vec::new();
        loop {
            if let Some(found) = ask(self) {
                return found;
            }
            assert!(clock::now() < end, "{what}: not within ten seconds");
            self.poller
                .wait(Some(clock::now() + 20_000), &mut events)
                .unwrap();
            events.clear();
        }
    }

    /// Accepts the helper and returns its hello: epoch and whether it has its journal.
    pub fn accept(&mut self) -> (u64, bool) {
        let connection = self.until("a connection", |world| {
            socket::accept(world.listener.as_ref().unwrap()).unwrap()
        });
        assert_eq!(socket::peer(&connection).unwrap().pid, self.helper);
        self.connection = Some(connection);
        match self.hear() {
            FromHelper::Hello {
                epoch,
                adopted,
                unit_type,
                ..
            } => {
                assert_eq!(unit_type, "toy");
                (epoch, adopted)
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn say(&self, message: &ToHelper, fds: &[&OwnedFd]) {
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let bytes = wire::encode(message).unwrap();
        socket::send(self.connection.as_ref().unwrap(), &bytes, &fds).unwrap();
    }

    /// The next frame; keeps what is to be kept. `None` at the end of the connection.
    pub fn hear_or_end(&mut self) -> Option<FromHelper> {
        let mut buffer = vec![0; wire::MAX_FRAME];
        let got = self.until("a frame", |world| {
            socket::receive(world.connection.as_ref().unwrap(), &mut buffer).unwrap()
        });
        if got.length == 0 {
            return None;
        }
        let frame = wire::decode(&buffer[..got.length]).unwrap();
        if let FromHelper::Keep { label } = frame {
            self.kept.retain(|(old, _)| *old != label);
            self.kept.push((label, got.fds.into_iter().next().unwrap()));
            self.say(&ToHelper::Kept { label }, &[]);
        }
        Some(frame)
    }

    pub fn hear(&mut self) -> FromHelper {
        self.hear_or_end().expect("the helper ended the connection")
    }

    /// Frames up to a report whose word begins like this; returns the word.
    pub fn report(&mut self, begin: &str) -> String {
        loop {
            if let FromHelper::Report(report) = self.hear()
                && report.sub.starts_with(begin)
            {
                return report.sub;
            }
        }
    }

    pub fn welcome(&mut self, epoch: u64) {
        let config = HelperConfig::default();
        self.say(
            &ToHelper::Welcome {
                version: VERSION,
                build: "m".into(),
                epoch,
                config,
            },
            &[],
        );
        for kind in [kind::JOURNAL, kind::SLOTS] {
            let label = Label {
                kind,
                hash: hash128(b"toy"),
                index: 0,
            };
            match self.kept.iter().find(|(kept, _)| *kept == label) {
                Some((_, fd)) => self.say(&ToHelper::Fd { label }, &[fd]),
                None => self.say(&ToHelper::NotFound { label }, &[]),
            }
        }
        self.say(&ToHelper::Sync, &[]);
    }

    pub fn synced(&mut self) {
        while self.hear() != FromHelper::Synced {}
    }

    /// A helper, connected and synced.
    pub fn ready() -> Self {
        let mut world = Self::new();
        world.start_helper();
        assert_eq!(world.accept(), (0, false));
        world.welcome(1);
        world.synced();
        world
    }

    /// Has the helper fork; the child waits where `unit` says. Returns its pid.
    pub fn command(&mut self, unit: &str) {
        let command = Command {
            unit: unit.into(),
            invocation: Invocation(1),
            seq: 1,
            verb: Verb::Start,
        };
        self.say(&ToHelper::Command(command), &[]);
    }

    pub fn forked(&mut self) -> u32 {
        self.report("forked")[7..].parse().unwrap()
    }

    /// The view of the memories that init has.
    pub fn journal(&self) -> Journal {
        let of = |kind| {
            let found = self
                .kept
                .iter()
                .find(|(label, _)| label.kind == kind)
                .unwrap();
            Memory::from_fd(found.1.try_clone().unwrap()).unwrap()
        };
        Journal::open(of(kind::JOURNAL), of(kind::SLOTS)).unwrap().0
    }

    pub fn slot(&self) -> SlotState {
        let journal = self.journal();
        let used = journal.slots.in_use();
        assert_eq!(used.len(), 1);
        assert_eq!(journal.slots.attempt(used[0]).step, 7);
        journal.slots.state(used[0])
    }

    pub fn make_gate(&self) {
        let path = self.base.join("gate");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    }

    pub fn open_gate(&self) {
        drop(
            std::fs::OpenOptions::new()
                .write(true)
                .open(self.base.join("gate"))
                .unwrap(),
        );
    }

    /// The raw status of this process, once it has ended.
    pub fn ended(&mut self, pid: u32) -> i32 {
        self.until("an end", |_| process::reap(pid).unwrap())
    }

    pub fn kill_helper(&mut self) {
        process::kill_child(self.helper, signal::SIGKILL).unwrap();
        let helper = self.helper;
        assert_eq!(self.ended(helper), signal::SIGKILL);
    }

    pub fn next_helper(&mut self) -> String {
        self.start_helper();
        assert_eq!(self.accept(), (0, false));
        self.welcome(2);
        self.report("")
    }
}

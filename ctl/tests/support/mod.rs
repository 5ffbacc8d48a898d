//! A manager that says what a test tells it to, and a screen that keeps what was written.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use units::state::{ActiveState, JobPast, JobResult, JobVerb, ProcId, Times};
use units::wire::control::{ManagerInfo, Reply, Request, UnitDetail, UnitHistory, UnitLine};
use units::wire::{self, VERSION};

/// Boot clock of the fake machine: two minutes and five seconds after the units below came up.
pub const NOW: u64 = 200_000_000;
/// Wall clock of the fake machine: 2026-11-22 21:20:03 UTC.
pub const WALL: u64 = 1_795_382_403_000_000;

/// One thing the fake manager does.
#[allow(clippy::large_enum_variant)]
pub enum Step {
    /// Answers.
    Say(Reply),
    /// Answers with these bytes.
    Raw(Vec<u8>),
    /// Goes away.
    HangUp,
    /// Does nothing for good.
    Silence,
}

/// The script of a test: a request and how many came before it, to steps.
pub type Script = dyn Fn(&Request, usize) -> Vec<Step> + Send + Sync;

/// The fake manager. Ends with the value.
pub struct Fake {
    pub path: PathBuf,
    requests: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Fake {
    /// Listens and answers by the script. `Hello` is answered by itself; after the steps for any
    /// other request comes `End`, unless one of them ended the conversation.
    pub fn new(script: impl Fn(&Request, usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sctl-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = platform::socket::listen(&path, 0o600, 16).unwrap();
        platform::fd::set_nonblocking(&listener, false).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (log, stop) = (requests.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            while let Ok(Some(fd)) = platform::socket::accept(&listener) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let stream = UnixStream::from(fd);
                stream.set_nonblocking(false).unwrap();
                if let Some(kept) = serve(stream, &script, &log) {
                    silent.push(kept);
                }
            }
        });
        Self {
            path,
            requests,
            over,
            thread: Some(thread),
        }
    }

    /// Requests so far, without `Hello`.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = platform::socket::connect(&self.path);
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One connection; it is given back if it must stay open without an answer.
fn serve(mut stream: UnixStream, script: &Script, log: &Mutex<Vec<Request>>) -> Option<UnixStream> {
    let mut buffer = vec![0; wire::MAX_FRAME];
    let say = |stream: &mut UnixStream, reply: &Reply| {
        let _ = stream.write(&wire::encode(reply).unwrap());
    };
    loop {
        let length = stream.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            return None;
        }
        let request: Request = wire::decode(&buffer[..length]).unwrap();
        if matches!(request, Request::Hello { .. }) {
            say(
                &mut stream,
                &Reply::Hello {
                    version: VERSION,
                    build: "b1".into(),
                    control: true,
                },
            );
            continue;
        }
        let before = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        let mut open = true;
        for step in script(&request, before) {
            match step {
                Step::Say(reply) => {
                    open = !matches!(reply, Reply::Error { .. });
                    say(&mut stream, &reply);
                }
                Step::Raw(bytes) => drop(stream.write(&bytes)),
                Step::HangUp => return None,
                Step::Silence => return Some(stream),
            }
        }
        if open {
            say(&mut stream, &Reply::End);
        }
    }
}

/// What a run of sctl has left behind.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs sctl against a fake manager, on a pipe that shows Unicode.
pub fn sctl(fake: &Fake, args: &[&str]) -> Run {
    sctl_alone(&at(fake, args), None)
}

/// The same with answers that may be coloured; standard error is a terminal, or not.
pub fn sctl_coloured(fake: &Fake, args: &[&str], live: bool) -> Run {
    let style = sctl::Style {
        colour: true,
        width: Some(80),
        unicode: true,
    };
    run_on(&at(fake, args), style, live)
}

fn at<'a>(fake: &'a Fake, args: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["--socket", fake.path.to_str().unwrap()];
    all.extend(args);
    all
}

/// Runs sctl with just these arguments; with a terminal of this width, if any.
pub fn sctl_alone(args: &[&str], width: Option<usize>) -> Run {
    let style = sctl::Style {
        colour: false,
        width,
        unicode: true,
    };
    run_on(args, style, width.is_some())
}

fn run_on(args: &[&str], style: sctl::Style, live: bool) -> Run {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = sctl::run(
        args.iter().map(std::ffi::OsString::from).collect(),
        &mut sctl::Screen {
            out: &mut out,
            err: &mut err,
            style,
            live,
            wall: WALL,
            host: "board".to_owned(),
        },
    );
    Run {
        code,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

/// A unit in one line.
pub fn line(name: &str, active: ActiveState, sub: &str) -> UnitLine {
    UnitLine {
        name: name.into(),
        load: "loaded".into(),
        active,
        sub: sub.into(),
        description: format!("The {} of the test", name.split('.').next().unwrap()),
        job: None,
    }
}

/// A unit that is up and well.
pub fn detail(name: &str) -> UnitDetail {
    UnitDetail {
        line: line(name, ActiveState::Active, "running"),
        names: vec![name.into()],
        fragment: format!("/usr/lib/sysmaster/system/{name}"),
        dropins: Vec::new(),
        need_reload: false,
        load_error: String::new(),
        result: "success".into(),
        detail: String::new(),
        status: String::new(),
        invocation: "0123".into(),
        main: Some(ProcId {
            pid: 4_000_000_000,
            start: 7,
        }),
        control: None,
        exit: None,
        since: NOW - 125_000_000,
        deadline: None,
        restarts: 0,
        restart_at: None,
        cgroup: String::new(),
        documentation: Vec::new(),
        unsupported: Vec::new(),
        condition: String::new(),
        dependencies: vec![("Requires".into(), vec!["sysinit.target".into()])],
        can_reload: false,
    }
}

/// What is remembered of a unit that came up at boot.
pub fn history(name: &str) -> UnitHistory {
    UnitHistory {
        unit: name.into(),
        active: ActiveState::Active,
        times: Times {
            inactive_exit: 1_500_000,
            active_enter: 1_700_000,
            ..Times::default()
        },
        job: Some(past("boot", "")),
        before: String::new(),
        limit_hit: false,
    }
}

/// A start that was done at boot.
pub fn past(cause: &str, unit: &str) -> JobPast {
    JobPast {
        verb: JobVerb::Start,
        result: JobResult::Done,
        cause: cause.into(),
        cause_unit: unit.into(),
        culprit: String::new(),
        asked: 1_100_000,
        ended: 1_700_000,
    }
}

/// The manager of the fake machine.
pub fn manager() -> ManagerInfo {
    ManagerInfo {
        version: "0.1.0".into(),
        build: "b1".into(),
        state: "running".into(),
        epoch: 1,
        pid: 2,
        now: NOW,
        units: 3,
        jobs: 0,
        failed: 0,
        started: 1_000_000,
        finished: 2_200_000,
        recovery: 0,
        helpers: vec![("service".into(), 3, true)],
        quarantine: Vec::new(),
        missing: Vec::new(),
    }
}

/// A refusal.
pub fn refuse(kind: units::wire::control::ErrorKind, message: &str) -> Vec<Step> {
    vec![Step::Say(Reply::Error {
        kind,
        message: message.into(),
    })]
}

/// That a job is queued.
pub fn queued(unit: &str, job: u32) -> Step {
    Step::Say(Reply::Queued {
        unit: unit.into(),
        job,
    })
}

/// That a job has ended.
pub fn ended(unit: &str, verb: JobVerb, result: units::state::JobResult, why: &str) -> Step {
    Step::Say(Reply::Ended {
        unit: unit.into(),
        verb,
        result,
        detail: why.into(),
    })
}

/// A root directory that no machine runs on, removed at the end of the test.
pub struct Root(pub PathBuf);

impl Root {
    pub fn empty() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sctl-root-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `sctl --root=…`.
    pub fn sctl(&self, args: &[&str]) -> Run {
        let root = format!("--root={}", self.0.display());
        let mut all = vec![root.as_str()];
        all.extend(args);
        sctl_alone(&all, None)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

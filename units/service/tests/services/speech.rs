//! What services say, and who may say it.

use super::Scenario;
use super::rig::Rig;
use std::os::unix::net::UnixDatagram;
use units::state::{ActiveState, Exit, Outcome};
use units::wire::helper::Verb;

pub const ALL: &[Scenario] = &[
    ("notify", notify),
    ("notify: foreign and senseless", foreign),
    ("notify: main process", main_process),
    ("notify: watchdog", watchdog),
    ("watchdog: fed in time", watchdog_fed),
    ("watchdog: triggered, its own signal", watchdog_triggered),
    ("watchdog: another span", watchdog_span),
    ("watchdog: waits while the helper is away", watchdog_away),
    (
        "watchdog: waits while the machine stands still",
        watchdog_still,
    ),
    ("watchdog: what the service is told", watchdog_told),
    ("notify: while the helper is away", away),
    ("notify-reload", reload),
    ("notify: deposit", deposit),
    ("notify: deposits by name and number", deposits_by_name),
    ("notify: deposits kept after a stop", deposits_preserved),
    ("notify: a deposit that is refused", deposit_refused),
    ("notify: read again after a death", read_again),
];

/// This executable as a service: says its arguments, one datagram each; `sleep` ends in sleep,
/// `wait:FILE` waits for a file, `hup:TEXT|TEXT` says these when SIGHUP comes, `raw:` sends bytes
/// that are no text, `pid:` adds the number of a process made by it.
#[allow(clippy::zombie_processes)] // It is meant to outlive this process.
pub fn client(words: &[String]) {
    let path = std::env::var("NOTIFY_SOCKET").unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    let say = |text: &[u8]| {
        socket.send_to(text, &path).unwrap();
    };
    for word in words {
        match word.split_once(':') {
            _ if word == "sleep" => loop {
                std::thread::sleep(std::time::Duration::from_secs(1000));
            },
            Some(("wait", file)) => {
                while !std::path::Path::new(file).exists() {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
            // So that the sender of the last datagram can still be looked up.
            _ if word == "linger" => std::thread::sleep(std::time::Duration::from_millis(300)),
            Some(("feed", times)) => {
                for _ in 0..times.parse().unwrap() {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    say(b"WATCHDOG=1");
                }
            }
            Some(("raw", _)) => say(b"READY=1\xff\xfe"),
            Some(("long", _)) => say(&vec![b'x'; 6000]),
            Some(("listen", name)) => deposits(&path, name),
            Some(("keep", text)) => keep(&path, text),
            Some(("barrier", _)) => barrier(&path),
            Some(("passed", file)) => {
                let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
                std::fs::write(file, names).unwrap();
            }
            Some(("fork", _)) => {
                let child = std::process::Command::new("/bin/sleep")
                    .arg("1000")
                    .spawn()
                    .unwrap();
                say(format!("MAINPID={}\nREADY=1", child.id()).as_bytes());
            }
            Some(("exit", code)) => std::process::exit(code.parse().unwrap()),
            _ => say(word.replace(',', "\n").as_bytes()),
        }
    }
}

/// Says what was kept from before; if nothing was, deposits a file without a name.
fn deposits(path: &str, name: &str) {
    use std::io::Read;
    use std::os::fd::AsFd;
    if let Ok(count) = std::env::var("LISTEN_FDS") {
        let names = std::env::var("LISTEN_FDNAMES").unwrap();
        assert_eq!(
            std::env::var("LISTEN_PID").unwrap(),
            std::process::id().to_string()
        );
        let mut text = String::new();
        std::fs::File::open("/proc/self/fd/3")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        println!("{count} {names} {text}");
        return;
    }
    println!("none");
    let file = std::env::temp_dir().join(format!("deposit-{}", std::process::id()));
    std::fs::write(&file, "content").unwrap();
    let opened = std::fs::File::open(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(path).unwrap();
    let text = format!("FDSTORE=1\nFDNAME={name}");
    platform::socket::send(&socket, text.as_bytes(), &[opened.as_fd()]).unwrap();
}

/// Deposits a socket: `NAME`, `NAME,FDPOLL=0`; `NAME,gone` is one whose other side is closed, `NAME,twice`
/// comes twice.
fn keep(path: &str, text: &str) {
    use std::os::fd::AsFd;
    let (name, how) = text.split_once(',').unwrap_or((text, ""));
    let (ours, theirs) = platform::socket::pair().unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(path).unwrap();
    let said = format!("FDSTORE=1\nFDNAME={name}\n{how}");
    for _ in 0..1 + u8::from(how == "twice") {
        platform::socket::send(&socket, said.as_bytes(), &[ours.as_fd()]).unwrap();
    }
    if how != "gone" && how != "FDPOLL=0" {
        std::mem::forget(theirs);
    }
}

/// Waits until everything said so far is done.
fn barrier(path: &str) {
    use std::os::fd::AsFd;
    let (reader, writer) = platform::fd::pipe().unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(path).unwrap();
    platform::socket::send(&socket, b"BARRIER=1", &[writer.as_fd()]).unwrap();
    drop(writer);
    platform::fd::set_nonblocking(&reader, false).unwrap();
    assert_eq!(platform::fd::read(&reader, &mut [0; 1]).unwrap(), 0);
}

fn says(words: &str) -> String {
    let own = std::env::current_exe().unwrap();
    format!("Type=notify\nExecStart={} notify {words}\n", own.display())
}

fn notify(rig: &mut Rig) {
    rig.load(
        "a.service",
        &says("STATUS=soon wait:@D/go READY=1,STATUS=up sleep"),
    );
    rig.load("b.service", &says("exit:0"));
    rig.helper();
    let seq = rig.command("a.service", Verb::Start);
    rig.until("the status", |rig| {
        rig.reports
            .get("a.service")
            .is_some_and(|report| report.status == "soon")
    });
    assert_eq!(rig.active("a.service"), ActiveState::Activating);
    std::fs::write(rig.directory.join("go"), "").unwrap();
    assert_eq!(rig.outcome("a.service", seq), Outcome::Done);
    assert_eq!(rig.reports["a.service"].status, "up");
    assert_eq!(rig.stop("a.service"), Outcome::Done);
    assert_eq!(rig.start("b.service"), Outcome::Failed);
    assert_eq!(rig.reports["b.service"].result, "protocol");
}

fn foreign(rig: &mut Rig) {
    rig.load(
        "a.service",
        &says("raw: long: MAINPID=1 MAINPID=999999 wait:@D/go READY=1 sleep"),
    );
    rig.helper();
    let seq = rig.command("a.service", Verb::Start);
    rig.until("a complaint", |rig| {
        rig.logs.iter().any(|line| line.contains("ignored"))
    });
    // Somebody else speaks: this process.
    let socket = std::fs::read_dir(rig.directory.join("notify"))
        .unwrap()
        .next()
        .unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    for _ in 0..8 {
        sender
            .send_to(b"READY=1\nSTATUS=foreign", socket.as_ref().unwrap().path())
            .unwrap();
    }
    assert!(!rig.within(200_000, |rig| rig.active("a.service")
        == ActiveState::Active));
    std::fs::write(rig.directory.join("go"), "").unwrap();
    assert_eq!(rig.outcome("a.service", seq), Outcome::Done);
    let report = &rig.reports["a.service"];
    assert!(report.status.is_empty() && report.main.is_some());
    let complaints = rig
        .logs
        .iter()
        .filter(|line| line.contains("ignored"))
        .count();
    assert_eq!(complaints, 1, "complaints are limited: {:?}", rig.logs);
}

fn main_process(rig: &mut Rig) {
    rig.load("a.service", &says("fork: exit:0"));
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    assert!(!rig.within(200_000, |rig| rig.active("a.service")
        != ActiveState::Active));
    let main = rig.reports["a.service"].main.unwrap();
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{}/comm", main.pid)).unwrap(),
        "sleep\n"
    );
    platform::process::kill(main.into(), 9).unwrap();
    rig.is("a.service", ActiveState::Failed);
}

fn watchdog(rig: &mut Rig) {
    rig.load(
        "a.service",
        &format!(
            "WatchdogSec=300ms\nTimeoutAbortSec=5\nLimitCORE=0\n{}",
            says("READY=1 sleep")
        ),
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    rig.is("a.service", ActiveState::Failed);
    assert_eq!(rig.reports["a.service"].result, "watchdog");
}

/// A service with these settings that says this.
fn watched(rig: &mut Rig, settings: &str, words: &str) {
    let text = format!("{settings}\nLimitCORE=0\n{}", says(words));
    rig.load("a.service", &text);
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
}

fn watchdog_fed(rig: &mut Rig) {
    watched(rig, "WatchdogSec=1", "READY=1 feed:15 STATUS=fed sleep");
    rig.until("it was fed past its time", |rig| {
        rig.reports["a.service"].status == "fed"
    });
    assert_eq!(rig.active("a.service"), ActiveState::Active);
    rig.is("a.service", ActiveState::Failed);
    assert_eq!(rig.reports["a.service"].result, "watchdog");
}

fn watchdog_triggered(rig: &mut Rig) {
    let settings = "WatchdogSignal=SIGUSR1\nRestart=on-watchdog";
    watched(rig, settings, "READY=1 wait:@D/go WATCHDOG=trigger sleep");
    std::fs::write(rig.directory.join("go"), "").unwrap();
    rig.is("a.service", ActiveState::Failed);
    let report = &rig.reports["a.service"];
    assert_eq!(report.result, "watchdog");
    assert_eq!(report.exit, Some(Exit::Signal(10)));
    assert!(report.restart.is_some(), "without WatchdogSec= too");
}

fn watchdog_span(rig: &mut Rig) {
    watched(rig, "WatchdogSec=1h", "READY=1 WATCHDOG_USEC=200000 sleep");
    rig.is("a.service", ActiveState::Failed);
    assert_eq!(rig.reports["a.service"].result, "watchdog");
}

fn watchdog_away(rig: &mut Rig) {
    watched(rig, "WatchdogSec=1", "READY=1 sleep");
    rig.kill_helper();
    // Longer than its time: nobody was there to hear it.
    std::thread::sleep(std::time::Duration::from_millis(1300));
    rig.helper();
    rig.until("it is adopted", |rig| rig.reports.contains_key("a.service"));
    assert_eq!(rig.active("a.service"), ActiveState::Active);
    // From then on it has all of it again, and no more.
    rig.is("a.service", ActiveState::Failed);
    assert_eq!(rig.reports["a.service"].result, "watchdog");
}

fn watchdog_still(rig: &mut Rig) {
    watched(rig, "WatchdogSec=1", "READY=1 feed:20 STATUS=fed sleep");
    let main = rig.reports["a.service"].main.unwrap();
    // Longer than its time, and nobody was there to feed it or to hear it.
    rig.stand_still(main.pid, std::time::Duration::from_millis(2500));
    rig.until("it was fed to the end", |rig| {
        rig.reports["a.service"].status == "fed"
    });
    assert_eq!(rig.active("a.service"), ActiveState::Active);
    rig.is("a.service", ActiveState::Failed);
    assert_eq!(rig.reports["a.service"].result, "watchdog");
}

fn watchdog_told(rig: &mut Rig) {
    // (No NotifyAccess=: a watched service may say that it lives.)
    let told =
        "echo $WATCHDOG_USEC $WATCHDOG_PID $$$$ $${NOTIFY_SOCKET:+heard} >@D/told; exec sleep 1000";
    rig.load(
        "a.service",
        &format!("WatchdogSec=1h\nExecStart=/bin/sh -c '{told}'\n"),
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done);
    let pid = rig.reports["a.service"].main.unwrap().pid;
    rig.reads("told", &format!("3600000000 {pid} {pid} heard\n"));
}

fn away(rig: &mut Rig) {
    rig.load(
        "a.service",
        &says("wait:@D/go STATUS=away READY=1 wait:@D/more STATUS=back sleep"),
    );
    rig.helper();
    let seq = rig.command("a.service", Verb::Start);
    rig.until("it is on its way", |rig| {
        rig.reports
            .get("a.service")
            .is_some_and(|report| report.main.is_some())
    });
    rig.kill_helper();
    std::fs::write(rig.directory.join("go"), "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    rig.helper();
    assert_eq!(rig.outcome("a.service", seq), Outcome::Done);
    assert_eq!(rig.reports["a.service"].status, "away");
    std::fs::write(rig.directory.join("more"), "").unwrap();
    rig.until("it is heard again", |rig| {
        rig.reports["a.service"].status == "back"
    });
}

fn reload(rig: &mut Rig) {
    // The shell stands for a daemon that answers SIGHUP; the client is its mouth.
    let own = std::env::current_exe().unwrap();
    let own = own.display();
    rig.load(
        "a.service",
        &format!(
            "Type=notify-reload\nNotifyAccess=all\nTimeoutStartSec=5\nExecStart=/bin/sh -c '\
             trap \"{own} notify RELOADING=1 linger; echo again >>@D/out; {own} notify READY=1 \
             linger\" HUP; {own} notify READY=1 linger; while :; do sleep 0.02; done'\n"
        ),
    );
    rig.helper();
    std::fs::write(rig.directory.join("up"), "").unwrap();
    assert_eq!(
        rig.start("a.service"),
        Outcome::Done,
        "{:?} {:?}",
        rig.reports,
        rig.logs
    );
    let seq = rig.command("a.service", Verb::Reload);
    rig.is("a.service", ActiveState::Reloading);
    let outcome = rig.outcome("a.service", seq);
    assert_eq!(outcome, Outcome::Done, "{:#?} {:?}", rig.reports, rig.logs);
    assert_eq!(rig.read("out"), "again\n");
    assert_eq!(rig.active("a.service"), ActiveState::Active);
}

/// What a service deposits comes back to its next instance, across a helper that was killed, and is
/// gone when the service is stopped.
fn deposit(rig: &mut Rig) {
    rig.load(
        "a.service",
        &format!(
            "FileDescriptorStoreMax=2\nNotifyAccess=main\nStandardOutput=append:@D/out\n{}\
             ExecStartPost=/bin/true\nRestart=always\n",
            says("listen:kept READY=1 sleep")
        ),
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.logs);
    rig.reads("out", "none\n");
    rig.kill_helper();
    rig.helper();
    let main = rig.reports["a.service"].main.unwrap();
    platform::process::kill(main.into(), 9).unwrap();
    rig.is("a.service", ActiveState::Failed);
    assert_eq!(rig.start("a.service"), Outcome::Done);
    rig.reads("out", "none\n1 kept content\n");
    assert_eq!(rig.kept_services(), 1);
    assert_eq!(rig.stop("a.service"), Outcome::Done);
    rig.until("it is dropped", |rig| rig.kept_services() == 0);
}

/// Removed by name; gone when the other side is, unless `FDPOLL=0`; never more than allowed, never
/// the same twice; and in the order of their numbers in the next instance.
fn deposits_by_name(rig: &mut Rig) {
    let words = "passed:@D/names keep:a keep:b keep:c,twice FDSTOREREMOVE=1,FDNAME=b keep:d,gone keep:e,FDPOLL=0 \
                 keep:f keep:g barrier: READY=1 sleep";
    rig.load(
        "a.service",
        &format!("FileDescriptorStoreMax=5\nRestart=always\n{}", says(words)),
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.logs);
    rig.until("the one without another side is gone", |rig| {
        rig.kept_services() == 4 || rig.kept_services() == 5
    });
    let before = rig.kept_services();
    rig.kill_helper();
    rig.helper();
    let main = rig.reports["a.service"].main.unwrap();
    platform::process::kill(main.into(), 9).unwrap();
    rig.is("a.service", ActiveState::Failed);
    // Nobody holds the other sides any more but of e, which is not looked at.
    rig.until("those whose service died are gone", |rig| {
        rig.kept_services() == 1
    });
    assert!(before > 1);
    assert_eq!(rig.start("a.service"), Outcome::Done);
    rig.reads("names", "e");
}

fn deposits_preserved(rig: &mut Rig) {
    for (preserve, kept) in [("no", 0), ("restart", 0), ("yes", 1)] {
        let unit = format!("{preserve}.service");
        let text = format!(
            "FileDescriptorStoreMax=5\nFileDescriptorStorePreserve={preserve}\n{}",
            says("keep:e,FDPOLL=0 barrier: READY=1 sleep")
        );
        rig.load(&unit, &text);
        if !rig.has_helper() {
            rig.helper();
        }
        assert_eq!(rig.start(&unit), Outcome::Done, "{:?}", rig.logs);
        assert_eq!(rig.kept_services(), 1, "the barrier was lifted too early");
        assert_eq!(rig.stop(&unit), Outcome::Done);
        assert!(rig.within(5_000_000, |rig| rig.kept_services() == kept));
    }
    rig.send(
        units::wire::helper::ToHelper::Unload {
            unit: "yes.service".into(),
        },
        None,
    );
    rig.until("a unit that is forgotten keeps nothing", |rig| {
        rig.kept_services() == 0
    });
}

/// The barrier is lifted, people are told, and the next instance does not get it.
fn deposit_refused(rig: &mut Rig) {
    let text = says("passed:@D/names keep:e,FDPOLL=0 barrier: READY=1 sleep");
    rig.load(
        "a.service",
        &format!("FileDescriptorStoreMax=5\nRestart=always\n{text}"),
    );
    rig.full = true;
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.logs);
    assert!(
        rig.logs.iter().any(|line| line.contains("no room")),
        "{:?}",
        rig.logs
    );
    let main = rig.reports["a.service"].main.unwrap();
    platform::process::kill(main.into(), 9).unwrap();
    rig.is("a.service", ActiveState::Failed);
    assert_eq!(rig.start("a.service"), Outcome::Done);
    rig.reads("names", "");
}

/// The helper dies with what was said on record and still in the socket: it counts, and counts once.
fn read_again(rig: &mut Rig) {
    let text = says("keep:e,FDPOLL=0 READY=1,STATUS=up sleep");
    rig.load("a.service", &format!("FileDescriptorStoreMax=5\n{text}"));
    let faulty = rig.transport() == super::rig::Transport::Process;
    if faulty {
        rig.fault = Some("notified".into());
    }
    rig.helper();
    let seq = rig.command("a.service", Verb::Start);
    if faulty {
        rig.until("the helper dies", |rig| !rig.has_helper());
        rig.fault = None;
        rig.helper();
    }
    assert_eq!(
        rig.outcome("a.service", seq),
        Outcome::Done,
        "{:?}",
        rig.logs
    );
    assert_eq!(rig.reports["a.service"].status, "up");
    assert_eq!(rig.kept_services(), 1);
}

//! What services say, and who may say it.

use super::Scenario;
use super::rig::Rig;
use std::os::unix::net::UnixDatagram;
use units::state::{ActiveState, Outcome};
use units::wire::helper::Verb;

pub const ALL: &[Scenario] = &[
    ("notify", notify),
    ("notify: foreign and senseless", foreign),
    ("notify: main process", main_process),
    ("notify: watchdog", watchdog),
    ("notify: while the helper is away", away),
    ("notify-reload", reload),
    ("notify: deposit", deposit),
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
            Some(("raw", _)) => say(b"READY=1\xff\xfe"),
            Some(("long", _)) => say(&vec![b'x'; 6000]),
            Some(("listen", name)) => deposits(&path, name),
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

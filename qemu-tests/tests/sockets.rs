//! Listening sockets: on-demand starts, and that nobody is refused whoever of ours is killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Proc, Setup};
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const KILL: i32 = 9;
const STOP: i32 = 19;

/// Answers each connection with its process number, the names of its descriptors and what the client
/// said, and writes each datagram to a file.
const SERVER: &str = r#"
import os, selectors, socket
assert int(os.environ["LISTEN_PID"]) == os.getpid()
count, names = int(os.environ["LISTEN_FDS"]), os.environ["LISTEN_FDNAMES"]
assert not os.path.exists("/proc/self/fd/%d" % (3 + count))
chosen = selectors.DefaultSelector()
for number in range(3, 3 + count):
    one = socket.socket(fileno=number)
    assert one.getblocking() or os.get_blocking(number)
    chosen.register(one, selectors.EVENT_READ)
with open("/run/instances", "a") as log: log.write("%d %s\n" % (os.getpid(), names))
while True:
    for key, _ in chosen.select():
        if key.fileobj.type == socket.SOCK_DGRAM:
            with open("/run/datagrams", "a") as log: log.write(key.fileobj.recv(4096).decode() + "\n")
            continue
        conn, _ = key.fileobj.accept()
        said = conn.recv(100).decode()
        conn.sendall(("%d %s %s" % (os.getpid(), names, said)).encode())
        conn.close()
        if said == "end": os._exit(0)
"#;

fn with_server(setup: &Setup, socket: &str, service: &str) {
    setup.file("usr/bin/server.py", SERVER);
    setup
        .wanted("echo.socket", &format!("[Unit]\nStartLimitIntervalSec=0\n[Socket]\n{socket}"))
        .unit(
            "echo.service",
            &format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/usr/bin/python3 /usr/bin/server.py\n{service}"),
        );
}

const STREAM: &str = "ListenStream=/run/echo.sock\nTriggerLimitIntervalSec=0\n";

/// Says something to the server and gives its answer.
fn ask(machine: &Machine, said: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(machine.path("run/echo.sock"))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(said.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn instances(machine: &Machine) -> usize {
    machine.read("run/instances").lines().count()
}

fn listens(machine: &Machine) {
    machine.wait("it listens", || {
        machine.property("echo.socket", "SubState") == "listening"
    });
}

#[test]
fn a_connection_starts_the_service_which_gets_its_descriptors() {
    let Some(setup) = Setup::new() else { return };
    with_server(
        &setup,
        "ListenStream=/run/deep/er/one.sock\nListenDatagram=/run/two.sock\nListenStream=/run/echo.sock\n\
         ListenSequentialPacket=@three\nListenStream=127.0.0.1:7777\nSocketMode=0640\n\
         DirectoryMode=0711\nFileDescriptorName=who\nRemoveOnStop=yes\nSymlinks=\n",
        "",
    );
    let machine = setup.boot();
    listens(&machine);
    assert_eq!(machine.property("echo.service", "ActiveState"), "inactive");
    assert_eq!(machine.property("echo.socket", "Triggers"), "echo.service");
    assert_eq!(
        machine.property("echo.service", "TriggeredBy"),
        "echo.socket"
    );
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        machine.path(path).metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("run/echo.sock"), 0o640);
    assert_eq!((mode("run/deep"), mode("run/deep/er")), (0o711, 0o711));
    let answer = ask(&machine, "hello").unwrap();
    machine.wait("it runs", || {
        machine.property("echo.socket", "SubState") == "running"
            && machine.property("echo.service", "ActiveState") == "active"
    });
    let main = machine.property("echo.service", "MainPID");
    assert_eq!(answer, format!("{main} who:who:who:who:who hello"));
    // A datagram for a service that is down waits, and starts it.
    ask(&machine, "end").unwrap();
    listens(&machine);
    let sender = UnixDatagram::unbound().unwrap();
    sender
        .send_to(b"packet", machine.path("run/two.sock"))
        .unwrap();
    machine.wait("it is read", || machine.read("run/datagrams") == "packet\n");
    assert_eq!(instances(&machine), 2);
    // The service goes on without its socket, which is gone at once.
    assert_eq!(machine.sctl(&["stop", "echo.socket"]).code, 0);
    assert!(ask(&machine, "refused").is_err());
    assert!(!machine.path("run/echo.sock").exists());
    assert_eq!(machine.property("echo.service", "ActiveState"), "active");
    // As in systemd: a socket whose service runs without it cannot be started.
    let answer = machine.sctl(&["start", "echo.socket"]);
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("already active"), "{answer:?}");
    assert_eq!(machine.sctl(&["stop", "echo.service"]).code, 0);
    assert_eq!(machine.sctl(&["start", "echo.socket"]).code, 0);
    ask(&machine, "again").unwrap();
    // Started by hand, it gets them too.
    ask(&machine, "end").unwrap();
    listens(&machine);
    assert_eq!(machine.sctl(&["start", "echo.service"]).code, 0);
    assert_eq!(machine.property("echo.socket", "SubState"), "running");
    ask(&machine, "by hand").unwrap();
}

#[test]
fn what_cannot_be_listened_on_or_started_is_said() {
    let Some(setup) = Setup::new() else { return };
    setup.file("run-me", "");
    for (name, text) in [
        ("none", ""),
        ("bad", "ListenStream=300.1.1.1:5\n"),
        ("each", "ListenStream=/run/each\nAccept=yes\n"),
        ("taken", "ListenStream=/run-me\n"),
        (
            "nobody",
            "ListenStream=/run/nobody\nSocketUser=nosuchuser\n",
        ),
        (
            "unknown",
            "ListenStream=/run/unknown\nSmackLabel=x\nNoSuchThing=1\n",
        ),
        ("lonely", "ListenStream=/run/lonely\n"),
        ("broken", "ListenStream=/run/echo.sock\n"),
        ("limited", "ListenStream=/run/limited\n"),
    ] {
        setup.unit(&format!("{name}.socket"), &format!("[Socket]\n#\n{text}"));
    }
    setup.unit(
        "broken.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/false\nType=oneshot\n",
    );
    setup.unit(
        "limited.service",
        "[Service]\nExecStart=/bin/false\nType=oneshot\n",
    );
    let machine = setup.boot();
    let fails = |unit: &str, why: &str| {
        let answer = machine.sctl(&["start", unit]);
        assert_eq!(answer.code, 1, "{unit}: {answer:?}");
        assert!(answer.err.contains(why), "{unit}: {answer:?}");
    };
    fails("none.socket", "listens on nothing");
    fails(
        "bad.socket",
        "bad.socket:3: ListenStream=: found “300.1.1.1:5”",
    );
    fails("each.socket", "Accept=no");
    fails("taken.socket", "/run-me (Stream)");
    assert!(
        machine.path("run-me").is_file(),
        "what is no socket is not replaced"
    );
    fails("nobody.socket", "SocketUser=nosuchuser");
    assert_eq!(machine.sctl(&["start", "unknown.socket"]).code, 0);
    let status = machine.sctl(&["status", "unknown.socket"]).out;
    assert!(
        status.contains("SmackLabel") && status.contains("NoSuchThing"),
        "{status}"
    );
    let ends = |unit: &str, path: &str, result: &str| {
        assert_eq!(machine.sctl(&["start", unit]).code, 0);
        let waiting = UnixStream::connect(machine.path(path)).unwrap();
        machine.wait_state(unit, "failed");
        assert_eq!(machine.property(unit, "Result"), result);
        assert!(
            UnixStream::connect(machine.path(path)).is_err(),
            "nobody waits for nothing"
        );
        drop(waiting);
    };
    ends("lonely.socket", "run/lonely", "resources");
    ends("broken.socket", "run/echo.sock", "trigger-limit-hit");
    ends("limited.socket", "run/limited", "service-start-limit-hit");
}

/// All subsets of the three, by bits.
fn hit(machine: &Machine, subset: u8, signal: i32) -> Vec<Proc> {
    let all = [
        machine.manager(),
        machine.helper_of("service"),
        machine.helper_of("socket"),
    ];
    let chosen = (0..3).filter(|bit| subset >> bit & 1 == 1);
    let victims: Vec<Proc> = chosen.filter_map(|bit| all[bit].clone()).collect();
    for one in &victims {
        one.signal(signal);
    }
    victims
}

fn managed_again(machine: &Machine, victims: &[Proc]) {
    machine.wait("those that were hit are gone", || {
        victims.iter().all(|one| !one.is_alive())
    });
    machine.wait("everybody is in contact again", || {
        let status = machine.sctl(&["status"]).out;
        status.contains("socket (pid") && !status.contains("out of contact")
    });
}

/// Somebody connects all the time, and each connection is answered.
fn connection_loop(signal: i32) {
    let Some(setup) = Setup::new() else { return };
    with_server(&setup, STREAM, "");
    let machine = setup.boot();
    listens(&machine);
    let first = ask(&machine, "first").unwrap();
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let answer = ask(&machine, "first").expect("a connection was refused");
                assert_eq!(answer, first, "the service was disturbed");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        for subset in 1..8 {
            let victims = hit(&machine, subset, signal);
            managed_again(&machine, &victims);
        }
        over.store(true, Ordering::Relaxed);
        asking.join().unwrap();
    });
    println!("{count:?} connections, none refused");
    assert_eq!(instances(&machine), 1);
    assert_eq!(machine.property("echo.socket", "SubState"), "running");
}

#[test]
fn no_connection_is_refused_by_kills() {
    connection_loop(KILL);
}

#[test]
fn no_connection_is_refused_by_stops() {
    connection_loop(STOP);
}

/// Whoever connects while the service is down and ours are dead is served by the next ones.
fn pending(signal: i32) {
    let Some(setup) = Setup::new() else { return };
    with_server(&setup, STREAM, "");
    let machine = setup.boot();
    listens(&machine);
    for subset in 1..8 {
        let before = instances(&machine);
        let victims = hit(&machine, subset, signal);
        let answer = ask(&machine, "end").expect("a connection was refused");
        assert!(answer.ends_with("echo.socket end"), "{answer}");
        assert_eq!(instances(&machine), before + 1, "it was started once");
        managed_again(&machine, &victims);
        listens(&machine);
    }
    // The service goes down while its helper is dead: it is started again for the next connection.
    for subset in 1..8 {
        ask(&machine, "up").unwrap();
        let victims = hit(&machine, subset, signal);
        ask(&machine, "end").unwrap();
        ask(&machine, "up").expect("a connection was refused");
        managed_again(&machine, &victims);
        ask(&machine, "end").unwrap();
        listens(&machine);
    }
}

#[test]
fn pending_connections_are_served_after_kills() {
    pending(KILL);
}

#[test]
fn pending_connections_are_served_after_stops() {
    pending(STOP);
}

/// The service that dies while nobody is there to restart it comes back with its descriptors.
#[test]
fn a_restart_after_everybody_died_has_the_descriptors() {
    let Some(setup) = Setup::new() else { return };
    with_server(&setup, STREAM, "Restart=always\nRestartSec=0\n");
    let machine = setup.boot();
    listens(&machine);
    ask(&machine, "first").unwrap();
    for subset in 1..8 {
        let before = instances(&machine);
        let victims = hit(&machine, subset, KILL);
        for one in machine.running("server.py") {
            one.signal(KILL);
        }
        let answer = ask(&machine, "still").expect("a connection was refused");
        assert!(answer.ends_with("echo.socket still"), "{answer}");
        assert_eq!(instances(&machine), before + 1);
        managed_again(&machine, &victims);
    }
}

/// Stops and starts of a socket whose helper or manager dies in the middle end as they should, and
/// no listener is left behind.
#[test]
fn a_stop_leaves_nothing_behind_whoever_dies() {
    let Some(setup) = Setup::new() else { return };
    with_server(&setup, STREAM, "");
    let machine = setup.boot();
    listens(&machine);
    for round in 0..14 {
        let subset = round % 7 + 1;
        let verb = if round < 7 { "stop" } else { "restart" };
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| machine.sctl(&[verb, "echo.socket"]));
            let victims = hit(&machine, subset, KILL);
            assert_eq!(asked.join().unwrap().code, 0);
            managed_again(&machine, &victims);
        });
        if verb == "stop" {
            assert_eq!(machine.property("echo.socket", "ActiveState"), "inactive");
            machine.wait("nothing listens any more", || {
                UnixStream::connect(machine.path("run/echo.sock")).is_err()
            });
            assert_eq!(machine.sctl(&["start", "echo.socket"]).code, 0);
        }
        ask(&machine, "end").unwrap();
        listens(&machine);
    }
}

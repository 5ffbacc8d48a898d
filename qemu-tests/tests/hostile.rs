//! Hostile input: each is answered with its error and costs nobody else anything.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Setup};
use std::time::{Duration, Instant};

/// A client as nobody that does its worst with the socket `argv[1]` and then stays: silent
/// connections until no more are accepted, half a frame, a length of a gigabyte, random bytes.
const CLIENT: &str = r#"
import os, random, socket, sys, time
path = sys.argv[1]
kept = []
def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.setblocking(False)
    try:
        s.connect(path)
    except OSError as e:
        return None
    kept.append(s)
    return s
def say(data):
    s = connect()
    if s:
        try:
            s.send(data)
        except OSError:
            pass
random.seed(int(sys.argv[2]))
for data in [b"\x00", b"\x04", b"\x04\x80\x80\x80\x80\x04", b"\x02\xff\xff\xff\xff\x0f", b"\xff" * 60000]:
    say(data)
for _ in range(200):
    say(bytes(random.randrange(256) for _ in range(random.randrange(1, 300))))
for _ in range(1000):
    connect()
open("/tmp/ready", "w").write(str(len(kept)))
time.sleep(20)
"#;

fn nobody(args: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ]
    .map(str::to_owned)
    .into();
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    all
}

fn as_nobody(machine: &Machine, args: &[&str]) -> std::process::Output {
    let all = nobody(args);
    machine.inside(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// `sctl` answers root, soon.
fn answers(machine: &Machine) {
    let began = Instant::now();
    let answer = machine.sctl(&["status"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "it took {:?}",
        began.elapsed()
    );
}

#[test]
fn a_thousand_connections_of_nobody() {
    println!(
        "silent, half, huge and random frames, a thousand connections: root is still answered"
    );
    let Some(setup) = Setup::new() else { return };
    setup.wanted("a.service", "[Service]\nExecStart=/bin/sleep 1001\n");
    setup.file("tmp-client.py", CLIENT);
    let machine = setup.boot();
    machine.wait_state("a.service", "active");
    let before = machine.manager().expect("a manager");
    let seed = std::process::id().to_string();
    println!("seed {seed}");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            as_nobody(
                &machine,
                &[
                    "timeout",
                    "--kill-after=1",
                    "8",
                    "python3",
                    "/tmp-client.py",
                    "/run/sysmaster/public",
                    &seed,
                ],
            )
        });
        machine.wait("the client has done its worst", || {
            machine.path("tmp/ready").exists()
        });
        for _ in 0..20 {
            answers(&machine);
        }
        assert_eq!(machine.sctl(&["restart", "a"]).code, 0);
        drop(client.join());
    });
    assert_eq!(
        machine.manager().expect("a manager").id(),
        before.id(),
        "the manager is the same"
    );
    let after = as_nobody(&machine, &["sctl", "is-active", "a"]);
    assert_eq!(
        String::from_utf8_lossy(&after.stdout),
        "active\n",
        "{after:?}"
    );
}

#[test]
fn nobody_may_look_and_not_touch() {
    println!(
        "an unprivileged sctl reads over the public socket; what changes something is refused"
    );
    let Some(setup) = Setup::new() else { return };
    setup.wanted(
        "a.service",
        "[Service]\nEnvironment=SECRET=hunter2\nExecStart=/bin/sleep 1001\n",
    );
    let machine = setup.boot();
    machine.wait_state("a.service", "active");
    let looked = as_nobody(&machine, &["sctl", "status", "a"]);
    assert_eq!(looked.status.code(), Some(0), "{looked:?}");
    let shown = as_nobody(&machine, &["sctl", "show", "--all", "a"]);
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("hunter2"));
    for args in [
        &["sctl", "stop", "a"][..],
        &["sctl", "poweroff"],
        &["sctl", "kill", "a"],
    ] {
        let refused = as_nobody(&machine, args);
        assert_eq!(refused.status.code(), Some(4), "{args:?} {refused:?}");
    }
    let direct = as_nobody(
        &machine,
        &["sctl", "--socket=/run/sysmaster/control", "list-units"],
    );
    assert_eq!(direct.status.code(), Some(4), "{direct:?}");
    assert_eq!(machine.property("a.service", "ActiveState"), "active");
}

#[test]
fn unit_files_nobody_should_write() {
    println!("garbage, 10 MB, a line of 1 MB, a cycle: an error that names the file, nothing else");
    let Some(setup) = Setup::new() else { return };
    let mut garbage = Vec::new();
    let mut word = 0x9e37_79b9_u32;
    for _ in 0..4096 {
        word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        garbage.extend(word.to_be_bytes());
    }
    setup.file("etc/sysmaster/system/garbage.service", garbage);
    let mut big = b"[Service]\nExecStart=/bin/sleep 1\n".to_vec();
    big.resize(10 << 20, b'#');
    setup.file("etc/sysmaster/system/big.service", big);
    let mut lines = b"[Service]\nExecStart=/bin/sleep 1\n".to_vec();
    while lines.len() < 10 << 20 {
        lines.extend(
            b"Environment=A=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n",
        );
    }
    setup.file("etc/sysmaster/system/lines.service", lines);
    let long = format!(
        "[Service]\nExecStart=/bin/sleep {}\n",
        "1".repeat((1 << 20) + 10)
    );
    setup
        .unit("long.service", &long)
        .unit(
            "x.service",
            "[Unit]\nAfter=y.service\nRequires=y.service\n[Service]\nExecStart=/bin/sleep 1001\n",
        )
        .unit(
            "y.service",
            "[Unit]\nAfter=x.service\nRequires=x.service\n[Service]\nExecStart=/bin/sleep 1002\n",
        )
        .unit("good.service", "[Service]\nExecStart=/bin/sleep 1003\n");
    let machine = setup.boot();
    let before = machine.manager().expect("a manager");
    for unit in ["garbage", "big", "lines", "long"] {
        let answer = machine.sctl(&["start", unit]);
        println!("{unit}: {}", answer.err.trim());
        assert_ne!(answer.code, 0, "{unit}: {answer:?}");
        assert!(
            answer.err.contains(&format!("{unit}.service")),
            "{unit}: {answer:?}"
        );
        assert!(answer.err.len() < 2000, "an error is a sentence");
    }
    let cycle = machine.sctl(&["start", "x"]);
    println!("cycle: {}", cycle.err.trim());
    assert_ne!(cycle.code, 0, "{cycle:?}");
    assert!(
        cycle.err.contains("x.service") && cycle.err.contains("y.service"),
        "{cycle:?}"
    );
    assert_eq!(machine.sctl(&["start", "good"]).code, 0);
    assert_eq!(machine.manager().expect("a manager").id(), before.id());
}

/// Sends datagrams to the notify socket of a service from inside it, then says it is ready.
const NOTIFIER: &str = r#"
import os, random, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
to = os.environ["NOTIFY_SOCKET"]
def say(data):
    try:
        s.sendto(data, socket.MSG_DONTWAIT, to)
    except OSError:
        pass
random.seed(4)
for data in [b"", b"\xff\xfe\xfd", b"STATUS=\xff\xff", b"MAINPID=1", b"MAINPID=-1", b"MAINPID=99999999999999999999",
             b"MAINPID=" + open("/run/other").read().strip().encode(), b"=\n=\n", b"READY=0", b"WATCHDOG_USEC=x",
             b"A=" + b"b" * 100000]:
    say(data)
for _ in range(300):
    say(bytes(random.randrange(256) for _ in range(random.randrange(1, 500))))
# This one waits for its turn, as sd_notify does: the others may have filled the queue.
s.sendto(b"READY=1\nSTATUS=ready after all", to)
os.execv("/bin/sleep", ["sleep", "1002"])
"#;

#[test]
fn notify_messages_nobody_should_send() {
    println!("not UTF-8, too long, MAINPID of others: nothing of it is believed, READY=1 still is");
    let Some(setup) = Setup::new() else { return };
    setup
        .wanted(
            "other.service",
            "[Service]\nExecStart=/bin/sh -c 'echo $$$$ > /run/other; exec sleep 1001'\n",
        )
        .file("usr/lib/notifier.py", NOTIFIER);
    setup.unit(
        "notify.service",
        "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/usr/bin/python3 /usr/lib/notifier.py\nTimeoutStartSec=10\n",
    );
    let machine = setup.boot();
    machine.wait("the other runs", || !machine.read("run/other").is_empty());
    let answer = machine.sctl(&["start", "notify"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let main = machine.property("notify.service", "MainPID");
    let inside = machine.inside(&["pgrep", "-f", "sleep 1002"]);
    assert_eq!(
        main,
        String::from_utf8_lossy(&inside.stdout).trim(),
        "the main process is its own"
    );
    assert_eq!(
        machine.property("notify.service", "StatusText"),
        "ready after all"
    );
    assert_eq!(machine.property("other.service", "ActiveState"), "active");
}

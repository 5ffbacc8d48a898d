//! Every place where one of ours can die: after each record, before each frame and each act, the manager, the
//! service helper and the socket helper are killed in turn, and the same end is come to.
//!
//! A scenario that makes use of everything is played once undisturbed, which counts what each of them
//! passes by, and then once for every one of these places. What every step of every unit has marked must be what
//! it was when nobody died: nothing is missing, nothing ran twice.
//!
//! All of it takes three minutes: `SYSMASTER_STRIDE=1` does that (and `make test-all`). Otherwise every
//! ninth place is taken, from one that is another each time and is told; `SYSMASTER_FIRST=` repeats it.
//! (The engine by itself is killed at each of its effects in its own tests.)
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Setup};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const KILL: i32 = 9;
/// More than any scenario passes by.
const MANY: u64 = 1_000_000;
const PROGRAMS: [&str; 3] = ["sysmaster", "service", "socket"];

/// `step UNIT STEP`.
const STEP: &str = r#"
echo "$2 $EXIT_CODE/$EXIT_STATUS" >> /run/marks-$1
[ "$2" != main ] || exec sleep 991"#;

/// Deposits a descriptor and waits until that is safe, or has it back; then is ready.
const SPEAKER: &str = r#"
import array, os, select, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(text, *fds):
    aux = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    s.sendmsg([text.encode()], aux, 0, os.environ["NOTIFY_SOCKET"])
had = os.environ.get("LISTEN_FDNAMES", "nothing")
if had == "nothing":
    say("FDSTORE=1\nFDNAME=kept", os.memfd_create("kept"))
    r, w = os.pipe()
    say("BARRIER=1", w)
    os.close(w)
    had = "barrier" if select.select([r], [], [], 20)[0] else "no barrier"
open("/run/marks-speaker", "a").write("had %s\n" % had)
say("READY=1\nSTATUS=with " + had)
time.sleep(992)
"#;

/// Takes one connection, answers it, and ends.
const SERVER: &str = r#"
import os, socket
open("/run/marks-echo", "a").write("main\n")
conn, _ = socket.socket(fileno=3).accept()
conn.sendall(conn.recv(100))
"#;

fn machine() -> Option<Machine> {
    let mut setup = Setup::with_faults()?;
    setup.script("usr/bin/step", STEP);
    setup.file("usr/bin/speaker.py", SPEAKER);
    setup.file("usr/bin/server.py", SERVER);
    for program in PROGRAMS {
        setup.file(&format!("boundaries/{program}"), "0");
    }
    setup.environment("SYSMASTER_BOUNDARIES", "/boundaries");
    let free = "[Unit]\nStartLimitIntervalSec=0\n[Service]\n";
    let steps = [
        ("StartPre", "pre"),
        ("Start", "main"),
        ("Reload", "reload"),
        ("Stop", "stop"),
        ("StopPost", "post"),
    ];
    let steps = steps
        .map(|(key, step)| format!("Exec{key}=/usr/bin/step work {step}\n"))
        .concat();
    let steps = steps + "ExecStartPost=/usr/bin/step beside started\n";
    setup
        .unit("work.service", &format!("{free}Restart=on-failure\nRestartSec=0\n{steps}"))
        .unit("once.service", &format!("{free}Type=oneshot\nExecStart=/usr/bin/step once run\n"))
        .unit(
            "speaker.service",
            &format!(
                "{free}Type=notify\nNotifyAccess=main\nFileDescriptorStoreMax=2\nRestart=on-failure\nRestartSec=0\n\
                 ExecStart=/usr/bin/python3 /usr/bin/speaker.py\n"
            ),
        )
        .unit("echo.service", &format!("{free}ExecStart=/usr/bin/python3 /usr/bin/server.py\n"))
        .wanted(
            "echo.socket",
            "[Unit]\nStartLimitIntervalSec=0\n[Socket]\nListenStream=/run/echo.sock\nTriggerLimitIntervalSec=0\n",
        );
    let machine = setup.boot();
    listens(&machine);
    Some(machine)
}

fn listens(machine: &Machine) {
    machine.wait("it listens", || {
        machine.property("echo.socket", "SubState") == "listening"
    });
}

fn does(machine: &Machine, args: &[&str]) {
    let answer = machine.sctl(args);
    assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
}

/// The process of this command line dies, and another takes its place.
fn dies(machine: &Machine, command: &str) {
    let find = || {
        machine
            .running(command)
            .into_iter()
            .find(|one| one.name != "step")
    };
    machine.wait("it runs", || find().is_some());
    let before = find().unwrap();
    before.signal(KILL);
    machine.wait("it is restarted", || {
        find().is_some_and(|now| now.id() != before.id())
    });
}

/// Makes use of everything, and gives what was marked.
fn play(machine: &Machine) -> Vec<(&'static str, String)> {
    // What is done beside the main process comes before its mark, or after.
    const MARKED: [&str; 5] = ["work", "beside", "once", "speaker", "echo"];
    for unit in MARKED {
        let _ = fs::remove_file(machine.path(&format!("run/marks-{unit}")));
    }
    let begun = |times: usize| {
        let marks = || machine.read("run/marks-work");
        machine.wait("its program runs", || {
            marks().matches("main").count() == times
        });
    };
    does(machine, &["start", "work.service"]);
    begun(1);
    does(machine, &["reload", "work.service"]);
    dies(machine, "sleep 991");
    begun(2);
    machine.wait_state("work.service", "active");
    does(machine, &["start", "speaker.service"]);
    dies(machine, "speaker.py");
    machine.wait("it has said so", || {
        machine.property("speaker.service", "StatusText") == "with kept"
    });
    let mut stream = UnixStream::connect(machine.path("run/echo.sock")).expect("refused");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert_eq!(answer, "hello");
    listens(machine);
    does(machine, &["start", "once.service"]);
    does(machine, &["restart", "echo.socket"]);
    does(machine, &["restart", "work.service"]);
    begun(3);
    does(machine, &["stop", "work.service", "speaker.service"]);
    listens(machine);
    MARKED
        .map(|unit| (unit, machine.read(&format!("run/marks-{unit}"))))
        .into()
}

fn set(machine: &Machine, program: &str, count: u64) {
    fs::write(
        machine.path(&format!("boundaries/{program}")),
        count.to_string(),
    )
    .unwrap();
}

fn left(machine: &Machine, program: &str) -> u64 {
    machine
        .read(&format!("boundaries/{program}"))
        .trim()
        .parse()
        .unwrap_or(0)
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn whoever_dies_at_any_effect_the_end_is_the_same() {
    let Some(machine) = machine() else { return };
    play(&machine);
    PROGRAMS
        .iter()
        .for_each(|program| set(&machine, program, MANY));
    let undisturbed = play(&machine);
    let passed = PROGRAMS.map(|program| MANY - left(&machine, program));
    PROGRAMS
        .iter()
        .for_each(|program| set(&machine, program, 0));
    println!("{PROGRAMS:?} pass {passed:?} places; undisturbed: {undisturbed:?}");
    assert!(!passed.contains(&0), "one of them never counts");
    let stride = number("SYSMASTER_STRIDE", 9);
    let first = number(
        "SYSMASTER_FIRST",
        u64::from(std::process::id()) % stride + 1,
    );
    println!("every {stride} from {first} on");
    let began = Instant::now();
    let mut count = 0;
    for (program, passed) in PROGRAMS.into_iter().zip(passed) {
        for place in (first..=passed).step_by(stride as usize) {
            println!("{program}, place {place}");
            set(&machine, program, place);
            let marks = play(&machine);
            assert_eq!(marks, undisturbed, "{program} was killed at place {place}");
            count += 1;
            // What passes by varies a little: one that was not reached is not left for the next.
            set(&machine, program, 0);
        }
    }
    println!("{count} deaths in {:?}", began.elapsed());
}

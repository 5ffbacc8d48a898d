//! Too much of something, or too little: what runs goes on, nobody is let in who must not be, and afterwards
//! everything can be done again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Proc, Setup};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const KILL: i32 = 9;

fn with_steady() -> Option<Setup> {
    let setup = Setup::new()?;
    setup
        .wanted("steady.service", "[Service]\nExecStart=/bin/sleep 7700\n")
        .unit("other.service", "[Service]\nExecStart=/bin/sleep 7701\n");
    Some(setup)
}

fn steady(machine: &Machine) -> Vec<platform::process::ProcId> {
    machine.wait("it runs", || machine.running("sleep 7700").len() == 1);
    machine.running("sleep 7700").iter().map(Proc::id).collect()
}

/// Nobody was disturbed, and everything can be done.
fn as_before(machine: &mut Machine, before: &[platform::process::ProcId]) {
    machine.wait("a service can be started", || {
        machine.sctl(&["start", "other"]).code == 0
    });
    assert_eq!(machine.sctl(&["stop", "other"]).code, 0);
    assert_eq!(steady(machine), before, "the service was disturbed");
    assert_eq!(machine.property("steady.service", "ActiveState"), "active");
    machine.power_off();
}

/// A group of the host's version 1 controller for some processes, removed at the end.
struct Limit(PathBuf);

impl Limit {
    fn new(controller: &str, processes: &[Proc]) -> Option<Self> {
        let root = PathBuf::from("/sys/fs/cgroup").join(controller);
        if !root.join("cgroup.procs").exists() {
            println!("skipped: this host has no {controller} controller of version 1");
            return None;
        }
        let limit = Self(root.join(format!("sysmaster-{controller}-{}", std::process::id())));
        fs::create_dir(&limit.0).unwrap();
        for one in processes {
            fs::write(limit.0.join("cgroup.procs"), one.pid.to_string()).unwrap();
        }
        Some(limit)
    }

    fn set(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap();
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let parent = self.0.join("../cgroup.procs");
        for pid in fs::read_to_string(self.0.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
        {
            let _ = fs::write(&parent, pid);
        }
        let _ = qemu_tests::machine::poll(std::time::Duration::from_secs(2), || {
            fs::remove_dir(&self.0).ok()
        });
    }
}

#[test]
fn no_more_processes() {
    println!(
        "pids exhausted: starts fail and say why, what dies is replaced as soon as there is room"
    );
    let Some(setup) = with_steady() else { return };
    let mut machine = setup.boot();
    let before = steady(&machine);
    let ours = [
        machine.init.clone(),
        machine.manager().unwrap(),
        machine.helper().unwrap(),
    ];
    let Some(limit) = Limit::new("pids", &ours) else {
        return;
    };
    limit.set("pids.max", &ours.len().to_string());
    let answer = machine.sctl(&["start", "other"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.contains("fork"), "{answer:?}");
    // With init alone in it, nobody can take the manager's place.
    limit.set("pids.max", "0");
    ours[1..].iter().for_each(|one| one.signal(KILL));
    machine.wait("they are gone", || {
        !ours[1].is_alive() && !ours[2].is_alive()
    });
    assert!(machine.init.is_alive());
    limit.set("pids.max", "max");
    machine.wait("there is a manager again", || machine.manager().is_some());
    as_before(&mut machine, &before);
}

#[test]
fn no_more_memory_for_the_manager() {
    println!(
        "a memory limit on the manager: it is killed for want of memory, its successor goes on"
    );
    let Some(setup) = with_steady() else { return };
    for number in 0..400 {
        setup.unit(
            &format!("u{number}.service"),
            &format!(
                "[Unit]\nDescription={}\n[Service]\nExecStart=/bin/true\n",
                "x".repeat(2000)
            ),
        );
    }
    let mut machine = setup.boot();
    let before = steady(&machine);
    let manager = machine.manager().unwrap();
    let Some(limit) = Limit::new("memory", std::slice::from_ref(&manager)) else {
        return;
    };
    limit.set("memory.limit_in_bytes", "256K");
    let mut asked = vec!["--timeout=5".to_owned(), "show".to_owned()];
    asked.extend((0..400).map(|number| format!("u{number}.service")));
    machine.sctl(&asked.iter().map(String::as_str).collect::<Vec<_>>());
    machine.wait("it is replaced", || {
        !manager.is_alive() && machine.manager().is_some()
    });
    as_before(&mut machine, &before);
}

#[test]
fn no_more_descriptors_for_the_manager() {
    println!("descriptors exhausted: clients wait or are refused, nothing is lost");
    let Some(setup) = with_steady() else { return };
    let mut machine = setup.boot();
    let before = steady(&machine);
    let manager = machine.manager().unwrap();
    let open = fs::read_dir(format!("/proc/{}/fd", manager.pid))
        .unwrap()
        .count();
    let prlimit = |soft: usize| {
        let done = Command::new("prlimit")
            .args([
                "--pid",
                &manager.pid.to_string(),
                &format!("--nofile={soft}:"),
            ])
            .status();
        assert!(done.unwrap().success());
    };
    prlimit(open);
    let answer = machine.sctl(&["--timeout=2", "status"]);
    println!("meanwhile: {answer:?}");
    assert!(manager.is_alive(), "it does without");
    prlimit(4096);
    as_before(&mut machine, &before);
}

#[test]
fn a_thousand_control_clients() {
    println!(
        "1,000 connections of root that say nothing: the next one is served, and none costs anything later"
    );
    let Some(setup) = with_steady() else { return };
    let mut machine = setup.boot();
    let before = steady(&machine);
    let manager = machine.manager().unwrap();
    let path = machine.path("run/sysmaster/control");
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.extend(platform::socket::connect(&path));
    }
    println!("{} are connected", clients.len());
    assert!(clients.len() >= 128);
    let answer = machine.sctl(&["restart", "other"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    drop(clients);
    assert_eq!(machine.manager().unwrap().id(), manager.id());
    as_before(&mut machine, &before);
}

/// Says something as fast as it can for two seconds, and then that it is over.
const FLOOD: &str = r#"
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
end, n = time.monotonic() + 2, 0
while time.monotonic() < end:
    n += 1
    s.send(b"STATUS=%d" % n)
s.send(b"STATUS=over after more than %d thousand" % (n // 1000))
time.sleep(1000)
"#;

#[test]
fn a_flood_of_notifications() {
    println!(
        "a service notifies as fast as it can: root is answered, other services are started, the last counts"
    );
    let Some(setup) = with_steady() else { return };
    setup.file("usr/bin/flood.py", FLOOD);
    setup.unit(
        "flood.service",
        "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/usr/bin/python3 /usr/bin/flood.py\n",
    );
    let mut machine = setup.boot();
    let before = steady(&machine);
    assert_eq!(machine.sctl(&["start", "flood"]).code, 0);
    for _ in 0..3 {
        assert_eq!(machine.sctl(&["restart", "other"]).code, 0);
    }
    machine.wait("the last word is heard", || {
        machine
            .property("flood.service", "StatusText")
            .starts_with("over after")
    });
    println!("{}", machine.property("flood.service", "StatusText"));
    as_before(&mut machine, &before);
}

#[test]
fn ten_thousand_exits() {
    println!(
        "10,000 processes of services end as fast as they can be made: none stays, each service's end is seen"
    );
    let Some(setup) = with_steady() else { return };
    setup.script(
        "usr/bin/burst",
        "i=0; while [ $i -lt 2500 ]; do /bin/true & i=$((i + 1)); done; wait; exit 7",
    );
    for number in 0..4 {
        setup.unit(
            &format!("burst{number}.service"),
            "[Service]\nType=oneshot\nTimeoutStartSec=60\nExecStart=/usr/bin/burst\n",
        );
    }
    let mut machine = setup.boot();
    let before = steady(&machine);
    let names: Vec<String> = (0..4)
        .map(|number| format!("burst{number}.service"))
        .collect();
    let mut asked = vec!["start"];
    asked.extend(names.iter().map(String::as_str));
    assert_eq!(machine.sctl(&asked).code, 1);
    for name in &names {
        assert_eq!(machine.property(name, "ExecMainStatus"), "7");
    }
    machine.wait("no zombie is left", || {
        machine.processes().iter().all(|one| one.state != 'Z')
    });
    as_before(&mut machine, &before);
}

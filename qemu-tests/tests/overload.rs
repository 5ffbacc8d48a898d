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
        .unit(
            "other.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 7701\n",
        );
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
fn a_flood_of_log_lines() {
    println!(
        "services write as fast as they can, to the log and to a file: nobody of ours is replaced or slow to answer"
    );
    let Some(setup) = with_steady() else { return };
    setup.script(
        "usr/bin/flood",
        "echo begun > /run/flood.$1; while [ ! -e /run/enough ]; do echo a line that nobody wants to read; done; exit 9",
    );
    for (name, output) in [("log", "kmsg"), ("file", "truncate:/run/flood.lines")] {
        setup.unit(
            &format!("flood-{name}.service"),
            &format!("[Service]\nStandardOutput={output}\nExecStart=/usr/bin/flood {name}\n"),
        );
    }
    let mut machine = setup.boot();
    let before = steady(&machine);
    let ours =
        |machine: &Machine| [machine.manager(), machine.helper()].map(|one| one.unwrap().id());
    let these = ours(&machine);
    let floods = ["flood-log.service", "flood-file.service"];
    assert_eq!(machine.sctl(&["start", floods[0], floods[1]]).code, 0);
    for name in ["log", "file"] {
        machine.wait("it writes", || {
            machine.path(&format!("run/flood.{name}")).exists()
        });
    }
    for _ in 0..10 {
        assert_eq!(machine.sctl(&["restart", "other"]).code, 0);
    }
    fs::write(machine.path("run/enough"), "").unwrap();
    for name in floods {
        machine.wait("its end is seen", || {
            machine.property(name, "ExecMainStatus") == "9"
        });
    }
    let lines = fs::metadata(machine.path("run/flood.lines")).unwrap().len() / 35;
    println!("{lines} lines in the file");
    assert_eq!(ours(&machine), these, "nobody was replaced");
    as_before(&mut machine, &before);
}

#[test]
fn no_processor() {
    println!(
        "a real-time process takes the only processor: we are starved and not hung, and what dies is replaced"
    );
    let Some(setup) = with_steady() else { return };
    setup.wanted(
        "mortal.service",
        "[Service]\nRestart=always\nRestartSec=0\nExecStart=/bin/sleep 7702\n",
    );
    let mut machine = setup.boot();
    let before = steady(&machine);
    let ours = [
        machine.init.clone(),
        machine.manager().unwrap(),
        machine.helper().unwrap(),
    ];
    for one in &ours {
        let pinned = Command::new("taskset")
            .args(["-cp", "0", &one.pid.to_string()])
            .output();
        assert!(pinned.unwrap().status.success());
    }
    let mortal = || machine.running("sleep 7702").into_iter().next();
    machine.wait("it runs", || mortal().is_some());
    let old = mortal().unwrap();
    // It ends by itself: what is to end it might not get to.
    let script = "end=$(($(cut -d. -f1 /proc/uptime) + 8)); while read -r now rest </proc/uptime; [ ${now%.*} -lt $end ]; do :; done";
    let mut hog = Command::new("taskset");
    hog.args(["-c", "0", "chrt", "-f", "50", "sh", "-c", script]);
    let mut hog = hog.spawn().unwrap();
    old.signal(KILL);
    assert!(hog.wait().unwrap().success(), "chrt needs a right");
    machine.wait("what was killed is back", || {
        mortal().is_some_and(|new| new.id() != old.id())
    });
    for one in &ours {
        assert!(one.is_alive(), "{} was replaced", one.name);
    }
    for one in &ours {
        let nice = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", one.pid)).unwrap();
            let behind = stat.rsplit(") ").next().unwrap();
            behind
                .split(' ')
                .nth(16)
                .is_some_and(|nice| !nice.starts_with('-'))
        };
        machine.wait("nobody is favoured any more", nice);
    }
    as_before(&mut machine, &before);
}

/// `storm RATE SECONDS`: makes orphans that end at once, RATE of them a second if it can, and says how many it made and
/// how often it waited because thousands were not reaped yet. (Many more might fill the host.)
const STORM: &str = r#"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}
static int there(void)
{
	DIR *proc = opendir("/proc");
	int count = 0;
	while (readdir(proc)) count++;
	closedir(proc);
	return count;
}
int main(int count, char **words)
{
	double rate = atof(words[1]), began = now(), end = began + atof(words[2]);
	long made = 0, waited = 0;
	FILE *said;
	while (now() < end) {
		int late = made > rate * (now() - began) ? 0 : there() > 4000 ? 2 : 1;
		if (late != 1) {
			waited += late == 2;
			usleep(1000);
			continue;
		}
		pid_t child = fork();
		if (child < 0) return 1;
		if (child == 0) {
			for (int n = 0; n < 100; n++) if (vfork() == 0) _exit(0);
			_exit(0);
		}
		waitpid(child, 0, 0);
		made += 100;
	}
	said = fopen("/run/storm", "w");
	fprintf(said, "%ld %ld", made, waited);
	fclose(said);
	return 7;
}
"#;

/// A program for the machine from a few lines of C.
fn compile(setup: &Setup, name: &str, source: &str) -> bool {
    let directory = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (from, to) = (directory.join("source.c"), directory.join("program"));
    fs::write(&from, source).unwrap();
    let mut compiler = Command::new("musl-gcc");
    compiler
        .args(["-static", "-Os"])
        .arg("-o")
        .args([&to, &from]);
    let done = compiler.status().is_ok_and(|status| status.success());
    if done {
        // Written over, it stays executable.
        setup.script(&format!("usr/bin/{name}"), "");
        setup.file(&format!("usr/bin/{name}"), fs::read(&to).unwrap());
    } else {
        println!("skipped: no musl-gcc");
    }
    fs::remove_dir_all(&directory).unwrap();
    done
}

/// Microseconds of a processor that it has used; they are counted in hundredths of a second.
fn spent(one: &Proc) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", one.pid)).unwrap();
    let behind = stat.rsplit(") ").next().unwrap().split(' ');
    let ticks = behind.skip(11).take(2).map(|n| n.parse::<u64>().unwrap());
    ticks.sum::<u64>() * 10_000
}

/// KiB of memory that it uses.
fn size(one: &Proc) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", one.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.unwrap().parse().unwrap()
}

#[test]
fn exits_without_end() {
    const SECONDS: u64 = 10;
    println!(
        "orphans end without end, ten thousand a second where the machine is fast enough: all are reaped, nobody of \
         ours is replaced or grows, and how each service ends meanwhile is seen"
    );
    let Some(setup) = with_steady() else { return };
    if !compile(&setup, "storm", STORM) {
        return;
    }
    // By hand: how much more it bears.
    let rate = std::env::var("SYSMASTER_EXITS").unwrap_or("10000".into());
    setup.unit(
        "storm.service",
        &format!("[Service]\nType=oneshot\nExecStart=/usr/bin/storm {rate} {SECONDS}\n"),
    );
    setup.unit(
        "ends@.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit %i'\n",
    );
    let mut machine = setup.boot();
    let before = steady(&machine);
    let ours = [
        ("init", machine.init.clone()),
        ("the manager", machine.manager().unwrap()),
        ("the helper", machine.helper().unwrap()),
    ];
    let was = ours.each_ref().map(|(_, one)| (size(one), spent(one)));
    assert_eq!(machine.sctl(&["start", "--no-block", "storm"]).code, 0);
    let mut ends = 0;
    while !machine.path("run/storm").exists() {
        let status = 1 + ends % 200;
        let unit = format!("ends@{status}.service");
        assert_eq!(machine.sctl(&["start", &unit]).code, 1);
        assert_eq!(
            machine.property(&unit, "ExecMainStatus"),
            status.to_string()
        );
        assert_eq!(machine.sctl(&["reset-failed", &unit]).code, 0);
        ends += 1;
    }
    machine.wait("its end is seen", || {
        machine.property("storm.service", "ExecMainStatus") == "7"
    });
    machine.wait("no zombie is left", || {
        machine.processes().iter().all(|one| one.state != 'Z')
    });
    let said = machine.read("run/storm");
    let (made, waited) = said.split_once(' ').unwrap();
    let made: u64 = made.parse().unwrap();
    println!(
        "{} exits a second, {ends} of services meanwhile; held up {waited} times",
        made / SECONDS
    );
    for ((name, one), (memory, time)) in ours.iter().zip(was) {
        let took = (spent(one) - time) as f64 / made as f64;
        let grown = size(one).saturating_sub(memory);
        println!("{name}: {took:.1} µs of a processor for each exit, and {grown} KiB");
        assert!(one.is_alive(), "{name} was replaced");
        assert!(grown < 2048, "{name} has grown by {grown} KiB");
    }
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

//! Hot upgrade: another version takes over, or does not and nothing has happened. Whatever happens,
//! every service is the process it was and a listening socket refuses nobody.
//!
//! The other versions are this one with something behind its end that only test builds look at
//! (feature `fault-points`): a file of its own, with a fault, or with longer records in its stores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::machine::Answer;
use qemu_tests::{Machine, Proc, Setup};
use std::os::unix::net::UnixStream;

const PROGRAM: &str = "usr/lib/sysmaster/sysmaster";

/// A machine with services and a listening socket nobody serves.
struct Upgraded {
    machine: Machine,
    services: Vec<Proc>,
    /// Of what was installed at first.
    installed: Vec<u8>,
}

fn boot() -> Option<Upgraded> {
    let setup = Setup::with_faults()?;
    for number in 0..4 {
        setup.wanted(
            &format!("w{number}.service"),
            &format!("[Service]\nExecStart=/bin/sleep 77{number}\n"),
        );
    }
    setup
        .unit(
            "late.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 882\n",
        )
        .unit("door.service", "[Service]\nExecStart=/bin/sleep 881\n");
    setup.wanted("door.socket", "[Socket]\nListenStream=/run/door\n");
    setup.unit(
        "once.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /run/once; sleep 1'\n",
    );
    let machine = setup.strip().boot();
    machine.wait("everything is up", || {
        machine.sctl(&["is-system-running"]).out == "running\n"
            && machine.running("sleep 77").len() == 4
    });
    let installed = std::fs::read(machine.path(PROGRAM)).unwrap();
    let services = machine.running("sleep 77");
    Some(Upgraded {
        machine,
        services,
        installed,
    })
}

impl Upgraded {
    /// Another version, at `/next`: what is installed, and these lines behind it.
    fn next(&self, lines: &str) -> &Self {
        self.place("next", lines)
    }

    fn place(&self, path: &str, lines: &str) -> &Self {
        self.machine.place_version(path, &self.installed, lines);
        self
    }

    fn upgrade(&self, words: &[&str]) -> Answer {
        let mut all = vec!["upgrade", "/next"];
        all.extend(words);
        self.machine.sctl(&all)
    }

    /// Every service is the process it was, the socket takes connections, everybody is in contact.
    fn undisturbed(&self) {
        let machine = &self.machine;
        machine.wait("all helpers are in contact", || {
            let status = machine.sctl(&["status"]).out;
            status.contains("service (pid") && !status.contains("out of contact")
        });
        let ids = |list: &[Proc]| list.iter().map(Proc::id).collect::<Vec<_>>();
        assert_eq!(ids(&self.services), ids(&machine.running("sleep 77")));
        UnixStream::connect(machine.path("run/door")).unwrap();
        for number in 0..4 {
            machine.wait_state(&format!("w{number}.service"), "active");
        }
        // And everything can be done.
        assert_eq!(machine.sctl(&["restart", "late.service"]).code, 0);
        assert_eq!(machine.sctl(&["stop", "late.service"]).code, 0);
    }

    /// Nothing of what was tried is left, and everybody is what he was.
    fn taken_back(&self, answer: &Answer, why: &str) {
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.err.contains("taken back"), "{answer:?}");
        assert!(answer.err.contains(why), "{answer:?}");
        self.undisturbed();
        assert!(self.is_installed(&self.installed));
        assert!(!self.machine.path(PROGRAM).with_extension("new").exists());
        for one in self.ours() {
            assert_eq!(self.executable(&one), format!("/{PROGRAM}"), "{one:?}");
        }
        let crashes = self.machine.sctl(&["crashes"]).out;
        assert!(crashes.contains("was taken back"), "{crashes}");
        let status = self.machine.sctl(&["status"]).out;
        assert!(
            status.contains("upgrade   sysmaster") || status.contains("upgrade   the"),
            "{status}"
        );
    }

    fn committed(&self, answer: &Answer) {
        assert_eq!(answer.code, 0, "{answer:?}");
        self.undisturbed();
        assert!(!self.machine.path(PROGRAM).with_extension("new").exists());
    }

    fn is_installed(&self, bytes: &[u8]) -> bool {
        std::fs::read(self.machine.path(PROGRAM)).unwrap() == bytes
    }

    /// Manager and helpers.
    fn ours(&self) -> Vec<Proc> {
        let machine = &self.machine;
        [
            machine.manager(),
            machine.helper(),
            machine.helper_of("socket"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn executable(&self, one: &Proc) -> String {
        // It may be gone by now.
        let link = std::fs::read_link(format!("/proc/{}/exe", one.pid));
        link.unwrap_or_default().display().to_string()
    }
}

#[test]
fn another_version_takes_over() {
    println!(
        "sysmaster and helpers are replaced, tried and installed; the machine goes down with them"
    );
    let Some(mut up) = boot() else { return };
    let before = up.ours();
    let answer = up.next("").upgrade(&["--trial=2"]);
    up.committed(&answer);
    assert!(!up.is_installed(&up.installed));
    for (old, new) in before.iter().zip(up.ours()) {
        assert_ne!(old.id(), new.id());
        assert_eq!(up.executable(&new), format!("/{PROGRAM}"));
        assert_eq!(old.name, new.name);
    }
    assert!(!up.machine.sctl(&["status"]).out.contains("upgrade"));
    up.machine.power_off();
}

#[test]
fn the_service_helper_alone() {
    let Some(up) = boot() else { return };
    let (manager, helper) = (up.machine.manager(), up.machine.helper());
    let answer = up
        .next("")
        .upgrade(&["--only", "helper", "service", "--trial=1"]);
    up.committed(&answer);
    assert_eq!(
        up.machine.manager().map(|one| one.id()),
        manager.map(|one| one.id())
    );
    assert_ne!(
        up.machine.helper().map(|one| one.id()),
        helper.map(|one| one.id())
    );
    let file = up.machine.path("usr/lib/sysmaster/helpers/service");
    assert!(!file.symlink_metadata().unwrap().file_type().is_symlink());
}

/// Somebody may upgrade at the worst moment.
#[test]
fn it_waits_for_helpers_that_are_coming_back() {
    let Some(up) = boot() else { return };
    up.next("");
    for only in [&[][..], &["--only", "helper", "socket"]] {
        up.machine.helper().unwrap().signal(19);
        let answer = up.upgrade(&[only, &["--trial=1"]].concat());
        up.committed(&answer);
    }
}

/// The manager may die when it has been asked, and has begun or not.
#[test]
fn whoever_asked_a_manager_that_died_is_told_how_it_ended() {
    let Some(up) = boot() else { return };
    let machine = &up.machine;
    for round in 0..6 {
        up.place("next", &format!("round {round}"));
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| up.upgrade(&["--trial=2"]));
            let beside = machine.path(PROGRAM).with_extension("new");
            machine.wait("it is about to ask", || {
                beside.exists() || asked.is_finished()
            });
            // Another instant each time: before, while and after it is asked.
            std::thread::sleep(std::time::Duration::from_millis(round * 8));
            if let Some(manager) = machine.manager() {
                manager.signal(9);
            }
            asked.join().unwrap()
        });
        up.committed(&answer);
    }
}

#[test]
fn sysmaster_alone() {
    let Some(up) = boot() else { return };
    let helper = up.machine.helper();
    let answer = up.next("").upgrade(&["--only", "sysmaster", "--trial=1"]);
    up.committed(&answer);
    assert_eq!(
        up.machine.helper().map(|one| one.id()),
        helper.map(|one| one.id())
    );
}

#[test]
fn bad_managers_are_taken_back() {
    for (fault, why) in [
        ("start-sysmaster:segv", "SIGSEGV"),
        ("start-sysmaster:exit0", "exited with 0"),
        ("start-sysmaster:exit1", "exited with 1"),
        ("start-sysmaster:eat", "SIGABRT"),
        ("Restore=:segv", "SIGSEGV"),
    ] {
        println!("a manager with {fault}");
        let Some(mut up) = boot() else { return };
        up.next(&format!("sysmaster SYSMASTER_FAULT={fault}"));
        let answer = up.upgrade(&["--trial=30"]);
        up.taken_back(&answer, why);
        // And it can be tried again, as often as it takes.
        match fault {
            "start-sysmaster:exit0" => {
                let answer = up.next("").upgrade(&["--trial=1"]);
                up.committed(&answer);
            }
            "Restore=:segv" => {
                for _ in 0..3 {
                    let answer = up.upgrade(&["--trial=30"]);
                    up.taken_back(&answer, why);
                }
                let status = up.machine.sctl(&["status"]).out;
                assert!(!status.contains("twice"), "quarantined: {status}");
            }
            _ => {}
        }
        up.machine.power_off();
    }
}

#[test]
fn a_manager_that_hangs_at_its_start_is_taken_back() {
    let Some(up) = boot() else { return };
    up.next("sysmaster SYSMASTER_FAULT=start-sysmaster:hang");
    let answer = up.upgrade(&["--trial=30"]);
    up.taken_back(&answer, "hung");
}

#[test]
fn a_manager_that_crashes_or_hangs_under_load_is_taken_back() {
    for (fault, why) in [("turn:segv@60", "SIGSEGV"), ("turn:hang@60", "hung")] {
        println!("{fault}");
        let Some(up) = boot() else { return };
        up.next(&format!("sysmaster SYSMASTER_FAULT={fault}"));
        let answer = up.upgrade(&["--trial=30", "--no-block"]);
        assert_eq!(answer.code, 0, "{answer:?}");
        let machine = &up.machine;
        machine.wait("it has been too much for it", || {
            machine.sctl(&["restart", "late.service"]);
            machine.sctl(&["status"]).out.contains("taken back")
        });
        let crashes = machine.sctl(&["crashes"]).out;
        assert!(crashes.contains(why), "{crashes}");
        machine.sctl(&["stop", "late.service"]);
        up.undisturbed();
        assert!(up.is_installed(&up.installed));
    }
}

#[test]
fn bad_helpers_are_taken_back() {
    for (fault, why) in [
        ("start-service:segv", "SIGSEGV"),
        ("start-service:hang", "hung"),
        ("start-service:exit0", "exited with 0"),
    ] {
        for only in [&[][..], &["--only", "helper", "service"]] {
            println!("a service helper with {fault}, {only:?}");
            let Some(up) = boot() else { return };
            up.next(&format!("service SYSMASTER_FAULT={fault}"));
            let manager = up.machine.manager();
            let answer = up.upgrade(&[only, &["--trial=30"]].concat());
            assert_eq!(answer.code, 1, "{answer:?}");
            up.taken_back(&answer, why);
            let now = up.machine.manager();
            assert_eq!(
                now.map(|one| one.id()),
                manager.map(|one| one.id()),
                "it had nothing to do with it"
            );
        }
    }
}

#[test]
fn others_may_kill_during_a_trial() {
    println!("SIGKILL and SIGTERM of manager and helper during the trial are nobody's fault");
    let Some(up) = boot() else { return };
    let answer = up.next("").upgrade(&["--trial=6", "--no-block"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let machine = &up.machine;
    for signal in [9, 15, 19] {
        machine.wait("it runs", || {
            machine
                .manager()
                .is_some_and(|one| up.executable(&one).ends_with(".new"))
        });
        let manager = machine.manager().unwrap();
        manager.signal(signal);
        if signal == 9 {
            machine.helper().unwrap().signal(9);
        }
        machine.wait("the next is there", || {
            machine
                .manager()
                .is_some_and(|one| one.id() != manager.id())
        });
    }
    let second = up.upgrade(&[]);
    assert_eq!(second.code, 1);
    assert!(second.err.contains("on trial"), "{second:?}");
    assert!(machine.sctl(&["status"]).out.contains("on trial for"));
    machine.wait("it is installed", || !up.is_installed(&up.installed));
    up.undisturbed();
}

#[test]
fn what_the_new_version_accepted_the_old_one_goes_on_with() {
    let Some(up) = boot() else { return };
    let machine = &up.machine;
    let answer = up.next("").upgrade(&["--trial=30", "--no-block"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let is_new = |one: &Proc| up.executable(one).ends_with(".new");
    machine.wait("the new manager runs", || {
        machine.manager().as_ref().is_some_and(is_new)
    });
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| machine.sctl(&["start", "once.service"]));
        machine.wait("it has begun", || machine.path("run/once").exists());
        machine.manager().filter(is_new).unwrap().signal(6);
        let answer = asked.join().unwrap();
        assert_eq!(answer.code, 0, "{answer:?}");
    });
    assert_eq!(machine.read("run/once"), "x\n");
    assert!(machine.sctl(&["status"]).out.contains("taken back"));
    up.undisturbed();
    assert_eq!(machine.sctl(&["reset-failed"]).code, 0);
    assert!(!machine.sctl(&["status"]).out.contains("taken back"));
}

#[test]
fn what_cannot_be_tried_is_refused_before_anything_happens() {
    let Some(up) = boot() else { return };
    let machine = &up.machine;
    let before = up.ours();
    let mut foreign = up.installed.clone();
    foreign[18] ^= 0xff;
    let mut other = up.installed.clone();
    let mark = b"\x7fsysmaster generation ";
    let at = other.windows(mark.len()).position(|at| at == mark).unwrap();
    other[at + mark.len()] = b'9';
    for (bytes, why) in [
        (b"#!/bin/sh\nexit 0\n".to_vec(), "no executable"),
        (foreign, "another kind of machine"),
        (std::fs::read("/bin/true").unwrap(), "no sysmaster"),
        (other, "generation"),
    ] {
        std::fs::write(machine.path("next"), bytes).unwrap();
        let answer = up.upgrade(&[]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(
            answer.err.contains(why) && answer.err.contains("nothing was done"),
            "{answer:?}"
        );
    }
    let answer = machine.sctl(&["upgrade", "/nowhere"]);
    assert!(
        answer.code == 1 && answer.err.contains("/nowhere"),
        "{answer:?}"
    );
    up.next("");
    let answer = up.upgrade(&["--only", "helper", "mount"]);
    assert_ne!(answer.code, 0, "{answer:?}");
    let ids = |list: Vec<Proc>| list.iter().map(Proc::id).collect::<Vec<_>>();
    assert_eq!(ids(before), ids(up.ours()));
    up.undisturbed();
}

#[test]
fn what_is_installed_is_tried_by_reexec() {
    println!("a bad file in the place of the installed one: the old version goes on from memory");
    let Some(up) = boot() else { return };
    let machine = &up.machine;
    up.place(PROGRAM, "sysmaster SYSMASTER_FAULT=start-sysmaster:segv");
    assert_eq!(machine.sctl(&["daemon-reexec"]).code, 0);
    machine.wait("it is taken back", || {
        machine.sctl(&["status"]).out.contains("taken back")
    });
    up.undisturbed();
    for one in up.ours() {
        let executable = up.executable(&one);
        assert!(executable.contains("sysmaster-previous"), "{executable}");
    }
    let manager = machine.manager().unwrap();
    manager.signal(9);
    machine.wait("the next is the old version too", || {
        machine.manager().is_some_and(|one| {
            one.id() != manager.id() && up.executable(&one).contains("sysmaster-previous")
        })
    });
    up.undisturbed();
    println!("and a good one after that");
    up.place(PROGRAM, "");
    let answer = machine.sctl(&["daemon-reexec", "--trial=2"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    machine.wait("it runs", || {
        let is_new = |one: &Proc| up.executable(one) == format!("/{PROGRAM}");
        machine.manager().as_ref().is_some_and(is_new)
    });
    up.undisturbed();
}

/// What runs and what is tried write different records: both read both.
#[test]
fn versions_read_what_others_wrote() {
    println!("a version whose records are longer takes over, and the older one after it");
    let Some(up) = boot() else { return };
    up.next("sysmaster SYSMASTER_APPENDED=24\nservice SYSMASTER_APPENDED=24");
    let answer = up.upgrade(&["--trial=1"]);
    up.committed(&answer);
    up.place("next", "").upgrade(&["--trial=1"]);
    up.undisturbed();
    println!("the longer ones in a trial that is taken back");
    up.next("sysmaster SYSMASTER_APPENDED=24\nservice SYSMASTER_APPENDED=24\nsysmaster SYSMASTER_FAULT=turn:segv@60");
    let answer = up.upgrade(&["--trial=20", "--no-block"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let machine = &up.machine;
    machine.wait("it is taken back", || {
        machine.sctl(&["restart", "late.service"]);
        machine.sctl(&["status"]).out.contains("taken back")
    });
    machine.sctl(&["stop", "late.service"]);
    up.undisturbed();
}

#[test]
fn versions_speak_the_protocol_of_the_one_before() {
    println!("a manager that speaks the protocol of before to the helper of now");
    let Some(up) = boot() else { return };
    up.next("sysmaster SYSMASTER_WIRE=1");
    let answer = up.upgrade(&["--only", "sysmaster", "--trial=1"]);
    up.committed(&answer);
}

/// The installed version proved good, and is not: the one before it comes before safe mode.
#[test]
fn the_rung_of_the_previous_version() {
    let Some(up) = boot() else { return };
    let answer = up.next("").upgrade(&["--trial=1"]);
    up.committed(&answer);
    let machine = &up.machine;
    let previous = format!("/{PROGRAM}.previous");
    for deaths in 1..=3 {
        let manager = machine.manager().unwrap();
        assert_eq!(up.executable(&manager), format!("/{PROGRAM}"));
        manager.signal(6);
        machine.wait("the next one is there", || {
            machine
                .manager()
                .is_some_and(|one| one.id() != manager.id())
        });
        println!("after {deaths} deaths by its own fault");
        up.undisturbed();
    }
    assert_eq!(up.executable(&machine.manager().unwrap()), previous);
    let status = machine.sctl(&["status"]).out;
    assert!(status.contains("the one before it runs"), "{status}");
    assert!(!status.contains("safe mode"), "{status}");
    println!("by command the installed one has another chance");
    assert_eq!(machine.sctl(&["daemon-reexec"]).code, 0);
    machine.wait("the installed one runs", || {
        let is_installed = |one: &Proc| up.executable(one) == format!("/{PROGRAM}");
        machine.manager().as_ref().is_some_and(is_installed)
    });
    up.undisturbed();
}

#[test]
fn an_installed_version_that_cannot_be_executed() {
    let Some(up) = boot() else { return };
    let answer = up.next("").upgrade(&["--trial=1"]);
    up.committed(&answer);
    let machine = &up.machine;
    let at = machine.path(PROGRAM);
    std::fs::remove_file(&at).unwrap();
    std::fs::write(&at, "no executable").unwrap();
    machine.manager().unwrap().signal(9);
    let is_before = |one: Option<Proc>| one.filter(|one| up.executable(one).ends_with(".previous"));
    machine.wait("the one before is there", || {
        is_before(machine.manager()).is_some()
    });
    // sctl is the same file.
    let managed = || {
        let program = format!("/{PROGRAM}.previous");
        let status = machine.inside(&[&program, "sctl", "status"]).stdout;
        let status = String::from_utf8_lossy(&status);
        status.contains("service (pid") && !status.contains("out of contact")
    };
    machine.wait("all helpers are in contact", managed);
    let helper = machine.helper().unwrap();
    helper.signal(9);
    machine.wait("and its helper too", || {
        is_before(machine.helper()).is_some_and(|one| one.id() != helper.id()) && managed()
    });
    let ids = |list: &[Proc]| list.iter().map(Proc::id).collect::<Vec<_>>();
    assert_eq!(ids(&up.services), ids(&machine.running("sleep 77")));
    UnixStream::connect(machine.path("run/door")).unwrap();
}

#[test]
fn init_last_and_only_if_it_understands_the_state() {
    let Some(up) = boot() else { return };
    let machine = &up.machine;
    let directory = machine.path("new");
    std::fs::create_dir(&directory).unwrap();
    for name in ["init", "init-worker"] {
        let from = machine.path(&format!("usr/lib/sysmaster/{name}"));
        std::fs::copy(from, directory.join(name)).unwrap();
    }
    up.place("new/sysmaster", "");
    let before = std::fs::metadata(format!("/proc/{}/exe", machine.init.pid)).unwrap();
    let answer = machine.sctl(&["upgrade", "/new", "--trial=1"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    use std::os::unix::fs::MetadataExt;
    let after = std::fs::metadata(format!("/proc/{}/exe", machine.init.pid)).unwrap();
    assert_ne!(before.ino(), after.ino(), "init runs from another file");
    up.undisturbed();
    println!("one that is no init");
    std::fs::copy("/bin/false", directory.join("init")).unwrap();
    let answer = machine.sctl(&["upgrade", "--only", "init", "/new"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.contains("refused"), "{answer:?}");
    let now = std::fs::metadata(format!("/proc/{}/exe", machine.init.pid)).unwrap();
    let installed = std::fs::metadata(machine.path("usr/lib/sysmaster/init")).unwrap();
    assert_eq!(
        (now.ino(), now.ino()),
        (after.ino(), installed.ino()),
        "as before, and installed"
    );
    up.undisturbed();
}

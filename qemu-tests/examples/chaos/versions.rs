//! Other versions of ours are tried meanwhile: a good one is installed, a bad one must be gone by itself.

use crate::random::Random;
use crate::tally::{Count, HANGS, Tally};
use qemu_tests::Machine;
use qemu_tests::setup::LIBRARY;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whose fault it is, and where it comes by what. The last two take ten and three seconds to be noticed.
const BAD: [&str; 9] = [
    "sysmaster SYSMASTER_FAULT=start-sysmaster:segv",
    "sysmaster SYSMASTER_FAULT=start-sysmaster:exit0",
    "sysmaster SYSMASTER_FAULT=start-sysmaster:eat",
    "sysmaster SYSMASTER_FAULT=Restore=:segv",
    "sysmaster SYSMASTER_FAULT=turn:segv@40",
    "service SYSMASTER_FAULT=start-service:segv",
    "socket SYSMASTER_FAULT=start-socket:exit1",
    "sysmaster SYSMASTER_FAULT=start-sysmaster:hang",
    "service SYSMASTER_FAULT=start-service:hang",
];

/// What is tried, where, and what it came to.
struct Versions<'a> {
    machine: &'a Machine,
    tally: &'a Tally,
    /// What was installed at first.
    program: Vec<u8>,
}

/// Tries one after the other until it is over.
pub fn tries(machine: &Machine, mut random: Random, tally: &Tally, over: &AtomicBool) {
    let program = fs::read(machine.path(&format!("{LIBRARY}/sysmaster"))).unwrap_or_default();
    let versions = Versions {
        machine,
        tally,
        program,
    };
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        random.pause(100, 3000);
        number += 1;
        let good = format!("version {number}");
        match random.below(10) {
            0..3 => tally.during("a good version", || versions.good(&good, None)),
            3 => tally.during("a good version", || {
                versions.good(&good, Some("service"));
                versions.link_again("service");
            }),
            4 => tally.during("a re-execution", || versions.reexec()),
            _ => {
                let fault = BAD.get(random.below(BAD.len() as u64) as usize);
                let fault = *fault.unwrap_or(&"");
                let kind = match fault.ends_with(":hang") {
                    true => HANGS,
                    false => "a version that dies",
                };
                tally.during(kind, || versions.bad(fault, random.percent(30)));
            }
        }
    }
}

impl Versions<'_> {
    fn good(&self, lines: &str, only: Option<&str>) {
        self.tally.did("upgrades", 1);
        let answer = self.upgrade(lines, only, 1);
        if answer.code != 0 {
            self.wrong(&format!("a good version is not installed: {answer:?}"));
        } else if fs::read(self.place(only)).ok() != fs::read(self.machine.path("next")).ok() {
            self.wrong("another file is installed than was tried");
        }
    }

    fn bad(&self, fault: &str, alone: bool) {
        self.tally.did("bad versions", 1);
        let program = fault.split(' ').next();
        let only = program.filter(|program| alone && *program != "socket");
        let place = self.place(only);
        let before = fs::read(&place).ok();
        let fault = format!(
            "{fault}\n{} SYSMASTER_FAULT_ONCE=",
            program.unwrap_or_default()
        );
        let answer = self.upgrade(&fault, only, 20);
        if answer.code != 1 || !answer.err.contains("was taken back") {
            self.wrong(&format!("{fault}: {answer:?}"));
        }
        if fs::read(&place).ok() != before {
            self.wrong(&format!("{fault}: {} is another file", place.display()));
        }
        self.link_again("service");
    }

    fn reexec(&self) {
        self.tally.did("re-executions", 1);
        let answer = self.machine.sctl(&["daemon-reexec"]);
        if answer.code != 0 {
            self.wrong(&format!("daemon-reexec: {answer:?}"));
        }
    }

    fn upgrade(
        &self,
        lines: &str,
        only: Option<&str>,
        seconds: u32,
    ) -> qemu_tests::machine::Answer {
        self.machine.place_version("next", &self.program, lines);
        let trial = format!("--trial={seconds}");
        let mut words = vec!["upgrade", "/next", &trial];
        match only {
            Some("sysmaster") => words.extend(["--only", "sysmaster"]),
            Some(helper) => words.extend(["--only", "helper", helper]),
            None => {}
        }
        self.machine.sctl(&words)
    }

    /// What an upgrade replaces.
    fn place(&self, only: Option<&str>) -> PathBuf {
        let library = self.machine.path(LIBRARY);
        match only.filter(|only| *only != "sysmaster") {
            Some(helper) => library.join("helpers").join(helper),
            None => library.join("sysmaster"),
        }
    }

    /// A helper is of the manager's version again, from its next start on.
    fn link_again(&self, helper: &str) {
        let place = self.place(Some(helper));
        let beside = place.with_extension("link");
        let linked = symlink("../sysmaster", &beside).and_then(|()| fs::rename(&beside, &place));
        linked.expect("a link in the machine's memory");
    }

    fn wrong(&self, what: &str) {
        self.tally.add(Count::Versions, what);
    }
}

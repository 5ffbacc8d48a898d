//! init, manager and helper of this build beside those of another, each in each place.
//!
//! The other's executables (`init`, `init-worker`, `multicall`) are in the directory that
//! `SYSMASTER_OTHER_BIN_DIR` names: those of the release before, say. Without it the test is skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Proc, Setup};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const LIBRARY: &str = "usr/lib/sysmaster";

/// A new file in the place of another, which may be executed just now.
fn put(bytes: &[u8], to: &Path) {
    let beside = to.with_extension("beside");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(beside, to).unwrap();
}

/// What a build is made of: init, its worker, everything else.
#[derive(Clone)]
struct Build {
    name: &'static str,
    files: [Vec<u8>; 3],
}

const NAMES: [&str; 3] = ["init", "init-worker", "sysmaster"];

fn builds() -> Option<[Build; 2]> {
    let Some(other) = std::env::var_os("SYSMASTER_OTHER_BIN_DIR").map(PathBuf::from) else {
        println!("skipped: SYSMASTER_OTHER_BIN_DIR names no other build");
        return None;
    };
    let library = Setup::new()?.files().join(LIBRARY);
    let own = NAMES.map(|name| std::fs::read(library.join(name)).unwrap());
    let other =
        ["init", "init-worker", "multicall"].map(|name| std::fs::read(other.join(name)).unwrap());
    let build = |name, files| Build { name, files };
    Some([build("this", own), build("the other", other)])
}

fn contact(machine: &Machine) {
    machine.wait("the helper is in contact", || {
        let status = machine.sctl(&["status"]).out;
        status.contains("service (pid") && !status.contains("out of contact")
    });
}

/// The manager is replaced by what is installed; with the helper, or beside the one that runs.
fn replace(machine: &Machine, manager: &Build, helper: bool, before: &[Proc]) {
    println!("  manager of {}, its helper too: {helper}", manager.name);
    put(&manager.files[2], &machine.path(LIBRARY).join("sysmaster"));
    let was = machine.manager().unwrap();
    if helper {
        machine.helper().unwrap().signal(9);
    }
    was.signal(if helper { 9 } else { 15 });
    machine.wait("the next manager is there", || {
        machine.manager().is_some_and(|now| now.id() != was.id())
    });
    undisturbed(machine, before);
}

fn undisturbed(machine: &Machine, before: &[Proc]) {
    contact(machine);
    let ids = |list: &[Proc]| list.iter().map(Proc::id).collect::<Vec<_>>();
    assert_eq!(ids(before), ids(&machine.running("sleep 77")));
    for number in 0..4 {
        machine.wait_state(&format!("w{number}.service"), "active");
    }
    assert_eq!(machine.sctl(&["restart", "late.service"]).code, 0);
    assert_eq!(machine.sctl(&["stop", "late.service"]).code, 0);
    let crashes = machine.sctl(&["crashes"]).out;
    assert_eq!(crashes, "");
}

#[test]
fn every_pair_works_together() {
    let Some(builds) = builds() else { return };
    for (init, manager) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let (init, first, second) = (&builds[init], &builds[manager], &builds[1 - manager]);
        println!(
            "init of {}, manager and helper of {}",
            init.name, first.name
        );
        let setup = Setup::new().unwrap();
        for number in 0..4 {
            setup.wanted(
                &format!("w{number}.service"),
                &format!("[Service]\nExecStart=/bin/sleep 77{number}\n"),
            );
        }
        setup.unit(
            "late.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 882\n",
        );
        let library = setup.files().join(LIBRARY);
        for (name, bytes) in NAMES
            .iter()
            .zip([&init.files[0], &init.files[1], &first.files[2]])
        {
            put(bytes, &library.join(name));
        }
        let mut machine = setup.boot();
        machine.wait("all are up", || machine.running("sleep 77").len() == 4);
        let before = machine.running("sleep 77");
        for next in [second, first, second] {
            replace(&machine, next, false, &before);
            replace(&machine, next, true, &before);
        }
        println!("  init becomes the other's");
        replace(&machine, &builds[0], true, &before);
        let other = if init.name == builds[0].name {
            &builds[1]
        } else {
            &builds[0]
        };
        let directory = machine.path("other");
        std::fs::create_dir(&directory).unwrap();
        for (name, bytes) in NAMES.iter().zip(&other.files).take(2) {
            put(bytes, &directory.join(name));
        }
        let answer = machine.sctl(&["upgrade", "--only", "init", "/other"]);
        assert_eq!(answer.code, 0, "{answer:?}");
        machine.manager().unwrap().signal(9);
        undisturbed(&machine, &before);
        machine.power_off();
    }
}

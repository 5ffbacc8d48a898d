//! What our processes remember is damaged, lost or of another kind: what runs goes on, is adopted,
//! and nothing is started a second time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Proc, Setup};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

const KILL: i32 = 9;

/// What becomes of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// Random numbers all over.
    Random,
    /// Nothing but zeroes.
    Zero,
    /// Every hundredth byte is another.
    Speckled,
}

const ALL: [Damage; 3] = [Damage::Random, Damage::Zero, Damage::Speckled];

/// Does that to the memory of this name that init keeps.
fn damage(machine: &Machine, name: &str, how: Damage) {
    let directory = format!("/proc/{}/fd", machine.init.pid);
    let mut found = 0;
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if !target.to_string_lossy().contains(name) {
            continue;
        }
        found += 1;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(entry.path())
            .unwrap();
        let length = file.metadata().unwrap().len() as usize;
        assert!(file.set_len(0).is_err(), "nobody can cut it off");
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        };
        match how {
            Damage::Random => bytes.iter_mut().for_each(|byte| *byte = random()),
            Damage::Zero => bytes.fill(0),
            Damage::Speckled => bytes
                .iter_mut()
                .skip(70)
                .step_by(100)
                .for_each(|b| *b ^= 0x55),
        }
        file.write_all_at(&bytes, 0).unwrap();
    }
    assert!(found > 0, "init keeps no memory of name {name}");
}

fn workload(setup: &Setup) {
    for number in 0..3 {
        setup.wanted(
            &format!("w{number}.service"),
            &format!(
                "[Service]\nExecStartPre=/bin/sh -c 'echo x >> /run/pre-{number}'\n\
                 ExecStart=/bin/sleep 77{number}\nRestart=always\nRestartSec=0\n"
            ),
        );
    }
    setup.wanted(
        "once.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /run/once'\n",
    );
    setup.unit("new.service", "[Service]\nExecStart=/bin/sleep 88\n");
    setup.wanted("door.socket", "[Socket]\nListenStream=/run/door\n");
    setup.unit("door.service", "[Service]\nExecStart=/bin/sleep 99\n");
}

fn up(machine: &Machine) -> Vec<Proc> {
    machine.wait("the workload is up", || {
        machine.running("sleep 77").len() == 3
            && machine.read("run/once") == "x\n"
            && machine.sctl(&["is-system-running"]).out == "running\n"
    });
    machine.running("sleep 77")
}

/// The services are the processes they were, are managed, and can be; new ones can be started.
fn managed(machine: &mut Machine, before: &[Proc], what: &str) {
    machine.wait("the services are managed", || {
        (0..3).all(|n| machine.property(&format!("w{n}.service"), "ActiveState") == "active")
            && !machine.sctl(&["status"]).out.contains("out of contact")
    });
    let ids = |list: &[Proc]| list.iter().map(Proc::id).collect::<Vec<_>>();
    assert_eq!(
        ids(before),
        ids(&machine.running("sleep 77")),
        "{what}: services disturbed"
    );
    assert_eq!(
        machine.read("run/once"),
        "x\n",
        "{what}: the oneshot ran again"
    );
    for number in 0..3 {
        assert_eq!(machine.read(&format!("run/pre-{number}")), "x\n", "{what}");
    }
    // A service that dies is noticed, and restarted.
    let first = machine.running("sleep 770").remove(0);
    first.signal(KILL);
    machine.wait("it is restarted", || {
        let now = machine.running("sleep 770");
        now.len() == 1 && now[0].id() != first.id()
    });
    assert_eq!(machine.sctl(&["stop", "w1"]).code, 0);
    assert!(machine.running("sleep 771").is_empty());
    assert_eq!(machine.sctl(&["start", "new"]).code, 0);
    assert!(std::os::unix::net::UnixStream::connect(machine.path("run/door")).is_ok());
    machine.wait("it is started on demand", || {
        !machine.running("sleep 99").is_empty()
    });
    machine.power_off();
}

/// The state store is hit, the manager dies, and with it perhaps the helpers.
fn state(helpers_too: bool) {
    for how in ALL {
        println!("state store: {how:?}, helpers too: {helpers_too}");
        let Some(setup) = Setup::new() else { return };
        workload(&setup);
        let mut machine = setup.boot();
        let before = up(&machine);
        let mut victims: Vec<Proc> = machine.manager().into_iter().collect();
        if helpers_too {
            victims.extend(machine.helper_of("service"));
            victims.extend(machine.helper_of("socket"));
        }
        damage(&machine, "sysmaster-state", how);
        for one in &victims {
            one.signal(KILL);
        }
        machine.wait("they are gone", || {
            victims.iter().all(|one| !one.is_alive())
        });
        managed(&mut machine, &before, &format!("{how:?}"));
        let console = machine.console();
        let told = ["cannot be read", "is lost"]
            .iter()
            .any(|text| console.contains(text));
        assert!(
            told || console.contains("cannot be used"),
            "people are not told"
        );
    }
}

#[test]
fn a_damaged_state_store_with_helpers_alive() {
    state(false);
}

#[test]
fn a_damaged_state_store_with_helpers_dead() {
    state(true);
}

/// What the helpers remember is hit, and they die, perhaps with the manager.
#[test]
fn damaged_journals() {
    for (how, all) in ALL.into_iter().flat_map(|how| [(how, false), (how, true)]) {
        println!("journals and slots: {how:?}, everybody dies: {all}");
        let Some(setup) = Setup::new() else { return };
        workload(&setup);
        let mut machine = setup.boot();
        let before = up(&machine);
        let mut victims: Vec<Proc> = machine.helper_of("service").into_iter().collect();
        victims.extend(machine.helper_of("socket"));
        if all {
            victims.extend(machine.manager());
            damage(&machine, "sysmaster-state", how);
        }
        damage(&machine, "sysmaster-journal", how);
        damage(&machine, "sysmaster-slots", how);
        for one in &victims {
            one.signal(KILL);
        }
        machine.wait("they are gone", || {
            victims.iter().all(|one| !one.is_alive())
        });
        if !machine.path("sys/fs/cgroup/system.slice").exists() {
            println!("skipped: no control groups, so nobody can tell whose a process is");
            return;
        }
        managed(&mut machine, &before, &format!("{how:?}, {all}"));
    }
}

//! Helpers that are stopped, hung or late.

use super::*;
use crate::upgrade::{Stage, UpgradeRecord};
use units::wire::helper::END_UNKNOWN;

/// A process that stands in for a helper and can be stopped and killed. It is entered as an earlier
/// manager's child: its end is told by init.
struct Victim {
    child: std::process::Child,
    proc: ProcId,
}

impl Victim {
    fn new() -> Self {
        let child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let start = process::start_time(child.id()).unwrap();
        let proc = ProcId {
            pid: child.id(),
            start,
        };
        Self { child, proc }
    }

    /// Takes the place of the helper in the table.
    fn appoint(&self, manager: &mut Manager) {
        let index = manager.helpers.find("service").unwrap();
        manager.helpers.get_mut(index).unwrap().proc = Some(self.proc);
        manager.persist.helper("service", self.proc).unwrap();
    }

    fn stop(&self) {
        let proc = process::ProcId {
            pid: self.proc.pid,
            start: self.proc.start,
        };
        process::kill(proc, platform::signal::SIGSTOP).unwrap();
        while process::status(self.proc.pid).unwrap().state != b'T' {
            std::thread::yield_now();
        }
    }

    fn killed(&self) -> Option<()> {
        let now = process::status(self.proc.pid).filter(|now| now.start == self.proc.start);
        now.is_none_or(|now| now.is_dead()).then_some(())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CHILD_SIGNAL: ToManager = ToManager::Signal {
    signo: libc::SIGCHLD as u8,
};

#[test]
fn a_stopped_helper_of_an_earlier_manager_is_killed_when_init_tells() {
    let mut world = services();
    let (mut manager, init, _fake) = booted(&mut world);
    let victim = Victim::new();
    victim.appoint(&mut manager);
    victim.stop();
    say(&init, CHILD_SIGNAL);
    until(&mut manager, "the kill", |_| victim.killed());
}

#[test]
fn a_stop_right_after_the_look_is_found_without_a_notice() {
    let mut world = services();
    let (mut manager, init, fake) = booted(&mut world);
    let victim = Victim::new();
    victim.appoint(&mut manager);
    // The notice comes before the stop: nothing to be seen yet, but an answer is owed.
    say(&init, CHILD_SIGNAL);
    until(&mut manager, "a debt", |m| {
        m.helpers.iter().next().unwrap().debt.map(drop)
    });
    victim.stop();
    until(&mut manager, "the kill", |_| victim.killed());
    drop(fake);
}

/// It says something in every turn, and never what it owes.
fn babble(fake: &Fake, turn: u64) {
    let text = format!("line {turn}");
    let line = FromHelper::Log {
        level: 7,
        unit: String::new(),
        text,
    };
    let _ = socket::send(&fake.fd, &wire::encode(&line).unwrap(), &[]);
}

#[test]
fn a_helper_that_talks_without_end_and_answers_nothing_is_replaced() {
    let mut world = services();
    let (mut manager, init, fake) = booted(&mut world);
    let victim = Victim::new();
    victim.appoint(&mut manager);
    say(&init, CHILD_SIGNAL);
    let mut turn = 0;
    until(&mut manager, "the kill", |_| {
        turn += 1;
        babble(&fake, turn);
        victim.killed()
    });
}

#[test]
fn so_is_one_that_answers_and_never_says_that_it_has_adopted() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let victim = Victim::new();
    drop(fake);
    until(&mut manager, "the loss", |m| {
        (m.helpers.iter().next().unwrap().phase == Phase::Awaited).then_some(())
    });
    let fd = socket::connect(&world.socket("helper")).unwrap();
    let fake = Fake { fd };
    fake.say(&FromHelper::Hello {
        version: wire::VERSION,
        build: "fake".into(),
        unit_type: "service".into(),
        epoch: 0,
        adopted: true,
    });
    while fake.next(&mut manager) != ToHelper::Sync {}
    victim.appoint(&mut manager);
    until(&mut manager, "the kill", |_| {
        let mut buffer = vec![0; MAX_FRAME];
        if let Ok(Some(got)) = socket::receive(&fake.fd, &mut buffer)
            && let Ok(ToHelper::Ping { nonce }) = wire::decode(&buffer[..got.length])
        {
            fake.say(&FromHelper::Pong { nonce });
        }
        victim.killed()
    });
}

#[test]
fn the_next_manager_replaces_a_helper_that_is_stopped() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let victim = Victim::new();
    victim.appoint(&mut manager);
    victim.stop();
    drop((manager, fake));
    let (manager, _init) = world.manager();
    assert_eq!(manager.helpers.iter().next().unwrap().phase, Phase::Dying);
    let end = clock::now() + PATIENCE;
    while victim.killed().is_none() {
        assert!(clock::now() < end, "it is killed");
        std::thread::yield_now();
    }
}

#[test]
fn every_phase_with_a_process_has_a_deadline() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let owes = |manager: &Manager| manager.helpers.iter().next().unwrap().debt.is_some();
    drop(fake);
    until(&mut manager, "the loss", |m| {
        (m.helpers.iter().next().unwrap().phase == Phase::Awaited).then_some(())
    });
    assert!(owes(&manager), "Hello");
    let fd = socket::connect(&world.socket("helper")).unwrap();
    until(&mut manager, "the connection", |m| {
        m.helpers.iter().next().unwrap().conn.as_ref().map(drop)
    });
    assert!(owes(&manager), "Hello on the new connection");
    send(
        &fd,
        &FromHelper::Hello {
            version: 1,
            build: "fake".into(),
            unit_type: "service".into(),
            epoch: 0,
            adopted: false,
        },
    );
    until(&mut manager, "the welcome", |m| {
        assert!(owes(m), "in every turn of it");
        (m.helpers.iter().next().unwrap().phase == Phase::Syncing).then_some(())
    });
    let victim = Victim::new();
    victim.appoint(&mut manager);
    manager.fail_helper(0, "is tested");
    assert!(owes(&manager), "its end");
}

/// A process that has ended and is reaped.
fn gone() -> ProcId {
    let mut command = std::process::Command::new("cat");
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let start = process::start_time(pid).unwrap();
    // (Another test's manager may reap it before this does.)
    let _ = child.wait();
    ProcId { pid, start }
}

#[test]
fn how_a_process_ended_that_is_gone_is_told_by_init_or_unknown() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let proc = gone();
    let exit = init_wire::Exit {
        seq: 1,
        pid: proc.pid,
        start: proc.start,
        status: 9,
    };
    world.memory.lock().unwrap().untold = Some(exit);
    fake.say(&FromHelper::Watch { proc });
    let told = fake.next(&mut manager);
    assert_eq!(told, ToHelper::Exited { proc, status: 9 });
    let proc = gone();
    fake.say(&FromHelper::Watch { proc });
    let status = END_UNKNOWN;
    let told = fake.next(&mut manager);
    assert_eq!(told, ToHelper::Exited { proc, status }, "and not a success");
}

#[test]
fn a_helper_recorded_without_its_start_time_is_nobody() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let victim = Victim::new();
    let unknown = ProcId {
        start: 0,
        ..victim.proc
    };
    manager.persist.helper("service", unknown).unwrap();
    // Were it the helper, it would be replaced at once.
    victim.stop();
    drop((manager, fake));
    let (manager, _init) = world.manager();
    let mut recorded = manager.helpers.iter().filter_map(|helper| helper.proc);
    assert!(recorded.all(|proc| proc.pid != victim.proc.pid));
    assert!(victim.killed().is_none());
}

#[test]
fn the_helper_of_before_does_not_wait_for_what_one_on_trial_did() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let index = manager.helpers.find("service").unwrap();
    for _ in 0..4 {
        manager.upgrade = UpgradeRecord {
            stage: Stage::Helpers,
            only: "service".into(),
            until: clock::now() + PATIENCE,
            ..UpgradeRecord::default()
        };
        manager.helper_died(index, libc::SIGSEGV);
        assert_eq!(manager.upgrade.stage, Stage::TakenBack);
        let helper = manager.helpers.get(index).unwrap();
        assert_eq!(helper.deaths.faults(), 0);
    }
    manager.helper_died(index, libc::SIGSEGV);
    assert_eq!(manager.helpers.get(index).unwrap().deaths.faults(), 1);
}

//! Crashes of our own: reported, not repeated for ever, and nobody else's business.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs)]

use qemu_tests::{Machine, Setup};

const ABRT: i32 = 6;

fn with_units() -> Option<Setup> {
    let setup = Setup::with_faults()?;
    setup
        .wanted("good.service", "[Service]\nExecStart=/bin/sleep 771\n")
        .unit("bad.service", "[Service]\nExecStart=/bin/sleep 772\n")
        .unit("other.service", "[Service]\nExecStart=/bin/sleep 773\n");
    Some(setup)
}

/// What `sctl crashes` lists, without the heading.
fn crashes(machine: &Machine) -> Vec<String> {
    let text = machine.sctl(&["crashes", "--no-legend"]).out;
    text.lines().map(str::to_owned).collect()
}

/// Everybody else is where he was, and everything else can be done.
fn unconcerned(machine: &mut Machine) {
    machine.wait_state("good.service", "active");
    assert_eq!(machine.running("sleep 771").len(), 1, "it runs, once");
    assert_eq!(machine.sctl(&["start", "other.service"]).code, 0);
    assert_eq!(machine.sctl(&["stop", "other.service"]).code, 0);
}

#[test]
fn a_unit_that_kills_the_manager_is_quarantined() {
    let Some(mut setup) = with_units() else {
        return;
    };
    setup.wanted("bad.service", "[Service]\nExecStart=/bin/sleep 772\n");
    setup.environment("SYSMASTER_FAULT", "Load=bad.service:segv");
    let mut machine = setup.boot();
    unconcerned(&mut machine);
    let found = crashes(&machine);
    let told = |line: &&String| line.contains("SIGSEGV") && line.contains("loading bad.service");
    assert_eq!(found.iter().filter(told).count(), 2, "{found:?}");
    assert!(found.last().unwrap().contains("in quarantine"), "{found:?}");
    assert!(machine.sctl(&["status"]).out.contains("quarantine"));
    let answer = machine.sctl(&["start", "bad.service"]);
    assert_ne!(answer.code, 0);
    assert!(answer.err.contains("quarantine"), "{answer:?}");
    // It outlives the manager, which dies of something else.
    let manager = machine.manager().unwrap();
    manager.signal(9);
    machine.wait("the next one is there", || {
        machine
            .manager()
            .is_some_and(|now| now.id() != manager.id())
    });
    assert!(
        machine
            .sctl(&["start", "bad.service"])
            .err
            .contains("quarantine")
    );
    // Tried again by command, it does so once more, and the machine is the same afterwards.
    machine.sctl(&["reset-failed", "bad.service"]);
    machine.wait("it has killed two more, and no third", || {
        let told =
            |line: &&String| line.contains("loading bad.service") && line.contains("SIGSEGV");
        let found = crashes(&machine);
        found.iter().filter(told).count() == 4 && found.last().unwrap().contains("in quarantine")
    });
    unconcerned(&mut machine);
    machine.power_off();
}

#[test]
fn a_request_that_kills_the_manager_is_refused() {
    let Some(mut setup) = with_units() else {
        return;
    };
    setup.environment("SYSMASTER_FAULT", "Request=start_bad.service:segv");
    let mut machine = setup.boot();
    machine.wait_state("good.service", "active");
    let mut answers = Vec::new();
    // A client whose manager dies asks the next one, or gives up.
    for _ in 0..4 {
        answers.push(machine.sctl(&["start", "bad.service"]));
    }
    let last = answers.last().unwrap();
    assert_ne!(last.code, 0);
    assert!(last.err.contains("quarantine"), "{answers:?}");
    assert_eq!(
        crashes(&machine)
            .iter()
            .filter(|line| line.contains("SIGSEGV"))
            .count(),
        2
    );
    unconcerned(&mut machine);
    machine.power_off();
}

#[test]
fn a_unit_that_kills_its_helper_is_quarantined() {
    // 1: Load, 2: Start, 3: Stop.
    for (point, what) in [("1=bad.service", "loading"), ("2=bad.service", "starting")] {
        println!("{what}");
        let Some(mut setup) = with_units() else {
            return;
        };
        setup.environment("SYSMASTER_FAULT", &[point, ":segv"].concat());
        let mut machine = setup.boot();
        machine.wait_state("good.service", "active");
        let before = machine.running("sleep 771");
        let answer = machine.sctl(&["start", "bad.service"]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.err.contains("quarantine"), "{answer:?}");
        let found = crashes(&machine);
        let died = |line: &&String| line.contains("service helper") && line.contains("SIGSEGV");
        assert_eq!(found.iter().filter(died).count(), 2, "{found:?}");
        // The first may have died before its successor could say what it was at.
        let told = |line: &&String| died(line) && line.contains(what);
        assert!(found.iter().any(|line| told(&line)), "{found:?}");
        assert!(machine.sctl(&["status"]).out.contains("quarantine"));
        unconcerned(&mut machine);
        let after = machine.running("sleep 771");
        assert_eq!(before[0].id(), after[0].id(), "the service was disturbed");
        assert!(machine.running("sleep 772").is_empty());
        machine.power_off();
    }
}

/// Restart, back-off, safe mode: what runs stays managed on each rung, and after a healthy time it is
/// climbed down. (The rungs above, shell and reboot, are init's tests.)
#[test]
fn the_ladder_up_to_safe_mode_and_down() {
    let Some(mut setup) = with_units() else {
        return;
    };
    setup.unit("late.service", "[Service]\nExecStart=/bin/sleep 774\n");
    setup.wanted(
        "door.socket",
        "[Socket]\nListenStream=/run/door\nService=late.service\n",
    );
    setup.environment("SYSMASTER_HEALTHY_MS", "3000");
    let mut machine = setup.boot();
    machine.wait_state("good.service", "active");
    // A simple service is up when it is forked; its program follows.
    machine.wait("its program runs", || {
        machine.running("sleep 771").len() == 1
    });
    let before = machine.running("sleep 771");
    for fault in 1..=5 {
        let manager = machine.manager().unwrap();
        manager.signal(ABRT);
        machine.wait("the next one is there", || {
            machine
                .manager()
                .is_some_and(|now| now.id() != manager.id())
        });
        machine.wait_state("good.service", "active");
        let found = crashes(&machine);
        assert_eq!(found.len(), fault + usize::from(fault == 5), "{found:?}");
        assert!(
            !found[fault - 1].contains(" while "),
            "nothing was in flight: {found:?}"
        );
    }
    // Something comes in for a service that is down.
    let _client = std::os::unix::net::UnixStream::connect(machine.path("run/door")).unwrap();
    let status = machine.sctl(&["status"]).out;
    assert!(status.contains("safe mode"), "{status}");
    unconcerned(&mut machine);
    assert!(
        machine.running("sleep 774").is_empty(),
        "nothing new is started by itself"
    );
    assert_eq!(before[0].id(), machine.running("sleep 771")[0].id());
    machine.wait("it is left after a healthy time", || {
        !machine.sctl(&["status"]).out.contains("safe mode")
            && !machine.running("sleep 774").is_empty()
    });
    machine.power_off();
}

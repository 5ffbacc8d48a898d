//! What follows from a unit's end: for the machine, for other units, for what is kept of it.

use super::*;
use units::wire::helper::About;

fn with(section: &str) -> String {
    format!("[Unit]\nDefaultDependencies=no\n{section}\n[Service]\nExecStart=/bin/x\n")
}

/// A machine whose first service has this in its `[Unit]`.
fn world(section: &str) -> World {
    World::new(&[
        ("default.target", DEFAULT),
        ("a.service", &with(section)),
        ("b.service", SERVICE),
        ("other.service", SERVICE),
        (
            "reboot.target",
            "[Unit]\nDefaultDependencies=no\nConflicts=a.service b.service\nAfter=a.service b.service\n",
        ),
    ])
}

/// A unit goes down by itself.
fn end(fake: &Fake, unit: &str, active: ActiveState, code: u8) {
    let mut report = report(unit, 1 << 32 | 1, active);
    report.exit = Some(units::state::Exit::Code(code));
    if active == ActiveState::Failed {
        report.result = "exit-code".into();
    }
    fake.say(&FromHelper::Report(report));
}

fn fail(fake: &Fake, unit: &str, code: u8) {
    end(fake, unit, ActiveState::Failed, code);
}

fn run(fd: &OwnedFd, verb: JobVerb, unit: &str) {
    let units = vec![unit.to_owned()];
    let (mode, wait) = (JobMode::Replace, false);
    send(
        fd,
        &Request::Jobs {
            verb,
            units,
            mode,
            wait,
        },
    );
}

/// What init is left to read when the machine's last step is due.
fn left(manager: &mut Manager, world: &World, file: &str) -> String {
    until(manager, "the last step", |_| {
        world.heard(|memory| memory.finish).then_some(())
    });
    std::fs::read_to_string(world.places.run.join(file)).unwrap()
}

#[test]
fn reboot_argument_is_left_for_init_when_everything_is_stopped() {
    let mut world = world("FailureAction=reboot\nRebootArgument=recovery");
    let (mut manager, _init, fake) = booted(&mut world);
    fail(&fake, "a.service", 7);
    let (unit, verb, _) = fake.obey(&mut manager);
    assert_eq!((unit.as_str(), verb), ("b.service", Verb::Stop));
    assert_eq!(left(&mut manager, &world, "reboot-param"), "recovery");
}

#[test]
fn job_timeout_reboot_argument_is_that_of_its_action_alone() {
    let mut world = world(
        "JobTimeoutSec=50ms\nJobTimeoutAction=reboot-force\nJobTimeoutRebootArgument=late\n\
         RebootArgument=other",
    );
    let (mut manager, _init, _fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    // Nobody carries it out.
    run(&control, JobVerb::Stop, "a.service");
    assert_eq!(left(&mut manager, &world, "reboot-param"), "late");
}

#[test]
fn failure_action_exit_status_and_success_action_exit_status() {
    let section = "FailureAction=exit-force\nFailureActionExitStatus=42\n\
                   SuccessAction=exit-force\nSuccessActionExitStatus=43";
    for (active, status) in [(ActiveState::Failed, "42"), (ActiveState::Inactive, "43")] {
        let mut world = world(section);
        let (mut manager, _init, fake) = booted(&mut world);
        end(&fake, "a.service", active, 7);
        assert_eq!(left(&mut manager, &world, "exit-status"), status);
    }
}

#[test]
fn a_forced_exit_stops_nothing_and_leaves_its_status() {
    let mut world = world("FailureAction=exit-force");
    let (mut manager, _init, fake) = booted(&mut world);
    fail(&fake, "a.service", 7);
    assert_eq!(left(&mut manager, &world, "exit-status"), "7");
    let view = manager
        .engine
        .find(&units::name::UnitName::new("b.service").unwrap());
    assert!(view.unwrap().active.is_up());
}

#[test]
fn a_machine_that_was_to_go_down_does_so_under_the_next_manager() {
    let mut world = world("FailureAction=reboot");
    let (mut manager, _init, fake) = booted(&mut world);
    fail(&fake, "a.service", 1);
    until(&mut manager, "the decision", |m| {
        m.boot.record.shutdown.map(|_| ())
    });
    drop((manager, fake));
    let (mut manager, _init) = world.manager();
    manager.begin();
    let (fake, _) = Fake::connect(&mut manager, &world, &[("b.service", 1 << 32)]);
    let (unit, verb, _) = fake.obey(&mut manager);
    assert_eq!((unit.as_str(), verb), ("b.service", Verb::Stop));
}

/// The next frame that says something about a unit's next command.
fn about(manager: &mut Manager, fake: &Fake) -> About {
    loop {
        if let ToHelper::About(about) = fake.next(manager) {
            return about;
        }
    }
}

#[test]
fn a_helper_learns_that_a_stop_is_half_a_restart() {
    let mut world = world("");
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    run(&control, JobVerb::Restart, "a.service");
    let found = about(&mut manager, &fake);
    assert_eq!((found.unit.as_str(), found.restarting), ("a.service", true));
    let (unit, verb, _) = fake.obey(&mut manager);
    assert_eq!((unit.as_str(), verb), ("a.service", Verb::Stop));
    fake.obey(&mut manager);
    run(&control, JobVerb::Stop, "a.service");
    let ToHelper::Command(command) = fake.next(&mut manager) else {
        panic!("a stop has nothing to be told about");
    };
    assert_eq!(command.verb, Verb::Stop);
}

#[test]
fn a_helper_learns_whose_end_started_a_unit() {
    let mut world = world("OnFailure=other.service");
    let (mut manager, _init, fake) = booted(&mut world);
    fail(&fake, "a.service", 1);
    let found = about(&mut manager, &fake);
    assert_eq!(
        (found.unit.as_str(), found.triggered_by.as_str()),
        ("other.service", "a.service")
    );
}

#[test]
fn what_nobody_refers_to_is_forgotten_by_the_helper_too() {
    let mut world = world("");
    let root = world.places.root.clone();
    let text = with("StartLimitBurst=0");
    std::fs::write(root.join("etc/sysmaster/system/lone.service"), text).unwrap();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    run(&control, JobVerb::Start, "lone.service");
    fake.obey(&mut manager);
    run(&control, JobVerb::Stop, "lone.service");
    fake.obey(&mut manager);
    let gone = loop {
        if let ToHelper::Unload { unit } = fake.next(&mut manager) {
            break unit;
        }
    };
    assert_eq!(gone, "lone.service");
}

#[test]
fn a_reload_reads_what_changed_and_keeps_jobs_and_states() {
    let mut world = services();
    let directory = world.places.root.join("etc/sysmaster/system");
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let asker = client(&mut manager, &world.socket("control"));
    // A stop under way, which the helper does not answer.
    run(&control, JobVerb::Stop, "b.service");
    let ToHelper::Command(stop) = fake.next(&mut manager) else {
        panic!("a stop was to come");
    };
    let text = with("Description=new");
    std::fs::write(directory.join("a.service"), text).unwrap();
    ask(&mut manager, &asker, &Request::Reload);
    let ToHelper::Load(source) = fake.next(&mut manager) else {
        panic!("a.service was to be read again");
    };
    assert_eq!(
        (source.unit.as_str(), source.description.as_str()),
        ("a.service", "new")
    );
    fake.say(&FromHelper::Loaded {
        unit: source.unit,
        findings: Vec::new(),
        implied: Vec::new(),
        can_reload: false,
    });
    let jobs: Vec<_> = manager.engine.jobs().collect();
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        state(&mut manager, &asker, "a.service"),
        ActiveState::Active
    );
    assert_eq!(
        state(&mut manager, &asker, "b.service"),
        ActiveState::Deactivating
    );
    fake.carry_out(&stop);
    until(&mut manager, "the stop", |m| {
        m.engine.jobs().next().is_none().then_some(())
    });
    // Nothing changed: nothing is sent.
    ask(&mut manager, &asker, &Request::Reload);
    run(&control, JobVerb::Start, "b.service");
    let next = fake.next(&mut manager);
    assert!(matches!(next, ToHelper::Command(_)), "{next:?}");
}

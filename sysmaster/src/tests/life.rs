//! Boot, recovery, exits, shutdown.

use super::*;
use init_wire::Exit;

#[test]
fn it_boots_and_tells_init() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    assert_eq!(
        state(&mut manager, &control, "default.target"),
        ActiveState::Active
    );
    assert_eq!(
        state(&mut manager, &control, "a.service"),
        ActiveState::Active
    );
    until(&mut manager, "that init is told", |_| {
        world.heard(|memory| memory.ready).then_some(())
    });
}

#[test]
fn init_settles_when_the_boot_is_over_and_not_amid_it() {
    let mut world = services();
    let (mut manager, _init) = world.manager();
    Fake::appoint(&mut manager);
    manager.begin();
    let (fake, _) = Fake::connect(&mut manager, &world, &[]);
    until(&mut manager, "contact with the helper", |m| {
        (m.recovered != 0).then_some(())
    });
    assert!(!manager.boot.told_ready, "units are still to be started");
    fake.obey(&mut manager);
    fake.obey(&mut manager);
    until(&mut manager, "that init is told", |m| {
        m.boot.told_ready.then_some(())
    });
    assert_ne!(manager.boot.record.finished, 0);
}

#[test]
fn the_next_manager_knows_everything_and_repeats_what_was_in_flight() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    // A stop is sent and not answered; then the manager dies.
    let control = client(&mut manager, &world.socket("control"));
    let units = vec!["b.service".to_owned()];
    send(
        &control,
        &Request::Jobs {
            verb: JobVerb::Stop,
            units,
            mode: JobMode::Replace,
            wait: true,
        },
    );
    let seq = loop {
        if let ToHelper::Command(command) = fake.next(&mut manager) {
            assert_eq!(
                (command.unit.as_str(), command.verb),
                ("b.service", Verb::Stop)
            );
            break command.seq;
        }
    };
    drop((manager, fake));
    // A client that connects during the outage waits in the backlog.
    let early = socket::connect(&world.socket("control")).unwrap();
    send(&early, &Request::Hello { version: 1 });

    let (mut manager, _init) = world.manager();
    manager.begin();
    assert!(manager.boot.recovery);
    assert!(matches!(
        next(&mut manager, &early),
        Reply::Hello { control: true, .. }
    ));
    let (fake, loaded) = Fake::connect(
        &mut manager,
        &world,
        &[("a.service", 1 << 32), ("b.service", 1 << 32)],
    );
    assert_eq!(loaded.len(), 2);
    assert_eq!(
        fake.obey(&mut manager),
        ("b.service".into(), Verb::Stop, seq),
        "the same command"
    );
    until(&mut manager, "the stop", |m| {
        m.engine.jobs().next().is_none().then_some(())
    });
    assert_eq!(
        state(&mut manager, &early, "a.service"),
        ActiveState::Active
    );
    assert_eq!(
        state(&mut manager, &early, "b.service"),
        ActiveState::Inactive
    );
}

#[test]
fn an_exit_is_held_until_the_helper_that_was_away_has_taken_it() {
    let mut world = services();
    let (mut manager, init, fake) = booted(&mut world);
    let orphan = Exit {
        seq: 1,
        pid: 4_000_001,
        start: 7,
        status: 0,
    };
    say(&init, ToManager::Exited(orphan));
    until(&mut manager, "an orphan's exit", |_| {
        world.heard(|m| m.acked == 1).then_some(())
    });
    // The helper loses contact; then a process ends. Both wait to be read in the same turn.
    drop(fake);
    let exit = Exit {
        seq: 2,
        pid: 4_000_002,
        start: 8,
        status: 9,
    };
    say(&init, ToManager::Exited(exit));
    until(&mut manager, "the exit", |m| {
        (m.exits.held() == 1).then_some(())
    });
    assert_eq!(world.heard(|memory| memory.acked), 1);
    let up = [("a.service", 1 << 32), ("b.service", 1 << 32)];
    let (fake, _) = Fake::connect(&mut manager, &world, &up);
    let proc = ProcId {
        pid: exit.pid,
        start: exit.start,
    };
    loop {
        if let ToHelper::Exited { proc: told, status } = fake.next(&mut manager) {
            assert_eq!((told, status), (proc, 9));
            break;
        }
    }
    manager.turn();
    assert_eq!(
        world.heard(|memory| memory.acked),
        1,
        "not before it is recorded"
    );
    fake.say(&FromHelper::ExitTaken { proc });
    until(&mut manager, "the acknowledgement", |_| {
        world.heard(|m| m.acked == 2).then_some(())
    });
}

#[test]
fn shutdown_stops_everything_and_then_it_is_inits_turn() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let kind = units::wire::control::ShutdownKind::PowerOff;
    assert!(
        ask(
            &mut manager,
            &control,
            &Request::Shutdown { kind, force: false }
        )
        .is_empty()
    );
    assert_eq!(fake.obey(&mut manager).1, Verb::Stop);
    assert!(
        !world.heard(|memory| memory.finish),
        "one service is still up"
    );
    drop((manager, fake));
    // The manager dies in the middle: the next one goes on.
    let (mut manager, _init) = world.manager();
    manager.begin();
    let (fake, _) = Fake::connect(&mut manager, &world, &[]);
    // Stops that were not confirmed to the manager before are repeated.
    until(&mut manager, "the last step", |_| {
        fake.obey_what_there_is();
        world.heard(|m| m.finish).then_some(())
    });
    let control = client(&mut manager, &world.socket("control"));
    let start = Request::Jobs {
        verb: JobVerb::Start,
        units: vec!["a.service".into()],
        mode: JobMode::Replace,
        wait: true,
    };
    match ask(&mut manager, &control, &start).as_slice() {
        [Reply::Error { kind, .. }] => assert_eq!(*kind, ErrorKind::ShuttingDown),
        other => panic!("{other:?}"),
    }
    drop(fake);
}

#[test]
fn a_type_without_a_helper_is_said_so() {
    let mut world = World::new(&[
        ("default.target", TARGET),
        ("x.mount", "[Mount]\nWhere=/x\n"),
    ]);
    let (mut manager, _init) = world.manager();
    manager.begin();
    let control = client(&mut manager, &world.socket("control"));
    let start = Request::Jobs {
        verb: JobVerb::Start,
        units: vec!["x.mount".into()],
        mode: JobMode::Replace,
        wait: true,
    };
    match ask(&mut manager, &control, &start).as_slice() {
        [
            Reply::Error {
                kind: ErrorKind::BadUnit,
                message,
            },
        ] => {
            assert!(message.contains("no helper"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_unit_whose_file_was_just_written_is_shown_as_it_is() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let shown = |manager: &mut Manager, unit: &str| {
        let unit = unit.to_owned();
        let replies = ask(manager, &control, &Request::Show { unit });
        let load = replies.into_iter().find_map(|reply| match reply {
            Reply::Detail(detail) => Some(detail.line.load),
            _ => None,
        });
        load.unwrap()
    };
    assert_eq!(shown(&mut manager, "new.service"), "not-found");
    let directory = world.places.root.join("etc/sysmaster/system");
    std::fs::write(directory.join("new.service"), SERVICE).unwrap();
    assert_eq!(shown(&mut manager, "new.service"), "loaded");
    assert_eq!(shown(&mut manager, "other.service"), "not-found");
}

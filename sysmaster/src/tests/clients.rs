//! Clients and strangers on the sockets, well-meaning and hostile.

use super::*;

#[test]
fn a_client_waits_for_its_job() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let units = vec!["a.service".to_owned()];
    send(
        &control,
        &Request::Jobs {
            verb: JobVerb::Restart,
            units,
            mode: JobMode::Replace,
            wait: true,
        },
    );
    assert!(matches!(next(&mut manager, &control), Reply::Queued { job, .. } if job > 0));
    assert_eq!(fake.obey(&mut manager).1, Verb::Stop);
    assert_eq!(fake.obey(&mut manager).1, Verb::Start);
    let ended = loop {
        match next(&mut manager, &control) {
            Reply::Waiting(_) => {}
            other => break other,
        }
    };
    assert!(
        matches!(
            ended,
            Reply::Ended {
                result: JobResult::Done,
                ..
            }
        ),
        "{ended:?}"
    );
    assert_eq!(next::<Reply>(&mut manager, &control), Reply::End);
}

#[test]
fn refusals_say_why() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let start = |unit: &str| Request::Jobs {
        verb: JobVerb::Start,
        units: vec![unit.into()],
        mode: JobMode::Replace,
        wait: true,
    };
    let job = |verb: JobVerb, mode: JobMode| Request::Jobs {
        verb,
        units: vec!["a.service".into()],
        mode,
        wait: true,
    };
    for (request, expected) in [
        (start("nothing.service"), ErrorKind::NotFound),
        (start("no unit name"), ErrorKind::BadRequest),
        (job(JobVerb::Start, JobMode::Isolate), ErrorKind::Denied),
        (job(JobVerb::Stop, JobMode::Isolate), ErrorKind::BadRequest),
        (Request::Cancel { jobs: vec![77] }, ErrorKind::NotFound),
        (
            Request::Kill {
                unit: "a.service".into(),
                whom: Default::default(),
                signal: 99,
            },
            ErrorKind::BadRequest,
        ),
        (
            Request::ListUnits {
                patterns: vec!["x".repeat(300)],
                all: false,
            },
            ErrorKind::BadRequest,
        ),
    ] {
        match ask(&mut manager, &control, &request).as_slice() {
            [Reply::Error { kind, message }] => {
                assert_eq!(*kind, expected, "{message}");
                assert!(!message.is_empty());
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }
}

#[test]
fn hostile_clients_cost_only_themselves() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let public = world.socket("public");
    let silent: Vec<OwnedFd> = (0..4).map(|_| socket::connect(&public).unwrap()).collect();
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        &[0x80; 9000],
    ] {
        let fd = socket::connect(&public).unwrap();
        // Descriptors that come along are closed.
        let (reader, writer) = platform::fd::pipe().unwrap();
        socket::send(&fd, bytes, &[writer.as_fd()]).unwrap();
        drop(writer);
        let said = closed(&mut manager, &fd);
        let kinds = |reply: &Reply| {
            matches!(
                reply,
                Reply::Error {
                    kind: ErrorKind::BadRequest,
                    ..
                }
            )
        };
        assert!(said.iter().all(kinds) && said.len() == 1, "{said:?}");
        assert_eq!(
            platform::fd::read(&reader, &mut [0; 1]).unwrap(),
            0,
            "a descriptor was kept"
        );
    }
    // More than a frame can have: the rest of the packet is cut, the client told.
    let fd = socket::connect(&public).unwrap();
    let sent = socket::send(&fd, &vec![0; MAX_FRAME * 2], &[]);
    if sent.is_ok() {
        assert_eq!(closed(&mut manager, &fd).len(), 1);
    }
    // Asks and asks and never reads.
    let greedy = client(&mut manager, &public);
    for _ in 0..2000 {
        let request = Request::ListUnits {
            patterns: Vec::new(),
            all: true,
        };
        if socket::send(&greedy, &wire::encode(&request).unwrap(), &[]).is_err() {
            break;
        }
    }
    let control = client(&mut manager, &world.socket("control"));
    assert_eq!(
        state(&mut manager, &control, "a.service"),
        ActiveState::Active
    );
    drop(silent);
}

#[test]
fn public_places_are_limited_and_control_is_not_concerned() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let crowd: Vec<OwnedFd> = (0..100)
        .map(|_| socket::connect(&world.socket("public")).unwrap())
        .collect();
    let control = client(&mut manager, &world.socket("control"));
    assert_eq!(
        state(&mut manager, &control, "a.service"),
        ActiveState::Active
    );
    for _ in 0..20 {
        manager.wait(Some(clock::now() + 1_000)).unwrap();
        manager.turn();
    }
    assert!(manager.server.serials().len() <= 65);
    // Somebody who speaks gets a place from those that are silent.
    let speaker = client(&mut manager, &world.socket("public"));
    let denied = ask(&mut manager, &speaker, &Request::Reload);
    assert!(matches!(
        denied.as_slice(),
        [Reply::Error {
            kind: ErrorKind::Denied,
            ..
        }]
    ));
    assert!(units(&mut manager, &speaker).len() >= 3);
    drop(crowd);
}

#[test]
fn whoever_holds_the_control_socket_keeps_nobody_out() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let waiting = client(&mut manager, &world.socket("control"));
    send(
        &waiting,
        &Request::Jobs {
            verb: JobVerb::Restart,
            units: vec!["a.service".into()],
            mode: JobMode::Replace,
            wait: true,
        },
    );
    assert!(matches!(next(&mut manager, &waiting), Reply::Queued { .. }));
    let crowd: Vec<OwnedFd> = (0..300)
        .map(|_| client(&mut manager, &world.socket("control")))
        .collect();
    assert_eq!(manager.server.serials().len(), 128);
    let late = client(&mut manager, &world.socket("control"));
    assert!(units(&mut manager, &late).len() >= 3);
    assert_eq!(fake.obey(&mut manager).1, Verb::Stop);
    assert_eq!(fake.obey(&mut manager).1, Verb::Start);
    let end = std::iter::repeat_with(|| next(&mut manager, &waiting));
    let mut end = end.skip_while(|reply| matches!(reply, Reply::Waiting(_)));
    assert!(
        matches!(end.next(), Some(Reply::Ended { .. })),
        "who waits for something is not dropped"
    );
    drop(crowd);
}

#[test]
fn only_when_all_wait_for_something_another_is_refused() {
    let mut world = services();
    let (mut manager, _init, _fake) = booted(&mut world);
    let restart = Request::Jobs {
        verb: JobVerb::Restart,
        units: vec!["a.service".into()],
        mode: JobMode::Replace,
        wait: true,
    };
    let crowd: Vec<OwnedFd> = (0..128)
        .map(|_| {
            let one = client(&mut manager, &world.socket("control"));
            send(&one, &restart);
            assert!(matches!(next(&mut manager, &one), Reply::Queued { .. }));
            one
        })
        .collect();
    let late = socket::connect(&world.socket("control")).unwrap();
    assert!(matches!(
        next(&mut manager, &late),
        Reply::Error {
            kind: ErrorKind::Busy,
            ..
        }
    ));
    drop(crowd);
}

#[test]
fn a_trial_is_begun_when_everybody_is_there() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let index = manager.helpers.find("service").unwrap();
    manager.helpers.get_mut(index).unwrap().phase = Phase::Awaited;
    let trial = Request::Upgrade {
        only: String::new(),
        seconds: 1,
    };
    send(&control, &trial);
    for _ in 0..5 {
        manager.wait(Some(clock::now() + 1_000)).unwrap();
        manager.turn();
    }
    let mut buffer = [0; 16];
    assert!(socket::receive(&control, &mut buffer).unwrap().is_none());
    manager.helpers.get_mut(index).unwrap().phase = Phase::Synced;
    // Nothing lies there to be tried, which only who begins finds out.
    assert!(matches!(
        next(&mut manager, &control),
        Reply::Error {
            kind: ErrorKind::Internal,
            ..
        }
    ));
    drop(fake);
}

#[test]
fn a_stranger_is_no_helper() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    // The same process again takes the place of its own connection, as after a lost one; but a
    // process that was not started as a helper is closed.
    let index = manager.helpers.find("service").unwrap();
    manager.helpers.get_mut(index).unwrap().proc = Some(ProcId { pid: 1, start: 1 });
    let stranger = socket::connect(&world.socket("helper")).unwrap();
    until(&mut manager, "the end of the stranger", |_| {
        let mut buffer = [0; 16];
        socket::receive(&stranger, &mut buffer)
            .unwrap()
            .map(|got| assert_eq!(got.length, 0))
    });
    assert!(
        manager.helpers.get(index).is_some_and(Helper::synced),
        "the real one is not disturbed"
    );
    drop(fake);
}

/// Silent clients, more than there are places for.
fn fill_public_places(manager: &mut Manager, world: &World) -> Vec<OwnedFd> {
    let crowd = (0..100)
        .map(|_| socket::connect(&world.socket("public")).unwrap())
        .collect();
    // One is that of the control socket.
    until(manager, "a crowd", |m| {
        (m.server.serials().len() == 65).then_some(())
    });
    crowd
}

#[test]
fn a_job_is_answered_while_the_public_places_are_taken() {
    let mut world = services();
    let (mut manager, _init, fake) = booted(&mut world);
    let control = client(&mut manager, &world.socket("control"));
    let crowd = fill_public_places(&mut manager, &world);
    let units = vec!["a.service".to_owned()];
    send(
        &control,
        &Request::Jobs {
            verb: JobVerb::Restart,
            units,
            mode: JobMode::Replace,
            wait: true,
        },
    );
    assert_eq!(fake.obey(&mut manager).1, Verb::Stop);
    // The crowd leaves and another comes while the job is under way.
    drop(crowd);
    let crowd: Vec<OwnedFd> = (0..200)
        .map(|_| socket::connect(&world.socket("public")).unwrap())
        .collect();
    assert_eq!(fake.obey(&mut manager).1, Verb::Start);
    let mut ended = 0;
    loop {
        match next(&mut manager, &control) {
            Reply::Ended { result, .. } => {
                assert_eq!(result, JobResult::Done);
                ended += 1;
            }
            Reply::End => break,
            Reply::Queued { .. } | Reply::Waiting(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended, 1);
    // When they have left there is room for somebody who asks.
    drop(crowd);
    let public = client(&mut manager, &world.socket("public"));
    assert_eq!(
        state(&mut manager, &public, "a.service"),
        ActiveState::Active
    );
}

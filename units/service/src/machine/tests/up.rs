use super::*;

#[test]
fn simple() {
    let mut world = World::new(Kind::Simple);
    world.start();
    world.is(State::Running, Why::Success, Outcome::Done);
    world.did(&["ExecStart=0"]);
    assert_eq!(world.run.deadline, NEVER);
    world.main(OK);
    world.is(State::Dead, Why::Success, Outcome::Done);
    assert_eq!(world.run.main_exit, Some(OK));
    world.did(&["signal 15 all", "clean"]);
}

#[test]
fn simple_with_everything() {
    let mut world = World::new(Kind::Simple)
        .with(Step::Condition, &[false])
        .with(Step::StartPre, &[false, false])
        .with(Step::StartPost, &[false])
        .with(Step::Stop, &[false])
        .with(Step::StopPost, &[false]);
    world.start();
    world.is(State::Condition, Why::Success, Outcome::Pending);
    world.control(OK);
    world.is(State::StartPre, Why::Success, Outcome::Pending);
    world.control(OK);
    world.control(OK);
    world.is(State::StartPost, Why::Success, Outcome::Pending);
    world.control(OK);
    world.is(State::Running, Why::Success, Outcome::Done);
    world.did(&[
        "ExecCondition=0",
        "ExecStartPre=0",
        "ExecStartPre=1",
        "ExecStart=0",
        "ExecStartPost=0",
    ]);
    world.stop();
    world.is(State::Stop, Why::Success, Outcome::Pending);
    world.control(OK);
    world.is(State::StopSigterm, Why::Success, Outcome::Pending);
    world.main(TERM);
    world.is(State::StopPost, Why::Success, Outcome::Pending);
    world.control(OK);
    world.is(State::Dead, Why::Success, Outcome::Done);
    world.did(&[
        "ExecStop=0",
        "signal 15 all",
        "ExecStopPost=0",
        "signal 15 all",
        "clean",
    ]);
}

#[test]
fn a_condition_says_not_now() {
    let mut world = World::new(Kind::Simple).with(Step::Condition, &[false]);
    world.policy.again.restart = crate::policy::Restart::Always;
    world.start();
    world.control(Exit::Code(1));
    world.is(State::Dead, Why::Condition, Outcome::Skipped);
    assert_eq!(world.run.wish, None);
    world.start();
    world.control(Exit::Code(255));
    world.is(State::Failed, Why::ExitCode, Outcome::Failed);
}

#[test]
fn a_start_command_fails() {
    let mut world = World::new(Kind::Simple)
        .with(Step::StartPre, &[false])
        .with(Step::StopPost, &[false]);
    world.start();
    world.control(Exit::Code(7));
    world.is(State::StopPost, Why::ExitCode, Outcome::Pending);
    assert_eq!(world.run.detail, "ExecStartPre= exited with code 7");
    world.control(Exit::Code(9));
    world.is(State::Failed, Why::ExitCode, Outcome::Failed);
    world.feed(Event::ResetFailed { seq: 9 });
    world.is(State::Dead, Why::Success, Outcome::Done);
}

#[test]
fn a_failure_that_is_ignored() {
    let mut world = World::new(Kind::Simple).with(Step::StartPre, &[true]);
    world.start();
    world.control(Exit::Code(7));
    world.is(State::Running, Why::Success, Outcome::Done);
}

#[test]
fn set_up_fails() {
    let mut world = World::new(Kind::Exec);
    world.start();
    world.is(State::Start, Why::Success, Outcome::Pending);
    world.feed(Event::Ended {
        role: Role::Main,
        exit: Exit::Code(203),
        setup: Some("EXEC: /nothing: no such file"),
    });
    world.is(State::Failed, Why::ExitCode, Outcome::Failed);
    assert_eq!(
        world.run.detail,
        "ExecStart= was not executed: EXEC: /nothing: no such file"
    );
}

#[test]
fn exec() {
    let mut world = World::new(Kind::Exec);
    world.start();
    world.is(State::Start, Why::Success, Outcome::Pending);
    world.feed(Event::Executed);
    world.is(State::Running, Why::Success, Outcome::Done);
    world.feed(Event::Executed);
    world.is(State::Running, Why::Success, Outcome::Done);
}

#[test]
fn no_process_can_be_made() {
    let mut world = World::new(Kind::Simple);
    world.no_forks = true;
    world.start();
    world.is(State::Failed, Why::Resources, Outcome::Failed);
    assert!(world.run.detail.contains("EAGAIN"), "{}", world.run.detail);
}

#[test]
fn oneshot_sequence() {
    let mut world = World::new(Kind::Oneshot).with(Step::Start, &[false, true, false]);
    world.start();
    world.main(OK);
    world.main(Exit::Code(1));
    world.is(State::Start, Why::Success, Outcome::Pending);
    world.main(OK);
    world.is(State::Dead, Why::Success, Outcome::Done);
    world.did(&[
        "ExecStart=0",
        "ExecStart=1",
        "ExecStart=2",
        "signal 15 all",
        "clean",
    ]);
    world.start();
    world.main(TERM);
    world.is(State::Failed, Why::Signal, Outcome::Failed);
    assert_eq!(
        world.run.detail,
        "ExecStart= (command 1 of 3) was killed by signal 15"
    );
}

#[test]
fn oneshot_that_remains() {
    let mut world = World::new(Kind::Oneshot).with(Step::Stop, &[false]);
    world.policy.remain = true;
    world.start();
    world.main(OK);
    world.is(State::Exited, Why::Success, Outcome::Done);
    world.stop();
    world.control(OK);
    world.is(State::Dead, Why::Success, Outcome::Done);
    world.start();
    world.main(Exit::Code(1));
    world.is(State::Failed, Why::ExitCode, Outcome::Failed);
}

#[test]
fn oneshot_without_a_start_command() {
    let mut world = World::new(Kind::Oneshot)
        .with(Step::Start, &[])
        .with(Step::Stop, &[false]);
    world.policy.remain = true;
    world.start();
    world.is(State::Exited, Why::Success, Outcome::Done);
}

#[test]
fn forking_with_a_pid_file() {
    let mut world = World::new(Kind::Forking);
    world.policy.pid_file = true;
    world.start();
    world.is(State::Start, Why::Success, Outcome::Pending);
    world.strays = 1;
    world.control(OK);
    world.is(State::Start, Why::Success, Outcome::Pending);
    assert_eq!(world.run.awaited, Awaited::MainPid);
    world.feed(Event::Found(Ok(ProcId { pid: 500, start: 1 })));
    world.is(State::Running, Why::Success, Outcome::Done);
    world.did(&["ExecStart=0", "find main", "watch 500"]);
    world.strays = 0;
    world.main(Exit::Core(11));
    world.is(State::Failed, Why::CoreDump, Outcome::Done);
}

#[test]
fn forking_never_writes_its_pid_file() {
    let mut world = World::new(Kind::Forking);
    world.policy.pid_file = true;
    world.start();
    world.strays = 1;
    world.control(OK);
    world.strays = 0;
    world.feed(Event::Empty);
    world.is(State::Failed, Why::Protocol, Outcome::Failed);
    world.start();
    world.strays = 1;
    world.control(OK);
    world.wait();
    world.is(State::Failed, Why::Timeout, Outcome::Failed);
}

#[test]
fn forking_with_a_guess_and_without() {
    let mut world = World::new(Kind::Forking);
    world.main = Some(300);
    world.start();
    world.control(OK);
    world.is(State::Running, Why::Success, Outcome::Done);
    assert_eq!(world.run.main.unwrap().pid, 300);
    let mut world = World::new(Kind::Forking);
    world.strays = 2;
    world.start();
    world.control(OK);
    world.is(State::Running, Why::Success, Outcome::Done);
    assert_eq!(world.run.main, None);
    world.strays = 0;
    world.feed(Event::Empty);
    world.is(State::Dead, Why::Success, Outcome::Done);
}

#[test]
fn notify() {
    let mut world = World::new(Kind::Notify);
    world.start();
    world.is(State::Prepare, Why::Success, Outcome::Pending);
    world.feed(Event::Prepared);
    world.is(State::Start, Why::Success, Outcome::Pending);
    world.say(Notification {
        status: Some("warming up".into()),
        ..Notification::default()
    });
    world.is(State::Start, Why::Success, Outcome::Pending);
    world.ready();
    world.is(State::Running, Why::Success, Outcome::Done);
    assert_eq!(world.run.status, "warming up");
}

#[test]
fn notify_is_never_ready() {
    let mut world = World::new(Kind::Notify);
    world.start();
    world.feed(Event::Prepared);
    world.main(OK);
    world.is(State::Failed, Why::Protocol, Outcome::Failed);
    world.start();
    world.feed(Event::Prepared);
    world.say(Notification {
        extend: Some(200_000_000),
        ..Notification::default()
    });
    let begun = world.now;
    world.wait();
    assert_eq!(world.now, begun + 200_000_000);
    world.is(State::StopSigterm, Why::Timeout, Outcome::Pending);
    world.main(TERM);
    world.is(State::Failed, Why::Timeout, Outcome::Failed);
}

#[test]
fn main_pid_is_handed_over() {
    let mut world = World::new(Kind::Notify);
    world.start();
    world.feed(Event::Prepared);
    world.say(Notification {
        ready: true,
        main: Some(ProcId { pid: 700, start: 3 }),
        ..Notification::default()
    });
    world.is(State::Running, Why::Success, Outcome::Done);
    assert_eq!(world.run.main.unwrap().pid, 700);
    world.did(&["prepare", "ExecStart=0", "watch 700"]);
}

#[test]
fn reload() {
    let mut world = World::new(Kind::Simple).with(Step::Reload, &[false]);
    world.start();
    world.reload();
    world.is(State::Reload, Why::Success, Outcome::Pending);
    world.control(OK);
    world.is(State::Running, Why::Success, Outcome::Done);
    world.reload();
    world.control(Exit::Code(1));
    world.is(State::Running, Why::Success, Outcome::Failed);
    world.reload();
    world.wait();
    world.is(State::Running, Why::Success, Outcome::Failed);
    world.did(&[
        "ExecStart=0",
        "ExecReload=0",
        "ExecReload=0",
        "ExecReload=0",
        "kill control",
    ]);
    let mut world = World::new(Kind::Simple);
    world.start();
    world.reload();
    world.is(State::Running, Why::Success, Outcome::Failed);
}

#[test]
fn reload_by_notification() {
    let mut world = World::new(Kind::NotifyReload);
    world.start();
    world.feed(Event::Prepared);
    world.ready();
    world.reload();
    world.is(State::ReloadSignal, Why::Success, Outcome::Pending);
    world.ready();
    world.is(State::ReloadSignal, Why::Success, Outcome::Pending);
    world.say(Notification {
        reloading: true,
        ..Notification::default()
    });
    world.is(State::ReloadNotify, Why::Success, Outcome::Pending);
    world.ready();
    world.is(State::Running, Why::Success, Outcome::Done);
    // By itself, without a command.
    world.say(Notification {
        reloading: true,
        ..Notification::default()
    });
    world.is(State::ReloadNotify, Why::Success, Outcome::Done);
    world.wait();
    world.is(State::Running, Why::Success, Outcome::Done);
}

#[test]
fn starting_what_runs_is_done() {
    let mut world = World::new(Kind::Simple);
    world.start();
    let invocation = world.run.invocation;
    world.start();
    world.is(State::Running, Why::Success, Outcome::Done);
    assert_eq!((world.run.invocation, world.run.seq), (invocation, 2));
    world.did(&["ExecStart=0"]);
}

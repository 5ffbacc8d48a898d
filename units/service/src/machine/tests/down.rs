use super::*;
use crate::policy::{Restart, TimeoutMode};
use units::value::exit::ExitSet;

fn set(list: &str) -> ExitSet {
    let mut set = ExitSet::default();
    set.add(list).unwrap();
    set
}

#[test]
fn everything_is_killed_in_the_end() {
    let mut world = World::new(Kind::Simple);
    world.start();
    world.strays = 2;
    world.stubborn = true;
    world.stop();
    world.wait();
    world.is(State::StopSigkill, Why::Timeout, Outcome::Pending);
    world.main(KILL);
    world.is(State::Failed, Why::Timeout, Outcome::Done);
    world.did(&[
        "ExecStart=0",
        "signal 15 all",
        "signal 9 all",
        "signal 15 all",
        "clean",
    ]);
}

#[test]
fn strays_are_waited_for() {
    let mut world = World::new(Kind::Simple);
    world.start();
    world.strays = 1;
    world.stubborn = true;
    world.stop();
    world.main(TERM);
    world.is(State::FinalSigterm, Why::Success, Outcome::Pending);
    world.wait();
    world.is(State::Failed, Why::Timeout, Outcome::Done);
    world.did(&[
        "ExecStart=0",
        "signal 15 all",
        "signal 15 all",
        "signal 9 all",
        "clean",
    ]);
}

#[test]
fn kill_modes() {
    let mut world = World::new(Kind::Simple);
    world.policy.kill.mode = KillMode::Mixed;
    world.start();
    world.strays = 1;
    world.stop();
    world.main(TERM);
    world.is(State::Dead, Why::Success, Outcome::Done);
    world.did(&[
        "ExecStart=0",
        "signal 15 main",
        "signal 15 main",
        "signal 9 all",
        "clean",
    ]);

    let mut world = World::new(Kind::Simple);
    world.policy.kill.mode = KillMode::Process;
    world.start();
    world.strays = 1;
    world.stop();
    world.main(TERM);
    world.is(State::Dead, Why::Success, Outcome::Done);
    assert_eq!(world.strays, 1);

    let mut world = World::new(Kind::Simple).with(Step::Stop, &[false]);
    world.policy.kill.mode = KillMode::None;
    world.start();
    world.stop();
    world.control(OK);
    world.is(State::Dead, Why::Success, Outcome::Done);
    world.did(&["ExecStart=0", "ExecStop=0", "clean"]);
}

#[test]
fn nobody_is_asked_to_stop_who_has_failed() {
    let service = || {
        World::new(Kind::Simple)
            .with(Step::Stop, &[false])
            .with(Step::StopPost, &[false])
    };
    let mut world = service();
    world.start();
    world.main(Exit::Code(2));
    world.control(OK);
    world.is(State::Failed, Why::ExitCode, Outcome::Done);
    assert!(!world.trace.iter().any(|line| line.starts_with("ExecStop=")));

    let mut world = service();
    world.start();
    world.main(OK);
    world.is(State::Stop, Why::Success, Outcome::Done);
    world.control(OK);
    world.control(OK);
    world.is(State::Dead, Why::Success, Outcome::Done);
}

#[test]
fn without_sigkill_it_is_left() {
    let mut world = World::new(Kind::Simple);
    world.policy.kill.kill = false;
    world.policy.kill.hup = true;
    world.start();
    world.stubborn = true;
    world.stop();
    world.wait();
    world.is(State::Failed, Why::Timeout, Outcome::Done);
    world.did(&[
        "ExecStart=0",
        "signal 15 all+hup",
        "signal 15 all+hup",
        "clean",
    ]);
}

#[test]
fn what_cannot_be_killed_is_left() {
    let mut world = World::new(Kind::Simple);
    world.start();
    world.stop();
    world.wait();
    world.is(State::StopSigkill, Why::Timeout, Outcome::Pending);
    world.wait();
    world.is(State::Failed, Why::Timeout, Outcome::Done);
}

#[test]
fn stop_during_each_state_of_the_start() {
    let mut world = World::new(Kind::Notify)
        .with(Step::Condition, &[false])
        .with(Step::StartPre, &[false])
        .with(Step::StartPost, &[false])
        .with(Step::Stop, &[false]);
    world.start();
    world.stop();
    world.is(State::Dead, Why::Success, Outcome::Done);
    world.did(&["prepare", "clean"]);
    world.start();
    world.feed(Event::Prepared);
    world.stop();
    world.is(State::StopSigterm, Why::Success, Outcome::Pending);
    world.control(TERM);
    world.is(State::Failed, Why::Signal, Outcome::Done);
    world.start();
    world.feed(Event::Prepared);
    world.control(OK);
    world.control(OK);
    world.stop();
    world.main(TERM);
    world.is(State::Dead, Why::Success, Outcome::Done);
}

#[test]
fn the_stop_command_hangs() {
    let mut world = World::new(Kind::Simple)
        .with(Step::Stop, &[false])
        .times(|times| times.stop_mode = TimeoutMode::Abort);
    world.start();
    world.stop();
    world.wait();
    world.is(State::StopWatchdog, Why::Timeout, Outcome::Pending);
    world.control(Exit::Signal(6));
    world.main(Exit::Core(6));
    world.is(State::Failed, Why::Timeout, Outcome::Done);
}

#[test]
fn watchdog() {
    let mut world = World::new(Kind::Notify).times(|times| times.watchdog = 5_000);
    world.policy.again.restart = Restart::OnWatchdog;
    world.start();
    world.feed(Event::Prepared);
    world.ready();
    world.pat = world.now;
    let from = world.now;
    world.wait();
    assert_eq!(world.now, from + 5_000);
    world.is(State::StopWatchdog, Why::Watchdog, Outcome::Done);
    world.main(Exit::Core(6));
    world.is(State::Failed, Why::Watchdog, Outcome::Done);
    assert_eq!(world.run.wish, Some(RestartWish { delay: 100_000 }));
}

#[test]
fn runtime_max_counts_through_reloads() {
    let mut world = World::new(Kind::Simple)
        .with(Step::Reload, &[false])
        .times(|times| times.runtime = 1_000_000);
    world.start();
    let begun = world.now;
    world.now += 400_000;
    world.reload();
    world.now += 100_000;
    world.control(OK);
    world.wait();
    assert_eq!(world.now, begun + 1_000_000);
    world.is(State::StopSigterm, Why::Timeout, Outcome::Done);
}

use units::state::RestartWish;

fn wish(restart: Restart, exit: Exit) -> bool {
    let mut world = World::new(Kind::Simple);
    world.policy.again.restart = restart;
    world.policy.again.prevent = set("42 SIGUSR1");
    world.policy.again.force = set("43");
    world.start();
    world.main(exit);
    world.run.wish.is_some()
}

#[test]
fn restart_table() {
    use Restart::*;
    let cases: [(Exit, &[Restart]); 6] = [
        (OK, &[Always, OnSuccess]),
        (TERM, &[Always, OnSuccess]),
        (Exit::Code(1), &[Always, OnFailure]),
        (KILL, &[Always, OnFailure, OnAbnormal, OnAbort]),
        (Exit::Code(42), &[]),
        (
            Exit::Code(43),
            &[
                No, OnSuccess, OnFailure, OnAbnormal, OnWatchdog, OnAbort, Always,
            ],
        ),
    ];
    for (exit, expected) in cases {
        for restart in [
            No, OnSuccess, OnFailure, OnAbnormal, OnWatchdog, OnAbort, Always,
        ] {
            assert_eq!(
                wish(restart, exit),
                expected.contains(&restart),
                "{restart:?} {exit:?}"
            );
        }
    }
}

#[test]
fn a_stop_by_command_wishes_for_nothing() {
    let mut world = World::new(Kind::Simple);
    world.policy.again.restart = Restart::Always;
    world.start();
    world.main(KILL);
    assert!(world.run.wish.is_some());
    world.start();
    assert!(world.run.wish.is_none());
    assert_eq!(world.run.restarts, 1);
    world.stop();
    world.main(KILL);
    assert!(world.run.wish.is_none());
    world.start();
    assert_eq!(world.run.restarts, 0);
}

#[test]
fn a_start_while_it_stops_comes_after() {
    let mut world = World::new(Kind::Simple);
    world.start();
    world.stop();
    world.start();
    world.is(State::StopSigterm, Why::Success, Outcome::Pending);
    world.main(TERM);
    world.is(State::Running, Why::Success, Outcome::Done);
}

#[test]
fn it_says_that_it_stops() {
    let mut world = World::new(Kind::Notify);
    world.start();
    world.feed(Event::Prepared);
    world.ready();
    world.say(Notification {
        stopping: true,
        ..Notification::default()
    });
    world.is(State::StopSigterm, Why::Success, Outcome::Done);
    world.main(OK);
    world.is(State::Dead, Why::Success, Outcome::Done);
}

#[test]
fn success_exit_status() {
    let mut world = World::new(Kind::Simple);
    world.policy.success = set("75 SIGKILL");
    for exit in [Exit::Code(75), KILL] {
        world.start();
        world.main(exit);
        world.is(State::Dead, Why::Success, Outcome::Done);
    }
}

#[test]
fn start_post_fails() {
    let mut world = World::new(Kind::Simple).with(Step::StartPost, &[false]);
    world.start();
    world.control(Exit::Code(1));
    world.is(State::StopSigterm, Why::ExitCode, Outcome::Pending);
    world.main(TERM);
    world.is(State::Failed, Why::ExitCode, Outcome::Failed);
}

#[test]
fn start_times_out() {
    for (mode, signal) in [
        (TimeoutMode::Terminate, "signal 15 all"),
        (TimeoutMode::Abort, "signal 6 all"),
        (TimeoutMode::Kill, "signal 9 all"),
    ] {
        let mut world = World::new(Kind::Oneshot).times(|times| times.start_mode = mode);
        world.start();
        world.wait();
        world.did(&["ExecStart=0", signal]);
        world.main(KILL);
        world.is(State::Failed, Why::Timeout, Outcome::Failed);
    }
}

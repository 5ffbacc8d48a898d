//! The helper is killed after every single effect of every scenario; its successor gets there all
//! the same, and no command runs twice.

use super::*;

fn scenario(world: &mut World, script: usize) {
    world.start();
    if world.die_at.is_some_and(|die| world.done >= die) {
        world.killed();
    }
    for step in 0..40 {
        if world.die_at.is_some_and(|die| world.done >= die) {
            world.killed();
        }
        if world.run.control.is_some() {
            world.control(OK);
        } else if world.run.awaited == Awaited::Socket {
            world.feed(Event::Prepared);
        } else if world.run.state == State::Start && world.policy.kind.notifies() {
            world.ready();
        } else if world.run.state == State::Start && world.run.main.is_some() {
            if world.policy.kind == Kind::Exec {
                world.feed(Event::Executed);
            } else {
                world.main(OK);
            }
        } else if world.run.state == State::Exited
            || world.run.state == State::Running && script == 0
        {
            world.stop();
        } else if world.run.state == State::Running {
            world.main(Exit::Code(9));
        } else if world.run.state.is_killing() && world.run.main.is_some() {
            world.main(TERM);
        } else if world.run.state.is_down() && world.run.seq > 0 && world.die_at.is_none() {
            return;
        } else {
            assert!(step < 39, "stuck in {:?} {:#?}", world.run, world.trace);
        }
    }
}

fn full(kind: Kind) -> World {
    let mut world = World::new(kind)
        .with(Step::Condition, &[false])
        .with(Step::StartPre, &[false, false])
        .with(Step::StartPost, &[false])
        .with(Step::Stop, &[false])
        .with(Step::StopPost, &[false]);
    if kind == Kind::Oneshot {
        world = world.with(Step::Start, &[false, false]);
        world.policy.remain = true;
    }
    world.main = Some(400);
    world
}

#[test]
fn the_helper_dies_after_each_effect() {
    for kind in [
        Kind::Simple,
        Kind::Exec,
        Kind::Forking,
        Kind::Oneshot,
        Kind::Notify,
    ] {
        for script in 0..2 {
            let mut whole = full(kind);
            scenario(&mut whole, script);
            let expected: Vec<String> = whole
                .trace
                .iter()
                .filter(|line| line.starts_with("Exec"))
                .cloned()
                .collect();
            for die in 0..whole.done {
                let mut world = full(kind);
                world.die_at = Some(die);
                if die == 0 {
                    // Nothing was recorded: the manager sends its command again.
                    world.die_at = None;
                }
                scenario(&mut world, script);
                assert!(world.run.state.is_down(), "{kind:?} {script} {die}");
                let did: Vec<&String> = world
                    .trace
                    .iter()
                    .filter(|line| line.starts_with("Exec"))
                    .collect();
                assert_eq!(
                    did,
                    expected.iter().collect::<Vec<_>>(),
                    "{kind:?} {script} {die}"
                );
                assert_eq!(world.run.why, whole.run.why, "{kind:?} {script} {die}");
            }
        }
    }
}

#[test]
fn a_lost_step_is_interrupted() {
    let mut world = World::new(Kind::Oneshot);
    world.policy.again.restart = crate::policy::Restart::OnFailure;
    world.start();
    world.feed(Event::Lost(Role::Main));
    world.is(State::Failed, Why::Interrupted, Outcome::Interrupted);
    assert!(world.run.wish.is_some());
    let mut world = World::new(Kind::Simple).with(Step::Reload, &[false]);
    world.start();
    world.reload();
    world.feed(Event::Lost(Role::Control));
    world.is(State::Running, Why::Success, Outcome::Interrupted);
}

#[test]
fn a_lost_exit_of_a_running_service() {
    let mut world = World::new(Kind::Simple);
    world.start();
    world.feed(Event::Lost(Role::Main));
    world.is(State::Failed, Why::Interrupted, Outcome::Done);
    assert_eq!(world.run.main_exit, None);
    assert!(world.run.detail.contains("unseen"));
}

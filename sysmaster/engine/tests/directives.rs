//! Each directive of `[Unit]` that the engine carries out: one test of its name, which fails if its
//! meaning breaks. What a file says is a line of the unit; what must follow is in the trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod worlds;

use engine::api::{Input, Verdict};
use sim::{Does, World};
use units::spec::{Action, CollectMode, StartLimit};
use units::state::{ActiveState, JobMode, JobResult, JobVerb};
use worlds::{did_not_happen, happened, set, world};

// Requirements.

#[test]
fn requires() {
    let mut w = world(&[("a", "requires b"), ("b", "")]);
    w.start("a");
    assert_eq!(w.state(), ["a active", "b active"]);
    w.stop("b");
    assert!(w.state().is_empty(), "a stop by hand takes a along");
    w.start("a");
    w.dies("b", ActiveState::Failed);
    w.settle();
    assert!(w.is_up("a"), "an end by itself does not");
}

#[test]
fn requisite() {
    let mut w = world(&[("a", "requisite b; after b"), ("b", "")]);
    w.start("a");
    happened(&w, "start of a: dependency");
    assert_eq!(w.active("b"), ActiveState::Inactive, "it is not started");
    w.start("b");
    w.start("a");
    assert!(w.is_up("a"));
    // What is started and not there when it is done counts as not there.
    let mut w = world(&[("a", "requisite b; after b"), ("b", "")]);
    w.does("b").start = Does::Finishes;
    w.ask(JobVerb::Start, "b", JobMode::Replace);
    w.ask(JobVerb::Start, "a", JobMode::Replace);
    w.settle();
    happened(&w, "start of a: dependency");
}

#[test]
fn wants() {
    let mut w = world(&[("a", "wants b c nothere"), ("b", ""), ("c", "")]);
    w.does("c").start = Does::Fails;
    w.start("a");
    assert_eq!(w.state(), ["a active", "b active", "c failed"]);
    w.stop("b");
    assert!(w.is_up("a"));
}

#[test]
fn binds_to() {
    let mut w = world(&[("a", "bindsto b"), ("b", "")]);
    w.start("a");
    assert_eq!(w.state(), ["a active", "b active"]);
    w.dies("b", ActiveState::Inactive);
    w.settle();
    assert!(w.state().is_empty(), "an end by itself takes a along");
    // With After= it must be up when a is to start, not only not have failed.
    let mut w = world(&[("a", "bindsto b; after b"), ("b", "")]);
    w.condition("b", Verdict::Skip);
    w.load("b");
    w.start("a");
    happened(&w, "start of a: dependency");
    did_not_happen(&w, "start a");
}

#[test]
fn part_of() {
    let mut w = world(&[("a", "partof b"), ("b", "")]);
    w.start("b");
    assert_eq!(w.state(), ["b active"], "a start is not passed on");
    w.start("a");
    w.take();
    w.run(JobVerb::Restart, "b");
    happened(&w, "stop a");
    assert_eq!(w.state(), ["a active", "b active"]);
    w.stop("b");
    assert!(w.state().is_empty());
}

#[test]
fn upholds() {
    let mut w = world(&[("a", "upholds b"), ("b", "")]);
    w.start("a");
    assert_eq!(w.state(), ["a active", "b active"]);
    for end in [ActiveState::Inactive, ActiveState::Failed] {
        w.dies("b", end);
        w.settle();
        assert_eq!(w.state(), ["a active", "b active"], "{end:?}");
    }
    w.stop("b");
    assert!(w.is_up("b"), "a stop by hand lasts no longer");
    w.stop("a");
    w.stop("b");
    assert!(w.state().is_empty(), "nobody upholds it any more");
}

#[test]
fn upholds_tries_again_later_when_it_was_too_often() {
    let mut w = world(&[("a", "upholds b"), ("b", "")]);
    w.does("b").start = Does::Fails;
    w.start("a");
    let starts = |w: &World| w.trace.iter().filter(|line| *line == "start b").count();
    assert_eq!(starts(&w), 5, "the start limit");
    let ended = w.trace.iter().filter(|line| *line == "start of b: failed");
    assert_eq!(ended.count(), 6, "and the one that found out");
    w.take();
    w.does("b").start = Does::Works;
    w.wait(30_000_000);
    assert_eq!(starts(&w), 1);
    assert!(w.is_up("b"));
    assert_eq!(
        w.engine.next_deadline(),
        None,
        "and nothing is due any more"
    );
}

#[test]
fn conflicts() {
    let mut w = world(&[("a", "conflicts b"), ("b", "")]);
    for (one, other) in [("b", "a"), ("a", "b")] {
        w.start(one);
        w.start(other);
        assert_eq!(w.state(), [format!("{other} active")]);
    }
    w.stop("b");
    w.start("a");
    // What comes by itself stops what it conflicts with, too.
    w.comes("b");
    w.settle();
    assert_eq!(w.state(), ["b active"]);
}

// Order.

#[test]
fn before() {
    let mut w = world(&[("a", "before b; wants b"), ("b", "")]);
    w.start("a");
    assert!(w.position("a active") < w.position("start b"));
    w.run(JobVerb::Stop, "a");
    w.take();
}

#[test]
fn after() {
    let mut w = world(&[("a", "after b; requires b"), ("b", "")]);
    w.start("a");
    assert!(w.position("b active") < w.position("start a"));
    w.take();
    w.stop("b");
    assert!(w.position("a inactive") < w.position("stop b"));
}

// What follows from an end.

#[test]
fn on_failure() {
    let mut w = world(&[("a", "onfailure f"), ("f", "")]);
    w.start("a");
    w.dies("a", ActiveState::Inactive);
    w.settle();
    did_not_happen(&w, "start f");
    w.start("a");
    w.dies("a", ActiveState::Failed);
    w.settle();
    assert!(w.is_up("f"));
    // A start that cannot be counts as well, though the unit never changed.
    let mut w = world(&[
        ("a", "onfailure f; requires b; after b"),
        ("b", ""),
        ("f", ""),
    ]);
    w.does("b").start = Does::Fails;
    w.start("a");
    assert_eq!(w.active("a"), ActiveState::Inactive);
    assert!(w.is_up("f"));
}

#[test]
fn on_success() {
    let mut w = world(&[("a", "onsuccess s"), ("s", "")]);
    w.start("a");
    w.dies("a", ActiveState::Failed);
    w.settle();
    did_not_happen(&w, "start s");
    w.does("a").start = Does::Finishes;
    w.start("a");
    assert!(w.is_up("s"));
}

#[test]
fn on_failure_job_mode() {
    let mut w = world(&[
        ("a", "onfailure rescue.target"),
        ("b", ""),
        ("rescue.target", ""),
    ]);
    set(&mut w, "rescue.target", |spec| spec.allow_isolate = true);
    set(&mut w, "a", |spec| spec.on_failure_mode = JobMode::Isolate);
    w.start("a");
    w.start("b");
    w.dies("a", ActiveState::Failed);
    w.settle();
    assert_eq!(w.state(), ["a failed", "rescue.target active"]);
}

#[test]
fn on_success_job_mode() {
    // The default is fail: it does not undo what is queued. Replace does.
    for (mode, undone) in [(JobMode::Fail, false), (JobMode::Replace, true)] {
        let mut w = world(&[("a", "onsuccess s"), ("s", "conflicts b"), ("b", "")]);
        set(&mut w, "a", |spec| spec.on_success_mode = mode);
        w.does("b").start = Does::Hangs;
        w.start("a");
        w.ask(JobVerb::Start, "b", JobMode::Replace);
        w.settle();
        w.dies("a", ActiveState::Inactive);
        w.settle();
        assert_eq!(w.is_up("s"), undone, "{mode:?}");
    }
}

#[test]
fn propagates_stop_to() {
    let units = [("a", "propagatesstopto b"), ("b", "")];
    let mut w = world(&units);
    w.start("a");
    w.start("b");
    w.stop("a");
    assert!(w.state().is_empty());
    // Also when it ends by itself, and when it is restarted.
    let mut w = world(&units);
    w.start("a");
    w.start("b");
    w.dies("a", ActiveState::Inactive);
    w.settle();
    assert!(w.state().is_empty());
    w.start("a");
    w.start("b");
    w.run(JobVerb::Restart, "a");
    assert_eq!(w.state(), ["a active"]);
}

#[test]
fn propagates_stop_to_what_the_restart_needs_is_a_restart() {
    let mut w = world(&[("a", "propagatesstopto b; requires b"), ("b", "")]);
    w.start("a");
    w.take();
    w.run(JobVerb::Restart, "a");
    happened(&w, "stop b");
    assert_eq!(w.state(), ["a active", "b active"]);
}

#[test]
fn stop_propagated_from() {
    let mut w = world(&[("a", ""), ("b", "stoppropagatedfrom a")]);
    w.start("a");
    w.start("b");
    w.stop("a");
    assert!(w.state().is_empty());
}

#[test]
fn propagates_reload_to_and_reload_propagated_from() {
    let mut w = world(&[
        ("a", "propagatesreloadto b"),
        ("b", ""),
        ("c", "reloadpropagatedfrom a"),
    ]);
    for unit in ["a", "b", "c"] {
        w.start(unit);
    }
    w.take();
    w.run(JobVerb::Reload, "a");
    happened(&w, "reload b");
    happened(&w, "reload c");
}

#[test]
fn joins_namespace_of() {
    // The engine records it, at both ends: whoever makes namespaces asks for it.
    let mut w = world(&[("a", "joinsnamespaceof b"), ("b", "")]);
    w.start("a");
    assert!(!w.is_up("b"), "it pulls nothing in");
    for (one, other) in [("a", "b"), ("b", "a")] {
        let (id, other) = (w.id(one), w.id(other));
        let mut edges = w.engine.edges(id);
        assert!(edges.any(|edge| edge == (engine::Rel::JoinsNamespaceOf, other)));
    }
}

// What the machine is to do.

#[test]
fn failure_action() {
    let mut w = world(&[("a", "")]);
    set(&mut w, "a", |spec| {
        spec.failure_action = Action::RebootForce
    });
    w.start("a");
    w.dies("a", ActiveState::Inactive);
    w.settle();
    did_not_happen(&w, "reboot-force by a: Failed");
    w.start("a");
    w.dies("a", ActiveState::Failed);
    happened(&w, "reboot-force by a: Failed");
}

#[test]
fn success_action() {
    let mut w = world(&[("a", "")]);
    set(&mut w, "a", |spec| spec.success_action = Action::Exit);
    w.start("a");
    w.dies("a", ActiveState::Failed);
    did_not_happen(&w, "exit by a: Succeeded");
    w.does("a").start = Does::Finishes;
    w.start("a");
    happened(&w, "exit by a: Succeeded");
    // Not while the machine goes down: then everything ends.
    let mut w = world(&[("a", "")]);
    set(&mut w, "a", |spec| spec.success_action = Action::Reboot);
    w.start("a");
    w.feed(engine::api::Input::ShuttingDown);
    w.stop("a");
    did_not_happen(&w, "reboot by a: Succeeded");
}

#[test]
fn start_limit_action() {
    let mut w = world(&[("a", "")]);
    set(&mut w, "a", |spec| {
        spec.start_limit = StartLimit {
            interval: 10_000_000,
            burst: 1,
            action: Action::Poweroff,
        };
    });
    w.start("a");
    w.stop("a");
    did_not_happen(&w, "poweroff by a: StartLimit");
    w.start("a");
    happened(&w, "poweroff by a: StartLimit");
}

#[test]
fn start_limit_interval_sec_and_start_limit_burst() {
    let mut w = world(&[("a", "")]);
    set(&mut w, "a", |spec| {
        spec.start_limit.interval = 2_000_000;
        spec.start_limit.burst = 2;
    });
    for _ in 0..3 {
        w.start("a");
        w.stop("a");
    }
    assert_eq!(w.trace.iter().filter(|line| *line == "start a").count(), 2);
    assert_eq!(w.active("a"), ActiveState::Failed);
    w.wait(2_000_000);
    w.start("a");
    assert!(w.is_up("a"));
}

#[test]
fn job_timeout_sec() {
    // It counts from the moment the job is queued, waiting for others too.
    let mut w = world(&[("a", "after b"), ("b", "")]);
    set(&mut w, "a", |spec| spec.job_timeout = Some(1_000_000));
    w.does("b").start = Does::Hangs;
    w.ask(JobVerb::Start, "b", JobMode::Replace);
    w.ask(JobVerb::Start, "a", JobMode::Replace);
    w.settle();
    w.wait(999_999);
    did_not_happen(&w, "start of a: timeout");
    w.wait(1);
    happened(&w, "start of a: timeout");
}

#[test]
fn job_running_timeout_sec() {
    // It counts from the moment the job runs.
    let mut w = world(&[("a", "after b"), ("b", "")]);
    set(&mut w, "a", |spec| {
        spec.job_running_timeout = Some(1_000_000)
    });
    w.does("a").start = Does::Hangs;
    w.does("b").start = Does::Hangs;
    w.ask(JobVerb::Start, "b", JobMode::Replace);
    w.ask(JobVerb::Start, "a", JobMode::Replace);
    w.settle();
    w.wait(5_000_000);
    did_not_happen(&w, "start of a: timeout");
    w.finish("b", Does::Works);
    w.wait(1_000_000);
    happened(&w, "start of a: timeout");
}

#[test]
fn time_suspended_counts_for_nothing() {
    let mut w = world(&[("a", "after b"), ("b", ""), ("c", ""), ("d", "")]);
    set(&mut w, "a", |spec| spec.job_timeout = Some(1_000_000));
    set(&mut w, "d", |spec| {
        spec.start_limit.interval = 5_000_000;
        spec.start_limit.burst = 1;
    });
    w.does("b").start = Does::Hangs;
    w.does("c").restart = Some(1_000_000);
    w.start("c");
    w.start("d");
    w.stop("d");
    w.ask(JobVerb::Start, "b", JobMode::Replace);
    w.ask(JobVerb::Start, "a", JobMode::Replace);
    w.dies("c", ActiveState::Failed);
    w.settle();
    w.wait(500_000);
    w.sleep(3_600_000_000);
    w.settle();
    // A manager that takes over now knows as well.
    w.crash_now();
    w.settle();
    w.wait(499_999);
    did_not_happen(&w, "start of a: timeout");
    assert!(!w.is_up("c"));
    w.start("d");
    happened(&w, "start of d: failed");
    w.wait(1);
    happened(&w, "start of a: timeout");
    assert!(w.is_up("c"));
}

#[test]
fn job_timeout_action() {
    let mut w = world(&[("a", "")]);
    set(&mut w, "a", |spec| {
        spec.job_timeout = Some(1_000_000);
        spec.job_timeout_action = Action::RebootImmediate;
    });
    w.does("a").start = Does::Hangs;
    w.start("a");
    w.wait(1_000_000);
    happened(&w, "reboot-immediate by a: JobTimeout");
}

// Who may do what.

#[test]
fn refuse_manual_start() {
    let mut w = world(&[("a", ""), ("b", "requires a")]);
    set(&mut w, "a", |spec| spec.refuse_manual_start = true);
    assert!(!w.start("a"));
    w.start("b");
    assert!(w.is_up("a"), "pulled in it may be");
    assert!(w.stop("a"), "stopped as well");
}

#[test]
fn what_cannot_be_reloaded_is_not_tried() {
    let mut w = world(&[("a", ""), ("t.target", "")]);
    assert!(!w.run(JobVerb::Reload, "t.target"));
    // It may be able to: its helper has not read it yet.
    assert!(w.run(JobVerb::Reload, "a"));
    let unit = w.id("a");
    w.feed(Input::CanReload { unit, can: false });
    assert!(!w.run(JobVerb::Reload, "a"));
}

#[test]
fn try_reload_of_what_is_down_is_no_start() {
    let mut w = world(&[("a", "")]);
    set(&mut w, "a", |spec| spec.refuse_manual_start = true);
    let unit = w.id("a");
    w.feed(Input::CanReload { unit, can: true });
    assert!(w.run(JobVerb::TryReload, "a"), "there is nothing to do");
}

#[test]
fn refuse_manual_stop() {
    let mut w = world(&[("a", ""), ("b", "partof a"), ("c", "conflicts a")]);
    set(&mut w, "a", |spec| spec.refuse_manual_stop = true);
    w.start("a");
    assert!(!w.stop("a"));
    assert!(!w.run(JobVerb::Restart, "a"));
    w.start("c");
    assert_eq!(w.state(), ["c active"]);
}

#[test]
fn allow_isolate() {
    let mut w = world(&[("a", ""), ("t.target", "")]);
    assert!(!w.ask(JobVerb::Start, "t.target", JobMode::Isolate));
    set(&mut w, "t.target", |spec| spec.allow_isolate = true);
    w.start("a");
    assert!(w.ask(JobVerb::Start, "t.target", JobMode::Isolate));
    w.settle();
    assert_eq!(w.state(), ["t.target active"]);
}

#[test]
fn ignore_on_isolate() {
    let mut w = world(&[("a", ""), ("b", ""), ("c", ""), ("t.target", "")]);
    set(&mut w, "t.target", |spec| spec.allow_isolate = true);
    for unit in ["a", "c"] {
        set(&mut w, unit, |spec| spec.ignore_on_isolate = true);
    }
    w.does("c").start = Does::Hangs;
    for unit in ["a", "b", "c"] {
        w.start(unit);
    }
    assert!(w.ask(JobVerb::Start, "t.target", JobMode::Isolate));
    w.settle();
    w.finish("c", Does::Works);
    assert_eq!(w.state(), ["a active", "c active", "t.target active"]);
    happened(&w, "start of c: done");
}

#[test]
fn stop_when_unneeded() {
    let mut w = world(&[("a", ""), ("b", "wants a"), ("c", "requires a")]);
    set(&mut w, "a", |spec| spec.stop_when_unneeded = true);
    w.start("b");
    w.start("c");
    w.stop("b");
    assert!(w.is_up("a"), "c needs it");
    w.stop("c");
    assert!(w.state().is_empty());
}

// What is remembered.

#[test]
fn collect_mode() {
    let mut w = world(&[("a", ""), ("b", ""), ("kept", ""), ("r", "wants kept")]);
    set(&mut w, "b", |spec| {
        spec.collect = CollectMode::InactiveOrFailed
    });
    for unit in ["a", "b", "kept"] {
        w.start(unit);
        w.dies(unit, ActiveState::Failed);
    }
    w.wait(20_000_000);
    assert_eq!(w.collected, ["b"], "the others failed and are to be seen");
    assert_eq!(w.active("b"), ActiveState::Inactive);
    for unit in ["a", "kept"] {
        let unit = w.id(unit);
        w.feed(engine::api::Input::ResetFailed { unit });
    }
    w.settle();
    w.wait(20_000_000);
    assert_eq!(w.collected, ["b", "a"], "r refers to the third");
    assert!(w.engine.find(&sim::name("a")).unwrap().load.is_none());
    assert!(
        !w.store
            .keys()
            .any(|key| matches!(key, sim::world::Key::Unit(_))),
        "no record is left"
    );
    // The next reference loads it again.
    assert!(w.start("a") && w.is_up("a"));
}

#[test]
fn what_ran_to_its_end_is_remembered_until_whoever_asked_has_heard() {
    let mut w = world(&[("a", "")]);
    set(&mut w, "a", |spec| spec.start_limit.interval = 0);
    w.start("a");
    w.dies("a", ActiveState::Inactive);
    w.settle();
    w.crash();
    let id = w.id("a");
    let past = w.engine.past(id).unwrap();
    assert_eq!((past.verb, past.result), (JobVerb::Start, JobResult::Done));
    assert!(w.collected.is_empty());
    w.wait(20_000_000);
    assert_eq!(w.collected, ["a"]);
}

#[test]
fn collect_mode_takes_what_only_the_unit_referred_to_along() {
    let mut w = world(&[("a", "wants b; after b"), ("b", "")]);
    w.start("a");
    w.stop("b");
    w.wait(20_000_000);
    assert!(w.collected.is_empty());
    w.stop("a");
    w.wait(20_000_000);
    assert_eq!(w.collected, ["a", "b"]);
}

// Conditions.

#[test]
fn condition() {
    let mut w = world(&[("a", "requires b; after b"), ("b", "")]);
    w.condition("b", Verdict::Skip);
    w.load("b");
    w.start("a");
    happened(&w, "start of b: skipped");
    did_not_happen(&w, "start b");
    assert!(w.is_up("a"), "skipped is not failed");
}

#[test]
fn assert() {
    let mut w = world(&[("a", "requires b; after b"), ("b", "")]);
    w.condition("b", Verdict::Refuse);
    w.load("b");
    w.start("a");
    happened(&w, "start of b: assert");
    happened(&w, "start of a: dependency");
}

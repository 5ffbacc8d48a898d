//! How a job runs and ends, as scripts: starts, stops, restarts and reloads, conditions, times.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod worlds;

use engine::api::{Input, JobId, Verdict};
use sim::{Does, World};
use units::state::{ActiveState, JobMode, JobVerb};
use worlds::{calm, world};

#[test]
fn a_start_is_commanded_and_ends_when_the_unit_is_up() {
    let mut w = world(&[("a", "")]);
    assert!(w.start("a"));
    assert_eq!(
        w.take(),
        ["start a", "a activating", "a active", "start of a: done"]
    );
    assert!(w.start("a"));
    assert!(w.take().is_empty(), "nothing to do");
    assert!(w.stop("a"));
    assert_eq!(
        w.take(),
        ["stop a", "a deactivating", "a inactive", "stop of a: done"]
    );
    calm(&mut w);
}

#[test]
fn a_target_is_there_at_once() {
    let mut w = world(&[("t.target", "wants a"), ("a", "")]);
    w.does("a").start = Does::Hangs;
    w.start("t.target");
    assert!(w.is_up("t.target"));
    assert_eq!(w.active("a"), ActiveState::Activating);
}

#[test]
fn stopping_goes_in_reverse_order_and_takes_what_requires_it() {
    let mut w = world(&[
        ("a", "requires b; after b"),
        ("b", ""),
        ("c", "wants b; after b"),
    ]);
    w.start("a");
    w.start("c");
    w.take();
    w.stop("b");
    assert!(w.position("a inactive") < w.position("stop b"));
    assert_eq!(w.state(), ["c active"]);
    calm(&mut w);
}

#[test]
fn a_restart_keeps_the_order_both_ways() {
    let mut w = world(&[("a", "requires b; after b"), ("b", "")]);
    w.start("a");
    w.take();
    w.run(JobVerb::Restart, "b");
    let lines = [
        "stop a",
        "a inactive",
        "stop b",
        "b inactive",
        "start b",
        "b active",
        "start a",
    ];
    let places: Vec<_> = lines.iter().map(|line| w.position(line)).collect();
    assert!(places.is_sorted(), "{:#?}", w.trace);
    assert_eq!(w.state(), ["a active", "b active"]);
    calm(&mut w);
}

#[test]
fn try_restart_and_its_kin_do_nothing_to_what_is_down() {
    for verb in [JobVerb::TryRestart, JobVerb::TryReload] {
        let mut w = world(&[("a", "")]);
        assert!(w.run(verb, "a"));
        assert!(w.take().is_empty());
    }
    let mut w = world(&[("a", "")]);
    assert!(w.run(JobVerb::ReloadOrStart, "a"));
    assert!(w.is_up("a"), "a start");
    w.take();
    w.run(JobVerb::TryRestart, "a");
    assert!(w.trace.contains(&"stop a".into()) && w.is_up("a"));
    w.take();
    w.run(JobVerb::ReloadOrStart, "a");
    assert_eq!(
        w.take(),
        ["reload a", "a reloading", "a active", "reload of a: done"]
    );
    calm(&mut w);
}

#[test]
fn a_reload_need_not_wait_for_the_helper_of_a_new_manager() {
    let mut w = world(&[("a", "")]);
    w.start("a");
    w.crash_now();
    assert!(w.ask(JobVerb::Reload, "a", JobMode::Replace));
    w.take();
    w.sync();
    w.settle();
    assert!(
        w.trace.contains(&"reload of a: done".into()),
        "{:?}",
        w.trace
    );
    calm(&mut w);
}

#[test]
fn a_reload_of_what_is_down_is_invalid() {
    let mut w = world(&[("a", "")]);
    w.run(JobVerb::Reload, "a");
    assert_eq!(w.take(), ["reload of a: invalid"]);
}

#[test]
fn reloads_propagate() {
    let mut w = world(&[
        ("a", "propagatesreloadto b"),
        ("b", ""),
        ("c", "reloadpropagatedfrom a"),
    ]);
    w.start("a");
    w.start("b");
    w.take();
    w.run(JobVerb::Reload, "a");
    assert!(w.trace.contains(&"reload b".into()) && w.trace.contains(&"reload a".into()));
    assert!(!w.trace.contains(&"reload c".into()), "it is down");
}

#[test]
fn a_failed_reload_leaves_the_unit_up() {
    let mut w = world(&[("a", "")]);
    w.start("a");
    w.does("a").reload = Does::Fails;
    w.take();
    w.run(JobVerb::Reload, "a");
    assert!(w.trace.contains(&"reload of a: failed".into()));
    assert!(w.is_up("a"));
}

#[test]
fn a_second_reload_is_not_folded_into_one_under_way() {
    let mut w = world(&[("a", "")]);
    w.start("a");
    w.does("a").reload = Does::Hangs;
    w.run(JobVerb::Reload, "a");
    w.take();
    w.run(JobVerb::Reload, "a");
    w.does("a").reload = Does::Works;
    w.finish("a", Does::Works);
    assert!(w.trace.contains(&"reload a".into()), "{:?}", w.trace);
    calm(&mut w);
}

#[test]
fn conditions_skip_and_assertions_fail() {
    let mut w = world(&[("a", ""), ("b", "requires a; after a")]);
    w.condition("a", Verdict::Skip);
    w.load("a");
    w.start("b");
    assert!(w.trace.contains(&"start of a: skipped".into()));
    assert!(w.is_up("b"), "skipped is not failed");
    w.stop("b");
    w.does("a").verdict = Verdict::Refuse;
    w.take();
    w.start("b");
    assert_eq!(w.take(), ["start of a: assert", "start of b: dependency"]);
    calm(&mut w);
}

#[test]
fn a_oneshot_is_done_and_inactive() {
    let mut w = world(&[("a", "requires b; after b"), ("b", "")]);
    w.does("b").start = Does::Finishes;
    w.start("a");
    assert!(w.trace.contains(&"start of b: done".into()));
    assert_eq!(w.state(), ["a active"]);
    w.does("b").start = Does::Skips;
    w.take();
    w.start("b");
    assert!(w.trace.contains(&"start of b: skipped".into()));
}

#[test]
fn a_stop_overtakes_a_start_under_way() {
    let mut w = world(&[("a", "")]);
    w.does("a").start = Does::Hangs;
    w.start("a");
    w.stop("a");
    assert_eq!(
        w.take(),
        [
            "start a",
            "a activating",
            "start of a: canceled",
            "stop a",
            "a deactivating",
            "a inactive",
            "stop of a: done"
        ]
    );
    calm(&mut w);
}

#[test]
fn a_start_waits_until_the_stop_it_replaced_is_over() {
    let mut w = world(&[("a", "")]);
    w.start("a");
    w.does("a").stop = Does::Hangs;
    w.stop("a");
    w.ask(JobVerb::Start, "a", JobMode::Replace);
    w.settle();
    assert_eq!(w.active("a"), ActiveState::Deactivating);
    w.take();
    w.finish("a", Does::Works);
    assert!(w.is_up("a"), "{:?}", w.trace);
    calm(&mut w);
}

#[test]
fn a_job_times_out() {
    let mut w = World::new();
    w.unit("a", "").job_timeout = Some(5_000_000);
    w.unit("b", "requires a; after a");
    w.does("a").start = Does::Hangs;
    w.start("b");
    w.take();
    w.wait(5_000_000);
    assert_eq!(w.take(), ["start of a: timeout", "start of b: dependency"]);
}

#[test]
fn a_canceled_start_takes_its_dependants_along() {
    let mut w = world(&[("a", ""), ("b", "requires a; after a")]);
    w.does("a").start = Does::Hangs;
    w.start("b");
    let job = w.engine.find(&sim::name("a")).unwrap().job.unwrap().id;
    w.take();
    w.feed(Input::Cancel { job });
    w.feed(Input::Cancel { job: JobId(4711) });
    assert_eq!(w.take(), ["start of a: canceled", "start of b: dependency"]);
}

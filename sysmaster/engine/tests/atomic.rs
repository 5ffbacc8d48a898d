//! Atomic starts: all up, or what was started stopped again, and nothing else touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use sim::{Does, World};
use units::state::{ActiveState, JobMode, JobVerb};

fn world(units: &[(&str, &str)]) -> World {
    let mut world = World::new();
    for (unit, text) in units {
        world.unit(unit, text);
    }
    world
}

#[test]
fn all_come_up_in_one_transaction() {
    let mut w = world(&[("a", "requires x; after x"), ("b", "after a"), ("x", "")]);
    assert!(w.atomic(&["b", "a"]));
    assert!(w.is_up("a") && w.is_up("b") && w.is_up("x"));
    assert!(w.position("start a") < w.position("start b"));
    assert_eq!(w.take().last().unwrap(), "all are up");
    // Again: there is nothing to do, and nothing is noted.
    assert!(w.atomic(&["a", "b"]));
    assert!(w.opened.last() == Some(&0) && w.trace.is_empty());
    w.check_rest();
    assert!(w.broken.is_empty(), "{:?}", w.broken);
}

#[test]
fn one_that_fails_takes_the_others_down_in_reverse_order() {
    let mut w = world(&[
        ("a", "requires x; after x"),
        ("b", "after a"),
        ("c", "after b"),
        ("x", ""),
    ]);
    w.does("c").start = Does::Fails;
    assert!(w.atomic(&["a", "b", "c"]));
    for unit in ["a", "b", "c", "x"] {
        assert!(!w.is_up(unit), "{unit}");
    }
    assert!(w.position("stop b") < w.position("stop a"));
    assert!(w.position("a inactive") < w.position("stop x"));
    assert_eq!(w.trace.last().unwrap(), "c: failed, stopped a b x");
}

#[test]
fn what_was_up_or_on_its_way_stays() {
    let mut w = world(&[
        ("a", "requires x y; after x"),
        ("b", "after a"),
        ("x", ""),
        ("y", ""),
        ("r", "requires a"),
    ]);
    w.does("y").start = Does::Hangs;
    w.start("x");
    w.start("y");
    w.ask(JobVerb::Start, "r", JobMode::IgnoreDependencies);
    w.settle();
    w.does("b").start = Does::Fails;
    w.atomic(&["a", "b"]);
    assert!(
        w.is_up("x") && w.is_up("r") && !w.is_up("a"),
        "{:#?}",
        w.trace
    );
    w.finish("y", Does::Works);
    assert!(w.is_up("y"));
}

#[test]
fn what_a_client_asks_for_in_the_meantime_is_the_clients() {
    let mut w = world(&[
        ("a", ""),
        ("b", ""),
        ("c", ""),
        ("d", "requires c; after c"),
    ]);
    w.does("b").start = Does::Hangs;
    w.atomic(&["a", "b", "c"]);
    w.start("d");
    w.finish("b", Does::Fails);
    assert!(
        w.is_up("c") && w.is_up("d") && !w.is_up("a"),
        "{:#?}",
        w.trace
    );
    assert_eq!(w.trace.last().unwrap(), "b: failed, stopped a");
}

#[test]
fn a_second_atomic_start_takes_over() {
    let mut w = world(&[("a", ""), ("b", ""), ("c", "")]);
    w.does("b").start = Does::Hangs;
    w.does("c").start = Does::Hangs;
    w.atomic(&["a", "b"]);
    w.atomic(&["a", "c"]);
    w.finish("b", Does::Fails);
    assert!(w.is_up("a"), "the second one still goes on");
    w.finish("c", Does::Fails);
    assert!(!w.is_up("a"), "{:#?}", w.trace);
}

#[test]
fn nothing_is_stopped_for_it() {
    let mut w = world(&[
        ("a", "conflicts x"),
        ("b", ""),
        ("x", ""),
        ("y", "requires x"),
    ]);
    w.start("y");
    assert!(!w.atomic(&["b", "a"]));
    let line = w.trace.last().unwrap().clone();
    assert!(
        line.contains("stop of x.service, which conflicts with the start of a.service"),
        "{line}"
    );
    assert!(w.is_up("x") && w.is_up("y") && !w.is_up("b"));
    // One that is down is no obstacle.
    w.stop("x");
    assert!(w.atomic(&["b", "a"]) && w.is_up("a"));
}

#[test]
fn two_that_conflict_are_refused() {
    let mut w = world(&[("a", "conflicts b"), ("b", "")]);
    assert!(!w.atomic(&["a", "b"]));
    assert!(!w.is_up("a") && !w.is_up("b"));
}

#[test]
fn a_unit_that_is_wanted_may_fail_and_a_oneshot_may_end() {
    let mut w = world(&[("a", "wants x; after x"), ("b", ""), ("x", "")]);
    w.does("x").start = Does::Fails;
    w.does("b").start = Does::Finishes;
    w.atomic(&["a", "b"]);
    assert!(w.is_up("a"));
    assert_eq!(w.trace.last().unwrap(), "all are up");
}

#[test]
fn a_unit_that_is_skipped_is_not_up() {
    let mut w = world(&[("a", ""), ("b", "after a")]);
    w.condition("b", engine::api::Verdict::Skip);
    w.atomic(&["a", "b"]);
    assert!(!w.is_up("a"), "{:#?}", w.trace);
}

#[test]
fn a_unit_that_restarts_by_itself_is_rolled_back_all_the_same() {
    let mut w = world(&[("a", ""), ("b", ""), ("c", "")]);
    w.does("b").start = Does::Hangs;
    w.does("c").restart = Some(1000);
    w.unit("a", "wants c");
    w.atomic(&["a", "b"]);
    w.dies("c", ActiveState::Failed);
    w.wait(2000);
    assert!(w.is_up("c"));
    w.finish("b", Does::Fails);
    assert!(!w.is_up("c") && !w.is_up("a"), "{:#?}", w.trace);
}

#[test]
fn a_shutdown_ends_it() {
    let mut w = world(&[
        ("a", "conflicts off.target; before off.target"),
        ("b", "conflicts off.target; before off.target"),
        ("off.target", ""),
    ]);
    w.does("b").start = Does::Hangs;
    w.atomic(&["a", "b"]);
    w.ask(JobVerb::Start, "off.target", JobMode::ReplaceIrreversibly);
    w.settle();
    assert!(!w.is_up("a") && w.is_up("off.target"), "{:#?}", w.trace);
    w.check_rest();
    assert!(w.broken.is_empty(), "{:?}", w.broken);
}

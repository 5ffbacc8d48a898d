//! What follows from a unit's change, and from what its helper says or does not know, as scripts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod worlds;

use engine::api::{Input, Verdict};
use sim::{Does, World};
use units::state::{ActiveState, JobMode, JobVerb};
use worlds::{calm, world};

#[test]
fn what_is_bound_follows_an_unexpected_end_and_what_requires_does_not() {
    let mut w = world(&[
        ("a", "bindsto c; after c"),
        ("b", "requires c; after c"),
        ("c", ""),
    ]);
    w.start("a");
    w.start("b");
    w.dies("c", ActiveState::Inactive);
    w.settle();
    assert_eq!(w.state(), ["b active"]);
    calm(&mut w);
}

#[test]
fn what_is_bound_goes_as_soon_as_the_other_is_on_its_way_down() {
    let mut w = world(&[("a", "bindsto c"), ("c", "")]);
    w.start("a");
    w.take();
    w.dies("c", ActiveState::Deactivating);
    assert_eq!(w.take(), ["c deactivating", "stop a", "a deactivating"]);
}

#[test]
fn a_wish_is_granted_once() {
    let mut w = world(&[("a", "requisite b; after b"), ("b", "")]);
    w.does("a").restart = Some(1000);
    w.start("b");
    w.start("a");
    w.dies("a", ActiveState::Failed);
    w.dies("b", ActiveState::Inactive);
    w.take();
    w.wait(1000);
    assert!(
        w.trace.contains(&"start of a: dependency".into()),
        "{:?}",
        w.trace
    );
    w.sync();
    assert_eq!(
        w.engine.next_deadline(),
        None,
        "the helper repeats the wish, and it was refused"
    );
}

#[test]
fn what_is_bound_to_a_unit_that_did_nothing_does_not_stay() {
    let mut w = world(&[("a", "bindsto b"), ("b", "")]);
    w.condition("b", Verdict::Skip);
    w.load("b");
    w.start("a");
    assert_eq!(w.active("a"), ActiveState::Inactive, "{:?}", w.trace);
    calm(&mut w);
}

#[test]
fn a_unit_that_dies_is_restarted_after_its_delay() {
    let mut w = world(&[("a", ""), ("b", "requires a; after a")]);
    w.does("a").restart = Some(100_000);
    w.start("b");
    w.take();
    w.dies("a", ActiveState::Failed);
    w.settle();
    assert_eq!(w.active("a"), ActiveState::Failed);
    assert_eq!(w.engine.next_deadline(), Some(w.now + 100_000));
    w.wait(99_999);
    assert!(!w.is_up("a"));
    w.wait(1);
    assert_eq!(w.state(), ["a active", "b active"]);
    assert!(
        w.trace.contains(&"stop b".into()),
        "dependants are restarted with it"
    );
    assert_eq!(w.engine.find(&sim::name("a")).unwrap().restarts, 1);
    calm(&mut w);
}

#[test]
fn a_stop_by_hand_ends_a_restart_for_the_helper_too() {
    let mut w = world(&[("a", "")]);
    w.does("a").restart = Some(100_000);
    w.start("a");
    w.dies("a", ActiveState::Failed);
    w.take();
    w.stop("a");
    assert_eq!(w.take(), ["stop a", "a inactive", "stop of a: done"]);
    w.crash();
    w.settle();
    w.wait(10_000_000);
    assert!(
        w.state().is_empty(),
        "the helper does not wish for it again"
    );
    calm(&mut w);
}

#[test]
fn restarts_end_at_the_start_limit_until_reset() {
    let mut w = world(&[("a", "")]);
    w.does("a").restart = Some(1000);
    w.does("a").start = Does::Fails;
    w.start("a");
    w.wait(5_000_000);
    assert_eq!(w.helper.slots[&sim::name("a")].starts, 5);
    assert_eq!(w.active("a"), ActiveState::Failed);
    assert!(w.engine.find(&sim::name("a")).unwrap().limit_hit);
    assert_eq!(w.engine.next_deadline(), None);
    w.take();
    w.start("a");
    assert_eq!(w.take(), ["start of a: failed"]);
    let unit = w.id("a");
    w.feed(Input::ResetFailed { unit });
    w.settle();
    assert_eq!(w.active("a"), ActiveState::Inactive);
    w.does("a").start = Does::Works;
    assert!(w.start("a") && w.is_up("a"));
    calm(&mut w);
}

#[test]
fn the_start_limit_is_an_interval() {
    let mut w = world(&[("a", "")]);
    for _ in 0..20 {
        w.start("a");
        w.stop("a");
        w.wait(2_000_001);
    }
    assert_eq!(w.helper.slots[&sim::name("a")].starts, 20);
}

#[test]
fn nothing_restarts_while_the_machine_goes_down() {
    let mut w = world(&[
        ("a", ""),
        ("b", ""),
        ("off.target", "conflicts a b; after a b"),
    ]);
    w.does("a").restart = Some(100_000);
    w.start("a");
    w.start("b");
    w.dies("a", ActiveState::Failed);
    w.feed(Input::ShuttingDown);
    assert_eq!(w.engine.next_deadline(), None);
    assert!(!w.start("a"));
    assert!(w.ask(JobVerb::Start, "off.target", JobMode::ReplaceIrreversibly));
    w.settle();
    assert_eq!(w.state(), ["a failed", "off.target active"]);
    w.crash();
    assert!(w.engine.is_shutting_down(), "it is remembered");
}

#[test]
fn on_failure_and_on_success() {
    let mut w = world(&[("a", "onfailure f; onsuccess s"), ("f", ""), ("s", "")]);
    w.start("a");
    w.dies("a", ActiveState::Failed);
    w.settle();
    assert_eq!(w.state(), ["a failed", "f active"]);
    w.start("a");
    w.dies("a", ActiveState::Inactive);
    w.settle();
    assert!(w.is_up("s"));
}

#[test]
fn failures_that_start_each_other_come_to_an_end() {
    let mut w = world(&[
        ("a", "onfailure b; requisite x"),
        ("b", "onfailure a; requisite x"),
        ("x", ""),
    ]);
    w.start("a");
    assert!(w.trace.len() < 200, "{}", w.trace.len());
    assert!(w.logs.iter().any(|line| line.contains("too often")));
    let mut w = world(&[("t.target", "onsuccess t.target")]);
    w.specs
        .get_mut(&sim::name("t.target"))
        .unwrap()
        .stop_when_unneeded = true;
    w.load("t.target");
    w.start("t.target");
    assert!(w.trace.len() < 200, "{}", w.trace.len());
    calm(&mut w);
}

#[test]
fn stop_when_unneeded() {
    let mut w = World::new();
    w.unit("a", "requires b");
    w.unit("b", "").stop_when_unneeded = true;
    w.start("a");
    w.stop("a");
    assert!(w.state().is_empty(), "{:?}", w.state());
    calm(&mut w);
}

#[test]
fn a_type_without_a_helper_is_unsupported() {
    let mut w = world(&[("a", ""), ("b", "requires a; after a"), ("c", "")]);
    w.does("a").start = Does::Hangs;
    w.start("b");
    w.take();
    w.feed(Input::HelperMissing {
        unit_type: "service".into(),
    });
    assert!(w.trace.contains(&"start of a: unsupported".into()));
    assert!(w.trace.iter().any(|line| line.starts_with("start of b:")));
    w.take();
    w.ask(JobVerb::Start, "c", JobMode::Replace);
    assert_eq!(w.take(), ["start of c: unsupported"]);
    assert_eq!(w.engine.jobs().count(), 0);
}

#[test]
fn stale_reports_change_nothing() {
    let mut w = world(&[("a", "")]);
    w.start("a");
    w.does("a").stop = Does::Hangs;
    let old = w.helper.slots[&sim::name("a")].clone();
    w.ask(JobVerb::Stop, "a", JobMode::Replace);
    w.deliver();
    let new = w.helper.slots.insert(sim::name("a"), old).unwrap();
    w.report(&sim::name("a"));
    w.deliver();
    assert_eq!(
        w.active("a"),
        ActiveState::Deactivating,
        "the helper had not heard of the stop"
    );
    w.helper.slots.insert(sim::name("a"), new);
    w.finish("a", Does::Works);
    assert_eq!(w.active("a"), ActiveState::Inactive);
}

#[test]
fn a_command_the_helper_never_saw_is_sent_again_under_its_number() {
    let mut w = world(&[("a", "")]);
    w.does("a").start = Does::Hangs;
    w.start("a");
    let known = w.helper.slots.remove(&sim::name("a")).unwrap();
    w.take();
    // A new manager: it cannot know whether the command arrived. The helper says no.
    w.crash();
    assert_eq!(w.take(), ["crash", "start a"]);
    let again = &w.helper.slots[&sim::name("a")];
    assert_eq!((again.seq, again.invocation), (known.seq, known.invocation));
    w.finish("a", Does::Works);
    assert!(w.is_up("a"));
    calm(&mut w);
}

#[test]
fn what_ended_while_nobody_watched_has_failed() {
    let mut w = world(&[("a", ""), ("b", "bindsto a; after a")]);
    w.start("b");
    w.helper.slots.remove(&sim::name("a"));
    w.sync();
    w.settle();
    assert_eq!(w.state(), ["a failed"]);
    assert!(w.logs.iter().any(|line| line.contains("nobody watched")));
}

#[test]
fn an_accepted_command_the_helper_forgot_is_not_repeated() {
    let mut w = world(&[("a", "")]);
    w.does("a").start = Does::Hangs;
    w.start("a");
    w.helper.slots.remove(&sim::name("a"));
    w.take();
    w.sync();
    w.settle();
    assert_eq!(w.take(), ["a failed", "start of a: failed"]);
}

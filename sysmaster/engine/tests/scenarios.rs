//! Each rule of the engine, as a script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use engine::api::{Input, JobId, Verdict};
use sim::{Does, World};
use units::spec::LoadState;
use units::state::{ActiveState, JobMode, JobVerb};

fn world(units: &[(&str, &str)]) -> World {
    let mut world = World::new();
    for (unit, text) in units {
        world.unit(unit, text);
    }
    for (unit, _) in units {
        world.load(unit);
    }
    world
}

#[track_caller]
fn calm(world: &mut World) {
    world.check_rest();
    assert!(
        world.broken.is_empty(),
        "{:#?}\n{:#?}",
        world.broken,
        world.trace
    );
}

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
fn requires_with_after_waits_and_fails_with_it() {
    let mut w = world(&[("a", "requires b; after b"), ("b", "")]);
    w.start("a");
    assert!(w.position("b active") < w.position("start a"));
    w.stop("a");
    w.stop("b");
    w.take();
    w.does("b").start = Does::Fails;
    w.start("a");
    assert_eq!(
        w.take(),
        [
            "start b",
            "b activating",
            "b failed",
            "start of b: failed",
            "start of a: dependency"
        ]
    );
    calm(&mut w);
}

#[test]
fn requires_without_after_does_not_wait() {
    let mut w = world(&[("a", "requires b"), ("b", "")]);
    w.does("b").start = Does::Hangs;
    w.start("a");
    assert!(w.is_up("a"));
}

#[test]
fn wants_of_what_fails_or_is_not_there_is_no_obstacle() {
    let mut w = world(&[("a", "wants b nothere; after b nothere"), ("b", "")]);
    w.does("b").start = Does::Fails;
    assert!(w.start("a"));
    assert!(w.is_up("a"));
    assert_eq!(w.active("b"), ActiveState::Failed);
    calm(&mut w);
}

#[test]
fn requires_of_what_is_not_there_refuses_the_transaction() {
    let mut w = world(&[
        ("a", "requires b"),
        ("b", "requires nothere"),
        ("t.target", "wants a c"),
        ("c", ""),
    ]);
    assert!(!w.start("a"));
    assert_eq!(
        w.take(),
        ["refused: nothere.service cannot be used: no such unit file"]
    );
    // Where it is only wanted, the wanted unit goes, not the transaction.
    assert!(w.start("t.target"));
    assert_eq!(w.state(), ["c active", "t.target active"]);
    calm(&mut w);
}

#[test]
fn a_masked_or_bad_unit_says_why() {
    let mut w = World::new();
    w.unit("a", "").load = LoadState::BadSetting {
        reason: "/etc/a.service:3: “Typo=x”".into(),
    };
    w.unit("b", "").load = LoadState::Masked;
    assert!(!w.start("a"));
    assert!(!w.start("b"));
    assert_eq!(
        w.take(),
        [
            "refused: a.service cannot be used: /etc/a.service:3: “Typo=x”",
            "refused: b.service cannot be used: the unit is masked"
        ]
    );
    assert!(w.stop("b"), "what cannot be used can be stopped");
}

#[test]
fn conflicts_work_in_both_directions() {
    let mut w = world(&[("a", "conflicts b"), ("b", "")]);
    w.start("b");
    w.start("a");
    assert_eq!(w.state(), ["a active"]);
    w.start("b");
    assert_eq!(w.state(), ["b active"]);
    calm(&mut w);
}

#[test]
fn an_ordered_conflict_stops_before_it_starts() {
    for order in ["after", "before"] {
        let mut w = world(&[("a", &format!("conflicts b; {order} b")), ("b", "")]);
        w.start("b");
        w.take();
        w.start("a");
        assert!(w.position("b inactive") < w.position("start a"), "{order}");
        calm(&mut w);
    }
}

#[test]
fn a_conflict_whose_stop_fails_stops_the_start() {
    let mut w = world(&[("a", "conflicts b; after b"), ("b", "")]);
    w.start("b");
    w.does("b").stop = Does::Fails;
    w.take();
    w.start("a");
    assert!(
        w.trace.contains(&"stop of b: failed".into()),
        "{:?}",
        w.trace
    );
    assert!(w.trace.contains(&"start of a: dependency".into()));
    assert!(!w.is_up("a"));
}

#[test]
fn what_requires_contradictory_things_is_refused_in_words() {
    let mut w = world(&[("a", "requires b c"), ("b", "conflicts c"), ("c", "")]);
    assert!(!w.start("a"));
    let text = w.take().join("");
    let chain = "stop of c.service, which conflicts with the start of b.service (b.service has \
                 Conflicts=c.service), needed by the start of a.service (a.service has \
                 Requires=b.service); but also start of c.service, needed by the start of \
                 a.service (a.service has Requires=c.service).";
    assert!(text.contains(chain), "{text}");
    assert!(w.state().is_empty());
}

#[test]
fn of_a_wanted_contradiction_one_side_goes() {
    let mut w = world(&[
        ("a", "requires b; wants c"),
        ("b", "conflicts c"),
        ("c", ""),
    ]);
    assert!(w.start("a"));
    assert_eq!(w.state(), ["a active", "b active"]);
    let mut w = world(&[("a", "wants b c"), ("b", "conflicts c"), ("c", "")]);
    assert!(w.start("a"));
    assert_eq!(
        w.state(),
        ["a active", "b active"],
        "who conflicts is preferred"
    );
    calm(&mut w);
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
fn part_of_follows_stop_and_restart_but_not_start() {
    let mut w = world(&[("a", "partof b"), ("b", "")]);
    w.start("b");
    assert!(!w.is_up("a"));
    w.start("a");
    w.take();
    w.run(JobVerb::Restart, "b");
    assert!(w.trace.contains(&"start a".into()) && w.trace.contains(&"stop a".into()));
    w.stop("b");
    assert!(w.state().is_empty());
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
fn requisite_does_not_start_and_fails_what_needs_it() {
    let mut w = world(&[("a", "requisite b; after b"), ("b", "")]);
    w.start("a");
    assert_eq!(
        w.take(),
        ["verify-active of b: failed", "start of a: dependency"]
    );
    w.start("b");
    assert!(w.start("a") && w.is_up("a"));
    w.stop("b");
    assert!(w.state().is_empty());
    calm(&mut w);
}

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
fn an_ordering_cycle_is_broken_where_it_is_only_wanted_and_told_link_by_link() {
    let mut w = world(&[
        ("t.target", "wants a b"),
        ("a", "after b"),
        ("b", "after a"),
    ]);
    assert!(w.start("t.target"));
    assert!(
        w.is_up("t.target") && (w.is_up("a") ^ w.is_up("b")),
        "{:?}",
        w.state()
    );
    let log = w.logs.join("\n");
    let cycle = "ordering cycle: start of a.service goes before the start of b.service (b.service \
                 has After=a.service), which goes before the start of a.service (a.service has \
                 After=b.service). The start of b.service is deleted to break it";
    assert!(log.contains(cycle), "{log}");
    let mut w = world(&[("a", "requires b; after b"), ("b", "after a")]);
    assert!(!w.start("a"));
    let text = w.take().join("");
    assert!(
        text.starts_with("refused: ordering cycle: start of "),
        "{text}"
    );
    assert!(w.state().is_empty());
}

#[test]
fn a_cycle_closed_by_loading_again_ends_too() {
    let mut w = world(&[("x", ""), ("a", "after x"), ("b", "after a")]);
    w.does("x").start = Does::Hangs;
    w.ask(JobVerb::Start, "x", JobMode::Replace);
    w.ask(JobVerb::Start, "a", JobMode::Replace);
    w.ask(JobVerb::Start, "b", JobMode::Replace);
    w.settle();
    w.unit("a", "after x b");
    w.load("a");
    w.finish("x", Does::Works);
    assert!(
        w.trace.contains(&"start of b: canceled".into()),
        "{:?}",
        w.trace
    );
    assert!(
        w.logs
            .iter()
            .any(|line| line.contains("wait for each other"))
    );
    assert_eq!(w.state(), ["a active", "x active"]);
    calm(&mut w);
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
fn mode_fail_refuses_and_irreversible_jobs_stay() {
    let mut w = world(&[("a", "")]);
    w.does("a").start = Does::Hangs;
    w.start("a");
    assert!(!w.ask(JobVerb::Stop, "a", JobMode::Fail));
    let mut w = world(&[("a", "")]);
    w.does("a").start = Does::Hangs;
    assert!(w.ask(JobVerb::Start, "a", JobMode::ReplaceIrreversibly));
    w.settle();
    w.take();
    assert!(!w.stop("a"));
    assert!(w.take().join("").contains("may not be undone"));
    assert!(w.ask(JobVerb::Stop, "a", JobMode::ReplaceIrreversibly));
}

#[test]
fn isolate_stops_everything_else() {
    let mut w = World::new();
    w.unit("t.target", "wants a; after a").allow_isolate = true;
    w.unit("a", "");
    w.unit("b", "");
    w.unit("c", "").ignore_on_isolate = true;
    for unit in ["b", "c"] {
        w.start(unit);
    }
    assert!(w.ask(JobVerb::Start, "t.target", JobMode::Isolate));
    w.settle();
    assert_eq!(w.state(), ["a active", "c active", "t.target active"]);
    assert!(!w.ask(JobVerb::Start, "a", JobMode::Isolate), "not allowed");
    calm(&mut w);
}

#[test]
fn flush_cancels_what_is_queued() {
    let mut w = world(&[("a", ""), ("b", "after a"), ("c", "")]);
    w.does("a").start = Does::Hangs;
    w.start("a");
    w.ask(JobVerb::Start, "b", JobMode::Replace);
    w.take();
    w.ask(JobVerb::Start, "c", JobMode::Flush);
    w.settle();
    assert!(w.trace.contains(&"start of b: canceled".into()));
    assert!(w.is_up("c") && !w.is_up("b"));
}

#[test]
fn ignore_dependencies_and_requirements() {
    let mut w = world(&[("a", "requires b; after b"), ("b", "")]);
    assert!(w.ask(JobVerb::Start, "a", JobMode::IgnoreRequirements));
    w.settle();
    assert_eq!(w.state(), ["a active"]);
    w.stop("a");
    w.does("b").start = Does::Hangs;
    w.start("b");
    assert!(w.ask(JobVerb::Start, "a", JobMode::IgnoreDependencies));
    w.settle();
    assert!(w.is_up("a"), "not even order counts");
}

#[test]
fn manual_refusals_are_for_people_only() {
    let mut w = World::new();
    w.unit("a", "requires b");
    let b = w.unit("b", "");
    b.refuse_manual_start = true;
    b.refuse_manual_stop = true;
    assert!(!w.start("b"));
    assert!(w.start("a") && w.is_up("b"));
    assert!(!w.stop("b"));
    assert!(w.take().join("").contains("RefuseManualStop=yes"));
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

#[test]
fn loading_again_keeps_states_and_jobs_and_replaces_edges() {
    let mut w = world(&[("a", "requires b; after b"), ("b", "")]);
    w.start("a");
    w.unit("a", "wants c");
    w.load("a");
    w.stop("b");
    assert_eq!(w.state(), ["a active"]);
    w.unit("c", "");
    w.does("c").start = Does::Hangs;
    w.start("c");
    w.unit("c", "requires d");
    w.load("c");
    w.finish("c", Does::Works);
    assert_eq!(w.state(), ["a active", "c active"]);
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

#[test]
fn too_many_jobs_are_refused_as_a_whole() {
    let mut w = world(&[("a", "wants b c"), ("b", ""), ("c", "")]);
    w.engine = engine::Engine::new(engine::Config {
        epoch: 1,
        max_jobs: 2,
    });
    assert!(!w.start("a"));
    assert!(w.state().is_empty());
}

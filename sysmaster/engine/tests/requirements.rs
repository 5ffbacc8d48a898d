//! What belongs to a transaction, and which are refused, as scripts: requirements, conflicts, cycles, modes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod worlds;

use sim::{Does, World};
use units::spec::LoadState;
use units::state::{ActiveState, JobMode, JobVerb};
use worlds::{calm, world};

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
fn too_many_jobs_are_refused_as_a_whole() {
    let mut w = world(&[("a", "wants b c"), ("b", ""), ("c", "")]);
    w.engine = engine::Engine::new(engine::Config {
        epoch: 1,
        max_jobs: 2,
    });
    assert!(!w.start("a"));
    assert!(w.state().is_empty());
}

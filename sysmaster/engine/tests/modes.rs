//! The job modes: one test of each name (systemctl(1), `--job-mode=`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod worlds;

use sim::{Does, World};
use units::state::{ActiveState, JobMode, JobVerb};
use worlds::world;

/// A unit whose start is under way.
fn starting(world: &mut World, unit: &str) {
    world.does(unit).start = Does::Hangs;
    assert!(world.ask(JobVerb::Start, unit, JobMode::Replace));
    world.settle();
}

fn ask(world: &mut World, verb: JobVerb, unit: &str, mode: JobMode) -> bool {
    let accepted = world.ask(verb, unit, mode);
    world.settle();
    accepted
}

#[test]
fn fail() {
    let mut w = world(&[("a", "")]);
    starting(&mut w, "a");
    assert!(!ask(&mut w, JobVerb::Stop, "a", JobMode::Fail));
    assert_eq!(w.active("a"), ActiveState::Activating);
    // What is only wanted, and would stop something, is left out.
    let mut w = world(&[("a", "wants b"), ("b", "conflicts c"), ("c", "")]);
    w.start("c");
    assert!(ask(&mut w, JobVerb::Start, "a", JobMode::Fail));
    assert!(w.is_up("c") && w.is_up("a"));
}

#[test]
fn replace() {
    let mut w = world(&[("a", "")]);
    starting(&mut w, "a");
    assert!(ask(&mut w, JobVerb::Stop, "a", JobMode::Replace));
    assert!(w.trace.contains(&"start of a: canceled".into()));
    assert!(w.state().is_empty());
}

#[test]
fn replace_irreversibly() {
    let mut w = world(&[("a", "")]);
    w.does("a").start = Does::Hangs;
    assert!(ask(
        &mut w,
        JobVerb::Start,
        "a",
        JobMode::ReplaceIrreversibly
    ));
    assert!(!ask(&mut w, JobVerb::Stop, "a", JobMode::Replace));
    assert!(ask(
        &mut w,
        JobVerb::Stop,
        "a",
        JobMode::ReplaceIrreversibly
    ));
    assert!(w.state().is_empty());
}

#[test]
fn isolate() {
    let mut w = world(&[
        ("t.target", "wants a s.socket"),
        ("a", ""),
        ("b", ""),
        ("s.socket", "triggers s"),
        ("s", ""),
    ]);
    w.specs
        .get_mut(&sim::name("t.target"))
        .unwrap()
        .allow_isolate = true;
    w.load("t.target");
    for unit in ["b", "s.socket", "s"] {
        w.start(unit);
    }
    assert!(!ask(&mut w, JobVerb::Stop, "t.target", JobMode::Isolate));
    assert!(ask(&mut w, JobVerb::Start, "t.target", JobMode::Isolate));
    assert!(w.is_up("a") && w.is_up("t.target"));
    assert_eq!(w.active("b"), ActiveState::Inactive);
    assert!(w.is_up("s"), "its socket stays, so it does");
}

#[test]
fn flush() {
    let mut w = world(&[("a", ""), ("b", ""), ("kept", "")]);
    let kept = w.specs.get_mut(&sim::name("kept")).unwrap();
    kept.ignore_on_isolate = true;
    w.load("kept");
    starting(&mut w, "a");
    starting(&mut w, "kept");
    assert!(ask(&mut w, JobVerb::Start, "b", JobMode::Flush));
    assert!(w.trace.contains(&"start of a: canceled".into()));
    assert!(!w.trace.contains(&"start of kept: canceled".into()));
    // What was kept is still there after a crash.
    w.crash();
    assert!(
        w.state()
            .contains(&"kept activating (start Running)".into()),
        "{:?}",
        w.state()
    );
}

#[test]
fn ignore_dependencies() {
    let mut w = world(&[("a", "requires b; after b c"), ("b", ""), ("c", "")]);
    starting(&mut w, "c");
    assert!(ask(
        &mut w,
        JobVerb::Start,
        "a",
        JobMode::IgnoreDependencies
    ));
    assert!(w.is_up("a"), "it waits for nobody");
    assert_eq!(w.active("b"), ActiveState::Inactive);
}

#[test]
fn ignore_requirements() {
    let mut w = world(&[("a", "requires b; after b c"), ("b", ""), ("c", "")]);
    starting(&mut w, "c");
    assert!(ask(
        &mut w,
        JobVerb::Start,
        "a",
        JobMode::IgnoreRequirements
    ));
    assert!(!w.is_up("a"), "it waits for its turn");
    w.finish("c", Does::Works);
    assert!(w.is_up("a"));
    assert_eq!(w.active("b"), ActiveState::Inactive);
}

#[test]
fn triggering() {
    let mut w = world(&[("s.socket", "triggers s"), ("s", "")]);
    for stays in [true, false] {
        for unit in ["s.socket", "s"] {
            w.start(unit);
        }
        let mode = if stays {
            JobMode::Replace
        } else {
            JobMode::Triggering
        };
        assert!(ask(&mut w, JobVerb::Stop, "s", mode));
        assert_eq!(w.active("s"), ActiveState::Inactive);
        assert_eq!(w.is_up("s.socket"), stays);
    }
    assert!(!ask(&mut w, JobVerb::Start, "s", JobMode::Triggering));
}

#[test]
fn restart_dependencies() {
    let units = [
        ("a", ""),
        ("b", "requires a; after a"),
        ("c", "partof a"),
        ("d", "requires a"),
    ];
    let mut w = world(&units);
    w.start("b");
    w.start("c");
    w.dies("a", ActiveState::Failed);
    w.take();
    assert!(ask(
        &mut w,
        JobVerb::Start,
        "a",
        JobMode::RestartDependencies
    ));
    for line in ["start a", "stop b", "start b", "stop c", "start c"] {
        assert!(w.trace.contains(&line.into()), "{line}: {:#?}", w.trace);
    }
    assert!(w.position("a active") < w.position("start b"));
    assert_eq!(
        w.active("d"),
        ActiveState::Inactive,
        "what is down stays so"
    );
    assert!(!ask(
        &mut w,
        JobVerb::Stop,
        "a",
        JobMode::RestartDependencies
    ));
}

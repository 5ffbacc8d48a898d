//! What is remembered of units for people: why a job came to be, how it ended, who was to blame, when
//! the unit changed; and that a later manager still knows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use sim::{Does, World};
use units::state::{ActiveState, JobMode, JobVerb};

/// `start because Wants of t.target: done`.
fn past(w: &mut World, unit: &str) -> String {
    let id = w.id(unit);
    let Some(past) = w.engine.past(id) else {
        return String::from("nothing");
    };
    let mut text = format!("{} because {}", past.verb.as_str(), past.cause);
    if !past.cause_unit.is_empty() {
        text += &format!(" of {}", past.cause_unit);
    }
    match past.ended {
        0 => text += ": queued",
        _ => text += &format!(": {}", past.result.as_str()),
    }
    if !past.culprit.is_empty() {
        text += &format!(" by {}", past.culprit);
    }
    text
}

fn world() -> World {
    let mut w = World::new();
    w.unit("t.target", "wants a; after a");
    w.unit("a", "requires b; after b; onfailure f");
    w.unit("b", "");
    w.unit("c", "conflicts a; after a; bindsto d; after d");
    w.unit("d", "");
    w.unit("f", "");
    w
}

/// The same by the manager, and by the one that follows it.
fn told(w: &mut World, unit: &str, expected: &str) {
    assert_eq!(past(w, unit), expected);
    w.crash();
    w.settle();
    assert_eq!(past(w, unit), expected, "after a crash");
}

#[test]
fn who_wanted_it() {
    let mut w = world();
    w.start("t.target");
    told(&mut w, "t.target", "start because command: done");
    told(&mut w, "a", "start because Wants of t.target: done");
    told(&mut w, "b", "start because Requires of a.service: done");
    assert_eq!(past(&mut w, "c"), "nothing");
    w.stop("b");
    told(&mut w, "a", "stop because RequiredBy of b.service: done");
    assert_eq!(past(&mut w, "b"), "stop because command: done");
}

#[test]
fn who_was_to_blame() {
    let mut w = world();
    w.does("b").start = Does::Fails;
    w.start("t.target");
    let expected = "start because Wants of t.target: dependency by b.service";
    told(&mut w, "a", expected);
    told(&mut w, "b", "start because Requires of a.service: failed");
    told(&mut w, "f", "start because OnFailure of a.service: done");
}

#[test]
fn what_stopped_it() {
    let mut w = world();
    w.start("a");
    w.start("c");
    told(&mut w, "a", "stop because Conflicts of c.service: done");
    w.dies("d", ActiveState::Failed);
    w.settle();
    told(&mut w, "c", "stop because BoundBy of d.service: done");
}

#[test]
fn isolation_restarts_and_rolling_back() {
    let mut w = world();
    w.unit("i.target", "").allow_isolate = true;
    w.start("d");
    w.ask(JobVerb::Start, "i.target", JobMode::Isolate);
    w.settle();
    told(&mut w, "d", "stop because isolate of i.target: done");
    w.does("b").restart = Some(1000);
    w.start("b");
    w.dies("b", ActiveState::Failed);
    w.wait(2000);
    told(&mut w, "b", "start because restart: done");
    w.does("f").start = Does::Fails;
    w.atomic(&["d", "f"]);
    told(&mut w, "d", "stop because rollback: done");
}

#[test]
fn what_was_left_out() {
    let mut w = world();
    w.unit("z.target", "wants x y n; after x y");
    w.unit("x", "after y");
    w.unit("y", "after x");
    w.unit("n", "requires nothere");
    w.start("z.target");
    told(&mut w, "n", "start because unusable: canceled");
    let left = ["x", "y"].map(|unit| past(&mut w, unit));
    assert!(
        left.contains(&"start because cycle: canceled".into()),
        "{left:?}"
    );
}

#[test]
fn a_queued_job_knows_it_too() {
    let mut w = world();
    w.does("b").start = Does::Hangs;
    w.start("t.target");
    told(&mut w, "a", "start because Wants of t.target: queued");
}

#[test]
fn when_it_changed() {
    let mut w = world();
    w.does("b").start = Does::Hangs;
    w.start("b");
    let began = w.now;
    w.wait(500);
    w.finish("b", Does::Works);
    let up = w.now;
    w.wait(500);
    w.stop("b");
    let id = w.id("b");
    let times = w.engine.times(id);
    assert_eq!((times.inactive_exit, times.active_enter), (began, up));
    assert_eq!((times.active_exit, times.inactive_enter), (w.now, w.now));
    assert!(up > began && w.now > up);
}

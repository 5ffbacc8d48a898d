//! Plans: what would be done is what is done, and nothing is done by looking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use engine::{Dropped, Fate, Plan};
use sim::rng::Rng;
use sim::{Does, World, name};
use units::state::{JobMode, JobVerb};

fn plan(w: &mut World, verb: JobVerb, unit: &str) -> Plan {
    w.start("none.target");
    load(w, unit);
    w.engine
        .plan(&[name(unit)], verb, JobMode::Replace, false)
        .unwrap()
}

/// Everything the unit may need; as a start that is refused would load it.
fn load(w: &mut World, unit: &str) {
    for missing in w.engine.missing(&name(unit)) {
        w.load(missing.as_str());
        load(w, unit);
    }
    w.feed(engine::api::Input::Tick);
}

/// `start a`, those that are left out with the reason.
fn lines(w: &World, plan: &Plan) -> Vec<String> {
    let mut lines: Vec<String> = plan
        .jobs
        .iter()
        .map(|job| {
            let unit = w.engine.unit(job.unit).unwrap().name.to_string();
            let left = match job.fate {
                Fate::Left(why) => format!(" ({why:?})"),
                Fate::Joins(..) => " (joins)".into(),
                Fate::Replaces(..) => " (replaces)".into(),
                Fate::New => String::new(),
            };
            let unit = unit.replace(".service", "");
            format!("{} {unit}{left}", job.verb.as_str())
        })
        .collect();
    lines.sort();
    lines
}

fn world(units: &[(&str, &str)]) -> World {
    let mut world = World::new();
    world.unit("none.target", "");
    for (unit, text) in units {
        world.unit(unit, text);
    }
    world
}

#[test]
fn what_is_there_is_left_out_and_what_is_queued_is_joined_or_replaced() {
    let mut w = world(&[
        ("a", "requires up q; wants gone; after up q; conflicts x y"),
        ("up", ""),
        ("q", ""),
        ("x", ""),
        ("y", ""),
        ("h", ""),
    ]);
    w.unit("y", "after h");
    for unit in ["h", "q"] {
        w.does(unit).start = Does::Hangs;
    }
    for unit in ["up", "q", "x", "h", "y"] {
        w.start(unit);
    }
    w.take();
    let plan = plan(&mut w, JobVerb::Start, "a");
    assert_eq!(
        lines(&w, &plan),
        [
            "start a",
            "start gone (Unusable)",
            "start q (joins)",
            "start up (Redundant)",
            "stop x",
            "stop y (replaces)",
        ]
    );
    let a = &plan.jobs[0];
    assert!(a.needed && a.after.len() == 1, "{a:?}");
    assert!(
        w.trace.iter().all(|line| line.contains("none.target")),
        "{:?}",
        w.trace
    );
}

#[test]
fn a_cycle_is_told_and_not_logged() {
    let mut w = world(&[
        ("a", "wants b c; after b c"),
        ("b", "after c"),
        ("c", "after b"),
    ]);
    let plan = plan(&mut w, JobVerb::Start, "a");
    assert_eq!(plan.notes.len(), 1, "{:?}", plan.notes);
    assert!(
        plan.notes[0].starts_with("ordering cycle: "),
        "{:?}",
        plan.notes
    );
    let left = |job: &&engine::PlanJob| job.fate == Fate::Left(Dropped::Cycle);
    assert_eq!(plan.jobs.iter().filter(left).count(), 1);
    w.feed(engine::api::Input::Tick);
    assert!(w.logs.is_empty(), "{:?}", w.logs);
}

#[test]
fn what_would_be_refused_is() {
    let mut w = world(&[
        ("a", "requires b; conflicts b"),
        ("b", ""),
        ("x", "conflicts up"),
        ("up", ""),
    ]);
    w.start("up");
    load(&mut w, "a");
    load(&mut w, "x");
    let mut plan = |unit, atomic| {
        w.engine
            .plan(&[name(unit)], JobVerb::Start, JobMode::Replace, atomic)
    };
    assert!(plan("a", false).is_err());
    assert!(plan("x", false).is_ok());
    assert!(plan("x", true).is_err());
}

/// In random worlds of services that hang: the planned jobs are those in the queue afterwards, and
/// the planned order is the order of the queue.
#[test]
fn plans_come_true() {
    for seed in 1..400 {
        let mut rng = Rng(seed);
        let mut w = world(&[]);
        let words = [
            "requires",
            "wants",
            "after",
            "before",
            "conflicts",
            "bindsto",
            "partof",
        ];
        let count = 3 + rng.below(8);
        for i in 0..count {
            let mut text = String::new();
            for j in (0..count).filter(|j| *j != i) {
                if rng.chance(20) {
                    text += &format!("{} u{j};", words[rng.below(words.len())]);
                }
            }
            w.unit(&format!("u{i}"), &text);
            w.does(&format!("u{i}")).start = Does::Hangs;
        }
        for i in 0..count {
            w.load(&format!("u{i}"));
        }
        w.feed(engine::api::Input::Tick);
        let unit = format!("u{}", rng.below(count));
        let before = w.state();
        let plan = w
            .engine
            .plan(&[name(&unit)], JobVerb::Start, JobMode::Replace, false);
        assert_eq!(w.state(), before, "SEED={seed}");
        let taken = w.ask(JobVerb::Start, &unit, JobMode::Replace);
        assert_eq!(plan.is_ok(), taken, "SEED={seed}: {:?}", w.trace);
        let mut planned = Vec::new();
        for job in plan
            .iter()
            .flat_map(|plan| &plan.jobs)
            .filter(|job| job.fate == Fate::New)
        {
            let mut after: Vec<_> = job.after.clone();
            after.sort();
            planned.push((job.unit, job.verb, after));
        }
        let mut queued: Vec<_> = w
            .engine
            .jobs()
            .map(|job| {
                let mut after: Vec<_> = w.engine.waiting_for(job.unit).collect();
                after.sort();
                (job.unit, job.verb, after)
            })
            .collect();
        planned.sort_by_key(|job| job.0);
        queued.sort_by_key(|job| job.0);
        assert_eq!(planned, queued, "SEED={seed}");
    }
}

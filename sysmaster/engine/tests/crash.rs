//! Kill the manager between any two effects: the one that takes over comes to the same end.
//!
//! A script is run once undisturbed, which counts its effects, and then once for every one of them
//! with the manager killed just before it is carried out. What was stored until then is restored,
//! everything is loaded, the helper reports, and the script goes on. In the end the states are the
//! same, no job is left, nothing was started twice while it ran, and no promise was broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use sim::rng::Rng;
use sim::{Does, World};
use units::state::{ActiveState, JobMode, JobVerb};

/// What happens to the world, one after the other.
#[derive(Clone, Debug)]
enum Act {
    Do(JobVerb, String),
    Mode(JobVerb, String, JobMode),
    Atomic(Vec<String>),
    Dies(String, ActiveState),
    Finish(String, Does),
    Wait(u64),
    Reset(String),
}

fn act(world: &mut World, act: &Act) {
    match act {
        Act::Do(verb, unit) => {
            world.run(*verb, unit);
        }
        Act::Mode(verb, unit, mode) => {
            world.ask(*verb, unit, *mode);
            world.settle();
        }
        Act::Atomic(units) => {
            let units: Vec<_> = units.iter().map(String::as_str).collect();
            world.atomic(&units);
        }
        Act::Dies(unit, active) => {
            world.dies(unit, *active);
            world.settle();
        }
        Act::Finish(unit, how) => world.finish(unit, *how),
        Act::Wait(micros) => world.wait(*micros),
        Act::Reset(unit) => {
            // Not answered before it is done: a client whose manager died asks again.
            let before = world.crashes;
            for _ in 0..2 {
                let unit = world.id(unit);
                world.feed(engine::api::Input::ResetFailed { unit });
                if world.crashes == before {
                    break;
                }
            }
            world.settle();
        }
    }
}

fn play(make: &dyn Fn() -> World, acts: &[Act], cut: Option<usize>) -> World {
    let mut world = make();
    let all: Vec<_> = world.specs.keys().cloned().collect();
    for unit in all {
        world.load(unit.as_str());
    }
    world.cut = cut;
    for step in acts {
        act(&mut world, step);
    }
    world.check_rest();
    world
}

/// The end of a world. Where something may be rolled back, a unit that was stopped while its start was
/// about to fail is failed or inactive: that is a question of who is faster.
fn comparable(world: &World, acts: &[Act]) -> Vec<String> {
    let mut state = world.state();
    if acts.iter().any(|act| matches!(act, Act::Atomic(_))) {
        state.retain(|line| !line.ends_with(" failed"));
    }
    state
}

/// Runs it once whole, then with each cut. Answers how many cuts there were.
fn every_cut(title: &str, make: &dyn Fn() -> World, acts: &[Act]) -> usize {
    let whole = play(make, acts, None);
    assert!(
        whole.broken.is_empty(),
        "{title}: {:#?}\n{:#?}",
        whole.broken,
        whole.trace
    );
    for cut in 1..=whole.effects {
        let world = play(make, acts, Some(cut));
        let report = || {
            format!(
                "{title}, killed before effect {cut} of {}:\n{:#?}\n{:#?}\nlog {:#?}\nundisturbed {:#?}\nacts {acts:#?}",
                whole.effects, world.broken, world.trace, world.logs, whole.trace
            )
        };
        assert_eq!(
            comparable(&world, acts),
            comparable(&whole, acts),
            "{}",
            report()
        );
        assert!(world.broken.is_empty(), "{}", report());
        let claims = |world: &World| world.closed.values().any(|all_up| *all_up);
        assert!(claims(&whole) || !claims(&world), "{}", report());
        assert!(world.crashes == 1, "{title}: cut {cut} was never reached");
        for (unit, slot) in &whole.helper.slots {
            let starts = world.helper.slots.get(unit).map_or(0, |slot| slot.starts);
            // A client repeats what was not answered: a restart may come twice, and an atomic start's
            // attempt at what fails or ends at once; no start of its own.
            let repeated = acts.iter().any(|act| {
                matches!(act, Act::Atomic(_))
                    || matches!(act, Act::Do(verb, _) if *verb != JobVerb::Start)
            });
            assert!(
                starts == slot.starts || repeated,
                "{unit} started {starts} times; {}",
                report()
            );
        }
    }
    whole.effects
}

fn atomic(units: &[&str]) -> Act {
    Act::Atomic(units.iter().map(|unit| (*unit).into()).collect())
}

fn start(unit: &str) -> Act {
    Act::Do(JobVerb::Start, unit.into())
}

#[test]
fn a_boot() {
    let make = || {
        let mut w = World::new();
        w.unit(
            "default.target",
            "requires basic.target; wants a b c d e; after basic.target a b c d",
        );
        w.unit(
            "basic.target",
            "requires sysinit.target; after sysinit.target",
        );
        w.unit("sysinit.target", "wants s; after s");
        w.unit("s", "");
        w.unit("a", "requires basic.target; after basic.target");
        w.unit("b", "requires a basic.target; after a basic.target");
        w.unit("c", "requires basic.target x; after basic.target x");
        w.unit("x", "");
        w.unit("d", "after basic.target; onfailure f");
        w.unit("e", "requires nothere");
        w.unit("f", "");
        w.does("x").start = Does::Fails;
        w.does("d").start = Does::Fails;
        w.does("s").start = Does::Finishes;
        w.condition("b", engine::api::Verdict::Go);
        w
    };
    let cuts = every_cut("boot", &make, &[start("default.target")]);
    assert!(cuts > 60, "{cuts}");
}

#[test]
fn a_shutdown() {
    let make = || {
        let mut w = World::new();
        w.unit(
            "a",
            "requires b; after b; conflicts off.target; before off.target",
        );
        w.unit("b", "conflicts off.target; before off.target");
        w.unit("off.target", "requires fin; after fin");
        w.unit("fin", "");
        w
    };
    let off = Act::Mode(
        JobVerb::Start,
        "off.target".into(),
        JobMode::ReplaceIrreversibly,
    );
    every_cut("shutdown", &make, &[start("a"), off]);
}

#[test]
fn restarts_by_wish_and_by_hand() {
    let make = || {
        let mut w = World::new();
        w.unit("a", "");
        w.unit("b", "requires a; after a");
        w.unit("c", "bindsto a; after a");
        w.does("a").restart = Some(100_000);
        w
    };
    let dies = || Act::Dies("a".into(), ActiveState::Failed);
    every_cut(
        "wish",
        &make,
        &[start("b"), start("c"), dies(), Act::Wait(200_000)],
    );
    let stop = Act::Do(JobVerb::Stop, "a".into());
    every_cut(
        "stopped",
        &make,
        &[start("b"), dies(), stop, Act::Wait(200_000)],
    );
    every_cut(
        "by hand",
        &make,
        &[start("b"), Act::Do(JobVerb::Restart, "a".into())],
    );
}

#[test]
fn the_start_limit() {
    let make = || {
        let mut w = World::new();
        w.unit("a", "onfailure f");
        w.unit("f", "");
        w.does("a").restart = Some(1000);
        w.does("a").start = Does::Fails;
        w
    };
    let acts = [
        start("a"),
        Act::Wait(1_000_000),
        Act::Reset("a".into()),
        start("a"),
        Act::Wait(1_000_000),
    ];
    every_cut("limit", &make, &acts);
}

#[test]
fn a_slow_start_and_those_who_wait_for_it() {
    let make = || {
        let mut w = World::new();
        w.unit("a", "requires b; after b");
        w.unit("b", "");
        w.unit("c", "wants b; after b");
        w.does("b").start = Does::Hangs;
        w
    };
    for how in [Does::Works, Does::Fails] {
        every_cut(
            "slow",
            &make,
            &[start("a"), start("c"), Act::Finish("b".into(), how)],
        );
    }
    let stop = Act::Do(JobVerb::Stop, "b".into());
    every_cut("slow and stopped", &make, &[start("a"), stop]);
}

#[test]
fn jobs_that_are_merged_and_replaced() {
    let make = || {
        let mut w = World::new();
        w.unit("x", "");
        w.unit("a", "after x");
        w.unit("b", "requires a; after a");
        w.does("x").start = Does::Hangs;
        w
    };
    let acts = [
        start("x"),
        start("b"),
        Act::Do(JobVerb::Restart, "a".into()),
        Act::Do(JobVerb::Stop, "b".into()),
        start("b"),
        Act::Finish("x".into(), Does::Works),
    ];
    every_cut("merged", &make, &acts);
}

#[test]
fn a_start_under_way_that_becomes_a_restart_and_waits() {
    let make = || {
        let mut w = World::new();
        w.unit("a", "");
        w.unit("b", "after a");
        w.does("a").start = Does::Hangs;
        w.does("b").stop = Does::Hangs;
        w
    };
    let ignore = JobMode::IgnoreDependencies;
    let acts = [
        start("b"),
        start("a"),
        Act::Mode(JobVerb::Stop, "b".into(), ignore),
        Act::Mode(JobVerb::Stop, "b".into(), JobMode::Replace),
        Act::Do(JobVerb::Restart, "a".into()),
        Act::Finish("a".into(), Does::Works),
        Act::Finish("b".into(), Does::Works),
        Act::Finish("a".into(), Does::Works),
        Act::Finish("a".into(), Does::Works),
    ];
    every_cut("restart under way", &make, &acts);
}

#[test]
fn a_conflict() {
    let make = || {
        let mut w = World::new();
        w.unit("a", "conflicts b; after b");
        w.unit("b", "");
        w.unit("c", "partof b; after b");
        w
    };
    every_cut(
        "conflict",
        &make,
        &[start("b"), start("c"), start("a"), start("b")],
    );
}

#[test]
fn an_isolate() {
    let make = || {
        let mut w = World::new();
        w.unit("t.target", "wants a; after a").allow_isolate = true;
        w.unit("a", "");
        w.unit("b", "");
        w.unit("x", "");
        w.unit("y", "after x");
        w.does("x").start = Does::Hangs;
        w
    };
    let isolate = Act::Mode(JobVerb::Start, "t.target".into(), JobMode::Isolate);
    every_cut(
        "isolate",
        &make,
        &[start("b"), start("x"), start("y"), isolate],
    );
}

#[test]
fn an_atomic_start_that_succeeds() {
    let make = || {
        let mut w = World::new();
        w.unit("a", "requires x; after x");
        w.unit("b", "wants y; after y a");
        w.unit("c", "");
        for unit in ["x", "y"] {
            w.unit(unit, "");
        }
        w.does("c").start = Does::Finishes;
        w.does("y").start = Does::Fails;
        w
    };
    every_cut("all up", &make, &[atomic(&["a", "b", "c"])]);
}

#[test]
fn an_atomic_start_that_is_rolled_back() {
    for bad in ["a", "b", "c", "x", "z"] {
        let make = || {
            let mut w = World::new();
            w.unit("up", "");
            w.unit("a", "requires x up; after x up");
            w.unit("b", "requires a; after a");
            w.unit("c", "requires b y z; after b z; wants t.target");
            w.unit("t.target", "");
            for unit in ["x", "y", "z"] {
                w.unit(unit, "");
            }
            w.does(bad).start = Does::Fails;
            w.does("y").restart = Some(1000);
            w
        };
        let acts = [start("up"), atomic(&["c", "a"])];
        every_cut(&format!("{bad} fails"), &make, &acts);
        let world = play(&make, &acts, None);
        assert_eq!(world.state().retain_up(), ["up"], "{:#?}", world.trace);
    }
}

#[test]
fn an_atomic_start_that_loses_a_unit_on_the_way() {
    let make = || {
        let mut w = World::new();
        w.unit("a", "");
        w.unit("b", "");
        w.does("b").start = Does::Hangs;
        w
    };
    let dies = Act::Dies("a".into(), ActiveState::Failed);
    let done = Act::Finish("b".into(), Does::Works);
    every_cut("lost", &make, &[atomic(&["a", "b"]), dies, done]);
    let failed = Act::Finish("b".into(), Does::Fails);
    every_cut("late", &make, &[atomic(&["a", "b"]), failed]);
    let stop = Act::Do(JobVerb::Stop, "b".into());
    every_cut("stopped", &make, &[atomic(&["a", "b"]), stop]);
}

trait Up {
    fn retain_up(self) -> Vec<String>;
}

impl Up for Vec<String> {
    /// Names of the units that are up.
    fn retain_up(self) -> Vec<String> {
        let up = self.into_iter();
        up.filter_map(|line| line.strip_suffix(" active").map(str::to_owned))
            .collect()
    }
}

/// A random world whose end does not depend on who is faster: order goes from low to high numbers,
/// who requires also waits, nobody conflicts.
fn random(seed: u64, size: usize) -> (Box<dyn Fn() -> World>, Vec<Act>) {
    let make = move || {
        let mut rng = Rng(seed);
        let mut w = World::new();
        for i in 0..size {
            let mut text = String::new();
            for j in 0..i {
                if !rng.chance(25) {
                    continue;
                }
                let (i, j) = (unit(i), unit(j));
                let kind = rng.below(8);
                let word = [
                    "requires",
                    "wants",
                    "bindsto",
                    "partof",
                    "requisite",
                    "after",
                    "requires",
                    "wants",
                ][kind];
                text.push_str(&format!("{word} {j}; after {j};"));
                let _ = i;
            }
            w.unit(&unit(i), &text);
            let does = w.does(&unit(i));
            if rng.chance(12) {
                does.start = Does::Fails;
            } else if rng.chance(8) {
                does.start = Does::Finishes;
            }
            if rng.chance(25) {
                does.restart = Some(50_000 + rng.draw() % 100_000);
            }
        }
        w
    };
    let mut rng = Rng(seed ^ 0xabcd);
    let mut acts = Vec::new();
    for _ in 0..4 + rng.below(6) {
        let unit = unit(rng.below(size));
        let other = self::unit(rng.below(size));
        acts.push(match rng.below(11) {
            0..=3 => start(&unit),
            9..=10 => atomic(&[&unit, &other]),
            4 => Act::Do(JobVerb::Stop, unit),
            5 => Act::Do(JobVerb::Restart, unit),
            6 => Act::Dies(unit, ActiveState::Failed),
            7 => Act::Do(JobVerb::ReloadOrStart, unit),
            _ => Act::Dies(unit, ActiveState::Inactive),
        });
        // Long enough for every restart and every start limit to be over.
        acts.push(Act::Wait(60_000_000));
    }
    (Box::new(make), acts)
}

fn unit(i: usize) -> String {
    // Every third is a target.
    if i % 3 == 2 {
        format!("u{i:02}.target")
    } else {
        format!("u{i:02}")
    }
}

#[test]
fn random_worlds_with_every_cut() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60);
    let first = std::env::var("SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    let mut cuts = 0;
    for seed in first..first + seeds {
        let (make, acts) = random(seed, 5 + (seed % 9) as usize);
        cuts += every_cut(&format!("SEED={seed}"), &*make, &acts);
    }
    println!("{seeds} seeds from {first}: {cuts} cuts");
}

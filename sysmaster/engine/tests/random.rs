//! Random graphs with every kind of dependency, cycles and contradictions among them, random
//! commands in random modes, deaths, timeouts, graphs that change under running jobs, managers
//! killed anywhere. Whatever happens: no start before what goes first is done, no job without an
//! end, nothing up that is bound to something down, no unit started while it runs, the store holds
//! the queued jobs and no others, and engine and helper agree on what is up.
//!
//! `SEED=n SEEDS=m` chooses; a failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use common::{Does, Rng, World, name};
use engine::api::{Input, JobId, Verdict};
use units::state::{ActiveState, JobMode, JobVerb};

const KINDS: [&str; 16] = [
    "requires",
    "requires",
    "wants",
    "wants",
    "bindsto",
    "partof",
    "requisite",
    "conflicts",
    "before",
    "after",
    "after",
    "after",
    "onfailure",
    "propagatesreloadto",
    "propagatesstopto",
    "upholds",
];

fn unit(i: usize) -> String {
    if i % 4 == 3 {
        format!("u{i:02}.target")
    } else {
        format!("u{i:02}")
    }
}

fn declare(world: &mut World, rng: &mut Rng, i: usize, size: usize) {
    let mut text = String::new();
    for _ in 0..rng.below(5) {
        let other = unit(rng.below(size));
        let kind = KINDS[rng.below(KINDS.len())];
        text.push_str(&format!("{kind} {other};"));
        if rng.chance(50) {
            text.push_str(&format!("after {other};"));
        }
    }
    let short = unit(i);
    let spec = world.unit(&short, &text);
    spec.allow_isolate = rng.chance(30);
    spec.stop_when_unneeded = rng.chance(10);
    spec.job_timeout = rng.chance(15).then_some(3_000_000);
    let does = world.does(&short);
    does.start = match rng.below(12) {
        0 => Does::Fails,
        1 => Does::Finishes,
        2 => Does::Hangs,
        3 => Does::Skips,
        _ => Does::Works,
    };
    does.stop = if rng.chance(10) {
        Does::Hangs
    } else {
        Does::Works
    };
    does.reload = if rng.chance(20) {
        Does::Fails
    } else {
        Does::Works
    };
    does.restart = rng.chance(25).then_some(200_000);
    if rng.chance(10) {
        world.condition(
            &short,
            if rng.chance(50) {
                Verdict::Go
            } else {
                Verdict::Skip
            },
        );
    }
}

fn command(world: &mut World, rng: &mut Rng, size: usize) {
    let verb = [
        JobVerb::Start,
        JobVerb::Start,
        JobVerb::Start,
        JobVerb::Stop,
        JobVerb::Restart,
        JobVerb::Reload,
        JobVerb::TryRestart,
        JobVerb::ReloadOrStart,
        JobVerb::TryReload,
        JobVerb::VerifyActive,
    ][rng.below(10)];
    let mode = match rng.below(12) {
        0 => JobMode::Fail,
        1 => JobMode::ReplaceIrreversibly,
        2 => JobMode::Isolate,
        3 => JobMode::Flush,
        4 => JobMode::IgnoreRequirements,
        _ => JobMode::Replace,
    };
    world.ask(verb, &unit(rng.below(size)), mode);
}

/// One thing happens.
fn happen(world: &mut World, rng: &mut Rng, size: usize) {
    match rng.below(20) {
        0..=7 => command(world, rng, size),
        8..=9 => {
            let how = if rng.chance(50) {
                ActiveState::Failed
            } else {
                ActiveState::Inactive
            };
            world.dies(&unit(rng.below(size)), how);
        }
        10 => {
            let i = rng.below(size);
            declare(world, rng, i, size);
            world.load(&unit(i));
        }
        11 => world.feed(Input::Cancel {
            job: JobId(rng.next() as u32 % 50),
        }),
        12 => {
            let unit = world.id(&unit(rng.below(size)));
            world.feed(Input::ResetFailed { unit });
        }
        13 => world.sync(),
        14 => world.cut = Some(world.effects + 1 + rng.below(40)),
        15 => world.wait(500_000),
        16 => world.settle(),
        _ => {
            for _ in 0..rng.below(4) {
                world.work();
            }
        }
    }
}

/// Everything that hangs comes to an end, and time passes, until nothing moves any more.
fn calm_down(world: &mut World) {
    for round in 0..20 {
        if round == 5 {
            // Units that fail and start each other may go on for ever, in their time: no more.
            for does in world.behaviour.values_mut() {
                (does.start, does.stop, does.restart) = (Does::Works, Does::Works, None);
            }
        }
        world.settle();
        let pending: Vec<_> = world
            .engine
            .units()
            .filter(|unit| unit.pending.is_some())
            .map(|unit| unit.name.to_string())
            .collect();
        for unit in &pending {
            world.finish(unit, Does::Works);
        }
        world.wait(100_000_000);
        let jobs = world.engine.jobs().count();
        if pending.is_empty() && jobs == 0 {
            break;
        }
    }
}

fn run(seed: u64) {
    if std::env::var("SHOW").is_ok() {
        eprintln!("SEED={seed}");
    }
    let mut rng = Rng(seed);
    let size = 3 + rng.below(30);
    let mut world = World::new();
    world.rng = Some(Rng(seed ^ 0x5555));
    for i in 0..size {
        declare(&mut world, &mut rng, i, size);
    }
    for i in 0..size {
        world.load(&unit(i));
    }
    for _ in 0..60 {
        happen(&mut world, &mut rng, size);
        if !world.broken.is_empty() {
            break;
        }
    }
    world.cut = None;
    world.feed(Input::Tick);
    calm_down(&mut world);
    world.check_rest();
    let jobs: Vec<_> = world.engine.jobs().collect();
    let tail = &world.trace[world.trace.len().saturating_sub(60)..];
    assert!(
        world.broken.is_empty() && jobs.is_empty(),
        "SEED={seed}: {:#?} {jobs:#?}\n{tail:#?}\n{:#?}",
        world.broken,
        world.state()
    );
    // It can all be stopped, once nothing starts by itself any more.
    world.feed(Input::ShuttingDown);
    for i in 0..size {
        world.does(&unit(i)).stop = Does::Works;
        if !world.ask(JobVerb::Stop, &unit(i), JobMode::ReplaceIrreversibly) {
            // Units in an ordering cycle that all need each other cannot be stopped in order.
            world.ask(JobVerb::Stop, &unit(i), JobMode::IgnoreDependencies);
        }
    }
    calm_down(&mut world);
    for i in 0..size {
        let up = world.active(&unit(i)).is_up();
        assert!(
            !up,
            "SEED={seed}: {} is still up: {:#?}",
            name(&unit(i)),
            world.trace
        );
    }
}

#[test]
fn random_worlds_keep_every_promise() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1500);
    let first = std::env::var("SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    for seed in first..first + seeds {
        run(seed);
    }
}

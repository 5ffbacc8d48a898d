//! What a transaction costs: linear in units and edges, ten thousand units in milliseconds.
//!
//! `cargo test --release --test cost -- --ignored --nocapture` prints times; the test that always
//! runs compares sizes, so that it does not depend on the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use engine::api::{Backing, Effect, Input, Ticket};
use engine::{Config, Engine};
use std::time::{Duration, Instant};
use units::name::UnitName;
use units::spec::{DepKind, LoadState, UnitSpec};
use units::state::{JobMode, JobVerb};

fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

/// `n` services with default dependencies, wanted by a target that comes after them; every tenth
/// comes after its predecessor.
fn engine(n: usize) -> Engine {
    let mut engine = Engine::new(Config {
        epoch: 1,
        max_jobs: 1_000_000,
    });
    let mut load = |spec: UnitSpec, backing| {
        let input = Input::Loaded {
            spec: Box::new(spec),
            backing,
        };
        engine.step(0, input, &mut || 1, &mut Vec::new());
    };
    let loaded = |text: &str| {
        let mut spec = UnitSpec::new(name(text));
        spec.load = LoadState::Loaded;
        spec
    };
    let mut all = loaded("all.target");
    for target in ["sysinit.target", "basic.target", "shutdown.target"] {
        load(loaded(target), Backing::Engine);
    }
    for i in 0..n {
        let mut spec = loaded(&format!("s{i}.service"));
        spec.add_dep(DepKind::Requires, name("sysinit.target"));
        spec.add_dep(DepKind::After, name("sysinit.target"));
        spec.add_dep(DepKind::After, name("basic.target"));
        spec.add_dep(DepKind::Conflicts, name("shutdown.target"));
        spec.add_dep(DepKind::Before, name("shutdown.target"));
        if i % 10 != 0 {
            let before = name(&format!("s{}.service", i - 1));
            spec.add_dep(DepKind::Requires, before.clone());
            spec.add_dep(DepKind::After, before);
        }
        all.add_dep(DepKind::Wants, spec.id.clone());
        all.add_dep(DepKind::After, spec.id.clone());
        load(spec, Backing::Helper);
    }
    load(all, Backing::Engine);
    // The first input that is no Loaded puts the edges in order: not part of a transaction.
    engine.step(0, Input::Tick, &mut || 1, &mut Vec::new());
    engine
}

fn transaction(engine: &mut Engine) -> (Duration, usize) {
    let mut effects = Vec::new();
    let input = Input::Enqueue {
        ticket: Ticket(1),
        unit: name("all.target"),
        verb: JobVerb::Start,
        mode: JobMode::Replace,
    };
    let start = Instant::now();
    engine.step(1, input, &mut || 1, &mut effects);
    let time = start.elapsed();
    let queued = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Queued { .. }));
    assert!(queued);
    (time, effects.len())
}

fn best(n: usize) -> (Duration, usize) {
    (0..5).map(|_| transaction(&mut engine(n))).min().unwrap()
}

#[test]
fn a_transaction_is_linear() {
    let (small, _) = best(2_000);
    let (large, effects) = best(20_000);
    assert!(effects > 20_000);
    let factor = large.as_secs_f64() / small.as_secs_f64();
    assert!(
        factor < 30.0,
        "ten times the units cost {factor:.1} times: {small:?}, {large:?}"
    );
}

#[test]
#[ignore = "prints times"]
fn times() {
    for n in [1_000, 10_000, 100_000] {
        let (time, effects) = best(n);
        println!("{n} units: {time:?}, {effects} effects");
    }
}

/// For instruction counts: `perf stat -e instructions:u`, with and without `ONLY_BUILD=1`.
#[test]
#[ignore = "run under perf"]
fn ten_thousand() {
    let n = std::env::var("UNITS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    let mut engine = engine(n);
    if std::env::var("ONLY_BUILD").is_err() {
        transaction(&mut engine);
    }
    // Not freed: only the transaction is to be counted.
    std::mem::forget(engine);
}

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

mod graphs;

use engine::Engine;
use engine::api::{Effect, Input, Ticket};
use graphs::{Shape, build, name};
use std::time::{Duration, Instant};
use units::state::{JobMode, JobVerb};

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
    (0..5)
        .map(|_| transaction(&mut build(n, Shape::Chain)))
        .min()
        .unwrap()
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
    let mut engine = build(n, Shape::Chain);
    if std::env::var("ONLY_BUILD").is_err() {
        transaction(&mut engine);
    }
    // Not freed: only the transaction is to be counted.
    std::mem::forget(engine);
}

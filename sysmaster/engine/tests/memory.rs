//! What the engine costs in memory, and what it allocates when one unit of many changes.
//!
//! `cargo test -p engine --test memory -- --nocapture` prints the table that stands in the crate's
//! documentation. The bounds asserted here are a little above it: who breaks one adds bytes to each
//! unit of every board.
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
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use units::state::{JobMode, JobVerb};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are held more when `make` has run than before, and what it made.
fn held<T>(make: impl FnOnce() -> T) -> (usize, T) {
    let region = Region::new(ALLOCATOR);
    let made = make();
    let change = region.change();
    (change.bytes_allocated - change.bytes_deallocated, made)
}

fn enqueue(engine: &mut Engine, unit: &str, verb: JobVerb) -> Vec<Effect> {
    let input = Input::Enqueue {
        ticket: Ticket(1),
        unit: name(unit),
        verb,
        mode: JobMode::Replace,
    };
    let mut effects = Vec::new();
    engine.step(1, input, &mut || 1, &mut effects);
    effects
}

/// One test, since the allocator counts for all threads.
#[test]
fn bytes_per_unit_and_per_job() {
    // Just below a power of two: the arrays, which grow by doubling, are full.
    const N: usize = 16_380;
    println!("{:<50} {:>8}", "bytes for each", "bytes");
    let row = |what: &str, bytes: usize, most: usize| {
        println!("{what:<50} {bytes:>8}");
        assert!(bytes <= most, "{what}: {bytes} bytes, at most {most}");
    };
    let per = |bytes: usize| bytes.div_ceil(N);
    let (bare, _) = held(|| build(N, Shape::Bare));
    row("unit without dependencies, name included", per(bare), 310);
    let (service, mut engine) = held(|| build(N, Shape::Service));
    row("service with default dependencies", per(service), 440);
    let (chain, _) = held(|| build(N, Shape::Chain));
    row("the same, after and requiring another one", per(chain), 505);
    let (job, ()) = held(|| drop(enqueue(&mut engine, "all.target", JobVerb::Start)));
    row("queued job, with what its transaction keeps", per(job), 300);

    // One unit of many: what it allocates has nothing to do with the others.
    let mut engine = build(N, Shape::Service);
    let _ = enqueue(&mut engine, "s1.service", JobVerb::Start);
    let region = Region::new(ALLOCATOR);
    for verb in [JobVerb::Start, JobVerb::Stop, JobVerb::Start] {
        drop(enqueue(&mut engine, "s2.service", verb));
    }
    let change = region.change();
    let bytes = change.bytes_allocated + change.bytes_reallocated.unsigned_abs();
    row(
        "three jobs of one unit among sixteen thousand",
        bytes,
        16_384,
    );
}

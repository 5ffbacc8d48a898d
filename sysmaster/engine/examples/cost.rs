//! What transactions cost: prints `BENCH name value` lines, in nanoseconds, for the benchmarks.
//!
//! Where a nanosecond is an instruction (QEMU with `-icount shift=0`) the figures are exact; elsewhere
//! they are what the machine makes of them. `cost once N` runs one transaction of N units, for a
//! profiler; `cost build N` only builds the graph.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

// As the manager has it.
platform::use_heap!();

#[path = "../tests/graphs/mod.rs"]
mod graphs;

use engine::Engine;
use engine::api::{Effect, Input, Ticket};
use graphs::{Shape, build, name};
use std::time::{Duration, Instant};
use units::state::{JobMode, JobVerb};

/// Starts the target that wants all units. How long that takes, and how many effects it has.
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
    let queued = |effect: &Effect| matches!(effect, Effect::Queued { .. });
    assert!(effects.iter().any(queued));
    (time, effects.len())
}

/// A job of one unit among many.
fn one_job(engine: &mut Engine) -> Duration {
    let input = Input::Enqueue {
        ticket: Ticket(1),
        unit: name("s7.service"),
        verb: JobVerb::Start,
        mode: JobMode::Replace,
    };
    let start = Instant::now();
    engine.step(1, input, &mut || 1, &mut Vec::new());
    start.elapsed()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, n] = &arguments[..] {
        let mut engine = build(n.parse().unwrap(), Shape::Chain);
        if what == "once" {
            println!("{:?}", transaction(&mut engine));
        }
        // Not freed: only the transaction is to be counted.
        return std::mem::forget(engine);
    }
    if std::process::id() == 1 {
        // Until the kernel has nothing left to do of its own, which would be counted as well.
        std::thread::sleep(Duration::from_secs(10));
    }
    for (word, n) in [("1k", 1_000), ("10k", 10_000), ("100k", 100_000)] {
        let mut engine = build(n, Shape::Chain);
        let (time, effects) = transaction(&mut engine);
        assert!(effects > n);
        println!("BENCH transaction_{word} {}", time.as_nanos());
    }
    let mut engine = build(10_000, Shape::Service);
    println!("BENCH one_job {}", one_job(&mut engine).as_nanos());
    println!("BENCH end 1");
}

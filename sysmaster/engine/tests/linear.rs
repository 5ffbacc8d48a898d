//! A transaction is linear in units and edges.
//!
//! Twenty thousand units at once may cost three times what they cost in ten transactions of two
//! thousand, not ten times: caches and allocators have their say, a quadratic rule is found. What is
//! compared is this thread's own time on a processor, so that a busy machine changes nothing (some
//! kernels count it in ticks, hence so many units); `make bench` counts instructions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod graphs;

use engine::api::{Effect, Input, Ticket};
use graphs::{Shape, build, name};
use units::state::{JobMode, JobVerb};

/// Nanoseconds this thread has run so far; `None` where the kernel does not count them.
fn on_a_processor() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// What it costs to start everything in this many engines, one after the other.
fn cost(engines: usize, units: usize) -> Option<u64> {
    let mut sum = 0;
    for _ in 0..engines {
        let mut engine = build(units, Shape::Chain);
        let mut effects = Vec::new();
        let input = Input::Enqueue {
            ticket: Ticket(1),
            unit: name("all.target"),
            verb: JobVerb::Start,
            mode: JobMode::Replace,
        };
        let before = on_a_processor()?;
        engine.step(1, input, &mut || 1, &mut effects);
        sum += on_a_processor()? - before;
        let queued = |effect: &Effect| matches!(effect, Effect::Queued { job: Some(_), .. });
        assert!(effects.iter().any(queued) && effects.len() > units);
    }
    Some(sum)
}

#[test]
fn a_transaction_is_linear() {
    let (Some(small), Some(large)) = (cost(50, 2_000), cost(5, 20_000)) else {
        println!("skipped: this kernel does not tell how long a thread has run");
        return;
    };
    let factor = large as f64 / small.max(1) as f64;
    println!("at once {factor:.1} times what it costs in tenths: {large} ns, {small} ns");
    assert!(factor < 3.0, "{factor:.1}: {large} ns, {small} ns");
}

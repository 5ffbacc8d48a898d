//! Prints what one record costs in processor time, amortised with compaction, and what the worst
//! single one took (on a busy machine that is the machine, not the store: the smallest worst of
//! several rounds is printed).
#![allow(clippy::unwrap_used)]
use platform::memory::Memory;
use platform::{kernel, process};
use std::path::Path;
use std::time::Instant;
use units::store::Store;

const ROUNDS: u64 = 2_000_000;

fn main() {
    for (live, size) in [(50u64, 100usize), (500, 100), (10_000, 100)] {
        let memory = Memory::create(c"bench", 64 << 10, Path::new("/tmp")).unwrap();
        let mut store = Store::create(memory, 64 << 20).unwrap();
        let payload = vec![7u8; size];
        let mut put = |round: u64| store.put(1, 0, (round * 7919) % live, &payload).unwrap();
        (0..live).for_each(&mut put);
        let before = process::status(process::own_pid()).unwrap().cpu;
        (0..ROUNDS).for_each(&mut put);
        let ticks = process::status(process::own_pid()).unwrap().cpu - before;
        let each = ticks * 1_000_000_000 / kernel::ticks_per_second() / ROUNDS;
        let worst = (0..20).map(|_| {
            let one = |round| {
                let began = Instant::now();
                put(round);
                began.elapsed().as_micros()
            };
            (0..live * 8).map(one).max().unwrap_or(0)
        });
        let worst = worst.min().unwrap_or(0);
        let bytes = store.memory().length();
        println!(
            "{live} live records of {size} bytes: {each} ns each, worst {worst} us, {bytes} bytes"
        );
    }
}

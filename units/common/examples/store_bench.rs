//! What one record in a store costs: prints `BENCH name value` lines for the benchmarks, in nanoseconds, which are
//! instructions where time is counted so (QEMU with `-icount shift=0`): amortised with compaction, and the worst
//! single one. (On a busy machine the worst is the machine's: the smallest of several rounds is taken.)
#![allow(clippy::unwrap_used)]
use platform::memory::Memory;
use std::path::Path;
use std::time::Instant;
use units::store::Store;

const ROUNDS: u64 = 200_000;
const SIZE: usize = 100;

fn main() {
    for live in [50, 500, 10_000] {
        let memory = Memory::create(c"bench", 64 << 10, Path::new("/tmp")).unwrap();
        let mut store = Store::create(memory, 64 << 20).unwrap();
        let payload = [7; SIZE];
        let mut put = |round: u64| store.put(1, 0, (round * 7919) % live, &payload).unwrap();
        (0..live).for_each(&mut put);
        let began = Instant::now();
        (0..ROUNDS).for_each(&mut put);
        let each = began.elapsed().as_nanos() / u128::from(ROUNDS);
        let worst = (0..5).map(|_| {
            let one = |round| {
                let began = Instant::now();
                put(round);
                began.elapsed().as_nanos()
            };
            (0..live * 8).map(one).max().unwrap_or(0)
        });
        println!("BENCH each_{live} {each}");
        println!("BENCH worst_{live} {}", worst.min().unwrap_or(0));
        println!("BENCH bytes_{live} {}", store.memory().length());
    }
    println!("BENCH end 1");
}

//! Each target with its seeds, and with random changes of them: what CI runs of the fuzzing.
//!
//! `SEED=7 ROUNDS=100000 cargo test -p formats --test short NAME` does other ones, or more of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use fastrand::Rng;
use formats::{TARGETS, change, find, seeds};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn short(name: &str) {
    let target = find(name).expect("a target");
    let inputs = seeds::of(name);
    assert!(
        !inputs.is_empty(),
        "{} has no input",
        seeds::file(name).display()
    );
    let seed = number("SEED").unwrap_or(1);
    println!("seed {seed}");
    for input in &inputs {
        run(target.run, name, input);
    }
    let mut rng = Rng::with_seed(seed);
    for _ in 0..number("ROUNDS").unwrap_or(u64::from(target.rounds)) {
        let input = &inputs[rng.usize(0..inputs.len())];
        let input = change::changed(&mut rng, input, &inputs);
        run(target.run, name, &input);
    }
}

/// Says which input it was, as a line of the seeds.
fn run(target: fn(&[u8]), name: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        panic!(
            "{name} broke a promise; the input, to be added to {}:\n{}",
            seeds::file(name).display(),
            seeds::escape(input)
        );
    }
}

macro_rules! targets {
    ($($test:ident $name:literal)*) => {
        $(#[test] fn $test() { short($name); })*

        #[test]
        fn none_is_forgotten() {
            let here = [$($name),*];
            assert!(TARGETS.iter().map(|target| target.name).eq(here));
        }
    };
}

targets! {
    unit_file "unit-file"
    command_line "command-line"
    values "values"
    names "names"
    settings "settings"
    mount_table "mount-table"
    generate "generate"
    verify "verify"
    to_helper "to-helper"
    from_helper "from-helper"
    request "request"
    reply "reply"
    from_init "from-init"
    to_init "to-init"
    init_image "init-image"
    init_options "init-options"
    notify "notify"
    life "life"
    store "store"
    records "records"
    slots "slots"
    control "control"
    recovery "recovery"
}

//! Cases that once failed, and a few seeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sim::{Case, generate, play};

#[test]
fn cases_that_failed_once_do_not_fail_again() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let case: Case = text.parse().unwrap();
        let run = play(&case);
        assert!(run.broken.is_empty(), "{path:?}: {:#?}", run.broken);
    }
}

#[test]
fn a_case_is_what_it_says() {
    for seed in 1..9 {
        let case = generate::case(seed);
        let again: Case = case.to_string().parse().unwrap();
        assert_eq!(again, case, "SEED={seed}");
    }
}

#[test]
fn a_seed_plays_the_same_each_time_with_a_crash_in_it() {
    for seed in 1..5 {
        let (first, second) = (play(&generate::case(seed)), play(&generate::case(seed)));
        assert_eq!(first, second, "SEED={seed}");
        assert!(first.crashes > 0, "SEED={seed}");
    }
}

//! The faults planted in the engine, and in how many seeds each is found.

use crate::{generate, play, series};
use engine::mutants::switch;

/// Seeds within which each fault must be found.
const WITHIN: u64 = 400;

/// What each fault is. The numbers are those of `mutant!` in the engine.
const MUTANTS: [(u32, &str); 36] = [
    (1, "BindsTo= pulls nothing in"),
    (2, "Conflicts= stops nothing"),
    (3, "of two units that stop, the former goes first"),
    (4, "JobTimeoutSec= is forgotten"),
    (5, "JobRunningTimeoutSec= is forgotten"),
    (6, "a command is not recorded before it is given"),
    (7, "a start by hand does not reset the count of restarts"),
    (8, "a stop is merged with a start"),
    (9, "a job counts one blocker too many"),
    (10, "a failed start takes nothing along"),
    (11, "a restart does not wait for its delay"),
    (12, "a transaction is committed before its jobs are stored"),
    (13, "units are recorded after what others see"),
    (14, "the record of a job that was replaced stays"),
    (15, "a command is repeated under another sequence"),
    (16, "a unit starts though what it is bound to is not up"),
    (17, "a unit stays though what it is bound to is down"),
    (18, "one start more than the limit allows"),
    (19, "PartOf= does not stop"),
    (20, "the shutdown is no obstacle to new jobs"),
    (21, "a job whose time is over goes on"),
    (22, "a recovered manager forgets restarts that are due"),
    (23, "a transaction that was cut off is not rolled back"),
    (24, "a report older than the command is believed"),
    (25, "OnFailure= is not followed"),
    (26, "a reload is not propagated"),
    (27, "the order is not counted again after a reload"),
    (28, "a stop that fails is tried again a thousand times"),
    (32, "what a unit's end means is told after it is recorded"),
    (33, "SuccessAction= is not followed"),
    (34, "mode triggering leaves the triggers"),
    (35, "mode restart-dependencies restarts nothing"),
    (36, "JobTimeoutAction= is not followed"),
    (
        37,
        "an atomic start that fails stops what another one that succeeded had started",
    ),
    (
        38,
        "an atomic start whose job is gone after a recovery goes on for ever",
    ),
    (39, "what a machine is suspended counts"),
];

/// Tries each. Whether all were found.
pub fn all(first: u64) -> bool {
    let mut failed = 0;
    for (number, what) in MUTANTS {
        switch(number);
        let (_, seed) = series::seeds(first..first + WITHIN, None, series::threads());
        let found = seed.and_then(|seed| {
            let run = play(&generate::case(seed));
            run.promise().map(|promise| (seed, promise.to_string()))
        });
        switch(0);
        match found {
            Some((seed, promise)) => {
                let seeds = seed - first + 1;
                println!("{number:>3} {what}: in {seeds} seeds, as “{promise}”");
            }
            None => {
                failed += 1;
                println!("{number:>3} {what}: not found in {WITHIN} seeds");
            }
        }
    }
    println!("{} passed, {failed} failed", MUTANTS.len() - failed);
    failed == 0
}

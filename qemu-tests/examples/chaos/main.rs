//! The chaos suite: a machine under load whose manager and helpers are killed, stopped, continued and
//! slowed at random instants, and a count of everybody who noticed.
//!
//! ```text
//! chaos [--duration SECONDS] [--seed NUMBER] [--without SAFEGUARD | --prove]
//! ```
//!
//! | Module | Is |
//! |---|---|
//! | [`workload`] | what runs in the machine: units whose every step leaves a mark |
//! | [`load`] | what is asked of it meanwhile: starts, stops, reloads, connections, deaths of services |
//! | [`versions`] | good and bad versions of ours that are tried meanwhile |
//! | [`storm`] | what is done to our processes, and how long until everything is managed again |
//! | [`audit`] | what the marks say afterwards |
//! | [`tally`] | what is counted |
//!
//! Everything counted must be zero; how long it took until everything was managed is given as median, 99th
//! percentile and maximum. `--without` leaves out one safeguard of ours (a debug build can), `--prove` each of
//! them in turn: the counter it is to keep at zero must move then, so that a zero is worth something.
//!
//! The seed decides the blows and the load. Instants are the machine's, so a seed repeats the kind of run, not
//! the run.
#![allow(clippy::panic, clippy::expect_used)]

mod audit;
mod load;
mod random;
mod storm;
mod tally;
mod versions;
mod workload;

use qemu_tests::Setup;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tally::{Count, Tally};

/// What can be left out, and what notices.
const SAFEGUARDS: &[(&str, &[Count])] = &[
    ("records", &[Count::JobsLost, Count::Disturbed]),
    ("journal", &[Count::Disturbed, Count::Doubles]),
    ("slots", &[Count::Twice, Count::Doubles]),
    ("exits", &[Count::Unseen]),
    ("keeping", &[Count::Refused]),
    ("notify-sockets", &[Count::NotificationsLost]),
    ("deposits", &[Count::DescriptorsLost]),
];

/// A proof is looked for so often, for so long each time, before it counts as failed.
const PROOFS: u64 = 4;
const PROOF: Duration = Duration::from_secs(15);

struct Options {
    duration: Duration,
    seed: u64,
    without: Option<String>,
    prove: bool,
}

fn options() -> Result<Options, String> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut options = Options {
        duration: Duration::from_secs(40),
        seed: clock.map_or(1, |now| now.as_nanos() as u64 % 1_000_000),
        without: None,
        prove: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--prove" {
            options.prove = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word}: a value is missing"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{word} {value}: not a number"))
        };
        match word.as_str() {
            "--duration" => options.duration = Duration::from_secs(number()?),
            "--seed" => options.seed = number()?,
            "--without" => options.without = Some(value.clone()),
            _ => {
                return Err(format!(
                    "{word}: unknown; see the head of qemu-tests/examples/chaos/main.rs"
                ));
            }
        }
    }
    Ok(options)
}

/// One machine's life. It ends early when one of `until` is no longer zero.
fn run(seed: u64, duration: Duration, without: Option<&str>, until: &[Count]) -> Option<Tally> {
    let mut setup = Setup::new()?;
    if let Some(safeguard) = without {
        setup.environment("SYSMASTER_WITHOUT", safeguard);
    }
    setup.environment("SYSMASTER_BOUNDARIES", "/boundaries");
    setup.environment("SYSMASTER_FAULT", "forked:kill");
    setup.environment("SYSMASTER_FAULT_ONCE", storm::AT_A_FORK);
    workload::lay_out(&setup);
    let machine = setup.strip().boot();
    workload::wait_up(&machine);
    let before = audit::steady(&machine);
    let tally = Tally::default();
    let over = AtomicBool::new(false);
    let end = Instant::now() + duration;
    let enough = || until.iter().any(|count| tally.get(*count) > 0);
    let expected = std::thread::scope(|scope| {
        let asked = load::begin(scope, &machine, seed, &tally, &over);
        storm::rage(&machine, seed, &tally, || Instant::now() >= end || enough());
        over.store(true, Ordering::SeqCst);
        let ended = asked
            .into_iter()
            .map(|thread| thread.join().expect("the load goes on"));
        ended.collect::<Vec<_>>()
    });
    audit::look(&machine, &before, &expected, &tally, enough);
    if tally.failed() && without.is_none() {
        println!("---- console ----\n{}\n----", machine.console());
    }
    Some(tally)
}

/// Each safeguard left out in turn. Returns how many were not missed.
fn prove(seed: u64) -> Option<usize> {
    let mut unproven = 0;
    for (safeguard, counts) in SAFEGUARDS {
        let began = Instant::now();
        let (mut seen, mut moved) = (false, Vec::new());
        for round in 0..PROOFS {
            let tally = run(seed + round, PROOF, Some(safeguard), counts)?;
            seen = counts.iter().any(|count| tally.get(*count) > 0);
            moved = tally.moved();
            if seen {
                break;
            }
        }
        unproven += usize::from(!seen);
        let verdict = if seen { "noticed" } else { "NOT NOTICED" };
        println!(
            "without {safeguard}: {verdict} after {} s: {}",
            began.elapsed().as_secs(),
            moved.join(", ")
        );
    }
    Some(unproven)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("chaos: {why}");
            return ExitCode::from(2);
        }
    };
    let seed = options.seed;
    println!("chaos: seed {seed}");
    let failed = if options.prove {
        prove(seed).map(|unproven| unproven > 0)
    } else {
        run(seed, options.duration, options.without.as_deref(), &[]).map(|tally| {
            tally.print();
            tally.failed()
        })
    };
    match failed {
        None | Some(false) => ExitCode::SUCCESS,
        Some(true) => {
            println!("chaos: seed {seed} failed");
            ExitCode::FAILURE
        }
    }
}

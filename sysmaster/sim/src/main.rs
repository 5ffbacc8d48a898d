//! `sim [--seed FIRST] [--seeds N] [--seconds T] [--threads N] [CASE…]`: plays random cases, or those of files.
//!
//! Exit code 0: every promise was kept; 1: one was broken, and the smallest case found that breaks it
//! was printed and written to `target/sim/`; 2: it was called in a way it does not know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sim::series::{self, Tally};
use sim::{Case, generate, play, shrink};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs spent on making a case small.
const SHRINKING: usize = 3000;

struct Options {
    seed: u64,
    seeds: u64,
    seconds: Option<u64>,
    threads: Option<usize>,
    cases: Vec<String>,
    mutants: bool,
}

fn options() -> Option<Options> {
    let mut options = Options {
        seed: 1,
        seeds: 1000,
        seconds: None,
        threads: None,
        cases: Vec::new(),
        mutants: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|word| word.parse::<u64>().ok());
        match arg.as_str() {
            "--seed" => options.seed = number()?,
            "--seeds" => options.seeds = number()?,
            "--seconds" => options.seconds = Some(number()?),
            "--threads" => options.threads = Some(number()?.clamp(1, 1024) as usize),
            "--mutants" => options.mutants = true,
            _ if arg.starts_with('-') => return None,
            _ => options.cases.push(arg),
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("sim [--seed FIRST] [--seeds N] [--seconds T] [--threads N] [--mutants] [CASE…]");
        return ExitCode::from(2);
    };
    // What is a broken promise is told as one.
    std::panic::set_hook(Box::new(|_| {}));
    if options.mutants {
        return mutants(&options);
    }
    if !options.cases.is_empty() {
        return files(&options.cases);
    }
    seeds(&options)
}

#[cfg(feature = "mutants")]
fn mutants(options: &Options) -> ExitCode {
    ExitCode::from(u8::from(!sim::mutants::all(options.seed)))
}

#[cfg(not(feature = "mutants"))]
fn mutants(_: &Options) -> ExitCode {
    eprintln!("sim: built without the mutants: make sim-mutants");
    ExitCode::from(2)
}

fn files(paths: &[String]) -> ExitCode {
    let mut failed = 0;
    for path in paths {
        let text = std::fs::read_to_string(path);
        let case = text
            .map_err(|error| error.to_string())
            .and_then(|text| text.parse::<Case>());
        match case {
            Ok(case) => {
                let run = play(&case);
                failed += u32::from(!run.broken.is_empty());
                println!("{path}: {} effects, {} crashes", run.effects, run.crashes);
                if std::env::var_os("SHOW").is_some() {
                    run.tail.iter().for_each(|line| println!("  {line}"));
                }
                show(&run);
            }
            Err(why) => {
                failed += 1;
                println!("{path}: {why}");
            }
        }
    }
    println!("{} passed, {failed} failed", paths.len() as u32 - failed);
    ExitCode::from(u8::from(failed != 0))
}

fn show(run: &sim::Run) {
    if !run.broken.is_empty() {
        run.tail.iter().for_each(|line| println!("  {line}"));
        run.broken
            .iter()
            .for_each(|line| println!("broken: {line}"));
    }
}

fn seeds(options: &Options) -> ExitCode {
    let since = Instant::now();
    let until = options
        .seconds
        .map(|seconds| since + Duration::from_secs(seconds));
    let (first, end) = (options.seed, options.seed.saturating_add(options.seeds));
    let threads = options.threads.unwrap_or_else(series::threads);
    let (tally, failed) = series::seeds(first..end, until, threads);
    if let Some(seed) = failed {
        let case = generate::case(seed);
        return report(seed, &case, &play(&case));
    }
    let Tally {
        played,
        effects,
        crashes,
    } = tally;
    let time = since.elapsed().as_secs_f64();
    println!(
        "seeds {first}..{}: {played} runs, {effects} effects, {crashes} crashes, {time:.1} s",
        first + played
    );
    println!("{played} passed, 0 failed");
    ExitCode::SUCCESS
}

fn report(seed: u64, case: &Case, run: &sim::Run) -> ExitCode {
    let lines = case.lines.len();
    println!("SEED={seed}: {}", run.broken.join("\n"));
    let small = shrink::shrink(case, SHRINKING);
    let run = play(&small);
    println!("{lines} lines, of which {} matter:\n", small.lines.len());
    let what = run.broken.first().cloned().unwrap_or_default();
    let text = format!("# SEED={seed}\n# {what}\n{small}");
    println!("{text}");
    show(&run);
    let path = format!("target/sim/{seed}.case");
    let written = std::fs::create_dir_all("target/sim").and_then(|()| std::fs::write(&path, text));
    match written {
        Ok(()) => println!("make sim CASE={path} plays it again"),
        Err(error) => println!("{path}: {error}"),
    }
    println!("0 passed, 1 failed");
    ExitCode::FAILURE
}

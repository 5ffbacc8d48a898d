//! What is done to our processes.

use crate::random::Random;
use crate::tally::{Count, Tally};
use qemu_tests::machine::poll;
use qemu_tests::{Machine, Proc};
use std::process::Command;
use std::time::{Duration, Instant};

const KILL: i32 = 9;
const STOP: i32 = 19;
const CONT: i32 = 18;

/// While this file is there, the service helper dies when it has made a process and not recorded it; the file is
/// gone then.
pub const AT_A_FORK: &str = "/at-a-fork";

/// How long everything may be unmanaged before that is a fault of its own.
const LONGEST: Duration = Duration::from_secs(20);

/// Blows, and a look at how long they were felt, until it is over.
pub fn rage(machine: &Machine, seed: u64, tally: &Tally, over: impl Fn() -> bool) {
    let mut random = Random::new(seed, 1);
    while !over() {
        random.pause(50, 700);
        let (struck, said) = (Instant::now(), machine.console().len());
        let mut round = Round::default();
        blow(machine, &mut random, tally, &mut round);
        while random.percent(30) {
            random.pause(0, 60);
            blow(machine, &mut random, tally, &mut round);
        }
        let gone = &round.gone;
        let began = Instant::now();
        match poll(LONGEST, || (over() || managed(machine, gone)).then_some(())) {
            Some(()) => {
                let (time, blows) = (began.elapsed(), round.kinds.join(", "));
                if !tally.managed_after(time, struck, &blows) {
                    println!("{}", machine.console().get(said..).unwrap_or_default());
                }
            }
            None => {
                let status = machine.sctl(&["--timeout=2", "status"]);
                tally.add(
                    Count::Unmanaged,
                    &format!("after blows at {gone:?}: {status:?}"),
                );
            }
        }
    }
}

/// What was done before the next look.
#[derive(Default)]
struct Round {
    kinds: Vec<&'static str>,
    /// Those that must be gone for it.
    gone: Vec<Proc>,
}

impl Round {
    fn did(&mut self, tally: &Tally, kind: &'static str, times: usize) {
        tally.did(kind, times);
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
    }
}

/// Everybody there is, except init.
fn everybody(machine: &Machine) -> [Option<Proc>; 3] {
    [
        machine.manager(),
        machine.helper_of("service"),
        machine.helper_of("socket"),
    ]
}

/// One thing done to one subset.
fn blow(machine: &Machine, random: &mut Random, tally: &Tally, round: &mut Round) {
    let subset = 1 + random.below(7);
    let chosen = everybody(machine)
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| subset >> bit & 1 == 1);
    let victims: Vec<Proc> = chosen.filter_map(|(_, one)| one).collect();
    let all = |signal| victims.iter().for_each(|one| one.signal(signal));
    match random.below(100) {
        0..25 => at_an_effect(machine, random, tally, round, subset),
        25..50 => {
            round.did(tally, "kills", victims.len());
            all(KILL);
            round.gone.extend(victims);
        }
        50..70 => {
            round.did(tally, "stops", victims.len());
            all(STOP);
            round.gone.extend(victims);
        }
        70..80 => {
            round.did(tally, "stops and continues", victims.len());
            all(STOP);
            random.pause(0, 250);
            all(CONT);
        }
        80..90 => {
            round.did(tally, "bursts of stops", victims.len());
            for _ in 0..5 {
                all(STOP);
                random.pause(0, 5);
                all(CONT);
                random.pause(0, 5);
            }
        }
        _ => {
            round.did(tally, "slowed", victims.len());
            victims.iter().for_each(|one| schedule(one, "--idle"));
            random.pause(50, 400);
            victims.iter().for_each(|one| schedule(one, "--other"));
        }
    }
}

/// They die by themselves, each at one of the next things it does: between two that a signal from outside hardly
/// ever comes between. (Builds without fault points live on.)
fn at_an_effect(
    machine: &Machine,
    random: &mut Random,
    tally: &Tally,
    round: &mut Round,
    subset: u64,
) {
    let programs = ["sysmaster", "service", "socket"].into_iter().enumerate();
    for (_, program) in programs.filter(|(bit, _)| subset >> bit & 1 == 1) {
        round.did(tally, "deaths at an effect", 1);
        let path = machine.path(&format!("boundaries/{program}"));
        let _ = std::fs::write(path, (1 + random.below(60)).to_string());
    }
    if random.percent(40) {
        tally.did("deaths at a fork", 1);
        let _ = std::fs::write(machine.path(AT_A_FORK.trim_start_matches('/')), "");
    }
    random.pause(50, 400);
}

/// Processor time when nobody else wants it, or as usual.
fn schedule(one: &Proc, policy: &str) {
    let _ = Command::new("chrt")
        .args([policy, "--pid", "0", &one.pid.to_string()])
        .output();
}

/// Those that were to go are gone, everybody is there, and the manager is in contact with them.
fn managed(machine: &Machine, gone: &[Proc]) -> bool {
    if gone.iter().any(Proc::is_alive) || everybody(machine).iter().any(Option::is_none) {
        return false;
    }
    let status = machine.sctl(&["status"]).out;
    status.contains("socket (pid")
        && status.contains("service (pid")
        && !status.contains("out of contact")
}

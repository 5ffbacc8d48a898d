//! What is asked of the machine while its managers die. Each thread asks one thing at a time and knows what
//! must come of it.

use crate::random::Random;
use crate::tally::{Count, Tally};
use crate::versions;
use crate::workload::{MORTALS, WORKERS, mortal_sleep};
use qemu_tests::Machine;
use qemu_tests::machine::poll;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// How long anything may take before it counts as lost: a hang of ours is noticed after three seconds, and
/// several may follow each other.
pub const LONG: Duration = Duration::from_secs(20);

/// What the marks must say afterwards.
#[derive(Debug, Default)]
pub struct Expected {
    /// How often a step of a unit was asked for: no more often may it have run.
    pub asked: BTreeMap<(String, &'static str), usize>,
    /// Units that were commanded, and whether they are up.
    pub up: BTreeMap<String, bool>,
    /// Processes killed, by unit.
    pub killed: BTreeMap<String, usize>,
}

type Begun<'scope> = Vec<ScopedJoinHandle<'scope, Expected>>;

/// Begins all of it.
pub fn begin<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    machine: &'env Machine,
    seed: u64,
    tally: &'env Tally,
    over: &'env AtomicBool,
) -> Begun<'scope> {
    let mut threads = Vec::new();
    for half in 0..2 {
        threads.push(scope.spawn(move || {
            commands(
                machine,
                Random::new(seed, 10 + half),
                tally,
                over,
                half as usize,
            )
        }));
    }
    for number in 0..MORTALS {
        threads.push(scope.spawn(move || {
            deaths(
                machine,
                Random::new(seed, 20 + number as u64),
                tally,
                over,
                number,
            )
        }));
    }
    for client in 0..2 {
        threads.push(
            scope.spawn(move || connections(machine, Random::new(seed, 30 + client), tally, over)),
        );
    }
    threads.push(scope.spawn(move || notifications(machine, Random::new(seed, 40), tally, over)));
    threads.push(scope.spawn(move || {
        versions::tries(machine, Random::new(seed, 50), tally, over);
        Expected::default()
    }));
    threads
}

/// One command; whether `sctl` says that it was done.
fn command(machine: &Machine, tally: &Tally, args: &[&str]) -> bool {
    let answer = machine.sctl(args);
    tally.did("commands", 1);
    if answer.code != 0 {
        tally.add(
            Count::JobsLost,
            &format!("sctl {}: {answer:?}", args.join(" ")),
        );
    }
    answer.code == 0
}

fn lines(machine: &Machine, unit: &str) -> usize {
    machine.read(&format!("run/chaos/{unit}")).lines().count()
}

/// Half of the workers are commanded, and what is not a worker by the second.
fn commands(
    machine: &Machine,
    mut random: Random,
    tally: &Tally,
    over: &AtomicBool,
    half: usize,
) -> Expected {
    let mut expected = Expected::default();
    while !over.load(Ordering::SeqCst) {
        match random.below(10) {
            0 if half == 1 => once(machine, tally, &mut expected),
            1 if half == 1 => chain(machine, tally, &mut expected),
            2 if half == 1 => {
                command(machine, tally, &["daemon-reload"]);
            }
            _ => {
                let number = half + 2 * random.below(WORKERS as u64 / 2) as usize;
                worker(machine, &mut random, tally, &mut expected, number);
            }
        }
        random.pause(0, 60);
    }
    expected
}

fn worker(
    machine: &Machine,
    random: &mut Random,
    tally: &Tally,
    expected: &mut Expected,
    number: usize,
) {
    let name = format!("worker{number}");
    let unit = format!("{name}.service");
    let up = expected.up.get(&unit).copied().unwrap_or(false);
    let verb = match random.below(4) {
        0 if up => "stop",
        1 | 2 if up => "reload",
        3 => "restart",
        _ if up => "restart",
        _ => "start",
    };
    command(machine, tally, &[verb, &unit]);
    let step = if verb == "reload" { "reload" } else { "main" };
    if verb != "stop" {
        *expected.asked.entry((name, step)).or_default() += 1;
    }
    let up = verb != "stop";
    let wanted = if up { "active" } else { "inactive" };
    let found = machine.property(&unit, "ActiveState");
    if found != wanted {
        tally.add(Count::JobsLost, &format!("after {verb}, {unit} is {found}"));
    }
    expected.up.insert(unit, up);
}

/// A command that ends, and is told how.
fn once(machine: &Machine, tally: &Tally, expected: &mut Expected) {
    let before = lines(machine, "once");
    let done = command(machine, tally, &["start", "once.service"]);
    *expected.asked.entry(("once".into(), "run")).or_default() += 1;
    if done && lines(machine, "once") == before {
        tally.add(Count::JobsLost, "once.service was started and has not run");
    }
}

/// Two jobs of which the second waits for the first, and nobody for them: they must be remembered.
fn chain(machine: &Machine, tally: &Tally, expected: &mut Expected) {
    let before = lines(machine, "second");
    command(machine, tally, &["start", "--no-block", "second.service"]);
    for unit in ["first", "second"] {
        *expected.asked.entry((unit.into(), "run")).or_default() += 1;
    }
    if poll(LONG, || (lines(machine, "second") > before).then_some(())).is_none() {
        tally.add(
            Count::JobsLost,
            "second.service was queued behind first.service and has not run",
        );
    }
    // Its job ends with it; the next one must not join it.
    let over = || (machine.property("second.service", "ActiveState") == "inactive").then_some(());
    if poll(LONG, over).is_none() {
        tally.add(
            Count::Unseen,
            "second.service has ended and is not seen to have",
        );
    }
}

/// A service's process is killed: another takes its place.
fn deaths(
    machine: &Machine,
    mut random: Random,
    tally: &Tally,
    over: &AtomicBool,
    number: usize,
) -> Expected {
    let mut killed = 0;
    let sleep = mortal_sleep(number);
    while !over.load(Ordering::SeqCst) {
        random.pause(50, 1500);
        let found = poll(LONG, || {
            machine
                .running(&format!("/bin/{sleep}"))
                .into_iter()
                .chain(machine.running(&sleep))
                .find(|p| p.name == "sleep")
        });
        let Some(victim) = found else {
            tally.add(Count::Unseen, &format!("mortal{number} has not come back"));
            continue;
        };
        victim.signal(9);
        killed += 1;
        tally.did("deaths of services", 1);
        let again = || {
            machine
                .running(&sleep)
                .into_iter()
                .find(|p| p.name == "sleep" && p.id() != victim.id())
        };
        if poll(LONG, again).is_none() {
            tally.add(
                Count::Unseen,
                &format!("mortal{number} was killed and is not restarted"),
            );
        }
    }
    let mut expected = Expected::default();
    expected.killed.insert(format!("mortal{number}"), killed);
    expected
}

/// Somebody connects all the time; now and then the service is told to end, and is needed again.
fn connections(
    machine: &Machine,
    mut random: Random,
    tally: &Tally,
    over: &AtomicBool,
) -> Expected {
    let mut number = 0u32;
    while !over.load(Ordering::SeqCst) {
        number += 1;
        let word = if random.percent(8) { "end" } else { "go" };
        let said = format!("{word} {number}");
        let answer = ask(machine, &said);
        tally.did("connections", 1);
        if !answer.as_ref().is_ok_and(|answer| *answer == said) {
            tally.add(Count::Refused, &format!("“{said}” was answered {answer:?}"));
        }
        random.pause(0, 20);
    }
    Expected::default()
}

fn ask(machine: &Machine, said: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(machine.path("run/echo.sock"))?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(said.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What the notifier has said last must be heard; then it is told so. Now and then it is killed.
fn notifications(
    machine: &Machine,
    mut random: Random,
    tally: &Tally,
    over: &AtomicBool,
) -> Expected {
    let mut heard = 0;
    while !over.load(Ordering::SeqCst) {
        random.pause(1, 20);
        let said = machine.read("run/chaos/said").trim().parse().unwrap_or(0);
        if said == heard {
            if random.percent(2) {
                machine
                    .running("notifier.py")
                    .iter()
                    .for_each(|one| one.signal(9));
                tally.did("deaths of services", 1);
            }
            continue;
        }
        tally.did("notifications", said - heard);
        let wanted = said.to_string();
        let same = || (machine.property("notifier.service", "StatusText") == wanted).then_some(());
        if poll(LONG, same).is_none() {
            let found = machine.property("notifier.service", "StatusText");
            tally.add(
                Count::NotificationsLost,
                &format!("{wanted} was said, {found} was heard"),
            );
        }
        heard = said;
        let seen = machine.path("run/chaos/seen");
        let _ = fs::write(machine.path("run/chaos/seen.new"), wanted)
            .and_then(|()| fs::rename(machine.path("run/chaos/seen.new"), seen));
    }
    Expected::default()
}

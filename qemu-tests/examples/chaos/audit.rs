//! What the marks say when the storm is over.

use crate::load::{Expected, LONG};
use crate::tally::{Count, Tally};
use crate::workload::{MORTALS, STEADY, WORKERS, mortal_sleep, worker_sleep};
use platform::process::ProcId;
use qemu_tests::Machine;
use qemu_tests::machine::poll;
use std::collections::BTreeMap;

/// The processes of those nobody touches.
pub fn steady(machine: &Machine) -> Vec<ProcId> {
    machine
        .running("sleep 7700")
        .iter()
        .map(|one| one.id())
        .collect()
}

/// Looks at everything, until somebody has seen enough.
pub fn look(
    machine: &Machine,
    before: &[ProcId],
    expected: &[Expected],
    tally: &Tally,
    enough: impl Fn() -> bool,
) {
    let marks: &dyn Fn() = &|| {
        marked().iter().for_each(|unit| steps(machine, unit, tally));
        for line in machine.read("run/chaos/notifier.lost").lines() {
            let count = match line {
                "deposit" => Count::DescriptorsLost,
                _ => Count::NotificationsLost,
            };
            tally.add(count, &format!("the notifier: {line}"));
        }
    };
    let looks: [&dyn Fn(); 7] = [
        &|| settled(machine, tally),
        marks,
        &|| untouched(machine, before, tally),
        &|| expected.iter().for_each(|part| asked(machine, part, tally)),
        &|| {
            expected
                .iter()
                .for_each(|part| endings(machine, part, tally))
        },
        &|| {
            expected
                .iter()
                .for_each(|part| states(machine, part, tally))
        },
        &|| (0..MORTALS).for_each(|number| alone(machine, &mortal_sleep(number), 1, tally)),
    ];
    for look in looks {
        if !enough() {
            look();
        }
    }
}

fn marked() -> Vec<String> {
    let workers = (0..WORKERS).map(|number| format!("worker{number}"));
    let mortals = (0..MORTALS).map(|number| format!("mortal{number}"));
    let others = ["once", "first", "second", "echo"].map(String::from);
    workers.chain(mortals).chain(others).collect()
}

/// All jobs come to an end.
fn settled(machine: &Machine, tally: &Tally) {
    let quiet = || {
        let answer = machine.sctl(&["list-jobs", "--no-legend"]);
        (answer.code == 0 && answer.out.trim().is_empty()).then_some(())
    };
    if poll(LONG, quiet).is_none() {
        tally.add(
            Count::JobsLost,
            &format!("jobs that do not end: {}", machine.sctl(&["list-jobs"]).out),
        );
    }
}

fn untouched(machine: &Machine, before: &[ProcId], tally: &Tally) {
    if steady(machine) != before {
        tally.add(
            Count::Disturbed,
            "services nobody touched are other processes",
        );
    }
    for number in 0..STEADY {
        state(machine, &format!("steady{number}.service"), "active", tally);
    }
    for unit in ["notifier.service", "echo.socket"] {
        state(machine, unit, "active", tally);
    }
}

fn state(machine: &Machine, unit: &str, wanted: &str, tally: &Tally) {
    let same = || (machine.property(unit, "ActiveState") == wanted).then_some(());
    if poll(LONG, same).is_none() {
        let found = machine.property(unit, "ActiveState");
        tally.add(
            Count::Disturbed,
            &format!("{unit} is {found}, not {wanted}"),
        );
    }
}

/// No step ran twice for an invocation, and no two processes at a time.
fn steps(machine: &Machine, unit: &str, tally: &Tally) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in machine.read(&format!("run/chaos/{unit}")).lines() {
        let mut words = line.split(' ');
        let (step, invocation) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        match step {
            "double" => tally.add(
                Count::Doubles,
                &format!("{unit}: two processes at a time: {line}"),
            ),
            // One invocation may be reloaded often.
            "reload" => {}
            _ => *seen.entry(format!("{step} {invocation}")).or_default() += 1,
        }
    }
    for (step, times) in seen.iter().filter(|(_, times)| **times > 1) {
        tally.add(Count::Twice, &format!("{unit}: {step} ran {times} times"));
    }
}

/// Nothing ran more often than it was asked for, nor less.
fn asked(machine: &Machine, expected: &Expected, tally: &Tally) {
    for ((unit, step), asked) in &expected.asked {
        let marks = machine.read(&format!("run/chaos/{unit}"));
        let ran = marks
            .lines()
            .filter(|line| line.split(' ').next() == Some(step))
            .count();
        tally.did("steps asked for", *asked);
        if ran > *asked {
            tally.add(
                Count::Twice,
                &format!("{unit}: {step} was asked for {asked} times and ran {ran} times"),
            );
        } else if ran < *asked {
            tally.add(
                Count::JobsLost,
                &format!("{unit}: {step} was asked for {asked} times and ran {ran} times"),
            );
        }
    }
}

fn states(machine: &Machine, expected: &Expected, tally: &Tally) {
    for (unit, up) in &expected.up {
        state(
            machine,
            unit,
            if *up { "active" } else { "inactive" },
            tally,
        );
        if let Some(number) = unit
            .strip_prefix("worker")
            .and_then(|rest| rest.split('.').next()?.parse().ok())
        {
            alone(machine, &worker_sleep(number), usize::from(*up), tally);
        }
    }
}

/// So many processes of this kind run.
fn alone(machine: &Machine, sleep: &str, wanted: usize, tally: &Tally) {
    let count = || {
        machine
            .running(sleep)
            .iter()
            .filter(|one| one.name == "sleep")
            .count()
    };
    if poll(LONG, || (count() == wanted).then_some(())).is_none() {
        let kind = if count() > wanted {
            Count::Doubles
        } else {
            Count::Disturbed
        };
        tally.add(
            kind,
            &format!("“{sleep}” runs {} times, not {wanted}", count()),
        );
    }
}

/// Each death was told to `ExecStopPost=` as what it was.
fn endings(machine: &Machine, expected: &Expected, tally: &Tally) {
    for (unit, killed) in &expected.killed {
        let marks = machine.read(&format!("run/chaos/{unit}"));
        let posts: Vec<&str> = marks
            .lines()
            .filter(|line| line.starts_with("post "))
            .collect();
        for post in posts.iter().filter(|post| !post.ends_with(" killed/KILL")) {
            tally.add(
                Count::Unseen,
                &format!("{unit}: killed, and told as: {post}"),
            );
        }
        if posts.len() != *killed {
            tally.add(
                Count::Unseen,
                &format!(
                    "{unit}: killed {killed} times, noticed {} times",
                    posts.len()
                ),
            );
        }
    }
}

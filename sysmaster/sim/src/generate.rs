//! From a seed to a case.
//!
//! Three of four are *chaos*: every kind of dependency, cycles and contradictions among them, every
//! kind of behaviour, and everything that can happen in any order. Every fourth is *orderly*: its order
//! goes from low to high numbers and nobody conflicts; as in every case that promises the same end,
//! who depends also waits, and each thing is over before the next one begins. Its end does not depend
//! on who is faster, so it must be the same with and without the crashes.

use crate::case::{Case, Event, Fact, Line, time};
use crate::rng::Rng;
use units::spec::DepKind;
use units::state::{ActiveState, JobMode, JobVerb, Micros};

/// What the machine goes down by.
const OFF: &str = "off.target";

/// The case of a seed.
pub fn case(seed: u64) -> Case {
    let mut maker = Maker {
        rng: Rng(seed),
        size: 0,
        tidy: 0,
        lines: Vec::new(),
    };
    let orderly = seed.is_multiple_of(4);
    if orderly {
        maker.orderly();
    } else {
        maker.chaos();
    }
    Case {
        same_end: orderly,
        every_cut: false,
        lines: maker.lines,
    }
}

struct Maker {
    rng: Rng,
    size: usize,
    /// In how many of a hundred cases a dependency goes to a lower number.
    tidy: u64,
    lines: Vec<Line>,
}

/// The name of the i-th unit: services for the most part, every fifth a target, a few mounts and
/// devices.
fn unit(i: usize) -> String {
    let kind = match (i % 5, i % 11) {
        (4, _) => "target",
        (_, 7) => "mount",
        (_, 9) => "device",
        _ => "service",
    };
    format!("u{i:02}.{kind}")
}

/// The other name of the i-th unit: every fourth has one.
fn alias(i: usize) -> Option<String> {
    (i % 4 == 1).then(|| unit(i).replacen('u', "a", 1))
}

const KINDS: [DepKind; 30] = [
    DepKind::Requires,
    DepKind::Requires,
    DepKind::Requires,
    DepKind::Requires,
    DepKind::Wants,
    DepKind::Wants,
    DepKind::Wants,
    DepKind::Wants,
    DepKind::BindsTo,
    DepKind::BindsTo,
    DepKind::PartOf,
    DepKind::PartOf,
    DepKind::Requisite,
    DepKind::Requisite,
    DepKind::Conflicts,
    DepKind::Conflicts,
    DepKind::Before,
    DepKind::After,
    DepKind::After,
    DepKind::After,
    DepKind::OnFailure,
    DepKind::OnFailure,
    DepKind::OnSuccess,
    DepKind::PropagatesReloadTo,
    DepKind::ReloadPropagatedFrom,
    DepKind::PropagatesStopTo,
    DepKind::StopPropagatedFrom,
    DepKind::Upholds,
    DepKind::JoinsNamespaceOf,
    DepKind::Triggers,
];

impl Maker {
    fn fact(&mut self, fact: Fact) {
        self.lines.push(Line::Fact(fact));
    }

    fn event(&mut self, event: Event) {
        self.lines.push(Line::Event(event));
    }

    fn set(&mut self, unit: &str, key: &str, value: &str) {
        self.fact(Fact::Set(unit.into(), key.into(), value.into()));
    }

    /// A time, rather a short one.
    fn span(&mut self) -> Micros {
        let most = self.rng.pick(&[1_000, 20_000, 200_000, 3_000_000]);
        1_000 + self.rng.draw() % most / 1000 * 1000
    }

    fn any(&mut self) -> String {
        unit(self.rng.below(self.size))
    }

    /// A name of the i-th unit, by which it is asked for or depended on.
    fn name(&mut self, i: usize) -> String {
        let alias = alias(i).filter(|_| self.rng.chance(40));
        alias.unwrap_or_else(|| unit(i))
    }

    /// A name of any unit.
    fn any_name(&mut self) -> String {
        let i = self.rng.below(self.size);
        self.name(i)
    }

    /// There is a file of the i-th unit, with its other name.
    fn file(&mut self, i: usize) {
        self.fact(Fact::Unit(unit(i), true));
        if let Some(alias) = alias(i) {
            self.fact(Fact::Alias(unit(i), alias));
        }
    }

    /// A unit that another one may depend on.
    fn other(&mut self, i: usize) -> usize {
        if i > 0 && self.rng.chance(self.tidy) {
            // Near ones more often: chains.
            let far = 1 + self.rng.below(i.min(8));
            return i - far;
        }
        self.rng.below(self.size)
    }

    fn chaos(&mut self) {
        self.size = 30 + self.rng.below(15);
        self.tidy = self.rng.pick(&[0, 80, 100, 100]);
        self.fact(Fact::Unit(OFF.into(), true));
        for i in 0..self.size {
            self.declare(i);
        }
        let steps = 200 + self.rng.below(80);
        let crash = self.rng.below(steps);
        let shutdown = self
            .rng
            .chance(30)
            .then(|| steps / 2 + self.rng.below(steps / 2));
        for step in 0..steps {
            if step == crash {
                self.crash();
            }
            if Some(step) == shutdown {
                self.event(Event::Shutdown(OFF.into()));
            }
            self.something();
        }
    }

    fn declare(&mut self, i: usize) {
        let unit = unit(i);
        self.file(i);
        for _ in 0..self.rng.below(5) {
            self.depend(i);
        }
        self.fact(Fact::Dep(
            unit.clone(),
            DepKind::Conflicts,
            OFF.into(),
            true,
        ));
        self.fact(Fact::Dep(unit.clone(), DepKind::Before, OFF.into(), true));
        for _ in 0..self.rng.below(4) {
            self.setting(&unit);
        }
    }

    fn depend(&mut self, i: usize) {
        let (from, kind) = (unit(i), self.rng.pick(&KINDS));
        let other = self.other(i);
        let other = self.name(other);
        self.fact(Fact::Dep(from.clone(), kind, other.clone(), true));
        if self.rng.chance(60) && !matches!(kind, DepKind::Before | DepKind::OnFailure) {
            self.fact(Fact::Dep(from, DepKind::After, other, true));
        }
    }

    fn setting(&mut self, unit: &str) {
        let span = time(self.span());
        let (key, value) = match self.rng.below(28) {
            0..=1 => ("start", "fails".into()),
            2 => ("start", format!("fails {span}")),
            3..=5 => ("start", format!("works {span}")),
            6 => ("start", "finishes".into()),
            7 => ("start", format!("finishes {span}")),
            8 => ("start", "hangs".into()),
            9 => ("start", "skips".into()),
            10 => ("stop", format!("works {span}")),
            11 => {
                let how = self.rng.pick(&["killed", "hangs", "fails"]);
                ("stop", format!("{how} {span}"))
            }
            12 => {
                let how = self.rng.pick(&["fails", "works", "hangs"]);
                ("reload", format!("{how} {span}"))
            }
            13..=14 => {
                let end = self.rng.pick(&["inactive", "failed"]);
                ("lasts", format!("{span} {end}"))
            }
            15..=17 => {
                let when = self.rng.pick(&["always", "on-failure", "on-success"]);
                ("restart", format!("{when} {span}"))
            }
            18 => {
                let says = self.rng.pick(&["go", "skip", "refuse", "none"]);
                ("condition", says.into())
            }
            19 => {
                let burst = 1 + self.rng.below(4);
                ("limit", format!("{burst} {}ms", 500 + self.rng.below(9000)))
            }
            20 => ("job-timeout", span),
            21 => ("job-running-timeout", span),
            22 => {
                let modes = ["replace", "fail", "replace-irreversibly", "isolate"];
                ("on-failure-mode", self.rng.pick(&modes).into())
            }
            23 => ("unneeded", "yes".into()),
            26..=27 => {
                let keys = [
                    "failure-action",
                    "success-action",
                    "limit-action",
                    "timeout-action",
                ];
                let actions = ["reboot", "poweroff", "halt", "none"];
                (self.rng.pick(&keys), self.rng.pick(&actions).into())
            }
            24 => {
                let keys = ["refuse-start", "refuse-stop", "no-reload", "masked"];
                (self.rng.pick(&keys), self.rng.pick(&["yes", "no"]).into())
            }
            _ => {
                let keys = ["allow-isolate", "ignore-on-isolate", "once", "forks"];
                (self.rng.pick(&keys), "yes".into())
            }
        };
        self.set(unit, key, &value);
    }

    fn crash(&mut self) {
        let most = self.rng.pick(&[6, 40]);
        let after = 1 + self.rng.below(most);
        let away = self.rng.below(4);
        self.event(Event::Crash(after, away));
    }

    /// One thing happens.
    fn something(&mut self) {
        let unit = self.any();
        let event = match self.rng.below(100) {
            0..=32 => self.ask(),
            33..=60 => Event::Work(1 + self.rng.below(8), self.rng.draw() >> 40),
            61..=66 => Event::Settle,
            67..=74 => Event::Wait(self.span()),
            75..=80 => {
                let ends = [
                    ActiveState::Failed,
                    ActiveState::Inactive,
                    ActiveState::Deactivating,
                ];
                Event::Ends(unit, self.rng.pick(&ends))
            }
            81..=83 => return self.crash(),
            84..=85 => {
                let unit_type = self.rng.pick(&["service", "service", "mount"]);
                Event::HelperDies(unit_type.into(), self.rng.below(5))
            }
            86..=87 => Event::Cancel(self.rng.below(50)),
            88..=89 => Event::Reset(self.any_name()),
            90..=93 => return self.edit(),
            94 => {
                let span = self.span() * 20;
                match self.rng.chance(50) {
                    true => Event::Sleep(span),
                    false => Event::Jump(span),
                }
            }
            95 => Event::Wall(self.span() * 1000),
            96 => Event::Repeat(unit),
            97 => {
                let mut i = self.rng.below(self.size);
                while !matches!(unit_type(i), "mount" | "device") {
                    i = (i + 1) % self.size;
                }
                Event::Appears(self::unit(i))
            }
            98 if self.rng.chance(10) => Event::Missing("device".into()),
            _ => Event::Finish(unit),
        };
        self.event(event);
    }

    fn ask(&mut self) -> Event {
        // What a client asked for may be half done.
        if self.rng.chance(8) {
            self.crash();
        }
        let unit = self.any_name();
        if self.rng.chance(12) {
            let others = self.rng.below(4);
            let units = std::iter::once(unit).chain((0..others).map(|_| self.any_name()));
            return Event::Atomic(units.collect());
        }
        let (verb, mode) = (self.verb(), self.mode());
        // Two modes are for one verb each.
        match (verb, self.rng.below(8)) {
            (JobVerb::Stop, 0) => Event::Ask(verb, unit, JobMode::Triggering),
            (JobVerb::Start, 0) => Event::Ask(verb, unit, JobMode::RestartDependencies),
            _ => Event::Ask(verb, unit, mode),
        }
    }

    fn verb(&mut self) -> JobVerb {
        self.rng.pick(&[
            JobVerb::Start,
            JobVerb::Start,
            JobVerb::Start,
            JobVerb::Start,
            JobVerb::Stop,
            JobVerb::Stop,
            JobVerb::Restart,
            JobVerb::Restart,
            JobVerb::Reload,
            JobVerb::TryRestart,
            JobVerb::ReloadOrStart,
            JobVerb::TryReload,
            JobVerb::VerifyActive,
        ])
    }

    fn mode(&mut self) -> JobMode {
        match self.rng.below(20) {
            0..=1 => JobMode::Fail,
            2 => JobMode::ReplaceIrreversibly,
            3 => JobMode::Isolate,
            4 => JobMode::Flush,
            5 => JobMode::IgnoreRequirements,
            6 => JobMode::IgnoreDependencies,
            _ => JobMode::Replace,
        }
    }

    /// Unit files change, and mostly the manager is told.
    fn edit(&mut self) {
        for _ in 0..1 + self.rng.below(4) {
            let i = self.rng.below(self.size);
            let unit = unit(i);
            match self.rng.below(10) {
                0..=3 => self.depend(i),
                4..=5 => self.undo(&unit),
                6..=7 => self.setting(&unit),
                // A name that was an alias is one until the next manager: see docs/differences.md.
                8 if alias(i).is_none() => self.fact(Fact::Unit(unit, false)),
                _ => self.declare(i),
            }
        }
        if self.rng.chance(75) {
            self.event(Event::Reload);
        }
    }

    /// A dependency that was declared goes.
    fn undo(&mut self, unit: &str) {
        let declared = self.lines.iter().filter_map(|line| match line {
            Line::Fact(Fact::Dep(from, kind, to, true)) if from == unit && to != OFF => {
                Some((*kind, to.clone()))
            }
            _ => None,
        });
        let declared: Vec<_> = declared.collect();
        if !declared.is_empty() {
            let (kind, to) = declared[self.rng.below(declared.len())].clone();
            self.fact(Fact::Dep(unit.into(), kind, to, false));
        }
    }

    fn orderly(&mut self) {
        self.size = 30 + self.rng.below(10);
        for i in 0..self.size {
            self.declare_in_order(i);
        }
        let crash = self.rng.below(200);
        for step in 0..200 {
            if step == crash || self.rng.chance(30) {
                self.crash();
            }
            let unit = self.any_name();
            let event = match self.rng.below(10) {
                0..=3 => Event::Ask(JobVerb::Start, unit, JobMode::Replace),
                4 => Event::Ask(JobVerb::Stop, unit, JobMode::Replace),
                5 => Event::Ask(JobVerb::Restart, unit, JobMode::Replace),
                6 => Event::Ask(JobVerb::ReloadOrStart, unit, JobMode::Replace),
                7 => Event::Ends(self.any(), ActiveState::Failed),
                8 => Event::Ends(self.any(), ActiveState::Inactive),
                _ => Event::Reset(unit),
            };
            self.event(event);
        }
    }

    fn declare_in_order(&mut self, i: usize) {
        let unit = unit(i);
        self.file(i);
        let kinds = [
            DepKind::Requires,
            DepKind::Requires,
            DepKind::Wants,
            DepKind::Wants,
            DepKind::BindsTo,
            DepKind::PartOf,
            DepKind::Requisite,
        ];
        for _ in 0..self.rng.below(4).min(i) {
            let other = self.rng.below(i);
            let other = self.name(other);
            let kind = self.rng.pick(&kinds);
            self.fact(Fact::Dep(unit.clone(), kind, other, true));
        }
        match self.rng.below(100) {
            0..=11 => self.set(&unit, "start", "fails"),
            12..=19 => self.set(&unit, "start", "finishes"),
            20..=39 => {
                let span = time(self.span());
                self.set(&unit, "restart", &format!("on-failure {span}"));
            }
            _ => {}
        }
    }
}

fn unit_type(i: usize) -> &'static str {
    match unit(i).rsplit('.').next() {
        Some("mount") => "mount",
        Some("device") => "device",
        _ => "",
    }
}

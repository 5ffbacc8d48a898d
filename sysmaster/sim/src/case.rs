//! A case: everything that happens in one run of the simulator, as lines of text.
//!
//! A line says something of the unit files or of how a unit behaves (a *fact*), or is something that
//! happens (an *event*); a fact after the first event changes the files or the behaviour there and
//! then, and the manager learns of changed files with `reload`, or when it is started anew. Any
//! subset of a case's lines is a case: what a line speaks of and is not there, it does not do. That is
//! what makes a failing case small ([`crate::shrink`]).
//!
//! ```text
//! promise same-end                  a run without the crashes comes to the same end; each event is
//!                                   over before the next one, and who depends comes after
//! unit u00.service                  there is such a unit file
//! alias u00.service a00.service     it has this other name
//! dep u00.service After u01.service
//! set u00.service start fails 20ms  how its start ends, and when
//! ask start u00.service replace     a client's request
//! atomic u00.service u01.service    a client's request for all of them or none
//! work 3 77                         three messages or deadlines, chosen by this number
//! crash 12 2                        the manager dies before its twelfth effect from here; two
//!                                   pieces of work are done until the next one is there
//! wait 500ms
//! ```

use std::fmt;
use std::str::FromStr;
use units::spec::DepKind;
use units::state::{ActiveState, JobMode, JobVerb, Micros};

/// Something of a unit file, or of how a unit behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// There is a file, or there is none (any more).
    Unit(String, bool),
    /// It has another name, by which it can be asked for and depended on.
    Alias(String, String),
    /// It says that it depends on another, or does not (any more).
    Dep(String, DepKind, String, bool),
    /// A setting: key and value ([`crate::settings`]).
    Set(String, String, String),
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client asks for a job.
    Ask(JobVerb, String, JobMode),
    /// A client asks for an atomic start of these units.
    Atomic(Vec<String>),
    /// A client cancels a queued job: the one of this number, counted round.
    Cancel(usize),
    /// `reset-failed`.
    Reset(String),
    /// `daemon-reload`.
    Reload,
    /// A unit ends by itself.
    Ends(String, ActiveState),
    /// A unit is there by itself.
    Appears(String),
    /// What hangs comes to an end.
    Finish(String),
    /// The helper says again what it has said of a unit.
    Repeat(String),
    /// So many messages are taken or commands carried out, chosen by a number.
    Work(usize, u64),
    /// All of them, in their order.
    Settle,
    /// Time passes, and what is due happens.
    Wait(Micros),
    /// Time is later at once, as where the machine stood still and its clock did not.
    Jump(Micros),
    /// The machine is suspended.
    Sleep(Micros),
    /// The wall clock is set back by so much.
    Wall(Micros),
    /// The helper of a type dies; so many of the messages it has sent are still read.
    HelperDies(String, usize),
    /// There is no helper for a type, and will be none.
    Missing(String),
    /// The manager dies before its n-th effect from here, and is away for so many pieces of work.
    Crash(usize, usize),
    /// The machine goes down, by starting this unit.
    Shutdown(String),
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// What is.
    Fact(Fact),
    /// What happens.
    Event(Event),
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// A run without the crashes comes to the same end. That cannot be promised of a world in which
    /// it matters who is faster: each event is over before the next one, and who depends on a unit
    /// also comes after it.
    pub same_end: bool,
    /// The same, of a run for each effect, with a crash before it. After each event all messages are
    /// read and commands carried out; that nothing else matters is left to who writes the case.
    pub every_cut: bool,
    /// In their order.
    pub lines: Vec<Line>,
}

const VERBS: [JobVerb; 8] = [
    JobVerb::Start,
    JobVerb::VerifyActive,
    JobVerb::Stop,
    JobVerb::Restart,
    JobVerb::Reload,
    JobVerb::TryRestart,
    JobVerb::ReloadOrStart,
    JobVerb::TryReload,
];

const MODES: [(JobMode, &str); 9] = [
    (JobMode::Fail, "fail"),
    (JobMode::Replace, "replace"),
    (JobMode::ReplaceIrreversibly, "replace-irreversibly"),
    (JobMode::Isolate, "isolate"),
    (JobMode::Flush, "flush"),
    (JobMode::IgnoreDependencies, "ignore-dependencies"),
    (JobMode::IgnoreRequirements, "ignore-requirements"),
    (JobMode::Triggering, "triggering"),
    (JobMode::RestartDependencies, "restart-dependencies"),
];

/// The mode of this name.
pub fn mode(word: &str) -> Option<JobMode> {
    let found = MODES.iter().find(|(_, name)| *name == word);
    found.map(|(mode, _)| *mode)
}

/// A mode's name.
pub fn mode_name(mode: JobMode) -> &'static str {
    let found = MODES.iter().find(|(other, _)| *other == mode);
    found.map_or("replace", |(_, name)| name)
}

/// A time, in milliseconds where it is a whole number of them.
pub fn time(micros: Micros) -> String {
    match micros % 1000 {
        0 => format!("{}ms", micros / 1000),
        _ => format!("{micros}us"),
    }
}

/// The reverse of [`time`].
pub fn parse_time(word: &str) -> Option<Micros> {
    let (digits, unit) = match (word.strip_suffix("ms"), word.strip_suffix("us")) {
        (Some(digits), _) => (digits, 1000),
        (_, Some(digits)) => (digits, 1),
        _ => return None,
    };
    digits.parse::<Micros>().ok()?.checked_mul(unit)
}

fn state(word: &str) -> Option<ActiveState> {
    [
        ActiveState::Inactive,
        ActiveState::Failed,
        ActiveState::Deactivating,
    ]
    .into_iter()
    .find(|state| state.as_str() == word)
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fact(fact) => write!(f, "{fact}"),
            Self::Event(event) => write!(f, "{event}"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(unit, true) => write!(f, "unit {unit}"),
            Self::Unit(unit, false) => write!(f, "no-unit {unit}"),
            Self::Alias(unit, alias) => write!(f, "alias {unit} {alias}"),
            Self::Dep(unit, kind, to, there) => {
                let word = if *there { "dep" } else { "no-dep" };
                write!(f, "{word} {unit} {} {to}", kind.as_str())
            }
            Self::Set(unit, key, value) => write!(f, "set {unit} {key} {value}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(verb, unit, mode) => {
                write!(f, "ask {} {unit} {}", verb.as_str(), mode_name(*mode))
            }
            Self::Atomic(units) => write!(f, "atomic {}", units.join(" ")),
            Self::Cancel(n) => write!(f, "cancel {n}"),
            Self::Reset(unit) => write!(f, "reset {unit}"),
            Self::Reload => write!(f, "reload"),
            Self::Ends(unit, state) => write!(f, "ends {unit} {}", state.as_str()),
            Self::Appears(unit) => write!(f, "appears {unit}"),
            Self::Finish(unit) => write!(f, "finish {unit}"),
            Self::Repeat(unit) => write!(f, "repeat {unit}"),
            Self::Work(n, salt) => write!(f, "work {n} {salt}"),
            Self::Settle => write!(f, "settle"),
            Self::Wait(micros) => write!(f, "wait {}", time(*micros)),
            Self::Jump(micros) => write!(f, "jump {}", time(*micros)),
            Self::Sleep(micros) => write!(f, "sleep {}", time(*micros)),
            Self::Wall(micros) => write!(f, "wall {}", time(*micros)),
            Self::HelperDies(unit_type, keep) => write!(f, "helper-dies {unit_type} {keep}"),
            Self::Missing(unit_type) => write!(f, "missing {unit_type}"),
            Self::Crash(after, away) => write!(f, "crash {after} {away}"),
            Self::Shutdown(unit) => write!(f, "shutdown {unit}"),
        }
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let text = |at: usize| words.get(at).map(|word| String::from(*word));
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let span = |at: usize| words.get(at).and_then(|word| parse_time(word));
        let parsed = || -> Option<Self> {
            let event = match *words.first()? {
                word @ ("unit" | "no-unit") => {
                    return Some(Self::Fact(Fact::Unit(text(1)?, word == "unit")));
                }
                "alias" => return Some(Self::Fact(Fact::Alias(text(1)?, text(2)?))),
                word @ ("dep" | "no-dep") => {
                    let kind = DepKind::from_key(words.get(2)?)?;
                    let fact = Fact::Dep(text(1)?, kind, text(3)?, word == "dep");
                    return Some(Self::Fact(fact));
                }
                "set" => {
                    let value = words.get(3..)?.join(" ");
                    return Some(Self::Fact(Fact::Set(text(1)?, text(2)?, value)));
                }
                "ask" => {
                    let verb = VERBS
                        .into_iter()
                        .find(|v| Some(&v.as_str()) == words.get(1))?;
                    Event::Ask(verb, text(2)?, mode(words.get(3)?)?)
                }
                "atomic" => Event::Atomic((1..words.len()).filter_map(text).collect()),
                "cancel" => Event::Cancel(number(1)? as usize),
                "reset" => Event::Reset(text(1)?),
                "reload" => Event::Reload,
                "ends" => Event::Ends(text(1)?, state(words.get(2)?)?),
                "appears" => Event::Appears(text(1)?),
                "finish" => Event::Finish(text(1)?),
                "repeat" => Event::Repeat(text(1)?),
                "work" => Event::Work(number(1)? as usize, number(2)?),
                "settle" => Event::Settle,
                "wait" => Event::Wait(span(1)?),
                "jump" => Event::Jump(span(1)?),
                "sleep" => Event::Sleep(span(1)?),
                "wall" => Event::Wall(span(1)?),
                "helper-dies" => Event::HelperDies(text(1)?, number(2)? as usize),
                "missing" => Event::Missing(text(1)?),
                "crash" => Event::Crash(number(1)? as usize, number(2)? as usize),
                "shutdown" => Event::Shutdown(text(1)?),
                _ => return None,
            };
            Some(Self::Event(event))
        };
        parsed().ok_or_else(|| format!("“{line}” is no line of a case"))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.same_end {
            writeln!(f, "promise same-end")?;
        }
        if self.every_cut {
            writeln!(f, "promise every-cut")?;
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut case = Self::default();
        for (at, line) in text.lines().enumerate() {
            match line.split('#').next().unwrap_or_default().trim() {
                "" => {}
                "promise same-end" => case.same_end = true,
                "promise every-cut" => case.every_cut = true,
                line => {
                    let parsed = line
                        .parse()
                        .map_err(|why| format!("line {}: {why}", at + 1));
                    case.lines.push(parsed?);
                }
            }
        }
        Ok(case)
    }
}

impl Line {
    /// The units it speaks of.
    pub fn units(&self) -> Vec<&str> {
        match self {
            Self::Fact(Fact::Dep(unit, _, other, _) | Fact::Alias(unit, other)) => {
                vec![unit, other]
            }
            Self::Fact(Fact::Unit(unit, _) | Fact::Set(unit, _, _)) => vec![unit],
            Self::Event(event) => match event {
                Event::Ask(_, unit, _)
                | Event::Reset(unit)
                | Event::Ends(unit, _)
                | Event::Appears(unit)
                | Event::Finish(unit)
                | Event::Repeat(unit)
                | Event::Shutdown(unit) => vec![unit],
                Event::Atomic(units) => units.iter().map(String::as_str).collect(),
                _ => Vec::new(),
            },
        }
    }
}

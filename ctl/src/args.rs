//! The command line: one table of commands, one loop over options.
//!
//! Options may stand anywhere; `--` ends them. Every option is understood by every command, as in
//! systemctl, so that scripts written for that need no changes; one that makes no difference to a
//! command is ignored. An option nobody knows is an error.

use crate::Fault;
use std::ffi::OsString;
use unit_files::install::PresetMode;
use units::state::{JobMode, JobVerb, Whom};
use units::wire::control::ShutdownKind;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A job for each unit named.
    Jobs(JobVerb),
    /// Start this target and stop everything else.
    Isolate,
    /// Isolate a well-known target.
    Enter(&'static str),
    /// Show a unit, or the machine.
    Status,
    /// Loaded units.
    ListUnits,
    /// Installed unit files.
    ListUnitFiles,
    /// Queued jobs.
    ListJobs,
    Crashes,
    Reconcile,
    /// The tree of needs.
    ListDependencies,
    /// Properties as `Name=value`.
    Show,
    /// The files of a unit.
    Cat,
    /// Exit status says whether one is active.
    IsActive,
    /// Exit status says whether one has failed.
    IsFailed,
    /// Exit status says whether one starts at boot.
    IsEnabled,
    /// Exit status says whether the machine is all right.
    IsSystemRunning,
    /// Make links.
    Enable,
    /// Remove links.
    Disable,
    /// Remove and make links.
    Reenable,
    /// Forbid.
    Mask,
    /// Allow again.
    Unmask,
    /// As the presets say.
    Preset,
    /// The same for everything.
    PresetAll,
    /// Which target boots.
    GetDefault,
    /// Boot this target.
    SetDefault,
    /// Forget failures.
    ResetFailed,
    /// Send a signal.
    Kill,
    /// Cancel jobs.
    Cancel,
    /// Read the unit files again.
    DaemonReload,
    /// Replace the manager.
    Reexec,
    /// Try another version of ours.
    Upgrade,
    /// Bring the machine down.
    Shutdown(ShutdownKind),
    /// Check unit files without a manager.
    Verify,
    /// Show a transaction without doing it.
    Plan,
    /// Why a unit is what it is.
    Why,
    /// A picture of the boot.
    BootChart,
    /// What took long.
    Blame,
    /// What a unit had to wait for.
    CriticalChain,
    /// This overview.
    Help,
    /// Versions.
    Version,
}

/// One line of the table of commands.
pub struct Command {
    /// As typed.
    pub name: &'static str,
    /// What it is.
    pub verb: Verb,
    /// Least number of words after it.
    pub min: usize,
    /// Greatest number.
    pub max: usize,
    /// Words after it, for the overview.
    pub words: &'static str,
    /// What it does, for the overview; empty for second names, which it does not list.
    pub about: &'static str,
}

const MANY: usize = usize::MAX;

const fn cmd(
    name: &'static str,
    verb: Verb,
    (min, max): (usize, usize),
    words: &'static str,
    about: &'static str,
) -> Command {
    Command {
        name,
        verb,
        min,
        max,
        words,
        about,
    }
}

/// All commands, in the order of the overview.
#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    cmd("status", Verb::Status, (0, MANY), "[UNIT…]", "the machine, or these units, at a glance"),
    cmd("why", Verb::Why, (1, MANY), "UNIT…", "why it is up, down, waiting or failed"),
    cmd("plan", Verb::Plan, (1, MANY), "VERB UNIT…", "what start, stop … would do: nothing is done"),
    cmd("list-units", Verb::ListUnits, (0, MANY), "[PATTERN…]", "loaded units that are up, failed or have a job (--all: all)"),
    cmd("list-jobs", Verb::ListJobs, (0, 0), "", "queued jobs and what they wait for"),
    cmd("reconcile", Verb::Reconcile, (0, 0), "", "compare what is recorded with what there is, and mend it"),
    cmd("crashes", Verb::Crashes, (0, 0), "", "our own processes that died by their own fault, and at what"),
    cmd("list-dependencies", Verb::ListDependencies, (0, MANY), "[UNIT]", "whom it needs, as a tree (--reverse: who needs it)"),
    cmd("list-unit-files", Verb::ListUnitFiles, (0, MANY), "[PATTERN…]", "installed unit files and whether they are enabled"),
    cmd("show", Verb::Show, (0, MANY), "[UNIT…]", "everything known, as Name=value"),
    cmd("cat", Verb::Cat, (1, MANY), "UNIT…", "the files a unit is made of"),
    cmd("is-active", Verb::IsActive, (1, MANY), "UNIT…", "exit status 0 if one is active"),
    cmd("is-failed", Verb::IsFailed, (0, MANY), "[UNIT…]", "exit status 0 if one has failed"),
    cmd("is-enabled", Verb::IsEnabled, (1, MANY), "UNIT…", "exit status 0 if one is enabled"),
    cmd("is-system-running", Verb::IsSystemRunning, (0, 0), "", "exit status 0 if the machine is up and nothing has failed"),
    cmd("start", Verb::Jobs(JobVerb::Start), (1, MANY), "UNIT…", "bring up"),
    cmd("stop", Verb::Jobs(JobVerb::Stop), (1, MANY), "UNIT…", "bring down"),
    cmd("restart", Verb::Jobs(JobVerb::Restart), (1, MANY), "UNIT…", "bring down if up, then up"),
    cmd("try-restart", Verb::Jobs(JobVerb::TryRestart), (1, MANY), "UNIT…", "restart those that are up"),
    cmd("condrestart", Verb::Jobs(JobVerb::TryRestart), (1, MANY), "", ""),
    cmd("reload", Verb::Jobs(JobVerb::Reload), (1, MANY), "UNIT…", "have them read their configuration again"),
    cmd("reload-or-restart", Verb::Jobs(JobVerb::ReloadOrStart), (1, MANY), "UNIT…", "reload those that can, restart the others"),
    cmd("try-reload-or-restart", Verb::Jobs(JobVerb::TryReload), (1, MANY), "UNIT…", "the same, only those that are up"),
    cmd("force-reload", Verb::Jobs(JobVerb::TryReload), (1, MANY), "", ""),
    cmd("isolate", Verb::Isolate, (1, 1), "UNIT", "start it and stop everything it does not need"),
    cmd("blame", Verb::Blame, (0, 0), "", "what took long at boot"),
    cmd("critical-chain", Verb::CriticalChain, (0, 1), "[UNIT]", "what it had to wait for"),
    cmd("boot-chart", Verb::BootChart, (0, 1), "[FILE]", "a picture of the boot (SVG)"),
    cmd("kill", Verb::Kill, (1, MANY), "UNIT…", "send a signal (--signal, --kill-whom)"),
    cmd("reset-failed", Verb::ResetFailed, (0, MANY), "[UNIT…]", "forget failures and start limits"),
    cmd("cancel", Verb::Cancel, (0, MANY), "[JOB…]", "cancel these jobs, or all"),
    cmd("enable", Verb::Enable, (1, MANY), "UNIT…", "start at boot (--now: and at once)"),
    cmd("disable", Verb::Disable, (1, MANY), "UNIT…", "not any more (--now: and stop)"),
    cmd("reenable", Verb::Reenable, (1, MANY), "UNIT…", "disable, then enable"),
    cmd("preset", Verb::Preset, (1, MANY), "UNIT…", "enable or disable as the presets say"),
    cmd("preset-all", Verb::PresetAll, (0, 0), "", "the same for every unit file (--preset-mode)"),
    cmd("mask", Verb::Mask, (1, MANY), "UNIT…", "forbid to start (--now: and stop)"),
    cmd("unmask", Verb::Unmask, (1, MANY), "UNIT…", "allow again"),
    cmd("get-default", Verb::GetDefault, (0, 0), "", "the target that boots"),
    cmd("set-default", Verb::SetDefault, (1, 1), "TARGET", "boot another target"),
    cmd("verify", Verb::Verify, (0, MANY), "[FILE|UNIT…]", "find what is wrong in unit files, without a manager"),
    cmd("daemon-reload", Verb::DaemonReload, (0, 0), "", "read the unit files again"),
    cmd("daemon-reexec", Verb::Reexec, (0, 0), "", "replace the manager by the installed one"),
    cmd("reexec", Verb::Reexec, (0, 0), "", ""),
    cmd("upgrade", Verb::Upgrade, (1, 1), "FILE|DIR", "try another version of ours, install it if it is good"),
    cmd("default", Verb::Enter("default.target"), (0, 0), "", "isolate default.target"),
    cmd("rescue", Verb::Enter("rescue.target"), (0, 0), "", "isolate rescue.target"),
    cmd("emergency", Verb::Enter("emergency.target"), (0, 0), "", "isolate emergency.target"),
    cmd("poweroff", Verb::Shutdown(ShutdownKind::PowerOff), (0, 0), "", "stop everything and switch off (--force: no stopping)"),
    cmd("reboot", Verb::Shutdown(ShutdownKind::Reboot), (0, 0), "", "stop everything and start again"),
    cmd("halt", Verb::Shutdown(ShutdownKind::Halt), (0, 0), "", "stop everything and stand still"),
    cmd("kexec", Verb::Shutdown(ShutdownKind::Kexec), (0, 0), "", "stop everything and enter the loaded kernel"),
    cmd("help", Verb::Help, (0, MANY), "", "this overview"),
    cmd("version", Verb::Version, (0, 0), "", "versions of sctl and of the manager"),
];

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which edges `list-dependencies` follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edges {
    /// Requirements: who is started along.
    #[default]
    Needs,
    /// Ordering: who comes earlier.
    After,
    /// Ordering: who comes later.
    Before,
}

/// Everything the options say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// JSON instead of text.
    pub json: bool,
    /// Nothing but errors and the exit status.
    pub quiet: bool,
    /// Do not wait for jobs.
    pub no_block: bool,
    /// All units or none.
    pub atomic: bool,
    /// Also what is usually left out.
    pub all: bool,
    /// Who needs it.
    pub reverse: bool,
    /// Whatever it costs.
    pub force: bool,
    /// Also start or stop.
    pub now: bool,
    /// Links in `/run`.
    pub runtime: bool,
    /// Only failed units.
    pub failed: bool,
    /// No tree lines, no dots.
    pub plain: bool,
    /// Nothing is shortened.
    pub full: bool,
    /// No headings, no totals.
    pub no_legend: bool,
    /// `show` prints values alone.
    pub value: bool,
    /// Do not have the manager read the files after a change of links.
    pub no_reload: bool,
    /// Unit types to list.
    pub types: Vec<String>,
    /// States to list.
    pub states: Vec<String>,
    /// Properties to show.
    pub properties: Vec<String>,
    /// Work on the tree below this directory.
    pub root: Option<String>,
    /// Control socket.
    pub socket: Option<String>,
    /// Signal to send, by name or number.
    pub signal: Option<String>,
    /// To whom.
    pub whom: Whom,
    /// What the transaction may do to queued jobs.
    pub mode: JobMode,
    /// Seconds to wait for a manager that does not answer.
    pub timeout: Option<u32>,
    /// Colours.
    pub colour: Colour,
    /// Edges to follow.
    pub edges: Edges,
    /// What `preset-all` may do.
    pub preset_mode: PresetMode,
    /// What to upgrade: `sysmaster`, `init`, a helper's unit type; empty for everything.
    pub only: String,
    /// Seconds an upgrade is on trial.
    pub trial: Option<u16>,
    /// Lines of a unit's output to show.
    pub lines: Option<usize>,
}

/// A command line, understood.
pub struct Parsed {
    /// Options.
    pub options: Options,
    /// Command.
    pub verb: Verb,
    /// What stands after it.
    pub words: Vec<String>,
}

/// Reads the command line without the program's name. Nothing at all means `status`.
pub fn parse(args: Vec<OsString>) -> Result<Parsed, Fault> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = Options::default();
    let mut words: Vec<String> = Vec::new();
    let mut asked = None;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            lexopt::Arg::Value(word) => words.push(text(word)?),
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => asked = Some("help"),
            lexopt::Arg::Long("version") => asked = Some("version"),
            lexopt::Arg::Short(letter) => {
                let name = long_name(letter)
                    .ok_or_else(|| Fault::usage(format!("there is no option -{letter}")))?;
                option(name, &mut options, &mut parser)?;
            }
            lexopt::Arg::Long(name) => {
                let name = name.to_owned();
                option(&name, &mut options, &mut parser)?;
            }
        }
    }
    let typed = match asked {
        Some(name) => name.to_owned(),
        None if words.is_empty() && options.failed => "list-units".to_owned(),
        None if words.is_empty() => "status".to_owned(),
        None => words.remove(0),
    };
    let command = find(&typed)?;
    if asked.is_none() {
        check_count(command, words.len())?;
    }
    Ok(Parsed {
        options,
        verb: command.verb,
        words,
    })
}

fn check_count(command: &Command, count: usize) -> Result<(), Fault> {
    let name = command.name;
    if count < command.min {
        Err(Fault::usage(format!(
            "{name}: which one? expected: sctl {name} {}",
            command.words
        )))
    } else if count > command.max && command.max == 0 {
        Err(Fault::usage(format!(
            "{name} stands alone; {count} words follow it"
        )))
    } else if count > command.max {
        Err(Fault::usage(format!(
            "{name} takes one name at a time; there are {count}"
        )))
    } else {
        Ok(())
    }
}

fn find(typed: &str) -> Result<&'static Command, Fault> {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == typed) {
        return Ok(command);
    }
    let near = COMMANDS
        .iter()
        .filter(|command| !command.about.is_empty())
        .min_by_key(|command| distance(typed, command.name))
        .filter(|command| distance(typed, command.name) <= 2);
    let hint = match near {
        Some(command) => format!("; did you mean {}?", command.name),
        None => "; `sctl help` lists them".to_owned(),
    };
    Err(Fault::usage(format!("there is no command {typed:?}{hint}")))
}

/// Number of letters to insert, remove or replace (Levenshtein), for the hint at a typing error.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = i;
        let mut last = i + 1;
        for (b, cell) in right.bytes().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            last = replaced.min(last + 1).min(diagonal + 1);
            *cell = last;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

fn long_name(letter: char) -> Option<&'static str> {
    Some(match letter {
        'a' => "all",
        'f' => "force",
        'l' => "full",
        'n' => "lines",
        'o' => "output",
        'p' => "property",
        'P' => "value-of",
        'q' => "quiet",
        'r' => "recursive",
        's' => "signal",
        't' => "type",
        _ => return None,
    })
}

fn option(name: &str, o: &mut Options, parser: &mut lexopt::Parser) -> Result<(), Fault> {
    match name {
        "json" => o.json = true,
        "quiet" => o.quiet = true,
        "no-block" => o.no_block = true,
        "atomic" => o.atomic = true,
        "all" => o.all = true,
        "reverse" => o.reverse = true,
        "force" => o.force = true,
        "now" => o.now = true,
        "runtime" => o.runtime = true,
        "failed" => o.failed = true,
        "plain" => o.plain = true,
        "full" => o.full = true,
        "no-legend" => o.no_legend = true,
        "value" => o.value = true,
        "no-reload" => o.no_reload = true,
        "after" => o.edges = Edges::After,
        "before" => o.edges = Edges::Before,
        // Accepted for the sake of scripts: there is no pager, no bus, no password to ask for.
        "no-pager" | "no-ask-password" | "system" | "recursive" | "wait" | "no-wall" => {}
        _ => return option_with_value(name, o, parser),
    }
    Ok(())
}

fn option_with_value(
    name: &str,
    o: &mut Options,
    parser: &mut lexopt::Parser,
) -> Result<(), Fault> {
    match name {
        "type" => split_into(&mut o.types, &value(parser)?),
        "state" => split_into(&mut o.states, &value(parser)?),
        "property" => split_into(&mut o.properties, &value(parser)?),
        "value-of" => {
            split_into(&mut o.properties, &value(parser)?);
            o.value = true;
        }
        "root" => o.root = Some(value(parser)?),
        "socket" => o.socket = Some(value(parser)?),
        "signal" => o.signal = Some(value(parser)?),
        "kill-whom" | "kill-who" => o.whom = whom(&value(parser)?)?,
        "preset-mode" => o.preset_mode = preset_mode(&value(parser)?)?,
        "job-mode" => o.mode = job_mode(&value(parser)?)?,
        "only" => {
            o.only = match value(parser)?.as_str() {
                "helper" => value(parser)?,
                known @ ("sysmaster" | "init") => known.to_owned(),
                other => {
                    return Err(Fault::usage(format!(
                        "--only={other}: expected sysmaster, init or helper TYPE"
                    )));
                }
            }
        }
        "trial" => {
            let given = value(parser)?;
            let seconds = given
                .parse()
                .ok()
                .filter(|seconds| (1..=3600).contains(seconds));
            o.trial = Some(seconds.ok_or_else(|| {
                Fault::usage(format!("--trial={given}: expected 1 to 3600 seconds"))
            })?);
        }
        "lines" => {
            let given = value(parser)?;
            o.lines = Some(given.parse().map_err(|_| {
                Fault::usage(format!("--lines={given}: expected a number of lines"))
            })?);
        }
        "timeout" => {
            let given = value(parser)?;
            o.timeout = Some(given.parse().map_err(|_| {
                Fault::usage(format!(
                    "--timeout={given}: expected a whole number of seconds"
                ))
            })?);
        }
        "color" | "colour" => {
            o.colour = match value(parser)?.as_str() {
                "always" => Colour::Always,
                "never" => Colour::Never,
                "auto" => Colour::Auto,
                other => {
                    return Err(Fault::usage(format!(
                        "--colour={other}: expected always, never or auto"
                    )));
                }
            }
        }
        "output" => match value(parser)?.as_str() {
            "json" | "json-pretty" => o.json = true,
            _ => {}
        },
        _ => {
            return Err(Fault::usage(format!(
                "there is no option --{name}; `sctl help` lists them"
            )));
        }
    }
    Ok(())
}

fn split_into(list: &mut Vec<String>, given: &str) {
    list.extend(
        given
            .split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_owned),
    );
}

fn whom(given: &str) -> Result<Whom, Fault> {
    Ok(match given {
        "all" => Whom::All,
        "main" => Whom::Main,
        "control" => Whom::Control,
        _ => {
            return Err(Fault::usage(format!(
                "--kill-whom={given}: expected all, main or control"
            )));
        }
    })
}

fn preset_mode(given: &str) -> Result<PresetMode, Fault> {
    Ok(match given {
        "full" => PresetMode::Full,
        "enable-only" => PresetMode::EnableOnly,
        "disable-only" => PresetMode::DisableOnly,
        _ => {
            return Err(Fault::usage(format!(
                "--preset-mode={given}: expected full, enable-only or disable-only"
            )));
        }
    })
}

fn job_mode(given: &str) -> Result<JobMode, Fault> {
    JobMode::from_name(given).ok_or_else(|| {
        let names: Vec<&str> = JobMode::ALL.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        Fault::usage(format!("--job-mode={given}: expected one of {names}"))
    })
}

fn value(parser: &mut lexopt::Parser) -> Result<String, Fault> {
    text(parser.value().map_err(usage)?)
}

fn text(word: OsString) -> Result<String, Fault> {
    word.into_string()
        .map_err(|word| Fault::usage(format!("{word:?} is not UTF-8")))
}

fn usage(error: lexopt::Error) -> Fault {
    Fault::usage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Parsed, Fault> {
        parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn options_may_stand_anywhere() {
        let parsed = of(&["--no-block", "start", "-q", "a", "--job-mode=fail", "b"]).unwrap();
        assert_eq!(parsed.verb, Verb::Jobs(JobVerb::Start));
        assert_eq!(parsed.words, ["a", "b"]);
        assert!(parsed.options.no_block && parsed.options.quiet);
        assert_eq!(parsed.options.mode, JobMode::Fail);
    }

    #[test]
    fn nothing_is_status_and_failed_alone_lists() {
        assert_eq!(of(&[]).unwrap().verb, Verb::Status);
        assert_eq!(of(&["--failed"]).unwrap().verb, Verb::ListUnits);
    }

    #[test]
    fn a_typing_error_gets_a_hint() {
        let fault = of(&["statsu"]).err().unwrap();
        assert!(
            fault.text.contains("did you mean status?"),
            "{}",
            fault.text
        );
        assert!(
            of(&["frobnicate"])
                .err()
                .unwrap()
                .text
                .contains("sctl help")
        );
    }

    #[test]
    fn counts_and_values_are_checked() {
        assert!(of(&["start"]).err().unwrap().text.contains("which one"));
        assert!(
            of(&["isolate", "a", "b"])
                .err()
                .unwrap()
                .text
                .contains("one name")
        );
        assert!(
            of(&["poweroff", "a"])
                .err()
                .unwrap()
                .text
                .contains("stands alone")
        );
        assert!(
            of(&["kill", "--kill-whom=me", "a"])
                .err()
                .unwrap()
                .text
                .contains("main")
        );
        assert!(
            of(&["status", "--bogus"])
                .err()
                .unwrap()
                .text
                .contains("--bogus")
        );
        assert!(of(&["status", "--quiet=yes"]).is_err());
    }

    #[test]
    fn what_follows_a_double_dash_is_a_word() {
        let parsed = of(&["status", "--", "--json"]).unwrap();
        assert_eq!(parsed.words, ["--json"]);
        assert!(!parsed.options.json);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("start", "start"), 0);
    }
}

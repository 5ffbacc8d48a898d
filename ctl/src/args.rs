//! The command line: one loop over options, and the command out of the table ([`crate::commands`]).
//!
//! Options may stand anywhere; `--` ends them. Every option is understood by every command, as in
//! systemctl, so that scripts written for that need no changes; one that makes no difference to a
//! command is ignored. An option nobody knows is an error.

use crate::Fault;
use crate::commands::{COMMANDS, Command, Verb};
use std::ffi::OsString;
use std::ops::RangeInclusive;
use unit_files::install::PresetMode;
use units::state::{JobMode, Whom};

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
    let text = if count < command.min {
        [
            name,
            ": which one? expected: sctl ",
            name,
            " ",
            command.words,
        ]
        .concat()
    } else if count <= command.max {
        return Ok(());
    } else if command.max == 0 {
        [name, " stands alone: nothing may follow it"].concat()
    } else {
        [name, " takes one name at a time"].concat()
    };
    Err(Fault::usage(text))
}

/// The command of this name.
pub fn find(typed: &str) -> Result<&'static Command, Fault> {
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
                other => return Err(expected(name, other, "sysmaster, init or helper TYPE")),
            }
        }
        "trial" => o.trial = Some(number(name, parser, 1..=3600, "1 to 3600 seconds")? as u16),
        "lines" => {
            o.lines = Some(number(name, parser, 0..=u32::MAX, "a number of lines")? as usize)
        }
        "timeout" => {
            o.timeout = Some(number(
                name,
                parser,
                0..=u32::MAX,
                "a whole number of seconds",
            )?);
        }
        "color" | "colour" => {
            o.colour = match value(parser)?.as_str() {
                "always" => Colour::Always,
                "never" => Colour::Never,
                "auto" => Colour::Auto,
                other => return Err(expected(name, other, "always, never or auto")),
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

/// A value that is none of those there are.
fn expected(option: &str, given: &str, what: &str) -> Fault {
    Fault::usage(["--", option, "=", given, ": expected ", what].concat())
}

fn number(
    option: &str,
    parser: &mut lexopt::Parser,
    range: RangeInclusive<u32>,
    what: &str,
) -> Result<u32, Fault> {
    let given = value(parser)?;
    let number = given.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| expected(option, &given, what))
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
        _ => return Err(expected("kill-whom", given, "all, main or control")),
    })
}

fn preset_mode(given: &str) -> Result<PresetMode, Fault> {
    Ok(match given {
        "full" => PresetMode::Full,
        "enable-only" => PresetMode::EnableOnly,
        "disable-only" => PresetMode::DisableOnly,
        _ => {
            let modes = "full, enable-only or disable-only";
            return Err(expected("preset-mode", given, modes));
        }
    })
}

fn job_mode(given: &str) -> Result<JobMode, Fault> {
    JobMode::from_name(given).ok_or_else(|| {
        let names: Vec<&str> = JobMode::ALL.iter().map(|(name, _)| *name).collect();
        expected("job-mode", given, &["one of ", &names.join(", ")].concat())
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
    use units::state::JobVerb;

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

//! `sctl`, the command line of sysmaster.
//!
//! It decides nothing: it asks the manager over its socket (`client`), or works on the files of
//! an installation (`files`), and shows the answer. One run is one command: words and options are
//! read (`args`), the command is carried out, what it has to say is collected as text or JSON and
//! written at once, and the exit status says how it went.
//!
//! The exit status is systemctl's, which is LSB's: 0 done; 1 failed; 3 not active (`is-active`,
//! `status`); 4 no such unit for those two, or no permission; 5 no such unit, for everything else;
//! 6 the unit cannot be loaded. `is-failed` and `is-enabled` say 1 for no.
//!
//! What is written depends on nothing but the answers and [`Screen`], so that tests can compare
//! whole screens.

#![deny(missing_docs)]

mod args;
mod atomic;
mod chart;
mod client;
mod commands;
mod files;
mod help;
mod jobs;
mod json;
mod machine;
mod output;
mod plan;
mod processes;
mod properties;
mod query;
mod status;
mod style;
mod tree;
mod upgrade;
mod verify;
mod why;

pub use style::Style;

use args::{Colour, Options, Parsed};
use client::Client;
use commands::Verb;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use units::name::{NameError, UnitName};
use units::wire::control::{ErrorKind, ManagerInfo, Reply, Request};

/// Exit statuses (LSB, as systemctl uses them).
pub mod exit {
    /// Done.
    pub const OK: i32 = 0;
    /// It failed; or the answer is no.
    pub const FAILURE: i32 = 1;
    /// The command line cannot be understood.
    pub const USAGE: i32 = 1;
    /// The unit is not active; or this is not possible with it.
    pub const NOT_RUNNING: i32 = 3;
    /// The unit's kind cannot do this.
    pub const NOT_IMPLEMENTED: i32 = 3;
    /// `status` and `is-active`: there is no such unit.
    pub const UNKNOWN: i32 = 4;
    /// Only root may; or the unit's settings or a queued job forbid it.
    pub const DENIED: i32 = 4;
    /// There is no such unit.
    pub const NOT_INSTALLED: i32 = 5;
    /// The unit cannot be loaded.
    pub const NOT_CONFIGURED: i32 = 6;
}

/// Why a command was not carried out.
#[derive(Debug)]
pub struct Fault {
    /// Exit status.
    pub code: i32,
    /// What was found, what was expected, what to do.
    pub text: String,
    /// The manager's own word, if it was the manager who refused.
    pub kind: Option<ErrorKind>,
}

impl Fault {
    fn new(code: i32, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            kind: None,
        }
    }

    fn usage(text: impl Into<String>) -> Self {
        Self::new(exit::USAGE, text)
    }

    fn failed(text: impl Into<String>) -> Self {
        Self::new(exit::FAILURE, text)
    }

    /// There is no manager to speak to.
    fn offline(text: impl Into<String>) -> Self {
        Self {
            code: exit::FAILURE,
            text: text.into(),
            kind: Some(ErrorKind::ShuttingDown),
        }
    }
}

impl From<NameError> for Fault {
    fn from(error: NameError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Where the output goes and what it can show.
pub struct Screen<'a> {
    /// Answers.
    pub out: &'a mut dyn Write,
    /// Errors and progress.
    pub err: &'a mut dyn Write,
    /// Look of the answers.
    pub style: Style,
    /// Whether progress may be drawn over itself.
    pub live: bool,
    /// Wall clock, microseconds since 1970.
    pub wall: u64,
    /// Name of the machine.
    pub host: String,
}

/// What a command has to work with.
struct Run<'a, 's> {
    options: &'a Options,
    screen: &'a mut Screen<'s>,
    client: Client<'a>,
}

impl Run<'_, '_> {
    fn print(&mut self, text: &str) {
        // Whoever closed the pipe has seen enough; there is nobody to complain to.
        let _ = self.screen.out.write_all(text.as_bytes());
    }

    /// Look of what goes to standard error, which may be a file where the answers go to a terminal.
    fn error_style(&self) -> Style {
        let style = self.screen.style;
        let shows = self.screen.live || self.options.colour == Colour::Always;
        Style {
            colour: style.colour && shows,
            ..style
        }
    }

    /// A remark that is not the answer.
    fn say(&mut self, text: &str) {
        if !self.options.quiet {
            let _ = writeln!(self.screen.err, "{text}");
        }
    }

    fn manager(&mut self) -> Result<ManagerInfo, Fault> {
        let replies = self.client.ask(&Request::Manager)?;
        replies
            .into_iter()
            .find_map(|reply| match reply {
                Reply::Manager(info) => Some(info),
                _ => None,
            })
            .ok_or_else(|| Fault::failed("the manager said nothing about itself"))
    }
}

/// The program: `args` with its own name first; the result is the exit status.
pub fn main(args: Vec<OsString>) -> i32 {
    let stdout = std::io::stdout();
    let stderr = std::io::stderr();
    let terminal = stdout.is_terminal();
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let mut screen = Screen {
        style: Style {
            colour: terminal && !dumb && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            width: terminal.then(screen_width),
            unicode: shows_unicode(),
        },
        live: stderr.is_terminal() && !dumb,
        wall: u64::try_from(platform::clock::wall()).unwrap_or(0),
        host: host_name(),
        out: &mut stdout.lock(),
        err: &mut stderr.lock(),
    };
    run(args.into_iter().skip(1).collect(), &mut screen)
}

/// One command, without the program's name in front; the result is the exit status.
pub fn run(args: Vec<OsString>, screen: &mut Screen<'_>) -> i32 {
    let parsed = match args::parse(args) {
        Ok(parsed) => parsed,
        Err(fault) => {
            let _ = writeln!(screen.err, "sctl: {}", fault.text);
            return fault.code;
        }
    };
    match parsed.options.colour {
        Colour::Auto => {}
        Colour::Always => screen.style.colour = true,
        Colour::Never => screen.style.colour = false,
    }
    if parsed.options.full {
        screen.style.width = None;
    }
    let json = parsed.options.json;
    match dispatch(&parsed, screen) {
        Ok(code) => code,
        Err(fault) => {
            if json {
                let text = json::fault(&fault);
                let _ = writeln!(screen.out, "{text}");
            } else {
                let _ = writeln!(screen.err, "sctl: {}", fault.text);
            }
            fault.code
        }
    }
}

fn dispatch(parsed: &Parsed, screen: &mut Screen<'_>) -> Result<i32, Fault> {
    let options = &parsed.options;
    let quiet = options.quiet;
    let mut notice = |text: &str| {
        if !quiet {
            // The screen is borrowed by the command; standard error is not buffered anyway.
            eprintln!("sctl: {text}");
        }
    };
    let socket = options
        .socket
        .clone()
        .or_else(|| std::env::var("SYSMASTER_SOCKET").ok());
    let client = Client::new(
        socket,
        options.timeout.unwrap_or(client::PATIENCE),
        &mut notice,
    );
    let words = parsed.words.as_slice();
    let mut run = Run {
        options,
        screen,
        client,
    };
    match parsed.verb {
        Verb::Jobs(verb) => jobs::queue(&mut run, verb, words),
        Verb::Isolate => jobs::isolate(&mut run, words),
        Verb::Enter(target) => jobs::isolate(&mut run, &[target.to_owned()]),
        Verb::Kill => jobs::kill(&mut run, words),
        Verb::Plan => plan::plan(&mut run, words),
        Verb::Why => why::why(&mut run, words),
        Verb::BootChart => chart::boot_chart(&mut run, words),
        Verb::Blame => chart::blame(&mut run),
        Verb::CriticalChain => chart::critical_chain(&mut run, words),
        Verb::Cancel => jobs::cancel(&mut run, words),
        Verb::ResetFailed => jobs::reset_failed(&mut run, words),
        Verb::DaemonReload => jobs::simple(&mut run, &Request::Reload),
        Verb::Reexec => upgrade::reexec(&mut run),
        Verb::Upgrade => upgrade::upgrade(&mut run, words),
        Verb::Shutdown(kind) => jobs::shutdown(&mut run, kind),
        Verb::Status if words.is_empty() => machine::status(&mut run),
        Verb::Status => status::units(&mut run, words),
        Verb::ListUnits => query::list_units(&mut run, words),
        Verb::ListJobs => query::list_jobs(&mut run),
        Verb::Reconcile => query::reconcile(&mut run),
        Verb::Crashes => query::crashes(&mut run),
        Verb::ListDependencies => tree::dependencies(&mut run, words),
        Verb::Show => query::show(&mut run, words),
        Verb::IsActive => query::is_active(&mut run, words),
        Verb::IsFailed => query::is_failed(&mut run, words),
        Verb::IsSystemRunning => query::is_system_running(&mut run),
        Verb::Cat
        | Verb::IsEnabled
        | Verb::ListUnitFiles
        | Verb::Enable
        | Verb::Disable
        | Verb::Reenable
        | Verb::Mask
        | Verb::Unmask
        | Verb::Preset
        | Verb::PresetAll
        | Verb::GetDefault
        | Verb::SetDefault
        | Verb::Verify => files::command(&mut run, parsed.verb, words),
        Verb::Help => help(&mut run, words),
        Verb::Version => query::version(&mut run),
    }
}

/// The overview, or what is to be known of these commands.
fn help(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    if words.is_empty() {
        run.print(&help::overview());
    }
    for word in words {
        run.print(&help::of(args::find(word)?));
    }
    Ok(exit::OK)
}

/// The unit a word stands for: `nginx` is `nginx.service`, `/srv` is `srv.mount`.
fn unit_name(word: &str) -> Result<String, Fault> {
    Ok(UnitName::mangle(word)?.as_str().to_owned())
}

fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

/// As wide as the terminal says; a serial line says nothing, and is taken for a classic.
fn screen_width() -> usize {
    if let Some(columns) = platform::terminal::columns(&std::io::stdout()) {
        return usize::from(columns);
    }
    std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(80)
}

/// An explicit locale without UTF-8 is believed; where nothing is set (a serial console of a
/// board) the terminal at the other end is a modern one.
fn shows_unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

//! The boot console: one line for each unit as it comes up, fails or goes down, what is being
//! waited for and how long, and a last line with the time to the default target.
//!
//! This module makes the lines and decides when one is due; writing them is the caller's. A line is
//! printed when it happens and never changed afterwards, so that a serial console's log reads the
//! same as the screen. Colours are used only on a terminal whose `TERM` is not `dumb`. With `quiet`
//! on the kernel's command line only failures, long waits and the last line are printed.
//!
//! ```text
//!    up    nginx.service              A high performance web server (0.31 s)
//!   done   fsck-root.service          File System Check on the root device (0.52 s)
//!   FAIL   redis-server.service       exit-code: start, step exec: No such file or directory
//!   wait   network.service            start, 6 s of 90 s; 2 more under way, 14 queued behind
//!   ----   multi-user.target reached 1.42 s after the kernel started: 31 units up, 1 failed
//! ```

use units::state::{ActiveState, JobVerb, Micros};

/// The first line about a wait comes after this, the next each time twice as late.
const FIRST_WAIT: Micros = 3_000_000;
/// Longest pause between two lines about a wait.
const LONGEST_WAIT: Micros = 60_000_000;
/// Longest text of a line, in bytes: what is longer is cut, so that one unit cannot flood a
/// 9600 baud line.
const LONGEST: usize = 240;
/// Column at which the text begins.
const NAME_WIDTH: usize = 28;

/// What a line announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A unit is up.
    Up,
    /// A unit has done what it is for, and is down again.
    Done,
    /// A unit is down.
    Down,
    /// A unit failed.
    Fail,
    /// A job takes its time.
    Wait,
    /// Something about the machine as a whole.
    Note,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Self::Up => " up ",
            Self::Done => "done",
            Self::Down => "down",
            Self::Fail => "FAIL",
            Self::Wait => "wait",
            Self::Note => "----",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Up | Self::Done => "\x1b[32m",
            Self::Down => "\x1b[2m",
            Self::Fail => "\x1b[1;31m",
            Self::Wait => "\x1b[33m",
            Self::Note => "\x1b[1m",
        }
    }
}

/// How lines look and which are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Escape sequences are understood.
    pub colour: bool,
    /// Only failures, waits and notes.
    pub quiet: bool,
}

/// Makes the lines.
#[derive(Debug)]
pub struct Console {
    style: Style,
    /// When the next line about a wait is due, and the pause after it; `None`: nothing waits.
    wait: Option<(Micros, Micros)>,
}

impl Console {
    /// A console with nothing on it.
    pub fn new(style: Style) -> Self {
        Self { style, wait: None }
    }

    /// Shows everything, or only what must be seen.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.style.quiet = quiet;
    }

    /// The line for a unit's change of state, if one is to be printed. `text` is the description,
    /// or the reason of a failure; `took` how long the change took.
    pub fn changed(
        &self,
        unit: &str,
        from: ActiveState,
        to: ActiveState,
        text: &str,
        took: Micros,
    ) -> Option<String> {
        let mark = match (from, to) {
            (_, ActiveState::Failed) => Mark::Fail,
            (ActiveState::Activating | ActiveState::Inactive | ActiveState::Failed, to)
                if to.is_up() =>
            {
                Mark::Up
            }
            (ActiveState::Activating, ActiveState::Inactive) => Mark::Done,
            (ActiveState::Deactivating | ActiveState::Active, ActiveState::Inactive) => Mark::Down,
            _ => return None,
        };
        if self.style.quiet && mark != Mark::Fail {
            return None;
        }
        let mut rest = String::from(text);
        if mark != Mark::Fail && took >= 10_000 {
            rest.push_str(" (");
            push_seconds(&mut rest, took);
            rest.push(')');
        }
        Some(self.line(mark, unit, &rest))
    }

    /// A line about the machine as a whole.
    pub fn note(&self, text: &str) -> String {
        self.line(Mark::Note, "", text)
    }

    /// When [`Console::waiting`] wants to be asked again; `None` while nothing is waited for.
    pub fn deadline(&self) -> Option<Micros> {
        self.wait.map(|(due, _)| due)
    }

    /// Jobs are under way (or are not any more): starts or stops the clock of the waiting lines.
    pub fn set_waiting(&mut self, now: Micros, waiting: bool) {
        match (waiting, self.wait) {
            (true, None) => self.wait = Some((now + FIRST_WAIT, FIRST_WAIT)),
            (false, Some(_)) => self.wait = None,
            _ => {}
        }
    }

    /// Something moved: what is waited for now has not been waited for long.
    pub fn progress(&mut self, now: Micros) {
        if self.wait.is_some() {
            self.wait = Some((now + FIRST_WAIT, FIRST_WAIT));
        }
    }

    /// The line about the job that runs the longest, if it is due. `others`: how many more are under
    /// way, and how many wait for their turn.
    pub fn waiting(
        &mut self,
        now: Micros,
        unit: &str,
        verb: JobVerb,
        since: Micros,
        deadline: Option<Micros>,
        others: (usize, usize),
    ) -> Option<String> {
        let (due, pause) = self.wait?;
        if now < due {
            return None;
        }
        let pause = (pause * 2).min(LONGEST_WAIT);
        self.wait = Some((now + pause, pause));
        let mut text = format!(
            "{}, {} s",
            verb.as_str(),
            now.saturating_sub(since) / 1_000_000
        );
        match deadline {
            Some(end) if end != Micros::MAX && end > since => {
                text.push_str(&format!(" of {} s", (end - since).div_ceil(1_000_000)));
            }
            _ => text.push_str(", no limit"),
        }
        for (count, what) in [(others.0, " more under way"), (others.1, " queued behind")] {
            if count > 0 {
                text.push_str(if text.contains(';') { ", " } else { "; " });
                text.push_str(&count.to_string());
                text.push_str(what);
            }
        }
        Some(self.line(Mark::Wait, unit, &text))
    }

    fn line(&self, mark: Mark, unit: &str, text: &str) -> String {
        let mut line = String::with_capacity(96);
        line.push_str("  ");
        if self.style.colour {
            line.push_str(mark.colour());
        }
        line.push_str(mark.word());
        if self.style.colour {
            line.push_str("\x1b[0m");
        }
        line.push_str("   ");
        push_printable(&mut line, unit);
        if !unit.is_empty() {
            for _ in unit.len()..NAME_WIDTH {
                line.push(' ');
            }
            line.push(' ');
        }
        push_printable(&mut line, text);
        let mut end = line.len().min(LONGEST);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str("\r\n");
        line
    }
}

/// Control characters in a description do not reach the terminal.
fn push_printable(line: &mut String, text: &str) {
    line.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
}

/// Seconds with two decimals, without the machinery of floating point.
pub fn push_seconds(text: &mut String, micros: Micros) {
    let hundredths = micros / 10_000;
    text.push_str(&format!("{}.{:02} s", hundredths / 100, hundredths % 100));
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style {
        colour: false,
        quiet: false,
    };

    #[test]
    fn lines_of_a_unit() {
        let console = Console::new(PLAIN);
        let up = console
            .changed(
                "a.service",
                ActiveState::Activating,
                ActiveState::Active,
                "A",
                310_000,
            )
            .unwrap();
        assert_eq!(up, "   up    a.service                    A (0.31 s)\r\n");
        let fail = console
            .changed(
                "a.service",
                ActiveState::Active,
                ActiveState::Failed,
                "exit-code",
                1,
            )
            .unwrap();
        assert_eq!(fail, "  FAIL   a.service                    exit-code\r\n");
        let done = console.changed(
            "a.service",
            ActiveState::Activating,
            ActiveState::Inactive,
            "A",
            0,
        );
        assert_eq!(done.unwrap(), "  done   a.service                    A\r\n");
        let reload = (ActiveState::Reloading, ActiveState::Active);
        assert_eq!(
            console.changed("a.service", reload.0, reload.1, "A", 1),
            None
        );
    }

    #[test]
    fn quiet_shows_failures_only() {
        let console = Console::new(Style {
            quiet: true,
            ..PLAIN
        });
        let (from, up) = (ActiveState::Activating, ActiveState::Active);
        assert_eq!(console.changed("a.service", from, up, "A", 1), None);
        assert!(
            console
                .changed("a.service", from, ActiveState::Failed, "A", 1)
                .is_some()
        );
    }

    #[test]
    fn colours_only_when_asked() {
        let text = Console::new(Style {
            colour: true,
            ..PLAIN
        })
        .note("hello");
        assert_eq!(text, "  \x1b[1m----\x1b[0m   hello\r\n");
        assert!(!Console::new(PLAIN).note("hello").contains('\x1b'));
    }

    #[test]
    fn a_description_cannot_drive_the_terminal() {
        let line = Console::new(PLAIN).note("a\x1b[2Jb\r\nc");
        assert_eq!(line, "  ----   a [2Jb  c\r\n");
        let long = Console::new(PLAIN).note(&"ä".repeat(4096));
        assert!(long.len() <= LONGEST + 2);
    }

    #[test]
    fn waits_are_told_after_three_seconds_and_ever_more_rarely() {
        let mut console = Console::new(PLAIN);
        assert_eq!(console.deadline(), None);
        console.set_waiting(1_000_000, true);
        assert_eq!(console.deadline(), Some(4_000_000));
        let mut ask = |now| {
            console.waiting(
                now,
                "a.service",
                JobVerb::Start,
                1_000_000,
                Some(91_000_000),
                if now < 9_000_000 { (0, 0) } else { (2, 14) },
            )
        };
        assert_eq!(ask(3_999_999), None);
        assert_eq!(
            ask(4_000_000).unwrap(),
            "  wait   a.service                    start, 3 s of 90 s\r\n"
        );
        assert_eq!(ask(9_999_999), None);
        assert_eq!(
            ask(10_000_000).unwrap(),
            "  wait   a.service                    start, 9 s of 90 s; 2 more under way, 14 queued behind\r\n"
        );
        console.set_waiting(11_000_000, false);
        assert_eq!(console.deadline(), None);
    }
}

//! How things look: colours, widths, times, tables.
//!
//! Colours and redrawing are for terminals; what goes into a pipe is plain and never shortened.
//! All functions are pure, so that the tests compare whole screens.

use anstyle::{AnsiColor, Effects, Style as Ansi};
use units::state::{ActiveState, Micros};

/// What the screen can do.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether to colour.
    pub colour: bool,
    /// Columns; `None` when the output is no terminal or nothing may be shortened.
    pub width: Option<usize>,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
}

/// What a piece of text is, rather than which colour it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// As it comes.
    Plain,
    /// In order.
    Good,
    /// Not in order.
    Bad,
    /// On its way, or to be looked at.
    Busy,
    /// Less important than the rest.
    Dim,
    /// A name or heading.
    Strong,
}

impl Style {
    /// The text in its colour.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        let ansi = match paint {
            _ if !self.colour => return text.to_owned(),
            Paint::Plain => return text.to_owned(),
            Paint::Good => AnsiColor::Green.on_default().effects(Effects::BOLD),
            Paint::Bad => AnsiColor::Red.on_default().effects(Effects::BOLD),
            Paint::Busy => AnsiColor::Yellow.on_default().effects(Effects::BOLD),
            Paint::Dim => Ansi::new().effects(Effects::DIMMED),
            Paint::Strong => Ansi::new().effects(Effects::BOLD),
        };
        format!("{}{text}{}", ansi.render(), ansi.render_reset())
    }

    /// The dot in front of a unit.
    pub fn dot(&self, active: ActiveState, load: &str) -> String {
        let (fine, ascii) = match active {
            _ if is_bad_load(load) => ("×", "x"),
            ActiveState::Active => ("●", "*"),
            ActiveState::Inactive => ("○", "o"),
            ActiveState::Failed => ("×", "x"),
            ActiveState::Activating | ActiveState::Reloading | ActiveState::Deactivating => {
                ("↻", "~")
            }
        };
        self.paint(
            paint_of(active, load),
            if self.unicode { fine } else { ascii },
        )
    }

    /// A line of a tree before its last and other entries: `(branch, last, through, gap)`.
    pub fn branches(&self) -> [&'static str; 4] {
        if self.unicode {
            ["├─", "└─", "│ ", "  "]
        } else {
            ["|-", "`-", "| ", "  "]
        }
    }

    /// In front of what goes together: one alone; the first, a middle one, the last of several.
    pub fn brace(&self) -> [&'static str; 4] {
        if self.unicode {
            ["─", "┬", "├", "└"]
        } else {
            ["-", "+", "|", "`"]
        }
    }

    /// Between a thing and where it came from.
    pub fn back(&self) -> &'static str {
        if self.unicode { "←" } else { "<-" }
    }

    /// Cut at the right to `width` columns, if there is a limit.
    pub fn cut(&self, text: &str, used: usize) -> String {
        match self.width {
            Some(width) => shorten_end(text, width.saturating_sub(used).max(8), self.ellipsis()),
            None => text.to_owned(),
        }
    }

    /// What stands for left-out text.
    pub fn ellipsis(&self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    /// Between a unit's name and its description.
    pub fn dash(&self) -> &'static str {
        if self.unicode { "—" } else { "-" }
    }
}

/// Whether a load state is a problem. A masked unit is somebody's decision.
pub fn is_bad_load(load: &str) -> bool {
    matches!(load, "bad-setting" | "error" | "no-helper")
}

/// How a unit in this state is painted.
pub fn paint_of(active: ActiveState, load: &str) -> Paint {
    match active {
        _ if is_bad_load(load) => Paint::Bad,
        ActiveState::Active => Paint::Good,
        ActiveState::Inactive => Paint::Plain,
        ActiveState::Failed => Paint::Bad,
        ActiveState::Activating | ActiveState::Reloading | ActiveState::Deactivating => Paint::Busy,
    }
}

/// Columns a text takes. Every character counts as one: unit names and our own words are so.
pub fn columns(text: &str) -> usize {
    text.chars().count()
}

/// At most `width` columns, the end left out.
pub fn shorten_end(text: &str, width: usize, ellipsis: &str) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(columns(ellipsis));
    let mut short: String = text.chars().take(kept).collect();
    short.push_str(ellipsis);
    short
}

/// Words over as many lines as they need, each begun by `indent` spaces and ended.
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        if used > 0 && used + 1 + columns(word) > width {
            out.push('\n');
            used = 0;
        }
        let gap = if used == 0 { indent } else { 1 };
        out.extend(std::iter::repeat_n(' ', gap));
        out.push_str(word);
        used += gap + columns(word);
    }
    out.push('\n');
    out
}

/// At most `width` columns, the middle left out: the ends of a unit name say most.
pub fn shorten_middle(text: &str, width: usize, ellipsis: &str) -> String {
    let length = columns(text);
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(columns(ellipsis));
    let tail = kept / 2;
    let mut short: String = text.chars().take(kept - tail).collect();
    short.push_str(ellipsis);
    short.extend(text.chars().skip(length - tail));
    short
}

/// A span of time in its two greatest units: `3.2s`, `2min 5s`, `4d 1h`.
pub fn span(micros: Micros) -> String {
    let seconds = micros / 1_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    if days > 0 {
        pair(days, "d", hours, "h")
    } else if hours > 0 {
        pair(hours, "h", minutes, "min")
    } else if minutes > 0 {
        pair(minutes, "min", seconds % 60, "s")
    } else if seconds > 0 {
        let tenths = micros / 100_000 % 10;
        if seconds < 10 && tenths > 0 {
            format!("{seconds}.{tenths}s")
        } else {
            format!("{seconds}s")
        }
    } else if micros >= 1000 {
        format!("{}ms", micros / 1000)
    } else {
        format!("{micros}us")
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

/// A wall-clock time in microseconds since 1970 as `2026-11-22 21:40:03 UTC`. Boards seldom have
/// zone files and we read none: it is always UTC, and says so.
pub fn stamp(wall: u64) -> String {
    let seconds = wall / 1_000_000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a day number since 1970-01-01 (proleptic Gregorian; Hinnant's method).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// One cell of a table.
pub struct Cell {
    /// Text.
    pub text: String,
    /// Look.
    pub paint: Paint,
}

impl Cell {
    /// A cell as it comes.
    pub fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            paint: Paint::Plain,
        }
    }

    /// A cell in a colour.
    pub fn painted(paint: Paint, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            paint,
        }
    }
}

/// Rows in aligned columns. When they are wider than the screen, the first column (unit names) is
/// shortened in its middle down to a third of the screen, then the last one is cut.
pub fn table(style: &Style, heading: Option<&[&str]>, rows: &[Vec<Cell>]) -> String {
    let count = rows
        .iter()
        .map(Vec::len)
        .max()
        .unwrap_or(0)
        .max(heading.map_or(0, <[_]>::len));
    let mut widths = vec![0usize; count];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(&cell.text));
        }
    }
    for (width, word) in widths.iter_mut().zip(heading.unwrap_or(&[])) {
        *width = (*width).max(columns(word));
    }
    fit(style, &mut widths);
    let mut out = String::new();
    if let Some(words) = heading {
        let cells: Vec<Cell> = words
            .iter()
            .map(|word| Cell::painted(Paint::Dim, (*word).to_owned()))
            .collect();
        push_row(style, &widths, &cells, &mut out);
    }
    for row in rows {
        push_row(style, &widths, row, &mut out);
    }
    out
}

fn fit(style: &Style, widths: &mut [usize]) {
    let Some(screen) = style.width else { return };
    let gaps = 2 * widths.len().saturating_sub(1);
    let total = widths.iter().sum::<usize>() + gaps;
    let mut excess = total.saturating_sub(screen);
    if let Some(first) = widths.first_mut() {
        let give = excess.min(first.saturating_sub((screen / 3).max(16)));
        *first -= give;
        excess -= give;
    }
    if let Some(last) = widths.last_mut() {
        *last -= excess.min(last.saturating_sub(8));
    }
}

fn push_row(style: &Style, widths: &[usize], row: &[Cell], out: &mut String) {
    let last = row.len().saturating_sub(1);
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        let text = if index == 0 {
            shorten_middle(&cell.text, *width, style.ellipsis())
        } else if index == last && style.width.is_some() {
            shorten_end(&cell.text, *width, style.ellipsis())
        } else {
            cell.text.clone()
        };
        let pad = width.saturating_sub(columns(&text));
        out.push_str(&style.paint(cell.paint, &text));
        if index < last {
            out.extend(std::iter::repeat_n(' ', pad + 2));
        }
    }
    while out.ends_with(' ') {
        out.pop();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style {
        colour: false,
        width: None,
        unicode: true,
    };

    #[test]
    fn spans() {
        for (micros, text) in [
            (0, "0us"),
            (999, "999us"),
            (1_000, "1ms"),
            (3_250_000, "3.2s"),
            (10_900_000, "10s"),
            (60_000_000, "1min"),
            (125_000_000, "2min 5s"),
            (3_600_000_000, "1h"),
            (90_060_000_000, "1d 1h"),
        ] {
            assert_eq!(span(micros), text);
        }
    }

    #[test]
    fn stamps_before_and_after_2038() {
        assert_eq!(stamp(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(stamp(951_782_400_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(stamp(2_208_988_800_000_000), "2040-01-01 00:00:00 UTC");
        assert_eq!(stamp(1_795_382_403_000_000), "2026-11-22 21:20:03 UTC");
    }

    #[test]
    fn names_lose_their_middle_and_texts_their_end() {
        assert_eq!(
            shorten_middle("systemd-networkd.service", 15, "…"),
            "systemd…service"
        );
        assert_eq!(shorten_end("a long description", 7, "…"), "a long…");
        assert_eq!(shorten_end("short", 7, "…"), "short");
    }

    #[test]
    fn a_table_fits_the_screen_and_a_pipe_gets_everything() {
        let rows = || {
            vec![vec![
                Cell::plain("a-very-long-unit-name-indeed.service"),
                Cell::plain("active"),
                Cell::plain("A description that does not end here"),
            ]]
        };
        let narrow = Style {
            width: Some(60),
            ..PLAIN
        };
        let line = table(&narrow, None, &rows());
        assert!(columns(line.trim_end()) <= 60, "{line}");
        assert!(line.contains("service  active  A descr"), "{line}");
        let wide = table(&PLAIN, Some(&["UNIT", "ACTIVE", "DESCRIPTION"]), &rows());
        assert!(wide.contains(
            "a-very-long-unit-name-indeed.service  active  A description that does not end here\n"
        ));
        assert!(wide.starts_with("UNIT   "));
    }

    #[test]
    fn colour_only_where_asked() {
        assert_eq!(PLAIN.paint(Paint::Bad, "x"), "x");
        let coloured = Style {
            colour: true,
            ..PLAIN
        };
        assert!(coloured.paint(Paint::Bad, "x").starts_with("\u{1b}["));
    }
}

//! Time spans: `90`, `5min 20s`, `1.5h`, `infinity` (systemd.time(7)), in microseconds.

use super::ValueError;
use crate::state::Micros;
use alloc::format;
use alloc::string::String;

/// A span without end.
pub const INFINITY: Micros = u64::MAX;

/// One second.
pub const SECOND: Micros = 1_000_000;
const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;
const DAY: Micros = 24 * HOUR;
/// 30.44 days.
const MONTH: Micros = 2_629_800 * SECOND;
/// 365.25 days.
const YEAR: Micros = 31_557_600 * SECOND;

/// Longer spellings stand before those they begin with.
const UNITS: [(&str, Micros); 31] = [
    ("seconds", SECOND),
    ("second", SECOND),
    ("sec", SECOND),
    ("s", SECOND),
    ("minutes", MINUTE),
    ("minute", MINUTE),
    ("min", MINUTE),
    ("months", MONTH),
    ("month", MONTH),
    ("M", MONTH),
    ("msec", 1000),
    ("ms", 1000),
    ("m", MINUTE),
    ("hours", HOUR),
    ("hour", HOUR),
    ("hr", HOUR),
    ("h", HOUR),
    ("days", DAY),
    ("day", DAY),
    ("d", DAY),
    ("weeks", 7 * DAY),
    ("week", 7 * DAY),
    ("w", 7 * DAY),
    ("years", YEAR),
    ("year", YEAR),
    ("y", YEAR),
    ("usec", 1),
    ("us", 1),
    ("µs", 1),
    ("μs", 1),
    // What has no unit at all is in the default one.
    ("", 0),
];

const EXPECTED: &str = "a time span, as 90, 1.5s, 5min 20s or infinity";

/// A time span in microseconds; a number without unit is in seconds.
pub fn span(text: &str) -> Result<Micros, ValueError> {
    span_in(text, SECOND)
}

/// A time span in microseconds; a number without unit is in this one, given in microseconds.
pub fn span_in(text: &str, default_unit: Micros) -> Result<Micros, ValueError> {
    let wrong = || ValueError::new(text, EXPECTED);
    let mut rest = text.trim();
    if rest == "infinity" {
        return Ok(INFINITY);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: Micros = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("0", after),
        };
        if fraction.is_empty() || whole.is_empty() && !rest.starts_with('.') {
            return Err(wrong());
        }
        let after = after.trim_start();
        let (name, unit) = unit_of(after).ok_or_else(wrong)?;
        let unit = if unit == 0 { default_unit } else { unit };
        rest = after.get(name.len()..).unwrap_or("").trim_start();
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| wrong())?
        };
        total = whole
            .checked_mul(unit)
            .and_then(|part| part.checked_add(part_of(fraction, unit)))
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum != INFINITY)
            .ok_or_else(wrong)?;
    }
    Ok(total)
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `0.fraction` of a unit; digits that make no microsecond are dropped.
fn part_of(fraction: &str, unit: Micros) -> Micros {
    let mut step = unit / 10;
    let mut sum = 0;
    for digit in fraction.bytes() {
        sum += u64::from(digit - b'0') * step;
        step /= 10;
    }
    sum
}

fn unit_of(text: &str) -> Option<(&'static str, Micros)> {
    let (name, unit) = UNITS.into_iter().find(|(name, _)| text.starts_with(name))?;
    // "5x" is not "5" and something else.
    let bare = name.is_empty() && text.starts_with(|c: char| !c.is_ascii_digit());
    if bare { None } else { Some((name, unit)) }
}

/// A span for people, in up to two units: `1min 30s`, `250ms`, `infinity`.
pub fn format(span: Micros) -> String {
    if span == INFINITY {
        return "infinity".into();
    }
    const STEPS: [(&str, Micros); 6] = [
        ("d", DAY),
        ("h", HOUR),
        ("min", MINUTE),
        ("s", SECOND),
        ("ms", 1000),
        ("us", 1),
    ];
    let mut steps = STEPS.into_iter().skip_while(|(_, unit)| *unit > span);
    let Some((name, unit)) = steps.next() else {
        return "0".into();
    };
    let first = format!("{}{name}", span / unit);
    match steps.next() {
        Some((name, smaller)) if span % unit >= smaller => {
            format!("{first} {}{name}", span % unit / smaller)
        }
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_the_manual() {
        for (text, want) in [
            ("0", 0),
            ("90", 90 * SECOND),
            ("2 h", 2 * HOUR),
            ("2hours", 2 * HOUR),
            ("48hr", 48 * HOUR),
            ("1y 12month", YEAR + 12 * MONTH),
            ("55s500ms", 55_500_000),
            ("300ms20s 5day", 300_000 + 20 * SECOND + 5 * DAY),
            ("1.5s", 1_500_000),
            (".5", 500_000),
            ("1.0000009s", 1_000_000),
            ("5min 20s", 320 * SECOND),
            ("3µs", 3),
            ("1m", MINUTE),
            ("1M", MONTH),
            ("2w", 14 * DAY),
            ("5 5", 10 * SECOND),
            (" 7 ", 7 * SECOND),
            ("infinity", INFINITY),
        ] {
            assert_eq!(span(text), Ok(want), "{text}");
        }
        assert_eq!(span_in("250", 1000), Ok(250_000));
    }

    #[test]
    fn what_is_no_span() {
        for bad in [
            "",
            " ",
            "-1",
            "+1",
            "x",
            "5x",
            "5 x",
            "1e3",
            ".",
            "2.",
            "s",
            "infinity 1",
            "5,5",
            "5min,",
            "18446744073709551615",
            "99999999999999999999",
            "600000y",
            "5 µ",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn for_people() {
        for (value, want) in [
            (0, "0"),
            (1, "1us"),
            (250_000, "250ms"),
            (90 * SECOND, "1min 30s"),
            (MINUTE, "1min"),
            (1_500_000, "1s 500ms"),
            (DAY + 5 * SECOND, "1d"),
            (INFINITY, "infinity"),
        ] {
            assert_eq!(format(value), want);
        }
    }
}

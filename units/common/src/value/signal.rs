//! Signals by name and number.
//!
//! The numbers are those of x86, ARM and RISC-V; no other processor is a target.

use super::ValueError;
use alloc::format;
use alloc::string::String;

/// Names in the order of their numbers, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// First real-time signal a program may use.
const RTMIN: u8 = 34;
/// Last one.
const RTMAX: u8 = 64;

/// A signal: `SIGTERM`, `TERM`, `15`, `RTMIN+3`, `SIGRTMAX-1`. In 1..=64.
pub fn signal(text: &str) -> Result<u8, ValueError> {
    let wrong = || ValueError::new(text, "a signal, as SIGTERM or 15");
    let text = text.trim();
    if let Ok(number) = text.parse::<u8>() {
        return if (1..=RTMAX).contains(&number) {
            Ok(number)
        } else {
            Err(wrong())
        };
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(at) = NAMES.iter().position(|n| *n == name) {
        return Ok(at as u8 + 1);
    }
    match name {
        "POLL" => return Ok(29),
        "IOT" => return Ok(6),
        "CLD" => return Ok(17),
        _ => {}
    }
    let offset = |digits: &str| match digits {
        "" => Some(0),
        _ => digits
            .strip_prefix(['+', '-'])
            .and_then(|d| d.parse::<u8>().ok()),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN").filter(|r| !r.starts_with('-')) {
        offset(rest).and_then(|o| RTMIN.checked_add(o))
    } else if let Some(rest) = name.strip_prefix("RTMAX").filter(|r| !r.starts_with('+')) {
        offset(rest).and_then(|o| RTMAX.checked_sub(o))
    } else {
        None
    };
    number
        .filter(|n| (RTMIN..=RTMAX).contains(n))
        .ok_or_else(wrong)
}

/// The name of a signal with `SIG`; its number if it has none.
pub fn name(signal: u8) -> String {
    match NAMES.get(usize::from(signal).wrapping_sub(1)) {
        Some(name) => format!("SIG{name}"),
        None if (RTMIN..=RTMAX).contains(&signal) => format!("SIGRTMIN+{}", signal - RTMIN),
        None => format!("{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, want) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("9", 9),
            ("SIGWINCH", 28),
            ("SYS", 31),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("POLL", 29),
        ] {
            assert_eq!(signal(text), Ok(want), "{text}");
        }
        for bad in [
            "", "0", "65", "sigterm", "SIG", "SIGFOO", "RTMIN-1", "RTMAX+1", "RTMIN+31", "-9",
        ] {
            assert!(signal(bad).is_err(), "{bad}");
        }
        for number in (1..=31).chain(34..=64) {
            assert_eq!(signal(&name(number)), Ok(number));
        }
        assert_eq!(name(32), "32");
    }
}

//! Resource limits: `LimitNOFILE=1024:524288`, `LimitCORE=infinity`, `LimitCPU=5min`.

use super::{ValueError, signed, size, time, unsigned};
use serde::{Deserialize, Serialize};

/// A limit that is none.
pub const INFINITY: u64 = u64::MAX;

/// The limits there are, with the numbers Linux gives them on x86, ARM and RISC-V.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs)] // Each is RLIMIT_ of the same name, see getrlimit(2).
pub enum Resource {
    Cpu = 0,
    Fsize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Rss = 5,
    Nproc = 6,
    Nofile = 7,
    Memlock = 8,
    As = 9,
    Locks = 10,
    Sigpending = 11,
    Msgqueue = 12,
    Nice = 13,
    Rtprio = 14,
    Rttime = 15,
}

impl Resource {
    /// The resource of a directive (`LimitNOFILE`).
    pub fn from_key(key: &str) -> Option<Self> {
        Some(match key.strip_prefix("Limit")? {
            "CPU" => Self::Cpu,
            "FSIZE" => Self::Fsize,
            "DATA" => Self::Data,
            "STACK" => Self::Stack,
            "CORE" => Self::Core,
            "RSS" => Self::Rss,
            "NPROC" => Self::Nproc,
            "NOFILE" => Self::Nofile,
            "MEMLOCK" => Self::Memlock,
            "AS" => Self::As,
            "LOCKS" => Self::Locks,
            "SIGPENDING" => Self::Sigpending,
            "MSGQUEUE" => Self::Msgqueue,
            "NICE" => Self::Nice,
            "RTPRIO" => Self::Rtprio,
            "RTTIME" => Self::Rttime,
            _ => return None,
        })
    }

    /// One value in this resource's unit (bytes, seconds, microseconds, a count, 1..=40 for nice).
    fn value(self, text: &str) -> Result<u64, ValueError> {
        let text = text.trim();
        if text == "infinity" {
            return Ok(INFINITY);
        }
        match self {
            Self::Cpu => Ok(time::span(text)?.div_ceil(time::SECOND)),
            Self::Rttime => time::span_in(text, 1),
            Self::Nice if text.starts_with(['+', '-']) => {
                let nice = signed(text, -20, 19, "a nice level from -20 to +19")?;
                Ok(u64::try_from(20 - nice).unwrap_or(0))
            }
            Self::Nice => {
                let expected = "a nice level with sign (-20 to +19) or a raw limit up to 40";
                unsigned(text)
                    .ok()
                    .filter(|n| *n <= 40)
                    .ok_or(ValueError::new(text, expected))
            }
            Self::Fsize
            | Self::Data
            | Self::Stack
            | Self::Core
            | Self::Rss
            | Self::Memlock
            | Self::As
            | Self::Msgqueue => size::bytes(text),
            _ => unsigned(text),
        }
    }
}

/// A soft and a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What counts; [`INFINITY`] is none.
    pub soft: u64,
    /// Up to where the process may raise it.
    pub hard: u64,
}

/// `value` for both, or `soft:hard`.
pub fn limit(resource: Resource, text: &str) -> Result<Limit, ValueError> {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let (soft, hard) = (resource.value(soft)?, resource.value(hard)?);
    if soft > hard {
        return Err(ValueError::new(
            text,
            "a soft limit that is not above the hard one",
        ));
    }
    Ok(Limit { soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(key: &str, text: &str) -> Result<(u64, u64), ValueError> {
        limit(Resource::from_key(key).unwrap(), text).map(|l| (l.soft, l.hard))
    }

    #[test]
    fn limits() {
        assert_eq!(both("LimitNOFILE", "65536"), Ok((65_536, 65_536)));
        assert_eq!(both("LimitNOFILE", "1024:infinity"), Ok((1024, INFINITY)));
        assert_eq!(both("LimitCORE", "0"), Ok((0, 0)));
        assert_eq!(both("LimitAS", "4G:16G"), Ok((4 << 30, 16 << 30)));
        assert_eq!(both("LimitCPU", "1500ms"), Ok((2, 2)));
        assert_eq!(both("LimitRTTIME", "50ms"), Ok((50_000, 50_000)));
        assert_eq!(both("LimitNICE", "-5"), Ok((25, 25)));
        assert_eq!(both("LimitNICE", "+19"), Ok((1, 1)));
        assert_eq!(both("LimitNICE", "40"), Ok((40, 40)));
        for (key, bad) in [
            ("LimitNOFILE", ""),
            ("LimitNOFILE", "2:1"),
            ("LimitNOFILE", "64K"),
            ("LimitNICE", "41"),
            ("LimitNICE", "+20"),
            ("LimitAS", "1:2:3"),
        ] {
            assert!(both(key, bad).is_err(), "{key}={bad}");
        }
        assert_eq!(Resource::from_key("LimitFOO"), None);
    }
}

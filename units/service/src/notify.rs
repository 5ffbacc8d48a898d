//! What services say over their notify sockets (sd_notify(3)): reading a datagram.
//!
//! Each unit that may notify has a socket of its own, so a datagram needs no search for its unit,
//! and what one unit floods costs no other. The socket is in init's keeping before the first
//! process of the unit can see it; while no helper reads it, datagrams wait in it.
//!
//! A datagram is `NAME=value` lines. One that is truncated, not UTF-8 or has a zero byte inside is
//! ignored as a whole; unknown names are ignored one by one. Who may say what is decided by the
//! caller: reading trusts nobody.

use crate::machine::Notification;

/// The longest datagram that is read; systemd's limit too.
pub const LONGEST: usize = 4096;

/// A datagram, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What concerns the state. `main` is not filled in: see `main_pid`.
    pub state: Notification,
    /// MAINPID=, unchecked.
    pub main_pid: Option<u32>,
    /// WATCHDOG=1
    pub pat: bool,
    /// FDSTORE=1: the descriptors beside the datagram are to be kept.
    pub store: bool,
    /// FDSTOREREMOVE=1: those of that name are to be dropped.
    pub remove: bool,
    /// FDPOLL=0: their end is not to be watched for.
    pub unwatched: bool,
    /// FDNAME=; "stored" if none is given.
    pub name: String,
}

/// Why a datagram is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// Longer than [`LONGEST`].
    TooLong,
    /// Not UTF-8, or with a zero byte.
    NoText,
}

impl Nonsense {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "a notification of more than 4096 bytes was ignored",
            Self::NoText => "a notification that is no text was ignored",
        }
    }
}

/// Whether a name may be given to a stored descriptor: printable ASCII without `:`, at most 255
/// bytes.
fn is_fd_name(name: &str) -> bool {
    name.len() <= 255
        && name
            .bytes()
            .all(|byte| (b' '..0x7f).contains(&byte) && byte != b':')
}

/// Reads a datagram.
pub fn read(bytes: &[u8], truncated: bool) -> Result<Said, Nonsense> {
    if truncated || bytes.len() > LONGEST {
        return Err(Nonsense::TooLong);
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| Nonsense::NoText)?;
    if text.contains('\0') {
        return Err(Nonsense::NoText);
    }
    let mut said = Said {
        name: "stored".into(),
        ..Said::default()
    };
    // Not `lines`, for which a CR before it belongs to the end of a line, but not at the end of the text.
    for line in text.split('\n') {
        if let Some((name, value)) = line.split_once('=') {
            take(&mut said, name, value);
        }
    }
    Ok(said)
}

fn take(said: &mut Said, name: &str, value: &str) {
    let state = &mut said.state;
    let one = value == "1";
    match name {
        "READY" => state.ready = one,
        "RELOADING" => state.reloading = one,
        "STOPPING" => state.stopping = one,
        "STATUS" => state.status = Some(printable(value)),
        "ERRNO" => {
            state.errno = value
                .parse()
                .ok()
                .filter(|number| (0..4096).contains(number))
        }
        "MAINPID" => said.main_pid = value.parse().ok().filter(|pid| *pid > 1),
        "EXTEND_TIMEOUT_USEC" => state.extend = value.parse().ok(),
        "WATCHDOG_USEC" => {
            state.watchdog = value.parse().ok().filter(|span| *span != u64::MAX);
        }
        "WATCHDOG" if value == "trigger" => state.trigger = true,
        "WATCHDOG" => said.pat = one,
        "FDSTORE" => said.store = one,
        "FDSTOREREMOVE" => said.remove = one,
        "FDPOLL" => said.unwatched = value == "0",
        // What came with it is closed when it has been read: that is the answer.
        "BARRIER" => {}
        "FDNAME" if is_fd_name(value) => said.name = value.into(),
        _ => {}
    }
}

/// A status line goes to terminals: no control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood() {
        let text = b"READY=1\nSTATUS=up \x1b[31mand well\nMAINPID=42\nWATCHDOG=1\nFDSTORE=1\n\
            FDNAME=conn\nEXTEND_TIMEOUT_USEC=5\nWATCHDOG_USEC=7\nERRNO=2\nOTHER=x\nnonsense\0";
        let said = read(text, false).unwrap();
        assert!(said.state.ready && said.pat && said.store && !said.remove);
        assert_eq!(said.state.status.as_deref(), Some("up [31mand well"));
        assert_eq!((said.main_pid, said.name.as_str()), (Some(42), "conn"));
        assert_eq!((said.state.extend, said.state.watchdog), (Some(5), Some(7)));
        assert_eq!(said.state.errno, Some(2));
        assert!(said.state.main.is_none());
    }

    #[test]
    fn what_is_ignored() {
        let said = read(
            b"READY=yes\nMAINPID=1\nERRNO=-3\nFDNAME=a:b\nWATCHDOG_USEC=x",
            false,
        );
        assert_eq!(
            said.unwrap(),
            Said {
                name: "stored".into(),
                ..Said::default()
            }
        );
        for text in [&b"WATCHDOG_USEC=7\r"[..], b"WATCHDOG_USEC=7\r\n"] {
            assert_eq!(read(text, false).unwrap().state.watchdog, None);
        }
        assert_eq!(read(b"READY=1", true), Err(Nonsense::TooLong));
        assert_eq!(read(&[b'a'; LONGEST + 1], false), Err(Nonsense::TooLong));
        assert_eq!(read(b"READY=1\xff", false), Err(Nonsense::NoText));
        assert_eq!(read(b"READY=1\0STOPPING=1", false), Err(Nonsense::NoText));
        assert!(read(b"", false).is_ok());
    }

    #[test]
    fn random_bytes_are_an_answer() {
        let seed = 0x5eed_u64;
        let mut state = seed;
        for round in 0..2_000 {
            let mut bytes = Vec::new();
            for _ in 0..round % 200 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let pick = (state >> 56) as u8;
                bytes.push(if pick < 40 {
                    b"READY=1\nMAINPID=99"[usize::from(pick) % 18]
                } else {
                    pick
                });
            }
            // Any answer will do, seed is printed with a panic.
            assert!(
                read(&bytes, false).is_ok() || !bytes.is_empty(),
                "seed {seed:#x}"
            );
        }
    }
}

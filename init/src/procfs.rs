//! Reading `/proc`: pure parsers over bytes that somebody else wrote (a process names itself).

/// What `/proc/<pid>/stat` says and init needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// One letter: R, S, D, Z, T, t, …
    pub state: u8,
    /// User and system time used, in ticks.
    pub cpu: u64,
    /// Start time, in ticks since boot.
    pub start: u64,
}

/// Parses `/proc/<pid>/stat`. The name in parentheses may hold anything, parentheses too.
#[must_use]
pub fn stat(bytes: &[u8]) -> Option<Stat> {
    // Field 3 is the state; 14 and 15 are the times, 22 the start. What is no digit counts for nothing.
    let close = bytes.iter().rposition(|byte| *byte == b')')?;
    let rest = bytes.get(close + 2..)?;
    let state = *rest.first()?;
    let mut numbers = [0_u64; 23];
    let mut field = 3;
    for byte in rest {
        if *byte == b' ' {
            field += 1;
        } else if byte.is_ascii_digit()
            && let Some(number) = numbers.get_mut(field)
        {
            let digit = u64::from(byte - b'0');
            *number = number.wrapping_mul(10).wrapping_add(digit);
        }
    }
    (field > 21).then_some(Stat {
        state,
        cpu: numbers[14].wrapping_add(numbers[15]),
        start: numbers[22],
    })
}

/// The mount point of one line of `/proc/self/mountinfo`, still escaped, and its file system type.
#[must_use]
pub fn mount(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.nth(4)?;
    fields.find(|field| *field == b"-")?;
    Some((point, fields.next()?))
}

/// Undoes the kernel's `\ooo` escapes in a path of a mount or swap table; at most `out` is filled.
pub fn unescape<'o>(escaped: &[u8], out: &'o mut [u8]) -> Option<&'o [u8]> {
    let mut rest = escaped;
    let mut len = 0;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => (((a & 3) << 6) | ((b & 7) << 3) | (c & 7), after),
            _ => (*byte, after),
        };
        *out.get_mut(len)? = byte;
        len += 1;
        rest = after;
    }
    out.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_hostile_name() {
        let line = b"42 (a) R 1 (b)) S 1 42 42 0 -1 4194560 97 0 0 0 3 4 0 0 20 0 1 0 987654 1 2\n";
        assert_eq!(
            stat(line),
            Some(Stat {
                state: b'S',
                cpu: 7,
                start: 987_654
            })
        );
        for cut in 0..line.len() - 6 {
            let _ = stat(&line[..cut]);
        }
        assert_eq!(stat(b""), None);
        assert_eq!(stat(b"1 (x)"), None);
    }

    #[test]
    fn own_stat_is_understood() {
        let own = std::fs::read("/proc/thread-self/stat").unwrap();
        let stat = stat(&own).unwrap();
        assert_eq!(stat.state, b'R');
        assert!(stat.start > 0);
    }

    #[test]
    fn mounts() {
        let line = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount(line), Some((&b"/mnt\\0402"[..], &b"ext3"[..])));
        assert_eq!(mount(b"36 35 98:0 / /x rw"), None);
        let mut out = [0; 16];
        assert_eq!(unescape(b"/mnt\\0402", &mut out), Some(&b"/mnt 2"[..]));
        assert_eq!(unescape(b"\\134\\9\\04", &mut out), Some(&b"\\\\9\\04"[..]));
        assert_eq!(unescape(&[b'x'; 17], &mut out), None);
    }
}

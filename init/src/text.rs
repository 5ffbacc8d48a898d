//! Text in fixed buffers: what `core::fmt` would do, without its panic paths and its size.
//!
//! A [`Text`] takes what fits and drops the rest; it never fails. It ends in a NUL byte at any
//! time, so it serves as a path for the system as well as a line for the log.

use core::ffi::CStr;

/// Bytes a [`Text`] holds, the NUL included. Long enough for `/proc/<pid>/stat` and for two paths
/// in one message; a path from outside that is longer is refused, not cut (see [`Text::whole`]).
const SIZE: usize = 640;

/// A short text.
pub struct Text {
    buf: [u8; SIZE],
    len: usize,
    cut: bool,
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl Text {
    /// An empty text.
    #[must_use]
    pub const fn new() -> Text {
        Text {
            buf: [0; SIZE],
            len: 0,
            cut: false,
        }
    }

    /// Holds nothing any more.
    pub fn clear(&mut self) {
        self.buf.fill(0);
        self.len = 0;
        self.cut = false;
    }

    /// Appends bytes.
    #[inline(never)]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Text {
        for byte in bytes {
            match self.buf.get_mut(self.len) {
                Some(place) if self.len < SIZE - 1 => {
                    *place = *byte;
                    self.len += 1;
                }
                _ => self.cut = true,
            }
        }
        self
    }

    /// Appends text.
    #[inline(never)]
    pub fn text(&mut self, text: &str) -> &mut Text {
        self.bytes(text.as_bytes())
    }

    /// Appends a decimal number.
    #[inline(never)]
    pub fn num(&mut self, mut number: u64) -> &mut Text {
        let mut digits = [0u8; 20];
        let mut used = 0;
        for place in digits.iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
            used += 1;
            if number == 0 {
                break;
            }
        }
        let start = digits.len().saturating_sub(used);
        self.bytes(digits.get(start..).unwrap_or_default())
    }

    /// Appends a signed decimal number.
    pub fn signed(&mut self, number: i32) -> &mut Text {
        if number < 0 {
            self.bytes(b"-");
        }
        self.num(u64::from(number.unsigned_abs()))
    }

    /// What was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// The same for the system, up to the first NUL.
    #[must_use]
    #[inline(never)]
    pub fn as_c(&self) -> &CStr {
        crate::sys::until_nul(&self.buf)
    }

    /// `Some` if nothing was dropped and no NUL is inside: fit to be used as a path.
    #[must_use]
    #[inline(never)]
    pub fn whole(&self) -> Option<&CStr> {
        let c = self.as_c();
        if self.cut || c.to_bytes().len() != self.len {
            None
        } else {
            Some(c)
        }
    }
}

/// A path made of parts.
#[must_use]
#[inline(never)]
pub fn join(parts: &[&[u8]]) -> Text {
    let mut text = Text::new();
    for part in parts {
        text.bytes(part);
    }
    text
}

/// An unsigned decimal number; `None` for anything else, or more than 64 bits.
#[must_use]
pub fn parse(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(value))?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let mut text = Text::new();
        text.num(0)
            .text(" ")
            .num(u64::MAX)
            .text(" ")
            .signed(i32::MIN);
        assert_eq!(text.as_bytes(), b"0 18446744073709551615 -2147483648");
        assert_eq!(parse(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b"18446744073709551616"[..], b"", b"-1", b"1 ", b"a"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn too_much_is_cut_and_says_so() {
        let mut text = Text::new();
        assert!(text.whole().is_some());
        text.bytes(&[b'x'; SIZE * 2]);
        assert_eq!(text.as_bytes().len(), SIZE - 1);
        assert!(text.whole().is_none());
        assert!(join(&[b"a\0b"]).whole().is_none());
        assert_eq!(join(&[b"/proc/", b"1"]).whole(), Some(c"/proc/1"));
    }
}

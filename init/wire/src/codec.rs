//! The encoding, written out: exactly postcard's, in a hundredth of the code.
//!
//! Derived code for enums with many variants takes a dozen kilobytes in PID 1; this takes one. Types
//! still derive `serde`'s traits for everybody else, and `tests/golden.rs` holds both to the same bytes.
//!
//! Numbers are little-endian base 128 with the high bit for "more", signed ones zigzag; `u8`, `bool` and
//! arrays of bytes are plain; bytes of any length come after it; an `Option` and an enum begin with a number.
//!
//! Errors stick: a [`Put`] that ran out of room, or a [`Take`] out of bytes, says so at the end.

use crate::{Kind, Label};

/// Writes into a buffer.
pub struct Put<'b> {
    buf: &'b mut [u8],
    len: usize,
    good: bool,
}

impl<'b> Put<'b> {
    /// Writes into `buf`.
    pub fn new(buf: &'b mut [u8]) -> Put<'b> {
        Put {
            buf,
            len: 0,
            good: true,
        }
    }

    /// One byte.
    #[inline(never)]
    pub fn u8(&mut self, byte: u8) {
        match self.buf.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len += 1;
            }
            None => self.good = false,
        }
    }

    /// A number of up to 64 bits.
    #[inline(never)]
    pub fn num(&mut self, mut number: u64) {
        while number > 0x7f {
            self.u8(number as u8 | 0x80);
            number >>= 7;
        }
        self.u8(number as u8);
    }

    /// A signed number of 32 bits.
    pub fn int(&mut self, number: i32) {
        self.num(u64::from(((number << 1) ^ (number >> 31)) as u32));
    }

    /// Bytes as they are.
    #[inline(never)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.u8(*byte);
        }
    }

    /// Bytes with their length.
    pub fn counted(&mut self, bytes: &[u8]) {
        self.num(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// A label.
    #[inline(never)]
    pub fn label(&mut self, label: &Label) {
        self.num(u64::from(label.kind.0));
        self.bytes(&label.hash);
        self.num(u64::from(label.index));
    }

    /// One byte, then a number: a frame with one number in it.
    pub fn pair(&mut self, first: u8, number: u64) {
        self.u8(first);
        self.num(number);
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// The same for as long as the buffer lives.
    #[must_use]
    pub fn into_written(self) -> &'b [u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// How many bytes were written; `None` if they did not fit.
    #[must_use]
    pub fn finish(&self) -> Option<usize> {
        self.good.then_some(self.len)
    }
}

/// Reads from bytes that somebody else wrote.
pub struct Take<'a> {
    rest: &'a [u8],
    good: bool,
}

impl<'a> Take<'a> {
    /// Reads from `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Take<'a> {
        Take {
            rest: bytes,
            good: true,
        }
    }

    /// One byte.
    #[inline(never)]
    pub fn u8(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => {
                self.good = false;
                0
            }
        }
    }

    /// A number of up to `bits` bits.
    #[inline(never)]
    pub(crate) fn num(&mut self, bits: u32) -> u64 {
        let mut number = 0;
        let mut shift = 0;
        loop {
            let byte = self.u8();
            let low = u64::from(byte & 0x7f);
            number |= low << shift;
            let over = shift + 7 > bits && (low >> (bits - shift)) != 0;
            if byte < 0x80 && !over {
                return number;
            }
            shift += 7;
            if over || shift >= bits {
                self.good = false;
                return 0;
            }
        }
    }

    /// A number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.num(64)
    }

    /// A number of 32 bits.
    pub fn u32(&mut self) -> u32 {
        self.num(32) as u32
    }

    /// A number of 16 bits.
    pub fn u16(&mut self) -> u16 {
        self.num(16) as u16
    }

    /// A signed number of 32 bits.
    pub fn int(&mut self) -> i32 {
        let number = self.u32();
        (number >> 1) as i32 ^ -((number & 1) as i32)
    }

    /// A truth value.
    pub fn bool(&mut self) -> bool {
        let byte = self.u8();
        self.good &= byte < 2;
        byte == 1
    }

    /// So many bytes as they are.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    #[inline(never)]
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.u8();
        }
    }

    /// Bytes with their length.
    pub fn counted(&mut self) -> &'a [u8] {
        let length = self.u32() as usize;
        if let Some((bytes, rest)) = self.rest.split_at_checked(length) {
            self.rest = rest;
            return bytes;
        }
        self.good = false;
        b""
    }

    /// A label.
    #[inline(never)]
    pub fn label(&mut self) -> Label {
        Label {
            kind: Kind(self.u16()),
            hash: self.array(),
            index: self.u16(),
        }
    }

    /// This was a number that means nothing.
    pub fn wrong(&mut self) {
        self.good = false;
    }

    /// Whether everything was there and made sense.
    #[must_use]
    pub fn good(&self) -> bool {
        self.good
    }

    /// `value`, if everything was there and made sense.
    pub fn finish<T>(&self, value: T) -> Option<T> {
        self.good.then_some(value)
    }
}

//! The frames of the channels between the manager, its helpers and its clients.
//!
//! Every channel is an `AF_UNIX` socket of type `SOCK_SEQPACKET`; a packet holds one postcard
//! frame of at most [`MAX_FRAME`] bytes, descriptors travel beside it. Enums are append-only: a
//! variant keeps its number for ever, so that each side understands its own version and the one
//! before; what it cannot decode it answers with an error and closes the descriptors that came
//! along. A connection opens with a `Hello` from the side that connected.
//!
//! The frames between init and the manager are their own crate, `init-wire`.

pub mod control;
pub mod helper;

use alloc::vec::Vec;
use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};

/// Version of the helper and control channels. A side accepts its own and the one before.
pub const VERSION: u16 = 2;

/// What `sctl upgrade` looks for in a file: that it is one of ours, and in the last place but one the
/// generation of its stores and channels. Versions of one generation can take each other's place while
/// the machine runs; what makes that impossible begins the next generation.
#[used]
pub static MARK: [u8; 24] = *b"\x7fsysmaster generation 1\n";

/// The largest frame, in bytes. An answer that needs more is several frames.
pub const MAX_FRAME: usize = 64 * 1024;

/// A frame that cannot be sent or understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// More than [`MAX_FRAME`] bytes.
    TooLong,
    /// Not a frame of this channel, or cut off.
    Malformed,
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a frame of more than 64 KiB",
            Self::Malformed => "not a frame of this protocol version",
        })
    }
}

/// Where postcard writes to: a place on the stack, and a vector only for what does not fit there. So what
/// comes out was allocated once and has its size, which is all that growing it byte by byte would end in.
struct Sink {
    few: [u8; 512],
    used: usize,
    many: Vec<u8>,
}

impl Flavor for Sink {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        // What has a fixed length is pushed byte by byte, an invocation for one: most calls are this one.
        match self.few.get_mut(self.used) {
            Some(place) if self.many.is_empty() => {
                *place = byte;
                self.used += 1;
                Ok(())
            }
            _ => self.try_extend(&[byte]),
        }
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let end = self.used + bytes.len();
        match self.few.get_mut(self.used..end) {
            Some(place) if self.many.is_empty() => {
                place.copy_from_slice(bytes);
                self.used = end;
            }
            _ => {
                if self.many.is_empty() {
                    self.many
                        .extend_from_slice(self.few.get(..self.used).unwrap_or(&[]));
                }
                self.many.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(match self.few.get(..self.used) {
            Some(few) if self.many.is_empty() => few.to_vec(),
            _ => self.many,
        })
    }
}

/// The bytes of a record or frame; an error only if it is of a type that postcard does not write.
pub fn to_bytes<T: Serialize + ?Sized>(what: &T) -> Result<Vec<u8>, WireError> {
    let sink = Sink {
        few: [0; 512],
        used: 0,
        many: Vec::new(),
    };
    postcard::serialize_with_flavor(what, sink).map_err(|_| WireError::Malformed)
}

/// The bytes of one frame.
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, WireError> {
    let bytes = to_bytes(frame)?;
    if bytes.len() > MAX_FRAME {
        Err(WireError::TooLong)
    } else {
        Ok(bytes)
    }
}

/// The frame in these bytes. Bytes after its end are ignored: a later version may append fields.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > MAX_FRAME {
        return Err(WireError::TooLong);
    }
    postcard::take_from_bytes(bytes)
        .map(|(frame, _)| frame)
        .map_err(|_| WireError::Malformed)
}

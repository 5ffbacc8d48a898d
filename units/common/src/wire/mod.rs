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

/// The bytes of one frame.
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_allocvec(frame).map_err(|_| WireError::Malformed)?;
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

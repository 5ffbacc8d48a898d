//! The frames of every channel, in both directions.

use init_wire::{FRAME_MAX, FromManager, ToManager};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use units::wire::control::{Reply, Request};
use units::wire::helper::{FromHelper, ToHelper};
use units::wire::{MAX_FRAME, WireError, decode, encode};

/// Memory a frame may cost: a string in it takes 24 bytes beside its text, and the largest thing a list can hold
/// is a few hundred for each byte that announces it.
const EACH: u64 = 512;

/// A postcard frame: what is decoded is encoded to no more bytes than it came from, decoded to the same, also
/// with more behind it; no prefix of it is longer than it; nothing is allocated that its bytes do not pay for; and
/// what is too long is refused without being looked at.
fn frame<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let mut decoded = None;
    let spent = allocation_counter::measure(|| decoded = Some(decode::<T>(bytes)));
    let allowed = 1024 + EACH * bytes.len() as u64;
    assert!(
        spent.bytes_max <= allowed,
        "{} bytes of memory for {} of a frame",
        spent.bytes_max,
        bytes.len()
    );
    match decoded.unwrap() {
        Ok(frame) => {
            let mut again = encode(&frame).unwrap();
            assert!(again.len() <= bytes.len() && again.len() <= MAX_FRAME);
            assert_eq!(decode::<T>(&again).as_ref(), Ok(&frame));
            for cut in 0..again.len().min(64) {
                assert_eq!(
                    decode::<T>(&again[..cut]),
                    Err(WireError::Malformed),
                    "cut to {cut}: {frame:?}"
                );
            }
            again.push(0xa5);
            assert_eq!(
                decode::<T>(&again).as_ref(),
                Ok(&frame),
                "what a later version appends is passed over"
            );
            again.resize(MAX_FRAME + 1, 0);
            assert_eq!(decode::<T>(&again), Err(WireError::TooLong));
        }
        Err(error) => assert_eq!(error == WireError::TooLong, bytes.len() > MAX_FRAME),
    }
}

/// Manager to helper.
pub fn to_helper(bytes: &[u8]) {
    frame::<ToHelper>(bytes);
}

/// Helper to manager.
pub fn from_helper(bytes: &[u8]) {
    frame::<FromHelper>(bytes);
}

/// Client to manager.
pub fn request(bytes: &[u8]) {
    frame::<Request>(bytes);
}

/// Manager to client.
pub fn reply(bytes: &[u8]) {
    frame::<Reply>(bytes);
}

/// A frame that init or postcard can read is the same again when it is written, and not there when cut short.
/// (A macro, because a frame borrows from the bytes it is read from.)
macro_rules! read_and_written {
    ($frame:ident, $bytes:expr) => {{
        let (frame, derived) = both($bytes, $frame::decode);
        let mut buffer = [0; FRAME_MAX];
        if let Some(frame) = frame.or(derived) {
            let again = frame.encode(&mut buffer);
            assert!(again.is_some() || $bytes.len() > FRAME_MAX);
            let again = again.unwrap_or_default();
            assert!(
                again.len() <= $bytes.len() && $frame::decode(again) == Some(frame)
                    || again.is_empty()
            );
            let short = &again[..again.len().saturating_sub(1)];
            assert_eq!($frame::decode(short), None);
        }
    }};
}

/// init to manager: as the others; besides, init's own decoder takes what postcard's takes, as the same, and
/// neither init's decoder nor its encoder allocates anything. (A length in more bytes than 32 bits take, which nobody
/// writes, is a number to postcard on a machine of 64 bits, and nothing to init.)
pub fn from_init(bytes: &[u8]) {
    read_and_written!(ToManager, bytes);
}

/// Manager to init: the same.
pub fn to_init(bytes: &[u8]) {
    read_and_written!(FromManager, bytes);
}

/// What init's decoder and what postcard's makes of a frame.
fn both<'a, T>(bytes: &'a [u8], decode: impl Fn(&'a [u8]) -> Option<T>) -> (Option<T>, Option<T>)
where
    T: Serialize + serde::Deserialize<'a> + PartialEq + Debug,
{
    let mut frame = None;
    let spent = allocation_counter::measure(|| frame = decode(bytes));
    assert_eq!(spent.count_total, 0);
    let derived: Option<T> = postcard::take_from_bytes(bytes)
        .ok()
        .map(|(frame, _)| frame);
    assert!(
        frame.is_none() || frame == derived,
        "init: {frame:?}, postcard: {derived:?}"
    );
    if let (None, Some(derived)) = (&frame, &derived) {
        let written = postcard::to_allocvec(derived).unwrap();
        assert!(
            bytes.len() > FRAME_MAX || !bytes.starts_with(&written),
            "refused by init alone: {derived:?}"
        );
    }
    (frame, derived)
}

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

/// init to manager: as the others; besides, init's own decoder and postcard's agree on what is a frame, and on
/// which, and neither allocates anything.
pub fn from_init(bytes: &[u8]) {
    let derived = postcard::take_from_bytes(bytes)
        .ok()
        .map(|(frame, _)| frame);
    let mut frame = None;
    let spent = allocation_counter::measure(|| frame = ToManager::decode(bytes));
    assert_eq!(spent.count_total, 0);
    assert_eq!(
        frame,
        if bytes.len() > FRAME_MAX {
            None
        } else {
            derived
        }
    );
    if let Some(frame) = frame {
        let mut buffer = [0; FRAME_MAX];
        let again = frame.encode(&mut buffer).unwrap();
        assert!(again.len() <= bytes.len());
        assert_eq!(ToManager::decode(again), Some(frame));
        assert_eq!(ToManager::decode(&again[..again.len() - 1]), None);
    }
}

/// Manager to init: the same.
pub fn to_init(bytes: &[u8]) {
    let derived = postcard::take_from_bytes(bytes)
        .ok()
        .map(|(frame, _)| frame);
    let mut frame = None;
    let spent = allocation_counter::measure(|| frame = FromManager::decode(bytes));
    assert_eq!(spent.count_total, 0);
    assert_eq!(
        frame,
        if bytes.len() > FRAME_MAX {
            None
        } else {
            derived
        }
    );
    if let Some(frame) = frame {
        let mut buffer = [0; FRAME_MAX];
        let again = frame.encode(&mut buffer).unwrap();
        assert!(again.len() <= bytes.len());
        assert_eq!(FromManager::decode(again), Some(frame));
        assert_eq!(FromManager::decode(&again[..again.len() - 1]), None);
    }
}

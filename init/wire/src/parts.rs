//! A frame of the manager's, taken apart by a table: what it is made of is data, so that PID 1 has one loop
//! in place of a piece of code for each frame. [`crate::FromManager`] names the parts for everybody else.

use crate::codec::Take;
use crate::{FRAME_MAX, Kind, Label};

/// [`crate::FromManager::Hello`]
pub const HELLO: u32 = 0;
/// [`crate::FromManager::Ack`]
pub const ACK: u32 = 1;
/// [`crate::FromManager::Pong`]
pub const PONG: u32 = 2;
/// [`crate::FromManager::Keep`]
pub const KEEP: u32 = 3;
/// [`crate::FromManager::Drop`]
pub const DROP: u32 = 4;
/// [`crate::FromManager::DropOwner`]
pub const DROP_OWNER: u32 = 5;
/// [`crate::FromManager::Fetch`]
pub const FETCH: u32 = 6;
/// [`crate::FromManager::List`]
pub const LIST: u32 = 7;
/// [`crate::FromManager::Shutdown`]
pub const SHUTDOWN: u32 = 8;
/// [`crate::FromManager::Finish`]
pub const FINISH: u32 = 9;
/// [`crate::FromManager::SwitchRoot`]
pub const SWITCH_ROOT: u32 = 10;
/// [`crate::FromManager::Reexec`]
pub const REEXEC: u32 = 11;
/// [`crate::FromManager::Watchdog`]
pub const WATCHDOG: u32 = 12;
/// [`crate::FromManager::Ready`]
pub const READY: u32 = 13;
/// [`crate::FromManager::Taken`]
pub const TAKEN: u32 = 14;
/// [`crate::FromManager::WatchdogAtReboot`]
pub const WATCHDOG_AT_REBOOT: u32 = 15;

/// What the frame of each number consists of, from the last digit to the first:
/// 1 a byte; 2, 3, 4 a number of 16, 32, 64 bits; 5 a build; 6 a hash; 7 bytes with their length.
const SHAPES: [u16; 16] = [
    0o452, 0o4, 0o4, 0o262, 0o262, 0o62, 0o262, 0o2, 0o33, 0, 0o77, 0, 0o3, 0, 0o1, 0o3,
];

/// The parts. What a frame does not have is left from the one before it, so only what its number
/// promises means anything.
#[derive(Default)]
pub struct Parts<'a> {
    /// One of the numbers of this module.
    pub number: u32,
    /// The last number in it.
    pub last: u64,
    /// The number before that.
    pub first: u64,
    /// Whose build it is.
    pub build: [u8; 8],
    /// An owner.
    pub hash: [u8; 16],
    /// The last bytes of any length.
    pub last_text: &'a [u8],
    /// The ones before those.
    pub first_text: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes a frame apart. `false`: it is none, or one from the future.
    #[must_use]
    pub fn take(&mut self, frame: &'a [u8]) -> bool {
        let mut bytes = Take::new(frame);
        self.number = bytes.u32();
        let Some(shape) = SHAPES.get(self.number as usize) else {
            return false;
        };
        let mut shape = *shape;
        while shape != 0 {
            match shape & 7 {
                5 => self.build = bytes.array(),
                6 => self.hash = bytes.array(),
                7 => {
                    self.first_text = self.last_text;
                    self.last_text = bytes.counted();
                }
                size => {
                    self.first = self.last;
                    self.last = match size {
                        1 => u64::from(bytes.u8()),
                        _ => bytes.num(4 << size),
                    };
                }
            }
            shape >>= 3;
        }
        let sense = self.number != SHUTDOWN || self.first < 4;
        bytes.good() && sense && frame.len() <= FRAME_MAX
    }

    /// The label in it.
    #[must_use]
    pub fn label(&self) -> Label {
        Label {
            kind: Kind(self.first as u16),
            hash: self.hash,
            index: self.last as u16,
        }
    }
}

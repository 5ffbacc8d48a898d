//! The numbers that init's frames begin with, for init, which writes them without [`crate::ToManager`].

/// [`crate::ToManager::Hello`]
pub const HELLO: u8 = 0;
/// [`crate::ToManager::Exited`]
pub const EXITED: u8 = 1;
/// [`crate::ToManager::Discarded`]
pub const DISCARDED: u8 = 2;
/// [`crate::ToManager::Signal`]
pub const SIGNAL: u8 = 3;
/// [`crate::ToManager::Kept`]
pub const KEPT: u8 = 4;
/// [`crate::ToManager::Full`]
pub const FULL: u8 = 5;
/// [`crate::ToManager::Refused`]
pub const REFUSED: u8 = 6;
/// [`crate::ToManager::Fd`]
pub const FD: u8 = 7;
/// [`crate::ToManager::NotFound`]
pub const NOT_FOUND: u8 = 8;
/// [`crate::ToManager::Listed`]
pub const LISTED: u8 = 9;
/// [`crate::ToManager::ListEnd`]
pub const LIST_END: u8 = 10;
/// [`crate::ToManager::Ping`]
pub const PING: u8 = 11;
/// [`crate::ToManager::WatchdogArmed`]
pub const WATCHDOG_ARMED: u8 = 12;
/// [`crate::ToManager::Failed`]
pub const FAILED: u8 = 13;
/// [`crate::ToManager::Dropped`]
pub const DROPPED: u8 = 14;

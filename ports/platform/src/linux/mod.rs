//! Linux: kernel 4.14 and later, with what is newer used where it is there.

pub mod cgroup;
pub mod child;
pub mod clock;
pub mod console;
pub mod degrade;
pub mod fd;
pub mod files;
mod fork;
pub mod heap;
pub mod kernel;
pub mod listen;
pub mod memory;
pub mod poll;
pub mod process;
pub mod random;
pub mod signal;
pub mod socket;
mod sys;
pub mod terminal;
pub mod users;
pub mod watchdog;

//! The whole of init as PID 1 of a fresh pid namespace, with a manager that does what the test says.
//! Needs root; without it each test says so and counts as passed. `INIT=PATH` tests another binary
//! (the static release one) than the one cargo has just built.
//!
//! [`machine`] is such a machine, [`fuse`] a file system that can stop answering; the rest are the tests, by what init does.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fuse;
mod machine;
mod managers;
mod reaping;
mod replacing;
mod shutdown;
mod watchdog;

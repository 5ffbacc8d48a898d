//! The binary of PID 1: `main`, and what happens on a panic that cannot happen.
//!
//! `no_std` wherever panics abort, which is every profile of ours. Only `cargo test` builds
//! everything with unwinding, for which the handler is the standard library's: the same code then
//! runs on top of it, so that the namespace tests can start it.

#![cfg_attr(panic = "abort", no_std)]
#![no_main]
#![allow(unsafe_code)]

use core::ffi::{c_char, c_int};

mod program;

/// Runs init; comes back only where it is not process 1.
///
/// # Safety
/// Called by the C library with the program's arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, list: *const *const c_char) -> c_int {
    // SAFETY: the C library's promise about the arguments of main.
    unsafe { init::start(count.max(0) as usize, list) }
}

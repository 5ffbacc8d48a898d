//! The binary of the worker (see `init::work`); built like `init` itself.

#![cfg_attr(panic = "abort", no_std)]
#![no_main]
#![allow(unsafe_code)]

use core::ffi::{c_char, c_int};

#[path = "../program.rs"]
mod program;

/// Does what its arguments say.
///
/// # Safety
/// Called by the C library with the program's arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, list: *const *const c_char) -> c_int {
    // SAFETY: the C library's promise about the arguments of main.
    unsafe { init::work::start(count.max(0) as usize, list) }
}

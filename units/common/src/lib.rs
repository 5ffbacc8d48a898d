//! What is common to all unit types, the manager and the command line: the words for states, unit
//! names and files, the frames of the channels, the stores, and the loop a helper runs in.
//!
//! The vocabulary, names, files and frames are `no_std + alloc`, so that the engine can be built
//! for systems without a standard library; what touches the platform layer is behind the feature
//! `std` (on by default).
#![cfg_attr(not(any(test, feature = "std")), no_std)]

extern crate alloc;

pub mod collections;
pub mod directives;
#[cfg(feature = "std")]
pub mod facts;
#[cfg(feature = "std")]
pub mod fault;
pub mod file;
pub mod glob;
#[cfg(feature = "std")]
pub mod journal;
pub mod mounts;
pub mod name;
#[cfg(feature = "std")]
pub mod runtime;
pub mod section;
pub mod spec;
pub mod state;
#[cfg(feature = "std")]
pub mod store;
pub mod value;
pub mod wire;

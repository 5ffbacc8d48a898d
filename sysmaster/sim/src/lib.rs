//! The simulator: random worlds for the engine, checked after every step.
//!
//! The engine is pure: the same inputs give the same effects. So a whole machine can be played through
//! in a few milliseconds, with everything that goes wrong once in a year happening in every run. A
//! [`Case`] is the script of a run, as text: unit files, how the units behave, and what happens, with
//! managers killed between any two effects and helpers with their messages half read. [`generate`] makes
//! one from a seed, [`play()`] runs it in a [`World`] under the eyes of [`promises`], [`shrink`] makes one
//! that fails small. `cases/` holds those that once failed.
//!
//! Nothing here is random but the seed, and no result depends on the machine.
//!
//! `make sim SEEDS=n [SEED=first]`, `make sim CASE=file`, `make sim-mutants`.
#![allow(
    // It is a test: what is not as expected ends it, and that is what it is for.
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod case;
pub mod generate;
pub mod helper;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod play;
pub mod promises;
pub mod rng;
pub mod script;
pub mod series;
pub mod settings;
pub mod shrink;
pub mod world;

pub use case::Case;
pub use helper::Does;
pub use play::{Run, play};
pub use world::{World, name};

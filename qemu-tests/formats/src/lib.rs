//! Everything that is read from outside, or from another version of ours: fuzz targets, and golden images
//! of the stores.
//!
//! A *target* is a function from bytes to nothing that panics if a promise is broken. Each says at its top
//! what it asserts, which is more than "it does not panic": what was read is written and read again and is
//! the same, an error says where, nothing is allocated that the input does not justify, a store that was
//! damaged works afterwards. There are two ways to run them:
//!
//! * **`make fuzz`**: LLVM's libFuzzer, guided by coverage, for as long as one likes ([`TARGETS`] has the
//!   names). What it finds interesting is kept in `target/fuzz/corpus/NAME`.
//! * **`cargo test -p formats`**: each target with its seeds (`seeds/NAME.txt`) and a number of random changes
//!   of them ([`change`]), from a seed that is printed. This is what CI runs.
//!
//! An input that broke something goes to `seeds/`, with a word on what it broke, where every run begins with it.
//!
//! The golden images, `images/`, are stores and journals as every released layout wrote them; `tests/golden.rs`
//! reads them and says how a new layout adds its own.

// Test code: what is not as promised shall panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod change;
pub mod frames;
pub mod init_side;
pub mod manager;
pub mod seeds;
pub mod services;
pub mod stores;
pub mod text;
pub mod tree;
pub mod values;
pub mod world;

/// Something that is fuzzed.
pub struct Target {
    /// By which it is called.
    pub name: &'static str,
    /// Takes any bytes, and panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Random changes of its seeds in a short run: what takes about a second.
    pub rounds: u32,
}

const fn target(name: &'static str, run: fn(&[u8]), rounds: u32) -> Target {
    Target { name, run, rounds }
}

/// All of them. What reads compiled unit files is to be here as well, once there are any.
pub const TARGETS: &[Target] = &[
    target("unit-file", text::unit_file, 1_000),
    target("command-line", text::command_line, 5_000),
    target("values", values::values, 5_000),
    target("names", values::names, 5_000),
    target("settings", values::settings, 3_000),
    target("mount-table", values::mount_table, 5_000),
    target("generate", tree::generate, 100),
    target("verify", tree::verify, 60),
    target("to-helper", frames::to_helper, 5_000),
    target("from-helper", frames::from_helper, 5_000),
    target("request", frames::request, 5_000),
    target("reply", frames::reply, 5_000),
    target("from-init", frames::from_init, 10_000),
    target("to-init", frames::to_init, 10_000),
    target("init-image", init_side::image, 500),
    target("init-options", init_side::options, 5_000),
    target("notify", services::notify, 3_000),
    target("life", services::life, 1_000),
    target("store", stores::store, 300),
    target("records", stores::records, 500),
    target("slots", stores::slots, 500),
    target("control", manager::control, 30),
    target("recovery", manager::recovery, 30),
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

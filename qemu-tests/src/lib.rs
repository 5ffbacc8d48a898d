//! Tests of the whole: machines in namespaces of this host, for what needs no kernel of its own.
//!
//! A [`Machine`] boots the real init as process 1 of fresh namespaces (processes, mounts, control
//! groups, host name, IPC, network), over a root that is this host's with a layer of our files on
//! top and memory below what is written, so that every program of the host can be a service and
//! nothing of the host is touched. It takes some milliseconds, and as many machines as there are
//! tests run at once. All of it goes away with the value, also when a test fails; then its
//! console and what `sctl` knows are printed.
//!
//! The tests look at a machine from outside: its processes through the host's `/proc`, its files
//! through `/proc/<init>/root`, so that what is under test is not asked about itself.
//!
//! Namespaces take root. Without it [`Setup::boot`] says that the test is skipped.

pub mod machine;
pub mod setup;
pub mod view;

pub use machine::Machine;
pub use setup::Setup;
pub use view::Proc;

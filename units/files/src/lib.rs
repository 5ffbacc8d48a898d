//! The files of an installation, on a running machine or below any root.
//!
//! * [`config`]: the manager's settings; [`watchdog`]: those of the hardware watchdog.
//! * [`loader`]: from a name to a unit: its file, drop-ins, links and what its type implies.
//! * [`generate`]: generators, built in and others.
//! * [`install`]: enabling, masking, presets: links in the configuration directory.
//! * [`first_boot`]: whether an installation boots for the first time, and what is done then.
//!
//! The manager loads units with it; `sctl` works on files with it, on a build host too, where no
//! manager runs. It reads and writes files and nothing else: it knows no unit's state, and keeps
//! nothing but what it has read of the directories.

pub mod config;
pub mod first_boot;
pub mod generate;
pub mod install;
pub mod loader;
pub mod watchdog;

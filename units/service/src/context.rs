//! How the processes of a service are set up: users, directories, limits, streams.
//!
//! Read from `[Service]` by [`crate::config`], used by [`crate::plan`] and [`crate::child`]. What is
//! rarely set is boxed or empty, so that a plain service costs little memory.

use units::value::rlimit::{Limit, Resource};

/// Where the standard input comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// `/dev/null`.
    #[default]
    Null,
    /// The terminal; `force` takes it from whoever has it.
    Terminal {
        /// Take it from another session.
        force: bool,
    },
    /// A file.
    File(Box<str>),
}

/// Where standard output or error goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// The kernel's log.
    #[default]
    Log,
    /// The same as the stream before: input for output, output for error.
    Inherit,
    /// `/dev/null`.
    Null,
    /// The terminal.
    Terminal,
    /// A file, from its beginning, its content kept.
    File(Box<str>),
    /// A file, at its end.
    Append(Box<str>),
    /// A file, emptied first.
    Truncate(Box<str>),
}

/// `WorkingDirectory=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// Path; `None` for `~`, the user's home.
    pub path: Option<Box<str>>,
    /// That it is missing is no failure.
    pub optional: bool,
}

/// Which of the five sorts of directories a service may own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// `RuntimeDirectory=`, in `/run`; removed when the service is down.
    Runtime,
    /// `StateDirectory=`, in `/var/lib`.
    State,
    /// `CacheDirectory=`, in `/var/cache`.
    Cache,
    /// `LogsDirectory=`, in `/var/log`.
    Logs,
    /// `ConfigurationDirectory=`, in `/etc`; stays root's.
    Configuration,
}

impl Sort {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Runtime,
        Self::State,
        Self::Cache,
        Self::Logs,
        Self::Configuration,
    ];

    /// Where they are.
    pub fn root(self) -> &'static str {
        match self {
            Self::Runtime => "/run",
            Self::State => "/var/lib",
            Self::Cache => "/var/cache",
            Self::Logs => "/var/log",
            Self::Configuration => "/etc",
        }
    }

    /// The variable that tells the service.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Runtime => "RUNTIME_DIRECTORY",
            Self::State => "STATE_DIRECTORY",
            Self::Cache => "CACHE_DIRECTORY",
            Self::Logs => "LOGS_DIRECTORY",
            Self::Configuration => "CONFIGURATION_DIRECTORY",
        }
    }
}

/// The directories of one sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// Sort.
    pub sort: Sort,
    /// Paths below the sort's root.
    pub names: Vec<Box<str>>,
    /// Mode of each.
    pub mode: u32,
}

/// `RuntimeDirectoryPreserve=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preserve {
    /// Removed when the service is down.
    #[default]
    No,
    /// Kept while a restart is due.
    Restart,
    /// Kept.
    Yes,
}

/// How the processes of a service are set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// `User=`.
    pub user: Option<Box<str>>,
    /// `Group=`.
    pub group: Option<Box<str>>,
    /// `SupplementaryGroups=`.
    pub groups: Vec<Box<str>>,
    /// `UMask=`.
    pub umask: u32,
    /// `WorkingDirectory=`.
    pub directory: Option<WorkingDirectory>,
    /// `RootDirectory=`.
    pub root: Option<Box<str>>,
    /// The directories of the service.
    pub directories: Vec<Directories>,
    /// `RuntimeDirectoryPreserve=`.
    pub preserve: Preserve,
    /// `StandardInput=`.
    pub input: Input,
    /// `StandardOutput=`.
    pub output: Output,
    /// `StandardError=`.
    pub error: Output,
    /// `TTYPath=`; empty for the console.
    pub terminal: Box<str>,
    /// `Limit…=`.
    pub limits: Vec<(Resource, Limit)>,
    /// `Nice=`.
    pub nice: Option<i8>,
    /// `OOMScoreAdjust=`.
    pub oom: Option<i16>,
    /// `IgnoreSIGPIPE=`.
    pub ignore_pipe: bool,
    /// `NoNewPrivileges=`.
    pub no_new_privileges: bool,
    /// `Environment=`.
    pub environment: Vec<String>,
    /// `EnvironmentFile=`: path, and whether it may be missing.
    pub files: Vec<(Box<str>, bool)>,
    /// `PassEnvironment=`.
    pub pass: Vec<Box<str>>,
    /// `UnsetEnvironment=`.
    pub unset: Vec<Box<str>>,
    /// `PIDFile=`.
    pub pid_file: Option<Box<str>>,
    /// `Delegate=`.
    pub delegate: bool,
    /// `FileDescriptorStoreMax=`.
    pub store_max: u16,
    /// `FileDescriptorStorePreserve=`.
    pub store_preserve: Preserve,
    /// `NonBlocking=`: how it gets its listening descriptors.
    pub non_blocking: bool,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            user: None,
            group: None,
            groups: Vec::new(),
            umask: 0o022,
            directory: None,
            root: None,
            directories: Vec::new(),
            preserve: Preserve::No,
            input: Input::Null,
            output: Output::Log,
            error: Output::Inherit,
            terminal: "".into(),
            limits: Vec::new(),
            nice: None,
            oom: None,
            ignore_pipe: true,
            no_new_privileges: false,
            environment: Vec::new(),
            files: Vec::new(),
            pass: Vec::new(),
            unset: Vec::new(),
            pid_file: None,
            delegate: false,
            store_max: 0,
            store_preserve: Preserve::Restart,
            non_blocking: false,
        }
    }
}

//! From a command of the configuration to what `execve` takes.
//!
//! A [`Plan`] borrows everything; [`Plan::resolve`] makes argument list, environment and identity
//! out of it. That needs files in some cases (`EnvironmentFile=`, `User=`, a command without a
//! path): then it is done in the child, where it may take as long as it takes; otherwise in the
//! helper before the fork, so that the child allocates next to nothing ([`Plan::needs_files`]).

use crate::config::Config;
use crate::context::{Directories, Input, Output};
use platform::child::Strings;
use platform::{files, users};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;
use units::value::environ;
use units::value::exec::{self, Command, Privilege};

/// The search path of services, and of commands without a path.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// systemd's exit codes of a set-up that failed, as far as we have such steps. Their names are in
/// [`units::value::exit`].
pub mod code {
    #![allow(missing_docs)]
    pub const CHDIR: u8 = 200;
    pub const NICE: u8 = 201;
    pub const EXEC: u8 = 203;
    pub const MEMORY: u8 = 204;
    pub const LIMITS: u8 = 205;
    pub const OOM_ADJUST: u8 = 206;
    pub const SIGNAL_MASK: u8 = 207;
    pub const STDIN: u8 = 208;
    pub const STDOUT: u8 = 209;
    pub const CHROOT: u8 = 210;
    pub const GROUP: u8 = 216;
    pub const USER: u8 = 217;
    pub const CGROUP: u8 = 219;
    pub const SETSID: u8 = 220;
    pub const STDERR: u8 = 222;
    pub const NO_NEW_PRIVILEGES: u8 = 227;
    pub const RUNTIME_DIRECTORY: u8 = 233;
    pub const STATE_DIRECTORY: u8 = 238;
    pub const CACHE_DIRECTORY: u8 = 239;
    pub const LOGS_DIRECTORY: u8 = 240;
    pub const CONFIGURATION_DIRECTORY: u8 = 241;
}

/// A step of the set-up that failed: exit code and error number (0 if there is none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of [`code`].
    pub code: u8,
    /// `errno`.
    pub errno: i32,
}

impl Failure {
    /// This step failed for this reason.
    pub fn new(code: u8, error: &std::io::Error) -> Self {
        Self {
            code,
            errno: error.raw_os_error().unwrap_or(0),
        }
    }

    /// For people. `subject` is what the step was about, where that is known.
    pub fn describe(self, subject: &str) -> String {
        let step = units::value::exit::name(self.code).unwrap_or("set-up");
        let reason = match (self.errno, self.code) {
            (0, code::USER) => "there is no such user in /etc/passwd".into(),
            (0, code::GROUP) => "there is no such group in /etc/group".into(),
            (0, _) => "it contains a zero byte or is not text".into(),
            (errno, _) => std::io::Error::from_raw_os_error(errno).to_string(),
        };
        if subject.is_empty() {
            format!("step {step} failed: {reason}")
        } else {
            format!("step {step} failed: {subject}: {reason}")
        }
    }
}

/// Under whose rights a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Supplementary groups; `None` leaves them.
    pub groups: Option<Vec<u32>>,
    /// The user's home directory.
    pub home: String,
    name: String,
    shell: String,
}

/// One process to be made.
pub struct Plan<'a> {
    /// Unit name, for messages.
    pub unit: &'a str,
    /// Service.
    pub config: &'a Config,
    /// Command.
    pub command: &'a Command,
    /// What the manager gives to every service, as `NAME=value`.
    pub defaults: &'a [String],
    /// What this process is told in particular, as `NAME=value`.
    pub own: Vec<String>,
    /// Whether it gets the watchdog's variables, and its span in microseconds; 0 if not.
    pub watchdog: u64,
    /// The control group it belongs to.
    pub group: Option<&'a Path>,
    /// What the helper has that it must not inherit.
    pub undo: Undo,
    /// Descriptors it gets, from 3 on, and their names.
    pub passed: Vec<(&'a OwnedFd, &'a str)>,
    /// How many of them, the first, are there to listen on.
    pub listening: usize,
}

/// What the helper has that a service must not inherit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undo {
    /// The hard limit of open files, if the soft limit has to be set to 1024.
    pub files: Option<u64>,
    /// Whether the OOM score has to be set to 0.
    pub oom: bool,
    /// Whether its standard input and output are something else than `/dev/null`.
    pub streams: bool,
}

/// What `execve` takes, and who is to call it.
pub struct Ready {
    /// Program, and what else to try if the command has no path.
    pub programs: Vec<CString>,
    /// Arguments.
    pub arguments: Strings,
    /// Environment.
    pub environment: Strings,
    /// Rights; `None` for the helper's own.
    pub identity: Option<Identity>,
    /// Owner of the service's directories: user, group.
    pub owner: (u32, u32),
}

impl Plan<'_> {
    /// Whether [`Plan::resolve`] reads files.
    pub fn needs_files(&self) -> bool {
        let context = &self.config.context;
        !context.files.is_empty()
            || context.user.is_some()
            || context.group.is_some()
            || !context.groups.is_empty()
    }

    /// Whether nothing that the child does before `execve` can sleep, and nothing needs memory that
    /// it would not give back: then it may borrow the helper's (`process::spawn_suspended`).
    pub fn is_quick(&self, ready: &Ready) -> bool {
        let context = &self.config.context;
        let [program] = ready.programs.as_slice() else {
            return false;
        };
        let plain =
            |output: &Output| matches!(output, Output::Null | Output::Log | Output::Inherit);
        context.input == Input::Null
            && plain(&context.output)
            && plain(&context.error)
            && context.directories.is_empty()
            && context.root.is_none()
            && context.directory.is_none()
            && ready.identity.is_none()
            && self.passed.is_empty()
            && files::is_at_hand(program)
    }

    /// The names of the descriptors it gets, in their order, for `LISTEN_FDNAMES`.
    pub fn passed_names(&self) -> String {
        let names: Vec<&str> = self.passed.iter().map(|(_, name)| *name).collect();
        names.join(":")
    }

    /// Whether the command is exempt from `User=` and its kin.
    fn privileged(&self) -> bool {
        matches!(self.command.privilege, Privilege::Full | Privilege::NoUser)
    }

    /// Makes everything `execve` takes.
    pub fn resolve(&self) -> Result<Ready, Failure> {
        let identity = self.identity()?;
        let environment = self.environment(identity.as_ref())?;
        let zero = |_| Failure {
            code: code::EXEC,
            errno: 0,
        };
        let mut arguments = Strings::new();
        if self.command.expand_variables {
            for argument in exec::arguments(&self.command.argv, &environment) {
                arguments.push(argument.as_bytes()).map_err(zero)?;
            }
        } else {
            for argument in &self.command.argv {
                arguments.push(argument.as_bytes()).map_err(zero)?;
            }
        }
        let programs = self.programs(&environment)?;
        let mut list = Strings::new();
        for entry in &environment {
            list.push(entry.as_bytes()).map_err(zero)?;
        }
        let owner = identity
            .as_ref()
            .map_or((0, 0), |who| (who.uid.unwrap_or(0), who.gid.unwrap_or(0)));
        let identity = if self.privileged() { None } else { identity };
        Ok(Ready {
            programs,
            arguments,
            environment: list,
            identity,
            owner,
        })
    }

    fn programs(&self, environment: &[String]) -> Result<Vec<CString>, Failure> {
        let one = |path: String| {
            CString::new(path).map_err(|_| Failure {
                code: code::EXEC,
                errno: 0,
            })
        };
        if self.command.path.starts_with('/') {
            return Ok(vec![one(self.command.path.clone())?]);
        }
        let path = environ::get(environment, "PATH").unwrap_or(PATH);
        path.split(':')
            .filter(|directory| directory.starts_with('/'))
            .map(|directory| one(format!("{directory}/{}", self.command.path)))
            .collect()
    }

    fn identity(&self) -> Result<Option<Identity>, Failure> {
        let context = &self.config.context;
        if context.user.is_none() && context.group.is_none() && context.groups.is_empty() {
            return Ok(None);
        }
        let mut who = Identity::default();
        if let Some(key) = &context.user {
            let found = users::user(key).map_err(|e| Failure::new(code::USER, &e))?;
            if let Some(user) = found {
                let groups = users::groups_of(&user.name, user.gid)
                    .map_err(|error| Failure::new(code::GROUP, &error))?;
                who = Identity {
                    uid: Some(user.uid),
                    gid: Some(user.gid),
                    groups: Some(groups),
                    home: user.home,
                    name: user.name,
                    shell: user.shell,
                };
            } else {
                let uid: u32 = key.parse().map_err(|_| Failure {
                    code: code::USER,
                    errno: 0,
                })?;
                who.uid = Some(uid);
                who.groups = Some(Vec::new());
                who.name = key.to_string();
                who.home = "/".into();
                who.shell = "/bin/sh".into();
            }
        }
        if let Some(key) = &context.group {
            who.gid = Some(group(key)?);
        }
        for key in &context.groups {
            let gid = group(key)?;
            let list = who.groups.get_or_insert_default();
            if !list.contains(&gid) {
                list.push(gid);
            }
        }
        Ok(Some(who))
    }

    /// The environment, later ones over earlier ones: ours, the manager's, the user's, the
    /// directories', `PassEnvironment=`, `Environment=`, `EnvironmentFile=`; less
    /// `UnsetEnvironment=`.
    fn environment(&self, identity: Option<&Identity>) -> Result<Vec<String>, Failure> {
        let context = &self.config.context;
        let mut list = Vec::with_capacity(16);
        list.push(format!("PATH={PATH}"));
        for entry in self.defaults {
            environ::set(&mut list, entry);
        }
        list.extend(self.own.iter().cloned());
        if let Some(who) = identity.filter(|who| who.uid.is_some()) {
            list.push(format!("HOME={}", who.home));
            list.push(format!("LOGNAME={}", who.name));
            list.push(format!("USER={}", who.name));
            list.push(format!("SHELL={}", who.shell));
        }
        for directories in &context.directories {
            list.push(variable(directories));
        }
        for name in &context.pass {
            if let Ok(value) = std::env::var(name.as_ref()) {
                environ::set(&mut list, &format!("{name}={value}"));
            }
        }
        for entry in &context.environment {
            environ::set(&mut list, entry);
        }
        for (path, optional) in &context.files {
            read_file(path, *optional, &mut list)?;
        }
        for name in &context.unset {
            match name.split_once('=') {
                Some((bare, value)) if environ::get(&list, bare) == Some(value) => {
                    environ::unset(&mut list, bare);
                }
                Some(_) => {}
                None => environ::unset(&mut list, name),
            }
        }
        Ok(list)
    }
}

fn group(key: &str) -> Result<u32, Failure> {
    let found = users::group(key).map_err(|error| Failure::new(code::GROUP, &error))?;
    found.ok_or(Failure {
        code: code::GROUP,
        errno: 0,
    })
}

/// `STATE_DIRECTORY=/var/lib/a:/var/lib/b`.
fn variable(directories: &Directories) -> String {
    let root = directories.sort.root();
    let mut text = format!("{}=", directories.sort.variable());
    for (at, name) in directories.names.iter().enumerate() {
        if at > 0 {
            text.push(':');
        }
        text.push_str(root);
        text.push('/');
        text.push_str(name);
    }
    text
}

fn read_file(path: &str, optional: bool, list: &mut Vec<String>) -> Result<(), Failure> {
    const LIMIT: usize = 1 << 20;
    let bytes = match files::read_file(Path::new(path), LIMIT) {
        Ok(bytes) => bytes,
        Err(_) if optional => return Ok(()),
        Err(error) => return Err(Failure::new(code::MEMORY, &error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let (entries, _) = environ::file(&text);
    for entry in &entries {
        environ::set(list, entry);
    }
    Ok(())
}

//! What a machine is made of before it boots.

use crate::machine::Machine;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Our executables inside the machine.
pub const LIBRARY: &str = "usr/lib/sysmaster";

/// Targets every machine has, so that default dependencies have something to hold on to. Few, so
/// that a test's boot takes no longer than the test.
const TARGETS: &[(&str, &str)] = &[
    (
        "sysinit.target",
        "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nBefore=shutdown.target\n",
    ),
    (
        "basic.target",
        "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n",
    ),
    (
        "multi-user.target",
        "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n",
    ),
    (
        "shutdown.target",
        "[Unit]\nDefaultDependencies=no\nRefuseManualStart=yes\n",
    ),
    (
        "umount.target",
        "[Unit]\nDefaultDependencies=no\nRefuseManualStart=yes\n",
    ),
    (
        "final.target",
        "[Unit]\nDefaultDependencies=no\nRefuseManualStart=yes\nAfter=shutdown.target umount.target\n",
    ),
    (
        "poweroff.target",
        "[Unit]\nDefaultDependencies=no\nRequires=final.target shutdown.target umount.target\n\
         After=final.target shutdown.target umount.target\nAllowIsolate=yes\n",
    ),
    (
        "reboot.target",
        "[Unit]\nDefaultDependencies=no\nRequires=final.target shutdown.target umount.target\n\
         After=final.target shutdown.target umount.target\nAllowIsolate=yes\n",
    ),
];

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What this machine shall lack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lacking {
    /// There is no cgroup hierarchy and none can be mounted.
    pub cgroups: bool,
    /// There is no `/dev/console`.
    pub console: bool,
    /// The root cannot be written to.
    pub writable_root: bool,
    /// Numbers of system calls that answer `ENOSYS`.
    pub system_calls: &'static [u32],
}

/// A machine to be: files, units, and what it lacks.
pub struct Setup {
    pub(crate) directory: PathBuf,
    pub(crate) lacking: Lacking,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) run_bytes: Option<u64>,
    /// init, its worker and the multi-call executable.
    binaries: [PathBuf; 3],
}

impl Setup {
    /// A machine with our executables and the targets. `None`, with a line that says so, where
    /// there is no root, and so nothing to test with.
    ///
    /// # Panics
    /// If the executables have not been built.
    #[allow(clippy::panic)]
    pub fn new() -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: namespaces take root");
            return None;
        }
        let directory = binaries();
        // init is built with the release profile, and in its own tests with the other; cargo puts one beside the
        // other. The newest counts. A file of one name alone is left from another build.
        let init = [directory.join("init"), directory.join("../release/init")];
        let pair = |init: &PathBuf| {
            let worker = init.with_file_name("init-worker");
            (init.is_file() && worker.is_file()).then_some(worker)
        };
        let built = |init: &&PathBuf| init.metadata().and_then(|meta| meta.modified()).ok();
        let pairs = init.iter().filter(|init| pair(init).is_some());
        let init = pairs.max_by_key(built);
        let worker = init.and_then(pair);
        let programs = directory.join("multicall");
        let (Some(init), Some(worker), true) = (init, worker, programs.is_file()) else {
            panic!(
                "init, init-worker or multicall is missing in {}: build them (`make build`), or say where \
                 they are in SYSMASTER_BIN_DIR",
                directory.display()
            );
        };
        let binaries = [init.clone(), worker, programs];
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("sysmaster-test-{}-{number}", std::process::id()));
        let setup = Self {
            directory,
            lacking: Lacking::default(),
            environment: Vec::new(),
            run_bytes: None,
            binaries,
        };
        setup.lay_out();
        Some(setup)
    }

    /// The same, of executables in which a process can be made to die at a chosen place (`units::fault`): debug builds
    /// and the feature `fault-points`. `None`, with a line that says so, where they cannot.
    pub fn with_faults() -> Option<Self> {
        let setup = Self::new()?;
        let [.., programs] = &setup.binaries;
        let asked = Command::new(programs)
            .arg0("sctl")
            .arg("version")
            .env("SYSMASTER_FAULT", "start-sctl:exit1")
            .output();
        if asked.is_ok_and(|asked| asked.stdout.is_empty()) {
            return Some(setup);
        }
        println!("skipped: these executables have no fault points (feature fault-points)");
        None
    }

    #[allow(clippy::panic)]
    fn lay_out(&self) {
        let must = |result: std::io::Result<()>, what: &str| {
            if let Err(error) = result {
                panic!("{what} in {}: {error}", self.directory.display());
            }
        };
        let library = self.files().join(LIBRARY);
        let [init, worker, programs] = &self.binaries;
        must(fs::create_dir_all(library.join("helpers")), "directories");
        must(fs::create_dir_all(self.directory.join("t")), "directories");
        must(install(init, &library.join("init")), "init");
        must(install(worker, &library.join("init-worker")), "init-worker");
        must(install(programs, &library.join("sysmaster")), "sysmaster");
        for unit_type in ["service", "socket", "mount"] {
            must(
                symlink("../sysmaster", library.join("helpers").join(unit_type)),
                "a helper's link",
            );
        }
        must(
            fs::create_dir_all(self.files().join("usr/bin")),
            "directories",
        );
        must(
            symlink(
                "../lib/sysmaster/sysmaster",
                self.files().join("usr/bin/sctl"),
            ),
            "sctl",
        );
        self.file(
            "etc/sysmaster/system.conf",
            // The host's init scripts are none of the machine's.
            "[Manager]\nUnitPath=/etc/sysmaster/system /run/sysmaster/system\n\
             BuiltinGenerators=\n",
        );
        for (name, text) in TARGETS {
            self.unit(name, text);
        }
        let target = self.files().join("etc/sysmaster/system/default.target");
        must(symlink("multi-user.target", target), "default.target");
    }

    /// Where the machine's own files are, as a layer over the host's; copied
    /// into memory at boot.
    pub fn files(&self) -> PathBuf {
        self.directory.join("files")
    }

    /// A file of the machine; `path` without a slash in front.
    ///
    /// # Panics
    /// If it cannot be written.
    #[allow(clippy::panic)]
    pub fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.files().join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(error) = made.and_then(|()| fs::write(&path, text)) {
            panic!("{}: {error}", path.display());
        }
        self
    }

    /// A script of the machine.
    pub fn script(&self, path: &str, text: &str) -> &Self {
        self.file(path, format!("#!/bin/sh\n{text}\n"));
        let _ = fs::set_permissions(self.files().join(path), fs::Permissions::from_mode(0o755));
        self
    }

    /// A unit file.
    pub fn unit(&self, name: &str, text: &str) -> &Self {
        self.file(&format!("etc/sysmaster/system/{name}"), text)
    }

    /// A unit file that the default target wants.
    pub fn wanted(&self, name: &str, text: &str) -> &Self {
        self.unit(name, text);
        let wants = self
            .files()
            .join("etc/sysmaster/system/multi-user.target.wants");
        let _ = fs::create_dir_all(&wants);
        let _ = symlink(format!("../{name}"), wants.join(name));
        self
    }

    /// Leaves out of our executables what a debugger would want: it is forty times the rest, and whoever tries other
    /// versions reads and copies it again and again.
    pub fn strip(self) -> Self {
        let program = self.files().join(LIBRARY).join("sysmaster");
        run("strip", &[&program.display().to_string()]);
        self
    }

    /// What the machine lacks.
    pub fn lacking(&mut self, lacking: Lacking) -> &mut Self {
        self.lacking = lacking;
        self
    }

    /// A variable in init's environment, which ours inherit.
    pub fn environment(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How many bytes `/run` holds.
    pub fn run_bytes(&mut self, bytes: u64) -> &mut Self {
        self.run_bytes = Some(bytes);
        self
    }

    /// Boots, and waits until the manager answers.
    pub fn boot(self) -> Machine {
        Machine::boot(self)
    }
}

fn install(from: &Path, to: &Path) -> std::io::Result<()> {
    // A copy, not a link: a link count above one, or one file in two machines, would let the
    // replacement of an executable in one be seen in another.
    fs::copy(from, to).map(drop)
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| {
            line.strip_prefix("Uid:")
                .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
        })
    })
}

/// Where our executables are: `SYSMASTER_BIN_DIR`, or the directory cargo builds this test in.
fn binaries() -> PathBuf {
    if let Some(named) = std::env::var_os("SYSMASTER_BIN_DIR") {
        return PathBuf::from(named);
    }
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors()
        .nth(2)
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// Runs a program of the host to its end and gives what it wrote, for tests that drive one.
///
/// # Panics
/// If it cannot be run.
#[allow(clippy::panic)]
pub fn run(program: &str, args: &[&str]) -> String {
    match Command::new(program).args(args).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => panic!("{program}: {error}"),
    }
}

//! Generators, seen from the manager: one child that makes units before units are loaded.
//!
//! The child runs before the boot's transaction and before a `daemon-reload`; who asked for the
//! reload gets the answer afterwards. Nothing else waits. It is started only where there is something
//! to generate ([`unit_files::generate::has_work`]) or a first boot to complete; a manager that takes over
//! uses what is there. It ends with us, and after [`LIMIT`] it is killed: what it has made by then
//! counts.

use crate::manager::Manager;
use platform::{child, clock, process, signal};
use std::io;
use std::os::unix::ffi::OsStrExt;
use unit_files::first_boot;
use unit_files::generate::{self, Circumstances, TIME_LIMIT};
use units::state::{Exit, Micros};

/// How long the child may take. It limits its generators itself, and then needs a moment.
const LIMIT: Micros = TIME_LIMIT + 5_000_000;

/// The child at work.
#[derive(Debug)]
pub(crate) struct Generation {
    pid: u32,
    deadline: Micros,
    /// The boot goes on when it has ended; else a reload.
    boot: bool,
    /// A reload was asked for since it began: it may not have seen what that is about.
    again: bool,
}

impl Manager {
    /// Boots, after what is to be generated.
    pub fn begin(&mut self) {
        self.set_watchdog();
        if self.boot.recovery || !self.generate(true) {
            self.go_on_booting();
        }
    }

    /// Reads all files again, after what is to be generated.
    pub(crate) fn regenerate_and_reload(&mut self) {
        if let Some(running) = &mut self.generating {
            running.again = true;
        } else if !self.generate(false) {
            self.reload();
        }
    }

    /// Starts the child. `false`: there is nothing to generate, or no child to be had.
    fn generate(&mut self, boot: bool) -> bool {
        let first = boot && self.first_boot();
        let about = Circumstances {
            root: &self.root,
            config: &self.config,
            command_line: &self.kernel_line,
        };
        let path = self.config.search_path();
        let work = generate::has_work(&about, &|unit| self.loader.has(unit))
            || first && first_boot::has_work(&self.root, &path);
        if !work {
            return false;
        }
        match self.spawn_generate(first) {
            Ok(pid) => {
                let deadline = clock::now() + LIMIT;
                self.generating = Some(Generation {
                    pid,
                    deadline,
                    boot,
                    again: false,
                });
                true
            }
            Err(error) => {
                self.log(3, "", &format!("generators cannot be run: {error}"));
                false
            }
        }
    }

    /// Whether this boot is the installation's first; if it is, leaves the mark that says so.
    fn first_boot(&mut self) -> bool {
        let first = first_boot::is_first(&self.root, &self.kernel_line);
        if first {
            let mark = self.root.join(first_boot::FLAG);
            if let Err(error) = platform::files::create_new(&mark, 0o644) {
                self.log(4, "", &format!("{}: {error}", mark.display()));
            }
        }
        first
    }

    fn spawn_generate(&self, first: bool) -> io::Result<u32> {
        let program = platform::files::c_path(&self.generator)?;
        let mut arguments = child::Strings::new();
        arguments.push(generate::PROGRAM.as_bytes())?;
        arguments.push(b"--root")?;
        arguments.push(self.root.as_os_str().as_bytes())?;
        if first {
            arguments.push(b"--first-boot")?;
        }
        let mut environment = child::Strings::new();
        for (name, value) in std::env::vars_os() {
            environment.push(&[name.as_bytes(), b"=", value.as_bytes()].concat())?;
        }
        let spawned = process::spawn(None, |_| {
            child::close_from(3, &[]);
            let _ = child::reset_signals(false);
            let _ = child::new_session();
            let _ = child::die_with_parent(signal::SIGKILL);
            let error = child::execute(&program, &mut arguments, &mut environment);
            error.raw_os_error().map_or(127, |_| 127)
        })?;
        Ok(spawned.pid)
    }

    /// A child of ours has ended: was it this one?
    pub(crate) fn generator_exited(&mut self, pid: u32, status: i32) {
        let Some(done) = self.generating.take_if(|running| running.pid == pid) else {
            return;
        };
        match Exit::from_wait(status) {
            Some(Exit::Code(0)) => {}
            Some(Exit::Code(code)) => {
                let text = format!("generating units failed with status {code}");
                self.log(3, "", &text);
            }
            Some(Exit::Signal(sig) | Exit::Core(sig)) => {
                let name = units::value::signal::name(sig);
                self.log(3, "", &format!("generating units was ended by {name}"));
            }
            None => {}
        }
        if done.again && self.generate(false) {
            if let Some(running) = &mut self.generating {
                running.boot = done.boot;
            }
            return;
        }
        // At boot too: somebody may have asked for a unit meanwhile, and was told there is none.
        self.reload();
        if !done.boot {
            return;
        }
        // Somebody may have asked for the end before the beginning.
        if self.boot.record.shutdown.is_none() {
            self.go_on_booting();
        }
    }

    /// Ends a child that takes too long.
    pub(crate) fn generation_due(&mut self, now: Micros) {
        let Some(running) = &mut self.generating else {
            return;
        };
        if running.deadline <= now {
            running.deadline = now + LIMIT;
            let pid = running.pid;
            self.log(3, "", "generating units takes too long: it is ended");
            let _ = process::kill_group(pid, signal::SIGKILL);
        }
    }

    /// The next moment at which [`Manager::generation_due`] has something to do.
    pub(crate) fn generation_deadline(&self) -> Option<Micros> {
        self.generating.as_ref().map(|running| running.deadline)
    }
}

//! A manager for the namespace tests: it says on a datagram socket what it hears from init, and does
//! what it is told on another. `FAKE_DIR` is the directory with both: `events` belongs to the
//! test, `commands` to the manager that lives now.
//!
//! As `fake-manager --plain-loop N` it is the process to compare with: a PID 1 that has N orphans made and
//! reaps them with nothing but `waitpid`.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use init_wire::{Ending, FRAME_MAX, FromManager, Kind, Label, MANAGER_FD, ToManager};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::exit;

struct Manager {
    events: UnixDatagram,
    to: PathBuf,
    epoch: u64,
    acknowledge: bool,
    take_signals: bool,
    read: bool,
    exits: u64,
    last_seq: u64,
    listed: u32,
    /// The last descriptor the test sent along with a command.
    handed: Option<OwnedFd>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).map(String::as_str) == Some("--plain-loop") {
        plain_loop(arguments[2].parse().unwrap());
    }
    let dir = PathBuf::from(std::env::var_os("FAKE_DIR").expect("FAKE_DIR"));
    let commands = dir.join("commands");
    let _ = std::fs::remove_file(&commands);
    let commands = UnixDatagram::bind(commands).unwrap();
    let mut manager = Manager {
        events: UnixDatagram::unbound().unwrap(),
        to: dir.join("events"),
        epoch: 0,
        acknowledge: true,
        take_signals: true,
        read: true,
        exits: 0,
        last_seq: 0,
        listed: 0,
        handed: None,
    };
    if dir.join("crash").exists() {
        manager.tell("crashing");
        std::process::abort();
    }
    loop {
        let wanted = if manager.read { MANAGER_FD } else { -1 };
        let mut polls = [
            libc::pollfd {
                fd: wanted,
                events: libc::POLLIN,
                revents: 0,
            },
            libc::pollfd {
                fd: commands.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            },
        ];
        // SAFETY: two valid entries.
        unsafe { libc::poll(polls.as_mut_ptr(), 2, -1) };
        if polls[0].revents != 0 {
            let before = manager.last_seq;
            while manager.hear() {}
            if manager.acknowledge && manager.last_seq > before {
                let seq = manager.last_seq;
                manager.send(&FromManager::Ack { seq }, &[]);
            }
        }
        if polls[1].revents != 0 {
            let mut buf = [0; 256];
            let Some((n, fd)) = receive(commands.as_raw_fd(), &mut buf) else {
                continue;
            };
            manager.handed = fd.or(manager.handed);
            let line = String::from_utf8_lossy(&buf[..n]).into_owned();
            manager.obey(&line.split(' ').collect::<Vec<_>>());
        }
    }
}

impl Manager {
    fn tell(&self, event: &str) {
        let _ = self.events.send_to(event.as_bytes(), &self.to);
    }

    fn send(&self, frame: &FromManager<'_>, fds: &[i32]) {
        let mut buf = [0; FRAME_MAX];
        let bytes = frame.encode(&mut buf).unwrap();
        send_raw(bytes, fds);
    }

    /// Reads one frame; `false` if there is none.
    fn hear(&mut self) -> bool {
        let mut buf = [0; FRAME_MAX];
        let Some((n, fd)) = receive(MANAGER_FD, &mut buf) else {
            return false;
        };
        match ToManager::decode(&buf[..n]).expect("a frame of init's") {
            ToManager::Hello(hello) => {
                self.epoch = hello.epoch;
                self.tell(&format!(
                    "hello epoch={} before={:?} kept={} waiting={} discarded={} shutdown={} safe={} trial={}",
                    hello.epoch,
                    hello.before,
                    hello.kept,
                    hello.waiting,
                    hello.discarded,
                    hello.shutdown.is_some(),
                    hello.flags & init_wire::flags::SAFE_MODE != 0,
                    hello.flags & init_wire::flags::TRIAL != 0,
                ));
                let epoch = hello.epoch;
                self.send(
                    &FromManager::Hello {
                        version: 1,
                        build: [0; 8],
                        epoch,
                    },
                    &[],
                );
            }
            ToManager::Exited(exit) => {
                if exit.seq > self.last_seq {
                    assert!(self.last_seq == 0 || exit.seq == self.last_seq + 1, "a gap");
                    self.last_seq = exit.seq;
                    self.exits += 1;
                }
                assert!(exit.start > 0, "no start time");
                if self.exits.is_multiple_of(1000) || self.exits == 10 {
                    self.tell(&format!("exits {}", self.exits));
                }
            }
            ToManager::Ping { nonce } => {
                self.tell("ping");
                self.send(&FromManager::Pong { nonce }, &[]);
            }
            ToManager::Signal { signo } => {
                if self.take_signals {
                    self.send(&FromManager::Taken { signo }, &[]);
                }
                self.tell(&format!("signal {signo}"));
            }
            ToManager::Fd { label } => {
                let fd = fd.expect("a descriptor");
                let mut text = String::new();
                use std::io::{Read, Seek};
                let mut file = std::fs::File::from(fd);
                file.rewind().unwrap();
                file.read_to_string(&mut text).unwrap();
                self.tell(&format!("fd {} {text}", label.index));
            }
            ToManager::Listed { .. } => self.listed += 1,
            ToManager::ListEnd { count } => {
                assert_eq!(count, self.listed);
                self.tell(&format!("listed {count}"));
                self.listed = 0;
            }
            other => self.tell(&format!("{other:?}").to_lowercase()),
        }
        true
    }

    fn watchdog(&self, timeout_ms: u64) {
        let timeout_ms = timeout_ms as u32;
        self.send(&FromManager::Watchdog { timeout_ms }, &[]);
    }

    fn obey(&mut self, words: &[&str]) {
        let number = |index: usize| -> u64 { words[index].parse().unwrap() };
        match words[0] {
            "orphans" => orphans(number(1)),
            "zombies" => self.tell(&format!("zombies {}", zombies())),
            "switches" => self.tell(&format!("switches {}", switches_of_init())),
            "cpu" => self.tell(&format!("cpu {}", cpu_of_init())),
            "pss" => self.tell(&format!("pss {}", pss_of_init())),
            "exits" => self.tell(&format!("exits {}", self.exits)),
            "noack" => self.acknowledge = false,
            "ack" => {
                self.acknowledge = true;
                self.send(&FromManager::Ack { seq: self.last_seq }, &[]);
            }
            "notake" => self.take_signals = false,
            "deaf" => self.read = false,
            "hang" => loop {
                std::thread::park();
            },
            "spin" => {
                self.tell("spinning");
                loop {
                    std::hint::spin_loop();
                }
            }
            "babble" => {
                self.tell("babbling");
                loop {
                    self.send(&FromManager::Ack { seq: 0 }, &[]);
                    std::thread::park_timeout(std::time::Duration::from_millis(50));
                }
            }
            "exit" => exit(number(1) as i32),
            "abort" => std::process::abort(),
            "stop" => unsafe {
                // SAFETY: stops this process.
                libc::raise(libc::SIGSTOP);
            },
            "crash-from-now-on" => {
                std::fs::write(self.to.with_file_name("crash"), "").unwrap();
                std::process::abort();
            }
            "keep" => {
                let file = memfd(&format!("content {}", words[1]));
                let label = Label::of(Kind::STATE, "test").at(number(1) as u16);
                self.send(&FromManager::Keep { label }, &[file.as_raw_fd()]);
            }
            // This executable is on trial for so many seconds.
            "trial" => {
                let file = std::fs::File::open("/proc/self/exe").unwrap();
                let label = Label::of(Kind::TRIAL, "test").at(number(1) as u16);
                self.send(&FromManager::Keep { label }, &[file.as_raw_fd()]);
            }
            "keep-unit" => {
                let file = memfd("x");
                for n in 0..number(1) {
                    let label = Label::of(Kind::NOTIFY, &format!("unit-{n}"));
                    self.send(&FromManager::Keep { label }, &[file.as_raw_fd()]);
                }
            }
            // In a child that stays: closing this file is what hangs, and that is init's part in this.
            // SAFETY: the child sends one frame and sleeps.
            "keep-file" if unsafe { libc::fork() } == 0 => {
                let file = std::fs::File::open(words[2]).unwrap();
                let label = Label::of(Kind::SERVICE, "file").at(number(1) as u16);
                self.send(&FromManager::Keep { label }, &[file.as_raw_fd()]);
                loop {
                    std::thread::park();
                }
            }
            "keep-file" => {}
            "mount-fuse" => {
                let data = format!(
                    "fd={},rootmode=40000,user_id=0,group_id=0",
                    self.handed.as_ref().unwrap().as_raw_fd()
                );
                mount("fuse", words[1], &data);
                self.handed = None;
                self.tell("mounted");
            }
            "mount-tmpfs" => {
                mount("tmpfs", words[1], "");
                self.tell("mounted");
            }
            // What switch-root goes to: the root as it is, once more.
            "bind-root" => {
                mount_with("/", words[1], "", libc::MS_BIND | libc::MS_REC, "");
                self.tell("mounted");
            }
            "switch-root" => self.send(
                &FromManager::SwitchRoot {
                    root: words[1].as_bytes(),
                    init: words[2].as_bytes(),
                },
                &[],
            ),
            // What a shutdown goes back to: the root as it is, and a script in it.
            "initramfs" => {
                mount("tmpfs", "/run", "");
                for name in ["upper", "work", "initramfs"] {
                    std::fs::create_dir(format!("/run/{name}")).unwrap();
                }
                let layers = "lowerdir=/,upperdir=/run/upper,workdir=/run/work";
                mount("overlay", "/run/initramfs", layers);
                let script = "/run/initramfs/shutdown";
                std::fs::write(
                    script,
                    "#!/bin/sh\necho \"back in the initramfs: $1 $$\" >&2\n",
                )
                .unwrap();
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(script, mode).unwrap();
                self.tell("mounted");
            }
            "drop-file" => {
                let label = Label::of(Kind::SERVICE, "file").at(number(1) as u16);
                self.send(&FromManager::Drop { label }, &[]);
            }
            "keep-none" => self.send(
                &FromManager::Keep {
                    label: Label::of(Kind::STATE, "none"),
                },
                &[],
            ),
            "fetch" => {
                let label = Label::of(Kind::STATE, "test").at(number(1) as u16);
                self.send(&FromManager::Fetch { label }, &[]);
            }
            "drop" => {
                let label = Label::of(Kind::STATE, "test").at(number(1) as u16);
                self.send(&FromManager::Drop { label }, &[]);
            }
            "list" => self.send(&FromManager::List { kind: Kind::ANY }, &[]),
            "garbage" => garbage(),
            "files" => self.tell(&format!("files {}", files_of_init())),
            "shutdown" => {
                let ending = if words[1] == "reboot" {
                    Ending::Reboot
                } else {
                    Ending::Poweroff
                };
                let deadline_ms = number(2) as u32;
                self.send(
                    &FromManager::Shutdown {
                        ending,
                        deadline_ms,
                    },
                    &[],
                );
            }
            // Its "device" is a FIFO of the test's.
            "watchdog" => {
                let feed = self.to.with_file_name("feed");
                let label = Label::of(Kind::WATCHDOG, "manager");
                if let Ok(device) = std::fs::File::options().write(true).open(feed) {
                    self.send(&FromManager::Keep { label }, &[device.as_raw_fd()]);
                }
                self.watchdog(number(1));
            }
            // SAFETY: the child only sleeps.
            "stubborn" if unsafe { libc::fork() } == 0 => {
                // SAFETY: ignores a signal.
                unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
                self.tell("stubborn");
                loop {
                    std::thread::park();
                }
            }
            "stubborn" => {}
            "watchdog-again" => self.watchdog(number(1)),
            "watchdog-at-reboot" => {
                let ms = number(1) as u32;
                self.send(&FromManager::WatchdogAtReboot { ms }, &[]);
            }
            "finish" => self.send(&FromManager::Finish, &[]),
            "reexec" => self.send(&FromManager::Reexec, &[]),
            "nothing" => self.tell("nothing"),
            other => panic!("unknown command {other}"),
        }
    }
}

fn garbage() {
    let file = memfd("stray");
    let fd = file.as_raw_fd();
    send_raw(&[255; 100], &[]);
    send_raw(&[255; 100], &[fd; 253]);
    send_raw(&[7; 5000], &[fd; 3]);
    send_raw(&[], &[fd]);
    send_raw(&[], &[]);
    let mut buf = [0; FRAME_MAX];
    let frame = FromManager::Keep {
        label: Label::of(Kind::STATE, "cut"),
    };
    let bytes = frame.encode(&mut buf).unwrap();
    for cut in 1..bytes.len() {
        send_raw(&bytes[..cut], &[fd]);
    }
    let frame = FromManager::Ack { seq: 0 };
    send_raw(frame.encode(&mut buf).unwrap(), &[fd, fd]);
    let mut seed = 0x1234_5678_9abc_def1_u64;
    eprintln!("seed {seed:#x}");
    for _ in 0..2000 {
        let mut random = [0u8; 40];
        for byte in &mut random {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            *byte = seed as u8;
        }
        // Neither a shutdown, nor anything that answers: this is about what is not understood.
        random[0] = 100 + (random[0] % 100);
        send_raw(&random, &[fd]);
    }
}

fn send_raw(bytes: &[u8], fds: &[i32]) {
    let mut control = [0u64; 256];
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr() as *mut _,
        iov_len: bytes.len(),
    };
    // SAFETY: a message over live locals, with room for all the descriptors.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if !fds.is_empty() {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE((fds.len() * 4) as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN((fds.len() * 4) as u32) as _;
            std::ptr::copy_nonoverlapping(
                fds.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                fds.len() * 4,
            );
        }
        // Too many descriptors in flight: init has to take some first.
        while libc::sendmsg(MANAGER_FD, &raw const message, libc::MSG_NOSIGNAL) < 0 {
            let error = *libc::__errno_location();
            assert_eq!(error, libc::ETOOMANYREFS, "sendmsg");
            libc::sched_yield();
        }
    }
}

fn receive(socket: i32, buf: &mut [u8]) -> Option<(usize, Option<OwnedFd>)> {
    let mut control = [0u64; 8];
    let mut part = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: a message over live locals; the control message is read as the system wrote it.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = 64;
        let n = libc::recvmsg(
            socket,
            &raw mut message,
            libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT,
        );
        if n < 0 && *libc::__errno_location() == libc::EAGAIN {
            return None;
        }
        if n <= 0 {
            exit(9);
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let fd = (!header.is_null())
            .then(|| OwnedFd::from_raw_fd(*libc::CMSG_DATA(header).cast::<i32>()));
        Some((n as usize, fd))
    }
}

fn mount(kind: &str, target: &str, data: &str) {
    mount_with(kind, target, kind, 0, data);
}

fn mount_with(source: &str, target: &str, kind: &str, flags: libc::c_ulong, data: &str) {
    let [source, kind, target, data] =
        [source, kind, target, data].map(|s| std::ffi::CString::new(s).unwrap());
    // SAFETY: all strings end in NUL.
    let result = unsafe {
        let data = data.as_ptr().cast();
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data)
    };
    let error = std::io::Error::last_os_error();
    assert_eq!(result, 0, "mount {target:?}: {error}");
}

fn memfd(content: &str) -> OwnedFd {
    // SAFETY: the name ends in NUL; the descriptor is new.
    let file = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"x".as_ptr(), 0)) };
    use std::io::Write;
    let mut file = std::fs::File::from(file);
    file.write_all(content.as_bytes()).unwrap();
    OwnedFd::from(file)
}

/// Makes processes that lose their parent and end. The one that makes them does so on the side; whoever
/// asks for them must not wait for it.
fn orphans(count: u64) {
    // SAFETY: children do nothing but fork and end.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        if libc::fork() != 0 {
            return;
        }
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        for _ in 0..count {
            let child = libc::fork();
            if child == 0 {
                if libc::fork() == 0 {
                    libc::usleep(500);
                }
                libc::_exit(0);
            }
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        libc::_exit(0);
    }
}

fn plain_loop(count: u64) -> ! {
    // SAFETY: waits for its children.
    unsafe {
        orphans(count);
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        while libc::waitpid(-1, std::ptr::null_mut(), 0) > 0 {}
    }
    println!("{}", cpu_of_init());
    exit(0)
}

fn zombies() -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|p| std::fs::read_to_string(p.path().join("stat")).ok());
    stats
        .filter(|s| s.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
        .count()
}

fn switches_of_init() -> u64 {
    let status = std::fs::read_to_string("/proc/1/status").unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

fn cpu_of_init() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/1/schedstat").unwrap_or_default();
    schedstat
        .split(' ')
        .next()
        .and_then(|ns| ns.parse::<u64>().ok())
        .unwrap_or(0)
        / 1000
}

fn pss_of_init() -> String {
    let rollup = std::fs::read_to_string("/proc/1/smaps_rollup").unwrap_or_default();
    rollup
        .lines()
        .find_map(|l| l.strip_prefix("Pss:"))
        .unwrap_or("?")
        .trim()
        .to_string()
}

fn files_of_init() -> usize {
    std::fs::read_dir("/proc/1/fd").unwrap().count()
}

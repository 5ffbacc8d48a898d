//! Processes, signals, control groups and sockets against the real kernel. Each test runs in a
//! process of its own, because exits, signal masks and descriptors belong to a process: the test
//! executable calls itself with the test's name. (A harness with threads could not fork safely.)
#![allow(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use platform::memory::Memory;
use platform::poll::{Event, Interest, Poller};
use platform::process::{self, ProcId};
use platform::{cgroup, child, clock, fd, random, signal, socket};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

mod groups;
mod sockets;

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("exit_is_peeked_then_reaped", exit_is_peeked_then_reaped),
    (
        "raw_status_is_what_wait_gives",
        raw_status_is_what_wait_gives,
    ),
    ("a_stopped_child_is_seen", a_stopped_child_is_seen),
    ("signals_are_events", signals_are_events),
    ("child_has_clean_signals", child_has_clean_signals),
    (
        "a_panic_in_the_child_stays_there",
        a_panic_in_the_child_stays_there,
    ),
    ("a_lent_memory_comes_back", a_lent_memory_comes_back),
    (
        "children_know_when_they_were_born",
        children_know_when_they_were_born,
    ),
    (
        "a_child_outlives_the_parent_it_suspends",
        a_child_outlives_the_parent_it_suspends,
    ),
    (
        "exec_gets_only_what_it_should",
        exec_gets_only_what_it_should,
    ),
    ("session_members_are_found", session_members_are_found),
    (
        "a_reused_number_is_not_killed",
        a_reused_number_is_not_killed,
    ),
    (
        "birth_and_death_in_a_group",
        groups::birth_and_death_in_a_group,
    ),
    (
        "packets_carry_descriptors",
        sockets::packets_carry_descriptors,
    ),
    (
        "descriptors_are_closed_with_the_packet",
        sockets::descriptors_are_closed_with_the_packet,
    ),
    (
        "listeners_keep_connections",
        sockets::listeners_keep_connections,
    ),
    (
        "datagrams_tell_the_sender",
        sockets::datagrams_tell_the_sender,
    ),
    ("setup_primitives", setup_primitives),
    ("memory_is_had_somehow", memory_is_had_somehow),
    ("deadlines_are_kept", deadlines_are_kept),
    ("random_is_random", random_is_random),
];

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let bare = name.strip_prefix("bare:");
    if let Some(exact) = name.strip_prefix("run:").or(bare) {
        let (_, test) = TESTS.iter().find(|(test, _)| *test == exact).unwrap();
        if bare.is_some() {
            take_away_new_calls();
        }
        test();
        return;
    }
    if std::env::args().any(|argument| argument == "--list") {
        TESTS.iter().for_each(|(test, _)| println!("{test}: test"));
        return;
    }
    let own = std::env::current_exe().unwrap();
    let (mut passed, mut failed) = (0, 0);
    let chosen = TESTS
        .iter()
        .filter(|(test, _)| name.starts_with('-') || test.contains(&name));
    for (test, _) in chosen {
        for (how, words) in [("run", ""), ("bare", " on an old kernel")] {
            let mut command = std::process::Command::new(&own);
            let done = command.arg(format!("{how}:{test}")).status().unwrap();
            let result = if done.success() { "ok" } else { "FAILED" };
            println!("test {test}{words} ... {result}");
            if done.success() {
                passed += 1
            } else {
                failed += 1
            }
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored");
    std::process::exit(i32::from(failed > 0));
}

/// From now on this process sees a kernel without the newer calls: they fail with `ENOSYS`.
fn take_away_new_calls() {
    let missing = [
        libc::SYS_memfd_create,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_send_signal,
        libc::SYS_clone3,
        libc::SYS_close_range,
        libc::SYS_timerfd_create,
        libc::SYS_getrandom,
        libc::SYS_openat2,
        libc::SYS_statx,
    ];
    let step = |code: u32, k: u32, jt: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut program = vec![step(load, 0, 0)];
    for (at, number) in missing.iter().enumerate() {
        program.push(step(equal, *number as u32, (missing.len() - at) as u8));
    }
    program.push(step(answer, libc::SECCOMP_RET_ALLOW, 0));
    program.push(step(
        answer,
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        0,
    ));
    child::no_new_privileges().unwrap();
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel reads the program, which is as long as said.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn temp(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pt-{name}-{}", process::own_pid()));
    std::fs::create_dir(&path).unwrap();
    path
}

/// Waits for the end of the next child, as a manager would: poller, peek, reap.
fn next_exit(poller: &mut Poller) -> process::Exit {
    let mut events = Vec::new();
    loop {
        if let Some(exit) = process::peek_exit().unwrap() {
            return exit;
        }
        poller
            .wait(Some(clock::now() + 10_000_000), &mut events)
            .unwrap();
        assert!(!events.is_empty(), "no exit within ten seconds");
        events.clear();
    }
}

fn exit_is_peeked_then_reaped() {
    let mut poller = Poller::new(&[]).unwrap();
    assert_eq!(process::peek_exit().unwrap(), None);
    let pid = process::spawn(None, |_| 7).unwrap().pid;
    let exit = next_exit(&mut poller);
    assert_eq!((exit.proc.pid, exit.status), (pid, 7 << 8));
    assert!(
        exit.proc.start > 0,
        "the start time is there while it is unreaped"
    );
    assert!(!process::is_alive(exit.proc));
    assert_eq!(
        process::peek_exit().unwrap(),
        Some(exit),
        "peeking takes nothing"
    );
    assert_eq!(process::reap(pid).unwrap(), Some(7 << 8));
    assert_eq!(process::peek_exit().unwrap(), None);
    assert!(process::reap(pid).is_err());
    assert_eq!(process::status(pid), None);
}

fn raw_status_is_what_wait_gives() {
    let mut poller = Poller::new(&[]).unwrap();
    let mut status_of = |body: fn() -> i32| {
        let pid = process::spawn(None, |_| {
            child::reset_signals(false).unwrap();
            child::set_limit(child::Resource::Core, 0, 0).unwrap();
            body()
        })
        .unwrap()
        .pid;
        let exit = next_exit(&mut poller);
        let mut raw = 0;
        // SAFETY: writes the integer.
        assert_eq!(
            unsafe { libc::waitpid(pid as i32, &mut raw, 0) },
            pid as i32
        );
        assert_eq!(exit.status, raw);
        raw
    };
    assert_eq!(status_of(|| 255), 255 << 8);
    let by_signal = status_of(|| {
        process::kill_child(process::own_pid(), signal::SIGTERM).unwrap();
        0
    });
    assert_eq!(by_signal, signal::SIGTERM);
}

fn a_stopped_child_is_seen() {
    let mut poller = Poller::new(&[]).unwrap();
    let pid = process::spawn(None, |_| {
        process::kill_child(process::own_pid(), signal::SIGSTOP).unwrap();
        3
    })
    .unwrap()
    .pid;
    let mut events = Vec::new();
    while !events.contains(&Event::Children) {
        poller.wait(None, &mut events).unwrap();
    }
    assert!(process::is_stopped(pid).unwrap());
    assert_eq!(process::peek_exit().unwrap(), None);
    process::kill_child(pid, signal::SIGCONT).unwrap();
    assert_eq!(next_exit(&mut poller).status, 3 << 8);
}

fn signals_are_events() {
    let mut poller = Poller::new(&[signal::SIGTERM, signal::SIGUSR1]).unwrap();
    for number in [signal::SIGTERM, signal::SIGUSR1] {
        process::kill_child(process::own_pid(), number).unwrap();
    }
    let mut events = Vec::new();
    poller.wait(None, &mut events).unwrap();
    assert!(events.contains(&Event::Signal(signal::SIGTERM)));
    assert!(events.contains(&Event::Signal(signal::SIGUSR1)));
    assert_eq!(events.len(), 2);
}

/// The line of `/proc/self/status` with this name, as a number.
fn mask(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

fn child_has_clean_signals() {
    let mut poller = Poller::new(&[signal::SIGTERM, signal::SIGHUP]).unwrap();
    // SAFETY: ignoring a signal is no code of ours.
    unsafe { libc::signal(signal::SIGUSR2, libc::SIG_IGN) };
    for pipe in [false, true] {
        process::spawn(None, |_| {
            child::reset_signals(pipe).unwrap();
            let expected = if pipe { 1 << (signal::SIGPIPE - 1) } else { 0 };
            i32::from((mask("SigBlk:"), mask("SigIgn:")) != (0, expected))
        })
        .unwrap();
        let exit = next_exit(&mut poller);
        assert_eq!(exit.status, 0);
        process::reap(exit.proc.pid).unwrap();
    }
}

fn a_panic_in_the_child_stays_there() {
    let mut poller = Poller::new(&[]).unwrap();
    process::spawn(None, |_| panic!("in the child")).unwrap();
    assert_eq!(next_exit(&mut poller).status, 254 << 8);
}

/// What a suspended parent lends is as it was left, whether the child ends, executes or panics.
fn a_lent_memory_comes_back() {
    let mut poller = Poller::new(&[]).unwrap();
    let mut arguments = child::Strings::new();
    for argument in ["sh", "-c", "exit 9"] {
        arguments.push(argument.as_bytes()).unwrap();
    }
    let mut environment = child::Strings::new();
    let mut runs = 0;
    let mut status_of = |body: &mut dyn FnMut(bool) -> i32| {
        process::spawn_suspended(None, body).unwrap();
        let exit = next_exit(&mut poller);
        process::reap(exit.proc.pid).unwrap();
        exit.status
    };
    for _ in 0..100 {
        let mut deep = |_| {
            runs += 1;
            let filled = std::hint::black_box([7u8; 20_000]);
            i32::from(filled[19_999])
        };
        assert_eq!(status_of(&mut deep), 7 << 8);
        let mut executes = |_| {
            child::reset_signals(false).unwrap();
            child::execute(c"/bin/sh", &mut arguments, &mut environment);
            1
        };
        assert_eq!(status_of(&mut executes), 9 << 8);
        let mut fails = |_| {
            let error = child::execute(c"/nowhere", &mut arguments, &mut environment);
            error.raw_os_error().unwrap()
        };
        assert_eq!(status_of(&mut fails), libc::ENOENT << 8);
    }
    // However often they panic, we do not end of it. (The last words of a second panic would look like an alarm.)
    let mut panics = |_| {
        unsafe { libc::close(libc::STDERR_FILENO) };
        panic!("in the child")
    };
    assert_eq!(status_of(&mut panics), 254 << 8);
    for _ in 0..3 {
        let status = status_of(&mut panics);
        assert!(matches!(status & 0x7f, 0 | signal::SIGABRT), "{status:#x}");
    }
    assert!(matches!(runs, 100 | 0), "lent, or else copied: {runs}");
}

/// The start time a child computes is the one the kernel tells of it.
fn children_know_when_they_were_born() {
    let mut poller = Poller::new(&[]).unwrap();
    for round in 0..300 {
        let before = clock::now();
        let mut body = |_| i32::from(process::own_born_after(before) != process::own());
        if round % 2 == 0 {
            process::spawn_suspended(None, &mut body).unwrap();
        } else {
            process::spawn(None, body).unwrap();
        }
        let exit = next_exit(&mut poller);
        assert_eq!(exit.status, 0, "round {round}");
        process::reap(exit.proc.pid).unwrap();
    }
}

/// SIGKILL takes the parent in the middle of the loan; the child goes on, in its memory.
fn a_child_outlives_the_parent_it_suspends() {
    process::become_subreaper().unwrap();
    let mut poller = Poller::new(&[]).unwrap();
    let parent = process::spawn(None, |_| {
        let mut lasts = |_| {
            let parent = process::parent_pid();
            process::kill_child(parent, signal::SIGKILL).unwrap();
            while process::parent_pid() == parent {
                std::thread::yield_now();
            }
            31
        };
        let _ = process::spawn_suspended(None, &mut lasts);
        loop {
            std::thread::park(); // where the memory was copied
        }
    });
    let parent = parent.unwrap().pid;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let exit = next_exit(&mut poller);
        process::reap(exit.proc.pid).unwrap();
        seen.push((exit.proc.pid == parent, exit.status));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(false, 31 << 8), (true, signal::SIGKILL)]);
}

fn exec_gets_only_what_it_should() {
    let mut poller = Poller::new(&[]).unwrap();
    let (reader, writer) = fd::pipe().unwrap();
    let stray = std::fs::File::open("/dev/null").unwrap();
    fd::set_inheritable(&stray, true).unwrap();
    let mut arguments = child::Strings::new();
    let script = "ls /proc/self/fd | tr '\\n' ' '; echo $VAR; ps -o sid= -p $$ >/dev/null; umask; exec 2>&-; exit 5";
    for argument in ["sh", "-c", script] {
        arguments.push(argument.as_bytes()).unwrap();
    }
    let mut environment = child::Strings::new();
    environment.push(b"VAR=value").unwrap();
    environment.push(b"PATH=/bin:/usr/bin").unwrap();
    process::spawn(None, |_| {
        let setup = || -> std::io::Result<()> {
            child::new_session()?;
            child::set_umask(0o27);
            let null = child::open(c"/dev/null", child::Mode::Read)?;
            child::install(&null, 0)?;
            child::install(&writer, 1)?;
            child::close_at_exec(3, &[]);
            child::reset_signals(false)
        };
        if setup().is_err() {
            return 1;
        }
        child::execute(c"/bin/sh", &mut arguments, &mut environment);
        2
    })
    .unwrap();
    drop(writer);
    assert_eq!(next_exit(&mut poller).status, 5 << 8);
    let mut buffer = [0; 256];
    let mut text = Vec::new();
    while let Ok(got @ 1..) = fd::read(&reader, &mut buffer) {
        text.extend_from_slice(&buffer[..got]);
    }
    // 3 is the directory that ls itself reads.
    assert_eq!(String::from_utf8(text).unwrap(), "0 1 2 3 value\n0027\n");
}

fn session_members_are_found() {
    let mut poller = Poller::new(&[]).unwrap();
    let (reader, writer) = fd::pipe().unwrap();
    let leader = process::spawn(None, |_| {
        child::new_session().unwrap();
        process::spawn(None, |_| {
            fd::write(&writer, b"x").unwrap();
            // SAFETY: waits for a signal.
            unsafe { libc::pause() }
        })
        .unwrap();
        0
    })
    .unwrap()
    .pid;
    poller.add(&reader, 1, Interest::READ).unwrap();
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, Event::Ready(_))) {
        poller.wait(None, &mut events).unwrap();
    }
    assert_eq!(next_exit(&mut poller).proc.pid, leader);
    let members = process::session_members(leader);
    assert_eq!(members.len(), 1);
    assert_ne!(members[0].pid, leader, "the leader has ended");
    process::kill_group(leader, signal::SIGKILL).unwrap();
    // It is nobody's child here, so its end is seen by looking where nothing tells it.
    let held = process::hold(members[0]).ok();
    if let Some(held) = &held {
        poller.add(held, 2, Interest::READ).unwrap();
    }
    let end = clock::now() + 10_000_000;
    while process::is_alive(members[0]) {
        assert!(clock::now() < end, "not dead within ten seconds");
        let look = if held.is_some() {
            end
        } else {
            clock::now() + 1_000
        };
        poller.wait(Some(look), &mut events).unwrap();
    }
}

fn a_reused_number_is_not_killed() {
    let _poller = Poller::new(&[]).unwrap();
    let pid = process::spawn(None, |_| {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() }
    })
    .unwrap()
    .pid;
    let start = process::start_time(pid).unwrap();
    let before = ProcId {
        pid,
        start: start - 1,
    };
    let killed = process::kill(before, signal::SIGKILL).unwrap_err();
    assert_eq!(killed.raw_os_error(), Some(libc::ESRCH));
    let held = process::hold(before).unwrap_err().raw_os_error();
    assert!(held == Some(libc::ESRCH) || held == Some(libc::ENOSYS));
    assert!(process::is_alive(ProcId { pid, start }));
    process::kill(ProcId { pid, start }, signal::SIGKILL).unwrap();
}

fn setup_primitives() {
    let mut poller = Poller::new(&[]).unwrap();
    let root = process::status(process::own_pid()).is_some() && mask("CapEff:") & (1 << 7) != 0;
    process::spawn(None, |_| {
        let run = || -> std::io::Result<bool> {
            child::set_limit(child::Resource::Files, 100, 200)?;
            let limits = child::file_limit()? == (100, 200);
            child::set_nice(5)?;
            child::set_oom_score(500)?;
            let oom = std::fs::read_to_string("/proc/self/oom_score_adj")?.trim() == "500";
            child::change_directory(c"/proc")?;
            let there = std::env::current_dir()? == *"/proc";
            child::no_new_privileges()?;
            child::die_with_parent(signal::SIGKILL)?;
            if root {
                child::set_identity(Some(65_533), Some(65_532), Some(&[1, 2, 3]))?;
                let status = std::fs::read_to_string("/proc/self/status")?;
                let is = |line: &str| status.lines().any(|got| got.trim_end() == line);
                return Ok(limits
                    && oom
                    && there
                    && is("Uid:\t65533\t65533\t65533\t65533")
                    && is("Gid:\t65532\t65532\t65532\t65532")
                    && is("Groups:\t1 2 3"));
            }
            Ok(limits && oom && there)
        };
        i32::from(!matches!(run(), Ok(true)))
    })
    .unwrap();
    assert_eq!(next_exit(&mut poller).status, 0);
}

fn memory_is_had_somehow() {
    let base = temp("memory");
    let mut memory = Memory::create(c"test", 4096, &base).unwrap();
    memory.grow(8192).unwrap();
    memory.words()[2047].store(5, Ordering::Release);
    let kept = Memory::from_fd(memory.duplicate().unwrap()).unwrap();
    drop(memory);
    assert_eq!(kept.words()[2047].load(Ordering::Acquire), 5);
    assert_eq!(fd::kind(&kept).unwrap(), fd::Kind::Memory);
    assert_eq!(
        std::fs::read_dir(&base).unwrap().count(),
        0,
        "it has no name"
    );
    std::fs::remove_dir_all(base).unwrap();
}

fn deadlines_are_kept() {
    let mut poller = Poller::new(&[]).unwrap();
    let mut events = Vec::new();
    let at = clock::now() + 20_000;
    while clock::now() < at {
        poller.wait(Some(at), &mut events).unwrap();
    }
    assert!(events.is_empty());
}

fn random_is_random() {
    assert_ne!(random::bits128(), random::bits128());
}

//! What init hands to itself over an `exec`: re-exec and switch-root.
//!
//! An image in a memfd: [`Facts`], then the exits that are not acknowledged, oldest first, then the
//! kept descriptors, each as it lies in memory. The kernel's integers of one machine go from one
//! program to the next, so there is nothing to encode. Append-only like the wire: a field, once
//! released, keeps its place; what is new comes at the end of [`Facts`]; a reader takes as many
//! bytes of it as both know and leaves the rest zero. The descriptors themselves travel by being
//! open; an entry that names one which is not open is dropped by the reader.

use crate::ring::Ring;
use crate::store::Store;
use crate::sys::{self, Plain};
use core::mem::size_of;

/// First word of an image: which format this is. Another number means that nothing is understood.
pub const MAGIC: u32 = 0x736d_0002;

/// Bytes of a path, the NUL included.
pub const PATH: usize = 512;

/// So long after a manager last took one, and with the ring full, exits are discarded: long enough for any
/// recovery, short enough that zombies do not use up the process ids of a small machine.
pub const DISCARD_AFTER_MS: u64 = 120_000;

/// What the kernel's command line and the first look at the machine say; a worker finds it out.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Settings {
    /// [`init_wire::flags`], without safe mode.
    pub flags: u32,
    /// What to do when no manager can be started: 0 a shell, 1 a reboot.
    pub reboot: u32,
    /// Whether to unmount at the end.
    pub unmount: u32,
    /// Delay of the reboot, in milliseconds.
    pub reboot_delay_ms: u32,
    /// Path of the manager.
    pub manager: [u8; PATH],
    /// Path of the rescue shell.
    pub shell: [u8; PATH],
    /// In place of [`DISCARD_AFTER_MS`], if it is not 0.
    pub discard_after_ms: u32,
    /// Room for one more number.
    pub spare: u32,
}

/// Everything small that survives.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Facts {
    /// [`MAGIC`].
    pub magic: u32,
    /// Bytes of this structure, as its writer has it.
    pub size: u32,
    /// Epoch of the last manager that was spawned.
    pub epoch: u64,
    /// Signals (bit n: signal n) no manager has taken yet.
    pub signals: u64,
    /// Exits nobody was told of.
    pub discarded: u64,
    /// The limit of open files init was born with.
    pub limits: [u64; 2],
    /// When init ends the machine by itself, in milliseconds since boot; with `ending`.
    pub shutdown_at: u64,
    /// The manager's start time.
    pub manager_start: u64,
    /// When it was spawned, in milliseconds since boot.
    pub manager_since: u64,
    /// Number of the oldest exit that follows, or of the next one.
    pub first_seq: u64,
    /// How many exits follow.
    pub exits: u32,
    /// How many of these the manager was sent.
    pub sent: u32,
    /// How many descriptors follow.
    pub kept: u32,
    /// The manager that runs, 0 if none.
    pub manager_pid: i32,
    /// init's end of its socketpair.
    pub manager_fd: i32,
    /// Whether it said `Hello`.
    pub manager_up: u32,
    /// How the one before it died: number and wait status of [`init_wire::Before`].
    pub before: [i32; 2],
    /// A shutdown that was asked for: 1 + the number of [`init_wire::Ending`], 0 for none.
    pub ending: u32,
    /// How often the hardware watchdog is fed, in milliseconds; 0: it is not armed.
    pub watchdog_ms: u32,
    /// For how long it is still fed in the last step of a reboot.
    pub watchdog_reboot_ms: u32,
    /// When the manager on trial is given up, in seconds since boot; 0: none is.
    pub trial: u32,
    /// What was found out at boot.
    pub settings: Settings,
}

// SAFETY: integers only; the sizes below leave no room for padding.
#[allow(unsafe_code)]
unsafe impl Plain for Facts {}
// SAFETY: the same.
#[allow(unsafe_code)]
unsafe impl Plain for Settings {}
const _: () = assert!(size_of::<Settings>() == 16 + 2 * PATH + 8);
const _: () = assert!(size_of::<Facts>() == 8 + 9 * 8 + 12 * 4 + size_of::<Settings>());

impl Facts {
    /// Nothing has happened yet, and nothing is written.
    #[must_use]
    pub const fn new() -> Facts {
        Facts {
            magic: 0,
            size: 0,
            epoch: 0,
            signals: 0,
            discarded: 0,
            limits: [0; 2],
            shutdown_at: 0,
            manager_start: 0,
            manager_since: 0,
            first_seq: 0,
            exits: 0,
            sent: 0,
            kept: 0,
            manager_pid: 0,
            manager_fd: 0,
            manager_up: 0,
            before: [0; 2],
            ending: 0,
            watchdog_ms: 0,
            watchdog_reboot_ms: 0,
            trial: 0,
            settings: Settings {
                flags: 0,
                reboot: 0,
                unmount: 0,
                reboot_delay_ms: 0,
                manager: [0; PATH],
                shell: [0; PATH],
                discard_after_ms: 0,
                spare: 0,
            },
        }
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes an image: what of it `facts` says (sizes and counts) is filled in. The descriptor.
pub fn write(facts: &mut Facts, ring: &Ring, store: &Store) -> Result<i32, sys::Errno> {
    facts.magic = MAGIC;
    facts.size = size_of::<Facts>() as u32;
    facts.first_seq = ring.first_seq();
    facts.exits = ring.len() as u32;
    facts.sent = ring.sent() as u32;
    facts.kept = store.len() as u32;
    let fd = sys::memory_file()?;
    let (older, newer) = ring.places();
    let facts = core::slice::from_ref(facts);
    let parts = [
        sys::bytes_of(facts),
        sys::bytes_of(older),
        sys::bytes_of(newer),
        sys::bytes_of(store.used()),
    ];
    for part in parts {
        if sys::write(fd, part) != Ok(part.len()) {
            sys::close(fd);
            return Err(libc::ENOSPC);
        }
    }
    Ok(fd)
}

/// Reads an image; `false` if it is none of ours, or not whole: then some of it may have been read.
pub fn read(fd: i32, facts: &mut Facts, ring: &mut Ring, store: &mut Store) -> bool {
    sys::seek(fd, 0, libc::SEEK_SET);
    facts.magic = 0;
    let bytes = sys::bytes_of_mut(core::slice::from_mut(facts));
    let known = bytes.len();
    let got = sys::read(fd, bytes).unwrap_or_default();
    let size = facts.size as usize;
    if facts.magic != MAGIC || got < size.min(known) {
        return false;
    }
    // What is beyond an older writer's end was read from what follows.
    if let Some(unknown) = sys::bytes_of_mut(core::slice::from_mut(facts)).get_mut(size..) {
        unknown.fill(0);
    }
    sys::seek(fd, size as i32, libc::SEEK_SET);
    let (first, exits, sent) = (facts.first_seq, facts.exits as usize, facts.sent as usize);
    let Some(exits) = ring.restart(first, exits, sent) else {
        return false;
    };
    filled(fd, sys::bytes_of_mut(exits))
        && store
            .restart(facts.kept as usize)
            .is_some_and(|kept| filled(fd, sys::bytes_of_mut(kept)))
}

fn filled(fd: i32, room: &mut [u8]) -> bool {
    sys::read(fd, room) == Ok(room.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use init_wire::{Kind, Label};

    /// What was released stays where it is.
    #[test]
    fn layout() {
        let offsets = [
            offset_of!(Facts, magic),
            offset_of!(Facts, size),
            offset_of!(Facts, epoch),
            offset_of!(Facts, signals),
            offset_of!(Facts, discarded),
            offset_of!(Facts, limits),
            offset_of!(Facts, shutdown_at),
            offset_of!(Facts, manager_start),
            offset_of!(Facts, manager_since),
            offset_of!(Facts, first_seq),
            offset_of!(Facts, exits),
            offset_of!(Facts, sent),
            offset_of!(Facts, kept),
            offset_of!(Facts, manager_pid),
            offset_of!(Facts, manager_fd),
            offset_of!(Facts, manager_up),
            offset_of!(Facts, before),
            offset_of!(Facts, ending),
            offset_of!(Facts, watchdog_ms),
            offset_of!(Facts, watchdog_reboot_ms),
            offset_of!(Facts, trial),
            offset_of!(Facts, settings),
        ];
        let expected = [
            0, 4, 8, 16, 24, 32, 48, 56, 64, 72, 80, 84, 88, 92, 96, 100, 104, 112, 116, 120, 124,
            128,
        ];
        assert_eq!(offsets, expected);
    }

    fn filled() -> (Facts, Box<Ring>, Box<Store>) {
        let mut facts = Facts::new();
        facts.epoch = 7;
        facts.before = [3, 11];
        facts.settings.manager[0] = b'/';
        let mut ring = Box::new(Ring::new());
        for round in 0..1500u32 {
            if ring.is_full() {
                while ring.unsent().is_some() {
                    ring.mark_sent();
                }
                ring.acknowledge(ring.next_seq() - 1000);
            }
            ring.push(round, 10, 9);
        }
        let mut store = Box::new(Store::new());
        store.set_capacity(100);
        for index in 0..50 {
            store.put(Label::of(Kind::NOTIFY, &format!("{index}")), 100 + index);
        }
        (facts, ring, store)
    }

    #[test]
    fn there_and_back() {
        let (mut facts, ring, store) = filled();
        let fd = write(&mut facts, &ring, &store).unwrap();
        let mut again = (Facts::new(), Box::new(Ring::new()), Box::new(Store::new()));
        again.2.set_capacity(100);
        assert!(read(fd, &mut again.0, &mut again.1, &mut again.2));
        assert_eq!((again.0.epoch, again.0.before), (7, [3, 11]));
        assert_eq!(again.1.len(), ring.len());
        for index in 0..ring.len() {
            assert_eq!(again.1.get(index), ring.get(index));
        }
        assert_eq!(
            (again.1.sent(), again.1.next_seq()),
            (ring.sent(), ring.next_seq())
        );
        assert_eq!(again.2.len(), 50);
        for index in 0..50 {
            assert_eq!(again.2.at(index), store.at(index));
        }
        sys::close(fd);
    }

    #[test]
    fn cut_short_or_foreign_is_said() {
        let (mut facts, ring, store) = filled();
        let fd = write(&mut facts, &ring, &store).unwrap();
        let mut image = vec![0; 1 << 20];
        sys::seek(fd, 0, libc::SEEK_SET);
        let length = sys::read(fd, &mut image).unwrap();
        sys::close(fd);
        let attempt = |image: &[u8]| {
            let fd = sys::memory_file().unwrap();
            assert_eq!(sys::write(fd, image), Ok(image.len()));
            let (mut ring, mut store) = (Box::new(Ring::new()), Box::new(Store::new()));
            store.set_capacity(100);
            let read = read(fd, &mut Facts::new(), &mut ring, &mut store);
            sys::close(fd);
            read
        };
        assert!(attempt(&image[..length]));
        for cut in (0..length).step_by(77) {
            assert!(!attempt(&image[..cut]), "{cut}");
        }
        image[0] ^= 1;
        assert!(!attempt(&image[..length]), "another format");
        image[0] ^= 1;
        // Counts that no memory of ours can hold.
        image[80..92].fill(0xff);
        assert!(!attempt(&image[..length]));
    }

    #[test]
    fn an_older_and_a_newer_one_are_understood() {
        let mut facts = Facts::new();
        facts.magic = MAGIC;
        facts.epoch = 5;
        let bytes = sys::bytes_of(core::slice::from_ref(&facts));
        for size in [bytes.len() - 600, bytes.len() + 64] {
            let mut bytes = bytes.to_vec();
            bytes.resize(size, 0xaa);
            bytes[4..8].copy_from_slice(&(size as u32).to_ne_bytes());
            let fd = sys::memory_file().unwrap();
            assert_eq!(sys::write(fd, &bytes), Ok(size));
            let (mut ring, mut store) = (Box::new(Ring::new()), Box::new(Store::new()));
            let mut got = Facts::new();
            got.settings.discard_after_ms = 7;
            assert!(read(fd, &mut got, &mut ring, &mut store), "{size}");
            assert_eq!((got.epoch, got.settings.discard_after_ms), (5, 0));
            sys::close(fd);
        }
    }
}

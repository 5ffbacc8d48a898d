//! What init reads besides frames: the image of a former self, and the kernel's command line.

use init::ring::Ring;
use init::state::{self, Facts, MAGIC, PATH};
use init::store::Store;
use init::work::options::Options;
use init_wire::{Kind, Label};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;

/// Facts, exits and descriptors as a former self may have had them.
pub fn sample() -> (Facts, Box<Ring>, Box<Store>) {
    let mut facts = Facts::new();
    facts.epoch = 7;
    facts.signals = 1 << 15;
    facts.discarded = 3;
    facts.limits = [1024, 4096];
    facts.shutdown_at = 90_000;
    facts.manager_start = 123;
    facts.manager_since = 456;
    facts.manager_pid = 2;
    facts.manager_fd = 5;
    facts.manager_up = 1;
    facts.before = [3, 11];
    facts.ending = 2;
    facts.watchdog_ms = 30_000;
    facts.watchdog_reboot_ms = 600_000;
    facts.trial = 77;
    facts.settings.flags = 1;
    facts.settings.unmount = 1;
    facts.settings.manager[..4].copy_from_slice(b"/a/b");
    facts.settings.shell[..7].copy_from_slice(b"/bin/sh");
    facts.settings.discard_after_ms = 9;
    let (mut ring, mut store) = (Box::new(Ring::new()), Box::new(Store::new()));
    store.set_capacity(100);
    for number in 0..3 {
        ring.push(100 + number, u64::from(number) << 33, 9);
        store.put(
            Label::of(Kind::NOTIFY, &number.to_string()),
            10 + number as i32,
        );
    }
    ring.mark_sent();
    (facts, ring, store)
}

/// The image init writes of these; what it says of itself is filled in.
pub fn written(facts: &mut Facts, ring: &Ring, store: &Store) -> Vec<u8> {
    let number = state::write(facts, ring, store).unwrap();
    // init's own descriptor number: it is taken over, and closed with the file.
    let mut file = File::from(platform::fd::inherited(number).unwrap());
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// What a former self left; `None` if it is refused.
pub fn read(image: &[u8]) -> Option<(Facts, Box<Ring>, Box<Store>)> {
    let mut file = File::from(
        platform::memory::Memory::create(c"image", 1, std::path::Path::new("/tmp"))
            .unwrap()
            .duplicate()
            .unwrap(),
    );
    file.set_len(0).ok();
    file.write_all(image).unwrap();
    let (mut facts, mut ring, mut store) =
        (Facts::new(), Box::new(Ring::new()), Box::new(Store::new()));
    store.set_capacity(100);
    state::read(file.as_raw_fd(), &mut facts, &mut ring, &mut store).then_some((facts, ring, store))
}

/// The image of a former self, with anything in it: it is refused, or holds no more than init has room for, and what
/// this init hands on is what it was handed.
pub fn image(bytes: &[u8]) {
    let (mut facts, ring, store) = sample();
    let mut image = written(&mut facts, &ring, &store);
    match bytes.split_first() {
        Some((kind, rest)) if kind % 2 == 1 => patch(&mut image, rest),
        Some((_, rest)) => image = rest.to_vec(),
        None => image.clear(),
    }
    let Some((mut facts, ring, store)) = read(&image) else {
        return;
    };
    assert_eq!(image.get(..4), Some(&MAGIC.to_ne_bytes()[..]));
    assert!(ring.len() <= init::ring::CAPACITY && ring.sent() <= ring.len());
    assert!(store.len() <= init::store::MAX);
    assert!(facts.settings.manager.len() == PATH);
    let again = written(&mut facts, &ring, &store);
    let (mut facts, ring, store) = read(&again).expect("what init wrote itself");
    assert_eq!(written(&mut facts, &ring, &store), again);
}

/// Bytes of an image are changed, three for each: where (two), to what; where lies behind its end, it is cut short.
fn patch(image: &mut Vec<u8>, bytes: &[u8]) {
    for patch in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]]));
        match image.get_mut(at) {
            Some(byte) => *byte = patch[2],
            None => image.truncate(usize::from(patch[2]) * 8),
        }
    }
}

/// The kernel's command line as init reads it: paths stay absolute and fit, times are in their range, what is wrong is
/// counted and changes nothing, and a line read twice says the same.
pub fn options(bytes: &[u8]) {
    let mut options = Options::new();
    let wrong = options.line(bytes);
    for path in [&options.manager, &options.shell] {
        let path = path.as_bytes();
        assert!(
            path.first() == Some(&b'/') && path.len() < PATH && !path.contains(&0),
            "{path:?}"
        );
    }
    assert!(options.rescue_delay_ms <= 86_400_000 && options.discard_after_ms <= 86_400_000);
    let told = (
        options.rescue,
        options.unmount,
        options.flags,
        options.rescue_delay_ms,
    );
    assert_eq!(options.line(bytes), wrong);
    assert_eq!(
        told,
        (
            options.rescue,
            options.unmount,
            options.flags,
            options.rescue_delay_ms
        )
    );
    if let Some(stat) = init::procfs::stat(bytes) {
        let _ = stat;
    }
    let mut out = [0; 64];
    if let Some(plain) = init::procfs::unescape(bytes, &mut out) {
        assert!(plain.len() <= bytes.len());
    }
    if let Some((point, kind)) = init::procfs::mount(bytes) {
        assert!(point.len() + kind.len() < bytes.len());
    }
}

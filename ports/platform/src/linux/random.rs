//! Random numbers for ids. They never block and never fail: before the kernel's generator is
//! seeded (the first second of a board without entropy) they are the best the kernel has.

use super::{clock, fd, sys};

/// Returns 128 random bits.
pub fn bits128() -> u128 {
    let mut bytes = [0u8; 16];
    if fill(&mut bytes) {
        u128::from_ne_bytes(bytes)
    } else {
        weak()
    }
}

/// Fills at most 256 bytes, which the kernel does as a whole. Whether it did.
fn fill(bytes: &mut [u8]) -> bool {
    const INSECURE: libc::c_uint = 4;
    for flags in [INSECURE, libc::GRND_NONBLOCK] {
        // SAFETY: writes at most the bytes given.
        let got =
            unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), flags) };
        if usize::try_from(got) == Ok(bytes.len()) {
            return true;
        }
    }
    sys::open(c"/dev/urandom", libc::O_RDONLY | libc::O_NOCTTY, 0)
        .and_then(|file| fd::read(&file, bytes))
        .is_ok_and(|got| got == bytes.len())
}

/// Random numbers for who needs many: the kernel is asked for sixteen at a time, since a question costs it
/// thousands of instructions while it is not seeded. A copied process has the same numbers in it.
#[derive(Debug, Default)]
pub struct Pool {
    bytes: [[u8; 16]; 16],
    left: usize,
}

impl Pool {
    /// Returns 128 random bits.
    pub fn bits128(&mut self) -> u128 {
        if self.left == 0 && fill(self.bytes.as_flattened_mut()) {
            self.left = self.bytes.len();
        }
        let Some(left) = self.left.checked_sub(1) else {
            return weak();
        };
        self.left = left;
        self.bytes
            .get(left)
            .map_or_else(weak, |bytes| u128::from_ne_bytes(*bytes))
    }
}

/// Without any generator: unique rather than unpredictable (clock, process, a counter, mixed).
fn weak() -> u128 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let seed = clock::now() ^ (u64::from(std::process::id()) << 40) ^ (u64::from(count) << 20);
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let low = mix(seed);
    (u128::from(mix(low ^ clock::wall() as u64)) << 64) | u128::from(low)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_differ() {
        assert_ne!(super::bits128(), super::bits128());
        assert_ne!(super::weak(), super::weak());
        let mut pool = super::Pool::default();
        let mut many: Vec<u128> = (0..40).map(|_| pool.bits128()).collect();
        many.sort_unstable();
        many.dedup();
        assert_eq!(many.len(), 40);
    }
}

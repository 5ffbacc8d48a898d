//! Random numbers for ids. They never block and never fail: before the kernel's generator is
//! seeded (the first second of a board without entropy) they are the best the kernel has.

use super::{clock, fd, sys};

/// Returns 128 random bits.
pub fn bits128() -> u128 {
    const INSECURE: libc::c_uint = 4;
    let mut bytes = [0u8; 16];
    for flags in [INSECURE, libc::GRND_NONBLOCK] {
        // SAFETY: writes at most the 16 bytes given.
        let got =
            unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), flags) };
        if got == 16 {
            return u128::from_ne_bytes(bytes);
        }
    }
    if let Ok(file) = sys::open(c"/dev/urandom", libc::O_RDONLY | libc::O_NOCTTY, 0)
        && matches!(fd::read(&file, &mut bytes), Ok(16))
    {
        return u128::from_ne_bytes(bytes);
    }
    weak()
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
    }
}

//! Large memories, and plain values as bytes.

use core::ffi::CStr;

/// What is too large for the stack and all zero at the start: it takes no room in the file and no
/// memory until it is touched. Handed out once.
pub struct Once<T>(core::cell::UnsafeCell<T>, core::sync::atomic::AtomicBool);

// SAFETY: `take` hands the value out once.
unsafe impl<T> Sync for Once<T> {}

impl<T> Once<T> {
    pub const fn new(value: T) -> Once<T> {
        Once(
            core::cell::UnsafeCell::new(value),
            core::sync::atomic::AtomicBool::new(false),
        )
    }

    /// The value; `None` the second time.
    #[allow(clippy::mut_from_ref)] // handed out once
    pub fn take(&'static self) -> Option<&'static mut T> {
        // Load and store: there are no threads, and no instruction set needs more for it.
        if self.1.load(core::sync::atomic::Ordering::Relaxed) {
            return None;
        }
        self.1.store(true, core::sync::atomic::Ordering::Relaxed);
        // SAFETY: the flag was false, so this is the only reference there will ever be.
        Some(unsafe { &mut *self.0.get() })
    }
}

/// Bytes of [`scratch`].
pub const SCRATCH: usize = 65_536;
static SCRATCH_MEMORY: Once<[u8; SCRATCH]> = Once::new([0; SCRATCH]);

/// A large buffer for a worker; `None` the second time in one process.
pub fn scratch() -> Option<&'static mut [u8; SCRATCH]> {
    SCRATCH_MEMORY.take()
}

/// A type made of integers, without padding: it may be written out as it lies in memory, and
/// whatever is read back is a value of it.
///
/// # Safety
/// Just that.
pub unsafe trait Plain {}

/// The bytes of plain values.
pub fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: no padding, so all of it is initialised.
    unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The same to be written to.
pub fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: any bytes make a value.
    unsafe { core::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// The string at `item`. (The C library's search for the end is made for long ones, like core's.)
///
/// # Safety
/// It ends in NUL and stays.
#[inline(never)]
pub(super) unsafe fn string(item: *const core::ffi::c_char) -> &'static CStr {
    let mut length = 0;
    // SAFETY: by our own contract. Volatile, or the compiler makes a call of `strlen` of it.
    unsafe {
        while item.add(length).read_volatile() != 0 {
            length += 1;
        }
        let bytes = core::slice::from_raw_parts(item.cast(), length + 1);
        CStr::from_bytes_with_nul_unchecked(bytes)
    }
}

/// The text before the first NUL; empty without one. (The library's search for it is made for long
/// texts, and for more than PID 1 can spare.)
#[inline(never)]
pub fn until_nul(bytes: &[u8]) -> &CStr {
    for (index, byte) in bytes.iter().enumerate() {
        if *byte == 0 {
            // SAFETY: these bytes are there, and the only NUL is the last of them.
            return unsafe { CStr::from_bytes_with_nul_unchecked(bytes.get_unchecked(..=index)) };
        }
    }
    c""
}

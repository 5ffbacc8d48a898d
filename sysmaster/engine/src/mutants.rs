//! Faults planted by hand, to see whether the simulator finds them.
//!
//! Each stands where it would be made, as `mutant!(n)`: false, and gone when compiled, unless the crate
//! is built with the feature `mutants` and the fault of this number is switched on. What each one does
//! is told by the simulator's list of them.

#[cfg(feature = "mutants")]
mod switch {
    use core::sync::atomic::{AtomicU32, Ordering};

    static ON: AtomicU32 = AtomicU32::new(0);

    /// Switches one fault on, and the others off; 0: all off.
    pub fn switch(number: u32) {
        ON.store(number, Ordering::Relaxed);
    }

    pub(crate) fn is_on(number: u32) -> bool {
        ON.load(Ordering::Relaxed) == number
    }
}

#[cfg(feature = "mutants")]
pub(crate) use switch::is_on;
#[cfg(feature = "mutants")]
pub use switch::switch;

#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_on(_: u32) -> bool {
    false
}

/// Whether the fault of this number is switched on.
macro_rules! mutant {
    ($number:literal) => {
        crate::mutants::is_on($number)
    };
}
pub(crate) use mutant;

//! The bare system call, as each architecture's ABI has it (syscall(2), "Architecture calling
//! conventions"). PID 1 needs nothing that a C library adds to it (errno, cancellation points,
//! emulation of old kernels), and that would be a quarter of its size. An architecture that is not
//! listed goes through the C library.
//!
//! All calls answer as the kernel does: a number below zero is an error number, negated.

/// `call!(number, argument, …)`: up to six arguments, each an integer or a pointer.
macro_rules! call {
    ($number:expr) => { $crate::sys::call::call1($number as _, 0) };
    ($number:expr, $a:expr) => { $crate::sys::call::call1($number as _, $a as usize) };
    ($number:expr, $a:expr, $b:expr) => { $crate::sys::call::call2($number as _, $a as usize, $b as usize) };
    ($number:expr, $a:expr, $b:expr, $c:expr) => {
        $crate::sys::call::call3($number as _, $a as usize, $b as usize, $c as usize)
    };
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr) => {
        $crate::sys::call::call4($number as _, $a as usize, $b as usize, $c as usize, $d as usize)
    };
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        $crate::sys::call::call5($number as _, $a as usize, $b as usize, $c as usize, $d as usize, $e as usize)
    };
}
pub(super) use call;

/// One function per count of arguments: `define!` is given the names and registers of all of them.
macro_rules! all {
    ($a:tt $b:tt $c:tt $d:tt $e:tt) => {
        define!(call1: a $a);
        define!(call2: a $a, b $b);
        define!(call3: a $a, b $b, c $c);
        define!(call4: a $a, b $b, c $c, d $d);
        define!(call5: a $a, b $b, c $c, d $d, e $e);
    };
}

#[cfg(target_arch = "x86_64")]
mod arch {
    macro_rules! define {
        ($name:ident: $($arg:ident $register:tt),*) => {
            /// # Safety
            /// The kernel's contract of the call.
            #[inline(always)]
            pub unsafe fn $name(number: usize, $($arg: usize),*) -> isize {
                let result: usize;
                // SAFETY: by our own contract; rcx and r11 are what the instruction destroys.
                unsafe {
                    core::arch::asm!("syscall", inlateout("rax") number => result, $(in($register) $arg,)*
                        lateout("rcx") _, lateout("r11") _, options(nostack));
                }
                result as isize
            }
        };
    }
    all!("rdi" "rsi" "rdx" "r10" "r8");
}

#[cfg(target_arch = "aarch64")]
mod arch {
    macro_rules! define {
        ($name:ident: $first:ident $x0:tt $(, $arg:ident $register:tt)*) => {
            /// # Safety
            /// The kernel's contract of the call.
            #[inline(always)]
            pub unsafe fn $name(number: usize, $first: usize, $($arg: usize),*) -> isize {
                let result: usize;
                // SAFETY: by our own contract; nothing but the result is written.
                unsafe {
                    core::arch::asm!("svc 0", in("x8") number, inlateout("x0") $first => result,
                        $(in($register) $arg,)* options(nostack));
                }
                result as isize
            }
        };
    }
    all!("x0" "x1" "x2" "x3" "x4");
}

#[cfg(target_arch = "riscv64")]
mod arch {
    macro_rules! define {
        ($name:ident: $first:ident $a0:tt $(, $arg:ident $register:tt)*) => {
            /// # Safety
            /// The kernel's contract of the call.
            #[inline(always)]
            pub unsafe fn $name(number: usize, $first: usize, $($arg: usize),*) -> isize {
                let result: usize;
                // SAFETY: by our own contract; nothing but the result is written.
                unsafe {
                    core::arch::asm!("ecall", in("a7") number, inlateout("a0") $first => result,
                        $(in($register) $arg,)* options(nostack));
                }
                result as isize
            }
        };
    }
    all!("a0" "a1" "a2" "a3" "a4");
}

#[cfg(target_arch = "arm")]
mod arch {
    macro_rules! define {
        ($name:ident: $first:ident $r0:tt $(, $arg:ident $register:tt)*) => {
            /// # Safety
            /// The kernel's contract of the call.
            #[inline(always)]
            pub unsafe fn $name(number: usize, $first: usize, $($arg: usize),*) -> isize {
                let result: usize;
                // SAFETY: by our own contract. The number goes into r7, which Thumb code uses for its
                // frames and the compiler does not lend: it is put back.
                unsafe {
                    core::arch::asm!("mov {saved}, r7", "mov r7, {number}", "svc 0", "mov r7, {saved}",
                        saved = out(reg) _, number = in(reg) number, inlateout("r0") $first => result,
                        $(in($register) $arg,)* options(nostack));
                }
                result as isize
            }
        };
    }
    all!("r0" "r1" "r2" "r3" "r4");
}

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "arm"
)))]
mod arch {
    macro_rules! define {
        ($name:ident: $($arg:ident $register:tt),*) => {
            /// # Safety
            /// The kernel's contract of the call.
            pub unsafe fn $name(number: usize, $($arg: usize),*) -> isize {
                // SAFETY: by our own contract; errno is this thread's.
                unsafe {
                    match libc::syscall(number as _, $($arg),*) {
                        -1 => -(*libc::__errno_location() as isize),
                        result => result as isize,
                    }
                }
            }
        };
    }
    all!(0 0 0 0 0);
}

pub use arch::*;

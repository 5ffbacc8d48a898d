//! How our programs begin, and what a panic does in them. Each of them includes this.

#[cfg(all(panic = "abort", feature = "prove-no-panic"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        // Exists nowhere: if anything can still panic, linking fails and names this.
        fn panic_path_left_in_pid1() -> !;
    }
    // SAFETY: never linked.
    unsafe { panic_path_left_in_pid1() }
}

#[cfg(all(panic = "abort", not(feature = "prove-no-panic")))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    init::defect()
}

/// The prebuilt `core` of a stable toolchain names it in its unwind tables; nothing ever calls it.
#[cfg(all(panic = "abort", not(feature = "prove-no-panic")))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// In place of the C library's function of this name, which its start file calls: nothing of the C library
/// is used but copying and comparing of memory, so none of it is to be set up.
///
/// # Safety
/// Called by the start file, once, with the arguments of `main`.
#[cfg(all(panic = "abort", target_env = "musl"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __libc_start_main(
    main: unsafe extern "C" fn(
        core::ffi::c_int,
        *const *const core::ffi::c_char,
    ) -> core::ffi::c_int,
    count: core::ffi::c_int,
    list: *const *const core::ffi::c_char,
) -> ! {
    // SAFETY: by our own contract.
    init::exit(unsafe { main(count, list) })
}

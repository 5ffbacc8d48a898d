//! Linker options for PID 1 and its worker, where the linker is lld called as such (static builds): no padding
//! between segments, no tables for unwinding, equal functions once. Every page of the executable counts in
//! the memory of a process that never ends. With any other linker nothing is asked for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if !flags.contains("linker-flavor=ld.lld") {
        return;
    }
    for option in [
        "--icf=all",
        "--build-id=none",
        "--no-eh-frame-hdr",
        "--no-rosegment",
        "-zmax-page-size=4096",
        "-znoseparate-code",
        "-znorelro",
    ] {
        println!("cargo::rustc-link-arg-bins={option}");
    }
}

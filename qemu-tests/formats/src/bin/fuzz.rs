//! libFuzzer over the target that `FUZZ_TARGET` names: see `qemu-tests/formats/fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match formats::find(&name) {
        Some(target) => target.run,
        None => {
            eprintln!("FUZZ_TARGET={name}: there is no such target");
            std::process::exit(2);
        }
    }
});

fuzz_target!(|data: &[u8]| RUN(data));

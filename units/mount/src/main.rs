//! The mount helper as a program of its own; see the library.

fn main() {
    std::process::exit(unit_mount::main());
}

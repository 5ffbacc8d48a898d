//! The service helper as a program of its own; see the library.

fn main() {
    std::process::exit(unit_service::main());
}

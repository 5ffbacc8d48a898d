//! The socket helper as a program of its own; see the library.

fn main() {
    std::process::exit(unit_socket::main());
}

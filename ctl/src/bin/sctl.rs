//! `sctl` as a program of its own; the installed one is a link to the multi-call executable.

fn main() {
    std::process::exit(sctl::main(std::env::args_os().collect()));
}

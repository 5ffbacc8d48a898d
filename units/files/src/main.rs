//! The generators as a program of its own: see [`unit_files::generate`].

fn main() {
    std::process::exit(unit_files::generate::main(std::env::args_os().collect()));
}

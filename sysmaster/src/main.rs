//! The manager as an executable of its own. What it does is [`sysmaster`]'s documentation.

fn main() {
    std::process::exit(sysmaster::main(std::env::args_os().collect()));
}

//! One executable that is the manager, the helpers and `sctl`, by the name it is called under.
//!
//! The name is the last part of `argv[0]`: `sysmaster`, `sctl`, or that of a helper, which is its
//! unit type (`service`, as in `/usr/lib/sysmaster/helpers/service`, or `sysmaster-service`). Called
//! as anything else, `multicall` say, the first argument is the name.

use std::ffi::OsString;
use std::path::Path;
use units::runtime::UnitType;

platform::use_heap!();

/// A program in here: its arguments with its own name first, its exit status.
type Program = fn(Vec<OsString>) -> i32;

fn program(name: &str) -> Option<Program> {
    match name {
        "sysmaster" | "sysmaster-generate" => {
            Some(|arguments| sysmaster::main_with(arguments, inside))
        }
        "sctl" => Some(sctl::main),
        "service" | "sysmaster-service" => Some(|_| unit_service::main()),
        "mount" | "sysmaster-mount" => Some(|_| unit_mount::main()),
        "socket" | "sysmaster-socket" => Some(|_| unit_socket::main()),
        _ => None,
    }
}

/// Helpers that can run inside the manager.
fn inside(unit_type: &str) -> Option<Box<dyn UnitType>> {
    match unit_type {
        "service" => Some(Box::new(unit_service::services())),
        "mount" => Some(Box::new(unit_mount::Mounts::default())),
        "socket" => Some(Box::new(unit_socket::Sockets::default())),
        _ => None,
    }
}

fn named(argument: Option<&OsString>) -> Option<Program> {
    let name = Path::new(argument?).file_name()?.to_str()?;
    let found = program(name)?;
    // Executed from an open file, as on trial, it would be called by a number.
    if let Ok(name) = std::ffi::CString::new(name) {
        platform::child::set_name(&name);
    }
    units::fault::doctored(name);
    units::fault::point_at(|| ["start-", name].concat());
    Some(found)
}

fn main() {
    platform::heap::set(&HEAP);
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let chosen = named(arguments.first()).or_else(|| {
        let chosen = named(arguments.get(1))?;
        arguments.remove(0);
        Some(chosen)
    });
    let status = match chosen {
        Some(program) => program(arguments),
        None => {
            eprintln!(
                "usage: sysmaster|sctl|service|socket|mount ARGUMENT…, as a name of this file or behind it"
            );
            2
        }
    };
    std::process::exit(status);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_the_last_part_of_a_path() {
        let known = |name: &str| named(Some(&OsString::from(name))).is_some();
        assert!(known("sysmaster") && known("/usr/bin/sctl"));
        assert!(known("/usr/lib/sysmaster/helpers/service") && known("sysmaster-service"));
        assert!(known("/usr/lib/sysmaster/helpers/socket"));
        assert!(known("/usr/lib/sysmaster/helpers/mount"));
        assert!(!known("multicall") && !known("") && !known("/") && named(None).is_none());
    }
}

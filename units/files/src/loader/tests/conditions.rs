//! Every `Condition…=` of systemd.unit(5), `Assert…=` being the same by another name: what holds
//! and what does not, each with its negation.

use super::*;
use crate::loader::condition::World;
use std::os::unix::fs::PermissionsExt;
use units::facts::Machine;

/// A root with something of everything paths are asked about.
fn root() -> Tree {
    let tree = Tree::new();
    tree.write("etc/full", "x");
    tree.write("etc/empty", "");
    tree.write(
        "etc/os-release",
        "ID=tiny\nVERSION_ID=13.2\nNAME=\"Tiny OS\"\n",
    );
    tree.link("etc/link", "full");
    fs::create_dir(tree.path().join("none")).unwrap();
    tree.write("etc/run", "");
    let run = tree.path().join("etc/run");
    fs::set_permissions(run, fs::Permissions::from_mode(0o755)).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    drop(listener);
    tree
}

fn own() -> String {
    let names = platform::kernel::names();
    names.host
}

/// Which of these hold, read from a unit file as the manager reads it.
fn holds(kind: &str, param: &str, under: Option<&Tree>) -> bool {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/a.service",
        format!("[Unit]\nCondition{kind}={param}\nAssert{kind}={param}\n"),
    );
    let spec = tree.load("a.service").spec;
    assert_eq!(spec.load, LoadState::Loaded, "{kind}={param}");
    assert_eq!(spec.conditions, spec.asserts);
    let root = under.map_or(Path::new("/"), Tree::path);
    let machine = Machine::new(root);
    let failed = World {
        root,
        machine: &machine,
    }
    .failed(&spec.conditions);
    failed.is_none()
}

fn check(kind: &str, under: Option<&Tree>, yes: &[&str], no: &[&str]) {
    for (list, want) in [(yes, true), (no, false)] {
        for param in list {
            assert_eq!(holds(kind, param, under), want, "Condition{kind}={param}");
            let negated = format!("!{param}");
            assert_eq!(
                holds(kind, &negated, under),
                !want,
                "Condition{kind}={negated}"
            );
        }
    }
}

/// One test for each directive: name, directive, whether it looks below a root of its own, what
/// holds, what does not.
macro_rules! conditions {
    ($($name:ident $kind:literal $below:literal $yes:expr, $no:expr;)*) => {
        $(#[test]
        fn $name() {
            let tree = root();
            let yes: &[&str] = &$yes;
            let no: &[&str] = &$no;
            check($kind, $below.then_some(&tree), yes, no);
        })*

        #[test]
        fn every_kind_of_condition_has_a_test() {
            for (name, kind) in [$((stringify!($name), $kind)),*] {
                assert!(name.starts_with("condition_"));
                assert!(units::spec::ConditionKind::from_name(kind).is_some(), "{kind}");
            }
        }
    };
}

conditions! {
    condition_architecture "Architecture" false ["native"], ["vax"];
    condition_firmware "Firmware" false [], ["device-tree-compatible(nobody,nothing)", "smbios-field(no_such_field = x)"];
    condition_virtualization "Virtualization" false [], ["bochs"];
    condition_host "Host" false ["*", &own(), &own().to_uppercase()], ["no-such-host", "00000000000000000000000000000001"];
    condition_kernel_command_line "KernelCommandLine" false [], ["no_such_word", "no_such=word"];
    condition_kernel_version "KernelVersion" false [">2.6", ">= 2.6 <999", "*", "$=?*", "!=x"], ["<2.6", ">2.6 <2.7", "=2.6", "!$=*", "==2.6"];
    condition_credential "Credential" false [], ["no-such-credential", "../x"];
    condition_environment "Environment" false ["PATH"], ["NO_SUCH_VARIABLE", "PATH=x"];
    condition_security "Security" false [], ["moon"];
    condition_needs_update "NeedsUpdate" true ["/etc"], [];
    condition_first_boot "FirstBoot" true ["no"], ["yes"];
    condition_path_exists "PathExists" true ["/etc/full", "/etc/link"], ["/etc/gone"];
    condition_path_exists_glob "PathExistsGlob" true ["/etc/f*l", "/e?c/[a-f]*"], ["/etc/g*", "/x*/y"];
    condition_path_is_directory "PathIsDirectory" true ["/etc"], ["/etc/full", "/gone"];
    condition_path_is_symbolic_link "PathIsSymbolicLink" true ["/etc/link"], ["/etc/full"];
    condition_path_is_mount_point "PathIsMountPoint" false ["/proc", "/"], ["/proc/self"];
    condition_path_is_read_write "PathIsReadWrite" true ["/etc"], ["/gone"];
    condition_path_is_encrypted "PathIsEncrypted" false [], ["/proc", "/gone"];
    condition_path_is_socket "PathIsSocket" true ["/socket"], ["/etc/full"];
    condition_directory_not_empty "DirectoryNotEmpty" true ["/etc"], ["/none", "/etc/full"];
    condition_file_not_empty "FileNotEmpty" true ["/etc/full"], ["/etc/empty", "/etc"];
    condition_file_is_executable "FileIsExecutable" true ["/etc/run"], ["/etc/full", "/etc"];
    condition_user "User" false [], ["no-such-user", "54321"];
    condition_group "Group" false [], ["no-such-group", "54321"];
    condition_control_group_controller "ControlGroupController" false ["no-such-controller"], [];
    condition_memory "Memory" false [">1M", ">=1M", "1M", "!=1M"], ["<1M", "=1M", "<= 1M"];
    condition_cpus "CPUs" false [">=1", "1", "<100000"], [">100000", "0x1000000"];
    condition_cpu_feature "CPUFeature" false [], ["no_such_feature"];
    condition_os_release "OSRelease" true ["ID=tiny", "VERSION_ID>=13 VERSION_ID<14", "'NAME=Tiny OS'", "ID$=t*", "NOTHING=", "ID!=big"], ["ID=big", "VERSION_ID<13", "ID!$=t*", "VERSION_ID=13", "ID=tiny VERSION_ID>14"];
    condition_memory_pressure "MemoryPressure" false ["100%", "100%/10s", "no-such.slice:1%/1min"], [];
    condition_cpu_pressure "CPUPressure" false ["100%/1min"], [];
    condition_io_pressure "IOPressure" false ["100%/5min"], [];
    condition_kernel_module_loaded "KernelModuleLoaded" false [], ["no_such_module"];
    condition_ac_power "ACPower" false [], [];
    condition_capability "Capability" false [], [];
}

#[test]
fn condition_ac_power_and_capability_are_one_or_the_other() {
    assert_ne!(holds("ACPower", "yes", None), holds("ACPower", "no", None));
    assert_ne!(
        holds("Capability", "CAP_SYS_ADMIN", None),
        holds("Capability", "!CAP_SYS_ADMIN", None)
    );
    assert!(!holds("Capability", "CAP_MOON", None) && !holds("Capability", "!CAP_MOON", None));
}

#[test]
fn condition_first_boot_while_the_mark_is_there() {
    let tree = Tree::new();
    tree.write(crate::first_boot::FLAG, "");
    check("FirstBoot", Some(&tree), &["yes"], &["no"]);
}

#[test]
fn condition_needs_update_compares_with_usr() {
    let tree = Tree::new();
    tree.write("usr/x", "");
    tree.write("etc/.updated", "");
    let old = fs::File::open(tree.path().join("usr")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    check("NeedsUpdate", Some(&tree), &[], &["/etc"]);
}

#[test]
fn an_empty_condition_forgets_those_before_it_and_no_assertion() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/a.service",
        "[Unit]\nConditionHost=x\nConditionPathExists=/gone\nAssertHost=y\nConditionUser=\n\
         ConditionHost=|!z\n",
    );
    let spec = tree.load("a.service").spec;
    assert_eq!((spec.conditions.len(), spec.asserts.len()), (1, 1));
    assert!(spec.conditions[0].trigger && spec.conditions[0].negate);
}

//! What conditions ask of the running machine, read from where the kernel tells it.
//!
//! Nothing is kept: conditions are few, and what they ask about changes.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;
use units::mounts::{self, Mount};
use units::value::environ;

/// A small file of the kernel's, empty if it cannot be read.
fn small(path: &str) -> String {
    platform::files::read_file(Path::new(path), 1 << 20)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The kernel's command line; in a container what its first process was called with.
pub(super) fn command_line() -> String {
    if container().is_some() {
        return small("/proc/1/cmdline").replace('\0', " ");
    }
    platform::kernel::command_line()
}

fn mount_table() -> Vec<Mount> {
    mounts::table(&small("/proc/self/mountinfo")).collect()
}

/// Whether the kernel has a mount at a path of this name.
pub(super) fn has_mount(path: &str) -> bool {
    mount_table().iter().any(|mount| mount.point == path)
}

/// Whether something is mounted exactly here, links followed.
pub(super) fn is_mount_point(path: &Path) -> bool {
    let Ok(real) = fs::canonicalize(path) else {
        return false;
    };
    mount_table()
        .iter()
        .any(|mount| Path::new(&mount.point) == real)
}

/// Whether the file system a path lies on is read-only; `None` if there is no such path.
pub(super) fn is_read_only(path: &Path) -> Option<bool> {
    let real = fs::canonicalize(path).ok()?;
    // Of mounts on the same point the last one is on top.
    mount_table()
        .into_iter()
        .filter(|mount| real.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.len())
        .map(|mount| mount.read_only)
}

/// Main memory in bytes.
pub(super) fn memory_total() -> Option<u64> {
    let text = small("/proc/meminfo");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    let physical = kib.checked_mul(1024)?;
    // In a container the root of what we see of the control groups has a limit.
    let limit = small("/sys/fs/cgroup/memory.max").trim().parse().ok();
    Some(limit.map_or(physical, |limit: u64| limit.min(physical)))
}

/// Processors we may run on.
pub(super) fn cpus() -> Option<u64> {
    // Hexadecimal words of 32 bits with commas between them.
    let mask = status_field("Cpus_allowed")?;
    let bits = mask.chars().filter_map(|c| c.to_digit(16));
    Some(bits.map(|digit| u64::from(digit.count_ones())).sum())
}

/// Whether a processor flag is set.
pub(super) fn cpu_feature(name: &str) -> bool {
    let text = small("/proc/cpuinfo");
    let is_flags = |key: &str| matches!(key.trim(), "flags" | "Features" | "isa");
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| is_flags(key))
        .any(|(_, flags)| {
            flags
                .split_whitespace()
                .any(|f| f.eq_ignore_ascii_case(name))
        })
}

/// Whether the machine runs on mains; a machine that cannot tell does.
pub(super) fn ac_power() -> bool {
    let supplies = fs::read_dir("/sys/class/power_supply")
        .into_iter()
        .flatten()
        .flatten();
    let mut mains = None;
    for supply in supplies {
        let file = |name: &str| small(&supply.path().join(name).to_string_lossy());
        if file("type").trim() == "Mains" {
            mains = Some(mains.unwrap_or(false) || file("online").trim() == "1");
        }
    }
    mains.unwrap_or(true)
}

/// Whether a security technology is in use.
pub(super) fn security(name: &str) -> bool {
    let exists = |path: &str| Path::new(path).exists();
    match name {
        "selinux" => exists("/sys/fs/selinux/enforce"),
        "apparmor" => small("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
        "smack" => exists("/sys/fs/smackfs/load2"),
        "tomoyo" => exists("/sys/kernel/security/tomoyo/version"),
        "ima" => exists("/sys/kernel/security/ima"),
        "audit" => exists("/proc/self/loginuid"),
        "tpm2" => fs::read_dir("/sys/class/tpmrm").is_ok_and(|mut list| list.next().is_some()),
        "uefi-secureboot" => {
            let path = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
            fs::read(path).is_ok_and(|bytes| bytes.last() == Some(&1))
        }
        "cvm" => exists("/dev/sev-guest") || cpu_feature("tdx_guest"),
        "measured-uki" => exists(
            "/sys/firmware/efi/efivars/StubPcrKernelImage-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
        ),
        _ => false,
    }
}

/// In the order of their numbers.
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

fn status_field(name: &str) -> Option<String> {
    let text = small("/proc/self/status");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Whether a capability is in our bounding set; `None` if there is no such capability.
pub(super) fn capability(name: &str) -> Option<bool> {
    let name = name.to_ascii_lowercase();
    let short = name.strip_prefix("cap_")?;
    let number = CAPABILITIES.iter().position(|known| *known == short)?;
    let set = u64::from_str_radix(&status_field("CapBnd")?, 16).ok()?;
    Some(set >> number & 1 == 1)
}

/// Our own effective user, group and other groups.
pub(super) fn own_ids() -> (u32, u32, Vec<u32>) {
    let numbers = |field: &str| -> Vec<u32> {
        let text = status_field(field).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect()
    };
    let effective = |field: &str| numbers(field).get(1).copied().unwrap_or(0);
    (effective("Uid"), effective("Gid"), numbers("Groups"))
}

/// Whether these control group controllers (`v1` and `v2` are words too) are there. Names nobody
/// knows are passed over.
pub(super) fn controllers(list: &str) -> bool {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers");
    let have = small("/sys/fs/cgroup/cgroup.controllers");
    match list {
        "v2" => v2.exists(),
        "v1" => !v2.exists() && Path::new("/sys/fs/cgroup").exists(),
        _ => list
            .split_whitespace()
            .filter(|name| matches!(*name, "cpu" | "io" | "memory" | "pids"))
            .all(|name| have.split_whitespace().any(|h| h == name)),
    }
}

/// Whether the device tree says that the board is compatible with this one.
pub(super) fn device_tree_compatible(wanted: &str) -> bool {
    small("/sys/firmware/devicetree/base/compatible")
        .split('\0')
        .any(|c| c == wanted)
}

/// A field of the machine's SMBIOS table.
pub(super) fn smbios(field: &str) -> Option<String> {
    let path = Path::new("/sys/class/dmi/id").join(field);
    let bytes = platform::files::read_file(&path, 4096).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// Whether the block device below a path's file system, or every device that one is made of, is
/// encrypted by dm-crypt.
pub(super) fn is_encrypted(path: &Path) -> bool {
    let Ok((major, minor)) = platform::files::device_of(path) else {
        return false;
    };
    encrypted_device(Path::new(&format!("/sys/dev/block/{major}:{minor}")), 0)
}

fn encrypted_device(device: &Path, depth: u32) -> bool {
    if small(&device.join("dm/uuid").to_string_lossy()).starts_with("CRYPT-") {
        return true;
    }
    let slaves: Vec<_> = fs::read_dir(device.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    depth < 8
        && !slaves.is_empty()
        && slaves
            .iter()
            .all(|slave| encrypted_device(&slave.path(), depth + 1))
}

/// Whether the system was given a credential of this name.
pub(super) fn credential(name: &str) -> bool {
    let plain = !name.is_empty() && !name.contains('/') && name != "..";
    let own = std::env::var("CREDENTIALS_DIRECTORY").unwrap_or_default();
    let dirs = [
        "/run/credentials/@system",
        "/run/credentials/@encrypted",
        &own,
    ];
    plain
        && dirs
            .iter()
            .any(|dir| !dir.is_empty() && Path::new(dir).join(name).exists())
}

/// A pressure average in hundredths of a percent, of all tasks together where the kernel has that;
/// `None` if it does not measure it.
pub(super) fn pressure(file: &str, field: &str) -> Option<u32> {
    let text = small(file);
    let line = |name: &str| text.lines().find(|l| l.starts_with(name));
    let line = line("full").or_else(|| line("some"))?;
    let number = line.split(' ').find_map(|word| word.strip_prefix(field))?;
    units::value::size::percent(&format!("{number}%")).ok()
}

/// A file in the control group of a slice.
pub(super) fn cgroup_file(slice: &units::name::UnitName, file: &str) -> String {
    ["/sys/fs/cgroup/", &slice.slice_path(), file].concat()
}

/// What the machine is, if it is not a real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VirtKind {
    Machine,
    Container,
}

/// Whether we are in a user namespace that is not the machine's.
pub(super) fn private_users() -> bool {
    let map = small("/proc/self/uid_map");
    !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Container or virtual machine, and systemd's name for it.
pub(super) fn virtualization() -> Option<(VirtKind, &'static str)> {
    container()
        .map(|name| (VirtKind::Container, name))
        .or_else(|| {
            let name = machine()?;
            Some((VirtKind::Machine, name))
        })
}

fn container() -> Option<&'static str> {
    let variables = small("/proc/1/environ").replace('\0', "\n");
    let (of_init, _) = environ::file(&variables);
    let named = environ::get(&of_init, "container")
        .map(str::to_owned)
        .or_else(|| std::env::var("container").ok())
        .unwrap_or_else(|| small("/run/systemd/container").trim().to_owned());
    const NAMES: [&str; 8] = [
        "lxc",
        "lxc-libvirt",
        "systemd-nspawn",
        "docker",
        "podman",
        "rkt",
        "wsl",
        "proot",
    ];
    if !named.is_empty() {
        return Some(
            NAMES
                .into_iter()
                .find(|n| *n == named)
                .unwrap_or("container-other"),
        );
    }
    let release = small("/proc/sys/kernel/osrelease");
    if release.contains("Microsoft") || release.contains("WSL") {
        return Some("wsl");
    }
    if Path::new("/run/.containerenv").exists() {
        return Some("podman");
    }
    if Path::new("/.dockerenv").exists() {
        return Some("docker");
    }
    Path::new("/proc/vz")
        .exists()
        .then_some("openvz")
        .filter(|_| !Path::new("/proc/bc").exists())
}

fn machine() -> Option<&'static str> {
    /// Beginnings of what the firmware says, and who says it.
    const VENDORS: [(&str, &str); 16] = [
        ("KVM", "kvm"),
        ("OpenStack", "kvm"),
        ("KubeVirt", "kvm"),
        ("Amazon EC2", "amazon"),
        ("QEMU", "qemu"),
        ("VMware", "vmware"),
        ("VMW", "vmware"),
        ("innotek GmbH", "oracle"),
        ("VirtualBox", "oracle"),
        ("Xen", "xen"),
        ("Bochs", "bochs"),
        ("Parallels", "parallels"),
        ("BHYVE", "bhyve"),
        ("Hyper-V", "microsoft"),
        ("Apple Virtualization", "apple"),
        ("Google Compute Engine", "google"),
    ];
    let files = [
        "product_name",
        "sys_vendor",
        "board_vendor",
        "bios_vendor",
        "product_version",
    ];
    for file in files {
        let text = small(&format!("/sys/class/dmi/id/{file}"));
        let found = VENDORS.iter().find(|(begin, _)| text.starts_with(begin));
        match found {
            // QEMU is the program; what runs the machine may be KVM.
            Some((_, "qemu")) if has_kvm_clock() => return Some("kvm"),
            Some((_, name)) => return Some(name),
            None => {}
        }
    }
    if small("/sys/hypervisor/type").trim() == "xen" {
        return Some("xen");
    }
    match small("/proc/device-tree/hypervisor/compatible").trim_end_matches('\0') {
        "linux,kvm" => return Some("kvm"),
        text if text.contains("xen") => return Some("xen"),
        text if text.contains("vmware") => return Some("vmware"),
        _ => {}
    }
    let nodes = fs::read_dir("/proc/device-tree")
        .into_iter()
        .flatten()
        .flatten();
    let is_fw_cfg = |name: std::ffi::OsString| name.to_string_lossy().starts_with("fw-cfg");
    let model = small("/proc/device-tree/compatible");
    if model.contains("riscv-virtio") || model.contains("linux,dummy-virt") {
        return Some("qemu");
    }
    if nodes.into_iter().any(|entry| is_fw_cfg(entry.file_name())) {
        return Some("qemu");
    }
    if small("/proc/cpuinfo").contains("User Mode Linux") {
        return Some("uml");
    }
    if has_kvm_clock() {
        return Some("kvm");
    }
    cpu_feature("hypervisor").then_some("vm-other")
}

fn has_kvm_clock() -> bool {
    small("/sys/devices/system/clocksource/clocksource0/available_clocksource").contains("kvm")
}

/// Compares versions part by part: numbers as numbers, text as text, a longer one is later.
pub(super) fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        a = a.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        b = b.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        if a.is_empty() || b.is_empty() {
            return a.len().min(1).cmp(&b.len().min(1));
        }
        let (part_a, rest_a) = part(a);
        let (part_b, rest_b) = part(b);
        let number = |p: &str| p.starts_with(|c: char| c.is_ascii_digit());
        let order = match (number(part_a), number(part_b)) {
            (true, true) => {
                let (x, y) = (
                    part_a.trim_start_matches('0'),
                    part_b.trim_start_matches('0'),
                );
                x.len().cmp(&y.len()).then(x.cmp(y))
            }
            // A number is later than text: 1.0 after 1.rc.
            (false, true) => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, false) => part_a.cmp(part_b),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The digits, or the letters, at the beginning.
fn part(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let same = |c: char| {
        if digits {
            c.is_ascii_digit()
        } else {
            c.is_ascii_alphabetic()
        }
    };
    let end = text.find(|c| !same(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (a, b, want) in [
            ("5.10", "5.10", Ordering::Equal),
            ("5.10", "5.9", Ordering::Greater),
            ("5.10", "5.10.1", Ordering::Less),
            ("6.12.48+deb13", "6.12", Ordering::Greater),
            ("1.0", "1.rc", Ordering::Greater),
            ("1.a", "1.b", Ordering::Less),
            ("007", "7", Ordering::Equal),
            ("18446744073709551617", "9", Ordering::Greater),
            ("", "1", Ordering::Less),
        ] {
            assert_eq!(compare_versions(a, b), want, "{a} {b}");
        }
    }
}

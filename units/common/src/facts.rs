//! What specifiers ask of the machine: host name, ids, kernel, directories, os-release.
//!
//! Everything is read the first time it is asked for and kept; a machine whose host name changes
//! later keeps the old one in the units loaded before, as with systemd.

use crate::value::specifier::{Facts, SystemFacts};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};

/// The facts of the machine below a root directory.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    names: OnceCell<platform::kernel::Names>,
    boot_id: OnceCell<String>,
    machine_id: OnceCell<String>,
    os_release: OnceCell<Vec<String>>,
}

/// The facts of the machine and of one unit.
#[derive(Debug)]
pub struct UnitFacts<'a> {
    /// The machine's.
    pub machine: &'a Machine,
    /// Path of the unit file; empty if there is none.
    pub fragment: &'a str,
}

impl Machine {
    /// The machine whose file system is below this directory: `/` for the running one.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.into(),
            names: OnceCell::new(),
            boot_id: OnceCell::new(),
            machine_id: OnceCell::new(),
            os_release: OnceCell::new(),
        }
    }

    /// Names of the running kernel.
    pub fn names(&self) -> &platform::kernel::Names {
        self.names.get_or_init(platform::kernel::names)
    }

    /// `/etc/machine-id`; empty if there is none yet.
    pub fn machine_id(&self) -> &str {
        self.machine_id.get_or_init(|| {
            let text = self.small("etc/machine-id");
            let id = text.trim();
            if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
                id.into()
            } else {
                String::new()
            }
        })
    }

    /// A field of os-release; empty if it is not there.
    pub fn os_release(&self, field: &str) -> &str {
        let fields = self.os_release.get_or_init(|| {
            let mut text = self.small("etc/os-release");
            if text.is_empty() {
                text = self.small("usr/lib/os-release");
            }
            crate::value::environ::file(&text).0
        });
        crate::value::environ::get(fields, field).unwrap_or("")
    }

    /// systemd's word for this machine's instruction set.
    pub fn architecture(&self) -> &str {
        match self.names().machine.as_str() {
            "x86_64" => "x86-64",
            "i386" | "i486" | "i586" | "i686" => "x86",
            "aarch64" => "arm64",
            "aarch64_be" => "arm64-be",
            "armv7b" | "armv8b" => "arm-be",
            arm if arm.starts_with("arm") => "arm",
            "ppc64le" => "ppc64-le",
            "loongarch64" => "loongarch64",
            other => other,
        }
    }

    fn small(&self, path: &str) -> String {
        platform::files::read_file(&self.root.join(path), 64 << 10)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Facts for Machine {
    fn fact(&self, specifier: char) -> Option<Cow<'_, str>> {
        let text: &str = match specifier {
            'H' => &self.names().host,
            'l' => self.names().host.split('.').next().unwrap_or(""),
            'q' => {
                let host = self.small("etc/machine-info");
                let (fields, _) = crate::value::environ::file(&host);
                let pretty = crate::value::environ::get(&fields, "PRETTY_HOSTNAME");
                let short = self.names().host.split('.').next().unwrap_or("");
                return Some(Cow::Owned(pretty.unwrap_or(short).into()));
            }
            'v' => &self.names().release,
            'a' => self.architecture(),
            'b' => self.boot_id.get_or_init(platform::kernel::boot_id),
            // An empty id in a path would be somebody else's directory.
            'm' => Some(self.machine_id()).filter(|id| !id.is_empty())?,
            'o' => self.os_release("ID"),
            'w' => self.os_release("VERSION_ID"),
            'B' => self.os_release("BUILD_ID"),
            'W' => self.os_release("VARIANT_ID"),
            'M' => self.os_release("IMAGE_ID"),
            'A' => self.os_release("IMAGE_VERSION"),
            other => return SystemFacts.fact(other),
        };
        Some(Cow::Borrowed(text))
    }
}

impl Facts for UnitFacts<'_> {
    fn fact(&self, specifier: char) -> Option<Cow<'_, str>> {
        match specifier {
            'y' => Some(self.fragment.into()),
            'Y' => Some(
                self.fragment
                    .rsplit_once('/')
                    .map_or("", |(dir, _)| dir)
                    .into(),
            ),
            other => self.machine.fact(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_running_machine_and_of_a_root() {
        let root = std::env::temp_dir().join(format!("facts-{:x}", platform::random::bits128()));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/os-release"), "ID=tiny\nVERSION_ID=\"1 2\"\n").unwrap();
        let machine = Machine::new(&root);
        assert_eq!(machine.fact('o').unwrap(), "tiny");
        assert_eq!(machine.fact('w').unwrap(), "1 2");
        assert_eq!(machine.fact('B').unwrap(), "");
        assert_eq!(machine.fact('m'), None);
        assert_eq!(machine.fact('t').unwrap(), "/run");
        assert_eq!(machine.fact('Q'), None);
        assert!(!machine.fact('v').unwrap().is_empty());
        assert_eq!(machine.fact('b').unwrap().len(), 32);
        let facts = UnitFacts {
            machine: &machine,
            fragment: "/etc/u/a.service",
        };
        assert_eq!(
            (facts.fact('y').unwrap(), facts.fact('Y').unwrap()),
            ("/etc/u/a.service".into(), "/etc/u".into())
        );
        std::fs::remove_dir_all(root).unwrap();
    }
}

//! Whole trees of files: what generators make of them, and what `sctl verify` says of them.

use platform::random;
use sctl::{Screen, Style};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use unit_files::config::GENERATED;
use units::file::UnitFile;

/// A directory that goes away with the value; in memory if there is such a place.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        let base = ["/dev/shm", "/tmp"]
            .map(Path::new)
            .into_iter()
            .find(|path| path.is_dir());
        let root = base
            .unwrap()
            .join(format!("sysmaster-formats-{:x}", random::bits128() >> 64));
        fs::create_dir(&root).unwrap();
        Self(root)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Every file and link below, and what is in it; directories without anything are nothing.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.0.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                if path.is_symlink() {
                    found.insert(
                        path.clone(),
                        fs::read_link(path)
                            .unwrap()
                            .into_os_string()
                            .into_encoded_bytes(),
                    );
                } else if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Files that are in one input, with 0xff between them.
fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == 0xff)
}

/// `/etc/fstab`, a SysV script, one more, the kernel's command line: whatever is in them, generators change nothing
/// outside of their own directories, do the same each time, and what they write is a unit file without a fault whose
/// sections are those of its type: no value gets out of its line.
pub fn generate(bytes: &[u8]) {
    let root = Root::new();
    let mut parts = parts(bytes);
    root.write("etc/fstab", parts.next().unwrap_or_default());
    for script in ["etc/init.d/first", "etc/init.d/second"] {
        root.write(script, parts.next().unwrap_or_default());
        fs::set_permissions(root.0.join(script), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir_all(root.0.join("etc/rc2.d")).unwrap();
    std::os::unix::fs::symlink("../init.d/second", root.0.join("etc/rc2.d/S02second")).unwrap();
    let line = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let before = root.content();
    let said = unit_files::generate::run(&root.0, &line, false);
    assert!(said.iter().all(|text| !text.is_empty()));
    let after = root.content();
    let own = |path: &&PathBuf| {
        GENERATED
            .iter()
            .any(|dir| path.starts_with(root.0.join(&dir[1..])))
    };
    let made: Vec<_> = after.keys().filter(own).collect();
    assert_eq!(
        after.len(),
        before.len() + made.len(),
        "something was made elsewhere: {after:?}"
    );
    assert!(
        before
            .iter()
            .all(|(path, content)| after.get(path) == Some(content))
    );
    for path in made {
        if !path.is_symlink() {
            is_a_unit(path, &after[path]);
        }
    }
    let again = unit_files::generate::run(&root.0, &line, false);
    assert_eq!((again, root.content()), (said, after));
}

fn is_a_unit(path: &Path, bytes: &[u8]) {
    let mut file = UnitFile::new();
    let mut findings = Vec::new();
    assert!(
        file.add(0, bytes, &mut findings) && findings.is_empty(),
        "{path:?}: {findings:?}"
    );
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(
        !text.contains('\r') && !text.lines().any(|line| line.ends_with('\\')),
        "{path:?}: {text:?}"
    );
    let name = path.file_name().unwrap().to_str().unwrap();
    let drop_in = name.ends_with(".conf");
    let unit = units::name::UnitName::new(name);
    assert!(drop_in || unit.is_ok(), "{path:?} is no name of a unit");
    let section = if name.ends_with(".mount") {
        "Mount"
    } else {
        "Service"
    };
    for entry in file.entries() {
        assert!(
            entry.section == "Unit" || entry.section == section,
            "{path:?}: {entry:?}"
        );
        assert!(
            units::directives::is_known(entry.section, entry.key),
            "{path:?}: {entry:?}"
        );
    }
}

const TREE: [&str; 7] = [
    "etc/sysmaster/system/a.service",
    "etc/sysmaster/system/b.socket",
    "etc/sysmaster/system/c.mount",
    "etc/sysmaster/system/d.target",
    "etc/sysmaster/system/e@.service",
    "etc/sysmaster/system/a.service.d/x.conf",
    "etc/sysmaster/system.conf",
];

/// A tree of unit files under `sctl verify`: it ends with 0 or 1, says the same each time, in text and in JSON as many
/// problems, each with the file it is about, on a line of its own; and it changes nothing.
pub fn verify(bytes: &[u8]) {
    let root = Root::new();
    for (path, part) in TREE.iter().zip(parts(bytes)) {
        root.write(path, part);
    }
    let before = root.content();
    let (status, text, errors) = sctl(&root.0, &["verify"]);
    assert!(status == 0 || status == 1, "{status}: {errors}");
    assert_eq!(sctl(&root.0, &["verify"]), (status, text.clone(), errors));
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
    let (same, json, _) = sctl(&root.0, &["verify", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let problems = json["findings"].as_array().unwrap();
    assert_eq!(same, status);
    assert_eq!(
        status == 1,
        problems.iter().any(|problem| problem["level"] == "error"),
        "{json}"
    );
    for problem in problems {
        assert!(!problem["text"].as_str().unwrap().is_empty());
        assert!(
            problem["unit"]
                .as_str()
                .is_some_and(|unit| units::name::UnitName::new(unit).is_ok()),
            "{problem}"
        );
    }
    assert_eq!(root.content(), before);
}

fn sctl(root: &Path, words: &[&str]) -> (i32, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut screen = Screen {
        out: &mut out,
        err: &mut err,
        style: Style {
            colour: false,
            width: None,
            unicode: true,
        },
        live: false,
        wall: 0,
        host: "fuzz".into(),
    };
    let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    arguments.extend(["--root".into(), root.into()]);
    let status = sctl::run(arguments, &mut screen);
    (
        status,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

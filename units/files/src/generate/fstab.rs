//! The file systems of `/etc/fstab` (fstab(5)): one mount unit for each line.
//!
//! `local-fs.target` requires them, or `remote-fs.target` where they come over the network; with
//! `nofail` it only wants them and does not wait, with `noauto` they are mounted when something asks
//! for them. `x-systemd.requires=`, `before=`, `after=`, `requires-mounts-for=`, `wants-mounts-for=`, `wanted-by=`,
//! `required-by=` and `mount-timeout=` are carried out as systemd.mount(5) says. What the
//! machine cannot be without is mounted already, and is left out: `/` and `/usr`, `/run`, and
//! everything at or below `/proc`, `/sys` and `/dev`. `fstab=no` on the kernel's command line
//! switches all this off.

use super::{Item, Place};
use crate::loader::condition::flag_of;
use crate::loader::index::below;
use std::path::Path;
use units::mounts::{has_option, is_network, unescape};
use units::name::UnitName;

/// Where it is.
const FILE: &str = "/etc/fstab";

/// Whether there is a line to make a unit of.
pub(super) fn has_work(root: &Path) -> bool {
    read(root).lines().any(|line| !is_comment(line))
}

fn read(root: &Path) -> String {
    let bytes = platform::files::read_file(&below(root, FILE), 1 << 20).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// The units and links. What is to be said of lines is added to `said`.
pub(super) fn items(root: &Path, command_line: &str, said: &mut Vec<String>) -> Vec<Item> {
    let mut items = Vec::new();
    if flag_of(command_line, "fstab") == Some(false)
        || flag_of(command_line, "systemd.fstab") == Some(false)
    {
        return items;
    }
    let mut names: Vec<String> = Vec::new();
    for (line, number) in read(root)
        .lines()
        .zip(1..)
        .filter(|(line, _)| !is_comment(line))
    {
        let mut say = |text: &str| said.push(format!("{FILE}:{number}: {text}"));
        let Some(line) = Line::parse(line, &mut say) else {
            continue;
        };
        match UnitName::from_path(&line.point, "mount") {
            Ok(name) if names.iter().any(|other| other == name.as_str()) => {
                say("this mount point has a line already; ignored");
            }
            Ok(name) => {
                line.items(name.as_str(), &mut items, &mut say);
                names.push(name.as_str().into());
            }
            Err(error) => say(&format!("{error}; ignored")),
        }
    }
    items
}

/// One line.
struct Line {
    what: String,
    point: String,
    kind: String,
    options: String,
}

/// Whether a value stays in its line of a unit file.
fn fits_a_line(value: &str) -> bool {
    !value.contains(['\n', '\r', '\0']) && !value.ends_with('\\')
}

impl Line {
    /// `None` for one that no unit is made of.
    fn parse(text: &str, say: &mut dyn FnMut(&str)) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace().map(unescape);
        let (Some(what), Some(point)) = (fields.next(), fields.next()) else {
            say("found one field, expected at least what to mount and where; ignored");
            return None;
        };
        let kind = fields.next().unwrap_or_default();
        let options = fields.next().unwrap_or_default();
        if kind == "swap" {
            if !has_option(&options, "noauto") {
                say(
                    "swap units are not carried out yet: this swap is not used; a service that calls swapon can do it",
                );
            }
            return None;
        }
        if !point.starts_with('/') || point.split('/').any(|part| part == "..") {
            say("the mount point is no absolute path; ignored");
            return None;
        }
        if what.starts_with('-') || kind.starts_with('-') || options.starts_with('-') {
            say("found a field that begins with -; ignored");
            return None;
        }
        if ![&what, &point, &kind, &options]
            .into_iter()
            .all(|field| fits_a_line(field))
        {
            say("found a character that a unit file cannot have; ignored");
            return None;
        }
        let mut path: String = point
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .flat_map(|part| ["/", part])
            .collect();
        if path.is_empty() {
            path.push('/');
        }
        let there = ["/proc", "/sys", "/dev"]
            .iter()
            .any(|dir| Path::new(&path).starts_with(dir));
        if there || matches!(path.as_str(), "/" | "/usr" | "/run") {
            return None;
        }
        Some(Self {
            what,
            point: path,
            kind: if kind == "auto" { String::new() } else { kind },
            options,
        })
    }

    /// The values of `x-systemd.NAME=`.
    fn wishes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let options = self.options.split(',');
        options.filter_map(move |option| {
            let (key, value) = option.strip_prefix("x-systemd.")?.split_once('=')?;
            (key == name).then_some(value)
        })
    }

    fn items(&self, name: &str, items: &mut Vec<Item>, say: &mut dyn FnMut(&str)) {
        let has = |option: &str| has_option(&self.options, option);
        for (option, text) in [
            (
                "x-systemd.automount",
                "x-systemd.automount: there are no automounts yet; it is mounted at once",
            ),
            (
                "x-systemd.makefs",
                "x-systemd.makefs: file systems are not made here; ignored",
            ),
            (
                "x-systemd.growfs",
                "x-systemd.growfs: file systems are not grown here; ignored",
            ),
        ] {
            if has(option) {
                say(text);
            }
        }
        if self.wishes("device-timeout").next().is_some() {
            say("x-systemd.device-timeout=: devices are not waited for yet; ignored");
        }
        items.push(Item::Unit(Place::Normal, name.into(), self.unit(say)));
        let mut link = |target: &str, sub: &str| {
            let path = [target, sub, name].concat();
            items.push(Item::Link(Place::Normal, path, ["../", name].concat()));
        };
        let mut asked = false;
        for (wish, sub) in [("wanted-by", ".wants/"), ("required-by", ".requires/")] {
            for target in self.wishes(wish) {
                match UnitName::new(target) {
                    Ok(target) => {
                        asked = true;
                        link(target.as_str(), sub);
                    }
                    Err(error) => say(&format!("{error}; ignored")),
                }
            }
        }
        if asked || has("noauto") && !has("x-systemd.automount") {
            return;
        }
        let network = is_network(&self.kind) || has("_netdev");
        let target = if network {
            "remote-fs.target"
        } else {
            "local-fs.target"
        };
        link(
            target,
            if has("nofail") {
                ".wants/"
            } else {
                ".requires/"
            },
        );
    }

    fn unit(&self, say: &mut dyn FnMut(&str)) -> String {
        let mut text = String::from("[Unit]\nDocumentation=man:fstab(5)\nSourcePath=/etc/fstab\n");
        let mut put = |key: &str, value: &str| {
            // A value is one line, and `%` begins a specifier.
            if !fits_a_line(value) {
                return say("found a character that a unit file cannot have; left out");
            }
            text.push_str(key);
            text.push('=');
            text.push_str(&value.replace('%', "%%"));
            text.push('\n');
        };
        for (wish, keys) in [
            ("requires", &["Requires", "After"][..]),
            ("before", &["Before"]),
            ("after", &["After"]),
            ("requires-mounts-for", &["RequiresMountsFor"]),
            ("wants-mounts-for", &["WantsMountsFor"]),
        ] {
            for value in self.wishes(wish) {
                let unit = UnitName::mangle(value).map(String::from);
                let value = match (wish.ends_with("-for"), &unit) {
                    (true, _) | (_, Err(_)) => value,
                    (false, Ok(unit)) => unit,
                };
                keys.iter().for_each(|key| put(key, value));
            }
        }
        put("\n[Mount]\nWhat", &self.what);
        put("Where", &self.point);
        if !self.kind.is_empty() {
            put("Type", &self.kind);
        }
        if !matches!(self.options.as_str(), "" | "defaults") {
            put("Options", &self.options);
        }
        for value in self.wishes("mount-timeout") {
            put("TimeoutSec", value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(line: &str) -> (Vec<Item>, Vec<String>) {
        let mut said = Vec::new();
        let mut items = Vec::new();
        let mut say = |text: &str| said.push(text.to_owned());
        if let Some(line) = Line::parse(line, &mut say) {
            let name = UnitName::from_path(&line.point, "mount").unwrap();
            line.items(name.as_str(), &mut items, &mut say);
        }
        (items, said)
    }

    fn text(line: &str) -> String {
        match unit(line).0.first() {
            Some(Item::Unit(Place::Normal, name, text)) => {
                format!("{name}: {}", text.split_once("[Mount]\n").unwrap().1)
            }
            other => panic!("{other:?}"),
        }
    }

    fn links(line: &str) -> Vec<String> {
        let link = |item: Item| match item {
            Item::Link(_, path, _) => Some(path),
            Item::Unit(..) => None,
        };
        unit(line).0.into_iter().filter_map(link).collect()
    }

    #[test]
    fn fstab_lines_become_units() {
        assert_eq!(
            text("/dev/vda1 /data ext4 noatime 0 2"),
            "data.mount: What=/dev/vda1\nWhere=/data\nType=ext4\nOptions=noatime\n"
        );
        assert_eq!(
            text("LABEL=a\\040b /srv//x\\040y/ auto defaults"),
            "srv-x\\x20y.mount: What=LABEL=a b\nWhere=/srv/x y\n"
        );
        assert_eq!(
            text("tmpfs /t tmpfs size=10%,x-systemd.mount-timeout=9s"),
            "t.mount: What=tmpfs\nWhere=/t\nType=tmpfs\nOptions=size=10%%,x-systemd.mount-timeout=9s\nTimeoutSec=9s\n"
        );
    }

    #[test]
    fn fstab_options_say_who_wants_it() {
        assert_eq!(links("/d /a ext4"), ["local-fs.target.requires/a.mount"]);
        assert_eq!(
            links("/d /a ext4 nofail"),
            ["local-fs.target.wants/a.mount"]
        );
        assert_eq!(links("s:/d /a nfs4"), ["remote-fs.target.requires/a.mount"]);
        assert_eq!(
            links("/d /a ext4 _netdev,nofail"),
            ["remote-fs.target.wants/a.mount"]
        );
        assert!(links("/d /a ext4 noauto").is_empty());
        assert_eq!(
            links("/d /a ext4 x-systemd.wanted-by=b.service"),
            ["b.service.wants/a.mount"]
        );
        assert_eq!(
            links("/d /a ext4 x-systemd.wanted-by=../../../etc/b.service"),
            ["local-fs.target.requires/a.mount"],
            "no link outside of our directory"
        );
        let (items, said) = unit(
            "/d /a ext4 x-systemd.requires=b,x-systemd.after=c.target,x-systemd.automount,x-systemd.device-timeout=5",
        );
        let Some(Item::Unit(_, _, text)) = items.first() else {
            panic!()
        };
        assert!(
            text.contains("Requires=b.service\nAfter=b.service\nAfter=c.target\n"),
            "{text}"
        );
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn fstab_leaves_out_what_is_there_and_says_what_it_cannot() {
        for line in [
            "/dev/sda / ext4",
            "proc /proc proc",
            "t /dev/shm tmpfs",
            "/d /usr ext4",
            "t /run tmpfs",
            "s none swap noauto",
        ] {
            assert!(
                matches!(unit(line), (items, said) if items.is_empty() && said.is_empty()),
                "{line}"
            );
        }
        for line in [
            "/dev/sda",
            "/d relative ext4",
            "/d /a/../b ext4",
            "/d none swap sw",
            "-x /a ext4",
            "/d\\012x /a ext4",
            "/d /a ext4 ro\\015Where=/b",
            "/d\0 /a ext4",
            "/d /a\\ ext4",
        ] {
            assert!(
                matches!(unit(line), (items, said) if items.is_empty() && said.len() == 1),
                "{line}"
            );
        }
    }
}

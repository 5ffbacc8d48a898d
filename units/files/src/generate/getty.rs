//! Logins where the kernel's consoles are: `console=` on its command line.
//!
//! For each serial console an instance of `serial-getty@.service`, for each virtual one of
//! `getty@.service` (`tty0` is whichever is in front: its login is on `tty1`), wanted by
//! `getty.target`. Only templates that exist are used, and an image without `serial-getty@.service`
//! (it has `console-getty.service`, say) gets nothing from here. `systemd.getty_auto=no` on the
//! command line switches this off.

use super::{Item, Place};
use crate::loader::condition::flag_of;
use units::name::escape;

const SERIAL: &str = "serial-getty@.service";
const VIRTUAL: &str = "getty@.service";

/// Whether there is a console and a template for it.
pub(super) fn has_work(line: &str, has: &dyn Fn(&str) -> bool) -> bool {
    line.contains("console=") && has(SERIAL)
}

/// The links. `path_of` says where a unit's file is.
pub(super) fn items(
    line: &str,
    has: &dyn Fn(&str) -> bool,
    path_of: &dyn Fn(&str) -> Option<String>,
) -> Vec<Item> {
    if !has_work(line, has) || flag_of(line, "systemd.getty_auto") == Some(false) {
        return Vec::new();
    }
    let mut items = Vec::new();
    for word in line.split_ascii_whitespace() {
        let Some(console) = word.strip_prefix("console=") else {
            continue;
        };
        // `ttyS0,115200n8`: what stands behind the comma is the driver's.
        let tty = console.split(',').next().unwrap_or("");
        let tty = tty.strip_prefix("/dev/").unwrap_or(tty);
        let (template, tty) = match tty.strip_prefix("tty") {
            Some("0") => (VIRTUAL, "tty1"),
            Some(number) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                (VIRTUAL, tty)
            }
            // Messages sent over the network, or nowhere, have no login.
            _ if matches!(tty, "" | "null") || tty.starts_with("netcon") => continue,
            _ => (SERIAL, tty),
        };
        let Some(file) = path_of(template) else {
            continue;
        };
        let instance = template.replace('@', &["@", &escape(tty)].concat());
        let link = Item::Link(
            Place::Normal,
            ["getty.target.wants/", &instance].concat(),
            file,
        );
        if !items.contains(&link) {
            items.push(link);
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(line: &str) -> Vec<String> {
        let path_of = |name: &str| Some(format!("/usr/lib/u/{name}"));
        let items = items(line, &|_| true, &path_of);
        let name = |item: Item| match item {
            Item::Link(Place::Normal, path, target) => {
                let template = target.strip_prefix("/usr/lib/u/").unwrap();
                assert!(template.ends_with("@.service"));
                path.strip_prefix("getty.target.wants/").unwrap().to_owned()
            }
            other => panic!("{other:?}"),
        };
        items.into_iter().map(name).collect()
    }

    #[test]
    fn getty_on_serial_and_virtual_consoles() {
        assert_eq!(
            links("quiet console=tty0 console=ttyS0,115200n8 root=/dev/vda console=ttyS0"),
            ["getty@tty1.service", "serial-getty@ttyS0.service"]
        );
        assert_eq!(
            links(
                "console=ttyAMA0 console=tty3 console=/dev/hvc0 console=null console= console=netcon0"
            ),
            [
                "serial-getty@ttyAMA0.service",
                "getty@tty3.service",
                "serial-getty@hvc0.service"
            ]
        );
        assert!(links("quiet").is_empty());
        assert!(links("console=ttyS0 systemd.getty_auto=0").is_empty());
        assert!(items("console=ttyS0", &|_| false, &|_| None).is_empty());
    }
}

//! The kernel's table of mounts, and the one in `/etc/fstab` in so far as both are written alike.
//!
//! `/proc/self/mountinfo` (proc_pid_mountinfo(5)) has one line per mount, in the order in which they
//! were made: of several on the same point the last is on top.

use alloc::string::String;
use alloc::vec::Vec;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// Type of the file system.
    pub kind: String,
    /// Nothing can be written, for the mount or the whole file system.
    pub read_only: bool,
}

/// The mounts of the kernel's table. Lines that make no sense are passed over.
pub fn table(text: &str) -> impl Iterator<Item = Mount> + '_ {
    text.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(4);
        let (point, options) = (fields.next()?, fields.next()?);
        let mut of_fs = right.split(' ');
        let kind = of_fs.next()?;
        let more = of_fs.nth(1).unwrap_or("");
        Some(Mount {
            point: unescape(point),
            kind: kind.into(),
            read_only: has_option(options, "ro") || has_option(more, "ro"),
        })
    })
}

/// `\040` and its like.
pub fn unescape(text: &str) -> String {
    let octal = |digit: &u8| (b'0'..=b'7').contains(digit);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match after.split_first_chunk::<3>() {
            Some((digits, after)) if *byte == b'\\' && digits.iter().all(octal) => {
                let value = digits
                    .iter()
                    .fold(0, |value, digit| value * 8 + u32::from(digit - b'0'));
                out.push(value as u8);
                rest = after;
            }
            _ => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a list with commas between has this option.
pub fn has_option(options: &str, name: &str) -> bool {
    options.split(',').any(|option| option == name)
}

/// Whether a file system of this type comes over the network (systemd.mount(5) counts these).
pub fn is_network(kind: &str) -> bool {
    const KINDS: &str = " afs beegfs ceph cifs davfs gfs gfs2 glusterfs lustre ncp ncpfs nfs nfs4 ocfs2 \
        pvfs2 smb3 smbfs sshfs ";
    let kind = kind.strip_prefix("fuse.").unwrap_or(kind);
    !kind.is_empty() && KINDS.split(' ').any(|known| known == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn the_kernels_table() {
        let text = "22 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw\n\
                    23 22 0:5 / /a\\040b ro - tmpfs none rw,size=1\n\
                    24 22 0:6 /x /c rw shared:3 master:2 - nfs4 host:/x ro\n\
                    nonsense\n";
        let mounts: Vec<_> = table(text)
            .map(|m| (m.point, m.kind, m.read_only))
            .collect();
        let of = |point: &str, kind: &str, ro| (String::from(point), String::from(kind), ro);
        assert_eq!(
            mounts,
            vec![
                of("/", "ext4", false),
                of("/a b", "tmpfs", true),
                of("/c", "nfs4", true)
            ]
        );
    }

    #[test]
    fn escapes() {
        for (text, plain) in [
            ("/a\\040b\\134c", "/a b\\c"),
            ("\\04", "\\04"),
            ("\\", "\\"),
            ("\\089", "\\089"),
            ("/plain", "/plain"),
        ] {
            assert_eq!(unescape(text), plain, "{text}");
        }
    }

    #[test]
    fn network_file_systems() {
        assert!(is_network("nfs4") && is_network("fuse.sshfs") && is_network("cifs"));
        assert!(!is_network("ext4") && !is_network("") && !is_network("fuse"));
    }
}

//! Users and groups, from `/etc/passwd` and `/etc/group` only: a static executable has no name
//! service switch. Lines that cannot be understood are passed over, as the C library does.

use super::files;
use std::io;
use std::path::Path;

const LIMIT: usize = 4 << 20;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of its main group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// Finds a user by name, or by number if `key` is one and no name.
pub fn user(key: &str) -> io::Result<Option<User>> {
    Ok(user_in(&read("/etc/passwd")?, key))
}

/// Finds the number of a group by name, or takes `key` as the number if it is one and no name.
pub fn group(key: &str) -> io::Result<Option<u32>> {
    Ok(group_in(&read("/etc/group")?, key))
}

/// The groups a user is a member of, beside its main group `main`, which is included.
pub fn groups_of(user: &str, main: u32) -> io::Result<Vec<u32>> {
    Ok(groups_in(&read("/etc/group")?, user, main))
}

/// The name of a user number, for people.
pub fn user_name(uid: u32) -> io::Result<Option<String>> {
    let text = read("/etc/passwd")?;
    Ok(users(&text)
        .find(|user| user.uid == uid)
        .map(|user| user.name))
}

/// A file that is not there has no entries.
fn read(path: &str) -> io::Result<String> {
    match files::read_file(Path::new(path), LIMIT) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn users(text: &str) -> impl Iterator<Item = User> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields
            .next()
            .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1)?;
        let shell = fields.next().unwrap_or("");
        Some(User {
            name: name.into(),
            uid,
            gid,
            home: home.into(),
            shell: shell.into(),
        })
    })
}

fn user_in(text: &str, key: &str) -> Option<User> {
    let by_name = users(text).find(|user| user.name == key);
    by_name.or_else(|| {
        let uid = number(key)?;
        let nobody = User {
            name: key.into(),
            uid,
            gid: uid,
            home: "/".into(),
            shell: String::new(),
        };
        Some(users(text).find(|user| user.uid == uid).unwrap_or(nobody))
    })
}

fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields
            .next()
            .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        Some((name, number(fields.nth(1)?)?, fields.next().unwrap_or("")))
    })
}

fn group_in(text: &str, key: &str) -> Option<u32> {
    groups(text)
        .find(|(name, ..)| *name == key)
        .map(|(_, gid, _)| gid)
        .or_else(|| number(key))
}

fn groups_in(text: &str, user: &str, main: u32) -> Vec<u32> {
    let mut found = vec![main];
    for (_, gid, members) in groups(text) {
        if !found.contains(&gid) && members.split(',').any(|member| member == user) {
            found.push(gid);
        }
    }
    found
}

/// Decimal digits only; the two largest numbers mean "no change" to the kernel.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = if digits {
        text.parse().ok()?
    } else {
        return None;
    };
    (value != u32::MAX && value != 0xffff).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# note:x:1:1::/:\nbroken\nbad:x:-1:0::/:\n\
        no:x:4294967295:0::/:\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n17:x:99:98::/h:\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:syslog,www-data\nwww-data:x:33:\ntwice:x:4:www-data\nssl:x:5:x,www-data\n";

    #[test]
    fn look_ups() {
        let www = user_in(PASSWD, "www-data").unwrap();
        assert_eq!((www.uid, www.gid, www.home.as_str()), (33, 33, "/var/www"));
        assert_eq!(user_in(PASSWD, "33").unwrap(), www);
        assert_eq!(
            user_in(PASSWD, "17").unwrap().uid,
            99,
            "names come before numbers"
        );
        assert_eq!(user_in(PASSWD, "1234").unwrap().gid, 1234);
        for missing in [
            "bad",
            "no",
            "broken",
            "# note",
            "",
            "-1",
            "4294967295",
            "65535",
            "+5",
        ] {
            assert_eq!(user_in(PASSWD, missing), None, "{missing}");
        }
        assert_eq!(group_in(GROUP, "adm"), Some(4));
        assert_eq!(group_in(GROUP, "77"), Some(77));
        assert_eq!(group_in(GROUP, "nope"), None);
        assert_eq!(groups_in(GROUP, "www-data", 33), [33, 4, 5]);
    }
}

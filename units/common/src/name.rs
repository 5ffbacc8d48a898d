//! Names of units.
//!
//! A name is `<prefix>[@[<instance>]].<type>`: `nginx.service`, `getty@tty1.service` (an instance),
//! `getty@.service` (a template). Prefix and instance are made of ASCII letters, digits and
//! `:-_.\@`; the whole has at most [`MAX`] bytes. Any other byte is written `\xNN`, and `/` is
//! written `-`: that is the escaping below, the same as `systemd-escape`'s.
//!
//! Types are open (anybody may add one), so a type is any word of up to [`MAX_TYPE`] lower-case
//! letters, digits and `-` that begins with a letter. A [`UnitName`] is valid by construction; it
//! is one pointer and a length, copies share the text, and its parts are slices of it.

use alloc::borrow::ToOwned;
use alloc::rc::Rc;
use alloc::string::String;
use core::borrow::Borrow;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name, in bytes.
pub const MAX: usize = 255;
/// Longest type, in bytes.
pub const MAX_TYPE: usize = 31;

/// Types whose suffix is not completed: `sctl start foo.socket` means that, `sctl start org.foo`
/// means `org.foo.service`.
const SUFFIXES: [&str; 14] = [
    "service",
    "socket",
    "target",
    "device",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "slice",
    "scope",
    "container",
    "log",
    "vm",
];

/// Why a string is not the name of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameProblem {
    /// Nothing at all, or nothing before `.` or `@`.
    Empty,
    /// More than [`MAX`] bytes.
    TooLong,
    /// No `.type` at its end.
    NoType,
    /// What stands behind the last dot cannot be a type.
    BadType,
    /// This byte is not allowed.
    BadByte(u8),
    /// A template or an instance is needed, or must not be, where it stands.
    Kind(&'static str),
    /// It cannot be made into, or read back from, an escaped name.
    Escape(&'static str),
}

/// A string that is not the name of a unit, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    /// What was found, at most its first 64 characters.
    pub found: String,
    /// What is wrong with it.
    pub problem: NameProblem,
}

impl NameError {
    fn new(found: &str, problem: NameProblem) -> Self {
        let mut short: String = found
            .chars()
            .take(64)
            .flat_map(char::escape_debug)
            .collect();
        if found.chars().nth(64).is_some() {
            short.push('…');
        }
        Self {
            found: short,
            problem,
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "“{}” is not a unit name: ", self.found)?;
        match self.problem {
            NameProblem::Empty => f.write_str("nothing stands before “.” or “@”"),
            NameProblem::TooLong => f.write_str("it has more than 255 bytes"),
            NameProblem::NoType => {
                f.write_str("it must end in its type, as “.service” or “.target”")
            }
            NameProblem::BadType => {
                f.write_str("its type (after the last dot) must be a word of lower-case letters")
            }
            NameProblem::BadByte(b) => {
                f.write_str("only ASCII letters, digits and “:-_.\\@” are allowed, ")?;
                if b.is_ascii_graphic() {
                    write!(f, "not “{}”", b as char)
                } else {
                    write!(f, "not byte 0x{b:02x}")
                }?;
                f.write_str(" (see “sctl escape”)")
            }
            NameProblem::Kind(what) | NameProblem::Escape(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for NameError {}

/// The valid name of a unit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitName(Rc<str>);

impl UnitName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check(name).map_err(|problem| NameError::new(name, problem))?;
        Ok(Self(name.into()))
    }

    /// As [`UnitName::new`], for what a person typed: a path under `/dev` is its device, any other
    /// absolute path its mount, and what has no type that is known gets `.service`.
    pub fn mangle(typed: &str) -> Result<Self, NameError> {
        if typed.starts_with("/dev/") {
            return Self::from_path(typed, "device");
        }
        if typed.starts_with('/') {
            return Self::from_path(typed, "mount");
        }
        if split_type(typed).is_some_and(|(_, t)| SUFFIXES.contains(&t)) {
            return Self::new(typed);
        }
        let mut name = String::with_capacity(typed.len() + 8);
        name.push_str(typed);
        name.push_str(".service");
        Self::new(&name)
    }

    /// The unit of this type that stands for a path: `/var/log`, `mount` → `var-log.mount`.
    pub fn from_path(path: &str, unit_type: &str) -> Result<Self, NameError> {
        let mut name = path_escape(path)?;
        name.push('.');
        name.push_str(unit_type);
        Self::new(&name)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        split_type(&self.0).unwrap_or((&self.0, ""))
    }

    /// What stands behind the last dot.
    pub fn unit_type(&self) -> &str {
        self.parts().1
    }

    /// What stands before the last dot: prefix, `@` and instance.
    pub fn stem(&self) -> &str {
        self.parts().0
    }

    /// Where a slice's control group lies below the root of ours, with a `/` behind it: `a-b.slice`
    /// in `a.slice/a-b.slice/`; empty for `-.slice`.
    pub fn slice_path(&self) -> String {
        let stem = self.stem();
        let mut path = String::new();
        if stem == "-" {
            return path;
        }
        for (at, _) in stem.match_indices('-').filter(|(at, _)| *at > 0) {
            path.push_str(stem.get(..at).unwrap_or_default());
            path.push_str(".slice/");
        }
        path.push_str(self.as_str());
        path.push('/');
        path
    }

    /// What stands before `@`, or before the last dot where there is none.
    pub fn prefix(&self) -> &str {
        let stem = self.stem();
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }

    /// What stands between `@` and the last dot; `None` for templates and plain names.
    pub fn instance(&self) -> Option<&str> {
        self.stem()
            .split_once('@')
            .map(|(_, i)| i)
            .filter(|i| !i.is_empty())
    }

    /// Whether it is `prefix@.type`.
    pub fn is_template(&self) -> bool {
        self.stem()
            .split_once('@')
            .is_some_and(|(_, i)| i.is_empty())
    }

    /// The template of an instance.
    pub fn template(&self) -> Option<Self> {
        self.instance()?;
        let (prefix, unit_type) = (self.prefix(), self.unit_type());
        Some(Self(concat(&[prefix, "@.", unit_type])))
    }

    /// The instance of this template, or the same instance of another template.
    pub fn instantiate(&self, instance: &str) -> Result<Self, NameError> {
        if !self.stem().contains('@') {
            let problem = NameProblem::Kind("it is no template, so it has no instances");
            return Err(NameError::new(&self.0, problem));
        }
        Self::new(&concat(&[
            self.prefix(),
            "@",
            instance,
            ".",
            self.unit_type(),
        ]))
    }

    /// The same name with another type.
    pub fn with_type(&self, unit_type: &str) -> Result<Self, NameError> {
        Self::new(&concat(&[self.stem(), ".", unit_type]))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl core::str::FromStr for UnitName {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::new(s)
    }
}

impl TryFrom<&str> for UnitName {
    type Error = NameError;
    fn try_from(s: &str) -> Result<Self, NameError> {
        Self::new(s)
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        String::from(&*name.0)
    }
}

impl Serialize for UnitName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UnitName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match check(&name) {
            Ok(()) => Ok(Self(name.into())),
            Err(_) => Err(serde::de::Error::custom("not a unit name")),
        }
    }
}

fn concat(parts: &[&str]) -> Rc<str> {
    parts.concat().into()
}

fn split_type(name: &str) -> Option<(&str, &str)> {
    // A loop over the few bytes of a type is shorter than what `rsplit_once` begins with.
    let dot = name.bytes().rposition(|byte| byte == b'.')?;
    Some((name.get(..dot)?, name.get(dot + 1..)?))
}

/// Whether a byte may stand in a name as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte)
}

/// Whether a string can be the type of a unit.
pub fn is_type(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() <= MAX_TYPE
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn check(name: &str) -> Result<(), NameProblem> {
    if name.len() > MAX {
        return Err(NameProblem::TooLong);
    }
    if let Some(bad) = name.bytes().find(|b| !is_plain(*b) && *b != b'@') {
        return Err(NameProblem::BadByte(bad));
    }
    let (stem, unit_type) = split_type(name).ok_or(match name {
        "" => NameProblem::Empty,
        _ => NameProblem::NoType,
    })?;
    if stem.is_empty() || stem.starts_with('@') {
        return Err(NameProblem::Empty);
    }
    if is_type(unit_type) {
        Ok(())
    } else {
        Err(NameProblem::BadType)
    }
}

fn push_hex(out: &mut String, byte: u8) {
    out.push_str("\\x");
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
    }
}

/// Escapes a string so that it can be a prefix or an instance: `/` becomes `-`, every byte that is
/// not plain, `-`, `\` and a leading `.` become `\xNN`.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'-' | b'\\' => push_hex(&mut out, byte),
            b'.' if i == 0 => push_hex(&mut out, byte),
            _ if is_plain(byte) => out.push(byte as char),
            _ => push_hex(&mut out, byte),
        }
    }
    out
}

/// The string that [`escape`] made this of.
pub fn unescape(text: &str) -> Result<String, NameError> {
    let wrong = |why| NameError::new(text, NameProblem::Escape(why));
    let mut out = alloc::vec::Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'-' => out.push(b'/'),
            b'\\' => {
                let hex = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16));
                let x = bytes.next() == Some(b'x');
                match (x, hex(bytes.next()), hex(bytes.next())) {
                    (true, Some(high), Some(low)) => out.push((high << 4 | low) as u8),
                    _ => return Err(wrong("a “\\” must begin “\\x” and two hexadecimal digits")),
                }
            }
            _ => out.push(byte),
        }
    }
    if out.contains(&0) {
        return Err(wrong("it hides a NUL byte"));
    }
    String::from_utf8(out).map_err(|_| wrong("its escapes are not valid UTF-8"))
}

/// Escapes an absolute path for a name: `/` is `-`, `/var/log//x/` is `var-log-x`.
pub fn path_escape(path: &str) -> Result<String, NameError> {
    let wrong = |why| NameError::new(path, NameProblem::Escape(why));
    let mut short = String::with_capacity(path.len());
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if part == ".." {
            return Err(wrong("a path with “..” has no name"));
        }
        if !short.is_empty() {
            short.push('/');
        }
        short.push_str(part);
    }
    if path.is_empty() {
        return Err(wrong("an empty path has no name"));
    }
    Ok(if short.is_empty() {
        "-".to_owned()
    } else {
        escape(&short)
    })
}

/// The absolute path that [`path_escape`] made this of.
pub fn path_unescape(text: &str) -> Result<String, NameError> {
    if text == "-" {
        return Ok("/".to_owned());
    }
    let inner = unescape(text)?;
    let whole = !inner.is_empty() && inner.split('/').all(|p| !matches!(p, "" | "." | ".."));
    if !whole {
        return Err(NameError::new(
            text,
            NameProblem::Escape("it is not an escaped path"),
        ));
    }
    Ok(["/", &inner].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(s: &str) -> UnitName {
        UnitName::new(s).unwrap()
    }

    #[test]
    fn parts_of_the_three_kinds() {
        let n = name("a-b.c@x-y.z.service");
        assert_eq!(
            (n.prefix(), n.instance(), n.unit_type()),
            ("a-b.c", Some("x-y.z"), "service")
        );
        assert_eq!(n.template(), Some(name("a-b.c@.service")));
        assert!(!n.is_template());
        let t = name("getty@.service");
        assert!(t.is_template() && t.instance().is_none() && t.template().is_none());
        assert_eq!(t.instantiate("tty1").unwrap(), name("getty@tty1.service"));
        let p = name("nginx.service");
        assert_eq!(
            (p.stem(), p.prefix(), p.instance()),
            ("nginx", "nginx", None)
        );
        assert!(p.instantiate("x").is_err());
        assert_eq!(p.with_type("socket").unwrap(), name("nginx.socket"));
        assert_eq!(name("a@b@c.service").instance(), Some("b@c"));
        assert_eq!(name("-.slice").prefix(), "-");
    }

    #[test]
    fn bad_names_say_why() {
        let why = |s: &str| UnitName::new(s).unwrap_err().problem;
        assert_eq!(why(""), NameProblem::Empty);
        assert_eq!(why(".service"), NameProblem::Empty);
        assert_eq!(why("@x.service"), NameProblem::Empty);
        assert_eq!(why("nginx"), NameProblem::NoType);
        assert_eq!(why("nginx."), NameProblem::BadType);
        assert_eq!(why("nginx.Service"), NameProblem::BadType);
        assert_eq!(why("a b.service"), NameProblem::BadByte(b' '));
        assert_eq!(why("../a.service"), NameProblem::BadByte(b'/'));
        assert_eq!(why("é.service"), NameProblem::BadByte(0xc3));
        let long = "x".repeat(248) + ".service";
        assert_eq!(why(&long), NameProblem::TooLong);
        assert!(UnitName::new(&long[1..]).is_ok());
        let text = UnitName::new("a\nb.service").unwrap_err();
        assert!(alloc::format!("{text}").contains("0x0a"));
        assert!(!alloc::format!("{text}").contains('\n'));
    }

    #[test]
    fn what_people_type() {
        let m = |s: &str| String::from(UnitName::mangle(s).unwrap());
        assert_eq!(m("nginx"), "nginx.service");
        assert_eq!(m("org.bluez"), "org.bluez.service");
        assert_eq!(m("dbus.socket"), "dbus.socket");
        assert_eq!(m("/dev/sda1"), "dev-sda1.device");
        assert_eq!(m("/home/"), "home.mount");
        assert_eq!(m("/"), "-.mount");
        assert_eq!(m("getty@tty1"), "getty@tty1.service");
    }

    #[test]
    fn escaping_as_systemd_escape_does() {
        assert_eq!(
            escape("Hallöchen, Meister"),
            "Hall\\xc3\\xb6chen\\x2c\\x20Meister"
        );
        assert_eq!(escape(".a-b/c\\"), "\\x2ea\\x2db-c\\x5c");
        assert_eq!(unescape("\\x2ea\\x2db-c\\x5c").unwrap(), ".a-b/c\\");
        assert_eq!(
            path_escape("/tmp//waldi/foobar/").unwrap(),
            "tmp-waldi-foobar"
        );
        assert_eq!(path_escape("/./").unwrap(), "-");
        assert_eq!(path_unescape("tmp-waldi").unwrap(), "/tmp/waldi");
        assert_eq!(path_unescape("-").unwrap(), "/");
        assert!(path_escape("/a/../b").is_err());
        assert!(path_escape("").is_err());
        assert!(path_unescape("a--b").is_err());
        for bad in ["\\", "\\x", "\\x2", "\\xzz", "\\n", "\\x00", "\\xff"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn escape_and_back_is_identity_for_every_character() {
        for c in (1u32..0x3000).filter_map(char::from_u32) {
            let text: String = ['a', c, '-', c].iter().collect();
            let escaped = escape(&text);
            assert!(escaped.bytes().all(is_plain), "{escaped}");
            assert_eq!(unescape(&escaped).unwrap(), text);
        }
    }

    #[test]
    fn on_the_wire_it_is_a_string_and_checked() {
        let bytes = postcard::to_allocvec("x.service").unwrap();
        assert_eq!(
            postcard::from_bytes::<UnitName>(&bytes).unwrap(),
            name("x.service")
        );
        let bytes = postcard::to_allocvec("x/../service").unwrap();
        assert!(postcard::from_bytes::<UnitName>(&bytes).is_err());
    }
}

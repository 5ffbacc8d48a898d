//! `%` specifiers (systemd.unit(5), “Specifiers”).
//!
//! What follows from the unit's name is resolved here; what depends on the machine or on the
//! unit's user is asked of a [`Facts`].

use super::ValueError;
use crate::name::{UnitName, path_unescape, unescape};
use alloc::borrow::Cow;
use alloc::string::String;

/// What is known beyond the unit's name.
pub trait Facts {
    /// The text a specifier stands for: `H` host name, `m` machine id, `b` boot id, `v` kernel
    /// release, `t` runtime directory, `S` state, `C` cache, `L` logs, `E` configuration, `D` shared
    /// data, `T` and `V` temporary directories, `u U g G h s` user, uid, group, gid, home, shell, `a`
    /// architecture, `l` and `q` short and pretty host name, `o w B M W A` of os-release, `y Y`
    /// unit file and its directory. `None` if it is not known here.
    fn fact(&self, specifier: char) -> Option<Cow<'_, str>>;
}

/// The directories of the system manager, root as user, and nothing of the machine.
pub struct SystemFacts;

impl Facts for SystemFacts {
    fn fact(&self, specifier: char) -> Option<Cow<'_, str>> {
        let text = match specifier {
            't' => "/run",
            'S' => "/var/lib",
            'C' => "/var/cache",
            'L' => "/var/log",
            'D' => "/usr/share",
            'E' => "/etc",
            'T' => "/tmp",
            'V' => "/var/tmp",
            'u' | 'g' => "root",
            'U' | 'G' => "0",
            'h' => "/root",
            's' => "/bin/sh",
            _ => return None,
        };
        Some(text.into())
    }
}

/// Resolves the specifiers of a text. `%%` is a percent sign; a `%` before anything but a letter,
/// a digit or a percent sign stays as it is.
pub fn expand<'a>(
    text: &'a str,
    unit: &UnitName,
    facts: &dyn Facts,
) -> Result<Cow<'a, str>, ValueError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        rest = after;
        match after.chars().next() {
            Some('%') => out.push('%'),
            Some(c) if c.is_ascii_alphanumeric() => out.push_str(&resolve(c, unit, facts)?),
            _ => {
                out.push('%');
                continue;
            }
        }
        rest = after.get(1..).unwrap_or("");
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn resolve<'a>(
    specifier: char,
    unit: &'a UnitName,
    facts: &'a dyn Facts,
) -> Result<Cow<'a, str>, ValueError> {
    let wrong = |expected| ValueError::new(unit.as_str(), expected);
    let last = |prefix: &'a str| prefix.rsplit('-').next().unwrap_or(prefix);
    let unescaped = |text: &str| {
        let text = unescape(text).map_err(|_| wrong("a name that can be unescaped"))?;
        Ok(Cow::Owned(text))
    };
    match specifier {
        'n' => Ok(unit.as_str().into()),
        'N' => Ok(unit.stem().into()),
        'p' => Ok(unit.prefix().into()),
        'P' => unescaped(unit.prefix()),
        'i' => Ok(unit.instance().unwrap_or("").into()),
        'I' => unescaped(unit.instance().unwrap_or("")),
        'j' => Ok(last(unit.prefix()).into()),
        'J' => unescaped(last(unit.prefix())),
        'f' => path_unescape(unit.instance().unwrap_or(unit.prefix()))
            .map(Cow::Owned)
            .map_err(|_| wrong("a name that is an escaped path, for %f")),
        'd' => Ok(["/run/credentials/", unit.as_str()].concat().into()),
        _ => facts.fact(specifier).ok_or_else(|| {
            let found: String = ['%', specifier].into_iter().collect();
            ValueError::new(
                &found,
                "a specifier that is known here (“%%” is a percent sign)",
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x(text: &str, unit: &str) -> Result<String, ValueError> {
        expand(text, &UnitName::new(unit).unwrap(), &SystemFacts).map(Cow::into_owned)
    }

    #[test]
    fn of_the_name() {
        let unit = r"a-b\x2dc@dev-sd\x2da.service";
        assert_eq!(x("%n", unit).unwrap(), unit);
        assert_eq!(x("%N", unit).unwrap(), r"a-b\x2dc@dev-sd\x2da");
        assert_eq!(x("%p|%P", unit).unwrap(), r"a-b\x2dc|a/b-c");
        assert_eq!(x("%i|%I", unit).unwrap(), r"dev-sd\x2da|dev/sd-a");
        assert_eq!(x("%j|%J|%f", unit).unwrap(), r"b\x2dc|b-c|/dev/sd-a");
        assert_eq!(x("%i%I", "plain.service").unwrap(), "");
        assert_eq!(x("%f", "var-log.mount").unwrap(), "/var/log");
    }

    #[test]
    fn others() {
        assert_eq!(
            x("%t/x %% 5% %- %", "a.service").unwrap(),
            "/run/x % 5% %- %"
        );
        assert_eq!(x("no", "a.service").unwrap(), "no");
        for bad in ["%F", "%5", "%b", "a%Q"] {
            let error = x(bad, "a.service").unwrap_err();
            assert!(error.found.contains('%'), "{error}");
        }
        assert_eq!(x("%ä", "a.service").unwrap(), "%ä");
    }
}

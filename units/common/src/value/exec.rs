//! Command lines: `ExecStart=-/usr/bin/foo --bar "$BAZ"` (systemd.service(5), “Command lines”).
//!
//! A line is read when the unit is loaded ([`commands`]: prefixes, quotes, escapes, specifiers)
//! and its variables are put in when it is run ([`arguments`]).

use super::specifier::{Facts, expand};
use super::words::{Words, is_blank};
use super::{ValueError, environ};
use crate::name::UnitName;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Under whose rights a command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// As the unit says.
    #[default]
    Unit,
    /// `+`: everything that restricts the unit's processes is left out.
    Full,
    /// `!`: `User=`, `Group=` and `SupplementaryGroups=` are left out.
    NoUser,
    /// `!!`: as `!` where the kernel has no ambient capabilities, else as the unit says.
    NoUserWithoutAmbient,
}

/// One command of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Absolute path, or a name without slash that is looked up in the search path when run.
    pub path: String,
    /// Arguments from the zeroth, before variables are put in.
    pub argv: Vec<String>,
    /// `-`: failure counts as success.
    pub ignore_failure: bool,
    /// Not `:`: variables are put in.
    pub expand_variables: bool,
    /// Under whose rights.
    pub privilege: Privilege,
}

/// Prefixes of a command as they are read.
#[derive(Default)]
struct Prefixes {
    ignore_failure: bool,
    no_variables: bool,
    own_argv0: bool,
    privilege: Privilege,
}

/// The commands of a line, separated by `;` as a word of its own. An empty line has none (and
/// resets the list, which is for the caller to do).
pub fn commands(
    text: &str,
    unit: &UnitName,
    facts: &dyn Facts,
) -> Result<Vec<Command>, ValueError> {
    let mut list = Vec::new();
    let mut words = Words::new(text);
    while let Some(first) = words.next() {
        let first = first?;
        let (prefixes, path) = prefixes(&first);
        let path = executable(&expand(path, unit, facts)?)?;
        let mut argv = Vec::new();
        if prefixes.own_argv0 {
            let Some(word) = words.next() else {
                return Err(ValueError::new(text, "the zeroth argument behind “@path”"));
            };
            argv.push(expand(&word?, unit, facts)?.into_owned());
        } else {
            argv.push(path.clone());
        }
        arguments_of(&mut words, unit, facts, &mut argv)?;
        list.push(Command {
            path,
            argv,
            ignore_failure: prefixes.ignore_failure,
            expand_variables: !prefixes.no_variables,
            privilege: prefixes.privilege,
        });
    }
    Ok(list)
}

/// The words up to the end of the command. `;` ends it, `\;` is a semicolon.
fn arguments_of(
    words: &mut Words<'_>,
    unit: &UnitName,
    facts: &dyn Facts,
    argv: &mut Vec<String>,
) -> Result<(), ValueError> {
    loop {
        let rest = words.rest();
        let ends = |rest: &str| rest.is_empty() || rest.starts_with(is_blank);
        if let Some(after) = rest.strip_prefix(';').filter(|r| ends(r)) {
            words.seek(after);
            return Ok(());
        }
        if let Some(after) = rest.strip_prefix("\\;").filter(|r| ends(r)) {
            argv.push(";".into());
            words.seek(after);
            continue;
        }
        match words.next() {
            None => return Ok(()),
            Some(word) => argv.push(expand(&word?, unit, facts)?.into_owned()),
        }
    }
}

fn prefixes(word: &str) -> (Prefixes, &str) {
    let mut found = Prefixes::default();
    let mut rest = word;
    loop {
        let mut chars = rest.chars();
        match (chars.next(), found.privilege) {
            (Some('-'), _) if !found.ignore_failure => found.ignore_failure = true,
            (Some('@'), _) if !found.own_argv0 => found.own_argv0 = true,
            (Some(':'), _) if !found.no_variables => found.no_variables = true,
            (Some('+'), Privilege::Unit) => found.privilege = Privilege::Full,
            (Some('!'), Privilege::Unit) => found.privilege = Privilege::NoUser,
            (Some('!'), Privilege::NoUser) => found.privilege = Privilege::NoUserWithoutAmbient,
            _ => return (found, rest),
        }
        rest = chars.as_str();
    }
}

fn executable(path: &str) -> Result<String, ValueError> {
    if path.is_empty() {
        return Err(ValueError::new(
            path,
            "an executable's path behind the prefixes",
        ));
    }
    if path.starts_with('/') {
        if path.ends_with('/') {
            return Err(ValueError::new(path, "an executable, not a directory"));
        }
        let path = super::absolute_path(path)?;
        if path == "/" {
            return Err(ValueError::new(&path, "an executable, not a directory"));
        }
        return Ok(path);
    }
    let plain =
        !path.contains('/') && path != ";" && path != "." && path != ".." && path.len() <= 255;
    if plain {
        Ok(path.to_string())
    } else {
        Err(ValueError::new(
            path,
            "an executable's absolute path, or a name without “/”",
        ))
    }
}

/// The arguments with their variables put in. `$NAME` as a word of its own becomes the words of
/// the variable, none if it is empty or not set; `${NAME}` anywhere becomes its value as it is;
/// `$$` is a dollar sign; anything else stays.
pub fn arguments(argv: &[String], environment: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(argv.len());
    for argument in argv {
        match argument.strip_prefix('$') {
            Some(name) if !name.starts_with(['{', '$']) => {
                // A word that is no name ("$5", "$") has no value either, and is dropped.
                let value = environ::get(environment, name).unwrap_or("");
                out.extend(Words::relaxed(value).filter_map(Result::ok));
            }
            _ => out.push(inserted(argument, environment)),
        }
    }
    out
}

/// A text with `${NAME}` and `$$` replaced.
pub fn inserted(text: &str, environment: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        match after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            Some((name, behind)) => {
                out.push_str(environ::get(environment, name).unwrap_or(""));
                rest = behind;
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::super::specifier::SystemFacts;
    use super::*;

    fn parse(text: &str) -> Result<Vec<Command>, ValueError> {
        commands(
            text,
            &UnitName::new("x@one-two.service").unwrap(),
            &SystemFacts,
        )
    }

    fn one(text: &str) -> Command {
        let mut list = parse(text).unwrap();
        assert_eq!(list.len(), 1, "{text}");
        list.remove(0)
    }

    #[test]
    fn plain_and_quoted() {
        let c = one(r#"/usr//bin/foo -c "a b" 'c'  \x41 %i %%"#);
        assert_eq!(c.path, "/usr/bin/foo");
        assert_eq!(
            c.argv,
            ["/usr/bin/foo", "-c", "a b", "c", "A", "one-two", "%"]
        );
        assert!(c.expand_variables && !c.ignore_failure);
        assert_eq!(one("foo").path, "foo");
        assert!(parse("").unwrap().is_empty());
        assert!(parse("  ").unwrap().is_empty());
    }

    #[test]
    fn prefixes_in_any_order() {
        let c = one("-@/bin/sh mysh -c x");
        assert!(c.ignore_failure);
        assert_eq!(
            (c.path.as_str(), c.argv.join("|")),
            ("/bin/sh", "mysh|-c|x".into())
        );
        assert!(!one(":/bin/x $A").expand_variables);
        assert_eq!(one("+-/bin/x").privilege, Privilege::Full);
        assert_eq!(one("!/bin/x").privilege, Privilege::NoUser);
        assert_eq!(one("-!!/bin/x").privilege, Privilege::NoUserWithoutAmbient);
    }

    #[test]
    fn several_commands() {
        let list = parse("/bin/a 1 ; -/bin/b 2 \\; 3;4 ;").unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].argv, ["/bin/a", "1"]);
        assert_eq!(list[1].argv, ["/bin/b", "2", ";", "3;4"]);
        assert!(list[1].ignore_failure);
        assert_eq!(one("/bin/a \";\"").argv, ["/bin/a", ";"]);
    }

    #[test]
    fn bad_lines() {
        for bad in [
            "-",
            "bin/foo",
            "./foo",
            "/bin/",
            "/.",
            "/a/../b",
            "+!/bin/x",
            "/bin/x \"a",
            "/bin/x %F",
            "@/bin/x",
            "; /bin/x",
            "/bin/x a\\q",
            "..",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables() {
        let env: Vec<String> = ["A=one 'two x'", "B=", "C=c d"].map(Into::into).into();
        let run = |argv: &[&str]| {
            let argv: Vec<String> = argv.iter().map(|s| (*s).into()).collect();
            arguments(&argv, &env)
        };
        assert_eq!(run(&["x", "$A", "y"]), ["x", "one", "two x", "y"]);
        assert_eq!(run(&["$B", "$NONE", "z"]), ["z"]);
        assert_eq!(
            run(&["${A}", "${C}${C}", "${NONE}", "-${C}-"]),
            ["one 'two x'", "c dc d", "", "-c d-"]
        );
        assert_eq!(
            run(&["$$A", "a$A", "a$$b", "${A", "a$", "$${A}"]),
            ["$A", "a$A", "a$b", "${A", "a$", "${A}"]
        );
        assert_eq!(run(&["x"; 3]), ["x"; 3]);
    }
}

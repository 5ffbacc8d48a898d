//! Environments: `Environment=`, files of `EnvironmentFile=`, and what a variable is.
//!
//! An environment is a list of `NAME=value`, each name once.

use super::ValueError;
use alloc::string::String;
use alloc::vec::Vec;

/// Whether this can be the name of a variable.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes
        .first()
        .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// Checks one `NAME=value` (a word of `Environment=`, unquoted).
pub fn assignment(word: &str) -> Result<(&str, &str), ValueError> {
    let pair = word.split_once('=').filter(|(name, _)| is_name(name));
    let (name, value) = pair.ok_or_else(|| ValueError::new(word, "NAME=value"))?;
    if value
        .chars()
        .any(|c| c.is_control() && c != '\t' && c != '\n' && c != '\r')
    {
        return Err(ValueError::new(word, "a value without control characters"));
    }
    Ok((name, value))
}

/// Puts `NAME=value` into an environment in place of what NAME was.
pub fn set(environment: &mut Vec<String>, assignment: &str) {
    let name = assignment.split('=').next().unwrap_or("");
    unset(environment, name);
    environment.push(assignment.into());
}

/// Removes a variable.
pub fn unset(environment: &mut Vec<String>, name: &str) {
    environment.retain(|entry| entry.split('=').next() != Some(name));
}

/// The value of a variable.
pub fn get<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment
        .iter()
        .rev()
        .find_map(|e| e.strip_prefix(name)?.strip_prefix('='))
}

/// Where the reader of a file stands.
#[derive(Clone, Copy, PartialEq)]
enum State {
    PreKey,
    Key,
    PreValue,
    Value,
    ValueEscape,
    Single,
    Double,
    DoubleEscape,
    Comment,
    CommentEscape,
}

/// The reader of an environment file.
struct FileReader {
    state: State,
    key: String,
    value: String,
    /// Length of `value` without white space at its end that was not quoted.
    keep: usize,
    line: u32,
    environment: Vec<String>,
    ignored: Vec<(u32, ValueError)>,
}

/// Reads the contents of an environment file: `NAME=value` lines, `#` and `;` comments, `'…'` and
/// `"…"` over several lines, a backslash before the end of a line to go on. Gives the assignments
/// in their order and, with their lines, what was ignored because it is none.
pub fn file(contents: &str) -> (Vec<String>, Vec<(u32, ValueError)>) {
    let mut reader = FileReader {
        state: State::PreKey,
        key: String::new(),
        value: String::new(),
        keep: 0,
        line: 1,
        environment: Vec::new(),
        ignored: Vec::new(),
    };
    for c in contents.chars() {
        reader.state = reader.step(if c == '\r' { '\n' } else { c });
        reader.line += u32::from(c == '\n');
    }
    match reader.state {
        State::PreKey | State::Comment | State::CommentEscape => {}
        State::Key => reader.no_assignment(),
        _ => reader.finish(),
    }
    (reader.environment, reader.ignored)
}

impl FileReader {
    fn push(&mut self, c: char) {
        self.value.push(c);
        self.keep = self.value.len();
    }

    fn step(&mut self, c: char) -> State {
        use State as S;
        match (self.state, c) {
            (S::PreKey, '#' | ';') => S::Comment,
            (S::PreKey, c) if c.is_ascii_whitespace() => S::PreKey,
            (S::PreKey, c) => {
                self.key.push(c);
                S::Key
            }
            (S::Key, '\n') => {
                self.no_assignment();
                S::PreKey
            }
            (S::Key, '=') => S::PreValue,
            (S::Key, c) => {
                self.key.push(c);
                S::Key
            }
            (S::PreValue | S::Value, '\n') => {
                self.finish();
                S::PreKey
            }
            (S::PreValue, '\'') => S::Single,
            (S::PreValue, '"') => S::Double,
            (S::PreValue | S::Value, '\\') => S::ValueEscape,
            (S::PreValue, c) if c.is_ascii_whitespace() => S::PreValue,
            (S::Value, c) if c.is_ascii_whitespace() => {
                self.value.push(c);
                S::Value
            }
            (S::PreValue | S::Value, c) => {
                self.push(c);
                S::Value
            }
            (S::ValueEscape, '\n') => S::Value,
            (S::ValueEscape, c) => {
                self.push(c);
                S::Value
            }
            (S::Single, '\'') | (S::Double, '"') => S::PreValue,
            (S::Double, '\\') => S::DoubleEscape,
            (S::Single | S::Double, c) => {
                self.push(c);
                self.state
            }
            (S::DoubleEscape, c) => {
                if !matches!(c, '"' | '\\' | '`' | '$' | '\n') {
                    self.push('\\');
                }
                if c != '\n' {
                    self.push(c);
                }
                S::Double
            }
            (S::Comment | S::CommentEscape, '\n') => S::PreKey,
            (S::Comment, '\\') => S::CommentEscape,
            (S::Comment | S::CommentEscape, _) => S::Comment,
        }
    }

    fn no_assignment(&mut self) {
        self.ignored
            .push((self.line, ValueError::new(self.key.trim(), "NAME=value")));
        self.key.clear();
    }

    fn finish(&mut self) {
        self.value.truncate(self.keep);
        let assigned = [self.key.trim_end(), "=", &self.value].concat();
        match assignment(&assigned) {
            Ok(_) => set(&mut self.environment, &assigned),
            Err(error) => self.ignored.push((self.line, error)),
        }
        self.key.clear();
        self.value.clear();
        self.keep = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn assignments() {
        assert_eq!(assignment("A=b=c").unwrap(), ("A", "b=c"));
        assert_eq!(assignment("_a1=").unwrap(), ("_a1", ""));
        for bad in ["", "A", "=x", "1A=x", "A-B=x", "A =x", "A=\u{1}"] {
            assert!(assignment(bad).is_err(), "{bad}");
        }
        let mut env = vec!["A=1".into(), "B=2".into(), "AB=3".into()];
        set(&mut env, "A=9");
        assert_eq!(env, ["B=2", "AB=3", "A=9"]);
        assert_eq!((get(&env, "A"), get(&env, "C")), (Some("9"), None));
        unset(&mut env, "B");
        assert_eq!(env, ["AB=3", "A=9"]);
    }

    #[test]
    fn files() {
        let text = "# c \\\nA=1 \n;c\n\nB = two words  # no comment\nC='x\ny' z\nD=\"a\\\"b\\n\\\n$\"\n\
                    E=a\\\n  b\\ \nF=\nG='q'\"r\"s\nA=2\nnot one\nexport X=1\r\nH=crlf\r\nI=end";
        let (environment, ignored) = file(text);
        assert_eq!(
            environment,
            [
                "B=two words  # no comment",
                "C=x\nyz",
                "D=a\"b\\n$",
                "E=a  b ",
                "F=",
                "G=qrs",
                "A=2",
                "H=crlf",
                "I=end"
            ]
        );
        let lines: Vec<u32> = ignored.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [15, 16]);
    }

    #[test]
    fn a_file_may_end_anywhere() {
        let text = "A='x\ny' \"z\\\"\" \\\n#\nB=1";
        for end in 0..=text.len() {
            let _ = file(&text[..end]);
        }
    }
}

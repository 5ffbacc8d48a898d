//! Shell patterns: `*`, `?`, `[a-z]`, `[!a]`, and `\` before a character that stands for itself.
//!
//! Matching takes time in proportion to pattern times text at worst, and no recursion.

/// Whether the whole text matches the pattern. `*` and `?` match any character, `/` too.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut p, mut t) = (pattern, text);
    // Where to go on when what follows the last `*` does not match: one character further.
    let mut retry: Option<(&str, &str)> = None;
    loop {
        if let Some(rest) = p.strip_prefix('*') {
            retry = Some((rest, t));
            p = rest;
            continue;
        }
        let mut chars = t.chars();
        let matched = match (p.is_empty(), chars.next()) {
            (true, None) => return true,
            (false, Some(c)) => one(p, c),
            _ => None,
        };
        if let Some(rest) = matched {
            (p, t) = (rest, chars.as_str());
            continue;
        }
        let Some((after_star, from)) = retry else {
            return false;
        };
        let mut from = from.chars();
        if from.next().is_none() {
            return false;
        }
        (p, t) = (after_star, from.as_str());
        retry = Some((after_star, t));
    }
}

/// Whether a text has any character that makes it a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Matches one character against the beginning of a pattern that is not `*`; gives the rest.
fn one(pattern: &str, c: char) -> Option<&str> {
    let mut chars = pattern.chars();
    match chars.next()? {
        '?' => Some(chars.as_str()),
        '[' => match set(chars.as_str(), c) {
            Some((true, rest)) => Some(rest),
            Some((false, _)) => None,
            // Without its end it is a bracket.
            None => (c == '[').then_some(chars.as_str()),
        },
        '\\' if !chars.as_str().is_empty() => (chars.next()? == c).then_some(chars.as_str()),
        literal => (literal == c).then_some(chars.as_str()),
    }
}

/// Whether a character is in the set that begins behind `[`, and what follows `]`.
fn set(text: &str, c: char) -> Option<(bool, &str)> {
    let (negate, text) = match text.strip_prefix(['!', '^']) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut found = false;
    let mut chars = text.chars();
    let mut first = true;
    loop {
        let low = chars.next()?;
        if low == ']' && !first {
            return Some((found != negate, chars.as_str()));
        }
        first = false;
        let mut ahead = chars.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                found |= (low..=high).contains(&c);
                chars = ahead;
            }
            _ => found |= low == c,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*.service", "a.service", true),
            ("*.service", "a.services", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "aäc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[ab", "[ab", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("**a**", "bab", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
        assert!(is_pattern("a*") && !is_pattern("a.service"));
    }

    #[test]
    fn a_hostile_pattern_ends() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
        assert!(!matches(&("*a".repeat(50) + "b"), &"a".repeat(5000)));
    }
}

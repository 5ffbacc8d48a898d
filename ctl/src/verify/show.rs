//! Findings as text: one line each, `file:line: error: text`; what is not carried out is folded
//! into a paragraph for each file.

use super::{Kind, Level, Problem};
use crate::style::{Paint, Style, wrap};
use std::fmt::Write;

/// All of them, by file and line; types without a helper last.
pub fn text(style: &Style, problems: &[Problem]) -> String {
    let mut out = String::new();
    for folded in problems.chunk_by(|a, b| a.file == b.file) {
        for problem in folded.iter().filter(|p| p.level != Level::Note) {
            line(style, problem, &mut out);
        }
        let names: Vec<String> = folded
            .iter()
            .filter(|p| p.kind == Kind::Unsupported)
            .map(|p| format!("{} ({})", directive(&p.text), p.line))
            .collect();
        if !names.is_empty() {
            let word = style.paint(Paint::Dim, "not carried out:");
            let file = folded.first().map_or("", |p| &*p.file);
            let _ = writeln!(out, "{file}: {word}");
            out.push_str(&wrap(&names.join(", "), 4, style.width.unwrap_or(100)));
        }
    }
    without_helper(problems, &mut out);
    out
}

fn line(style: &Style, problem: &Problem, out: &mut String) {
    let place = match (problem.file.as_str(), problem.line) {
        ("", _) => problem.unit.clone(),
        (file, 0) => file.to_owned(),
        (file, line) => format!("{file}:{line}"),
    };
    let paint = match problem.level {
        Level::Error => Paint::Bad,
        _ => Paint::Busy,
    };
    let word = style.paint(paint, problem.level.as_str());
    let _ = writeln!(out, "{place}: {word}: {}", problem.text);
}

/// One line for each type nobody carries out.
fn without_helper(problems: &[Problem], out: &mut String) {
    let type_of = |p: &Problem| p.unit.rsplit_once('.').map(|(_, kind)| kind.to_owned());
    let mut types: Vec<String> = problems
        .iter()
        .filter(|p| p.kind == Kind::Type)
        .filter_map(type_of)
        .collect();
    types.sort();
    for group in types.chunk_by(|a, b| a == b) {
        if let Some(kind) = group.first() {
            let count = group.len();
            let _ = writeln!(
                out,
                "no helper for type {kind}: {count} units cannot be started"
            );
        }
    }
}

/// The name of the directive a finding is about, with its `=`.
pub fn directive(text: &str) -> &str {
    let text = text.trim_start_matches('“');
    let end = text.find('=').map_or(text.len(), |at| at + 1);
    text.get(..end).unwrap_or(text)
}

//! `sctl list-dependencies`: who needs whom, as a tree.
//!
//! The manager sends edges; the tree is made here, with a stack of our own because a chain of
//! dependencies may be as long as there are units. A unit is unfolded where it comes first; where
//! it comes again stands a mark, so that the output is as long as there are edges, whatever the
//! shape.

use crate::args::Edges;
use crate::style::Paint;
use crate::{Fault, Run, exit, json, query, unit_name};
use std::fmt::Write;
use units::collections::{Map, Set};
use units::state::ActiveState;
use units::wire::control::{Reply, Request};

/// From, to, kind, state of `to`.
type Edge = (String, String, String, ActiveState);

/// The command.
pub fn dependencies(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let roots = if words.is_empty() {
        vec!["default.target".to_owned()]
    } else {
        words
            .iter()
            .map(|word| unit_name(word))
            .collect::<Result<_, _>>()?
    };
    for root in roots {
        let (reverse, all) = (run.options.reverse, run.options.all);
        let replies = run.client.ask(&Request::Dependencies {
            unit: root.clone(),
            reverse,
            all,
        })?;
        let edges: Vec<Edge> = replies
            .into_iter()
            .filter_map(|reply| match reply {
                Reply::Edge {
                    from,
                    to,
                    kind,
                    active,
                } if wanted(run.options.edges, &kind) => Some((from, to, kind, active)),
                _ => None,
            })
            .collect();
        if run.options.json {
            run.print(&json::edges(&edges));
            continue;
        }
        // It may have been asked for by an alias; the edges have the unit's own name.
        let (name, active) = match query::detail(run, &root) {
            Ok(detail) => (detail.line.name, detail.line.active),
            Err(_) => (root, ActiveState::Inactive),
        };
        let text = draw(run, &name, active, &edges);
        run.print(&text);
    }
    Ok(exit::OK)
}

/// Whether an edge of this kind is followed. By default: whatever starts the other unit along.
fn wanted(edges: Edges, kind: &str) -> bool {
    match edges {
        Edges::After => kind == "After",
        Edges::Before => kind == "Before",
        Edges::Needs => matches!(
            kind,
            "Requires"
                | "Requisite"
                | "Wants"
                | "BindsTo"
                | "Upholds"
                | "ConsistsOf"
                | "RequiredBy"
                | "RequisiteOf"
                | "WantedBy"
                | "BoundBy"
                | "UpheldBy"
                | "PartOf"
        ),
    }
}

struct Entry<'e> {
    name: &'e str,
    active: ActiveState,
    before: String,
    last: bool,
}

fn draw<'e>(run: &Run<'_, '_>, root: &'e str, active: ActiveState, edges: &'e [Edge]) -> String {
    let style = run.screen.style;
    let plain = run.options.plain;
    let [branch, last, through, gap] = style.branches();
    let mut below: Map<&'e str, Map<&'e str, ActiveState>> = Map::new();
    for (from, to, _, active) in edges {
        below.entry(from).or_default().insert(to, *active);
    }
    let mut out = format!(
        "{} {}\n",
        style.dot(active, "loaded"),
        style.paint(Paint::Strong, root)
    );
    let mut unfolded = Set::from_iter([root]);
    let mut stack: Vec<Entry<'e>> = Vec::new();
    let push = |stack: &mut Vec<Entry<'e>>, name: &str, before: &str| {
        let Some(children) = below.get(name) else {
            return;
        };
        for (index, (child, active)) in children.iter().rev().enumerate() {
            stack.push(Entry {
                name: child,
                active: *active,
                before: before.to_owned(),
                last: index == 0,
            });
        }
    };
    push(&mut stack, root, "");
    while let Some(entry) = stack.pop() {
        let known = !unfolded.insert(entry.name);
        let again = known && below.contains_key(entry.name);
        let dot = style.dot(entry.active, "loaded");
        let mark = if again {
            format!(" {}", style.ellipsis())
        } else {
            String::new()
        };
        if plain {
            let _ = writeln!(out, "  {}", entry.name);
        } else {
            let line = if entry.last { last } else { branch };
            let _ = writeln!(out, "{dot} {}{line}{}{mark}", entry.before, entry.name);
        }
        if !known {
            let inner = format!("{}{}", entry.before, if entry.last { gap } else { through });
            push(&mut stack, entry.name, &inner);
        }
    }
    out
}

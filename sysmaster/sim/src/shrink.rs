//! Making a failing case small: whole units go, then stretches of lines, halved again and again, as
//! long as the same promise is still broken.

use crate::case::{Case, Line};
use crate::play::play;
use std::collections::BTreeSet;

/// The smallest case found that breaks the promise this one breaks, with at most so many runs.
pub fn shrink(case: &Case, mut runs: usize) -> Case {
    let Some(promise) = play(case).promise().map(String::from) else {
        return case.clone();
    };
    let mut best = case.clone();
    loop {
        let before = best.lines.len();
        drop_units(&mut best, &promise, &mut runs);
        drop_lines(&mut best, &promise, &mut runs);
        if best.lines.len() == before || runs == 0 {
            return best;
        }
    }
}

/// Takes the lines if the promise is still broken.
fn accept(best: &mut Case, lines: Vec<Line>, promise: &str, runs: &mut usize) -> bool {
    if *runs == 0 || lines.len() == best.lines.len() {
        return false;
    }
    *runs -= 1;
    let case = Case {
        lines,
        ..best.clone()
    };
    let fails = play(&case).promise() == Some(promise);
    if fails {
        *best = case;
    }
    fails
}

fn drop_units(best: &mut Case, promise: &str, runs: &mut usize) {
    let units = best.lines.iter().flat_map(Line::units).map(String::from);
    let units: BTreeSet<String> = units.collect();
    for unit in units {
        let without = |line: &&Line| !line.units().contains(&unit.as_str());
        let lines = best.lines.iter().filter(without).cloned().collect();
        accept(best, lines, promise, runs);
    }
}

fn drop_lines(best: &mut Case, promise: &str, runs: &mut usize) {
    let mut size = best.lines.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < best.lines.len() {
            let mut lines = best.lines.clone();
            lines.drain(from..(from + size).min(best.lines.len()));
            if !accept(best, lines, promise, runs) {
                from += size;
            }
        }
        size /= 2;
    }
}

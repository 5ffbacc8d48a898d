//! From names to numbers.
//!
//! A tree over the bits of the names (a *crit-bit* tree): each node holds the first bit in which the names below its
//! two sides differ, each leaf is a number, and the names themselves lie with the arena only. Looking a name up takes
//! one step for each such bit on its way, at most as many as a name has bits, and one comparison of whole names at the
//! end. Nobody can choose names that make it slower than that, and it is never balanced or grown.

use alloc::vec::Vec;
use units::name::UnitName;

/// Set in what leads to a number and not to a node.
const LEAF: u32 = 1 << 31;

#[derive(Debug)]
struct Node {
    /// Counted from the first bit of the first byte; behind its end a name has zeroes.
    bit: u16,
    /// Where names lead that have this bit clear, and set.
    sides: [u32; 2],
}

/// The tree. It has a node for each name but the first, whose number is 0.
#[derive(Debug, Default)]
pub(crate) struct Names {
    nodes: Vec<Node>,
    root: Option<u32>,
}

fn bit_of(name: &[u8], bit: u16) -> usize {
    let byte = name.get(usize::from(bit >> 3)).copied().unwrap_or(0);
    usize::from(byte >> (7 - (bit & 7)) & 1)
}

/// The first bit in which two names differ.
fn first_difference(a: &[u8], b: &[u8]) -> Option<u16> {
    let byte = |name: &[u8], at: usize| name.get(at).copied().unwrap_or(0);
    let at = (0..a.len().max(b.len())).find(|&at| byte(a, at) != byte(b, at))?;
    let bit = (byte(a, at) ^ byte(b, at)).leading_zeros();
    Some((at * 8) as u16 + bit as u16)
}

impl Names {
    /// The number of this name among those whose titles these are.
    pub fn get(&self, name: &UnitName, titles: &[UnitName]) -> Option<u32> {
        let id = self.nearest(name.as_str().as_bytes())?;
        (titles.get(id as usize) == Some(name)).then_some(id)
    }

    /// The number of the only name that may be this one.
    fn nearest(&self, name: &[u8]) -> Option<u32> {
        let mut at = self.root?;
        while let Some(node) = self.nodes.get(at as usize) {
            let [clear, set] = node.sides;
            at = if bit_of(name, node.bit) == 0 {
                clear
            } else {
                set
            };
        }
        Some(at & !LEAF)
    }

    /// Adds a name that is not there.
    pub fn insert(&mut self, name: &UnitName, id: u32, titles: &[UnitName]) {
        let name = name.as_str().as_bytes();
        let near = self
            .nearest(name)
            .and_then(|near| titles.get(near as usize));
        let bit = near.and_then(|near| first_difference(name, near.as_str().as_bytes()));
        let new = self.nodes.len() as u32;
        let mut at = self.root.get_or_insert(LEAF | id);
        let Some(bit) = bit else { return };
        // As far down as the names agree in the bits before this one.
        let mut below = *at;
        let mut place = None;
        while let Some(node) = self.nodes.get(below as usize).filter(|node| node.bit < bit) {
            let side = bit_of(name, node.bit);
            place = Some((below, side));
            below = node.sides.get(side).copied().unwrap_or(below);
        }
        if let Some((node, side)) = place
            && let Some(side) = self
                .nodes
                .get_mut(node as usize)
                .and_then(|node| node.sides.get_mut(side))
        {
            at = side;
        }
        *at = new;
        let mut sides = [below, below];
        if let Some(side) = sides.get_mut(bit_of(name, bit)) {
            *side = LEAF | id;
        }
        self.nodes.push(Node { bit, sides });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_number_and_no_other_one_does() {
        let name = |text: &str| UnitName::new(text).unwrap();
        let mut texts: Vec<String> = (0..500)
            .map(|i| format!("bench-{}.service", i * 7919 % 500))
            .collect();
        texts.extend(
            [
                "a.b",
                "a.ba",
                "a.bb",
                "aa.b",
                "-.slice",
                "z@.service",
                "z@i.service",
            ]
            .map(String::from),
        );
        texts.push(format!("{}.mount", "x".repeat(240)));
        let (mut names, mut titles) = (Names::default(), Vec::new());
        for (id, text) in texts.iter().enumerate() {
            assert_eq!(names.get(&name(text), &titles), None, "{text}");
            names.insert(&name(text), id as u32, &titles);
            titles.push(name(text));
        }
        for (id, text) in texts.iter().enumerate() {
            assert_eq!(names.get(&name(text), &titles), Some(id as u32), "{text}");
        }
        for other in ["bench-500.service", "bench-1.servic", "b.b", "z@j.service"] {
            assert_eq!(names.get(&name(other), &titles), None, "{other}");
        }
    }
}

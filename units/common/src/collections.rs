//! Maps and sets that are sorted vectors.
//!
//! A `BTreeMap` or `BTreeSet` brings some six kilobytes of code for each pair of types it is used
//! with, and there are dozens of such pairs. What holds tens or hundreds of entries, is filled about
//! in order, or is read more than written, is a sorted vector: insertion moves what comes behind, a
//! look-up is a binary search. What grows with all units and in any order stays a tree.

use alloc::vec::{self, Vec};
use core::borrow::Borrow;
use core::ops::Deref;

pub use litemap::LiteMap as Map;

/// A set, in ascending order; to be read it is a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Set<T>(Vec<T>);

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Set<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Ord> Set<T> {
    /// An empty set.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn place<Q: Ord + ?Sized>(&self, value: &Q) -> Result<usize, usize>
    where
        T: Borrow<Q>,
    {
        self.0.binary_search_by(|other| other.borrow().cmp(value))
    }

    /// Whether a value is in it.
    pub fn contains<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.place(value).is_ok()
    }

    /// Adds a value; whether it is new.
    pub fn insert(&mut self, value: T) -> bool {
        // What comes in order needs no search.
        if self.0.last().is_none_or(|last| *last < value) {
            self.0.push(value);
            return true;
        }
        match self.place(&value) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, value);
                true
            }
        }
    }

    /// Takes a value out; whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        match self.place(value) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Keeps what passes a test.
    pub fn retain(&mut self, test: impl FnMut(&T) -> bool) {
        self.0.retain(test);
    }
}

impl<T: Ord> Extend<T> for Set<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.insert(value);
        }
    }
}

impl<T: Ord> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut set = Self::new();
        set.extend(values);
        set
    }
}

impl<T> IntoIterator for Set<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Set<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_is_what_a_tree_of_the_same_values_is() {
        let mut set = Set::new();
        let mut tree = BTreeSet::new();
        let mut x: u32 = 1;
        for _ in 0..2000 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = (x >> 8) % 97;
            if x & 128 == 0 {
                assert_eq!(set.insert(value), tree.insert(value));
            } else {
                assert_eq!(set.remove(&value), tree.remove(&value));
            }
            assert_eq!(set.contains(&40), tree.contains(&40));
            assert!(set.iter().eq(tree.iter()));
        }
    }
}

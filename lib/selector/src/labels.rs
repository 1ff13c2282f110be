//! What selectors are evaluated against.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

/// A set of labels: at most one value a key.
pub trait Labels {
    /// Value of a label; `None` when it is missing, which differs from an empty value.
    fn get(&self, key: &str) -> Option<&str>;
}

impl<L: Labels + ?Sized> Labels for &L {
    fn get(&self, key: &str) -> Option<&str> {
        (**self).get(key)
    }
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Labels for BTreeMap<K, V> {
    fn get(&self, key: &str) -> Option<&str> {
        BTreeMap::get(self, key).map(AsRef::as_ref)
    }
}

impl<K: Borrow<str> + Hash + Eq, V: AsRef<str>, S: BuildHasher> Labels for HashMap<K, V, S> {
    fn get(&self, key: &str) -> Option<&str> {
        HashMap::get(self, key).map(AsRef::as_ref)
    }
}

/// Pairs in any order; the first of a key counts.
impl<K: AsRef<str>, V: AsRef<str>> Labels for [(K, V)] {
    fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| k.as_ref() == key).map(|(_, v)| v.as_ref())
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> Labels for [(K, V); N] {
    fn get(&self, key: &str) -> Option<&str> {
        Labels::get(self.as_slice(), key)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Labels for Vec<(K, V)> {
    fn get(&self, key: &str) -> Option<&str> {
        Labels::get(self.as_slice(), key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(labels: &'a (impl Labels + ?Sized), key: &str) -> Option<&'a str> {
        labels.get(key)
    }

    #[test]
    fn every_container_tells_missing_from_empty() {
        let pairs = [("a", "1"), ("e", "")];
        let map: BTreeMap<&str, &str> = pairs.into();
        let hash: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let vec = pairs.to_vec();
        for labels in [&pairs as &dyn Labels, &map, &hash, &vec, &&pairs] {
            assert_eq!(labels.get("a"), Some("1"));
            assert_eq!(labels.get("e"), Some(""));
            assert_eq!(labels.get("x"), None);
        }
        assert_eq!(value(pairs.as_slice(), "a"), Some("1"));
    }

    #[test]
    fn the_first_of_two_pairs_counts() {
        assert_eq!(value(&[("a", "1"), ("a", "2")], "a"), Some("1"));
    }
}

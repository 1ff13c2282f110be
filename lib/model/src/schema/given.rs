//! The fields of an object that have not been read yet. Stored objects come in the order of their table, so the next
//! field is nearly always the one looked for: taking it costs one comparison, and no index is rebuilt.

use serde_json::{Map, Value};

/// Fields by name, each to be taken once.
pub(super) struct Given {
    entries: Vec<Option<(String, Value)>>,
    next: usize,
}

impl Given {
    pub(super) fn new(object: Map<String, Value>) -> Self {
        Self { entries: object.into_iter().map(Some).collect(), next: 0 }
    }

    /// The field of this name.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.take_where(|key| key == name)
    }

    /// The field of this name in any case.
    pub(super) fn take_any_case(&mut self, name: &str) -> Option<Value> {
        self.take_where(|key| key.eq_ignore_ascii_case(name))
    }

    fn take_where(&mut self, is_it: impl Fn(&str) -> bool) -> Option<Value> {
        let next = self.next.min(self.entries.len());
        let (done, rest) = self.entries.split_at_mut(next);
        let found = |entry: &Option<(String, Value)>| entry.as_ref().is_some_and(|(key, _)| is_it(key));
        if let Some(skipped) = rest.iter().position(&found) {
            self.next += skipped + 1;
            return rest.get_mut(skipped)?.take().map(|(_, value)| value);
        }
        done.iter_mut().find(|entry| found(entry))?.take().map(|(_, value)| value)
    }

    /// What nobody took, in the order it was given.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, Value)> {
        self.entries.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn given(names: &[&str]) -> Given {
        Given::new(names.iter().map(|name| ((*name).to_owned(), json!(name))).collect())
    }

    #[test]
    fn each_field_is_taken_once() {
        let mut fields = given(&["a", "B", "c"]);
        assert_eq!(fields.take("c"), Some(json!("c")));
        assert_eq!(fields.take("c"), None);
        assert_eq!(fields.take("b"), None);
        assert_eq!(fields.take_any_case("b"), Some(json!("B")));
        assert_eq!(fields.rest().map(|(key, _)| key).collect::<Vec<_>>(), ["a"]);
    }

    proptest! {
        #[test]
        fn as_a_map_would(names in prop::collection::btree_set("[a-d]{1,2}", 0..8), asked in prop::collection::vec("[a-d]{1,2}", 0..12)) {
            let map: Map<String, Value> = names.iter().map(|name| (name.clone(), json!(name))).collect();
            let (mut fields, mut naive) = (Given::new(map.clone()), map);
            for name in asked {
                prop_assert_eq!(fields.take(&name), naive.shift_remove(&name));
            }
            prop_assert_eq!(fields.rest().collect::<Vec<_>>(), naive.into_iter().collect::<Vec<_>>());
        }
    }
}

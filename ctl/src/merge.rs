//! Strategic merge patches, as far as Calico's resources know them: objects are merged field by field, lists are
//! replaced as a whole, null removes, and the directives `$patch`, `$retainKeys` and `$deleteFromPrimitiveList` work.
//! Source: `calicoctl.md` §3.3 of the contract and the recording `store/verbs/patch`.

use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

/// The text is no JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("performing strategic merge patch: invalid JSON document")]
pub struct NotAPatch;

/// Reads the text of a patch.
///
/// # Errors
/// When it is not one JSON object.
pub fn parse(text: &str) -> Result<Map<String, Value>, NotAPatch> {
    serde_json::from_str(text).map_err(|_| NotAPatch)
}

/// Applies a patch.
pub fn apply(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    match patch.get(PATCH).and_then(Value::as_str) {
        Some("replace") => target.clear(),
        Some("delete") => return target.clear(),
        _ => {}
    }
    for (key, change) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM_LIST) {
            remove_items(target, list, change);
        } else if key != PATCH && key != RETAIN_KEYS && !key.starts_with(ELEMENT_ORDER) {
            set(target, key, change);
        }
    }
    if let Some(kept) = patch.get(RETAIN_KEYS).and_then(Value::as_array) {
        target.retain(|key, _| kept.iter().any(|name| name == key));
    }
}

fn set(target: &mut Map<String, Value>, key: &str, change: &Value) {
    match change {
        Value::Null => {
            target.shift_remove(key);
        }
        Value::Object(change) if change.get(PATCH).is_some_and(|directive| directive == "delete") => {
            target.shift_remove(key);
        }
        Value::Object(change) => {
            let slot = target.entry(key).or_insert(Value::Null);
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Value::Object(inner) = slot {
                apply(inner, change);
            }
        }
        change => {
            target.insert(key.to_owned(), change.clone());
        }
    }
}

fn remove_items(target: &mut Map<String, Value>, list: &str, unwanted: &Value) {
    let unwanted = unwanted.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(items) = target.get_mut(list).and_then(Value::as_array_mut) {
        items.retain(|item| !unwanted.contains(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn patched(target: Value, patch: Value) -> Value {
        let (Value::Object(mut target), Value::Object(patch)) = (target, patch) else {
            panic!("not objects")
        };
        apply(&mut target, &patch);
        target.into()
    }

    #[test]
    fn fields_lists_and_nulls() {
        let target = json!({"a": 1, "b": {"c": [1, 2], "d": 4}, "e": "x"});
        assert_eq!(
            patched(target.clone(), json!({"b": {"c": [3]}})),
            json!({"a": 1, "b": {"c": [3], "d": 4}, "e": "x"})
        );
        assert_eq!(
            patched(target.clone(), json!({"a": null, "b": {"d": null}, "n": null})),
            json!({"b": {"c": [1, 2]}, "e": "x"})
        );
        assert_eq!(
            patched(target.clone(), json!({"a": {"n": {"m": null, "o": 1}}}))["a"],
            json!({"n": {"o": 1}})
        );
        assert_eq!(patched(target.clone(), json!({})), target);
    }

    #[test]
    fn directives() {
        let target = json!({"a": 1, "b": {"c": 2, "d": 3}, "l": ["x", "y"]});
        assert_eq!(
            patched(target.clone(), json!({"b": {"$patch": "replace", "n": 1}}))["b"],
            json!({"n": 1})
        );
        assert_eq!(
            patched(target.clone(), json!({"b": {"$patch": "delete"}})),
            json!({"a": 1, "l": ["x", "y"]})
        );
        assert_eq!(
            patched(target.clone(), json!({"b": {"$retainKeys": ["d"], "d": 5}}))["b"],
            json!({"d": 5})
        );
        assert_eq!(patched(target.clone(), json!({"$deleteFromPrimitiveList/l": ["x"]}))["l"], json!(["y"]));
        assert_eq!(patched(target.clone(), json!({"$setElementOrder/l": ["y"]})), target);
    }

    #[test]
    fn what_is_no_patch() {
        for text in ["", "{", "[]", "1", "null", "a: b"] {
            assert_eq!(parse(text), Err(NotAPatch), "{text}");
        }
        assert!(parse("{}").is_ok());
    }

    fn objects() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<u8>().prop_map(Value::from), "[ab]".prop_map(Value::from)];
        let inner = leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-d]", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    /// RFC 7396, as its pseudo-code says it.
    fn rfc7396(target: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut result = target.as_object().cloned().unwrap_or_default();
        for (key, change) in patch {
            if change.is_null() {
                result.remove(key);
            } else {
                let merged = rfc7396(result.get(key).unwrap_or(&Value::Null), change);
                result.insert(key.clone(), merged);
            }
        }
        Value::Object(result)
    }

    proptest! {
        /// Without directives it is a JSON merge patch.
        #[test]
        fn as_a_json_merge_patch(target in objects(), patch in objects()) {
            let once = patched(target.clone(), patch.clone());
            prop_assert_eq!(&once, &rfc7396(&target, &patch));
            prop_assert_eq!(patched(once.clone(), patch), once);
        }
    }
}

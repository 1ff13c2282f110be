//! Typed reading of JSON objects; the first field of a wrong type is named with its path.

use serde_json::{Map, Value};

/// A field of the configuration that has a wrong type or an impossible value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct FieldError {
    /// Path such as `ipam.assign_ipv4`; empty for the whole document.
    pub path: String,
    /// What would be right.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// One object and where it stands; an absent object reads as an empty one, and `null` as absent.
#[derive(Clone)]
pub struct Section<'a> {
    path: String,
    object: Option<&'a Map<String, Value>>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub fn root(object: &'a Map<String, Value>) -> Self {
        Self { path: String::new(), object: Some(object) }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.and_then(|object| object.get(key)).filter(|value| !value.is_null())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong(&self, key: &str, expected: &str, value: &Value) -> FieldError {
        FieldError { path: self.path_of(key), expected: expected.to_owned(), found: describe(value) }
    }

    /// An error at `key` for a reason of the caller.
    pub fn refuse(&self, key: &str, expected: &str) -> FieldError {
        self.wrong(key, expected, self.value(key).unwrap_or(&Value::Null))
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A text; empty when absent.
    pub fn text(&self, key: &str) -> Result<String, FieldError> {
        Ok(self.optional_text(key, "a text in double quotes")?.unwrap_or_default())
    }

    /// A text, if there; `expected` is said when it is none.
    pub fn optional_text(&self, key: &str, expected: &str) -> Result<Option<String>, FieldError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(key, expected, other)),
        }
    }

    /// A switch; off when absent.
    pub fn flag(&self, key: &str) -> Result<bool, FieldError> {
        match self.value(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(key, "true or false without quotes", other)),
        }
    }

    /// A whole number, if there.
    pub fn number(&self, key: &str) -> Result<Option<i64>, FieldError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(key, "a whole number without quotes", value)),
            },
        }
    }

    /// A list of texts; empty when absent.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, FieldError> {
        let expected = "a list of texts such as [\"…\"]";
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let Value::Array(items) = value else { return Err(self.wrong(key, expected, value)) };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::String(text) => Ok(text.clone()),
                other => Err(self.wrong(&format!("{key}[{index}]"), "a text in double quotes", other)),
            })
            .collect()
    }

    /// The objects of a list; empty when absent.
    pub fn sections(&self, key: &str) -> Result<Vec<Section<'a>>, FieldError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let Value::Array(items) = value else { return Err(self.wrong(key, "a list of objects", value)) };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::Object(object) => {
                    Ok(Section { path: self.path_of(&format!("{key}[{index}]")), object: Some(object) })
                }
                other => Err(self.wrong(&format!("{key}[{index}]"), "an object", other)),
            })
            .collect()
    }

    /// An object below; reads as empty when absent.
    pub fn section(&self, key: &str) -> Result<Section<'a>, FieldError> {
        let path = self.path_of(key);
        match self.value(key) {
            None => Ok(Section { path, object: None }),
            Some(Value::Object(object)) => Ok(Section { path, object: Some(object) }),
            Some(other) => Err(self.wrong(key, "an object", other)),
        }
    }
}

/// A value for people, cut short.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => format!("{flag}"),
        Value::Number(number) => format!("number {number}"),
        Value::String(text) => {
            format!("text {}", crate::text::quote(&text.chars().take(60).collect::<String>()))
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(document: Value, read: impl Fn(&Section<'_>) -> Option<FieldError>, message: Option<&str>) {
        let object = document.as_object().unwrap();
        let error = read(&Section::root(object)).map(|e| e.to_string());
        assert_eq!(error.as_deref(), message, "{document}");
    }

    #[test]
    fn wrong_types_are_named_with_their_path() {
        check(
            json!({"a": 1}),
            |s| s.text("a").err(),
            Some("a: expected a text in double quotes, found number 1"),
        );
        check(
            json!({"a": {"b": "x"}}),
            |s| s.section("a").unwrap().flag("b").err(),
            Some("a.b: expected true or false without quotes, found text \"x\""),
        );
        check(
            json!({"a": 1.5}),
            |s| s.number("a").err(),
            Some("a: expected a whole number without quotes, found number 1.5"),
        );
        check(
            json!({"a": {}}),
            |s| s.texts("a").err(),
            Some("a: expected a list of texts such as [\"…\"], found an object"),
        );
        check(
            json!({"a": ["x", true]}),
            |s| s.texts("a").err(),
            Some("a[1]: expected a text in double quotes, found true"),
        );
        check(json!({"a": []}), |s| s.section("a").err(), Some("a: expected an object, found a list"));
        check(
            json!({"a": [{"b": 1}]}),
            |s| s.sections("a").unwrap().first().unwrap().text("b").err(),
            Some("a[0].b: expected a text in double quotes, found number 1"),
        );
        check(json!({"a": [1]}), |s| s.sections("a").err(), Some("a[0]: expected an object, found number 1"));
    }

    #[test]
    fn absent_and_null_are_the_same() {
        for document in [json!({}), json!({"a": null})] {
            check(document.clone(), |s| s.text("a").err(), None);
            check(document.clone(), |s| s.flag("a").err(), None);
            check(document.clone(), |s| s.number("a").err(), None);
            check(document.clone(), |s| s.texts("a").err(), None);
            check(document.clone(), |s| s.sections("a").err(), None);
            check(document.clone(), |s| s.section("a").unwrap().text("b").err(), None);
            assert!(!Section::root(document.as_object().unwrap()).has("a"));
        }
    }
}

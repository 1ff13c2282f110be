//! Matches on HTTP requests. Source: `resources.md` §1.1 of the contract.

use crate::error::FieldError;
use crate::kinds::repeated;
use crate::schema::field::{TEXT, list, text};
use crate::schema::{Check, Context, Field, Object, Path, Type, go_text};
use serde_json::{Map, Value};

/// `http` of a rule.
pub(super) static HTTP: Object = Object::new(&[
    list("methods", TEXT).check(Check::MaxItems(20)),
    list("paths", &Field::item(Type::Object(&HTTP_PATH))).check(Check::MaxItems(20)),
])
.rule(rule);

static HTTP_PATH: Object =
    Object::new(&[text("exact").check(Check::MaxLength(1024)), text("prefix").check(Check::MaxLength(1024))]);

fn rule(_: &Context<'_>, http: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    if let Some(Value::Array(methods)) = http.get("methods")
        && repeated(methods).next().is_some()
    {
        let methods = go_text(&Value::Array(methods.clone()));
        out.push(FieldError::new("Methods", &*methods, format!("Invalid methods (duplicates): {methods}")));
    }
    if let Some(Value::Array(paths)) = http.get("paths")
        && let Some(reason) = paths.iter().find_map(path_error)
    {
        out.push(FieldError::new("Paths", paths_text(paths), reason));
    }
}

/// What is wrong with one path; only the first of a rule is reported.
fn path_error(path: &Value) -> Option<String> {
    let path = match (part(path, "exact"), part(path, "prefix")) {
        ("", "") => return Some("Invalid path match. Either 'exact' or 'prefix' must be set".to_owned()),
        (path, "") | ("", path) => path,
        _ => return Some("Invalid path match. Both 'exact' and 'prefix' are set".to_owned()),
    };
    // what RFC 3986 §3.3 leaves of a path
    (!path.starts_with('/') || path.contains(['?', ' ', '#']))
        .then(|| format!("Invalid path {path}. (must start with `/` and not contain `?` or `#`"))
}

fn part<'a>(path: &'a Value, field: &str) -> &'a str {
    path.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn paths_text(paths: &[Value]) -> String {
    let paths: Vec<String> =
        paths.iter().map(|path| format!("{{{} {}}}", part(path, "exact"), part(path, "prefix"))).collect();
    format!("[{}]", paths.join(" "))
}

/// A match as Go prints a pointer to it.
pub(in crate::kinds) fn http_text(http: &Value) -> String {
    let items =
        |field: &str| http.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let methods = go_text(&Value::Array(items("methods").to_vec()));
    format!("&{{{methods} {}}}", paths_text(items("paths")))
}

//! Texts and values with all that may differ between two runs replaced by names.
//!
//! An identifier is replaced by the place at which it first appeared on its side (`<uid 2>`), so that equal normal forms mean
//! equal texts up to one consistent exchange of identifiers. What a test wrote itself stays as it is.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The state of one side of the comparison over a case.
#[derive(Debug, Default, Clone)]
pub struct Normaliser {
    literal: BTreeSet<String>,
    seen: BTreeMap<Class, Vec<String>>,
    /// First sequence number of each block that is there, by its key.
    sequence: BTreeMap<String, i128>,
}

/// Kinds of texts that differ from run to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Uid,
    Guid,
    Mac,
    Time,
    Sequence,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Class::Uid => "uid",
            Class::Guid => "guid",
            Class::Mac => "mac",
            Class::Time => "time",
            Class::Sequence => "sequence",
        }
    }
}

/// The MAC address that every host end has: a constant, not an identifier.
const HOST_END: &str = "ee:ee:ee:ee:ee:ee";

impl Normaliser {
    /// Forgets a case.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what a test wrote itself: its identifiers are constants from now on.
    pub fn keep_literal(&mut self, text: &str) {
        for (_, token, class) in tokens(text) {
            let known = self.seen.get(&class).is_some_and(|seen| seen.iter().any(|one| one == token));
            if !known {
                self.literal.insert(token.to_owned());
            }
        }
    }

    /// Replaces in an input every identifier that this side has shown by the one `other` has shown in its place.
    pub fn carry_over(&self, text: &str, other: &Normaliser) -> String {
        replace_tokens(text, |token, class| {
            let place = self.seen.get(&class).and_then(|seen| seen.iter().position(|one| one == token));
            let theirs = match class {
                Class::Sequence => self.sequence_there(token, other),
                _ => place.and_then(|place| other.seen.get(&class)?.get(place).cloned()),
            };
            theirs.unwrap_or_else(|| token.to_owned())
        })
    }

    fn sequence_there(&self, token: &str, other: &Normaliser) -> Option<String> {
        let number: i128 = token.parse().ok()?;
        self.sequence.iter().find_map(|(key, first)| {
            let offset = number - first;
            let near = (-1000..1000).contains(&offset);
            near.then(|| other.sequence.get(key)).flatten().map(|theirs| (theirs + offset).to_string())
        })
    }

    /// The normal form of a text.
    pub fn text(&mut self, text: &str) -> String {
        mask_revisions(&replace_tokens(text, |token, class| self.name(token, class)))
    }

    fn name(&mut self, token: &str, class: Class) -> String {
        if self.literal.contains(token) || token == HOST_END {
            return token.to_owned();
        }
        let seen = self.seen.entry(class).or_default();
        let place = seen.iter().position(|one| one == token).unwrap_or_else(|| {
            seen.push(token.to_owned());
            seen.len() - 1
        });
        match class {
            // The clock moves differently in each run; two things of one second need not share it in another.
            Class::Time => "<time>".to_owned(),
            _ => format!("<{} {}>", class.name(), place + 1),
        }
    }

    /// The normal form of a stored value; `key` tells which block's sequence numbers it holds.
    pub fn value(&mut self, key: &str, value: &str) -> Value {
        match serde_json::from_str::<Value>(value) {
            Ok(parsed) => self.json(key, parsed),
            Err(_) => Value::String(self.text(value)),
        }
    }

    /// A block is gone: if one appears under this key again, it starts a new sequence.
    pub fn forget_block(&mut self, key: &str) {
        self.sequence.remove(key);
    }

    fn json(&mut self, key: &str, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.json(key, item)).collect(),
            Value::Object(fields) => Value::Object(self.object(key, fields)),
            other => other,
        }
    }

    fn object(&mut self, key: &str, fields: Map<String, Value>) -> Map<String, Value> {
        let own = fields.get("sequenceNumber").and_then(as_integer);
        let first = own.map(|own| {
            let first = self.sequence.entry(key.to_owned()).or_insert(own);
            // A block that changed hands is a new one under the old key: its number is the clock's again.
            if (own - *first).abs() > MOST_UPDATES {
                *first = own;
            }
            *first
        });
        let relative = |value: Value| match (as_integer(&value), first) {
            (Some(number), Some(first)) => Value::from(i64::try_from(number - first).unwrap_or(i64::MAX)),
            _ => value,
        };
        fields
            .into_iter()
            .map(|(name, value)| {
                let normal = match (name.as_str(), value) {
                    ("sequenceNumber", number) => relative(number),
                    ("sequenceNumberForAllocation", Value::Object(each)) => {
                        each.into_iter().map(|(ordinal, number)| (ordinal, relative(number))).collect()
                    }
                    (_, value) => self.json(key, value),
                };
                (self.text(&name), normal)
            })
            .collect()
    }
}

/// More updates than any block of a case sees.
const MOST_UPDATES: i128 = 1_000_000;

fn as_integer(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// The text with every identifier replaced.
pub(super) fn replace_tokens(text: &str, mut new: impl FnMut(&str, Class) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (start, token, class) in tokens(text) {
        out.push_str(text.get(done..start).unwrap_or_default());
        out.push_str(&new(token, class));
        done = start + token.len();
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// All identifiers of a text in order, with the byte each starts at.
fn tokens(text: &str) -> Vec<(usize, &str, Class)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let starts = at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
        let next = starts.then(|| bytes.get(at..).and_then(token_at)).flatten();
        match next.and_then(|(length, class)| Some((text.get(at..at + length)?, class))) {
            Some((token, class)) => {
                found.push((at, token, class));
                at += token.len();
            }
            None => at += 1,
        }
    }
    found
}

/// Length and class of the identifier that starts here.
fn token_at(bytes: &[u8]) -> Option<(usize, Class)> {
    const UID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    const MAC: &str = "xx:xx:xx:xx:xx:xx";
    const DAY: &str = "dddd-dd-dd";
    const CLOCK: &str = "dd:dd:dd";
    if shaped(bytes, UID) {
        return whole_word(bytes, UID.len()).then_some((UID.len(), Class::Uid));
    }
    if shaped(bytes, MAC) {
        return whole_word(bytes, MAC.len()).then_some((MAC.len(), Class::Mac));
    }
    let clock_start = DAY.len() + 1;
    if shaped(bytes, DAY) && bytes.get(clock_start..).is_some_and(|rest| shaped(rest, CLOCK)) {
        let mut length = clock_start + CLOCK.len();
        if bytes.get(length) == Some(&b'.') {
            length += 1 + digits(bytes.get(length + 1..).unwrap_or_default());
        }
        for zone in ["Z", " +0000 UTC"] {
            if bytes.get(length..).is_some_and(|rest| rest.starts_with(zone.as_bytes())) {
                return Some((length + zone.len(), Class::Time));
            }
        }
        return None;
    }
    if digits(bytes) == 19 && bytes.starts_with(b"1") && whole_word(bytes, 19) {
        return Some((19, Class::Sequence));
    }
    let hex = bytes.iter().take_while(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)).count();
    (hex == 32 && whole_word(bytes, 32)).then_some((32, Class::Guid))
}

/// Whether the bytes begin like `shape`: `x` a hexadecimal digit, `d` a decimal one, all else itself.
fn shaped(bytes: &[u8], shape: &str) -> bool {
    bytes.len() >= shape.len()
        && shape.bytes().zip(bytes).all(|(want, byte)| match want {
            b'x' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            other => *byte == other,
        })
}

fn whole_word(bytes: &[u8], length: usize) -> bool {
    !bytes.get(length).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b':')
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Replaces the number after `resourceVersion`, quoted or not: stores count differently.
fn mask_revisions(text: &str) -> String {
    const FIELD: &str = "resourceVersion";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(FIELD) {
        let (before, from) = rest.split_at(at + FIELD.len());
        out.push_str(before);
        let number = from.trim_start_matches(['"', '\'', ':', ' ']);
        let (between, _) = from.split_at(from.len() - number.len());
        out.push_str(between);
        let count = digits(number.as_bytes());
        let (_, after) = number.split_at(count);
        out.push_str(if count > 0 { "<revision>" } else { "" });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "a3cce346-f7fa-4179-ab76-97a940a9fcb3";
    const B: &str = "7d57a59f-128b-4200-99f9-eeebb1323e8c";

    #[test]
    fn identifiers_become_their_place() {
        let mut side = Normaliser::new();
        assert_eq!(side.text(&format!("{A} {B} {A}")), "<uid 1> <uid 2> <uid 1>");
        assert_eq!(side.text(&format!("uid: {B}\n")), "uid: <uid 2>\n");
        assert_eq!(side.text("mac 72:ff:e9:17:5e:bf, ee:ee:ee:ee:ee:ee"), "mac <mac 1>, ee:ee:ee:ee:ee:ee");
        assert_eq!(
            side.text("2026-11-21T04:00:59Z 2026-11-21 04:00:59.298513432 +0000 UTC 2026-11-21"),
            "<time> <time> 2026-11-21"
        );
        assert_eq!(side.text("52715d24c0fe42da8aface8f98057c29"), "<guid 1>");
        assert_eq!(side.text("resourceVersion: \"13\"\n"), "resourceVersion: \"<revision>\"\n");
        assert_eq!(side.text("\"resourceVersion\": \"x\""), "\"resourceVersion\": \"x\"");
    }

    #[test]
    fn a_swapped_identifier_is_seen() {
        let (mut left, mut right) = (Normaliser::new(), Normaliser::new());
        left.text(&format!("{A} {B}"));
        right.text(&format!("{B} {A}"));
        assert_eq!(left.text(A), right.text(B));
        assert_ne!(left.text(A), right.text(A));
    }

    #[test]
    fn what_the_test_wrote_stays() {
        let mut side = Normaliser::new();
        side.keep_literal(&format!("uid: {A}\ntime: 2024-01-02T03:04:05Z"));
        assert_eq!(
            side.text(&format!("{A} {B} 2024-01-02T03:04:05Z")),
            format!("{A} <uid 1> 2024-01-02T03:04:05Z")
        );
    }

    #[test]
    fn sequence_numbers_are_relative_to_their_block() {
        let mut side = Normaliser::new();
        let first = side.value("b", r#"{"sequenceNumber":1795233659307570392,"sequenceNumberForAllocation":{"0":1795233659307570391}}"#);
        assert_eq!(first, json!({"sequenceNumber": 0, "sequenceNumberForAllocation": {"0": -1}}));
        assert_eq!(
            side.value("b", r#"{"sequenceNumber":1795233659307570394}"#),
            json!({"sequenceNumber": 2})
        );
        side.forget_block("b");
        assert_eq!(side.value("b", r#"{"sequenceNumber":5}"#), json!({"sequenceNumber": 0}));
    }

    #[test]
    fn inputs_that_quote_an_output_quote_ours() {
        let (mut recorded, mut ours) = (Normaliser::new(), Normaliser::new());
        recorded.value("b", r#"{"sequenceNumber":1795233659307570392}"#);
        ours.value("b", r#"{"sequenceNumber":1800000000000000000}"#);
        recorded.text(A);
        ours.text(B);
        assert_eq!(
            recorded.carry_over(&format!("{A} 1795233659307570391 {B}"), &ours),
            format!("{B} 1799999999999999999 {B}")
        );
    }
}

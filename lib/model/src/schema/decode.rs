//! From what a person wrote, or what is stored, to the stored form: fields in Go's order, empty ones left out as Go's
//! omitempty does, scalars in one spelling. Source: `datamodel.md` §3 (encoding notes) of the contract.

use super::field::{Field, Object, Presence, Type};
use super::given::Given;
use super::hint::hint;
use super::kind::KindSchema;
use super::metadata::METADATA;
use super::path::Path;
use super::scalar;
use crate::kind::{API_VERSION, Kind};
use crate::resource::Resource;
use serde_json::{Map, Value};
use std::fmt;

/// Input that is no resource of its kind, with everything found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One place of the input that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `spec.ingress[0].sauce`.
    pub path: String,
    /// What.
    pub kind: ProblemKind,
    /// What was probably meant by an unknown field: a name of the same object, or a path.
    pub hint: Option<String>,
}

/// Why a place of the input cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// No such field here; its bare name.
    UnknownField(String),
    /// Another type is wanted.
    WrongType {
        /// What is wanted.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The right type, but not one of its values; Calico's text.
    BadValue(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ProblemKind::UnknownField(name) => match &self.hint {
                Some(hint) => write!(f, "{name} ({}; did you mean {hint:?}?)", self.path),
                None if *name == self.path => f.write_str(name),
                None => write!(f, "{name} ({})", self.path),
            },
            ProblemKind::WrongType { expected, found } => {
                write!(
                    f,
                    "{}: {found} where {expected} is wanted",
                    if self.path.is_empty() { "document" } else { &self.path }
                )
            }
            ProblemKind::BadValue(message) => write!(f, "{message} ({})", self.path),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unknown, unreadable): (Vec<_>, Vec<_>) =
            self.problems.iter().partition(|p| matches!(p.kind, ProblemKind::UnknownField(_)));
        let (lead, problems) = if unknown.is_empty() {
            ("error unmarshaling JSON: while decoding JSON: ", unreadable)
        } else {
            ("field in document is not recognized or is in the wrong location: ", unknown)
        };
        f.write_str(lead)?;
        for (index, problem) in problems.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DecodeError {}

impl DecodeError {
    /// Whether a field is unknown, which the command line reports before everything else.
    pub fn has_unknown_field(&self) -> bool {
        self.problems.iter().any(|p| matches!(p.kind, ProblemKind::UnknownField(_)))
    }
}

/// Reads what a person wrote: unknown fields are errors, numbers and booleans become text where text is wanted.
/// `kind` and `apiVersion` are taken as checked.
///
/// # Errors
/// Names the path of every unknown field and of every value of a wrong type.
pub fn decode_strict(kind: Kind, value: Value) -> Result<Resource, DecodeError> {
    read(kind, value, Reader { user_input: true, ..Reader::default() }, None)
}

/// Reads a stored object that a person's patch was merged into: unknown fields that `stored` has at the same place
/// survive, others are errors.
///
/// # Errors
/// As [`decode_strict`].
pub fn decode_patched(value: Value, stored: &Resource) -> Result<Resource, DecodeError> {
    let reader = Reader { user_input: true, ..Reader::default() };
    read(stored.kind(), value, reader, Some(stored.object()))
}

/// Brings an object into the stored form; unknown fields survive at the end of their object, values of a wrong type
/// stay as they are.
///
/// # Errors
/// Names every value of a wrong type.
pub fn normalise(resource: &mut Resource) -> Result<(), DecodeError> {
    let mut reader = Reader { keeps_unknown: true, ..Reader::default() };
    let given = std::mem::take(resource.object_mut());
    *resource.object_mut() = reader.resource(super::kind::of(resource.kind()), given, None);
    if reader.problems.is_empty() { Ok(()) } else { Err(DecodeError { problems: reader.problems }) }
}

fn read(
    kind: Kind,
    value: Value,
    mut reader: Reader,
    known: Option<&Map<String, Value>>,
) -> Result<Resource, DecodeError> {
    let object = match value {
        Value::Object(object) => reader.resource(super::kind::of(kind), object, known),
        other => {
            let _ = reader.wrong_type(&Path::ROOT, "an object", &other);
            Map::new()
        }
    };
    if reader.problems.is_empty() {
        Ok(Resource::from_object(kind, object))
    } else {
        Err(DecodeError { problems: reader.problems })
    }
}

/// Hints for so many fields: who has more of them wrong has another kind of document in hand.
const MAX_HINTS: usize = 8;

#[derive(Default)]
struct Reader {
    /// Scalars become text where text is wanted, names of fields match in any case, as for Calico's command line.
    user_input: bool,
    keeps_unknown: bool,
    /// Of the resource that is read, for hints.
    schema: Option<&'static KindSchema>,
    problems: Vec<Problem>,
}

impl Reader {
    fn resource(
        &mut self,
        schema: &'static KindSchema,
        given: Map<String, Value>,
        known: Option<&Map<String, Value>>,
    ) -> Map<String, Value> {
        let mut stored = Map::new();
        let mut given = Given::new(given);
        given.take("kind");
        given.take("apiVersion");
        stored.insert("kind".into(), schema.kind.name().into());
        stored.insert("apiVersion".into(), API_VERSION.into());
        let metadata = Field::new("metadata", Type::Object(&METADATA)).always();
        let sections: Vec<Field> =
            [Some(metadata), Some(schema.spec_field()), schema.status].into_iter().flatten().collect();
        self.schema = Some(schema);
        for field in &sections {
            self.member(field, &mut given, known, &Path::ROOT, &mut stored);
        }
        self.unknown(&sections, given, known, &Path::ROOT, &mut stored);
        stored
    }

    fn object(
        &mut self,
        object: &'static Object,
        given: Map<String, Value>,
        known: Option<&Map<String, Value>>,
        path: &Path<'_>,
    ) -> Map<String, Value> {
        let mut stored = Map::new();
        let mut given = Given::new(given);
        for field in object.fields {
            self.member(field, &mut given, known, path, &mut stored);
        }
        self.unknown(object.fields, given, known, path, &mut stored);
        stored
    }

    /// Moves one field from what was given to what is stored.
    fn member(
        &mut self,
        field: &Field,
        given: &mut Given,
        known: Option<&Map<String, Value>>,
        path: &Path<'_>,
        stored: &mut Map<String, Value>,
    ) {
        let mut value = given.take(field.name);
        if value.is_none() && self.user_input {
            value = given.take_any_case(field.name);
        }
        let known = known.and_then(|object| object.get(field.name));
        let read = match value {
            None | Some(Value::Null) => None,
            Some(value) => self.value(field.ty, value, known, &path.field(field.name)),
        };
        let read = match (read, field.presence) {
            (None, Presence::OmitEmpty | Presence::Pointer) => None,
            (None, Presence::AlwaysNull) => Some(Value::Null),
            (None, Presence::Always) => Some(self.zero(field.ty)),
            (Some(value), Presence::OmitEmpty) if is_empty(&value) => None,
            (read, _) => read,
        };
        if let Some(value) = read {
            stored.insert(field.name.to_owned(), value);
        }
    }

    fn unknown(
        &mut self,
        fields: &[Field],
        given: Given,
        known: Option<&Map<String, Value>>,
        path: &Path<'_>,
        stored: &mut Map<String, Value>,
    ) {
        for (name, value) in given.rest() {
            if self.keeps_unknown || known.is_some_and(|object| object.contains_key(&name)) {
                stored.insert(name, value);
            } else {
                let siblings: Vec<&str> = fields.iter().map(|field| field.name).collect();
                let schema = self.schema.filter(|_| self.problems.len() < MAX_HINTS);
                let hint = schema.and_then(|schema| hint(&name, &siblings, schema));
                let path = path.field(&name).to_string();
                self.problems.push(Problem { path, kind: ProblemKind::UnknownField(name), hint });
            }
        }
    }

    fn value(&mut self, ty: Type, value: Value, known: Option<&Value>, path: &Path<'_>) -> Option<Value> {
        match (ty, value) {
            (Type::Any, value) | (Type::Bool, value @ Value::Bool(_)) => Some(value),
            (Type::Int { min, max }, Value::Number(number)) => {
                match scalar::canonical_number(&number).as_i64() {
                    Some(whole) if (min..=max).contains(&whole) => Some(whole.into()),
                    _ => self.wrong_type(
                        path,
                        &format!("a whole number from {min} to {max}"),
                        &Value::Number(number),
                    ),
                }
            }
            (Type::Float, Value::Number(number)) => Some(Value::Number(scalar::canonical_number(&number))),
            (Type::Text | Type::IntOrText, value @ Value::String(_)) => Some(value),
            (Type::Text, value) if self.user_input => match scalar_text(&value) {
                Some(text) => Some(text.into()),
                None => self.wrong_type(path, "text", &value),
            },
            (Type::Duration, Value::String(text)) => match scalar::parse_duration(&text) {
                Some(duration) => Some(scalar::format_duration(duration).into()),
                None => self.bad_value(path, format!("time: invalid duration {text:?}"), text),
            },
            (Type::Port, Value::String(text)) => match scalar::port_from_text(&text) {
                Ok(port) => Some(port),
                Err(message) => self.bad_value(path, message, text),
            },
            (Type::AsNumber, Value::String(text)) => match scalar::as_number_from_text(&text) {
                Ok(number) => Some(number.into()),
                Err(message) => self.bad_value(path, message, text),
            },
            (Type::Protocol | Type::Dscp, Value::String(text)) => match text.parse::<u8>() {
                Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Some(number.into()),
                _ => Some(text.into()),
            },
            (
                Type::Port | Type::AsNumber | Type::Protocol | Type::Dscp | Type::IntOrText,
                Value::Number(number),
            ) => {
                let max = match ty {
                    Type::Port => i64::from(u16::MAX),
                    Type::Protocol | Type::Dscp => i64::from(u8::MAX),
                    Type::AsNumber => i64::from(u32::MAX),
                    _ => i64::from(i32::MAX),
                };
                let min = if matches!(ty, Type::IntOrText) { i64::from(i32::MIN) } else { 0 };
                self.value(Type::Int { min, max }, Value::Number(number), None, path)
            }
            (Type::Object(object), Value::Object(given)) => {
                Some(Value::Object(self.object(object, given, known.and_then(Value::as_object), path)))
            }
            (Type::List(item), Value::Array(given)) => {
                Some(Value::Array(self.list(item, given, known, path)))
            }
            (Type::TextMap, Value::Object(given)) => {
                Some(Value::Object(self.map(&Field::item(Type::Text), given, known, path)))
            }
            (Type::Map(item), Value::Object(given)) => {
                Some(Value::Object(self.map(item, given, known, path)))
            }
            (ty, value) => self.wrong_type(path, expected(ty), &value),
        }
    }

    fn list(
        &mut self,
        item: &'static Field,
        given: Vec<Value>,
        known: Option<&Value>,
        path: &Path<'_>,
    ) -> Vec<Value> {
        let known = known.and_then(Value::as_array);
        let mut stored = Vec::with_capacity(given.len());
        for (index, value) in given.into_iter().enumerate() {
            let read = match value {
                Value::Null => Some(self.zero(item.ty)),
                value => {
                    self.value(item.ty, value, known.and_then(|items| items.get(index)), &path.index(index))
                }
            };
            stored.extend(read);
        }
        stored
    }

    fn map(
        &mut self,
        item: &Field,
        given: Map<String, Value>,
        known: Option<&Value>,
        path: &Path<'_>,
    ) -> Map<String, Value> {
        let known = known.and_then(Value::as_object);
        let mut entries: Vec<(String, Value)> = Vec::with_capacity(given.len());
        for (key, value) in given {
            let read = match value {
                Value::Null => Some(self.zero(item.ty)),
                value => self.value(item.ty, value, known.and_then(|map| map.get(&key)), &path.field(&key)),
            };
            entries.extend(read.map(|value| (key, value)));
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.into_iter().collect()
    }

    /// What Go writes for a value that was never set.
    fn zero(&mut self, ty: Type) -> Value {
        match ty {
            Type::Bool => false.into(),
            Type::Int { .. }
            | Type::Float
            | Type::Port
            | Type::Protocol
            | Type::AsNumber
            | Type::Dscp
            | Type::IntOrText => 0.into(),
            Type::Text => "".into(),
            Type::Duration => "0s".into(),
            Type::Object(object) => Value::Object(self.object(object, Map::new(), None, &Path::ROOT)),
            Type::List(_) | Type::TextMap | Type::Map(_) | Type::Any => Value::Null,
        }
    }

    fn wrong_type(&mut self, path: &Path<'_>, expected: &str, found: &Value) -> Option<Value> {
        let kind = ProblemKind::WrongType { expected: expected.to_owned(), found: describe(found) };
        self.problems.push(Problem { path: path.to_string(), kind, hint: None });
        Some(found.clone())
    }

    fn bad_value(&mut self, path: &Path<'_>, message: String, found: String) -> Option<Value> {
        let kind = ProblemKind::BadValue(message);
        self.problems.push(Problem { path: path.to_string(), kind, hint: None });
        Some(found.into())
    }
}

/// Whether Go's omitempty leaves the value out.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(scalar::number_text(number)),
        _ => None,
    }
}

fn expected(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "true or false",
        Type::Int { .. } => "a whole number",
        Type::Float => "a number",
        Type::Text => "text",
        Type::Duration => "a duration in quotes, such as \"1m30s\",",
        Type::Port => "a port number, range or name",
        Type::Protocol => "a protocol name or number",
        Type::AsNumber => "an AS number",
        Type::Dscp => "a DSCP name or number",
        Type::IntOrText => "a whole number or text",
        Type::Object(_) => "an object",
        Type::List(_) => "a list",
        Type::TextMap | Type::Map(_) => "a map",
        Type::Any => "anything",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests;

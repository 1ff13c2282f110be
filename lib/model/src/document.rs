//! Documents a person writes: YAML or JSON, several in one text, single resources, lists and arrays.
//!
//! YAML is read as Go's tools read it, because that is what users' files were written for: YAML 1.1 words are booleans
//! (`on`, `no`, `y`), `010` is eight, a key twice is an error, anchors and merge keys work. The parser underneath is the
//! one of `serde-saphyr`; the meaning of scalars is decided here, since its own (`010` as a float, `y` as text)
//! differs. Source: `calicoctl.md` §3.1 of the contract.

mod compose;
mod scalar;

use crate::kind::{API_VERSION, Kind};
use serde_json::Value;
use std::fmt;

/// One document of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Which one of the text, counted from 0.
    pub index: usize,
    /// Line of the text on which it begins, counted from 1.
    pub line: usize,
    /// Its content; null when there is nothing but comments.
    pub value: Value,
}

/// A text that cannot be read as documents of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    /// File or other source.
    pub source_name: String,
    /// Which document of the text, counted from 0.
    pub index: usize,
    /// What is wrong with it.
    pub kind: DocumentErrorKind,
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentErrorKind {
    /// No YAML.
    Syntax {
        /// Line of the text, counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key twice in one map.
    DuplicateKey {
        /// Line of the second.
        line: usize,
        /// The key.
        key: String,
    },
    /// `kind` and `apiVersion` name nothing we know.
    UnknownResource {
        /// The kind as written.
        kind: String,
        /// The version as written.
        api_version: String,
    },
    /// A list with a field that lists have not.
    UnknownListField(String),
    /// Neither a resource nor a list of resources.
    NoResource {
        /// What it is instead.
        found: &'static str,
    },
}

impl fmt::Display for DocumentErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DocumentErrorKind::Syntax { line, message } => {
                write!(f, "error converting YAML to JSON: yaml: line {line}: {message}")
            }
            DocumentErrorKind::DuplicateKey { line, key } => write!(
                f,
                "error converting YAML to JSON: yaml: unmarshal errors:\n  line {line}: key {key:?} already set in map"
            ),
            DocumentErrorKind::UnknownResource { kind, api_version } => {
                write!(f, "unknown resource type ({kind}) and/or version ({api_version})")
            }
            DocumentErrorKind::UnknownListField(name) => {
                write!(f, "field in document is not recognized or is in the wrong location: {name}")
            }
            DocumentErrorKind::NoResource { found } => write!(
                f,
                "error unmarshaling JSON: while decoding JSON: {found} where a resource with a kind, or a list of such, is wanted"
            ),
        }
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (document {} of {})", self.kind, self.index + 1, self.source_name)
    }
}

impl std::error::Error for DocumentError {}

/// One resource of a document, not yet decoded: see [`crate::schema::decode_strict`].
#[derive(Debug, Clone, PartialEq)]
pub struct RawResource {
    /// Its kind, known and of our version.
    pub kind: Kind,
    /// Its whole object.
    pub value: Value,
}

/// Reads every document of a text. `source_name` is for messages only. A text without a single character has no
/// document; comments alone are one, of null.
///
/// # Errors
/// Names document and line of what is no YAML, and of keys that stand twice in one map.
pub fn parse(text: &str, source_name: &str) -> Result<Vec<Document>, DocumentError> {
    let mut documents = Vec::new();
    for (first_line, chunk) in chunks(text) {
        match compose::compose(chunk) {
            Ok(values) if values.is_empty() => {
                documents.push(Document { index: documents.len(), line: first_line, value: Value::Null });
            }
            Ok(values) => {
                for (line, value) in values {
                    documents.push(Document { index: documents.len(), line: first_line + line - 1, value });
                }
            }
            Err(trouble) => {
                let index = documents.len() + trouble.document;
                let kind = trouble.kind(first_line - 1);
                return Err(DocumentError { source_name: source_name.to_owned(), index, kind });
            }
        }
    }
    Ok(documents)
}

/// Pieces between lines that are nothing but `---`, with the line each begins on. Splitting before parsing is what
/// tells an empty document, which is an error, from nothing after a last separator, which is not.
fn chunks(text: &str) -> Vec<(usize, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut at, mut line_number) = (0, 1, 0, 1);
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        if line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty()) {
            chunks.push((start_line, start..at));
            (start, start_line) = (next, line_number + 1);
        }
        (at, line_number) = (next, line_number + 1);
    }
    chunks.push((start_line, start..text.len()));
    chunks
        .into_iter()
        .filter(|(_, range)| !range.is_empty())
        .filter_map(|(line, range)| Some((line, text.get(range)?)))
        .collect()
}

impl Document {
    /// The resources of this document: itself, or the items of a `<Kind>List` or of an array, in any depth.
    ///
    /// # Errors
    /// Names kind and version of what is not known, and what is no resource at all.
    pub fn resources(self, source_name: &str) -> Result<Vec<RawResource>, DocumentError> {
        self.resources_of(source_name, Kind::is_writable)
    }

    /// As [`Document::resources`], with the kinds that count.
    ///
    /// # Errors
    /// As [`Document::resources`].
    pub fn resources_of(
        self,
        source_name: &str,
        counts: impl Fn(Kind) -> bool,
    ) -> Result<Vec<RawResource>, DocumentError> {
        let mut found = Vec::new();
        let index = self.index;
        expand(self.value, &counts, &mut found).map_err(|kind| DocumentError {
            source_name: source_name.to_owned(),
            index,
            kind,
        })?;
        Ok(found)
    }
}

fn expand(
    value: Value,
    counts: &impl Fn(Kind) -> bool,
    found: &mut Vec<RawResource>,
) -> Result<(), DocumentErrorKind> {
    let mut object = match value {
        Value::Array(items) => return items.into_iter().try_for_each(|item| expand(item, counts, found)),
        Value::Object(object) => object,
        Value::Null => return Err(unknown("", "")),
        Value::Bool(_) => return Err(DocumentErrorKind::NoResource { found: "true or false" }),
        Value::Number(_) => return Err(DocumentErrorKind::NoResource { found: "a number" }),
        Value::String(_) => return Err(DocumentErrorKind::NoResource { found: "a text" }),
    };
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() {
        return Err(DocumentErrorKind::NoResource { found: "an object without a kind" });
    }
    if api_version != API_VERSION {
        return Err(unknown(&kind, &api_version));
    }
    if let Some(kind) = Kind::from_name(&kind).filter(|kind| counts(*kind)) {
        found.push(RawResource { kind, value: Value::Object(object) });
        return Ok(());
    }
    let unlisted = object
        .keys()
        .find(|key| !matches!(key.as_str(), "kind" | "apiVersion" | "metadata" | "items"))
        .cloned();
    let listed = kind.strip_suffix("List").and_then(Kind::from_name).filter(|kind| counts(*kind));
    match (listed, object.shift_remove("items")) {
        (Some(_), _) if unlisted.is_some() => {
            Err(DocumentErrorKind::UnknownListField(unlisted.unwrap_or_default()))
        }
        (Some(_), None | Some(Value::Null)) => Ok(()),
        (Some(listed), Some(Value::Array(items))) => {
            items.into_iter().try_for_each(|item| expand(with_kind(item, listed), counts, found))
        }
        (Some(_), Some(_)) => Err(DocumentErrorKind::NoResource { found: "a list whose items are no array" }),
        (None, _) => Err(unknown(&kind, &api_version)),
    }
}

/// Items of a typed list need not repeat kind and version.
fn with_kind(mut item: Value, kind: Kind) -> Value {
    if let Value::Object(object) = &mut item {
        object.entry("kind").or_insert_with(|| kind.name().into());
        object.entry("apiVersion").or_insert_with(|| API_VERSION.into());
    }
    item
}

fn unknown(kind: &str, api_version: &str) -> DocumentErrorKind {
    DocumentErrorKind::UnknownResource { kind: kind.to_owned(), api_version: api_version.to_owned() }
}

#[cfg(test)]
mod tests;

//! From parser events to values: keys once, anchors and merge keys, bounded in depth and in size.

use super::DocumentErrorKind;
use super::scalar::resolve;
use crate::schema::scalar::number_text;
use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use std::collections::HashMap;

/// Deepest nesting; what deeper documents would do to recursive readers is not worth finding out.
const MAX_DEPTH: usize = 100;
/// Most nodes of a text with aliases written out: far above any list of resources, far below an alias bomb.
const MAX_NODES: usize = 4_000_000;

/// What stopped the reading.
#[derive(Debug)]
pub(super) struct Trouble {
    /// In which document of the chunk, counted from 0.
    pub(super) document: usize,
    line: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Syntax(String),
    DuplicateKey(String),
}

impl Trouble {
    /// For a chunk that begins after so many lines.
    pub(super) fn kind(self, lines_before: usize) -> DocumentErrorKind {
        let line = self.line + lines_before;
        match self.what {
            What::Syntax(message) => DocumentErrorKind::Syntax { line, message },
            What::DuplicateKey(key) => DocumentErrorKind::DuplicateKey { line, key },
        }
    }
}

/// The documents of a text, with the line each begins on.
pub(super) fn compose(text: &str) -> Result<Vec<(usize, Value)>, Trouble> {
    let mut composer = Composer::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| composer.syntax(&error))?;
        composer.line = span.start.line();
        composer.event(event)?;
    }
    Ok(composer.done)
}

/// A collection under construction.
enum Open {
    List { anchor: usize, items: Vec<Value> },
    Map { anchor: usize, entries: Map<String, Value>, key: Option<String>, merged: Vec<Value> },
}

/// Key that merges another map; no scalar resolves to it.
const MERGE: &str = "<<";

#[derive(Default)]
struct Composer {
    done: Vec<(usize, Value)>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Value, usize)>,
    root_line: usize,
    line: usize,
    nodes: usize,
}

impl Composer {
    fn event(&mut self, event: Event<'_>) -> Result<(), Trouble> {
        match event {
            Event::DocumentStart(..) => {
                self.root_line = 0;
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_merge_key = style == ScalarStyle::Plain && text == MERGE;
                let value = scalar(&text, style, tag.as_deref());
                self.begin_node(1)?;
                if is_merge_key && self.key_is_next() {
                    return self.set_key(MERGE.to_owned(), true);
                }
                self.finish_node(value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin_node(1)?;
                self.no_key()?;
                self.push(Open::List { anchor, items: Vec::new() })
            }
            Event::MappingStart(_, anchor, _) => {
                self.begin_node(1)?;
                self.no_key()?;
                self.push(Open::Map { anchor, entries: Map::new(), key: None, merged: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { anchor, items }) => self.finish_node(Value::Array(items), anchor),
                Some(Open::Map { anchor, mut entries, merged, .. }) => {
                    for value in merged {
                        self.merge(&mut entries, value)?;
                    }
                    self.finish_node(Value::Object(entries), anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((value, size)) => {
                    self.begin_node(size)?;
                    self.finish_node(value, 0)
                }
                None => Err(self.trouble("anchor contains itself")),
            },
            _ => Ok(()),
        }
    }

    fn begin_node(&mut self, size: usize) -> Result<(), Trouble> {
        if self.root_line == 0 {
            self.root_line = self.line;
        }
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > MAX_NODES {
            Err(self.trouble("document has excessive aliasing or size"))
        } else {
            Ok(())
        }
    }

    fn push(&mut self, open: Open) -> Result<(), Trouble> {
        self.open.push(open);
        if self.open.len() > MAX_DEPTH { Err(self.trouble("exceeded max depth of 100")) } else { Ok(()) }
    }

    fn key_is_next(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    /// Collections cannot be keys of JSON objects.
    fn no_key(&self) -> Result<(), Trouble> {
        if self.key_is_next() {
            Err(self.trouble("unsupported map key: only scalars can be keys"))
        } else {
            Ok(())
        }
    }

    fn finish_node(&mut self, value: Value, anchor: usize) -> Result<(), Trouble> {
        if anchor != 0 {
            let size = count(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        if self.key_is_next() {
            return match key_text(&value) {
                Some(key) => self.set_key(key, false),
                None => Err(self.trouble("unsupported map key: only text, numbers and booleans can be keys")),
            };
        }
        match self.open.last_mut() {
            None => self.done.push((self.root_line.max(1), value)),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { entries, key, merged, .. }) => match key.take() {
                // set_key leaves the merge key out of the entries
                Some(key) if key == MERGE && !entries.contains_key(MERGE) => merged.push(value),
                Some(key) => {
                    entries.insert(key, value);
                }
                None => {}
            },
        }
        Ok(())
    }

    fn set_key(&mut self, name: String, merge: bool) -> Result<(), Trouble> {
        let duplicate =
            Trouble { document: self.done.len(), line: self.line, what: What::DuplicateKey(name.clone()) };
        if let Some(Open::Map { entries, key, .. }) = self.open.last_mut() {
            if entries.contains_key(&name) {
                return Err(duplicate);
            }
            if !merge {
                // holds the place, so that a second key of this name is seen whatever its value is
                entries.insert(name.clone(), Value::Null);
            }
            *key = Some(name);
        }
        Ok(())
    }

    fn merge(&self, entries: &mut Map<String, Value>, value: Value) -> Result<(), Trouble> {
        match value {
            Value::Object(other) => {
                for (key, value) in other {
                    entries.entry(key).or_insert(value);
                }
                Ok(())
            }
            Value::Array(items) if items.iter().all(Value::is_object) => {
                items.into_iter().try_for_each(|item| self.merge(entries, item))
            }
            _ => Err(self.trouble("map merge requires map or sequence of maps as the value")),
        }
    }

    fn trouble(&self, message: &str) -> Trouble {
        Trouble { document: self.done.len(), line: self.line, what: What::Syntax(message.to_owned()) }
    }

    fn syntax(&self, error: &ScanError) -> Trouble {
        let message = error.info();
        let message = if message.is_empty() { "this is no YAML".to_owned() } else { message };
        Trouble { document: self.done.len(), line: error.marker().line(), what: What::Syntax(message) }
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let tagged = tag.and_then(Tag::core_suffix);
    let is_text = match tagged {
        Some(suffix) => suffix == "str",
        None => style != ScalarStyle::Plain,
    };
    if is_text { text.into() } else { resolve(text) }
}

/// Keys of JSON objects are text.
fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number_text(number)),
        _ => None,
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(|value| 1 + count(value)).sum::<usize>(),
        _ => 1,
    }
}

//! JSON values as YAML in the look of Go's `sigs.k8s.io/yaml`, byte for byte, so that output of ours and of
//! calicoctl can be compared with `diff`.
//!
//! The look: keys in natural order, two spaces, list items at the level of their key, text unquoted where a YAML
//! 1.1 reader takes it for text, several lines as a literal block, long lines folded at a space after column 80.
//! `scalar` decides how one text is written, this file lays out what contains it.
//! Source: the recordings under `store` and `ctl/get`, `calicoctl.md` §5 of the contract.

mod order;
mod scalar;
#[cfg(test)]
mod tests;

use crate::number::go_float;
use scalar::{Style, style_of};
use serde_json::{Map, Value};

/// Indentation of one level.
const STEP: usize = 2;
/// A space after this column is where a long text is folded.
const FOLD_AFTER: usize = 80;
/// Keys longer than this (in bytes), or of several lines, are written in the explicit form `? key`.
const SIMPLE_KEY_BYTES: usize = 128;

/// The value as a YAML document that ends with a newline.
pub fn to_yaml(value: &Value) -> String {
    let mut writer = Writer { out: String::new(), column: 0 };
    writer.node(value, 0, 0);
    if !writer.out.ends_with('\n') {
        writer.out.push('\n');
    }
    writer.out
}

struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn new_line(&mut self, indent: usize) {
        // A literal block has ended its last line itself.
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// A value whose first character stands at `column`, being `indent` if it spans lines. `level` is the
    /// indentation of what contains it.
    fn node(&mut self, value: &Value, indent: usize, level: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => self.mapping(map, indent),
            Value::Array(items) if !items.is_empty() => self.sequence(items, indent),
            _ => self.scalar(value, level + STEP),
        }
    }

    fn mapping(&mut self, map: &Map<String, Value>, indent: usize) {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_by(|(a, _), (b, _)| order::natural(a, b));
        for (i, (key, value)) in entries.into_iter().enumerate() {
            if i > 0 {
                self.new_line(indent);
            }
            let style = style_of(key);
            if key.len() > SIMPLE_KEY_BYTES || key.contains('\n') {
                self.push("? ");
                self.text(key, style, indent + STEP, true);
                self.new_line(indent);
                self.push(": ");
                self.node(value, indent + STEP, indent);
                continue;
            }
            self.text(key, style, indent + STEP, false);
            self.push(":");
            match value {
                Value::Object(map) if !map.is_empty() => {
                    self.new_line(indent + STEP);
                    self.mapping(map, indent + STEP);
                }
                Value::Array(items) if !items.is_empty() => {
                    self.new_line(indent);
                    self.sequence(items, indent);
                }
                _ => {
                    self.push(" ");
                    self.scalar(value, indent + STEP);
                }
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.new_line(indent);
            }
            self.push("- ");
            self.node(item, indent + STEP, indent);
        }
    }

    /// A value of one piece; lines after its first stand at `indent`.
    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.push("null"),
            Value::Bool(value) => self.push(if *value { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => self.push(&go_float(float)),
                _ => self.push(&number.to_string()),
            },
            Value::String(text) => self.text(text, style_of(text), indent, true),
            Value::Array(_) => self.push("[]"),
            Value::Object(_) => self.push("{}"),
        }
    }

    fn text(&mut self, text: &str, style: Style, indent: usize, may_fold: bool) {
        match style {
            Style::Plain => self.folded(text, indent, may_fold, false),
            Style::Single => {
                self.push("'");
                self.folded(&text.replace('\'', "''"), indent, may_fold, true);
                self.push("'");
            }
            Style::Double => self.double_quoted(text, indent, may_fold),
            Style::Literal => self.literal(text, indent),
        }
    }

    /// Text without breaks; a single space past the last column becomes a line break. Inside quotes the first
    /// and the last character stay.
    fn folded(&mut self, text: &str, indent: usize, may_fold: bool, quoted: bool) {
        let mut previous = '\0';
        let mut chars = text.chars().enumerate().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, next)| *next);
            let inner = !quoted || (at > 0 && next.is_some());
            let single = previous != ' ' && next != Some(' ');
            previous = c;
            if c == ' ' && may_fold && single && inner && self.column > FOLD_AFTER {
                self.new_line(indent);
            } else {
                self.out.push(c);
                self.column += 1;
            }
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, may_fold: bool) {
        self.push("\"");
        let mut previous = '\0';
        let mut chars = text.chars().enumerate().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, next)| *next);
            let folds = c == ' ' && may_fold && previous != ' ' && self.column > FOLD_AFTER;
            previous = c;
            if folds && at > 0 && next.is_some() {
                self.new_line(indent);
                // A space at the start of a line would be lost.
                if next == Some(' ') {
                    self.push("\\");
                }
            } else {
                match scalar::escape(c) {
                    Some(escaped) => self.push(&escaped),
                    None => {
                        self.out.push(c);
                        self.column += 1;
                    }
                }
            }
        }
        self.push("\"");
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.push("|");
        if text.starts_with([' ', '\n']) {
            self.push(&STEP.to_string());
        }
        let body = match text.strip_suffix('\n') {
            None => {
                self.push("-");
                text
            }
            Some(body) => {
                if body.is_empty() || body.ends_with('\n') {
                    self.push("+");
                }
                body
            }
        };
        self.out.push('\n');
        for (i, line) in body.split('\n').enumerate() {
            if i > 0 {
                self.out.push('\n');
            }
            if !line.is_empty() {
                self.out.extend(std::iter::repeat_n(' ', indent));
                self.out.push_str(line);
            }
        }
        if text.ends_with('\n') {
            self.out.push('\n');
        }
        self.column = 0;
    }
}

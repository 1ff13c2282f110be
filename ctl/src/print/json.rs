//! JSON in the look of Go's `MarshalIndent`: two spaces, `<`, `>`, `&` and line separators escaped, exponents with a
//! sign. Source: `calicoctl.md` §5 of the contract and the recordings under `store`.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// The value as text, without a newline at its end.
pub fn to_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, GoLook(PrettyFormatter::new()));
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        // a JSON value that does not fit into memory
        Err(error) => error.to_string(),
    }
}

struct GoLook(PrettyFormatter<'static>);

impl Formatter for GoLook {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let magnitude = value.abs();
        if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
            let text = format!("{value:e}");
            return match text.split_once('e') {
                Some((mantissa, exponent)) if !exponent.starts_with('-') => {
                    write!(writer, "{mantissa}e+{exponent}")
                }
                _ => writer.write_all(text.as_bytes()),
            };
        }
        write!(writer, "{value}")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        const ESCAPED: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];
        let mut rest = fragment;
        while let Some(at) = rest.find(ESCAPED) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::to_json;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn the_look() {
        let value = json!({"kind": "X", "a": [1, "two"], "none": [], "no": {}, "why": "quotes \" and <tags>&\u{2028}é"});
        let text = "{\n  \"kind\": \"X\",\n  \"a\": [\n    1,\n    \"two\"\n  ],\n  \"none\": [],\n  \"no\": {},\n  \
            \"why\": \"quotes \\\" and \\u003ctags\\u003e\\u0026\\u2028é\"\n}";
        assert_eq!(to_json(&value), text);
    }

    #[test]
    fn numbers_as_go() {
        let numbers = json!([
            1e21,
            1e20,
            2.5,
            1e-7,
            0.000_001,
            0.0,
            -3.5,
            100_000_000.0,
            18_446_744_073_709_551_615u64
        ]);
        let text = to_json(&numbers).replace([' ', '\n'], "");
        assert_eq!(
            text,
            "[1e+21,100000000000000000000,2.5,1e-7,0.000001,0,-3.5,100000000,18446744073709551615]"
        );
    }

    proptest! {
        #[test]
        fn texts_read_back(text in any::<String>()) {
            let back: Value = serde_json::from_str(&to_json(&json!(text))).expect("JSON");
            prop_assert_eq!(back, json!(text));
        }

        #[test]
        fn numbers_read_back(number in any::<f64>().prop_filter("JSON has no others", |number| number.is_finite())) {
            prop_assert_eq!(to_json(&json!(number)).parse::<f64>(), Ok(number));
        }
    }
}

//! JSON as Go prints it: four spaces of indentation, and no character that HTML could take for markup.

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// Prints `value` with four spaces of indentation and no newline at the end.
pub fn pretty<T: Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut out, GoFormatter(PrettyFormatter::with_indent(b"    ")));
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        // Only maps with keys that are no strings cannot be printed, and nothing here has them.
        Err(error) => format!("\"{error}\""),
    }
}

/// serde_json's indentation with Go's escapes.
struct GoFormatter<'a>(PrettyFormatter<'a>);

macro_rules! forward {
    ($($name:ident ( $($argument:ident : $type:ty),* );)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $type)*) -> io::Result<()> {
            self.0.$name(writer $(, $argument)*)
        })*
    };
}

impl Formatter for GoFormatter<'_> {
    forward! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        begin_object_value();
        end_object_value();
        write_char_escape(escape: CharEscape);
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut letters = special.chars();
            if let Some(letter) = letters.next() {
                write!(writer, "\\u{:04x}", u32::from(letter))?;
            }
            rest = letters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn indentation_and_empty_things() {
        let value = json!({"a": 1, "b": [], "c": {}, "d": [{"e": "f"}, null]});
        assert_eq!(
            pretty(&value),
            "{\n    \"a\": 1,\n    \"b\": [],\n    \"c\": {},\n    \"d\": [\n        {\n            \"e\": \"f\"\n        },\n        null\n    ]\n}"
        );
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            pretty(&json!("Node(a) <nil> & \u{2028}\"\n")),
            "\"Node(a) \\u003cnil\\u003e \\u0026 \\u2028\\\"\\n\""
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in "\\PC*|[<>&\u{2028}a\"\\\\]*") {
            let printed = pretty(&json!({ "x": text }));
            let read: Value = serde_json::from_str(&printed).unwrap();
            prop_assert_eq!(read["x"].as_str(), Some(text.as_str()));
            let markup = printed.contains(['<', '>', '&', '\u{2028}']);
            prop_assert!(!markup, "{}", printed);
        }
    }
}

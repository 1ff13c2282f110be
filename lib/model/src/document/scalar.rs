//! What an unquoted word of YAML means to Go's tools (YAML 1.1).

use serde_json::{Number, Value};

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            return true.into();
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return false.into();
        }
        _ => {}
    }
    let begins_a_number =
        text.bytes().next().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    if begins_a_number { number(text) } else { None }.map_or_else(|| text.into(), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    whole(&plain)
        .or_else(|| is_decimal(&plain).then(|| plain.parse().ok().and_then(Number::from_f64)).flatten())
}

/// A whole number of base 2, 8, 10 or 16, as its prefix says; a leading 0 alone means base 8.
fn whole(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = |lower, upper| digits.strip_prefix(lower).or_else(|| digits.strip_prefix(upper));
    let (digits, base) = if let Some(rest) = prefixed("0x", "0X") {
        (rest, 16)
    } else if let Some(rest) = prefixed("0o", "0O") {
        (rest, 8)
    } else if let Some(rest) = prefixed("0b", "0B") {
        (rest, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (digits, 8)
    } else {
        (digits, 10)
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative { 0i64.checked_sub_unsigned(magnitude).map(Number::from) } else { Some(magnitude.into()) }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = |part: &str| -> String { part.strip_prefix(['-', '+']).unwrap_or(part).to_owned() };
    let text = unsigned(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(unsigned(exponent))),
        None => (text.as_str(), None),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(before)
        && digits(after)
        && !(before.is_empty() && after.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(&exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn words_and_numbers_of_yaml_1_1() {
        for (text, value) in [
            ("yes", json!(true)),
            ("OFF", json!(false)),
            ("n", json!(false)),
            ("yEs", json!("yEs")),
            ("~", json!(null)),
            ("010", json!(8)),
            ("-010", json!(-8)),
            ("0x10", json!(16)),
            ("0o17", json!(15)),
            ("0b11", json!(3)),
            ("1_000", json!(1000)),
            ("12345678901234567890", json!(12_345_678_901_234_567_890_u64)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("1e3", json!(1000.0)),
            ("1.50", json!(1.5)),
            ("089", json!(89.0)),
            (".5", json!(0.5)),
            ("+5", json!(5)),
            ("2024-01-02", json!("2024-01-02")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("1:30", json!("1:30")),
            ("-", json!("-")),
            (".", json!(".")),
            ("0x", json!("0x")),
            ("1e", json!("1e")),
            ("--5", json!("--5")),
            (".inf", json!(".inf")),
            ("0", json!(0)),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_word_has_a_meaning(text in "[-+.0-9a-fxob_eE:]{0,24}") {
            let _ = resolve(&text);
        }

        #[test]
        fn whole_numbers_read_back(number: i64) {
            prop_assert_eq!(resolve(&number.to_string()), json!(number));
        }
    }
}

use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn layout() {
    let value = json!({
        "kind": "X", "apiVersion": "v3",
        "spec": {"list": ["a", 1, true, null, 2.5], "empty": [], "none": {}, "deep": [{"b": [["x", "y"], []], "a": {"c": "d"}}]},
    });
    let text = "\
apiVersion: v3
kind: X
spec:
  deep:
  - a:
      c: d
    b:
    - - x
      - \"y\"
    - []
  empty: []
  list:
  - a
  - 1
  - true
  - null
  - 2.5
  none: {}
";
    assert_eq!(to_yaml(&value), text);
}

#[test]
fn scalars_alone() {
    for (value, text) in [
        (json!(null), "null\n"),
        (json!("a"), "a\n"),
        (json!([]), "[]\n"),
        (json!(1_000_000), "1000000\n"),
        (json!(1e21), "1e+21\n"),
        (json!(18_446_744_073_709_551_615u64), "18446744073709551615\n"),
        (json!([{"a": 1}, {"b": 2}]), "- a: 1\n- b: 2\n"),
    ] {
        assert_eq!(to_yaml(&value), text);
    }
}

#[test]
fn what_a_reader_would_take_for_something_else_is_quoted() {
    for text in [
        "",
        "~",
        "y",
        "Y",
        "n",
        "yes",
        "Yes",
        "YES",
        "no",
        "on",
        "Off",
        "true",
        "False",
        "null",
        "NULL",
        "12",
        "-3",
        "+3",
        "007",
        "08",
        "0x1f",
        "0b101",
        "0o17",
        "1_000",
        "12345678901234567890",
        "1.5",
        "1.",
        ".5",
        "1e3",
        "1E+3",
        ".inf",
        "-.inf",
        "+.Inf",
        ".NaN",
        "<<",
        "1:20",
        "190:20:30.15",
        "02:00:00:00:00:10",
        "2024-01-02",
        "2024-1-2",
        "2024-01-02T03:04:05Z",
        "2024-01-02 03:04:05.9",
        "2024-01-02t03:04:05+07:00",
        "64700:1",
    ] {
        assert_eq!(to_yaml(&json!(text)), format!("\"{text}\"\n"), "{text}");
    }
}

#[test]
fn what_is_text_stays_plain() {
    for text in [
        "a",
        "yEs",
        "nUll",
        "tRUE",
        ".nAN",
        "10.0.0.0/8",
        "fd00::1",
        "1.2.3.4",
        "ee:ee:ee:ee:ee:ee",
        "0x",
        "0xg",
        "1e999",
        "1:60",
        "2024-13-01",
        "2023-02-29",
        "2024-01-02T03:04",
        "has(x)",
        "a == 'b'",
        "a:b",
        "a#b",
        "-a",
        "?a",
        ":a",
        "é",
        "1.10.",
        "all()",
        "role == \"x\" && other in {'x', 'y'}",
        "a -b",
    ] {
        assert_eq!(to_yaml(&json!(text)), format!("{text}\n"), "{text}");
    }
}

#[test]
fn indicators_are_quoted() {
    for text in [
        "*",
        "!all()",
        "[2001:db8::9]:1790",
        "- a",
        "-",
        "a: b",
        "a:",
        "a #b",
        " a",
        "a ",
        "{}",
        "@x",
        "`x`",
        "---",
        "?",
        "|",
    ] {
        assert_eq!(to_yaml(&json!(text)), format!("'{}'\n", text.replace('\'', "''")), "{text}");
    }
    assert_eq!(to_yaml(&json!("'it'")), "'''it'''\n");
}

#[test]
fn escapes() {
    assert_eq!(to_yaml(&json!("é \t")), "\"é \\t\"\n");
    assert_eq!(to_yaml(&json!("a\u{1}b\"\\")), "\"a\\x01b\\\"\\\\\"\n");
    assert_eq!(to_yaml(&json!("\u{1f600}\u{feff}\u{2028}")), "\"\\U0001F600\\uFEFF\\L\"\n");
    assert_eq!(to_yaml(&json!("a \nb")), "\"a \\nb\"\n");
    assert_eq!(to_yaml(&json!("a\r\nb")), "\"a\\r\\nb\"\n");
}

#[test]
fn several_lines_are_a_block() {
    let value = json!({"a": {"b": "one two\n", "c": "x\n y", "d": "\nx\n\n", "e": "  x\ny\n", "f": "a\n\nb\n"}, "z": 1});
    let text = "a:
  b: |
    one two
  c: |-
    x
     y
  d: |2+

    x

  e: |2
      x
    y
  f: |
    a

    b
z: 1
";
    assert_eq!(to_yaml(&value), text);
}

#[test]
fn long_text_is_folded() {
    let words = |n: usize| vec!["word"; n].join(" ");
    let text = to_yaml(&json!({"message": words(20), "list": [format!("{}: {}", words(16), words(2))]}));
    let folded = format!("list:\n- '{}:\n  word word'\nmessage: {}\n  {}\n", words(16), words(15), words(5));
    assert_eq!(text, folded);
    let long = "x".repeat(200);
    assert_eq!(to_yaml(&json!({"a": long})), format!("a: {long}\n"));
}

#[test]
fn keys() {
    assert_eq!(
        to_yaml(&json!({"a10": 1, "a9": 2, "true": 3, "a-b": 4, "ab": 5, "B": 6})),
        "B: 6\na-b: 4\na9: 2\na10: 1\nab: 5\n\"true\": 3\n"
    );
    assert_eq!(to_yaml(&json!({"a\nb": 1})), "? |-\n  a\n  b\n: 1\n");
    let long = "k".repeat(129);
    assert_eq!(to_yaml(&json!({&long: {"a": 1}})), format!("? {long}\n: a: 1\n"));
}

/// Any JSON value of moderate size.
fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z0-9 :#'\"\\-\\[{\\n\\t.]{0,20}",
        "(true|no|~|12|0x1f|1e3|2024-01-02|- a|a: b|---)",
        any::<String>(),
        "([a-z]{1,9} ){5,40}x"
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-zA-Z0-9./-]{1,10}", inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What is written reads back as the same value with a YAML reader that is not ours.
    #[test]
    fn reads_back(value in values()) {
        let text = to_yaml(&value);
        let back: Value = serde_saphyr::from_str(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(back, value, "{}", text);
    }

    /// The order of keys is an order.
    #[test]
    fn key_order_is_consistent(a in "[a0-3-]{0,5}", b in "[a0-3-]{0,5}") {
        prop_assert_eq!(order::natural(&a, &b), order::natural(&b, &a).reverse());
        prop_assert_eq!(order::natural(&a, &b) == std::cmp::Ordering::Equal, a == b);
    }
}

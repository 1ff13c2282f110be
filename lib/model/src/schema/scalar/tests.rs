use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn ports_take_their_shortest_form() {
    assert_eq!(port_from_text("80"), Ok(json!(80)));
    assert_eq!(port_from_text("090"), Ok(json!(90)));
    assert_eq!(port_from_text("90:90"), Ok(json!(90)));
    assert_eq!(port_from_text("1000:2000"), Ok(json!("1000:2000")));
    assert_eq!(port_from_text("web.port_1-x"), Ok(json!("web.port_1-x")));
    for (text, message) in [
        ("70000", "invalid port format (70000)"),
        ("1:70000", "invalid maximum port number in range (1:70000)"),
        ("70000:1", "invalid minimum port number in range (70000:1)"),
        ("90:80", "minimum port number (90) is greater than maximum port number (80) in port range"),
        ("", "invalid name for named port ()"),
        ("a b", "invalid name for named port (a b)"),
    ] {
        assert_eq!(port_from_text(text), Err(message.to_owned()));
    }
}

#[test]
fn as_numbers_may_be_dotted() {
    assert_eq!(as_number_from_text("64512"), Ok(64512));
    assert_eq!(as_number_from_text("1.10"), Ok(65546));
    assert_eq!(as_number_from_text("65535.65535"), Ok(u32::MAX));
    for bad in ["ours", "", "1.", ".1", "65536.1", "1.1.1", "4294967296", "-1"] {
        assert_eq!(as_number_from_text(bad), Err(format!("invalid AS Number format ({bad})")));
    }
}

#[test]
fn durations_are_rewritten_as_go_prints_them() {
    for (given, stored) in [
        ("90s", "1m30s"),
        ("24h", "24h0m0s"),
        ("1500ms", "1.5s"),
        ("0", "0s"),
        ("0s", "0s"),
        ("1h0.5s", "1h0m0.5s"),
        ("100ms", "100ms"),
        ("1us", "1µs"),
        ("1.5us", "1.5µs"),
        ("7ns", "7ns"),
        ("-2m", "-2m0s"),
        (".5s", "500ms"),
        ("1m60s", "2m0s"),
    ] {
        assert_eq!(parse_duration(given).map(format_duration).as_deref(), Some(stored), "{given}");
    }
    for bad in ["", "5", "s", "1x", "1.2.3s", "-", "1s ", "9999999999999h", "."] {
        assert_eq!(parse_duration(bad), None, "{bad}");
    }
}

#[test]
fn numbers_print_as_go_prints_them() {
    assert_eq!(number_text(json!(1e6).as_number().unwrap()), "1e+06");
    assert_eq!(number_text(&serde_json::Number::from(1_000_000)), "1000000");
}

#[test]
fn whole_floats_are_stored_as_whole_numbers() {
    let canonical = |v: serde_json::Value| canonical_number(v.as_number().unwrap()).to_string();
    assert_eq!(canonical(json!(5.0)), "5");
    assert_eq!(canonical(json!(-5.0)), "-5");
    assert_eq!(canonical(json!(1e8)), "100000000");
    assert_eq!(canonical(json!(10.5)), "10.5");
    assert_eq!(canonical(json!(1e21)), "1e+21");
}

proptest! {
    #[test]
    fn a_printed_duration_reads_back(nanoseconds: i64) {
        // i64::MIN prints but cannot be read back, as in Go
        prop_assume!(nanoseconds != i64::MIN);
        prop_assert_eq!(parse_duration(&format_duration(nanoseconds)), Some(nanoseconds));
    }

    #[test]
    fn no_text_panics(text in ".{0,40}") {
        let _ = (parse_duration(&text), port_from_text(&text), as_number_from_text(&text));
    }

    #[test]
    fn a_stored_port_is_stable(text in "[0-9]{1,5}(:[0-9]{1,5})?") {
        if let Ok(serde_json::Value::String(stored)) = port_from_text(&text) {
            prop_assert_eq!(port_from_text(&stored), Ok(stored.into()));
        }
    }
}

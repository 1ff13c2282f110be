//! What must hold for any bytes as a selector. Shared by the fuzz target and the replay on the stable toolchain.

#![allow(clippy::expect_used)] // a broken expectation is a finding

use selector::Selector;

/// Parses `data`; what parses must print to a text that parses, settles after one more reading, and decides alike.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(selector) = Selector::parse(text) else { return };
    let once = Selector::parse(&selector.to_string()).expect("canonical text parses");
    let twice = Selector::parse(&once.to_string()).expect("canonical text parses");
    assert_eq!(once.to_string(), twice.to_string());
    let labels: Vec<(&str, &str)> = selector.labels().map(|label| (label, "x")).collect();
    for labels in [&labels[..], &[]] {
        assert_eq!(selector.matches(labels), twice.matches(labels));
    }
}

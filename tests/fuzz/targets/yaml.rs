//! What must hold for any bytes as YAML.

#![allow(clippy::expect_used)] // a broken expectation is a finding

use model::{document, yaml};

/// Reads `data` as documents of whatever content; what can be read is printed, and reads back to the same text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(documents) = document::parse(text, "yaml") else { return };
    for document in documents {
        let printed = yaml::to_yaml(&document.value);
        // whole floats are printed as whole numbers, so that the texts are compared
        let again = document::parse(&printed, "printed").expect("printed YAML is YAML");
        let again: Vec<String> = again.iter().map(|document| yaml::to_yaml(&document.value)).collect();
        assert_eq!(again, [printed]);
    }
}

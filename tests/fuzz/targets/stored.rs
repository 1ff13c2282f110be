//! What must hold for any bytes that stand in the store where a resource should.

#![allow(clippy::expect_used)] // a broken expectation is a finding

use model::admission::{Operation, admit, validate};
use model::schema::normalise;
use model::{Kind, Resource, document};
use serde_json::Value;

/// Reads `data` as an object of the kind it names, or of one that its length chooses: it is judged and printed without
/// harm, whatever it is, and the stored form is reached in one step.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(documents) = document::parse(text, "stored") else { return };
    for document in documents {
        let named = document.value.get("kind").and_then(Value::as_str).and_then(Kind::from_name);
        let Some(kind) = named.or_else(|| Kind::ALL.get(data.len() % Kind::ALL.len()).copied()) else {
            return;
        };
        let Value::Object(object) = document.value else { continue };
        let mut stored = Resource::from_object(kind, object);
        let _ = validate(&stored);
        let _ = admit(&mut stored.clone(), Operation::Create);
        let _ = admit(&mut stored.clone(), Operation::Update { old: &stored });
        if normalise(&mut stored).is_ok() {
            let once = stored.clone();
            normalise(&mut stored).expect("the stored form can be read");
            assert_eq!(stored, once);
        }
    }
}

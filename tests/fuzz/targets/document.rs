//! What must hold for any bytes as documents of resources. Shared by the fuzz target and the replay on the stable
//! toolchain.

#![allow(clippy::expect_used)] // a broken expectation is a finding

use model::admission::{Operation, admit, validate};
use model::{document, schema, yaml};
use serde_json::Value;

/// Reads `data`; what is read prints as YAML that reads back, and what is admitted is admitted unchanged again.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(documents) = document::parse(text, "fuzz") else { return };
    for document in documents {
        let Ok(raws) = document.resources("fuzz") else { continue };
        for raw in raws {
            let Ok(mut resource) = schema::decode_strict(raw.kind, raw.value) else { continue };
            let _ = validate(&resource);
            if admit(&mut resource, Operation::Create).is_err() {
                continue;
            }
            let once = resource.clone();
            admit(&mut resource, Operation::Update { old: &once })
                .expect("what was admitted is admitted again");
            assert_eq!(resource, once);

            let stored = Value::Object(resource.into_object());
            let printed = yaml::to_yaml(&stored);
            let read = document::parse(&printed, "printed").expect("printed YAML is YAML");
            let values: Vec<Value> = read.into_iter().map(|document| document.value).collect();
            assert_eq!(values, [stored], "{printed}");
        }
    }
}

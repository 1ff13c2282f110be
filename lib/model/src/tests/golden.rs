//! The recorded corpus, offline: what is stored, what is refused, which fields are named and in which words.
//!
//! Cases whose outcome needs other objects of the store or belongs to the command line are told by their recorded
//! text; everything else has to come out equal, for every kind that has a table.

use crate::admission::{Operation, admit, validate};
use crate::schema::{decode_strict, kind};
use crate::{Key, Resource, ValidationError, document};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

struct Step {
    case: String,
    verb: String,
    namespace: Option<String>,
    stdin: String,
    refused: bool,
    stderr: String,
    puts: BTreeMap<String, Value>,
    dels: Vec<String>,
}

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(folder)
}

/// The steps of every case of a folder, those of one case in order.
fn cases(folder: &str) -> Vec<Vec<Step>> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![golden(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files.iter().map(|file| steps(file)).collect()
}

fn steps(file: &Path) -> Vec<Step> {
    let case: Value = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let name = text(&case, "case");
    let step = |step: &Value| {
        let run: Vec<&str> = step["run"].as_array()?.iter().filter_map(Value::as_str).collect();
        let flag = |flag: &str| run.iter().position(|word| *word == flag).and_then(|at| run.get(at + 1));
        let etcd = |change: &str| step["etcd"][change].as_array().cloned().unwrap_or_default();
        let stored = |put: Value| {
            (text(&put, "key"), serde_json::from_str(&text(&put, "value")).unwrap_or(Value::Null))
        };
        Some(Step {
            case: name.clone(),
            verb: run.get(1)?.to_string(),
            namespace: flag("-n").map(|namespace| namespace.to_string()),
            stdin: text(step, "stdin"),
            refused: step["exit"] != 0,
            stderr: text(step, "stderr"),
            puts: etcd("put").into_iter().map(stored).collect(),
            dels: etcd("del")
                .iter()
                .map(|del| del.as_str().map_or_else(|| text(del, "key"), str::to_owned))
                .collect(),
        })
    };
    case["steps"].as_array().unwrap().iter().filter_map(step).collect()
}

/// What reading a step's input gives: resources, or the text of the refusal.
fn read(step: &Step) -> Result<Vec<Resource>, String> {
    let mut resources = Vec::new();
    for document in document::parse(&step.stdin, "-").map_err(|e| e.to_string())? {
        for raw in document.resources("-").map_err(|e| e.to_string())? {
            let mut resource = decode_strict(raw.kind, raw.value).map_err(|e| e.to_string())?;
            if raw.kind.namespaced() && resource.namespace().is_empty() {
                resource.set_meta_text("namespace", step.namespace.as_deref().unwrap_or("default"));
            }
            resources.push(resource);
        }
    }
    Ok(resources)
}

fn has_table(resource: &Resource) -> bool {
    kind::of(resource.kind()).spec.is_some()
}

/// Refusals that need the store, or that the command line makes before the model is asked.
fn is_elsewhere(stderr: &str) -> bool {
    [
        "overlaps with IPPool(",
        "not found)",
        "resource already exists",
        "resource does not exist",
        "operation ",
        "update conflict",
        "resource namespace does not match",
        "namespace should not be specified",
        "no resources specified",
        "version mismatch",
        "Failed to create Calico API client",
        "resource version",
    ]
    .iter()
    .any(|text| stderr.contains(text))
}

/// The refused fields of a recorded text, sorted: each as it was printed.
fn recorded_fields(stderr: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = stderr;
    while let Some(at) = rest.find("error with ") {
        rest = &rest[at + "error with ".len()..];
        if let Some(one) = rest.strip_prefix("field ") {
            let end =
                one.find(") error with ").map(|end| end + 1).or_else(|| one.rfind(']')).unwrap_or(one.len());
            fields.push(one[..end].trim_end_matches(" error with").to_owned());
        } else if let Some(many) = rest.strip_prefix("the following fields:\n") {
            for line in many.lines().take_while(|line| line.starts_with("-  ")) {
                fields.push(line["-  ".len()..].to_owned());
            }
        }
    }
    fields.sort();
    fields
}

fn our_fields(errors: &[ValidationError]) -> Vec<String> {
    let mut fields: Vec<String> = errors.iter().flat_map(|e| &e.fields).map(ToString::to_string).collect();
    fields.sort();
    fields
}

/// Names without values and reasons.
fn names(fields: &[String]) -> Vec<&str> {
    fields
        .iter()
        .map(|field| field.split(" = '").next().unwrap_or(field).split(" (").next().unwrap_or(field))
        .collect()
}

/// Texts that are Go's print of a struct or a recorded pointer: only the fields have to agree.
fn is_gos_own(fields: &[String]) -> bool {
    fields.iter().any(|field| field.contains("'{") || field.contains("'&{") || field.contains("'[{"))
}

fn stored_form(resource: &Resource) -> String {
    let mut resource = resource.clone();
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        resource.set_meta_text(field, "");
    }
    resource.remove_meta_entry("annotations", "projectcalico.org/metadata");
    let mut object = resource.into_object();
    // resourceVersion and generateName of the input do not reach the store
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| matches!(field.as_str(), "name" | "namespace" | "labels" | "annotations"));
    }
    Value::Object(object).to_string()
}

/// The specs Calico stored for resources of a kind, with the case each is of.
pub(crate) fn stored_specs(kind: crate::Kind) -> Vec<(String, Value)> {
    let is_of_kind =
        |key: &String| matches!(Key::parse(key), Some(Key::Resource { kind: of, .. }) if of == kind);
    let steps = cases("store").into_iter().flatten();
    steps
        .flat_map(|step| {
            let puts: Vec<_> = step.puts.into_iter().filter(|(key, _)| is_of_kind(key)).collect();
            puts.into_iter().map(move |(_, value)| (step.case.clone(), value["spec"].clone()))
        })
        .collect()
}

#[test]
fn what_is_stored() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for steps in ["store", "ctl", "ipam", "cni"].into_iter().flat_map(cases) {
        let mut store: BTreeMap<String, Resource> = BTreeMap::new();
        for step in steps {
            if matches!(step.verb.as_str(), "create" | "apply" | "replace") && !step.refused {
                for mut resource in read(&step).unwrap_or_else(|e| panic!("{}: {e}", step.case)) {
                    let key = resource.key().path();
                    let Some(recorded) = step.puts.get(&key).filter(|_| has_table(&resource)) else {
                        continue;
                    };
                    let operation =
                        store.get(&key).map_or(Operation::Create, |old| Operation::Update { old });
                    admit(&mut resource, operation).unwrap_or_else(|e| panic!("{}: {e}", step.case));
                    let recorded =
                        Resource::from_object(resource.kind(), recorded.as_object().unwrap().clone());
                    compared += 1;
                    let (ours, theirs) = (stored_form(&resource), stored_form(&recorded));
                    if ours != theirs {
                        wrong.push(format!("{}\n  ours   {ours}\n  theirs {theirs}", step.case));
                    }
                    // what Calico stored is already as we would store it
                    let mut again = recorded.clone();
                    again.remove_meta_entry("annotations", "projectcalico.org/metadata");
                    let before = again.clone();
                    admit(&mut again, Operation::Update { old: &before })
                        .unwrap_or_else(|e| panic!("{}: {e}", step.case));
                    assert_eq!(again, before, "{}", step.case);
                }
            }
            for (key, value) in &step.puts {
                if let (Some(Key::Resource { kind, .. }), Value::Object(object)) = (Key::parse(key), value) {
                    store.insert(key.clone(), Resource::from_object(kind, object.clone()));
                }
            }
            step.dels.iter().for_each(|key| {
                store.remove(key);
            });
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 50, "only {compared} stored objects compared");
}

#[test]
fn what_is_refused() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for steps in cases("errors") {
        let mut store: BTreeMap<String, Resource> = BTreeMap::new();
        for step in steps {
            if matches!(step.verb.as_str(), "validate" | "create" | "apply")
                && !step.stdin.is_empty()
                && !is_elsewhere(&step.stderr)
                && let Some(outcome) = refusal(&step, &store)
            {
                compared += 1;
                if let Err(difference) = agree(&step, &outcome) {
                    wrong.push(format!("{} {}: {difference}", step.case, step.verb));
                }
            }
            for (key, value) in &step.puts {
                if let (Some(Key::Resource { kind, .. }), Value::Object(object)) = (Key::parse(key), value) {
                    store.insert(key.clone(), Resource::from_object(kind, object.clone()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 100, "only {compared} steps compared");
}

enum Outcome {
    Unreadable(String),
    Judged(Vec<ValidationError>),
}

/// What we say to a step's input; `None` when one of its kinds has no table.
fn refusal(step: &Step, store: &BTreeMap<String, Resource>) -> Option<Outcome> {
    let resources = match read(step) {
        Ok(resources) => resources,
        Err(text) => return Some(Outcome::Unreadable(text)),
    };
    let mut errors = Vec::new();
    for mut resource in resources {
        if !has_table(&resource) {
            return None;
        }
        let result = match (step.verb.as_str(), store.get(&resource.key().path())) {
            ("validate", _) => validate(&resource),
            ("apply", Some(old)) => admit(&mut resource, Operation::Update { old }),
            _ => admit(&mut resource, Operation::Create),
        };
        errors.extend(result.err());
    }
    Some(Outcome::Judged(errors))
}

fn agree(step: &Step, outcome: &Outcome) -> Result<(), String> {
    let recorded = step.stderr.trim();
    let theirs = recorded_fields(&step.stderr);
    match outcome {
        Outcome::Unreadable(text) if !step.refused => Err(format!("refused with {text}")),
        Outcome::Unreadable(_) if !theirs.is_empty() => Err(format!("not even read, recorded {recorded}")),
        Outcome::Unreadable(text) => {
            // what Calico names between "location: " and the end is named first by us
            let named =
                recorded.strip_prefix("field in document is not recognized or is in the wrong location: ");
            match named {
                Some(_) if !text.starts_with(recorded) => Err(format!("{text}, recorded {recorded}")),
                _ => Ok(()),
            }
        }
        Outcome::Judged(errors) if errors.is_empty() && step.refused => {
            Err(format!("accepted, recorded {recorded}"))
        }
        Outcome::Judged(errors) if !errors.is_empty() && !step.refused => {
            Err(format!("refused with {:?}", our_fields(errors)))
        }
        Outcome::Judged(errors) => {
            let ours = our_fields(errors);
            if theirs.is_empty() {
                // texts without fields, such as a name that is not allowed
                return match errors.iter().all(|error| recorded.contains(&error.to_string())) {
                    true => Ok(()),
                    false => Err(format!("{ours:?}, recorded {recorded}")),
                };
            }
            let equal = if is_gos_own(&theirs) { names(&ours) == names(&theirs) } else { ours == theirs };
            if equal { Ok(()) } else { Err(format!("\n  ours   {ours:?}\n  theirs {theirs:?}")) }
        }
    }
}

//! One file's text as pairs of the store.

use super::problem::FileProblem;
use crate::{ClientError, codec, prepare};
use bytes::Bytes;
use model::document::{self, Document, RawResource};
use model::ipam::{AffinityState, BlockAffinity};
use model::net::Cidr;
use model::schema::decode_strict;
use model::{Key, Kind, Owner, Resource};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is done about a file that cannot be used.
const KEPT: &str = "the file's last good state stays in force until it is corrected";

/// A resource of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As people call it.
    pub(super) name: String,
    pub(super) value: Bytes,
    /// Document and line.
    pub(super) place: (usize, usize),
}

/// The resources of one file, by key.
pub(super) type Entries = BTreeMap<Bytes, Entry>;

/// The fields of a BlockAffinity that its stored form is made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AffinitySpec {
    state: AffinityState,
    node: String,
    cidr: String,
    r#type: String,
}

/// Reads a file's text.
///
/// # Errors
/// Everything found wrong; then nothing of the file is to be used.
pub(super) fn read(file: &str, text: &str) -> Result<Entries, Vec<FileProblem>> {
    let documents = document::parse(text, file)
        .map_err(|error| vec![FileProblem::whole(file, error.to_string(), KEPT)])?;
    let mut entries = Entries::new();
    let mut problems = Vec::new();
    for document in documents.into_iter().filter(|document| !document.value.is_null()) {
        let at = Place { file, place: (document.index + 1, document.line) };
        for read in resources(document, at) {
            let (key, entry) = match read {
                Ok(entry) => entry,
                Err(found) => {
                    problems.extend(found);
                    continue;
                }
            };
            if let Some(first) = entries.get(&key) {
                let (document, line) = first.place;
                let reason = format!("{} stands in document {document} at line {line} already", first.name);
                problems.push(at.problem("", "", reason));
            } else {
                entries.insert(key, entry);
            }
        }
    }
    if problems.is_empty() { Ok(entries) } else { Err(problems) }
}

/// Where in which file.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    place: (usize, usize),
}

impl Place<'_> {
    fn problem(self, field: &str, value: &str, reason: impl Into<String>) -> FileProblem {
        FileProblem {
            place: Some(self.place),
            field: field.to_owned(),
            value: value.to_owned(),
            ..FileProblem::whole(self.file, reason, KEPT)
        }
    }
}

type Read = Result<(Bytes, Entry), Vec<FileProblem>>;

fn resources(document: Document, at: Place<'_>) -> Vec<Read> {
    // affinities are no resources that people write elsewhere; here they say which blocks a node originates
    let readable = |kind: Kind| kind.is_writable() || kind == Kind::BlockAffinity;
    match document.resources_of(at.file, readable) {
        Ok(found) => found.into_iter().map(|raw| pair(raw, at)).collect(),
        Err(error) => vec![Err(vec![at.problem("", "", error.kind.to_string())])],
    }
}

fn pair(raw: RawResource, at: Place<'_>) -> Read {
    let mut resource = decode_strict(raw.kind, raw.value).map_err(|error| {
        let problems = error.problems.iter();
        problems.map(|problem| at.problem(&problem.path, "", problem.to_string())).collect::<Vec<_>>()
    })?;
    if resource.kind() == Kind::BlockAffinity {
        return affinity(&resource, at);
    }
    // revisions, identity and time of where the file was exported have no meaning here
    resource.set_meta_text("resourceVersion", "");
    prepare::admit(&mut resource, model::admission::Operation::Create)
        .map_err(|error| refused(&error, at))?;
    let key = Bytes::from(resource.key().path());
    Ok((key, Entry { name: name_of(&resource), value: codec::encode(&resource).into(), place: at.place }))
}

fn name_of(resource: &Resource) -> String {
    match resource.namespace() {
        "" => format!("{} {}", resource.kind().name(), resource.name()),
        namespace => format!("{} {namespace}/{}", resource.kind().name(), resource.name()),
    }
}

fn refused(error: &ClientError, at: Place<'_>) -> Vec<FileProblem> {
    match error {
        ClientError::Validation(error) => error
            .fields
            .iter()
            .map(|field| {
                let reason = field.reason.as_deref().unwrap_or("is not valid");
                at.problem(&field.name, field.value.as_deref().unwrap_or_default(), reason)
            })
            .collect(),
        other => vec![at.problem("", "", other.to_string())],
    }
}

/// A BlockAffinity under the key and in the form in which IPAM stores it (`datamodel.md` §4 of the contract).
fn affinity(resource: &Resource, at: Place<'_>) -> Read {
    let spec: AffinitySpec =
        resource.typed_spec().map_err(|error| vec![at.problem("spec", "", error.reason.clone())])?;
    let cidr = Cidr::parse_masked(&spec.cidr).map_err(|_| {
        vec![at.problem("spec.cidr", &spec.cidr, "is no CIDR: write one such as 10.0.0.0/26")]
    })?;
    if spec.node.is_empty() {
        return Err(vec![at.problem("spec.node", "", "is missing: name the node whose block this is")]);
    }
    let owner = match spec.r#type.as_str() {
        "" | "host" => Owner::Host(spec.node),
        "virtual" => Owner::Virtual(spec.node),
        other => return Err(vec![at.problem("spec.type", other, "is neither host nor virtual")]),
    };
    let value = BlockAffinity::new(spec.state).encode();
    let key = Bytes::from(Key::Affinity(owner, cidr).path());
    Ok((key, Entry { name: format!("BlockAffinity {cidr}"), value: value.into(), place: at.place }))
}

//! What `get` prints. Source: `calicoctl.md` §5 of the contract and the recordings under `ctl/get`.

pub mod grid;
mod json;
pub mod table;
#[cfg(test)]
mod tests;

use crate::io::Failure;
use crate::persona::Persona;
use json::to_json;
use model::columns::{self, Column, Facts, Width};
use model::kind::API_VERSION;
use model::yaml::to_yaml;
use model::{Kind, Resource};
use serde_json::{Value, json};

/// One result of a `get`: a resource by name, or a list.
#[derive(Debug, Clone)]
pub enum Found {
    /// A resource asked for by name.
    One(Resource),
    /// All resources of a kind.
    List {
        /// The kind.
        kind: Kind,
        /// The store's revision.
        revision: i64,
        /// In the order to print.
        items: Vec<Resource>,
    },
}

impl Found {
    /// The kind of what was found.
    pub fn kind(&self) -> Kind {
        match self {
            Found::One(resource) => resource.kind(),
            Found::List { kind, .. } => *kind,
        }
    }

    fn resources(&self) -> &[Resource] {
        match self {
            Found::One(resource) => std::slice::from_ref(resource),
            Found::List { items, .. } => items,
        }
    }

    fn value(&self) -> Value {
        match self {
            Found::One(resource) => object(resource),
            Found::List { kind, revision, items } => json!({
                "kind": format!("{}List", kind.name()),
                "apiVersion": API_VERSION,
                "metadata": {"resourceVersion": revision.to_string()},
                "items": items.iter().map(object).collect::<Vec<_>>(),
            }),
        }
    }

    /// Without what belongs to this cluster only; lists stay as they are.
    pub fn exported(mut self) -> Found {
        if let Found::One(resource) = &mut self {
            let metadata = resource.metadata_mut();
            for field in [
                "namespace",
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
            ] {
                metadata.shift_remove(field);
            }
        }
        self
    }
}

fn object(resource: &Resource) -> Value {
    Value::Object(resource.object().clone())
}

/// How results are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A table for each result.
    Table(Width),
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// `kind/name` lines; only under our own name.
    Name,
    /// A table of the columns with these headings.
    Columns(Vec<String>),
}

impl Format {
    /// Reads the argument of `-o`.
    ///
    /// # Errors
    /// An unknown format, or one that needs more than was given.
    pub fn parse(text: &str, persona: Persona) -> Result<Format, Failure> {
        let (name, argument) = text.split_once('=').map_or((text, None), |(name, rest)| (name, Some(rest)));
        match (name, argument) {
            ("ps", None) => Ok(Format::Table(Width::Default)),
            ("wide", None) => Ok(Format::Table(Width::Wide)),
            ("yaml" | "yml", None) => Ok(Format::Yaml),
            ("json", None) => Ok(Format::Json),
            ("table", None) if !persona.is_calicoctl() => Ok(Format::Table(Width::Default)),
            ("name", None) if !persona.is_calicoctl() => Ok(Format::Name),
            ("custom-columns", None | Some("")) => {
                Err(Failure::message("need to specify at least one column"))
            }
            ("custom-columns", Some(headings)) => {
                Ok(Format::Columns(headings.split(',').map(|heading| heading.trim().to_owned()).collect()))
            }
            ("go-template", None | Some("")) => Err(Failure::message("need to specify a template")),
            ("go-template-file", None | Some("")) => Err(Failure::message("need to specify a template file")),
            ("go-template" | "go-template-file", Some(_)) => Err(Failure::message(format!(
                "output format '{name}' is not available here; use -o json, -o yaml or -o custom-columns=NAME,..."
            ))),
            _ if persona.is_calicoctl() => {
                Err(Failure::message(format!("unrecognized output format '{text}'")))
            }
            _ => Err(Failure::message(format!(
                "unrecognized output format '{text}'; use ps, table, wide, yaml, json, name or custom-columns=NAME,..."
            ))),
        }
    }

    /// Whether a column needs the cluster's AS number.
    pub fn needs_default_as(&self, kind: Kind) -> bool {
        kind == Kind::Node
            && match self {
                Format::Table(width) => *width == Width::Wide,
                Format::Columns(headings) => {
                    headings.iter().any(|heading| heading.eq_ignore_ascii_case("ASN"))
                }
                _ => false,
            }
    }

    /// The results as text.
    ///
    /// # Errors
    /// A heading the kind does not have.
    pub fn render(&self, results: &[Found], namespace: bool, facts: &Facts) -> Result<String, Failure> {
        match self {
            Format::Yaml => Ok(to_yaml(&whole(results))),
            Format::Json => Ok(to_json(&whole(results))),
            Format::Name => Ok(results.iter().flat_map(Found::resources).map(name_line).collect()),
            Format::Table(width) => Ok(results
                .iter()
                .map(|found| table_of(found, &columns::table(found.kind(), *width, namespace), facts))
                .collect()),
            Format::Columns(headings) => results
                .iter()
                .map(|found| Ok(table_of(found, &chosen(found.kind(), headings)?, facts)))
                .collect(),
        }
    }
}

/// One result is itself, several are a list, none is null.
fn whole(results: &[Found]) -> Value {
    match results {
        [] => Value::Null,
        [one] => one.value(),
        several => several.iter().map(Found::value).collect(),
    }
}

fn name_line(resource: &Resource) -> String {
    format!("{}/{}\n", resource.kind().name().to_lowercase(), resource.name())
}

fn chosen(kind: Kind, headings: &[String]) -> Result<Vec<&'static Column>, Failure> {
    let column = |heading: &String| {
        columns::by_heading(kind, heading).ok_or_else(|| {
            let valid: Vec<&str> = columns::all(kind).map(|column| column.heading).collect();
            Failure::message(format!("unknown heading {heading}, valid values are: {}", valid.join(", ")))
        })
    };
    headings.iter().map(column).collect()
}

fn table_of(found: &Found, columns: &[&'static Column], facts: &Facts) -> String {
    let headings = columns.iter().map(|column| column.heading.to_owned()).collect();
    let cells = |resource: &Resource| columns.iter().map(|column| (column.cell)(resource, facts)).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(headings).chain(found.resources().iter().map(cells)).collect();
    table::table(&rows) + "\n"
}

//! Which source wins, parameter by parameter.

use crate::local::Local;
use crate::problem::Problem;
use crate::settings::{asks_for_nothing, is_acted_on, unusable};
use crate::stored::{Stored, Texts};
use model::felix::{Row, Setting, Settings, find, parameters};
use std::collections::BTreeMap;
use std::fmt;

/// Where a value comes from, the strongest first (`resources.md` §3.1 of the contract).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A variable `FELIX_<name>`.
    Environment,
    /// The configuration file.
    File,
    /// FelixConfiguration `node.<this node>`.
    Node,
    /// The FelixConfiguration of this name, the oldest whose `nodeSelector` matches this node.
    Selector(String),
    /// FelixConfiguration `default`.
    Global,
    /// No source says anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Environment => f.write_str("the environment"),
            Origin::File => f.write_str("the configuration file"),
            Origin::Node => f.write_str("FelixConfiguration of this node"),
            Origin::Selector(name) => write!(f, "FelixConfiguration {name}"),
            Origin::Global => f.write_str("FelixConfiguration default"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A parameter's value.
#[derive(Debug, Clone)]
pub struct Value {
    /// The parameter.
    pub row: &'static Row,
    /// The text that sets it, or that of its default.
    pub text: String,
    /// Where that text stands; [`Origin::Default`] also where it could not be read.
    pub origin: Origin,
}

/// Every parameter's value and origin, and what is wrong.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// In the order of the table.
    pub values: Vec<Value>,
    /// In order.
    pub problems: Vec<Problem>,
    settings: Settings,
}

impl Configuration {
    /// No source says anything.
    pub fn defaults() -> Self {
        let values = parameters().iter().map(|row| winner(row, &[])).collect();
        Self { values, problems: Vec::new(), settings: Settings::read([]).0 }
    }

    /// The value of a parameter, by its name as in the table.
    pub fn get(&self, name: &str) -> &Setting {
        self.settings.get(name)
    }

    /// Whether a source sets it.
    pub fn is_given(&self, name: &str) -> bool {
        let value = self.values.iter().find(|value| value.row.name == name);
        value.is_some_and(|value| value.origin != Origin::Default)
    }
}

/// The configuration of a node. The strongest source that has a parameter decides: what cannot be read there has the
/// default, as upstream's, not what a weaker source says.
pub fn resolve(local: &Local, stored: &Stored, node: &str) -> Configuration {
    let mut problems = Vec::new();
    let mut sources =
        vec![(Origin::Environment, local.environment.clone()), (Origin::File, local.file.clone())];
    sources.extend(stored.about(node, &mut problems));
    check_names(&sources, &mut problems);
    let mut values: Vec<Value> = parameters().iter().map(|row| winner(row, &sources)).collect();
    let given = values.iter().filter(|value| value.origin != Origin::Default);
    let (settings, errors) = Settings::read(given.map(|value| (&*value.row.name, &*value.text)));
    let errors: BTreeMap<String, model::felix::SettingError> =
        errors.into_iter().map(|error| (error.name.clone(), error)).collect();
    for value in &mut values {
        if let Some(error) = errors.get(&value.row.name) {
            problems.push(Problem::Unreadable {
                name: error.name.clone(),
                value: error.value.clone(),
                expected: error.expected.clone(),
                origin: value.origin.clone(),
                fatal: error.fatal,
            });
            value.text = value.row.parameter.default.to_owned();
            value.origin = Origin::Default;
        } else if let Some(expected) = unusable(&value.row.name, settings.get(&value.row.name)) {
            problems.push(Problem::Unreadable {
                name: value.row.name.clone(),
                value: value.text.clone(),
                expected,
                origin: value.origin.clone(),
                fatal: true,
            });
            value.text = value.row.parameter.default.to_owned();
            value.origin = Origin::Default;
        } else if value.origin != Origin::Default
            && !value.text.is_empty()
            && !is_acted_on(&value.row.name)
            && *settings.get(&value.row.name) != value.row.default()
            && !asks_for_nothing(&value.row.name, &value.text)
        {
            problems.push(Problem::NotActedOn {
                name: value.row.name.clone(),
                value: value.text.clone(),
                origin: value.origin.clone(),
            });
        }
    }
    problems.sort();
    Configuration { values, problems, settings }
}

fn winner(row: &'static Row, sources: &[(Origin, Texts)]) -> Value {
    let name = row.name.to_ascii_lowercase();
    let may = |origin: &Origin| !row.parameter.local || matches!(origin, Origin::Environment | Origin::File);
    let found = sources
        .iter()
        .filter(|(origin, _)| may(origin))
        .find_map(|(origin, texts)| texts.get(&name).map(|text| (origin, text)));
    match found {
        Some((origin, text)) => Value { row, text: text.clone(), origin: origin.clone() },
        None => Value { row, text: row.parameter.default.to_owned(), origin: Origin::Default },
    }
}

fn check_names(sources: &[(Origin, Texts)], problems: &mut Vec<Problem>) {
    for (origin, texts) in sources {
        for name in texts.keys() {
            let is_local = matches!(origin, Origin::Environment | Origin::File);
            match find(name) {
                None => problems.push(Problem::Unknown { name: name.clone(), origin: origin.clone() }),
                Some(row) if row.parameter.local && !is_local => {
                    problems.push(Problem::LocalOnly { name: row.name.clone(), origin: origin.clone() });
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;

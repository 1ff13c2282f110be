//! Parameters of the node agent: one row for each, from which everything that sets, reads, explains or lists them follows.
//!
//! A parameter that a FelixConfiguration can set is a word more on the row of its field
//! (`kinds/felix_configuration/table.rs`), the few others are in `elsewhere`. Each has a name, which variables
//! (`FELIX_<name>`, any case), the file and the datastore's flat form ([`flat()`]) use; a [`Syntax`], which reads its
//! text; a default; and what it does.
//!
//! ```text
//! environment, file ──────────────────────────┐
//! FelixConfiguration ── flat() ── name, text ─┴─ Row::read ── Setting ── Settings
//! ```
//! Source: `resources.md` §3 of the contract.

mod elsewhere;
mod flat;
pub(crate) mod parameter;
mod setting;
mod syntax;

pub use flat::flat;
pub use parameter::Parameter;
pub use setting::{FailsafePort, Setting};
pub use syntax::Syntax;

use crate::kinds::felix_configuration;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// A parameter by its name.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The field of a FelixConfiguration's spec that sets it.
    pub field: Option<&'static str>,
    /// What the table says about it.
    pub parameter: &'static Parameter,
}

/// All parameters: those of FelixConfiguration in its order, then the others.
pub fn parameters() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        let fields = felix_configuration::fields().iter().filter_map(|field| {
            let parameter = field.parameter.as_ref()?;
            let name = parameter.own_name().map_or_else(|| field.go_name(), str::to_owned);
            Some(Row { name, field: Some(field.name), parameter })
        });
        let others = elsewhere::PARAMETERS.iter().map(|parameter| Row {
            name: parameter.own_name().unwrap_or_default().to_owned(),
            field: None,
            parameter,
        });
        fields.chain(others).collect()
    });
    &ROWS
}

/// The parameter of this name, in any case.
pub fn find(name: &str) -> Option<&'static Row> {
    static NAMES: LazyLock<BTreeMap<String, usize>> = LazyLock::new(|| {
        parameters().iter().enumerate().map(|(place, row)| (row.name.to_ascii_lowercase(), place)).collect()
    });
    NAMES.get(&name.to_ascii_lowercase()).and_then(|place| parameters().get(*place))
}

/// A value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name}: \"{value}\" is not {expected}{}", if *fatal { "" } else { "; using the default" })]
pub struct SettingError {
    /// The parameter.
    pub name: String,
    /// What was given.
    pub value: String,
    /// What was expected.
    pub expected: String,
    /// Whether the agent must not go on.
    pub fatal: bool,
}

impl Row {
    /// Reads a value as it stands in the environment, in a file, or in the datastore's flat form. `none`, in any case, is
    /// the type's zero.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn read(&self, text: &str) -> Result<Setting, SettingError> {
        let syntax = &self.parameter.syntax;
        let text = text.trim();
        let error = |expected: String| SettingError {
            name: self.name.clone(),
            value: text.to_owned(),
            expected,
            fatal: self.parameter.fatal,
        };
        // A word that the parameter itself knows means what it says.
        let word = matches!(syntax, Syntax::Words(words) if words.iter().any(|word| word.eq_ignore_ascii_case(text)));
        if text.eq_ignore_ascii_case("none") && !word {
            return match self.parameter.required {
                true => Err(error(format!("a value: it has to be {}", syntax.describe()))),
                false => Ok(syntax.zero()),
            };
        }
        match syntax.empty() {
            Some(empty) if text.is_empty() && !self.parameter.required => Ok(empty),
            _ => syntax.read(text).map_err(error),
        }
    }

    /// What it is when no source says anything.
    pub fn default(&self) -> Setting {
        let default = self.parameter.default;
        if default.is_empty() {
            return self.parameter.syntax.empty().unwrap_or(Setting::Unset);
        }
        self.parameter.syntax.read(default).unwrap_or(Setting::Unset)
    }
}

/// All parameters with their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings(BTreeMap<String, Setting>);

impl Settings {
    /// The parameters as these texts set them, by name in any case, and what could not be read: that has its default.
    /// Names that are none of ours are for others.
    pub fn read<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Settings, Vec<SettingError>) {
        let mut settings: BTreeMap<String, Setting> =
            parameters().iter().map(|row| (row.name.clone(), row.default())).collect();
        let mut errors = Vec::new();
        for (name, text) in texts {
            let Some(row) = find(name) else { continue };
            match row.read(text) {
                Ok(setting) => drop(settings.insert(row.name.clone(), setting)),
                Err(error) => errors.push(error),
            }
        }
        (Settings(settings), errors)
    }

    /// The value of a parameter, by its name as in the table; [`Setting::Unset`] for a name that is none.
    pub fn get(&self, name: &str) -> &Setting {
        self.0.get(name).unwrap_or(&Setting::Unset)
    }

    /// True or false; none where unset.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Setting::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A number; none where unset.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Setting::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// A time; none where unset.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name) {
            Setting::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    /// A text; empty where unset.
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Setting::Text(text) => text,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests;

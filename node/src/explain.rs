//! What an agent would decide, and why.

use crate::register::Registrar;
use crate::{Config, RunError};
use node_startup::{Fact, Settings};

/// Decides as [`crate::run`] does, and writes nothing. A datastore that does not answer is one of the facts.
///
/// # Errors
/// Variables that mean nothing; an address that has to be found is not.
pub async fn explain(config: &Config) -> Result<Vec<Fact>, RunError> {
    let settings = Settings::read(&config.variables)?;
    let fact =
        |what: &str, value: &str, why: String| Fact { what: what.to_owned(), value: value.to_owned(), why };
    let mut facts = Vec::new();
    let store = match &config.embedded {
        Some(directory) => {
            facts.push(fact("datastore", "embedded", format!("in {}", directory.display())));
            datastore::connect(&crate::parts::embedded_connection())?
        }
        None => datastore::connect(&config.connection)?,
    };
    let registrar = Registrar::new(config, &settings, store)?;
    let decided = match registrar.decide().await {
        Ok((decided, stored, _)) => {
            let why = if stored.is_some() { "the node is stored already" } else { "the node will be made" };
            facts.push(fact("datastore answers", "yes", why.to_owned()));
            decided
        }
        Err(error) if error.is_final() => return Err(error.into()),
        Err(error) => {
            facts.push(fact("datastore answers", "no", format!("{error}; what is stored is not known")));
            registrar.decide_over(None).await?.0
        }
    };
    facts.extend(decided.facts);
    for (name, line) in config.variables.unknown() {
        facts.push(fact("warning", name, format!("set in line {line} of the file, and nobody reads it")));
    }
    Ok(facts)
}

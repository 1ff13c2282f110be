//! Which rows of a benchmark are asked for on the command line.

use anyhow::{Result, bail};

/// Rows by name, all where none is named.
#[derive(Debug)]
pub struct Wanted(Vec<String>);

impl Wanted {
    /// From the words after the benchmark's name; `rows` are the names there are.
    ///
    /// # Errors
    /// A word is no row.
    pub fn parse<'a>(
        words: impl Iterator<Item = String>,
        rows: impl Iterator<Item = &'a str>,
    ) -> Result<Self> {
        let words: Vec<String> = words.collect();
        let names: Vec<&str> = rows.collect();
        match words.iter().find(|word| !names.contains(&word.as_str())) {
            Some(word) => bail!("{word}: not one of {}", names.join(", ")),
            None => Ok(Self(words)),
        }
    }

    /// Whether this row is asked for.
    pub fn has(&self, row: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|one| one == row)
    }
}

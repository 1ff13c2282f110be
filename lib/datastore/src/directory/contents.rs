//! What the files of a directory say, the last good state of each kept.

use super::problem::FileProblem;
use super::read::{Entries, read};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What was found of one file.
pub(super) type Found = Result<Vec<u8>, String>;

/// One file.
#[derive(Debug, Default)]
struct File {
    /// What was read last.
    found: Option<Found>,
    /// The last that could be used.
    good: Entries,
    problems: Vec<FileProblem>,
}

/// All files, by name.
#[derive(Debug, Default)]
pub(super) struct Contents {
    files: BTreeMap<String, File>,
    /// Why the directory itself cannot be read; the files are then as they were.
    trouble: Option<String>,
}

impl Contents {
    /// Takes what a look at the directory found: files that are not among it are gone.
    pub(super) fn update(&mut self, found: BTreeMap<String, Found>) {
        self.trouble = None;
        self.files.retain(|name, _| found.contains_key(name));
        for (name, found) in found {
            self.files.entry(name.clone()).or_default().update(&name, found);
        }
    }

    /// The directory could not be read.
    pub(super) fn unreadable(&mut self, reason: String) {
        self.trouble = Some(reason);
    }

    /// Every resource, as pairs of the store, and everything that is wrong. Of two files with one resource, the first
    /// by name counts.
    pub(super) fn resources(&self) -> (BTreeMap<Bytes, Bytes>, Vec<FileProblem>) {
        let mut resources = BTreeMap::new();
        let mut problems = Vec::new();
        let mut owners: BTreeMap<&Bytes, &str> = BTreeMap::new();
        if let Some(trouble) = &self.trouble {
            let remedy = "the resources stay as they were until it can be read again";
            problems.push(FileProblem::whole("", trouble, remedy));
        }
        for (name, file) in &self.files {
            problems.extend(file.problems.iter().cloned());
            for (key, entry) in &file.good {
                if let Some(owner) = owners.get(key) {
                    let reason = format!("{} is in {owner} too, which counts", entry.name);
                    problems.push(FileProblem {
                        place: Some(entry.place),
                        ..FileProblem::whole(name, reason, "take it out of one of the two")
                    });
                    continue;
                }
                owners.insert(key, name);
                resources.insert(key.clone(), entry.value.clone());
            }
        }
        (resources, problems)
    }
}

impl File {
    fn update(&mut self, name: &str, found: Found) {
        if self.found.as_ref() == Some(&found) {
            return;
        }
        match found.as_ref().map(|bytes| std::str::from_utf8(bytes)) {
            Err(reason) => {
                let remedy = "its last good state stays in force until it can be read";
                self.problems = vec![FileProblem::whole(name, reason.as_str(), remedy)];
            }
            Ok(Err(_)) => {
                let remedy = "the file's last good state stays in force until it is corrected";
                self.problems = vec![FileProblem::whole(name, "is not UTF-8", remedy)];
            }
            // what a full disk or a save that was cut short leaves behind
            Ok(Ok(text)) if text.trim().is_empty() && !self.good.is_empty() => {
                let remedy =
                    "its resources stay in force: delete the file, or leave a comment in it, to remove them";
                self.problems = vec![FileProblem::whole(name, "is empty", remedy)];
            }
            Ok(Ok(text)) => match read(name, text) {
                Ok(good) => {
                    self.good = good;
                    self.problems.clear();
                }
                Err(problems) => self.problems = problems,
            },
        }
        self.found = Some(found);
    }
}

#[cfg(test)]
mod tests;

//! The effects an installation is made of, and the record of what is ours.

use super::is_configuration_name;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Ending of a file that is being written; no runtime reads it.
const UNFINISHED: &str = "ocicat-new";

/// One effect: whole, or not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Remembers what is ours.
    Remember { record: PathBuf, what: Record },
    /// Puts a file there, in the place of what was.
    Write { path: PathBuf, bytes: Vec<u8>, mode: u32 },
    /// Takes a file away.
    Remove(PathBuf),
    /// Remembers nothing any more.
    Forget(PathBuf),
}

impl Step {
    /// Does it; done twice, it is done once.
    ///
    /// # Errors
    /// The system refuses; in words that name the file.
    pub(super) fn carry_out(&self) -> Result<(), String> {
        match self {
            Step::Remember { record, what } => put(record, what.text().as_bytes(), 0o600),
            Step::Write { path, bytes, mode } => put(path, bytes, *mode),
            // what a call that died left half written goes with it
            Step::Remove(path) | Step::Forget(path) => remove(path).and_then(|()| remove(&unfinished(path))),
        }
    }

    /// What a person is told.
    pub(super) fn said(&self) -> Option<String> {
        match self {
            Step::Write { path, .. } => Some(format!("installed {}", path.display())),
            Step::Remove(path) => Some(format!("removed {}", path.display())),
            Step::Remember { .. } | Step::Forget(_) => None,
        }
    }

    /// A runtime would begin, or cease, to use a network.
    pub(super) fn is_configuration(&self) -> bool {
        let (Step::Write { path, .. } | Step::Remove(path)) = self else { return false };
        path.file_name().and_then(|name| name.to_str()).is_some_and(is_configuration_name)
    }
}

/// Which files are ours: the digests of what was written there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record(BTreeMap<PathBuf, Vec<String>>);

impl Record {
    pub(super) fn of(files: BTreeMap<PathBuf, Vec<String>>) -> Self {
        Self(files)
    }

    /// What is remembered in this file; nothing where there is none.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let Some(bytes) = read(file)? else { return Ok(Self::default()) };
        Self::parse(&bytes).ok_or_else(|| {
            format!(
                "{}: it does not say which files are ours; remove it, and overwrite them with --force",
                file.display()
            )
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let files = value.get("files")?.as_object()?.iter().map(|(path, digests)| {
            let digests: Option<Vec<String>> =
                digests.as_array()?.iter().map(|digest| digest.as_str().map(str::to_owned)).collect();
            Some((PathBuf::from(path), digests?))
        });
        files.collect::<Option<_>>().map(Self)
    }

    fn text(&self) -> String {
        let files: Map<String, Value> =
            self.0.iter().map(|(path, digests)| (path.display().to_string(), json!(digests))).collect();
        format!("{:#}\n", json!({ "files": files }))
    }

    /// Whether these bytes at this path were written by us.
    pub(super) fn has(&self, path: &Path, bytes: &[u8]) -> bool {
        let digest = digest(bytes);
        self.0.get(path).is_some_and(|known| known.contains(&digest))
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// What is known of these paths.
    pub(super) fn only(&self, paths: &[PathBuf]) -> Record {
        let of = |path: &PathBuf| Some((path.clone(), self.0.get(path)?.clone()));
        Record(paths.iter().filter_map(of).collect())
    }

    /// What either knows.
    pub(super) fn and(&self, other: &Record) -> Record {
        let mut both = self.clone();
        for (path, digests) in &other.0 {
            let known = both.0.entry(path.clone()).or_default();
            known.extend(
                digests
                    .iter()
                    .filter(|digest| !self.0.get(path).is_some_and(|old| old.contains(digest)))
                    .cloned(),
            );
        }
        both
    }
}

/// What identifies a file's content.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file's content; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(words(path, &error)),
    }
}

/// A file's permissions.
pub(super) fn mode_of(path: &Path) -> Result<u32, String> {
    let metadata = fs::metadata(path).map_err(|error| words(path, &error))?;
    Ok(metadata.permissions().mode() & 0o7777)
}

/// Where a file is written before it is in its place.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(UNFINISHED);
    path.with_file_name(name)
}

/// Beside it, to disk, then in its place: at any moment there is the old one or the new one.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(|error| words(parent, &error))?;
    let fresh = unfinished(path);
    // of a call that died
    remove(&fresh)?;
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&fresh)?;
        // the process's mask has taken bits away
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(parent)?.sync_all()
    })();
    written.map_err(|error| {
        // whatever it was that failed is what a person has to know
        let _ = fs::remove_file(&fresh);
        words(path, &error)
    })
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Ok(()) => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            File::open(parent)
                .and_then(|directory| directory.sync_all())
                .map_err(|error| words(parent, &error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(words(path, &error)),
    }
}

fn words(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

//! From `-f` to resources: files, directories and standard input, one or several documents each, a document being a
//! resource, a `<Kind>List` or a JSON array. Source: `calicoctl.md` §3.1 of the contract.

#[cfg(test)]
mod tests;

use crate::cli::FileArgs;
use crate::persona::Persona;
use model::document::{self, DocumentError};
use model::schema::{DecodeError, ProblemKind, decode_strict};
use model::{Kind, Resource};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Name of standard input on the command line.
const STANDARD_INPUT: &str = "-";
/// File names with these endings, in any case, are read in a directory.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Where a resource was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    file: String,
    /// From 1.
    document: usize,
    /// Line on which the document begins, from 1.
    line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {} at line {}", source(&self.file), self.document, self.line)
    }
}

/// A file's name for people.
fn source(file: &str) -> &str {
    if file == STANDARD_INPUT { "standard input" } else { file }
}

/// A resource a person gave, with where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The resource.
    pub resource: Resource,
    /// Where it was written; none if it was named by arguments.
    pub origin: Option<Origin>,
}

/// Why input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file or directory cannot be read.
    #[error("open {path}: {}", os_words(source))]
    Unreadable {
        /// As given, or found in a directory.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("no resources specified in {what} {path}")]
    Empty {
        /// `file` or `directory`
        what: &'static str,
        /// As given.
        path: String,
    },
    /// It is neither YAML nor JSON, or no resources of kinds we know.
    #[error("{}", error.kind)]
    Document {
        /// What is wrong with it.
        error: DocumentError,
    },
    /// The document is no resource of its kind.
    #[error("{error}")]
    Decode {
        /// What is wrong with it.
        error: DecodeError,
        /// Where.
        origin: Origin,
    },
}

/// The system's words as Go writes them: without a number, in lower case.
fn os_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

impl InputError {
    /// The message for who called the program so; under our own name it tells the place too.
    pub fn message(&self, persona: Persona) -> String {
        let place = match self {
            _ if persona.is_calicoctl() => String::new(),
            InputError::Document { error } => {
                format!(" (document {} of {})", error.index + 1, source(&error.source_name))
            }
            InputError::Decode { origin, .. } => format!(" ({origin})"),
            InputError::Unreadable { .. } | InputError::Empty { .. } => String::new(),
        };
        match self {
            InputError::Empty { .. } => self.to_string(),
            InputError::Decode { error, .. } => {
                let text = undecoded(error, persona);
                let lead = if error.has_unknown_field() { "" } else { "failed to execute command: " };
                format!("{lead}{text}{place}")
            }
            _ => format!("failed to execute command: {self}{place}"),
        }
    }
}

/// What is said of input that is no resource of its kind: under our own name with the path of every place, as calicoctl
/// with the bare names of unknown fields, or the bare complaint about the first value.
pub fn undecoded(error: &DecodeError, persona: Persona) -> String {
    if !persona.is_calicoctl() {
        return error.to_string();
    }
    let unknown: Vec<&str> = error
        .problems
        .iter()
        .filter_map(|problem| match &problem.kind {
            ProblemKind::UnknownField(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    match error.problems.first().map(|problem| &problem.kind) {
        _ if !unknown.is_empty() => {
            format!("field in document is not recognized or is in the wrong location: {}", unknown.join(", "))
        }
        Some(ProblemKind::BadValue(message)) => {
            format!("error unmarshaling JSON: while decoding JSON: {message}")
        }
        _ => error.to_string(),
    }
}

/// Reads what one `-f` names; nothing only if that is no error. `input` is read for `-`.
///
/// # Errors
/// The first thing that cannot be used; nothing is done then.
pub fn read(args: &FileArgs, filename: &str, input: &mut dyn Read) -> Result<Vec<Given>, InputError> {
    let directory = filename != STANDARD_INPUT && Path::new(filename).is_dir();
    let mut given = Vec::new();
    if directory {
        for path in files_in(Path::new(filename), args.recursive)? {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path).map_err(|source| unreadable(&path, source))?;
            given.extend(resources(&text, &name)?);
        }
    } else {
        given = resources(&text_of(filename, input)?, filename)?;
    }
    if given.is_empty() && !args.skip_empty {
        let what = if directory { "directory" } else { "file" };
        return Err(InputError::Empty { what, path: filename.to_owned() });
    }
    Ok(given)
}

fn text_of(filename: &str, input: &mut dyn Read) -> Result<String, InputError> {
    if filename != STANDARD_INPUT {
        return std::fs::read_to_string(filename).map_err(|source| unreadable(Path::new(filename), source));
    }
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(|source| unreadable(Path::new(STANDARD_INPUT), source))?;
    Ok(text)
}

fn unreadable(path: &Path, source: io::Error) -> InputError {
    InputError::Unreadable { path: path.display().to_string(), source }
}

/// The files of a directory by their endings, in the order of their names.
fn files_in(directory: &Path, recursive: bool) -> Result<Vec<PathBuf>, InputError> {
    let wrap = |source| unreadable(directory, source);
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(wrap)?
        .map(|e| Ok(e?.path()))
        .collect::<io::Result<_>>()
        .map_err(wrap)?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            // A link to a directory above would be followed for ever.
            if recursive && !path.is_symlink() {
                files.extend(files_in(&path, recursive)?);
            }
        } else if path
            .extension()
            .is_some_and(|end| EXTENSIONS.iter().any(|known| end.eq_ignore_ascii_case(known)))
        {
            files.push(path);
        }
    }
    Ok(files)
}

/// The resources of one text.
fn resources(text: &str, file: &str) -> Result<Vec<Given>, InputError> {
    let refuse = |error| InputError::Document { error };
    let mut given = Vec::new();
    for document in document::parse(text, file).map_err(refuse)? {
        let origin = Origin { file: file.to_owned(), document: document.index + 1, line: document.line };
        for raw in document.resources(file).map_err(refuse)? {
            let resource = decode_strict(raw.kind, raw.value)
                .map_err(|error| InputError::Decode { error, origin: origin.clone() })?;
            given.push(Given { resource, origin: Some(origin.clone()) });
        }
    }
    Ok(given)
}

/// Resources named by arguments: a kind, and no name or several.
///
/// # Errors
/// An unknown kind or an empty name.
pub fn named(words: &[String]) -> Result<(Kind, Vec<&str>), String> {
    let (kind, names) = words.split_first().ok_or("a KIND or -f FILE is required")?;
    let kind = Kind::from_alias(kind).ok_or_else(|| format!("resource type '{kind}' is not supported"))?;
    if names.iter().any(String::is_empty) {
        return Err("resource name may not be empty".to_owned());
    }
    Ok((kind, names.iter().map(String::as_str).collect()))
}

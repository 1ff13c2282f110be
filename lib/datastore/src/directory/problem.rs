//! What is wrong with a file, for people.

use std::fmt;

/// Something in a file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The file's name in the directory; empty for the directory itself.
    pub file: String,
    /// Which document of the file, from 1, and the line it begins on; none for the file as a whole.
    pub place: Option<(usize, usize)>,
    /// The field, as far as one is to blame.
    pub field: String,
    /// Its value, as far as it is known.
    pub value: String,
    /// What is wrong.
    pub reason: String,
    /// What was done about it, and what can be done.
    pub remedy: &'static str,
}

impl FileProblem {
    /// A problem of a file as a whole.
    pub(super) fn whole(file: &str, reason: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            file: file.to_owned(),
            place: None,
            field: String::new(),
            value: String::new(),
            reason: reason.into(),
            remedy,
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.file.is_empty() { "the directory" } else { &self.file })?;
        if let Some((document, line)) = self.place {
            write!(f, ", document {document} at line {line}")?;
        }
        match (self.field.is_empty(), self.value.is_empty()) {
            (true, _) => {}
            (false, true) => write!(f, ": {}", self.field)?,
            (false, false) => write!(f, ": {} = '{}'", self.field, self.value)?,
        }
        write!(f, ": {}; {}", self.reason, self.remedy)
    }
}

//! What happens to a resource between a caller and the store: stored form, defaults, validation.
//!
//! Pure: checks that need other objects (overlapping pools, missing tiers, filters that do not exist) belong to the
//! client of the store. Source: `datamodel.md` §10 and `resources.md` of the contract.

use crate::error::{FieldError, ValidationError};
use crate::resource::Resource;
use crate::schema::decode::{Problem, ProblemKind, normalise};
use crate::schema::{defaults, kind};

/// Why a resource is admitted.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// It is new.
    Create,
    /// It replaces another.
    Update {
        /// What it replaces.
        old: &'a Resource,
    },
}

impl<'a> Operation<'a> {
    /// What is replaced, if anything.
    pub fn old(self) -> Option<&'a Resource> {
        match self {
            Operation::Create => None,
            Operation::Update { old } => Some(old),
        }
    }
}

/// Makes a resource fit to be stored: stored form, defaults, forced labels, then validation.
///
/// # Errors
/// Everything that is wrong, in Calico's words. The resource may then be half changed.
pub fn admit(resource: &mut Resource, operation: Operation<'_>) -> Result<(), ValidationError> {
    let schema = kind::of(resource.kind());
    into_stored_form(resource)?;
    if let Some(prepare) = schema.prepare {
        prepare(resource, operation)?;
    }
    defaults::apply(schema, resource);
    into_stored_form(resource)?;
    validate(resource)?;
    match schema.finish {
        Some(finish) => finish(resource, operation),
        None => Ok(()),
    }
}

/// Validates a resource as it is, without defaults: what `validate` does offline.
/// The resource comes from [`crate::schema::decode_strict`] or is in stored form.
///
/// # Errors
/// Everything that is wrong, in Calico's words.
pub fn validate(resource: &Resource) -> Result<(), ValidationError> {
    ValidationError::check(kind::of(resource.kind()).check(resource))
}

fn into_stored_form(resource: &mut Resource) -> Result<(), ValidationError> {
    normalise(resource)
        .map_err(|error| ValidationError { fields: error.problems.into_iter().map(unreadable).collect() })
}

fn unreadable(problem: Problem) -> FieldError {
    let reason = match problem.kind {
        ProblemKind::UnknownField(_) => "field is not known".to_owned(),
        ProblemKind::WrongType { expected, found } => format!("{found} where {expected} is wanted"),
        ProblemKind::BadValue(message) => message,
    };
    FieldError::at(problem.path, reason)
}

#[cfg(test)]
mod tests;

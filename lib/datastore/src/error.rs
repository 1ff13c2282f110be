//! What the resource level answers when it refuses; texts are those of `datamodel.md` §13 of the contract.

use crate::StoreError;
use model::{FieldError, Kind, Resource, StoredError, ValidationError};

/// Why a request about a resource failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// There is no such resource.
    #[error("resource does not exist: {id} with error: <nil>")]
    DoesNotExist {
        /// Which: `Kind(namespace/name)` or `Kind(name)`.
        id: String,
    },
    /// There is one already.
    #[error("resource already exists: {id} with error: {}", detail.as_deref().unwrap_or("<nil>"))]
    AlreadyExists {
        /// Which.
        id: String,
        /// Why it cannot be replaced by a new one, where there is more to say.
        detail: Option<String>,
        /// The stored one, if it can be read.
        current: Option<Box<Resource>>,
    },
    /// The resource changed since it was read.
    #[error("update conflict: {id}")]
    UpdateConflict {
        /// Which.
        id: String,
        /// The stored one, if it can be read.
        current: Option<Box<Resource>>,
    },
    /// The operation makes no sense for this resource.
    #[error("operation {operation} is not supported on {id}{}", reason_text(reason))]
    NotSupported {
        /// Name of the operation, as Calico spells it in this message.
        operation: &'static str,
        /// Which resource.
        id: String,
        /// Why not.
        reason: Option<String>,
    },
    /// The resource, or an argument, is not valid.
    #[error(transparent)]
    Validation(#[from] ValidationError),
    /// A name or another part of the identity is missing.
    #[error("insufficient identifiers, missing '{0}'")]
    InsufficientIdentifiers(&'static str),
    /// The stored value is not what its key promises.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// The store failed; a write may or may not have happened if it is `StoreError::Unavailable`.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn reason_text(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl ClientError {
    /// The refusal of one field.
    pub fn field(field: FieldError) -> Self {
        Self::Validation(ValidationError::one(field))
    }

    /// Whether it says that the resource is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::DoesNotExist { .. })
    }

    /// Whether reading again and repeating may help: somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::UpdateConflict { .. })
    }
}

/// How messages name a resource: `Kind(namespace/name)`, or `Kind(name)` for cluster-scoped kinds.
pub fn identity(kind: Kind, namespace: &str, name: &str) -> String {
    match namespace {
        "" => format!("{}({name})", kind.name()),
        _ => format!("{}({namespace}/{name})", kind.name()),
    }
}

/// [`identity`] of a resource.
pub fn identity_of(resource: &Resource) -> String {
    identity(resource.kind(), resource.namespace(), resource.name())
}

/// Reads a resource version.
///
/// # Errors
/// A text that is no 64-bit decimal, as a refusal of the field `ResourceVersion`.
pub fn parse_revision(text: &str) -> Result<i64, ClientError> {
    text.parse().map_err(|_| {
        ClientError::field(FieldError {
            name: "ResourceVersion".into(),
            value: Some(text.to_owned()),
            reason: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_contract() {
        let id = identity(Kind::IPPool, "", "p");
        assert_eq!(id, "IPPool(p)");
        assert_eq!(identity(Kind::NetworkPolicy, "shop", "web"), "NetworkPolicy(shop/web)");
        let missing = ClientError::DoesNotExist { id: id.clone() };
        assert_eq!(missing.to_string(), "resource does not exist: IPPool(p) with error: <nil>");
        let exists = ClientError::AlreadyExists { id: id.clone(), detail: None, current: None };
        assert_eq!(exists.to_string(), "resource already exists: IPPool(p) with error: <nil>");
        let conflict = ClientError::UpdateConflict { id: id.clone(), current: None };
        assert_eq!(conflict.to_string(), "update conflict: IPPool(p)");
        let refused = |reason| ClientError::NotSupported { operation: "delete", id: id.clone(), reason };
        assert_eq!(refused(None).to_string(), "operation delete is not supported on IPPool(p)");
        assert_eq!(
            refused(Some("resource is readonly".into())).to_string(),
            "operation delete is not supported on IPPool(p): resource is readonly"
        );
        assert_eq!(parse_revision("x1").unwrap_err().to_string(), "error with field ResourceVersion = 'x1'");
        assert_eq!(parse_revision("12").unwrap(), 12);
        assert!(parse_revision("9223372036854775808").is_err());
    }
}

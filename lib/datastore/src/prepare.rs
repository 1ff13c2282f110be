//! One write of one resource as a condition and an operation, without a connection: callers join several into one
//! transaction, [`Client`](crate::Client) sends them one by one. Source: `datamodel.md` §2 and §10 of the contract.

use crate::codec;
use crate::error::{ClientError, parse_revision};
use crate::rules;
use bytes::Bytes;
use model::admission::Operation;
use model::{FieldError, Resource};
use mvcc::{Compare, Op, PutRequest, RangeRequest, Revision, Txn};

/// A write that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The key.
    pub key: Bytes,
    /// Holds as long as nobody else wrote.
    pub compare: Compare,
    /// The write.
    pub op: Op,
    /// The resource as it will be stored, without its new revision; see [`Prepared::stored_at`].
    pub resource: Resource,
}

impl Prepared {
    /// The transaction of this write alone; when refused it answers with the stored pair.
    pub fn into_txn(self) -> Txn {
        Txn {
            compare: vec![self.compare],
            success: vec![self.op],
            failure: vec![Op::Range(RangeRequest::key(self.key))],
        }
    }

    /// The resource after the write, at the transaction's revision.
    pub fn stored_at(mut self, revision: Revision) -> Resource {
        self.resource.set_meta_text("resourceVersion", &revision.to_string());
        codec::in_form(self.resource)
    }
}

/// Makes the write that creates `resource`: completes, defaults and validates it, gives it identity and time.
///
/// # Errors
/// `Validation` for what the resource itself gets wrong. What others in the store forbid (a missing tier, an
/// overlapping pool) is not looked at here.
pub fn prepare_create(mut resource: Resource) -> Result<Prepared, ClientError> {
    if !resource.resource_version().is_empty() {
        let version = resource.resource_version().to_owned();
        let reason = "field must not be set for a Create request";
        return Err(ClientError::field(FieldError::new("Metadata.ResourceVersion", version, reason)));
    }
    admit(&mut resource, Operation::Create)?;
    Ok(new(resource))
}

/// Makes the write that replaces `old`, as it was read, by `resource`, whose `resourceVersion` says what it is based on.
///
/// # Errors
/// `Validation` when version, uid or creation time are missing, or the resource or the change is not valid.
pub fn prepare_update(old: &Resource, mut resource: Resource) -> Result<Prepared, ClientError> {
    let revision = check_update(&resource)?;
    admit(&mut resource, Operation::Update { old })?;
    Ok(replacement(resource, revision))
}

/// The write of a new resource that needs no check; gives it identity and time where it has none.
pub(crate) fn new(mut resource: Resource) -> Prepared {
    if resource.creation_timestamp().is_empty() {
        resource.set_meta_text("creationTimestamp", &now());
    }
    if resource.uid().is_empty() {
        resource.set_meta_text("uid", &uuid::Uuid::new_v4().to_string());
    }
    let key = Bytes::from(resource.key().path());
    write(resource, Compare::absent(key))
}

/// The write that replaces what was stored at `revision`, without a check.
pub(crate) fn replacement(resource: Resource, revision: Revision) -> Prepared {
    let key = Bytes::from(resource.key().path());
    write(resource, Compare::mod_revision(key, revision))
}

/// The revision an update is based on, if it may be one at all.
pub(crate) fn check_update(resource: &Resource) -> Result<Revision, ClientError> {
    let required = [
        ("Metadata.ResourceVersion", resource.resource_version()),
        ("Metadata.CreationTimestamp", resource.creation_timestamp()),
        ("Metadata.UID", resource.uid()),
    ];
    for (field, value) in required {
        if value.is_empty() {
            let reason = "field must be set for an Update request";
            return Err(ClientError::field(FieldError::new(field, "", reason)));
        }
    }
    parse_revision(resource.resource_version())
}

/// Everything about a resource that can be decided by looking at it alone.
pub(crate) fn admit(resource: &mut Resource, operation: Operation<'_>) -> Result<(), ClientError> {
    rules::complete_name(resource)?;
    model::admission::admit(resource, operation)?;
    rules::check_identity(resource)?;
    rules::force_labels(resource);
    Ok(())
}

fn write(mut resource: Resource, compare: Compare) -> Prepared {
    resource.metadata_mut().shift_remove("selfLink");
    let key = compare.range.key.clone();
    let op = Op::Put(PutRequest::new(key.clone(), codec::encode(&resource)));
    Prepared { key, compare, op, resource }
}

/// The time of creation, to the second, as Calico writes it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

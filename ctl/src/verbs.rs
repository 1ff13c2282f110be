//! What the verbs do with one resource. Source: `calicoctl.md` §3.3 of the contract.

#[cfg(test)]
mod tests;

use crate::cascade;
use crate::tally::Verb;
use datastore::{Client, ClientError, DeleteOptions, identity_of};
use model::{Kind, Resource, admission};
use std::time::Duration;

/// How often a replacement without a version is tried when others write too.
const REPLACE_ATTEMPTS: usize = 5;
/// Pause between the tries.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);
/// Policies that are mirrors of Kubernetes' own.
const KUBERNETES_POLICY_PREFIX: &str = "knp.default.";
/// What a new resource takes over from a document's metadata.
const CREATED_METADATA: [&str; 5] = ["name", "namespace", "resourceVersion", "labels", "annotations"];

/// Refuses kinds and names that are not for users to write.
fn refuse_read_only(resource: &Resource, verb: Verb) -> Result<(), ClientError> {
    let operation = verb.name();
    if resource.kind() == Kind::ClusterInformation {
        let (id, reason) = (resource.kind().name().to_owned(), Some("resource is readonly".to_owned()));
        return Err(ClientError::NotSupported { operation, id, reason });
    }
    if resource.kind() == Kind::NetworkPolicy && resource.name().starts_with(KUBERNETES_POLICY_PREFIX) {
        let operation = match verb {
            Verb::Create | Verb::Apply => "create or apply",
            Verb::Replace => "apply or replace",
            _ => operation,
        };
        let reason =
            Some("kubernetes network policies must be managed through the kubernetes API".to_owned());
        return Err(ClientError::NotSupported { operation, id: identity_of(resource), reason });
    }
    Ok(())
}

/// Creates; one that exists is an error unless `skip_exists`.
///
/// # Errors
/// As [`Client::create`].
pub async fn create(client: &Client, resource: Resource, skip_exists: bool) -> Result<(), ClientError> {
    refuse_read_only(&resource, Verb::Create)?;
    match client.create(with_created_metadata(resource)).await {
        Err(ClientError::AlreadyExists { .. }) if skip_exists => Ok(()),
        done => done.map(drop),
    }
}

/// Creates, or replaces what exists.
///
/// # Errors
/// As [`Client::create`] and [`replace`].
pub async fn apply(client: &Client, resource: Resource) -> Result<(), ClientError> {
    refuse_read_only(&resource, Verb::Apply)?;
    let mut new = with_created_metadata(resource.clone());
    new.set_meta_text("resourceVersion", "");
    match client.create(new).await {
        Err(ClientError::AlreadyExists { .. } | ClientError::NotSupported { .. }) => {
            replace_existing(client, resource).await
        }
        done => done.map(drop),
    }
}

/// Replaces what exists: its identity stays, labels, annotations and the rest are the document's. A version in the
/// document must be the stored one.
///
/// # Errors
/// `DoesNotExist`, `UpdateConflict`, and as [`Client::update`].
pub async fn replace(client: &Client, resource: Resource) -> Result<(), ClientError> {
    refuse_read_only(&resource, Verb::Replace)?;
    replace_existing(client, resource).await
}

async fn replace_existing(client: &Client, resource: Resource) -> Result<(), ClientError> {
    let pinned = !resource.resource_version().is_empty();
    let mut attempt = 1;
    loop {
        let stored = client.get(resource.kind(), resource.namespace(), resource.name()).await?;
        if pinned && stored.resource_version() != resource.resource_version() {
            return Err(ClientError::UpdateConflict {
                id: identity_of(&resource),
                current: Some(Box::new(stored)),
            });
        }
        match client.update(with_stored_identity(resource.clone(), &stored)).await {
            Err(error) if error.is_conflict() && !pinned && attempt < REPLACE_ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(REPLACE_PAUSE).await;
            }
            done => return done.map(drop),
        }
    }
}

/// Deletes, with what hangs on it; one that is missing is an error unless `skip_missing`.
///
/// # Errors
/// As [`Client::delete`].
pub async fn delete(client: &Client, resource: &Resource, skip_missing: bool) -> Result<(), ClientError> {
    refuse_read_only(resource, Verb::Delete)?;
    let version = resource.resource_version();
    let options = DeleteOptions { revision: (!version.is_empty()).then(|| version.to_owned()), uid: None };
    match cascade::delete(client, resource.kind(), resource.namespace(), resource.name(), options).await {
        Err(ClientError::DoesNotExist { .. }) if skip_missing => Ok(()),
        done => done,
    }
}

/// Checks a resource as it stands, without a datastore and without the rules that only a write applies.
///
/// # Errors
/// `Validation`.
pub fn validate(resource: &Resource) -> Result<(), ClientError> {
    Ok(admission::validate(resource)?)
}

/// Of the metadata only what a user decides.
fn with_created_metadata(mut resource: Resource) -> Resource {
    resource.metadata_mut().retain(|field, _| CREATED_METADATA.contains(&field.as_str()));
    resource
}

/// The stored metadata with the labels and annotations of the replacement.
fn with_stored_identity(mut resource: Resource, stored: &Resource) -> Resource {
    let mut metadata = stored.metadata().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match resource.metadata_mut().shift_remove(field) {
            Some(given) => metadata.insert(field.to_owned(), given),
            None => metadata.shift_remove(field),
        };
    }
    *resource.metadata_mut() = metadata;
    resource
}

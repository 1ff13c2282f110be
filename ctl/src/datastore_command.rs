//! `datastore`: the embedded store (`serve`), copies of whole datastores (`copy`), locking, and the names of policies that old releases stored.
//! Source: `calicoctl.md` §8, `datamodel.md` §2 and §11 of the contract.

mod copy;
mod serve;
#[cfg(test)]
mod tests;

pub use copy::{backup, migrate_to, restore};
pub use serve::serve;

use crate::io::{Failure, Io};
use crate::session::{Session, explain};
use datastore::{Bootstrap, Client, ClientError, codec};
use model::key::resource_prefix;
use model::{DEFAULT_TIER, Kind};
use mvcc::{Compare, DeleteRequest, KeyValue, Op, PutRequest, RangeRequest, Txn};

/// `migrate lock` and `unlock`: while it is not ready no address is given out and no policy changes.
///
/// # Errors
/// A datastore that cannot be written.
pub async fn set_ready(session: &Session, ready: bool, io: &mut Io) -> Result<(), Failure> {
    let client = &session.client;
    client.ensure_initialized(Bootstrap::default()).await.map_err(failed)?;
    client.set_datastore_ready(ready).await.map_err(failed)?;
    io.line(if ready { "Datastore unlocked." } else { "Datastore locked." })
}

/// `migrate-policy-names`
///
/// # Errors
/// A datastore that cannot be read or written; what was migrated before stays so.
pub async fn migrate_policy_names(session: &Session, io: &mut Io) -> Result<(), Failure> {
    let migrated = migrate(&session.client).await.map_err(failed)?;
    io.line(&format!("Policy name migration complete, migrated {migrated} policies."))
}

async fn migrate(client: &Client) -> Result<usize, ClientError> {
    let mut migrated = 0;
    for kind in Kind::ALL.iter().copied().filter(|kind| codec::is_tiered_policy(*kind)) {
        let pairs = client.store().range(RangeRequest::prefix(resource_prefix(kind, None))).await?.kvs;
        for txn in pairs.iter().filter_map(renaming) {
            // Whoever changed it meanwhile, or took the name, wins; the next run sees to the rest.
            migrated += usize::from(client.store().txn(txn).await?.succeeded);
        }
    }
    Ok(migrated)
}

/// The transaction that moves a policy to the key of its name; none if it is there already.
fn renaming(pair: &KeyValue) -> Option<Txn> {
    let policy = codec::decode(pair)
        .inspect_err(|error| tracing::warn!(%error, "not migrated"))
        .ok()
        .filter(|policy| datastore::tier_of(policy) == DEFAULT_TIER)?;
    let key = policy.key().path();
    if key.as_bytes() == pair.key.as_ref() {
        return None;
    }
    Some(Txn {
        compare: vec![
            Compare::absent(key.clone()),
            Compare::mod_revision(pair.key.clone(), pair.mod_revision),
        ],
        success: vec![
            Op::Put(PutRequest::new(key, codec::encode(&policy))),
            Op::Delete(DeleteRequest::key(pair.key.clone())),
        ],
        failure: Vec::new(),
    })
}

fn failed(error: ClientError) -> Failure {
    Failure::Message(explain(&error))
}

//! Copies of a whole store through etcd's API: from any etcd into a backup, and from a backup into any etcd.

use crate::backup::{BackedLease, BackupError, Piece, Writer, read};
use etcd_client::{Client, Compare, CompareOp, GetOptions, LeaseGrantOptions, PutOptions, Txn, TxnOp};
use mvcc::{Record, Revision};
use std::collections::HashMap;
use std::io::{Read, Write};

/// Keys of one page, and of one transaction: below etcd's 128 operations.
const PAGE: i64 = 1000;
const WRITES: usize = 100;
/// No transaction is larger, unless a single value is.
const BYTES: usize = 1 << 20;

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// etcd refused or did not answer.
    #[error("{0}")]
    Etcd(String),
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Something is there already.
    #[error("the target holds {0} keys already: a datastore is moved into an empty one only")]
    Occupied(i64),
}

impl From<etcd_client::Error> for TransferError {
    fn from(error: etcd_client::Error) -> Self {
        TransferError::Etcd(match error {
            etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
            other => other.to_string(),
        })
    }
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Keys.
    pub keys: usize,
    /// Leases.
    pub leases: usize,
    /// Revision of the source at which it was read.
    pub source_revision: Revision,
    /// Newest revision of the target, when there is one.
    pub target_revision: Revision,
}

/// Writes everything that `client` sees now into a backup: every key with its counters as of one revision, and every
/// lease. History before that revision is not in it.
///
/// # Errors
/// etcd does not answer, or the backup cannot be written.
pub async fn export<W: Write>(client: &mut Client, to: W) -> Result<(W, Copied), TransferError> {
    let io = |error: std::io::Error| TransferError::Backup(error.into());
    let mut done = Copied::default();
    let count = GetOptions::new().with_all_keys().with_count_only();
    let now = client.get("", Some(count)).await?;
    done.source_revision = now.header().map_or(0, etcd_client::ResponseHeader::revision);
    let mut writer = Writer::new(to).map_err(io)?;
    writer.piece(&Piece::Compacted(done.source_revision)).map_err(io)?;
    for lease in client.leases().await?.leases() {
        let state = client.lease_time_to_live(lease.id(), None).await?;
        if state.ttl() < 0 {
            continue;
        }
        done.leases += 1;
        let left = u64::try_from(state.ttl()).unwrap_or(0) * 1000;
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let end = u64::try_from(wall.as_millis()).unwrap_or(0) + left;
        let lease = BackedLease { id: lease.id(), ttl: state.granted_ttl(), end };
        writer.piece(&Piece::Lease(lease)).map_err(io)?;
    }
    let mut from = vec![0];
    loop {
        let options =
            GetOptions::new().with_range(vec![0]).with_limit(PAGE).with_revision(done.source_revision);
        let page = client.get(from.clone(), Some(options)).await?;
        for kv in page.kvs() {
            done.keys += 1;
            let record = Record {
                revision: kv.mod_revision(),
                place: 0,
                key: kv.key().to_vec().into(),
                value: kv.value().to_vec().into(),
                created: kv.create_revision(),
                version: kv.version(),
                lease: kv.lease(),
            };
            writer.piece(&Piece::Record(record)).map_err(io)?;
        }
        match page.kvs().last() {
            Some(last) if page.more() => {
                from = last.key().to_vec();
                from.push(0);
            }
            _ => break,
        }
    }
    Ok((writer.finish().map_err(io)?, done))
}

/// Writes a backup into an empty etcd. Keys get new revisions, because an etcd counts its own; a key is written once, so
/// its version is 1. Nothing is written before the whole backup is found sound.
///
/// # Errors
/// The target is not empty or does not answer; the backup is damaged.
pub async fn import(client: &mut Client, from: impl Read) -> Result<Copied, TransferError> {
    let count = GetOptions::new().with_all_keys().with_count_only();
    let there = client.get("", Some(count)).await?.count();
    if there > 0 {
        return Err(TransferError::Occupied(there));
    }
    let mut done = Copied::default();
    let mut leases = Vec::new();
    // a backup of ours may hold history: the last write of a key counts
    let mut newest: HashMap<bytes::Bytes, Record> = HashMap::new();
    read(from, |piece| {
        match piece {
            Piece::Compacted(revision) => done.source_revision = done.source_revision.max(revision),
            Piece::Lease(lease) => leases.push(lease),
            Piece::Record(record) => {
                done.source_revision = done.source_revision.max(record.revision);
                match newest.get(&record.key) {
                    Some(known) if known.revision > record.revision => {}
                    _ => drop(newest.insert(record.key.clone(), record)),
                }
            }
        }
        Ok(())
    })?;
    for lease in &leases {
        client.lease_grant(lease.ttl, Some(LeaseGrantOptions::new().with_id(lease.id))).await?;
        done.leases += 1;
    }
    let mut records: Vec<Record> = newest.into_values().filter(|record| record.version > 0).collect();
    records.sort_by(|a, b| (a.revision, a.place, &a.key).cmp(&(b.revision, b.place, &b.key)));
    let mut rest = records.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.key.len() + record.value.len();
            bytes <= BYTES
        };
        let len = rest.iter().take(WRITES).take_while(fits).count().max(1);
        let (now, later) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        rest = later;
        done.keys += now.len();
        done.target_revision = write(client, now).await?;
    }
    Ok(done)
}

async fn write(client: &mut Client, records: &[Record]) -> Result<Revision, TransferError> {
    let absent = |record: &Record| Compare::version(record.key.to_vec(), CompareOp::Equal, 0);
    let put = |record: &Record| {
        let options = PutOptions::new().with_lease(record.lease);
        TxnOp::put(record.key.to_vec(), record.value.to_vec(), Some(options))
    };
    let txn = Txn::new()
        .when(records.iter().map(absent).collect::<Vec<_>>())
        .and_then(records.iter().map(put).collect::<Vec<_>>());
    let answer = client.txn(txn).await?;
    if !answer.succeeded() {
        return Err(TransferError::Etcd("somebody else writes to the target meanwhile".to_owned()));
    }
    Ok(answer.header().map_or(0, etcd_client::ResponseHeader::revision))
}

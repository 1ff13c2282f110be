//! Status keys in the datastore, written by a task of their own.

use super::keys;
use bytes::Bytes;
use datastore::{Datastore, StoreError};
use delta::DeltaMap;
use failpoint::failpoint;
use felix_config::settings;
use futures::future::BoxFuture;
use mvcc::{DeleteRequest, Op, PutRequest, RangeRequest, Txn};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a write may take (`datamodel.md` §5 of the contract).
const PATIENCE: Duration = Duration::from_secs(2);
/// Keys in one transaction: etcd takes 128 operations.
const BATCH: usize = 100;
/// Times the delay between two writes after which what is there is read again.
const READ_AGAIN: u32 = 180;
/// The shortest time between two writes, whatever the settings say.
const LEAST_DELAY: Duration = Duration::from_millis(10);

/// What the loop says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    /// The kernel enforces something: before, nothing is reported.
    pub(super) began: bool,
    /// None before the first word.
    pub(super) settings: Option<settings::Status>,
    /// Keys of endpoints and their values.
    pub(super) endpoints: BTreeMap<String, String>,
}

struct Reporter {
    store: Arc<dyn Datastore>,
    node: String,
    start: Instant,
    told: Told,
    keys: DeltaMap<String, String>,
    /// When what is there has to be read; none while nothing is reported.
    read_at: Option<Instant>,
    /// When the agent reports itself next.
    report_at: Option<Instant>,
    reported: bool,
    /// Not before.
    write_at: Instant,
    failed: bool,
}

/// Writes until the loop has gone.
pub(super) async fn run(store: Arc<dyn Datastore>, node: String, mut heard: watch::Receiver<Told>) {
    let now = Instant::now();
    let mut reporter = Reporter {
        store,
        node,
        start: now,
        told: Told::default(),
        keys: DeltaMap::new(),
        read_at: None,
        report_at: None,
        reported: false,
        write_at: now,
        failed: false,
    };
    loop {
        let at = reporter.next();
        let time = async {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = heard.changed() => {
                if changed.is_err() {
                    return;
                }
                let told = heard.borrow_and_update().clone();
                reporter.take(told);
            }
            () = time => reporter.work().await,
        }
    }
}

impl Reporter {
    fn take(&mut self, told: Told) {
        let now = Instant::now();
        let Some(settings) = &told.settings else { return };
        let before = self.told.settings.as_ref();
        let moved = before
            .is_none_or(|before| before.region != settings.region || before.endpoints != settings.endpoints);
        if moved {
            // what lies at the old place or from an earlier life has to go
            self.read_at = Some(now);
        }
        if before.is_none_or(|before| before.interval != settings.interval) {
            self.report_at = settings.interval.map(|_| now);
        }
        self.keys.replace_desired(told.endpoints.clone());
        self.told = told;
    }

    fn delay(&self) -> Duration {
        self.told.settings.as_ref().map_or(LEAST_DELAY, |settings| settings.delay.max(LEAST_DELAY))
    }

    fn next(&self) -> Option<Instant> {
        if !self.told.began {
            return None;
        }
        let write = (!self.keys.is_in_sync()).then_some(self.write_at);
        [self.read_at.map(|at| at.max(self.write_at)), self.report_at, write].into_iter().flatten().min()
    }

    async fn work(&mut self) {
        let now = Instant::now();
        let result = self.due(now).await;
        self.write_at = Instant::now() + self.delay();
        match result {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!(%error, "status cannot be written to the datastore, trying again");
                }
                metrics::counter!("felix_status_write_errors").increment(1);
            }
        }
    }

    async fn due(&mut self, now: Instant) -> Result<(), StoreError> {
        if self.report_at.is_some_and(|at| at <= now) {
            let interval = self.told.settings.as_ref().and_then(|settings| settings.interval);
            self.report_at = interval.map(|interval| now + interval);
            self.report().await?;
        }
        if self.read_at.is_some_and(|at| at <= now) {
            self.read().await?;
            let reports = self.told.settings.as_ref().is_some_and(|settings| settings.endpoints);
            self.read_at = reports.then(|| now + self.delay() * READ_AGAIN);
        }
        if self.write_at <= now {
            self.write().await?;
        }
        Ok(())
    }

    async fn report(&mut self) -> Result<(), StoreError> {
        let Some(settings) = self.told.settings.clone() else { return Ok(()) };
        let value = keys::report(jiff::Timestamp::now(), self.start.elapsed(), !self.reported);
        let [leased, lasting] = keys::reports(settings.region.as_deref(), &self.node);
        let ttl = i64::try_from(settings.ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        let lease = patient(self.store.lease_grant(ttl)).await?;
        let put = |key: String, lease| {
            Op::Put(PutRequest { lease, ..PutRequest::new(Bytes::from(key), Bytes::from(value.clone())) })
        };
        let txn = Txn { success: vec![put(leased, lease), put(lasting, 0)], ..Txn::default() };
        patient(self.store.txn(txn)).await?;
        self.reported = true;
        Ok(())
    }

    /// What is there of this node's, ours or left by an earlier life.
    async fn read(&mut self) -> Result<(), StoreError> {
        let region = self.told.settings.as_ref().and_then(|settings| settings.region.clone());
        let mut found = BTreeMap::new();
        for prefix in [keys::workloads(region.as_deref(), &self.node), keys::hosts(&self.node)] {
            let answer = patient(self.store.range(RangeRequest::prefix(Bytes::from(prefix)))).await?;
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            found.extend(answer.kvs.iter().map(|pair| (text(&pair.key), text(&pair.value))));
        }
        self.keys.replace_actual(found);
        Ok(())
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        while !self.keys.is_in_sync() {
            let updates: Vec<(String, String)> = self
                .keys
                .pending_updates()
                .map(|update| (update.key.clone(), update.desired.clone()))
                .take(BATCH)
                .collect();
            let gone: Vec<String> = self
                .keys
                .pending_deletions()
                .map(|(key, _)| key.clone())
                .take(BATCH - updates.len())
                .collect();
            let puts = updates.iter().map(|(key, value)| {
                Op::Put(PutRequest::new(Bytes::from(key.clone()), Bytes::from(value.clone())))
            });
            let deletes = gone.iter().map(|key| {
                Op::Delete(DeleteRequest { prev_kv: false, ..DeleteRequest::key(Bytes::from(key.clone())) })
            });
            patient(self.store.txn(Txn { success: puts.chain(deletes).collect(), ..Txn::default() })).await?;
            failpoint("felix-status-keys");
            updates.iter().for_each(|(key, _)| self.keys.mark_updated(key));
            gone.iter().for_each(|key| self.keys.mark_deleted(key));
        }
        Ok(())
    }
}

async fn patient<T>(request: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, request).await.map_err(late)?
}

#[cfg(test)]
mod tests;

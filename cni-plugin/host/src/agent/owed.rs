//! What the datastore is owed: releases of attachments that DEL took apart while it did not answer. They are carried out before
//! anything else is written to it, by whoever comes first: the next call, or the agent by itself.

use super::Agent;
use super::record::{Key, Record, State};
use crate::del::source;
use crate::detach::remove_host_end;
use crate::endpoint;
use crate::failpoint::failpoint;
use crate::host::Host;
use crate::session::{self, Facts, Questions};
use cni_protocol::{CniError, Request, StoreTrouble};
use datastore::Datastore;
use observe::shutdown::Shutdown;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How soon what is owed is tried again, and how long records may stay in memory of the system alone.
const ROUND: Duration = Duration::from_secs(1);
/// How long the datastore counts as away after it did not answer, so that those who wait ask it once.
const AWAY: Duration = Duration::from_secs(1);

/// Asks whether the datastore is ready, and for the attachment's endpoint.
pub(super) async fn ask(store: &Arc<dyn Datastore>, record: &Record) -> Result<Facts, CniError> {
    let questions = Questions { endpoints: record.endpoint.clone(), exact: true, ..Questions::default() };
    session::ask(store, &questions).await
}

/// Releases endpoint and addresses; `facts` is what was there a moment ago. Returns the host's interface of the endpoint, if
/// this deleted one.
pub(super) async fn release(
    host: &Host,
    store: &Arc<dyn Datastore>,
    record: &Record,
    request: &Request,
    facts: &Facts,
) -> Result<Option<String>, CniError> {
    let id = record.identity();
    let interface = endpoint::delete(store, &id, facts.endpoints.first()).await?;
    source(host, request, &id, Arc::clone(store))?.release().await?;
    failpoint("agent-del-released");
    Ok(interface)
}

impl Agent {
    /// Notes, so that a power cut does not undo it, that a release is owed.
    ///
    /// # Errors
    /// Code 11: it cannot be noted, so that DEL has to be repeated.
    pub(super) async fn owe(&self, record: Record) -> Result<(), CniError> {
        let key = record.key.clone();
        let owed = Record { state: State::Owed, ..record };
        let agent = self.clone();
        let written = tokio::task::spawn_blocking(move || agent.records().put_for_good(owed)).await;
        match written {
            Ok(Ok(())) => {
                failpoint("agent-owed");
                tracing::warn!(attachment = %key, "the datastore does not answer; the release is noted and will be carried out");
                Ok(())
            }
            Ok(Err(error)) => Err(CniError::try_again(error.to_string())),
            Err(error) => Err(CniError::try_again(error.to_string())),
        }
    }

    /// Carries out what is owed to the datastore that these variables lead to. Nothing owed is no request.
    ///
    /// # Errors
    /// It does not answer, or is not ready: nobody may write to it before.
    pub(super) async fn pay(&self, host: &Host, store: &BTreeMap<String, String>) -> Result<(), CniError> {
        let owed = |agent: &Agent| -> Vec<Key> {
            let records = agent.records();
            let to_it = records.all().filter(|record| record.state == State::Owed && record.store == *store);
            to_it.map(|record| record.key.clone()).collect()
        };
        if owed(self).is_empty() {
            return Ok(());
        }
        let mut paying = self.0.paying.lock().await;
        if let Some((_, error)) = paying.as_ref().filter(|(when, _)| when.elapsed() < AWAY) {
            return Err(error.clone());
        }
        for key in owed(self) {
            match self.pay_one(host, &key).await {
                Ok(()) => *paying = None,
                // the next one would fare no better
                Err(error) if error.store != StoreTrouble::None => {
                    *paying = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
                // one that cannot be carried out as it is holds up nobody
                Err(error) => {
                    tracing::error!(attachment = %key, %error, "a release that is owed cannot be carried out");
                }
            }
        }
        Ok(())
    }

    async fn pay_one(&self, host: &Host, key: &Key) -> Result<(), CniError> {
        let Some(record) = self.records().get(key) else { return Ok(()) };
        let store = record.connect(host).await?;
        let facts = ask(&store, &record).await?;
        let interface = if record.is_ours() {
            release(host, &store, &record, &record.request(record.environment())?, &facts).await?
        } else {
            endpoint::delete(&store, &record.identity(), facts.endpoints.first()).await?
        };
        // DEL could not ask where the host's end is
        if record.host_end.is_none()
            && let Some(interface) = interface.filter(|interface| !interface.is_empty())
        {
            remove_host_end(host, &interface).await?;
        }
        tracing::info!(attachment = %key, "a release that was owed is carried out");
        if record.is_ours() || record.returned {
            self.released(record);
        } else {
            // Another plugin's addresses: only one that a runtime executes may ask it to take them back.
            self.records().put_in_memory(Record { state: State::Leaving, ..record });
        }
        Ok(())
    }

    /// Nothing of an attachment is left in the datastore; its record goes as soon as its link has.
    pub(super) fn released(&self, record: Record) {
        let key = record.key.clone();
        self.records().put_in_memory(Record { state: State::Released, ..record });
        if !self.0.graveyard.holds(&key) {
            self.bury_record(&key);
        }
    }

    /// Forgets an attachment whose link is gone, if nothing of it is left in the datastore either.
    pub(super) fn bury_record(&self, key: &Key) {
        let version = {
            let records = self.records();
            let released = records.get(key).is_some_and(|record| record.state == State::Released);
            records.version(key).filter(|_| released)
        };
        if let Some(version) = version {
            self.forget(key, version);
        }
    }

    /// Carries out what is owed, and has records reach the disk, until `shutdown` fires.
    pub(crate) async fn keep_paying(&self, host: &Host, shutdown: &Shutdown, report: impl Fn()) {
        loop {
            report();
            tokio::select! {
                () = shutdown.wait() => break,
                () = tokio::time::sleep(ROUND) => {}
            }
            self.sync().await;
            let stores: BTreeSet<_> = {
                let records = self.records();
                let owed = records.all().filter(|record| record.state == State::Owed);
                owed.map(|record| record.store.clone()).collect()
            };
            for store in stores {
                if let Err(error) = self.pay(host, &store).await {
                    tracing::debug!(%error, "what is owed to the datastore waits");
                }
            }
        }
        self.sync().await;
    }
}

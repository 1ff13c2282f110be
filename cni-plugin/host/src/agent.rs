//! What an agent keeps between calls, and what it does with it: DEL, CHECK and GC by what ADD did, not by what a configuration
//! says today.
//!
//! ```text
//!             ┌──────────────── record: Attaching ─► Attached ─► Leaving ─► (gone)
//!  ADD, DEL ──┤ one call at a                              │        ▲  │
//!             │ time for each                              └► Owed ─┘  └─► retired: links put aside, deleted together
//!             └ container
//! ```
//!
//! * `record`: what is known of an attachment; `records`: all of them, on disk.
//! * `retire`: takes a link out of service at once; `graveyard`: the links that are to be deleted, on a thread of its own.
//! * `gate`: a release that reads at once and writes when it may.
//! * `owed`: releases that the datastore did not hear of yet, carried out before anything else is written to it.
//! * `warm`: addresses of own blocks, given and released for all calls at once.
//! * `recover`: what the agent does with what the last one left.
//! * `add`, `del`, `check`, `gc`, `status`: the verbs.

pub(crate) mod add;
pub(crate) mod check;
pub(crate) mod del;
mod gate;
pub(crate) mod gc;
mod graveyard;
mod owed;
mod record;
mod records;
mod recover;
mod retire;
pub(crate) mod status;
mod turns;
mod warm;

use crate::host::Host;
use cni_protocol::{CniError, NetConf};
use datastore::ConnectConfig;
use graveyard::Graveyard;
use kernel::Namespaces;
use observe::health::Report;
use observe::shutdown::Shutdown;
use record::{Key, Record, State};
use records::Records;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use turns::{Taken, Turns};

pub use records::RecordError;

/// Where a system says which boot it is in.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What an agent keeps between calls. Clones are the same.
#[derive(Clone)]
pub struct Agent(Arc<Inner>);

struct Inner {
    records: Mutex<Records>,
    graveyard: Graveyard,
    turns: Turns,
    /// Held while what is owed is carried out; when and why that failed last.
    paying: tokio::sync::Mutex<Option<(Instant, CniError)>>,
    boot: String,
    warm: warm::Warm,
}

impl Agent {
    /// Reads what the last agent of this node left in `directory`.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(directory: &Path) -> Result<Self, RecordError> {
        let records = Records::open(directory)?;
        let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Ok(Self(Arc::new(Inner {
            records: Mutex::new(records),
            graveyard: Graveyard::default(),
            turns: Turns::default(),
            paying: tokio::sync::Mutex::default(),
            boot,
            warm: warm::Warm::default(),
        })))
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the calls for the same container and interface that came before.
    async fn turn(&self, key: &Key) -> Taken {
        self.0.turns.take(key).await
    }

    /// Keeps a record; a failure is one of the call.
    fn put(&self, record: Record) -> Result<(), CniError> {
        self.records().put(record).map_err(CniError::internal)
    }

    /// Forgets an attachment of which nothing is left.
    fn forget(&self, key: &Key, version: u64) {
        if let Err(error) = self.records().remove(key, version) {
            tracing::warn!(%error, "the record of an attachment that is gone stays");
        }
    }

    /// Starts the thread that deletes links which are out of service, those of an agent before this one too.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn bury_links(
        &self,
        namespaces: Arc<dyn Namespaces>,
        shutdown: &Shutdown,
    ) -> Result<(), std::io::Error> {
        let (agent, shutdown) = (self.clone(), shutdown.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            let gone = |key: &Key| agent.bury_record(key);
            runtime.block_on(agent.0.graveyard.keep(&*namespaces, &shutdown, gone));
        };
        std::thread::Builder::new().name("cni-links".into()).spawn(work).map(drop)
    }

    /// Has the records of the last moments reach the disk, off this thread.
    async fn sync(&self) {
        let work = {
            let mut records = self.records();
            if !records.is_unsynced() {
                return;
            }
            records.sync()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "records may be lost in a power cut"),
            Err(error) => tracing::warn!(%error, "records may be lost in a power cut"),
        }
    }

    /// How it is.
    pub fn report(&self) -> Report {
        let (owed, damaged) = {
            let records = self.records();
            let owed = records.all().filter(|record| record.state == State::Owed).count();
            (owed, records.damaged().to_vec())
        };
        let failed = self.0.paying.try_lock().ok().and_then(|paying| paying.clone());
        let why = failed.map_or_else(|| "under way".to_owned(), |(_, error)| error.to_string());
        let mut reasons = damaged;
        if owed > 0 {
            reasons
                .push(format!("{owed} releases of endpoints and addresses are owed to the datastore: {why}"));
        }
        // Who owes attaches nobody; a damaged file is one to look at and nothing else.
        Report { live: true, ready: owed == 0, reason: reasons.join("; ") }
    }
}

/// How the datastore of a configuration is reached: the variables that its client asks for, configuration before process.
fn store_variables(host: &Host, conf: &NetConf) -> BTreeMap<String, String> {
    let process = |name: &str| host.variable(name);
    let asked = Mutex::new(BTreeMap::new());
    let get = |name: &str| {
        let value = conf.datastore_variable(name, &process)?;
        asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.clone());
        Some(value)
    };
    let _ = ConnectConfig::from_env(&get);
    asked.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

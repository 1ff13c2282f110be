//! The etcd v3 backend.
//!
//! Endpoints are tried one after another, beginning with the one that answered last; nothing is sent before the
//! first request, so opening a store costs a short-lived process nothing. Every request is bounded by one deadline:
//!
//! * not sent (refused, unreachable): the next endpoint; when all are so, an error at once;
//! * not ready (no leader): the next endpoint, again and again until the deadline;
//! * lost on the way: reads are repeated until the deadline, writes are not, because they may have happened;
//! * refused by the server: final.
//!
//! Watches reconnect by themselves, see `watch`. The store belongs to the runtime of its first request.

mod convert;
mod discovery;
mod dns;
mod endpoint;
mod failure;
mod pages;
mod watch;

use crate::link::{Link, Watched};
use crate::{Datastore, StoreError};
use endpoint::{Connected, Endpoint};
use failure::Failure;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use mvcc::{RangeRequest, RangeResponse, Txn, TxnResponse, WatchRequest, WatchResponse};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use discovery::Discovery;
pub use endpoint::{EndpointError, Tls};

/// First pause before a read is repeated; doubles up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is needed to reach an etcd. Not printable: it holds passwords and keys.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    /// URLs, or `host:port` for plain HTTP.
    pub endpoints: Vec<String>,
    /// Where to find the members when there are no endpoints.
    pub discovery: Option<Discovery>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// For `https` endpoints.
    pub tls: Tls,
    /// Bound of one request, connecting included.
    pub timeout: Duration,
}

/// A store in etcd. Clones share the connections.
#[derive(Clone)]
pub struct EtcdStore {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    /// Empty until the first request where the members have to be found.
    endpoints: OnceCell<Vec<Endpoint>>,
    /// How to find them.
    discovery: Option<(Discovery, EtcdOptions)>,
    /// Index of the endpoint that answered last.
    preferred: AtomicUsize,
    timeout: Duration,
    /// What requests have shown.
    link: Watched,
}

impl std::fmt::Debug for EtcdStore {
    /// Without what must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdStore").field("endpoints", &self.shared.endpoints.get()).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// A store at these endpoints. Does not connect yet.
    ///
    /// # Errors
    /// Neither endpoints nor a way to find them, an endpoint that is none, or certificates that cannot be used.
    pub fn new(options: &EtcdOptions) -> Result<Self, EndpointError> {
        let (endpoints, discovery) = match &options.discovery {
            Some(discovery) if options.endpoints.is_empty() => {
                (OnceCell::new(), Some((discovery.clone(), options.clone())))
            }
            _ => (OnceCell::new_with(Some(endpoints(options)?)), None),
        };
        Ok(Self::of(endpoints, discovery, options.timeout))
    }

    /// A store behind a client that is connected already, such as that of a store in this process.
    pub fn over(client: etcd_client::Client, timeout: Duration) -> Self {
        let endpoints = OnceCell::new_with(Some(vec![Endpoint::over(client)]));
        Self::of(endpoints, None, timeout)
    }

    fn of(
        endpoints: OnceCell<Vec<Endpoint>>,
        discovery: Option<(Discovery, EtcdOptions)>,
        timeout: Duration,
    ) -> Self {
        let (preferred, link) = (AtomicUsize::new(0), Watched::default());
        Self { shared: Arc::new(Shared { endpoints, discovery, preferred, timeout, link }) }
    }
}

/// A plain client of the first endpoint that answers, for what concerns a store as a whole (backups, copies).
///
/// # Errors
/// No endpoint answers, or the settings cannot work.
pub async fn whole_store_client(options: &EtcdOptions) -> Result<etcd_client::Client, StoreError> {
    let endpoints = endpoints(options).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let mut failures = Vec::new();
    for endpoint in endpoints {
        let connected = async {
            let mut client = endpoint.connect().await?;
            client.status().await.map(|_| client)
        };
        match tokio::time::timeout(options.timeout, connected).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => failures.push(format!("{}: {error}", endpoint.url())),
            Err(_) => failures.push(format!("{}: no answer", endpoint.url())),
        }
    }
    Err(StoreError::Unavailable(failures.join("; ")))
}

fn endpoints(options: &EtcdOptions) -> Result<Vec<Endpoint>, EndpointError> {
    if options.endpoints.is_empty() {
        return Err(EndpointError::None);
    }
    options.endpoints.iter().map(|url| Endpoint::new(url, options)).collect()
}

impl Shared {
    /// The members; found now if they have to be. Nothing found is no reason not to look again at the next request.
    async fn endpoints(&self) -> Result<&[Endpoint], StoreError> {
        let find = async {
            let Some((discovery, options)) = &self.discovery else { return Ok(Vec::new()) };
            let found = match tokio::time::timeout(self.timeout, discovery.members()).await {
                Ok(Ok(found)) => endpoints(&EtcdOptions { endpoints: found, ..options.clone() })
                    .map_err(|error| error.to_string()),
                Ok(Err(reason)) => Err(reason),
                Err(_) => Err(format!("no answer within {:.1} s", self.timeout.as_secs_f64())),
            };
            found.map_err(|reason| {
                StoreError::Unavailable(format!(
                    "failed to discover etcd endpoints through SRV discovery: {reason}"
                ))
            })
        };
        self.endpoints.get_or_try_init(|| find).await.map(Vec::as_slice)
    }

    /// Carries out `work` at some endpoint within the deadline. `repeatable` says that doing it twice does no harm.
    async fn call<T, F, R>(&self, repeatable: bool, work: F) -> Result<T, StoreError>
    where
        F: Fn(Connected) -> R,
        R: Future<Output = Result<T, etcd_client::Error>>,
    {
        let answer = self.attempt(repeatable, work).await;
        self.link.note(&answer, std::time::Instant::now());
        answer
    }

    async fn attempt<T, F, R>(&self, repeatable: bool, work: F) -> Result<T, StoreError>
    where
        F: Fn(Connected) -> R,
        R: Future<Output = Result<T, etcd_client::Error>>,
    {
        let endpoints = self.endpoints().await?;
        let deadline = Instant::now() + self.timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let first = self.preferred.load(Ordering::Relaxed);
            let indexes = (0..endpoints.len()).map(|step| (first + step) % endpoints.len());
            let mut failures = Vec::new();
            let mut worth_repeating = false;
            let mut left = endpoints.len();
            for (index, endpoint) in indexes.filter_map(|index| Some((index, endpoints.get(index)?))) {
                // a silent member must leave time for the others, where asking them does no harm
                let remaining = deadline.saturating_duration_since(Instant::now());
                let share = match u32::try_from(left) {
                    Ok(left) if repeatable && left > 1 => remaining / left,
                    _ => remaining,
                };
                left -= 1;
                let answer = match tokio::time::timeout(share, endpoint.run(&work)).await {
                    Ok(result) => result.map_err(failure::classify),
                    Err(_) => {
                        // the next request begins with another one
                        self.preferred.store((index + 1) % endpoints.len(), Ordering::Relaxed);
                        Err(Failure::Lost(format!("no answer within {:.1} s", share.as_secs_f64())))
                    }
                };
                match answer {
                    Ok(answer) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(Failure::Final(error)) => return Err(error),
                    Err(Failure::Lost(reason)) if !repeatable => {
                        let text = format!("{}: {reason} (the write may have happened)", endpoint.url());
                        return Err(StoreError::Unavailable(text));
                    }
                    Err(Failure::Lost(reason) | Failure::NotReady(reason)) => {
                        worth_repeating = true;
                        failures.push(format!("{}: {reason}", endpoint.url()));
                    }
                    Err(Failure::NotSent(reason)) => failures.push(format!("{}: {reason}", endpoint.url())),
                }
            }
            if !worth_repeating || Instant::now() + pause >= deadline {
                return Err(StoreError::Unavailable(failures.join("; ")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Forgets logins that the server no longer knows.
    async fn forget_logins(&self) {
        for endpoint in self.endpoints.get().into_iter().flatten() {
            endpoint.forget().await;
        }
    }
}

impl Datastore for EtcdStore {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        pages::range(&self.shared, request).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        async move {
            let repeatable = convert::only_reads(&txn);
            let request = convert::txn(&txn);
            let answer = self
                .shared
                .call(repeatable, |mut to| {
                    let request = request.clone();
                    async move { to.kv.txn(request).await }
                })
                .await?;
            Ok(convert::txn_response(&answer))
        }
        .boxed()
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        watch::open(Arc::clone(&self.shared), request).boxed()
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        // granting twice leaves a lease behind that runs out by itself
        let granted = self.shared.call(true, move |mut to| async move { to.lease.grant(ttl, None).await });
        granted.map(|answer| answer.map(|answer| answer.id())).boxed()
    }

    fn link(&self) -> Option<Link> {
        Some(self.shared.link.link())
    }
}

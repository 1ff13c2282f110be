//! What the plugin finds around itself: variables, namespaces, the way to the store, a few files.

use crate::agent::Agent;
use crate::azure::NETWORKS;
use crate::delegate::{Executor, SystemExecutor};
use crate::upgrade::HOST_LOCAL_STATE;
use datastore::{ConnectConfig, ConnectError, Datastore};
use futures::future::BoxFuture;
use kernel::{Namespaces, SystemNamespaces};
use mvcc::Event;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Variables of the datastore client by name, the configuration's over the process's.
pub type Variables<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// The way to the store.
pub trait Stores: Send + Sync {
    /// Connects as the variables say.
    ///
    /// # Errors
    /// In words for the user.
    fn connect<'a>(&'a self, variables: Variables<'a>) -> BoxFuture<'a, Result<Arc<dyn Datastore>, String>>;
}

/// What owns the host's side of workloads: routes and policy. An agent has one; `ocicat cni` alone has none and routes by
/// itself.
pub trait Dataplane: Send + Sync {
    /// The node whose workloads it looks after.
    fn node(&self) -> &str;

    /// Waits until the endpoint that was written with this event is in force, and all that was written before it; an endpoint
    /// that is known already may be under the policies that were in force when it was written. The caller has the bound.
    fn in_force(&self, written: Event) -> BoxFuture<'_, ()>;
}

/// The surroundings of a call.
pub struct Host {
    /// The process's variables.
    pub variables: BTreeMap<String, String>,
    /// Network namespaces.
    pub namespaces: Arc<dyn Namespaces>,
    /// The store.
    pub stores: Arc<dyn Stores>,
    /// The MTU that the node agent found.
    pub mtu_file: PathBuf,
    /// Where what `azure-vnet-ipam` has to be told again is kept.
    pub azure_networks: PathBuf,
    /// Where `host-local` keeps what it gave to the pods of Kubernetes.
    pub host_local_state: PathBuf,
    /// The machine's name.
    pub hostname: String,
    /// Who executes other plugins.
    pub executor: Arc<dyn Executor>,
    /// Who routes and judges, where it is not this call.
    pub dataplane: Option<Arc<dyn Dataplane>>,
    /// What an agent keeps between calls; none where there is no agent.
    pub agent: Option<Agent>,
    /// Whether each call sets up the log its configuration asks for; an agent has one of its own.
    pub own_log: bool,
}

impl Host {
    /// The real surroundings.
    pub fn system() -> Self {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        Self {
            // A variable that is no text is none of ours; a delegated plugin inherits it all the same.
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            namespaces: Arc::new(SystemNamespaces),
            stores: Arc::new(SystemStores),
            mtu_file: PathBuf::from(cni_protocol::config::MTU_FILE),
            azure_networks: PathBuf::from(NETWORKS),
            host_local_state: PathBuf::from(HOST_LOCAL_STATE),
            hostname: hostname.to_string_lossy().into_owned(),
            executor: Arc::new(SystemExecutor),
            dataplane: None,
            agent: None,
            own_log: true,
        }
    }

    /// A variable of the process.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

/// What Calico says where nothing but Kubernetes could be meant and there is no way to it.
pub(crate) const NO_KUBERNETES: &str = "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable";

/// The real way to the store.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemStores;

impl Stores for SystemStores {
    fn connect<'a>(&'a self, variables: Variables<'a>) -> BoxFuture<'a, Result<Arc<dyn Datastore>, String>> {
        let config = ConnectConfig::from_env(&|name| variables(name));
        let result = datastore::connect(&config).map_err(|error| match error {
            ConnectError::Kubernetes(_) if config.datastore_type.is_empty() => NO_KUBERNETES.to_owned(),
            error => error.to_string(),
        });
        Box::pin(std::future::ready(result))
    }
}

//! What ADD did for one attachment: all that DEL, CHECK and GC have to know, whatever the configuration says by then.

use super::store_variables;
use crate::address::is_own;
use crate::endpoint;
use crate::host::Host;
use crate::session;
use cni_protocol::args::CniArgs;
use cni_protocol::environment::Environment;
use cni_protocol::identity::Identity;
use cni_protocol::{CniError, NetConf, Request, Version};
use datastore::Datastore;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Which attachment: a network's name, a container and its interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Key {
    /// The network's name.
    pub(crate) network: String,
    /// `CNI_CONTAINERID`
    pub(crate) container: String,
    /// `CNI_IFNAME`
    pub(crate) interface: String,
}

impl Key {
    /// What a request is about.
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            network: request.conf.name.clone(),
            container: request.environment.container_id.clone(),
            interface: request.environment.ifname.clone(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interface {} of container {} in network {}", self.interface, self.container, self.network)
    }
}

/// How far an attachment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    /// ADD is at it; after a restart it counts as failed, and what it did is taken back.
    Attaching,
    /// ADD has returned it.
    Attached,
    /// DEL is at it.
    Leaving,
    /// Nothing is left but the link, which is out of service; never on disk.
    Released,
    /// DEL has succeeded; the release of endpoint and addresses is owed to the datastore.
    Owed,
}

/// The host's end of the pair.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HostEnd {
    /// Name.
    pub(crate) name: String,
    /// Index, once it is made.
    pub(crate) index: Option<u32>,
    /// The boot of the system in which it had that index.
    pub(crate) boot: String,
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Which.
    #[serde(flatten)]
    pub(crate) key: Key,
    /// How far it has come.
    pub(crate) state: State,
    /// The pod's name; none for a container that is no pod.
    #[serde(default)]
    pub(crate) pod: Option<String>,
    /// Namespace of the endpoint.
    pub(crate) namespace: String,
    /// The node's name.
    pub(crate) node: String,
    /// Path of the container's network namespace.
    #[serde(default)]
    pub(crate) netns: String,
    /// The host's end; none for what was never attached by this agent.
    #[serde(default)]
    pub(crate) host_end: Option<HostEnd>,
    /// Hardware address of the container's end.
    #[serde(default)]
    pub(crate) mac: String,
    /// Its addresses.
    #[serde(default)]
    pub(crate) addresses: Vec<IpAddr>,
    /// The endpoint's key in the datastore.
    pub(crate) endpoint: String,
    /// The handle that its addresses are kept under, where they are ours.
    #[serde(default)]
    pub(crate) handle: String,
    /// Another plugin gave the addresses, and has taken them back.
    #[serde(default)]
    pub(crate) returned: bool,
    /// How the datastore is reached: variables of its client.
    #[serde(default)]
    pub(crate) store: BTreeMap<String, String>,
    /// The configuration it was done with.
    pub(crate) config: Map<String, Value>,
}

impl Record {
    /// Who the workload is.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            container_id: self.key.container.clone(),
            ifname: self.key.interface.clone(),
            node: self.node.clone(),
            network: self.key.network.clone(),
        }
    }

    /// The configuration, read.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn conf(&self) -> Result<NetConf, CniError> {
        NetConf::read(self.config.clone())
            .map_err(|error| CniError::internal(format!("the record of {}: config: {error}", self.key)))
    }

    /// A request for this attachment by the configuration it was done with, in the surroundings of today's call.
    ///
    /// # Errors
    /// As [`Record::conf`].
    pub(crate) fn request(&self, environment: Environment) -> Result<Request, CniError> {
        Ok(Request { environment, args: CniArgs::default(), conf: self.conf()?, version: Version::UNSAID })
    }

    /// Surroundings for what nobody called for.
    pub(crate) fn environment(&self) -> Environment {
        Environment {
            container_id: self.key.container.clone(),
            ifname: self.key.interface.clone(),
            netns: self.netns.clone(),
            ..Environment::default()
        }
    }

    /// What a request says of an attachment of which nothing else is known.
    ///
    /// # Errors
    /// The identity cannot stand in an endpoint's name.
    pub(crate) fn by_configuration(host: &Host, request: &Request, id: &Identity) -> Result<Self, CniError> {
        Ok(Self {
            key: Key::of(request),
            state: State::Leaving,
            pod: id.pod.clone(),
            namespace: id.namespace.clone(),
            node: id.node.clone(),
            netns: request.environment.netns.clone(),
            host_end: None,
            mac: String::new(),
            addresses: Vec::new(),
            endpoint: endpoint::own_key(id)?.path(),
            handle: if is_own(&request.conf) { id.handle() } else { String::new() },
            returned: false,
            store: store_variables(host, &request.conf),
            config: request.conf.raw().clone(),
        })
    }

    /// Whether its addresses are ours to release, with nobody's help.
    pub(crate) fn is_ours(&self) -> bool {
        !self.handle.is_empty()
    }

    /// Connects to the datastore it is in.
    ///
    /// # Errors
    /// In the words of the way to the store.
    pub(crate) async fn connect(&self, host: &Host) -> Result<Arc<dyn Datastore>, CniError> {
        let variables = |name: &str| self.store.get(name).cloned();
        session::connect_with(host, &variables).await
    }
}

//! What `calico/node` writes when a node starts: ClusterInformation and tiers, configurations, default pools, the Node.
//! Source: `bgp.md` §14 and `datamodel.md` §9 of the contract.

use crate::inventory;
use datastore::{Bootstrap, Client, ClientError, Datastore, ListOptions};
use kernel::{Kernel, KernelError};
use model::net::Cidr;
use model::{Kind, Resource};
use node_startup::decide::DecideError;
use node_startup::documents::{Wanted, configurations, conflicts, default_pools, node};
use node_startup::{Decided, Host, Nic, Settings, decide};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// How often a lost race is run again.
const ATTEMPTS: usize = 10;

/// Why a node is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The datastore refuses, or does not answer.
    #[error(transparent)]
    Datastore(#[from] ClientError),
    /// The kernel does not say what the host has.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An address that has to be found is not.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// Two nodes would have one address.
    #[error(
        "{address} conflict: node {other} says that it has this address; give this node another one, remove that node, or \
         set DISABLE_NODE_IP_CHECK=true"
    )]
    Conflict {
        /// The address.
        address: IpAddr,
        /// Who has it.
        other: String,
    },
}

impl RegisterError {
    /// Waiting does not help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Decide(_) | Self::Conflict { .. })
    }
}

/// Registers one node; as often as it is asked to, writing only what changes.
pub struct Registrar {
    name: String,
    settings: Settings,
    client: Client,
    kernel: Arc<dyn Kernel>,
}

impl Registrar {
    /// For the node of this configuration.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn new(
        config: &crate::Config,
        settings: &Settings,
        store: Arc<dyn Datastore>,
    ) -> Result<Self, KernelError> {
        let (name, kernel) = (config.name.clone(), config.namespaces.current()?);
        Ok(Self { name, settings: settings.clone(), client: Client::new(store), kernel })
    }

    /// What would be stored, and why; what is stored now, where the datastore answers.
    ///
    /// # Errors
    /// An address that has to be found is not; the kernel; the datastore.
    pub async fn decide(&self) -> Result<(Decided, Option<Resource>, Vec<Nic>), RegisterError> {
        let stored = match self.client.get(Kind::Node, "", &self.name).await {
            Ok(stored) => Some(stored),
            Err(ClientError::DoesNotExist { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let (decided, nics) = self.decide_over(stored.as_ref()).await?;
        Ok((decided, stored, nics))
    }

    /// The same where nobody knows what is stored.
    ///
    /// # Errors
    /// An address that has to be found is not; the kernel.
    pub async fn decide_over(&self, stored: Option<&Resource>) -> Result<(Decided, Vec<Nic>), RegisterError> {
        let nics = inventory::nics(self.kernel.as_ref()).await?;
        let internal = stored.map(internal_addresses).unwrap_or_default();
        let host = Host { nics: &nics, source_to: &inventory::source_to, internal: &internal };
        Ok((decide(&self.settings, stored, &host)?, nics))
    }

    /// Registers.
    ///
    /// # Errors
    /// See [`RegisterError`]. What was written before it stays: every write is complete by itself.
    pub async fn register(&self) -> Result<(), RegisterError> {
        let kind = Bootstrap { cluster_type: self.settings.cluster_type.clone(), version: String::new() };
        self.client.ensure_initialized(kind).await?;
        let nics = self.write_node().await?;
        for wanted in configurations(&self.name) {
            self.ensure(&wanted).await?;
        }
        let pools = self.client.list(Kind::IPPool, ListOptions::default()).await?;
        let present: Vec<Cidr> = pools.items.iter().filter_map(cidr).collect();
        for pool in default_pools(&self.settings, &present, &nics, uuid::Uuid::new_v4().as_bytes()) {
            self.ensure(&pool).await?;
        }
        Ok(())
    }

    async fn write_node(&self) -> Result<Vec<Nic>, RegisterError> {
        for attempt in 1.. {
            let (decided, stored, nics) = self.decide().await?;
            if self.settings.networking && self.settings.check_conflicts {
                let nodes = self.client.list(Kind::Node, ListOptions::default()).await?;
                if let Some((other, address)) = conflicts(&self.name, &decided, nodes.items.iter()).pop() {
                    return Err(RegisterError::Conflict { address, other });
                }
            }
            let wanted = node(&self.name, stored.as_ref(), &self.settings, &decided, &nics);
            if stored.as_ref() == Some(&wanted) {
                return Ok(nics);
            }
            for fact in &decided.facts {
                tracing::info!(value = fact.value, why = fact.why, "{}", fact.what);
            }
            let written = self.write(wanted, stored.is_some()).await;
            match written {
                Ok(()) => return Ok(nics),
                Err(error) if is_race(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Vec::new())
    }

    async fn ensure(&self, wanted: &Wanted) -> Result<(), RegisterError> {
        for attempt in 1.. {
            let stored = match self.client.get(wanted.kind, "", &wanted.name).await {
                Ok(stored) => Some(stored),
                Err(ClientError::DoesNotExist { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let Some(resource) = wanted.over(stored.as_ref()) else { return Ok(()) };
            match self.write(resource, stored.is_some()).await {
                Ok(()) => return Ok(()),
                Err(error) if is_race(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn write(&self, resource: Resource, exists: bool) -> Result<(), ClientError> {
        if exists {
            self.client.update(resource).await.map(drop)
        } else {
            self.client.create(resource).await.map(drop)
        }
    }
}

/// Another node was quicker.
fn is_race(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::AlreadyExists { .. }
            | ClientError::UpdateConflict { .. }
            | ClientError::DoesNotExist { .. }
    )
}

fn cidr(pool: &Resource) -> Option<Cidr> {
    Cidr::parse_masked(pool.spec().get("cidr")?.as_str()?).ok()
}

/// Addresses Kubernetes has for the node, as they are stored with it.
fn internal_addresses(node: &Resource) -> Vec<IpAddr> {
    let entries =
        node.spec().get("addresses").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let internal = entries.iter().filter(|entry| entry.get("type").is_some_and(|kind| kind == "InternalIP"));
    internal.filter_map(|entry| entry.get("address")?.as_str()?.split('/').next()?.parse().ok()).collect()
}

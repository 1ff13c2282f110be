//! The surroundings of a call that came over the socket.

use super::connection::Connection;
use crate::delegate::Executor;
use crate::host::{Stores, SystemStores, Variables};
use cni_protocol::handover::{Execute, Executed, Message};
use datastore::{ConnectConfig, Datastore};
use futures::future::BoxFuture;
use kernel::{Kernel, KernelError, Namespaces, Netlink, Netns, SystemNamespaces};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections that are kept; a node has one cluster, or two while it moves.
const KEPT: usize = 8;

/// Connections to datastores, kept from call to call: one for each way to connect.
#[derive(Default)]
pub(super) struct KeptStores(Mutex<Vec<(ConnectConfig, Arc<dyn Datastore>)>>);

impl Stores for KeptStores {
    fn connect<'a>(&'a self, variables: Variables<'a>) -> BoxFuture<'a, Result<Arc<dyn Datastore>, String>> {
        Box::pin(async move {
            let config = ConnectConfig::from_env(&|name| variables(name));
            let known = |kept: &[(ConnectConfig, Arc<dyn Datastore>)]| {
                kept.iter().find(|(known, _)| *known == config).map(|(_, store)| Arc::clone(store))
            };
            if let Some(store) = known(&self.lock()) {
                return Ok(store);
            }
            let store = SystemStores.connect(variables).await?;
            let mut kept = self.lock();
            if kept.len() >= KEPT {
                kept.remove(0);
            }
            kept.push((config, Arc::clone(&store)));
            Ok(store)
        })
    }
}

impl KeptStores {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(ConnectConfig, Arc<dyn Datastore>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The agent's own namespace, whose sockets are kept from call to call, and that of the container as it was handed over: its path
/// may mean something else here.
pub(super) struct HandedOver {
    here: Arc<dyn Kernel>,
    container: Option<Result<Netns, KernelError>>,
}

impl HandedOver {
    pub(super) fn new(here: Arc<dyn Kernel>, descriptor: Option<OwnedFd>) -> Self {
        let container = descriptor.map(|descriptor| Netns::from_fd(descriptor, "the container's namespace"));
        Self { here, container }
    }
}

impl Namespaces for HandedOver {
    fn current(&self) -> Result<Arc<dyn Kernel>, KernelError> {
        Ok(Arc::clone(&self.here))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Kernel>, KernelError> {
        match &self.container {
            Some(Ok(netns)) => Ok(Arc::new(Netlink::of(netns))),
            Some(Err(error)) => Err(error.clone()),
            None => SystemNamespaces.open(path),
        }
    }
}

/// The plugin at the other end, which executes other plugins for us.
pub(super) struct Remote(pub(super) Connection);

impl Executor for Remote {
    fn execute(&self, program: Execute) -> BoxFuture<'_, Executed> {
        Box::pin(async move {
            let ending = match self.0.ask(&Message::Execute(program)).await {
                Ok(Message::Executed(executed)) => return executed,
                Ok(_) => "the plugin did not say how it ended".to_owned(),
                Err(reason) => format!("the plugin that should execute it has gone: {reason}"),
            };
            Executed { ending, ..Executed::default() }
        })
    }
}

//! A kernel in memory, for tests: several namespaces, the same [`Kernel`] trait, and failures on demand.
//!
//! It keeps to what callers can observe of the real one: veth ends vanish together and with their namespace;
//! a link that goes down takes its routes (and its IPv6 addresses) along; errnos are Linux's. It has no
//! clock, so nothing ages and no address is ever tentative.

mod faults;
mod rules;
mod sysctls;
mod tables;

pub use faults::Fault;

use crate::api::{
    Address, EventGroups, Kernel, KernelError, KernelEvent, Link, Namespaces, Neighbour, Op, Route,
    RouteFilter,
};
use crate::netns::Netns;
use faults::Faults;
use futures::future::{BoxFuture, ready};
use futures::stream::{BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tables::Namespace;

/// Several namespaces and the faults planned for them. Clones share it.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    current: Netns,
}

#[derive(Default)]
pub(crate) struct State {
    /// By number; a vanished one is no longer here.
    namespaces: BTreeMap<u64, Namespace>,
    next_number: u64,
    next_handle: u64,
    faults: Faults,
    /// Every operation attempted, by namespace name, faults included.
    log: Vec<(String, Op)>,
}

impl World {
    /// A world with one namespace, in which the caller lives.
    pub fn new() -> Result<Self, KernelError> {
        let mut state = State::default();
        let current = state.add("/proc/self/ns/net")?;
        Ok(Self { state: Arc::new(Mutex::new(state)), current })
    }

    /// Adds a namespace that can be opened at `path`.
    pub fn add(&self, path: &str) -> Result<MemoryKernel, KernelError> {
        let netns = self.lock().add(path)?;
        Ok(self.handle(netns))
    }

    /// The kernel of the caller's namespace.
    pub fn host(&self) -> MemoryKernel {
        self.handle(self.current.clone())
    }

    /// Destroys the namespace at `path`, with its links and their peers elsewhere, as when the last process
    /// of a container ends. Returns whether it was there.
    pub fn vanish(&self, path: &str) -> bool {
        self.lock().vanish(path)
    }

    /// Plans a failure; several are asked in the order they were planned.
    pub fn plan(&self, fault: Fault) {
        self.lock().faults.plan(fault);
    }

    /// Drops every fault that has not struck yet.
    pub fn clear_faults(&self) {
        self.lock().faults = Faults::default();
    }

    /// Every operation attempted so far with the path of its namespace, in order.
    pub fn log(&self) -> Vec<(String, Op)> {
        self.lock().log.clone()
    }

    fn handle(&self, netns: Netns) -> MemoryKernel {
        let mut state = self.lock();
        state.next_handle += 1;
        MemoryKernel { world: self.clone(), netns, number: state.next_handle }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of a test's own thread leaves the tables as they were between two operations.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, path: &str) -> Result<Netns, KernelError> {
        if self.namespaces.values().any(|namespace| namespace.path == path) {
            let reason = "exists already".to_string();
            return Err(KernelError::Namespace { path: path.to_string(), reason });
        }
        // Numbers are never used again, so that a handle to a vanished namespace stays dead.
        let number = self.next_number;
        self.next_number += 1;
        let netns = Netns::memory(number, path)?;
        self.namespaces.insert(number, Namespace::new(path, netns.clone()));
        Ok(netns)
    }
}

impl Namespaces for World {
    fn current(&self) -> Result<Arc<dyn Kernel>, KernelError> {
        Ok(Arc::new(self.host()))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Kernel>, KernelError> {
        let found =
            self.lock().namespaces.values().find(|namespace| namespace.path == path).map(|n| n.netns.clone());
        match found {
            Some(netns) => Ok(Arc::new(self.handle(netns))),
            None => Err(KernelError::Namespace {
                path: path.to_string(),
                reason: "does not exist; the container may be gone".to_string(),
            }),
        }
    }
}

/// One namespace of a [`World`].
#[derive(Clone)]
pub struct MemoryKernel {
    world: World,
    netns: Netns,
    /// Tells handles apart, as the real kernel does sockets; clones are one.
    number: u64,
}

impl MemoryKernel {
    /// Runs `look` on this namespace's tables.
    fn with<T>(&self, look: impl FnOnce(&mut Namespace) -> T) -> Result<T, KernelError> {
        let mut state = self.world.lock();
        match self.netns.memory_number().and_then(|number| state.namespaces.get_mut(&number)) {
            Some(namespace) => Ok(look(namespace)),
            None => Err(KernelError::Namespace {
                path: self.netns.path().to_string(),
                reason: "has vanished".to_string(),
            }),
        }
    }
}

impl Kernel for MemoryKernel {
    fn netns(&self) -> &Netns {
        &self.netns
    }

    fn apply(&self, ops: Vec<Op>, stop_on_error: bool) -> BoxFuture<'_, Vec<Result<(), KernelError>>> {
        let mut state = self.world.lock();
        let mut results: Vec<Result<(), KernelError>> = Vec::with_capacity(ops.len());
        for op in ops {
            let stopped = stop_on_error && results.last().is_some_and(Result::is_err);
            results.push(if stopped {
                Err(KernelError::Skipped)
            } else {
                state.attempt(&self.netns, self.number, op)
            });
        }
        Box::pin(ready(results))
    }

    fn create(&self, pair: Op) -> BoxFuture<'_, Result<Option<Link>, KernelError>> {
        Box::pin(async move {
            let name = pair.pair()?.name.clone();
            self.apply(vec![pair], true).await.into_iter().collect::<Result<(), _>>()?;
            self.link(&name).await
        })
    }

    fn link(&self, name: &str) -> BoxFuture<'_, Result<Option<Link>, KernelError>> {
        let found = self.with(|namespace| {
            namespace.links.values().find(|link| link.shown.name == name).map(|l| l.shown.clone())
        });
        Box::pin(ready(found))
    }

    fn links(&self) -> BoxFuture<'_, Result<Vec<Link>, KernelError>> {
        Box::pin(ready(
            self.with(|namespace| namespace.links.values().map(|link| link.shown.clone()).collect()),
        ))
    }

    fn addresses(&self, link: Option<u32>) -> BoxFuture<'_, Result<Vec<Address>, KernelError>> {
        let wanted = move |address: &&Address| link.is_none_or(|only| only == address.link);
        Box::pin(ready(self.with(|namespace| namespace.addresses.iter().filter(wanted).cloned().collect())))
    }

    fn routes(&self, filter: RouteFilter) -> BoxFuture<'_, Result<Vec<Route>, KernelError>> {
        let wanted = |route: &&Route| {
            let family = if route.dst.addr.is_ipv4() { 4 } else { 6 };
            filter.family.is_none_or(|only| only == family)
                && filter.table.is_none_or(|only| only == route.table)
                && filter.protocol.is_none_or(|only| only == route.protocol)
                && filter.link.is_none_or(|only| route.next_hops.iter().any(|hop| hop.link == Some(only)))
        };
        Box::pin(ready(self.with(|namespace| namespace.routes.iter().filter(wanted).cloned().collect())))
    }

    fn neighbours(&self, link: Option<u32>) -> BoxFuture<'_, Result<Vec<Neighbour>, KernelError>> {
        let wanted = move |entry: &&Neighbour| link.is_none_or(|only| only == entry.link);
        Box::pin(ready(self.with(|namespace| namespace.neighbours.iter().filter(wanted).cloned().collect())))
    }

    fn sysctl(&self, key: &str) -> BoxFuture<'_, Result<String, KernelError>> {
        let value = self.with(|namespace| namespace.sysctls.read(key));
        Box::pin(ready(value.and_then(|value| value)))
    }

    fn set_sysctls(&self, values: Vec<(String, String)>) -> BoxFuture<'_, Vec<Result<(), KernelError>>> {
        let results = values
            .into_iter()
            .map(|(key, value)| {
                if let Some(reason) = self.world.lock().faults.strikes_sysctl(&key) {
                    return Err(KernelError::Sysctl { key, reason });
                }
                self.with(|namespace| namespace.set_sysctl(&key, &value)).and_then(|result| result)
            })
            .collect();
        Box::pin(ready(results))
    }

    fn events(
        &self,
        groups: EventGroups,
    ) -> BoxFuture<'_, Result<BoxStream<'static, KernelEvent>, KernelError>> {
        let stream = self.with(|namespace| namespace.subscribe(groups, self.number));
        Box::pin(ready(stream.map(StreamExt::boxed)))
    }
}

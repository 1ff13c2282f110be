//! Kernel parameters of workloads' interfaces and of the host (`felix.md` §10 of the contract).

use delta::Retries;
use failpoint::failpoint;
use kernel::{Kernel, KernelError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Strict reverse path filtering of interfaces that come: what workloads' interfaces get.
const DEFAULT_RP_FILTER: &str = "net/ipv4/conf/default/rp_filter";
/// Parameters of the host itself, each with whether it must work.
const HOST: [(&str, bool); 3] = [
    ("net/ipv4/ip_forward", true),
    ("net/ipv6/conf/all/forwarding", false),
    // there once something is tracked
    ("net/netfilter/nf_conntrack_acct", false),
];

/// What an interface's parameters depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The link's index: a new link of the same name begins anew.
    pub link: u32,
    /// IPv6 is on.
    pub ipv6: bool,
    /// The workload may use foreign source addresses.
    pub spoofing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Sysctls {
    rp_filter: String,
    needs: BTreeMap<Arc<str>, Needs>,
    applied: BTreeMap<Arc<str>, Needs>,
    /// Interfaces that need other parameters than they have.
    pending: BTreeSet<Arc<str>>,
    retries: Retries<Arc<str>>,
    host_done: bool,
    /// The host's parameters are tried again with the first interface.
    host_retries: Retries<()>,
}

impl Sysctls {
    /// Reads what new interfaces get.
    pub async fn open(kernel: &dyn Kernel) -> Self {
        // a kernel without it has nothing to filter by
        let rp_filter = kernel.sysctl(DEFAULT_RP_FILTER).await.unwrap_or_else(|_| "0".to_owned());
        Self {
            rp_filter,
            needs: BTreeMap::new(),
            applied: BTreeMap::new(),
            pending: BTreeSet::new(),
            retries: Retries::default(),
            host_done: false,
            host_retries: Retries::default(),
        }
    }

    /// An interface that works is a workload's, or (`None`) is none or does not work.
    pub fn set(&mut self, interface: &Arc<str>, needs: Option<Needs>) {
        if self.needs.get(interface) == needs.as_ref() {
            return;
        }
        self.retries.forget(interface);
        match needs {
            Some(needs) => {
                self.needs.insert(interface.clone(), needs);
                self.pending.insert(interface.clone());
            }
            None => {
                self.applied.remove(interface);
                self.needs.remove(interface);
                self.pending.remove(interface);
            }
        }
    }

    /// Whether an interface has its parameters.
    pub fn is_applied(&self, interface: &str) -> bool {
        let needs = self.needs.get(interface);
        needs.is_some() && needs == self.applied.get(interface)
    }

    /// Writes the host's parameters, once.
    pub async fn apply_host(&mut self, kernel: &dyn Kernel, forwarding: bool, now: Duration) {
        if self.host_done || !self.host_retries.may(&(), now) {
            return;
        }
        let wanted = HOST
            .iter()
            .filter(|(key, _)| forwarding || !key.ends_with("forward") && !key.ends_with("forwarding"));
        let wanted: Vec<&(&str, bool)> = wanted.collect();
        let values = wanted.iter().map(|(key, _)| ((*key).to_owned(), "1".to_owned())).collect();
        let results = kernel.set_sysctls(values).await;
        self.host_done = true;
        for ((_, must), result) in wanted.into_iter().zip(results) {
            match result {
                Err(error) if *must => {
                    self.host_done = false;
                    if self.host_retries.refused((), now) {
                        tracing::warn!(%error, "the host cannot be made to forward, trying again");
                    }
                }
                Err(error) => tracing::debug!(%error, "a parameter of the host is left as it is"),
                Ok(()) => {}
            }
        }
        if self.host_done {
            self.host_retries.clear();
        }
    }

    /// Writes the parameters of interfaces that do not have them; returns those about which something changed.
    pub async fn apply(&mut self, kernel: &dyn Kernel, now: Duration) -> BTreeSet<Arc<str>> {
        let pending: Vec<(Arc<str>, Needs)> = self
            .pending
            .iter()
            .filter(|name| self.retries.may(name, now))
            .filter_map(|name| Some((name.clone(), *self.needs.get(name)?)))
            .collect();
        if pending.is_empty() {
            self.retries.forget_due(now);
            return BTreeSet::new();
        }
        let mut values = Vec::new();
        let mut whose: Vec<(usize, bool)> = Vec::new();
        for (place, (name, needs)) in pending.iter().enumerate() {
            for (key, value, must) in parameters(name, *needs, &self.rp_filter) {
                values.push((key, value));
                whose.push((place, must));
            }
        }
        let results = kernel.set_sysctls(values).await;
        failpoint("felix-parameters");
        let mut failed: BTreeMap<usize, KernelError> = BTreeMap::new();
        for ((place, must), result) in whose.into_iter().zip(results) {
            if let Err(error) = result
                && must
            {
                failed.entry(place).or_insert(error);
            }
        }
        for (place, (name, needs)) in pending.iter().enumerate() {
            match failed.get(&place) {
                None => {
                    self.retries.forget(name);
                    self.pending.remove(name);
                    self.applied.insert(name.clone(), *needs);
                }
                Some(error) => {
                    if self.retries.refused(name.clone(), now) {
                        tracing::warn!(interface = %name, %error, "an interface cannot be set up, trying again");
                    }
                }
            }
        }
        pending.into_iter().map(|(name, _)| name).collect()
    }

    /// When something refused may be tried again.
    pub fn next_try(&self) -> Option<Duration> {
        [self.retries.next(), self.host_retries.next()].into_iter().flatten().min()
    }
}

/// Parameters of a workload's interface, with whether each must work.
fn parameters(name: &str, needs: Needs, rp_filter: &str) -> Vec<(String, String, bool)> {
    let rp_filter = if needs.spoofing { "0" } else { rp_filter };
    let v4 = [
        ("ipv4/conf", "route_localnet", "1"),
        ("ipv4/neigh", "proxy_delay", "0"),
        ("ipv4/conf", "proxy_arp", "1"),
        ("ipv4/conf", "forwarding", "1"),
        ("ipv4/conf", "rp_filter", rp_filter),
    ];
    let v6 = [
        ("ipv6/conf", "proxy_ndp", "1", true),
        ("ipv6/conf", "forwarding", "1", true),
        ("ipv6/conf", "accept_ra", "0", false),
    ];
    let path = |folder: &str, parameter: &str| format!("net/{folder}/{name}/{parameter}");
    let mut all: Vec<(String, String, bool)> =
        v4.into_iter().map(|(folder, key, value)| (path(folder, key), value.to_owned(), true)).collect();
    if needs.ipv6 {
        all.extend(
            v6.into_iter().map(|(folder, key, value, must)| (path(folder, key), value.to_owned(), must)),
        );
    }
    all
}

#[cfg(test)]
mod tests;

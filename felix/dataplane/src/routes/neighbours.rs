//! Permanent neighbours of IPv4 workloads, so that no packet waits for ARP. They are only ever set: one whose workload went
//! goes with its link, and Calico's nodes leave it so too.

use delta::{DeltaMap, Retries};
use kernel::{KernelError, Mac, Neighbour, Op};
use std::net::IpAddr;
use std::time::Duration;

/// Link and address.
type Key = (u32, IpAddr);

/// See the module.
#[derive(Debug, Default)]
pub struct Neighbours {
    delta: DeltaMap<Key, Mac>,
    retries: Retries<Key>,
}

impl Neighbours {
    /// The workload behind a link has this hardware address.
    pub fn want(&mut self, link: u32, address: IpAddr, mac: Mac) {
        self.retries.forget(&(link, address));
        self.delta.set_desired((link, address), mac);
    }

    /// Nobody is known to have this address.
    pub fn unwant(&mut self, link: u32, address: IpAddr) {
        self.retries.forget(&(link, address));
        self.delta.remove_desired(&(link, address));
    }

    /// All that there are.
    pub fn read_back(&mut self, found: &[Neighbour]) {
        let permanent = found.iter().filter(|entry| entry.permanent && entry.addr.is_ipv4());
        let known = permanent.filter_map(|entry| Some(((entry.link, entry.addr), entry.mac?)));
        self.delta.replace_actual(known);
    }

    /// A link lost its neighbours.
    pub fn flushed(&mut self, link: u32) {
        let any = |last: u8| IpAddr::from([last; 4]);
        let gone: Vec<Key> =
            self.delta.range((link, any(0))..=(link, any(255))).map(|entry| *entry.key).collect();
        gone.iter().for_each(|key| self.delta.remove_actual(key));
    }

    /// What to do now, and about whom.
    pub fn batch(&self, now: Duration) -> (Vec<Op>, Vec<Key>) {
        let free = |key: &Key| self.retries.may(key, now);
        let set = |key: &Key, mac: Mac| {
            let (link, addr) = *key;
            Op::SetNeighbour(Neighbour { link, addr, mac: Some(mac), permanent: true, proxy: false })
        };
        let pending = self.delta.pending_updates().filter(|update| free(update.key));
        pending.map(|update| (set(update.key, *update.desired), *update.key)).unzip()
    }

    /// What the kernel answered; the first new refusal in its words.
    pub fn done(
        &mut self,
        sent: Vec<Key>,
        results: impl IntoIterator<Item = Result<(), KernelError>>,
        now: Duration,
    ) -> Option<String> {
        let mut refused = None;
        for (key, result) in sent.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    self.delta.mark_updated(&key);
                    self.retries.forget(&key);
                }
                Err(error) => {
                    if self.retries.refused(key, now) {
                        refused.get_or_insert(error.to_string());
                    }
                }
            }
        }
        refused
    }

    /// Forgets refusals whose time has come and about which nothing is left to do.
    pub fn forget_due(&mut self, now: Duration) {
        self.retries.forget_due(now);
    }

    /// When something refused may be tried again.
    pub fn next_try(&self) -> Option<Duration> {
        self.retries.next()
    }

    /// Whether all are set.
    pub fn is_in_sync(&self) -> bool {
        self.delta.pending_updates().next().is_none()
    }
}

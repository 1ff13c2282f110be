//! Leases in virtual time: keys bound to a lease go when it is revoked or runs out.
//!
//! Time is a [`Duration`] since any fixed origin, given by the caller; the store never asks a clock.

use crate::store::Change;
use crate::{DeleteRequest, Error, KeyRange, Revision, Store};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// etcd's bound on a lease's time to live, in seconds.
const MAX_TTL: i64 = 9_000_000_000;

/// What is known of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Its id.
    pub id: i64,
    /// Seconds it lives after a grant or keep-alive.
    pub granted_ttl: i64,
    /// Whole seconds left, rounded up.
    pub remaining: i64,
    /// Keys bound to it.
    pub keys: Vec<Bytes>,
}

#[derive(Debug)]
struct Lease {
    ttl: i64,
    expires: Duration,
    keys: BTreeSet<Bytes>,
}

/// All leases, and in which order they run out.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    leases: BTreeMap<i64, Lease>,
    expiry: BTreeSet<(Duration, i64)>,
    last_id: i64,
}

impl Leases {
    pub(crate) fn contains(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    /// Moves a key from one lease to another; 0 is none.
    pub(crate) fn rebind(&mut self, key: &Bytes, from: i64, to: i64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.leases.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&to) {
            lease.keys.insert(key.clone());
        }
    }

    fn free_id(&mut self) -> i64 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.contains(self.last_id) {
                return self.last_id;
            }
        }
    }

    fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        let lease = self.leases.get_mut(&id)?;
        self.expiry.remove(&(lease.expires, id));
        lease.expires = end(now, lease.ttl);
        self.expiry.insert((lease.expires, id));
        Some(lease.ttl)
    }

    fn remove(&mut self, id: i64) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        self.expiry.remove(&(lease.expires, id));
        Some(lease)
    }
}

fn end(now: Duration, ttl: i64) -> Duration {
    now.saturating_add(Duration::from_secs(u64::try_from(ttl).unwrap_or(0)))
}

impl Leases {
    /// A lease as it was kept elsewhere, without its keys, which follow with [`Leases::rebind`].
    pub(crate) fn restore(&mut self, record: crate::LeaseRecord) {
        let crate::LeaseRecord { id, ttl, expires } = record;
        self.leases.insert(id, Lease { ttl, expires, keys: BTreeSet::new() });
        self.expiry.insert((expires, id));
    }

    /// What is to be kept of a lease elsewhere.
    pub(crate) fn record(&self, id: i64) -> Option<crate::LeaseRecord> {
        let lease = self.leases.get(&id)?;
        Some(crate::LeaseRecord { id, ttl: lease.ttl, expires: lease.expires })
    }
}

impl Store {
    /// Grants a lease of `ttl` seconds, raised to [`Limits::min_lease_ttl`](crate::Limits::min_lease_ttl);
    /// with `id` 0 the store chooses one. Returns id and time to live.
    pub fn lease_grant(&mut self, id: i64, ttl: i64, now: Duration) -> Result<(i64, i64), Error> {
        if ttl > MAX_TTL {
            return Err(Error::LeaseTtlTooLarge);
        }
        if id != 0 && self.leases.contains(id) {
            return Err(Error::LeaseExists);
        }
        let id = if id == 0 { self.leases.free_id() } else { id };
        let ttl = ttl.max(self.limits.min_lease_ttl).max(1);
        let expires = end(now, ttl);
        self.leases.leases.insert(id, Lease { ttl, expires, keys: BTreeSet::new() });
        self.leases.expiry.insert((expires, id));
        Ok((id, ttl))
    }

    /// Starts the lease's time anew; returns its time to live in seconds.
    pub fn lease_keep_alive(&mut self, id: i64, now: Duration) -> Result<i64, Error> {
        self.leases.renew(id, now).ok_or(Error::LeaseNotFound)
    }

    /// Ends a lease and deletes its keys, all at one revision; returns the store's revision.
    pub fn lease_revoke(&mut self, id: i64) -> Result<Revision, Error> {
        let lease = self.leases.remove(id).ok_or(Error::LeaseNotFound)?;
        let mut change = Change::new(self);
        for key in lease.keys {
            change.delete(&DeleteRequest { range: KeyRange::key(key), prev_kv: false });
        }
        change.commit();
        Ok(self.revision)
    }

    /// What is left of a lease.
    pub fn lease_info(&self, id: i64, now: Duration) -> Result<LeaseInfo, Error> {
        let lease = self.leases.leases.get(&id).ok_or(Error::LeaseNotFound)?;
        let left = lease.expires.saturating_sub(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Ok(LeaseInfo {
            id,
            granted_ttl: lease.ttl,
            remaining: i64::try_from(seconds).unwrap_or(i64::MAX),
            keys: lease.keys.iter().cloned().collect(),
        })
    }

    /// All leases' ids, ascending.
    pub fn leases(&self) -> impl Iterator<Item = i64> {
        self.leases.leases.keys().copied()
    }

    /// When the next lease runs out, for the caller's timer.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.leases.expiry.first().map(|(at, _)| *at)
    }

    /// Ends every lease whose time is up, one revision each, the longest overdue first; returns their ids.
    pub fn expire_leases(&mut self, now: Duration) -> Vec<i64> {
        let mut gone = Vec::new();
        while let Some(&(at, id)) = self.leases.expiry.first() {
            if at > now || self.lease_revoke(id).is_err() {
                break;
            }
            gone.push(id);
        }
        gone
    }
}

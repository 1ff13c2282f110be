//! Failures planned by a test.

use crate::api::{KernelError, Op};
use nix::errno::Errno;

/// One planned failure of the in-memory kernel.
pub struct Fault {
    kind: Kind,
    /// Matches still let through.
    skip: usize,
    /// Matches still failed.
    times: usize,
}

enum Kind {
    Op { matches: Box<dyn Fn(&Op) -> bool + Send>, errno: Errno },
    Sysctl { key: String, reason: String },
}

impl Fault {
    /// Fails the next operation that `matches`, in any namespace, with `errno`.
    pub fn on_op(matches: impl Fn(&Op) -> bool + Send + 'static, errno: Errno) -> Self {
        Self { kind: Kind::Op { matches: Box::new(matches), errno }, skip: 0, times: 1 }
    }

    /// Fails the `n`-th operation from now on, counted from 0 over all namespaces.
    pub fn nth(n: usize, errno: Errno) -> Self {
        Self::on_op(|_| true, errno).after(n)
    }

    /// Fails the next write of a sysctl whose path ends in `key`, such as `proxy_arp`.
    pub fn on_sysctl(key: &str, reason: &str) -> Self {
        Self { kind: Kind::Sysctl { key: key.to_string(), reason: reason.to_string() }, skip: 0, times: 1 }
    }

    /// Lets `n` matches through first.
    pub fn after(mut self, n: usize) -> Self {
        self.skip = n;
        self
    }

    /// Strikes `n` times instead of once.
    pub fn times(mut self, n: usize) -> Self {
        self.times = n;
        self
    }

    fn strike(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times = self.times.saturating_sub(1);
        true
    }
}

/// The plan.
#[derive(Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    pub(super) fn strikes(&mut self, op: &Op) -> Option<KernelError> {
        let found = self.planned.iter_mut().find_map(|fault| {
            let errno = match &fault.kind {
                Kind::Op { matches, errno } if matches(op) => *errno,
                _ => return None,
            };
            fault.strike().then_some(errno)
        });
        self.planned.retain(|fault| fault.times > 0);
        let errno = found?;
        let detail = Some("planned fault".to_string());
        Some(KernelError::Refused { errno: errno as i32, what: op.to_string(), detail })
    }

    pub(super) fn strikes_sysctl(&mut self, key: &str) -> Option<String> {
        let found = self.planned.iter_mut().find_map(|fault| {
            let reason = match &fault.kind {
                Kind::Sysctl { key: planned, reason } if key.ends_with(planned.as_str()) => reason.clone(),
                _ => return None,
            };
            fault.strike().then_some(reason)
        });
        self.planned.retain(|fault| fault.times > 0);
        found
    }
}

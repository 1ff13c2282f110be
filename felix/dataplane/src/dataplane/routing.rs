//! What leads packets to workloads: parameters of interfaces and of the host, routes, neighbours; and connections of
//! addresses that left.

use super::Dataplane;
use failpoint::failpoint;
use std::net::IpAddr;
use std::time::Duration;

/// Routes in one batch: how long others may have to wait for it.
const BATCH: usize = 2048;

/// Between two looks at the connections of the host: at least this, and [`SHARE`] times what the last one took, which is some
/// milliseconds with an empty table of the usual size (`kernel::Conntrack`), and at most [`LONGEST`].
const GATHER: Duration = Duration::from_millis(100);
const SHARE: u32 = 100;
const LONGEST: Duration = Duration::from_secs(1);

impl Dataplane {
    pub(super) async fn apply_sysctls(&mut self) {
        let now = self.now();
        self.sysctls.apply_host(&*self.kernel, self.settings.ip_forwarding, now).await;
        for interface in self.sysctls.apply(&*self.kernel, now).await {
            self.endpoints.interface_changed(&interface, true);
        }
    }

    pub(super) async fn apply_routes(&mut self) {
        loop {
            let now = self.now();
            let (mut ops, routes) = self.routes.batch(BATCH, now);
            let (more, neighbours) = self.neighbours.batch(now);
            ops.extend(more);
            if ops.is_empty() {
                self.routes.forget_due(now);
                self.neighbours.forget_due(now);
                return;
            }
            let mut results = self.kernel.apply(ops, false).await.into_iter();
            failpoint("felix-routes");
            let count = routes.len();
            let refused = self.routes.done(routes, results.by_ref().take(count), now);
            if let Some(first) = refused.first() {
                tracing::warn!(
                    refused = refused.len(),
                    error = first,
                    "the kernel refuses routes, which are tried again"
                );
            }
            if let Some(error) = self.neighbours.done(neighbours, results, now) {
                tracing::warn!(error, "the kernel refuses a neighbour, which is tried again");
            }
        }
    }

    /// Connections of addresses that left a workload's interface: those that gathered at one look, unless one of them is wanted
    /// again.
    pub(super) fn forget_flows(&mut self) {
        let now = self.now();
        if !self.forgetting.may(&(), now) || (now < self.next_forgetting && !self.routes.is_left_wanted()) {
            return;
        }
        let left = self.routes.take_left();
        if left.is_empty() {
            self.forgetting.clear();
            return;
        }
        let addresses: Vec<IpAddr> = left.iter().copied().collect();
        let forgotten = self.flows.forget(&addresses);
        let after = self.now();
        let took = after.saturating_sub(now);
        self.meters.forgot(took);
        self.next_forgetting = after + gathering(took);
        match forgotten {
            Ok(count) => {
                failpoint("felix-flows");
                self.forgetting.clear();
                tracing::debug!(
                    count,
                    addresses = addresses.len(),
                    "connections of addresses that left are forgotten"
                );
            }
            Err(error) => {
                if self.forgetting.refused((), now) {
                    tracing::warn!(%error, "connections of an address that left are not forgotten, trying again");
                }
                self.routes.put_back_left(left);
            }
        }
    }
}

/// How long addresses gather after a look that took so long.
fn gathering(look: Duration) -> Duration {
    look.saturating_mul(SHARE).clamp(GATHER, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_a_long_table_are_a_small_share_of_the_time_and_none_is_far_off() {
        let millis = Duration::from_millis;
        let cases = [(Duration::ZERO, millis(100)), (millis(3), millis(300)), (millis(50), LONGEST)];
        assert_eq!(cases.map(|(look, _)| gathering(look)), cases.map(|(_, wanted)| wanted));
    }
}

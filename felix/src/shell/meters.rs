//! What is counted of the loop, under Calico's names where Calico's agent counts it too (`felix.md` §19 of the contract).
//!
//! What happens is counted where it happens, by counters and summaries at hand. What there is is counted when somebody
//! reads ([`Shell::measure`]) and never else: a change costs none of it.

use super::Shell;
use felix_calc::endpoint::EndpointKey;
use felix_calc::report::Report;
use felix_calc::sets::SetChange;
use felix_calc::{Changes, Feed};
use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use std::time::Duration;

/// Counters of this part, and those of its log.
const COUNTERS: [(&str, &str); 8] = [
    ("felix_calc_graph_output_events", "Changes that the calculation came to."),
    (UPDATES, "Values of the datastore that were taken in, by kind."),
    (EVALUATIONS, "Times that a selector was tried with a kind of endpoints, by outcome."),
    (TOLD, "Changes that the dataplane was told, by the type that Calico's agent gives them."),
    (FAILURES, "Applies after which the kernel refused something, which is tried again."),
    (LOG_ERRORS, "Writes of logs that failed."),
    (RESYNCS, "Times that the datastore began to be listed."),
    ("felix_status_write_errors", "Writes of status to the datastore that failed."),
];

const UPDATES: &str = "felix_calc_graph_updates_processed";
const EVALUATIONS: &str = "felix_label_index_selector_evals";
const TOLD: &str = "felix_int_dataplane_messages";
const FAILURES: &str = "felix_int_dataplane_failures";
const LOG_ERRORS: &str = "felix_log_errors";
const RESYNCS: &str = "felix_resyncs_started";

/// Gauges, with what they tell.
const GAUGES: [(&str, &str); 21] = [
    ("felix_host", "Always 1; its label is the node's name."),
    ("felix_resync_state", "The datastore: 1 does not answer, 2 is being listed, 3 is followed."),
    ("felix_active_local_endpoints", "Endpoints of this node."),
    ("felix_active_local_policies", "Policies that apply to endpoints of this node."),
    ("felix_active_local_selectors", "Sets that rules in force on this node name."),
    ("felix_label_index_num_endpoints", "Endpoints and network sets that selectors are about."),
    (
        "felix_label_index_num_active_selectors",
        "Selectors; optimized: tried only with what has a label they need.",
    ),
    ("felix_cluster_num_host_endpoints", "Endpoints of hosts, of the whole cluster."),
    ("felix_cluster_num_hosts", "Nodes of the cluster."),
    ("felix_cluster_num_policies", "Policies of the cluster."),
    ("felix_cluster_num_profiles", "Profiles of the cluster."),
    ("felix_cluster_num_tiers", "Tiers of the cluster."),
    ("felix_cluster_num_workload_endpoints", "Endpoints of workloads, of the whole cluster."),
    (INITIAL, "Seconds from the start until the kernel had everything for the first time."),
    ("felix_known_revision", "The newest revision of the datastore that was heard of."),
    ("felix_enforced_revision", "The revision of the datastore that is in force; 0 before there is one."),
    ("felix_kernel_refuses", "Objects that the kernel refuses."),
    ("felix_objects_refused", "Stored objects that cannot be read, and count as absent."),
    ("felix_rules_not_enforced", "Rules with conditions that the kernel cannot look at."),
    ("felix_pools_not_carried", "Pools whose encapsulation is not carried."),
    (NOT_CARRIED, "1 for a pool whose encapsulation is not carried, 0 for one of which that was so."),
];

const INITIAL: &str = "felix_int_dataplane_initial_resync_time_seconds";
/// See [`Meters::reported`].
pub(super) const NOT_CARRIED: &str = "felix_pool_not_carried";

const UPDATE_TIME: &str = "felix_calc_graph_update_time_seconds";
const APPLY_TIME: &str = "felix_int_dataplane_apply_time_seconds";
const BATCH: &str = "felix_int_dataplane_msg_batch_size";

/// What the dataplane may be told, as Calico's agent calls it; in the order of [`tally`].
const MESSAGES: [&str; 12] = [
    "IPSetUpdate",
    "IPSetDeltaUpdate",
    "IPSetRemove",
    "ActiveProfileUpdate",
    "ActiveProfileRemove",
    "WorkloadEndpointUpdate",
    "WorkloadEndpointRemove",
    "HostEndpointUpdate",
    "HostEndpointRemove",
    "RouteUpdate",
    "RouteRemove",
    "GlobalBGPConfigUpdate",
];

/// Counters and summaries at hand: to find one by its name costs more than to count.
pub(super) struct Meters {
    output_events: Counter,
    update_time: Histogram,
    apply_time: Histogram,
    failures: Counter,
    batch: Histogram,
    messages: [Counter; MESSAGES.len()],
}

impl Meters {
    /// Everything that is counted begins at zero.
    pub(super) fn new(node: &str) -> Self {
        COUNTERS.into_iter().for_each(|(name, help)| describe_counter!(name, help));
        GAUGES.into_iter().for_each(|(name, help)| describe_gauge!(name, help));
        describe_histogram!(UPDATE_TIME, "Time taken to take in what the datastore told at one go.");
        describe_histogram!(
            APPLY_TIME,
            "Time taken by an apply, once the kernel had everything for the first time."
        );
        describe_histogram!(BATCH, "Changes that the dataplane was told at one go.");
        gauge!("felix_host", "host" => node.to_owned()).set(1.0);
        gauge!(INITIAL).set(0.0);
        let _ = counter!("felix_status_write_errors");
        Self {
            output_events: counter!("felix_calc_graph_output_events"),
            update_time: histogram!(UPDATE_TIME),
            apply_time: histogram!(APPLY_TIME),
            failures: counter!(FAILURES),
            batch: histogram!(BATCH),
            messages: MESSAGES.map(|name| counter!(TOLD, "type" => name)),
        }
    }

    /// Values of the datastore were taken in.
    pub(super) fn worked(&self, time: Duration) {
        self.update_time.record(time);
    }

    /// The calculation came to this.
    pub(super) fn calculated(&self, changes: &Changes) {
        self.output_events.increment(tally(changes).into_iter().sum());
    }

    /// The dataplane is told these at one go.
    pub(super) fn told<'a>(&self, all: impl IntoIterator<Item = &'a Changes>) {
        let mut batch = 0;
        for changes in all {
            for (counter, count) in self.messages.iter().zip(tally(changes)) {
                if count > 0 {
                    counter.increment(count);
                    batch += count;
                }
            }
        }
        if batch > 0 {
            self.batch.record(number(batch));
        }
    }

    /// An apply, after the first that brought everything into the kernel.
    pub(super) fn applied(&self, time: Duration) {
        self.apply_time.record(time);
    }

    /// The kernel refused something at an apply.
    pub(super) fn failed(&self) {
        self.failures.increment(1);
    }

    /// The kernel has everything for the first time.
    pub(super) fn settled(&self, since_start: Duration) {
        gauge!(INITIAL).set(since_start.as_secs_f64());
    }
}

/// How many changes there are of each of [`MESSAGES`].
fn tally(changes: &Changes) -> [u64; MESSAGES.len()] {
    let (mut created, mut updated, mut removed) = (0, 0, 0);
    for (_, change) in &changes.sets {
        match change {
            SetChange::Create(..) => created += 1,
            SetChange::Update { .. } => updated += 1,
            SetChange::Remove => removed += 1,
        }
    }
    let (mut profiles, mut no_profiles) = (0, 0);
    for (_, profile) in &changes.profiles {
        *(if profile.is_some() { &mut profiles } else { &mut no_profiles }) += 1;
    }
    let (mut workloads, mut no_workloads, mut hosts, mut no_hosts) = (0, 0, 0, 0);
    for (key, endpoint) in &changes.endpoints {
        let counter = match (key, endpoint) {
            (EndpointKey::Workload(..), Some(_)) => &mut workloads,
            (EndpointKey::Workload(..), None) => &mut no_workloads,
            (EndpointKey::Host(_), Some(_)) => &mut hosts,
            (EndpointKey::Host(_), None) => &mut no_hosts,
        };
        *counter += 1;
    }
    let (mut routes, mut no_routes) = (0, 0);
    for (_, route) in &changes.routes {
        *(if route.is_some() { &mut routes } else { &mut no_routes }) += 1;
    }
    let services = u64::from(changes.service_cidrs.is_some());
    [
        created,
        updated,
        removed,
        profiles,
        no_profiles,
        workloads,
        no_workloads,
        hosts,
        no_hosts,
        routes,
        no_routes,
        services,
    ]
}

impl Shell {
    /// Brings up to date what is counted for readers alone.
    pub(super) fn measure(&mut self) {
        self.dataplane.measure();
        measure_calculation(&self.feed);
        gauge!("felix_resync_state").set(self.resync_state());
        counter!(RESYNCS).absolute(self.follow.resyncs());
        counter!(LOG_ERRORS).absolute(observe::log::errors());
        let refused = self.dataplane.refused().count();
        let revision = |revision: i64| number(u64::try_from(revision).unwrap_or_default());
        for (name, value) in [
            ("felix_kernel_refuses", count(refused)),
            ("felix_known_revision", revision(self.follow.syncer().newest())),
            ("felix_enforced_revision", revision(self.dataplane.enforced().unwrap_or_default())),
        ] {
            gauge!(name).set(value);
        }
    }

    /// As Calico numbers it.
    fn resync_state(&self) -> f64 {
        let away = self.follow.link().is_some_and(|link| link.trouble.is_some());
        match (away, self.in_sync && !self.follow.is_resyncing()) {
            (true, _) => 1.0,
            (false, false) => 2.0,
            (false, true) => 3.0,
        }
    }
}

fn measure_calculation(feed: &Feed) {
    let counts = feed.counts();
    let (mut objects, mut rules, mut pools) = (0, 0, 0);
    for (_, report) in feed.reports() {
        match report {
            Report::Refused { .. } => objects += 1,
            Report::NotEnforced { .. } => rules += 1,
            Report::NotCarried { .. } => pools += 1,
        }
    }
    for (name, value) in [
        ("felix_active_local_endpoints", counts.local_endpoints),
        ("felix_active_local_policies", counts.active_policies),
        ("felix_active_local_selectors", counts.sets),
        ("felix_label_index_num_endpoints", counts.items),
        ("felix_cluster_num_host_endpoints", counts.host_endpoints),
        ("felix_cluster_num_hosts", counts.nodes),
        ("felix_cluster_num_policies", counts.policies),
        ("felix_cluster_num_profiles", counts.profiles),
        ("felix_cluster_num_tiers", counts.tiers),
        ("felix_cluster_num_workload_endpoints", counts.workload_endpoints),
        ("felix_objects_refused", objects),
        ("felix_rules_not_enforced", rules),
        ("felix_pools_not_carried", pools),
    ] {
        gauge!(name).set(count(value));
    }
    for (optimized, value) in [("true", counts.narrow_selectors), ("false", counts.broad_selectors)] {
        gauge!("felix_label_index_num_active_selectors", "optimized" => optimized).set(count(value));
    }
    let work = feed.work_done();
    for (kind, updates) in work.updates {
        counter!(UPDATES, "type" => kind).absolute(updates);
    }
    let evaluations = work.evaluations;
    for (result, tried) in [("true", evaluations.matched), ("false", evaluations.missed)] {
        counter!(EVALUATIONS, "result" => result).absolute(tried);
    }
}

fn count(of: usize) -> f64 {
    number(u64::try_from(of).unwrap_or(u64::MAX))
}

/// Exact up to 2^53, which no count and no store's revision comes near.
#[allow(clippy::cast_precision_loss)]
fn number(of: u64) -> f64 {
    of as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use felix_calc::BlockRoute;
    use felix_calc::sets::SetKind;
    use std::sync::Arc;

    #[test]
    fn what_the_dataplane_is_told_is_counted_by_calicos_types() {
        let key = |name: &str| EndpointKey::Host(name.to_owned());
        let net = |text: &str| model::net::Cidr::parse_masked(text).unwrap();
        let changes = Changes {
            sets: vec![
                (Arc::from("a"), SetChange::Create(SetKind::Nets, Vec::new())),
                (Arc::from("b"), SetChange::Remove),
                (Arc::from("c"), SetChange::Remove),
            ],
            profiles: vec![(Arc::from("open"), None)],
            endpoints: vec![(key("h"), None), (EndpointKey::Workload("n".into(), "w".into()), None)],
            routes: vec![(net("10.0.0.0/26"), Some(BlockRoute::Blackhole)), (net("10.0.1.0/26"), None)],
            service_cidrs: Some(Arc::default()),
            ..Changes::default()
        };
        let told: Vec<(&str, u64)> =
            MESSAGES.into_iter().zip(tally(&changes)).filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            told,
            [
                ("IPSetUpdate", 1),
                ("IPSetRemove", 2),
                ("ActiveProfileRemove", 1),
                ("WorkloadEndpointRemove", 1),
                ("HostEndpointRemove", 1),
                ("RouteUpdate", 1),
                ("RouteRemove", 1),
                ("GlobalBGPConfigUpdate", 1),
            ]
        );
    }
}

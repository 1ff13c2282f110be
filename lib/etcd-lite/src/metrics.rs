//! `/metrics`: what dashboards and alerts for etcd look at, under etcd's names and with its meaning, and nothing else.
//!
//! The owner counts in [`Stats`], which is plain numbers;
//! [`Calls`] and [`Traffic`] are shared by all connections.

use crate::engine::Core;
use crate::maintenance::VERSION;
use http::Response;
use http_body_util::BodyExt;
use mvcc::{OpResponse, TxnResponse};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::body::Body;

/// Buckets of etcd's durations: 1 ms, doubled 13 times.
const BUCKETS: usize = 14;

/// Durations of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
    sum: Duration,
}

impl Histogram {
    pub(crate) fn add(&mut self, time: Duration) {
        let bounds = std::iter::successors(Some(Duration::from_millis(1)), |bound| Some(*bound * 2));
        for (count, bound) in self.counts.iter_mut().zip(bounds) {
            *count += u64::from(time <= bound);
        }
        self.count += 1;
        self.sum += time;
    }
}

/// What the owner of the store has done since it began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    pub(crate) ranges: u64,
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
    pub(crate) txns: u64,
    pub(crate) granted: u64,
    pub(crate) renewed: u64,
    pub(crate) revoked: u64,
    pub(crate) expired: u64,
    /// Writes that compactions made unreadable.
    pub(crate) forgotten: u64,
    /// Commits that the disk refused.
    pub(crate) failed: u64,
    pub(crate) commits: Histogram,
    pub(crate) defragmentations: Histogram,
    pub(crate) healthy: u64,
    pub(crate) unhealthy: u64,
}

impl Stats {
    /// Counts a transaction's operations; as in etcd it is one itself when it has several.
    pub(crate) fn count_txn(&mut self, response: &TxnResponse) {
        let done = self.count_operations(response);
        self.txns += u64::from(done > 1);
    }

    fn count_operations(&mut self, response: &TxnResponse) -> usize {
        let count = |response: &OpResponse| {
            match response {
                OpResponse::Range(_) => self.ranges += 1,
                OpResponse::Put(_) => self.puts += 1,
                OpResponse::Delete(_) => self.deletes += 1,
                OpResponse::Txn(inner) => return self.count_operations(inner),
            }
            1
        };
        response.responses.iter().map(count).sum()
    }

    /// Requests that wrote, or tried to.
    fn proposals(&self) -> u64 {
        self.puts + self.deletes + self.granted + self.revoked
    }
}

/// A method: service and name; whether it is a stream, in etcd's words.
type Method = (String, String);

#[derive(Debug, Default)]
struct Counts {
    started: BTreeMap<Method, u64>,
    handled: BTreeMap<(Method, &'static str), u64>,
}

/// Calls by method and outcome.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Counts>);

/// Names of gRPC's codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// How etcd's monitoring calls the kind of a method.
fn kind(method: &str) -> &'static str {
    match method {
        "Watch" | "LeaseKeepAlive" => "bidi_stream",
        "Snapshot" => "server_stream",
        _ => "unary",
    }
}

fn kind_of(path: &str) -> &'static str {
    path.rsplit_once('/').map_or("unary", |(_, method)| kind(method))
}

/// The outcome that headers or trailers tell.
fn code(headers: &http::HeaderMap) -> Option<tonic::Code> {
    headers.get("grpc-status").map(|status| tonic::Code::from_bytes(status.as_bytes()))
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn started(&self, path: &str) {
        let Some(method) = method(path) else { return };
        *self.lock().started.entry(method).or_default() += 1;
    }

    pub(crate) fn handled(&self, path: &str, code: tonic::Code) {
        let Some(method) = method(path) else { return };
        let code = usize::try_from(i32::from(code)).ok().and_then(|code| CODES.get(code)).copied();
        *self.lock().handled.entry((method, code.unwrap_or("Unknown"))).or_default() += 1;
    }
}

fn method(path: &str) -> Option<Method> {
    path.trim_start_matches('/')
        .split_once('/')
        .map(|(service, method)| (service.to_owned(), method.to_owned()))
}

/// Counts the outcome of a call that was answered with `response`: now, or when its stream ends.
pub(crate) fn counted(calls: Arc<Calls>, path: String, response: Response<Body>) -> Response<Body> {
    let told = code(response.headers());
    if told.is_some() || kind_of(&path) == "unary" {
        calls.handled(&path, told.unwrap_or(tonic::Code::Ok));
        return response;
    }
    // a client that goes before the end has cancelled the call
    let mut ending = Ending { calls, path, code: tonic::Code::Cancelled };
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            ending.code = frame.trailers_ref().and_then(code).unwrap_or(ending.code);
            frame
        }))
    })
}

/// Counts a stream when its answer is over.
struct Ending {
    calls: Arc<Calls>,
    path: String,
    code: tonic::Code,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.calls.handled(&self.path, self.code);
    }
}

/// Bytes of all connections.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
}

/// The text of `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // writing to a string does not fail
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let mut bound = 0.001;
        for count in histogram.counts {
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {count}");
            bound *= 2.0;
        }
        let (count, sum) = (histogram.count, histogram.sum.as_secs_f64());
        let _ =
            writeln!(self.0, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
    }

    /// What the owner knows.
    pub(crate) fn store(&mut self, core: &Core) {
        let stats = &core.stats;
        let (store, counter, gauge) = (&core.store, "counter", "gauge");
        let watches = core.hub.counts();
        let size = core.size();
        self.head("etcd_server_id", gauge, "Member id in hexadecimal; 1.");
        let _ = writeln!(self.0, "etcd_server_id{{server_id=\"{:x}\"}} 1", core.identity.member);
        self.head("etcd_server_version", gauge, "Release of etcd whose behaviour this is; 1.");
        let _ = writeln!(self.0, "etcd_server_version{{server_version=\"{VERSION}\"}} 1");
        for (name, kind, help, value) in [
            (
                "etcd_server_has_leader",
                gauge,
                "Whether requests can be answered.",
                u64::from(core.fault().is_none()),
            ),
            ("etcd_server_is_leader", gauge, "Whether this member leads: it is the only one.", 1),
            ("etcd_server_leader_changes_seen_total", counter, "Leaders seen.", 1),
            ("etcd_server_proposals_committed_total", gauge, "Writes made durable.", stats.proposals()),
            ("etcd_server_proposals_applied_total", gauge, "Writes applied.", stats.proposals()),
            ("etcd_server_proposals_pending", gauge, "Writes that wait for a commit.", 0),
            ("etcd_server_proposals_failed_total", counter, "Commits that the disk refused.", stats.failed),
            ("etcd_server_health_success", counter, "Checks of /health that were good.", stats.healthy),
            ("etcd_server_health_failures", counter, "Checks of /health that were not.", stats.unhealthy),
            (
                "etcd_server_quota_backend_bytes",
                gauge,
                "Size at which writes are refused; 0: the disk's.",
                core.quota(),
            ),
            ("etcd_mvcc_db_total_size_in_bytes", gauge, "Size of the database file.", size),
            ("etcd_mvcc_db_total_size_in_use_in_bytes", gauge, "What rows take of it.", core.in_use()),
            ("etcd_mvcc_range_total", counter, "Ranges read.", stats.ranges),
            ("etcd_mvcc_put_total", counter, "Puts.", stats.puts),
            ("etcd_mvcc_delete_total", counter, "Deletes.", stats.deletes),
            ("etcd_mvcc_txn_total", counter, "Transactions of several operations.", stats.txns),
            ("etcd_debugging_mvcc_keys_total", gauge, "Keys.", store.key_count() as u64),
            ("etcd_debugging_mvcc_db_compaction_keys_total", counter, "Writes forgotten.", stats.forgotten),
            ("etcd_debugging_mvcc_events_total", counter, "Events told to watches.", watches.told),
            (
                "etcd_debugging_mvcc_pending_events_total",
                gauge,
                "Messages that wait for a reader.",
                watches.waiting,
            ),
            ("etcd_debugging_mvcc_watch_stream_total", gauge, "Streams of watches.", watches.streams),
            ("etcd_debugging_mvcc_watcher_total", gauge, "Watches.", watches.watches),
            ("etcd_debugging_mvcc_slow_watcher_total", gauge, "Watches that lag.", watches.slow),
            ("etcd_debugging_lease_granted_total", counter, "Leases granted.", stats.granted),
            ("etcd_debugging_lease_renewed_total", counter, "Leases renewed.", stats.renewed),
            ("etcd_debugging_lease_revoked_total", counter, "Leases revoked.", stats.revoked),
            ("etcd_debugging_server_lease_expired_total", counter, "Leases that ran out.", stats.expired),
        ] {
            self.value(name, kind, help, value);
        }
        let name = "etcd_debugging_mvcc_current_revision";
        self.value(name, gauge, "Newest revision.", store.revision());
        let name = "etcd_debugging_mvcc_compact_revision";
        self.value(name, gauge, "Revision of the last compaction.", store.compacted());
        let help = "How long commits take: what an answer to a write waits for.";
        self.histogram("etcd_disk_wal_fsync_duration_seconds", help, &stats.commits);
        let help = "How long the database takes to take over what the log has.";
        self.histogram("etcd_disk_backend_commit_duration_seconds", help, &core.checkpoints());
        let name = "etcd_disk_backend_defrag_duration_seconds";
        self.histogram(name, "How long defragmentations take.", &stats.defragmentations);
    }

    /// What connections know.
    pub(crate) fn calls(&mut self, calls: &Calls, traffic: &Traffic) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let name = "etcd_network_client_grpc_received_bytes_total";
        self.value(name, "counter", "Bytes received from clients.", load(&traffic.received));
        let name = "etcd_network_client_grpc_sent_bytes_total";
        self.value(name, "counter", "Bytes sent to clients.", load(&traffic.sent));
        let counts = calls.lock();
        self.head("grpc_server_started_total", "counter", "Calls begun.");
        for ((service, method), count) in &counts.started {
            let labels =
                format!("grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"{}\"", kind(method));
            let _ = writeln!(self.0, "grpc_server_started_total{{{labels}}} {count}");
        }
        self.head("grpc_server_handled_total", "counter", "Calls ended, by outcome.");
        for (((service, method), code), count) in &counts.handled {
            let labels = format!(
                "grpc_code=\"{code}\",grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"{}\"",
                kind(method)
            );
            let _ = writeln!(self.0, "grpc_server_handled_total{{{labels}}} {count}");
        }
    }

    /// What the kernel knows of this process.
    pub(crate) fn process(&mut self) {
        for fact in observe::process::facts() {
            self.value(fact.name, fact.kind, fact.help, fact.value);
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_cumulative_and_have_etcds_buckets() {
        let mut histogram = Histogram::default();
        for micros in [500, 1500, 3000, 9_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        let mut text = Text::default();
        text.histogram("x", "y", &histogram);
        let text = text.finish();
        for line in [
            "le=\"0.001\"} 1",
            "le=\"0.002\"} 2",
            "le=\"0.004\"} 3",
            "le=\"8.192\"} 3",
            "+Inf\"} 4",
            "x_sum 9.005",
            "x_count 4",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn calls_are_counted_by_outcome() {
        let calls = Calls::default();
        for code in [tonic::Code::Ok, tonic::Code::Ok, tonic::Code::OutOfRange] {
            calls.started("/etcdserverpb.KV/Range");
            calls.handled("/etcdserverpb.KV/Range", code);
        }
        calls.started("/etcdserverpb.Watch/Watch");
        let mut text = Text::default();
        text.calls(&calls, &Traffic::default());
        let text = text.finish();
        for line in [
            "grpc_server_started_total{grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 3",
            "grpc_code=\"OK\",grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 2",
            "grpc_code=\"OutOfRange\",grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
            "{grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 1",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}

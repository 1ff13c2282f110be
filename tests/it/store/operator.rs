//! What someone who runs etcd looks at: health, metrics, and etcdctl with endpoints as people write them.

use super::{embedded, etcdctl};
use anyhow::{Context, Result, ensure};
use ocicat_tests::etcd::{Server, Store, free_port};
use std::collections::BTreeSet;

/// Names of the metrics in a text, but for the Go runtime's and those of parts that a store of one member has not.
fn names(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

/// What the alerts and dashboards of etcd's own mixin look at, as far as one member has it.
const WATCHED: [&str; 17] = [
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_pending",
    "etcd_server_proposals_failed_total",
    "etcd_server_quota_backend_bytes",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_disk_wal_fsync_duration_seconds",
    "etcd_disk_backend_commit_duration_seconds",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "grpc_server_started_total",
    "grpc_server_handled_total",
    "process_resident_memory_bytes",
    "process_open_fds",
];

fn value(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{name} is missing"))?.parse()?)
}

/// The same requests to any server.
fn use_it(server: &Server) -> Result<()> {
    let ctl = |words: &[&str]| etcdctl(&server.address().to_string(), words);
    for n in 0..5 {
        ctl(&["put", "/a", &n.to_string()])?.expect_ok("put")?;
    }
    ctl(&["get", "/a"])?.expect_ok("get")?;
    ctl(&["del", "/a"])?.expect_ok("del")?;
    ctl(&["lease", "grant", "100"])?.expect_ok("grant")?;
    ctl(&["get", "/a", "--rev", "1000"])?;
    ctl(&["compaction", "4"])?.expect_ok("compaction")?;
    Ok(())
}

#[test]
fn metrics_have_etcds_names_and_its_values() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ours = embedded(&folder.path().join("ours"))?;
    std::fs::create_dir(folder.path().join("etcd"))?;
    let etcd = Server::start_as(Store::Etcd, &folder.path().join("etcd"), free_port()?, "http", &[])?;
    for server in [&ours, &etcd] {
        use_it(server)?;
    }
    let (ours, etcd) = (ours.client.metrics()?, etcd.client.metrics()?);
    let strange: Vec<_> = names(&ours).difference(&names(&etcd)).copied().collect();
    ensure!(strange.is_empty(), "etcd has no such metrics: {strange:?}");
    for name in WATCHED {
        ensure!(names(&ours).contains(name), "{name} is missing");
    }
    let kv = "grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";
    for name in [
        "etcd_mvcc_put_total",
        "etcd_mvcc_delete_total",
        "etcd_debugging_mvcc_keys_total",
        "etcd_debugging_mvcc_current_revision",
        "etcd_debugging_mvcc_compact_revision",
        "etcd_debugging_lease_granted_total",
        "etcd_server_has_leader",
        &format!("grpc_server_started_total{{grpc_method=\"Put\",{kv}"),
        &format!("grpc_server_handled_total{{grpc_code=\"OK\",grpc_method=\"Put\",{kv}"),
        &format!("grpc_server_handled_total{{grpc_code=\"OK\",grpc_method=\"Range\",{kv}"),
        &format!("grpc_server_handled_total{{grpc_code=\"OutOfRange\",grpc_method=\"Range\",{kv}"),
    ] {
        let (mine, theirs) = (value(&ours, name)?, value(&etcd, name)?);
        ensure!(mine == theirs, "{name}: ours {mine}, etcd's {theirs}");
    }
    let commits = value(&ours, "etcd_disk_wal_fsync_duration_seconds_count")?;
    ensure!(commits >= 7.0, "{commits} commits");
    let buckets = |text: &str| -> Vec<String> {
        let lines =
            text.lines().filter(|line| line.starts_with("etcd_disk_wal_fsync_duration_seconds_bucket"));
        lines.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    ensure!(buckets(&ours) == buckets(&etcd), "other buckets");
    Ok(())
}

#[test]
fn a_store_without_space_is_not_healthy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start_as(
        Store::Embedded,
        folder.path(),
        free_port()?,
        "http",
        &["--quota=3000000".to_owned()],
    )?;
    ensure!(
        server.client.get("/health")?.1 == "{\"health\":\"true\"}",
        "{:?}",
        server.client.get("/health")?
    );
    ensure!(server.client.get("/version")?.1.contains("\"etcdserver\":\"3.4"));
    let value = "v".repeat(100_000);
    let refused = (0..200).find_map(|n| server.client.put(&format!("/k/{n}"), &value).err());
    let refused = refused.context("the quota is no bound")?.to_string();
    ensure!(refused.contains("database space exceeded"), "{refused}");
    let (status, text) = server.client.get("/health")?;
    ensure!(status == 503 && text == "{\"health\":\"false\"}", "{status} {text}");
    ensure!(server.client.get("/health?exclude=NOSPACE")?.0 == 200);
    let alarms = etcdctl(&server.address().to_string(), &["alarm", "list"])?.expect_ok("alarm list")?;
    ensure!(alarms.contains("NOSPACE"), "{alarms}");
    Ok(())
}

#[test]
fn etcdctl_works_with_endpoints_as_people_write_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = embedded(folder.path())?;
    let saved = folder.path().join("saved").display().to_string();
    for endpoint in [server.url(), server.address().to_string()] {
        let ctl = |words: &[&str]| etcdctl(&endpoint, words)?.expect_ok(&format!("{endpoint}: {words:?}"));
        ctl(&["put", "/a", "1"])?;
        ensure!(ctl(&["endpoint", "status"])?.contains(&endpoint));
        ensure!(ctl(&["endpoint", "hashkv"])?.contains(&endpoint));
        ensure!(ctl(&["defrag"])?.contains("Finished"));
        ctl(&["endpoint", "health"])?;
        ctl(&["snapshot", "save", &saved])?;
        ctl(&["alarm", "disarm"])?;
        ensure!(
            ctl(&["lock", "/lock", "/bin/echo", "held"])?.contains("held"),
            "a lock is held while a command runs"
        );
    }
    Ok(())
}

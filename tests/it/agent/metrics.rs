//! What Prometheus finds: every name of Calico's with its type and labels, or not and why; no other of that prefix but ours;
//! and the numbers are those of the kernel.

use super::status::get;
use anyhow::{Context, Result, ensure};
use ocicat_tests::agent::{Agent, BACKENDS, OWN, backend};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node, WEB};
use ocicat_tests::policy::stage::batch;
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Where Calico's agent shows its metrics.
const PORT: u16 = 9091;

/// Calico's, and what becomes of each.
const CALICO: &str = include_str!("../../golden/metrics/felix.txt");

/// Ours: name, type, labels, meaning. What has a time shows up at it: a status that cannot be written, a pool that is not
/// carried.
const OURS: [(&str, &str, &str, &str); 8] = [
    ("felix_enforced_revision", "gauge", "", "the revision of the datastore that is in force"),
    ("felix_known_revision", "gauge", "", "the newest that was heard of"),
    ("felix_kernel_refuses", "gauge", "", "objects that the kernel refuses"),
    ("felix_objects_refused", "gauge", "", "stored objects that cannot be read"),
    ("felix_rules_not_enforced", "gauge", "", "rules with conditions that the kernel cannot look at"),
    ("felix_pools_not_carried", "gauge", "", "how many pools have an encapsulation that is not carried"),
    ("felix_pool_not_carried", "gauge", "pool", "whether that is so of one of them"),
    ("felix_status_write_errors", "counter", "", "writes of status that failed"),
];

/// What the kernel knows of the process, as Prometheus' clients call it.
const PROCESS: [(&str, &str); 7] = [
    ("process_cpu_seconds_total", "counter"),
    ("process_max_fds", "gauge"),
    ("process_open_fds", "gauge"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_start_time_seconds", "gauge"),
    ("process_virtual_memory_bytes", "gauge"),
    ("process_virtual_memory_max_bytes", "gauge"),
];

/// Beside the endpoint of this node: those of another, a rule with a selector and therefore a set, a pool that is not carried.
const ELSEWHERE: &str = "
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: node--2-cni-db1-eth0, namespace: default, labels: {app: db}}
spec:
  node: node-2
  orchestrator: cni
  containerID: db1
  endpoint: eth0
  interfaceName: calidb1
  ipNetworks: [10.64.1.2/32]
  profiles: [open]
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: far, labels: {host: far}}
spec: {node: node-2, interfaceName: eth0, expectedIPs: [192.0.2.12]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: from-db}
spec: {selector: app == 'web', types: [Ingress], ingress: [{action: Allow, source: {selector: app == 'db'}}]}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: tunnelled}
spec: {cidr: 10.65.0.0/16, vxlanMode: Always}
";

/// A node with all of it, and the link of its endpoint.
fn node() -> Result<Node> {
    let node = Node::start()?;
    node.apply(WEB)?;
    node.apply(ELSEWHERE)?;
    batch(None, "link add caliweb1 type veth peer name far\nlink set far up\nlink set caliweb1 up\n")?;
    Ok(node)
}

/// A metric as it is shown.
#[derive(Debug, Default)]
struct Shown {
    kind: String,
    helped: bool,
    /// Of each line: labels without a summary's quantile, and the value.
    lines: Vec<(BTreeMap<String, String>, f64)>,
}

impl Shown {
    fn sum(&self) -> f64 {
        self.lines.iter().map(|(_, value)| value).sum()
    }

    fn with(&self, label: &str, value: &str) -> f64 {
        self.lines
            .iter()
            .filter(|(labels, _)| labels.get(label).is_some_and(|is| is == value))
            .map(|(_, value)| value)
            .sum()
    }
}

/// A page in the Prometheus text format.
fn parse(page: &str) -> BTreeMap<String, Shown> {
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    for line in page.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => kind.clone_into(&mut all.entry(name.to_owned()).or_default().kind),
            ["#", "HELP", name, _, ..] => all.entry(name.to_owned()).or_default().helped = true,
            // the head of the answer, and between metrics nothing
            _ if !line.starts_with("felix_") && !line.starts_with("process_") => {}
            _ => {
                let (left, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = left.split_once('{').unwrap_or((left, ""));
                let base = ["_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let base = base.filter(|base| all.get(*base).is_some_and(|metric| metric.kind == "summary"));
                let pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
                let labels = pairs
                    .filter(|(label, _)| *label != "quantile")
                    .map(|(label, value)| (label.to_owned(), value.trim_matches('"').to_owned()));
                let line = (labels.collect(), value.parse().unwrap());
                all.entry(base.unwrap_or(name).to_owned()).or_default().lines.push(line);
            }
        }
    }
    all
}

/// A line of the list: type, labels, where it is shown; none where it is not.
struct Wanted<'a> {
    name: &'a str,
    kind: &'a str,
    labels: &'a str,
    place: &'a str,
}

fn calicos() -> Vec<Wanted<'static>> {
    let lines = CALICO.lines().filter(|line| line.starts_with("felix_"));
    let fields = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    fields.map(|f| Wanted { name: f[0], kind: f[1], labels: f[2], place: f[3] }).collect()
}

/// What is wrong with a page, against the lists.
fn wrong(page: &BTreeMap<String, Shown>, iptables: bool, process: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut allowed = BTreeSet::new();
    let mut check = |name: &str, kind: &str, labels: &str| {
        allowed.insert(name.to_owned());
        let Some(shown) = page.get(name) else { return wrong.push(format!("{name} is missing")) };
        let has: BTreeSet<Vec<&String>> =
            shown.lines.iter().map(|(labels, _)| labels.keys().collect()).collect();
        let labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
        let alike = has.len() == 1 && has.iter().all(|has| *has == labels);
        if shown.kind != kind || !shown.helped || !alike {
            wrong.push(format!("{name} should be a {kind} with {labels:?} and a help: {shown:?}"));
        }
    };
    for Wanted { name, kind, labels, place } in calicos() {
        if place == "always" || (place == "iptables" && iptables) {
            check(name, kind, labels);
        }
    }
    OURS.iter().for_each(|(name, kind, labels, _)| check(name, kind, labels));
    PROCESS.iter().filter(|_| process).for_each(|(name, kind)| check(name, kind, ""));
    let ours = |name: &&String| name.starts_with("felix_") || name.starts_with("process_");
    let more = page.keys().filter(ours).filter(|name| !allowed.contains(*name));
    wrong.extend(more.map(|name| format!("{name} is shown, and on no list for here")));
    wrong
}

#[test]
fn the_list_has_every_name_of_calicos_once_and_a_reason_where_one_is_not_shown() {
    let all = calicos();
    let names: BTreeSet<&str> = all.iter().map(|wanted| wanted.name).collect();
    assert_eq!((all.len(), names.len()), (96, 96));
    for Wanted { name, kind, place, .. } in &all {
        let shown = ["always", "iptables"].contains(place) && ["counter", "gauge", "summary"].contains(kind);
        let reason = place.strip_prefix("no: ").is_some_and(|reason| reason.len() > 10);
        assert!(shown != reason, "{name}: {kind}, {place}");
        assert!(OURS.iter().all(|(ours, ..)| ours != name), "{name}");
    }
}

#[test]
fn metrics_have_calicos_names_types_and_labels_and_the_kernels_numbers() {
    for (number, (name, _)) in BACKENDS.iter().enumerate() {
        with_backend(number).context(*name).unwrap();
    }
}

fn with_backend(number: usize) -> Result<()> {
    let iptables = number != OWN;
    sandbox::within(NAME, programs(Build::Plain)?, || {
        let node = node()?;
        tool("ipset", &["create", "of-others", "hash:ip"])?;
        let mut settings = backend(number).1;
        for (name, value) in [("METRICSENABLED", "true"), ("METRICSHOST", "localhost")] {
            settings.push((format!("FELIX_PROMETHEUS{name}"), value.to_owned()));
        }
        let agent = Agent::start(NAME, &node.server().url(), &settings)?;
        let page = || get(PORT, "/metrics").map(|text| parse(&text));
        // endpoints come up with the apply behind the one that wrote their routes
        let settled = wait_for("the metrics of a node that has everything", PATIENCE, || {
            page().filter(|page| wrong(page, iptables, true).is_empty() && unlike(page, iptables).is_empty())
        });
        if let Err(error) = settled {
            let page = page().context("the page")?;
            let wrong = [wrong(&page, iptables, true), unlike(&page, iptables)].concat();
            return Err(error).context(format!("{}\n{}", wrong.join("\n"), agent.log()));
        }

        // counters count, and a gauge goes down again
        let before = page().context("the page")?;
        node.ocicat(&["delete", "gnp", "from-db"], "")?.expect_ok("delete")?;
        let after = wait_for("the policy is gone", PATIENCE, || {
            page().filter(|page| page["felix_cluster_num_policies"].sum() == 0.0)
        })?;
        let calls = if iptables { "felix_ipset_calls" } else { "felix_nft_set_calls" };
        for name in ["felix_calc_graph_output_events", "felix_int_dataplane_messages", calls] {
            ensure!(after[name].sum() > before[name].sum(), "{name}: {:?} {:?}", before[name], after[name]);
        }
        ensure!(after["felix_active_local_selectors"].sum() < before["felix_active_local_selectors"].sum());
        ensure!(after["felix_int_dataplane_messages"].with("type", "IPSetRemove") == 1.0, "{after:?}");

        // what the kernel knows of the process is shown where the settings want it
        node.apply(
            "{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec: \
             {prometheusProcessMetricsEnabled: false}}",
        )?;
        wait_for("metrics without the process", PATIENCE, || {
            page().filter(|page| wrong(page, iptables, false).is_empty())
        })
        .with_context(|| agent.log())?;
        Ok(())
    })
}

/// Where another backend comes while the agent runs, nothing is shown of what the one before had.
#[test]
fn a_backend_that_went_has_nothing_left_to_show() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = node()?;
        let configure = |mode: &str| {
            node.apply(&format!(
                "{{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {{name: default}}, spec: \
                 {{prometheusMetricsEnabled: true, nftablesMode: {mode}}}}}"
            ))
        };
        configure("Enabled")?;
        let agent = Agent::start(NAME, &node.server().url(), &[])?;
        for (mode, iptables) in [("Enabled", false), ("Disabled", true), ("Enabled", false)] {
            configure(mode)?;
            let mut last = Vec::new();
            wait_for("the numbers of the backend in force", PATIENCE, || {
                let page = parse(&get(PORT, "/metrics")?);
                last = unlike(&page, iptables);
                // chains of the other kind that went are shown, as none
                let gone = page.get("felix_iptables_chains").map_or(0.0, Shown::sum);
                (last.is_empty() && (iptables || gone == 0.0)).then_some(())
            })
            .with_context(|| format!("{mode}: {last:?}\n{}", agent.log()))?;
        }
        Ok(())
    })
    .unwrap();
}

/// What of a page is not what the store holds and other tools find in the kernel.
fn unlike(page: &BTreeMap<String, Shown>, iptables: bool) -> Vec<String> {
    let lines = |program: &str, arguments: &str, begin: &str| {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let text = tool(program, &arguments).unwrap();
        text.lines().filter(|line| line.starts_with(begin)).count()
    };
    let mut wanted: Vec<(&str, &str, &str, usize)> = vec![
        ("felix_host", "host", NAME, 1),
        ("felix_resync_state", "", "", 3),
        ("felix_resyncs_started", "", "", 1),
        ("felix_log_errors", "", "", 0),
        ("felix_cluster_num_workload_endpoints", "", "", 2),
        ("felix_cluster_num_host_endpoints", "", "", 1),
        ("felix_cluster_num_policies", "", "", 1),
        ("felix_active_local_endpoints", "", "", 1),
        ("felix_active_local_policies", "", "", 1),
        ("felix_label_index_num_endpoints", "", "", 3),
        ("felix_calc_graph_updates_processed", "type", "WorkloadEndpoint", 2),
        ("felix_int_dataplane_messages", "type", "WorkloadEndpointUpdate", 1),
        ("felix_pool_not_carried", "pool", "tunnelled", 1),
        ("felix_route_table_num_ifaces", "table", "254", lines("ip", "-o link", "")),
    ];
    let routes = lines("ip", "-4 route show proto 80", "") + lines("ip", "-6 route show proto 80", "");
    wanted.push(("felix_route_table_num_routes", "table", "254", routes));
    let nft: Value = serde_json::from_str(&tool("nft", &["-j", "list", "ruleset"]).unwrap()).unwrap();
    let nft = nft["nftables"].as_array().unwrap();
    let in_tables = |kind: &str, tables: &[&str]| {
        let of = |object: &&Value| tables.contains(&object[kind]["table"].as_str().unwrap_or_default());
        nft.iter().filter(of).count()
    };
    let ours: &[&str] = if iptables { &["calico-arp"] } else { &["ocicat"] };
    for (name, kind) in [
        ("felix_nft_chains", "chain"),
        ("felix_nft_rules", "rule"),
        ("felix_nft_sets", "set"),
        ("felix_nft_maps", "map"),
    ] {
        wanted.push((name, "", "", in_tables(kind, ours)));
    }
    if iptables {
        let variant = variant();
        for (version, program) in [("4", "iptables"), ("6", "ip6tables")] {
            let program = format!("{program}-{variant}-save");
            let text = tool(&program, &[]).unwrap();
            let chains = text.lines().filter(|line| line.starts_with(":cali-")).count();
            let rules = text.lines().filter(|line| line.starts_with("-A ") && line.contains("cali:")).count();
            wanted.push(("felix_iptables_chains", "ip_version", version, chains));
            wanted.push(("felix_iptables_rules", "ip_version", version, rules));
        }
        wanted.push(("felix_ipsets_calico", "ip_version", "inet", lines("ipset", "list -n", "cali4")));
        wanted.push(("felix_ipsets_calico", "ip_version", "inet6", lines("ipset", "list -n", "cali6")));
        wanted.push(("felix_ipsets_total", "", "", lines("ipset", "list -n", "")));
    }
    let is = |name: &str, label: &str, value: &str| match label {
        "" => page.get(name).map_or(-1.0, Shown::sum),
        label => page.get(name).map_or(-1.0, |shown| shown.with(label, value)),
    };
    let unlike =
        wanted.into_iter().filter(|(name, label, value, count)| is(name, label, value) != *count as f64);
    unlike
        .map(|(name, label, value, count)| {
            format!("{name} {label} {value}: {count}, not {}", is(name, label, value))
        })
        .collect()
}

/// The variant of iptables whose tables hold Calico's chains.
fn variant() -> &'static str {
    let legacy = tool("iptables-legacy-save", &[]).unwrap();
    if legacy.contains(":cali-") { "legacy" } else { "nft" }
}

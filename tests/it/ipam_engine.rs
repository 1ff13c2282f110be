//! The recorded IPAM cases against the engine itself: no etcd, no processes, no root.
//!
//! `golden` replays the same cases against the binaries; this replay says within a second whether a difference is the
//! engine's. What calicoctl does to resources is taken over from the recording.

use anyhow::{Context, Result};
use ipam_plan::{AssignIpRequest, AutoAssignRequest, Plan, PlanError, Release, Step as PlanStep};
use jiff::Timestamp;
use model::key::Owner;
use model::net::Cidr;
use model::v3::PoolUse;
use model::{Key, Kind};
use mvcc::{DeleteRequest, KeyRange, PutRequest, RangeRequest, Store};
use ocicat_tests::etcd::{Changes, Snapshot, Stored, changes};
use ocicat_tests::golden::case::{Case, Step, corpus_dir, load};
use ocicat_tests::golden::compare::{Comparison, Outcome};
use ocicat_tests::golden::diff::diff;
use ocicat_tests::process::{Ending, Output};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where our outcome differs on purpose, step by step.
const ON_PURPOSE: [(&str, usize, &str); 2] = [
    (
        "ipam/dual-stack-half",
        1,
        "the IPv4 address of a failed dual-stack request is never written, so it cannot leak",
    ),
    ("ipam/dual-stack-half", 3, "nothing was written, so nothing is left"),
];

#[test]
fn the_engine_does_what_was_recorded() {
    let cases = load(&corpus_dir()).expect("the corpus is readable");
    let mut failures = Vec::new();
    let mut replayed = 0;
    for located in cases.iter().filter(|c| c.path.starts_with("ipam/") && c.path != "ipam/tunnel-addresses") {
        replayed += 1;
        let mut world = World::default();
        for (index, findings) in world.replay(&located.case).expect("the case is understood") {
            let purpose = ON_PURPOSE.iter().any(|(case, step, _)| *case == located.path && *step == index);
            if !purpose {
                failures.push(format!("{} step {index}: {findings}", located.path));
            }
        }
    }
    assert!(replayed > 25, "only {replayed} cases");
    assert!(failures.is_empty(), "{}\n{} differences", failures.join("\n"), failures.len());
}

#[derive(Default)]
struct World {
    store: Store,
}

impl World {
    fn replay(&mut self, case: &Case) -> Result<Vec<(usize, String)>> {
        let mut comparison = Comparison::default();
        let mut differences = Vec::new();
        for (index, recorded) in case.steps.iter().enumerate() {
            let step = comparison.carry_over(recorded);
            comparison.planted(&recorded.put, &step.put);
            for pair in &step.put {
                self.put(&pair.key, &pair.value);
            }
            for key in &step.del {
                self.delete(key);
            }
            let before = self.snapshot();
            let output = self.run(&step).with_context(|| format!("{} step {index}", case.case))?;
            self.take_over_resources(recorded);
            let after = self.snapshot();
            let changes: Changes = changes(&before, &after);
            let outcome = Outcome { output, changes, after, ..Outcome::default() };
            for finding in comparison.step(recorded, &outcome) {
                differences
                    .push((index, format!("{:?}\n{}", finding.part, diff(&finding.recorded, &finding.ours))));
            }
        }
        Ok(differences)
    }

    fn put(&mut self, key: &str, value: &str) {
        self.store.put(&PutRequest::new(key.to_owned(), value.to_owned())).expect("a put");
    }

    fn delete(&mut self, key: &str) {
        let range = KeyRange::key(key.to_owned());
        self.store.delete(&DeleteRequest { range, prev_kv: false }).expect("a delete");
    }

    fn take_over_resources(&mut self, step: &Step) {
        let Some(change) = &step.etcd else { return };
        for pair in change.put.iter().filter(|pair| pair.key.starts_with("/calico/resources/")) {
            self.put(&pair.key, &pair.value);
        }
        for key in change.del.iter().filter(|key| key.starts_with("/calico/resources/")) {
            self.delete(key);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let all = self.store.range(&RangeRequest::prefix("/calico/")).expect("a range");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stored =
            |kv: &mvcc::KeyValue| Stored { value: text(&kv.value), revision: kv.mod_revision, lease: false };
        all.kvs.iter().map(|kv| (text(&kv.key), stored(kv))).collect()
    }

    fn carry<T>(&mut self, plan: Plan<Result<T, PlanError>>) -> Result<T, PlanError> {
        let mut step = plan.begin(Timestamp::now());
        loop {
            match step {
                PlanStep::Done(outcome) => return outcome,
                PlanStep::Ask(ask, waiting) => {
                    let size = ask.txn.compare.len().max(ask.txn.success.len()).max(ask.txn.failure.len());
                    assert!(size <= 128, "{size} operations");
                    let answer = self.store.txn(&ask.txn).expect("a transaction");
                    step = waiting.answer(answer, Timestamp::now());
                }
            }
        }
    }

    /// Runs what a step runs; no output for what is not the engine's to say.
    fn run(&mut self, step: &Step) -> Result<Option<Output>> {
        let Some((program, arguments)) = step.run.split_first() else { return Ok(None) };
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match (program.as_str(), words.as_slice()) {
            ("calico-ipam", _) => self.plugin(step),
            ("calicoctl", ["ipam", "configure", settings @ ..]) => {
                self.configure(settings);
                Ok(None)
            }
            ("calicoctl", ["ipam", "release", "--ip", address]) => {
                self.carry(ipam_plan::release_ips(vec![Release::unconditional(address.parse()?)]))?;
                Ok(None)
            }
            ("calicoctl", ["delete", "ippool", name]) => {
                let cidr = self.pool(name).context("the pool is there")?;
                self.carry(ipam_plan::release_pool_affinities(cidr))?;
                Ok(None)
            }
            ("calicoctl", ["delete", "node", name]) => {
                self.delete_node(name)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn pool(&self, name: &str) -> Option<Cidr> {
        let key = Key::resource(Kind::IPPool, "", name).path();
        let answer = self.store.range(&RangeRequest::key(key)).ok()?;
        let value: Value = serde_json::from_slice(&answer.kvs.first()?.value).ok()?;
        Cidr::parse_masked(value["spec"]["cidr"].as_str()?).ok()
    }

    fn configure(&mut self, settings: &[&str]) {
        let mut config = self.carry(ipam_plan::config()).expect("settings");
        for pair in settings.chunks(2) {
            match pair {
                ["--strictaffinity", value] => config.strict_affinity = *value == "true",
                ["--max-blocks-per-host", value] => {
                    config.max_blocks_per_host = value.parse().expect("a number")
                }
                ["--ip-cooldown-seconds", value] => {
                    config.ip_cooldown_seconds = value.parse().expect("a number")
                }
                ["--kubevirt-ip-persistence", value] => {
                    config.vm_address_persistence = serde_json::from_value(json!(value)).expect("a word");
                }
                other => panic!("{other:?}"),
            }
        }
        // refusals show in what is stored
        let _ = self.carry(ipam_plan::set_config(config));
    }

    fn delete_node(&mut self, name: &str) -> Result<()> {
        let endpoints = self.snapshot().into_iter().filter(|(key, _)| key.contains("/workloadendpoints/"));
        let mut releases = Vec::new();
        for (_, endpoint) in endpoints {
            let value: Value = serde_json::from_str(&endpoint.value)?;
            for net in value["spec"]["ipNetworks"].as_array().into_iter().flatten() {
                if value["spec"]["node"] == name {
                    let net = Cidr::parse_masked(net.as_str().unwrap_or_default())?;
                    releases.push(Release::unconditional(net.addr()));
                }
            }
        }
        self.carry(ipam_plan::release_ips(releases))?;
        Ok(self.carry(ipam_plan::remove_host(name.to_owned()))?)
    }

    fn plugin(&mut self, step: &Step) -> Result<Option<Output>> {
        let conf: Value = serde_json::from_str(step.stdin.as_deref().context("stdin")?)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let container = &step.env["CNI_CONTAINERID"];
        let handle = format!("{}.{container}", text(&conf["name"]));
        if step.env["CNI_COMMAND"] == "DEL" {
            self.carry(ipam_plan::release_by_handles(vec![handle, container.clone()]))?;
            return Ok(Some(output(0, String::new())));
        }
        let node = text(&conf["nodename"]);
        let now = Timestamp::now();
        let mut attributes = BTreeMap::from([
            ("node".to_owned(), node.clone()),
            ("timestamp".to_owned(), model::ipam::go_time_text(now)),
        ]);
        let mut wish = None;
        for pair in step.env.get("CNI_ARGS").into_iter().flat_map(|args| args.split(';')) {
            match pair.split_once('=') {
                Some(("IP", address)) => wish = Some(address.to_owned()),
                Some(("K8S_POD_NAMESPACE", name)) => drop(attributes.insert("namespace".into(), name.into())),
                Some(("K8S_POD_NAME", name)) => drop(attributes.insert("pod".into(), name.into())),
                _ => {}
            }
        }
        if !attributes.contains_key("namespace") {
            attributes.remove("pod");
        }
        let lines = match wish {
            Some(wish) => {
                let Ok(address) = wish.parse() else { return Ok(None) };
                let assigned = self.carry(ipam_plan::assign_ip(AssignIpRequest {
                    address,
                    owner: Owner::Host(node),
                    handle: Some(handle),
                    attributes,
                    intended_use: Some(PoolUse::Workload),
                    max_per_handle: 0,
                    host_reserved: None,
                }));
                assigned.map(|assigned| vec![Cidr::host(assigned.address).to_string()])
            }
            None => {
                let wants =
                    |field: &str, default: &str| conf["ipam"][field].as_str().unwrap_or(default) == "true";
                let v4 = usize::from(wants("assign_ipv4", "true"));
                let v6 = usize::from(wants("assign_ipv6", "false"));
                let (Some(v4_pools), Some(v6_pools)) = (self.pools(&conf, 4), self.pools(&conf, 6)) else {
                    return Ok(None);
                };
                let request = AutoAssignRequest {
                    handle: Some(handle),
                    attributes,
                    v4_pools,
                    v6_pools,
                    ..AutoAssignRequest::for_workload(&node, v4, v6)
                };
                let outcome = self.carry(ipam_plan::auto_assign(request));
                outcome.map(|o| o.v4.assigned.iter().chain(&o.v6.assigned).map(ToString::to_string).collect())
            }
        };
        Ok(Some(match lines {
            Ok(lines) if lines.is_empty() => output(0, pretty(&json!({"cniVersion": "1.0.0"}))),
            Ok(lines) => {
                let ips: Vec<Value> = lines.iter().map(|line| json!({"address": line})).collect();
                let routes: Vec<Value> = lines.iter().map(|line| json!({"dst": line})).collect();
                output(0, pretty(&json!({"cniVersion": "1.0.0", "ips": ips, "routes": routes})))
            }
            Err(error) => {
                let told = match &error {
                    PlanError::Short(short) => {
                        format!("failed to request IPv{} addresses: {error}", short.family.number())
                    }
                    other => other.to_string(),
                };
                output(1, pretty(&json!({"code": 999, "msg": told})))
            }
        }))
    }

    /// The pools a configuration names; none if that is an error of the plugin's.
    fn pools(&self, conf: &Value, family: u8) -> Option<Vec<Cidr>> {
        let names = conf["ipam"][format!("ipv{family}_pools")].as_array().cloned().unwrap_or_default();
        let cidr = |name: &str| Cidr::parse_masked(name).ok().or_else(|| self.pool(name));
        let pools: Option<Vec<Cidr>> = names.iter().map(|name| cidr(name.as_str()?)).collect();
        pools.filter(|pools| pools.iter().all(|pool| pool.family().number() == family))
    }
}

fn output(code: i32, stdout: String) -> Output {
    Output { ending: Ending::Exit(code), stdout, stderr: String::new(), took: Duration::ZERO }
}

/// Indented by four, `<` and `>` escaped, as the plugin prints.
fn pretty(value: &Value) -> String {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).expect("JSON");
    String::from_utf8(bytes).expect("UTF-8").replace('<', "\\u003c").replace('>', "\\u003e")
}

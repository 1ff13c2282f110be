//! Made-up clusters, as they are stored: one seed, every feature of policy.

use super::object::{identity, text, texts};
use super::rules::{
    ACCOUNT_SELECTORS, ACCOUNTS, NAMESPACE_SELECTORS, NETS_V4, NETS_V6, Owner, PORT_NAMES, PORTS, SELECTORS,
    rule,
};
use crate::random::Random;
use serde_json::{Map, Value, json};

/// The node everything is seen from.
pub const NODE: &str = "node-1";

/// The node's own interfaces and their addresses.
pub const HOST_INTERFACES: [(&str, &[&str]); 2] =
    [("eth0", &["192.0.2.11", "2001:db8::11"]), ("eth1", &["198.51.100.11", "2001:db8:1::11"])];

/// Who is beyond an interface: neighbours on the link, workloads of other nodes, the world.
pub const OUTSIDERS: [(&str, &str); 15] = [
    ("eth0", "192.0.2.12"),
    ("eth0", "10.64.1.2"),
    ("eth0", "10.64.1.3"),
    ("eth0", "203.0.113.7"),
    ("eth0", "203.0.113.200"),
    ("eth0", "2001:db8::12"),
    ("eth0", "fd5f:64:1::2"),
    ("eth0", "fd5f:64:1::3"),
    ("eth0", "2001:db8:ff::7"),
    // of the networks of services, and no service
    ("eth0", "10.96.0.99"),
    ("eth0", "fd96::99"),
    ("eth1", "198.51.100.12"),
    ("eth1", "198.18.0.9"),
    ("eth1", "2001:db8:1::12"),
    ("eth1", "2001:db8:2::9"),
];

/// Sources that some workloads may send from beside their own. Nobody has them: who has an address does not take packets
/// from it.
const FOREIGN_SOURCES: [&str; 4] =
    ["203.0.113.32/27", "10.64.1.8/29", "2001:db8:ff::20/123", "fd5f:64:1::8/125"];

const NAMESPACES: [&str; 3] = ["one", "two", "three"];

/// What is stored.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The seed it was made from.
    pub seed: u64,
    /// Valid resources in stored form.
    pub resources: Vec<Value>,
    /// Resources that are stored but invalid: they count as absent.
    pub broken: Vec<Value>,
}

impl Cluster {
    /// The cluster of a seed.
    pub fn new(seed: u64) -> Self {
        Self::make(seed, false)
    }

    /// A cluster of this seed whose node has host endpoints with policies of every kind.
    pub fn with_hosts(seed: u64) -> Self {
        Self::make(seed, true)
    }

    fn make(seed: u64, hosts: bool) -> Self {
        let mut random = Random::new(seed);
        let mut maker = Maker { random: &mut random, resources: Vec::new(), of_hosts: hosts };
        maker.nodes();
        maker.profiles();
        maker.tiers();
        maker.workloads();
        maker.hosts();
        maker.network_sets();
        maker.policies();
        if hosts {
            maker.host_policies();
        }
        maker.configuration();
        let resources = maker.resources;
        let broken = if random.chance(30) { broken() } else { Vec::new() };
        Self { seed, resources, broken }
    }

    /// Workload endpoints of the node that have an address.
    pub fn local_workloads(&self) -> impl Iterator<Item = &Value> {
        self.resources.iter().filter(|resource| {
            text(resource, "kind") == "WorkloadEndpoint"
                && text(&resource["spec"], "node") == NODE
                && !resource["spec"]["ipNetworks"].is_null()
        })
    }

    /// Everything stored, valid or not, by key.
    pub fn stored(&self) -> impl Iterator<Item = (String, &Value)> {
        self.resources.iter().chain(&self.broken).map(|resource| (key(resource), resource))
    }
}

/// Where a resource is stored.
pub fn key(resource: &Value) -> String {
    let (kind, namespace, name) = identity(resource);
    let kind = kind.to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    format!("/calico/resources/v3/projectcalico.org/{plural}/{namespace}{name}")
}

/// A resource in stored form.
pub fn resource(kind: &str, namespace: Option<&str>, name: &str, labels: Value, spec: Value) -> Value {
    let mut metadata = json!({
        "name": name,
        "uid": "3f1c2a54-0000-4000-8000-000000000000",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        metadata["labels"] = labels;
    }
    if kind.ends_with("NetworkPolicy") && kind != "StagedKubernetesNetworkPolicy" {
        metadata["annotations"] = json!({"projectcalico.org/metadata": format!("{{\"name\":\"{name}\"}}")});
    }
    json!({"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": metadata, "spec": spec})
}

/// A workload endpoint in stored form.
pub fn workload(namespace: &str, node: &str, id: &str, labels: Value, mut spec: Value) -> Value {
    let mut labels = labels;
    labels["projectcalico.org/namespace"] = json!(namespace);
    labels["projectcalico.org/orchestrator"] = json!("cni");
    spec["node"] = json!(node);
    spec["orchestrator"] = json!("cni");
    spec["containerID"] = json!(id);
    spec["endpoint"] = json!("eth0");
    spec["interfaceName"] = json!(format!("cali{id}"));
    let name = format!("{}-cni-{id}-eth0", node.replace('-', "--"));
    resource("WorkloadEndpoint", Some(namespace), &name, labels, spec)
}

/// What is stored and cannot be read: each would let everything through or nothing.
fn broken() -> Vec<Value> {
    let all = json!([{"action": "Deny"}]);
    vec![
        resource(
            "GlobalNetworkPolicy",
            None,
            "broken-selector",
            json!({}),
            json!({
                "tier": "default", "order": 0, "selector": "app = 'web'", "types": ["Ingress", "Egress"],
                "ingress": all, "egress": all,
            }),
        ),
        resource(
            "NetworkPolicy",
            Some("one"),
            "broken-protocol",
            json!({}),
            json!({
                "tier": "default", "order": 0, "types": ["Ingress", "Egress"],
                "ingress": [{"action": "Deny", "protocol": "bogus"}], "egress": all,
            }),
        ),
        resource(
            "GlobalNetworkPolicy",
            None,
            "broken-net",
            json!({}),
            json!({
                "tier": "default", "order": 0, "types": ["Ingress"],
                "ingress": [{"action": "Allow", "source": {"nets": ["10.0.0.0/99"]}}],
            }),
        ),
    ]
}

struct Maker<'a> {
    random: &'a mut Random,
    resources: Vec<Value>,
    /// There are host endpoints with policies of every kind.
    of_hosts: bool,
}

impl Maker<'_> {
    fn add(&mut self, kind: &str, namespace: Option<&str>, name: &str, labels: Value, spec: Value) {
        self.resources.push(resource(kind, namespace, name, labels, spec));
    }

    fn nodes(&mut self) {
        for (name, v4, v6) in
            [(NODE, "192.0.2.11/24", "2001:db8::11/64"), ("node-2", "192.0.2.12/24", "2001:db8::12/64")]
        {
            self.add("Node", None, name, json!({}), json!({"bgp": {"ipv4Address": v4, "ipv6Address": v6}}));
        }
        let uses = [json!(["Workload", "Tunnel"]), json!(["LoadBalancer"])];
        for (name, cidr, block, chance) in [
            ("four", "10.64.0.0/16", 26, 100),
            ("six", "fd5f:64::/48", 122, 100),
            // beyond the node
            ("aside", "203.0.113.128/25", 26, 40),
            ("apart", "198.18.0.0/16", 26, 40),
            ("six-aside", "2001:db8:ff::/64", 122, 40),
        ] {
            if !self.random.chance(chance) {
                continue;
            }
            let workloads = chance == 100;
            let spec = json!({
                "cidr": cidr, "blockSize": block, "ipipMode": "Never", "vxlanMode": "Never",
                "nodeSelector": "all()", "allowedUses": if workloads { &uses[0] } else { self.random.pick(&uses) },
                "assignmentMode": "Automatic", "natOutgoing": self.random.chance(if workloads { 60 } else { 20 }),
                "disabled": !workloads && self.random.chance(50),
            });
            self.add("IPPool", None, name, json!({}), spec);
        }
        if self.random.chance(60) {
            let mut spec = json!({"serviceClusterIPs": [{"cidr": "10.96.0.0/16"}, {"cidr": "fd96::/112"}]});
            if self.random.chance(30) {
                spec["serviceLoadBalancerIPs"] = json!([{"cidr": "203.0.113.200/32"}]);
                spec["serviceExternalIPs"] = json!([{"cidr": "198.18.0.0/24"}]);
            }
            self.add("BGPConfiguration", None, "default", json!({}), spec);
        }
        self.add("ClusterInformation", None, "default", json!({}), json!({"datastoreReady": true}));
    }

    fn rules(&mut self, owner: Owner, most: u64) -> Value {
        let count = self.random.below(most + 1);
        (0..count).map(|_| rule(owner, self.random)).collect()
    }

    fn profiles(&mut self) {
        let allow = json!([{"action": "Allow"}]);
        for namespace in NAMESPACES {
            let mut labels = json!({"pcns.projectcalico.org/name": namespace});
            labels["pcns.env"] = json!(self.random.pick(&["live", "test"]));
            if self.random.chance(50) {
                labels["pcns.team"] = json!("core");
            }
            let open = self.random.chance(60);
            let ingress =
                if open { allow.clone() } else { self.rules(Owner { policy: false, ingress: true }, 3) };
            let egress =
                if open { allow.clone() } else { self.rules(Owner { policy: false, ingress: false }, 3) };
            let spec = json!({"labelsToApply": labels, "ingress": ingress, "egress": egress});
            self.add("Profile", None, &format!("kns.{namespace}"), json!({}), spec);
            for account in ACCOUNTS {
                let mut labels = json!({"pcsa.projectcalico.org/name": account});
                if self.random.chance(70) {
                    labels["pcsa.trust"] = json!(self.random.pick(&["high", "low"]));
                }
                let spec = json!({"labelsToApply": labels});
                self.add("Profile", None, &format!("ksa.{namespace}.{account}"), json!({}), spec);
            }
        }
        for name in ["mixed", "other"] {
            let spec = json!({
                // also what endpoints say themselves: their own word counts
                "labelsToApply": {"inherited": "yes", "app": "mon", "role": self.random.pick(&["server", "reader"])},
                "ingress": self.rules(Owner { policy: false, ingress: true }, 4),
                "egress": self.rules(Owner { policy: false, ingress: false }, 4),
            });
            self.add("Profile", None, name, json!({}), spec);
        }
        self.add("Profile", None, "open", json!({}), json!({"ingress": allow, "egress": allow}));
    }

    fn tiers(&mut self) {
        let order = 1_000_000;
        self.add("Tier", None, "default", json!({}), json!({"order": order, "defaultAction": "Deny"}));
        self.add("Tier", None, "kube-admin", json!({}), json!({"order": 1000, "defaultAction": "Pass"}));
        let last = json!({"order": order * 10, "defaultAction": "Pass"});
        self.add("Tier", None, "kube-baseline", json!({}), last);
        // two with one order, one without
        for (name, order) in [("second", Some(10)), ("first", Some(10)), ("unordered", None)] {
            let mut spec = json!({"defaultAction": self.random.pick(&["Deny", "Deny", "Pass"])});
            if let Some(order) = order {
                spec["order"] = json!(order);
            }
            self.add("Tier", None, name, json!({}), spec);
        }
    }

    fn labels(&mut self) -> Value {
        let mut labels = Map::new();
        for (label, values) in
            [("app", &["web", "db", "mon"][..]), ("role", &["server", "reader"]), ("env", &["live", "test"])]
        {
            if self.random.chance(65) {
                labels.insert(label.to_owned(), json!(self.random.pick(values)));
            }
        }
        Value::Object(labels)
    }

    fn ports(&mut self) -> Value {
        let mut ports = Vec::new();
        for name in &PORT_NAMES[..3] {
            if self.random.chance(45) {
                let protocol = *self.random.pick(&["TCP", "TCP", "UDP", "SCTP"]);
                ports.push(json!({"name": name, "protocol": protocol, "port": self.random.pick(&PORTS), "hostPort": 0, "hostIP": ""}));
            }
        }
        if self.random.chance(10) {
            ports.push(json!({"name": "", "protocol": "TCP", "port": 80, "hostPort": 8080, "hostIP": ""}));
        }
        Value::Array(ports)
    }

    fn workloads(&mut self) {
        let locals = 2 + self.random.below(3);
        let remotes = 1 + self.random.below(3);
        for index in 0..locals + remotes {
            let local = index < locals;
            let namespace = *self.random.pick(&NAMESPACES);
            let (node, id, subnet) =
                if local { (NODE, format!("w{index}"), 0) } else { ("node-2", format!("r{index}"), 1) };
            let host = if local { index + 2 } else { index - locals + 2 };
            let mut addresses = Vec::new();
            let both = self.random.below(10);
            if both != 0 {
                addresses.push(json!(format!("10.64.{subnet}.{host}/32")));
            }
            if both != 1 {
                let subnet = if local { String::new() } else { ":1".to_owned() };
                addresses.push(json!(format!("fd5f:64{subnet}::{host:x}/128")));
            }
            let mut spec =
                json!({"ipNetworks": addresses, "mac": format!("0a:00:00:00:{subnet:02x}:{host:02x}")});
            if local {
                self.translation(&mut spec, host);
            }
            let mut profiles = vec![json!(format!("kns.{namespace}"))];
            let account = *self.random.pick(&ACCOUNTS);
            if self.random.chance(60) {
                spec["serviceAccountName"] = json!(account);
                profiles.push(json!(format!("ksa.{namespace}.{account}")));
            }
            if self.random.chance(25) {
                profiles.push(json!(self.random.pick(&["mixed", "other", "open"])));
            }
            match self.random.below(12) {
                0 => profiles = Vec::new(),
                1 => profiles.insert(0, json!("missing")),
                2 => profiles = vec![json!("mixed"), json!("other")],
                3 => profiles = vec![json!("mixed"), json!("projectcalico-default-allow")],
                _ => {}
            }
            if !profiles.is_empty() {
                spec["profiles"] = Value::Array(profiles);
            }
            let ports = self.ports();
            if ports.as_array().is_some_and(|ports| !ports.is_empty()) {
                spec["ports"] = ports;
            }
            let mut labels = self.labels();
            if self.random.chance(5) {
                labels["pcns.env"] = json!("forged");
            }
            self.resources.push(workload(namespace, node, &id, labels, spec));
        }
        if self.random.chance(10) {
            // of a container that has no network yet
            self.resources.push(workload("one", NODE, "none", json!({"app": "web"}), json!({})));
        }
    }

    /// Floating addresses of a workload, and foreign ones it may send from.
    fn translation(&mut self, spec: &mut Value, host: u64) {
        let own: Vec<String> = texts(spec, "ipNetworks").map(str::to_owned).collect();
        let mut nats = Vec::new();
        for internal in own.iter().filter_map(|net| Some(net.split_once('/')?.0)) {
            if self.random.chance(40) {
                let external = if internal.contains(':') {
                    format!("2001:db8:ff::{:x}", 64 + host)
                } else {
                    format!("203.0.113.{}", 64 + host)
                };
                nats.push(json!({"internalIP": internal, "externalIP": external}));
            }
        }
        if !nats.is_empty() {
            spec["ipNATs"] = Value::Array(nats);
        }
        let foreign = self.random.some(&FOREIGN_SOURCES, 20);
        if !foreign.is_empty() {
            spec["allowSpoofedSourcePrefixes"] = json!(foreign);
        }
    }

    fn hosts(&mut self) {
        if !self.of_hosts && self.random.chance(35) {
            return;
        }
        let mut all = Vec::new();
        if self.of_hosts || self.random.chance(60) {
            all.push(("on-eth0", NODE, json!({"interfaceName": "eth0", "expectedIPs": ["192.0.2.11"]})));
        }
        if self.random.chance(40) {
            all.push(("by-address", NODE, json!({"expectedIPs": ["198.51.100.11", "2001:db8:1::11"]})));
        }
        if self.random.chance(25) {
            // two candidates for one interface
            all.push(("a-eth1", NODE, json!({"interfaceName": "eth1"})));
        }
        if self.random.chance(35) {
            all.push(("everywhere", NODE, json!({"interfaceName": "*"})));
        }
        if self.random.chance(50) {
            all.push((
                "remote",
                "node-2",
                json!({"interfaceName": "eth0", "expectedIPs": ["192.0.2.12", "2001:db8::12"]}),
            ));
        }
        for (name, node, mut spec) in all {
            spec["node"] = json!(node);
            if self.random.chance(50) {
                let profiles = [
                    json!(["projectcalico-default-allow"]),
                    json!(["open"]),
                    json!(["mixed"]),
                    json!(["missing"]),
                ];
                spec["profiles"] = self.random.pick(&profiles).clone();
            }
            let ports = self.ports();
            if ports.as_array().is_some_and(|ports| !ports.is_empty()) {
                let named = ports.as_array().into_iter().flatten().filter(|port| port["name"] != "");
                spec["ports"] = named
                    .map(|port| json!({"name": port["name"], "protocol": port["protocol"], "port": port["port"]}))
                    .collect();
            }
            let mut labels = self.labels();
            labels["host"] = json!("yes");
            self.add("HostEndpoint", None, name, labels, spec);
        }
    }

    fn network_sets(&mut self) {
        for name in ["near", "far"] {
            let mut labels = self.labels();
            labels["set"] = json!(name);
            let mut nets: Vec<Value> = Vec::new();
            for list in [&NETS_V4[..], &NETS_V6[..]] {
                nets.extend(self.random.some(list, 20).into_iter().map(|net| json!(net)));
            }
            if self.random.chance(20) {
                nets.push(json!("203.0.113.7"));
            }
            if self.random.chance(8) {
                nets.push(json!("0.0.0.0/0"));
            }
            if self.random.chance(50) {
                self.add("GlobalNetworkSet", None, name, labels, json!({"nets": nets}));
            } else if self.random.chance(70) {
                let namespace = *self.random.pick(&NAMESPACES);
                self.add("NetworkSet", Some(namespace), name, labels, json!({"nets": nets}));
            }
        }
    }

    fn policies(&mut self) {
        let count = 2 + self.random.below(7);
        for index in 0..count {
            let kind = *self.random.pick(&[
                "NetworkPolicy",
                "NetworkPolicy",
                "GlobalNetworkPolicy",
                "GlobalNetworkPolicy",
                "GlobalNetworkPolicy",
                "StagedNetworkPolicy",
                "StagedGlobalNetworkPolicy",
                "StagedKubernetesNetworkPolicy",
            ]);
            // few names, so that policies differ in kind and namespace alone
            let name = format!("p{}", self.random.below(count.min(4)));
            let namespace = *self.random.pick(&NAMESPACES);
            self.policy(kind, namespace, &name, index);
        }
    }

    /// A policy of each kind that only host endpoints know.
    fn host_policies(&mut self) {
        for flag in ["doNotTrack", "preDNAT", "applyOnForward"] {
            let ingress = flag == "preDNAT";
            let mut spec =
                json!({"tier": "default", "order": 0, "selector": "has(host)", "applyOnForward": true});
            spec[flag] = json!(true);
            spec["ingress"] = self.rules(Owner { policy: true, ingress: true }, 5);
            if !ingress {
                spec["egress"] = self.rules(Owner { policy: true, ingress: false }, 5);
            }
            spec["types"] = if ingress { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
            let name = flag.to_lowercase();
            self.add("GlobalNetworkPolicy", None, &name, json!({"projectcalico.org/tier": "default"}), spec);
        }
    }

    fn policy(&mut self, kind: &str, namespace: &str, name: &str, index: u64) {
        let global = kind.ends_with("GlobalNetworkPolicy");
        let namespace = (!global).then_some(namespace);
        let taken = |one: &Value| identity(one) == (kind, namespace.unwrap_or_default(), name);
        if self.resources.iter().any(taken) {
            return;
        }
        if kind == "StagedKubernetesNetworkPolicy" {
            let spec =
                json!({"stagedAction": "Set", "podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
            return self.add(kind, namespace, name, json!({}), spec);
        }
        let tier = *self.random.pick(&[
            "default",
            "default",
            "first",
            "second",
            "unordered",
            "kube-admin",
            "kube-baseline",
            "nowhere",
        ]);
        let mut spec = json!({"tier": tier});
        match self.random.below(5) {
            0 => {}
            1 => spec["order"] = json!(2.5),
            2 => spec["order"] = json!(-1),
            _ => spec["order"] = json!(1 + index % 2),
        }
        if self.random.chance(85) {
            spec["selector"] = json!(self.random.pick(&SELECTORS));
        }
        let owner = |ingress| Owner { policy: true, ingress };
        let mut types =
            self.random.pick(&[json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]).clone();
        if global {
            if self.random.chance(20) {
                spec["namespaceSelector"] = json!(self.random.pick(&NAMESPACE_SELECTORS));
            }
            match self.random.below(10) {
                0 | 1 => spec["applyOnForward"] = json!(true),
                2 => {
                    spec["applyOnForward"] = json!(true);
                    spec["doNotTrack"] = json!(true);
                    spec["selector"] = json!(self.random.pick(&["has(host)", "all()", ""]));
                }
                3 => {
                    spec["applyOnForward"] = json!(true);
                    spec["preDNAT"] = json!(true);
                    types = json!(["Ingress"]);
                    spec["selector"] = json!(self.random.pick(&["has(host)", "all()", ""]));
                }
                _ => {}
            }
        }
        if self.random.chance(12) {
            spec["serviceAccountSelector"] = json!(self.random.pick(&ACCOUNT_SELECTORS));
        }
        let has = |name: &str| types.as_array().into_iter().flatten().any(|one| one == name);
        let (ingress, egress) = (has("Ingress"), has("Egress"));
        if ingress {
            spec["ingress"] = self.rules(owner(true), 4);
        }
        if egress {
            spec["egress"] = self.rules(owner(false), 4);
        }
        // what an old version wrote has no types
        let old = spec["preDNAT"].is_null() && self.random.chance(15);
        if !old {
            spec["types"] = types;
        }
        if kind.starts_with("Staged") {
            spec["stagedAction"] = json!("Set");
        }
        self.add(kind, namespace, name, json!({"projectcalico.org/tier": tier}), spec);
    }

    fn configuration(&mut self) {
        let mut spec = Map::new();
        if self.random.chance(60) {
            let action = *self.random.pick(&["Drop", "Return", "Accept", "Accept"]);
            spec.insert("defaultEndpointToHostAction".to_owned(), json!(action));
        }
        // an agent whose host endpoint is every interface must reach its datastore, on loopback too
        let etcd = json!({"protocol": "TCP", "port": 2379});
        if self.random.chance(30) {
            let ports = json!([
                etcd,
                {"protocol": "TCP", "port": 2222},
                {"protocol": "UDP", "port": 53, "net": "192.0.2.0/24"},
                {"protocol": "TCP", "port": 80, "net": "2001:db8::/64"},
            ]);
            spec.insert("failsafeInboundHostPorts".to_owned(), ports);
        }
        if self.random.chance(30) {
            let ports =
                self.random.pick(&[json!([etcd]), json!([etcd, {"protocol": "UDP", "port": 5353}])]).clone();
            spec.insert("failsafeOutboundHostPorts".to_owned(), ports);
        }
        for (name, chance, values) in [
            ("floatingIPs", 70, &[json!("Enabled"), json!("Enabled"), json!("Disabled")][..]),
            ("workloadSourceSpoofing", 50, &[json!("Any"), json!("Any"), json!("Disabled")]),
            ("serviceLoopPrevention", 50, &[json!("Drop"), json!("Reject"), json!("Disabled")]),
            ("natOutgoingExclusions", 40, &[json!("IPPoolsAndHostIPs"), json!("IPPoolsOnly")]),
            ("externalNodesList", 30, &[json!(["198.51.100.12/32"])]),
            ("natPortRange", 25, &[json!("20000:20999")]),
            ("natOutgoingAddress", 20, &[json!("192.0.2.77")]),
            ("iptablesNATOutgoingInterfaceFilter", 15, &[json!("eth0")]),
            ("nftablesFilterDenyAction", 20, &[json!("Reject")]),
            ("disableConntrackInvalidCheck", 15, &[json!(true)]),
            ("allowVXLANPacketsFromWorkloads", 15, &[json!(true)]),
        ] {
            if self.random.chance(chance) {
                spec.insert(name.to_owned(), self.random.pick(values).clone());
            }
        }
        if !spec.is_empty() {
            self.add("FelixConfiguration", None, "default", json!({}), Value::Object(spec));
        }
    }
}

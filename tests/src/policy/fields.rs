//! One case a match field: two packets of which one matches and the other does not, by that field alone.

use super::cluster::{Cluster, NODE, resource, workload};
use super::object::prefix;
use super::packets::{Packet, Passage, Place};
use serde_json::{Value, json};
use std::net::IpAddr;

/// A case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What field it is about.
    pub name: &'static str,
    /// The rule is one of the client's egress, not of the server's ingress.
    pub egress: bool,
    /// The rule, which allows; without it nothing is.
    pub rule: Value,
    /// Where in the rule the field is, as a JSON pointer.
    pub field: &'static str,
    /// Matches.
    pub hit: Passage,
    /// Matches as soon as the field is ignored.
    pub miss: Passage,
}

/// Ends of the packets: who sends to the server.
const CLIENT: u8 = 2;
const OTHER: u8 = 3;
const SERVER: u8 = 4;
/// A third receiver, for fields about the destination.
const SPARE: u8 = 5;

fn name(host: u8) -> &'static str {
    match host {
        CLIENT => "client",
        OTHER => "other",
        SERVER => "server",
        _ => "spare",
    }
}

fn namespace(host: u8) -> &'static str {
    if matches!(host, OTHER | SPARE) { "two" } else { "one" }
}

fn place(host: u8) -> Place {
    Place::Workload(namespace(host).to_owned(), format!("node--1-cni-{}-eth0", name(host)))
}

fn address(host: u8, version: u8) -> Option<IpAddr> {
    let text = if version == 4 { format!("10.64.0.{host}") } else { format!("fd5f:64::{host:x}") };
    prefix(&text).map(|net| net.addr())
}

/// A packet from one workload to another.
fn send(
    from: u8,
    to: u8,
    version: u8,
    protocol: u8,
    ports: Option<(u16, u16)>,
    icmp: Option<(u8, u8)>,
) -> Passage {
    let unspecified = IpAddr::from([0, 0, 0, 0]);
    let source = address(from, version).unwrap_or(unspecified);
    let destination = address(to, version).unwrap_or(unspecified);
    Passage {
        from: place(from),
        to: place(to),
        packet: Packet { source, destination, protocol, ports, icmp },
    }
}

fn tcp(from: u8, to: u8, source: u16, destination: u16) -> Passage {
    send(from, to, 4, 6, Some((source, destination)), None)
}

fn udp(from: u8, to: u8, source: u16, destination: u16) -> Passage {
    send(from, to, 4, 17, Some((source, destination)), None)
}

fn icmp(kind: u8, code: u8) -> Passage {
    send(CLIENT, SERVER, 4, 1, None, Some((kind, code)))
}

/// Every match field and its negation.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut ingress = |name, rule, field, hit, miss| {
        all.push(Case { name, egress: false, rule, field, hit, miss });
    };
    let usual = || tcp(CLIENT, SERVER, 40000, 80);
    let elsewhere = || tcp(OTHER, SERVER, 40000, 80);
    let v6 = || send(CLIENT, SERVER, 6, 6, Some((40000, 80)), None);
    ingress("ipVersion", json!({"ipVersion": 4}), "/ipVersion", usual(), v6());
    ingress(
        "protocol by name",
        json!({"protocol": "TCP"}),
        "/protocol",
        usual(),
        udp(CLIENT, SERVER, 40000, 80),
    );
    ingress(
        "protocol SCTP",
        json!({"protocol": "SCTP"}),
        "/protocol",
        send(CLIENT, SERVER, 4, 132, Some((40000, 80)), None),
        usual(),
    );
    ingress(
        "protocol by number",
        json!({"protocol": 17}),
        "/protocol",
        udp(CLIENT, SERVER, 40000, 80),
        usual(),
    );
    ingress(
        "notProtocol",
        json!({"notProtocol": "TCP"}),
        "/notProtocol",
        udp(CLIENT, SERVER, 40000, 80),
        usual(),
    );
    ingress(
        "icmp type",
        json!({"protocol": "ICMP", "icmp": {"type": 8}}),
        "/icmp/type",
        icmp(8, 0),
        icmp(13, 0),
    );
    ingress(
        "icmp code",
        json!({"protocol": "ICMP", "icmp": {"type": 8, "code": 0}}),
        "/icmp/code",
        icmp(8, 0),
        icmp(8, 1),
    );
    ingress(
        "notICMP type",
        json!({"protocol": "ICMP", "notICMP": {"type": 13}}),
        "/notICMP",
        icmp(8, 0),
        icmp(13, 0),
    );
    ingress(
        "notICMP code",
        json!({"protocol": "ICMP", "notICMP": {"type": 8, "code": 1}}),
        "/notICMP",
        icmp(8, 0),
        icmp(8, 1),
    );
    ingress(
        "icmp type of IPv6",
        json!({"protocol": "ICMPv6", "icmp": {"type": 128}}),
        "/icmp/type",
        send(CLIENT, SERVER, 6, 58, None, Some((128, 0))),
        send(CLIENT, SERVER, 6, 58, None, Some((139, 0))),
    );
    ingress(
        "source nets",
        json!({"source": {"nets": ["10.64.0.2/32"]}}),
        "/source/nets",
        usual(),
        elsewhere(),
    );
    ingress(
        "source nets of many",
        json!({"source": {"nets": ["172.16.0.0/12", "10.64.0.2/32"]}}),
        "/source/nets",
        usual(),
        elsewhere(),
    );
    ingress(
        "source notNets",
        json!({"source": {"notNets": ["10.64.0.3/32"]}}),
        "/source/notNets",
        usual(),
        elsewhere(),
    );
    ingress(
        "source notNets of many",
        json!({"source": {"notNets": ["172.16.0.0/12", "10.64.0.3/32"]}}),
        "/source/notNets",
        usual(),
        elsewhere(),
    );
    ingress(
        "source notNets and the family",
        json!({"source": {"notNets": ["10.64.0.3/32"]}}),
        "/source/notNets",
        usual(),
        v6(),
    );
    ingress(
        "source selector",
        json!({"source": {"selector": "app == 'client'"}}),
        "/source/selector",
        usual(),
        elsewhere(),
    );
    ingress(
        "source notSelector",
        json!({"source": {"notSelector": "app == 'other'"}}),
        "/source/notSelector",
        usual(),
        elsewhere(),
    );
    ingress(
        "source notSelector beside a selector",
        json!({"source": {"selector": "has(app)", "notSelector": "app == 'other'"}}),
        "/source/notSelector",
        usual(),
        elsewhere(),
    );
    ingress(
        "source network set",
        json!({"source": {"selector": "set == 'near'"}}),
        "/source/selector",
        usual(),
        tcp(SPARE, SERVER, 40000, 80),
    );
    ingress(
        "source namespaceSelector",
        json!({"source": {"namespaceSelector": "env == 'live'"}}),
        "/source/namespaceSelector",
        usual(),
        elsewhere(),
    );
    ingress(
        "source namespaceSelector global()",
        json!({"source": {"selector": "has(set)", "namespaceSelector": "global()"}}),
        "/source/namespaceSelector",
        usual(),
        elsewhere(),
    );
    ingress(
        "source serviceAccounts names",
        json!({"source": {"serviceAccounts": {"names": ["robot"]}}}),
        "/source/serviceAccounts",
        usual(),
        elsewhere(),
    );
    ingress(
        "source serviceAccounts selector",
        json!({"source": {"serviceAccounts": {"selector": "trust == 'high'"}}}),
        "/source/serviceAccounts",
        usual(),
        elsewhere(),
    );
    ingress(
        "source ports",
        json!({"protocol": "TCP", "source": {"ports": [40000]}}),
        "/source/ports",
        usual(),
        tcp(CLIENT, SERVER, 40001, 80),
    );
    ingress(
        "source port range",
        json!({"protocol": "TCP", "source": {"ports": ["39990:40000"]}}),
        "/source/ports",
        usual(),
        tcp(CLIENT, SERVER, 40001, 80),
    );
    ingress(
        "source notPorts",
        json!({"protocol": "TCP", "source": {"notPorts": [40001]}}),
        "/source/notPorts",
        usual(),
        tcp(CLIENT, SERVER, 40001, 80),
    );
    ingress(
        "source named port",
        json!({"protocol": "TCP", "source": {"ports": ["out"]}}),
        "/source/ports",
        tcp(CLIENT, SERVER, 9000, 80),
        usual(),
    );
    ingress(
        "source named notPorts",
        json!({"protocol": "TCP", "source": {"notPorts": ["out"]}}),
        "/source/notPorts",
        usual(),
        tcp(CLIENT, SERVER, 9000, 80),
    );
    ingress(
        "destination ports",
        json!({"protocol": "TCP", "destination": {"ports": [80]}}),
        "/destination/ports",
        usual(),
        tcp(CLIENT, SERVER, 40000, 81),
    );
    ingress(
        "destination ports of UDP",
        json!({"protocol": "UDP", "destination": {"ports": [53, 99]}}),
        "/destination/ports",
        udp(CLIENT, SERVER, 40000, 53),
        udp(CLIENT, SERVER, 40000, 54),
    );
    ingress(
        "destination port range",
        json!({"protocol": "TCP", "destination": {"ports": ["70:80"]}}),
        "/destination/ports",
        usual(),
        tcp(CLIENT, SERVER, 40000, 81),
    );
    ingress(
        "destination notPorts",
        json!({"protocol": "TCP", "destination": {"notPorts": [81]}}),
        "/destination/notPorts",
        usual(),
        tcp(CLIENT, SERVER, 40000, 81),
    );
    ingress(
        "destination named port",
        json!({"protocol": "TCP", "destination": {"ports": ["http"]}}),
        "/destination/ports",
        tcp(CLIENT, SERVER, 40000, 8080),
        usual(),
    );
    ingress(
        "destination named port and its protocol",
        json!({"destination": {"ports": ["http"]}}),
        "/destination/ports",
        tcp(CLIENT, SERVER, 40000, 8080),
        udp(CLIENT, SERVER, 40000, 8080),
    );
    ingress(
        "destination named notPorts",
        json!({"protocol": "TCP", "destination": {"notPorts": ["http"]}}),
        "/destination/notPorts",
        usual(),
        tcp(CLIENT, SERVER, 40000, 8080),
    );
    let mut egress = |name, rule, field| {
        let miss = tcp(CLIENT, SPARE, 40000, 80);
        all.push(Case { name, egress: true, rule, field, hit: usual(), miss });
    };
    egress("destination nets", json!({"destination": {"nets": ["10.64.0.4/32"]}}), "/destination/nets");
    egress(
        "destination notNets",
        json!({"destination": {"notNets": ["10.64.0.5/32"]}}),
        "/destination/notNets",
    );
    egress(
        "destination selector",
        json!({"destination": {"selector": "app == 'server'"}}),
        "/destination/selector",
    );
    egress(
        "destination notSelector",
        json!({"destination": {"notSelector": "app == 'spare'"}}),
        "/destination/notSelector",
    );
    egress(
        "destination namespaceSelector",
        json!({"destination": {"namespaceSelector": "env == 'live'"}}),
        "/destination/namespaceSelector",
    );
    egress(
        "destination serviceAccounts names",
        json!({"destination": {"serviceAccounts": {"names": ["robot"]}}}),
        "/destination/serviceAccounts",
    );
    egress(
        "destination serviceAccounts selector",
        json!({"destination": {"serviceAccounts": {"selector": "trust == 'high'"}}}),
        "/destination/serviceAccounts",
    );
    all
}

impl Case {
    /// Four workloads and one policy with the rule.
    pub fn cluster(&self) -> Cluster {
        self.with(self.rule.clone())
    }

    /// The same, the field left out of the rule: the miss matches too.
    pub fn without_field(&self) -> Cluster {
        let mut rule = self.rule.clone();
        let (parent, field) = self.field.rsplit_once('/').unwrap_or(("", self.field));
        if let Some(object) = rule.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(field);
        }
        // type and code are nothing without each other
        if rule["icmp"].as_object().is_some_and(serde_json::Map::is_empty) {
            rule.as_object_mut().map(|rule| rule.remove("icmp"));
        }
        self.with(rule)
    }

    fn with(&self, mut rule: Value) -> Cluster {
        rule["action"] = json!("Allow");
        let open = json!([{"action": "Allow"}]);
        let mut resources = vec![
            resource(
                "Node",
                None,
                NODE,
                json!({}),
                json!({"bgp": {"ipv4Address": "192.0.2.11/24", "ipv6Address": "2001:db8::11/64"}}),
            ),
            resource("ClusterInformation", None, "default", json!({}), json!({"datastoreReady": true})),
            resource(
                "Tier",
                None,
                "default",
                json!({}),
                json!({"order": 1_000_000, "defaultAction": "Deny"}),
            ),
        ];
        for (namespace, env) in [("one", "live"), ("two", "test")] {
            let spec = json!({"labelsToApply": {"pcns.env": env}, "ingress": open, "egress": open});
            resources.push(resource("Profile", None, &format!("kns.{namespace}"), json!({}), spec));
        }
        for (account, namespace, trust) in [("robot", "one", "high"), ("reader", "two", "low")] {
            let spec = json!({"labelsToApply": {"pcsa.trust": trust}});
            resources.push(resource("Profile", None, &format!("ksa.{namespace}.{account}"), json!({}), spec));
        }
        for host in [CLIENT, OTHER, SERVER, SPARE] {
            let namespace = namespace(host);
            let account = if namespace == "one" { "robot" } else { "reader" };
            let mut spec = json!({
                "ipNetworks": [format!("10.64.0.{host}/32"), format!("fd5f:64::{host:x}/128")],
                "mac": format!("0a:00:00:00:00:{host:02x}"),
                "serviceAccountName": account,
                "profiles": [format!("kns.{namespace}"), format!("ksa.{namespace}.{account}")],
            });
            let port = |name: &str, port: u16| json!([{"name": name, "protocol": "TCP", "port": port, "hostPort": 0, "hostIP": ""}]);
            match host {
                CLIENT => spec["ports"] = port("out", 9000),
                SERVER => spec["ports"] = port("http", 8080),
                _ => {}
            }
            resources.push(workload(namespace, NODE, name(host), json!({"app": name(host)}), spec));
        }
        let set = json!({"nets": ["10.64.0.2", "fd5f:64::2"]});
        resources.push(resource("GlobalNetworkSet", None, "near", json!({"set": "near"}), set));
        // in a namespace, so no global one
        let set = json!({"nets": ["10.64.0.3/32"]});
        resources.push(resource("NetworkSet", Some("two"), "inside", json!({"set": "inside"}), set));
        let spec = if self.egress {
            json!({"tier": "default", "selector": "app == 'client'", "types": ["Egress"], "egress": [rule]})
        } else {
            json!({"tier": "default", "selector": "app == 'server'", "types": ["Ingress"], "ingress": [rule]})
        };
        resources.push(resource("GlobalNetworkPolicy", None, "judged", json!({}), spec));
        Cluster { seed: 0, resources, broken: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::matching::Coverage;
    use crate::policy::oracle::Oracle;

    /// Each case is one: the field alone makes the difference.
    #[test]
    fn the_field_alone_decides() {
        for case in cases() {
            let judge = |cluster: Cluster, passage: &Passage| {
                Oracle::new(NODE, cluster.resources).passage(passage, &mut Coverage::default()).arrives
            };
            assert!(judge(case.cluster(), &case.hit), "{}: the hit", case.name);
            assert!(!judge(case.cluster(), &case.miss), "{}: the miss", case.name);
            assert!(judge(case.without_field(), &case.miss), "{}: the miss, field ignored", case.name);
        }
    }
}

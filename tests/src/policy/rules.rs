//! Made-up rules: every match field, a few at a time, from words small enough that rules and packets meet.

use crate::random::Random;
use serde_json::{Map, Value, json};

/// Ports that rules and packets are about; named ones have these numbers too.
pub const PORTS: [u16; 13] = [22, 53, 68, 80, 443, 2222, 4789, 5353, 8000, 8050, 8080, 8100, 30080];

/// Names of ports of endpoints.
pub const PORT_NAMES: [&str; 4] = ["http", "dns", "admin", "absent"];

/// Networks that rules and sets name: around the endpoints, in each other, at both ends of the space.
pub const NETS_V4: [&str; 12] = [
    "10.64.0.0/16",
    "10.64.0.0/30",
    "10.64.0.4/31",
    "10.64.1.0/24",
    "10.64.1.2/32",
    "10.0.0.0/8",
    "192.0.2.0/24",
    "192.0.2.8/29",
    "198.51.100.0/24",
    "203.0.113.0/25",
    "0.0.0.0/1",
    "128.0.0.0/1",
];

/// The same of IPv6.
pub const NETS_V6: [&str; 9] = [
    "fd5f:64::/48",
    "fd5f:64::/126",
    "fd5f:64::4/127",
    "fd5f:64:1::/64",
    "fd5f:64:1::2/128",
    "2001:db8::/64",
    "2001:db8:ff::/48",
    "2000::/3",
    "fc00::/7",
];

/// Where nothing of a cluster lies.
pub const STRANGE_NETS: [&str; 4] =
    ["172.16.9.0/24", "203.0.113.128/25", "2001:db8:abcd::/48", "fd00:9::/64"];

/// Selectors of endpoints and sets, every operator of the language.
pub const SELECTORS: [&str; 18] = [
    "all()",
    "app == 'web'",
    "app == \"db\"",
    "app != 'web'",
    "has(app)",
    "!has(app)",
    "app in {'web', 'db'}",
    "app not in {'web', 'mon'}",
    "app contains 'e'",
    "app starts with 'w'",
    "role ends with 'er'",
    "app == 'web' && env == 'live'",
    "app == 'mon' || role == 'server'",
    "!(app == 'db' && has(role))",
    "env != 'test' && (app == 'web' || !has(role))",
    "has(host)",
    "set == 'near'",
    "has(set) || inherited == 'yes'",
];

/// Selectors of namespaces.
pub const NAMESPACE_SELECTORS: [&str; 5] =
    ["all()", "env == 'live'", "env != 'live'", "projectcalico.org/name == 'two'", "has(team)"];

/// Selectors of service accounts.
pub const ACCOUNT_SELECTORS: [&str; 3] = ["trust == 'high'", "trust != 'high'", "has(trust)"];

/// Names of service accounts.
pub const ACCOUNTS: [&str; 3] = ["robot", "reader", "nobody"];

/// Whose rule it is: decides what may be said in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// A policy; profiles say no selectors of service accounts.
    pub policy: bool,
    /// The rule is one of the ingress list.
    pub ingress: bool,
}

/// A valid rule in stored form.
pub fn rule(owner: Owner, random: &mut Random) -> Value {
    let mut rule = Map::new();
    let v4 = random.chance(60);
    let action = *random.pick(&["Allow", "Allow", "Allow", "Deny", "Deny", "Pass", "Log"]);
    rule.insert("action".to_owned(), json!(action));
    protocol(&mut rule, v4, random);
    if random.chance(8) && !has_icmp(&rule) {
        rule.insert("ipVersion".to_owned(), json!(if v4 { 4 } else { 6 }));
    }
    let may_have_ports = matches!(rule.get("protocol").and_then(Value::as_str), Some("TCP" | "UDP" | "SCTP"))
        || matches!(rule.get("protocol").and_then(Value::as_u64), Some(6 | 17));
    let unnamed_protocol = !rule.contains_key("protocol") && !rule.contains_key("notProtocol");
    for end in ["source", "destination"] {
        if random.chance(if end == "source" { 55 } else { 50 }) {
            let services = owner.policy && (end == "source") == owner.ingress && random.chance(3);
            let side = if services {
                json!({"services": {"name": "kubernetes", "namespace": "default"}})
            } else {
                side(v4, may_have_ports, unnamed_protocol, random)
            };
            if side.as_object().is_some_and(|side| !side.is_empty()) {
                rule.insert(end.to_owned(), side);
            }
        }
    }
    let http = owner.policy && owner.ingress && action == "Allow" && random.chance(4);
    if http && rule.get("protocol").is_none_or(|protocol| protocol == "TCP") {
        rule.insert("http".to_owned(), json!({"methods": ["GET"], "paths": [{"prefix": "/"}]}));
    }
    Value::Object(rule)
}

fn has_icmp(rule: &Map<String, Value>) -> bool {
    rule.get("protocol").and_then(Value::as_str).is_some_and(|name| name.starts_with("ICMP"))
}

fn protocol(rule: &mut Map<String, Value>, v4: bool, random: &mut Random) {
    let icmp = if v4 { "ICMP" } else { "ICMPv6" };
    match random.below(100) {
        0..20 => rule.insert("protocol".to_owned(), json!("TCP")),
        20..35 => rule.insert("protocol".to_owned(), json!("UDP")),
        35..43 => rule.insert("protocol".to_owned(), json!("SCTP")),
        43..46 => rule.insert("protocol".to_owned(), random.pick(&[json!(6), json!(17), json!(47)]).clone()),
        46..60 => {
            rule.insert("protocol".to_owned(), json!(icmp));
            let kinds: &[u8] = if v4 { &[8, 8, 13] } else { &[128, 128, 139] };
            let mut wanted = json!({"type": random.pick(kinds)});
            if random.chance(50) {
                wanted["code"] = json!(random.pick(&[0, 1]));
            }
            match random.below(3) {
                0 => rule.insert("icmp".to_owned(), wanted),
                1 => rule.insert("notICMP".to_owned(), wanted),
                _ => None,
            }
        }
        60..70 => {
            let number = json!(17);
            let protocol = random.pick(&[json!("TCP"), json!("UDP"), json!(icmp), number]).clone();
            rule.insert("notProtocol".to_owned(), protocol)
        }
        _ => None,
    };
}

fn side(v4: bool, ports: bool, any_protocol: bool, random: &mut Random) -> Value {
    let mut side = Map::new();
    let nets: &[&str] = if v4 { &NETS_V4 } else { &NETS_V6 };
    let some_nets = |random: &mut Random| -> Value {
        let count = 1 + random.below(3);
        let mut chosen: Vec<&str> = (0..count).map(|_| *random.pick(nets)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        json!(chosen)
    };
    for _ in 0..1 + random.below(2) {
        match random.below(15) {
            0..3 => side.insert("nets".to_owned(), some_nets(random)),
            3 => side.insert("notNets".to_owned(), some_nets(random)),
            4..7 => side.insert("selector".to_owned(), json!(random.pick(&SELECTORS))),
            7 => side.insert("notSelector".to_owned(), json!(random.pick(&SELECTORS))),
            8 => {
                let selector =
                    if random.chance(25) { "global()" } else { *random.pick(&NAMESPACE_SELECTORS) };
                side.insert("namespaceSelector".to_owned(), json!(selector))
            }
            9 => {
                let names: Vec<&str> = random.some(&ACCOUNTS, 50);
                let mut accounts = Map::new();
                if !names.is_empty() {
                    accounts.insert("names".to_owned(), json!(names));
                }
                if names.is_empty() || random.chance(30) {
                    accounts.insert("selector".to_owned(), json!(random.pick(&ACCOUNT_SELECTORS)));
                }
                side.insert("serviceAccounts".to_owned(), Value::Object(accounts))
            }
            10..12 if ports || any_protocol => {
                let list = port_list(ports, random);
                side.insert("ports".to_owned(), list)
            }
            12..14 if ports => {
                let list = port_list(ports, random);
                side.insert("notPorts".to_owned(), list)
            }
            _ => None,
        };
    }
    Value::Object(side)
}

/// Ports, ranges and names; names only where the protocol does not say that there are ports.
fn port_list(numbers: bool, random: &mut Random) -> Value {
    let mut all = Vec::new();
    for _ in 0..1 + random.below(3) {
        let port = *random.pick(&PORTS);
        all.push(match random.below(4) {
            _ if !numbers => json!(random.pick(&PORT_NAMES)),
            0 => json!(random.pick(&PORT_NAMES)),
            1 => json!(format!("{}:{}", port, port + 20)),
            _ => json!(port),
        });
    }
    all.dedup();
    Value::Array(all)
}

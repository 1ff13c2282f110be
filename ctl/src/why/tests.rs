use super::*;
use serde_json::{Value, json};

/// Values as they are stored.
fn stored(objects: &[(&str, Value)]) -> Stored {
    let pair = |(path, value): &(&str, Value)| {
        let key = format!("/calico/resources/v3/projectcalico.org/{path}");
        let (plural, rest) = path.split_once('/').unwrap();
        let mut value = value.clone();
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        value["kind"] = match plural {
            "workloadendpoints" => "WorkloadEndpoint",
            "hostendpoints" => "HostEndpoint",
            "networkpolicies" => "NetworkPolicy",
            "globalnetworkpolicies" => "GlobalNetworkPolicy",
            "stagednetworkpolicies" => "StagedNetworkPolicy",
            "profiles" => "Profile",
            "tiers" => "Tier",
            "nodes" => "Node",
            "felixconfigurations" => "FelixConfiguration",
            other => panic!("{other}"),
        }
        .into();
        value["apiVersion"] = "projectcalico.org/v3".into();
        let labels = value.get("labels").cloned().unwrap_or_else(|| json!({}));
        value["metadata"] = json!({"name": name, "namespace": namespace, "labels": labels, "uid": "u"});
        value.as_object_mut().unwrap().remove("labels");
        (key.into(), serde_json::to_vec(&value).unwrap().into())
    };
    Stored::of(objects.iter().map(pair).collect())
}

fn workload(node: &str, pod: &str, addresses: &[&str], profiles: &[&str]) -> Value {
    let labels = json!({
        "app": pod, "projectcalico.org/namespace": "shop", "projectcalico.org/orchestrator": "k8s"
    });
    json!({
        "labels": labels,
        "spec": {
            "orchestrator": "k8s", "node": node, "pod": pod, "endpoint": "eth0", "containerID": format!("c0ffee{pod}"),
            "ipNetworks": addresses, "profiles": profiles, "interfaceName": format!("cali{pod}"),
        },
    })
}

/// Two workloads on two nodes, another one beside the first; web may be asked at port 80 by app only.
fn shop() -> Vec<(&'static str, Value)> {
    let allow_all = json!({"spec": {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}});
    vec![
        (
            "nodes/node-1",
            json!({"spec": {"bgp": {"ipv4Address": "192.0.2.1/24", "ipv6Address": "fd00::1/64"}}}),
        ),
        ("nodes/node-2", json!({"spec": {"addresses": [{"address": "192.0.2.2", "type": "InternalIP"}]}})),
        ("profiles/open", allow_all),
        ("tiers/default", json!({"spec": {"order": 1_000_000, "defaultAction": "Deny"}})),
        (
            "workloadendpoints/shop/node--1-k8s-app-eth0",
            workload("node-1", "app", &["10.0.0.1/32", "fd00:1::1/128"], &["open"]),
        ),
        (
            "workloadendpoints/shop/node--1-k8s-other-eth0",
            workload("node-1", "other", &["10.0.0.2/32"], &["open"]),
        ),
        (
            "workloadendpoints/shop/node--2-k8s-web-eth0",
            workload("node-2", "web", &["10.0.1.1/32", "fd00:2::1/128"], &["open"]),
        ),
        (
            "networkpolicies/shop/web",
            json!({"spec": {"tier": "default", "order": 10, "selector": "app == 'web'", "types": ["Ingress"], "ingress": [
                {"action": "Log", "protocol": "TCP", "source": {}, "destination": {}},
                {"action": "Allow", "protocol": "TCP", "source": {"selector": "app == 'app'"}, "destination": {"ports": [80]}},
            ]}}),
        ),
        (
            "stagednetworkpolicies/shop/later",
            json!({"spec": {"tier": "default", "order": 5, "selector": "app == 'web'", "types": ["Ingress"]}}),
        ),
    ]
}

fn args(from: &str, to: &str, port: Option<u16>) -> WhyArgs {
    WhyArgs {
        from: from.to_owned(),
        to: to.to_owned(),
        port,
        source_port: EPHEMERAL,
        protocol: None,
        icmp_type: None,
        icmp_code: 0,
        ipv6: false,
        output: "text".to_owned(),
        config: ConfigArgs { config: String::new() },
    }
}

fn ask(objects: &[(&str, Value)], from: &str, to: &str, port: Option<u16>) -> judge::Answer {
    answer(&args(from, to, port), &stored(objects)).unwrap()
}

#[test]
fn each_tier_policy_and_rule_is_told_up_to_the_one_that_decided() {
    let told = show::text(&ask(&shop(), "app", "shop/web", Some(80)));
    let expected = "\
from  WorkloadEndpoint shop/node--1-k8s-app-eth0
to    WorkloadEndpoint shop/node--2-k8s-web-eth0
      TCP from port 32768 to port 80, 10.0.0.1 → 10.0.1.1

It leaves WorkloadEndpoint shop/node--1-k8s-app-eth0, node node-1:
  Profile open
    rule 0: Allow

It enters WorkloadEndpoint shop/node--2-k8s-web-eth0, node node-2:
  tier default
    StagedNetworkPolicy shop/later: staged, without effect
    NetworkPolicy shop/web
      rule 0: Log
      rule 1: Allow

ALLOWED: tier default, NetworkPolicy shop/web, ingress rule 1
  {\"action\":\"Allow\",\"protocol\":\"TCP\",\"source\":{\"selector\":\"app == 'app'\"},\"destination\":{\"ports\":[80]}}
";
    assert_eq!(told, expected);
    let told = show::text(&ask(&shop(), "app", "web", Some(81)));
    assert!(told.contains("    NetworkPolicy shop/web\n      rule 0: Log\n      rule 1: does not match\n    end of the tier: Deny\n"));
    assert!(told.ends_with("\nDENIED: tier default, default action\n"), "{told}");
}

#[test]
fn json_says_the_same() {
    let told = show::json(&ask(&shop(), "app", "web", Some(80)));
    assert_eq!(told["verdict"], "Allow");
    assert_eq!(told["rule"]["source"]["selector"], "app == 'app'");
    assert_eq!(
        told["ends"][1]["tiers"][0]["policies"][1]["rules"][1],
        json!({"rule": 1, "verdict": "Allow", "notEnforced": null})
    );
    assert_eq!(told["packet"]["destinationPort"], 80);
}

#[test]
fn a_pass_leads_to_the_next_tier_and_to_the_profiles() {
    let mut objects = shop();
    objects.push(("tiers/first", json!({"spec": {"order": 1, "defaultAction": "Deny"}})));
    objects.push((
        "globalnetworkpolicies/first.look",
        json!({"spec": {"tier": "first", "selector": "has(app)", "types": ["Ingress", "Egress"],
            "ingress": [{"action": "Pass", "source": {}, "destination": {}}],
            "egress": [{"action": "Pass", "source": {}, "destination": {}}]}}),
    ));
    let told = show::text(&ask(&objects, "app", "web", Some(80)));
    assert!(
        told.contains(
            "  tier first\n    GlobalNetworkPolicy first.look\n      rule 0: Pass\n  tier default\n"
        ),
        "{told}"
    );
    assert!(told.contains("      rule 0: Pass\n  Profile open\n    rule 0: Allow\n"), "{told}");
}

#[test]
fn a_denial_at_the_sender_ends_the_way() {
    let mut objects = shop();
    objects.push((
        "networkpolicies/shop/quiet",
        json!({"spec": {"tier": "default", "selector": "app == 'app'", "types": ["Egress"], "egress": [
            {"action": "Deny", "http": {"methods": ["GET"]}, "protocol": "TCP", "source": {}, "destination": {}}]}}),
    ));
    let told = ask(&objects, "app", "web", Some(80));
    assert!(!told.allowed && told.sides.len() == 1);
    let text = show::text(&told);
    assert!(text.contains("rule 0: Deny (http is not enforced)"), "{text}");
    assert!(text.contains("DENIED: tier default, NetworkPolicy shop/quiet, egress rule 0\n"), "{text}");
}

#[test]
fn workloads_are_known_by_all_their_names() {
    let objects = stored(&shop());
    for name in [
        "web",
        "shop/web",
        "node--2-k8s-web-eth0",
        "shop/node--2-k8s-web-eth0",
        "caliweb",
        "c0ffeew",
        "10.0.1.1",
        "fd00:2::1",
    ] {
        let end = ends::find(&objects, name).unwrap();
        assert_eq!(end.title(), "WorkloadEndpoint shop/node--2-k8s-web-eth0", "{name}");
    }
    assert_eq!(ends::find(&objects, "192.0.2.2").unwrap().title(), "192.0.2.2, node node-2");
    assert_eq!(ends::find(&objects, "fd00::1").unwrap().title(), "fd00::1, node node-1");
    assert_eq!(ends::find(&objects, "198.51.100.1").unwrap().title(), "198.51.100.1, outside");
    let several = ends::find(&objects, "c0ffee").unwrap_err();
    assert!(several.starts_with("\"c0ffee\" may be any of: WorkloadEndpoint shop/"), "{several}");
    assert!(ends::find(&objects, "nobody").unwrap_err().contains("ocicat get wep"));
    assert!(ends::find(&objects, "").is_err());
}

#[test]
fn hosts_and_the_outside() {
    let mut objects = shop();
    let out = ask(&objects, "app", "198.51.100.1", None);
    assert_eq!((out.allowed, out.sides.len(), out.packet.icmp), (true, 1, Some((8, 0))));
    let own = ask(&objects, "app", "192.0.2.1", Some(22));
    assert!(!own.allowed);
    assert_eq!(own.reason, "defaultEndpointToHostAction: Drop (not set)");
    let in_to = ask(&objects, "192.0.2.2", "web", Some(9));
    assert!(in_to.allowed && in_to.sides.is_empty(), "a host reaches its own workloads");
    assert!(!ask(&objects, "192.0.2.1", "web", Some(9)).allowed, "another host does not");

    objects.push(("felixconfigurations/default", json!({"spec": {"defaultEndpointToHostAction": "Accept"}})));
    objects.push((
        "hostendpoints/two-eth0",
        json!({"labels": {"role": "host"}, "spec": {"node": "node-2", "expectedIPs": ["192.0.2.2"]}}),
    ));
    objects.push((
        "globalnetworkpolicies/hosts",
        json!({"spec": {"selector": "role == 'host'", "types": ["Ingress"], "ingress": [
            {"action": "Allow", "protocol": "TCP", "source": {"nets": ["10.0.0.0/24"]}, "destination": {}}]}}),
    ));
    let own = ask(&objects, "app", "192.0.2.1", Some(22));
    assert!(own.allowed && own.notes[0].contains("Accept (FelixConfiguration default)"), "{own:?}");
    let host = ask(&objects, "app", "two-eth0", Some(9));
    assert!(host.allowed && host.sides.len() == 2, "{host:?}");
    assert!(host.notes[0].contains("failsafeInboundHostPorts"));
    assert!(!ask(&objects, "198.51.100.1", "192.0.2.2", Some(9)).allowed);
}

#[test]
fn packets_that_cannot_be_are_refused() {
    let objects = stored(&shop());
    let refused = |edit: &dyn Fn(&mut WhyArgs)| {
        let mut args = args("app", "web", Some(80));
        edit(&mut args);
        answer(&args, &objects).unwrap_err()
    };
    assert!(
        refused(&|args| args.protocol = Some("tcpp".into()))
            .contains("--protocol \"tcpp\": expected TCP, UDP")
    );
    assert!(refused(&|args| args.protocol = Some("0".into())).contains("1 to 255"));
    assert!(
        refused(&|args| args.protocol = Some("icmp".into())).starts_with("--port: packets of protocol ICMP")
    );
    assert!(refused(&|args| args.icmp_type = Some(3)).starts_with("--icmp-type:"));
    assert!(
        refused(&|args| (args.port, args.protocol) = (None, Some("udp".into())))
            .starts_with("--port is missing")
    );
    let mut six = args("app", "web", None);
    six.ipv6 = true;
    let told = answer(&six, &objects).unwrap();
    assert_eq!((told.packet.protocol, told.packet.icmp), (58, Some((128, 0))));
    let mut no = args("other", "fd00:9::9", None);
    no.port = Some(1);
    assert!(answer(&no, &objects).unwrap_err().contains("no address family in common"));
}

/// An endpoint that its node refuses has no network, and the reason is told.
#[test]
fn refused_endpoints_say_why() {
    let mut objects = shop();
    let mut bad = workload("node-1", "bad", &["10.0.0.9/32"], &["open"]);
    bad["spec"]["interfaceName"] = "".into();
    objects.push(("workloadendpoints/shop/node--1-k8s-bad-eth0", bad));
    let told = ask(&objects, "app", "bad", Some(80));
    assert!(!told.allowed && told.reason.contains("refused by its node"), "{}", told.reason);
}

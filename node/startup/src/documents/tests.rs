use super::*;
use crate::detect::HostAddress;
use crate::variables::Variables;
use proptest::prelude::*;

fn settings(variables: &[(&str, &str)]) -> Settings {
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::read(&Variables::new(pairs)).unwrap()
}

fn net(text: &str) -> HostAddress {
    let (address, prefix) = text.split_once('/').unwrap();
    HostAddress { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn nic(name: &str, addresses: &[&str]) -> Nic {
    Nic { name: name.into(), up: true, addresses: addresses.iter().map(|text| net(text)).collect() }
}

fn decided(ipv4: Option<&str>, ipv6: Option<&str>, as_number: Option<u32>) -> Decided {
    Decided { ipv4: ipv4.map(net), ipv6: ipv6.map(net), as_number, facts: Vec::new() }
}

fn stored(spec: Value) -> Resource {
    let mut node = Resource::new(Kind::Node, "", "n");
    *node.spec_mut() = spec.as_object().unwrap().clone();
    node
}

fn cidrs(present: &[&str], own: &[&str], variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let present: Vec<Cidr> = present.iter().map(|text| Cidr::parse_masked(text).unwrap()).collect();
    default_pools(&settings(variables), &present, &[nic("eth0", own)], &[0x11; 16])
        .into_iter()
        .map(|wanted| (wanted.name, wanted.spec["cidr"].as_str().unwrap().to_string()))
        .collect()
}

#[test]
fn each_family_without_a_pool_gets_the_default_one() {
    let v4 = ("default-ipv4-ippool".to_string(), "192.168.0.0/16".to_string());
    let v6 = ("default-ipv6-ippool".to_string(), "fd11:1111:1111::/48".to_string());
    assert_eq!(cidrs(&[], &["192.0.2.3/24"], &[]), [v4.clone(), v6.clone()]);
    assert_eq!(cidrs(&["10.0.0.0/24"], &[], &[]), std::slice::from_ref(&v6));
    assert_eq!(cidrs(&["2001:db8::/120"], &[], &[]), std::slice::from_ref(&v4));
    assert_eq!(cidrs(&["10.0.0.0/24", "fd00::/48"], &[], &[]), []);
    assert_eq!(cidrs(&[], &[], &[("NO_DEFAULT_POOLS", "true")]), []);
    assert_eq!(cidrs(&[], &[], &[("CALICO_IPV6POOL_CIDR", "none")]), [v4]);
    assert_eq!(cidrs(&[], &[], &[("CALICO_IPV4POOL_CIDR", "10.5.0.0/16")])[0].1, "10.5.0.0/16");
}

#[test]
fn a_range_the_node_is_in_is_avoided() {
    assert_eq!(cidrs(&["fd00::/48"], &["192.168.7.1/24"], &[])[0].1, "172.16.0.0/16");
    let three = ["192.168.7.1/24", "172.16.0.1/12"];
    assert_eq!(cidrs(&["fd00::/48"], &three, &[])[0].1, "10.244.0.0/16");
    let all = ["192.168.7.1/24", "172.16.0.1/12", "10.0.0.1/8"];
    assert_eq!(cidrs(&["fd00::/48"], &all, &[])[0].1, "192.168.0.0/16", "there is no other");
}

#[test]
fn only_the_ipv4_pool_is_translated() {
    let pools = default_pools(&settings(&[]), &[], &[], &[0; 16]);
    assert_eq!(pools[0].spec["natOutgoing"], true);
    assert_eq!(pools[1].spec.get("natOutgoing"), None);
    assert_eq!((&pools[0].spec["blockSize"], &pools[1].spec["blockSize"]), (&json!(26), &json!(122)));
}

#[test]
fn a_node_says_where_it_is() {
    let nics =
        [nic("eth0", &["192.0.2.3/31", "fe80::1/64", "fd0c:a7::3/127"]), nic("docker0", &["172.17.0.1/16"])];
    let decided = decided(Some("192.0.2.3/31"), Some("fd0c:a7::3/127"), Some(64512));
    let settings = settings(&[("IP6", "autodetect"), ("CALICO_K8S_NODE_REF", "kube")]);
    let node = node("n", None, &settings, &decided, &nics);
    assert_eq!(
        node.spec(),
        &json!({
            "bgp": {"ipv4Address": "192.0.2.3/31", "ipv6Address": "fd0c:a7::3/127", "asNumber": 64512},
            "addresses": [
                {"address": "192.0.2.3/31", "type": "CalicoNodeIP"},
                {"address": "fd0c:a7::3/127", "type": "CalicoNodeIP"}
            ],
            "interfaces": [{"name": "eth0", "addresses": ["192.0.2.3", "fe80::1", "fd0c:a7::3"]}],
            "orchRefs": [{"nodeName": "kube", "orchestrator": "k8s"}]
        })
    );
}

#[test]
fn what_others_said_of_the_node_stays() {
    let before = stored(json!({
        "bgp": {"ipv4Address": "192.0.2.9/24", "ipv6Address": "fd00::9/64", "routeReflectorClusterID": "224.0.0.1"},
        "addresses": [{"address": "203.0.113.1", "type": "ExternalIP"}, {"address": "192.0.2.9/24", "type": "CalicoNodeIP"}],
        "orchRefs": [{"nodeName": "other", "orchestrator": "mesos"}],
        "ofTheFuture": {"x": 1}
    }));
    let now = node("n", Some(&before), &settings(&[]), &decided(Some("192.0.2.3/24"), None, None), &[]);
    assert_eq!(
        now.spec(),
        &json!({
            "bgp": {"ipv4Address": "192.0.2.3/24", "routeReflectorClusterID": "224.0.0.1"},
            "addresses": [{"address": "203.0.113.1", "type": "ExternalIP"}, {"address": "192.0.2.3/24", "type": "CalicoNodeIP"}],
            "orchRefs": [{"nodeName": "other", "orchestrator": "mesos"}],
            "ofTheFuture": {"x": 1}
        })
    );
    let none = settings(&[("CALICO_NETWORKING_BACKEND", "none")]);
    assert_eq!(
        node("n", Some(&before), &none, &decided(None, None, None), &[]),
        before,
        "nothing is looked after"
    );
}

#[test]
fn configurations_are_completed_and_never_overruled() {
    let [felix, own, bgp, ipam] = configurations("n");
    assert_eq!(own.name, "node.n");
    let with = |kind, name: &str, spec: Value| {
        let mut resource = Resource::new(kind, "", name);
        *resource.spec_mut() = spec.as_object().unwrap().clone();
        resource
    };
    let stored = with(Kind::FelixConfiguration, "default", json!({"logSeverityScreen": "Debug", "x": 1}));
    let now = felix.over(Some(&stored)).unwrap();
    assert_eq!(now.spec(), &json!({"logSeverityScreen": "Debug", "x": 1, "reportingInterval": "0s"}));
    assert_eq!(felix.over(Some(&now)), None);
    let stored = with(Kind::FelixConfiguration, "node.n", json!({"defaultEndpointToHostAction": "Drop"}));
    assert_eq!(own.over(Some(&stored)), None);
    let stored = with(Kind::IPAMConfiguration, "default", json!({"strictAffinity": true}));
    assert_eq!(ipam.over(Some(&stored)), None);
    assert_eq!(bgp.over(None).unwrap().spec(), &json!({}));
}

#[test]
fn two_nodes_with_one_address_are_a_conflict() {
    let other = |name: &str, address: &str| {
        let mut node = stored(json!({"bgp": {"ipv4Address": address}}));
        node.set_meta_text("name", name);
        node
    };
    let nodes = [other("n", "192.0.2.3/24"), other("a", "192.0.2.4/24"), other("b", "192.0.2.3")];
    let decided = decided(Some("192.0.2.3/24"), None, None);
    assert_eq!(conflicts("n", &decided, nodes.iter()), [("b".to_owned(), "192.0.2.3".parse().unwrap())]);
    assert_eq!(conflicts("b", &decided, nodes[1..].iter()), []);
}

proptest! {
    /// A second start writes nothing, whatever was stored.
    #[test]
    fn a_node_that_is_stored_stays(
        v4 in proptest::option::of(any::<u32>()),
        length in 0u8..=32,
        number in proptest::option::of(any::<u32>()),
        others in proptest::collection::vec(("[a-z]{1,3}", any::<bool>()), 0..4),
    ) {
        let entries: Vec<Value> = others
            .iter()
            .map(|(text, own)| json!({"address": text, "type": if *own { OWN_ADDRESS } else { "ExternalIP" }}))
            .collect();
        let before = stored(json!({"addresses": entries, "bgp": {"x": 1}}));
        let decided = Decided {
            ipv4: v4.map(|ip| HostAddress { address: Ipv4Addr::from(ip).into(), prefix: length }),
            ipv6: None,
            as_number: number,
            facts: Vec::new(),
        };
        let settings = settings(&[]);
        let once = node("n", Some(&before), &settings, &decided, &[]);
        prop_assert_eq!(&node("n", Some(&once), &settings, &decided, &[]), &once);
        let kept = |node: &Resource| {
            let entries = node.spec()["addresses"].as_array().cloned().unwrap_or_default();
            entries.into_iter().filter(|entry| entry["type"] != OWN_ADDRESS).collect::<Vec<_>>()
        };
        prop_assert_eq!(kept(&once), kept(&before));
    }
}

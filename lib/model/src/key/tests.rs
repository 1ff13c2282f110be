use super::*;
use proptest::prelude::*;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn keys_are_calicos() {
    let host = Owner::Host("node-1".into());
    for (key, path) in [
        (Key::resource(Kind::IPPool, "ignored", "p"), "/calico/resources/v3/projectcalico.org/ippools/p"),
        (
            Key::resource(Kind::NetworkPolicy, "prod", "allow-web"),
            "/calico/resources/v3/projectcalico.org/networkpolicies/prod/allow-web",
        ),
        (Key::Block(cidr("192.168.84.128/26")), "/calico/ipam/v2/assignment/ipv4/block/192.168.84.128-26"),
        (Key::Block(cidr("fd00::40/122")), "/calico/ipam/v2/assignment/ipv6/block/fd00::40-122"),
        (Key::Affinity(host, cidr("10.0.0.0/26")), "/calico/ipam/v2/host/node-1/ipv4/block/10.0.0.0-26"),
        (
            Key::Affinity(Owner::Virtual("load-balancer".into()), cidr("fd00::/122")),
            "/calico/ipam/v2/virtual/load-balancer/ipv6/block/fd00::-122",
        ),
        (Key::Handle("k8s-pod-network.0F9c".into()), "/calico/ipam/v2/handle/k8s-pod-network.0F9c"),
        (Key::IpamConfig, "/calico/ipam/v2/config"),
        (Key::IpamHost("node-1".into()), "/calico/ipam/v2/host/node-1"),
    ] {
        assert_eq!(key.path(), path);
        assert_eq!(Key::parse(path), Some(key));
        assert!(path.starts_with(ROOT));
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    for path in [
        "",
        "/other/key",
        "/calico/felix/v2/no-region/host/n/status",
        "/calico/resources/v3/projectcalico.org/ippools/",
        "/calico/resources/v3/projectcalico.org/unknownkinds/a",
        "/calico/resources/v3/projectcalico.org/ippools/a/b",
        "/calico/resources/v3/projectcalico.org/networkpolicies/a",
        "/calico/resources/v3/projectcalico.org/networkpolicies//a",
        "/calico/ipam/v2/assignment/ipv6/block/10.0.0.0-26",
        "/calico/ipam/v2/assignment/ipv4/block/10.0.0.1-26",
        "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0",
        "/calico/ipam/v2/handle/",
        "/calico/ipam/v2/host/",
        "/calico/ipam/v2/virtual/x",
        "/calico/ipam/v2/host/n/ipv5/block/10.0.0.0-26",
        "/calico/ipam/v2/elsewhere/x",
    ] {
        assert_eq!(Key::parse(path), None, "{path}");
    }
}

#[test]
fn escapes_are_read_but_not_written() {
    let key = Key::parse("/calico/resources/v3/projectcalico.org/nodes/a%2fb%25c").unwrap();
    assert_eq!(key, Key::resource(Kind::Node, "", "a/b%c"));
}

#[test]
fn prefixes_end_where_names_begin() {
    assert_eq!(resource_prefix(Kind::Node, Some("x")), "/calico/resources/v3/projectcalico.org/nodes/");
    assert_eq!(
        resource_prefix(Kind::NetworkSet, Some("x")),
        "/calico/resources/v3/projectcalico.org/networksets/x/"
    );
    assert_eq!(
        resource_prefix(Kind::NetworkSet, None),
        "/calico/resources/v3/projectcalico.org/networksets/"
    );
    let owner = Owner::Host("n".into());
    let block = cidr("10.0.0.0/26");
    assert!(Key::Affinity(owner.clone(), block).path().starts_with(&affinity_prefix(&owner, Family::V4)));
    assert!(Key::Affinity(owner, block).path().starts_with(&host_affinities_prefix()));
    assert!(Key::Block(block).path().starts_with(&block_prefix(Family::V4)));
    assert!(Key::Handle("h".into()).path().starts_with(&handle_prefix()));
}

#[test]
fn owners_of_blocks() {
    for (owner, text) in
        [(Owner::Host("a:b".into()), "host:a:b"), (Owner::Virtual("lb".into()), "virtual:lb")]
    {
        assert_eq!(owner.affinity_text(), text);
        assert_eq!(Owner::parse_affinity(text), Some(owner));
    }
    assert_eq!(Owner::Host("n".into()).name(), "n");
    for bad in ["", "host", "host:", "virtual:", "pod:x"] {
        assert_eq!(Owner::parse_affinity(bad), None, "{bad}");
    }
}

fn any_owner() -> impl Strategy<Value = Owner> {
    let name = "[A-Za-z0-9._-]{1,12}";
    prop_oneof![name.prop_map(Owner::Host), name.prop_map(Owner::Virtual)]
}

fn any_block() -> impl Strategy<Value = Cidr> {
    prop_oneof![
        (any::<u32>(), 20u8..=32)
            .prop_map(|(bits, prefix)| Cidr::new(bits.to_be_bytes().into(), prefix).unwrap()),
        (any::<u128>(), 116u8..=128)
            .prop_map(|(bits, prefix)| Cidr::new(bits.to_be_bytes().into(), prefix).unwrap()),
    ]
}

fn any_key() -> impl Strategy<Value = Key> {
    let name = "[a-z0-9][a-z0-9.-]{0,12}";
    prop_oneof![
        (prop::sample::select(Kind::ALL), name, name)
            .prop_map(|(kind, ns, name)| Key::resource(kind, &ns, &name)),
        any_block().prop_map(Key::Block),
        (any_owner(), any_block()).prop_map(|(owner, block)| Key::Affinity(owner, block)),
        "[!-~]{1,20}".prop_map(Key::Handle),
        any_owner().prop_map(|owner| Key::IpamHost(owner.name().to_owned())),
        Just(Key::IpamConfig),
    ]
}

proptest! {
    #[test]
    fn every_key_reads_back(key in any_key()) {
        prop_assert_eq!(Key::parse(&key.path()), Some(key));
    }

    #[test]
    fn no_two_keys_share_a_path(a in any_key(), b in any_key()) {
        prop_assert_eq!(a.path() == b.path(), a == b);
    }

    #[test]
    fn no_path_panics(tail in "[a-z0-9/%:.-]{0,40}") {
        for root in ["", ROOT, RESOURCES, IPAM, "/calico/ipam/v2/host/"] {
            let _ = Key::parse(&format!("{root}{tail}"));
        }
    }
}

use super::*;
use crate::version::Version;
use proptest::prelude::*;

fn prefixed(text: &str) -> Prefixed {
    Prefixed::parse(text).unwrap()
}

/// What `dual-stack` of the recordings gets.
fn dual_stack() -> CniResult {
    let (v4, v6) = (prefixed("10.65.0.240/32"), prefixed("fd5f:64::94fa:7820:5b81:7500/128"));
    CniResult {
        interfaces: vec![
            Interface { name: "calipod1-012345".into(), ..Interface::default() },
            Interface {
                name: "eth0".into(),
                mac: "8a:c2:6e:b8:a8:45".into(),
                mtu: 1432,
                sandbox: "/var/run/netns/pod1".into(),
            },
        ],
        ips: vec![
            IpConfig { interface: Some(1), address: v4, gateway: None },
            IpConfig { interface: Some(1), address: v6, gateway: None },
        ],
        routes: vec![
            RouteEntry { dst: prefixed("10.65.0.240/28"), gw: None },
            RouteEntry { dst: prefixed("fd5f:64::94fa:7820:5b81:7500/122"), gw: None },
        ],
        dns: Dns::default(),
    }
}

#[test]
fn version_1_0_0_byte_for_byte() {
    let expected = r#"{
    "cniVersion": "1.0.0",
    "interfaces": [
        {
            "name": "calipod1-012345"
        },
        {
            "mac": "8a:c2:6e:b8:a8:45",
            "mtu": 1432,
            "name": "eth0",
            "sandbox": "/var/run/netns/pod1"
        }
    ],
    "ips": [
        {
            "address": "10.65.0.240/32",
            "interface": 1
        },
        {
            "address": "fd5f:64::94fa:7820:5b81:7500/128",
            "interface": 1
        }
    ],
    "routes": [
        {
            "dst": "10.65.0.240/28"
        },
        {
            "dst": "fd5f:64::94fa:7820:5b81:7500/122"
        }
    ]
}"#;
    assert_eq!(dual_stack().to_json(Version::V100), expected);
}

#[test]
fn versions_0_3_0_to_0_4_0_byte_for_byte() {
    let expected = r#"{
    "cniVersion": "0.3.1",
    "interfaces": [
        {
            "name": "calipod1-012345"
        },
        {
            "name": "eth0",
            "mac": "8a:c2:6e:b8:a8:45",
            "sandbox": "/var/run/netns/pod1"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 1,
            "address": "10.65.0.240/32"
        },
        {
            "version": "6",
            "interface": 1,
            "address": "fd5f:64::94fa:7820:5b81:7500/128"
        }
    ],
    "routes": [
        {
            "dst": "10.65.0.240/28"
        },
        {
            "dst": "fd5f:64::94fa:7820:5b81:7500/122"
        }
    ],
    "dns": {}
}"#;
    for version in [Version::V030, Version::V031, Version::V040] {
        assert_eq!(dual_stack().to_json(version), expected.replace("0.3.1", version.text()));
    }
}

#[test]
fn versions_0_1_0_and_0_2_0_byte_for_byte() {
    let expected = r#"{
    "cniVersion": "0.1.0",
    "ip4": {
        "ip": "10.65.0.240/32",
        "routes": [
            {
                "dst": "10.65.0.240/28"
            }
        ]
    },
    "ip6": {
        "ip": "fd5f:64::94fa:7820:5b81:7500/128",
        "routes": [
            {
                "dst": "fd5f:64::94fa:7820:5b81:7500/122"
            }
        ]
    },
    "dns": {}
}"#;
    for version in [Version::V010, Version::V020] {
        assert_eq!(dual_stack().to_json(version), expected.replace("0.1.0", version.text()));
    }
}

#[test]
fn nothing_given() {
    let result = CniResult::default();
    assert_eq!(result.to_json(Version::V100), "{\n    \"cniVersion\": \"1.0.0\"\n}");
    assert_eq!(result.to_json(Version::V031), "{\n    \"cniVersion\": \"0.3.1\",\n    \"dns\": {}\n}");
    assert_eq!(result.to_json(Version::V020), "{\n    \"cniVersion\": \"0.2.0\",\n    \"dns\": {}\n}");
}

#[test]
fn the_result_of_host_local() {
    let bytes = br#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.70.0.2/24","gateway":"10.70.0.1"}],
        "routes":[{"dst":"192.168.0.0/16","gw":"10.70.0.1"}],"dns":{"nameservers":["1.1.1.1"],"domain":"a.b"}}"#;
    let result = CniResult::from_json(bytes, Version::V010).unwrap();
    assert_eq!(result.ips[0].gateway, Some("10.70.0.1".parse().unwrap()));
    assert_eq!(result.routes[0].gw, Some("10.70.0.1".parse().unwrap()));
    assert_eq!(result.dns.nameservers, ["1.1.1.1"]);
    let old = CniResult::from_json(
        br#"{"ip4":{"ip":"10.0.0.1/24","gateway":"10.0.0.254","routes":[{"dst":"0.0.0.0/0"}]}}"#,
        Version::V020,
    )
    .unwrap();
    assert_eq!(old.ips[0].address.to_string(), "10.0.0.1/24");
    assert_eq!(old.routes.len(), 1);
}

#[test]
fn results_that_cannot_be_used() {
    for (bytes, message) in [
        ("", "result is not JSON: EOF while parsing a value at line 1 column 0"),
        ("[]", "result is not JSON: expected an object"),
        (r#"{"cniVersion":"7.0.0"}"#, "unsupported CNI result version \"7.0.0\""),
        (
            r#"{"ips":[{"address":"10.0.0.1"}]}"#,
            "result: ips[0].address: expected an address with its prefix length such as 10.0.0.1/32, found text \"10.0.0.1\"",
        ),
        (
            r#"{"ips":[{}]}"#,
            "result: ips[0].address: expected an address with its prefix length such as 10.0.0.1/32, found nothing",
        ),
        (
            r#"{"ips":[{"address":"10.0.0.1/32","gateway":"x"}]}"#,
            "result: ips[0].gateway: expected an address such as 10.0.0.1, found text \"x\"",
        ),
        (r#"{"dns":5}"#, "result: dns: expected an object, found number 5"),
    ] {
        assert_eq!(CniResult::from_json(bytes.as_bytes(), Version::V100).unwrap_err().to_string(), message);
    }
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|n| IpAddr::from(n.to_be_bytes())),
        any::<u128>().prop_map(|n| IpAddr::from((n | 1 << 127).to_be_bytes())),
    ]
}

fn any_prefixed() -> impl Strategy<Value = Prefixed> {
    (any_ip(), 0u8..=128)
        .prop_map(|(addr, prefix)| Prefixed { addr, prefix: prefix.min(family_of(addr).bits()) })
}

prop_compose! {
    fn any_result()(
        interfaces in proptest::collection::vec(("[a-z]{1,8}", "[0-9a-f:]{0,5}", 0u32..2000, "(/[a-z]{1,4})?"), 0..3),
        ips in proptest::collection::vec((proptest::option::of(0i64..3), any_prefixed(), proptest::option::of(any_ip())), 0..4),
        routes in proptest::collection::vec((any_prefixed(), proptest::option::of(any_ip())), 0..3),
        nameservers in proptest::collection::vec("[0-9.]{1,4}", 0..2),
        domain in "[a-z.]{0,4}",
    ) -> CniResult {
        CniResult {
            interfaces: interfaces.into_iter().map(|(name, mac, mtu, sandbox)| Interface { name, mac, mtu, sandbox }).collect(),
            ips: ips.into_iter().map(|(interface, address, gateway)| IpConfig { interface, address, gateway }).collect(),
            routes: routes.into_iter().map(|(dst, gw)| RouteEntry { dst, gw }).collect(),
            dns: Dns { nameservers, domain, search: Vec::new(), options: vec!["x".into()] },
        }
    }
}

proptest! {
    #[test]
    fn what_a_version_can_say_survives(result in any_result()) {
        let read = |version: Version| CniResult::from_json(result.to_json(version).as_bytes(), version).unwrap();
        prop_assert_eq!(&read(Version::V100), &result);
        let mut middle = result.clone();
        middle.interfaces.iter_mut().for_each(|i| i.mtu = 0);
        prop_assert_eq!(read(Version::V040), middle);
        for version in [Version::V010, Version::V020] {
            let old = read(version);
            prop_assert!(old.interfaces.is_empty() && old.ips.len() <= 2);
            prop_assert_eq!(&old.dns, &result.dns);
            for family in [Family::V4, Family::V6] {
                let first = |ips: &[IpConfig]| {
                    ips.iter().find(|ip| ip.address.family() == family).map(|ip| (ip.address, ip.gateway))
                };
                prop_assert_eq!(first(&old.ips), first(&result.ips));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        for version in [Version::V010, Version::V100] {
            let _ = CniResult::from_json(&bytes, version);
        }
    }

    #[test]
    fn any_json_is_read_or_refused(
        key in "(cniVersion|ips|ip4|interfaces|routes|dns)",
        value in "(null|1|\"0.2.0\"|\"x\"|\\[\\]|\\{\\}|\\[\\{\\}\\]|\\[1\\]|\\{\"ip\":\"10.0.0.1/8\",\"routes\":\\[\\{\"dst\":\"::/0\"\\}\\]\\})",
    ) {
        let text = format!("{{\"{key}\":{value}}}");
        for version in [Version::V010, Version::V100] {
            let _ = CniResult::from_json(text.as_bytes(), version);
        }
    }
}

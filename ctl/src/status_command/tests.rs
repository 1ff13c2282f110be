use super::*;
use observe::proto::Part;

fn part(name: &str, ready: bool, reason: &str) -> Part {
    Part { name: name.into(), live: true, ready, reason: reason.into(), age_ms: 2000 }
}

fn told() -> Told {
    let felix = Felix {
        node: "node-1".into(),
        uptime_ms: 125_000,
        source: "etcd".into(),
        in_sync: true,
        known_revision: 812,
        enforced_revision: 812,
        endpoints_up: 3,
        endpoints_error: 1,
        endpoints_not_up: vec!["WorkloadEndpoint shop/web: error".into()],
        objects: vec!["GlobalNetworkPolicy l7: spec.ingress[0].http is not enforced".into()],
        configuration: vec!["BPFEnabled has no effect".into()],
        refused: vec!["set x: too many".into()],
        store_since_ms: 120_000,
        backend: "iptables (nft)".into(),
        backend_reason: "NFTablesMode is Disabled".into(),
        ..Felix::default()
    };
    let speaker = Speaker {
        node: "node-1".into(),
        local_as: 64512,
        router_id: "192.0.2.11".into(),
        destinations: 5,
        warnings: vec!["BGPPeer p: no such secret".into()],
        ..Speaker::default()
    };
    let peer = Peer {
        name: "Mesh_192_0_2_12".into(),
        address: "192.0.2.12".into(),
        state: "Established".into(),
        ..Peer::default()
    };
    Told {
        health: HealthResponse {
            live: true,
            ready: true,
            parts: vec![part("bgpd", true, ""), part("part cni", true, "")],
        },
        felix: Ok(felix),
        bgp: Ok((speaker, vec![peer])),
    }
}

#[test]
fn one_page_has_it_all() {
    let text = page::text(&told());
    for line in [
        "node:       node-1, up for 2m5s, ready",
        "store:      etcd, answers for 2m0s, at revision 812",
        "dataplane:  iptables (nft): NFTablesMode is Disabled",
        "routes:     BGP, AS 64512, router ID 192.0.2.11, 5 destinations",
        "enforces:   what the datastore held at revision 812",
        "endpoint:   WorkloadEndpoint shop/web: error",
        "object:     GlobalNetworkPolicy l7: spec.ingress[0].http is not enforced",
        "parameter:  BPFEnabled has no effect",
        "kernel:     refuses set x: too many",
        "warning:    BGPPeer p: no such secret",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(text.contains("part cni   yes    yes     2s ago"), "{text}");
    assert!(text.contains("Mesh_192_0_2_12   192.0.2.12"), "{text}");
    let value = page::json(&told());
    assert_eq!(value["node"], "node-1");
    assert_eq!(value["store"]["reachable"], true);
    assert_eq!(value["store"]["revision"], 812);
    assert_eq!(value["parts"][1]["name"], "part cni");
    assert_eq!(value["sessions"][0]["state"], "Established");
    assert_eq!(value["policy"]["endpointsNotUp"][0], "WorkloadEndpoint shop/web: error");
    assert_eq!(value["bgp"]["warnings"][0], "BGPPeer p: no such secret");
}

#[test]
fn a_snapshot_in_the_place_of_the_store_is_told() {
    let mut told = told();
    if let Ok(felix) = &mut told.felix {
        felix.store_trouble = "connection refused".into();
        felix.store_since_ms = 12_000;
        felix.snapshot = Some(felix::proto::Snapshot { revision: 812, written_ms: 1_700_000_000_999 });
        felix.snapshot_trouble = "/x cannot be written: no space".into();
    }
    let text = page::text(&told);
    for line in [
        "store:      etcd, from the snapshot of 2023-11-14T22:13:20Z, revision 812; the store is unreachable for 12s: connection refused",
        "enforces:   what the datastore had held at revision 812",
        "snapshot:   /x cannot be written: no space",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    let value = page::json(&told);
    assert_eq!(value["store"]["snapshot"]["revision"], 812);
    assert_eq!(value["store"]["snapshot"]["written"], "2023-11-14T22:13:20.999Z");
}

#[test]
fn what_is_away_is_told_with_its_reason() {
    let mut told = told();
    if let Ok(felix) = &mut told.felix {
        felix.store_trouble = "connection refused".into();
        felix.store_since_ms = 12_000;
    }
    told.bgp = Err("no socket".into());
    told.health.ready = false;
    told.health.parts =
        vec![Part { age_ms: u64::MAX, ..part("part bgpd", false, "down, is started again: it panicked") }];
    let text = page::text(&told);
    for line in [
        "node:       node-1, up for 2m5s, not ready (part bgpd)",
        "store:      etcd, away for 12s: connection refused; what revision 812 held stays in force",
        "routes:     the BGP speaker does not answer: no socket",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(text.contains("never      down, is started again: it panicked"), "{text}");
    let value = page::json(&told);
    assert_eq!(value["store"]["reachable"], false);
    assert_eq!(value["bgp"]["error"], "no socket");
    assert!(value["parts"][0]["reportedMsAgo"].is_null() && value["sessions"].is_null(), "{value}");

    told.health.parts.clear();
    assert!(page::text(&told).contains("routes:     no BGP here"), "{}", page::text(&told));
    told.felix = Err("no socket".into());
    assert!(page::text(&told).contains("policy:     does not answer: no socket"));
}

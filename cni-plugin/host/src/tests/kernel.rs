//! What ADD makes of the two namespaces.

use crate::testing::{Node, message};
use kernel::{Kernel, LinkRef, Op, RouteFilter, Scope, VethPair};
use serde_json::json;
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn both_ends_of_a_dual_stack_workload() {
    let node = Node::new().await;
    let container = node.container("pod1-0123456789abcdef");
    let mut conf = node.dual();
    conf["mtu"] = json!(1432);
    let result = node.add("pod1-0123456789abcdef", &conf).await;
    let address = |n: usize| ip(result["ips"][n]["address"].as_str().unwrap().split('/').next().unwrap());
    let host = node.world.host();
    let ours = host.link("calipod1-012345").await.unwrap().unwrap();
    assert_eq!(
        (ours.up, ours.mtu, ours.mac.unwrap().to_string().as_str()),
        (true, 1432, "ee:ee:ee:ee:ee:ee")
    );
    let theirs = container.link("eth0").await.unwrap().unwrap();
    assert_eq!((theirs.up, theirs.mtu), (true, 1432));
    assert_eq!(theirs.mac.unwrap().to_string(), result["interfaces"][1]["mac"]);

    let mut addresses = Vec::new();
    for found in container.addresses(Some(theirs.index)).await.unwrap() {
        if found.scope != Scope::Link {
            addresses.push(found.net.to_string());
        }
    }
    assert_eq!(addresses, [format!("{}/32", address(0)), format!("{}/128", address(1))]);

    let mut routes: Vec<String> = Vec::new();
    for route in container.routes(RouteFilter { table: Some(254), ..RouteFilter::default() }).await.unwrap() {
        if route.protocol == 3 {
            let gateway =
                route.next_hops[0].gateway.map_or(String::new(), |gateway| format!(" via {gateway}"));
            routes.push(format!("{}{gateway}", route.dst));
        }
    }
    routes.sort();
    assert_eq!(routes, ["0.0.0.0/0 via 169.254.1.1", "169.254.1.1/32", "::/0 via fe80::ecee:eeff:feee:eeee"]);

    let mut neighbours: Vec<(String, bool, String)> = container
        .neighbours(Some(theirs.index))
        .await
        .unwrap()
        .into_iter()
        .map(|entry| (entry.addr.to_string(), entry.permanent, entry.mac.unwrap().to_string()))
        .collect();
    neighbours.sort();
    let permanent = |addr: &str| (addr.to_owned(), true, "ee:ee:ee:ee:ee:ee".to_owned());
    assert_eq!(neighbours, [permanent("169.254.1.1"), permanent("fe80::ecee:eeff:feee:eeee")]);

    for (n, family, scope, metric) in [(0, 4, Scope::Link, None), (1, 6, Scope::Universe, Some(1024))] {
        let filter = RouteFilter { family: Some(family), protocol: Some(3), ..RouteFilter::default() };
        let routes = host.routes(filter).await.unwrap();
        assert_eq!(routes.len(), 1, "{routes:?}");
        assert_eq!(routes[0].dst.addr, address(n));
        assert_eq!(routes[0].next_hops[0].link, Some(ours.index));
        assert_eq!((routes[0].scope, routes[0].table), (scope, 254));
        assert!(routes[0].metric == metric || routes[0].metric.is_none(), "{routes:?}");
    }
}

#[tokio::test]
async fn parameters_by_family() {
    for (ipam, v4, v6) in [
        (json!({"type": "calico-ipam"}), true, false),
        (json!({"type": "calico-ipam", "assign_ipv4": "false", "assign_ipv6": "true"}), false, true),
        (json!({"type": "calico-ipam", "assign_ipv6": "true"}), true, true),
    ] {
        let node = Node::new().await;
        let container = node.container("c1");
        for (key, value) in
            [("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1")]
        {
            container.set_sysctls(vec![(key.into(), value.into())]).await;
        }
        let mut conf = node.conf();
        conf["ipam"] = ipam;
        conf["container_settings"] = json!({"allow_ip_forwarding": true});
        node.add("c1", &conf).await;
        let host = node.world.host();
        let number = |set: bool| if set { "1" } else { "0" };
        for (key, value) in [
            ("net/ipv4/conf/calic1/route_localnet", number(v4)),
            ("net/ipv4/conf/calic1/proxy_arp", number(v4)),
            ("net/ipv4/conf/calic1/forwarding", number(v4)),
            ("net/ipv4/neigh/calic1/proxy_delay", if v4 { "0" } else { "80" }),
            ("net/ipv6/conf/calic1/accept_dad", number(!v6)),
            ("net/ipv6/conf/calic1/proxy_ndp", number(v6)),
            ("net/ipv6/conf/calic1/forwarding", number(v6)),
            ("net/ipv6/conf/calic1/accept_ra", "0"),
        ] {
            assert_eq!(host.sysctl(key).await.unwrap(), value, "{key}, {v4} {v6}");
        }
        for (key, value) in [
            ("net/ipv4/ip_forward", number(v4)),
            ("net/ipv6/conf/all/forwarding", number(v6)),
            ("net/ipv6/conf/all/disable_ipv6", number(!v6)),
            ("net/ipv6/conf/default/disable_ipv6", number(!v6)),
        ] {
            assert_eq!(container.sysctl(key).await.unwrap(), value, "{key}, {v4} {v6}");
        }
    }
}

#[tokio::test]
async fn a_warning_is_no_failure_and_a_failure_is_named() {
    let node = Node::new().await;
    node.container("c1");
    for key in ["calic1/proxy_delay", "calic1/accept_ra"] {
        node.world.plan(kernel::memory::Fault::on_sysctl(key, "Permission denied"));
    }
    node.add("c1", &node.conf()).await;
    node.container("c2");
    node.world.plan(kernel::memory::Fault::on_sysctl("calic2/proxy_arp", "Permission denied"));
    let refusal = node.refusal("ADD", "c2", &node.conf()).await;
    assert!(
        refusal.contains("net/ipv4/conf/calic2/proxy_arp") && refusal.contains("Permission denied"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_link_of_an_earlier_try_is_replaced() {
    let node = Node::new().await;
    node.container("old");
    node.container("c1");
    let old = node.world.add("/var/run/netns/other").unwrap();
    let pair = VethPair {
        name: "calic1".into(),
        peer_name: "eth0".into(),
        peer_netns: Some(old.netns().clone()),
        queues: 1,
        ..VethPair::default()
    };
    node.world.host().apply(vec![Op::AddVeth(pair)], true).await;
    node.add("c1", &node.conf()).await;
    assert_eq!(old.link("eth0").await.unwrap(), None);
}

#[tokio::test]
async fn an_interface_that_is_there_already_is_not_touched() {
    let node = Node::new().await;
    let container = node.container("c1");
    let pair = VethPair { name: "eth0".into(), peer_name: "x0".into(), queues: 1, ..VethPair::default() };
    container.apply(vec![Op::AddVeth(pair)], true).await;
    let before = container.links().await.unwrap();
    let refusal = node.refusal("ADD", "c1", &node.conf()).await;
    assert_eq!(refusal, "cannot make interface eth0 in /var/run/netns/c1: file exists");
    assert_eq!(container.links().await.unwrap(), before);
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_namespace_that_is_not_there() {
    let node = Node::new().await;
    assert_eq!(
        node.refusal("ADD", "nosuch", &node.conf()).await,
        r#"failed to Statfs "/var/run/netns/nosuch": no such file or directory"#
    );
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_route_of_somebody_else_is_not_taken_over() {
    let node = Node::new().await;
    for name in ["c1", "c2"] {
        node.container(name);
    }
    let first = node.add("c1", &node.conf()).await;
    let taken = ip(first["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap());
    // The address is given away although c1 still has its route.
    let ipam = ipam::Ipam::new(node.client.store().clone());
    ipam.release_by_handle("net-a.c1").await.unwrap();
    let asked = format!("IP={taken}");
    let output = node
        .call_with(cni_protocol::Program::Calico, "ADD", "c2", &node.conf(), &[("CNI_ARGS", &asked)])
        .await;
    let refusal = message(&output);
    assert!(
        refusal.contains(&format!("Dst: {taken}/32) already exists for an interface other than 'calic2'")),
        "{refusal}"
    );
    let links: Vec<String> =
        node.world.host().links().await.unwrap().into_iter().map(|link| link.name).collect();
    assert!(links.contains(&"calic1".to_owned()) && !links.contains(&"calic2".to_owned()), "{links:?}");
    let del = Op::DelLink(LinkRef::Name("calic1".into()));
    node.world.host().apply(vec![del], true).await;
}

//! What callers rely on, of either kernel.

use super::*;
use crate::{EventGroups, KernelEvent, Neighbour, RouteFilter};
use futures::StreamExt;
use std::time::Duration;

#[test]
fn a_veth_pair_appears_at_once_in_both_namespaces() {
    on_both(|rig| async move {
        let pair = VethPair {
            mac: Some(Mac([0xee; 6])),
            peer_mac: Some("0a:0b:0c:0d:0e:0f".parse().unwrap()),
            mtu: 1410,
            queues: 2,
            ..veth("cali0123456789a", "eth0", Some(rig.b.netns()))
        };
        ok(&rig.a, vec![Op::AddVeth(pair)]).await;
        let (near, far) = (find(&rig.a, "cali0123456789a").await, find(&rig.b, "eth0").await);
        assert_eq!((near.mac, near.mtu, near.kind.as_str()), (Some(Mac([0xee; 6])), 1410, "veth"));
        assert_eq!((far.mac, far.mtu, far.kind.as_str()), ("0a:0b:0c:0d:0e:0f".parse().ok(), 1410, "veth"));
        assert_eq!((near.peer, far.peer), (Some(far.index), Some(near.index)));
        assert!(!near.up && !far.up && !near.carrier && !far.carrier);
        assert_eq!(rig.a.link("eth0").await.unwrap(), None);
        let names: Vec<String> = rig.a.links().await.unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["lo", "cali0123456789a"]);
    });
}

#[test]
fn who_makes_a_pair_is_told_of_it() {
    on_both(|rig| async move {
        let pair = |near: &str, far: &str, up| VethPair { up, ..veth(near, far, Some(rig.b.netns())) };
        for (near, far, up) in [("a", "x", false), ("b", "y", true)] {
            let told = rig.a.create(Op::AddVeth(pair(near, far, up))).await.unwrap().unwrap();
            let found = (find(&rig.a, near).await, find(&rig.b, far).await);
            assert_eq!(told, found.0, "{near}");
            assert_eq!((told.peer, told.up, found.1.up), (Some(found.1.index), up, false), "{near}");
        }
        let taken = rig.a.create(Op::AddVeth(pair("c", "x", true))).await.unwrap_err();
        assert!(taken.is_there(), "{taken}");
        assert_eq!(rig.a.link("c").await.unwrap(), None);
        let other = rig.a.create(Op::up("a")).await.unwrap_err();
        assert!(matches!(other, KernelError::Invalid { .. }), "{other}");
        assert!(!find(&rig.a, "a").await.up, "it was carried out all the same");
    });
}

#[test]
fn both_ends_of_a_pair_go_together() {
    on_both(|rig| async move {
        ok(&rig.a, vec![Op::AddVeth(veth("near", "far", Some(rig.b.netns())))]).await;
        ok(&rig.b, vec![Op::DelLink(LinkRef::Name("far".into()))]).await;
        assert_eq!(rig.a.link("near").await.unwrap(), None);
        assert_eq!(errno(&rig.a, Op::DelLink(LinkRef::Name("near".into()))).await, Errno::ENODEV);
        assert_eq!(errno(&rig.a, Op::DelLink(LinkRef::Index(4711))).await, Errno::ENODEV);
        assert_eq!(errno(&rig.a, Op::DelLink(LinkRef::Name("lo".into()))).await, Errno::EOPNOTSUPP);
    });
}

#[test]
fn taken_names_are_refused_in_either_namespace() {
    on_both(|rig| async move {
        ok(&rig.a, vec![Op::AddVeth(veth("x", "y", Some(rig.b.netns())))]).await;
        assert_eq!(errno(&rig.a, Op::AddVeth(veth("x", "z", Some(rig.b.netns())))).await, Errno::EEXIST);
        assert_eq!(errno(&rig.a, Op::AddVeth(veth("w", "y", Some(rig.b.netns())))).await, Errno::EEXIST);
        assert_eq!(errno(&rig.a, Op::AddVeth(veth("w", "w", None))).await, Errno::EEXIST);
        assert_eq!(rig.a.link("w").await.unwrap(), None);
    });
}

#[test]
fn links_put_aside_free_their_name_and_go_as_a_group() {
    on_both(|rig| async move {
        let (first, _) = rig.pair("cali1", "eth0").await;
        let aside =
            |link: &Link, name: &str| Op::PutAside { link: link.index, name: name.into(), group: 4242 };
        assert_eq!(errno(&rig.a, Op::DelGroup(4242)).await, Errno::ENODEV);
        ok(&rig.a, vec![Op::down("cali1"), aside(&first, "gone-1")]).await;
        assert_eq!(find(&rig.a, "gone-1").await.index, first.index);
        assert_eq!(rig.a.link("cali1").await.unwrap(), None);
        assert!(rig.a.sysctl("net/ipv4/conf/gone-1/forwarding").await.is_ok());
        // the name is free for another
        let (second, _) = rig.pair("cali1", "eth1").await;
        assert_ne!(second.index, first.index);
        assert_eq!(errno(&rig.a, aside(&second, "gone-1")).await, Errno::EEXIST);
        ok(&rig.a, vec![Op::down("cali1"), aside(&second, "gone-2"), Op::DelGroup(4242)]).await;
        for name in ["gone-1", "gone-2", "cali1"] {
            assert_eq!(rig.a.link(name).await.unwrap(), None, "{name}");
        }
        assert_eq!(rig.b.link("eth0").await.unwrap(), None);
        let nobody = Op::PutAside { link: 4711, name: "gone-3".into(), group: 4242 };
        assert_eq!(errno(&rig.a, nobody).await, Errno::ENODEV);
        assert!(find(&rig.a, "lo").await.index > 0, "those of other groups stay");
    });
}

#[test]
fn links_are_changed_in_place() {
    on_both(|rig| async move {
        ok(&rig.a, vec![Op::AddVeth(veth("x", "y", Some(rig.b.netns())))]).await;
        let change = |link, up, mac, mtu, alias: Option<&str>| Op::SetLink {
            link,
            up,
            mac,
            mtu,
            alias: alias.map(str::to_string),
        };
        let by_name = LinkRef::Name("x".into());
        let mac = Some(Mac([0xee; 6]));
        ok(&rig.a, vec![change(by_name.clone(), Some(true), mac, Some(1300), Some("for pod a/b"))]).await;
        let link = find(&rig.a, "x").await;
        assert_eq!((link.up, link.carrier, link.mac, link.mtu), (true, false, mac, 1300));
        assert_eq!(link.alias.as_deref(), Some("for pod a/b"));
        ok(&rig.a, vec![change(LinkRef::Index(link.index), None, None, None, Some(""))]).await;
        let link = find(&rig.a, "x").await;
        assert_eq!((link.up, link.mac, link.mtu, link.alias), (true, mac, 1300, None));
        ok(&rig.b, vec![Op::up("y")]).await;
        assert!(find(&rig.a, "x").await.carrier);
        ok(&rig.b, vec![Op::down("y")]).await;
        let link = find(&rig.a, "x").await;
        assert!(link.up && !link.carrier);
        assert_eq!(errno(&rig.a, Op::up("none")).await, Errno::ENODEV);
        assert_eq!(errno(&rig.a, change(by_name.clone(), None, None, Some(20), None)).await, Errno::EINVAL);
        let multicast = Some(Mac([1, 2, 3, 4, 5, 6]));
        assert_eq!(errno(&rig.a, change(by_name, None, multicast, None, None)).await, Errno::EADDRNOTAVAIL);
    });
}

#[test]
fn a_netkit_pair_is_one_or_is_refused_as_unknown() {
    on_both(|rig| async move {
        let pair = veth("cali1", "eth0", Some(rig.b.netns()));
        let result = rig.a.apply(vec![Op::AddNetkit(pair)], true).await.remove(0);
        match result {
            Ok(()) => {
                assert_eq!(find(&rig.a, "cali1").await.kind, "netkit");
                assert_eq!(find(&rig.b, "eth0").await.kind, "netkit");
            }
            Err(error) => {
                assert!(rig.real, "the kernel in memory knows netkit");
                assert_eq!(error.errno(), Some(Errno::EOPNOTSUPP as i32), "{error}");
                assert!(error.to_string().contains("netkit pair cali1 and eth0"), "{error}");
            }
        }
    });
}

#[test]
fn the_host_end_gets_the_link_local_address_of_its_hardware_address() {
    on_both(|rig| async move {
        let pair = VethPair { mac: Some(Mac([0xee; 6])), ..veth("cali1", "eth0", Some(rig.b.netns())) };
        ok(&rig.a, vec![Op::AddVeth(pair)]).await;
        let index = find(&rig.a, "cali1").await.index;
        let groups = EventGroups { addresses: true, ..EventGroups::default() };
        let mut events = rig.a.events(groups).await.unwrap();
        ok(&rig.a, vec![Op::up("cali1")]).await;
        ok(&rig.b, vec![Op::up("eth0")]).await;
        let wait = async {
            while let Some(event) = events.next().await {
                if let KernelEvent::Address(address) = event
                    && address.link == index
                {
                    return address;
                }
            }
            panic!("events end");
        };
        let address = tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
        assert_eq!(address.net, net("fe80::ecee:eeff:feee:eeee/64"));
        assert_eq!(address.scope, Scope::Link);
        assert!(rig.a.addresses(Some(index)).await.unwrap().iter().any(|known| known.net == address.net));
    });
}

#[test]
fn addresses_are_added_without_duplicate_detection() {
    on_both(|rig| async move {
        let (near, far) = rig.pair("x", "y").await;
        let link = far.index;
        let add = |text| Op::AddAddress { link, net: net(text), nodad: true };
        let del = |text| Op::DelAddress { link, net: net(text) };
        ok(&rig.b, vec![add("10.0.0.5/32"), add("2001:db8::5/128")]).await;
        let found = rig.b.addresses(Some(link)).await.unwrap();
        for expected in ["10.0.0.5/32", "2001:db8::5/128"] {
            let address = found.iter().find(|a| a.net == net(expected)).unwrap();
            assert_eq!((address.scope, address.tentative), (Scope::Universe, false), "{expected}");
        }
        assert_eq!(errno(&rig.b, add("10.0.0.5/32")).await, Errno::EEXIST);
        assert_eq!(errno(&rig.b, add("2001:db8::5/128")).await, Errno::EEXIST);
        assert_eq!(errno(&rig.b, del("10.0.0.6/32")).await, Errno::EADDRNOTAVAIL);
        assert_eq!(errno(&rig.b, del("2001:db8::6/128")).await, Errno::EADDRNOTAVAIL);
        assert_eq!(
            errno(&rig.b, Op::AddAddress { link: 4711, net: net("10.0.0.1/32"), nodad: true }).await,
            Errno::ENODEV
        );
        ok(&rig.b, vec![del("10.0.0.5/32"), del("2001:db8::5/128")]).await;
        let left = rig.b.addresses(Some(link)).await.unwrap();
        assert!(left.iter().all(|a| a.scope == Scope::Link), "{left:?}");
        assert_eq!(rig.a.addresses(Some(4711)).await.unwrap(), []);
        let _ = near;
    });
}

#[test]
fn a_container_gets_its_gateway_on_link_first() {
    on_both(|rig| async move {
        let (_, far) = rig.pair("cali1", "eth0").await;
        let link = far.index;
        ok(&rig.b, vec![Op::AddAddress { link, net: net("10.0.0.5/32"), nodad: true }]).await;
        let default = via("0.0.0.0/0", "169.254.1.1", link);
        assert_eq!(errno(&rig.b, Op::AddRoute(default.clone())).await, Errno::ENETUNREACH);
        let gateway = on_link("169.254.1.1/32", link);
        ok(&rig.b, vec![Op::AddRoute(gateway.clone()), Op::AddRoute(default.clone())]).await;
        assert_eq!(errno(&rig.b, Op::AddRoute(default.clone())).await, Errno::EEXIST);
        let mut found = routes(&rig.b).await;
        found.sort_by_key(|route| route.dst);
        assert_eq!(found, [default, gateway]);

        let v6 = via("::/0", "2001:db8:1::1", link);
        assert_eq!(errno(&rig.b, Op::AddRoute(v6)).await, Errno::EHOSTUNREACH);
        let v6 = via("::/0", "fe80::ecee:eeff:feee:eeee", link);
        ok(&rig.b, vec![Op::AddRoute(v6.clone())]).await;
        let filter = RouteFilter { family: Some(6), protocol: Some(3), ..RouteFilter::default() };
        assert_eq!(rig.b.routes(filter).await.unwrap(), [Route { metric: Some(1024), ..v6 }]);
    });
}

#[test]
fn routes_are_added_once_replaced_and_removed() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        let (other, _) = rig.pair("x2", "y2").await;
        let first = on_link("10.0.0.5/32", near.index);
        ok(&rig.a, vec![Op::AddRoute(first.clone())]).await;
        assert_eq!(errno(&rig.a, Op::AddRoute(on_link("10.0.0.5/32", other.index))).await, Errno::EEXIST);
        let second = Route { protocol: 80, ..on_link("10.0.0.5/32", other.index) };
        ok(&rig.a, vec![Op::ReplaceRoute(second.clone())]).await;
        assert_eq!(routes(&rig.a).await, std::slice::from_ref(&second));
        let with_metric = Route { metric: Some(1024), ..first.clone() };
        ok(&rig.a, vec![Op::AddRoute(with_metric.clone())]).await;
        assert_eq!(routes(&rig.a).await.len(), 2);
        let of_another = Route { protocol: 4, ..first };
        assert_eq!(errno(&rig.a, Op::DelRoute(of_another)).await, Errno::ESRCH, "of another protocol");
        ok(&rig.a, vec![Op::DelRoute(second), Op::DelRoute(with_metric.clone())]).await;
        assert_eq!(errno(&rig.a, Op::DelRoute(with_metric)).await, Errno::ESRCH);
        assert_eq!(routes(&rig.a).await, []);
        assert_eq!(errno(&rig.a, Op::AddRoute(on_link("10.0.0.5/32", 4711))).await, Errno::ENODEV);
        assert_eq!(errno(&rig.a, Op::AddRoute(on_link("10.0.0.5/24", near.index))).await, Errno::EINVAL);
    });
}

#[test]
fn blackholes_and_several_next_hops_read_back_as_written() {
    on_both(|rig| async move {
        let (one, _) = rig.pair("x1", "y1").await;
        let (two, _) = rig.pair("x2", "y2").await;
        // A namespace that never had an IPv4 address takes every gateway for a broadcast address.
        ok(&rig.a, vec![Op::AddAddress { link: one.index, net: net("172.30.0.1/32"), nodad: true }]).await;
        let hole = Route { protocol: 80, ..blackhole("10.0.0.0/26") };
        let hole6 = Route { metric: Some(1024), protocol: 80, ..blackhole("2001:db8::/122") };
        let hop = |link: &Link, gateway: &str, weight| NextHop {
            gateway: Some(ip(gateway)),
            link: Some(link.index),
            onlink: true,
            weight,
        };
        let ecmp = Route {
            next_hops: vec![hop(&one, "172.16.0.1", 1), hop(&two, "172.16.1.1", 3)],
            protocol: 81,
            ..via("20.0.0.0/16", "172.16.0.1", one.index)
        };
        let over_v6 = Route {
            next_hops: vec![hop(&one, "fe80::1", 1)],
            metric: Some(7),
            table: 1000,
            ..via("30.0.0.0/8", "172.16.0.1", one.index)
        };
        let all = [hole.clone(), hole6.clone(), ecmp.clone(), over_v6.clone()];
        ok(&rig.a, all.iter().cloned().map(Op::AddRoute).collect()).await;
        let mut found = routes(&rig.a).await;
        found.sort_by_key(|route| route.dst);
        assert_eq!(found, [hole, ecmp, over_v6, hole6]);
        ok(&rig.a, all.iter().cloned().map(Op::DelRoute).collect()).await;
        assert_eq!(routes(&rig.a).await, []);
    });
}

#[test]
fn dumps_are_filtered() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        let (other, _) = rig.pair("x2", "y2").await;
        let felix = Route { protocol: 80, ..on_link("10.0.0.5/32", near.index) };
        let bgp = Route { protocol: 81, ..on_link("10.0.0.6/32", other.index) };
        let far = Route { table: 500, ..on_link("10.0.0.7/32", near.index) };
        let six = Route { metric: Some(1024), protocol: 80, ..on_link("2001:db8::5/128", near.index) };
        ok(&rig.a, [&felix, &bgp, &far, &six].into_iter().cloned().map(Op::AddRoute).collect()).await;
        let ask = |family, table, protocol, link| rig.a.routes(RouteFilter { family, table, protocol, link });
        assert_eq!(ask(None, None, Some(80), None).await.unwrap(), [felix.clone(), six.clone()]);
        assert_eq!(ask(Some(4), None, Some(80), None).await.unwrap(), std::slice::from_ref(&felix));
        assert_eq!(ask(None, Some(500), None, None).await.unwrap(), [far]);
        assert_eq!(ask(Some(4), Some(254), None, Some(other.index)).await.unwrap(), [bgp]);
        assert_eq!(ask(None, Some(77), None, None).await.unwrap(), []);
        assert_eq!(ask(None, None, None, Some(4711)).await.unwrap(), []);
    });
}

#[test]
fn routes_go_with_their_link() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        let link = near.index;
        let both = [on_link("10.0.0.5/32", link), on_link("2001:db8::5/128", link)];
        let add = |routes: &[Route]| routes.iter().cloned().map(Op::AddRoute).collect::<Vec<_>>();
        let addresses = [
            Op::AddAddress { link, net: net("172.16.0.1/31"), nodad: true },
            Op::AddAddress { link, net: net("2001:db8:1::1/127"), nodad: true },
        ];
        ok(&rig.a, addresses.to_vec()).await;
        ok(&rig.a, add(&both)).await;
        ok(&rig.a, vec![Op::down("x")]).await;
        assert_eq!(routes(&rig.a).await, []);
        let kept: Vec<IpNet> =
            rig.a.addresses(Some(link)).await.unwrap().into_iter().map(|a| a.net).collect();
        assert_eq!(kept, [net("172.16.0.1/31")], "IPv6 addresses go with the state, IPv4 ones stay");
        for route in &both {
            assert_eq!(errno(&rig.a, Op::AddRoute(route.clone())).await, Errno::ENETDOWN);
        }
        ok(&rig.a, vec![Op::up("x")]).await;
        ok(&rig.a, add(&both)).await;
        ok(&rig.b, vec![Op::DelLink(LinkRef::Name("y".into()))]).await;
        assert_eq!(routes(&rig.a).await, []);
        assert_eq!(rig.a.addresses(Some(link)).await.unwrap(), []);
    });
}

#[test]
fn the_last_ipv4_address_takes_the_links_routes_along() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        let address = |text| (near.index, net(text));
        let (link, first) = address("172.16.0.1/31");
        let (_, second) = address("172.16.1.1/31");
        ok(
            &rig.a,
            vec![
                Op::AddAddress { link, net: first, nodad: true },
                Op::AddAddress { link, net: second, nodad: true },
            ],
        )
        .await;
        ok(&rig.a, vec![Op::AddRoute(on_link("10.0.0.5/32", link))]).await;
        ok(&rig.a, vec![Op::DelAddress { link, net: first }]).await;
        assert_eq!(routes(&rig.a).await.len(), 1);
        ok(&rig.a, vec![Op::DelAddress { link, net: second }]).await;
        assert_eq!(routes(&rig.a).await, []);
    });
}

#[test]
fn neighbours_are_permanent_or_proxies() {
    on_both(|rig| async move {
        let (near, far) = rig.pair("cali1", "eth0").await;
        let entry = |addr, permanent, proxy, mac| Neighbour {
            link: far.index,
            addr: ip(addr),
            mac,
            permanent,
            proxy,
        };
        let gateway = entry("169.254.1.1", true, false, Some(Mac([0xee; 6])));
        let gateway6 = entry("fe80::ecee:eeff:feee:eeee", true, false, Some(Mac([0xee; 6])));
        let proxy = entry("2001:db8::7", false, true, None);
        let all = [&gateway, &gateway6, &proxy];
        ok(&rig.b, all.into_iter().cloned().map(Op::SetNeighbour).collect()).await;
        let mut found = rig.b.neighbours(Some(far.index)).await.unwrap();
        found.sort_by_key(|neighbour| neighbour.addr);
        assert_eq!(found, [gateway.clone(), proxy.clone(), gateway6.clone()]);
        let moved = Neighbour { mac: Some(Mac([2; 6])), ..gateway.clone() };
        ok(&rig.b, vec![Op::SetNeighbour(moved.clone())]).await;
        assert!(rig.b.neighbours(Some(far.index)).await.unwrap().contains(&moved));
        assert_eq!(rig.b.neighbours(Some(far.index + 100)).await.unwrap(), []);
        ok(&rig.b, vec![Op::DelNeighbour(moved), Op::DelNeighbour(proxy.clone())]).await;
        assert_eq!(rig.b.neighbours(None).await.unwrap(), std::slice::from_ref(&gateway6));
        assert_eq!(errno(&rig.b, Op::DelNeighbour(proxy)).await, Errno::ENOENT);
        assert_eq!(errno(&rig.b, Op::DelNeighbour(gateway)).await, Errno::ENOENT);
        let nowhere = Neighbour { link: 4711, ..gateway6 };
        assert_eq!(errno(&rig.b, Op::SetNeighbour(nowhere)).await, Errno::ENODEV);
        let _ = near;
    });
}

#[test]
fn a_batch_goes_on_or_stops_as_asked() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        let good = |last: u8| Op::AddRoute(on_link(&format!("10.0.0.{last}/32"), near.index));
        let bad = Op::AddRoute(on_link("10.0.1.0/32", 4711));
        let results = rig.a.apply(vec![good(1), bad.clone(), good(2)], false).await;
        assert!(
            matches!(results.as_slice(), [Ok(()), Err(KernelError::Refused { .. }), Ok(())]),
            "{results:?}"
        );
        let results = rig.a.apply(vec![good(3), bad, good(4), good(5)], true).await;
        let expected = matches!(
            results.as_slice(),
            [Ok(()), Err(KernelError::Refused { .. }), Err(KernelError::Skipped), Err(KernelError::Skipped)]
        );
        assert!(expected, "{results:?}");
        let mut found: Vec<IpNet> = routes(&rig.a).await.into_iter().map(|route| route.dst).collect();
        found.sort();
        assert_eq!(found, [net("10.0.0.1/32"), net("10.0.0.2/32"), net("10.0.0.3/32")]);
        assert!(rig.a.apply(Vec::new(), false).await.is_empty());
    });
}

#[test]
fn every_result_of_a_long_batch_belongs_to_its_operation() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        let dst = |n: u32| format!("10.{}.{}.{}/32", n >> 16, (n >> 8) & 255, n & 255);
        let ops: Vec<Op> = (0..1500)
            .map(|n| Op::AddRoute(on_link(&dst(n), if n % 7 == 3 { 4711 } else { near.index })))
            .collect();
        let results = rig.a.apply(ops.clone(), false).await;
        assert_eq!(results.len(), ops.len());
        for (n, result) in results.iter().enumerate() {
            assert_eq!(result.is_err(), n % 7 == 3, "{n}: {result:?}");
            if let Err(error) = result {
                assert!(error.to_string().contains(&dst(n as u32)), "{error}");
            }
        }
        assert_eq!(routes(&rig.a).await.len(), results.iter().filter(|result| result.is_ok()).count());
    });
}

#[test]
fn sysctls_belong_to_the_namespace_and_to_names_with_dots() {
    on_both(|rig| async move {
        ok(&rig.a, vec![Op::AddVeth(veth("cali.1", "eth0", Some(rig.b.netns())))]).await;
        let write = |key: &str, value: &str| (key.to_string(), value.to_string());
        let results = rig
            .a
            .set_sysctls(vec![
                write("net/ipv4/conf/cali.1/proxy_arp", "1"),
                write("net/ipv4/conf/none/proxy_arp", "1"),
                write("net/ipv4/neigh/cali.1/proxy_delay", "0"),
                write("net/ipv6/conf/cali.1/accept_dad", "no number"),
            ])
            .await;
        assert!(matches!(results.as_slice(), [Ok(()), Err(_), Ok(()), Err(_)]), "{results:?}");
        assert_eq!(rig.a.sysctl("net/ipv4/conf/cali.1/proxy_arp").await.unwrap(), "1");
        assert_eq!(rig.a.sysctl("net/ipv4/neigh/cali.1/proxy_delay").await.unwrap(), "0");
        assert_eq!(rig.b.sysctl("net/ipv4/conf/eth0/proxy_arp").await.unwrap(), "0");
        assert!(rig.b.sysctl("net/ipv4/conf/cali.1/proxy_arp").await.is_err());
        let forward = |value: &str| vec![write("net/ipv4/ip_forward", value)];
        assert!(rig.a.set_sysctls(forward("1")).await.iter().all(Result::is_ok));
        assert_eq!(rig.a.sysctl("net/ipv4/ip_forward").await.unwrap(), "1");
        assert_eq!(rig.a.sysctl("net/ipv4/conf/cali.1/forwarding").await.unwrap(), "1");
        assert_eq!(rig.b.sysctl("net/ipv4/ip_forward").await.unwrap(), "0");
    });
}

#[test]
fn ipv6_switched_off_on_a_link_takes_neither_address_nor_route() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        let off = vec![("net/ipv6/conf/x/disable_ipv6".to_string(), "1".to_string())];
        assert!(rig.a.set_sysctls(off).await.iter().all(Result::is_ok));
        let add = Op::AddAddress { link: near.index, net: net("2001:db8::1/128"), nodad: true };
        assert_eq!(errno(&rig.a, add).await, Errno::EACCES);
        assert_eq!(errno(&rig.a, Op::AddRoute(on_link("2001:db8::1/128", near.index))).await, Errno::EACCES);
        assert_eq!(rig.a.addresses(Some(near.index)).await.unwrap(), []);
    });
}

#[test]
fn changes_are_told_as_they_happen() {
    on_both(|rig| async move {
        let all =
            EventGroups { links: true, addresses: true, routes: true, neighbours: true, others_only: false };
        let mut events = rig.a.events(all).await.unwrap();
        let mut only_links =
            rig.b.events(EventGroups { links: true, ..EventGroups::default() }).await.unwrap();
        let (near, far) = rig.pair("x", "y").await;
        let address = Op::AddAddress { link: near.index, net: net("172.16.0.1/31"), nodad: true };
        let route = Route { protocol: 80, ..on_link("10.0.0.5/32", near.index) };
        let neighbour = Neighbour {
            link: near.index,
            addr: ip("10.0.0.5"),
            mac: Some(Mac([2; 6])),
            permanent: true,
            proxy: false,
        };
        let ops = vec![address, Op::AddRoute(route.clone()), Op::SetNeighbour(neighbour.clone())];
        ok(&rig.a, ops).await;
        ok(&rig.a, vec![Op::DelNeighbour(neighbour.clone()), Op::DelRoute(route.clone())]).await;
        ok(&rig.a, vec![Op::DelLink(LinkRef::Index(near.index))]).await;
        type Expected<'a> = (&'static str, Box<dyn Fn(&KernelEvent) -> bool + 'a>);
        let mut wanted: Vec<Expected<'_>> = vec![
            ("link", Box::new(|e| matches!(e, KernelEvent::Link(link) if link.name == "x"))),
            ("address", Box::new(|e| matches!(e, KernelEvent::Address(a) if a.net == net("172.16.0.1/31")))),
            ("route", Box::new(|e| matches!(e, KernelEvent::Route(r) if *r == route))),
            ("neighbour", Box::new(|e| matches!(e, KernelEvent::Neighbour(n) if *n == neighbour))),
            ("route gone", Box::new(|e| matches!(e, KernelEvent::RouteGone(r) if *r == route))),
            ("link gone", Box::new(|e| matches!(e, KernelEvent::LinkGone(link) if link.name == "x"))),
        ];
        let wait = async {
            while let Some((_, expected)) = wanted.first() {
                let event = events.next().await.unwrap();
                if expected(&event) {
                    drop(wanted.remove(0));
                }
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), wait).await;
        let missing: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        assert!(in_time.is_ok(), "not told: {missing:?}");
        let first = only_links.next().await.unwrap();
        assert!(matches!(&first, KernelEvent::Link(link) if link.index == far.index), "{first:?}");
    });
}

#[test]
fn what_no_message_can_hold_is_refused_before_it_is_sent() {
    on_both(|rig| async move {
        let long = Op::AddVeth(veth("sixteen-letters!", "eth0", Some(rig.b.netns())));
        let error = rig.a.apply(vec![long, set("lo")], false).await;
        assert!(matches!(error.as_slice(), [Err(_), Ok(())]), "{error:?}");
        if rig.real {
            let text = error.first().and_then(|e| e.as_ref().err()).map(ToString::to_string).unwrap();
            assert!(text.contains("1 to 15 bytes"), "{text}");
        }
    });
}

#[test]
fn routes_of_our_own_can_be_left_out() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        let groups = EventGroups { routes: true, others_only: true, ..EventGroups::default() };
        let mut events = rig.a.events(groups).await.unwrap();
        let route = |text: &str| Route { protocol: 81, ..on_link(text, near.index) };
        for text in ["10.0.0.5/32", "fd00::5/128"] {
            ok(&rig.a, vec![Op::AddRoute(route(text)), Op::ReplaceRoute(route(text))]).await;
            ok(&rig.a, vec![Op::DelRoute(route(text))]).await;
        }
        let other = rig.another_handle_of_a();
        let theirs = route("10.0.0.6/32");
        ok(&other, vec![Op::AddRoute(theirs.clone())]).await;
        ok(&rig.a, vec![Op::AddRoute(route("10.0.0.7/32"))]).await;
        ok(&other, vec![Op::DelRoute(theirs.clone())]).await;
        let ours = |event: &KernelEvent| match event {
            KernelEvent::Route(route) | KernelEvent::RouteGone(route) => route.protocol == 81,
            _ => false,
        };
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
            seen.extend(Some(event).filter(ours));
        }
        assert_eq!(seen, [KernelEvent::Route(theirs.clone()), KernelEvent::RouteGone(theirs)]);
    });
}

#[test]
fn a_bridge_takes_ports() {
    on_both(|rig| async move {
        let (near, _) = rig.pair("x", "y").await;
        ok(&rig.a, vec![Op::AddBridge("br0".into()), Op::up("br0")]).await;
        let bridge = find(&rig.a, "br0").await;
        assert_eq!(bridge.kind, "bridge");
        assert_eq!(errno(&rig.a, Op::AddBridge("br0".into())).await, Errno::EEXIST);
        let port = |name: &str, master| Op::SetMaster { link: LinkRef::Name(name.into()), master };
        ok(&rig.a, vec![port("x", bridge.index)]).await;
        assert_eq!(errno(&rig.a, port("nosuch", bridge.index)).await, Errno::ENODEV);
        assert_eq!(errno(&rig.a, port("lo", bridge.index)).await, Errno::EINVAL);
        assert_eq!(errno(&rig.a, port("br0", near.index)).await, Errno::EOPNOTSUPP);
        assert_eq!(errno(&rig.a, port("x", 4711)).await, Errno::EINVAL);
        ok(&rig.a, vec![Op::DelLink(LinkRef::Name("br0".into()))]).await;
        assert!(find(&rig.a, "x").await.up);
    });
}

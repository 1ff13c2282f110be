//! On the real kernel, with the renderer, `nft` and `ip`.

use super::*;
use crate::testing::{Space, as_root};
use felix_calc::policy::Profile;
use felix_calc::sets::{SetChange, SetKind};
use felix_calc::static_sets::{HOSTS, MASQUERADED_POOLS, POOLS};
use felix_render::wish::{IptablesBackend, NftablesMode, Wish};
use kernel::{Conntrack, NetfilterOf, Netlink, Nftables};

async fn open(space: &Space) -> Dataplane {
    let kernel = Arc::new(Netlink::open(&space.netns).unwrap());
    let netfilter = Box::new(NetfilterOf(space.netns.clone()));
    let flows = Box::new(Conntrack::open(&space.netns).unwrap());
    Dataplane::open(kernel, netfilter, flows, Settings::default()).await.unwrap()
}

/// Applies until the condition holds, with an end.
async fn until(dataplane: &mut Dataplane, what: &str, mut holds: impl FnMut(&Dataplane) -> bool) {
    let wait = async {
        loop {
            dataplane.apply().await;
            if holds(dataplane) {
                return;
            }
            // what another program is about to do may be no event
            let _ = tokio::time::timeout(Duration::from_millis(50), dataplane.next()).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok();
    let refused: Vec<_> = dataplane.refused().collect();
    assert!(done, "{what}: {dataplane:?} {:?} {refused:?}", dataplane.backend());
}

fn state() -> Changes {
    let mut changes = workload("web", "caliweb", &["10.64.0.2", "fd5f:64::2"]);
    changes.endpoints.extend(workload("db", "calidb", &["10.64.0.3"]).endpoints);
    changes.profiles = vec![("open".into(), Some(Arc::new(Profile::default())))];
    let empty = |id: &'static str| (id.into(), SetChange::Create(SetKind::Nets, Vec::new()));
    changes.sets = [HOSTS, MASQUERADED_POOLS, POOLS].map(empty).into();
    changes
}

async fn node() -> Space {
    let space = Space::new();
    let kernel = Netlink::open(&space.netns).unwrap();
    for name in ["eth0", "caliweb", "calidb"] {
        interface(&kernel, name).await;
    }
    space.run("ip", &["address", "add", "192.0.2.11/24", "dev", "eth0"]);
    space.run("ip", &["link", "set", "lo", "up"]);
    space
}

/// A node whose state is in the kernel.
async fn programmed() -> (Space, Dataplane) {
    let space = node().await;
    let mut dataplane = open(&space).await;
    dataplane.on_changes(&state());
    dataplane.told(1);
    enforced(&mut dataplane, 1).await;
    (space, dataplane)
}

async fn enforced(dataplane: &mut Dataplane, revision: i64) {
    until(dataplane, "enforced", |dataplane| dataplane.enforced() == Some(revision)).await;
}

#[test]
fn a_node_is_programmed_repaired_and_left_alone_by_the_next_life() {
    as_root(async {
        let (space, mut dataplane) = programmed().await;
        let up = |dataplane: &Dataplane| dataplane.endpoints().count(Status::Up) == 2;
        until(&mut dataplane, "both workloads are up", up).await;
        let rules = space.canonical();
        assert!(rules.contains("caliweb") && rules.contains("calidb"), "{rules}");
        let routes = || space.run("ip", &["route", "show", "proto", "80"]);
        let expected = routes();
        assert!(expected.contains("10.64.0.2 dev caliweb scope link metric 1024"), "{expected}");
        let v6 = space.run("ip", &["-6", "route", "show", "proto", "80"]);
        assert!(v6.contains("fd5f:64::2 dev caliweb metric 1024"), "{v6}");
        let neighbours = space.run("ip", &["neigh", "show", "nud", "permanent"]);
        assert!(neighbours.contains("10.64.0.2 dev caliweb lladdr 02:00:00:00:00:01"), "{neighbours}");
        // others do harm
        space.run("ip", &["route", "del", "10.64.0.2"]);
        space.run("ip", &["route", "add", "10.64.0.99", "dev", "eth0", "proto", "80"]);
        until(&mut dataplane, "routes are repaired", |_| routes() == expected).await;
        space.nft("flush ruleset");
        until(&mut dataplane, "rules are repaired", |_| space.canonical() == rules).await;
        space.run("ip", &["link", "set", "calidb", "down"]);
        until(&mut dataplane, "one is down", |dataplane| dataplane.endpoints().count(Status::Down) == 1)
            .await;
        space.run("ip", &["link", "set", "calidb", "up"]);
        until(&mut dataplane, "it is up again", up).await;
        assert_eq!(routes(), expected);
        // the next life writes nothing
        enforced(&mut dataplane, 1).await;
        drop(dataplane);
        let kernel = Netlink::open(&space.netns).unwrap();
        let groups = EventGroups { links: true, addresses: true, routes: true, ..EventGroups::default() };
        let mut events = kernel.events(groups).await.unwrap();
        let mut watch = Nftables::open(&space.netns).unwrap();
        let generation = watch.generation().unwrap();
        let mut later = open(&space).await;
        later.on_changes(&state());
        later.told(7);
        enforced(&mut later, 7).await;
        until(&mut later, "both are up", up).await;
        assert_eq!(watch.generation().unwrap(), generation);
        let event = tokio::time::timeout(Duration::from_millis(20), events.next()).await;
        assert!(event.is_err(), "{event:?}");
        assert_eq!((space.canonical(), routes()), (rules, expected));
    });
}

#[test]
fn a_workload_that_leaves_takes_its_connections_along() {
    as_root(async {
        let (space, mut dataplane) = programmed().await;
        // something of the host's talks to both; what tracks is the ruleset
        space.nft("add table ip t");
        space.nft("add chain ip t o { type filter hook output priority 5; }");
        space.nft("add rule ip t o ct state new counter accept");
        let talk = || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            ["10.64.0.2:9", "10.64.0.3:9"]
                .iter()
                .for_each(|to| assert_eq!(socket.send_to(b"x", to).unwrap(), 1));
        };
        space.netns.run(talk).unwrap();
        dataplane.on_changes(&endpoint(key("web"), None));
        dataplane.told(2);
        enforced(&mut dataplane, 2).await;
        let mut flows = Conntrack::open(&space.netns).unwrap();
        assert_eq!(flows.forget(&[ip("10.64.0.2")]).unwrap(), 0, "forgotten already");
        assert_eq!(flows.forget(&[ip("10.64.0.3")]).unwrap(), 1, "another's is there");
        assert!(!space.canonical().contains("caliweb"));
    });
}

fn wishing(nftables: NftablesMode, iptables: IptablesBackend) -> Settings {
    Settings { backend: Wish { nftables, iptables }, ..Settings::default() }
}

/// What is there of each backend.
fn backends(space: &Space) -> [bool; 3] {
    let legacy = space.run("iptables-legacy-save", &[]) + &space.run("ip6tables-legacy-save", &[]);
    let nft = space.run("iptables-nft-save", &[]) + &space.run("ip6tables-nft-save", &[]);
    [space.nft("list tables").contains("ocicat"), legacy.contains("cali"), nft.contains("cali")]
}

#[test]
fn backends_are_exchanged_while_things_change_and_nothing_is_left() {
    as_root(async {
        let (space, mut dataplane) = programmed().await;
        let mut whole = state();
        let [own, legacy, nft] = [
            (NftablesMode::Auto, IptablesBackend::Auto, [true, false, false]),
            (NftablesMode::Disabled, IptablesBackend::Legacy, [false, true, false]),
            (NftablesMode::Disabled, IptablesBackend::Nft, [false, false, true]),
        ];
        assert_eq!(backends(&space), own.2);
        let mut revision = 1;
        for (mode, variant, expected) in [legacy, nft, legacy, own, nft, own, legacy, own] {
            dataplane.set_settings(wishing(mode, variant)).await;
            if dataplane.wants_whole() {
                dataplane.on_whole(&whole);
            }
            // a workload comes meanwhile
            revision += 1;
            let more = workload(&format!("w{revision}"), &format!("cali{revision}"), &["10.64.1.1"]);
            dataplane.on_changes(&more);
            whole.endpoints.extend(more.endpoints);
            dataplane.told(revision);
            enforced(&mut dataplane, revision).await;
            assert_eq!(backends(&space), expected, "{:?}", dataplane.backend());
            let sets = space.run("ipset", &["list", "-n"]);
            assert_eq!(sets.is_empty(), expected[0], "{sets}");
            // Calico's table of ARP is beside iptables alone
            let arp = space.nft("list ruleset arp");
            assert_eq!(arp.contains("table arp calico-arp"), !expected[0], "{arp}");
            assert_eq!(arp.contains("oifname \"caliweb\" arp operation reply"), !expected[0], "{arp}");
        }
        // what a life before left of another backend goes too
        drop(dataplane);
        for (mode, variant, expected) in [legacy, own, nft, own] {
            let kernel = Arc::new(Netlink::open(&space.netns).unwrap());
            let netfilter = Box::new(NetfilterOf(space.netns.clone()));
            let flows = Box::new(Conntrack::open(&space.netns).unwrap());
            let settings = wishing(mode, variant);
            let mut next = Dataplane::open(kernel, netfilter, flows, settings).await.unwrap();
            next.on_changes(&whole);
            next.told(1);
            enforced(&mut next, 1).await;
            assert_eq!(backends(&space), expected, "{:?}", next.backend());
        }
    });
}

#[test]
fn a_backend_wished_for_before_anything_was_told_is_the_first() {
    as_root(async {
        let space = node().await;
        let mut dataplane = open(&space).await;
        assert_eq!(dataplane.backend().0.to_string(), "nftables");
        dataplane.set_settings(wishing(NftablesMode::Disabled, IptablesBackend::Nft)).await;
        assert!(!dataplane.wants_whole());
        let mut watch = space.nftables().events().unwrap();
        dataplane.on_changes(&state());
        dataplane.told(1);
        enforced(&mut dataplane, 1).await;
        assert_eq!(backends(&space), [false, false, true]);
        // no table of the other one was made meanwhile
        while let Some(Some(event)) = futures::FutureExt::now_or_never(futures::StreamExt::next(&mut watch)) {
            assert!(!format!("{event:?}").contains("ocicat"), "{event:?}");
        }
    });
}

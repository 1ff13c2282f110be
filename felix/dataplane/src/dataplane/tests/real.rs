//! On the real kernel, with the renderer, `nft` and `ip`.

use super::*;
use crate::testing::{Space, as_root};
use felix_calc::policy::Profile;
use kernel::{Conntrack, Netlink, Nftables};

async fn open(space: &Space) -> Dataplane {
    let kernel = Arc::new(Netlink::open(&space.netns).unwrap());
    let nft = Box::new(Nftables::open(&space.netns).unwrap());
    let flows = Box::new(Conntrack::open(&space.netns).unwrap());
    Dataplane::open(kernel, nft, flows, Settings::default()).await.unwrap()
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
    assert!(done, "{what}: {dataplane:?}");
}

fn state() -> Changes {
    let mut changes = workload("web", "caliweb", &["10.64.0.2", "fd5f:64::2"]);
    changes.endpoints.extend(workload("db", "calidb", &["10.64.0.3"]).endpoints);
    changes.profiles = vec![("open".into(), Some(Arc::new(Profile::default())))];
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

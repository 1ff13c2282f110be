//! A change touches only the peers it must: sessions that end and UPDATEs that are sent, for each kind of change.

use crate::rig::{Rig, Seen};
use model::ipam::AffinityState;
use model::net::Cidr;
use model::{Key, Kind, Owner};
use std::time::Duration;

const SETTLED: Duration = Duration::from_secs(60);
const OWN: &str = "10.0.0.9";
const B: &str = "10.0.0.10";
const C: &str = "10.0.0.11";
const TOR: &str = "192.0.2.1";

fn node(name: &str, address: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{bgp: {{ipv4Address: {address}/24}}}}\n"
    )
}

fn resource(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

fn tor(more: &str) -> String {
    resource("BGPPeer", "tor", &format!("peerIP: {TOR}, asNumber: 65001, filters: [f]{more}"))
}

fn filter(rules: &str) -> String {
    resource("BGPFilter", "f", &format!("exportV4: [{rules}]"))
}

fn configuration(spec: &str) -> String {
    resource("BGPConfiguration", "default", spec)
}

fn set_block(rig: &mut Rig, block: &str, state: AffinityState) {
    rig.view().set_affinity(&Owner::Host("a".into()), Cidr::parse_masked(block).unwrap(), &state);
}

/// A node with a block, in a mesh with two others that have one each, and below a router that announces two prefixes, of
/// which one lies in a pool.
fn rig() -> Rig {
    let resources = node("a", OWN)
        + &node("b", B)
        + &node("c", C)
        + &resource("IPPool", "p", "cidr: 10.64.0.0/16")
        + &configuration("")
        + &filter("{cidr: 8.8.8.0/24, matchOperator: Equal, action: Accept}")
        + &tor("");
    let mut rig = Rig::new("a", OWN, &resources);
    set_block(&mut rig, "10.64.0.0/26", AffinityState::Confirmed);
    rig.neighbor(B, 64512, 64512, &["10.64.1.0/26"]);
    rig.neighbor(C, 64512, 64512, &["10.64.2.0/26"]);
    rig.neighbor(TOR, 65001, 64512, &["10.64.99.0/24", "172.16.0.0/16"]);
    rig.apply();
    rig.run(SETTLED);
    assert_eq!(rig.established(), 3);
    rig
}

/// What the neighbours saw of a change, in the order B, C, router.
fn seen(change: impl FnOnce(&mut Rig)) -> [Seen; 3] {
    let mut rig = rig();
    rig.take_seen();
    change(&mut rig);
    rig.apply();
    rig.run(SETTLED);
    let seen = rig.take_seen();
    [B, C, TOR].map(|address| seen[&address.parse().unwrap()])
}

/// What they saw of resources that are set.
fn of(resources: &str) -> [Seen; 3] {
    seen(|rig| rig.set(resources))
}

/// No session ends, and so many UPDATEs are sent.
fn updates(counts: [usize; 3]) -> [Seen; 3] {
    counts.map(|updates| Seen { downs: 0, updates })
}

#[test]
fn what_does_not_matter_is_silent() {
    let silence = updates([0; 3]);
    assert_eq!(of(""), silence, "the same again");
    for (what, resources) in [
        ("a filter nobody uses", resource("BGPFilter", "g", "exportV4: [{action: Reject}]")),
        ("a peer of another node", resource("BGPPeer", "q", "node: b, peerIP: 192.0.2.9, asNumber: 65009")),
        ("a node that is not there", node("d", "10.0.0.12")),
        ("another node's port of none of ours", resource("BGPConfiguration", "node.z", "listenPort: 1790")),
        ("a log level", configuration("logSeverityScreen: Debug")),
        ("interfaces", configuration("ignoredInterfaces: [x]")),
        ("a pool without routes", resource("IPPool", "q", "cidr: 10.65.0.0/16")),
        ("who programs routes", configuration("programClusterRoutes: Disabled")),
        (
            "a filter that says the same otherwise",
            filter("{cidr: 8.8.8.0/24, matchOperator: In, prefixLength: {max: 24}, action: Accept}"),
        ),
        ("how often keepalives go", tor(", keepaliveTime: 9s")),
        ("how far a peer may be", tor(", ttlSecurity: 1")),
        ("how often our AS may come", tor(", numAllowedLocalASNumbers: 1")),
        ("a selector instead of all", tor(", nodeSelector: all()")),
        ("a bad filter", resource("BGPFilter", "bad", "exportV4: [{action: Perhaps}]")),
        ("a bad peer", resource("BGPPeer", "bad", "peerIP: nobody")),
    ] {
        assert_eq!(of(&resources), silence, "{what}");
    }
    let bounded = tor("").replace("name: tor", "name: tor, annotations: {bgp.ocicat.io/max-prefixes: '5'}");
    assert_eq!(of(&bounded), silence, "a bound that is not reached");
}

#[test]
fn a_change_of_routes_is_told_to_those_it_concerns_and_resets_nobody() {
    let block = |state| seen(|rig| set_block(rig, "10.64.3.0/26", state));
    assert_eq!(block(AffinityState::Confirmed), updates([1, 1, 1]), "a new block");
    assert_eq!(block(AffinityState::Pending), updates([1, 1, 1]), "a block in waiting is announced too");
    let block = Key::Affinity(Owner::Host("a".into()), Cidr::parse_masked("10.64.0.0/26").unwrap());
    assert_eq!(seen(|rig| rig.view().remove(&block)), updates([1, 1, 1]), "a block given up");
    let pool = resource("IPPool", "q", "cidr: 172.16.0.0/12");
    assert_eq!(
        of(&pool),
        updates([1, 1, 0]),
        "a pool around the router's prefix, which it is not told itself"
    );
    let silent = resource("IPPool", "p", "cidr: 10.64.0.0/16, disableBGPExport: true");
    assert_eq!(of(&silent), updates([1, 1, 1]), "a pool that shall not be told");
    let hidden = filter("{cidr: 10.64.1.0/26, matchOperator: Equal, action: Reject}");
    assert_eq!(of(&hidden), updates([0, 0, 1]), "a filter of one peer");
    assert_eq!(
        of(&tor("").replace("[f]", "[]")),
        updates([0, 0, 0]),
        "a filter that did nothing, taken away"
    );
    let communities = "prefixAdvertisements: [{cidr: 10.64.99.0/24, communities: ['1:1']}]";
    assert_eq!(of(&configuration(communities)), updates([1, 1, 0]), "communities of one prefix");
    let priority = "ipv4NormalRoutePriority: 2000";
    assert_eq!(of(&configuration(priority)), updates([1, 1, 0]), "a metric: outside, LOCAL_PREF is not told");
}

#[test]
fn a_change_of_one_session_leaves_the_others_alone() {
    for (what, change) in [
        ("another AS of ours", tor(", localASNumber: 65002")),
        ("another restart time", tor(", maxRestartTime: 9s")),
        ("another address of ours", tor(", sourceAddress: None")),
        (
            "another hold time",
            tor("").replace("name: tor", "name: tor, annotations: {bgp.ocicat.io/hold-time: '30'}"),
        ),
        (
            "held down",
            tor("").replace("name: tor", "name: tor, annotations: {bgp.ocicat.io/shutdown: maintenance}"),
        ),
    ] {
        let [b, c, router] = of(&change);
        assert_eq!((b.downs, c.downs, router.downs), (0, 0, 1), "{what}");
    }
    let gone = seen(|rig| rig.view().remove(&Key::resource(Kind::BGPPeer, "", "tor")));
    assert_eq!(gone[..2], updates([1, 1, 0])[..2], "the others lose the router's route, and nothing else");
    assert_eq!(gone[2].downs, 1, "{gone:?}");
    let [b, c, router] = seen(|rig| rig.view().remove(&Key::resource(Kind::Node, "", "c")));
    assert_eq!(
        (b, router),
        (Seen { downs: 0, updates: 0 }, Seen { downs: 0, updates: 1 }),
        "a node that went"
    );
    assert_eq!(c.downs, 1, "{b:?} {c:?} {router:?}");
    let [b, c, router] = of(&configuration("nodeToNodeMeshEnabled: false"));
    assert_eq!(
        (b.downs, c.downs, router),
        (1, 1, Seen { downs: 0, updates: 1 }),
        "the mesh, and two blocks in one UPDATE"
    );
}

#[test]
fn what_concerns_all_sessions_resets_all_of_them() {
    for (what, change) in
        [("the AS of the cluster", configuration("asNumber: 64999")), ("our address", node("a", "10.0.0.8"))]
    {
        assert_eq!(of(&change).map(|seen| seen.downs), [1, 1, 1], "{what}");
    }
}

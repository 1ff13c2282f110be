//! Every recorded scenario: the same sessions, and filters that decide alike on routes of all kinds.

use crate::bird::{Config, Route, Verdict};
use crate::naive;
use bgp_config::{NextHopMode, NodePlan, RouterId, SessionKey, SessionPlan, View, WorkloadStatus};
use bgp_rib::policy::{Policy, TrialRoute, Trier};
use bgp_rib::{Local, Source};
use bgp_session::{Distance, RemoteAs};
use bgp_wire::{AsPath, Attributes, Family, Origin, Prefix};
use model::admission::{Operation, admit};
use model::ipam::BlockAffinity;
use model::schema::decode_strict;
use model::{Key, document};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/bgp")
}

fn read(scenario: &str, file: &str) -> String {
    let path = folder().join(scenario).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The view of a scenario's node.
fn view(scenario: &str) -> View {
    let case = document::parse(&read(scenario, "case.yaml"), scenario).unwrap().remove(0).value;
    let mut view = View::new(case["node"].as_str().unwrap(), RouterId::Address);
    for document in document::parse(case["datastore"].as_str().unwrap(), scenario).unwrap() {
        for raw in document.resources(scenario).unwrap() {
            let mut resource = decode_strict(raw.kind, raw.value).unwrap();
            admit(&mut resource, Operation::Create).unwrap();
            view.set(&resource);
        }
    }
    for pair in case["put"].as_array().unwrap_or(&Vec::<Value>::new()) {
        let key = Key::parse(pair["key"].as_str().unwrap()).unwrap();
        let Key::Affinity(owner, block) = &key else { panic!("{key:?}") };
        let value = BlockAffinity::decode(&key, pair["value"].as_str().unwrap().as_bytes()).unwrap();
        view.set_affinity(owner, *block, &value.state);
    }
    view
}

/// What Calico said for one family.
fn bird(scenario: &str, family: Family) -> (Config, Vec<String>) {
    let six = if family == Family::Ipv6Unicast { "6" } else { "" };
    let texts = ["", "_aggr", "_ipam"].map(|part| read(scenario, &format!("bird{six}{part}.txt")));
    (Config::read(&[&texts[0], &texts[1], &texts[2]]), texts.to_vec())
}

fn scenarios() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // addresses of services come with them
        .filter(|name| name != "services")
        .collect();
    names.sort();
    assert!(names.len() >= 11, "{names:?}");
    names
}

/// A session of ours as Calico would write its settings.
fn as_bird(plan: &NodePlan, key: &SessionKey, session: &SessionPlan) -> BTreeSet<String> {
    let SessionKey::Peer { address, port } = key else { panic!("no range is recorded") };
    let settings = &session.settings;
    assert_eq!((settings.remote_address, settings.remote_port), (*address, *port));
    let RemoteAs::Exactly(remote_as) = settings.remote_as else { panic!("an AS is given") };
    let port = if *port == 179 { String::new() } else { format!(" port {port}") };
    let mut said = BTreeSet::from([format!("neighbor {address}{port} as {remote_as}")]);
    let mut say = |text: String| {
        said.insert(text);
    };
    if settings.local_as != plan.local_as {
        say(format!("local as {}", settings.local_as));
    }
    if let Some(source) = settings.local_address {
        say(format!("source address {source}"));
    }
    match settings.distance {
        Distance::Multihop(255) => {
            ["ttl security off", "multihop"].into_iter().for_each(|s| say(s.to_owned()))
        }
        Distance::Within(hops) => {
            say("ttl security on".to_owned());
            say(format!("multihop {hops}"));
        }
        other => panic!("{other:?}"),
    }
    if settings.passive {
        say("passive on".to_owned());
    }
    let restart = settings.graceful_restart.unwrap().restart_time;
    if restart != 120 {
        say(format!("graceful restart time {restart}"));
    }
    if let Some(keepalive) = settings.timers.keepalive_time {
        say(format!("keepalive time {keepalive}"));
    }
    match session.routing.next_hop {
        NextHopMode::Auto => {}
        NextHopMode::Own => say("next hop self".to_owned()),
        NextHopMode::Keep => say("next hop keep".to_owned()),
    }
    if session.routing.allow_own_as > 0 {
        say(format!("allow local as {}", session.routing.allow_own_as));
    }
    if session.routing.rr_client {
        say("rr client".to_owned());
        say(format!("rr cluster id {}", plan.cluster_id.unwrap()));
    }
    if session.password.is_some() {
        say("password".to_owned());
    }
    said
}

fn of_family(plan: &NodePlan, family: Family) -> impl Iterator<Item = (&SessionKey, &SessionPlan)> {
    let v4 = family == Family::Ipv4Unicast;
    plan.sessions.iter().map(|(key, session)| (key, &**session)).filter(move |(_, session)| {
        assert_eq!(*session.settings.families.get(family), session.settings.remote_address.is_ipv4() == v4);
        session.settings.remote_address.is_ipv4() == v4
    })
}

#[test]
fn sessions_are_calicos() {
    for scenario in scenarios() {
        let plan = view(&scenario).plan();
        for family in Family::ALL {
            let (config, _) = bird(&scenario, family);
            let theirs: Vec<(String, BTreeSet<String>)> = config
                .sessions
                .iter()
                .map(|(name, session)| (name.clone(), session.settings.iter().cloned().collect()))
                .collect();
            let mut ours: Vec<(String, BTreeSet<String>)> = of_family(&plan, family)
                .map(|(key, session)| (session.name.clone(), as_bird(&plan, key, session)))
                .collect();
            ours.sort();
            assert_eq!(ours, theirs, "{scenario}, {family}");
        }
    }
}

#[test]
fn the_node_is_calicos() {
    for scenario in scenarios() {
        let plan = view(&scenario).plan();
        for family in Family::ALL {
            let (config, _) = bird(&scenario, family);
            let at = format!("{scenario}, {family}");
            let router_id = config.settings("", "router id");
            match router_id[0].as_str() {
                // a configuration that BIRD refuses; we have an identifier of our own there
                "" => assert!(plan.sessions.is_empty(), "{at}"),
                id => assert_eq!(plan.router_id.unwrap().to_string(), id, "{at}"),
            }
            for local_as in config.settings("template bgp bgp_template", "local as") {
                assert_eq!(plan.local_as.to_string(), local_as, "{at}");
            }
            let ports = config.settings("", "listen bgp port");
            assert_eq!(plan.listen.port.to_string(), ports.first().map_or("179", String::as_str), "{at}");
            let addresses = config.settings("", "listen bgp address");
            let ours =
                plan.listen.addresses.iter().filter(|addr| addr.is_ipv4() == (family == Family::Ipv4Unicast));
            assert_eq!(ours.map(IpAddr::to_string).collect::<Vec<_>>(), addresses, "{at}");
            let ignored = plan.ignored_interfaces.iter().map(|pattern| format!("-\"{pattern}\""));
            let all = ignored.chain(["\"*\"".to_owned()]).collect::<Vec<_>>().join(", ");
            assert_eq!(all, config.settings("template direct direct_template", "interface")[0], "{at}");
            let debug = config.settings("protocol device", "debug");
            assert_eq!(plan.log_level == bgp_config::LogLevel::Debug, debug == ["all"], "{at}: {debug:?}");
            let routes: BTreeSet<String> =
                config.settings("template static static_template", "route").into_iter().collect();
            let same = |prefix: &Prefix| prefix.family() == family;
            let blocks =
                plan.blocks.iter().filter(|block| same(block)).map(|block| format!("{block} blackhole"));
            let via = plan.static_routes.iter().filter(|(prefix, _)| same(prefix));
            let ours: BTreeSet<String> =
                blocks.chain(via.map(|(prefix, via)| format!("{prefix} via {via}"))).collect();
            assert_eq!(ours, routes, "{at}");
        }
    }
}

/// Prefixes around everything that a scenario mentions, and some that it does not.
fn nets(texts: &[String], family: Family) -> BTreeSet<Prefix> {
    let mut nets = BTreeSet::new();
    let words =
        texts.iter().flat_map(|text| text.split(|c: char| !(c.is_ascii_hexdigit() || ":./".contains(c))));
    let mentioned = words.filter_map(|word| {
        let (addr, len) = word.split_once('/')?;
        Prefix::new(addr.parse().ok()?, len.parse().ok()?)
    });
    let others = ["0.0.0.0/0", "203.0.113.0/24", "10.200.0.0/26", "::/0", "2001:db8:9::/48", "fd77::/64"]
        .map(|text| {
            let (addr, len) = text.split_once('/').unwrap();
            Prefix::new(addr.parse().unwrap(), len.parse().unwrap()).unwrap()
        });
    for prefix in mentioned.chain(others).filter(|prefix| prefix.family() == family) {
        let number = |addr: IpAddr| model::net::to_number(addr);
        let last = number(prefix.addr()) + ((1u128 << (family.bits() - prefix.len()).min(127)) - 1);
        for len in [
            0,
            8,
            16,
            24,
            25,
            26,
            27,
            32,
            64,
            122,
            128,
            prefix.len().saturating_sub(1),
            prefix.len(),
            prefix.len() + 1,
        ] {
            for number in [number(prefix.addr()), last, last.wrapping_add(1)] {
                let v4_or_6 = if family == Family::Ipv4Unicast {
                    model::net::Family::V4
                } else {
                    model::net::Family::V6
                };
                nets.extend(Prefix::new(model::net::from_number(v4_or_6, number), len));
            }
        }
    }
    nets.retain(|net| net.family() == family);
    nets
}

const INTERFACES: [&str; 8] =
    ["", "eth0", "vxlan.calico", "wireguard.cali", "tunl0", "bond0.7", "bpfin.cali", "cali12345"];

/// Routes of every kind to one destination.
fn routes(net: Prefix) -> Vec<Route> {
    let mut routes = Vec::new();
    let plain = Route {
        net,
        by_bgp: false,
        interface: None,
        next_hop: None,
        local_pref: None,
        metric: None,
        communities: BTreeSet::new(),
        large: BTreeSet::new(),
        path: Vec::new(),
        preference: None,
        tunnel: None,
    };
    let bgp = Route { by_bgp: true, local_pref: Some(100), ..plain.clone() };
    let interfaces = INTERFACES.map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    for interface in &interfaces {
        for metric in [None, Some(512), Some(1023), Some(1024), Some(1999), Some(2000)] {
            routes.push(Route { interface: interface.clone(), metric, ..plain.clone() });
        }
        routes.push(Route { interface: interface.clone(), ..bgp.clone() });
    }
    for local_pref in
        [0, 100, 2_147_481_647, 2_147_482_623, 2_147_482_624, 2_147_483_135, 2_147_483_570, 4_000_000_000]
    {
        for path in [&[][..], &[64601], &[64601, 64602], &[64601, 64602, 7]] {
            for (hop4, hop6, community) in
                [("192.0.2.12", "2001:db8::12", (64700, 2)), ("198.51.100.13", "2001:db8:1::13", (64512, 1))]
            {
                let hop = if net.family() == Family::Ipv4Unicast { hop4 } else { hop6 };
                routes.push(Route {
                    next_hop: Some(hop.parse().unwrap()),
                    local_pref: Some(local_pref),
                    communities: [community].into(),
                    path: path.to_vec(),
                    ..bgp.clone()
                });
            }
        }
    }
    routes
}

/// The RIB's own evaluation does what the rules say. Of interfaces it knows those of routes of our own only.
fn real(trier: &Trier, route: &Route, external: bool, said: (Verdict, &Route, &str)) {
    if route.by_bgp && route.interface.is_some() {
        return;
    }
    let standard = |(high, low): &(u16, u16)| u32::from(*high) << 16 | u32::from(*low);
    let unspecified = || if route.net.addr().is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
    let next_hop = route.next_hop.unwrap_or_else(unspecified);
    let mut attributes = Attributes::new(Origin::Igp, AsPath::sequence(&route.path), next_hop);
    attributes.local_pref = route.local_pref;
    attributes.communities = route.communities.iter().map(standard).collect();
    let metric = route.metric;
    let interface = route.interface.as_deref().map(Arc::from);
    let local = (!route.by_bgp).then_some(Local { source: Source::Kernel, metric, interface });
    let tried = trier.run(&TrialRoute { prefix: route.net, attributes, local }, Some(external));
    let (verdict, changed, rule) = said;
    assert_eq!((tried.verdict, tried.rule.as_deref().unwrap_or("otherwise")), (verdict, rule), "{route:?}");
    assert_eq!(tried.attributes.local_pref, changed.local_pref, "{route:?}");
    assert_eq!(tried.metric, changed.metric, "{route:?}");
    assert_eq!(tried.tunnel, changed.tunnel, "{route:?}");
    assert_eq!(tried.attributes.as_path, AsPath::sequence(&changed.path), "{route:?}");
    let communities: BTreeSet<u32> = tried.attributes.communities.iter().copied().collect();
    assert_eq!(communities, changed.communities.iter().map(standard).collect(), "{route:?}");
    let large: BTreeSet<(u32, u32, u32)> =
        tried.attributes.large_communities().iter().map(|[a, b, c]| (*a, *b, *c)).collect();
    assert_eq!(large, changed.large, "{route:?}");
    assert_eq!(tried.preference == 200, changed.preference == Some(200), "{route:?}");
}

/// Both sides on every route; how many were compared, and which rules decided.
fn compare(
    at: &str,
    config: &Config,
    statements: &[crate::bird::Statement],
    policy: &Arc<Policy>,
    external: bool,
    routes: &[Route],
    seen: &mut BTreeSet<String>,
) {
    let trier = Trier::new(Arc::clone(policy));
    for route in routes {
        let (verdict, changed) = config.run(statements, route);
        let (our_verdict, ours, rule) = naive::run(policy, route, external);
        real(&trier, route, external, (our_verdict, &ours, &rule));
        assert_eq!(our_verdict, verdict, "{at}: {route:?} by {rule}");
        if verdict == Verdict::Accept {
            assert_eq!(ours, changed, "{at}: {route:?} by {rule}");
        }
        seen.insert(rule);
    }
}

#[test]
fn filters_decide_as_calicos() {
    let mut seen = BTreeSet::new();
    for scenario in scenarios() {
        let plan = view(&scenario).plan();
        for family in Family::ALL {
            let (config, texts) = bird(&scenario, family);
            let routes: Vec<Route> = nets(&texts, family).into_iter().flat_map(routes).collect();
            let learnt: Vec<Route> = routes.iter().filter(|route| route.by_bgp).cloned().collect();
            let kernel = &config.filters["calico_kernel_programming"];
            let at = format!("{scenario}, {family}");
            compare(
                &format!("{at}, kernel"),
                &config,
                kernel,
                plan.kernel.get(family),
                false,
                &learnt,
                &mut seen,
            );
            // sessions with the same policies say nothing new
            let mut done = Vec::new();
            for (_, session) in of_family(&plan, family) {
                let theirs = &config.sessions[&session.name];
                let settings = &session.settings;
                let external = settings.remote_as != RemoteAs::Exactly(settings.local_as);
                let (import, export) =
                    (session.routing.import.get(family), session.routing.export.get(family));
                if done.contains(&(import, export, external)) {
                    continue;
                }
                done.push((import, export, external));
                let at = format!("{at}, {}", session.name);
                compare(
                    &format!("{at}, import"),
                    &config,
                    &theirs.import,
                    import,
                    external,
                    &learnt,
                    &mut seen,
                );
                compare(
                    &format!("{at}, export"),
                    &config,
                    &theirs.export,
                    export,
                    external,
                    &routes,
                    &mut seen,
                );
            }
        }
    }
    // a probe that never reaches a rule proves nothing about it
    for rule in [
        "BGPFilter f, exportV4 rule 1",
        "BGPFilter f, exportV4 rule 2",
        "BGPFilter f, exportV4 rule 3",
        "BGPFilter f, exportV4 rule 4",
        "BGPFilter f, importV4 rule 1",
        "BGPFilter f, importV4 rule 2",
        "BGPFilter f, importV6 rule 1",
        "IPPool a: next hop in the local subnet",
        "IPPool a: IP in IP",
        "IPPool b-ipip: IP in IP routes are Felix's",
        "IPPool d-vxlan: VXLAN routes are Felix's",
        "IPPool e-silent: disableBGPExport",
        "IPPool f-off: exported",
        "IPPool p4: exported",
        "block 10.64.0.0/26 of this node",
        "block 10.64.0.0/26 of this node: elevated priority",
        "block 10.64.0.0/26 of this node: aggregated",
        "block 10.64.1.7/32 of this node",
        "block fd5f:64::/122 of this node: aggregated",
        "cluster routes are not told on inside the AS",
        "routes of the eBPF dataplane stay here",
        "outside of every IPPool",
        "otherwise",
    ] {
        assert!(seen.contains(rule), "no probe reached \"{rule}\": {seen:#?}");
    }
}

/// The filter of the scenario has rules that its own session, being external, never reaches.
#[test]
fn filters_decide_as_calicos_on_internal_sessions_too() {
    let plan = view("filters").plan();
    let (mut config, texts) = bird("filters", Family::Ipv4Unicast);
    let session = config.sessions.remove("Global_192_0_2_1").unwrap();
    let internal = crate::bird::with_arguments(&session.export, true);
    let ours = plan.sessions.values().find(|s| s.name == "Global_192_0_2_1").unwrap();
    let nets = nets(&texts, Family::Ipv4Unicast);
    let routes: Vec<Route> = nets.into_iter().flat_map(routes).collect();
    let mut seen = BTreeSet::new();
    compare("internal", &config, &internal, &ours.routing.export.ipv4, false, &routes, &mut seen);
    for rule in 5..=8 {
        let name = format!("BGPFilter f, exportV4 rule {rule}");
        // rule 2 lets no route with communities or a path come so far
        assert_eq!(seen.contains(&name), rule != 6 && rule != 5, "{name}: {seen:?}");
    }
}

/// The scenario of services says something about communities too: on routes that are no service's.
#[test]
fn communities_are_added_as_calicos() {
    let mut view = view("services");
    let peer = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: t}\nspec: {peerIP: 192.0.2.1, asNumber: 64601}\n";
    let raw = document::parse(peer, "").unwrap().remove(0).resources("").unwrap().remove(0);
    view.set(&decode_strict(raw.kind, raw.value).unwrap());
    let plan = view.plan();
    let ours = plan.sessions.values().next().unwrap();
    let (config, texts) = bird("services", Family::Ipv4Unicast);
    // there was no session; what every session without filters exports is the same
    let export =
        bird("mesh-off-global-peers", Family::Ipv4Unicast).0.sessions["Global_192_0_2_1"].export.clone();
    let service = |net: &Prefix| {
        let ranges = [([10, 96, 0, 0], 16), ([203, 0, 113, 0], 24)];
        ranges.iter().any(|(addr, len)| Prefix::new(IpAddr::from(*addr), *len).unwrap().covers(*net))
    };
    let nets = nets(&texts, Family::Ipv4Unicast).into_iter().filter(|net| !service(net));
    let routes: Vec<Route> = nets.flat_map(routes).collect();
    compare("services", &config, &export, &ours.routing.export.ipv4, true, &routes, &mut BTreeSet::new());
    let inside = Route { net: Prefix::new("10.64.9.0".parse().unwrap(), 26).unwrap(), ..routes[0].clone() };
    let (verdict, changed, _) = naive::run(&ours.routing.export.ipv4, &inside, true);
    assert_eq!(verdict, Verdict::Accept);
    assert_eq!((changed.communities, changed.large), ([(64512, 100)].into(), [(64512, 1, 2)].into()));
}

/// Recorded without an endpoint; one that is up has its session.
#[test]
fn a_local_workload_is_a_peer_while_it_is_up() {
    let mut view = view("local-workload-peers");
    let before = view.plan();
    let status = WorkloadStatus::parse(
        br#"{"ifaceName":"calir1","mac":"02:00:00:00:00:01","ipv4Nets":["10.64.0.9/32"],"ipv6Nets":["fd5f:64::9/128"],"bgpPeerName":"lw"}"#,
    )
    .unwrap();
    view.set_workload("default-r1", Some(status));
    let plan = view.plan();
    let new: Vec<_> = plan.sessions.iter().filter(|(key, _)| !before.sessions.contains_key(key)).collect();
    let names: Vec<&str> = new.iter().map(|(_, session)| session.name.as_str()).collect();
    assert_eq!(names, ["Local_Workload_10_64_0_9", "Local_Workload_fd5f_64__9"]);
    for (key, session) in new {
        assert_eq!(
            as_bird(&plan, key, session)
                .into_iter()
                .filter(|s| !s.starts_with("neighbor"))
                .collect::<Vec<_>>(),
            ["multihop", "passive on", "ttl security off"]
        );
        assert_eq!(session.settings.remote_as, RemoteAs::Exactly(65123));
        assert_eq!(session.interface.as_deref(), Some("calir1"));
    }
    view.set_workload("default-r1", None);
    assert_eq!(view.plan(), before);
}

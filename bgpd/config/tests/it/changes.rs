//! A change touches only what it must: differences of plans, and views that are changed against views made afresh.

use crate::support::{add, node, resources, session, view};
use bgp_config::{NodePlan, PlanDiff, RouterId, SessionStep, View, WorkloadStatus};
use bgp_session::Change;
use bgp_wire::PerFamily;
use model::ipam::AffinityState;
use model::net::Cidr;
use model::{Key, Kind, Owner, Resource};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One step of a view's life.
#[derive(Debug, Clone)]
enum Step {
    Set(Resource),
    Remove(Key),
    Unreadable(Key),
    Affinity(Cidr, Option<AffinityState>),
    Workload(&'static str, Option<WorkloadStatus>),
}

/// What is there in the end: enough to make a fresh view of it.
#[derive(Debug, Default)]
struct Model {
    last: BTreeMap<String, Step>,
}

impl Model {
    fn take(&mut self, step: &Step) {
        let key = match step {
            Step::Set(resource) => resource.key().path(),
            Step::Remove(key) | Step::Unreadable(key) => key.path(),
            Step::Affinity(block, _) => block.to_string(),
            Step::Workload(file, _) => (*file).to_owned(),
        };
        self.last.insert(key, step.clone());
    }

    fn fresh(&self) -> Arc<NodePlan> {
        let mut view = View::new("a", RouterId::Address);
        let gone = |step: &&Step| {
            matches!(step, Step::Remove(_) | Step::Affinity(_, None) | Step::Workload(_, None))
        };
        self.last.values().filter(|step| !gone(step)).for_each(|step| take(&mut view, step));
        view.plan()
    }
}

fn take(view: &mut View, step: &Step) {
    let owner = Owner::Host("a".to_owned());
    match step {
        Step::Set(resource) => view.set(resource),
        Step::Remove(key) => view.remove(key),
        Step::Unreadable(key) => view.unreadable(key, "not JSON"),
        Step::Affinity(block, Some(state)) => view.set_affinity(&owner, *block, state),
        Step::Affinity(block, None) => view.remove(&Key::Affinity(owner, *block)),
        Step::Workload(file, status) => view.set_workload(file, status.clone()),
    }
}

/// A small world in which much collides.
fn step() -> impl Strategy<Value = Step> {
    let name = || select(vec!["a", "b", "c", "default", "node.a", "node.b"]);
    let spec = |kind: &'static str| -> BoxedStrategy<String> {
        let any_of = |choices: &'static [&'static str]| select(choices).prop_map(str::to_owned).boxed();
        match kind {
            "Node" => (
                select(vec!["10.0.0.1", "10.0.0.2", "10.0.0.10", "bad"]),
                select(vec!["", ", ipv6Address: '2001:db8::1'", ", ipv6Address: '2001:db8::2'"]),
                select(vec!["", ", asNumber: 65001", ", routeReflectorClusterID: 1.1.1.1"]),
            )
                .prop_map(|(v4, v6, more)| format!("bgp: {{ipv4Address: {v4}{v6}{more}}}"))
                .boxed(),
            "BGPConfiguration" => any_of(&[
                "",
                "nodeToNodeMeshEnabled: false",
                "asNumber: 65001",
                "listenPort: 1790, bindMode: NodeIP",
                "ipv4NormalRoutePriority: 100, programClusterRoutes: Enabled",
                "prefixAdvertisements: [{cidr: 10.64.0.0/16, communities: ['1:1', odd]}]",
            ]),
            "BGPPeer" => any_of(&[
                "peerIP: 10.0.0.2, asNumber: 64512",
                "peerIP: 10.0.0.2, asNumber: 65001, filters: [a, b]",
                "peerIP: 192.0.2.1, asNumber: 65009, filters: [c], reachableBy: 10.0.0.1",
                "peerIP: nonsense",
                "node: a, peerIP: 192.0.2.1, asNumber: 65009, ttlSecurity: 1",
                "nodeSelector: role == 'x', peerSelector: all()",
                "peerSelector: role == 'x', nextHopMode: Self",
                "localWorkloadSelector: all(), asNumber: 65100",
            ]),
            "BGPFilter" => any_of(&[
                "",
                "exportV4: [{action: Accept}]",
                "importV4: [{cidr: 10.0.0.0/8, matchOperator: In, action: Reject}], importV6: [{action: Reject}]",
                "importV4: [{action: Perhaps}]",
            ]),
            _ => any_of(&[
                "cidr: 10.64.0.0/16",
                "cidr: 10.65.0.0/16, ipipMode: Always",
                "cidr: 'fd5f::/64'",
                "cidr: x",
            ]),
        }
    };
    let set = select(vec!["Node", "BGPConfiguration", "BGPPeer", "BGPFilter", "IPPool"]).prop_flat_map(
        move |kind| {
            (name(), spec(kind), any::<bool>()).prop_map(move |(name, spec, labelled)| {
                let labels = if labelled { ", labels: {role: x}" } else { "" };
                let text = format!("kind: {kind}\nmetadata: {{name: {name}{labels}}}\nspec: {{{spec}}}\n");
                Step::Set(resources(&text).remove(0))
            })
        },
    );
    let key = (
        select(vec![Kind::Node, Kind::BGPConfiguration, Kind::BGPPeer, Kind::BGPFilter, Kind::IPPool]),
        select(vec!["a", "b", "c", "default"]),
    )
        .prop_map(|(kind, name)| Key::resource(kind, "", name));
    let block = select(vec!["10.64.0.0/26", "10.64.1.0/26", "10.64.0.5/32", "fd5f::/122"])
        .prop_map(|text| Cidr::parse_masked(text).unwrap());
    let state = select(vec![None, Some(AffinityState::Confirmed), Some(AffinityState::Pending)]);
    let workload = (select(vec!["w1", "w2"]), select(vec![None, Some("a"), Some("b"), Some("none")]))
        .prop_map(|(file, peer)| {
            let status = peer.map(|peer| WorkloadStatus {
                iface_name: "cali1".to_owned(),
                ipv4_nets: vec![if file == "w1" { "10.64.0.5/32" } else { "10.64.0.6/32" }.to_owned()],
                ipv6_nets: Vec::new(),
                bgp_peer_name: peer.to_owned(),
            });
            Step::Workload(file, status)
        });
    prop_oneof![
        12 => set,
        3 => key.clone().prop_map(Step::Remove),
        1 => key.prop_map(Step::Unreadable),
        2 => (block, state).prop_map(|(block, state)| Step::Affinity(block, state)),
        1 => workload,
    ]
}

fn start() -> View {
    let mut view = View::new("a", RouterId::Address);
    add(&mut view, "kind: Node\nmetadata: {name: a}\nspec: {bgp: {ipv4Address: 10.0.0.1/24}}\n");
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// However a view came to be, its plan is that of a fresh one; a difference leads from plan to plan; and taken
    /// back, a step leaves nothing.
    #[test]
    fn a_changed_view_is_a_fresh_view(steps in vec(step(), 1..40), looks in vec(any::<Index>(), 0..20)) {
        let mut view = start();
        let mut model = Model::default();
        resources("kind: Node\nmetadata: {name: a}\nspec: {bgp: {ipv4Address: 10.0.0.1/24}}\n")
            .into_iter().for_each(|resource| model.take(&Step::Set(resource)));
        let mut last = view.plan();
        let looks: Vec<usize> = looks.iter().map(|look| look.index(steps.len())).collect();
        for (at, step) in steps.iter().enumerate() {
            take(&mut view, step);
            model.take(step);
            // a view is not looked at after every change
            if !looks.contains(&at) && at + 1 < steps.len() {
                continue;
            }
            let plan = view.plan();
            prop_assert_eq!(&plan, &model.fresh());
            let diff = PlanDiff::between(&last, &plan);
            let mut changed = NodePlan::clone(&last);
            diff.apply(&mut changed);
            prop_assert_eq!(&changed, &*plan);
            prop_assert_eq!(diff.is_empty(), last == plan);
            for (key, session) in &plan.sessions {
                let before = last.sessions.get(key);
                let same = before.is_some_and(|before| before == session);
                prop_assert_eq!(same, before.is_some_and(|before| Arc::ptr_eq(before, session)), "shared if and only if equal");
                prop_assert_eq!(diff.sessions.contains_key(key), !same);
            }
            last = plan;
        }
    }
}

fn cluster() -> View {
    let text = [
        node("a", "10.0.0.9", "", "", ""),
        node("b", "10.0.0.10", "", "", ""),
        node("c", "10.0.0.11", "", "", ""),
        "---\nkind: IPPool\nmetadata: {name: p4}\nspec: {cidr: 10.64.0.0/16}\n".to_owned(),
        "---\nkind: BGPPeer\nmetadata: {name: t}\nspec: {peerIP: 192.0.2.1, asNumber: 65001, filters: [f]}\n"
            .to_owned(),
        "---\nkind: BGPFilter\nmetadata: {name: f}\nspec: {exportV4: [{action: Accept}]}\n".to_owned(),
        "---\nkind: BGPConfiguration\nmetadata: {name: default}\nspec: {}\n".to_owned(),
    ];
    view("a", &text.concat())
}

/// The difference that some resources make.
fn change(view: &mut View, text: &str) -> PlanDiff {
    let before = view.plan();
    add(view, text);
    PlanDiff::between(&before, &view.plan())
}

/// Which sessions are touched, and how: reset, told otherwise, or only given other policies.
fn touched(diff: &PlanDiff) -> Vec<String> {
    let told = |(key, step): (&bgp_config::SessionKey, &SessionStep)| match step {
        SessionStep::Add(_) => format!("{key} added"),
        SessionStep::Remove => format!("{key} removed"),
        SessionStep::Change(_, change) => {
            let policies = |name: &str, of: PerFamily<bool>| {
                if of.ipv4 || of.ipv6 { format!(" {name}") } else { String::new() }
            };
            let session = match change.session {
                Change::Nothing => "",
                Change::Apply => " apply",
                Change::Reset => " reset",
            };
            let routing = if change.routing { " routing" } else { "" };
            let password = if change.password { " password" } else { "" };
            let shutdown = if change.shutdown { " shutdown" } else { "" };
            let labels = if change.labels { " labels" } else { "" };
            format!(
                "{key}:{session}{routing}{password}{shutdown}{labels}{}{}",
                policies("import", change.import),
                policies("export", change.export)
            )
        }
    };
    diff.sessions.iter().map(told).collect()
}

#[test]
fn each_kind_of_change_touches_what_it_must() {
    let peer = |more: &str| {
        format!(
            "kind: BGPPeer\nmetadata: {{name: t}}\nspec: {{peerIP: 192.0.2.1, asNumber: 65001, filters: [f]{more}}}\n"
        )
    };
    let all =
        |what: &str| ["10.0.0.10", "10.0.0.11", "192.0.2.1"].map(|peer| format!("{peer}{what}")).to_vec();
    let one = |what: &str| vec![format!("192.0.2.1{what}")];
    for (text, wanted) in [
        // nothing that matters
        (peer(""), vec![]),
        (node("a", "10.0.0.9", "", "", "role: x"), vec![]),
        ("kind: BGPPeer\nmetadata: {name: other}\nspec: {node: b, peerIP: 192.0.2.7, asNumber: 1}\n".to_owned(), vec![]),
        ("kind: BGPFilter\nmetadata: {name: unused}\nspec: {importV4: [{action: Reject}]}\n".to_owned(), vec![]),
        ("kind: BGPFilter\nmetadata: {name: f}\nspec: {exportV4: [{action: Accept}], importV6: []}\n".to_owned(), vec![]),
        ("kind: BGPConfiguration\nmetadata: {name: node.b}\nspec: {logSeverityScreen: Debug}\n".to_owned(), vec![]),
        ("kind: BGPConfiguration\nmetadata: {name: default}\nspec: {logSeverityScreen: Debug}\n".to_owned(), vec![]),
        ("kind: BGPConfiguration\nmetadata: {name: default}\nspec: {listenPort: 179}\n".to_owned(), vec![]),
        // one session
        (node("d", "10.0.0.12", "", "", ""), vec!["10.0.0.12 added".to_owned()]),
        (node("b", "10.0.0.10", "", "routeReflectorClusterID: 1.1.1.1", ""), vec!["10.0.0.10 removed".to_owned()]),
        (node("b", "10.0.0.10", "", "asNumber: 65002", ""), vec!["10.0.0.10: reset".to_owned()]),
        (node("b", "10.0.0.13", "", "", ""), vec!["10.0.0.10 removed".to_owned(), "10.0.0.13 added".to_owned()]),
        (peer(", keepaliveTime: 9s"), one(": apply")),
        (peer(", ttlSecurity: 1"), one(": apply")),
        (peer(", maxRestartTime: 9s"), one(": reset")),
        (peer(", localASNumber: 65009"), one(": reset")),
        (peer(", sourceAddress: None"), one(": reset routing")),
        (peer(", nextHopMode: Self"), one(": routing")),
        (peer(", numAllowedLocalASNumbers: 1"), one(": routing")),
        (peer(", password: {secretKeyRef: {name: s, key: k}}"), one(": password")),
        (peer(", node: a"), one(": labels")),
        (peer("").replace("[f]", "[]"), one(": export")),
        ("kind: BGPFilter\nmetadata: {name: f}\nspec: {exportV4: [{action: Accept}], importV4: [{action: Reject}]}\n".to_owned(), one(": import")),
        ("kind: BGPFilter\nmetadata: {name: f}\nspec: {exportV4: [{action: Reject}]}\n".to_owned(), one(": export")),
        (peer("").replace("name: t", "name: t, annotations: {bgp.ocicat.io/shutdown: gone}"), one(": shutdown")),
        (peer("").replace("name: t", "name: t, annotations: {bgp.ocicat.io/max-prefixes: '9'}"), one(": routing")),
        (peer("").replace("name: t", "name: t, annotations: {bgp.ocicat.io/hold-time: '9'}"), one(": reset")),
        // all sessions, but no reset
        ("kind: IPPool\nmetadata: {name: q4}\nspec: {cidr: 10.65.0.0/16}\n".to_owned(), all(": export")),
        ("kind: BGPConfiguration\nmetadata: {name: default}\nspec: {ipv4NormalRoutePriority: 99}\n".to_owned(), all(": import export")),
        (
            "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {nodeMeshPassword: {secretKeyRef: {name: s, key: k}}}\n".to_owned(),
            vec!["10.0.0.10: password".to_owned(), "10.0.0.11: password".to_owned()],
        ),
        // all sessions
        (
            "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {nodeToNodeMeshEnabled: false}\n".to_owned(),
            vec!["10.0.0.10 removed".to_owned(), "10.0.0.11 removed".to_owned()],
        ),
        ("kind: BGPConfiguration\nmetadata: {name: default}\nspec: {asNumber: 64999}\n".to_owned(), all(": reset")),
        (node("a", "10.0.0.8", "", "", ""), all(": reset routing")),
    ] {
        let diff = change(&mut cluster(), &text);
        assert_eq!(touched(&diff), wanted, "{text}");
    }
}

#[test]
fn what_is_no_matter_of_sessions_is_told_too() {
    let mut view = cluster();
    let diff = change(
        &mut view,
        "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {listenPort: 1790, ignoredInterfaces: [x]}\n",
    );
    assert_eq!(diff.listen.map(|listen| listen.port), Some(1790));
    assert_eq!(diff.ignored_interfaces, Some(["x", "cali*", "kube-ipvs*"].map(str::to_owned).to_vec()));
    let diff = change(
        &mut view,
        "kind: IPPool\nmetadata: {name: v}\nspec: {cidr: 10.66.0.0/16, vxlanMode: Always}\n",
    );
    assert!(diff.kernel.ipv4.is_some() && diff.kernel.ipv6.is_none());
    let before = view.plan();
    view.set_affinity(
        &Owner::Host("a".into()),
        Cidr::parse_masked("10.64.0.0/26").unwrap(),
        &AffinityState::Pending,
    );
    let diff = PlanDiff::between(&before, &view.plan());
    assert_eq!(
        (diff.blocks.len(), diff.sessions.len()),
        (1, 0),
        "a pending block is originated, and filtered as before"
    );
    let before = view.plan();
    view.set_affinity(
        &Owner::Host("a".into()),
        Cidr::parse_masked("10.64.0.0/26").unwrap(),
        &AffinityState::Confirmed,
    );
    let diff = PlanDiff::between(&before, &view.plan());
    assert_eq!((diff.blocks.len(), touched(&diff).len()), (0, 3));
    assert!(touched(&diff).iter().all(|told| told.ends_with(": export")));
}

#[test]
fn a_plan_is_made_once() {
    let mut view = cluster();
    let plan = view.plan();
    add(&mut view, "kind: WorkloadEndpoint\nmetadata: {name: x, namespace: y}\nspec: {}\n");
    add(&mut view, &node("b", "10.0.0.10", "", "", ""));
    view.remove(&Key::resource(Kind::Node, "", "nobody"));
    assert!(Arc::ptr_eq(&plan, &view.plan()));
    let before = Arc::clone(&plan.sessions[plan.sessions.keys().next().unwrap()]);
    add(&mut view, &node("e", "10.0.0.15", "", "", ""));
    let after = view.plan();
    assert!(Arc::ptr_eq(&before, after.sessions.values().next().unwrap()), "sessions that stay are shared");
    assert_eq!(session(&after, "10.0.0.15").name, "Mesh_10_0_0_15");
}

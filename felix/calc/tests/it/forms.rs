//! Every form in which a rule or policy can say whom it means, against one cluster (`felix.md` §3.1 of the contract).

use crate::support::{Node, member};
use felix_calc::endpoint::EndpointKey;
use felix_calc::rule::{Rule, SetId};

const CLUSTER: &str = "
kind: Profile
apiVersion: projectcalico.org/v3
metadata: {name: kns.shop}
spec: {labelsToApply: {pcns.team: a, pcns.projectcalico.org/name: shop}}
---
kind: Profile
apiVersion: projectcalico.org/v3
metadata: {name: kns.ops}
spec: {labelsToApply: {pcns.team: b}}
---
kind: Profile
apiVersion: projectcalico.org/v3
metadata: {name: ksa.shop.front}
spec: {labelsToApply: {pcsa.role: web, app: hidden}}
---
kind: WorkloadEndpoint
apiVersion: projectcalico.org/v3
metadata: {namespace: shop, name: node--1-k8s-web-eth0, labels: {app: web, pcns.team: forged}}
spec: {node: node-1, orchestrator: k8s, pod: web, endpoint: eth0, interfaceName: cali1, ipNetworks: [10.0.0.1/32],
  profiles: [kns.shop, ksa.shop.front], serviceAccountName: front,
  ports: [{name: http, protocol: TCP, port: 8080}, {name: dns, protocol: UDP, port: 53}]}
---
kind: WorkloadEndpoint
apiVersion: projectcalico.org/v3
metadata: {namespace: shop, name: node--2-k8s-db-eth0, labels: {app: db}}
spec: {node: node-2, orchestrator: k8s, pod: db, endpoint: eth0, interfaceName: cali2, ipNetworks: [10.0.0.2/32],
  profiles: [kns.shop], serviceAccountName: back, ports: [{name: http, protocol: TCP, port: 80}]}
---
kind: WorkloadEndpoint
apiVersion: projectcalico.org/v3
metadata: {namespace: ops, name: node--2-k8s-op-eth0, labels: {app: web}}
spec: {node: node-2, orchestrator: k8s, pod: op, endpoint: eth0, interfaceName: cali3, ipNetworks: [10.0.1.1/32, 'fd00::1/128'],
  profiles: [kns.ops], serviceAccountName: robot}
---
kind: WorkloadEndpoint
apiVersion: projectcalico.org/v3
metadata: {namespace: bare, name: node--2-cni-c-eth0, labels: {app: web}}
spec: {node: node-2, orchestrator: cni, containerID: c, endpoint: eth0, interfaceName: cali4, ipNetworks: [10.0.2.1/32]}
---
kind: HostEndpoint
apiVersion: projectcalico.org/v3
metadata: {name: h, labels: {app: web}}
spec: {node: node-2, interfaceName: eth0, expectedIPs: [192.0.2.1], ports: [{name: http, protocol: TCP, port: 8008}]}
---
kind: GlobalNetworkSet
apiVersion: projectcalico.org/v3
metadata: {name: g, labels: {app: web}}
spec: {nets: [203.0.113.0/24]}
---
kind: NetworkSet
apiVersion: projectcalico.org/v3
metadata: {namespace: shop, name: n, labels: {app: web}}
spec: {nets: [198.51.100.0/24]}
";

const WEB: &str = "10.0.0.1/32";
const DB: &str = "10.0.0.2/32";
const OP: &str = "10.0.1.1/32 fd00::1/128";
const BARE: &str = "10.0.2.1/32";
const HOST: &str = "192.0.2.1/32";
const NET: &str = "198.51.100.0/24";
const GLOBAL: &str = "203.0.113.0/24";

/// The first rule of a policy in the namespace `shop` or in none, for the workload `web`.
fn rule(global: bool, spec: &str) -> (Node, Rule) {
    let (kind, namespace) =
        if global { ("GlobalNetworkPolicy", "") } else { ("NetworkPolicy", ", namespace: shop") };
    let mut node = Node::with(CLUSTER);
    node.apply(&format!(
        "kind: {kind}\napiVersion: projectcalico.org/v3\nmetadata: {{name: p{namespace}}}\nspec: {{types: [Ingress], ingress: [{spec}]}}"
    ));
    let key = EndpointKey::Workload("shop".into(), "node--1-k8s-web-eth0".into());
    let tiers = &node.told.endpoints[&key].tiers;
    let rule = tiers[0].policies[0].ingress.as_ref().unwrap()[0].clone();
    (node, rule)
}

fn members(node: &Node, set: Option<&SetId>) -> Option<String> {
    let texts: Vec<String> = node.told.sets[set?].iter().map(member).collect();
    Some(texts.join(" "))
}

#[test]
fn whom_a_side_of_a_rule_means() {
    let all = |parts: &[&str]| {
        let mut words: Vec<_> =
            parts.iter().flat_map(|part| part.split(' ')).map(|text| text.parse().unwrap()).collect();
        words.sort();
        words.iter().map(model::net::Cidr::to_string).collect::<Vec<_>>().join(" ")
    };
    let workloads = [WEB, DB, OP, BARE, NET];
    for (side, in_shop, in_none) in [
        // nothing said: everybody, and no set at all
        ("{}", None, None),
        ("{nets: [10.0.0.0/8]}", None, None),
        (
            "{selector: \"app == 'web'\"}",
            Some(all(&[WEB, NET])),
            Some(all(&[WEB, OP, BARE, HOST, GLOBAL, NET])),
        ),
        ("{selector: \"app == 'hidden'\"}", Some(String::new()), Some(String::new())),
        ("{selector: all()}", Some(all(&[WEB, DB, NET])), Some(all(&[WEB, DB, OP, BARE, HOST, GLOBAL, NET]))),
        ("{namespaceSelector: all()}", Some(all(&workloads)), Some(all(&workloads))),
        ("{namespaceSelector: \"team == 'a'\"}", Some(all(&[WEB, DB, NET])), Some(all(&[WEB, DB, NET]))),
        ("{namespaceSelector: \"team == 'forged'\"}", Some(String::new()), Some(String::new())),
        (
            "{namespaceSelector: \"has(team)\", selector: \"app == 'web'\"}",
            Some(all(&[WEB, OP, NET])),
            Some(all(&[WEB, OP, NET])),
        ),
        (
            "{namespaceSelector: \"projectcalico.org/name == 'shop'\"}",
            Some(all(&[WEB, DB, NET])),
            Some(all(&[WEB, DB, NET])),
        ),
        ("{namespaceSelector: global()}", Some(all(&[HOST, GLOBAL])), Some(all(&[HOST, GLOBAL]))),
        (
            "{namespaceSelector: global(), selector: \"app == 'web'\"}",
            Some(all(&[HOST, GLOBAL])),
            Some(all(&[HOST, GLOBAL])),
        ),
        ("{serviceAccounts: {names: [front, robot]}}", Some(all(&[WEB])), Some(all(&[WEB, OP]))),
        (
            "{serviceAccounts: {names: [front, robot]}, namespaceSelector: all()}",
            Some(all(&[WEB, OP])),
            Some(all(&[WEB, OP])),
        ),
        ("{serviceAccounts: {selector: \"role == 'web'\"}}", Some(all(&[WEB])), Some(all(&[WEB]))),
        (
            "{serviceAccounts: {selector: all()}, namespaceSelector: all()}",
            Some(all(&[WEB, DB, OP])),
            Some(all(&[WEB, DB, OP])),
        ),
        (
            "{serviceAccounts: {names: [robot], selector: \"role == 'web'\"}}",
            Some(String::new()),
            Some(String::new()),
        ),
        (
            "{serviceAccounts: {names: [front]}, selector: \"app == 'db'\"}",
            Some(String::new()),
            Some(String::new()),
        ),
        ("{selector: \"has(app)\", notSelector: \"app == 'web'\"}", Some(all(&[DB])), Some(all(&[DB]))),
    ] {
        for (global, expected) in [(false, &in_shop), (true, &in_none)] {
            let (node, rule) = rule(global, &format!("{{action: Allow, source: {side}}}"));
            assert_eq!(members(&node, rule.source.set.as_ref()), *expected, "{side}, global: {global}");
            assert_eq!(rule.source.not_set, None, "{side}");
        }
    }
    // alone, what is not meant: in a namespace the rest of it, elsewhere everybody else, known or not
    let not = "{action: Allow, source: {notSelector: \"app == 'web'\"}}";
    let (node, in_shop) = rule(false, not);
    assert_eq!(members(&node, in_shop.source.set.as_ref()), Some(DB.into()));
    let (node, in_none) = rule(true, not);
    assert_eq!(in_none.source.set, None);
    assert_eq!(
        members(&node, in_none.source.not_set.as_ref()),
        Some(all(&[WEB, OP, BARE, HOST, GLOBAL, NET]))
    );
}

#[test]
fn named_ports_are_those_of_whom_the_side_means() {
    for (rule_text, expected) in [
        (
            "{action: Allow, protocol: TCP, destination: {ports: [http]}}",
            "10.0.0.1,6:8080 10.0.0.2,6:80 192.0.2.1,6:8008",
        ),
        ("{action: Allow, protocol: UDP, destination: {ports: [http]}}", ""),
        ("{action: Allow, protocol: UDP, destination: {ports: [dns]}}", "10.0.0.1,17:53"),
        ("{action: Allow, destination: {ports: [dns]}}", "10.0.0.1,17:53"),
        (
            "{action: Allow, protocol: TCP, destination: {selector: \"app == 'db'\", ports: [http]}}",
            "10.0.0.2,6:80",
        ),
    ] {
        let (node, rule) = rule(true, rule_text);
        // only named ports: the addresses are in their set already
        assert_eq!(rule.destination.set, None, "{rule_text}");
        assert_eq!(
            members(&node, rule.destination.named_ports.first()),
            Some(expected.into()),
            "{rule_text}"
        );
    }
    let (node, with_number) = rule(
        true,
        "{action: Allow, protocol: TCP, destination: {selector: \"app == 'db'\", ports: [http, 443]}}",
    );
    assert_eq!(members(&node, with_number.destination.set.as_ref()), Some(DB.into()));
    assert_eq!(with_number.destination.ports, [(443, 443)]);
    let (node, not) = rule(true, "{action: Allow, protocol: TCP, destination: {notPorts: [http]}}");
    assert_eq!(members(&node, not.destination.not_named_ports.first()).unwrap().split(' ').count(), 3);
}

/// Whether a policy applies to the one local endpoint, `shop/web`.
fn applies(kind: &str, namespace: &str, spec: &str) -> bool {
    let mut node = Node::with(CLUSTER);
    let namespace = if namespace.is_empty() { String::new() } else { format!(", namespace: {namespace}") };
    node.apply(&format!(
        "kind: {kind}\napiVersion: projectcalico.org/v3\nmetadata: {{name: p{namespace}}}\nspec: {spec}"
    ));
    let key = EndpointKey::Workload("shop".into(), "node--1-k8s-web-eth0".into());
    !node.told.endpoints[&key].tiers.is_empty()
}

#[test]
fn whom_a_policy_applies_to() {
    for (spec, expected) in [
        ("{}", true),
        ("{selector: all()}", true),
        ("{selector: \"app == 'web'\"}", true),
        ("{selector: \"app == 'db'\"}", false),
        ("{namespaceSelector: \"team == 'a'\"}", true),
        ("{namespaceSelector: \"team == 'b'\"}", false),
        ("{namespaceSelector: \"team == 'forged'\"}", false),
        ("{namespaceSelector: all()}", true),
        ("{serviceAccountSelector: \"role == 'web'\"}", true),
        ("{serviceAccountSelector: \"role == 'db'\"}", false),
        ("{serviceAccountSelector: all()}", true),
        ("{selector: \"app == 'db'\", serviceAccountSelector: \"role == 'web'\"}", false),
        ("{selector: \"projectcalico.org/orchestrator == 'k8s'\"}", true),
        ("{selector: \"projectcalico.org/serviceaccount == 'front'\"}", true),
        ("{selector: \"!has(projectcalico.org/namespace)\"}", false),
    ] {
        assert_eq!(applies("GlobalNetworkPolicy", "", spec), expected, "{spec}");
    }
    for (namespace, spec, expected) in [
        ("shop", "{}", true),
        ("ops", "{}", false),
        ("shop", "{selector: \"app == 'web'\"}", true),
        ("shop", "{selector: \"app == 'db'\"}", false),
        ("shop", "{serviceAccountSelector: \"role == 'web'\"}", true),
        ("shop", "{serviceAccountSelector: \"role == 'db'\"}", false),
    ] {
        assert_eq!(applies("NetworkPolicy", namespace, spec), expected, "{namespace} {spec}");
        assert_eq!(applies("StagedNetworkPolicy", namespace, spec), expected, "staged {namespace} {spec}");
    }
}

#[test]
fn policies_of_kubernetes_apply_to_pods_in_their_terms() {
    for (spec, expected) in [
        ("{podSelector: {}}", true),
        ("{podSelector: {matchLabels: {app: web}}}", true),
        ("{podSelector: {matchLabels: {app: db}}}", false),
        ("{podSelector: {matchExpressions: [{key: app, operator: In, values: [db, web]}]}}", true),
        ("{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db, web]}]}}", false),
        ("{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}", true),
        ("{podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}", false),
        ("{podSelector: {}, stagedAction: Delete}", false),
        ("{podSelector: {}, stagedAction: Learn}", true),
        ("{podSelector: {}, stagedAction: Ignore}", false),
    ] {
        assert_eq!(applies("StagedKubernetesNetworkPolicy", "shop", spec), expected, "{spec}");
    }
}

#[test]
fn rules_of_kubernetes_mean_pods_namespaces_and_addresses() {
    let mut node = Node::with(CLUSTER);
    node.apply(
        "
kind: StagedKubernetesNetworkPolicy
apiVersion: projectcalico.org/v3
metadata: {name: k, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - podSelector: {matchLabels: {app: db}}
    - namespaceSelector: {}
    - namespaceSelector: {matchLabels: {team: b}}
      podSelector: {matchLabels: {app: web}}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    ports:
    - {protocol: TCP, port: 80}
    - {protocol: TCP, port: 81, endPort: 90}
    - {protocol: TCP, port: 100}
    - {port: http}
    - {protocol: UDP}
    - {protocol: UDP, port: 53}
  egress:
  - {}
",
    );
    let key = EndpointKey::Workload("shop".into(), "node--1-k8s-web-eth0".into());
    let policy = &node.told.endpoints[&key].tiers[0].policies[0];
    assert_eq!((policy.order, policy.tier.as_str()), (Some(1000.0), "default"));
    let ingress = policy.ingress.as_ref().unwrap();
    assert_eq!(ingress.len(), 8);
    let expected = [
        Some(DB.into()),
        Some(format!("{WEB} {DB} {OP}").replace(" fd00::1/128", "")),
        Some(OP.into()),
        None,
    ];
    let numbers: Vec<_> = ingress.iter().map(|rule| rule.protocol).collect();
    assert_eq!(numbers, [[Some(6); 4], [Some(17); 4]].concat());
    for (rule, expected) in ingress.iter().zip(expected) {
        let members = members(&node, rule.source.set.as_ref()).map(|all| match expected == Some(OP.into()) {
            true => all,
            false => all.replace(" fd00::1/128", ""),
        });
        assert_eq!(members, expected);
        assert_eq!(rule.destination.ports, [(80, 90), (100, 100)]);
        assert_eq!(rule.destination.named_ports.len(), 1);
    }
    assert_eq!(ingress[3].source.nets.len() + ingress[3].source.not_nets.len(), 2);
    assert!(ingress[4].destination.ports.is_empty() && ingress[4].destination.named_ports.is_empty());
    let egress = policy.egress.as_ref().unwrap();
    assert_eq!(
        (egress.len(), &egress[0].source, &egress[0].destination),
        (1, &Default::default(), &Default::default())
    );
}

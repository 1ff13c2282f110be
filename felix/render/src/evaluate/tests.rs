use super::*;
use crate::form::Scope;
use felix_calc::policy::{Policy, PolicyKey, PolicyKind, Profile, Tier};
use model::v3::{
    self, Action, EntityRule, GlobalNetworkPolicySpec, HttpMatch, IcmpFields, NetworkPolicySpec, Port,
    ProfileSpec, Protocol, ServiceMatch,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sets by their names, filled by selector.
#[derive(Default)]
struct Members {
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
    ports: BTreeMap<String, BTreeSet<(IpAddr, u8, u16)>>,
}

impl Sets for Members {
    fn has_address(&self, id: &str, address: IpAddr) -> bool {
        self.addresses.get(id).is_some_and(|set| set.contains(&address))
    }

    fn has_port(&self, id: &str, address: IpAddr, protocol: u8, port: u16) -> bool {
        self.ports.get(id).is_some_and(|set| set.contains(&(address, protocol, port)))
    }
}

/// `app == 'db'` is 10.0.0.2 alone, with the port `sql` = TCP 5432.
fn members() -> Members {
    let db = selector::Selector::parse("app == 'db'").unwrap().unique_id();
    let address = ip("10.0.0.2");
    let named = rule(|r| {
        r.protocol = Some(Protocol::Number(6));
        r.destination.selector = "app == 'db'".into();
        r.destination.ports = vec![Port::Named("sql".into())];
    });
    let (compiled, _) = felix_calc::rule::compile(&named, 0, felix_calc::selectors::Scope::Cluster).unwrap();
    let mut members = Members::default();
    members.addresses.insert(db, BTreeSet::from([address]));
    members
        .ports
        .insert(compiled.destination.named_ports[0].to_string(), BTreeSet::from([(address, 6, 5432)]));
    members
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn rule(edit: impl FnOnce(&mut v3::Rule)) -> v3::Rule {
    let mut rule = v3::Rule { action: Action::Allow, ..v3::Rule::default() };
    edit(&mut rule);
    rule
}

fn action(action: Action) -> v3::Rule {
    rule(|r| r.action = action)
}

fn policy_of(kind: PolicyKind, name: &str, rules: Vec<v3::Rule>) -> Arc<Policy> {
    let spec = NetworkPolicySpec {
        selector: "all()".into(),
        types: vec![v3::PolicyType::Ingress],
        ingress: rules,
        ..NetworkPolicySpec::default()
    };
    let spec = GlobalNetworkPolicySpec { policy: spec, ..GlobalNetworkPolicySpec::default() };
    let key = PolicyKey { kind, namespace: String::new(), name: name.into() };
    Arc::new(Policy::global(key, &spec).unwrap())
}

fn policy(rules: Vec<v3::Rule>) -> Arc<Policy> {
    policy_of(PolicyKind::GlobalNetworkPolicy, "p", rules)
}

fn tier(name: &str, policies: Vec<Arc<Policy>>, default_action: Action) -> Tier {
    Tier { name: name.into(), default_action, policies }
}

fn profile(rules: Vec<v3::Rule>) -> Vec<(Arc<str>, Arc<Profile>)> {
    let spec = ProfileSpec { ingress: rules, ..ProfileSpec::default() };
    vec![("prof".into(), Arc::new(Profile::compile(&spec).unwrap()))]
}

fn ingress(tiers: &[Tier], profiles: &[(Arc<str>, Arc<Profile>)]) -> Program {
    Program::new(Scope::Workload, Direction::Ingress, tiers, profiles)
}

fn tcp(source: &str, destination: &str, ports: (u16, u16)) -> Packet {
    Packet { source: ip(source), destination: ip(destination), protocol: 6, ports: Some(ports), icmp: None }
}

fn plain() -> Packet {
    tcp("10.0.0.1", "10.0.0.2", (1000, 80))
}

fn icmp(kind: u8, code: u8) -> Packet {
    Packet { protocol: ICMP, ports: None, icmp: Some((kind, code)), ..plain() }
}

/// Whether a single Allow rule lets a packet through.
fn allows(edit: impl FnOnce(&mut v3::Rule), packet: Packet) -> bool {
    let program = ingress(&[tier("default", vec![policy(vec![rule(edit)])], Action::Deny)], &[]);
    evaluate(&program, &packet, &members()).verdict == Verdict::Allow
}

fn nets(nets: &[&str]) -> Vec<String> {
    nets.iter().map(ToString::to_string).collect()
}

#[test]
fn each_field_and_its_negation_decides() {
    let number = |n| Some(Protocol::Number(n));
    assert!(allows(|r| r.protocol = number(6), plain()));
    assert!(!allows(|r| r.protocol = number(17), plain()));
    assert!(!allows(|r| r.not_protocol = number(6), plain()));
    assert!(allows(|r| r.not_protocol = number(17), plain()));
    assert!(allows(|r| r.ip_version = Some(4), plain()));
    assert!(!allows(|r| r.ip_version = Some(6), plain()));

    let side = |source: bool, edit: fn(&mut EntityRule)| {
        move |r: &mut v3::Rule| {
            r.protocol = Some(Protocol::Number(6));
            edit(if source { &mut r.source } else { &mut r.destination });
        }
    };
    // the source is 10.0.0.1:1000, the destination 10.0.0.2:80, which is the database
    type Case = (fn(&mut EntityRule), bool, bool);
    let cases: &[Case] = &[
        (|s| s.nets = nets(&["10.0.0.1/32", "192.0.2.0/24"]), true, false),
        (|s| s.not_nets = nets(&["10.0.0.1/32", "192.0.2.0/24"]), false, true),
        (|s| s.selector = "app == 'db'".into(), false, true),
        (|s| s.not_selector = "app == 'db'".into(), true, false),
        (|s| s.ports = vec![Port::Range(70, 90)], false, true),
        (|s| s.not_ports = vec![Port::Range(70, 90)], true, false),
    ];
    for (number, (edit, source, destination)) in cases.iter().enumerate() {
        assert_eq!(allows(side(true, *edit), plain()), *source, "case {number}, source");
        assert_eq!(allows(side(false, *edit), plain()), *destination, "case {number}, destination");
    }

    let echo = |code| {
        move |r: &mut v3::Rule| {
            r.protocol = Some(Protocol::Number(ICMP));
            r.icmp = Some(IcmpFields { icmp_type: Some(8), code });
        }
    };
    assert!(allows(echo(None), icmp(8, 3)));
    assert!(allows(echo(Some(3)), icmp(8, 3)));
    assert!(!allows(echo(Some(0)), icmp(8, 3)));
    assert!(!allows(echo(None), icmp(0, 0)));
    let not_echo = |r: &mut v3::Rule| {
        r.protocol = Some(Protocol::Number(ICMP));
        r.not_icmp = Some(IcmpFields { icmp_type: Some(8), code: None });
    };
    assert!(allows(not_echo, icmp(0, 0)));
    assert!(!allows(not_echo, icmp(8, 0)));
}

#[test]
fn named_ports_are_those_of_the_endpoint_itself() {
    let named = |port: &str, negated: bool| {
        let port = vec![Port::Named(port.into())];
        move |r: &mut v3::Rule| {
            r.protocol = Some(Protocol::Number(6));
            r.destination.selector = "app == 'db'".into();
            if negated { r.destination.not_ports = port } else { r.destination.ports = port }
        }
    };
    let to = |port| tcp("10.0.0.1", "10.0.0.2", (1, port));
    assert!(allows(named("sql", false), to(5432)));
    assert!(!allows(named("sql", false), to(80)));
    assert!(!allows(named("http", false), to(5432)));
    assert!(!allows(named("sql", true), to(5432)));
    assert!(allows(named("sql", true), to(80)));
    // the same port of another address is another port
    assert!(!allows(named("sql", false), tcp("10.0.0.1", "10.0.0.3", (1, 5432))));
}

#[test]
fn networks_of_the_other_family_make_a_rule_one_of_that_family_also_when_negated() {
    let v6 = tcp("2001:db8::1", "2001:db8::2", (1, 80));
    assert!(!allows(|r| r.source.nets = nets(&["10.0.0.0/8"]), v6));
    // the recording `negations` has no such rule in its IPv6 rules
    assert!(!allows(|r| r.source.not_nets = nets(&["10.0.0.0/8"]), v6));
    assert!(allows(|r| r.source.not_nets = nets(&["10.0.0.0/8", "fd00::/8"]), v6));
    assert!(!allows(|r| r.source.not_nets = nets(&["0.0.0.0/0"]), plain()));
}

#[test]
fn what_nobody_enforces_lets_nothing_through() {
    let http = |of: Action| {
        rule(|r| {
            r.action = of;
            r.http = Some(HttpMatch::default());
        })
    };
    let service = |of: Action| {
        rule(|r| {
            r.action = of;
            r.destination.services = Some(ServiceMatch { name: "s".into(), namespace: "n".into() });
        })
    };
    let verdict = |rules| {
        let program = ingress(
            &[tier("default", vec![policy(rules)], Action::Deny)],
            &profile(vec![action(Action::Allow)]),
        );
        evaluate(&program, &plain(), &members()).verdict
    };
    for one in [&http as &dyn Fn(Action) -> v3::Rule, &service] {
        assert_eq!(verdict(vec![one(Action::Allow)]), Verdict::Deny);
        assert_eq!(verdict(vec![one(Action::Pass)]), Verdict::Deny);
        // a Deny acts as if the field were absent
        assert_eq!(verdict(vec![one(Action::Deny), action(Action::Allow)]), Verdict::Deny);
    }
}

#[test]
fn tiers_pass_on_and_end_as_they_say() {
    let allow = || vec![policy(vec![action(Action::Allow)])];
    let silent = || vec![policy(vec![])];
    let passes = || vec![policy(vec![action(Action::Pass), action(Action::Deny)])];
    let open = profile(vec![action(Action::Allow)]);
    let verdict =
        |tiers: &[Tier], profiles: &[_]| evaluate(&ingress(tiers, profiles), &plain(), &members()).verdict;
    // no tier at all: the profiles
    assert_eq!(verdict(&[], &open), Verdict::Allow);
    assert_eq!(verdict(&[], &[]), Verdict::Deny);
    // policies that say nothing: the tier's end
    assert_eq!(verdict(&[tier("a", silent(), Action::Deny)], &open), Verdict::Deny);
    assert_eq!(verdict(&[tier("a", silent(), Action::Pass)], &open), Verdict::Allow);
    assert_eq!(verdict(&[tier("a", silent(), Action::Pass)], &[]), Verdict::Deny);
    // Pass skips the rest of the tier
    assert_eq!(
        verdict(&[tier("a", passes(), Action::Deny), tier("b", allow(), Action::Deny)], &[]),
        Verdict::Allow
    );
    assert_eq!(verdict(&[tier("a", passes(), Action::Deny)], &open), Verdict::Allow);
    // Allow ends it all
    assert_eq!(
        verdict(&[tier("a", allow(), Action::Deny), tier("b", silent(), Action::Deny)], &[]),
        Verdict::Allow
    );
    // a profile has no tier to pass to, but the next profile is asked
    let passing = profile(vec![action(Action::Pass), action(Action::Deny)]);
    assert_eq!(verdict(&[], &passing), Verdict::Deny);
    let next = [passing, vec![("next".into(), open[0].1.clone())]].concat();
    assert_eq!(verdict(&[], &next), Verdict::Allow);
}

#[test]
fn staged_policies_and_other_directions_have_no_effect() {
    let staged = policy_of(PolicyKind::StagedGlobalNetworkPolicy, "s", vec![action(Action::Deny)]);
    let open = profile(vec![action(Action::Allow)]);
    let tiers = [tier("a", vec![staged.clone()], Action::Deny)];
    // with nothing but staged policies a tier is skipped
    assert_eq!(evaluate(&ingress(&tiers, &open), &plain(), &members()).verdict, Verdict::Allow);
    let tiers = [tier("a", vec![policy(vec![action(Action::Deny)])], Action::Deny)];
    let egress = Program::new(Scope::Workload, Direction::Egress, &tiers, &[]);
    assert_eq!(egress.tiers, []);
}

#[test]
fn the_path_names_every_rule_passed() {
    let rules =
        vec![action(Action::Log), rule(|r| r.protocol = Some(Protocol::Number(17))), action(Action::Pass)];
    let program = ingress(
        &[tier("a", vec![policy(rules)], Action::Deny)],
        &profile(vec![action(Action::Log), action(Action::Allow)]),
    );
    let decision = evaluate(&program, &plain(), &members());
    let path: Vec<String> =
        decision.path.iter().map(|(origin, verdict)| format!("{origin}: {verdict:?}")).collect();
    assert_eq!(
        path,
        [
            "tier a, GlobalNetworkPolicy p, ingress rule 0: Log",
            "tier a, GlobalNetworkPolicy p, ingress rule 2: Pass",
            "Profile prof, ingress rule 0: Log",
            "Profile prof, ingress rule 1: Allow",
        ]
    );
}

#[test]
fn policies_of_a_host_act_where_they_belong() {
    let with = |edit: fn(&mut GlobalNetworkPolicySpec)| {
        let mut spec = GlobalNetworkPolicySpec::default();
        spec.policy.selector = "all()".into();
        spec.policy.types = vec![v3::PolicyType::Ingress];
        spec.policy.ingress = vec![rule(|r| r.protocol = Some(Protocol::Number(17)))];
        edit(&mut spec);
        let key =
            PolicyKey { kind: PolicyKind::GlobalNetworkPolicy, namespace: String::new(), name: "h".into() };
        [tier("a", vec![Arc::new(Policy::global(key, &spec).unwrap())], Action::Deny)]
    };
    let open = profile(vec![action(Action::Allow)]);
    let verdict = |scope, tiers: &[Tier]| {
        evaluate(&Program::new(scope, Direction::Ingress, tiers, &open), &plain(), &members()).verdict
    };
    let normal = with(|_| {});
    assert_eq!(verdict(Scope::Host, &normal), Verdict::Deny);
    assert_eq!(verdict(Scope::Forward, &normal), Verdict::Pass);
    let forward = with(|spec| spec.apply_on_forward = true);
    assert_eq!(verdict(Scope::Host, &forward), Verdict::Deny);
    assert_eq!(verdict(Scope::Forward, &forward), Verdict::Deny);
    let pre_dnat = with(|spec| {
        spec.pre_dnat = true;
        spec.apply_on_forward = true;
    });
    // the end of a tier does not drop here, and profiles have no say
    assert_eq!(verdict(Scope::PreDnat, &pre_dnat), Verdict::Pass);
    assert_eq!(verdict(Scope::Host, &pre_dnat), Verdict::Allow);
    let untracked = with(|spec| {
        spec.do_not_track = true;
        spec.apply_on_forward = true;
    });
    assert_eq!(verdict(Scope::Untracked, &untracked), Verdict::Pass);
    assert_eq!(verdict(Scope::Forward, &untracked), Verdict::Pass);
}

#[test]
fn both_ends_must_allow() {
    let program = |of: Action| ingress(&[tier("a", vec![policy(vec![action(of)])], Action::Deny)], &[]);
    let (allow, deny) = (program(Action::Allow), program(Action::Deny));
    let verdict = |egress, ingress| between(egress, ingress, &plain(), &members());
    assert_eq!(verdict(Some(&allow), Some(&allow)).0, Verdict::Allow);
    assert_eq!(verdict(Some(&allow), Some(&deny)).0, Verdict::Deny);
    // what the sender's policy denies, the receiver's never sees
    let (denied, decisions) = verdict(Some(&deny), Some(&allow));
    assert_eq!((denied, decisions.len()), (Verdict::Deny, 1));
    // an end outside has no policy
    assert_eq!(verdict(None, Some(&allow)).0, Verdict::Allow);
}

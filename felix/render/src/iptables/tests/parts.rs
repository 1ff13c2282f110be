//! The parts of a ruleset, one at a time.

use crate::form::{Direction, Match, Origin, Rule, Scope, Verdict};
use crate::iptables::chains::{Chain, Chains, Key};
use crate::iptables::dispatch::{Link, tree};
use crate::iptables::groups::Layout;
use crate::iptables::line::{Action, Line};
use crate::iptables::matches::conditions;
use crate::iptables::{Hook, Marks, Table, Update, failsafe, hash};
use crate::settings::Settings;
use crate::tests::objects::{policy, rule, tier};
use felix_calc::policy::{Policy, PolicyKey, PolicyKind};
use model::felix::FailsafePort;
use model::net::Family;
use model::v3::Action as Stored;
use std::collections::BTreeMap;
use std::sync::Arc;

const ROOT: (Family, Table, &str) = (Family::V4, Table::Filter, "FORWARD");

fn key(name: &str) -> Key {
    (Family::V4, Table::Filter, name.into())
}

fn calls(name: &str, targets: &[&str]) -> (Key, Arc<Chain>) {
    let lines: Vec<Line> = targets.iter().map(|target| Line::always(Action::jump(target))).collect();
    (key(name), Chain::new(name, &lines))
}

fn root(chains: &mut Chains<u8>, targets: &[&str]) {
    let lines: Vec<Line> = targets.iter().map(|target| Line::always(Action::jump(target))).collect();
    let hook = Hook { inserted: hash::rules("FORWARD", &lines).to_vec(), appended: vec![] };
    chains.hook(ROOT, Some((hook, targets.iter().map(|target| (*target).into()).collect())));
}

/// Names of chains that are told, with the number of their rules; `-` before one that goes.
fn told(chains: &mut Chains<u8>) -> Vec<String> {
    let mut updates = Vec::new();
    chains.take(&mut updates);
    updates
        .into_iter()
        .map(|update| match update {
            Update::Chain { name, rules: Some(rules), .. } => format!("{name} {}", rules.len()),
            Update::Chain { name, rules: None, .. } => format!("-{name}"),
            Update::Hook { chain, hook, .. } => format!("{chain} {}", hook.inserted.len()),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_chain_is_told_while_a_rule_in_the_kernel_leads_to_it() {
    let mut chains = Chains::default();
    chains.put(1, vec![calls("a", &["b", "c"]), calls("b", &["d"])]);
    chains.put(2, vec![calls("d", &[])]);
    assert_eq!(told(&mut chains), Vec::<String>::new());
    root(&mut chains, &["a"]);
    // what nobody defines is empty
    assert_eq!(told(&mut chains), ["a 2", "b 1", "c 0", "d 0", "FORWARD 1"]);
    // two ways lead to `d`: it goes with the last one
    chains.put(1, vec![calls("a", &["b", "d"]), calls("b", &["d"])]);
    assert_eq!(told(&mut chains), ["a 2", "-c"]);
    chains.put(1, vec![calls("a", &["d"]), calls("b", &["d"])]);
    assert_eq!(told(&mut chains), ["a 1", "-b"]);
    chains.put(1, vec![calls("a", &["b"]), calls("b", &[])]);
    assert_eq!(told(&mut chains), ["a 1", "b 0", "-d"]);
    chains.hook(ROOT, None);
    assert_eq!(told(&mut chains), ["FORWARD 0", "-a", "-b"]);
}

#[test]
fn what_several_define_is_there_while_one_does() {
    let mut chains = Chains::default();
    root(&mut chains, &["a"]);
    chains.put(1, vec![calls("a", &["g"]), calls("g", &["x"])]);
    chains.put(2, vec![calls("g", &["x"])]);
    assert_eq!(told(&mut chains), ["a 1", "g 1", "x 0", "FORWARD 1"]);
    chains.put(1, vec![calls("a", &["g"])]);
    assert_eq!(told(&mut chains), Vec::<String>::new());
    chains.remove(2);
    assert_eq!(told(&mut chains), ["g 0", "-x"]);
    // what comes and goes meanwhile is not told
    chains.put(2, vec![calls("g", &["y"])]);
    chains.remove(2);
    assert_eq!(told(&mut chains), Vec::<String>::new());
}

/// A tree's chains with the words of their rules.
fn words(interfaces: &[&str], ends: &[Line]) -> BTreeMap<String, Vec<String>> {
    let interfaces =
        interfaces.iter().map(|name| ((*name).into(), format!("cali-fw-{name}").into())).collect();
    let chains = tree("root", Link::In, &interfaces, ends);
    let mut all = Chains::<u8>::default();
    all.put(0, chains.into_iter().map(|(name, chain)| (key(&name), chain)).collect());
    root(&mut all, &["root"]);
    let mut updates = Vec::new();
    all.take(&mut updates);
    let of = |update: Update| match update {
        Update::Chain { name, rules: Some(rules), .. } if !name.starts_with("cali-fw-") => {
            Some((name.to_string(), rules.iter().map(|rule| rule.text.to_string()).collect()))
        }
        _ => None,
    };
    updates.into_iter().filter_map(of).collect()
}

#[test]
fn a_tree_tells_interfaces_apart_by_the_first_character_in_which_they_differ() {
    let ends = [Line::always(Action::DROP)];
    let go = |name: &str| format!("--in-interface {name} --goto cali-fw-{name}");
    let end = || "--jump DROP".to_owned();
    assert_eq!(words(&[], &ends), [("root".to_owned(), vec![end()])].into());
    assert_eq!(words(&["cali1"], &ends)["root"], [go("cali1"), end()]);
    // one that is how all others begin, and two under one character
    let found = words(&["cali", "calia1", "calia2", "calib"], &ends);
    let branch = "--in-interface calia+ --goto root-a".to_owned();
    assert_eq!(found["root"], [go("cali"), branch, go("calib"), end()]);
    assert_eq!(found["root-a"], [go("calia1"), go("calia2"), end()]);
    assert_eq!(found.len(), 2);
    // characters of several bytes stay whole
    let found = words(&["x\u{e4}1", "x\u{e4}2", "x\u{e5}"], &[]);
    assert_eq!(found["root"][0], "--in-interface x\u{e4}+ --goto root-\u{e4}");
}

fn of_matches(matches: Vec<Match>) -> Rule {
    Rule { family: None, matches, verdict: Verdict::Allow, origin: Origin::NoProfile, annotations: [].into() }
}

/// The words of a rule's conditions: blocks first.
fn condition_words(family: Family, matches: Vec<Match>) -> Option<Vec<String>> {
    let rule = of_matches(matches).for_family(family)?;
    let found = conditions(&rule, family, &Marks::default())?;
    let ways = found.ways.into_iter().map(|way| Line::new(way, Action::Nothing));
    Some(found.blocks.into_iter().chain(ways).map(|line| line.text()).collect())
}

fn protocol(number: u8, negated: bool) -> Match {
    Match::Protocol { number, negated }
}

fn nets(end: crate::form::End, nets: &[&str], negated: bool) -> Match {
    Match::Nets { end, nets: nets.iter().map(|net| net.parse().unwrap()).collect(), negated }
}

#[test]
fn a_rule_has_one_protocol() {
    use crate::form::End::{Destination, Source};
    let icmp = |negated| Match::Icmp { kind: 8, code: Some(1), negated };
    let named = |negated| Match::Ports { end: Source, ranges: vec![], sets: vec!["n:x".into()], negated };
    let v4 = |matches| condition_words(Family::V4, matches);
    assert_eq!(v4(vec![protocol(103, true)]).unwrap(), ["! -p 103"]);
    assert_eq!(v4(vec![protocol(6, false), protocol(17, true)]).unwrap(), ["-p tcp"]);
    assert_eq!(v4(vec![protocol(6, false), protocol(6, true)]), None);
    // fields of ICMP make it ICMP
    assert_eq!(v4(vec![icmp(false)]).unwrap(), ["-p icmp -m icmp --icmp-type 8/1"]);
    assert_eq!(v4(vec![protocol(17, true), icmp(true)]).unwrap(), ["-p icmp -m icmp ! --icmp-type 8/1"]);
    assert_eq!(v4(vec![protocol(6, false), icmp(false)]), None);
    assert_eq!(v4(vec![protocol(1, true), icmp(false)]), None);
    assert_eq!(v4(vec![icmp(false), named(true)]), None);
    let v6 = condition_words(Family::V6, vec![icmp(false)]).unwrap();
    assert_eq!(v6, ["-p icmpv6 -m icmp6 --icmpv6-type 8/1"]);
    // a set holds no packet without ports, its negation would
    assert_eq!(v4(vec![named(false)]).unwrap(), ["-m set --match-set cali40n:x src,src"]);
    let ways = v4(vec![protocol(17, true), named(true)]).unwrap();
    let expected =
        ["tcp", "sctp", "udplite"].map(|name| format!("-p {name} -m set ! --match-set cali40n:x src,src"));
    assert_eq!(ways, expected);
    // nothing is outside of everything
    assert_eq!(v4(vec![nets(Destination, &["10.0.0.0/8", "0.0.0.0/0"], true)]), None);
}

#[test]
fn what_one_rule_cannot_say_comes_in_blocks_before_it() {
    use crate::form::End::{Destination, Source};
    let ports: Vec<(u16, u16)> = (0..14).map(|n| (n * 10 + 1, n * 10 + 1)).chain([(1000, 2000)]).collect();
    let found = condition_words(
        Family::V4,
        vec![
            protocol(17, false),
            nets(Source, &["10.0.0.0/8", "172.16.0.0/12"], false),
            nets(Destination, &["192.0.2.0/24"], false),
            nets(Destination, &["192.0.2.1/32"], true),
            Match::Ports { end: Destination, ranges: ports, sets: vec![], negated: false },
        ],
    );
    let list: Vec<String> = (0..14).map(|n| (n * 10 + 1).to_string()).collect();
    let expected = [
        "--jump MARK --set-mark 0x0/0x180000".to_owned(),
        format!(
            "-p udp -m multiport --destination-ports {} --jump MARK --set-mark 0x80000/0x80000",
            list.join(",")
        ),
        "-p udp -m multiport --destination-ports 1000:2000 --jump MARK --set-mark 0x80000/0x80000".to_owned(),
        "--source 10.0.0.0/8 --jump MARK --set-mark 0x100000/0x100000".to_owned(),
        "--source 172.16.0.0/12 --jump MARK --set-mark 0x100000/0x100000".to_owned(),
        "-m mark --mark 0/0x100000 --jump MARK --set-mark 0/0x80000".to_owned(),
        "--destination 192.0.2.1/32 --jump MARK --set-mark 0/0x80000".to_owned(),
        "-p udp --destination 192.0.2.0/24 -m mark --mark 0x80000/0x80000".to_owned(),
    ];
    assert_eq!(found.unwrap(), expected);
    // a first block that excludes begins with "all hold"
    let found =
        condition_words(Family::V4, vec![nets(Source, &["10.0.0.0/8", "10.1.0.0/16"], true)]).unwrap();
    assert_eq!(found[0], "--jump MARK --set-mark 0x80000/0x180000");
    assert_eq!(found.last().unwrap(), "-m mark --mark 0x80000/0x80000");
}

fn staged(policy: &Policy) -> Arc<Policy> {
    let key = PolicyKey { kind: PolicyKind::StagedGlobalNetworkPolicy, ..policy.key.clone() };
    Arc::new(Policy { key, ..policy.clone() })
}

#[test]
fn policies_of_one_selector_are_a_group_which_is_called_by_what_it_holds() {
    let some: Vec<Arc<Policy>> = (0..7)
        .map(|n| {
            policy(&format!("p{n}"), |spec| {
                spec.policy.selector = if n < 6 { "has(app)" } else { "has(other)" }.into();
                spec.policy.ingress = vec![rule(Stored::Allow, |_| {})];
            })
        })
        .collect();
    let layout = |policies: &[Arc<Policy>], before: Option<&Layout>| {
        let tiers = [tier("default", &policies.iter().collect::<Vec<_>>())];
        Layout::new(Scope::Workload, Direction::Ingress, &tiers, &Marks::default(), before)
    };
    let groups = |layout: &Layout| -> Vec<Vec<String>> {
        let of = |group: &crate::iptables::groups::Group| {
            group.calls(Direction::Ingress).iter().map(ToString::to_string).collect()
        };
        layout.tiers.iter().flat_map(|tier| tier.groups.iter().map(of)).collect()
    };
    let all = layout(&some, None);
    let found = groups(&all);
    assert!(found.len() == 2 && found[0][0].starts_with("cali-gi-") && found[1] == ["cali-pi-gnp/p6"]);
    // with one that acts there is no group, with none a tier that decides nothing
    let staged_but_first: Vec<_> =
        some.iter().enumerate().map(|(n, one)| if n == 0 { one.clone() } else { staged(one) }).collect();
    assert_eq!(groups(&layout(&staged_but_first, None)), [vec!["cali-pi-gnp/p0".to_owned()], vec![]]);
    let nothing = layout(&staged_but_first[1..], None);
    assert_eq!((nothing.tiers[0].end, nothing.policies().count()), (Verdict::Pass, 0));
    // staged ones are part of the group's name
    let with_staged = [&some[..2], &[staged(&some[2])]].concat();
    assert_ne!(groups(&layout(&some[..2], None)), groups(&layout(&with_staged, None)));
    // what stays is not made anew, also where a policy says something else
    let changed: Vec<_> =
        some.iter().map(|one| Arc::new(Policy { order: Some(1.0), ..(**one).clone() })).collect();
    let again = layout(&changed, Some(&all));
    assert!(again.calls_the_same(&all));
    let chain = |layout: &Layout| layout.tiers[0].groups[0].chain.clone().unwrap().1;
    assert!(Arc::ptr_eq(&chain(&again), &chain(&all)));
    assert!(!layout(&some[1..], Some(&all)).calls_the_same(&all));
}

#[test]
fn failsafe_ports_are_open_for_answers_before_connections_are_tracked() {
    let port = |protocol: &str, port, net: Option<&str>| FailsafePort {
        protocol: protocol.into(),
        port,
        net: net.map(|net| net.parse().unwrap()),
    };
    let settings = Settings {
        failsafe_inbound: vec![port("tcp", 22, None), port("tcp", 80, Some("fd00::/8"))],
        failsafe_outbound: vec![port("udp", 53, Some("10.0.0.0/8"))],
        ..Settings::default()
    };
    let text = |(inbound, outbound): (Vec<Line>, Vec<Line>)| {
        [inbound, outbound].map(|lines| lines.iter().map(Line::text).collect::<Vec<_>>())
    };
    let [inbound, outbound] = text(failsafe::lines(Family::V4, Table::Filter, &settings));
    assert_eq!(inbound, ["-p tcp -m multiport --destination-ports 22 --jump ACCEPT"]);
    assert_eq!(
        outbound,
        ["-p udp -m multiport --destination-ports 53 --destination 10.0.0.0/8 --jump ACCEPT"]
    );
    let [inbound, outbound] = text(failsafe::lines(Family::V4, Table::Raw, &settings));
    assert_eq!(inbound[1], "-p udp -m multiport --source-ports 53 --source 10.0.0.0/8 --jump ACCEPT");
    assert_eq!(outbound[1], "-p tcp -m multiport --source-ports 22 --jump ACCEPT");
    let [inbound, outbound] = text(failsafe::lines(Family::V6, Table::Raw, &settings));
    assert_eq!((inbound.len(), outbound.len()), (2, 2));
    assert_eq!(outbound[1], "-p tcp -m multiport --source-ports 80 --destination fd00::/8 --jump ACCEPT");
}

//! The kernel takes a ruleset and gives it back equal; `nft` lists it, and reads its own list back.

use super::accumulated::Ruleset;
use super::history::random_ruleset;
use super::workloads::everything;
use crate::nft::{Rule, SetShape, table};
use crate::tests::namespace::Namespace;
use kernel::Nftables;
use netfilter::nft::{Change, Element, Family, Object, Place, Query, Table};
use std::collections::BTreeMap;

/// A ruleset as the changes that make it.
fn changes(ruleset: &Ruleset) -> Vec<Change> {
    let mut changes: Vec<Change> = [Family::Ipv4, Family::Ipv6, Family::Arp]
        .map(|family| Change::AddTable(Table { table: table(family), flags: 0, comment: None }))
        .into();
    for ((family, name), set) in &ruleset.sets {
        changes.push(Change::AddSet(set.shape.in_kernel(table(*family), name)));
    }
    for ((family, name), chain) in &ruleset.chains {
        changes.push(Change::AddChain(chain.in_kernel(table(*family), name)));
    }
    for ((family, name), set) in &ruleset.sets {
        changes.push(Change::AddElements {
            table: table(*family),
            set: name.to_string(),
            elements: set.elements.values().cloned().collect(),
        });
    }
    for ((family, name), chain) in &ruleset.chains {
        let rules = chain.rules.iter().map(|rule| rule.in_kernel(table(*family), name));
        changes.extend(rules.map(|rule| Change::AddRule(rule, Place::Last)));
    }
    changes
}

/// The ruleset as the kernel has it, to be compared.
fn read(nft: &mut Nftables, ruleset: &Ruleset) {
    for family in [Family::Ipv4, Family::Ipv6, Family::Arp] {
        let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
        for object in nft.read(&Query::Rules(table(family))).unwrap() {
            let Object::Rule(rule) = object else { panic!("{object:?}") };
            rules.entry(rule.chain.clone()).or_default().push(Rule::of_kernel(rule));
        }
        for ((of, name), chain) in ruleset.chains.iter().filter(|((of, _), _)| *of == family) {
            let found = rules.remove(&**name).unwrap_or_default();
            assert_eq!(found, chain.rules, "{of:?} {name}");
        }
        assert!(rules.is_empty());
        for object in nft.read(&Query::Sets(table(family))).unwrap() {
            let Object::Set(set) = object else { panic!("{object:?}") };
            let wanted = &ruleset.sets[&(family, set.name.as_str().into())];
            assert_eq!(SetShape::of_kernel(set.clone()), *wanted.shape, "{}", set.name);
            let mut found: BTreeMap<(Vec<u8>, bool), Element> = BTreeMap::new();
            for object in nft.read(&Query::Elements { table: table(family), set: set.name.clone() }).unwrap()
            {
                let Object::Elements { elements, .. } = object else { panic!("{object:?}") };
                found.extend(elements.into_iter().map(|element| {
                    ((element.key.clone(), element.interval_end), Element { counter: None, ..element })
                }));
            }
            assert_eq!(found, wanted.elements, "{}", set.name);
        }
    }
}

/// Commits a ruleset and reads it back.
fn round_trip(nft: &mut Nftables, ruleset: &Ruleset, what: &str) {
    let changes = changes(ruleset);
    if let Err(error) = nft.commit(&changes, None) {
        if let kernel::CommitError::Refused(refused) = &error {
            refused.iter().for_each(|one| eprintln!("{one:?}: {:?}", changes[one.change]));
        }
        panic!("{what}: {error}");
    }
    read(nft, ruleset);
}

#[test]
fn the_kernel_takes_everything_and_gives_it_back_equal() {
    let namespace = Namespace::new();
    let mut nft = Nftables::open(&namespace.netns).unwrap();
    round_trip(&mut nft, &everything(), "everything");
}

#[test]
fn the_kernel_takes_what_random_nodes_need() {
    let namespace = Namespace::new();
    let mut nft = Nftables::open(&namespace.netns).unwrap();
    for seed in 0..40 {
        round_trip(&mut nft, &random_ruleset(seed), &format!("seed {seed}"));
        let all = [Family::Ipv4, Family::Ipv6, Family::Arp].map(|family| Change::DeleteTable(table(family)));
        nft.commit(&all, None).unwrap();
    }
}

#[test]
fn nft_reads_back_what_it_lists() {
    let (ours, theirs) = (Namespace::new(), Namespace::new());
    let mut nft = Nftables::open(&ours.netns).unwrap();
    nft.commit(&changes(&everything()), None).unwrap();
    let listed = ours.run("nft", &["list", "ruleset"], "");
    if let Ok(path) = std::env::var("RENDER_LISTING") {
        std::fs::write(path, &listed).unwrap();
    }
    theirs.run("nft", &["-f", "-"], &listed);
    let again = theirs.run("nft", &["list", "ruleset"], "");
    for (line, again) in listed.lines().zip(again.lines()) {
        assert_eq!(again, line);
    }
    assert_eq!(again.lines().count(), listed.lines().count());
}

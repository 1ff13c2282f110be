//! The table `arp calico-arp` of the recordings: its chains with the hashes of their rules, and its map.

use crate::scenario::{self, Node};
use felix_render::nft::Update;
use netfilter::nft::{Data, Expression, Family, Verdict};
use std::collections::BTreeMap;

/// Hashes of rules by chain, and chains by interface.
#[derive(Debug, Default, PartialEq)]
struct Table {
    chains: BTreeMap<String, Vec<String>>,
    interfaces: BTreeMap<String, String>,
}

fn recorded(text: &str) -> Table {
    let mut table = Table::default();
    let mut chain = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches(" {").to_owned();
            table.chains.insert(chain.clone(), Vec::new());
        } else if let Some((_, hash)) = line.split_once("comment \"cali:") {
            table.chains.get_mut(&chain).unwrap().push(hash.trim_end_matches(";\"").to_owned());
        }
        for entry in line.trim_start_matches("elements = {").trim_end_matches('}').split(',') {
            if let Some((name, to)) = entry.split_once(" : goto ") {
                table.interfaces.insert(name.trim().trim_matches('"').to_owned(), to.trim().to_owned());
            }
        }
    }
    table
}

impl Table {
    fn update(&mut self, updates: Vec<Update>) {
        for update in updates {
            match update {
                Update::Chain { family, name, chain } => {
                    assert_eq!(family, Family::Arp);
                    let Some(chain) = chain else {
                        self.chains.remove(&*name).unwrap();
                        continue;
                    };
                    assert_eq!(chain.hook.is_some(), &*name == "filter-OUTPUT");
                    let hash = |rule: &felix_render::nft::Rule| {
                        let text = rule.comment.as_deref().unwrap();
                        text.strip_prefix("cali:").unwrap().trim_end_matches(';').to_owned()
                    };
                    self.chains.insert(name.to_string(), chain.rules.iter().map(hash).collect());
                    // nothing but the answers is counted in a workload's chain, and these are dropped
                    if name.starts_with("filter-cali-arp-") && &*name != "filter-cali-arp-dispatch" {
                        let drops = |rule: &felix_render::nft::Rule| {
                            rule.expressions.last() == Some(&Expression::Verdict(Verdict::Drop))
                        };
                        assert!(chain.rules.iter().all(drops));
                    }
                }
                Update::Set { name, shape, .. } => {
                    assert_eq!((&*name, shape.is_some()), ("filter-cali-arp-dispatch", true));
                }
                Update::Elements { added, removed, .. } => {
                    let name = |key: &[u8]| {
                        String::from_utf8(key.iter().copied().take_while(|byte| *byte > 0).collect()).unwrap()
                    };
                    removed.iter().for_each(|element| {
                        self.interfaces.remove(&name(&element.key)).unwrap();
                    });
                    for element in added {
                        let Some(Data::Verdict(Verdict::Goto(chain))) = element.data else { panic!() };
                        self.interfaces.insert(name(&element.key), chain);
                    }
                }
            }
        }
    }

    fn take(&mut self, node: &mut Node) {
        self.update(node.renderer.take_arp());
    }
}

#[test]
fn the_table_of_arp_is_the_recorded_one() {
    let mut rules = 0;
    for scenario in scenario::all() {
        let (mut node, mut ours) = (scenario.node(), Table::default());
        ours.take(&mut node);
        if let Some(text) = scenario.file("iptables", "before-arp.txt") {
            assert_eq!(ours, recorded(&text), "{}", scenario.name);
        }
        for (kind, name) in &scenario.then {
            node.delete(kind, name);
        }
        ours.take(&mut node);
        if let Some(text) = scenario.file("iptables", "arp.txt") {
            assert_eq!(ours, recorded(&text), "{}", scenario.name);
            rules += ours.chains.values().map(Vec::len).sum::<usize>();
        }
    }
    assert!(rules > 100, "{rules}");
}

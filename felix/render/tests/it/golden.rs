//! Calico's own ruleset, rule by rule: the hash of a rule is equal where its words and those of all rules before it are
//! (`felix.md` §4.1 of the contract), so equal hashes are equal matches, marks, comments and order.

use crate::differences::DIFFERENCES;
use crate::recorded::{Chains, Ruleset, chains, sets};
use crate::scenario::{self, Scenario};
use felix_render::iptables::Table;
use model::net::Family;
use std::collections::BTreeSet;
use std::fmt::Write as _;

#[derive(Default)]
struct Compared {
    chains: usize,
    rules: usize,
    sets: usize,
    met: BTreeSet<usize>,
    wrong: String,
}

#[test]
fn chains_and_sets_are_those_recorded() {
    let mut compared = Compared::default();
    for scenario in scenario::all() {
        let mut node = scenario.node();
        let mut ruleset = Ruleset::default();
        ruleset.update(node.renderer.take());
        if !scenario.then.is_empty() {
            compared.scenario(&scenario, "before-", &ruleset);
            for (kind, name) in &scenario.then {
                node.delete(kind, name);
            }
            ruleset.update(node.renderer.take());
        }
        compared.scenario(&scenario, "", &ruleset);
    }
    for (place, difference) in DIFFERENCES.iter().enumerate() {
        if !compared.met.contains(&place) {
            let _ = writeln!(
                compared.wrong,
                "{}: {}: {:?} does not differ any more ({})",
                difference.scenario, difference.file, difference.chain, difference.why
            );
        }
    }
    assert!(compared.wrong.is_empty(), "{}", compared.wrong);
    println!("{} chains, {} rules, {} sets", compared.chains, compared.rules, compared.sets);
    // nothing was skipped
    assert!(compared.chains > 2_000 && compared.rules > 6_000 && compared.sets > 250);
}

impl Compared {
    fn scenario(&mut self, scenario: &Scenario, before: &str, ours: &Ruleset) {
        for (family, name) in [(Family::V4, "iptables.txt"), (Family::V6, "ip6tables.txt")] {
            // two scenarios were recorded with the other variant, too
            for variant in ["iptables", "iptables-nft"] {
                let file = format!("{before}{name}");
                let Some(text) = scenario.file(variant, &file) else { continue };
                self.chains(scenario, &file, &chains(&text), (ours, family));
            }
        }
        if let Some(text) = scenario.file("iptables", &format!("{before}ipset.txt")) {
            let (recorded, ours) = (sets(&text), ours.sets());
            self.sets += recorded.len();
            for line in recorded.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
                if recorded.get(line) != ours.get(line) {
                    let _ = writeln!(
                        self.wrong,
                        "{}: {line}: recorded {:?}, is {:?}",
                        scenario.name,
                        recorded.get(line),
                        ours.get(line)
                    );
                }
            }
        }
    }

    fn chains(
        &mut self,
        scenario: &Scenario,
        file: &str,
        recorded: &Chains,
        (ruleset, family): (&Ruleset, Family),
    ) {
        let ours = ruleset.chains(family);
        self.chains += recorded.len();
        self.rules += recorded.values().map(Vec::len).sum::<usize>();
        for key in recorded.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let (then, now) = (recorded.get(key), ours.get(key));
            if then == now {
                continue;
            }
            let (then, now) = (then.cloned().unwrap_or_default(), now.cloned().unwrap_or_default());
            let from = then.iter().zip(&now).take_while(|(then, now)| then == now).count();
            let permitted = DIFFERENCES.iter().position(|one| {
                (one.scenario, one.file) == (&*scenario.name, file)
                    && one.chain == (key.0.name(), &*key.1)
                    && one.from == from
                    && one.same_length == (then.len() == now.len())
            });
            match permitted {
                Some(place) => {
                    self.met.insert(place);
                }
                None => {
                    let _ = writeln!(
                        self.wrong,
                        "{}: {file}: {} {}: recorded {} rules, are {}, from rule {from} on; ours:\n{}",
                        scenario.name,
                        key.0.name(),
                        key.1,
                        then.len(),
                        now.len(),
                        ruleset.words(family, key).join("\n")
                    );
                }
            }
        }
    }
}

/// Where upstream's agent gave up because the kernel rejects in the filter table alone: there as it was meant, elsewhere
/// dropped.
#[test]
fn packets_are_rejected_in_the_filter_table_and_dropped_elsewhere() {
    let mut node = scenario::all().into_iter().find(|one| one.name == "reject").unwrap().node();
    let mut ruleset = Ruleset::default();
    ruleset.update(node.renderer.take());
    let chains = ruleset.chains(Family::V4);
    let count = |table: Table, action: &str| {
        let of_table = chains.keys().filter(|(of, _)| *of == table);
        of_table
            .flat_map(|chain| ruleset.words(Family::V4, chain))
            .filter(|text| text.contains(&format!("--jump {action}")))
            .count()
    };
    assert_eq!(count(Table::Filter, "REJECT"), 10);
    // what the host makes of a workload's packets has a setting of its own
    assert_eq!(count(Table::Filter, "DROP"), 1);
    assert_eq!((count(Table::Raw, "REJECT"), count(Table::Raw, "DROP")), (0, 1));
    assert_eq!((count(Table::Mangle, "REJECT"), count(Table::Nat, "REJECT")), (0, 0));
}

/// What a list of differences cannot say: that nothing else differs in these chains.
#[test]
fn differing_chains_differ_in_what_is_listed_alone() {
    let words = |name: &str, family, chain: &str| {
        let mut node = scenario::all().into_iter().find(|one| one.name == name).unwrap().node();
        let mut ruleset = Ruleset::default();
        ruleset.update(node.renderer.take());
        ruleset.words(family, &(Table::Filter, chain.to_owned()))
    };
    let logger = words("logging", Family::V4, "cali-pi-gnp/logger");
    assert_eq!(
        logger[0],
        "-m comment --comment \"ticket=NET-1\" -m comment --comment \"why=odd: _chars_ _ more\" -m comment \
         --comment \"GlobalNetworkPolicy logger ingress\" -m limit --limit 10/minute --limit-burst 7 --jump LOG \
         --log-prefix \"pkt platform gnp logger: \" --log-level 5"
    );
    assert_eq!(logger[1], "--jump MARK --set-mark 0x20000/0x20000");
    let icmp = words("icmp", Family::V6, "cali-pi-gnp/icmp");
    assert_eq!(icmp[10], "-p udp --jump MARK --set-mark 0x10000/0x10000");
}

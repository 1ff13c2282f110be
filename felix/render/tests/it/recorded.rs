//! What `iptables-save` and `ipset save` printed, and our updates in the same form.

use felix_render::iptables::{Member, SetKind, Table, Update};
use model::net::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Chains by table and name; of each the hashes of its rules, in order. The kernel's own hold ours alone.
pub type Chains = BTreeMap<(Table, String), Vec<String>>;

/// Sets by their line in the dump (name, type, family, size), each with its members as printed.
pub type Sets = BTreeMap<String, BTreeSet<String>>;

/// A dump of `iptables-save`.
pub fn chains(text: &str) -> Chains {
    let mut chains = Chains::new();
    let mut table = Table::Raw;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = Table::ALL.into_iter().find(|table| table.name() == name).unwrap();
        } else if let Some(chain) = line.strip_prefix(':') {
            let (name, policy) = chain.split_once(' ').unwrap();
            if policy == "-" {
                chains.insert((table, name.to_owned()), Vec::new());
            }
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (chain, rest) = rule.split_once(' ').unwrap();
            let (_, hash) = rest.split_once("\"cali:").unwrap();
            chains.entry((table, chain.to_owned())).or_default().push(hash[..16].to_owned());
        }
    }
    chains
}

/// A dump of `ipset save`.
pub fn sets(text: &str) -> Sets {
    let mut names = BTreeMap::new();
    let mut sets = Sets::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["create", name, ..] => {
                names.insert(name, line);
                sets.insert(line.to_owned(), BTreeSet::new());
            }
            ["add", name, member] => {
                sets.get_mut(names[name]).unwrap().insert(member.to_owned());
            }
            _ => panic!("{line}"),
        }
    }
    sets
}

/// The rules of chains: hashes and words.
type Rules = BTreeMap<(Table, String), Vec<(String, String)>>;

/// What updates add up to.
#[derive(Debug, Default, PartialEq)]
pub struct Ruleset {
    chains: BTreeMap<Family, Rules>,
    sets: BTreeMap<(Family, String), (String, BTreeSet<String>)>,
}

impl Ruleset {
    pub fn update(&mut self, updates: Vec<Update>) {
        for update in updates {
            match update {
                Update::Chain { family, table, name, rules } => {
                    let key = (table, name.to_string());
                    let chains = self.chains.entry(family).or_default();
                    match rules {
                        Some(rules) => {
                            let pair = |rule: &felix_render::iptables::Rule| {
                                (rule.hash.to_string(), rule.text.to_string())
                            };
                            chains.insert(key, rules.iter().map(pair).collect())
                        }
                        None => Some(chains.remove(&key).unwrap()),
                    };
                }
                Update::Hook { family, table, chain, hook } => {
                    let rules = hook.inserted.iter().chain(&hook.appended);
                    let rules = rules.map(|rule| (rule.hash.to_string(), rule.text.to_string())).collect();
                    self.chains.entry(family).or_default().insert((table, chain.to_owned()), rules);
                }
                Update::Set { family, name, shape: Some(shape) } => {
                    let kind = match shape.kind {
                        SetKind::Net => "hash:net",
                        SetKind::Ip => "hash:ip",
                        SetKind::IpPort => "hash:ip,port",
                        SetKind::NetNet => "hash:net,net",
                    };
                    let inet = if family == Family::V4 { "inet" } else { "inet6" };
                    let line = format!("create {name} {kind} family {inet} maxelem {}", shape.max);
                    let before = self.sets.insert((family, name.to_string()), (line, BTreeSet::new()));
                    assert_eq!(before, None);
                }
                Update::Set { family, name, shape: None } => {
                    self.sets.remove(&(family, name.to_string())).unwrap();
                }
                Update::Members { family, set, added, removed } => {
                    let (_, members) = self.sets.get_mut(&(family, set.to_string())).unwrap();
                    removed.iter().for_each(|member| assert!(members.remove(&text(member))));
                    added.iter().for_each(|member| assert!(members.insert(text(member))));
                }
            }
        }
    }

    /// Chains as [`chains`] has them; those of the kernel without rules of ours are left out.
    pub fn chains(&self, family: Family) -> Chains {
        let all = self.chains.get(&family).into_iter().flatten();
        let ours = all.filter(|((_, name), rules)| name.starts_with("cali-") || !rules.is_empty());
        ours.map(|(key, rules)| (key.clone(), rules.iter().map(|(hash, _)| hash.clone()).collect())).collect()
    }

    /// The words of a chain's rules.
    pub fn words(&self, family: Family, chain: &(Table, String)) -> Vec<String> {
        let rules = self.chains.get(&family).and_then(|chains| chains.get(chain));
        rules.into_iter().flatten().map(|(_, text)| text.clone()).collect()
    }

    pub fn sets(&self) -> Sets {
        self.sets.values().cloned().collect()
    }
}

fn text(member: &Member) -> String {
    let net = |(address, length): (IpAddr, u8)| match length == model::net::family_of(address).bits() {
        true => address.to_string(),
        false => format!("{address}/{length}"),
    };
    match member {
        Member::Net { address, length } => net((*address, *length)),
        Member::Port { address, protocol, port } => {
            let protocol = match protocol {
                6 => "tcp",
                17 => "udp",
                132 => "sctp",
                other => panic!("{other}"),
            };
            format!("{address},{protocol}:{port}")
        }
        Member::Pair { from, to } => format!("{},{}", net(*from), net(*to)),
    }
}

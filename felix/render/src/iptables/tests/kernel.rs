//! Both variants' tools take a ruleset, and print it with the same hashes in the same order.

use super::accumulated::Ruleset;
use crate::iptables::{Member, Renderer, Rule, SetKind, Table};
use crate::tests::namespace::Namespace;
use crate::tests::state::{State, fresh};
use model::net::{Family, family_of};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Programs of a family: `iptables-legacy-restore`.
fn program(family: Family, variant: &str, what: &str) -> String {
    let begin = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    format!("{begin}-{variant}-{what}")
}

fn sets(ruleset: &Ruleset) -> String {
    let mut text = String::new();
    for ((family, name), (shape, members)) in &ruleset.sets {
        let kind = match shape.kind {
            SetKind::Net => "hash:net",
            SetKind::Ip => "hash:ip",
            SetKind::IpPort => "hash:ip,port",
            SetKind::NetNet => "hash:net,net",
        };
        let inet = if *family == Family::V4 { "inet" } else { "inet6" };
        writeln!(text, "create {name} {kind} family {inet} maxelem {}", shape.max).unwrap();
        for member in members {
            writeln!(text, "add {name} {}", member_text(member)).unwrap();
        }
    }
    text
}

fn member_text(member: &Member) -> String {
    let net = |address: IpAddr, length: u8| match length == family_of(address).bits() {
        true => address.to_string(),
        false => format!("{address}/{length}"),
    };
    match member {
        Member::Net { address, length } => net(*address, *length),
        Member::Port { address, protocol, port } => format!("{address},{protocol}:{port}"),
        Member::Pair { .. } => panic!("{member:?}"),
    }
}

/// Everything of a family as `iptables-restore` reads it.
fn restored(ruleset: &Ruleset, family: Family) -> String {
    let mut text = String::new();
    let rule = |chain: &str, rule: &Rule| {
        format!("-A {chain} -m comment --comment \"cali:{}\" {}", rule.hash, rule.text)
    };
    for table in Table::ALL {
        writeln!(text, "*{}", table.name()).unwrap();
        let chains = || ruleset.chains.iter().filter(move |((of, at, _), _)| (*of, *at) == (family, table));
        for ((_, _, name), _) in chains() {
            writeln!(text, ":{name} - -").unwrap();
        }
        for ((_, _, name), rules) in chains() {
            rules.iter().for_each(|one| writeln!(text, "{}", rule(name, one)).unwrap());
        }
        for (of, at, chain) in ruleset.hooks.keys().filter(|(of, at, _)| (*of, *at) == (family, table)) {
            ruleset
                .of_hook(*of, *at, chain)
                .into_iter()
                .for_each(|one| writeln!(text, "{}", rule(chain, one)).unwrap());
        }
        text.push_str("COMMIT\n");
    }
    text
}

/// Hashes by table and chain.
type Hashes = BTreeMap<(String, String), Vec<String>>;

fn printed(text: &str) -> Hashes {
    let mut hashes = Hashes::new();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_owned();
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (chain, rest) = rule.split_once(' ').unwrap();
            let (_, hash) = rest.split_once("cali:").unwrap_or_else(|| panic!("{line}"));
            hashes.entry((table.clone(), chain.to_owned())).or_default().push(hash[..16].to_owned());
        }
    }
    hashes
}

#[test]
fn the_tools_of_both_variants_take_any_ruleset() {
    let mut rules = 0;
    for seed in 0..20 {
        let ruleset = fresh::<Renderer>(&State::random(seed));
        let variant = if seed % 2 == 0 { "legacy" } else { "nft" };
        let namespace = Namespace::new();
        namespace.run("ipset", &["restore"], &sets(&ruleset));
        for family in [Family::V4, Family::V6] {
            if !ruleset.hooks.keys().any(|(of, ..)| *of == family) {
                continue;
            }
            let text = restored(&ruleset, family);
            namespace.run(&program(family, variant, "restore"), &["--noflush"], &text);
            let saved = namespace.run(&program(family, variant, "save"), &[], "");
            assert_eq!(printed(&saved), printed(&text), "seed {seed}, {variant}");
            rules += printed(&text).values().map(Vec::len).sum::<usize>();
        }
    }
    assert!(rules > 2_000, "{rules}");
}

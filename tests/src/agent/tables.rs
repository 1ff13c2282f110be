//! Tables of iptables, IP sets and Calico's table of ARP, as their own programs show them, beside what was recorded.

use crate::process::tool;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Variants of iptables, by the folder of their recordings and by the programs' name.
pub const VARIANTS: [(&str, &str); 2] = [("iptables", "legacy"), ("iptables-nft", "nft")];

/// Chains whose rules are not the recorded ones on purpose (`felix/render/tests/it/differences.rs` says from which rule on
/// and why): a protocol's number is passed on as its name, and the order of several annotations varies upstream.
const DIFFERENCES: [(&str, &str); 2] = [("icmp", "cali-pi-gnp/icmp"), ("logging", "cali-pi-gnp/logger")];

/// Rules by table and chain.
type Chains = BTreeMap<(String, String), Vec<String>>;

/// The files of a recording that are about this.
pub const FILES: [&str; 4] = ["iptables.txt", "ip6tables.txt", "ipset.txt", "arp.txt"];

/// What differs in the calling thread's namespace from a file of a recording made with this variant.
///
/// # Errors
/// A program that shows it fails.
pub fn difference(case: &str, file: &str, recorded: &str, variant: &str) -> Result<Vec<String>> {
    match file {
        "ipset.txt" => Ok(of_lines(file, &lines(recorded), &lines(&sets(&tool("ipset", &["save"])?)))),
        "arp.txt" => {
            let here = tool("nft", &["-s", "list", "table", "arp", "calico-arp"])?;
            Ok(of_lines(file, &lines(&without_counters(recorded)), &lines(&without_counters(&here))))
        }
        _ => {
            let program = file.strip_suffix(".txt").context("a table's file")?;
            let here = tool(&format!("{program}-{variant}-save"), &[])?;
            Ok(of_chains(case, file, &chains(recorded), &chains(&here)))
        }
    }
}

/// Whether anything of Calico's is in the tables of this variant.
///
/// # Errors
/// A program that shows it fails.
pub fn is_left(variant: &str) -> Result<bool> {
    let programs = ["iptables", "ip6tables"].map(|program| format!("{program}-{variant}-save"));
    let texts: Vec<String> = programs.iter().map(|program| tool(program, &[])).collect::<Result<_>>()?;
    Ok(texts.iter().any(|text| text.contains("cali")))
}

/// Of both variants and families what is Calico's, without counters: rules with their place among Calico's in their chain,
/// sets with their members.
///
/// # Errors
/// A program that shows it fails.
pub fn canonical() -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for (program, variant) in ["iptables", "ip6tables"]
        .into_iter()
        .flat_map(|program| VARIANTS.map(|(_, variant)| (program, variant)))
    {
        for ((table, chain), rules) in chains(&tool(&format!("{program}-{variant}-save"), &[])?) {
            let is_ours = is_ours(&chain);
            if is_ours {
                all.insert(format!("{program}-{variant} {table} {chain}"));
            }
            let ours = rules.iter().filter(|rule| is_ours || rule.contains("\"cali:"));
            all.extend(
                ours.enumerate()
                    .map(|(place, rule)| format!("{program}-{variant} {table} {chain} {place} {rule}")),
            );
        }
    }
    all.extend(
        sets(&tool("ipset", &["save"])?).lines().filter(|line| line.contains(" cali")).map(str::to_owned),
    );
    Ok(all)
}

/// What is not Calico's of a variant's tables, in their order, without counters.
///
/// # Errors
/// A program that shows it fails.
pub fn foreign(variant: &str) -> Result<String> {
    let mut all = String::new();
    for program in ["iptables", "ip6tables"] {
        for ((table, chain), rules) in chains(&tool(&format!("{program}-{variant}-save"), &[])?) {
            let theirs = rules.iter().filter(|rule| !rule.contains("\"cali:"));
            if !is_ours(&chain) {
                theirs.for_each(|rule| all += &format!("{program} {table} {chain} {rule}\n"));
            }
        }
    }
    Ok(all)
}

fn is_ours(chain: &str) -> bool {
    chain.starts_with("cali-")
}

fn chains(text: &str) -> Chains {
    let mut chains = Chains::new();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(declared) = line.strip_prefix(':') {
            let mut words = declared.split(' ');
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            // a chain of the kernel without rules may not be there yet
            if policy == "-" {
                chains.entry((table.to_owned(), name.to_owned())).or_default();
            }
        } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
            chains.entry((table.to_owned(), chain.to_owned())).or_default().push(rule.to_owned());
        }
    }
    chains
}

fn of_chains(case: &str, file: &str, recorded: &Chains, here: &Chains) -> Vec<String> {
    let mut wrong = Vec::new();
    for key in recorded.keys().chain(here.keys()).collect::<BTreeSet<_>>() {
        let (then, now) = (recorded.get(key), here.get(key));
        let known = DIFFERENCES.contains(&(case, &key.1));
        let as_many = then.map(Vec::len) == now.map(Vec::len);
        if then != now && !(known && as_many) {
            let (table, chain) = key;
            wrong.push(format!("{file}: {table} {chain}: recorded {then:#?}, is {now:#?}"));
        }
    }
    wrong
}

/// `ipset save` as it was recorded: without what the kernel chooses itself.
fn sets(text: &str) -> String {
    let mut all = String::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        while let Some(word) = words.next() {
            if ["hashsize", "bucketsize", "initval"].contains(&word) {
                words.next();
            } else {
                all.push_str(word);
                all.push(' ');
            }
        }
        all = all.trim_end().to_owned() + "\n";
    }
    all
}

fn without_counters(text: &str) -> String {
    let mut words = text.split_inclusive([' ', '\n', '\t']).peekable();
    let mut kept = String::new();
    while let Some(word) = words.next() {
        if word == "packets " && words.peek().is_some() {
            words.by_ref().take(3).for_each(drop);
        } else {
            kept.push_str(word);
        }
    }
    kept
}

/// Their order is that of making, and a table of ARP has few.
fn lines(text: &str) -> BTreeSet<String> {
    let each = text.replace("elements = {", "elements\n").replace([',', '}'], "\n");
    each.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn of_lines(file: &str, recorded: &BTreeSet<String>, here: &BTreeSet<String>) -> Vec<String> {
    let missing = recorded.difference(here).map(|line| format!("{file}: missing: {line}"));
    missing.chain(here.difference(recorded).map(|line| format!("{file}: too many: {line}"))).collect()
}

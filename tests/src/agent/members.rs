//! Members of sets: in recorded text, and in the kernel.

use crate::process::tool;
use anyhow::{Context, Result};
use model::net::{Cidr, from_number, to_number};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is in a set: addresses, or addresses with protocols and ports as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// The fewest prefixes that cover the same.
    pub nets: BTreeSet<Cidr>,
    /// `address protocol port`.
    pub ports: BTreeSet<String>,
}

/// Characters of an id: its letter, `-`, and a hash of 28 bytes.
const ID: usize = 40;
/// Characters of it that upstream's names have room for, behind `cali40`.
const RECORDED_ID: usize = 25;

/// By family (4 or 6) and id, `:` written as `-`.
pub type Sets = BTreeMap<(u8, String), Members>;

impl Members {
    fn add(&mut self, parts: &[&str]) {
        match parts {
            [net] => self.nets.extend(crate::policy::object::prefix(net)),
            [address, protocol, port] => {
                let number = match *protocol {
                    "6" => "tcp",
                    "17" => "udp",
                    "132" => "sctp",
                    name => name,
                };
                self.ports.insert(format!("{address} {number} {port}"));
            }
            _ => {}
        }
    }
}

/// The fewest prefixes that cover the same addresses.
pub fn flat(nets: &BTreeSet<Cidr>) -> BTreeSet<Cidr> {
    let covered = |net: &Cidr| nets.iter().any(|other| other != net && other.covers(net));
    let mut all: BTreeSet<Cidr> = nets.iter().filter(|net| !covered(net)).copied().collect();
    loop {
        // two halves are the whole
        let halves = all.iter().find_map(|net| {
            let whole = net.widen(net.prefix().checked_sub(1)?)?;
            let other = from_number(net.family(), to_number(whole.addr()) + whole.size() / 2);
            let second = Cidr::new(other, net.prefix())?;
            (*net != second && all.contains(&second)).then_some((*net, second, whole))
        });
        let Some((first, second, whole)) = halves else { return all };
        all.remove(&first);
        all.remove(&second);
        all.insert(whole);
    }
}

/// Selector and named-port sets of a recorded `nft.txt`.
pub fn recorded(text: &str) -> Sets {
    let mut sets = Sets::new();
    let mut current = None;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("set cali").and_then(|rest| rest.strip_suffix(" {")) {
            let family = if name.starts_with('4') { 4 } else { 6 };
            let id = name.get(2..).unwrap_or_default().to_owned();
            if id.starts_with("s-") || id.starts_with("n-") {
                sets.entry((family, id.clone())).or_default();
                current = Some((family, id));
            }
            continue;
        }
        let elements = line.strip_prefix("elements = {");
        inside |= elements.is_some();
        if inside && let Some(set) = current.as_ref().and_then(|key| sets.get_mut(key)) {
            for element in elements.unwrap_or(line).trim_end_matches('}').split(',') {
                let parts: Vec<&str> = element.trim().split(" . ").filter(|part| !part.is_empty()).collect();
                set.add(&parts);
            }
        }
        if line.ends_with('}') {
            if line == "}" {
                current = None;
            }
            inside = false;
        }
    }
    flattened(sets)
}

/// The same of our tables in the calling thread's namespace: prefixes of each length have a set of their own.
///
/// # Errors
/// `nft` fails.
pub fn here() -> Result<Sets> {
    let text = tool("nft", &["-j", "list", "ruleset"])?;
    let ruleset: Value = serde_json::from_str(&text).context("nft -j list ruleset")?;
    let mut sets = Sets::new();
    for set in ruleset["nftables"].as_array().into_iter().flatten().map(|one| &one["set"]) {
        let name = set["name"].as_str().unwrap_or_default();
        let family = match set["family"].as_str() {
            Some("ip") => 4,
            Some("ip6") => 6,
            _ => continue,
        };
        if set["table"] != "ocicat" || !(name.starts_with("s-") || name.starts_with("n-")) {
            continue;
        }
        let (id, rest) = name.split_at(name.len().min(ID));
        let id = id.get(..RECORDED_ID).unwrap_or(id);
        // the length of its prefixes may follow, and how much room it has
        let length = rest.split('-').find(|part| part.parse::<u8>().is_ok());
        let members = sets.entry((family, id.to_owned())).or_default();
        for element in set["elem"].as_array().into_iter().flatten() {
            let value = if element["elem"].is_object() { &element["elem"]["val"] } else { element };
            let concat: Vec<String> = value["concat"].as_array().into_iter().flatten().map(plain).collect();
            if !concat.is_empty() {
                members.add(&concat.iter().map(String::as_str).collect::<Vec<_>>());
            } else {
                let net = match length {
                    Some(length) => format!("{}/{length}", plain(value)),
                    None => plain(value),
                };
                members.add(&[net.as_str()]);
            }
        }
    }
    Ok(flattened(sets))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(object) if object.contains_key("prefix") => {
            let prefix = &object["prefix"];
            format!("{}/{}", plain(&prefix["addr"]), prefix["len"])
        }
        other => other.to_string(),
    }
}

fn flattened(mut sets: Sets) -> Sets {
    for members in sets.values_mut() {
        members.nets = flat(&members.nets);
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_text_is_read() {
        let text = "table ip calico {\n\tset cali40s-abc {\n\t\ttype ipv4_addr\n\t\telements = { 0.0.0.0/1, 128.0.0.0/1,\n\t\t\t     10.0.0.1 }\n\t}\n\n\tset cali40n-x {\n\t\telements = { 10.64.0.5 . tcp . 9090 }\n\t}\n\tset cali40s-empty {\n\t\ttype ipv4_addr\n\t}\n}";
        let sets = recorded(text);
        let nets: Vec<String> = sets[&(4, "s-abc".to_owned())].nets.iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["0.0.0.0/0"]);
        assert_eq!(sets[&(4, "n-x".to_owned())].ports, BTreeSet::from(["10.64.0.5 tcp 9090".to_owned()]));
        assert_eq!(sets[&(4, "s-empty".to_owned())], Members::default());
    }
}

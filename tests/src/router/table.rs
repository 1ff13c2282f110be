//! What a daemon knows by BGP, in one form for all, so that two tables can be compared entry by entry.

use super::{Kind, Router};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// An address family, by the name the daemons have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// One path, as far as daemons tell alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Next hop.
    pub next_hop: String,
    /// AS numbers with blanks between.
    pub as_path: String,
    /// LOCAL_PREF, where it is told.
    pub local_pref: Option<u64>,
    /// MULTI_EXIT_DISC, where it is told.
    pub med: Option<u64>,
    /// `64512:1`, sorted.
    pub communities: Vec<String>,
    /// `64512:1:2`, sorted.
    pub large_communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub originator: Option<String>,
    /// CLUSTER_LIST, nearest first.
    pub clusters: Vec<String>,
}

/// Prefix → paths, sorted.
pub type Table = BTreeMap<String, Vec<Entry>>;

impl Router {
    /// What it learnt from the neighbour with this address. BIRD names neighbours by protocols: the one for 10.0.0.1 must be
    /// called `n_10_0_0_1`.
    ///
    /// # Errors
    /// It does not answer, or in no form we know.
    pub fn learnt(&self, family: Family, neighbor: &str) -> Result<Table> {
        let mut table = match self.kind {
            Kind::Bird => {
                let protocol = bird_protocol(neighbor);
                // BIRD has no such table where the protocol has no such channel.
                let table = if family == Family::Ipv4 { "master4" } else { "master6" };
                bird(&self.query(&format!("show route table {table} protocol {protocol} all"))?)
            }
            Kind::FrrAlone | Kind::Frr => self.frr(family, neighbor)?,
            Kind::Gobgp => {
                let said = self.query(&format!("global rib -a {} -j", family.name()))?;
                gobgp(&serde_json::from_str(said.trim()).context("gobgp's answer")?, neighbor)
            }
        };
        table.values_mut().for_each(|paths| paths.sort());
        Ok(table)
    }

    /// One question a prefix: FRR 8.4 has no list with every attribute.
    fn frr(&self, family: Family, neighbor: &str) -> Result<Table> {
        let json = |question: &str| -> Result<Value> {
            serde_json::from_str(&self.query(question)?).with_context(|| format!("answer to {question}"))
        };
        let all = json(&format!("show bgp {} unicast json", family.name()))?;
        let mut table = Table::new();
        for prefix in all["routes"].as_object().into_iter().flat_map(|routes| routes.keys()) {
            let detail = json(&format!("show bgp {} unicast {prefix} json", family.name()))?;
            let paths = detail["paths"].as_array().into_iter().flatten();
            let from_it = paths.filter(|path| path["peer"]["peerId"] == neighbor);
            let entries: Vec<Entry> = from_it.map(frr_entry).collect();
            if !entries.is_empty() {
                table.insert(prefix.clone(), entries);
            }
        }
        Ok(table)
    }
}

/// The name of BIRD's protocol for a neighbour.
pub fn bird_protocol(neighbor: &str) -> String {
    format!("n_{}", neighbor.replace(['.', ':'], "_"))
}

/// `(65001,7) (1,2)` or `(65001, 1, 2)` → `65001:7`, `1:2`, `65001:1:2`.
fn in_parentheses(text: &str) -> Vec<String> {
    let mut all: Vec<String> = text
        .split(['(', ')'])
        .map(|one| one.replace(' ', "").replace(',', ":"))
        .filter(|one| !one.is_empty())
        .collect();
    all.sort();
    all
}

fn words(text: &str) -> Vec<String> {
    let mut all: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    all.sort();
    all
}

/// `show route all`: a row begins a path, lines with a tab before them tell about it.
fn bird(said: &str) -> Table {
    let mut table = Table::new();
    let mut prefix = String::new();
    for line in said.lines().filter(|line| !line.starts_with("Table") && !line.starts_with("BIRD")) {
        let Some(told) = line.strip_prefix('\t') else {
            if let Some(first) = line.split_whitespace().next().filter(|_| !line.starts_with(' ')) {
                prefix = first.to_owned();
            }
            if line.contains('[') {
                table.entry(prefix.clone()).or_default().push(Entry::default());
            }
            continue;
        };
        let Some(entry) = table.get_mut(&prefix).and_then(|paths| paths.last_mut()) else { continue };
        let Some((name, value)) = told.split_once(": ") else { continue };
        match name {
            // With a link-local address behind it.
            "BGP.next_hop" => value.split(' ').next().unwrap_or_default().clone_into(&mut entry.next_hop),
            "BGP.as_path" => value.trim().clone_into(&mut entry.as_path),
            "BGP.local_pref" => entry.local_pref = value.parse().ok(),
            "BGP.med" => entry.med = value.parse().ok(),
            "BGP.community" => entry.communities = in_parentheses(value),
            "BGP.large_community" => entry.large_communities = in_parentheses(value),
            "BGP.originator_id" => entry.originator = Some(value.to_owned()),
            "BGP.cluster_list" => entry.clusters = value.split_whitespace().map(str::to_owned).collect(),
            _ => {}
        }
    }
    table
}

fn frr_entry(path: &Value) -> Entry {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hops = path["nexthops"].as_array();
    let global = hops.into_iter().flatten().find(|hop| hop["scope"] != "link-local");
    let clusters = path["clusterList"]["list"].as_array().into_iter().flatten();
    Entry {
        next_hop: global.map(|hop| text(&hop["ip"])).unwrap_or_default(),
        as_path: match text(&path["aspath"]["string"]).as_str() {
            "Local" => String::new(),
            path => path.to_owned(),
        },
        local_pref: path["locPrf"].as_u64(),
        med: path["metric"].as_u64(),
        communities: words(&text(&path["community"]["string"])),
        large_communities: words(&text(&path["largeCommunity"]["string"])),
        originator: path["originatorId"].as_str().map(str::to_owned),
        clusters: clusters.map(text).collect(),
    }
}

/// Paths of `global rib -j` by prefix.
fn gobgp(said: &Value, neighbor: &str) -> Table {
    let mut table = Table::new();
    for (prefix, paths) in said.as_object().into_iter().flatten() {
        let from_it = paths.as_array().into_iter().flatten().filter(|path| path["neighbor-ip"] == neighbor);
        let entries: Vec<Entry> = from_it.map(|path| gobgp_entry(&path["attrs"])).collect();
        if !entries.is_empty() {
            table.insert(prefix.clone(), entries);
        }
    }
    table
}

fn gobgp_entry(attributes: &Value) -> Entry {
    let mut entry = Entry::default();
    for attribute in attributes.as_array().into_iter().flatten() {
        let value = &attribute["value"];
        let list = value.as_array().into_iter().flatten();
        match attribute["type"].as_u64() {
            Some(2) => entry.as_path = gobgp_path(&attribute["as_paths"]),
            Some(3 | 14) => attribute["nexthop"].as_str().unwrap_or_default().clone_into(&mut entry.next_hop),
            Some(4) => entry.med = attribute["metric"].as_u64().or_else(|| value.as_u64()),
            Some(5) => entry.local_pref = value.as_u64(),
            Some(8) => {
                let all = attribute["communities"].as_array().into_iter().flatten();
                entry.communities =
                    all.filter_map(Value::as_u64).map(|n| format!("{}:{}", n >> 16, n & 0xffff)).collect();
                entry.communities.sort();
            }
            Some(9) => entry.originator = value.as_str().map(str::to_owned),
            Some(10) => entry.clusters = list.filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(32) => {
                let part = |one: &Value, name: &str| one[name].as_u64().unwrap_or_default();
                entry.large_communities = list
                    .map(|one| {
                        format!(
                            "{}:{}:{}",
                            part(one, "ASN"),
                            part(one, "LocalData1"),
                            part(one, "LocalData2")
                        )
                    })
                    .collect();
                entry.large_communities.sort();
            }
            _ => {}
        }
    }
    entry
}

/// Sequences plain, sets in braces, as the others print them.
fn gobgp_path(segments: &Value) -> String {
    let mut text = String::new();
    for segment in segments.as_array().into_iter().flatten() {
        let numbers: Vec<String> =
            segment["asns"].as_array().into_iter().flatten().map(ToString::to_string).collect();
        let (open, close) = if segment["segment_type"] == 1 { ("{", "}") } else { ("", "") };
        let _ = write!(text, "{}{open}{}{close}", if text.is_empty() { "" } else { " " }, numbers.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry() -> Entry {
        Entry {
            next_hop: "10.0.0.2".into(),
            as_path: "65001 {1 2}".into(),
            local_pref: Some(100),
            med: Some(9),
            communities: vec!["65001:6".into(), "65001:7".into()],
            large_communities: vec!["65001:1:2".into()],
            originator: Some("10.9.9.9".into()),
            clusters: vec!["10.0.0.5".into(), "10.0.0.4".into()],
        }
    }

    #[test]
    fn birds_rows_become_paths() {
        let said = "BIRD 2.0.12 ready.\nTable master4:\n\
            10.1.0.0/24          unicast [n_1 09:16:37.909] * (100) [AS65001i]\n\
            \tvia 10.0.0.2 on eth0\n\tType: BGP univ\n\tBGP.origin: IGP\n\tBGP.as_path: 65001 {1 2}\n\
            \tBGP.next_hop: 10.0.0.2\n\tBGP.med: 9\n\tBGP.local_pref: 100\n\
            \tBGP.community: (65001,7) (65001,6)\n\tBGP.large_community: (65001, 1, 2)\n\
            \tBGP.originator_id: 10.9.9.9\n\tBGP.cluster_list: 10.0.0.5 10.0.0.4\n\
            \u{20}                    unicast [n_1 09:16:37.909] (100) [AS65001i]\n\
            \tBGP.as_path: \n\tBGP.next_hop: fd00::2 fe80::2\n";
        let table = bird(said);
        let second = Entry { next_hop: "fd00::2".into(), ..Entry::default() };
        assert_eq!(table, Table::from([("10.1.0.0/24".to_owned(), vec![entry(), second])]));
    }

    #[test]
    fn frrs_paths_become_entries() {
        let path = json!({
            "aspath": {"string": "65001 {1 2}"}, "locPrf": 100, "metric": 9,
            "community": {"string": "65001:7 65001:6"}, "largeCommunity": {"string": "65001:1:2"},
            "originatorId": "10.9.9.9", "clusterList": {"list": ["10.0.0.5", "10.0.0.4"]},
            "nexthops": [{"ip": "fe80::2", "scope": "link-local"}, {"ip": "10.0.0.2"}],
        });
        assert_eq!(frr_entry(&path), entry());
        assert_eq!(frr_entry(&json!({"aspath": {"string": "Local"}})), Entry::default());
    }

    #[test]
    fn gobgps_attributes_become_entries() {
        let path = |neighbor: &str| {
            json!({"neighbor-ip": neighbor, "attrs": [
                {"type": 2, "as_paths": [{"segment_type": 2, "asns": [65001]}, {"segment_type": 1, "asns": [1, 2]}]},
                {"type": 3, "nexthop": "10.0.0.2"}, {"type": 4, "metric": 9}, {"type": 5, "value": 100},
                {"type": 8, "communities": [4_259_905_543_u64, 4_259_905_542_u64]},
                {"type": 32, "value": [{"ASN": 65001, "LocalData1": 1, "LocalData2": 2}]},
                {"type": 9, "value": "10.9.9.9"}, {"type": 10, "value": ["10.0.0.5", "10.0.0.4"]},
            ]})
        };
        let said =
            json!({"10.1.0.0/24": [path("10.0.0.1"), path("10.0.0.3")], "10.2.0.0/24": [path("10.0.0.3")]});
        assert_eq!(gobgp(&said, "10.0.0.1"), Table::from([("10.1.0.0/24".to_owned(), vec![entry()])]));
    }
}

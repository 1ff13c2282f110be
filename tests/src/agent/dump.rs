//! What iproute2 tells about a node, in the form of the recordings: sections of lines, each a JSON object.

use crate::process::tool;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Lines by section.
pub type Dump = BTreeMap<String, BTreeSet<String>>;

/// The commands of the recordings that are compared, as their headings call them.
const COMMANDS: [&str; 6] = [
    "ip -j -4 route show table all",
    "ip -j -6 route show",
    "ip -j rule show",
    "ip -j -6 rule show",
    "ip -j neigh show nud permanent",
    "ip -j -d link show",
];

/// What of a link an agent decides or must leave alone; the rest is the machine's.
const OF_LINK: [&str; 5] = ["ifname", "mtu", "address", "flags", "inet6_addr_gen_mode"];

/// Reads a recorded `routes.txt`; `meant` makes each object of a section what it is meant to be with ours.
///
/// # Errors
/// A line is no JSON.
pub fn recorded(text: &str, mut meant: impl FnMut(&str, &mut Value)) -> Result<Dump> {
    let mut dump = Dump::new();
    let mut section = None;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            section = COMMANDS.contains(&command).then(|| command.to_owned());
            if let Some(section) = &section {
                dump.entry(section.clone()).or_default();
            }
            continue;
        }
        let Some(section) = &section else { continue };
        let mut object: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        meant(section, &mut object);
        dump.entry(section.clone()).or_default().extend(normal(section, object));
    }
    Ok(dump)
}

/// The calling thread's namespace.
///
/// # Errors
/// `ip` fails.
pub fn here() -> Result<Dump> {
    let mut dump = Dump::new();
    for command in COMMANDS {
        let (program, arguments) = command.split_once(' ').context("a command")?;
        let text = tool(program, &arguments.split(' ').collect::<Vec<_>>())?;
        let objects: Vec<Value> = if text.trim().is_empty() {
            Vec::new()
        } else {
            serde_json::from_str(&text).with_context(|| command.to_owned())?
        };
        let lines = objects.into_iter().filter_map(|object| normal(command, object));
        dump.insert(command.to_owned(), lines.collect());
    }
    Ok(dump)
}

/// One line, fields in order; `None` for what was left out of the recordings.
fn normal(section: &str, mut object: Value) -> Option<String> {
    let fields = object.as_object_mut()?;
    fields.retain(|_, value| !value.is_null());
    if section.contains("link") {
        if fields.get("ifname").is_some_and(|name| name == "lo") {
            return None;
        }
        fields.retain(|name, _| OF_LINK.contains(&name.as_str()));
    }
    if section.contains("-6 route") && fields.get("type").is_some_and(|kind| kind == "multicast") {
        return None;
    }
    fields.sort_keys();
    Some(object.to_string())
}

/// What an agent makes of the calling thread's namespace, without counters, handles and the order in which things came:
/// rules of our tables and chains, IP sets, routes, neighbours, rules of routing, parameters of interfaces.
///
/// # Errors
/// `nft` or `ip` fails.
pub fn canonical() -> Result<BTreeSet<String>> {
    let text = tool("nft", &["-j", "list", "ruleset"])?;
    let ruleset: Value = serde_json::from_str(&text).context("nft -j list ruleset")?;
    let mut all = BTreeSet::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for object in ruleset["nftables"].as_array().into_iter().flatten() {
        let Some((kind, body)) = object.as_object().and_then(|object| object.iter().next()) else { continue };
        let is_ours = |name: &Value| name == "ocicat" || name == "calico-arp";
        if !is_ours(&body["table"]) && !is_ours(&body["name"]) {
            continue;
        }
        let mut body = body.clone();
        plain(&mut body);
        // the place of a rule in its chain matters, that of anything else does not
        let place = match kind.as_str() {
            "rule" => {
                let place = places.entry(format!("{} {}", body["family"], body["chain"])).or_default();
                *place += 1;
                *place
            }
            _ => 0,
        };
        all.insert(format!("{kind} {place} {body}"));
    }
    all.extend(super::tables::canonical()?);
    for (section, lines) in here()? {
        all.extend(lines.into_iter().map(|line| format!("{section}: {line}")));
    }
    for path in ["route_localnet", "proxy_arp", "forwarding", "rp_filter"] {
        for entry in fs::read_dir("/proc/sys/net/ipv4/conf")? {
            let file = entry?.path().join(path);
            let value = fs::read_to_string(&file).unwrap_or_default();
            all.insert(format!("{} = {}", file.display(), value.trim()));
        }
    }
    Ok(all)
}

/// Takes out counts and handles, and sorts elements.
fn plain(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !matches!(name.as_str(), "handle" | "packets" | "bytes" | "index"));
            fields.iter_mut().for_each(|(_, inner)| plain(inner));
            if let Some(Value::Array(elements)) = fields.get_mut("elem") {
                elements.sort_by_key(Value::to_string);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(plain),
        _ => {}
    }
}

/// The sysctls of a recorded `sysctl.txt` that are not so here: path, recorded, found.
pub fn other_sysctls(text: &str) -> Vec<(String, String, String)> {
    let mut other = Vec::new();
    for (path, wanted) in text.lines().filter_map(|line| line.split_once(" = ")) {
        let found = fs::read_to_string(format!("/proc/sys/{path}"));
        let found = found.map_or_else(|error| error.to_string(), |text| text.trim().to_owned());
        if found != wanted.trim() {
            other.push((path.to_owned(), wanted.trim().to_owned(), found));
        }
    }
    other
}

/// Lines of the one that the other does not have, and the other way round.
pub fn difference(recorded: &Dump, found: &Dump) -> Vec<String> {
    let mut all = Vec::new();
    for (section, lines) in recorded {
        let here = found.get(section).cloned().unwrap_or_default();
        all.extend(lines.difference(&here).map(|line| format!("{section}: - {line}")));
        all.extend(here.difference(lines).map(|line| format!("{section}: + {line}")));
    }
    all
}

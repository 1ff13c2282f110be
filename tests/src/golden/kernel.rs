//! The kernel's state in a form in which equal meaning is equal text.

use super::case::Dump;
use super::compare::sorted;
use super::differences::EVERYWHERE;
use super::normal::Normaliser;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Fields of iproute2's objects that count interfaces or follow from timing.
const VOLATILE: [&str; 8] = [
    "ifindex",
    "link_index",
    "link_netnsid",
    "operstate",
    "tentative",
    "txqlen",
    "valid_life_time",
    "preferred_life_time",
];

/// Limits of the kernel's own for large packets, which the recording left out.
const OFFLOAD: [&str; 5] = ["gro_max_size", "gso_max_segs", "gso_max_size", "tso_max_segs", "tso_max_size"];

/// Flags that come and go with the carrier of the other end.
const CARRIER: [&str; 4] = ["NO-CARRIER", "LOWER_UP", "M-DOWN", "linkdown"];

/// Link-local address of a host end, whose hardware address is fixed.
const HOST_END: &str = "fe80::ecee:eeff:feee:eeee";

/// Dumps of both places by their names.
pub type Dumps = BTreeMap<String, BTreeMap<String, Dump>>;

/// Takes out of our dumps what is there on purpose wherever an address is ([`EVERYWHERE`]), and returns which of it was.
pub fn strip_intended(dumps: &mut Dumps) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for dump in dumps.values_mut().flat_map(BTreeMap::values_mut) {
        let Dump::Lines(lines) = dump else { continue };
        let mut kept = String::new();
        for line in lines.lines() {
            let Ok(mut object) = serde_json::from_str::<Value>(line) else { continue };
            let reasons = EVERYWHERE.iter().filter(|intended| (intended.strip)(&mut object));
            found.extend(reasons.map(|intended| intended.reason));
            if !object.is_null() {
                kept.push_str(&format!("{object}\n"));
            }
        }
        *lines = kept;
    }
    found
}

/// One text for all dumps; `rename` is applied to every line first.
pub fn normal_form(dumps: &Dumps, side: &mut Normaliser, rename: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    for (place, named) in dumps {
        for (name, dump) in named {
            text.push_str(&format!("{place} {name}:\n"));
            match dump {
                Dump::Sysctls(values) => {
                    for (sysctl, value) in values {
                        text.push_str(&format!("  {sysctl} = {value}\n"));
                    }
                }
                Dump::Lines(lines) => {
                    let mut objects: Vec<String> =
                        lines.lines().filter_map(|line| object(&rename(line), side)).collect();
                    objects.sort();
                    for line in objects {
                        text.push_str(&format!("  {line}\n"));
                    }
                }
            }
        }
    }
    text
}

/// One line of a dump, or `None` for what the kernel makes by itself in its own time.
fn object(line: &str, side: &mut Normaliser) -> Option<String> {
    let Ok(mut object) = serde_json::from_str::<Value>(line) else { return Some(line.to_owned()) };
    let kernels = object["protocol"] == "kernel";
    if kernels && object["dst"].as_str().is_some_and(link_local) {
        return None;
    }
    // A neighbour that is not permanent was learnt, or not, by the time of the dump.
    let learnt = |states: &Vec<Value>| !states.iter().any(|state| state == "PERMANENT");
    if object["state"].as_array().is_some_and(learnt) {
        return None;
    }
    clean(&mut object);
    Some(side.text(&sorted(object).to_string()))
}

fn clean(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !VOLATILE.contains(&name.as_str()) && !OFFLOAD.contains(&name.as_str()));
            for (name, value) in fields.iter_mut() {
                match (name.as_str(), &mut *value) {
                    ("flags", Value::Array(flags)) => {
                        flags.retain(|flag| !flag.as_str().is_some_and(|flag| CARRIER.contains(&flag)));
                    }
                    ("addr_info", Value::Array(addresses)) => {
                        addresses.retain(|address| !address["local"].as_str().is_some_and(from_random_mac));
                    }
                    _ => {}
                }
                clean(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

fn link_local(destination: &str) -> bool {
    destination.starts_with("fe80::")
}

fn from_random_mac(address: &str) -> bool {
    link_local(address) && address != HOST_END
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(lines: &str) -> String {
        let dumps = BTreeMap::from([(
            "host".to_owned(),
            BTreeMap::from([("ip".to_owned(), Dump::Lines(lines.to_owned()))]),
        )]);
        normal_form(&dumps, &mut Normaliser::new(), str::to_owned)
    }

    #[test]
    fn indexes_carrier_and_link_local_addresses_do_not_count() {
        let one = r#"{"ifindex": 2, "flags": ["UP", "LOWER_UP"], "addr_info": [{"local": "10.0.0.1"}]}"#;
        let other =
            r#"{"flags": ["UP"], "ifindex": 9, "addr_info": [{"local": "10.0.0.1"}, {"local": "fe80::1"}]}"#;
        assert_eq!(form(one), form(other));
        assert_ne!(form(one), form(&one.replace("10.0.0.1", "10.0.0.2")));
        assert_ne!(form(one), form(&one.replace("\"UP\"", "\"DOWN\"")));
    }

    #[test]
    fn learnt_neighbours_do_not_count_and_permanent_ones_do() {
        assert_eq!(form(r#"{"dst": "10.0.0.1", "state": ["STALE"]}"#), form(""));
        assert_ne!(form(r#"{"dst": "10.0.0.1", "state": ["PERMANENT"]}"#), form(""));
    }

    #[test]
    fn what_is_meant_is_taken_out_and_named() {
        let gateway =
            r#"{"dev": "eth0", "dst": "169.254.1.1", "lladdr": "ee:ee:ee:ee:ee:ee", "state": ["PERMANENT"]}"#;
        let other = gateway.replace("169.254.1.1", "169.254.1.2");
        let lines = format!("{gateway}\n{other}\n");
        let mut dumps =
            Dumps::from([("host".to_owned(), BTreeMap::from([("ip".to_owned(), Dump::Lines(lines))]))]);
        assert_eq!(strip_intended(&mut dumps).len(), 1);
        let Dump::Lines(left) = &dumps["host"]["ip"] else { panic!() };
        assert!(left.contains("169.254.1.2") && !left.contains("169.254.1.1"), "{left}");
    }

    #[test]
    fn order_of_lines_does_not_count() {
        assert_eq!(
            form("{\"dst\": \"a\"}\n{\"dst\": \"b\"}\n"),
            form("{\"dst\": \"b\"}\n{\"dst\": \"a\"}\n")
        );
    }
}

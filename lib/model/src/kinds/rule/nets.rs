//! Networks of rules. Source: `resources.md` §0.1 and §1.1 of the contract.

use crate::error::FieldError;
use crate::net::{Family, parse_parts};
use crate::schema::go_text;
use serde_json::{Map, Value};

/// The four lists of a rule, in the order in which Calico reads them.
const LISTS: [(&str, &str, &str); 4] = [
    ("source", "nets", "Source.Nets"),
    ("source", "notNets", "Source.NotNets"),
    ("destination", "nets", "Destination.Nets"),
    ("destination", "notNets", "Destination.NotNets"),
];

/// The networks of a rule are of one family, which is the rule's IP version if it names one; none of those it excludes
/// is everything.
pub(super) fn check(rule: &Map<String, Value>, out: &mut Vec<FieldError>) {
    let version = rule.get("ipVersion").and_then(Value::as_i64);
    let mut seen = Families::default();
    for (side, field, name) in LISTS {
        let Some(Value::Array(nets)) = rule.get(side).and_then(|s| s.get(field)) else { continue };
        let mut here = Families::default();
        for net in nets.iter().filter_map(Value::as_str) {
            match parse_parts(net) {
                Err(_) => out.push(FieldError::new(name, net, "invalid CIDR")),
                Ok((_, cidr)) => {
                    here.add(cidr.family());
                    if field == "notNets" && is_everything(net, cidr.family(), cidr.prefix()) {
                        out.push(FieldError::new(
                            name,
                            net,
                            "catch-all CIDR in negation creates logical contradiction (matches no traffic)",
                        ));
                    }
                }
            }
        }
        if version.is_some_and(|version| (here.v4 && version != 4) || (here.v6 && version != 6)) {
            // Calico shows this list whichever it complains about
            let shown = rule.get("source").and_then(|s| s.get("nets"));
            let shown = shown.map_or("[]".to_owned(), go_text);
            out.push(FieldError::new(name, shown, "rule IP version doesn't match CIDR version"));
        }
        if (here.v4 && seen.v6) || (here.v6 && seen.v4) || (here.v4 && here.v6) {
            let shown = nets.iter().map(go_text).collect::<Vec<_>>().join(" ");
            out.push(FieldError::new(name, format!("[{shown}]"), "rule contains both IPv4 and IPv6 CIDRs"));
        }
        seen = Families { v4: seen.v4 || here.v4, v6: seen.v6 || here.v6 };
    }
}

#[derive(Default)]
struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    fn add(&mut self, family: Family) {
        match family {
            Family::V4 => self.v4 = true,
            Family::V6 => self.v6 = true,
        }
    }
}

/// All of IPv4 counts only as it is usually written, all of IPv6 in every spelling.
fn is_everything(text: &str, family: Family, prefix: u8) -> bool {
    match family {
        Family::V4 => text == "0.0.0.0/0",
        Family::V6 => prefix == 0,
    }
}

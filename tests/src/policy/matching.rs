//! One rule against one packet (contract `resources.md` §1.1, `felix.md` §3.1 and §3.5).
//!
//! Every field that is present is asked, also after one has failed: a field that alone keeps a rule from matching is one
//! whose loss would be noticed, and [`Coverage`] counts those.

use super::object::{list, prefix, protocol, text, texts};
use super::oracle::{Item, Oracle};
use super::packets::Packet;
use super::selector::Labels;
use model::net::Cidr;
use serde_json::Value;
use std::collections::BTreeMap;

/// The label that says which namespace something belongs to.
pub const NAMESPACE: &str = "projectcalico.org/namespace";
/// The label that says which service account a workload runs as.
pub const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";

/// How often each field held in a rule that matched, and how often it alone kept one from matching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By name of the field.
    pub fields: BTreeMap<&'static str, Count>,
    /// By name of what happened: verdicts, ends of tiers, kinds of policies.
    pub events: BTreeMap<&'static str, u64>,
    /// What matched for the packet asked about last, in order.
    pub trail: Vec<String>,
}

/// Of one field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// It was there in a rule that matched.
    pub held: u64,
    /// It alone did not hold.
    pub decided: u64,
}

impl Coverage {
    /// One more of it.
    pub fn event(&mut self, name: &'static str) {
        *self.events.entry(name).or_default() += 1;
    }

    /// Adds what another run saw.
    pub fn add(&mut self, other: &Coverage) {
        for (name, count) in &other.fields {
            let sum = self.fields.entry(name).or_default();
            sum.held += count.held;
            sum.decided += count.decided;
        }
        for (name, count) in &other.events {
            *self.events.entry(name).or_default() += count;
        }
    }

    fn rule(&mut self, asked: &[(&'static str, bool)]) {
        let failed: Vec<_> = asked.iter().filter(|(_, holds)| !holds).collect();
        match failed.as_slice() {
            [] => asked.iter().for_each(|(name, _)| self.fields.entry(name).or_default().held += 1),
            [(name, _)] => self.fields.entry(name).or_default().decided += 1,
            _ => {}
        }
    }
}

/// Which end of a packet a side of a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

impl Oracle {
    /// Whether a rule of a policy in `namespace` (none: of the cluster, or of a profile) matches.
    pub fn matches(
        &self,
        rule: &Value,
        namespace: Option<&str>,
        packet: &Packet,
        coverage: &mut Coverage,
    ) -> bool {
        let mut asked: Vec<(&'static str, bool)> = Vec::new();
        if let Some(version) = rule["ipVersion"].as_u64() {
            asked.push(("ipVersion", version == u64::from(packet.version())));
        }
        if !rule["protocol"].is_null() {
            asked.push(("protocol", protocol(&rule["protocol"]) == Some(packet.protocol)));
        }
        if !rule["notProtocol"].is_null() {
            asked.push(("notProtocol", protocol(&rule["notProtocol"]) != Some(packet.protocol)));
        }
        for (name, part) in [("icmp type", "type"), ("icmp code", "code")] {
            if let Some(wanted) = rule["icmp"][part].as_u64() {
                let found = packet.icmp.map(|(kind, code)| if part == "type" { kind } else { code });
                asked.push((name, found.map(u64::from) == Some(wanted)));
            }
        }
        if let Some(kind) = rule["notICMP"]["type"].as_u64() {
            let code = rule["notICMP"]["code"].as_u64();
            // what is no ICMP has no type that could be another one
            let other = packet.icmp.is_some_and(|(found, found_code)| {
                u64::from(found) != kind || code.is_some_and(|code| code != u64::from(found_code))
            });
            asked.push((if code.is_some() { "notICMP code" } else { "notICMP type" }, other));
        }
        self.side(&rule["source"], End::Source, namespace, rule, packet, &mut asked);
        self.side(&rule["destination"], End::Destination, namespace, rule, packet, &mut asked);
        let unenforced = !rule["http"].is_null()
            || !rule["source"]["services"].is_null()
            || !rule["destination"]["services"].is_null();
        if unenforced && text(rule, "action") != "Deny" {
            asked.push(("unenforced", false));
        }
        for (name, side) in
            [("source services, denied", "source"), ("destination services, denied", "destination")]
        {
            if !rule[side]["services"].is_null() && text(rule, "action") == "Deny" {
                asked.push((name, true));
            }
        }
        coverage.rule(&asked);
        asked.iter().all(|(_, holds)| *holds)
    }

    fn side(
        &self,
        side: &Value,
        end: End,
        namespace: Option<&str>,
        rule: &Value,
        packet: &Packet,
        asked: &mut Vec<(&'static str, bool)>,
    ) {
        if side.is_null() {
            return;
        }
        let name = |source, destination| if end == End::Source { source } else { destination };
        let address = if end == End::Source { packet.source } else { packet.destination };
        let here: Vec<&Item> =
            self.items.iter().filter(|item| item.nets.iter().any(|net| net.contains(address))).collect();

        // A rule with networks of one family says nothing about packets of the other, negated or not.
        let networks = |field| texts(side, field).filter_map(prefix).collect::<Vec<Cidr>>();
        let of_family = |nets: &[Cidr]| nets.iter().any(|net| net.family() == packet.family());
        let nets = networks("nets");
        if !nets.is_empty() {
            let inside = nets.iter().any(|net| net.contains(address));
            asked.push((name("source nets", "destination nets"), inside));
        }
        let nets = networks("notNets");
        if !nets.is_empty() {
            let outside = of_family(&nets) && !nets.iter().any(|net| net.contains(address));
            asked.push((name("source notNets", "destination notNets"), outside));
        }

        if self.selected(side, namespace, &Labels::new()).is_some() {
            let found = here.iter().any(|item| self.selected(side, namespace, &item.labels) == Some(true));
            for (field, part) in [
                (name("source selector", "destination selector"), "selector"),
                (name("source namespaceSelector", "destination namespaceSelector"), "namespaceSelector"),
                (name("source notSelector", "destination notSelector"), "notSelector"),
            ] {
                if !text(side, part).is_empty() {
                    asked.push((field, found));
                }
            }
            if !side["serviceAccounts"].is_null() {
                asked.push((name("source serviceAccounts", "destination serviceAccounts"), found));
            }
        } else if !text(side, "notSelector").is_empty() {
            let found = here.iter().any(|item| self.selects(text(side, "notSelector"), &item.labels));
            asked.push((name("source notSelector alone", "destination notSelector alone"), !found));
        }

        let port = packet.ports.map(|(source, destination)| match end {
            End::Source => source,
            End::Destination => destination,
        });
        let among = |field: &str| {
            let Some(port) = port else { return false };
            list(side, field).any(|wanted| match range(wanted) {
                Some((first, last)) => (first..=last).contains(&port),
                None => here.iter().any(|item| {
                    self.selected(side, namespace, &item.labels) != Some(false)
                        && item.ports.iter().any(|named| {
                            Some(named.name.as_str()) == wanted.as_str()
                                && named.port == port
                                && named.protocol == packet.protocol
                                && protocol(&rule["protocol"]).is_none_or(|wanted| wanted == named.protocol)
                        })
                }),
            })
        };
        let names = |field: &str| list(side, field).any(|port| range(port).is_none());
        let numbers = |field: &str| list(side, field).any(|port| range(port).is_some());
        if !side["ports"].is_null() {
            let holds = among("ports");
            if names("ports") {
                asked.push((name("source named ports", "destination named ports"), holds));
            }
            if numbers("ports") {
                asked.push((name("source ports", "destination ports"), holds));
            }
        }
        if !side["notPorts"].is_null() {
            let holds = port.is_some() && !among("notPorts");
            if names("notPorts") {
                asked.push((name("source named notPorts", "destination named notPorts"), holds));
            }
            if numbers("notPorts") {
                asked.push((name("source notPorts", "destination notPorts"), holds));
            }
        }
    }

    /// Whether what a side of a rule says positively selects these labels; `None` where it says nothing.
    fn selected(&self, side: &Value, namespace: Option<&str>, labels: &Labels) -> Option<bool> {
        let selector = text(side, "selector");
        let not_selector = text(side, "notSelector");
        let namespaces = text(side, "namespaceSelector");
        let accounts = &side["serviceAccounts"];
        let mut all: Vec<bool> = Vec::new();
        if !namespaces.is_empty() {
            all.push(self.selects_about(namespaces, "pcns.", NAMESPACE, labels));
        } else if let Some(namespace) = namespace {
            let limited = !selector.is_empty() || !not_selector.is_empty() || !accounts.is_null();
            if limited {
                all.push(labels.get(NAMESPACE).is_some_and(|found| found == namespace));
            }
        }
        let account_selector = text(accounts, "selector");
        if !account_selector.is_empty() {
            all.push(self.selects_prefixed(account_selector, "pcsa.", labels));
        }
        let mut names = texts(accounts, "names").peekable();
        if names.peek().is_some() {
            let found = labels.get(SERVICE_ACCOUNT);
            all.push(found.is_some_and(|found| names.any(|name| name == found)));
        }
        if !selector.is_empty() {
            all.push(self.selects(selector, labels));
        }
        if all.is_empty() {
            return None;
        }
        if !not_selector.is_empty() {
            all.push(!self.selects(not_selector, labels));
        }
        Some(all.iter().all(|one| *one))
    }
}

/// First and last port; `None` for a named one.
fn range(port: &Value) -> Option<(u16, u16)> {
    if let Some(number) = port.as_u64() {
        let number = u16::try_from(number).ok()?;
        return Some((number, number));
    }
    let text = port.as_str()?;
    match text.split_once(':') {
        Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
        None => text.parse().ok().map(|port| (port, port)),
    }
}

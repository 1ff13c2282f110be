//! What random tests saw, so that nothing stays untried.

use crate::evaluate::Decision;
use crate::form::{Match, Program, Scope};
use std::collections::BTreeMap;

/// What was seen, so that nothing stays untried.
#[derive(Debug, Default)]
pub struct Seen(pub BTreeMap<String, usize>);

impl Seen {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub fn program(&mut self, program: &Program) {
        let tiers = program.tiers.iter().flat_map(|tier| &tier.rules);
        for one in tiers.chain(program.profiles.iter().flatten()).flat_map(|rule| &rule.matches) {
            let (what, negated) = match one {
                Match::Protocol { negated, .. } => ("protocol".to_owned(), negated),
                Match::Nets { end, negated, .. } => (format!("nets of {end:?}"), negated),
                Match::Set { end, negated, .. } => (format!("set of {end:?}"), negated),
                Match::Ports { end, negated, sets, .. } if sets.is_empty() => {
                    (format!("ports of {end:?}"), negated)
                }
                Match::Ports { end, negated, .. } => (format!("named ports of {end:?}"), negated),
                Match::Icmp { negated, code, .. } => (format!("ICMP, code {}", code.is_some()), negated),
            };
            self.count(format!("{what}, negated {negated}"));
        }
    }

    pub fn decision(&mut self, scope: Scope, decision: &Decision) {
        self.count(format!("{scope:?} {:?}", decision.verdict));
        for (origin, verdict) in &decision.path {
            let kind = format!("{origin:?}");
            let kind = kind.split([' ', '(']).next().unwrap_or_default();
            self.count(format!("{kind} {verdict:?}"));
        }
    }

    /// Fields of rules, and their negations, that no program had.
    pub fn missing_fields(&self) -> Vec<String> {
        let wanted = [
            "protocol",
            "nets of Source",
            "nets of Destination",
            "set of Source",
            "set of Destination",
            "ports of Source",
            "ports of Destination",
            "named ports of Source",
            "named ports of Destination",
            "ICMP, code true",
            "ICMP, code false",
        ];
        wanted
            .iter()
            .flat_map(|what| [true, false].map(|negated| format!("{what}, negated {negated}")))
            .filter(|what| !self.0.contains_key(what))
            .collect()
    }

    /// What should have been seen and was not.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = self.missing_fields();
        for scope in ["Workload", "Host", "Forward", "PreDnat", "Untracked"] {
            let verdicts: &[&str] = match scope {
                "Workload" | "Host" => &["Allow", "Deny"],
                _ => &["Allow", "Deny", "Pass"],
            };
            missing.extend(
                verdicts
                    .iter()
                    .map(|verdict| format!("{scope} {verdict}"))
                    .filter(|what| !self.0.contains_key(what)),
            );
        }
        for what in [
            "Policy Allow",
            "Policy Deny",
            "Policy Pass",
            "Policy Log",
            "Profile Allow",
            "Profile Deny",
            "Profile Log",
            "EndOfTier Deny",
            "EndOfTier Pass",
            "NoProfile Deny",
        ] {
            if !self.0.contains_key(what) {
                missing.push(what.to_owned());
            }
        }
        missing
    }
}

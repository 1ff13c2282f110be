//! Why a destination is as it is: in lines for people, naming rules by the resources they came from.

use super::{Shell, communities, source};
use crate::fib::Target;
use crate::proto::ExplainResponse;
use crate::speaker::Speaker;
use bgp_rib::{Explanation, Fate, FibTarget, Known, Loop, NotSent};
use bgp_wire::{Attributes, Prefix};
use std::net::IpAddr;
use std::sync::Arc;

impl Shell {
    /// The longest prefix around an address that anybody has announced.
    pub(super) fn longest_match(&self, address: IpAddr) -> Option<Prefix> {
        let rib = self.speaker.as_ref().map(Speaker::rib)?;
        let host = Prefix::host(address);
        (0..=host.len())
            .rev()
            .filter_map(|length| Prefix::new(address, length))
            .find(|p| rib.explain(*p).is_some())
    }

    pub(super) fn explain(&self, prefix: Prefix) -> Option<ExplainResponse> {
        let speaker = self.speaker.as_ref()?;
        let explanation = speaker.rib().explain(prefix)?;
        let mut lines = Vec::new();
        for (known, fate) in &explanation.paths {
            lines.push(path(speaker, known));
            lines.push(format!("    {}", fate_in_words(fate)));
        }
        if explanation.paths.is_empty() {
            lines.push("nobody announces it any more".to_owned());
        }
        lines.push(format!("kernel: {}", self.kernel_in_words(prefix, &explanation)));
        let waits = speaker.is_restarting();
        for (peer, told) in &explanation.sent {
            let name = &speaker.rib().settings(*peer).name;
            lines.push(match told {
                Ok(_) if waits => {
                    format!("not yet sent to {name}: after a restart, the neighbours are heard first")
                }
                Ok(attributes) => format!("sent to {name}: {}", attributes_in_words(attributes)),
                Err(why) => format!("not sent to {name}: {}", not_sent_in_words(why)),
            });
        }
        Some(ExplainResponse { prefix: prefix.to_string(), lines })
    }

    fn kernel_in_words(&self, prefix: Prefix, explanation: &Explanation) -> String {
        if !self.kernel.programs() {
            return "nothing is put there (--no-fib)".to_owned();
        }
        let there = self.in_kernel(prefix);
        let Some(route) = &explanation.fib else {
            let best = explanation.paths.first().filter(|(_, fate)| *fate == Fate::Best);
            let local = best.and_then(|(known, _)| known.local.as_ref());
            let why = match (best, local, &explanation.kernel_rule) {
                (None, ..) => "no path can be used".to_owned(),
                (Some(_), Some(_), _) => "it is there already, from another program".to_owned(),
                (Some(_), None, Some(rule)) => format!("rule {rule:?} keeps it out"),
                (Some(_), None, None) => "it has no way to its next hop".to_owned(),
            };
            return match there.as_str() {
                "" => format!("no route of ours, because {why}"),
                there => format!("{there}, which goes when the restart is over ({why})"),
            };
        };
        let wanted = match &route.target {
            FibTarget::Blackhole => Target::Blackhole,
            FibTarget::Via(hops) => Target::Via(hops.clone()),
        };
        let wanted = self.in_words(&wanted, route.metric);
        match there.as_str() {
            "" => {
                format!("{wanted}, which the kernel does not have (yet): it may have refused it, see the log")
            }
            there => there.to_owned(),
        }
    }
}

fn path(speaker: &Speaker, known: &Known) -> String {
    let mut text = format!("path from {}", source(speaker, known));
    if known.path_id != 0 && known.local.is_none() {
        text.push_str(&format!(" (path identifier {})", known.path_id));
    }
    match &known.local {
        Some(local) => {
            let metric = local.metric.map(|metric| format!(", metric {metric}")).unwrap_or_default();
            text.push_str(&format!(": preference {}{metric}", known.preference));
        }
        None => text.push_str(&format!(": {}", attributes_in_words(&known.attributes))),
    }
    if known.stale {
        text.push_str("; kept over the neighbour's restart");
    }
    text
}

fn attributes_in_words(attributes: &Attributes) -> String {
    let mut words = vec![format!("next hop {}", attributes.next_hop)];
    let as_path = attributes.as_path.to_string();
    words.push(if as_path.is_empty() { "empty AS path".to_owned() } else { format!("AS path {as_path}") });
    if let Some(value) = attributes.local_pref {
        words.push(format!("local preference {value}"));
    }
    if let Some(value) = attributes.med {
        words.push(format!("MED {value}"));
    }
    let communities = communities(attributes);
    if !communities.is_empty() {
        words.push(format!("communities {communities}"));
    }
    if let Some(originator) = attributes.originator_id() {
        words.push(format!("reflected from {originator}"));
    }
    words.join(", ")
}

fn fate_in_words(fate: &Fate) -> String {
    match fate {
        Fate::Best => "best".to_owned(),
        Fate::Shares(step) => format!("shares the traffic with the best, which won by: {step}"),
        Fate::Lost(step) => format!("not best, by: {step}"),
        Fate::Rejected(rule) => format!("filtered on import, by {}", rule_in_words(rule.as_ref())),
        Fate::Looped(why) => format!(
            "not used, it comes from ourselves: {}",
            match why {
                Loop::AsPath =>
                    "our AS number is in its path more often than numAllowedLocalASNumbers allows",
                Loop::Originator => "its ORIGINATOR_ID is our router ID",
                Loop::Cluster => "our cluster ID is in its CLUSTER_LIST",
                Loop::NextHop => "its next hop is our own address",
            }
        ),
        Fate::Unreachable(next_hop) => {
            format!(
                "not used, its next hop {} cannot be reached by any route of the kernel",
                next_hop.address
            )
        }
    }
}

fn rule_in_words(rule: Option<&Arc<str>>) -> String {
    rule.map_or_else(
        || "the end of the policy, where no rule had matched".to_owned(),
        |rule| format!("rule {rule:?}"),
    )
}

fn not_sent_in_words(why: &NotSent) -> String {
    match why {
        NotSent::Source => "it comes from there".to_owned(),
        NotSent::NotReflected => {
            "it comes from another speaker of our AS, and neither is a client of ours".to_owned()
        }
        NotSent::Community => "a well-known community forbids it".to_owned(),
        NotSent::Policy(rule) => format!("filtered on export, by {}", rule_in_words(rule.as_ref())),
        NotSent::NotSendable => {
            "there is no next hop to send it with in this session's address family".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_rib::Step;
    use bgp_wire::{AsPath, Origin};

    #[test]
    fn every_fate_says_what_decided() {
        assert_eq!(
            fate_in_words(&Fate::Lost(Step::Med)),
            "not best, by: lower MULTI_EXIT_DISC from the same AS"
        );
        let rule = Some(Arc::from("BGPFilter f, importV4, rule 2"));
        assert_eq!(
            fate_in_words(&Fate::Rejected(rule)),
            "filtered on import, by rule \"BGPFilter f, importV4, rule 2\""
        );
        assert!(fate_in_words(&Fate::Rejected(None)).contains("no rule had matched"));
        assert!(fate_in_words(&Fate::Looped(Loop::AsPath)).contains("numAllowedLocalASNumbers"));
        let policy = NotSent::Policy(Some(Arc::from("IPPool p: disableBGPExport")));
        assert_eq!(not_sent_in_words(&policy), "filtered on export, by rule \"IPPool p: disableBGPExport\"");
    }

    #[test]
    fn attributes_are_told_as_far_as_they_are_there() {
        let mut attributes =
            Attributes::new(Origin::Igp, AsPath::sequence(&[65001, 65002]), [192, 0, 2, 1].into());
        assert_eq!(attributes_in_words(&attributes), "next hop 192.0.2.1, AS path 65001 65002");
        attributes.local_pref = Some(7);
        attributes.add_community(65001 << 16 | 5);
        attributes.add_large_community([1, 2, 3]);
        assert_eq!(
            attributes_in_words(&attributes),
            "next hop 192.0.2.1, AS path 65001 65002, local preference 7, communities 65001:5 1:2:3"
        );
    }
}

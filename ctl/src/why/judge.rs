//! The way of a packet, end by end, and its verdict.

use super::ends::End;
use super::stored::Stored;
use felix_calc::Changes;
use felix_calc::endpoint::{EndpointKey, LocalEndpoint};
use felix_calc::policy::{Policy, Profile};
use felix_calc::rule::{Rule, SetId};
use felix_calc::sets::{Member, SetChange};
use felix_render::evaluate::{Decision, Packet, Sets, evaluate};
use felix_render::form::{Direction, Origin, Program, Scope, Verdict};
use model::Kind;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What is to be told.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) packet: Packet,
    /// Ends whose policy was asked, in the order of the packet's way. It ends where one denies.
    pub(super) sides: Vec<Side>,
    /// What else there is to know, or to decide.
    pub(super) notes: Vec<String>,
    pub(super) allowed: bool,
    /// What decided.
    pub(super) reason: String,
    /// The deciding rule as it is stored.
    pub(super) rule: Option<serde_json::Value>,
}

/// What policy says at one end.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) title: String,
    pub(super) node: String,
    pub(super) direction: Direction,
    /// Tiers with policies for the endpoint, up to the one that decided.
    pub(super) tiers: Vec<TierStep>,
    /// Profiles, where no tier decided.
    pub(super) profiles: Vec<ListStep>,
    pub(super) decision: Decision,
}

/// A tier on the way.
#[derive(Debug)]
pub(super) struct TierStep {
    pub(super) name: String,
    pub(super) policies: Vec<ListStep>,
    /// What its end did, where no rule decided; `None` too for a tier that was skipped.
    pub(super) end: Option<Verdict>,
}

/// A policy or profile on the way.
#[derive(Debug)]
pub(super) struct ListStep {
    pub(super) title: String,
    /// Why its rules were not asked.
    pub(super) skipped: Option<&'static str>,
    pub(super) rules: Vec<RuleStep>,
}

/// A rule on the way.
#[derive(Debug)]
pub(super) struct RuleStep {
    pub(super) index: usize,
    /// What it did; `None` where it did not match.
    pub(super) verdict: Option<Verdict>,
    /// A field of it that is not enforced.
    pub(super) unenforced: Option<&'static str>,
}

/// Judges a packet from one end to another.
pub(super) fn judge(stored: &Stored, from: End, to: End, packet: Packet) -> Answer {
    let mut answer = Answer {
        from,
        to,
        packet,
        sides: Vec::new(),
        notes: Vec::new(),
        allowed: true,
        reason: "no policy of ours is about either end".to_owned(),
        rule: None,
    };
    let one_node = answer.from.node().is_some() && answer.from.node() == answer.to.node();
    let (from_workload, to_workload) = (answer.from.is_workload(), answer.to.is_workload());
    if one_node && to_workload && !from_workload {
        answer.reason = "a node's own packets to its workloads are not policed".to_owned();
        return answer;
    }
    answer.ask(stored, Direction::Egress);
    if one_node && from_workload && !to_workload {
        answer.ask_own_host(stored);
    } else {
        answer.ask(stored, Direction::Ingress);
    }
    answer
}

impl Answer {
    /// What the policy of one end says, unless it was denied before.
    fn ask(&mut self, stored: &Stored, direction: Direction) {
        let end = match direction {
            Direction::Egress => &self.from,
            Direction::Ingress => &self.to,
        };
        let End::Endpoint { key, node, .. } = end else { return };
        if !self.allowed {
            return;
        }
        let changes = stored.changes(node);
        let local = changes.endpoints.iter().find(|(of, _)| of == key).and_then(|(_, local)| local.clone());
        let Some(local) = local else {
            self.allowed = false;
            let refused = changes.reports.iter().flat_map(|(_, reports)| reports).next();
            let why = refused.map_or_else(String::new, |report| format!(": {report}"));
            self.reason = format!("{} is refused by its node and has no network{why}", end.title());
            return;
        };
        let side = Side::ask(end.title(), node, direction, key, &local, &changes, &self.packet);
        if matches!(key, EndpointKey::Host(_)) {
            let list = match direction {
                Direction::Ingress => "failsafeInboundHostPorts",
                Direction::Egress => "failsafeOutboundHostPorts",
            };
            self.notes.push(format!(
                "what {list} of FelixConfiguration names passes {} before its policy",
                end.title()
            ));
        }
        self.allowed = side.decision.verdict != Verdict::Deny;
        (self.reason, self.rule) = reason(stored, &side);
        self.sides.push(side);
    }

    /// What a workload's own host does with what policy let through (`felix.md` §5 of the contract).
    fn ask_own_host(&mut self, stored: &Stored) {
        let Some(node) = self.to.node().filter(|_| self.allowed).map(str::to_owned) else { return };
        let of = |name: &str| {
            let value = stored.get(Kind::FelixConfiguration, "", name)?;
            let action = value.pointer("/spec/defaultEndpointToHostAction")?.as_str()?.to_owned();
            Some((action, format!("FelixConfiguration {name}")))
        };
        let set = of(&format!("node.{node}")).or_else(|| of("default"));
        let (action, place) = set.unwrap_or_else(|| ("Drop".to_owned(), "not set".to_owned()));
        if action == "Drop" {
            self.allowed = false;
            self.reason = format!("defaultEndpointToHostAction: Drop ({place})");
            self.rule = None;
        } else {
            self.notes.push(format!(
                "a workload's packets to its own host go on to the host's other rules: defaultEndpointToHostAction: {action} \
                 ({place})"
            ));
        }
    }
}

impl Side {
    fn ask(
        title: String,
        node: &str,
        direction: Direction,
        key: &EndpointKey,
        local: &LocalEndpoint,
        changes: &Changes,
        packet: &Packet,
    ) -> Self {
        let scope = match key {
            EndpointKey::Workload(..) => Scope::Workload,
            EndpointKey::Host(_) => Scope::Host,
        };
        let profiles: Vec<(Arc<str>, Arc<Profile>)> =
            local.endpoint.profiles().iter().map(|name| (name.clone(), profile(changes, name))).collect();
        let program = Program::new(scope, direction, &local.tiers, &profiles);
        let decision = evaluate(&program, packet, &Members::of(changes));
        let mut side = Side {
            title,
            node: node.to_owned(),
            direction,
            tiers: Vec::new(),
            profiles: Vec::new(),
            decision,
        };
        side.walk(local, &profiles);
        side
    }

    /// Everything passed on the way, in order; the decision says what matched.
    fn walk(&mut self, local: &LocalEndpoint, profiles: &[(Arc<str>, Arc<Profile>)]) {
        for tier in &local.tiers {
            let mut step = TierStep { name: tier.name.clone(), policies: Vec::new(), end: None };
            for policy in &tier.policies {
                let key = &policy.key;
                let is_ours =
                    |origin: &Origin| matches!(origin, Origin::Policy { policy, .. } if **policy == *key);
                let (list, last) = self.list(
                    key.to_string(),
                    skipped(policy, self.direction),
                    rules(policy, self.direction),
                    is_ours,
                );
                step.policies.push(list);
                if last.is_some() {
                    break;
                }
            }
            step.end = self.decision.path.iter().find_map(|(origin, verdict)| {
                matches!(origin, Origin::EndOfTier(name) if **name == *tier.name).then_some(*verdict)
            });
            self.tiers.push(step);
            if self.ends_in_tier(&tier.name) {
                return;
            }
        }
        for (name, profile) in profiles {
            let is_ours = |origin: &Origin| matches!(origin, Origin::Profile { name: of, .. } if of == name);
            let list = match self.direction {
                Direction::Ingress => &profile.ingress,
                Direction::Egress => &profile.egress,
            };
            let (list, last) = self.list(format!("Profile {name}"), None, list, is_ours);
            self.profiles.push(list);
            if matches!(last, Some(Verdict::Allow | Verdict::Deny)) {
                return;
            }
        }
    }

    /// Whether the packet's way ends in a tier.
    fn ends_in_tier(&self, tier: &str) -> bool {
        match self.decision.path.last() {
            Some((Origin::Policy { tier: of, .. } | Origin::EndOfTier(of), verdict)) => {
                **of == *tier && matches!(verdict, Verdict::Allow | Verdict::Deny)
            }
            _ => false,
        }
    }

    /// A list of rules up to the one that ended it, and what that did.
    fn list(
        &self,
        title: String,
        skipped: Option<&'static str>,
        rules: &[Rule],
        is_ours: impl Fn(&Origin) -> bool,
    ) -> (ListStep, Option<Verdict>) {
        let mut list = ListStep { title, skipped, rules: Vec::new() };
        if skipped.is_some() {
            return (list, None);
        }
        let place = |origin: &Origin| match origin {
            Origin::Policy { index, .. } | Origin::Profile { index, .. } => Some(*index),
            Origin::EndOfTier(_) | Origin::NoProfile => None,
        };
        let mut last = None;
        for rule in rules {
            let matched = self
                .decision
                .path
                .iter()
                .find(|(origin, _)| is_ours(origin) && place(origin) == Some(rule.index));
            let verdict = matched.map(|(_, verdict)| *verdict);
            list.rules.push(RuleStep { index: rule.index, verdict, unenforced: rule.unenforced });
            if verdict.is_some_and(|verdict| verdict != Verdict::Log) {
                last = verdict;
                break;
            }
        }
        (list, last)
    }
}

fn skipped(policy: &Policy, direction: Direction) -> Option<&'static str> {
    let says_something = match direction {
        Direction::Ingress => policy.ingress.is_some(),
        Direction::Egress => policy.egress.is_some(),
    };
    match (policy.key.kind.is_staged(), says_something) {
        (true, _) => Some("staged, without effect"),
        (false, false) => Some("says nothing about this direction"),
        (false, true) => None,
    }
}

fn rules(policy: &Policy, direction: Direction) -> &[Rule] {
    match direction {
        Direction::Ingress => policy.ingress.as_deref(),
        Direction::Egress => policy.egress.as_deref(),
    }
    .unwrap_or_default()
}

fn profile(changes: &Changes, name: &Arc<str>) -> Arc<Profile> {
    let told = changes.profiles.iter().find(|(of, _)| of == name);
    told.and_then(|(_, profile)| profile.clone()).unwrap_or_default()
}

/// What decided, and the rule as it is stored.
fn reason(stored: &Stored, side: &Side) -> (String, Option<serde_json::Value>) {
    let Some((origin, _)) = side.decision.path.last() else { return ("nothing".to_owned(), None) };
    let (kind, namespace, name, index) = match origin {
        Origin::Policy { policy, index, .. } => {
            (Kind::from_name(policy.kind.name()), policy.namespace.as_str(), policy.name.as_str(), *index)
        }
        Origin::Profile { name, index, .. } => (Some(Kind::Profile), "", &**name, *index),
        Origin::EndOfTier(_) | Origin::NoProfile => return (origin.to_string(), None),
    };
    let value = kind.and_then(|kind| stored.get(kind, namespace, name));
    let rule = value.and_then(|value| value.pointer(&format!("/spec/{}/{index}", side.direction)).cloned());
    (origin.to_string(), rule)
}

/// Members of the sets that rules name.
struct Members<'a>(HashMap<&'a str, &'a [Member]>);

impl<'a> Members<'a> {
    fn of(changes: &'a Changes) -> Self {
        let members = |(id, change): &'a (SetId, SetChange)| match change {
            SetChange::Create(_, members) => Some((&**id, members.as_slice())),
            SetChange::Update { .. } | SetChange::Remove => None,
        };
        Members(changes.sets.iter().filter_map(members).collect())
    }

    fn has(&self, id: &str, is: impl Fn(&Member) -> bool) -> bool {
        self.0.get(id).is_some_and(|members| members.iter().any(is))
    }
}

impl Sets for Members<'_> {
    fn has_address(&self, id: &str, address: IpAddr) -> bool {
        self.has(id, |member| matches!(member, Member::Net(net) if net.contains(address)))
    }

    fn has_port(&self, id: &str, address: IpAddr, protocol: u8, port: u16) -> bool {
        self.has(id, |member| *member == Member::Port(address, protocol, port))
    }
}

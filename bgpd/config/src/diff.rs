//! What has to be done to come from one plan to the next, so that a change touches only the peers it must.

use crate::plan::{Listen, LogLevel, NodePlan, SessionKey, SessionPlan};
use crate::warning::Warning;
use bgp_rib::PeerSettings;
use bgp_rib::policy::Policy;
use bgp_session::Change;
use bgp_wire::{Family, PerFamily, Prefix};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What happens to one session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionStep {
    /// It is new.
    Add(Arc<SessionPlan>),
    /// It is told otherwise.
    Change(Arc<SessionPlan>, SessionChange),
    /// It ends: its neighbour was removed from the configuration.
    Remove,
}

/// What is new about a session that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionChange {
    /// What the session itself has to do; a reset makes the rest happen by itself.
    pub session: Change,
    /// It is held down, or no longer, or tells another text.
    pub shutdown: bool,
    /// Where its password is, or how it signs.
    pub password: bool,
    /// Families whose import policy is another.
    pub import: PerFamily<bool>,
    /// Families whose export policy is another.
    pub export: PerFamily<bool>,
    /// Something else the RIB is told: next hop, reflection, own AS, limit, local addresses.
    pub routing: bool,
    /// Only what people see: its name, or the resource behind it.
    pub labels: bool,
}

/// What has to be done; what is `None` or empty stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanDiff {
    /// Another BGP identifier; the sessions that carry it are among `sessions`.
    pub router_id: Option<Option<Ipv4Addr>>,
    /// Another AS number of the node.
    pub local_as: Option<u32>,
    /// Another cluster ID.
    pub cluster_id: Option<Option<Ipv4Addr>>,
    /// Listen elsewhere.
    pub listen: Option<Listen>,
    /// Log otherwise.
    pub log_level: Option<LogLevel>,
    /// Sessions that are touched.
    pub sessions: BTreeMap<SessionKey, SessionStep>,
    /// Blocks that are new (`true`) or gone (`false`).
    pub blocks: BTreeMap<Prefix, bool>,
    /// Static routes that are new or lead elsewhere, or are gone (`None`).
    pub static_routes: BTreeMap<Prefix, Option<IpAddr>>,
    /// Kernel policies that are new.
    pub kernel: PerFamily<Option<Arc<Policy>>>,
    /// Metrics that are new.
    pub normal_priority: PerFamily<Option<u32>>,
    /// Other interfaces are ignored.
    pub ignored_interfaces: Option<Vec<String>>,
    /// What is wrong now.
    pub warnings: Option<Vec<Warning>>,
}

impl PlanDiff {
    /// What leads from `old` to `new`.
    pub fn between(old: &NodePlan, new: &NodePlan) -> Self {
        PlanDiff {
            router_id: changed(&old.router_id, &new.router_id),
            local_as: changed(&old.local_as, &new.local_as),
            cluster_id: changed(&old.cluster_id, &new.cluster_id),
            listen: changed(&old.listen, &new.listen),
            log_level: changed(&old.log_level, &new.log_level),
            sessions: sessions(old, new),
            blocks: old
                .blocks
                .symmetric_difference(&new.blocks)
                .map(|block| (*block, new.blocks.contains(block)))
                .collect(),
            static_routes: static_routes(old, new),
            kernel: PerFamily::from_fn(|f| changed(old.kernel.get(f), new.kernel.get(f))),
            normal_priority: PerFamily::from_fn(|f| {
                changed(old.normal_priority.get(f), new.normal_priority.get(f))
            }),
            ignored_interfaces: changed(&old.ignored_interfaces, &new.ignored_interfaces),
            warnings: changed(&old.warnings, &new.warnings),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == PlanDiff::default()
    }

    /// Does to `plan` what this says; to the old plan, that makes it the new one.
    pub fn apply(&self, plan: &mut NodePlan) {
        set(&mut plan.router_id, &self.router_id);
        set(&mut plan.local_as, &self.local_as);
        set(&mut plan.cluster_id, &self.cluster_id);
        set(&mut plan.listen, &self.listen);
        set(&mut plan.log_level, &self.log_level);
        for (key, step) in &self.sessions {
            match step {
                SessionStep::Add(session) | SessionStep::Change(session, _) => {
                    plan.sessions.insert(*key, Arc::clone(session));
                }
                SessionStep::Remove => {
                    plan.sessions.remove(key);
                }
            }
        }
        for (block, there) in &self.blocks {
            if *there {
                plan.blocks.insert(*block);
            } else {
                plan.blocks.remove(block);
            }
        }
        for (prefix, gateway) in &self.static_routes {
            match gateway {
                Some(gateway) => plan.static_routes.insert(*prefix, *gateway),
                None => plan.static_routes.remove(prefix),
            };
        }
        for family in Family::ALL {
            set(plan.kernel.get_mut(family), self.kernel.get(family));
            set(plan.normal_priority.get_mut(family), self.normal_priority.get(family));
        }
        set(&mut plan.ignored_interfaces, &self.ignored_interfaces);
        set(&mut plan.warnings, &self.warnings);
    }
}

fn changed<T: PartialEq + Clone>(old: &T, new: &T) -> Option<T> {
    (old != new).then(|| new.clone())
}

fn set<T: Clone>(place: &mut T, new: &Option<T>) {
    if let Some(new) = new {
        place.clone_from(new);
    }
}

fn sessions(old: &NodePlan, new: &NodePlan) -> BTreeMap<SessionKey, SessionStep> {
    let gone = old.sessions.keys().filter(|key| !new.sessions.contains_key(key));
    let mut steps: BTreeMap<_, _> = gone.map(|key| (*key, SessionStep::Remove)).collect();
    for (key, session) in &new.sessions {
        match old.sessions.get(key) {
            None => {
                steps.insert(*key, SessionStep::Add(Arc::clone(session)));
            }
            // a plan made from another shares what did not change
            Some(before) if Arc::ptr_eq(before, session) || before == session => {}
            Some(before) => {
                let change = SessionChange::between(before, session);
                steps.insert(*key, SessionStep::Change(Arc::clone(session), change));
            }
        }
    }
    steps
}

fn static_routes(old: &NodePlan, new: &NodePlan) -> BTreeMap<Prefix, Option<IpAddr>> {
    let gone = old.static_routes.keys().filter(|prefix| !new.static_routes.contains_key(prefix));
    let there = new.static_routes.iter().filter(|(prefix, via)| old.static_routes.get(prefix) != Some(*via));
    gone.map(|prefix| (*prefix, None)).chain(there.map(|(prefix, via)| (*prefix, Some(*via)))).collect()
}

impl SessionChange {
    fn between(old: &SessionPlan, new: &SessionPlan) -> Self {
        let (a, b) = (&old.routing, &new.routing);
        SessionChange {
            session: match old.settings.change(&new.settings) {
                // a link-local neighbour on another interface is another neighbour
                _ if old.interface != new.interface => Change::Reset,
                change => change,
            },
            shutdown: old.shutdown != new.shutdown,
            password: (&old.password, old.signing) != (&new.password, new.signing),
            import: PerFamily::from_fn(|f| a.import.get(f) != b.import.get(f)),
            export: PerFamily::from_fn(|f| a.export.get(f) != b.export.get(f)),
            // policies and the name are told by themselves
            routing: PeerSettings {
                name: b.name.clone(),
                import: b.import.clone(),
                export: b.export.clone(),
                ..a.clone()
            } != *b
                || old.dynamic_limit != new.dynamic_limit,
            labels: (&old.name, old.session_type, &old.origin) != (&new.name, new.session_type, &new.origin),
        }
    }
}

//! A policy tried on a route that is in no table: the same evaluation as in the RIB, for people and tests who ask what
//! would happen.

use super::evaluate::{Compiled, Context, Subject};
use super::{Policy, Verdict};
use crate::origin::{BGP_PREFERENCE, Local};
use crate::set::{Key, Set};
use bgp_wire::{Attributes, Prefix};
use std::sync::Arc;

/// A route to try.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialRoute {
    /// Its destination.
    pub prefix: Prefix,
    /// Its attributes.
    pub attributes: Attributes,
    /// What is known of a route that did not come by BGP; `None` for one that did.
    pub local: Option<Local>,
}

/// What a policy does to a route.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Whether it passes.
    pub verdict: Verdict,
    /// The rule that decided; `None` where the policy's end did.
    pub rule: Option<Arc<str>>,
    /// The attributes as the rules left them.
    pub attributes: Attributes,
    /// Its metric, once there is one.
    pub metric: Option<u32>,
    /// Its preference among the node's sources of routes.
    pub preference: u32,
    /// The device it leads through in the kernel.
    pub tunnel: Option<String>,
}

/// A policy made ready to be tried.
#[derive(Debug)]
pub struct Trier(Compiled);

impl Trier {
    /// Makes a policy ready.
    pub fn new(policy: Arc<Policy>) -> Self {
        Trier(Compiled::new(policy))
    }

    /// Takes a route through the policy, on a session that is external (`Some(true)`) or internal, or into the kernel
    /// (`None`).
    pub fn run(&self, route: &TrialRoute, external: Option<bool>) -> Trial {
        let local = route.local.clone().map(Box::new);
        let preference = route.local.as_ref().map_or(BGP_PREFERENCE, |local| local.source.preference());
        let set = Set::new(Key { attributes: route.attributes.clone(), preference, next_hop: 0, local }, 0);
        let mut subject = Subject::new(&set);
        let outcome = self.0.evaluate(&mut subject, &Context { prefix: route.prefix, external });
        Trial {
            verdict: outcome.verdict,
            rule: self.0.rule_name(&outcome),
            metric: subject.metric,
            preference: subject.preference,
            tunnel: subject.tunnel.map(str::to_owned),
            attributes: subject.into_attributes(),
        }
    }
}

//! BGPPeers of this node that are about local workloads: which endpoint is whose (`felix.md` §16, `bgp.md` §4.3 of the
//! contract). The BGP speaker reads the answer in the endpoint's status file.

use crate::endpoint::EndpointKey;
use crate::label_index::SelectorId;
use crate::told::tell;
use delta::DeltaMap;
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Peers and their endpoints.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    by_name: BTreeMap<Arc<str>, SelectorId>,
    by_selector: HashMap<SelectorId, BTreeSet<Arc<str>>>,
    /// Endpoints whose peer may be another one.
    dirty: BTreeSet<EndpointKey>,
    of_endpoint: DeltaMap<EndpointKey, Arc<str>>,
}

impl Peers {
    /// The selector of a peer is this one now, or the peer is gone; the selector it had.
    pub(crate) fn set(&mut self, name: &str, selector: Option<SelectorId>) -> Option<SelectorId> {
        let name: Arc<str> = name.into();
        let before = match selector {
            Some(selector) => self.by_name.insert(name.clone(), selector),
            None => self.by_name.remove(&name),
        };
        if let Some(names) = before.and_then(|before| self.by_selector.get_mut(&before)) {
            names.remove(&name);
        }
        self.by_selector.retain(|_, names| !names.is_empty());
        if let Some(selector) = selector {
            self.by_selector.entry(selector).or_default().insert(name);
        }
        before
    }

    /// Whether a peer has this selector.
    pub(crate) fn has(&self, selector: SelectorId) -> bool {
        self.by_selector.contains_key(&selector)
    }

    /// An endpoint came, went, or is matched by other selectors.
    pub(crate) fn touch(&mut self, endpoint: &EndpointKey) {
        if !self.by_name.is_empty() || self.of_endpoint.get_desired(endpoint).is_some() {
            self.dirty.insert(endpoint.clone());
        }
    }

    /// What became of the peers of endpoints: the first by name of those that match.
    pub(crate) fn take<'a>(
        &mut self,
        selectors_of: impl Fn(&EndpointKey) -> &'a [SelectorId],
    ) -> Vec<(EndpointKey, Option<Arc<str>>)> {
        for key in std::mem::take(&mut self.dirty) {
            let matching = selectors_of(&key).iter().filter_map(|selector| self.by_selector.get(selector));
            match matching.flatten().min().cloned() {
                Some(peer) => self.of_endpoint.set_desired(key, peer),
                None => self.of_endpoint.remove_desired(&key),
            }
        }
        tell(&mut self.of_endpoint)
    }
}

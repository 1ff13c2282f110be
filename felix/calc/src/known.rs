//! Local endpoints as they were told: what is known of one that comes again under its name, before everything else that
//! was stored beside it has been calculated.
//!
//! Which policies apply to an endpoint follows from its labels and profiles. One that has those of before is what it was, at
//! other addresses or behind another interface: the policies told for it hold, as they hold for the endpoints that stay.

use crate::endpoint::{Endpoint, EndpointKey, LocalEndpoint};
use foldhash::HashMap;
use std::sync::Arc;

/// Labels of its own, in order of keys.
type Labels = Arc<[(Box<str>, Box<str>)]>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Labels that local endpoints have.
    labels: HashMap<EndpointKey, Labels>,
    /// What was told, and of which labels.
    told: HashMap<EndpointKey, (Labels, Arc<LocalEndpoint>)>,
}

impl Known {
    /// A local endpoint has these labels, in order of keys.
    pub(crate) fn set(&mut self, key: &EndpointKey, labels: &[(&str, &str)]) {
        if !self.labels.get(key).is_some_and(|known| are(known, labels)) {
            let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            self.labels.insert(key.clone(), labels);
        }
    }

    /// It is no local endpoint any more.
    pub(crate) fn remove(&mut self, key: &EndpointKey) {
        self.labels.remove(key);
    }

    /// This was told of it.
    pub(crate) fn told(&mut self, key: &EndpointKey, local: Option<&Arc<LocalEndpoint>>) {
        match (local, self.labels.get(key)) {
            (Some(local), Some(labels)) => self.told.insert(key.clone(), (labels.clone(), local.clone())),
            _ => self.told.remove(key),
        };
    }

    /// Whether the policies told for it are those of an endpoint like this, with these labels in order of keys.
    pub(crate) fn is_like(&self, key: &EndpointKey, endpoint: &Endpoint, labels: &[(&str, &str)]) -> bool {
        let like = |(of, local): &(Labels, Arc<LocalEndpoint>)| {
            are(of, labels) && local.endpoint.profiles() == endpoint.profiles()
        };
        self.told.get(key).is_some_and(like)
    }

    /// What was told of it, where the policies told are those of what it is now.
    pub(crate) fn alike(&self, key: &EndpointKey, endpoint: &Endpoint) -> Option<&Arc<LocalEndpoint>> {
        let (labels, local) = self.told.get(key)?;
        let same = self.labels.get(key) == Some(labels) && local.endpoint.profiles() == endpoint.profiles();
        same.then_some(local)
    }
}

fn are(known: &Labels, labels: &[(&str, &str)]) -> bool {
    known.iter().map(|(key, value)| (&**key, &**value)).eq(labels.iter().copied())
}

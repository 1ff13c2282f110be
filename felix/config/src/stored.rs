//! What the datastore says: the FelixConfigurations that are about this node.

use crate::problem::Problem;
use crate::resolve::Origin;
use model::Resource;
use model::felix::flat;
use selector::Selector;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the FelixConfiguration of the whole cluster.
const GLOBAL: &str = "default";
/// How names of those of one node begin.
const OF_NODE: &str = "node.";

/// FelixConfigurations by name, and the labels of this node.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    resources: BTreeMap<String, Arc<Resource>>,
    labels: BTreeMap<String, String>,
}

/// Parameters of one resource, by name in small letters.
pub(crate) type Texts = BTreeMap<String, String>;

impl Stored {
    /// A FelixConfiguration came or changed, or (`None`) is gone.
    pub fn set(&mut self, name: &str, resource: Option<Arc<Resource>>) {
        match resource {
            Some(resource) => self.resources.insert(name.to_owned(), resource),
            None => self.resources.remove(name),
        };
    }

    /// The labels of this node's Node; none while there is no Node.
    pub fn set_labels<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }

    /// The resources that are about this node, the strongest first: its own, the oldest of those whose selector matches
    /// its labels, the cluster's.
    pub(crate) fn about(&self, node: &str, problems: &mut Vec<Problem>) -> Vec<(Origin, Texts)> {
        let own = self.resources.get(&format!("{OF_NODE}{node}")).map(|resource| (Origin::Node, resource));
        let scoped =
            self.scoped(problems).map(|(name, resource)| (Origin::Selector(name.to_owned()), resource));
        let global = self.resources.get(GLOBAL).map(|resource| (Origin::Global, resource));
        let found = [own, scoped, global].into_iter().flatten();
        let texts = |resource: &Resource| {
            flat(resource).into_iter().map(|(name, text)| (name.to_ascii_lowercase(), text)).collect()
        };
        found.map(|(origin, resource)| (origin, texts(resource))).collect()
    }

    fn scoped(&self, problems: &mut Vec<Problem>) -> Option<(&str, &Arc<Resource>)> {
        let mut found: Vec<(&str, &str, &Arc<Resource>)> = Vec::new();
        for (name, resource) in &self.resources {
            if name == GLOBAL || name.starts_with(OF_NODE) {
                continue;
            }
            let text = resource.spec().get("nodeSelector").and_then(|text| text.as_str()).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            match Selector::parse(text) {
                Ok(selector) if selector.matches(&self.labels) => {
                    found.push((resource.creation_timestamp(), name, resource));
                }
                Ok(_) => {}
                Err(error) => problems.push(Problem::Selector {
                    resource: name.clone(),
                    selector: text.to_owned(),
                    reason: error.to_string(),
                }),
            }
        }
        // timestamps as Go writes them in UTC sort as texts
        found
            .into_iter()
            .min_by_key(|(created, name, _)| (*created, *name))
            .map(|(_, name, resource)| (name, resource))
    }
}

//! Equal policies as one allocation, over all plans of a view: whoever compares two needs but one look.

use bgp_rib::policy::{Policy, Rule, Verdict};
use std::collections::HashSet;
use std::sync::Arc;

/// All policies in use.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    known: HashSet<Arc<Policy>>,
}

impl Interner {
    /// The policy of these rules.
    pub(crate) fn policy(&mut self, rules: Vec<Rule>, otherwise: Verdict) -> Arc<Policy> {
        let policy = Policy { rules, otherwise };
        if let Some(known) = self.known.get(&policy) {
            return Arc::clone(known);
        }
        let policy = Arc::new(policy);
        self.known.insert(Arc::clone(&policy));
        policy
    }

    /// Drops what nobody uses any more.
    pub(crate) fn sweep(&mut self) {
        self.known.retain(|policy| Arc::strong_count(policy) > 1);
    }
}

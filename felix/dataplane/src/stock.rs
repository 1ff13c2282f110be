//! What is in the kernel, counted when somebody reads the metrics and never else (`felix.md` §19 of the contract).

use metrics::gauge;
use model::net::Family;
use std::collections::BTreeMap;

/// A gauge by its name and labels; of these the empty ones are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gauge {
    name: &'static str,
    ip_version: &'static str,
    table: &'static str,
}

impl Gauge {
    fn set(&self, count: usize) {
        let labels = [("ip_version", self.ip_version), ("table", self.table)];
        let labels: Vec<_> = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        // exact up to 2^53
        #[allow(clippy::cast_precision_loss)]
        gauge!(self.name, &labels).set(count as f64);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Stock(BTreeMap<Gauge, usize>);

impl Stock {
    /// So many more of a family's table.
    pub fn of_table(&mut self, name: &'static str, family: Family, table: &'static str, count: usize) {
        let ip_version = digit(family);
        *self.0.entry(Gauge { name, ip_version, table }).or_default() += count;
    }

    /// So many more sets of a family, whose label is as Calico's: the word of `ipset` for the family.
    pub fn of_sets(&mut self, name: &'static str, family: Family, count: usize) {
        let ip_version = match family {
            Family::V4 => "inet",
            Family::V6 => "inet6",
        };
        *self.0.entry(Gauge { name, ip_version, table: "" }).or_default() += count;
    }

    /// So many more of a routing table.
    pub fn of_routes(&mut self, name: &'static str, table: &'static str, count: usize) {
        *self.0.entry(Gauge { name, ip_version: "", table }).or_default() += count;
    }

    /// So many more.
    pub fn plain(&mut self, name: &'static str, count: usize) {
        *self.0.entry(Gauge { name, ip_version: "", table: "" }).or_default() += count;
    }

    /// Shows it in place of the one before, of which what is not there any more is shown as none.
    pub(crate) fn show(self, before: &mut Self) {
        before.0.keys().filter(|gauge| !self.0.contains_key(*gauge)).for_each(|gauge| gauge.set(0));
        self.0.iter().for_each(|(gauge, count)| gauge.set(*count));
        *before = self;
    }
}

/// A family as the label of chains and rules names it.
pub(crate) fn digit(family: Family) -> &'static str {
    match family {
        Family::V4 => "4",
        Family::V6 => "6",
    }
}

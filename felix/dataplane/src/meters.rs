//! What is counted while it happens: Calico's names and meaning (`felix.md` §19 of the contract).
//!
//! Those that are always there begin at zero; those with labels are there once what they are about is: the tables of
//! iptables where iptables judges packets.

use kernel::KernelEvent;
use metrics::{Histogram, counter, describe_counter, describe_gauge, describe_histogram, histogram};
use std::time::Duration;

/// Counters without labels.
const COUNTERS: [(&str, &str); 9] = [
    ("felix_ipset_calls", "Changes of IP sets that were tried."),
    ("felix_ipset_errors", "Changes of IP sets that failed, in whole or in part."),
    ("felix_ipset_lines_executed", "Members of IP sets and whole sets that were made or removed."),
    ("felix_nft_calls", "Transactions of nf_tables that were tried."),
    (
        "felix_nft_errors",
        "Transactions of nf_tables that failed; one that others came before, and is planned anew, has not.",
    ),
    ("felix_nft_list_calls", "Looks at what is in nf_tables."),
    ("felix_nft_list_errors", "Looks at what is in nf_tables that failed."),
    ("felix_nft_set_calls", "Transactions of nf_tables with changes of sets or maps that were tried."),
    ("felix_nft_set_errors", "Transactions of nf_tables with changes of sets or maps that failed."),
];

/// Counters with labels.
const LABELLED: [(&str, &str); 5] = [
    ("felix_iptables_save_calls", "Looks at the tables of iptables."),
    ("felix_iptables_save_errors", "Looks at the tables of iptables that failed."),
    ("felix_iptables_restore_calls", "Runs of iptables-restore."),
    ("felix_iptables_restore_errors", "Runs of iptables-restore that failed."),
    ("felix_iptables_lines_executed", "Lines that iptables-restore was given."),
];

/// Gauges, all set when somebody reads.
const GAUGES: [(&str, &str); 10] = [
    ("felix_ipsets_calico", "IP sets of ours."),
    ("felix_ipsets_total", "All IP sets, those of others as of the last look."),
    ("felix_iptables_chains", "Chains of ours in the tables of iptables."),
    (
        "felix_iptables_rules",
        "Rules of ours in the tables of iptables, those in chains of others among them.",
    ),
    ("felix_nft_chains", "Chains in our tables of nf_tables; those of ARP count as IPv4's."),
    ("felix_nft_rules", "Rules in our tables of nf_tables; those of ARP count as IPv4's."),
    ("felix_nft_sets", "Sets in our tables of nf_tables."),
    ("felix_nft_maps", "Maps in our tables of nf_tables."),
    ("felix_route_table_num_routes", "Routes of ours in a routing table."),
    ("felix_route_table_num_ifaces", "Interfaces that are followed for a routing table."),
];

const ADDRESSES: &str = "felix_int_dataplane_addr_msg_batch_size";
const INTERFACES: &str = "felix_int_dataplane_iface_msg_batch_size";
const LOOK: &str = "felix_route_table_resync_seconds";
const CONNTRACK: &str = "felix_route_table_conntrack_wait_seconds";

/// Summaries at hand: to find one by name costs more than to record.
pub(crate) struct Meters {
    addresses: Histogram,
    interfaces: Histogram,
    look: Histogram,
    conntrack: Histogram,
}

/// What the kernel told at one go.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    addresses: u32,
    interfaces: u32,
}

impl Meters {
    pub(crate) fn new() -> Self {
        for (name, help) in COUNTERS {
            describe_counter!(name, help);
            // shown from the start, as Calico's
            let _ = counter!(name);
        }
        LABELLED.into_iter().for_each(|(name, help)| describe_counter!(name, help));
        GAUGES.into_iter().for_each(|(name, help)| describe_gauge!(name, help));
        describe_histogram!(ADDRESSES, "Addresses of interfaces that came or went, of those told at one go.");
        describe_histogram!(INTERFACES, "Interfaces that changed, of those told at one go.");
        describe_histogram!(LOOK, "Time taken to list all routes.");
        describe_histogram!(CONNTRACK, "Time taken to forget connections of addresses that left.");
        Self {
            addresses: histogram!(ADDRESSES),
            interfaces: histogram!(INTERFACES),
            look: histogram!(LOOK),
            conntrack: histogram!(CONNTRACK),
        }
    }

    pub(crate) fn took(&self, batch: &Batch) {
        for (count, summary) in [(batch.addresses, &self.addresses), (batch.interfaces, &self.interfaces)] {
            if count > 0 {
                summary.record(count);
            }
        }
    }

    /// All routes were listed.
    pub(crate) fn looked(&self, time: Duration) {
        self.look.record(time);
    }

    /// Connections were forgotten.
    pub(crate) fn forgot(&self, time: Duration) {
        self.conntrack.record(time);
    }
}

impl Batch {
    pub(crate) fn add(&mut self, event: &KernelEvent) {
        match event {
            KernelEvent::Address(_) | KernelEvent::AddressGone(_) => self.addresses += 1,
            KernelEvent::Link(_) | KernelEvent::LinkGone(_) => self.interfaces += 1,
            _ => {}
        }
    }
}

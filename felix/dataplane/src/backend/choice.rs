//! Which backend, and why: the configuration, and where it leaves the choice what others on the node use.

use crate::iptables::saved;
use felix_render::wish::{IptablesBackend, NftablesMode, Wish};
use kernel::{Netfilter, Variant};
use netfilter::ipset::Family;
use netfilter::nft::{self, Object, Query};
use std::fmt;

/// A backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Our own tables of nf_tables.
    Nftables,
    /// Chains in iptables' tables.
    Iptables(Variant),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nftables => f.write_str("nftables"),
            Self::Iptables(variant) => write!(f, "iptables ({variant})"),
        }
    }
}

/// What a node is found to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// nf_tables answers.
    pub nf_tables: bool,
    /// kube-proxy, or a kubelet, has tables of its own in nf_tables.
    pub kube_nftables: bool,
    /// Of each variant of iptables.
    pub nft: FoundVariant,
    /// See `nft`.
    pub legacy: FoundVariant,
}

/// What is in the tables of a variant of iptables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundVariant {
    /// kube-proxy, or a kubelet, has chains there.
    pub kube: bool,
    /// Chains and rules of others: how many.
    pub others: usize,
    /// There is something of ours.
    pub ours: bool,
    /// Why its programs cannot work with what is there, in their own words.
    pub broken: Option<String>,
}

impl FoundVariant {
    /// Counts what `iptables-save` shows.
    fn count(&mut self, text: &str) {
        for line in text.lines() {
            let chain = line.strip_prefix(':').or_else(|| line.strip_prefix("-A "));
            let Some(chain) = chain.and_then(|rest| rest.split(' ').next()) else { continue };
            self.chain(chain);
            self.ours |= line.contains("\"cali:");
            let counts = line.starts_with('-') && !saved::is_ours(chain) && !line.contains("\"cali:");
            self.others += usize::from(counts);
        }
    }

    fn chain(&mut self, chain: &str) {
        self.kube |= chain.starts_with("KUBE-");
        self.ours |= saved::is_ours(chain);
    }
}

/// The choice, why in words, and what was found. Whether the programs of the nft variant can show its tables is asked only
/// where they would be needed: where others put into them what iptables has no words for, or there are no programs, nothing
/// could ever be known of them.
pub async fn decide(netfilter: &dyn Netfilter, wish: Wish) -> (Choice, String, Found) {
    let mut found = look_round(netfilter).await;
    let (mut choice, mut why) = choose(wish, &found);
    if choice == Choice::Iptables(Variant::Nft) {
        found.nft.broken = broken(netfilter).await;
        (choice, why) = choose(wish, &found);
    }
    (choice, why, found)
}

async fn broken(netfilter: &dyn Netfilter) -> Option<String> {
    let programs = netfilter.programs();
    for family in [Family::V4, Family::V6] {
        let saved = programs.save(family, Variant::Nft, None).await;
        let read = saved.map_err(|error| error.to_string()).and_then(|text| saved::parse(&text));
        if let Err(words) = read {
            return Some(words);
        }
    }
    None
}

/// Looks round. Tables of the nft variant are seen over netlink; a program is started only where the kernel has tables of
/// the legacy variant, which can be seen in no other way.
pub async fn look_round(netfilter: &dyn Netfilter) -> Found {
    let mut found = Found::default();
    if let Ok(mut nft) = netfilter.nftables() {
        found.nf_tables = nft.generation().is_ok();
        for object in nft.read(&Query::Tables(None)).unwrap_or_default() {
            if let Object::Table(table) = object {
                found.kube_nftables |= table.table.name == "kube-proxy";
            }
        }
        for family in [nft::Family::Ipv4, nft::Family::Ipv6] {
            for object in nft.read(&Query::Chains(family)).unwrap_or_default() {
                let Object::Chain(chain) = object else { continue };
                if !["raw", "mangle", "nat", "filter"].contains(&chain.table.name.as_str()) {
                    continue;
                }
                found.nft.chain(&chain.name);
                let made_by_others = chain.hook.is_none() && !saved::is_ours(&chain.name);
                found.nft.others += usize::from(made_by_others);
            }
        }
    }
    if !netfilter.legacy_tables().is_empty() {
        let programs = netfilter.programs();
        for family in [Family::V4, Family::V6] {
            match programs.save(family, Variant::Legacy, None).await {
                Ok(text) => found.legacy.count(&text),
                Err(error) => tracing::debug!(%error, "tables of the legacy variant are not looked at"),
            }
        }
    }
    found
}

/// The backend, and why in words.
pub fn choose(wish: Wish, found: &Found) -> (Choice, String) {
    match wish.nftables {
        NftablesMode::Enabled => (Choice::Nftables, "NFTablesMode is Enabled".to_owned()),
        NftablesMode::Disabled => {
            let (variant, why) = variant(wish, found);
            (Choice::Iptables(variant), format!("NFTablesMode is Disabled, and {why}"))
        }
        NftablesMode::Auto => {
            let because = |what: &str| format!("NFTablesMode is Auto, and {what}");
            if found.kube_nftables {
                return (Choice::Nftables, because("kube-proxy uses nftables"));
            }
            let iptables = match (found.nft.kube || found.legacy.kube, found.nf_tables) {
                (true, _) => "kube-proxy uses iptables",
                (false, false) => "the kernel has no nf_tables",
                (false, true) => {
                    return (Choice::Nftables, because("nothing on this node asks for iptables"));
                }
            };
            let (variant, why) = variant(wish, found);
            if let (Variant::Nft, Some(words)) = (variant, &found.nft.broken) {
                let but = format!("{}, but iptables-nft cannot work here ({words})", because(iptables));
                return (Choice::Nftables, but);
            }
            (Choice::Iptables(variant), format!("{}; {why}", because(iptables)))
        }
    }
}

fn variant(wish: Wish, found: &Found) -> (Variant, &'static str) {
    match wish.iptables {
        IptablesBackend::Legacy => (Variant::Legacy, "IptablesBackend is Legacy"),
        IptablesBackend::Nft => (Variant::Nft, "IptablesBackend is NFT"),
        IptablesBackend::Auto if !found.nf_tables => {
            (Variant::Legacy, "IptablesBackend is Auto: the kernel has no nf_tables")
        }
        IptablesBackend::Auto if found.nft.broken.is_some() && wish.nftables == NftablesMode::Disabled => {
            (Variant::Legacy, "IptablesBackend is Auto: the nft variant cannot work here")
        }
        IptablesBackend::Auto if found.nft.kube => {
            (Variant::Nft, "IptablesBackend is Auto: Kubernetes' chains are in the nft variant")
        }
        IptablesBackend::Auto if found.legacy.kube => {
            (Variant::Legacy, "IptablesBackend is Auto: Kubernetes' chains are in the legacy variant")
        }
        IptablesBackend::Auto if found.legacy.others > found.nft.others => {
            (Variant::Legacy, "IptablesBackend is Auto: others on this node use the legacy variant")
        }
        IptablesBackend::Auto => {
            (Variant::Nft, "IptablesBackend is Auto: nothing on this node asks for the legacy variant")
        }
    }
}

#[cfg(test)]
mod tests;

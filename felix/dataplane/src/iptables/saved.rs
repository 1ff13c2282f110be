//! What `iptables-save` says, as far as it concerns us.

use felix_render::iptables::Table;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Prefixes of chains that are ours, of today and of Calico's older versions (`felix.md` §4.1 of the contract).
const OURS: [&str; 8] = ["cali-", "felix-", "califw-", "calitw-", "califh-", "calith-", "calipi-", "calipo-"];
/// Characters of a rule's hash.
const HASH: usize = 16;

/// Whether a chain of this name is ours.
pub fn is_ours(chain: &str) -> bool {
    OURS.iter().any(|prefix| chain.starts_with(prefix))
}

/// A rule in a chain that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// One of ours.
    Ours {
        /// `None` for one of the times before rules had hashes.
        hash: Option<Arc<str>>,
        /// What comes after the name of the chain, by which it can be removed.
        text: Arc<str>,
    },
    /// Another's.
    Foreign,
}

/// A table that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Our chains: the hash of each rule, `None` for one without.
    pub chains: BTreeMap<Arc<str>, Vec<Option<Arc<str>>>>,
    /// All other chains.
    pub others: BTreeMap<Arc<str>, Vec<Entry>>,
}

/// Reads it; tables of which we have no use are left out.
///
/// # Errors
/// In the program's own words: it cannot show a table.
pub fn parse(text: &str) -> Result<BTreeMap<Table, Saved>, String> {
    let mut tables: BTreeMap<Table, Saved> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            current = Table::ALL.into_iter().find(|table| table.name() == name.trim_end());
            if let Some(table) = current {
                tables.entry(table).or_default();
            }
            continue;
        }
        if line.contains("is incompatible, use 'nft' tool") {
            let ours = Table::ALL.iter().any(|table| line.contains(&format!("`{}'", table.name())));
            if ours {
                return Err(line.trim_start_matches(['#', ' ']).to_owned());
            }
        }
        let Some((table, saved)) = current.and_then(|table| Some((table, tables.get_mut(&table)?))) else {
            continue;
        };
        if let Some(declared) = line.strip_prefix(':') {
            saved.declare(declared.split(' ').next().unwrap_or_default());
        } else if let Some(rule) = line.strip_prefix("-A ")
            && let Some((chain, text)) = rule.split_once(' ')
        {
            saved.rule(table, chain, text);
        }
    }
    Ok(tables)
}

impl Saved {
    fn declare(&mut self, chain: &str) {
        if is_ours(chain) {
            self.chains.entry(chain.into()).or_default();
        } else {
            self.others.entry(chain.into()).or_default();
        }
    }

    fn rule(&mut self, table: Table, chain: &str, text: &str) {
        let hash = hash(text).map(Arc::from);
        if is_ours(chain) {
            match self.chains.get_mut(chain) {
                Some(rules) => rules.push(hash),
                None => drop(self.chains.insert(chain.into(), vec![hash])),
            }
            return;
        }
        let ours = hash.is_some() || is_ancient(table, chain, text);
        let entry = if ours { Entry::Ours { hash, text: text.into() } } else { Entry::Foreign };
        match self.others.get_mut(chain) {
            Some(rules) => rules.push(entry),
            None => drop(self.others.insert(chain.into(), vec![entry])),
        }
    }
}

/// The hash in a rule's comment.
fn hash(text: &str) -> Option<&str> {
    let after = text.split("--comment \"cali:").nth(1).or_else(|| text.split("--comment cali:").nth(1))?;
    let hash = after.get(..HASH)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let ends = after.get(HASH..).is_none_or(|rest| rest.is_empty() || rest.starts_with(['"', ' ']));
    (ends && hash.bytes().all(legal)).then_some(hash)
}

/// Rules of Calico before it marked them.
fn is_ancient(table: Table, chain: &str, text: &str) -> bool {
    let tunnel = text.contains("-o tunl0 ") && text.contains("--limit-iface-out");
    table == Table::Nat
        && chain == "POSTROUTING"
        && text.ends_with("-j MASQUERADE")
        && (tunnel || text.contains("felix-masq-ipam-pools "))
}

//! From what a neighbour announced to what is stored: import policy, and routes that came back to us.

use crate::peer::PeerId;
use crate::policy::Verdict;
use crate::policy::evaluate::{Context, Subject};
use crate::set::Key;
use crate::shared::Shared;
use crate::table::Path;
use bgp_wire::{Family, Prefix};

/// What import policy made of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Imported {
    pub set: u32,
    /// Flags of the [`Path`].
    pub flags: u16,
}

/// Attributes that several routes came with, and what they come to.
#[derive(Debug)]
pub(crate) struct Offer {
    family: Family,
    /// Who announces.
    pub peer: PeerId,
    /// Before import policy.
    pub set: u32,
    /// [`Path::LOOPED`] or nothing.
    flags: u16,
    /// The same for all prefixes.
    all: Option<Imported>,
    /// The last outcome otherwise: which rules applied, and what came of it.
    last: Option<(u64, Imported)>,
}

impl Offer {
    /// Makes ready to take routes with these attributes from a neighbour.
    pub fn new(family: Family, peer: PeerId, set: u32, shared: &mut Shared) -> Self {
        let flags = if looped(peer, set, shared).is_some() { Path::LOOPED } else { 0 };
        let import = shared.peers.get(peer).import.get(family).clone();
        let mut offer = Offer { family, peer, set, flags, all: None, last: None };
        match import.always {
            _ if peer == PeerId::LOCAL => offer.all = Some(Imported { set, flags }),
            Some(Verdict::Accept) => offer.all = Some(Imported { set, flags }),
            Some(Verdict::Reject) => offer.all = Some(Imported { set, flags: flags | Path::REJECTED }),
            None if import.same_for_all_prefixes => {
                if let Some(any) = Prefix::new([0, 0, 0, 0].into(), 0) {
                    offer.all = Some(offer.import(any, shared));
                }
            }
            None => {}
        }
        offer
    }

    /// What comes of a route to this prefix.
    #[inline]
    pub fn import(&mut self, prefix: Prefix, shared: &mut Shared) -> Imported {
        match self.all {
            Some(imported) => imported,
            None => self.evaluate(prefix, shared),
        }
    }

    fn evaluate(&mut self, prefix: Prefix, shared: &mut Shared) -> Imported {
        let import = shared.peers.get(self.peer).import.get(self.family).clone();
        let context = Context { prefix, external: Some(shared.peers.get(self.peer).is_external()) };
        let set = shared.sets.get(self.set);
        let mut subject = Subject::new(set);
        let outcome = import.evaluate(&mut subject, &context);
        if outcome.verdict == Verdict::Reject {
            return Imported { set: self.set, flags: self.flags | Path::REJECTED };
        }
        if outcome.applied == 0 && import.replayable {
            return Imported { set: self.set, flags: self.flags };
        }
        if let Some((applied, imported)) = self.last
            && applied == outcome.applied
            && import.replayable
        {
            return imported;
        }
        let (next_hop, local) = (set.key.next_hop, set.key.local.clone());
        let preference = subject.preference;
        let key = Key { attributes: subject.into_attributes(), preference, next_hop, local };
        let set = shared.sets.intern(key, &mut shared.next_hops);
        let changed = if set == self.set { 0 } else { Path::CHANGED };
        let imported = Imported { set, flags: self.flags | changed };
        self.last = Some((outcome.applied, imported));
        imported
    }
}

/// How a route came back to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loop {
    /// Our AS stands in its path more often than allowed (RFC 4271 §9.1.2).
    AsPath,
    /// Its ORIGINATOR_ID is ours (RFC 4456 §8).
    Originator,
    /// Our cluster stands in its CLUSTER_LIST (RFC 4456 §8).
    Cluster,
    /// Its next hop is our end of the session (RFC 4271 §6.3).
    NextHop,
}

/// Whether and how a route with this set came back to us.
pub(crate) fn looped(peer: PeerId, set: u32, shared: &Shared) -> Option<Loop> {
    let entry = shared.peers.get(peer);
    let session = entry.session.filter(|_| peer != PeerId::LOCAL)?;
    let attributes = shared.sets.get(set).attributes();
    if attributes.as_path.occurrences(session.local_as) > entry.settings.allow_own_as as usize {
        return Some(Loop::AsPath);
    }
    if attributes.originator_id() == Some(shared.config.router_id) {
        return Some(Loop::Originator);
    }
    if attributes.cluster_list().contains(&shared.config.cluster_id()) {
        return Some(Loop::Cluster);
    }
    (attributes.next_hop == session.local_address).then_some(Loop::NextHop)
}

//! Who the speaker speaks with.

use super::link::LinkState;
use bgp_rib::{PeerId, PeerSettings};
use bgp_session::{ConnId, Peer, Settings};
use bgp_wire::{Codec, Prefix};

/// One neighbour: its session and its connections.
#[derive(Debug)]
pub(super) struct Neighbor {
    pub peer: PeerId,
    pub session: Peer,
    pub links: Vec<LinkState>,
    /// The connection that routes are exchanged on, and what its octets mean.
    pub established: Option<(ConnId, Codec)>,
    /// The range it came from; `None` when it is configured by itself.
    pub range: Option<Prefix>,
}

impl Neighbor {
    pub fn link(&self, id: ConnId) -> Option<&LinkState> {
        self.links.iter().find(|link| link.id == id)
    }

    pub fn take_link(&mut self, id: ConnId) -> Option<LinkState> {
        let at = self.links.iter().position(|link| link.id == id)?;
        Some(self.links.swap_remove(at))
    }
}

/// Neighbours that are known only by where they come from.
#[derive(Debug, Clone)]
pub struct Range {
    /// What their sessions are told; the remote address is filled in when one comes.
    pub settings: Settings,
    /// What the RIB is told of them; name and address are filled in.
    pub routing: PeerSettings,
    /// Most neighbours at once.
    pub limit: Option<u32>,
}

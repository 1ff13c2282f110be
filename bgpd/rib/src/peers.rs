//! All neighbours, by number; number 0 is ourselves.

use crate::peer::{PeerId, PeerSettings, Session};
use crate::policy::Policy;
use crate::policy::evaluate::Compiled;
use bgp_wire::PerFamily;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A neighbour.
#[derive(Debug)]
pub(crate) struct Peer {
    pub settings: PeerSettings,
    /// Import policies, ready.
    pub import: PerFamily<Arc<Compiled>>,
    /// The session; the last one, after it ended, while its routes are kept.
    pub session: Option<Session>,
    /// The session is Established.
    pub up: bool,
    /// How many paths it has, and whether it was told that they are too many.
    pub paths: PerFamily<u32>,
    pub told: PerFamily<bool>,
    /// Another number whenever something changed that its routes carry to others: class or identifier.
    pub epoch: u32,
}

/// What of a source decides to whom its routes may go (RFC 4271 §9.2, RFC 4456 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// Ourselves.
    Local,
    /// Another AS.
    External,
    /// A client of ours as a reflector.
    Client,
    /// Any other speaker of our AS.
    Internal,
}

impl Peer {
    fn new(settings: PeerSettings) -> Self {
        Peer {
            import: PerFamily::from_fn(|f| Arc::new(Compiled::new(settings.import.get(f).clone()))),
            settings,
            session: None,
            up: false,
            paths: PerFamily::default(),
            told: PerFamily::default(),
            epoch: 0,
        }
    }

    /// Its BGP identifier.
    pub fn router_id(&self) -> Ipv4Addr {
        self.session.map_or(Ipv4Addr::UNSPECIFIED, |session| session.router_id)
    }

    /// Whether it is in another AS; we ourselves count as outside, so that nobody comes before us.
    pub fn is_external(&self) -> bool {
        self.session.is_none_or(|session| session.codec.external)
    }

    /// See [`Class`].
    pub fn class(&self) -> Class {
        match self.session {
            None => Class::Local,
            Some(session) if session.codec.external => Class::External,
            Some(_) if self.settings.rr_client => Class::Client,
            Some(_) => Class::Internal,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    peers: Vec<Option<Peer>>,
    ourselves: Peer,
    /// Numbers free to be given again; those of neighbours just gone are not, until everybody was told.
    free: Vec<u16>,
    epochs: u32,
    gone: Vec<u16>,
}

impl Default for Peers {
    fn default() -> Self {
        let ourselves = PeerSettings::new("local", IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Peers {
            peers: vec![None],
            ourselves: Peer::new(ourselves),
            free: Vec::new(),
            epochs: 0,
            gone: Vec::new(),
        }
    }
}

impl Peers {
    /// Adds a neighbour; `None` beyond 65534.
    pub fn add(&mut self, settings: PeerSettings) -> Option<PeerId> {
        self.epochs += 1;
        let peer = Some(Peer { epoch: self.epochs, ..Peer::new(settings) });
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(slot) = self.peers.get_mut(usize::from(number)) {
                    *slot = peer;
                }
                number
            }
            None => {
                let number = u16::try_from(self.peers.len()).ok().filter(|number| *number != u16::MAX)?;
                self.peers.push(peer);
                number
            }
        };
        Some(PeerId(u32::from(number)))
    }

    /// Forgets a neighbour; its number is given again after [`Peers::settle`].
    pub fn remove(&mut self, peer: PeerId) {
        if let Some(slot) = self.peers.get_mut(peer.index())
            && slot.take().is_some()
        {
            self.gone.push(peer.0 as u16);
        }
    }

    /// Nobody remembers those that went.
    pub fn settle(&mut self) {
        self.free.append(&mut self.gone);
    }

    /// One more than the highest number there has been.
    pub fn end(&self) -> u32 {
        self.peers.len() as u32
    }

    /// The neighbour of this number; ourselves for one that is none.
    #[inline]
    pub fn get(&self, peer: PeerId) -> &Peer {
        self.peers.get(peer.index()).and_then(Option::as_ref).unwrap_or(&self.ourselves)
    }

    /// The neighbour of this number, to change.
    pub fn get_mut(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(peer.index())?.as_mut()
    }

    /// A new epoch for a neighbour.
    pub fn renew(&mut self, peer: PeerId) {
        self.epochs += 1;
        let epoch = self.epochs;
        if let Some(peer) = self.get_mut(peer) {
            peer.epoch = epoch;
        }
    }

    /// Takes new settings; equal import policies are not made ready again.
    pub fn set(&mut self, peer: PeerId, settings: PeerSettings) -> Option<PeerSettings> {
        let found = self.get_mut(peer)?;
        for family in bgp_wire::Family::ALL {
            let import: &Arc<Policy> = settings.import.get(family);
            if found.settings.import.get(family) != import {
                *found.import.get_mut(family) = Arc::new(Compiled::new(import.clone()));
            }
        }
        Some(std::mem::replace(&mut found.settings, settings))
    }
}

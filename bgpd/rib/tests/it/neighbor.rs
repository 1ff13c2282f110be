//! A neighbour's end of a session: reads bytes in whatever pieces it likes and keeps what it was told.

use bgp_rib::{PeerId, Rib, Session};
use bgp_wire::{Attributes, Codec, Family, Message, Nlri, PerFamily, RefreshSubtype, UpdateEncoder};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

pub struct Neighbor {
    pub id: PeerId,
    pub session: Session,
    pub up: bool,
    /// What it was told.
    pub told: BTreeMap<Nlri, Attributes>,
    stale: BTreeSet<Nlri>,
    /// Marks it has seen.
    pub ends_of_rib: usize,
    pub refreshed: usize,
    pub updates: usize,
    buffer: Vec<u8>,
}

pub fn session(external: bool, remote_as: u32, router_id: u8) -> Session {
    Session {
        codec: Codec { external, families: PerFamily { ipv4: true, ipv6: true }, ..Codec::default() },
        local_as: 64512,
        remote_as,
        router_id: Ipv4Addr::new(10, 255, 0, router_id),
        local_address: IpAddr::from([192, 0, 2, 254]),
        enhanced_refresh: false,
    }
}

impl Neighbor {
    pub fn new(id: PeerId, session: Session) -> Self {
        Neighbor {
            id,
            session,
            up: false,
            told: BTreeMap::new(),
            stale: BTreeSet::new(),
            ends_of_rib: 0,
            refreshed: 0,
            updates: 0,
            buffer: Vec::new(),
        }
    }

    pub fn up(&mut self, rib: &mut Rib) {
        self.up = true;
        rib.peer_up(self.id, self.session);
    }

    pub fn down(&mut self, rib: &mut Rib, keep: bool) {
        let up = self.up;
        *self = Neighbor::new(self.id, self.session);
        if up {
            rib.peer_down(self.id, PerFamily { ipv4: keep, ipv6: keep });
        }
    }

    /// The other side's view of the octets: what we send, it receives.
    fn codec(&self) -> Codec {
        Codec { add_path_receive: self.session.codec.add_path_send, ..self.session.codec }
    }

    pub fn announce(&self, rib: &mut Rib, routes: &[Nlri], attributes: &Attributes) {
        let codec = Codec {
            add_path_send: self.session.codec.add_path_receive,
            external: false,
            ..self.session.codec
        };
        let mut out = Vec::new();
        for family in Family::ALL {
            let of_family = routes.iter().copied().filter(|nlri| nlri.prefix.family() == family);
            UpdateEncoder::new().announce(attributes, family, &codec, of_family, &mut out).unwrap();
        }
        self.send(rib, &out);
    }

    pub fn withdraw(&self, rib: &mut Rib, routes: &[Nlri]) {
        let codec = Codec { add_path_send: self.session.codec.add_path_receive, ..self.session.codec };
        let mut out = Vec::new();
        for family in Family::ALL {
            let of_family = routes.iter().copied().filter(|nlri| nlri.prefix.family() == family);
            UpdateEncoder::new().withdraw(family, &codec, of_family, &mut out);
        }
        self.send(rib, &out);
    }

    pub fn send(&self, rib: &mut Rib, mut bytes: &[u8]) -> Option<bgp_rib::LimitExceeded> {
        let mut exceeded = None;
        while let Some(frame) = bgp_wire::frame(bytes, self.session.codec.max_len()).unwrap() {
            let Message::Update(update) = bgp_wire::decode(&bytes[..frame.len], &self.session.codec).unwrap()
            else {
                panic!("not an UPDATE")
            };
            exceeded = exceeded.or(rib.update(self.id, &update));
            bytes = &bytes[frame.len..];
        }
        assert!(bytes.is_empty());
        exceeded
    }

    /// Reads at most `most` octets.
    pub fn read(&mut self, rib: &mut Rib, most: usize) -> usize {
        let mut taken = Vec::new();
        for piece in rib.pending(self.id) {
            let room = most - taken.len();
            taken.extend_from_slice(&piece[..piece.len().min(room)]);
            if taken.len() == most {
                break;
            }
        }
        rib.advance(self.id, taken.len());
        self.buffer.extend_from_slice(&taken);
        let codec = self.codec();
        let buffer = std::mem::take(&mut self.buffer);
        let mut bytes = buffer.as_slice();
        while let Some(frame) = bgp_wire::frame(bytes, codec.max_len()).unwrap() {
            self.message(bgp_wire::decode(&bytes[..frame.len], &codec).unwrap());
            bytes = &bytes[frame.len..];
        }
        self.buffer = bytes.to_vec();
        let unfinished = rib.unfinished(self.id);
        assert_eq!(
            unfinished > 0,
            !self.buffer.is_empty(),
            "the RIB knows whether a message is read in part"
        );
        if unfinished > 0 {
            let first = rib.pending(self.id).next().unwrap();
            let whole = [self.buffer.as_slice(), &first[..unfinished]].concat();
            assert_eq!(bgp_wire::frame(&whole, codec.max_len()).unwrap().unwrap().len, whole.len());
        }
        taken.len()
    }

    /// Reads everything, with flushes in between for what is made as it is read.
    pub fn read_all(&mut self, rib: &mut Rib) {
        loop {
            let read = self.read(rib, usize::MAX);
            rib.flush();
            if read == 0 && rib.pending(self.id).next().is_none() {
                assert!(self.buffer.is_empty());
                return;
            }
        }
    }

    fn message(&mut self, message: Message<'_>) {
        match message {
            Message::Update(update) => {
                if update.end_of_rib().is_some() {
                    self.ends_of_rib += 1;
                    return;
                }
                self.updates += 1;
                for nlri in update.withdrawn().flatten() {
                    self.told.remove(&nlri);
                    self.stale.remove(&nlri);
                }
                for reach in update.reaches() {
                    let parsed = update.attributes(&reach);
                    assert!(parsed.forgiven.is_empty(), "{:?}", parsed.forgiven);
                    for nlri in reach.nlri {
                        self.told.insert(nlri, parsed.attributes.clone());
                        self.stale.remove(&nlri);
                    }
                }
            }
            Message::RouteRefresh(refresh) => {
                let of = |nlri: &&Nlri| refresh.family == nlri.prefix.family().into();
                match refresh.subtype {
                    RefreshSubtype::Begin => self.stale = self.told.keys().filter(of).copied().collect(),
                    RefreshSubtype::End => {
                        self.refreshed += 1;
                        let gone: Vec<Nlri> = self.stale.iter().filter(of).copied().collect();
                        for nlri in gone {
                            self.told.remove(&nlri);
                            self.stale.remove(&nlri);
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

//! Capabilities of an OPEN (RFC 5492); those we do not know are kept as they came.

/// AFI and SAFI as numbers: a peer may offer families that we do not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AfiSafi {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
}

/// The graceful restart capability (RFC 4724 §3, RFC 8538 §2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct GracefulRestart {
    /// The R bit: the speaker has restarted and waits for nobody else that has.
    pub restarting: bool,
    /// The N bit: NOTIFICATIONs and hold timer expiry are graceful too (RFC 8538).
    pub notification: bool,
    /// Seconds the speaker expects to need, at most 4095.
    pub restart_time: u16,
    /// Families whose routes are kept, and whether forwarding state was preserved (F bit).
    pub families: Vec<(AfiSafi, bool)>,
}

/// One entry of the ADD-PATH capability (RFC 7911 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddPath {
    /// The family.
    pub family: AfiSafi,
    /// The speaker can receive several paths (1 or 3).
    pub receive: bool,
    /// The speaker can send several paths (2 or 3).
    pub send: bool,
}

/// One capability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Code 1 (RFC 4760 §8).
    Multiprotocol(AfiSafi),
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 5 (RFC 8950): family of the NLRI, AFI of the next hop.
    ExtendedNextHop(Vec<(AfiSafi, u16)>),
    /// Code 6 (RFC 8654).
    ExtendedMessage,
    /// Code 64 (RFC 4724).
    GracefulRestart(GracefulRestart),
    /// Code 65 (RFC 6793): the speaker's AS number.
    FourOctetAs(u32),
    /// Code 69 (RFC 7911).
    AddPath(Vec<AddPath>),
    /// Code 70 (RFC 7313).
    EnhancedRouteRefresh,
    /// Any other, or a known one whose length is wrong (RFC 5492 §3 lets it be ignored).
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value.
        value: Vec<u8>,
    },
}

impl From<crate::Family> for AfiSafi {
    fn from(family: crate::Family) -> Self {
        AfiSafi { afi: family.afi(), safi: family.safi() }
    }
}

impl AfiSafi {
    /// The family, if it is one we carry.
    pub fn family(self) -> Option<crate::Family> {
        crate::Family::from_numbers(self.afi, self.safi)
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.afi.to_be_bytes());
        out.push(self.safi);
    }
}

impl Capability {
    /// Its code (IANA).
    pub fn code(&self) -> u8 {
        match self {
            Capability::Multiprotocol(_) => 1,
            Capability::RouteRefresh => 2,
            Capability::ExtendedNextHop(_) => 5,
            Capability::ExtendedMessage => 6,
            Capability::GracefulRestart(_) => 64,
            Capability::FourOctetAs(_) => 65,
            Capability::AddPath(_) => 69,
            Capability::EnhancedRouteRefresh => 70,
            Capability::Unknown { code, .. } => *code,
        }
    }

    /// Reads one capability's value; a known code with an impossible value comes back as [`Capability::Unknown`].
    pub(crate) fn decode(code: u8, value: &[u8]) -> Self {
        Self::known(code, value).unwrap_or_else(|| Capability::Unknown { code, value: value.to_vec() })
    }

    fn known(code: u8, value: &[u8]) -> Option<Self> {
        match (code, value) {
            (1, [a, b, _, safi]) => {
                Some(Capability::Multiprotocol(AfiSafi { afi: u16::from_be_bytes([*a, *b]), safi: *safi }))
            }
            (2, []) => Some(Capability::RouteRefresh),
            (5, value) => {
                let entry = |e: &[u8; 6]| {
                    let [a, b, _, safi, c, d] = *e;
                    (AfiSafi { afi: u16::from_be_bytes([a, b]), safi }, u16::from_be_bytes([c, d]))
                };
                entries(value).map(|e| Capability::ExtendedNextHop(e.iter().map(entry).collect()))
            }
            (6, []) => Some(Capability::ExtendedMessage),
            (64, [high, low, families @ ..]) => {
                let entry = |e: &[u8; 4]| {
                    let [a, b, safi, flags] = *e;
                    (AfiSafi { afi: u16::from_be_bytes([a, b]), safi }, flags & 0x80 != 0)
                };
                entries(families).map(|families| {
                    Capability::GracefulRestart(GracefulRestart {
                        restarting: high & 0x80 != 0,
                        notification: high & 0x40 != 0,
                        restart_time: u16::from_be_bytes([high & 0x0f, *low]),
                        families: families.iter().map(entry).collect(),
                    })
                })
            }
            (65, [a, b, c, d]) => Some(Capability::FourOctetAs(u32::from_be_bytes([*a, *b, *c, *d]))),
            (69, value) => {
                // RFC 7911 §4: an entry with another value of Send/Receive is ignored.
                let entry = |e: &[u8; 4]| {
                    let [a, b, safi, mode] = *e;
                    let family = AfiSafi { afi: u16::from_be_bytes([a, b]), safi };
                    (1..=3).contains(&mode).then_some(AddPath {
                        family,
                        receive: mode & 1 != 0,
                        send: mode & 2 != 0,
                    })
                };
                entries(value).map(|e| Capability::AddPath(e.iter().filter_map(entry).collect()))
            }
            (70, []) => Some(Capability::EnhancedRouteRefresh),
            _ => None,
        }
    }

    /// Appends code, length and value. A value over 255 octets cannot be said and is left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.code(), 0]);
        match self {
            Capability::RouteRefresh | Capability::ExtendedMessage | Capability::EnhancedRouteRefresh => {}
            Capability::Multiprotocol(family) => {
                out.extend_from_slice(&family.afi.to_be_bytes());
                out.extend_from_slice(&[0, family.safi]);
            }
            Capability::ExtendedNextHop(entries) => {
                for (family, next_hop) in entries {
                    out.extend_from_slice(&family.afi.to_be_bytes());
                    out.extend_from_slice(&[0, family.safi]);
                    out.extend_from_slice(&next_hop.to_be_bytes());
                }
            }
            Capability::GracefulRestart(gr) => {
                let [high, low] = gr.restart_time.min(0x0fff).to_be_bytes();
                let flags = u8::from(gr.restarting) << 7 | u8::from(gr.notification) << 6;
                out.extend_from_slice(&[high | flags, low]);
                for (family, forwarding) in &gr.families {
                    family.put(out);
                    out.push(u8::from(*forwarding) << 7);
                }
            }
            Capability::FourOctetAs(asn) => out.extend_from_slice(&asn.to_be_bytes()),
            Capability::AddPath(entries) => {
                for entry in entries {
                    entry.family.put(out);
                    out.push(u8::from(entry.receive) | u8::from(entry.send) << 1);
                }
            }
            Capability::Unknown { value, .. } => out.extend_from_slice(value),
        }
        match u8::try_from(out.len() - start - 2) {
            Ok(len) => {
                if let Some(field) = out.get_mut(start + 1) {
                    *field = len;
                }
            }
            Err(_) => out.truncate(start),
        }
    }
}

/// The value as entries of N octets; `None` when something is left over.
fn entries<const N: usize>(value: &[u8]) -> Option<&[[u8; N]]> {
    let (entries, rest) = value.as_chunks::<N>();
    rest.is_empty().then_some(entries)
}

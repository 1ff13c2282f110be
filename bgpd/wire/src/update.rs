//! UPDATE as it stands in the buffer (RFC 4271 §4.3, RFC 4760) with the error handling of RFC 7606.
//!
//! [`UpdateView::decode`] finds the routes and decides everything that ends a session; it does not read the other
//! attributes. Who knows the same attribute octets already ([`UpdateView::attribute_key`]) need not read them again;
//! who does not asks for [`UpdateView::attributes`], which cannot fail any more: what was wrong is in the answer.

use crate::AsPath;
use crate::attributes::{Attributes, Origin, RareAttributes, UnknownAttribute};
use crate::codec::Codec;
use crate::family::Family;
use crate::nlri::NlriBytes;
use crate::notification::{MessageError, Notification, UpdateError};
use crate::table::{
    self, Action, EXTENDED_LENGTH, MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL, PARTIAL, Reading, TRANSITIVE,
};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Routes announced in one message for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach<'a> {
    /// The routes.
    pub nlri: NlriBytes<'a>,
    /// Next hop of MP_REACH_NLRI; `None` for the routes at the message's end, whose next hop is an attribute.
    pub next_hop: Option<IpAddr>,
    /// Link-local next hop beside it (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

/// An UPDATE whose routes have been checked.
#[derive(Debug, Clone, Copy)]
pub struct UpdateView<'a> {
    codec: Codec,
    /// The whole path attributes field.
    field: &'a [u8],
    mp_reach_at: Option<MpReachAt>,
    withdrawn: NlriBytes<'a>,
    announced: NlriBytes<'a>,
    mp_withdrawn: Option<NlriBytes<'a>>,
    mp_announced: Option<Reach<'a>>,
    /// Other attributes than MP_UNREACH_NLRI are there.
    has_attributes: bool,
    /// It announces routes of a family that the session does not carry.
    foreign: bool,
    mp_unreach_family: Option<Family>,
}

/// Where MP_REACH_NLRI lies in the path attributes field: its header, its value, the routes in it, its end.
#[derive(Debug, Clone, Copy)]
struct MpReachAt {
    start: usize,
    value: usize,
    nlri: usize,
    end: usize,
}

/// An error that did not end the session (RFC 7606).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Forgiven {
    /// Attribute type code.
    pub code: u8,
    /// What was done about it.
    pub action: Action,
    /// What was wrong.
    pub reason: &'static str,
}

/// The attributes of a message, and what had to be forgiven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// As far as they could be read; not to be used when `treat_as_withdraw`.
    pub attributes: Attributes,
    /// In the order of the message.
    pub forgiven: Vec<Forgiven>,
    /// The message's routes are to be taken as withdrawn.
    pub treat_as_withdraw: bool,
}

/// One attribute of the field, its header read.
struct Raw<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
    /// Where it begins and ends in the field.
    start: usize,
    end: usize,
}

/// Walks over the field; ends with `Err(code)` where an attribute's length does not fit (RFC 7606 §4).
fn walk(field: &[u8]) -> impl Iterator<Item = Result<Raw<'_>, u8>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = field.get(at..).filter(|rest| !rest.is_empty())?;
        let raw = raw(rest, at).ok_or_else(|| rest.get(1).copied().unwrap_or(0));
        at = raw.as_ref().map_or(field.len(), |raw| raw.end);
        Some(raw)
    })
}

#[inline]
fn raw(rest: &[u8], start: usize) -> Option<Raw<'_>> {
    let (flags, code, len, head) = match *rest {
        [flags, code, high, low, ..] if flags & EXTENDED_LENGTH != 0 => {
            (flags, code, usize::from(u16::from_be_bytes([high, low])), 4)
        }
        [flags, code, len, ..] if flags & EXTENDED_LENGTH == 0 => (flags, code, usize::from(len), 3),
        _ => return None,
    };
    let value = rest.get(head..head + len)?;
    Some(Raw { flags, code, value, start, end: start + head + len })
}

fn malformed(detail: impl Into<String>) -> MessageError {
    MessageError::new(Notification::update(UpdateError::MalformedAttributeList, Vec::new()), detail)
}

fn invalid_network(field: &str, detail: &str) -> MessageError {
    let notification = Notification::update(UpdateError::InvalidNetwork, Vec::new());
    MessageError::new(notification, format!("UPDATE: {field}: {detail}"))
}

/// An error in MP_REACH_NLRI or MP_UNREACH_NLRI that hides routes (RFC 7606 §5.3, §7.11); `value` is the whole attribute.
fn optional(code: u8, attribute: &[u8], detail: &str) -> MessageError {
    let name = table::attribute_name(code).unwrap_or_default();
    let notification = Notification::update(UpdateError::OptionalAttribute, attribute.to_vec());
    MessageError::new(notification, format!("UPDATE: {name}: {detail}"))
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

impl<'a> UpdateView<'a> {
    /// Finds the routes in the body of an UPDATE.
    ///
    /// # Errors
    /// Only what must end the session: lengths that hide routes, prefixes that cannot be read, MP attributes twice or
    /// unreadable, and an error beyond discarding in a message that announces nothing (RFC 7606 §3, §5.2, §5.3, §7.11).
    pub(crate) fn decode(body: &'a [u8], codec: &Codec) -> Result<Self, MessageError> {
        let (withdrawn, rest) = split(body).ok_or_else(|| malformed("UPDATE: Withdrawn Routes Length"))?;
        let (field, announced) =
            split(rest).ok_or_else(|| malformed("UPDATE: Total Path Attribute Length"))?;
        let add_path = codec.add_path_receive.ipv4;
        let check = |name: &str, bytes| {
            NlriBytes::check(Family::Ipv4Unicast, add_path, bytes)
                .map_err(|detail| invalid_network(name, &detail))
        };
        let mut view = UpdateView {
            codec: *codec,
            field,
            mp_reach_at: None,
            withdrawn: check("Withdrawn Routes", withdrawn)?,
            announced: check("Network Layer Reachability Information", announced)?,
            mp_withdrawn: None,
            mp_announced: None,
            has_attributes: false,
            foreign: false,
            mp_unreach_family: None,
        };
        let (mut reach_seen, mut unreach_seen) = (false, false);
        for raw in walk(field) {
            match raw {
                Ok(raw) if raw.code == MP_REACH_NLRI => {
                    if std::mem::replace(&mut reach_seen, true) {
                        return Err(malformed("UPDATE: MP_REACH_NLRI stands twice"));
                    }
                    view.has_attributes = true;
                    view.mp_reach(&raw)?;
                }
                Ok(raw) if raw.code == MP_UNREACH_NLRI => {
                    if std::mem::replace(&mut unreach_seen, true) {
                        return Err(malformed("UPDATE: MP_UNREACH_NLRI stands twice"));
                    }
                    view.mp_unreach(&raw)?;
                }
                Err(code @ (MP_REACH_NLRI | MP_UNREACH_NLRI)) => {
                    return Err(optional(code, &[], "runs over the end of the attributes"));
                }
                _ => view.has_attributes = true,
            }
        }
        // RFC 7606 §5.2: nobody can tell which routes an unreadable message that shows none was about.
        if view.has_attributes
            && !view.foreign
            && view.reaches().next().is_none()
            && let parsed = view.read(None)
            && let Some(error) = parsed.forgiven.iter().find(|error| error.action > Action::DiscardAttribute)
        {
            return Err(malformed(format!("UPDATE without routes: {error}")));
        }
        Ok(view)
    }

    fn family(&self, [high, low, safi]: [u8; 3]) -> Option<Family> {
        let family = Family::from_numbers(u16::from_be_bytes([high, low]), safi)?;
        // RFC 4760 §6: a family that was not agreed on is ignored.
        self.codec.carries(family).then_some(family)
    }

    fn mp_reach(&mut self, raw: &Raw<'a>) -> Result<(), MessageError> {
        let attribute = self.field.get(raw.start..raw.end).unwrap_or_default();
        let error = |detail: &str| optional(raw.code, attribute, detail);
        let [high, low, safi, len, rest @ ..] = raw.value else {
            return Err(error("shorter than its fixed fields"));
        };
        let (next_hop, rest) = rest
            .split_at_checked(usize::from(*len))
            .ok_or_else(|| error("the next hop runs over the end of the attribute"))?;
        let [_, nlri @ ..] = rest else { return Err(error("the reserved octet is missing")) };
        let Some(family) = self.family([*high, *low, *safi]) else {
            self.foreign = true;
            return Ok(());
        };
        let (next_hop, link_local) = match (family, next_hop.len()) {
            (Family::Ipv4Unicast, 4) => (next_hop.first_chunk().map(|o: &[u8; 4]| IpAddr::from(*o)), None),
            (_, 16 | 32) if family == Family::Ipv6Unicast || self.codec.extended_next_hop => {
                let (first, second) = next_hop.split_at_checked(16).unwrap_or_default();
                let address = |octets: &[u8]| octets.first_chunk().map(|o: &[u8; 16]| Ipv6Addr::from(*o));
                (address(first).map(IpAddr::V6), address(second))
            }
            _ => (None, None),
        };
        let next_hop = next_hop.ok_or_else(|| error(&format!("a next hop of {len} octets for {family}")))?;
        let nlri = NlriBytes::check(family, *self.codec.add_path_receive.get(family), nlri)
            .map_err(|detail| error(&detail))?;
        // With wrong flags (RFC 7606 §3 c) the message has a key of its own: all of its attributes.
        self.mp_reach_at = (raw.flags & (OPTIONAL | TRANSITIVE) == OPTIONAL).then(|| MpReachAt {
            start: raw.start,
            value: raw.end - raw.value.len(),
            nlri: raw.end - nlri.octets(),
            end: raw.end,
        });
        // Some speakers fill one half with nothing.
        let link_local = link_local.filter(Ipv6Addr::is_unicast_link_local);
        let reach = match link_local {
            Some(link_local) if next_hop.is_unspecified() => {
                Reach { nlri, next_hop: Some(link_local.into()), link_local: None }
            }
            _ => Reach { nlri, next_hop: Some(next_hop), link_local },
        };
        self.mp_announced = Some(reach);
        Ok(())
    }

    fn mp_unreach(&mut self, raw: &Raw<'a>) -> Result<(), MessageError> {
        let attribute = self.field.get(raw.start..raw.end).unwrap_or_default();
        let error = |detail: &str| optional(raw.code, attribute, detail);
        let [high, low, safi, nlri @ ..] = raw.value else {
            return Err(error("shorter than its fixed fields"));
        };
        let Some(family) = self.family([*high, *low, *safi]) else { return Ok(()) };
        let nlri = NlriBytes::check(family, *self.codec.add_path_receive.get(family), nlri)
            .map_err(|detail| error(&detail))?;
        self.mp_unreach_family = Some(family);
        self.mp_withdrawn = Some(nlri);
        Ok(())
    }

    /// Routes withdrawn, at most one entry a place of the message; to be handled before the announced ones.
    pub fn withdrawn(&self) -> impl Iterator<Item = NlriBytes<'a>> + use<'a> {
        [Some(self.withdrawn), self.mp_withdrawn].into_iter().flatten().filter(|nlri| !nlri.is_empty())
    }

    /// Routes announced, at most one entry a place of the message.
    pub fn reaches(&self) -> impl Iterator<Item = Reach<'a>> + use<'a> {
        let plain = Reach { nlri: self.announced, next_hop: None, link_local: None };
        [Some(plain), self.mp_announced].into_iter().flatten().filter(|reach| !reach.nlri.is_empty())
    }

    /// The family this message is the End-of-RIB marker of (RFC 4724 §2).
    pub fn end_of_rib(&self) -> Option<Family> {
        if self.has_attributes || self.withdrawn().next().is_some() || self.reaches().next().is_some() {
            return None;
        }
        if self.field.is_empty() { Some(Family::Ipv4Unicast) } else { self.mp_unreach_family }
    }

    /// The octets that [`UpdateView::attributes`] depends on for this reach, the session's codec apart: two messages of a
    /// session with equal keys have equal attributes and equal errors.
    pub fn attribute_key(&self, reach: &Reach<'a>) -> [&'a [u8]; 3] {
        match self.mp_reach_at.filter(|_| reach.next_hop.is_some()) {
            // Family and next hop of MP_REACH_NLRI; not its header, where the length depends on the routes.
            Some(at) => [
                self.field.get(..at.start).unwrap_or_default(),
                self.field.get(at.value..at.nlri).unwrap_or_default(),
                self.field.get(at.end..).unwrap_or_default(),
            ],
            None => [self.field, &[], &[]],
        }
    }

    /// Reads the attributes for routes of this message.
    pub fn attributes(&self, reach: &Reach<'a>) -> Parsed {
        self.read(Some(reach))
    }

    fn read(&self, reach: Option<&Reach<'a>>) -> Parsed {
        let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mut reading = Reading {
            attributes: Attributes::new(Origin::Igp, AsPath::empty(), unspecified),
            rare: RareAttributes::default(),
            as4_path: None,
            as4_aggregator: None,
        };
        let mut forgiven = Vec::new();
        let mut seen = [0u64; 4];
        let mut unknown = Vec::new();
        for raw in walk(self.field) {
            let raw = match raw {
                Ok(raw) => raw,
                Err(code) => {
                    let reason = "its length runs over the end of the attributes";
                    forgiven.push(Forgiven { code, action: Action::TreatAsWithdraw, reason });
                    continue;
                }
            };
            let bit = 1 << (raw.code & 63);
            let Some(word) = seen.get_mut(usize::from(raw.code >> 6)) else { continue };
            if *word & bit != 0 {
                // RFC 7606 §3 g.
                let reason = "stands twice; the first counts";
                forgiven.push(Forgiven { code: raw.code, action: Action::DiscardAttribute, reason });
                continue;
            }
            *word |= bit;
            if let Err((action, reason)) = self.attribute(&raw, &mut reading, &mut unknown) {
                forgiven.push(Forgiven { code: raw.code, action, reason });
            }
        }
        self.mandatory(seen, reach, &mut forgiven);
        if let Some(Reach { next_hop: Some(next_hop), .. }) = reach
            && !table::is_host(*next_hop)
        {
            let reason = "its next hop is not the address of a host";
            forgiven.push(Forgiven { code: MP_REACH_NLRI, action: Action::TreatAsWithdraw, reason });
        }
        Parsed {
            treat_as_withdraw: forgiven.iter().any(|error| error.action > Action::DiscardAttribute),
            attributes: finish(reading, unknown, reach),
            forgiven,
        }
    }

    /// RFC 7606 §3 d: what every route must have.
    fn mandatory(&self, seen: [u64; 4], reach: Option<&Reach<'a>>, forgiven: &mut Vec<Forgiven>) {
        let [seen, ..] = seen;
        let codes: &[u8] = match reach {
            None => &[],
            Some(_) if self.announced.is_empty() => &[1, 2],
            Some(_) => &[1, 2, 3],
        };
        for code in codes.iter().filter(|code| seen & (1 << **code) == 0) {
            forgiven.push(Forgiven { code: *code, action: Action::TreatAsWithdraw, reason: "is missing" });
        }
    }

    fn attribute(
        &self,
        raw: &Raw<'a>,
        reading: &mut Reading,
        unknown: &mut Vec<UnknownAttribute>,
    ) -> Result<(), (Action, &'static str)> {
        let Some(row) = table::row(raw.code) else {
            if raw.flags & OPTIONAL == 0 {
                // RFC 4271 §6.3, with RFC 7606 §3 in place of the reset.
                return Err((Action::TreatAsWithdraw, "well-known, but nobody knows it"));
            }
            if raw.flags & TRANSITIVE != 0 {
                let flags = raw.flags & !EXTENDED_LENGTH | PARTIAL;
                unknown.push(UnknownAttribute { code: raw.code, flags, value: raw.value.into() });
            }
            return Ok(());
        };
        let ignored = match row.from {
            table::From::Anyone => None,
            table::From::Internal => self.codec.external.then_some("not taken from an external peer"),
            table::From::TwoOctetAs => {
                self.codec.four_octet_as.then_some("not taken from a four-octet AS peer")
            }
        };
        if let Some(reason) = ignored {
            return Err((Action::DiscardAttribute, reason));
        }
        if (raw.flags ^ row.flags) & (OPTIONAL | TRANSITIVE) != 0 {
            // RFC 7606 §3 c.
            return Err((Action::TreatAsWithdraw, "its flags are wrong"));
        }
        if raw.code == table::NEXT_HOP && self.announced.is_empty() {
            // RFC 4760 §3: meaningless beside MP_REACH_NLRI.
            return Ok(());
        }
        (row.decode)(reading, raw.value, &self.codec).map_err(|reason| (row.malformed, reason))?;
        if raw.flags & PARTIAL != 0 {
            reading.rare.partial |= table::partial_bit(raw.code);
        }
        Ok(())
    }
}

/// Joins what belongs together: AS4_PATH and AS4_AGGREGATOR (RFC 6793 §4.2.3), the next hop.
fn finish(mut reading: Reading, unknown: Vec<UnknownAttribute>, reach: Option<&Reach<'_>>) -> Attributes {
    let narrow = u32::from(crate::open::AS_TRANS);
    let aggregated_by = reading.rare.aggregator.map(|aggregator| aggregator.asn);
    // A speaker that knows no AS4_AGGREGATOR has aggregated since: both AS4 attributes are of before that.
    let outdated = reading.as4_aggregator.is_some() && aggregated_by.is_some_and(|asn| asn != narrow);
    if let Some(as4_path) = reading.as4_path.filter(|_| !outdated) {
        reading.attributes.as_path = std::mem::take(&mut reading.attributes.as_path).restored(&as4_path);
    }
    if aggregated_by == Some(narrow) && reading.as4_aggregator.is_some() {
        reading.rare.aggregator = reading.as4_aggregator;
    }
    reading.rare.unknown = unknown.into();
    if let Some(Reach { next_hop: Some(next_hop), link_local, .. }) = reach {
        reading.attributes.next_hop = *next_hop;
        reading.rare.link_local = *link_local;
    }
    reading.attributes.set_rare(reading.rare);
    reading.attributes
}

impl fmt::Display for Forgiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match table::attribute_name(self.code) {
            Some(name) => write!(f, "{name}")?,
            None => write!(f, "attribute {}", self.code)?,
        }
        let action = match self.action {
            Action::DiscardAttribute => "attribute discarded",
            Action::TreatAsWithdraw => "routes taken as withdrawn",
            Action::Reset => "session ended",
        };
        write!(f, " {}: {action}", self.reason)
    }
}

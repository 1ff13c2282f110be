//! Lists and answers.

use super::kinds::{Family, Member, SetHeader, SetKind, whole};
use super::wire::{self, command};
use crate::wire::{Attributes, Reply};

/// What a message of the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Versions of the protocol, lowest and highest.
    Protocol(u8, u8),
    /// Revisions of a type, lowest and highest.
    Revision(u8, u8),
    /// A set, and members of it. Of a set that needs several messages those after the first have no header.
    Set(Option<SetHeader>, Vec<Member>),
}

/// Reads a message; `None` for one of another subsystem, and for one that does not fit.
pub fn read(reply: &Reply<'_>) -> Option<Answer> {
    let Reply::Data { kind, attributes, .. } = reply else { return None };
    if kind >> 8 != wire::SUBSYSTEM {
        return None;
    }
    let a = Attributes::new(attributes);
    let highest = |kind| Some((a.u8(wire::LOWEST)?, a.u8(kind)?));
    match kind & 0xff {
        command::PROTOCOL => {
            let highest = a.u8(wire::VERSION)?;
            Some(Answer::Protocol(a.u8(wire::LOWEST).unwrap_or(highest), highest))
        }
        command::TYPE => highest(wire::REVISION).map(|(low, high)| Answer::Revision(low, high)),
        command::LIST => Some(Answer::Set(header(a), all_members(a))),
        _ => None,
    }
}

fn header(a: Attributes<'_>) -> Option<SetHeader> {
    let data = a.nested(wire::DATA).unwrap_or(Attributes::new(&[]));
    Some(SetHeader {
        name: a.text(wire::SET_NAME)?.to_owned(),
        kind: SetKind::from_name(a.text(wire::TYPE_NAME)?),
        family: a.u8(wire::FAMILY).and_then(Family::from_number),
        max: data.be32(wire::MAX).unwrap_or(0),
        references: data.be32(wire::REFERENCES).unwrap_or(0),
    })
}

fn all_members(a: Attributes<'_>) -> Vec<Member> {
    let Some(members) = a.nested(wire::MEMBERS) else { return Vec::new() };
    members
        .filter(|(kind, _)| *kind == wire::DATA)
        .filter_map(|(_, data)| read_member(Attributes::new(data)))
        .collect()
}

/// What is there tells the kind; lengths that are left out are whole addresses.
fn read_member(a: Attributes<'_>) -> Option<Member> {
    let address = wire::read_address(a, wire::IP)?;
    let length = a.u8(wire::LENGTH).unwrap_or(whole(address));
    if let Some(port) = a.be16(wire::PORT) {
        return Some(Member::Port { address, protocol: a.u8(wire::TRANSPORT)?, port });
    }
    if let Some(second) = wire::read_address(a, wire::SECOND_IP) {
        let to = (second, a.u8(wire::SECOND_LENGTH).unwrap_or(whole(second)));
        return Some(Member::Pair { from: (address, length), to });
    }
    Some(Member::Net { address, length })
}

/// Which member of an `Add` or `Remove` was refused, from 0: the kernel sends the request back with its number in it. Those
/// before it were carried out, those after it not.
pub fn refused_line(reply: &Reply<'_>) -> Option<usize> {
    /// netlink's header and nfnetlink's.
    const HEADERS: usize = 20;
    let Reply::Ack { echo, .. } = reply else { return None };
    let line = Attributes::new(echo.get(HEADERS..)?).be32(wire::LINE)?;
    usize::try_from(line).ok()?.checked_sub(1)
}

/// ip_set's own errors in words: numbers from 4096 on, which are no errnos. `None` for others.
pub fn words(errno: i32) -> Option<&'static str> {
    Some(match errno {
        4097 => "the kernel does not speak this version of ip_set's protocol",
        4098 => "the kernel does not have this type of set",
        4099 => "there are as many sets as the kernel can hold",
        4100 => "the set is in use",
        4101 => "a set of the new name is there already",
        4102 => "the two sets are not of one type",
        4103 => "it is there already, or is not there",
        4104 => "the length of the prefix is not valid",
        4106 => "the set is of another address family",
        4109 => "an IPv4 address is missing or not valid",
        4110 => "an IPv6 address is missing or not valid",
        4110.. if errno < 4352 => "ip_set refuses the request",
        4352 => "the set is full: it has as many members as maxIpsetSize allows",
        4353 => "the set does not hold such a member",
        4354 | 4355 => "the set does not know the protocol",
        _ => return None,
    })
}

//! What can be asked for, one message each.

use super::kinds::{Family, Member, SetKind};
use super::wire::{self, command};
use crate::wire::{ACK, CREATE, DUMP, EXCLUSIVE, REQUEST, Writer};

/// A change of the sets of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// A set that is not there.
    Create {
        /// Its name; at most 31 bytes.
        name: &'a str,
        /// What its members are.
        kind: SetKind,
        /// Revision of the type: what the kernel answers to [`revision`].
        revision: u8,
        /// Of its members.
        family: Family,
        /// Most members.
        max: u32,
    },
    /// The set goes. One that a rule names is refused.
    Destroy {
        /// Its name.
        name: &'a str,
    },
    /// All members go.
    Flush {
        /// The set's name.
        name: &'a str,
    },
    /// The set is called otherwise; one that a rule names cannot be.
    Rename {
        /// Its name.
        from: &'a str,
        /// A name that none has.
        to: &'a str,
    },
    /// Each gets the other's name, at one instant; rules go by the name. Both are of one kind and family.
    Swap {
        /// One.
        one: &'a str,
        /// The other.
        other: &'a str,
    },
    /// These come, in order; one that is there is no error. The first that is refused ends the change.
    Add {
        /// The set's name.
        set: &'a str,
        /// No more than [`Change::MEMBERS`].
        members: &'a [Member],
    },
    /// These go, in order; one that is not there is no error.
    Remove {
        /// The set's name.
        set: &'a str,
        /// No more than [`Change::MEMBERS`].
        members: &'a [Member],
    },
}

impl Change<'_> {
    /// Most members of one change: the length of an attribute is 16 bits.
    pub const MEMBERS: usize = 512;

    /// The message.
    pub fn request(&self, sequence: u32) -> Vec<u8> {
        match self {
            Self::Create { name, kind, revision, family, max } => {
                let flags = CREATE | EXCLUSIVE | ACK;
                message(command::CREATE, flags, sequence, |w| {
                    w.text(wire::SET_NAME, name);
                    w.text(wire::TYPE_NAME, kind.name());
                    w.u8(wire::REVISION, *revision);
                    w.u8(wire::FAMILY, family.number());
                    w.nested(wire::DATA, |w| wire::be32(w, wire::MAX, *max));
                })
            }
            Self::Destroy { name } => named(command::DESTROY, sequence, name),
            Self::Flush { name } => named(command::FLUSH, sequence, name),
            Self::Rename { from, to } => two_names(command::RENAME, sequence, from, to),
            Self::Swap { one, other } => two_names(command::SWAP, sequence, one, other),
            Self::Add { set, members } => several(command::ADD, sequence, set, members),
            Self::Remove { set, members } => several(command::DELETE, sequence, set, members),
        }
    }
}

/// Asks which versions of the protocol the kernel speaks.
pub fn protocol(sequence: u32) -> Vec<u8> {
    message(command::PROTOCOL, ACK, sequence, |_| {})
}

/// Asks for the revisions of a type that the kernel has; loads its module where that is needed.
pub fn revision(kind: SetKind, family: Family, sequence: u32) -> Vec<u8> {
    message(command::TYPE, ACK, sequence, |w| {
        w.text(wire::TYPE_NAME, kind.name());
        w.u8(wire::FAMILY, family.number());
    })
}

/// Asks for all sets without their members.
pub fn list(sequence: u32) -> Vec<u8> {
    message(command::LIST, DUMP, sequence, |w| wire::be32(w, wire::FLAGS, wire::HEADERS_ONLY))
}

/// Asks for one set with its members.
pub fn members(name: &str, sequence: u32) -> Vec<u8> {
    message(command::LIST, DUMP, sequence, |w| w.text(wire::SET_NAME, name))
}

fn message(command: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
    // `NFPROTO_IPV4`, of sets of either family
    const FAMILY: u8 = 2;
    let mut w = Writer::new();
    w.message(wire::SUBSYSTEM << 8 | command, REQUEST | flags, sequence, FAMILY, 0, |w| {
        w.u8(wire::VERSION, wire::PROTOCOL);
        body(w);
    });
    w.into_bytes()
}

fn named(command: u16, sequence: u32, name: &str) -> Vec<u8> {
    message(command, ACK, sequence, |w| w.text(wire::SET_NAME, name))
}

fn two_names(command: u16, sequence: u32, one: &str, other: &str) -> Vec<u8> {
    message(command, ACK, sequence, |w| {
        w.text(wire::SET_NAME, one);
        w.text(wire::SECOND_NAME, other);
    })
}

/// Each member has a line number, from 1: the answer to a refused one tells it.
fn several(command: u16, sequence: u32, set: &str, members: &[Member]) -> Vec<u8> {
    message(command, ACK, sequence, |w| {
        w.text(wire::SET_NAME, set);
        // the kernel writes the number of the refused member in here
        wire::be32(w, wire::LINE, 0);
        w.nested(wire::MEMBERS, |w| {
            for (line, member) in (1..).zip(members) {
                w.nested(wire::DATA, |w| {
                    write_member(w, member);
                    wire::be32(w, wire::LINE, line);
                });
            }
        });
    })
}

fn write_member(w: &mut Writer, member: &Member) {
    match *member {
        Member::Net { address, length } => {
            wire::address(w, wire::IP, address);
            w.u8(wire::LENGTH, length);
        }
        Member::Port { address, protocol, port } => {
            wire::address(w, wire::IP, address);
            wire::be16(w, wire::PORT, port);
            w.u8(wire::TRANSPORT, protocol);
        }
        Member::Pair { from, to } => {
            wire::address(w, wire::IP, from.0);
            w.u8(wire::LENGTH, from.1);
            wire::address(w, wire::SECOND_IP, to.0);
            w.u8(wire::SECOND_LENGTH, to.1);
        }
    }
}

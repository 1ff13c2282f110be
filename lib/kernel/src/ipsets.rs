//! IP sets of a namespace.
//!
//! As with nf_tables the kernel works while it is asked, so nothing here waits.

use crate::api::KernelError;
use crate::netns::Netns;
use crate::socket;
use netfilter::ipset::{self, Answer, Change, Family, Member, SetHeader, SetKind};
use netfilter::wire::Reply;
use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use std::collections::HashMap;

/// Members refused one after the other until the rest is not asked for any more.
const REFUSED_IN_A_ROW: usize = 64;

/// A member the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMember {
    /// Its place in what was asked for.
    pub place: usize,
    /// Positive errno, or ip_set's own number ([`ipset::words`]).
    pub errno: i32,
}

/// IP sets of one namespace, as a driver needs them: [`SetSocket`] over a socket, or something between a driver and one.
/// Each call is one or more instants; the calls take the kernel's own time and never wait.
pub trait IpSets: Send {
    /// All sets without their members.
    ///
    /// # Errors
    /// The kernel's; without ip_set there are none, which is no error.
    fn list(&mut self) -> Result<Vec<SetHeader>, KernelError>;

    /// The members of a set.
    ///
    /// # Errors
    /// The kernel's; a set that is not there is `ENOENT`.
    fn members(&mut self, name: &str) -> Result<Vec<Member>, KernelError>;

    /// Makes a set.
    ///
    /// # Errors
    /// The kernel's.
    fn create(&mut self, name: &str, kind: SetKind, family: Family, max: u32) -> Result<(), KernelError>;

    /// Takes a set away.
    ///
    /// # Errors
    /// The kernel's; one that a rule names is in use.
    fn destroy(&mut self, name: &str) -> Result<(), KernelError>;

    /// Exchanges the names of two sets of one kind and family, at one instant.
    ///
    /// # Errors
    /// The kernel's.
    fn swap(&mut self, one: &str, other: &str) -> Result<(), KernelError>;

    /// Puts members into a set; those that are refused are told, all others are in it then.
    ///
    /// # Errors
    /// The kernel's; some of them may be in the set then.
    fn add(&mut self, set: &str, members: &[Member]) -> Result<Vec<RefusedMember>, KernelError>;

    /// Takes members out of a set; those that are refused are told, all others are out of it then.
    ///
    /// # Errors
    /// The kernel's; some of them may be out of the set then.
    fn remove(&mut self, set: &str, members: &[Member]) -> Result<Vec<RefusedMember>, KernelError>;
}

/// IP sets of one namespace.
#[derive(Debug)]
pub struct SetSocket {
    socket: Socket,
    sequence: u32,
    /// Revisions of types, as the kernel told them.
    revisions: HashMap<(SetKind, Family), u8>,
}

impl SetSocket {
    /// Opens a socket inside `netns`.
    ///
    /// # Errors
    /// Where the namespace cannot be entered, or the kernel has no netfilter sockets.
    pub fn open(netns: &Netns) -> Result<Self, KernelError> {
        let (socket, _) = netns
            .run(|| socket::open(NETLINK_NETFILTER))?
            .map_err(|error| KernelError::Socket(error.to_string()))?;
        Ok(Self { socket, sequence: 1, revisions: HashMap::new() })
    }

    /// Asks a question that is answered by one message or a list of them.
    fn ask(
        &mut self,
        what: &dyn std::fmt::Display,
        request: impl FnOnce(u32) -> Vec<u8>,
    ) -> Result<Vec<Answer>, KernelError> {
        socket::clear(&self.socket)?;
        let asked = self.next_sequence();
        socket::send(&self.socket, &request(asked))?;
        let (mut found, mut ended) = (Vec::new(), false);
        socket::drain(&self.socket, |reply| {
            match &reply {
                Reply::Done { sequence, .. } if *sequence == asked => ended = true,
                Reply::Ack { sequence, errno, words, .. } if *sequence == asked => {
                    ended = true;
                    if *errno != 0 {
                        return Err(refused(*errno, what, *words));
                    }
                }
                reply => found.extend(ipset::read(reply)),
            }
            Ok(())
        })?;
        if ended { Ok(found) } else { Err(socket::endless(what)) }
    }

    fn change(&mut self, what: &dyn std::fmt::Display, change: &Change<'_>) -> Result<(), KernelError> {
        self.ask(what, |sequence| change.request(sequence)).map(drop)
    }

    /// Sends members by the message; after a refused one it goes on with the next.
    fn members_of<'m>(
        &mut self,
        what: &dyn std::fmt::Display,
        members: &'m [Member],
        change: impl Fn(&'m [Member]) -> Change<'m>,
    ) -> Result<Vec<RefusedMember>, KernelError> {
        let mut all = Vec::new();
        let (mut place, mut in_a_row) = (0, 0);
        while let Some(rest) = members.get(place..).filter(|rest| !rest.is_empty()) {
            let some = rest.get(..Change::MEMBERS).unwrap_or(rest);
            let Some((line, errno)) = self.send_members(what, &change(some))? else {
                (place, in_a_row) = (place + some.len(), 0);
                continue;
            };
            in_a_row = if line == 0 { in_a_row + 1 } else { 0 };
            all.push(RefusedMember { place: place + line, errno });
            place += line + 1;
            if in_a_row == REFUSED_IN_A_ROW {
                all.extend((place..members.len()).map(|place| RefusedMember { place, errno }));
                break;
            }
        }
        Ok(all)
    }

    /// The member that was refused, and why.
    fn send_members(
        &mut self,
        what: &dyn std::fmt::Display,
        change: &Change<'_>,
    ) -> Result<Option<(usize, i32)>, KernelError> {
        socket::clear(&self.socket)?;
        let asked = self.next_sequence();
        socket::send(&self.socket, &change.request(asked))?;
        let mut outcome = None;
        socket::drain(&self.socket, |reply| {
            let Reply::Ack { sequence, errno, words, .. } = &reply else { return Ok(()) };
            if *sequence == asked {
                outcome = Some(match (*errno, ipset::refused_line(&reply)) {
                    (0, _) => None,
                    (errno, Some(line)) => Some((line, errno)),
                    (errno, None) => return Err(refused(errno, what, *words)),
                });
            }
            Ok(())
        })?;
        outcome.ok_or_else(|| socket::endless(what))
    }

    fn revision(&mut self, kind: SetKind, family: Family) -> Result<u8, KernelError> {
        if let Some(revision) = self.revisions.get(&(kind, family)) {
            return Ok(*revision);
        }
        let what = format!("IP set type {} of family {family}", kind.name());
        let answers = self.ask(&what, |sequence| ipset::revision(kind, family, sequence))?;
        let told = answers.iter().find_map(|answer| match answer {
            Answer::Revision(_, highest) => Some(*highest),
            _ => None,
        });
        let highest = told.ok_or_else(|| socket::endless(&what))?;
        self.revisions.insert((kind, family), highest);
        Ok(highest)
    }

    fn next_sequence(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }
}

impl IpSets for SetSocket {
    fn list(&mut self) -> Result<Vec<SetHeader>, KernelError> {
        let answers = match self.ask(&"list IP sets", ipset::list) {
            // nobody has loaded ip_set: there can be no set
            Err(error) if error.errno() == Some(Errno::EINVAL as i32) => Vec::new(),
            answers => answers?,
        };
        let header = |answer| match answer {
            Answer::Set(header, _) => header,
            _ => None,
        };
        Ok(answers.into_iter().filter_map(header).collect())
    }

    fn members(&mut self, name: &str) -> Result<Vec<Member>, KernelError> {
        let what = format!("list IP set {name}");
        let answers = self.ask(&what, |sequence| ipset::members(name, sequence))?;
        let members = |answer| match answer {
            Answer::Set(_, members) => members,
            _ => Vec::new(),
        };
        Ok(answers.into_iter().flat_map(members).collect())
    }

    fn create(&mut self, name: &str, kind: SetKind, family: Family, max: u32) -> Result<(), KernelError> {
        let revision = self.revision(kind, family)?;
        let change = Change::Create { name, kind, revision, family, max };
        self.change(&format_args!("create IP set {name}"), &change)
    }

    fn destroy(&mut self, name: &str) -> Result<(), KernelError> {
        self.change(&format_args!("destroy IP set {name}"), &Change::Destroy { name })
    }

    fn swap(&mut self, one: &str, other: &str) -> Result<(), KernelError> {
        self.change(&format_args!("swap IP sets {one} and {other}"), &Change::Swap { one, other })
    }

    fn add(&mut self, set: &str, members: &[Member]) -> Result<Vec<RefusedMember>, KernelError> {
        let what = format!("add to IP set {set}");
        self.members_of(&what, members, |members| Change::Add { set, members })
    }

    fn remove(&mut self, set: &str, members: &[Member]) -> Result<Vec<RefusedMember>, KernelError> {
        let what = format!("remove from IP set {set}");
        self.members_of(&what, members, |members| Change::Remove { set, members })
    }
}

fn refused(errno: i32, what: &dyn std::fmt::Display, words: Option<&str>) -> KernelError {
    KernelError::Refused { errno, what: what.to_string(), detail: words.map(str::to_owned) }
}

//! nf_tables of a namespace: transactions, dumps, events.
//!
//! The kernel works while the request is being sent: when `send` returns, every answer already waits in the receive
//! queue. So a [`Nftables`] never waits for anything; its calls take the kernel's own time, and are plain functions.

use crate::api::KernelError;
use crate::multicast::{self, filter::Filter};
use crate::netns::Netns;
use crate::socket::{self, LOST_TRIES};
use futures::stream::{BoxStream, Stream, StreamExt};
use netfilter::nft::{self, Batch, Change, Object, Presence, Query, Rule};
use netfilter::wire::{Replies, Reply};
use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{
    setsockopt,
    sockopt::{SndBuf, SndBufForce},
};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `NFNLGRP_NFTABLES`
const GROUP: u32 = 7;
/// How often a dump is repeated that the kernel calls inconsistent.
const DUMP_TRIES: usize = 16;
/// What the kernel accounts for a rule that is sent back, at most, and how many the usual buffer holds.
const RULE_ROOM: usize = 8 << 10;
const RULES_ALWAYS_ROOM: usize = 1024;
/// Room above the batch itself that a send buffer accounts for.
const SEND_OVERHEAD: usize = 64 << 10;

/// Why a batch was not carried out; the kernel is as it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// These changes were refused, each by its place in the batch; the others would have been accepted.
    #[error("{}", refused_text(.0))]
    Refused(Vec<Refused>),
    /// Somebody else changed nf_tables since the generation was read: read again.
    #[error("nf_tables was changed by another process meanwhile")]
    Stale,
    /// The batch as a whole was refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A refused change.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Its place in the batch, from 0.
    pub change: usize,
    /// Positive errno.
    pub errno: i32,
    /// The kernel's own words, where it has some.
    pub words: Option<String>,
}

fn refused_text(all: &[Refused]) -> String {
    let one = |refused: &Refused| {
        let words = refused.words.as_ref().map(|words| format!(" ({words})")).unwrap_or_default();
        format!("change {}: {}{words}", refused.change, Errno::from_raw(refused.errno).desc())
    };
    let shown: Vec<String> = all.iter().take(3).map(one).collect();
    let more = all.len().saturating_sub(shown.len());
    match more {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// The handle the kernel gave to a rule that a batch added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRule {
    /// The place in the batch of the change that added it, from 0.
    pub change: usize,
    /// Its handle.
    pub handle: u64,
}

/// nf_tables of one namespace, as a driver needs it: [`Nftables`] over a socket, or something between a driver and one.
/// The calls take the kernel's own time and never wait.
pub trait NftKernel: Send {
    /// Carries out all changes or none, at one instant; with a generation, only if nothing was changed since. Tells the
    /// handles of added rules.
    ///
    /// # Errors
    /// [`CommitError`]. After [`CommitError::Refused`] and [`CommitError::Stale`] nothing was changed; after another one
    /// that is not certain where the socket failed.
    fn commit(&mut self, changes: &[Change], generation: Option<u32>) -> Result<Vec<NewRule>, CommitError>;

    /// What is there.
    ///
    /// # Errors
    /// The kernel's; a table, chain or set that is not there is `ENOENT`.
    fn read(&mut self, query: &Query) -> Result<Vec<Object>, KernelError>;

    /// The generation: a number each committed batch raises.
    ///
    /// # Errors
    /// The kernel's.
    fn generation(&mut self) -> Result<u32, KernelError>;

    /// Follows from now on what others change, not what this handle does; within a tokio runtime.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    fn events_of_others(&self) -> Result<BoxStream<'static, NftEvent>, KernelError>;
}

impl NftKernel for Nftables {
    fn commit(&mut self, changes: &[Change], generation: Option<u32>) -> Result<Vec<NewRule>, CommitError> {
        Nftables::commit(self, changes, generation)
    }

    fn read(&mut self, query: &Query) -> Result<Vec<Object>, KernelError> {
        Nftables::read(self, query)
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        Nftables::generation(self)
    }

    fn events_of_others(&self) -> Result<BoxStream<'static, NftEvent>, KernelError> {
        let filter = Filter::of_others(self.port);
        let told = || NftEvent::Overrun;
        multicast::follow(&self.netns, NETLINK_NETFILTER, &[GROUP], Some(&filter), told, take)
            .map(StreamExt::boxed)
    }
}

/// nf_tables of one namespace.
#[derive(Debug)]
pub struct Nftables {
    netns: Netns,
    socket: Socket,
    port: u32,
    sequence: u32,
}

impl Nftables {
    /// Opens a socket inside `netns`.
    ///
    /// # Errors
    /// Where the namespace cannot be entered, or the kernel has no netfilter sockets.
    pub fn open(netns: &Netns) -> Result<Self, KernelError> {
        let (socket, port) = netns
            .run(|| socket::open(NETLINK_NETFILTER))?
            .map_err(|error| KernelError::Socket(error.to_string()))?;
        Ok(Self { netns: netns.clone(), socket, port, sequence: 1 })
    }

    /// The socket's port, by which events tell whose changes they are.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// See [`NftKernel::commit`].
    ///
    /// # Errors
    /// See there.
    pub fn commit(
        &mut self,
        changes: &[Change],
        generation: Option<u32>,
    ) -> Result<Vec<NewRule>, CommitError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch::new(self.sequence, generation);
        changes.iter().for_each(|change| batch.push(change));
        let batch = batch.finish();
        self.sequence = batch.next;
        self.expect_rules(changes);
        // an answer to a batch before says nothing about this one
        socket::clear(&self.socket)?;
        self.send(&batch.bytes)?;
        let mut refused = Vec::new();
        let mut new_rules = Vec::new();
        let mut answered = false;
        socket::drain(&self.socket, |reply| {
            if let Reply::Data { sequence, .. } = &reply
                && let Some(change) = batch.change_of(*sequence)
                && let Some((_, Object::Rule(Rule { handle: Some(handle), .. }))) = nft::read(&reply)
            {
                new_rules.push(NewRule { change, handle });
            }
            let Reply::Ack { sequence, errno, words, .. } = reply else { return Ok(()) };
            answered = true;
            match (batch.change_of(sequence), errno) {
                (_, 0) => Ok(()),
                (Some(change), errno) => {
                    refused.push(Refused { change, errno, words: words.map(str::to_owned) });
                    Ok(())
                }
                (None, errno) if errno == Errno::ERESTART as i32 => Err(CommitError::Stale),
                (None, errno) => Err(KernelError::Refused {
                    errno,
                    what: format!("commit {} changes of nf_tables", changes.len()),
                    detail: words.map(str::to_owned),
                }
                .into()),
            }
        })?;
        match (refused.is_empty(), answered) {
            (false, _) => Err(CommitError::Refused(refused)),
            (true, true) => Ok(new_rules),
            (true, false) => Err(KernelError::Socket("the kernel did not answer a batch".to_string()).into()),
        }
    }

    /// Makes room for the rules that come back with their handles.
    fn expect_rules(&self, changes: &[Change]) {
        let rules = changes.iter().filter(|change| matches!(change, Change::AddRule(..))).count();
        if rules > RULES_ALWAYS_ROOM {
            multicast::grow_receive_buffer(&self.socket, rules * RULE_ROOM);
        }
    }

    /// See [`NftKernel::read`].
    ///
    /// # Errors
    /// See there.
    pub fn read(&mut self, query: &Query) -> Result<Vec<Object>, KernelError> {
        // what is lost is asked for again: a look at everything is many questions
        let mut lost = 0;
        for _ in 0..DUMP_TRIES {
            match self.try_read(query) {
                Ok(Some(objects)) => return Ok(objects),
                Ok(None) => {}
                Err(error) if error.is_lost() && lost < LOST_TRIES => lost += 1,
                Err(error) => return Err(error),
            }
        }
        Err(KernelError::Refused {
            errno: Errno::EINTR as i32,
            what: format!("{query:?}"),
            detail: Some("nf_tables kept changing while it was listed".to_string()),
        })
    }

    /// `None` when what was listed changed meanwhile.
    fn try_read(&mut self, query: &Query) -> Result<Option<Vec<Object>>, KernelError> {
        socket::clear(&self.socket)?;
        let request = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&query.request(request))?;
        let (mut found, mut whole) = (Vec::new(), true);
        // all others are lists, which the kernel ends
        let mut ended = matches!(query, Query::Generation);
        socket::drain(&self.socket, |reply| {
            match &reply {
                Reply::Data { sequence, .. } if *sequence == request => {
                    found.extend(nft::read(&reply).map(|(_, object)| object));
                }
                Reply::Done { sequence, interrupted } if *sequence == request => {
                    (whole, ended) = (!interrupted, true);
                }
                Reply::Ack { sequence, errno, words, .. } if *sequence == request && *errno != 0 => {
                    if *errno == Errno::EINTR as i32 {
                        (whole, ended) = (false, true);
                        return Ok(());
                    }
                    return Err(KernelError::Refused {
                        errno: *errno,
                        what: format!("{query:?}"),
                        detail: words.map(str::to_owned),
                    });
                }
                _ => {}
            }
            Ok::<(), KernelError>(())
        })?;
        if !ended {
            return Err(socket::endless(format_args!("{query:?}")));
        }
        Ok(whole.then_some(found))
    }

    /// The generation: a number each committed batch raises.
    ///
    /// # Errors
    /// The kernel's.
    pub fn generation(&mut self) -> Result<u32, KernelError> {
        let id = self.read(&Query::Generation)?.into_iter().find_map(|object| match object {
            Object::Generation { id, .. } => Some(id),
            _ => None,
        });
        id.ok_or_else(|| {
            KernelError::Socket("the kernel did not tell the generation of nf_tables".to_string())
        })
    }

    /// Follows changes of any process from now on, in a socket of its own; within a tokio runtime.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn events(&self) -> Result<impl Stream<Item = NftEvent> + Send + use<>, KernelError> {
        multicast::follow(&self.netns, NETLINK_NETFILTER, &[GROUP], None, || NftEvent::Overrun, take)
    }

    fn send(&self, bytes: &[u8]) -> Result<(), KernelError> {
        make_room(&self.socket, bytes.len() + SEND_OVERHEAD);
        socket::send(&self.socket, bytes)
    }
}

/// A change of nf_tables, by whomever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NftEvent {
    /// Something came, changed or went.
    Change {
        /// The port of the socket it was asked on.
        port: u32,
        /// Whether it is there now.
        presence: Presence,
        /// What.
        object: Object,
    },
    /// Events were lost: read again.
    Overrun,
}

fn take(datagram: &[u8], into: &mut VecDeque<NftEvent>) {
    for reply in Replies::new(datagram) {
        let Reply::Data { port, .. } = reply else { continue };
        into.extend(nft::read(&reply).map(|(presence, object)| NftEvent::Change { port, presence, object }));
    }
}

/// A batch must be sent in one piece: the send buffer grows to hold it.
#[allow(unsafe_code)]
fn make_room(socket: &Socket, bytes: usize) {
    // SAFETY: the descriptor belongs to `socket`, which outlives this function.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    // where the right is missing the send itself fails, and says so
    let forced = setsockopt(&fd, SndBufForce, &bytes);
    if forced.is_err() {
        let _ = setsockopt(&fd, SndBuf, &bytes);
    }
}

//! Connection tracking of a namespace: connections of an address are forgotten.
//!
//! As with nf_tables the kernel works while it is asked, so nothing here waits.

use crate::api::KernelError;
use crate::netns::Netns;
use crate::socket;
use netfilter::conntrack::{self, Connection, Direction};
use netfilter::wire::Reply;
use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use std::collections::HashSet;
use std::net::IpAddr;

/// What a look at the table costs before the first connection, in connections listed: the kernel goes over all its buckets, also
/// for one address, and for each direction of it (some milliseconds with the usual 262,144).
const LOOK: usize = 2048;
/// Connections forgotten with one send.
const BATCH: usize = 256;

/// Connection tracking as a driver needs it: [`Conntrack`] over a socket, or something between a driver and one.
pub trait Flows: Send {
    /// Forgets every connection in which one of these addresses sends, in either direction; how many there were. One that
    /// ends by itself meanwhile is no error.
    ///
    /// # Errors
    /// The kernel's. Some may be forgotten then; doing it again does no harm.
    fn forget(&mut self, addresses: &[IpAddr]) -> Result<usize, KernelError>;
}

/// Connection tracking of one namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
    sequence: u32,
}

impl Conntrack {
    /// Opens a socket inside `netns`.
    ///
    /// # Errors
    /// Where the namespace cannot be entered, or the kernel has no netfilter sockets.
    pub fn open(netns: &Netns) -> Result<Self, KernelError> {
        let (socket, _) = netns
            .run(|| socket::open(NETLINK_NETFILTER))?
            .map_err(|error| KernelError::Socket(error.to_string()))?;
        Ok(Self { socket, sequence: 1 })
    }

    fn list(
        &mut self,
        what: &str,
        request: impl FnOnce(u32) -> Vec<u8>,
    ) -> Result<Vec<Connection>, KernelError> {
        socket::clear(&self.socket)?;
        let asked = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        socket::send(&self.socket, &request(asked))?;
        let (mut found, mut ended) = (Vec::new(), false);
        socket::drain(&self.socket, |reply| match &reply {
            Reply::Done { sequence, .. } if *sequence == asked => {
                ended = true;
                Ok(())
            }
            Reply::Ack { sequence, errno, words, .. } if *sequence == asked && *errno != 0 => {
                // without a module nothing is tracked
                if *errno == Errno::EOPNOTSUPP as i32 || *errno == Errno::ENOENT as i32 {
                    ended = true;
                    return Ok(());
                }
                Err(refused(*errno, what, *words))
            }
            reply => {
                found.extend(conntrack::read(reply));
                Ok(())
            }
        })?;
        if ended { Ok(found) } else { Err(socket::endless(what)) }
    }

    /// How many connections there are; `None` where the kernel does not say.
    fn count(&mut self) -> Result<Option<usize>, KernelError> {
        socket::clear(&self.socket)?;
        let asked = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        socket::send(&self.socket, &conntrack::count(asked))?;
        let mut count = None;
        socket::drain(&self.socket, |reply| {
            count = conntrack::read_count(&reply).or(count);
            Ok::<(), KernelError>(())
        })?;
        Ok(count.and_then(|count| usize::try_from(count).ok()))
    }

    fn delete(&mut self, connections: &[Connection]) -> Result<usize, KernelError> {
        let mut count = 0;
        for some in connections.chunks(BATCH) {
            let request = conntrack::delete(some, self.sequence);
            self.sequence = self.sequence.wrapping_add(u32::try_from(some.len()).unwrap_or(0));
            socket::send(&self.socket, &request)?;
            let mut failed = Ok(());
            socket::drain(&self.socket, |reply| {
                match reply {
                    Reply::Ack { errno: 0, .. } => count += 1,
                    Reply::Ack { errno, words, .. } if errno != Errno::ENOENT as i32 => {
                        failed = Err(refused(errno, "forget a connection", words));
                    }
                    _ => {}
                }
                Ok::<(), KernelError>(())
            })?;
            failed?;
        }
        Ok(count)
    }
}

impl Flows for Conntrack {
    fn forget(&mut self, addresses: &[IpAddr]) -> Result<usize, KernelError> {
        let wanted: HashSet<IpAddr> = addresses.iter().copied().collect();
        let mut found = Vec::new();
        let all = self.count()?;
        if all == Some(0) {
            return Ok(0);
        }
        let looks = wanted.len().saturating_mul(2);
        // one look that lists everything, or two for each address that list little
        if all.is_none_or(|all| all > looks.saturating_mul(LOOK)) {
            for address in &wanted {
                for direction in [Direction::Original, Direction::Reply] {
                    let what = "list the connections of an address";
                    found.extend(self.list(what, |sequence| conntrack::list(*address, direction, sequence))?);
                }
            }
        } else {
            found.extend(self.list("list connections", conntrack::list_all)?);
        }
        // a kernel that does not know the filter lists them all
        found.retain(|flow| wanted.contains(&flow.source) || wanted.contains(&flow.reply_source));
        self.delete(&found)
    }
}

fn refused(errno: i32, what: &str, words: Option<&str>) -> KernelError {
    KernelError::Refused { errno, what: what.to_owned(), detail: words.map(str::to_owned) }
}

//! The real kernel, over a route-family netlink socket.
//!
//! Two sockets a [`Netlink`], opened inside its namespace and used from any task afterwards: one for changes, sent by the datagram
//! (`batch`), opened by the first visit there; and one for questions (`questions`), opened with the first of them. One batch or dump
//! is under way at a time, because the kernel runs one dump a socket and answers of several batches could overflow the receive buffer.

mod batch;
mod decode;
mod encode;
mod events;
mod questions;
mod sysctl;

pub(crate) use encode::check_name;

use crate::api::{
    Address, EventGroups, Kernel, KernelError, KernelEvent, Link, LinkRef, Namespaces, Neighbour, Op, Route,
    RouteFilter,
};
use crate::netns::Netns;
use crate::socket::{LOST_TRIES, endless};
use batch::Sender;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use questions::Questions;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;

/// Messages a datagram: they must fit the send buffer, 208 KiB by default, and other tasks wait as long.
const BATCH: usize = 512;

/// How often a dump is repeated that the kernel calls inconsistent (`NLM_F_DUMP_INTR`).
const DUMP_TRIES: usize = 16;

/// Index of `lo`, in every namespace.
const LOOPBACK: u32 = 1;

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// What became of a message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// It was carried out.
    Done,
    /// It was not: errno and the kernel's explanation.
    Refused(i32, Option<String>),
    /// Either of both.
    Lost,
}

/// A namespace's kernel, reached over netlink and /proc/sys.
#[derive(Debug)]
pub struct Netlink {
    netns: Netns,
    sender: OnceLock<Sender>,
    /// Held while replies are outstanding.
    turn: Mutex<Turn>,
}

/// Who has it may ask, or change something.
#[derive(Debug)]
struct Turn {
    /// The sequence number of the next change.
    sequence: u32,
    questions: Option<Questions>,
}

impl Turn {
    /// The socket for questions to `netns`.
    fn questions(&mut self, netns: &Netns) -> Result<&mut Questions, KernelError> {
        match &mut self.questions {
            Some(questions) => Ok(questions),
            none => Ok(none.insert(netns.run(Questions::open)?.map_err(not_opened)?)),
        }
    }
}

impl Netlink {
    /// Opens the socket for changes inside `netns`.
    pub fn open(netns: &Netns) -> Result<Self, KernelError> {
        let kernel = Self::of(netns);
        kernel.sender()?;
        Ok(kernel)
    }

    /// Opens it with the first change, or along with parameters that are set before.
    pub fn of(netns: &Netns) -> Self {
        let turn = Mutex::new(Turn { sequence: 1, questions: None });
        Self { netns: netns.clone(), sender: OnceLock::new(), turn }
    }

    /// Opens a socket in the namespace of the calling thread.
    pub fn open_current() -> Result<Self, KernelError> {
        Self::open(&Netns::current()?)
    }

    fn sender(&self) -> Result<&Sender, KernelError> {
        match self.sender.get() {
            Some(sender) => Ok(sender),
            None => {
                let opened = self.netns.run(Sender::open)?.map_err(not_opened)?;
                Ok(self.sender.get_or_init(|| opened))
            }
        }
    }

    /// Waits, asleep, until who changes links now is done: a change of nothing has its turn behind theirs.
    async fn wait_for_links(&self) {
        let nothing =
            Op::SetLink { link: LinkRef::Index(LOOPBACK), up: None, mac: None, mtu: None, alias: None };
        // a refusal has waited too, and who cannot ask does not wait
        let mut turn = self.turn.lock().await;
        let _ = self.send(&[nothing], &mut turn.sequence);
    }

    /// One result for each of `ops`, which are sent as one datagram.
    fn send(&self, ops: &[Op], sequence: &mut u32) -> Vec<Result<(), KernelError>> {
        let mut messages = Vec::with_capacity(ops.len());
        let unsayable: Vec<Option<KernelError>> =
            ops.iter().map(|op| encode::operation(op).map(|message| messages.push(message)).err()).collect();
        let exchanged = self.sender().and_then(|sender| sender.exchange(messages, sequence));
        let mut answers = match exchanged {
            Ok(answers) => answers,
            Err(error) => return ops.iter().map(|_| Err(error.clone())).collect(),
        }
        .into_iter();
        let result = |(op, unsayable): (&Op, Option<KernelError>)| {
            if let Some(error) = unsayable {
                return Err(error);
            }
            match answers.next() {
                Some(Answer::Refused(errno, detail)) => {
                    Err(KernelError::Refused { errno, what: op.to_string(), detail })
                }
                Some(Answer::Lost) => Err(endless(op)),
                Some(Answer::Done) | None => Ok(()),
            }
        };
        ops.iter().zip(unsayable).map(result).collect()
    }

    /// The link that the kernel tells of in answer to `request`, if any; `what` names it in words. The acknowledgement ends the answer
    /// even where the rest of it cannot be read.
    async fn ask_for_link(&self, request: Message, what: &str) -> Result<Option<Link>, KernelError> {
        let mut turn = self.turn.lock().await;
        let answer = turn.questions(&self.netns)?.ask(request).await?;
        let mut found = None;
        for reply in answer.messages {
            match reply.payload {
                NetlinkPayload::InnerMessage(message) => found = decode::new_link(&message).or(found),
                NetlinkPayload::Error(error) => {
                    if let Some((errno, detail)) = decode::refusal(&error, reply.header.flags) {
                        return Err(refused(errno, what, detail));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Everything the kernel lists in answer to `request`; `what` names it in words.
    async fn dump(
        &self,
        request: RouteNetlinkMessage,
        what: &str,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        let mut turn = self.turn.lock().await;
        let questions = turn.questions(&self.netns)?;
        // what is lost is asked for again: a look at everything is many questions
        let mut lost = 0;
        for _ in 0..DUMP_TRIES {
            let message = framed(request.clone(), NLM_F_REQUEST | NLM_F_DUMP);
            let answer = match questions.ask(message).await {
                Ok(answer) => answer,
                Err(error) if error.is_lost() && lost < LOST_TRIES => {
                    lost += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut found = Vec::new();
            for reply in answer.messages {
                match reply.payload {
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(refused(-done.code, what, None));
                    }
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        let (errno, detail) = decode::refusal(&error, reply.header.flags).unwrap_or_default();
                        return Err(refused(errno, what, detail));
                    }
                    _ => {}
                }
            }
            if !answer.torn {
                return Ok(found);
            }
        }
        Err(refused(
            Errno::EINTR as i32,
            what,
            Some("the table kept changing while it was listed".to_string()),
        ))
    }
}

impl Kernel for Netlink {
    fn netns(&self) -> &Netns {
        &self.netns
    }

    fn apply(&self, ops: Vec<Op>, stop_on_error: bool) -> BoxFuture<'_, Vec<Result<(), KernelError>>> {
        Box::pin(async move {
            let mut turn = self.turn.lock().await;
            let mut results = Vec::with_capacity(ops.len());
            // The kernel goes on to the next message of a datagram after a failed one; where it must not,
            // each is sent only after the one before has been acknowledged.
            for chunk in ops.chunks(if stop_on_error { 1 } else { BATCH }) {
                if stop_on_error && results.last().is_some_and(Result::is_err) {
                    break;
                }
                if !results.is_empty() {
                    tokio::task::yield_now().await;
                }
                results.extend(self.send(chunk, &mut turn.sequence));
            }
            results.resize_with(ops.len(), || Err(KernelError::Skipped));
            results
        })
    }

    fn create(&self, pair: Op) -> BoxFuture<'_, Result<Option<Link>, KernelError>> {
        Box::pin(async move {
            let name = &pair.pair()?.name;
            let mut request = encode::operation(&pair)?;
            request.header.flags |= NLM_F_ECHO;
            match self.ask_for_link(request, &pair.to_string()).await? {
                Some(link) => Ok(Some(link)),
                // before Linux 6.2
                None => self.link(name).await,
            }
        })
    }

    fn link(&self, name: &str) -> BoxFuture<'_, Result<Option<Link>, KernelError>> {
        let request = encode::get_link(name);
        let what = format!("look up link {name}");
        Box::pin(async move {
            match self.ask_for_link(framed(request?, NLM_F_REQUEST | NLM_F_ACK), &what).await {
                Ok(Some(link)) => Ok(Some(link)),
                Ok(None) => Err(KernelError::Socket(format!("{what}: no readable answer"))),
                Err(error) if error.errno() == Some(Errno::ENODEV as i32) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn links(&self) -> BoxFuture<'_, Result<Vec<Link>, KernelError>> {
        Box::pin(async move {
            let found = self.dump(encode::list_links(), "list links").await?;
            Ok(found.iter().filter_map(decode::new_link).collect())
        })
    }

    fn addresses(&self, link: Option<u32>) -> BoxFuture<'_, Result<Vec<Address>, KernelError>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for family in [4, 6] {
                let found = match self.dump(encode::list_addresses(family, link), "list addresses").await {
                    // The link is gone: it has no addresses.
                    Err(error) if error.errno() == Some(Errno::ENODEV as i32) => Vec::new(),
                    found => found?,
                };
                all.extend(found.iter().filter_map(decode::new_address));
            }
            Ok(all)
        })
    }

    fn routes(&self, filter: RouteFilter) -> BoxFuture<'_, Result<Vec<Route>, KernelError>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for family in [4, 6].into_iter().filter(|family| filter.family.is_none_or(|only| only == *family))
            {
                let found = match self.dump(encode::list_routes(family, &filter), "list routes").await {
                    // The table or the link of the filter does not exist: it has no routes.
                    Err(error) if error.errno() == Some(Errno::ENOENT as i32) => Vec::new(),
                    Err(error) if error.errno() == Some(Errno::ENODEV as i32) => Vec::new(),
                    found => found?,
                };
                all.extend(found.iter().filter_map(decode::new_route));
            }
            Ok(all)
        })
    }

    fn neighbours(&self, link: Option<u32>) -> BoxFuture<'_, Result<Vec<Neighbour>, KernelError>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for proxy in [false, true] {
                let found = self.dump(encode::list_neighbours(link, proxy), "list neighbours").await?;
                all.extend(found.iter().filter_map(decode::new_neighbour));
            }
            // Not every kernel filters proxy entries by link.
            all.retain(|neighbour| link.is_none_or(|only| only == neighbour.link));
            Ok(all)
        })
    }

    fn sysctl(&self, key: &str) -> BoxFuture<'_, Result<String, KernelError>> {
        let key = key.to_string();
        Box::pin(async move { self.netns.run(|| sysctl::read(&key))? })
    }

    fn set_sysctls(&self, values: Vec<(String, String)>) -> BoxFuture<'_, Vec<Result<(), KernelError>>> {
        Box::pin(async move {
            let mut results = Vec::with_capacity(values.len());
            let mut rest = values.iter();
            let visited = self.netns.run(|| {
                if self.sender.get().is_none()
                    && let Ok(sender) = Sender::open()
                {
                    self.sender.get_or_init(|| sender);
                }
                rest.find_map(|(key, value)| match sysctl::write_at_once(key, value) {
                    Ok(result) => {
                        results.push(result);
                        None
                    }
                    Err(file) => Some((file, key, value)),
                })
            });
            let done = match visited {
                Ok(None) => Ok(()),
                Ok(Some((file, key, value))) => {
                    self.wait_for_links().await;
                    self.netns.run(|| {
                        results.push(sysctl::write_opened(&file, key, value));
                        results.extend(rest.map(|(key, value)| sysctl::write(key, value)));
                    })
                }
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                results.resize_with(values.len(), || Err(error.clone()));
            }
            results
        })
    }

    fn events(
        &self,
        groups: EventGroups,
    ) -> BoxFuture<'_, Result<BoxStream<'static, KernelEvent>, KernelError>> {
        Box::pin(
            async move { events::follow(&self.netns, groups, self.sender()?.port()).map(StreamExt::boxed) },
        )
    }
}

/// The system's namespaces, found by path.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNamespaces;

impl Namespaces for SystemNamespaces {
    fn current(&self) -> Result<Arc<dyn Kernel>, KernelError> {
        Ok(Arc::new(Netlink::open_current()?))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Kernel>, KernelError> {
        Ok(Arc::new(Netlink::of(&Netns::open(path)?)))
    }
}

fn not_opened(error: std::io::Error) -> KernelError {
    KernelError::Socket(error.to_string())
}

fn framed(message: RouteNetlinkMessage, flags: u16) -> Message {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message))
}

/// A message as it is sent.
fn bytes(mut message: Message) -> Vec<u8> {
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn refused(errno: i32, what: &str, detail: Option<String>) -> KernelError {
    KernelError::Refused { errno, what: what.to_string(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(work: impl AsyncFnOnce(Netlink)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own");
        let netns = Netns::create_at(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work(Netlink::of(&netns)));
        Netns::delete_at(&path).unwrap();
    }

    fn values(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn one_visit_sets_parameters_and_opens_the_socket_for_changes() {
        inside(async |kernel| {
            assert!(kernel.sender.get().is_none());
            let set = kernel.set_sysctls(values(&[("net/ipv4/conf/lo/route_localnet", "1")])).await;
            assert!(set[0].is_ok(), "{set:?}");
            assert!(kernel.sender.get().is_some(), "it needs another visit");
            assert!(kernel.turn.lock().await.questions.is_none(), "nothing was asked");
            let links = kernel.links().await.unwrap();
            assert_eq!(links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["lo"]);
        });
    }

    #[test]
    fn parameters_are_set_in_order_though_some_wait_for_links() {
        inside(async |kernel| {
            let wanted = values(&[
                ("net/ipv4/conf/lo/route_localnet", "1"),
                ("net/ipv4/ip_forward", "1"),
                ("net/ipv4/conf/lo/none", "1"),
                ("net/ipv4/conf/lo/proxy_arp", "1"),
                // which the second has changed
                ("net/ipv4/conf/lo/forwarding", "1"),
            ]);
            let set = kernel.set_sysctls(wanted.clone()).await;
            let failed: Vec<bool> = set.iter().map(Result::is_err).collect();
            assert_eq!(failed, [false, false, true, false, false], "{set:?}");
            assert!(set[2].as_ref().unwrap_err().to_string().contains("conf/lo/none"), "{set:?}");
            for (key, value) in wanted.iter().filter(|(key, _)| !key.ends_with("none")) {
                assert_eq!(kernel.sysctl(key).await.as_deref().ok(), Some(value.as_str()), "{key}");
            }
        });
    }
}

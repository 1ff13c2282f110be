//! What happens to a session, and what it asks for. The shell knows sockets and bytes, the session knows neither.

use crate::negotiate::Negotiated;
use bgp_wire::{Family, Message, MessageError, Notification, Open, PerFamily, RefreshSubtype, RouteRefresh};
use bytes::Bytes;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Time since the speaker started. The session has no clock: whoever calls says what time it is.
pub type Time = Duration;

/// States of RFC 4271 §8.2.2. A peer with two connections is in that of the one that is farther.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Refuses connections: stopped, or waiting after an error.
    Idle,
    /// Waits for the other side to connect, or for the time to connect again.
    Active,
    /// A connection is being made.
    Connect,
    /// OPEN sent, the other side's awaited.
    OpenSent,
    /// OPENs exchanged, the first KEEPALIVE awaited.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names one TCP connection of one peer; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u32);

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Ours.
    pub local: SocketAddr,
    /// The other side's.
    pub remote: SocketAddr,
}

/// A message as far as the session needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// OPEN.
    Open(Open),
    /// KEEPALIVE.
    Keepalive,
    /// UPDATE that could be read; what it says is the RIB's business, and only when the session is Established.
    Update,
    /// NOTIFICATION.
    Notification(Notification),
    /// ROUTE-REFRESH.
    RouteRefresh(RouteRefresh),
    /// Something that cannot be read, and what the other side is to be told.
    Malformed(Notification),
}

impl From<&Result<Message<'_>, MessageError>> for Received {
    fn from(decoded: &Result<Message<'_>, MessageError>) -> Self {
        match decoded {
            Ok(Message::Open(open)) => Received::Open(open.clone()),
            Ok(Message::Update(_)) => Received::Update,
            Ok(Message::Notification(notification)) => Received::Notification(notification.clone()),
            Ok(Message::Keepalive) => Received::Keepalive,
            Ok(Message::RouteRefresh(refresh)) => Received::RouteRefresh(*refresh),
            Err(error) => Received::Malformed(error.notification.clone()),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// ManualStart, AutomaticStart (events 1 and 3).
    Start,
    /// ManualStop (event 2): no session until the next [`Event::Start`].
    Stop(Stop),
    /// The running session must end; another is tried afterwards.
    Reset(Reset),
    /// A deadline has passed ([`crate::Peer::deadline`]).
    Timer,
    /// An attempt of ours has succeeded (event 16).
    Connected(ConnId, Endpoints),
    /// An attempt of ours has failed (event 18), and why.
    ConnectFailed(ConnId, String),
    /// The other side has closed the connection, or it broke (event 18), and why.
    Closed(ConnId, String),
    /// A message came.
    Received(ConnId, Received),
    /// The other side has sent its End-of-RIB of a family.
    EndOfRib(ConnId, Family),
    /// The other side takes nothing any more (`true`), or takes again (`false`): the send hold timer of RFC 9687.
    Blocked(ConnId, bool),
}

/// Why a peer is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A person wants it, and may say why (RFC 9003).
    Shutdown(String),
    /// The peer is no longer configured.
    Deconfigured,
    /// We restart: nothing is said, so that the other side keeps our routes (RFC 4724).
    Restart,
}

/// Why a session is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reset {
    /// A person wants it, and may say why (RFC 9003).
    Administrative(String),
    /// Its settings changed.
    ConfigurationChange,
    /// The other side announced more prefixes of a family than allowed.
    MaxPrefixes {
        /// Of which family.
        family: Family,
        /// The limit.
        limit: u32,
        /// When to try again; `None`: not before the next [`Event::Start`].
        wait: Option<Duration>,
    },
    /// We cannot hold what it announces.
    OutOfResources,
    /// An UPDATE that cannot be forgiven (RFC 7606), and what to tell.
    Error(Notification),
}

/// What the shell has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Connect to the peer; answer with [`Event::Connected`] or [`Event::ConnectFailed`].
    Connect(ConnId),
    /// Send these bytes: one whole message.
    Send(ConnId, Bytes),
    /// Close the connection, or give the attempt up, once what was to be sent has been offered to the socket. No event
    /// of it may follow.
    Close(ConnId),
    /// The session is up on this connection.
    Established(ConnId, Box<Negotiated>),
    /// It is up no more.
    Down(Down),
    /// Routes of a family that were kept as stale must go now.
    Purge(Family),
    /// The other side wants all routes of a family again, or marks the beginning or end of its own answer (RFC 7313).
    Refresh(ConnId, Family, RefreshSubtype),
}

/// The end of an Established session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// The connection it was on.
    pub connection: ConnId,
    /// Why.
    pub reason: Reason,
    /// Families whose routes are kept as stale until [`Action::Purge`] or the peer's End-of-RIB (RFC 4724 §4.2).
    pub keep: PerFamily<bool>,
}

/// Why a connection or session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// We said so.
    Sent(Notification),
    /// The other side said so.
    Received(Notification),
    /// Without a word from us: we restart.
    Restart,
    /// TCP failed, with the system's words.
    Connection(String),
    /// The other side restarted and made a new connection while this one seemed alive.
    Replaced,
    /// It took nothing from us for the send hold time (RFC 9687).
    SendHoldTimerExpired,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Sent(notification) => write!(f, "sent: {notification}"),
            Reason::Received(notification) => write!(f, "received: {notification}"),
            Reason::Restart => f.write_str("restarting"),
            Reason::Connection(text) => f.write_str(text),
            Reason::Replaced => f.write_str("peer restarted"),
            Reason::SendHoldTimerExpired => f.write_str("send hold timer expired"),
        }
    }
}

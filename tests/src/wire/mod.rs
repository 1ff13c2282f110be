//! Packets on real wires: made byte by byte, sent from any namespace through raw sockets, and heard where they are
//! delivered, behind every hook of the receiver.
//!
//! A packet carries a number in its payload. [`craft`] makes it with the checksums that connection tracking checks;
//! an [`Ear`] holds the sockets of one namespace: two to send, one a protocol and family to hear.

pub mod craft;

use crate::policy::packets::Packet;
use crate::sandbox;
use anyhow::{Context, Result};
use nix::sys::socket::{SockaddrStorage, recvfrom, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// Protocols that are heard: ICMP or ICMPv6, TCP, UDP, GRE, SCTP.
const PROTOCOLS: [(u8, u8); 5] = [(1, 58), (6, 6), (17, 17), (47, 47), (132, 132)];

/// `SOCK_RAW`, `IPPROTO_RAW` (the sender brings the header).
const RAW: i32 = 3;
const WITH_HEADER: i32 = 255;

/// What waits while the listener is not running, in bytes.
const BUFFER: usize = 16 << 20;

/// A packet as it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its number.
    pub number: u32,
    /// Who seems to have sent it.
    pub source: IpAddr,
    /// Source port, of TCP, UDP and SCTP.
    pub port: Option<u16>,
}

fn address(from: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = from.as_sockaddr_in().map(|from| IpAddr::V4(from.ip()));
    v4.or_else(|| from.as_sockaddr_in6().map(|from| IpAddr::V6(from.ip())))
}

/// The sockets of one namespace.
#[derive(Debug)]
pub struct Ear {
    senders: [Socket; 2],
    /// Each with the protocol it hears.
    hearing: Vec<(u8, Socket)>,
}

impl Ear {
    /// In the named namespace, or in the calling thread's.
    ///
    /// # Errors
    /// Not root, or no such namespace.
    pub fn open(netns: Option<&str>) -> Result<Self> {
        match netns {
            Some(name) => sandbox::in_netns(name, Self::here)?,
            None => Self::here(),
        }
    }

    fn here() -> Result<Self> {
        let raw = |domain, protocol| -> Result<Socket> {
            let socket = Socket::new(domain, Type::from(RAW), Some(Protocol::from(protocol)))
                .with_context(|| format!("raw socket of protocol {protocol}"))?;
            socket.set_nonblocking(true)?;
            setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).context("a receive buffer")?;
            Ok(socket)
        };
        let senders = [raw(Domain::IPV4, WITH_HEADER)?, raw(Domain::IPV6, WITH_HEADER)?];
        let mut hearing = Vec::new();
        for (v4, v6) in PROTOCOLS {
            hearing.push((v4, raw(Domain::IPV4, i32::from(v4))?));
            hearing.push((v6, raw(Domain::IPV6, i32::from(v6))?));
        }
        Ok(Self { senders, hearing })
    }

    /// Sends a packet with this number in it.
    ///
    /// # Errors
    /// The kernel refuses it, for another reason than a rule that drops it.
    pub fn send(&self, packet: &Packet, number: u32) -> Result<()> {
        let bytes = craft::bytes(packet, number);
        let to = SockAddr::from(SocketAddr::new(packet.destination, 0));
        let socket = if packet.destination.is_ipv4() { &self.senders[0] } else { &self.senders[1] };
        match socket.send_to(&bytes, &to) {
            // an output hook that drops tells the sender so
            Err(error) if error.kind() != ErrorKind::PermissionDenied => {
                Err(error).with_context(|| format!("send {packet:?}"))
            }
            _ => Ok(()),
        }
    }

    /// All packets delivered here since it was asked last.
    pub fn heard(&self) -> Vec<Heard> {
        let mut all = Vec::new();
        let mut buffer = [0; 2048];
        for (protocol, socket) in &self.hearing {
            while let Ok((length, from)) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer) {
                let Some(source) = from.as_ref().and_then(address) else { continue };
                let bytes = buffer.get(..length).unwrap_or_default();
                // a raw socket of IPv4 gives the IP header too
                let header =
                    if source.is_ipv4() { usize::from(bytes.first().map_or(0, |b| b & 15)) * 4 } else { 0 };
                let carried = bytes.get(header..).unwrap_or_default();
                let port = matches!(protocol, 6 | 17 | 132).then(|| carried.first_chunk()).flatten();
                let port = port.map(|bytes| u16::from_be_bytes(*bytes));
                all.extend(craft::number(*protocol, carried).map(|number| Heard { number, source, port }));
            }
        }
        all
    }
}

//! Watchers that cost little: HTTP/2 (RFC 9113) and gRPC just far enough to ask for watches and to count events.
//!
//! A client library takes as long for an event as a server, and then a thousand watchers in one process measure that process.
//! Real ones are on machines of their own.

use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
/// Types and flags of frames (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// The largest window: nobody has to ask for more during a benchmark (§6.9.1).
const WINDOW: u32 = (1 << 31) - 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Byte before a message of gRPC: flags and length.
const PREFIX: usize = 5;
/// Tag of `WatchResponse.events`.
const EVENTS: u8 = (11 << 3) | 2;

/// A connection with watches on it.
pub struct Watchers {
    stream: TcpStream,
    read: Vec<u8>,
    /// Begun and not complete: messages of gRPC by stream.
    parts: HashMap<u32, Vec<u8>>,
    messages: usize,
    events: usize,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], to: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    to.extend_from_slice(&length[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(payload);
}

/// Shorter than 127 bytes, as everything here.
fn with_length(before: &[u8], text: &[u8]) -> Vec<u8> {
    [before, &[u8::try_from(text.len()).unwrap_or(0)], text].concat()
}

/// The fields of a request, none of them to be remembered (RFC 7541 §6.2.2, appendix A).
fn request(host: &str) -> Vec<u8> {
    [
        vec![0x83, 0x86],
        with_length(&[0x04], b"/etcdserverpb.Watch/Watch"),
        with_length(&[0x01], host.as_bytes()),
        with_length(&[0x0f, 0x10], b"application/grpc"),
        with_length(&with_length(&[0x00], b"te"), b"trailers"),
    ]
    .concat()
}

/// Events of a `WatchResponse`, whose fields are numbers or have a length.
fn events(mut message: &[u8]) -> Option<usize> {
    let mut count = 0;
    while let Some((tag, rest)) = message.split_first() {
        let (number, rest) = varint(rest)?;
        message = match tag & 7 {
            0 => rest,
            2 => rest.get(usize::try_from(number).ok()?..)?,
            _ => return None,
        };
        count += usize::from(*tag == EVENTS);
    }
    Some(count)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = 1 + bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let (digits, rest) = bytes.split_at(len);
    Some((digits.iter().rev().fold(0, |sum, digit| (sum << 7) | u64::from(digit & 0x7f)), rest))
}

/// The first whole message of gRPC in `bytes`, and what follows.
fn message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_be_bytes(bytes.get(1..PREFIX)?.try_into().ok()?) as usize;
    bytes.get(PREFIX..)?.split_at_checked(length)
}

impl Watchers {
    /// Connects, begins `count` watches of `key`, and waits until they have begun.
    ///
    /// # Errors
    /// The server does not speak as etcd does.
    pub async fn begin(address: SocketAddr, key: &str, count: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut out = PREFACE.to_vec();
        let window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat();
        frame(SETTINGS, 0, 0, &window, &mut out);
        frame(WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes(), &mut out);
        let create = with_length(&[0x0a], &with_length(&[0x0a], key.as_bytes()));
        let asked = [&[0; PREFIX - 1][..], &[u8::try_from(create.len())?], &create].concat();
        for number in 0..count {
            let id = 2 * u32::try_from(number)? + 1;
            frame(HEADERS, END_HEADERS, id, &request(&address.to_string()), &mut out);
            frame(DATA, 0, id, &asked, &mut out);
        }
        let mut own = Self { stream, read: Vec::new(), parts: HashMap::new(), messages: 0, events: 0 };
        own.stream.write_all(&out).await?;
        while own.messages < count {
            own.read().await?;
        }
        ensure!(own.messages == count && own.events == 0, "a watch begins with its creation");
        Ok(own)
    }

    /// Waits until so many events came since the beginning.
    ///
    /// # Errors
    /// The server ends a watch, or the connection.
    pub async fn await_events(&mut self, count: usize) -> Result<()> {
        while self.events < count {
            self.read().await?;
        }
        ensure!(self.events == count, "{} events instead of {count}", self.events);
        Ok(())
    }

    async fn read(&mut self) -> Result<()> {
        self.read.reserve(1 << 16);
        ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server ended the connection");
        let mut bytes = std::mem::take(&mut self.read);
        let mut rest = bytes.as_slice();
        let mut answers = Vec::new();
        while rest.len() >= HEAD {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            let stream = u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]);
            let Some(payload) = rest.get(HEAD..HEAD + length) else { break };
            match (rest[3], rest[4] & ACK) {
                (DATA, 0) => self.data(stream, payload)?,
                (SETTINGS, 0) => frame(SETTINGS, ACK, 0, &[], &mut answers),
                (PING, 0) => frame(PING, ACK, 0, payload, &mut answers),
                (HEADERS, 0) | (SETTINGS | PING, _) | (WINDOW_UPDATE, _) => {}
                (kind, _) => bail!("a watch ended: frame of type {kind} on stream {stream}"),
            }
            rest = &rest[HEAD + length..];
        }
        let left = rest.len();
        bytes.drain(..bytes.len() - left);
        self.read = bytes;
        if !answers.is_empty() {
            self.stream.write_all(&answers).await?;
        }
        Ok(())
    }

    fn data(&mut self, stream: u32, payload: &[u8]) -> Result<()> {
        let before = self.parts.remove(&stream).map(|part| [part.as_slice(), payload].concat());
        let mut rest = before.as_deref().unwrap_or(payload);
        while let Some((whole, next)) = message(rest) {
            self.messages += 1;
            self.events += events(whole).context("no answer of a watch")?;
            rest = next;
        }
        if !rest.is_empty() {
            self.parts.insert(stream, rest.to_vec());
        }
        Ok(())
    }
}

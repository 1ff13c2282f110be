//! Echo requests and replies (RFC 792, RFC 4443) over raw sockets, many at a time.

use super::place::Place;
use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A request that was not answered is sent again after this time: the first packet to a neighbour may be lost.
const AGAIN: Duration = Duration::from_millis(200);
/// How long one look at a socket waits.
const LOOK: Duration = Duration::from_millis(20);
/// What the packets carry behind their numbers.
const PAYLOAD: &[u8; 24] = b"ocicat lab echo request.";

/// Length of an IPv4 header is given in words of this many bytes.
const WORD: usize = 4;

/// Sends a request to each target from within `place` and waits for the replies until `deadline` has passed;
/// returns the round-trip time of each that was answered. `identifier` tells this sender from others.
///
/// # Errors
/// No socket can be opened there.
pub fn echo(
    place: &Place,
    identifier: u16,
    targets: &[IpAddr],
    deadline: Duration,
) -> Result<Vec<Option<Duration>>> {
    place.run(|| {
        std::thread::scope(|scope| {
            let four = scope.spawn(|| Family { v4: true, identifier, targets }.exchange(deadline));
            let six = Family { v4: false, identifier, targets }.exchange(deadline)?;
            let four = four.join().map_err(|_| anyhow!("a sender died"))??;
            Ok(four.into_iter().zip(six).map(|(four, six)| four.or(six)).collect())
        })
    })
}

/// The part of an exchange that belongs to one family; targets of the other stay unanswered.
struct Family<'a> {
    v4: bool,
    identifier: u16,
    targets: &'a [IpAddr],
}

impl Family<'_> {
    fn exchange(&self, deadline: Duration) -> Result<Vec<Option<Duration>>> {
        let socket = open(self.v4)?;
        let mut sent = vec![Instant::now(); self.targets.len()];
        let mut answered = vec![None; self.targets.len()];
        let begin = Instant::now();
        while begin.elapsed() < deadline && self.is_waiting(&answered) {
            for (number, target) in self.targets.iter().enumerate().filter(|(_, ip)| ip.is_ipv4() == self.v4)
            {
                if let (Some(None), Some(time)) = (answered.get(number), sent.get_mut(number)) {
                    *time = Instant::now();
                    // No route now may be one at the next try.
                    let _ = socket
                        .send_to(&request(self.v4, self.identifier, number), SocketAddr::new(*target, 0));
                }
            }
            let round = Instant::now();
            while round.elapsed() < AGAIN && self.is_waiting(&answered) {
                self.receive(&socket, &sent, &mut answered);
            }
        }
        Ok(answered)
    }

    fn is_waiting(&self, answered: &[Option<Duration>]) -> bool {
        self.targets.iter().zip(answered).any(|(target, done)| done.is_none() && target.is_ipv4() == self.v4)
    }

    /// Waits a little for one packet and takes it.
    fn receive(&self, socket: &UdpSocket, sent: &[Instant], answered: &mut [Option<Duration>]) {
        let mut buffer = [0u8; 2048];
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
        let now = Instant::now();
        let packet = buffer.get(..length).unwrap_or_default();
        let Some(number) = reply(self.v4, self.identifier, packet) else { return };
        // A reply counts only from whom it was asked.
        if self.targets.get(number) == Some(&from.ip())
            && let (Some(begin), Some(slot)) = (sent.get(number), answered.get_mut(number))
            && slot.is_none()
        {
            *slot = Some(now.duration_since(*begin));
        }
    }
}

fn open(v4: bool) -> Result<UdpSocket> {
    let (family, protocol) = if v4 {
        (AddressFamily::Inet, SockProtocol::Icmp)
    } else {
        (AddressFamily::Inet6, SockProtocol::IcmpV6)
    };
    let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).context("open a raw socket")?;
    // Any datagram socket is one to the standard library.
    let socket = UdpSocket::from(raw);
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

/// An echo request. The kernel fills in the checksum of ICMPv6, which covers addresses only it knows.
fn request(v4: bool, identifier: u16, number: usize) -> Vec<u8> {
    let mut packet = vec![if v4 { 8 } else { 128 }, 0, 0, 0];
    packet.extend(identifier.to_be_bytes());
    packet.extend(u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend(PAYLOAD);
    if v4 {
        let [high, low] = checksum(&packet).to_be_bytes();
        packet.splice(2..4, [high, low]);
    }
    packet
}

/// The number of the request that `packet` answers, if it answers one of ours.
fn reply(v4: bool, identifier: u16, packet: &[u8]) -> Option<usize> {
    // A raw IPv4 socket delivers the header, an IPv6 one does not.
    let message = if v4 { packet.get(usize::from(packet.first()? & 0x0f) * WORD..)? } else { packet };
    let expected = if v4 { 0 } else { 129 };
    let [kind, 0, _, _, id_high, id_low, high, low, payload @ ..] = message else { return None };
    let ours =
        *kind == expected && u16::from_be_bytes([*id_high, *id_low]) == identifier && payload == PAYLOAD;
    ours.then(|| usize::from(u16::from_be_bytes([*high, *low])))
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Netns;

    #[test]
    fn a_request_has_its_checksum() {
        let packet = request(true, 0x1234, 7);
        assert_eq!(packet[0], 8);
        assert_eq!(checksum(&packet), 0, "over a packet with its checksum the sum is zero");
        assert_eq!(request(false, 1, 0)[..4], [128, 0, 0, 0]);
        assert_eq!(
            checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2,
            "the example of RFC 1071"
        );
        assert_eq!(checksum(&[0xff]), 0x00ff);
    }

    #[test]
    fn only_replies_to_our_requests_count() {
        let mut answer = request(true, 9, 3);
        answer[0] = 0;
        let with_header = |message: &[u8]| [&[0x46u8; 24][..], message].concat();
        assert_eq!(reply(true, 9, &with_header(&answer)), Some(3));
        assert_eq!(reply(true, 8, &with_header(&answer)), None, "another sender's");
        assert_eq!(reply(true, 9, &with_header(&request(true, 9, 3))), None, "a request");
        let mut six = request(false, 9, 2);
        six[0] = 129;
        assert_eq!(reply(false, 9, &six), Some(2));
        six.push(0);
        assert_eq!(reply(false, 9, &six), None, "not what was sent");
        for length in 0..8 {
            assert_eq!(reply(false, 9, &six[..length]), None);
            assert_eq!(reply(true, 9, &answer[..length]), None);
        }
    }

    #[test]
    fn the_loopback_answers_and_silence_is_no_answer() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not root: no packet is sent");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ns");
        let netns = Netns::create_at(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(super::super::node::loopback(&netns)).unwrap();
        let place = Place::of(netns);
        let targets = ["127.0.0.1", "::1", "127.0.0.9"].map(|text| text.parse().unwrap());
        let times = echo(&place, 77, &targets, Duration::from_secs(5)).unwrap();
        assert!(times.iter().all(Option::is_some), "{times:?}");
        let begin = Instant::now();
        let away = ["192.0.2.77".parse().unwrap(), "::1".parse().unwrap()];
        let times = echo(&place, 78, &away, Duration::from_millis(300)).unwrap();
        assert!(times[0].is_none() && times[1].is_some(), "{times:?}");
        assert!(begin.elapsed() < Duration::from_secs(3));
        Netns::delete_at(&path).unwrap();
    }
}

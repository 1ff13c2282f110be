//! Socket options that no safe library sets: keys of TCP segments, GTSM, what the kernel may lack.

use super::error::TransportError;
use bgp_session::{Authentication, Distance};
use bgp_wire::Prefix;
use nix::libc;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// `TCP_AO_ADD_KEY` and `TCP_AO_DEL_KEY` of `linux/tcp.h` (6.7 and newer).
const TCP_AO_ADD_KEY: libc::c_int = 38;
const TCP_AO_DEL_KEY: libc::c_int = 39;
/// Longest key of either kind, in octets.
const KEY_MAX: usize = 80;
/// What asks for TCP-MD5, as a person wrote it.
const PASSWORD: &str = "password";
/// What asks for TCP-AO.
const TCP_AO: &str = "the annotation bgp.ocicat.io/tcp-ao";
/// The key is for a prefix, not for one address (`TCP_MD5SIG_FLAG_PREFIX`).
const MD5_FLAG_PREFIX: u8 = 1;
/// Octets of the code of HMAC-SHA-1-96 (RFC 5926 §3.2).
const AO_CODE_LEN: u8 = 12;
/// Internetwork control, the class routing protocols use.
const TOS: libc::c_int = 0xc0;
/// The TTL that GTSM starts from (RFC 5082 §3).
const TTL_MAX: u8 = 255;

/// `struct sockaddr_storage` with an address and no port.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Address {
    family: u16,
    rest: [u8; 126],
}

impl Address {
    fn new(address: IpAddr) -> Self {
        let mut rest = [0; 126];
        let (family, at, octets) = match address {
            IpAddr::V4(v4) => (libc::AF_INET, 2, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6, 6, v6.octets().to_vec()),
        };
        rest.iter_mut().skip(at).zip(octets).for_each(|(to, from)| *to = from);
        Address { family: u16::try_from(family).unwrap_or_default(), rest }
    }
}

/// `struct tcp_md5sig`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Md5Key {
    address: Address,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    ifindex: i32,
    key: [u8; KEY_MAX],
}

/// `struct tcp_ao_add`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct AoAdd {
    address: Address,
    algorithm: [u8; 64],
    ifindex: i32,
    flags: u32,
    reserved: u16,
    prefix_len: u8,
    send_id: u8,
    receive_id: u8,
    code_len: u8,
    key_flags: u8,
    key_len: u8,
    key: [u8; KEY_MAX],
}

/// `struct tcp_ao_del`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct AoDelete {
    address: Address,
    ifindex: i32,
    flags: u32,
    reserved: u16,
    prefix_len: u8,
    send_id: u8,
    receive_id: u8,
    current: u8,
    next: u8,
    key_flags: u8,
}

/// Sets what every socket of ours has.
pub(super) fn common(socket: &impl AsFd, v6: bool) -> io::Result<()> {
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1i32)?;
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &TOS)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_TOS, &TOS)
    }
}

/// Sends what is written at once: messages are batched before they are written.
pub(super) fn no_delay(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32)
}

/// The port of a connection of ours is chosen when it connects, not when its address is bound.
pub(super) fn bind_address_no_port(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)
}

/// A listener that takes over from one just closed.
pub(super) fn reuse_address(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32)
}

/// How long our packets live, and how long those of the other side must have lived at most.
pub(super) fn distance(socket: &impl AsFd, v6: bool, distance: Distance) -> Result<(), TransportError> {
    let (ttl, least) = match distance {
        Distance::Multihop(hops) => (hops.max(1), 0),
        Distance::Within(hops) => (TTL_MAX, TTL_MAX - hops.max(1) + 1),
    };
    let (level, ttl_name, least_name, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, libc::IPV6_MINHOPCOUNT, "IPV6_MINHOPCOUNT")
    } else {
        (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_MINTTL, "IP_MINTTL")
    };
    set(socket, level, ttl_name, &i32::from(ttl)).map_err(TransportError::Socket)?;
    set(socket, level, least_name, &i32::from(least)).map_err(|e| lacking(option, "ttlSecurity", e))
}

/// What a listener answers with: GTSM's distance, for peers that ask for it; others do not mind.
pub(super) fn farthest_ttl(socket: &impl AsFd, v6: bool) -> Result<(), TransportError> {
    distance(socket, v6, Distance::Multihop(TTL_MAX))
}

/// Signs segments to and from `peers`; [`Authentication::None`] takes back what `old` said.
pub(super) fn authenticate(
    socket: &impl AsFd,
    peers: Prefix,
    old: &Authentication,
    new: &Authentication,
) -> Result<(), TransportError> {
    match old {
        Authentication::Md5(_) if !matches!(new, Authentication::Md5(_)) => {
            gone(md5(socket, peers, &[])).map_err(|e| key_error(peers, "TCP_MD5SIG", PASSWORD, e))?;
        }
        Authentication::Ao { send_id, receive_id, .. } if old != new => {
            gone(ao_delete(socket, peers, *send_id, *receive_id))
                .map_err(|e| key_error(peers, "TCP_AO_DEL_KEY", TCP_AO, e))?;
        }
        _ => {}
    }
    match new {
        Authentication::None => Ok(()),
        Authentication::Md5(key) if key.is_empty() || key.len() > KEY_MAX => {
            Err(TransportError::KeyLength { peers, len: key.len() })
        }
        Authentication::Md5(key) => {
            md5(socket, peers, key).map_err(|e| key_error(peers, "TCP_MD5SIG", PASSWORD, e))
        }
        Authentication::Ao { key, .. } if key.is_empty() || key.len() > KEY_MAX => {
            Err(TransportError::KeyLength { peers, len: key.len() })
        }
        Authentication::Ao { key, send_id, receive_id } => ao_add(socket, peers, key, *send_id, *receive_id)
            .map_err(|e| key_error(peers, "TCP_AO_ADD_KEY", TCP_AO, e)),
    }
}

fn md5(socket: &impl AsFd, peers: Prefix, key: &[u8]) -> io::Result<()> {
    let host = peers.len() == peers.family().bits();
    let (name, flags) = if host { (libc::TCP_MD5SIG, 0) } else { (libc::TCP_MD5SIG_EXT, MD5_FLAG_PREFIX) };
    let value = Md5Key {
        address: Address::new(peers.addr()),
        flags,
        prefix_len: if host { 0 } else { peers.len() },
        key_len: u16::try_from(key.len()).unwrap_or(u16::MAX),
        ifindex: 0,
        key: padded(key),
    };
    set(socket, libc::IPPROTO_TCP, name, &value)
}

fn ao_add(socket: &impl AsFd, peers: Prefix, key: &[u8], send_id: u8, receive_id: u8) -> io::Result<()> {
    let value = AoAdd {
        address: Address::new(peers.addr()),
        algorithm: padded(b"hmac(sha1)"),
        ifindex: 0,
        flags: 0,
        reserved: 0,
        prefix_len: peers.len(),
        send_id,
        receive_id,
        code_len: AO_CODE_LEN,
        key_flags: 0,
        key_len: u8::try_from(key.len()).unwrap_or(u8::MAX),
        key: padded(key),
    };
    set(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &value)
}

fn ao_delete(socket: &impl AsFd, peers: Prefix, send_id: u8, receive_id: u8) -> io::Result<()> {
    let value = AoDelete {
        address: Address::new(peers.addr()),
        ifindex: 0,
        flags: 0,
        reserved: 0,
        prefix_len: peers.len(),
        send_id,
        receive_id,
        current: 0,
        next: 0,
        key_flags: 0,
    };
    set(socket, libc::IPPROTO_TCP, TCP_AO_DEL_KEY, &value)
}

/// What shall go and is not there has gone.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn key_error(
    peers: Prefix,
    option: &'static str,
    wanted_by: &'static str,
    source: io::Error,
) -> TransportError {
    match source.raw_os_error() {
        Some(libc::ENOMEM) => TransportError::KeysExhausted { peers, source },
        _ => lacking(option, wanted_by, source),
    }
}

/// A kernel without an option says so in one of three ways.
fn lacking(option: &'static str, wanted_by: &'static str, source: io::Error) -> TransportError {
    match source.raw_os_error() {
        Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP | libc::ENOSYS) => {
            TransportError::Unsupported { option, wanted_by }
        }
        _ => TransportError::Option { option, source },
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    padded
}

/// `setsockopt` with a value of plain numbers.
#[allow(unsafe_code)]
fn set<T: Copy>(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the call, and the kernel reads `len` octets of a live value whose types have
    // no padding that is not written.
    let result = unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

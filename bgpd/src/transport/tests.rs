//! Real sockets on loopback: what one side sees of the other.

use super::*;
use bgp_session::RemoteAs;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::time::timeout;

/// Longer than any of this takes on a loaded machine; retransmissions after a lost SYN take one, then two seconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn md5(key: &str) -> Authentication {
    Authentication::Md5(key.as_bytes().to_vec())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(ip(addr), len.parse().unwrap()).unwrap()
}

/// A peer to connect to, from `local`.
fn peer(local: &str, remote: SocketAddr) -> Settings {
    let mut settings = Settings::new(64512, Ipv4Addr::new(10, 0, 0, 1), RemoteAs::Any, remote.ip());
    settings.local_address = Some(ip(local));
    settings.remote_port = remote.port();
    settings
}

/// A transport and what it has told that nobody has asked for yet.
struct Side {
    transport: Transport,
    told: VecDeque<Ready>,
}

impl Side {
    fn new() -> Self {
        Side { transport: Transport::new().unwrap(), told: VecDeque::new() }
    }

    fn listening(address: &str) -> (Self, SocketAddr) {
        let mut side = Side::new();
        let listener = side.transport.listen(SocketAddr::new(ip(address), 0)).unwrap();
        let address = side.transport.listens_at(listener).unwrap();
        (side, address)
    }

    /// Waits for the first thing that `pick` takes.
    async fn wait<T>(&mut self, pick: impl Fn(&Ready) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(at) = self.told.iter().position(|ready| pick(ready).is_some()) {
                    return pick(&self.told.remove(at).unwrap()).unwrap();
                }
                self.transport.ready(&mut self.told).await.unwrap();
            }
        };
        timeout(PATIENCE, found).await.expect("in time")
    }

    async fn accepted(&mut self) -> (SocketId, Endpoints) {
        self.wait(|ready| match ready {
            Ready::Accepted { socket, endpoints, .. } => Some((*socket, *endpoints)),
            _ => None,
        })
        .await
    }

    async fn connected(&mut self) -> (SocketId, Endpoints) {
        self.wait(|ready| match ready {
            Ready::Connected(socket, endpoints) => Some((*socket, *endpoints)),
            Ready::Failed(_, error) => panic!("{error}"),
            _ => None,
        })
        .await
    }

    async fn read(&mut self, id: SocketId, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let mut buffer = vec![0; len - bytes.len()];
            match self.transport.read(id, &mut buffer) {
                Ok(0) => break,
                Ok(read) => bytes.extend(&buffer[..read]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(|ready| matches!(ready, Ready::Readable(ready) if *ready == id).then_some(()))
                        .await;
                }
                Err(e) => panic!("{e}"),
            }
        }
        bytes
    }

    fn write(&mut self, id: SocketId, bytes: &[u8]) {
        assert_eq!(self.transport.write(id, &[IoSlice::new(bytes)]).unwrap(), bytes.len());
    }
}

/// Both sides at once: neither hears anything while only the other is waited for.
async fn joined(listening: &mut Side, connecting: &mut Side) -> (SocketId, SocketId) {
    let ((accepted, there), (connected, here)) =
        futures::future::join(listening.accepted(), connecting.connected()).await;
    assert_eq!((there.local, there.remote), (here.remote, here.local));
    (accepted, connected)
}

async fn talk(a: &mut Side, a_id: SocketId, b: &mut Side, b_id: SocketId) {
    a.write(a_id, b"ping");
    assert_eq!(b.read(b_id, 4).await, b"ping");
    b.write(b_id, b"pong");
    assert_eq!(a.read(a_id, 4).await, b"pong");
}

/// A counter of the kernel's, such as `TCPMD5Failure`.
fn counter(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names
        .split_whitespace()
        .position(|n| n == name)
        .unwrap_or_else(|| panic!("the kernel counts no {name}"));
    values.split_whitespace().nth(at).unwrap().parse().unwrap()
}

/// Waits until the kernel has counted one more than `before`, which it does when it drops a segment.
async fn dropped(name: &str, before: u64) {
    let counted = async {
        while counter(name) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("{name} stays at {before}"));
}

#[tokio::test]
async fn both_families_connect_from_the_address_asked_for() {
    for (local, at) in [("127.0.0.7", "127.0.0.1"), ("::1", "::1")] {
        let (mut there, address) = Side::listening(at);
        let mut here = Side::new();
        here.transport.connect(&peer(local, address)).unwrap();
        let (accepted, connected) = joined(&mut there, &mut here).await;
        talk(&mut there, accepted, &mut here, connected).await;
        here.transport.close(connected);
        assert_eq!(there.read(accepted, 1).await, b"", "the end");
        assert!(there.transport.stream(accepted).unwrap().nodelay().unwrap());
    }
}

#[tokio::test]
async fn one_wait_tells_of_everything_that_is_ready() {
    let (mut there, address) = Side::listening("127.0.0.1");
    let mut here = Side::new();
    let mut pairs = Vec::new();
    for _ in 0..100 {
        here.transport.connect(&peer("127.0.0.1", address)).unwrap();
        pairs.push(joined(&mut there, &mut here).await);
    }
    there.told.clear();
    pairs.iter().for_each(|(_, connected)| here.write(*connected, b"x"));
    timeout(PATIENCE, there.transport.ready(&mut there.told)).await.unwrap().unwrap();
    let readable = there.told.iter().filter(|ready| matches!(ready, Ready::Readable(_))).count();
    assert_eq!(readable, 100);
}

#[tokio::test]
async fn a_refused_connection_says_where() {
    let address = {
        let (_, address) = Side::listening("127.0.0.1");
        address
    };
    let mut here = Side::new();
    let id = here.transport.connect(&peer("127.0.0.1", address)).unwrap();
    let error = here
        .wait(|ready| match ready {
            Ready::Failed(failed, error) if *failed == id => Some(error.to_string()),
            _ => None,
        })
        .await;
    assert_eq!(error, format!("cannot connect to {address}: Connection refused (os error 111)"));
    assert!(here.transport.read(id, &mut [0]).is_err(), "the name is no longer in use");
}

#[tokio::test]
async fn an_address_of_somebody_else_cannot_be_bound() {
    let error = Side::new().transport.listen("192.0.2.1:179".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("192.0.2.1:179") && error.contains("address of this host"), "{error}");
    let error =
        Side::new().transport.connect(&peer("192.0.2.1", "127.0.0.1:1".parse().unwrap())).unwrap_err();
    assert!(matches!(error, TransportError::Bind { .. }), "{error}");
}

#[tokio::test]
async fn a_full_socket_tells_when_it_takes_more() {
    let (mut there, address) = Side::listening("127.0.0.1");
    let mut here = Side::new();
    here.transport.connect(&peer("127.0.0.1", address)).unwrap();
    let (accepted, connected) = joined(&mut there, &mut here).await;
    let chunk = vec![7; 1 << 16];
    let mut written = 0;
    loop {
        match here.transport.write(connected, &[IoSlice::new(&chunk), IoSlice::new(&chunk)]) {
            Ok(more) => written += more,
            Err(e) => break assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
        }
    }
    let writable = here.wait(|ready| matches!(ready, Ready::Writable(id) if *id == connected).then_some(()));
    let (read, ()) = futures::future::join(there.read(accepted, written), writable).await;
    assert_eq!(read.len(), written);
    assert!(read.iter().all(|byte| *byte == 7));
    here.write(connected, b"more");
    assert_eq!(there.read(accepted, 4).await, b"more");
}

#[tokio::test]
async fn last_words_arrive_although_nobody_read_what_came() {
    let (mut there, address) = Side::listening("127.0.0.1");
    let mut here = Side::new();
    here.transport.connect(&peer("127.0.0.1", address)).unwrap();
    let (accepted, connected) = joined(&mut there, &mut here).await;
    here.write(connected, &[1; 10_000]);
    there.wait(|ready| matches!(ready, Ready::Readable(_)).then_some(())).await;
    there.write(accepted, b"NOTIFICATION");
    there.transport.close(accepted);
    assert_eq!(here.read(connected, 100).await, b"NOTIFICATION");
}

#[tokio::test]
async fn a_closed_name_is_not_the_next_sockets() {
    let (mut there, address) = Side::listening("127.0.0.1");
    let mut here = Side::new();
    here.transport.connect(&peer("127.0.0.1", address)).unwrap();
    let (_, old) = joined(&mut there, &mut here).await;
    here.transport.close(old);
    here.transport.connect(&peer("127.0.0.1", address)).unwrap();
    let (_, new) = joined(&mut there, &mut here).await;
    assert_ne!(old, new);
    assert_eq!(here.transport.read(old, &mut [0]).unwrap_err().kind(), io::ErrorKind::NotConnected);
}

#[tokio::test]
async fn the_same_key_lets_a_peer_in() {
    for (local, at) in [("127.0.0.8", "127.0.0.1"), ("::1", "::1")] {
        let (mut there, address) = Side::listening(at);
        there.transport.authenticate(Prefix::host(ip(local)), &md5("secret")).unwrap();
        let mut here = Side::new();
        let settings = Settings { authentication: md5("secret"), ..peer(local, address) };
        here.transport.connect(&settings).unwrap();
        let (accepted, connected) = joined(&mut there, &mut here).await;
        talk(&mut there, accepted, &mut here, connected).await;
    }
}

#[tokio::test]
async fn another_key_or_none_does_not() {
    for authentication in [md5("wrong"), Authentication::None] {
        let (mut there, address) = Side::listening("127.0.0.1");
        there.transport.authenticate(prefix("127.0.1.1/32"), &md5("secret")).unwrap();
        let mut here = Side::new();
        let name = if authentication == Authentication::None { "TCPMD5NotFound" } else { "TCPMD5Failure" };
        let before = counter(name);
        let settings = Settings { authentication, ..peer("127.0.1.1", address) };
        let stranger = here.transport.connect(&settings).unwrap();
        dropped(name, before).await;
        // one who knows the key, and whose SYN came later, is let in first
        here.transport.connect(&Settings { authentication: md5("secret"), ..settings }).unwrap();
        let (_, connected) = joined(&mut there, &mut here).await;
        assert_ne!(connected, stranger);
    }
}

#[tokio::test]
async fn a_key_of_a_prefix_is_for_all_who_come_from_it_but_those_with_their_own() {
    for (range, own, local, other, at) in
        [("127.0.2.0/24", "127.0.2.9/32", "127.0.2.5", "127.0.2.9", "127.0.0.1")]
    {
        let (mut there, address) = Side::listening(at);
        there.transport.authenticate(prefix(range), &md5("of all")).unwrap();
        there.transport.authenticate(prefix(own), &md5("of one")).unwrap();
        let mut here = Side::new();
        for (local, key) in [(local, "of all"), (other, "of one")] {
            here.transport.connect(&Settings { authentication: md5(key), ..peer(local, address) }).unwrap();
            let (accepted, connected) = joined(&mut there, &mut here).await;
            talk(&mut there, accepted, &mut here, connected).await;
        }
        // the key of all changes: it is not that of the one
        let before = counter("TCPMD5Failure");
        there.transport.authenticate(prefix(range), &md5("another")).unwrap();
        here.transport.connect(&Settings { authentication: md5("of all"), ..peer(local, address) }).unwrap();
        dropped("TCPMD5Failure", before).await;
        here.transport.connect(&Settings { authentication: md5("of one"), ..peer(other, address) }).unwrap();
        joined(&mut there, &mut here).await;
    }
}

#[tokio::test]
async fn a_running_connection_takes_another_key() {
    let (mut there, address) = Side::listening("127.0.0.1");
    there.transport.authenticate(prefix("127.0.3.1/32"), &md5("old")).unwrap();
    let mut here = Side::new();
    here.transport.authenticate(prefix("127.0.0.1/32"), &md5("old")).unwrap();
    here.transport.connect(&Settings { authentication: md5("old"), ..peer("127.0.3.1", address) }).unwrap();
    let (accepted, connected) = joined(&mut there, &mut here).await;
    talk(&mut there, accepted, &mut here, connected).await;

    let before = counter("TCPMD5Failure");
    there.transport.authenticate(prefix("127.0.3.1/32"), &md5("new")).unwrap();
    here.write(connected, b"signed with the old key");
    dropped("TCPMD5Failure", before).await;
    assert_eq!(there.transport.read(accepted, &mut [0; 100]).unwrap_err().kind(), io::ErrorKind::WouldBlock);

    here.transport.authenticate(prefix("127.0.0.1/32"), &md5("new")).unwrap();
    assert_eq!(there.read(accepted, 23).await, b"signed with the old key", "TCP says it again");
    talk(&mut there, accepted, &mut here, connected).await;

    there.transport.authenticate(prefix("127.0.3.1/32"), &Authentication::None).unwrap();
    here.transport.authenticate(prefix("127.0.0.1/32"), &Authentication::None).unwrap();
    talk(&mut there, accepted, &mut here, connected).await;
}

#[tokio::test]
async fn a_listener_made_later_knows_the_keys() {
    let mut there = Side::new();
    there.transport.authenticate(prefix("127.0.4.1/32"), &md5("secret")).unwrap();
    there.transport.authenticate(prefix("::1/128"), &md5("secret")).unwrap();
    let listener = there.transport.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = there.transport.listens_at(listener).unwrap();
    let mut here = Side::new();
    here.transport
        .connect(&Settings { authentication: md5("secret"), ..peer("127.0.4.1", address) })
        .unwrap();
    joined(&mut there, &mut here).await;
}

#[tokio::test]
async fn a_key_the_kernel_cannot_take_is_named() {
    let (mut there, _) = Side::listening("127.0.0.1");
    for key in ["".to_owned(), "x".repeat(81)] {
        let error = there.transport.authenticate(prefix("127.0.0.9/32"), &md5(&key)).unwrap_err().to_string();
        assert!(
            error.contains("127.0.0.9/32") && error.contains(&format!("{} octets", key.len())),
            "{error}"
        );
    }
    let mut error = None;
    for host in 0..=u16::MAX {
        let [high, low] = host.to_be_bytes();
        let peer = Prefix::host(Ipv4Addr::new(127, 9, high, low).into());
        if let Err(e) = there.transport.authenticate(peer, &md5("secret")) {
            error = Some(e.to_string());
            break;
        }
    }
    let error = error.expect("a socket has room for fewer keys than that");
    assert!(error.contains("net.core.optmem_max"), "{error}");
}

#[tokio::test]
async fn a_peer_whose_key_cannot_be_set_is_not_let_in_without_one() {
    let (mut there, address) = Side::listening("127.0.0.1");
    let too_long = md5(&"x".repeat(81));
    assert!(there.transport.authenticate(prefix("127.0.7.1/32"), &too_long).is_err());
    let mut here = Side::new();
    here.transport.connect(&peer("127.0.7.1", address)).unwrap();
    let (refused, _) = here.connected().await;
    here.transport.connect(&peer("127.0.7.2", address)).unwrap();
    let (_, other) = joined(&mut there, &mut here).await;
    assert_ne!(refused, other, "who comes without a key to set is");
    assert_eq!(here.read(refused, 1).await, b"", "closed");

    there.transport.authenticate(prefix("127.0.7.1/32"), &md5("short enough")).unwrap();
    let known = Settings { authentication: md5("short enough"), ..peer("127.0.7.1", address) };
    here.transport.connect(&known).unwrap();
    joined(&mut there, &mut here).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_set_is_told_before_there_is_a_listener() {
    let mut there = Side::new();
    assert!(there.transport.authenticate(prefix("127.0.7.3/32"), &md5("")).is_err());
    there.transport.listen("127.0.0.1:0".parse().unwrap()).unwrap();
}

#[tokio::test]
async fn tcp_ao_works_or_the_kernel_is_said_to_lack_it() {
    let ao = Authentication::Ao { key: b"secret".to_vec(), send_id: 1, receive_id: 1 };
    let (mut there, address) = Side::listening("127.0.0.1");
    let mut here = Side::new();
    let settings = Settings { authentication: ao.clone(), ..peer("127.0.5.1", address) };
    match there.transport.authenticate(prefix("127.0.5.1/32"), &ao) {
        Ok(()) => {
            here.transport.connect(&settings).unwrap();
            let (accepted, connected) = joined(&mut there, &mut here).await;
            talk(&mut there, accepted, &mut here, connected).await;
        }
        Err(error) => {
            let text = error.to_string();
            assert!(matches!(error, TransportError::Unsupported { option: "TCP_AO_ADD_KEY", .. }), "{text}");
            assert!(text.contains("bgp.ocicat.io/tcp-ao") && text.contains("stays down"), "{text}");
            let error = here.transport.connect(&settings).unwrap_err();
            assert!(matches!(error, TransportError::Unsupported { .. }), "never in the clear: {error}");
        }
    }
}

#[tokio::test]
async fn what_comes_from_too_far_is_dropped() {
    for (local, at) in [("127.0.6.1", "127.0.0.1"), ("::1", "::1")] {
        let (mut there, address) = Side::listening(at);
        let mut here = Side::new();
        let far = Settings { distance: Distance::Multihop(250), ..peer(local, address) };
        here.transport.connect(&far).unwrap();
        let (accepted, connected) = joined(&mut there, &mut here).await;
        talk(&mut there, accepted, &mut here, connected).await;
        there.transport.set_distance(accepted, Distance::Within(1)).unwrap();
        let before = counter("TCPMinTTLDrop");
        here.write(connected, b"from afar");
        dropped("TCPMinTTLDrop", before).await;
        assert_eq!(
            there.transport.read(accepted, &mut [0; 100]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        // TTL 250 has come through five routers at most
        there.transport.set_distance(accepted, Distance::Within(6)).unwrap();
        assert_eq!(there.read(accepted, 9).await, b"from afar");
    }
}

#[tokio::test]
async fn a_gtsm_peer_hears_a_listener_that_knows_nothing_of_it_yet() {
    let (mut there, address) = Side::listening("127.0.0.1");
    let mut here = Side::new();
    here.transport
        .connect(&Settings { distance: Distance::Within(1), ..peer("127.0.6.2", address) })
        .unwrap();
    let (accepted, connected) = joined(&mut there, &mut here).await;
    there.transport.set_distance(accepted, Distance::Within(1)).unwrap();
    talk(&mut there, accepted, &mut here, connected).await;
}

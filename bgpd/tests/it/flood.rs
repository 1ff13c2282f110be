//! The whole daemon on loopback: a neighbour that never stops talking keeps nobody else waiting.

use bgp_wire::{AsPath, Attributes, Capability, Codec, Family, Nlri, Open, Origin, Prefix, UpdateEncoder};
use bgpd::client::Client;
use bgpd::{Config, RouterId};
use datastore::directory::DirectoryStore;
use kernel::memory::World;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};
use observe::health::Health;
use observe::shutdown::Shutdown;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// The neighbour.
const NEIGHBOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEIGHBOR_AS: u32 = 65001;

fn resources(port: u16) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: tor}}\nspec: {{bgp: {{ipv4Address: 192.0.2.1/32}}}}\n\
         ---\napiVersion: projectcalico.org/v3\nkind: BGPConfiguration\n\
         metadata: {{name: default, annotations: {{bgp.ocicat.io/listen-addresses: 127.0.0.1}}}}\n\
         spec: {{nodeToNodeMeshEnabled: false, listenPort: {port}}}\n\
         ---\napiVersion: projectcalico.org/v3\nkind: BGPPeer\n\
         metadata: {{name: p, annotations: {{bgp.ocicat.io/passive: \"true\"}}}}\n\
         spec: {{peerIP: {NEIGHBOR}, asNumber: {NEIGHBOR_AS}, sourceAddress: None}}\n"
    )
}

/// Runs a speaker on a thread and runtime of its own, as the program does.
fn speaker(resources: PathBuf, socket: PathBuf, shutdown: Shutdown) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = DirectoryStore::open(&resources).await.unwrap();
            let config = Config {
                node: "tor".to_owned(),
                problems: Some(store.problems()),
                store: Arc::new(store),
                source: "files".to_owned(),
                snapshot: None,
                kernel: Arc::new(World::new().unwrap().host()),
                programs_kernel: false,
                secrets: resources.join("secrets"),
                endpoint_status: resources.join("status"),
                socket,
                router_id: RouterId::Address,
                health: Health::default(),
            };
            bgpd::run(config, shutdown).await.unwrap();
        });
    })
}

fn connect(port: u16) -> nix::Result<TcpStream> {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(NEIGHBOR, 0)))?;
    socket::connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))?;
    Ok(TcpStream::from(socket))
}

/// A session with the speaker; its OPEN is answered, and the rest of what it says is thrown away.
fn neighbor(port: u16) -> TcpStream {
    let begun = Instant::now();
    let mut stream = loop {
        match connect(port) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "nobody listens at {port}: {error}"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    let mut hello = Vec::new();
    let capabilities =
        vec![Capability::Multiprotocol(Family::Ipv4Unicast.into()), Capability::FourOctetAs(NEIGHBOR_AS)];
    Open::new(NEIGHBOR_AS, 240, NEIGHBOR, capabilities).encode(&mut hello);
    bgp_wire::keepalive(&mut hello);
    stream.write_all(&hello).unwrap();
    let mut sink = stream.try_clone().unwrap();
    thread::spawn(move || while sink.read(&mut [0; 65536]).is_ok_and(|read| read > 0) {});
    stream
}

/// A thousand routes announced one by one and withdrawn again, as often as fits a write.
fn noise() -> Vec<u8> {
    let (mut encoder, codec, mut out) = (UpdateEncoder::new(), Codec::default(), Vec::new());
    let path = AsPath::empty().prepend(NEIGHBOR_AS, 1);
    let attributes = Attributes::new(Origin::Igp, path, IpAddr::V4(NEIGHBOR));
    for n in 0..1000u32 {
        let address = Ipv4Addr::from(0x0a00_0000 + (n << 8));
        let route = Nlri { path_id: 0, prefix: Prefix::new(IpAddr::V4(address), 24).unwrap() };
        encoder.announce(&attributes, Family::Ipv4Unicast, &codec, [route], &mut out).unwrap();
        encoder.withdraw(Family::Ipv4Unicast, &codec, [route], &mut out);
    }
    out
}

async fn asked(socket: &Path) -> u64 {
    let mut client = Client::dial(socket).await.unwrap();
    client.status().await.unwrap().paths
}

#[test]
fn a_flood_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (files, socket) = (folder.path().join("resources"), folder.path().join("bgpd.sock"));
    std::fs::create_dir(&files).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(files.join("all.yaml"), resources(port)).unwrap();
    let shutdown = Shutdown::default();
    let speaker = speaker(files, socket.clone(), shutdown.clone());
    let mut stream = neighbor(port);
    let over = Arc::new(AtomicBool::new(false));
    let flood = thread::spawn({
        let (over, noise) = (Arc::clone(&over), noise());
        move || {
            let mut written = 0u64;
            while !over.load(Ordering::Relaxed) {
                stream.write_all(&noise).unwrap();
                written += noise.len() as u64;
            }
            written
        }
    });
    let answers =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let fifty = async {
                for _ in 0..50 {
                    asked(&socket).await;
                }
            };
            tokio::time::timeout(PATIENCE, fifty).await
        });
    over.store(true, Ordering::Relaxed);
    let written = flood.join().unwrap();
    shutdown.trigger("test over");
    speaker.join().unwrap();
    assert!(written > 1 << 20, "only {written} octets: that was no flood");
    answers.expect("fifty answers while the neighbour talks");
}

//! The other nodes of the rack: speakers on one thread outside the host's namespace, on its link.

use crate::bgp::generator::{Generator, Speaker};
use crate::bgp::message::{self, Attributes};
use crate::bgp::table::Table;
use crate::felix::PATIENCE;
use crate::felix::host::Host;
use crate::felix::state::{BLOCK_PREFIX, NODE_PREFIX, State, block_address, node_address};
use anyhow::{Context, Result, anyhow};
use ocicat_tests::process::{tool, wait_for};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// AS number of all nodes, Calico's default.
const AS: u32 = 64512;

/// How often the end is looked for.
const TURN: Duration = Duration::from_millis(500);

/// They have addresses, and say nothing.
#[derive(Debug)]
pub struct Peers(State);

/// They speak until [`Speaking::end`].
#[derive(Debug)]
pub struct Speaking {
    routes: usize,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Peers {
    /// Gives the host and the other nodes of its rack their addresses.
    ///
    /// # Errors
    /// Those of `ip`.
    pub fn wire(host: &Host, state: State) -> Result<Self> {
        let ip = |line: &str| tool("ip", &line.split_whitespace().collect::<Vec<_>>());
        let link = host.uplink();
        ip(&format!("-n {} addr add {}/{NODE_PREFIX} dev eth0", host.name(), node_address(0)))?;
        // an address of the same prefix, so that the node is reached on the link
        let last = Ipv4Addr::from(u32::from(node_address(0)) | 0x1_ffff);
        ip(&format!("addr add {}/{NODE_PREFIX} dev {link}", Ipv4Addr::from(u32::from(last) - 1)))?;
        for peer in 1..=state.rack {
            ip(&format!("route add local {}/32 dev {link} table local", node_address(peer)))?;
        }
        Ok(Self(state))
    }

    /// Opens all sessions; each peer announces its own block and, as a reflector does, its part of those of nodes elsewhere.
    ///
    /// # Errors
    /// A session does not come up.
    pub fn speak(self) -> Result<Speaking> {
        let State { rack, blocks, .. } = self.0;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let (up, is_up) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let speakers: Vec<Speaker> = (1..=rack)
                .map(|peer| Speaker { address: node_address(peer), asn: AS, own: (0, 0) })
                .collect();
            let router = SocketAddrV4::new(node_address(0), 179);
            let mut generator = Generator::new(router, Table::BLOCKS, &speakers)?;
            generator.establish(0..rack, Instant::now() + PATIENCE)?;
            for (peer, speaker) in speakers.iter().enumerate() {
                generator.send(peer, &announcement(speaker.address, (peer..blocks).step_by(rack)))?;
            }
            up.send(())?;
            while !asked.load(Ordering::Relaxed) {
                generator.idle(TURN)?;
            }
            Ok(())
        });
        match is_up.recv() {
            Ok(()) => Ok(Speaking { routes: blocks, stop, thread }),
            Err(_) => match thread.join() {
                Ok(result) => result.and(Err(anyhow!("the peers ended"))).context("peers"),
                Err(panic) => std::panic::resume_unwind(panic),
            },
        }
    }
}

impl Speaking {
    /// Waits until the host has all their routes.
    ///
    /// # Errors
    /// Not in time.
    pub fn heard(&self, host: &Host) -> Result<()> {
        wait_for("routes to all blocks", PATIENCE, || {
            let routes = tool("ip", &["-n", host.name(), "-o", "route", "show", "proto", "81"]).ok()?;
            (routes.lines().count() == self.routes).then_some(())
        })
    }

    /// Ends all sessions.
    ///
    /// # Errors
    /// One has ended before.
    pub fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the peers panicked"))?.context("peers")
    }
}

fn announcement(next_hop: Ipv4Addr, blocks: impl Iterator<Item = usize>) -> Rc<[u8]> {
    let attributes =
        Attributes { as_path: vec![], next_hop, med: 0, local_pref: Some(100), communities: vec![] };
    let mut nlri = Vec::new();
    for block in blocks {
        nlri.push(BLOCK_PREFIX);
        nlri.extend(block_address(block).octets());
    }
    message::announce(&attributes.bytes(), &nlri).into()
}

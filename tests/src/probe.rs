//! A thousand packets a second, and how many of them got lost, and when.
//!
//! The prober sends numbered UDP datagrams to an echo server and notes which come back. What is in flight when a change is
//! made under it (a restart, a route replaced, a policy applied) shows as gaps.

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time between two probes.
pub const INTERVAL: Duration = Duration::from_millis(1);

/// Octets of what waits for its reader: a thread that gets no processor for seconds loses nothing.
const BUFFER: usize = 8 << 20;

/// How long an answer may take before its probe counts as lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends every datagram back to whoever sent it, until dropped.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Listens at `address` in the calling thread's namespace.
    ///
    /// # Errors
    /// The address is taken or not here.
    pub fn start(address: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(address).with_context(|| format!("listen at {address}"))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).context("a receive buffer")?;
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut datagram = [0; 64];
            while !asked.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                    let _ = socket.send_to(datagram.get(..length).unwrap_or_default(), from);
                }
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What came of a run of probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Losses {
    /// Probes sent.
    pub sent: u64,
    /// Runs of lost ones: number of the first and how many.
    pub gaps: Vec<(u64, u64)>,
}

impl Losses {
    fn new(sent: u64, answered: &BTreeSet<u64>) -> Self {
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for number in (0..sent).filter(|number| !answered.contains(number)) {
            match gaps.last_mut() {
                Some((first, count)) if *first + *count == number => *count += 1,
                _ => gaps.push((number, 1)),
            }
        }
        Self { sent, gaps }
    }

    /// Probes lost.
    pub fn lost(&self) -> u64 {
        self.gaps.iter().map(|(_, count)| count).sum()
    }

    /// The longest time without an answer.
    pub fn longest(&self) -> Duration {
        let longest = self.gaps.iter().map(|(_, count)| *count).max().unwrap_or(0);
        INTERVAL * u32::try_from(longest).unwrap_or(u32::MAX)
    }
}

/// A running series of probes.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Losses>>,
}

impl Probe {
    /// Starts probing `target` from the calling thread's namespace.
    ///
    /// # Errors
    /// No socket can be made, or nothing leads to the target.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(target).with_context(|| format!("probe {target}"))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).context("a receive buffer")?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || series(&socket, &asked));
        Ok(Self { stop, thread })
    }

    /// Stops sending, waits for late answers, and counts.
    ///
    /// # Errors
    /// The socket failed.
    pub fn finish(self) -> Result<Losses> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(losses) => losses,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn series(socket: &UdpSocket, stop: &AtomicBool) -> Result<Losses> {
    let started = Instant::now();
    let mut answered = BTreeSet::new();
    let mut sent = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        // Late by one sleep is late by all missed intervals: they are sent at once, the rate holds.
        let due = started.elapsed().as_micros() / INTERVAL.as_micros() + 1;
        while u128::from(sent) < due {
            // A refused or unreachable target is a lost probe, which is what is counted.
            let _ = socket.send(&sent.to_be_bytes());
            sent += 1;
        }
        receive(socket, &mut answered)?;
        thread::sleep(INTERVAL);
    }
    let stopped = Instant::now();
    while (answered.len() as u64) < sent && stopped.elapsed() < PATIENCE {
        receive(socket, &mut answered)?;
        thread::sleep(INTERVAL);
    }
    Ok(Losses::new(sent, &answered))
}

fn receive(socket: &UdpSocket, answered: &mut BTreeSet<u64>) -> Result<()> {
    let mut number = [0; 8];
    loop {
        match socket.recv(&mut number) {
            Ok(8) => drop(answered.insert(u64::from_be_bytes(number))),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // What came back for an earlier probe: "nobody listens there", "no way there".
            Err(error) if refused(error.kind()) => {}
            Err(error) => return Err(error).context("receive an answer"),
        }
    }
}

fn refused(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::wait_for;

    fn run_until(probe: Probe, enough: Duration) -> Losses {
        let started = Instant::now();
        wait_for("enough probes", Duration::from_secs(30), || (started.elapsed() > enough).then_some(()))
            .unwrap();
        probe.finish().unwrap()
    }

    #[test]
    fn nothing_is_lost_on_a_path_that_works() {
        let echo = Echo::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let losses = run_until(Probe::start(echo.address()).unwrap(), Duration::from_millis(300));
        assert!(losses.sent >= 250, "only {} sent", losses.sent);
        assert_eq!(losses.lost(), 0, "{losses:?}");
    }

    #[test]
    fn an_outage_is_one_gap() {
        let echo = Echo::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = echo.address();
        let probe = Probe::start(address).unwrap();
        let pause = |time: Duration| {
            let start = Instant::now();
            wait_for("a while", Duration::from_secs(30), || (start.elapsed() > time).then_some(())).unwrap();
        };
        pause(Duration::from_millis(100));
        drop(echo);
        pause(Duration::from_millis(150));
        let echo = Echo::start(address).unwrap();
        pause(Duration::from_millis(100));
        let losses = probe.finish().unwrap();
        drop(echo);
        assert!(losses.longest() >= Duration::from_millis(100), "{losses:?}");
        assert!(losses.lost() < losses.sent, "{losses:?}");
    }

    #[test]
    fn nobody_there_is_everything_lost() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        drop(taken);
        let losses = run_until(Probe::start(address).unwrap(), Duration::from_millis(30));
        assert_eq!(losses.lost(), losses.sent);
    }

    #[test]
    fn gaps_are_runs() {
        let answered = [0, 1, 4, 6].into();
        let losses = Losses::new(8, &answered);
        assert_eq!(losses.gaps, [(2, 2), (5, 1), (7, 1)]);
        assert_eq!((losses.lost(), losses.longest()), (4, Duration::from_millis(2)));
    }
}

//! When a verdict changes: 2,000 UDP probes a second from one workload to another, each a new flow.
//!
//! The kernel judges each probe while it is sent. So the first probe with the new verdict that was sent at `t` says that the
//! new policy was in force at `t`.

use super::host::Host;
use super::realtime;
use super::state::{CLIENT, PROBE_PORT, SERVER, address};
use anyhow::{Context, Result, bail};
use ocicat_tests::sandbox::in_netns;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time between two probes.
const INTERVAL: Duration = Duration::from_micros(500);

/// How late a probe may arrive, and so how old it must be before it counts as dropped.
const LATE: Duration = Duration::from_millis(5);

/// Probes in a row that must have the new verdict.
const RUN: usize = 8;

/// Source ports, each a flow.
const PORTS: std::ops::Range<u16> = 10_000..60_000;

/// A running series of probes.
#[derive(Debug)]
pub struct Verdicts {
    series: Arc<Mutex<Series>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Series {
    /// When each probe was sent.
    sent: Vec<Instant>,
    /// Which have arrived.
    arrived: Vec<bool>,
}

impl Series {
    /// When the first probe was sent, of those sent at `from` or later, that has the verdict together with the [`RUN`] that
    /// follow it.
    fn first(&self, from: Instant, allowed: bool, now: Instant) -> Option<Instant> {
        let begin = self.sent.partition_point(|&sent| sent < from);
        let mut run = 0;
        for (n, &sent) in self.sent.iter().enumerate().skip(begin) {
            let arrived = self.arrived.get(n).copied().unwrap_or(false);
            if !arrived && now.duration_since(sent) < LATE {
                return None;
            }
            run = if arrived == allowed { run + 1 } else { 0 };
            if run == RUN {
                return self.sent.get(n + 1 - RUN).copied();
            }
        }
        None
    }
}

impl Verdicts {
    /// Starts probing on a host.
    ///
    /// # Errors
    /// A namespace or socket cannot be had.
    pub fn start(host: &Host) -> Result<Self> {
        let series = Arc::new(Mutex::new(Series::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let to = SocketAddr::from((address(SERVER), PROBE_PORT));
        let socket = in_netns(&host.server(), || UdpSocket::bind(to))?.context("the probes' receiver")?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let receiver = {
            let (series, stop) = (Arc::clone(&series), Arc::clone(&stop));
            thread::spawn(move || receive(&socket, &series, &stop))
        };
        let sender = {
            let (series, stop, client) = (Arc::clone(&series), Arc::clone(&stop), host.client());
            thread::spawn(move || in_netns(&client, || send(to, &series, &stop))?)
        };
        Ok(Self { series, stop, threads: vec![receiver, sender] })
    }

    /// Time from `from` until the verdict is this one.
    ///
    /// # Errors
    /// It is not within `patience`.
    pub fn wait(&self, from: Instant, allowed: bool, patience: Duration) -> Result<Duration> {
        loop {
            let found = lock(&self.series).first(from, allowed, Instant::now());
            if let Some(sent) = found {
                return Ok(sent.duration_since(from));
            }
            if let Some(thread) = self.threads.iter().find(|thread| thread.is_finished()) {
                bail!("a thread of the probes has ended: {:?}", thread.thread().id());
            }
            if from.elapsed() > patience {
                let word = if allowed { "allowed" } else { "denied" };
                bail!("probes are not {word} {patience:.1?} after the policy was written");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Verdicts {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                println!("probes: {error:#}");
            }
        }
    }
}

fn lock(series: &Mutex<Series>) -> MutexGuard<'_, Series> {
    series.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(to: SocketAddr, series: &Mutex<Series>, stop: &AtomicBool) -> Result<()> {
    realtime::raise()?;
    let mut due = Instant::now();
    let mut ports = PORTS.cycle();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let port = ports.next().unwrap_or_default();
        let socket = UdpSocket::bind((address(CLIENT), port)).context("a probe's socket")?;
        let sent = Instant::now();
        lock(series).sent.push(sent);
        // A refused probe is one that did not arrive.
        let _ = socket.send_to(&number.to_be_bytes(), to);
        number += 1;
        // A sender that was held up goes on at the usual rate: a burst would say nothing new.
        due = (due + INTERVAL).max(sent);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn receive(socket: &UdpSocket, series: &Mutex<Series>, stop: &AtomicBool) -> Result<()> {
    realtime::raise()?;
    let mut number = [0; 8];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(8) = socket.recv(&mut number) {
            let n = usize::try_from(u64::from_be_bytes(number))?;
            let mut series = lock(series);
            let arrived = &mut series.arrived;
            if arrived.len() <= n {
                arrived.resize(n + 1, false);
            }
            if let Some(arrived) = arrived.get_mut(n) {
                *arrived = true;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_run_counts_and_late_ones_are_waited_for() {
        let begun = Instant::now();
        let at = |n: u32| begun + INTERVAL * n;
        let series = Series {
            sent: (0..60).map(at).collect(),
            arrived: (0..60).map(|n| n == 22 || n >= 30).collect(),
        };
        let later = at(60) + LATE;
        assert_eq!(series.first(at(10), true, later), Some(at(30)));
        assert_eq!(series.first(at(35), true, later), Some(at(35)));
        assert_eq!(series.first(at(10), false, later), Some(at(10)));
        // number 22 broke the run that began with 18
        assert_eq!(series.first(at(18), false, later), None);
        assert_eq!(series.first(at(10), false, at(17)), None);
    }
}

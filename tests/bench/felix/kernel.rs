//! What reaches nf_tables of a host: each committed batch, and what it changed.

use super::host::Host;
use anyhow::{Context, Result, anyhow};
use futures::StreamExt;
use kernel::{Netns, NftEvent, Nftables};
use netfilter::nft::Object;
use ocicat_tests::sandbox::in_netns;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// One change of nf_tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// Elements of a set or map.
    Elements,
    /// A set, chain, rule or table.
    Structure,
    /// Events were lost.
    Unknown,
}

/// Follows the changes of one host.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Vec<(Instant, Touched)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Watch {
    /// Begins to follow.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn start(host: &Host) -> Result<Self> {
        let nft = open(host)?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            thread::spawn(move || follow(&nft, &seen, &stop))
        };
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// Waits for the first change after `from` and until nothing has come for `quiet`; returns the time from `from` to the
    /// last change, and what was touched.
    ///
    /// # Errors
    /// Nothing changes within `patience`.
    pub fn settled(
        &self,
        from: Instant,
        quiet: Duration,
        patience: Duration,
    ) -> Result<(Duration, Vec<Touched>)> {
        loop {
            {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                let begin = seen.partition_point(|&(at, _)| at < from);
                let new = seen.get(begin..).unwrap_or_default();
                if let Some((last, _)) = new.last().filter(|(last, _)| last.elapsed() > quiet) {
                    let touched = new.iter().map(|&(_, touched)| touched).collect();
                    return Ok((last.duration_since(from), touched));
                }
            }
            if from.elapsed() > patience {
                return Err(anyhow!("nf_tables did not change within {patience:.1?}"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Waits until batches have been committed after `from` and none for `quiet`; returns the time from `from` to the last. For
/// changes that are more than a socket holds events of.
///
/// # Errors
/// Nothing is committed within `patience`.
pub fn last_commit(
    host: &Host,
    before: u32,
    from: Instant,
    quiet: Duration,
    patience: Duration,
) -> Result<Duration> {
    let mut nft = open(host)?;
    let (mut known, mut last) = (before, None);
    loop {
        let now = nft.generation()?;
        if now != known {
            (known, last) = (now, Some(Instant::now()));
        }
        if let Some(last) = last.filter(|last: &Instant| last.elapsed() > quiet) {
            return Ok(last.duration_since(from));
        }
        if from.elapsed() > patience {
            return Err(anyhow!("nf_tables did not come to rest within {patience:.1?}"));
        }
        thread::sleep(Duration::from_micros(500));
    }
}

/// The number that each committed batch raises.
///
/// # Errors
/// The kernel's.
pub fn generation(host: &Host) -> Result<u32> {
    Ok(open(host)?.generation()?)
}

fn open(host: &Host) -> Result<Nftables> {
    Ok(in_netns(host.name(), || Nftables::open(&Netns::current()?))??)
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            println!("watching nf_tables: {error:#}");
        }
    }
}

fn follow(nft: &Nftables, seen: &Mutex<Vec<(Instant, Touched)>>, stop: &AtomicBool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut events = nft.events().context("events of nf_tables")?;
        while !stop.load(Ordering::Relaxed) {
            let Ok(event) = tokio::time::timeout(Duration::from_millis(50), events.next()).await else {
                continue;
            };
            let touched = match event.context("events of nf_tables ended")? {
                NftEvent::Overrun => Touched::Unknown,
                NftEvent::Change { object: Object::Elements { .. }, .. } => Touched::Elements,
                NftEvent::Change { object: Object::Generation { .. }, .. } => continue,
                NftEvent::Change { .. } => Touched::Structure,
            };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), touched));
        }
        Ok(())
    })
}

//! Threads that measure are not to be held up by the work of others on the machine.

use anyhow::Result;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};
use ocicat_tests::process::tool;

/// Gives the calling thread `SCHED_FIFO`, above all ordinary work.
///
/// # Errors
/// `chrt` is missing or refuses.
pub fn raise() -> Result<()> {
    tool("chrt", &["--fifo", "--pid", "50", &gettid().to_string()]).map(drop)
}

/// Keeps the calling thread on the last processor: what it sends to itself is then received there too.
///
/// # Errors
/// The kernel refuses.
pub fn pin() -> Result<()> {
    let count = std::thread::available_parallelism()?.get();
    let mut set = CpuSet::new();
    set.set(count.saturating_sub(1))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

//! What `/proc` says of processes: memory and processor time.

use anyhow::{Context, Result};
use std::fs;

/// A size of `/proc/PID/status` in MB (10^6 bytes), of all these processes: `VmHWM`, `VmRSS`. What they share counts for each.
///
/// # Errors
/// One has ended.
pub fn memory(pids: &[u32], what: &str) -> Result<f64> {
    total(pids, |pid| size(&proc(pid, "status")?, what))
}

/// Memory of all these processes in MB (10^6 bytes), what they share counted once.
///
/// # Errors
/// One has ended.
pub fn proportional(pids: &[u32]) -> Result<f64> {
    total(pids, |pid| size(&proc(pid, "smaps_rollup")?, "Pss"))
}

/// Processor time all threads of these processes have had, in seconds: says more than wall time where the machine is busy.
/// That of threads that have ended is not among it.
///
/// # Errors
/// One has ended.
pub fn cpu(pids: &[u32]) -> Result<f64> {
    total(pids, |pid| {
        let mut sum = 0.0;
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("the process has ended")? {
            // a thread that ends while the list is read is no error
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
            sum += nanoseconds / 1e9;
        }
        Ok(sum)
    })
}

/// A process and its children, theirs too.
///
/// # Errors
/// It has ended.
pub fn family(pid: u32) -> Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("the process has ended")? {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    Ok(all)
}

/// A file of a process.
///
/// # Errors
/// It has ended.
pub fn proc(pid: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).context("the process has ended")
}

fn total(pids: &[u32], one: impl Fn(u32) -> Result<f64>) -> Result<f64> {
    pids.iter().try_fold(0.0, |sum, &pid| Ok(sum + one(pid)?))
}

fn size(text: &str, what: &str) -> Result<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))
        .with_context(|| format!("no {what}"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_its_children_and_what_they_take() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let all = family(std::process::id()).unwrap();
        assert_eq!(all[0], std::process::id());
        assert!(all.contains(&child.id()), "{all:?}");
        let (own, both) = (&all[..1], [all[0], child.id()]);
        assert!(memory(own, "VmRSS").unwrap() > 1.0);
        assert!(memory(&both, "VmRSS").unwrap() > memory(&both[1..], "VmRSS").unwrap());
        assert!(proportional(own).unwrap() > 0.1);
        assert!(cpu(own).unwrap() > 0.0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(memory(&both, "VmRSS").is_err());
        assert!(size("VmRSS:\t    1000 kB\n", "Vm").is_err());
        assert_eq!(size("VmPeak:\t 1 kB\nVmRSS:\t    1000 kB\n", "VmRSS").unwrap(), 1.024);
    }
}

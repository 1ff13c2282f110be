//! Processes of the lab: started with a marker in their environment, recognised by it or by the namespaces they
//! live in, and never by number or name alone.

use super::state::Identity;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Environment variable of everything the lab starts; its value is the lab's directory.
pub const MARKER: &str = "OCICAT_LAB";

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// Takes what could point a program of ours at another datastore or node out of its environment.
pub fn scrub(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let strange = ["ETCD_", "ETCDCTL_", "CALICO_", "CNI_", "DATASTORE_", "FELIX_", "K8S_", "KUBE"];
        if strange.iter().any(|prefix| text.starts_with(prefix)) || text == "NODENAME" || text == "IP" {
            command.env_remove(&name);
        }
    }
}

/// Starts a program that outlives this one, on the calling thread's namespaces, with these settings in its
/// environment; its words go to `log`, which was opened where it can be seen.
///
/// # Errors
/// It cannot be started.
pub fn start(
    mut command: Command,
    environment: &[(&str, String)],
    directory: &Path,
    log: File,
) -> Result<Identity> {
    let name = command.get_program().to_string_lossy().into_owned();
    let copy = log.try_clone()?;
    scrub(&mut command);
    let child = command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env(MARKER, directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        // Not of the terminal's group: an interrupt is for us alone.
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let pid = child.id().cast_signed();
    identity(pid).with_context(|| format!("{name} ended at once"))
}

/// The identity of a living process.
pub fn identity(pid: i32) -> Option<Identity> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat).map(|start| Identity { pid, start })
}

/// Start time out of /proc/PID/stat; `None` for a zombie. The name in parentheses may contain anything.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    // State is field 3, the start time field 22.
    fields.nth(18)?.parse().ok()
}

/// Whether this very process still runs.
pub fn alive(known: Identity) -> bool {
    identity(known.pid) == Some(known)
}

/// Whether a process carries the marker of the lab in `directory`.
fn is_marked(pid: i32, directory: &Path) -> bool {
    let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
    let marker = format!("{MARKER}={}", directory.display());
    environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
}

/// Whether a process lives in one of these namespaces (inode numbers of network or mount namespaces).
fn lives_in(pid: i32, namespaces: &BTreeSet<u64>) -> bool {
    ["net", "mnt"].iter().any(|kind| {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
        let text = link.to_string_lossy();
        let number = text.split_once('[').and_then(|(_, rest)| rest.trim_end_matches(']').parse().ok());
        number.is_some_and(|number: u64| namespaces.contains(&number))
    })
}

/// Every process of the lab but the calling one.
pub fn of_lab(directory: &Path, namespaces: &BTreeSet<u64>) -> Result<Vec<Identity>> {
    let own = std::process::id().cast_signed();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid != own
            && let Some(identity) = identity(pid)
            && (is_marked(pid, directory) || lives_in(pid, namespaces))
        {
            found.push(identity);
        }
    }
    Ok(found)
}

/// Kills every process of the lab and waits until none is left; returns how many there were.
///
/// # Errors
/// One of them cannot be killed, or takes too long.
pub fn kill_all(directory: &Path, namespaces: &BTreeSet<u64>) -> Result<usize> {
    let begin = Instant::now();
    let mut killed: BTreeSet<(i32, u64)> = BTreeSet::new();
    loop {
        for (pid, _) in &killed {
            // A child of ours stays a zombie until it is asked for; all others are somebody else's.
            let _ = waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG));
        }
        // Again and again: a process may have started another between two looks.
        let found = of_lab(directory, namespaces)?;
        if found.is_empty() {
            return Ok(killed.len());
        }
        for process in &found {
            // Looked at again right before: the number may have passed to a stranger.
            if alive(*process) {
                strike(*process)?;
                killed.insert((process.pid, process.start));
            }
        }
        if begin.elapsed() > GONE {
            let pids: Vec<String> = found.iter().map(|process| process.pid.to_string()).collect();
            bail!("still running though killed {} s ago: process {}", GONE.as_secs(), pids.join(", "));
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Kills one process and waits until it has gone; one that has gone is no error.
///
/// # Errors
/// It cannot be killed, or takes too long.
pub fn kill_one(process: Identity) -> Result<()> {
    let begin = Instant::now();
    while alive(process) {
        strike(process)?;
        // A child of ours stays a zombie until it is asked for.
        let _ = waitpid(Pid::from_raw(process.pid), Some(WaitPidFlag::WNOHANG));
        if begin.elapsed() > GONE {
            bail!("still running though killed {} s ago: process {}", GONE.as_secs(), process.pid);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}

fn strike(process: Identity) -> Result<()> {
    match kill(Pid::from_raw(process.pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("cannot kill process {}: {}", process.pid, errno.desc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let tail = |state: &str| format!("{state} 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2 3");
        assert_eq!(parse_stat(&format!("7 (etcd) {}", tail("S"))), Some(4711));
        assert_eq!(parse_stat(&format!("7 (a ) R 1 (b) {}", tail("S"))), Some(4711));
        assert_eq!(parse_stat(&format!("7 (etcd) {}", tail("Z"))), None);
        assert_eq!(parse_stat("7 (etcd) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_process_is_itself_and_no_other() {
        let own = identity(std::process::id().cast_signed()).unwrap();
        assert!(alive(own));
        assert!(!alive(Identity { start: own.start + 1, ..own }));
        assert_eq!(identity(-1), None);
    }

    #[test]
    fn marked_processes_are_found_and_killed_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let none = BTreeSet::new();
        let sleep = || {
            let mut command = Command::new("/bin/sleep");
            command.arg("1000");
            command
        };
        let ours =
            start(sleep(), &[], folder.path(), File::create(folder.path().join("log")).unwrap()).unwrap();
        let theirs =
            start(sleep(), &[], other.path(), File::create(other.path().join("log")).unwrap()).unwrap();
        assert_eq!(of_lab(folder.path(), &none).unwrap(), [ours]);
        assert_eq!(kill_all(folder.path(), &none).unwrap(), 1);
        assert!(!alive(ours) && alive(theirs));
        assert_eq!(kill_all(folder.path(), &none).unwrap(), 0);
        kill_all(other.path(), &none).unwrap();
        assert!(!alive(theirs));
    }

    #[test]
    fn a_program_that_cannot_be_started_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = start(
            Command::new("/no/such"),
            &[],
            folder.path(),
            File::create(folder.path().join("log")).unwrap(),
        )
        .unwrap_err();
        assert!(format!("{error:#}").contains("/no/such"));
    }
}

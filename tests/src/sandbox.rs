//! Namespaces for one test thread: a node's network, its mounts and its name, gone when the thread and its children are.

use crate::process::tool;
use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{geteuid, sethostname};
use std::fs::{self, File};
use std::path::Path;
use std::thread;

/// Directories that are private and empty in a sandbox: all that the programs and `ip netns` write to.
const PRIVATE: [&str; 4] = ["/run", "/var/lib", "/var/log", "/opt"];

/// Puts the calling thread, and all it starts from now on, into fresh network, mount and host-name namespaces. Loopback is
/// up; [`PRIVATE`] directories are empty; `programs` is found at `/opt/cni/bin`.
///
/// The thread must not be one of a runtime: it stays inside.
///
/// # Errors
/// Not root, or the kernel refuses a step; the text names it.
pub fn enter(hostname: &str, programs: &Path) -> Result<()> {
    if !geteuid().is_root() {
        bail!("these tests make namespaces: run them as root");
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .context("unshare namespaces")?;
    sethostname(hostname).context("set the host's name")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make mounts private")?;
    // Opened before a private directory may hide it, and in these namespaces: a mount of others cannot be bound.
    let programs = File::open(programs).with_context(|| format!("open {}", programs.display()))?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).context("mount /sys")?;
    for directory in PRIVATE {
        mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .with_context(|| format!("mount {directory}"))?;
    }
    fs::create_dir_all("/opt/cni/bin")?;
    fs::create_dir_all("/run/netns")?;
    let source = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&programs));
    mount(Some(source.as_str()), "/opt/cni/bin", none, MsFlags::MS_BIND, none)
        .context("mount /opt/cni/bin")?;
    tool("ip", &["link", "set", "lo", "up"])?;
    Ok(())
}

/// Runs `work` on a new thread inside a sandbox and returns what it returned.
///
/// # Errors
/// As [`enter`], or those of `work`; a panic inside is passed on as an error.
pub fn within<T: Send>(
    hostname: &str,
    programs: &Path,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            enter(hostname, programs)?;
            work()
        });
        match inside.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Makes the named network namespace afresh, loopback up, as a container runtime does.
///
/// # Errors
/// Those of `ip`.
pub fn add_netns(name: &str) -> Result<()> {
    del_netns(name)?;
    tool("ip", &["netns", "add", name])?;
    tool("ip", &["-n", name, "link", "set", "lo", "up"])?;
    Ok(())
}

/// Removes the named network namespace; one that is not there is no error.
///
/// # Errors
/// Those of `ip`.
pub fn del_netns(name: &str) -> Result<()> {
    if Path::new("/run/netns").join(name).exists() {
        tool("ip", &["netns", "del", name])?;
    }
    Ok(())
}

/// Names of the network namespaces under `/run/netns`.
pub fn netns_names() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Reads a sysctl by its dotted name, in the named namespace or here; `None` where the kernel has no such file.
///
/// # Errors
/// The namespace cannot be entered.
pub fn sysctl(netns: Option<&str>, name: &str) -> Result<Option<String>> {
    // Interface names never hold a dot in these tests, so that the dots are the slashes.
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let read = move || fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    match netns {
        None => Ok(read()),
        Some(netns) => in_netns(netns, read),
    }
}

/// Runs `work` on a new thread in the named network namespace.
///
/// # Errors
/// The namespace cannot be entered.
pub fn in_netns<T: Send>(netns: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let file =
        File::open(Path::new("/run/netns").join(netns)).with_context(|| format!("namespace {netns}"))?;
    thread::scope(|scope| {
        let inside = scope.spawn(move || -> Result<T> {
            setns(&file, CloneFlags::CLONE_NEWNET).context("enter the namespace")?;
            Ok(work())
        });
        match inside.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

//! Mount namespaces with a name: made by a thread of their own, named by a bind mount in the lab's directory.

use super::place::on_thread;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, fchdir};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// The calling thread's mount namespace.
const OWN: &str = "/proc/thread-self/ns/mnt";

/// Makes a mount namespace that shows what the caller sees and spreads no mount, and names it `name`, an empty file
/// in a mount that does not spread. `scratch` is an empty directory that takes part in the making.
///
/// The kernel mounts the name of a namespace only within an older one. Linux 6.18 tells age by numbers that every
/// processor counts for itself, so that within any but the first namespace a new one may look older than its maker: tried on
/// every processor, it succeeds on the one where the caller's namespace was made.
///
/// # Errors
/// The kernel refuses.
pub fn create(name: &Path, scratch: &Path) -> Result<()> {
    File::create(name).with_context(|| format!("create {}", name.display()))?;
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("ask which processors there are")?;
    let processors = (0..CpuSet::count()).filter(|number| allowed.is_set(*number).unwrap_or(false));
    for processor in processors {
        let namespace = on_thread(|| make(processor, scratch))?;
        let from = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        match mount(Some(from.as_str()), name, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
            Ok(()) => return Ok(()),
            Err(Errno::EINVAL) => {}
            Err(errno) => bail!("name a mount namespace {}: {}", name.display(), errno.desc()),
        }
    }
    bail!(
        "name a mount namespace {}: refused on every processor; run it in the mount namespace the machine started with",
        name.display()
    )
}

/// Moves the calling thread into a namespace of its own on `processor`, and makes what the thread saw as `/` its root: without
/// that, whoever enters later would find himself outside a chroot.
fn make(processor: usize, scratch: &Path) -> Result<File> {
    let mut only = CpuSet::new();
    only.set(processor)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
        .context("choose a processor")?;
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let namespace = File::open(OWN).with_context(|| format!("open {OWN}"))?;
    let seen = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).context("open /")?;
    setns(&namespace, CloneFlags::CLONE_NEWNS).context("find the root of the mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("keep mounts to the node")?;
    fchdir(&seen).context("return to what was seen as /")?;
    let inside = Path::new(".").join(scratch.strip_prefix("/").unwrap_or(scratch));
    let copy = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("."), &inside, None::<&str>, copy, None::<&str>).context("copy the mounts for the node")?;
    nix::unistd::chdir(&inside).context("enter the copy of the mounts")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("make the copy the node's root")?;
    Ok(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::directory::Directory;
    use crate::lab::plan::Node;
    use std::collections::BTreeSet;

    /// The number of the calling thread's mount namespace.
    fn number() -> String {
        std::fs::read_link(OWN).unwrap().to_string_lossy().into_owned()
    }

    /// A lab's directory, and within it a mount namespace that was entered once.
    fn enter_a_new_one(folder: &Path) -> Result<String> {
        let directory = Directory::new(folder.join("lab"))?;
        let node = Node { name: "node-1".to_string(), number: 1, on_segment: false, as_number: None };
        directory.make(std::slice::from_ref(&node))?;
        let name = directory.mount_ns(&node.name);
        let result = create(&name, &directory.node(&node.name).join("root")).and_then(|()| {
            on_thread(|| {
                unshare(CloneFlags::CLONE_FS)?;
                setns(File::open(&name)?, CloneFlags::CLONE_NEWNS)?;
                anyhow::ensure!(directory.path().join("ns").is_dir(), "the root is another");
                Ok(number())
            })
        });
        directory.remove()?;
        result
    }

    fn root() -> bool {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            eprintln!("not root: no namespace is made");
        }
        root
    }

    #[test]
    fn a_namespace_made_from_any_processors_namespace_gets_its_name() {
        if !root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let mut seen = BTreeSet::new();
        for processor in (0..CpuSet::count()).filter(|number| allowed.is_set(*number).unwrap()) {
            // Several, because which number a processor counts at is chance.
            for _ in 0..3 {
                let inside = on_thread(|| {
                    let mut only = CpuSet::new();
                    only.set(processor)?;
                    sched_setaffinity(Pid::from_raw(0), &only)?;
                    unshare(CloneFlags::CLONE_NEWNS)?;
                    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
                    sched_setaffinity(Pid::from_raw(0), &allowed)?;
                    enter_a_new_one(folder.path())
                });
                seen.insert(inside.unwrap());
            }
        }
        assert!(!seen.contains(&number()));
    }

    #[test]
    fn in_a_chroot_its_root_stays_the_root() {
        if !root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let shown = folder.path().join("shown");
        let inside = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            // A directory that is no mount point, as a plain chroot has it.
            for part in ["proc", "inner"] {
                std::fs::create_dir_all(shown.join(part))?;
            }
            mount(Some("proc"), &shown.join("proc"), Some("proc"), MsFlags::empty(), None::<&str>)?;
            nix::unistd::chroot(&shown)?;
            nix::unistd::chdir("/")?;
            enter_a_new_one(Path::new("/inner"))
        });
        assert_ne!(inside.unwrap(), number());
    }

    #[test]
    fn a_name_that_cannot_be_made_is_told() {
        let error = create(Path::new("/no/such/name"), Path::new("/no/such/root")).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/name"), "{error:#}");
    }

    #[test]
    fn an_error_on_the_way_ends_it() {
        if !root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let error = create(&folder.path().join("name"), Path::new("/no/such/root")).unwrap_err();
        assert!(format!("{error:#}").contains("copy the mounts"), "{error:#}");
    }
}

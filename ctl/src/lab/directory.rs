//! The lab's directory: a private tmpfs that holds everything the lab has in the file system, so that one
//! unmount takes all of it away.
//!
//! ```text
//! /run/ocicat-lab/state.json           what was made
//!                 ns/outside           network namespaces, by bind mount
//!                 ns/node-1            …
//!                 ns/node-1.mnt        mount namespaces
//!                 nodes/node-1/run     what the node sees as /run, /var/lib, /etc/cni
//!                 nodes/node-1/root    empty; needed while its mount namespace is made
//!                 etcd                 the data of the lab's own etcd
//!                 log                  what programs said
//! ```

use super::failpoint::failpoint;
use super::place::Place;
use super::plan::{Node, OUTSIDE};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

/// The lab's directory.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

/// Held while a command changes the lab; gone with the process, however it ends.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code, reason = "held, never read")] UnixListener);

impl Directory {
    /// The directory at `path`, there or not. It must be absolute: it is looked for among mounts.
    ///
    /// # Errors
    /// A relative path, or one with parts that would be resolved.
    pub fn new(path: PathBuf) -> Result<Self> {
        let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
        if !path.is_absolute() || !plain || path.parent().is_none() {
            bail!("OCICAT_LAB_DIR={}: expected an absolute path such as /run/ocicat-lab", path.display());
        }
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The name of a network namespace.
    pub fn netns(&self, name: &str) -> PathBuf {
        self.0.join("ns").join(name)
    }

    /// The name of a node's mount namespace.
    pub fn mount_ns(&self, node: &str) -> PathBuf {
        self.0.join("ns").join(format!("{node}.mnt"))
    }

    /// What a node sees as its own directories.
    pub fn node(&self, node: &str) -> PathBuf {
        self.0.join("nodes").join(node)
    }

    /// The log of a program.
    pub fn log(&self, program: &str) -> PathBuf {
        self.0.join("log").join(format!("{program}.log"))
    }

    /// The namespaces of a node.
    ///
    /// # Errors
    /// They are not there.
    pub fn place(&self, node: &str) -> Result<Place> {
        Place::open(&self.netns(node), Some(&self.mount_ns(node)))
    }

    /// The namespace between the nodes.
    ///
    /// # Errors
    /// It is not there.
    pub fn outside(&self) -> Result<Place> {
        Place::open(&self.netns(OUTSIDE), None)
    }

    /// Waits for nobody: the turn of this command, or a refusal where another is at work.
    ///
    /// # Errors
    /// Another command changes the lab.
    pub fn turn(&self) -> Result<Turn> {
        // A name in the abstract socket space leaves no file, and ends with its holder.
        let name = format!("ocicat-lab:{}", self.0.display());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).context("name the lock")?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(Turn(listener)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                bail!("another `ocicat lab` command is changing this lab; try again when it has ended")
            }
            Err(error) => Err(error).context("take the lab's lock"),
        }
    }

    /// Whether there is anything of a lab.
    pub fn exists(&self) -> bool {
        self.0.symlink_metadata().is_ok()
    }

    /// Makes the directory and its parts.
    ///
    /// # Errors
    /// It exists and is no lab's, or the system refuses.
    pub fn make(&self, nodes: &[Node]) -> Result<()> {
        std::fs::create_dir_all(&self.0).with_context(|| format!("make {}", self.0.display()))?;
        if std::fs::read_dir(&self.0)?.next().is_some() {
            bail!("{} is not empty and was not made by the lab; move it away", self.0.display());
        }
        failpoint("directory made");
        mount(Some("ocicat-lab"), &self.0, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755"))
            .with_context(|| format!("mount a tmpfs at {}", self.0.display()))?;
        failpoint("directory mounted");
        // The name of a mount namespace can only be mounted where mounts do not spread.
        mount(None::<&str>, &self.0, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)
            .with_context(|| format!("make {} private", self.0.display()))?;
        for part in ["ns", "nodes", super::plan::DATASTORE, "log"] {
            std::fs::create_dir(self.0.join(part))?;
        }
        std::os::unix::fs::chown(self.0.join(super::plan::DATASTORE), None, None)?;
        std::fs::set_permissions(
            self.0.join(super::plan::DATASTORE),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )?;
        for node in nodes {
            for part in ["run/netns", "run/ocicat/bin", "var-lib/calico", "etc-cni/net.d", "root"] {
                std::fs::create_dir_all(self.node(&node.name).join(part))?;
            }
        }
        Ok(())
    }

    /// Inode numbers of the namespaces of the lab, those of workloads included.
    pub fn namespaces(&self) -> BTreeSet<u64> {
        let mut all = inodes(&self.0.join("ns"));
        for entry in std::fs::read_dir(self.0.join("nodes")).into_iter().flatten().flatten() {
            let node = entry.file_name().to_string_lossy().into_owned();
            if let Ok(place) = self.place(&node) {
                all.extend(place.run(|| Ok(inodes(Path::new("/run/netns")))).unwrap_or_default());
            }
        }
        // A name whose mount was never made is a plain file of the tmpfs, no namespace.
        if let Ok(meta) = self.0.metadata() {
            let plain = |path: &Path| path.metadata().is_ok_and(|m| m.dev() == meta.dev());
            for entry in std::fs::read_dir(self.0.join("ns")).into_iter().flatten().flatten() {
                if plain(&entry.path())
                    && let Ok(file) = entry.metadata()
                {
                    all.remove(&file.ino());
                }
            }
        }
        all
    }

    /// Unmounts everything at and below the directory, and removes it. Nothing there is no error.
    ///
    /// # Errors
    /// The system refuses, or the directory holds files without being a mount.
    pub fn remove(&self) -> Result<()> {
        for _ in 0..3 {
            for path in mounts_below(&self.0)? {
                match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                    Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                    Err(errno) => bail!("unmount {}: {}", path.display(), errno.desc()),
                }
            }
        }
        match std::fs::remove_dir(&self.0) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("remove {}", self.0.display())),
        }
    }
}

fn inodes(directory: &Path) -> BTreeSet<u64> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.path().metadata().ok().map(|meta| meta.ino())).collect()
}

/// Mount points at and below a directory, the youngest first.
fn mounts_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").context("read the mounts")?;
    let mut found: Vec<PathBuf> =
        table.lines().filter_map(mount_point).filter(|p| p.starts_with(directory)).collect();
    found.reverse();
    Ok(found)
}

/// Field 5 of a line of mountinfo; blanks and the like are written as octal numbers.
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?;
    let mut path = String::new();
    let mut rest = field;
    while let Some((before, behind)) = rest.split_once('\\') {
        path.push_str(before);
        let digits = behind.get(..3)?;
        path.push(char::from(u8::from_str_radix(digits, 8).ok()?));
        rest = behind.get(3..)?;
    }
    path.push_str(rest);
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read() {
        let line = "36 35 98:0 /mnt1 /run/ocicat-lab/ns/a\\040b rw,noatime master:1 - tmpfs x rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/run/ocicat-lab/ns/a b")));
        assert_eq!(mount_point("1 2 3"), None);
    }

    #[test]
    fn only_absolute_directories_are_taken() {
        assert!(Directory::new("/run/ocicat-lab".into()).is_ok());
        for bad in ["", "lab", "/run/../etc", "/"] {
            assert!(Directory::new(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_command_at_a_time() {
        let directory = Directory::new(format!("/nowhere/{}", std::process::id()).into()).unwrap();
        let turn = directory.turn().unwrap();
        assert!(directory.turn().unwrap_err().to_string().contains("another `ocicat lab`"));
        drop(turn);
        directory.turn().unwrap();
    }

    #[test]
    fn made_and_removed_without_a_trace() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not root: no mount is tried");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path().join("lab")).unwrap();
        let node = Node { name: "node-1".into(), number: 1, on_segment: false, as_number: None };
        directory.make(std::slice::from_ref(&node)).unwrap();
        assert!(directory.node("node-1").join("run/netns").is_dir());
        assert!(directory.make(&[node]).is_err(), "it is there");
        directory.remove().unwrap();
        assert!(!directory.exists());
        directory.remove().unwrap();
    }

    #[test]
    fn a_strangers_directory_is_neither_used_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lab");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("precious"), "x").unwrap();
        let directory = Directory::new(path.clone()).unwrap();
        assert!(directory.make(&[]).unwrap_err().to_string().contains("not empty"));
        assert!(directory.remove().is_err());
        assert!(path.join("precious").exists());
    }
}

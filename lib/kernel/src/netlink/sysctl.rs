//! Kernel parameters under /proc/sys/net; which namespace's is decided by the thread that opens the file.

use crate::api::KernelError;
use crate::spent::{Kind, counted};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

const ROOT: &str = "/proc/sys";
/// Longer values are not compared before they are written.
const MOST: usize = 64;

/// Reads a parameter, without the line end.
pub(super) fn read(key: &str) -> Result<String, KernelError> {
    let path = path(key)?;
    let text = counted(Kind::Parameter, || std::fs::read_to_string(path))
        .map_err(|error| fail(key, &error.to_string()))?;
    Ok(text.trim_end_matches('\n').to_string())
}

/// Sets a parameter. One that has the value already is not written: a look never waits for anybody.
pub(super) fn write(key: &str, value: &str) -> Result<(), KernelError> {
    counted(Kind::Parameter, || match differs(key, value)? {
        Some(file) => set(&file, key, value),
        None => Ok(()),
    })
}

/// The same, unless it has to wait for others to be done with links: that one is given back open, for [`write_opened`].
pub(super) fn write_at_once(key: &str, value: &str) -> Result<Result<(), KernelError>, File> {
    counted(Kind::Parameter, || match differs(key, value) {
        Ok(Some(file)) if waits_for_links(key) => Err(file),
        Ok(Some(file)) => Ok(set(&file, key, value)),
        Ok(None) => Ok(Ok(())),
        Err(error) => Ok(Err(error)),
    })
}

/// Sets a parameter that is open.
pub(super) fn write_opened(file: &File, key: &str, value: &str) -> Result<(), KernelError> {
    counted(Kind::Parameter, || set(file, key, value))
}

/// Whether a parameter can only be written while nobody changes links. The kernel does not have such a writer sleep: it sends it
/// back to ask again, as fast as it can, until then.
fn waits_for_links(key: &str) -> bool {
    const THESE: [&str; 4] = ["forwarding", "proxy_ndp", "disable_ipv6", "ip_forward"];
    key.rsplit('/').next().is_some_and(|parameter| THESE.contains(&parameter))
}

/// Opens a parameter that has another value.
fn differs(key: &str, value: &str) -> Result<Option<File>, KernelError> {
    let path = path(key)?;
    // Never created, never truncated.
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        // one that only takes
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            OpenOptions::new().write(true).open(&path)
        }
        file => file,
    }
    .map_err(|error| fail(key, &error.to_string()))?;
    let mut now = [0; MOST];
    let has = file.read_at(&mut now, 0).ok().and_then(|length| now.get(..length));
    let same = has.is_some_and(|has| has.trim_ascii_end() == value.as_bytes());
    Ok((!same).then_some(file))
}

fn set(file: &File, key: &str, value: &str) -> Result<(), KernelError> {
    // One write call: the kernel takes each call as a complete value.
    file.write_all_at(value.as_bytes(), 0)
        .map_err(|error| fail(key, &format!("cannot be set to {value:?}: {error}")))
}

/// The file of a key; segments are separated by slashes, so interface names with dots need no quoting.
fn path(key: &str) -> Result<PathBuf, KernelError> {
    let strange =
        |segment: &str| segment.is_empty() || segment == "." || segment == ".." || segment.contains('\0');
    if key.split('/').any(strange) {
        return Err(fail(key, "is no path below /proc/sys; an example is net/ipv4/ip_forward"));
    }
    Ok(PathBuf::from(ROOT).join(key))
}

fn fail(key: &str, reason: &str) -> KernelError {
    KernelError::Sysctl { key: key.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_the_root() {
        assert_eq!(
            path("net/ipv4/conf/eth0.100/forwarding").unwrap().to_str(),
            Some("/proc/sys/net/ipv4/conf/eth0.100/forwarding")
        );
        for bad in ["", "/etc/passwd", "../self/environ", "net//ipv4", "net/./ipv4", "net/ipv4/"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_has_to_wait_for_changes_of_links_is_known_by_the_parameter() {
        for key in ["net/ipv6/conf/cali1/proxy_ndp", "net/ipv4/conf/a.b/forwarding", "net/ipv4/ip_forward"] {
            assert!(waits_for_links(key), "{key}");
        }
        for key in ["net/ipv4/conf/forwarding/proxy_arp", "net/ipv4/conf/cali1/rp_filter"] {
            assert!(!waits_for_links(key), "{key}");
        }
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let error = read("net/ipv4/conf/none/forwarding").unwrap_err().to_string();
        assert!(error.starts_with("sysctl net/ipv4/conf/none/forwarding: No such file"), "{error}");
    }
}

//! Kernel parameters under /proc/sys/net; which namespace's is decided by the thread that opens the file.

use crate::api::KernelError;
use std::path::PathBuf;

const ROOT: &str = "/proc/sys";

/// Reads a parameter, without the line end.
pub(super) fn read(key: &str) -> Result<String, KernelError> {
    let text = std::fs::read_to_string(path(key)?).map_err(|error| fail(key, &error.to_string()))?;
    Ok(text.trim_end_matches('\n').to_string())
}

/// Writes a parameter.
pub(super) fn write(key: &str, value: &str) -> Result<(), KernelError> {
    use std::io::Write;
    let path = path(key)?;
    // One write call: the kernel takes each call as a complete value. Never created, never truncated.
    let mut file =
        std::fs::OpenOptions::new().write(true).open(path).map_err(|error| fail(key, &error.to_string()))?;
    file.write_all(value.as_bytes())
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
    fn a_missing_parameter_is_named() {
        let error = read("net/ipv4/conf/none/forwarding").unwrap_err().to_string();
        assert!(error.starts_with("sysctl net/ipv4/conf/none/forwarding: No such file"), "{error}");
    }
}

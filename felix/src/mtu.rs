//! The MTU of workloads, in a file for the CNI plugin (`felix.md` §11 of the contract).

use regex_lite::Regex;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub(crate) struct MtuFile {
    path: PathBuf,
    pattern: String,
    /// None where the pattern is none.
    compiled: Option<Regex>,
    written: Option<u32>,
}

impl MtuFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pattern: String::new(), compiled: None, written: None }
    }

    /// Links whose names match carry packets of workloads.
    pub(crate) fn set_pattern(&mut self, pattern: &str) {
        if self.pattern == pattern && self.compiled.is_some() {
            return;
        }
        self.pattern = pattern.to_owned();
        self.compiled = Regex::new(pattern)
            .inspect_err(|error| tracing::warn!(pattern, %error, "MTUIfacePattern: no link matches it"))
            .ok();
    }

    /// Whether a link's MTU counts.
    pub(crate) fn counts(&self, link: &str) -> bool {
        self.compiled.as_ref().is_some_and(|pattern| pattern.is_match(link))
    }

    /// Writes the file where it says something else.
    pub(crate) fn write(&mut self, mtu: u32) {
        if self.written == Some(mtu) {
            return;
        }
        let directory = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        match directory.and_then(|()| std::fs::write(&self.path, mtu.to_string())) {
            Ok(()) => tracing::info!(mtu, "MTU of workloads"),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the MTU file cannot be written")
            }
        }
        // a full or read-only disk is not tried again with every event
        self.written = Some(mtu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_match_the_pattern_count_and_the_file_says_their_mtu() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calico/mtu");
        let mut file = MtuFile::new(&path);
        assert!(!file.counts("eth0"), "no pattern yet");
        file.set_pattern("^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)");
        let found =
            ["eth0", "enp3s0", "ibp1", "lo", "cali123", "docker0", "veth1"].map(|link| file.counts(link));
        assert_eq!(found, [true, true, true, false, false, false, false]);
        file.write(1450);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1450");
        file.set_pattern("(");
        assert!(!file.counts("eth0"));
    }
}

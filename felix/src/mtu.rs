//! The MTU of workloads, in a file for the CNI plugin (`felix.md` §11 of the contract).

use crate::whole_file;
use regex_lite::Regex;
use std::path::{Path, PathBuf};

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the MTU file {path} cannot be written: {source}")]
pub struct MtuFileError {
    path: PathBuf,
    source: std::io::Error,
}

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
    ///
    /// # Errors
    /// Said once a value: a full or read-only disk is not tried again with every event.
    pub(crate) fn write(&mut self, mtu: u32) -> Result<(), MtuFileError> {
        if self.written == Some(mtu) {
            return Ok(());
        }
        self.written = Some(mtu);
        let directory = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        directory
            .and_then(|()| whole_file::write(&self.path, &mtu.to_string()))
            .map_err(|source| MtuFileError { path: self.path.clone(), source })?;
        tracing::info!(mtu, "MTU of workloads");
        Ok(())
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
        file.write(1450).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1450");
        let open = std::fs::File::open(&path).unwrap();
        MtuFile::new(&path).write(1400).unwrap();
        assert_eq!(std::io::read_to_string(open).unwrap(), "1450", "who reads has one or the other");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1400");
        let mut nowhere = MtuFile::new(&path.join("below-a-file"));
        assert!(nowhere.write(1450).unwrap_err().to_string().contains("below-a-file"));
        assert!(nowhere.write(1450).is_ok(), "said once");
        file.set_pattern("(");
        assert!(!file.counts("eth0"));
    }
}

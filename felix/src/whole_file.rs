//! Files that others read at any time.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file, which everybody may read, whole or not at all: readers look at it as soon as it is there.
///
/// # Errors
/// The file system's; what was there before stays.
pub(crate) fn write(path: &Path, content: &str) -> io::Result<()> {
    let half = path.with_file_name(".half");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&half)?;
    file.write_all(content.as_bytes())?;
    fs::rename(&half, path)
}

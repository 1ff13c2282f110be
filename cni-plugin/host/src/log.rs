//! Logs go to standard error and, where `log_file_path` says so, to a file that is rotated.

use cni_protocol::config::{LogConf, LogLevel};
use observe::log::{Format, LogConfig, LogError, parse_level};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MEGABYTE: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Sets logging up for this process. A log that cannot be written is no reason to leave a workload without network.
pub(crate) fn init(conf: &LogConf) {
    let level = match conf.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Error => "error",
    };
    let level = parse_level(level).unwrap_or_else(|_| LogConfig::default().level);
    let file = (!conf.file.is_empty()).then(|| PathBuf::from(&conf.file));
    if let Some(path) = &file {
        rotate(path, conf, SystemTime::now());
    }
    let config = LogConfig { format: Format::Text, level, file };
    match observe::log::init(&config) {
        Err(error @ LogError::File { .. }) => {
            // Standard error alone, then.
            if observe::log::init(&LogConfig { file: None, ..config }).is_ok() {
                tracing::warn!(%error, "logging to standard error only");
            }
        }
        // Set up by an earlier call in the same process.
        Err(LogError::Twice) | Ok(()) => {}
    }
}

/// Puts a full log aside under a name with the time, and removes those that are too old or too many. Several plugins may
/// do it at once: each step bears that another was faster.
fn rotate(path: &Path, conf: &LogConf, now: SystemTime) {
    let full = fs::metadata(path).is_ok_and(|file| file.len() >= conf.max_size_mb.saturating_mul(MEGABYTE));
    if !full {
        return;
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return;
    };
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let prefix = format!("{name}.");
    let _ = fs::rename(path, directory.join(format!("{prefix}{seconds}")));
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut rotated: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let time = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((time, entry.path()))
        })
        .collect();
    rotated.sort_by(|a, b| b.cmp(a));
    let oldest = seconds.saturating_sub(conf.max_age_days.saturating_mul(DAY.as_secs()));
    for (place, (time, path)) in rotated.iter().enumerate() {
        if place >= conf.max_count || *time < oldest {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_put_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("cni.log");
        let now = SystemTime::UNIX_EPOCH + 100 * DAY;
        let day = |n: u64| (DAY * u32::try_from(n).unwrap()).as_secs();
        for name in [day(99), day(98), day(97), day(1)] {
            fs::write(directory.path().join(format!("cni.log.{name}")), "old").unwrap();
        }
        fs::write(directory.path().join("cni.log.note"), "not ours").unwrap();
        fs::write(&log, vec![b'x'; 10]).unwrap();
        let conf = LogConf { max_size_mb: 1, max_age_days: 30, max_count: 3, ..LogConf::default() };
        rotate(&log, &conf, now);
        assert!(log.exists(), "not full yet");
        fs::write(&log, vec![b'x'; MEGABYTE as usize]).unwrap();
        rotate(&log, &conf, now);
        let mut left: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = vec!["cni.log.note".to_owned()];
        expected.extend([day(98), day(99), day(100)].map(|time| format!("cni.log.{time}")));
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn an_unusable_file_does_not_stop_anything() {
        init(&LogConf { file: "/proc/no/such/cni.log".into(), max_size_mb: 1, ..LogConf::default() });
        init(&LogConf { level: LogLevel::Debug, ..LogConf::default() });
    }
}

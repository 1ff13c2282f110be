//! Logs go to standard error and, where `log_file_path` says so, to a file that is rotated.

use crate::log_rotation::rotate;
use cni_protocol::config::{LogConf, LogLevel};
use observe::log::{Format, LogConfig, LogError, parse_level};
use std::path::PathBuf;
use std::time::SystemTime;

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
    let config = LogConfig { format: Format::Text, level, file, ..LogConfig::default() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_file_does_not_stop_anything() {
        init(&LogConf { file: "/proc/no/such/cni.log".into(), max_size_mb: 1, ..LogConf::default() });
        init(&LogConf { level: LogLevel::Debug, ..LogConf::default() });
    }
}

//! Logging of a process: standard error or a file, text or JSON.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock};
use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How a process logs.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Shape.
    pub format: Format,
    /// Least severe level shown; `LevelFilter::OFF` for none.
    pub level: LevelFilter,
    /// Append to this file besides standard error; its directory is made when missing.
    pub file: Option<PathBuf>,
    /// Resources may change the level ([`set_level`]); otherwise what was given here stays.
    pub adjustable: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: Format::Text, level: LevelFilter::INFO, file: None, adjustable: false }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("log file {path}: {source}; choose a writable path or leave it out")]
    File {
        /// Path given.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Logging was set up before in this process.
    #[error("logging is already set up")]
    Twice,
}

/// A level as Calico's settings write it (`resources.md` §3.1: any case; `panic` and `fatal` count as error).
///
/// # Errors
/// Names the word and the choices.
pub fn parse_level(word: &str) -> Result<LevelFilter, String> {
    match word.to_ascii_lowercase().as_str() {
        "none" | "off" => Ok(LevelFilter::OFF),
        "panic" | "fatal" | "error" => Ok(LevelFilter::ERROR),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        word => Level::from_str(word).map(LevelFilter::from).map_err(|_| {
            format!("unknown log level: {word}; use trace, debug, info, warning, error, fatal or none")
        }),
    }
}

/// Sets the process's logging up; once a process.
///
/// # Errors
/// When the file cannot be opened or logging is already set up.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let mut file = None;
    if let Some(path) = &config.file {
        file = Some(open(path).map_err(|source| LogError::File { path: path.clone(), source })?);
    }
    let writer = match file {
        Some(file) => BoxMakeWriter::new(Tee::new(file)),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let (subscriber, level) = subscriber(config, writer);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    if config.adjustable {
        // set only once: whoever came second was refused above
        let _ = ADJUSTABLE.set(level);
    }
    Ok(())
}

/// Shows another level from now on, if the process's logging was set up as adjustable.
pub fn set_level(level: LevelFilter) {
    if let Some(adjustable) = ADJUSTABLE.get() {
        // fails only without a subscriber, which lives as long as the process
        let _ = adjustable.reload(level);
    }
}

/// The level in force, to be changed.
type Adjustable = reload::Handle<LevelFilter, Registry>;

static ADJUSTABLE: OnceLock<Adjustable> = OnceLock::new();

fn subscriber(
    config: &LogConfig,
    writer: BoxMakeWriter,
) -> (Box<dyn tracing::Subscriber + Send + Sync>, Adjustable) {
    let (level, adjustable) = reload::Layer::new(config.level);
    let shown = tracing_subscriber::registry().with(level);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let subscriber: Box<dyn tracing::Subscriber + Send + Sync> = match config.format {
        Format::Text => Box::new(shown.with(lines)),
        Format::Json => Box::new(shown.with(lines.json().flatten_event(true))),
    };
    (subscriber, adjustable)
}

fn open(path: &Path) -> std::io::Result<std::fs::File> {
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Writes each line to standard error and to a file; a full disk must not silence standard error.
struct Tee(Mutex<std::fs::File>);

impl Tee {
    fn new(file: std::fs::File) -> Self {
        Self(Mutex::new(file))
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Tee {
    type Writer = TeeWriter<'a>;

    fn make_writer(&'a self) -> TeeWriter<'a> {
        TeeWriter(&self.0)
    }
}

struct TeeWriter<'a>(&'a Mutex<std::fs::File>);

impl std::io::Write for TeeWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let to_file = match self.0.lock() {
            Ok(mut file) => file.write_all(bytes),
            Err(poisoned) => poisoned.into_inner().write_all(bytes),
        };
        std::io::stderr().write_all(bytes).and(to_file)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_take_calicos_words_in_any_case() {
        for (word, level) in [
            ("Trace", LevelFilter::TRACE),
            ("DEBUG", LevelFilter::DEBUG),
            ("info", LevelFilter::INFO),
            ("Warning", LevelFilter::WARN),
            ("warn", LevelFilter::WARN),
            ("Error", LevelFilter::ERROR),
            ("Fatal", LevelFilter::ERROR),
            ("panic", LevelFilter::ERROR),
            ("none", LevelFilter::OFF),
        ] {
            assert_eq!(parse_level(word), Ok(level), "{word}");
        }
        let error = parse_level("loud").unwrap_err();
        assert!(error.contains("loud") && error.contains("warning"), "{error}");
    }

    #[test]
    fn a_file_lies_in_a_directory_that_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/cni.log");
        let file = open(&path).unwrap();
        let tee = Tee::new(file);
        use std::io::Write;
        use tracing_subscriber::fmt::MakeWriter;
        tee.make_writer().write_all(b"first\n").unwrap();
        tee.make_writer().write_all(b"second\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\n");
    }

    #[test]
    fn the_level_can_be_changed() {
        let directory = tempfile::tempdir().unwrap();
        for format in [Format::Text, Format::Json] {
            let path = directory.path().join(format!("{format:?}"));
            let file = Mutex::new(open(&path).unwrap());
            let config = LogConfig { format, ..LogConfig::default() };
            let (subscriber, level) = subscriber(&config, BoxMakeWriter::new(file));
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!("one");
                tracing::info!("two");
                level.reload(LevelFilter::DEBUG).unwrap();
                tracing::debug!("three");
                level.reload(LevelFilter::WARN).unwrap();
                tracing::info!("four");
            });
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(text.contains("two") && text.contains("three"), "{text}");
        }
    }

    #[test]
    fn an_unusable_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let config = LogConfig { file: Some(directory.path().to_path_buf()), ..LogConfig::default() };
        let error = init(&config).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
    }
}

//! Logging of a process: standard error and a file, each with a level of its own; text or JSON.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tracing::Level;
pub use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
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
    /// Resources may change levels and file ([`set_level`], [`set_file`]); otherwise what was given here stays.
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

/// The shape of a log by its name.
///
/// # Errors
/// Names the word and the choices.
pub fn parse_format(word: &str) -> Result<Format, String> {
    match word {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        other => Err(format!("unknown shape of a log: {other}; use text or json")),
    }
}

/// Sets the process's logging up; once a process.
///
/// # Errors
/// When the file cannot be opened or logging is already set up.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let (subscriber, log) = subscriber(config, BoxMakeWriter::new(std::io::stderr))?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    if config.adjustable {
        // set only once: whoever came second was refused above
        let _ = ADJUSTABLE.set(log);
    }
    Ok(())
}

/// Shows another level on standard error from now on, if the process's logging was set up as adjustable.
pub fn set_level(level: LevelFilter) {
    if let Some(log) = ADJUSTABLE.get() {
        // fails only without a subscriber, which lives as long as the process
        let _ = log.screen.reload(level);
    }
}

/// Appends what is of this level to a file from now on, or to none, if the process's logging was set up as adjustable.
///
/// # Errors
/// The file cannot be opened; the one before is closed all the same.
pub fn set_file(path: Option<&Path>, level: LevelFilter) -> Result<(), LogError> {
    match ADJUSTABLE.get() {
        Some(log) => log.set_file(path, level),
        None => Ok(()),
    }
}

/// A level in force, to be changed.
type Adjustable = reload::Handle<LevelFilter, Registry>;

static ADJUSTABLE: OnceLock<Log> = OnceLock::new();

/// Writes of a log that failed.
static ERRORS: AtomicU64 = AtomicU64::new(0);

/// How many writes of this process's logs have failed: a full disk, a reader that went away.
pub fn errors() -> u64 {
    ERRORS.load(Ordering::Relaxed)
}

/// What can be changed of a process's logging.
struct Log {
    screen: Adjustable,
    of_file: Adjustable,
    file: SharedFile,
}

impl Log {
    fn set_file(&self, path: Option<&Path>, level: LevelFilter) -> Result<(), LogError> {
        let opened = path.map(open).transpose();
        let level = if matches!(opened, Ok(Some(_))) { level } else { LevelFilter::OFF };
        let refused = |source| LogError::File { path: path.unwrap_or(Path::new("")).to_owned(), source };
        let (file, result) = match opened {
            Ok(file) => (file, Ok(())),
            Err(error) => (None, Err(refused(error))),
        };
        *self.file.lock() = file;
        let _ = self.of_file.reload(level);
        result
    }
}

fn subscriber(
    config: &LogConfig,
    writer: BoxMakeWriter,
) -> Result<(Box<dyn tracing::Subscriber + Send + Sync>, Log), LogError> {
    let (screen, set_screen) = reload::Layer::new(config.level);
    let (of_file, set_of_file) = reload::Layer::new(LevelFilter::OFF);
    let log = Log { screen: set_screen, of_file: set_of_file, file: SharedFile::default() };
    let lines = |writer: BoxMakeWriter| {
        let lines = tracing_subscriber::fmt::layer().with_writer(Counting(writer)).with_ansi(false);
        // where lines cannot be written, words about that cannot either: they are counted
        let lines = lines.log_internal_errors(false);
        match config.format {
            Format::Text => lines.boxed(),
            Format::Json => lines.json().flatten_event(true).boxed(),
        }
    };
    let layers = vec![
        lines(writer).with_filter(screen).boxed(),
        lines(BoxMakeWriter::new(log.file.clone())).with_filter(of_file).boxed(),
    ];
    let subscriber = Box::new(tracing_subscriber::registry().with(layers));
    if config.file.is_some() {
        log.set_file(config.file.as_deref(), config.level)?;
    }
    Ok((subscriber, log))
}

fn open(path: &Path) -> std::io::Result<std::fs::File> {
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Where lines go, and those that do not arrive are counted.
struct Counting(BoxMakeWriter);

impl<'a> MakeWriter<'a> for Counting {
    type Writer = CountingWriter<<BoxMakeWriter as MakeWriter<'a>>::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        CountingWriter(self.0.make_writer())
    }
}

struct CountingWriter<W>(W);

impl<W: std::io::Write> std::io::Write for CountingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.0.write(bytes);
        if written.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::Interrupted) {
            ERRORS.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// The log file, where there is one.
#[derive(Debug, Clone, Default)]
struct SharedFile(Arc<Mutex<Option<std::fs::File>>>);

impl SharedFile {
    fn lock(&self) -> MutexGuard<'_, Option<std::fs::File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for SharedFile {
    type Writer = FileWriter<'a>;

    fn make_writer(&'a self) -> FileWriter<'a> {
        FileWriter(self.lock())
    }
}

struct FileWriter<'a>(MutexGuard<'a, Option<std::fs::File>>);

impl std::io::Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.as_mut() {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
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
    fn shapes_have_names() {
        assert_eq!((parse_format("text"), parse_format("json")), (Ok(Format::Text), Ok(Format::Json)));
        let error = parse_format("xml").unwrap_err();
        assert!(error.contains("xml") && error.contains("text or json"), "{error}");
    }

    /// A log of a file at `path`, in the place of standard error.
    fn log(config: &LogConfig, path: &Path) -> (Box<dyn tracing::Subscriber + Send + Sync>, Log) {
        let file = Mutex::new(open(path).unwrap());
        subscriber(config, BoxMakeWriter::new(file)).unwrap()
    }

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn standard_error_and_file_have_levels_of_their_own_that_can_be_changed() {
        let directory = tempfile::tempdir().unwrap();
        for format in [Format::Text, Format::Json] {
            let screen = directory.path().join(format!("{format:?}"));
            let [first, second] = ["first", "second"]
                .map(|name| directory.path().join(format!("{format:?}-in/a/directory/{name}")));
            let config = LogConfig { format, ..LogConfig::default() };
            let (subscriber, log) = log(&config, &screen);
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!("one");
                tracing::info!("two");
                log.screen.reload(LevelFilter::DEBUG).unwrap();
                tracing::debug!("three");
                log.screen.reload(LevelFilter::WARN).unwrap();
                log.set_file(Some(&first), LevelFilter::DEBUG).unwrap();
                tracing::debug!("four");
                log.set_file(Some(&second), LevelFilter::WARN).unwrap();
                tracing::info!("five");
                tracing::warn!("six");
                log.set_file(None, LevelFilter::DEBUG).unwrap();
                tracing::warn!("seven");
            });
            let has = |path: &Path, words: &[&str]| {
                let lines = lines(path);
                assert_eq!(lines.len(), words.len(), "{lines:?}");
                assert!(lines.iter().zip(words).all(|(line, word)| line.contains(word)), "{lines:?}");
            };
            has(&screen, &["two", "three", "six", "seven"]);
            has(&first, &["four"]);
            has(&second, &["six"]);
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let writer = BoxMakeWriter::new(Mutex::new(full));
        let (subscriber, _log) = subscriber(&LogConfig::default(), writer).unwrap();
        let before = errors();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            tracing::debug!("not shown");
            tracing::warn!("two");
        });
        assert_eq!(errors() - before, 2);
    }

    #[test]
    fn an_unusable_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let config = LogConfig { file: Some(directory.path().to_path_buf()), ..LogConfig::default() };
        let error = init(&config).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
    }
}

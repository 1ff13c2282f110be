//! What a service manager is told of the agent (sd_notify(3)): when it is ready, what it waits for, that it lives, that it
//! ends.
//!
//! While it is not ready the manager is asked to wait: a datastore that is away is no reason to kill an agent that forwards and
//! enforces. The watchdog is fed as long as every part is live; one that is not for longer than the watchdog's time gets the
//! agent restarted.

use observe::health::{Health, PartHealth};
use observe::shutdown::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Variable that names the manager's socket.
pub(crate) const SOCKET: &str = "NOTIFY_SOCKET";
/// How often health is looked at; more often where the watchdog is quick.
const LOOK: Duration = Duration::from_millis(500);
/// How much longer a start may take from now on, said each time it is looked at.
const EXTEND: Duration = Duration::from_secs(30);

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
#[error("{variable}={value:?}: {reason}; the service manager sets it")]
pub struct NotifyError {
    variable: &'static str,
    value: String,
    reason: String,
}

/// The manager, and what it was told.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
    news: News,
}

impl Notifier {
    /// The manager that these variables name; `None` where there is none.
    ///
    /// # Errors
    /// They mean nothing, or its socket cannot be reached.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, NotifyError> {
        let Some(path) = variable(SOCKET) else { return Ok(None) };
        let failed = |error: std::io::Error| NotifyError {
            variable: SOCKET,
            value: path.clone(),
            reason: error.to_string(),
        };
        let manager = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&path),
        };
        let manager = manager.map_err(failed)?;
        let socket = UnixDatagram::unbound().map_err(failed)?;
        // a manager that does not read must not hold up the agent
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Some(Self { socket, manager, news: News::new(watchdog(variable, std::process::id())?) }))
    }

    /// Tells what there is to tell until `shutdown` fires, and that. The agent is ready when all of these parts, and every
    /// other, are.
    pub async fn run(mut self, health: Health, parts: &[&str], shutdown: Shutdown) {
        let pause = self.news.watchdog.map_or(LOOK, |time| LOOK.min(time / 4));
        loop {
            let now = Instant::now();
            let words = self.news.next(&health.parts(now), parts, now);
            self.say(&words);
            tokio::select! {
                () = shutdown.wait() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.say(&format!("STOPPING=1\nSTATUS=ends: {}", line(&shutdown.reason().unwrap_or_default())));
    }

    fn say(&self, words: &str) {
        if words.is_empty() {
            return;
        }
        if let Err(error) = self.socket.send_to_addr(words.as_bytes(), &self.manager) {
            tracing::warn!(%error, "the service manager cannot be told how the agent is");
        }
    }
}

/// How often the manager wants a sign of life at least, if it does from this process.
fn watchdog(
    variable: &dyn Fn(&str) -> Option<String>,
    process: u32,
) -> Result<Option<Duration>, NotifyError> {
    let wrong =
        |variable, value: String, reason: &str| NotifyError { variable, value, reason: reason.to_owned() };
    if let Some(whose) = variable("WATCHDOG_PID") {
        match whose.parse::<u32>() {
            Ok(number) if number == process => {}
            Ok(_) => return Ok(None),
            Err(_) => return Err(wrong("WATCHDOG_PID", whose, "expected a process's number")),
        }
    }
    let Some(text) = variable("WATCHDOG_USEC") else { return Ok(None) };
    match text.parse() {
        Ok(time) if time > 0 => Ok(Some(Duration::from_micros(time))),
        _ => Err(wrong("WATCHDOG_USEC", text, "expected microseconds")),
    }
}

/// What to say next, as a function of health and time.
#[derive(Debug)]
struct News {
    watchdog: Option<Duration>,
    fed: Option<Instant>,
    ready: bool,
    status: String,
}

impl News {
    fn new(watchdog: Option<Duration>) -> Self {
        Self { watchdog, fed: None, ready: false, status: String::new() }
    }

    fn next(&mut self, health: &[PartHealth], parts: &[&str], now: Instant) -> String {
        let mut lines = Vec::new();
        let missing = parts.iter().find(|name| health.iter().all(|part| part.name != **name));
        let unready = health.iter().find(|part| !part.report.ready);
        let waits = match (unready, missing) {
            (Some(part), _) => Some(format!("{}: {}", part.name, part.report.reason)),
            (None, Some(name)) => Some(format!("{name}: has not begun yet")),
            (None, None) => None,
        };
        if !self.ready {
            match waits {
                Some(_) => lines.push(format!("EXTEND_TIMEOUT_USEC={}", EXTEND.as_micros())),
                None => {
                    self.ready = true;
                    lines.push("READY=1".to_owned());
                }
            }
        }
        let status = waits.map_or_else(|| "ready".to_owned(), |waits| format!("not ready: {}", line(&waits)));
        if status != self.status {
            lines.push(format!("STATUS={status}"));
            self.status = status;
        }
        let live = health.iter().all(|part| part.report.live);
        let is_due = |watchdog: Duration| {
            self.fed.is_none_or(|fed| now.saturating_duration_since(fed) >= watchdog / 2)
        };
        if live && self.watchdog.is_some_and(is_due) {
            self.fed = Some(now);
            lines.push("WATCHDOG=1".to_owned());
        }
        lines.join("\n")
    }
}

/// A line end would begin another message.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use observe::health::Report;

    fn part(name: &str, report: Report) -> PartHealth {
        PartHealth { name: name.to_owned(), report, age: None }
    }

    #[test]
    fn ready_once_and_a_status_as_often_as_it_changes() {
        let start = Instant::now();
        let mut news = News::new(None);
        let felix = |report| [part("felix", report), part("part felix", Report::ok())];
        let extend = "EXTEND_TIMEOUT_USEC=30000000";
        assert_eq!(
            news.next(&[part("part felix", Report::ok())], &["felix"], start),
            format!("{extend}\nSTATUS=not ready: felix: has not begun yet")
        );
        let waits = felix(Report::not_ready("no datastore\nREADY=1"));
        assert_eq!(
            news.next(&waits, &["felix"], start),
            format!("{extend}\nSTATUS=not ready: felix: no datastore READY=1")
        );
        assert_eq!(news.next(&waits, &["felix"], start), extend);
        assert_eq!(news.next(&felix(Report::ok()), &["felix"], start), "READY=1\nSTATUS=ready");
        assert_eq!(news.next(&felix(Report::ok()), &["felix"], start), "");
        assert_eq!(
            news.next(&felix(Report::not_ready("again")), &["felix"], start),
            "STATUS=not ready: felix: again",
            "what was ready is not ready twice"
        );
    }

    #[test]
    fn the_watchdog_is_fed_at_half_its_time_while_all_live() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut news = News::new(Some(Duration::from_secs(20)));
        let mut fed = |report: Report, second| {
            news.next(&[part("felix", report)], &[], at(second)).contains("WATCHDOG=1")
        };
        assert!(fed(Report::ok(), 0));
        assert!(!fed(Report::ok(), 9));
        assert!(fed(Report::not_ready("no datastore"), 10), "what is not ready may still live");
        assert!(!fed(Report::dead("stuck"), 20));
        assert!(!fed(Report::dead("stuck"), 29));
        assert!(fed(Report::ok(), 30));
    }

    #[test]
    fn the_watchdogs_variables() {
        let of = |list: &[(&str, &str)]| {
            let variable = |name: &str| {
                list.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            watchdog(&variable, 7).map_err(|error| error.to_string())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("WATCHDOG_USEC", "3000000")]), Ok(Some(Duration::from_secs(3))));
        assert_eq!(of(&[("WATCHDOG_USEC", "3"), ("WATCHDOG_PID", "8")]), Ok(None));
        assert!(
            of(&[("WATCHDOG_USEC", "0")]).unwrap_err().contains("WATCHDOG_USEC=\"0\": expected microseconds")
        );
        assert!(of(&[("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", "x")]).unwrap_err().contains("WATCHDOG_PID"));
    }

    #[test]
    fn a_manager_hears_it_under_a_name_of_either_kind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("ocicat-notify-{}", std::process::id());
        let hidden = SocketAddr::from_abstract_name(&name).unwrap();
        let managers = [
            (path.display().to_string(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{name}"), UnixDatagram::bind_addr(&hidden).unwrap()),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (value, manager) in managers {
            let variable = |name: &str| (name == SOCKET).then(|| value.clone());
            let notifier = Notifier::of(&variable).unwrap().unwrap();
            let shutdown = Shutdown::default();
            shutdown.trigger("SIGTERM");
            runtime.block_on(notifier.run(Health::default(), &[], shutdown));
            let hear = || {
                let mut bytes = [0; 200];
                manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let length = manager.recv(&mut bytes).unwrap();
                String::from_utf8(bytes[..length].to_vec()).unwrap()
            };
            assert_eq!(hear(), "READY=1\nSTATUS=ready");
            assert_eq!(hear(), "STOPPING=1\nSTATUS=ends: SIGTERM");
        }
        assert!(Notifier::of(&|_| None).unwrap().is_none());
    }
}

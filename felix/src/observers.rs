//! Health and metrics over HTTP, where the settings say so.

use felix_config::settings::{Listen, MAIN_LOOP, Observe};
use observe::health::{Health, Report, Reporter};
use observe::http::{Pages, serve};
use observe::log::{LevelFilter, parse_level, set_file, set_level};
use observe::metrics::{Metrics, Reading, Shown};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How much of the watchdog's time may pass between two reports of the loop.
const BEATS: u32 = 3;

/// The servers, restarted as the settings change, and what the loop reports of itself.
pub(crate) struct Observers {
    health: Health,
    metrics: Option<Metrics>,
    main_loop: Option<(Duration, Reporter)>,
    graph: Reporter,
    servers: [Server; 2],
    /// The log file in force, and its level.
    log_file: Option<(PathBuf, String)>,
}

#[derive(Default)]
struct Server {
    listen: Option<Listen>,
    shown: Option<Shown>,
    task: Option<JoinHandle<()>>,
}

impl Observers {
    pub(crate) fn new(health: Health, metrics: Option<Metrics>) -> Self {
        let graph = health.register("CalculationGraph", None);
        Self { health, metrics, main_loop: None, graph, servers: Default::default(), log_file: None }
    }

    /// Who reads the metrics, for the loop.
    pub(crate) fn readings(&self) -> mpsc::Receiver<Reading> {
        // without a recorder nobody ever does
        self.metrics.as_ref().map_or_else(|| mpsc::channel(1).1, Metrics::readings)
    }

    /// Listens where these settings say.
    pub(crate) fn set_settings(&mut self, settings: &Observe) {
        if self.main_loop.as_ref().is_none_or(|(promise, _)| *promise != settings.watchdog) {
            // the old reporter unregisters the name when it goes
            self.main_loop = None;
            self.main_loop =
                Some((settings.watchdog, self.health.register(MAIN_LOOP, Some(settings.watchdog))));
        }
        if let Ok(level) = parse_level(&settings.log_level) {
            set_level(level);
        }
        self.set_log_file(settings);
        let shown = if settings.process_metrics { Shown::All } else { Shown::Parts };
        let metrics = self.metrics.clone().map(|metrics| Pages::Metrics(metrics, shown));
        let pages =
            [(&settings.health, Some(Pages::Health(self.health.clone()))), (&settings.metrics, metrics)];
        for (server, (listen, pages)) in self.servers.iter_mut().zip(pages) {
            server.set(listen.as_ref(), pages);
        }
    }

    fn set_log_file(&mut self, settings: &Observe) {
        let wanted = settings.log_file.clone().map(|path| (path, settings.log_level_file.clone()));
        if wanted == self.log_file {
            return;
        }
        let level = parse_level(&settings.log_level_file).unwrap_or(LevelFilter::INFO);
        if let Err(error) = set_file(settings.log_file.as_deref(), level) {
            tracing::warn!(%error, "LogFilePath: nothing is written there");
        }
        self.log_file = wanted;
    }

    /// How often [`Observers::beat`] has to be called at least.
    pub(crate) fn interval(&self) -> Duration {
        self.main_loop.as_ref().map_or(Duration::from_secs(10), |(promise, _)| *promise / BEATS)
    }

    /// The loop lives; it is ready unless it waits for something.
    pub(crate) fn beat(&self, in_sync: bool, waiting: Option<&str>) {
        if let Some(metrics) = &self.metrics {
            metrics.take_in();
        }
        let now = Instant::now();
        let report = |waiting: Option<&str>| waiting.map_or_else(Report::ok, Report::not_ready);
        self.graph.report(report((!in_sync).then_some("the datastore has not been read yet")), now);
        if let Some((_, reporter)) = &self.main_loop {
            reporter.report(report(waiting), now);
        }
    }
}

impl Server {
    fn set(&mut self, listen: Option<&Listen>, pages: Option<Pages>) {
        let shown = match &pages {
            Some(Pages::Metrics(_, shown)) => Some(*shown),
            _ => None,
        };
        if self.listen.as_ref() == listen && self.shown == shown {
            return;
        }
        (self.listen, self.shown) = (listen.cloned(), shown);
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let (Some(listen), Some(pages)) = (listen.cloned(), pages) {
            self.task = Some(tokio::spawn(async move { serve(&listen.host, listen.port, pages).await }));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_takes_in_what_was_recorded() {
        let observers = Observers::new(Health::default(), Metrics::of_process());
        let resident = || -> usize {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let beats = |count: usize| {
            for _ in 0..count {
                (0..50_000).for_each(|_| metrics::histogram!("felix_test_seconds").record(0.5));
                observers.beat(true, None);
            }
        };
        beats(2);
        let before = resident();
        beats(40);
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes for two million values that nobody read");
    }
}

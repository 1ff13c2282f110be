//! Metrics of a process in the Prometheus text format, under the exact names the code gives.
//!
//! Counters and summaries are written where something happens. What there is so many of is counted when somebody reads:
//! its owner is asked first ([`Metrics::readings`]), so that it costs nothing while nobody reads.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Of what a summary has seen: those of Calico's.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// The time that the quantiles are of. A summary is exact and takes some 100 KB of values far apart: there is one of each.
const WINDOW: Duration = Duration::from_secs(60);
/// How long whoever reads waits for a part that is asked: a busy one shows what it had at the last reading.
const PATIENCE: Duration = Duration::from_secs(1);
/// Readings that may wait for a part.
const WAITING: usize = 4;

/// The recorder of this process, once one of its parts has asked for it.
static RECORDER: OnceLock<Option<Metrics>> = OnceLock::new();

/// The recorder's reading side. Parts write with `metrics::counter!`, `gauge!`, `histogram!`.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    /// Those who are asked before somebody reads.
    parts: Arc<Mutex<Vec<mpsc::Sender<Reading>>>>,
}

/// Somebody reads, and waits until this is dropped: by then all that is counted for readers alone is up to date.
#[derive(Debug)]
pub struct Reading {
    _done: oneshot::Sender<()>,
}

/// What of a process is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// What its parts count.
    Parts,
    /// The same, and what the kernel knows of the process.
    All,
}

impl Metrics {
    /// The process's recorder, installed by whoever asks first; none where something that is not ours records already.
    pub fn of_process() -> Option<Self> {
        let installed = RECORDER.get_or_init(|| {
            // refused are values alone, which these are not
            let recorder = summaries(PrometheusBuilder::new()).unwrap_or_default().build_recorder();
            let handle = recorder.handle();
            let metrics = Self { handle, parts: Arc::default() };
            metrics::set_global_recorder(recorder).is_ok().then_some(metrics)
        });
        installed.clone()
    }

    /// For a part that counts something only when somebody reads: it is sent a [`Reading`] before each, until it drops the
    /// receiver.
    pub fn readings(&self) -> mpsc::Receiver<Reading> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Takes in what was recorded of histograms: until then the recorder keeps every single value, whether anybody reads them
    /// or not. To be called now and then, as often as a thousand values are.
    pub fn take_in(&self) {
        self.handle.run_upkeep();
    }

    /// Everything there is, in the Prometheus text format. Asks the parts first, a second long at most.
    pub async fn read(&self, shown: Shown) -> String {
        let until = Instant::now() + PATIENCE;
        for asked in self.ask() {
            // one that is gone, or has too many readers, shows what it had
            let _ = timeout_at(until, asked).await;
        }
        let mut text = self.render();
        if shown == Shown::All {
            crate::process::render(&mut text);
        }
        text
    }

    fn ask(&self) -> Vec<oneshot::Receiver<()>> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|part| !part.is_closed());
        let ask = |part: &mpsc::Sender<Reading>| {
            let (done, asked) = oneshot::channel();
            part.try_send(Reading { _done: done }).is_ok().then_some(asked)
        };
        parts.iter().filter_map(ask).collect()
    }

    /// Everything recorded so far, in the Prometheus text format.
    fn render(&self) -> String {
        self.take_in();
        self.handle.render()
    }
}

fn summaries(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    Ok(builder.set_quantiles(&QUANTILES)?.set_bucket_duration(WINDOW)?.set_bucket_count(NonZeroU32::MIN))
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_verbatim_and_all_parts_share_one_recorder() {
        let metrics = Metrics::of_process().unwrap();
        metrics::counter!("felix_cluster_num_hosts").increment(3);
        metrics::gauge!("ipam_blocks", "node" => "n1").set(2.0);
        let text = metrics.render();
        assert!(text.contains("\nfelix_cluster_num_hosts 3"), "{text}");
        assert!(text.contains("ipam_blocks{node=\"n1\"} 2"), "{text}");
        metrics::counter!("felix_cluster_num_hosts").increment(1);
        assert!(Metrics::of_process().unwrap().render().contains("\nfelix_cluster_num_hosts 4"));
    }

    #[tokio::test]
    async fn who_counts_for_readers_is_asked_before_each_reading_and_not_waited_for_without_end() {
        let metrics = Metrics::of_process().unwrap();
        let mut readings = metrics.readings();
        let counts = tokio::spawn(async move {
            for count in 1..=2 {
                let reading = readings.recv().await.unwrap();
                metrics::gauge!("test_read").set(f64::from(count));
                drop(reading);
            }
            readings
        });
        for count in 1..=2 {
            let text = metrics.read(Shown::Parts).await;
            assert!(text.contains(&format!("\ntest_read {count}\n")), "{text}");
            assert!(!text.contains("process_open_fds"), "{text}");
        }
        // one that hears of it and does nothing, and one that has gone
        let mut busy = counts.await.unwrap();
        let text = metrics.read(Shown::All).await;
        assert!(text.contains("\ntest_read 2\n") && text.contains("\nprocess_open_fds "), "{text}");
        assert!(busy.try_recv().is_ok());
        drop(busy);
        assert!(metrics.ask().is_empty());
    }

    #[test]
    fn summaries_have_calicos_quantiles() {
        let metrics = Metrics::of_process().unwrap();
        (1..=100).for_each(|value| metrics::histogram!("test_summary").record(f64::from(value)));
        let text = metrics.render();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("test_summary")).collect();
        let quantiles: Vec<&str> = lines.iter().filter_map(|line| line.split('"').nth(1)).collect();
        assert_eq!(quantiles, ["0.5", "0.9", "0.99"], "{text}");
        assert!(
            lines.contains(&"test_summary_sum 5050") && lines.contains(&"test_summary_count 100"),
            "{text}"
        );
    }

    #[test]
    fn values_that_nobody_reads_are_not_kept() {
        let metrics = Metrics::of_process().unwrap();
        let resident = || -> usize {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let record = |values: usize| {
            for _ in 0..values {
                metrics::histogram!("felix_test_seconds").record(0.5);
            }
            metrics.take_in();
        };
        record(100_000);
        let before = resident();
        (0..40).for_each(|_| record(50_000));
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes for two million values");
        assert!(metrics.render().contains("felix_test_seconds_count 2100000"));
    }
}

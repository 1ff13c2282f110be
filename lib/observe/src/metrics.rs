//! Metrics of a process in the Prometheus text format, under the exact names the code gives.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// The recorder of this process, once one of its parts has asked for it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The recorder's reading side. Parts write with `metrics::counter!`, `gauge!`, `histogram!`.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// The process's recorder, installed by whoever asks first; none where something that is not ours records already.
    pub fn of_process() -> Option<Self> {
        let installed = RECORDER.get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).is_ok().then_some(handle)
        });
        installed.clone().map(Self)
    }

    /// Takes in what was recorded of histograms: until then the recorder keeps every single value, whether anybody reads them
    /// or not. To be called now and then, as often as a thousand values are.
    pub fn take_in(&self) {
        self.0.run_upkeep();
    }

    /// Everything recorded so far, in the Prometheus text format.
    pub fn render(&self) -> String {
        self.take_in();
        self.0.render()
    }
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

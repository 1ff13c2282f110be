//! Metrics of a process in the Prometheus text format, under the exact names the code gives.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The recorder's reading side. Parts write with `metrics::counter!`, `gauge!`, `histogram!`.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Metrics were set up before in this process.
#[derive(Debug, thiserror::Error)]
#[error("metrics are already set up")]
pub struct MetricsError;

impl Metrics {
    /// Installs the process's recorder; once a process.
    ///
    /// # Errors
    /// When one is installed already.
    pub fn install() -> Result<Self, MetricsError> {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| MetricsError)?;
        Ok(Self(handle))
    }

    /// Everything recorded so far, in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
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
    fn names_come_out_verbatim_and_a_second_recorder_is_refused() {
        let metrics = Metrics::install().unwrap();
        metrics::counter!("felix_cluster_num_hosts").increment(3);
        metrics::gauge!("ipam_blocks", "node" => "n1").set(2.0);
        let text = metrics.render();
        assert!(text.contains("\nfelix_cluster_num_hosts 3"), "{text}");
        assert!(text.contains("ipam_blocks{node=\"n1\"} 2"), "{text}");
        assert!(Metrics::install().is_err());
    }
}

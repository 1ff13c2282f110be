//! Health and metrics over HTTP, for whoever cannot dial the local socket: kubelet, Prometheus.
//! Source of paths and codes: `felix.md` §1.1, §19 of the contract.

use crate::health::Health;
use crate::metrics::{Metrics, Shown};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Pauses between attempts to listen.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// What is served.
#[derive(Debug, Clone)]
pub enum Pages {
    /// `/liveness` and `/readiness`: 200 or 503, with a line a part; 204 where there is nothing to say.
    Health(Health),
    /// `/metrics` in the Prometheus text format.
    Metrics(Metrics, Shown),
}

/// Serves at this name or address (empty: all addresses) until the future is dropped. A port that is taken is tried again.
pub async fn serve(host: &str, port: u16, pages: Pages) {
    let host = if host.is_empty() { "::" } else { host };
    let mut said = false;
    loop {
        match TcpListener::bind((host, port)).await {
            Ok(listener) => {
                tracing::info!(host, port, "serving {}", pages.name());
                if let Err(error) = axum::serve(listener, pages.routes()).await {
                    tracing::warn!(host, port, %error, "the server of {} failed, starting it again", pages.name());
                }
            }
            Err(error) if !said => {
                said = true;
                tracing::warn!(host, port, %error, "cannot serve {}, trying again", pages.name());
            }
            Err(_) => {}
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

impl Pages {
    fn name(&self) -> &'static str {
        match self {
            Pages::Health(_) => "health",
            Pages::Metrics(..) => "metrics",
        }
    }

    fn routes(&self) -> Router {
        match self.clone() {
            Pages::Health(health) => {
                let ready = health.clone();
                Router::new()
                    .route("/liveness", get(move || std::future::ready(answer(&health, false))))
                    .route("/readiness", get(move || std::future::ready(answer(&ready, true))))
            }
            Pages::Metrics(metrics, shown) => {
                let headers = [("content-type", "text/plain; version=0.0.4")];
                let page = move || {
                    let metrics = metrics.clone();
                    async move { (headers, metrics.read(shown).await) }
                };
                Router::new().route("/metrics", get(page))
            }
        }
    }
}

fn answer(health: &Health, readiness: bool) -> (StatusCode, String) {
    let parts = health.parts(Instant::now());
    let good = parts.iter().all(|part| if readiness { part.report.ready } else { part.report.live });
    let word = |yes: bool, word: &str| if yes { word.to_owned() } else { format!("not {word}") };
    let lines: String = parts
        .iter()
        .map(|part| {
            let report = &part.report;
            format!(
                "{}\t{}\t{}\t{}\n",
                part.name,
                word(report.live, "live"),
                word(report.ready, "ready"),
                report.reason
            )
        })
        .collect();
    match (good, lines.is_empty()) {
        (true, true) => (StatusCode::NO_CONTENT, lines),
        (true, false) => (StatusCode::OK, lines),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, lines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Report;

    #[test]
    fn codes_and_lines_tell_what_lives_and_what_is_ready() {
        let health = Health::default();
        assert_eq!(answer(&health, true), (StatusCode::NO_CONTENT, String::new()));
        let part = health.register("felix", None);
        part.report(Report::not_ready("resync"), Instant::now());
        assert_eq!(answer(&health, false), (StatusCode::OK, "felix\tlive\tnot ready\tresync\n".to_owned()));
        assert_eq!(answer(&health, true).0, StatusCode::SERVICE_UNAVAILABLE);
        part.report(Report::ok(), Instant::now());
        assert_eq!(answer(&health, true).0, StatusCode::OK);
    }

    #[test]
    fn a_page_is_served_over_a_connection() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let health = Health::default();
            health.register("felix", None);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, Pages::Health(health).routes()).await });
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream
                .write_all(b"GET /liveness HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        });
    }
}

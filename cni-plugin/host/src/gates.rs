//! Readiness gates: ADD waits until each address answers (`cni.md` §2 of the contract).

use cni_protocol::CniError;
use cni_protocol::gate::{Gate, is_ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a gate may take to open.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the addresses.
///
/// # Errors
/// Names the first that cannot be asked.
pub(crate) fn parse(urls: &[String]) -> Result<Vec<Gate>, CniError> {
    urls.iter().map(|url| Gate::parse(url).map_err(CniError::internal)).collect()
}

/// Waits for all gates, one after another.
///
/// # Errors
/// Names the first that stays shut.
pub(crate) async fn wait(gates: &[Gate]) -> Result<(), CniError> {
    wait_every(INTERVAL, PATIENCE, gates).await
}

async fn wait_every(interval: Duration, patience: Duration, gates: &[Gate]) -> Result<(), CniError> {
    for gate in gates {
        let end = Instant::now() + patience;
        loop {
            let next = Instant::now() + interval;
            let answer = match tokio::time::timeout_at(next.min(end), ask(gate)).await {
                Ok(Ok(true)) => break,
                Ok(Ok(false)) => "it is not ready".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            let address = format!("http://{}:{}{}", gate.host, gate.port, gate.target);
            tracing::debug!(gate = address, answer, "readiness gate is shut");
            if next >= end {
                return Err(CniError::internal(format!(
                    "readiness gate {address} did not open within {} s: {answer}",
                    patience.as_secs()
                )));
            }
            tokio::time::sleep_until(next).await;
        }
    }
    Ok(())
}

async fn ask(gate: &Gate) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((gate.host.as_str(), gate.port)).await?;
    stream.write_all(gate.request().as_bytes()).await?;
    let mut start = Vec::new();
    // The status line is all that counts; a server that never ends its line is cut off.
    while !start.contains(&b'\n') && start.len() < 1024 {
        if stream.read_buf(&mut start).await? == 0 {
            break;
        }
    }
    Ok(is_ready(&start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpListener;

    /// Answers each connection with the next of `answers`; its address, and how many came.
    async fn server(answers: Vec<&'static str>) -> (String, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                let _ = stream.read(&mut request).await;
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (format!("http://127.0.0.1:{port}/readiness"), asked)
    }

    const SHORT: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn a_gate_is_asked_again_until_it_opens() {
        let (url, asked) = server(vec!["HTTP/1.1 503 no\r\n\r\n", "", "HTTP/1.1 204 yes\r\n\r\n"]).await;
        wait_every(SHORT, PATIENCE, &parse(&[url]).unwrap()).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_gate_that_stays_shut_is_named() {
        let (url, _) = server(vec!["HTTP/1.1 503 no\r\n\r\n"; 100]).await;
        let gates = parse(std::slice::from_ref(&url)).unwrap();
        let error = wait_every(SHORT, SHORT * 3, &gates).await.unwrap_err();
        assert!(error.msg.starts_with(&format!("readiness gate {url} did not open within ")), "{error}");
        let gates = parse(&["http://127.0.0.1:1/".into()]).unwrap();
        let refused = wait_every(SHORT, SHORT, &gates).await.unwrap_err();
        assert!(refused.msg.contains("refused"), "{refused}");
    }

    #[test]
    fn bad_addresses_are_refused_before_anything_happens() {
        assert!(parse(&["http://a/".into(), "b".into()]).is_err());
        assert!(parse(&[]).unwrap().is_empty());
    }
}

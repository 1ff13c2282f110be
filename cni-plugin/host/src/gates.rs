//! Readiness gates: ADD waits until each address answers (`cni.md` §2 of the contract).

use cni_protocol::CniError;
use cni_protocol::gate::{Gate, is_ready};
use datastore::system_authorities;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

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

/// Waits for all gates, one after another. One over TLS has to show a certificate of an authority this system trusts.
///
/// # Errors
/// Names the first that stays shut.
pub(crate) async fn wait(gates: &[Gate]) -> Result<(), CniError> {
    let trust = match gates.iter().any(|gate| gate.secure) {
        true => system_authorities().unwrap_or_default(),
        false => String::new(),
    };
    wait_every(INTERVAL, PATIENCE, gates, &trust).await
}

/// `trust` are the authorities' certificates, PEM.
async fn wait_every(
    interval: Duration,
    patience: Duration,
    gates: &[Gate],
    trust: &str,
) -> Result<(), CniError> {
    for gate in gates {
        let end = Instant::now() + patience;
        loop {
            let next = Instant::now() + interval;
            let answer = match tokio::time::timeout_at(next.min(end), ask(gate, trust)).await {
                Ok(Ok(true)) => break,
                Ok(Ok(false)) => "it is not ready".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            tracing::debug!(%gate, answer, "readiness gate is shut");
            if next >= end {
                return Err(CniError::internal(format!(
                    "readiness gate {gate} did not open within {} s: {answer}",
                    patience.as_secs()
                )));
            }
            tokio::time::sleep_until(next).await;
        }
    }
    Ok(())
}

async fn ask(gate: &Gate, trust: &str) -> io::Result<bool> {
    let stream = TcpStream::connect((gate.host.as_str(), gate.port)).await?;
    match gate.secure {
        true => talk(tls(gate, trust, stream).await?, gate).await,
        false => talk(stream, gate).await,
    }
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, gate: &Gate) -> io::Result<bool> {
    stream.write_all(gate.request().as_bytes()).await?;
    stream.flush().await?;
    let mut start = Vec::new();
    // The status line is all that counts; a server that never ends its line is cut off.
    while !start.contains(&b'\n') && start.len() < 1024 {
        if stream.read_buf(&mut start).await? == 0 {
            break;
        }
    }
    Ok(is_ready(&start))
}

/// Encrypts a connection to a gate whose certificate `trust` vouches for.
async fn tls(gate: &Gate, trust: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(trust.as_bytes()).flatten());
    if roots.is_empty() {
        return Err(io::Error::other("this system has no authorities to trust: install ca-certificates"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(gate.host.clone()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

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
        wait_every(SHORT, PATIENCE, &parse(&[url]).unwrap(), "").await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_gate_that_stays_shut_is_named() {
        let (url, _) = server(vec!["HTTP/1.1 503 no\r\n\r\n"; 100]).await;
        let gates = parse(std::slice::from_ref(&url)).unwrap();
        let error = wait_every(SHORT, SHORT * 3, &gates, "").await.unwrap_err();
        assert!(error.msg.starts_with(&format!("readiness gate {url} did not open within ")), "{error}");
        let gates = parse(&["http://127.0.0.1:1/".into()]).unwrap();
        let refused = wait_every(SHORT, SHORT, &gates, "").await.unwrap_err();
        assert!(refused.msg.contains("refused"), "{refused}");
    }

    /// Certificates for `127.0.0.1`, made by the machine's openssl: `key.pem` and `cert.pem`.
    fn certificate(directory: &Path) -> String {
        let openssl = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-subj", "/CN=gate", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(directory)
            .output()
            .expect("package openssl");
        assert!(openssl.status.success(), "{}", String::from_utf8_lossy(&openssl.stderr));
        std::fs::read_to_string(directory.join("cert.pem")).unwrap()
    }

    #[tokio::test]
    async fn a_gate_over_tls_has_to_be_trusted() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let trust = certificate(ours.path());
        let stranger = certificate(other.path());
        let key = PrivateKeyDer::from_pem_file(ours.path().join("key.pem")).unwrap();
        let chain = CertificateDer::pem_slice_iter(trust.as_bytes()).flatten().collect();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/readiness", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = [0; 512];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
        let gates = parse(&[url]).unwrap();
        wait_every(INTERVAL, PATIENCE, &gates, &trust).await.unwrap();
        let once = Duration::from_millis(500);
        for (trust, says) in [(stranger.as_str(), "certificate"), ("", "install ca-certificates")] {
            let refused = wait_every(once, once, &gates, trust).await.unwrap_err();
            assert!(refused.msg.contains(says), "{refused}");
        }
    }

    #[test]
    fn bad_addresses_are_refused_before_anything_happens() {
        assert!(parse(&["http://a/".into(), "b".into()]).is_err());
        assert!(parse(&[]).unwrap().is_empty());
    }
}

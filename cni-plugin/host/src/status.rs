//! Waiting until the node's agent has programmed an endpoint (`cni.md` §10 of the contract).

use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until `file` exists in `directory`, at most `limit`. Whether it came in time; not to have come is no error,
/// because a workload that starts a little early is better than none.
pub(crate) async fn wait(directory: &Path, file: &str, limit: Duration) -> bool {
    let path = directory.join(file);
    let end = Instant::now() + limit;
    loop {
        if tokio::fs::try_exists(&path).await.unwrap_or(false) {
            return true;
        }
        if Instant::now() >= end {
            tracing::warn!(file = %path.display(), seconds = limit.as_secs(), "endpoint is not programmed yet");
            return false;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn comes_or_does_not() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!wait(directory.path(), "k8s shop%2Fweb-0 eth0", Duration::ZERO).await);
        let path = directory.path().join("k8s shop%2Fweb-0 eth0");
        let writer = tokio::spawn(async move { tokio::fs::write(path, "up").await });
        assert!(wait(directory.path(), "k8s shop%2Fweb-0 eth0", Duration::from_secs(10)).await);
        writer.await.unwrap().unwrap();
    }
}

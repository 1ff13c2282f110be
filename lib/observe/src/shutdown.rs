//! The end of a process: one token, fired once, and a bounded drain.

use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells every task that the process ends, and why. Clones share the state.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<Option<String>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Shutdown {
    /// Fires; the first reason stays.
    pub fn trigger(&self, reason: impl Into<String>) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason.into());
            }
            first
        });
    }

    /// The reason, once fired.
    pub fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits until fired; cancel-safe.
    pub async fn wait(&self) {
        // the sender lives in `self`, so waiting can only end by the condition
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Fires on SIGTERM or SIGINT; returns when the handlers are in place.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let token = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => token.trigger("SIGTERM"),
                _ = int.recv() => token.trigger("SIGINT"),
                () = token.wait() => {}
            }
        });
        Ok(())
    }
}

/// Waits for `work` after the token fired, at most `deadline`; false when it had to be cut off.
pub async fn drain(work: impl Future<Output = ()>, deadline: Duration) -> bool {
    tokio::time::timeout(deadline, work).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn the_first_reason_stays_and_late_waiters_do_not_hang() {
        runtime().block_on(async {
            let shutdown = Shutdown::default();
            let early = tokio::spawn({
                let shutdown = shutdown.clone();
                async move { shutdown.wait().await }
            });
            tokio::task::yield_now().await;
            assert_eq!(shutdown.reason(), None);
            shutdown.trigger("first");
            shutdown.trigger("second");
            early.await.unwrap();
            shutdown.wait().await;
            assert_eq!(shutdown.reason().as_deref(), Some("first"));
        });
    }

    #[test]
    fn a_signal_fires() {
        runtime().block_on(async {
            let shutdown = Shutdown::default();
            shutdown.on_signals().unwrap();
            let status = std::process::Command::new("kill")
                .args(["-TERM", &std::process::id().to_string()])
                .status()
                .unwrap();
            assert!(status.success());
            assert!(drain(shutdown.wait(), Duration::from_secs(10)).await);
            assert_eq!(shutdown.reason().as_deref(), Some("SIGTERM"));
        });
    }

    #[test]
    fn a_drain_is_bounded() {
        runtime().block_on(async {
            tokio::time::timeout(Duration::from_secs(10), async {
                assert!(!drain(std::future::pending(), Duration::from_millis(5)).await);
                assert!(drain(std::future::ready(()), Duration::from_millis(5)).await);
            })
            .await
            .unwrap();
        });
    }
}

//! Asking a running process over its local socket: what all parts have in common.
//!
//! A part's own client dials through [`Client`], puts its service's stub on the [channel](Client::channel), and fails with
//! the same [`ClientError`].

use crate::proto::observe_client::ObserveClient;
use crate::proto::{HealthRequest, HealthResponse, MetricsRequest};
use crate::socket::{SocketError, dial};
use std::path::Path;
use tonic::transport::Channel;

/// Why a process cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers there.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// It refuses the question, in its words.
    #[error("{0}")]
    Refused(String),
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        ClientError::Refused(status.message().to_owned())
    }
}

/// A connection to a process.
#[derive(Debug)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Dials the process at `socket`.
    ///
    /// # Errors
    /// Nothing answers there.
    pub async fn dial(socket: &Path) -> Result<Self, ClientError> {
        Ok(Self { channel: dial(socket).await? })
    }

    /// The connection, for the stub of a part's service.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    fn observe(&self) -> ObserveClient<Channel> {
        ObserveClient::new(self.channel())
    }

    /// Whether its parts live and are ready.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn health(&self) -> Result<HealthResponse, ClientError> {
        Ok(self.observe().health(HealthRequest {}).await?.into_inner())
    }

    /// All its metrics in the Prometheus text format.
    ///
    /// # Errors
    /// The connection is lost, or metrics are switched off.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        Ok(self.observe().metrics(MetricsRequest {}).await?.into_inner().text)
    }
}

//! Asking a running agent over its local socket.

use crate::proto::felix_client::FelixClient;
use crate::proto::{ParamsRequest, ParamsResponse, StatusRequest, StatusResponse};
use observe::proto::observe_client::ObserveClient;
use observe::proto::{HealthRequest, HealthResponse, MetricsRequest};
use observe::socket::{SocketError, dial};
use std::path::Path;
use tonic::transport::Channel;

/// Where an agent's socket lies unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ocicat/felix.sock";

/// Why an agent cannot be asked.
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

/// A connection to an agent.
#[derive(Debug)]
pub struct Client {
    felix: FelixClient<Channel>,
    observe: ObserveClient<Channel>,
}

impl Client {
    /// Dials the agent at `socket`.
    ///
    /// # Errors
    /// Nothing answers there.
    pub async fn dial(socket: &Path) -> Result<Self, ClientError> {
        let channel = dial(socket).await?;
        Ok(Self { felix: FelixClient::new(channel.clone()), observe: ObserveClient::new(channel) })
    }

    /// The agent as a whole.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn status(&mut self) -> Result<StatusResponse, ClientError> {
        Ok(self.felix.status(StatusRequest {}).await?.into_inner())
    }

    /// All parameters, and what is wrong with them.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn params(&mut self) -> Result<ParamsResponse, ClientError> {
        Ok(self.felix.params(ParamsRequest {}).await?.into_inner())
    }

    /// Whether its parts live and are ready.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn health(&mut self) -> Result<HealthResponse, ClientError> {
        Ok(self.observe.health(HealthRequest {}).await?.into_inner())
    }

    /// All metrics of the agent's process in the Prometheus text format.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn metrics(&mut self) -> Result<String, ClientError> {
        Ok(self.observe.metrics(MetricsRequest {}).await?.into_inner().text)
    }
}

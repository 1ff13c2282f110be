//! Asking a running agent over its local socket.

use crate::proto::felix_client::FelixClient;
use crate::proto::{ParamsRequest, ParamsResponse, StatusRequest, StatusResponse};
pub use observe::client::ClientError;
use observe::proto::HealthResponse;
use std::path::Path;
use tonic::transport::Channel;

/// Where an agent's socket lies unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ocicat/felix.sock";

/// A connection to an agent.
#[derive(Debug)]
pub struct Client {
    felix: FelixClient<Channel>,
    process: observe::client::Client,
}

impl Client {
    /// Dials the agent at `socket`.
    ///
    /// # Errors
    /// Nothing answers there.
    pub async fn dial(socket: &Path) -> Result<Self, ClientError> {
        let process = observe::client::Client::dial(socket).await?;
        Ok(Self { felix: FelixClient::new(process.channel()), process })
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
    pub async fn health(&self) -> Result<HealthResponse, ClientError> {
        self.process.health().await
    }

    /// All metrics of the agent's process in the Prometheus text format.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        self.process.metrics().await
    }
}

//! Asking a running speaker over its local socket.

use crate::proto::bgp_client::BgpClient;
use crate::proto::{
    ExplainRequest, ExplainResponse, Peer, PeersRequest, Route, RoutesRequest, StatusRequest, StatusResponse,
};
pub use observe::client::ClientError;
use observe::proto::HealthResponse;
use std::path::Path;
use tonic::transport::Channel;

/// Where a speaker's socket lies unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ocicat/bgpd.sock";

/// A connection to a speaker.
#[derive(Debug)]
pub struct Client {
    bgp: BgpClient<Channel>,
    process: observe::client::Client,
}

impl Client {
    /// Dials the speaker at `socket`.
    ///
    /// # Errors
    /// Nothing answers there.
    pub async fn dial(socket: &Path) -> Result<Self, ClientError> {
        let process = observe::client::Client::dial(socket).await?;
        Ok(Self { bgp: BgpClient::new(process.channel()), process })
    }

    /// All metrics of the speaker's process in the Prometheus text format.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        self.process.metrics().await
    }

    /// The speaker as a whole.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn status(&mut self) -> Result<StatusResponse, ClientError> {
        Ok(self.bgp.status(StatusRequest {}).await?.into_inner())
    }

    /// Whether the parts of its process live and are ready.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn health(&self) -> Result<HealthResponse, ClientError> {
        self.process.health().await
    }

    /// All sessions.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn peers(&mut self) -> Result<Vec<Peer>, ClientError> {
        Ok(self.bgp.peers(PeersRequest {}).await?.into_inner().peers)
    }

    /// A page of routes inside `within` (empty for all) that begins at `from` (empty for the first), and where the one
    /// after it begins.
    ///
    /// # Errors
    /// `within` is no prefix; the connection is lost.
    pub async fn routes(
        &mut self,
        within: &str,
        from: &str,
    ) -> Result<(Vec<Route>, Option<String>), ClientError> {
        let request = RoutesRequest { within: within.to_owned(), from: from.to_owned() };
        let page = self.bgp.routes(request).await?.into_inner();
        Ok((page.routes, Some(page.next).filter(|next| !next.is_empty())))
    }

    /// Everything about a destination.
    ///
    /// # Errors
    /// It is neither prefix nor address; the connection is lost.
    pub async fn explain(&mut self, prefix: &str) -> Result<ExplainResponse, ClientError> {
        Ok(self.bgp.explain(ExplainRequest { prefix: prefix.to_owned() }).await?.into_inner())
    }
}

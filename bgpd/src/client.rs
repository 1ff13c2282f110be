//! Asking a running speaker over its local socket.

use crate::proto::bgp_client::BgpClient;
use crate::proto::{
    ExplainRequest, ExplainResponse, Peer, PeersRequest, Route, RoutesRequest, StatusRequest, StatusResponse,
};
use observe::proto::MetricsRequest;
use observe::proto::observe_client::ObserveClient;
use observe::socket::{SocketError, dial};
use std::path::Path;
use tonic::transport::Channel;

/// Where a speaker's socket lies unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ocicat/bgpd.sock";

/// Why a speaker cannot be asked.
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

/// A connection to a speaker.
#[derive(Debug)]
pub struct Client {
    bgp: BgpClient<Channel>,
    channel: Channel,
}

impl Client {
    /// Dials the speaker at `socket`.
    ///
    /// # Errors
    /// Nothing answers there.
    pub async fn dial(socket: &Path) -> Result<Self, ClientError> {
        let channel = dial(socket).await?;
        Ok(Self { bgp: BgpClient::new(channel.clone()), channel })
    }

    /// All metrics of the speaker's process in the Prometheus text format.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn metrics(&mut self) -> Result<String, ClientError> {
        let mut observe = ObserveClient::new(self.channel.clone());
        Ok(observe.metrics(MetricsRequest {}).await?.into_inner().text)
    }

    /// The speaker as a whole.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn status(&mut self) -> Result<StatusResponse, ClientError> {
        Ok(self.bgp.status(StatusRequest {}).await?.into_inner())
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

//! The gRPC service: questions go to the loop, which owns all there is to tell, and come back as answers.

use crate::proto::bgp_server::Bgp;
use crate::proto::{
    ExplainRequest, ExplainResponse, PeersRequest, PeersResponse, RoutesRequest, RoutesResponse,
    StatusRequest, StatusResponse,
};
use bgp_wire::{Family, Prefix};
use std::net::IpAddr;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

/// What people may ask.
#[derive(Debug)]
pub(crate) enum Question {
    Status,
    Peers,
    Routes { within: Option<Prefix>, from: Cursor },
    Explain(Destination),
}

/// A destination as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    Prefix(Prefix),
    /// The longest prefix around it.
    Address(IpAddr),
}

/// How far a reader of the table has come: a family, and the place in its table where the next page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub family: Family,
    pub place: u32,
}

impl Cursor {
    pub(crate) const BEGIN: Cursor = Cursor { family: Family::Ipv4Unicast, place: 0 };

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::BEGIN);
        }
        let (afi, place) = text.split_once(':')?;
        let family = Family::from_numbers(afi.parse().ok()?, 1)?;
        Some(Self { family, place: place.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.family.afi(), self.place)
    }
}

/// What they are told.
#[derive(Debug)]
pub(crate) enum Answer {
    Status(StatusResponse),
    Peers(PeersResponse),
    Routes(RoutesResponse),
    Explain(Option<ExplainResponse>),
}

/// The service's side of the questions.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub mpsc::Sender<(Question, oneshot::Sender<Answer>)>);

impl Service {
    async fn ask(&self, question: Question) -> Result<Answer, Status> {
        let (answer, told) = oneshot::channel();
        let ended = |()| Status::unavailable("the speaker is ending");
        self.0.send((question, answer)).await.map_err(|_| ended(()))?;
        told.await.map_err(|_| ended(()))
    }
}

#[tonic::async_trait]
impl Bgp for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        match self.ask(Question::Status).await? {
            Answer::Status(status) => Ok(Response::new(status)),
            _ => Err(mixed_up()),
        }
    }

    async fn peers(&self, _: Request<PeersRequest>) -> Result<Response<PeersResponse>, Status> {
        match self.ask(Question::Peers).await? {
            Answer::Peers(peers) => Ok(Response::new(peers)),
            _ => Err(mixed_up()),
        }
    }

    async fn routes(&self, request: Request<RoutesRequest>) -> Result<Response<RoutesResponse>, Status> {
        let RoutesRequest { within, from } = request.into_inner();
        let unknown = || Status::invalid_argument(format!("{from:?} is where no page begins"));
        let from = Cursor::parse(&from).ok_or_else(unknown)?;
        let question = Question::Routes { within: optional(&within)?, from };
        match self.ask(question).await? {
            Answer::Routes(routes) => Ok(Response::new(routes)),
            _ => Err(mixed_up()),
        }
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let text = request.into_inner().prefix;
        let destination = destination(&text).ok_or_else(|| no_prefix(&text))?;
        match self.ask(Question::Explain(destination)).await? {
            Answer::Explain(Some(explanation)) => Ok(Response::new(explanation)),
            Answer::Explain(None) => {
                Err(Status::not_found(format!("there is no route to {text}, and nobody has announced one")))
            }
            _ => Err(mixed_up()),
        }
    }
}

fn mixed_up() -> Status {
    Status::internal("the answer is to another question")
}

fn optional(text: &str) -> Result<Option<Prefix>, Status> {
    match text {
        "" => Ok(None),
        text => prefix(text).map(Some).ok_or_else(|| no_prefix(text)),
    }
}

fn no_prefix(text: &str) -> Status {
    Status::invalid_argument(format!("{text:?} is no prefix: expected such as 10.65.0.0/26 or fd00::/64"))
}

fn prefix(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/')?;
    Prefix::new(address.parse().ok()?, length.parse().ok()?)
}

fn destination(text: &str) -> Option<Destination> {
    prefix(text).map(Destination::Prefix).or_else(|| text.parse().ok().map(Destination::Address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_prefixes_or_addresses() {
        assert!(matches!(destination("10.0.0.0/8"), Some(Destination::Prefix(_))));
        assert_eq!(destination("10.0.0.1"), Some(Destination::Address("10.0.0.1".parse().unwrap())));
        assert!(matches!(destination("fd00::/64"), Some(Destination::Prefix(_))));
        for bad in ["", "x", "10.0.0.0/33", "10.0.0.0/", "/8", "10.0.0.0/-1"] {
            assert_eq!(destination(bad), None, "{bad}");
        }
        let cursor = Cursor { family: Family::Ipv6Unicast, place: 7 };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        assert_eq!(
            (Cursor::parse(""), Cursor::parse("3:1"), Cursor::parse("x")),
            (Some(Cursor::BEGIN), None, None)
        );
        assert_eq!(optional("").unwrap(), None);
        assert!(optional("nonsense").unwrap_err().message().contains("\"nonsense\" is no prefix"));
    }
}

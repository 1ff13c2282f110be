//! What a failed call means: whether it can have happened, and whether another endpoint may do better.

use crate::StoreError;
use etcd_client::Error;
use std::error::Error as _;
use tonic::{Code, ConnectError, Status};

/// A failed call.
#[derive(Debug)]
pub(super) enum Failure {
    /// It certainly did not happen: no connection.
    NotSent(String),
    /// It certainly did not happen, and will work soon: the member has no leader yet.
    NotReady(String),
    /// Nobody knows: the connection broke, or the cluster was busy with itself.
    Lost(String),
    /// The server's answer; no other endpoint will say otherwise.
    Final(StoreError),
}

/// Sorts an error of the client library.
pub(super) fn classify(error: Error) -> Failure {
    match error {
        Error::GRpcStatus(status) if status.source().is_some() => transport(&status),
        Error::GRpcStatus(status) => answer(status.code(), status.message()),
        Error::WatchError(text) | Error::LeaseKeepAliveError(text) => Failure::Lost(text),
        Error::IoError(error) => Failure::Lost(error.to_string()),
        Error::TransportError(error) => {
            Failure::Final(StoreError::Server(format!("cannot set up the connection: {}", chain(&error))))
        }
        other => Failure::Final(StoreError::Server(other.to_string())),
    }
}

/// Made up on our side: the request never got an answer.
fn transport(status: &Status) -> Failure {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return Failure::NotSent(chain(error));
        }
        cause = error.source();
    }
    Failure::Lost(status.source().map_or_else(|| status.message().to_owned(), chain))
}

/// Said by etcd.
fn answer(code: Code, message: &str) -> Failure {
    let said = |part: &str| message.contains(part);
    match code {
        Code::Unavailable if said("no leader") => Failure::NotReady(message.to_owned()),
        Code::Unavailable => Failure::Lost(message.to_owned()),
        Code::Unauthenticated | Code::PermissionDenied => unauthorized(message),
        Code::InvalidArgument if said("authentication failed") || said("user name is empty") => {
            unauthorized(message)
        }
        Code::InvalidArgument if said("too many operations") => Failure::Final(StoreError::TooManyOps),
        Code::OutOfRange if said("has been compacted") => {
            Failure::Final(StoreError::Compacted { revision: 0 })
        }
        _ if message.is_empty() => Failure::Final(StoreError::Server(format!("etcd answered {code:?}"))),
        _ => Failure::Final(StoreError::Server(message.to_owned())),
    }
}

fn unauthorized(message: &str) -> Failure {
    Failure::Final(StoreError::Unauthorized(message.to_owned()))
}

/// An error with its causes, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_server() {
        let final_of = |code, text: &str| match answer(code, text) {
            Failure::Final(error) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            final_of(Code::PermissionDenied, "etcdserver: permission denied"),
            "connection is unauthorized: etcdserver: permission denied"
        );
        assert_eq!(
            final_of(Code::InvalidArgument, "etcdserver: user name is empty"),
            "connection is unauthorized: etcdserver: user name is empty"
        );
        assert_eq!(
            final_of(Code::InvalidArgument, "etcdserver: too many operations in txn request"),
            StoreError::TooManyOps.to_string()
        );
        assert_eq!(
            final_of(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            "etcdserver: mvcc: database space exceeded"
        );
        assert_eq!(final_of(Code::Internal, ""), "etcd answered Internal");
        assert!(matches!(
            answer(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
            Failure::Final(StoreError::Compacted { revision: 0 })
        ));
    }

    #[test]
    fn a_member_without_leader_did_nothing() {
        assert!(matches!(answer(Code::Unavailable, "etcdserver: no leader"), Failure::NotReady(_)));
        assert!(matches!(answer(Code::Unavailable, "etcdserver: request timed out"), Failure::Lost(_)));
    }
}

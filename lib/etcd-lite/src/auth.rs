//! Users and passwords, when they are configured: whoever logs in may do everything.
//!
//! Users are kept in a file, not in the store, so the Auth service logs in and nothing else.

use crate::engine::Core;
use crate::jobs::Engine;
use etcd_client::proto::{PbAuthenticateRequest, PbAuthenticateResponse};
use futures::future::BoxFuture;
use http::HeaderMap;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tonic::body::Body;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// How long an unused login lasts, as in etcd.
const LOGIN: Duration = Duration::from_secs(300);

/// Who may log in. Not printable: it holds passwords.
#[derive(Default)]
pub struct Users {
    passwords: BTreeMap<String, String>,
    logins: Mutex<HashMap<String, Instant>>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("names", &self.passwords.keys()).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads lines of `NAME:PASSWORD`; empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// A line that is none, by its number, or no user at all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut passwords = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let pair = line.split_once(':').filter(|(name, word)| !name.is_empty() && !word.is_empty());
            let Some((name, password)) = pair else {
                return Err(format!("line {number}: expected NAME:PASSWORD"));
            };
            if passwords.insert(name.to_owned(), password.to_owned()).is_some() {
                return Err(format!("line {number}: user \"{name}\" is there twice"));
            }
        }
        if passwords.is_empty() {
            return Err("it names no user".to_owned());
        }
        Ok(Self { passwords, logins: Mutex::default() })
    }

    /// # Errors
    /// etcd's refusal of a wrong name or password, which does not say which of them it is.
    pub(crate) fn log_in(&self, name: &str, password: &str) -> Result<String, Status> {
        if name.is_empty() {
            return Err(Status::invalid_argument("etcdserver: user name is empty"));
        }
        let known = self.passwords.get(name).is_some_and(|word| same(word.as_bytes(), password.as_bytes()));
        if !known {
            return Err(Status::invalid_argument(
                "etcdserver: authentication failed, invalid user ID or password",
            ));
        }
        let token = format!("{}.{name}", uuid::Uuid::new_v4().simple());
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        logins.retain(|_, end| *end > now);
        logins.insert(token.clone(), now + LOGIN);
        Ok(token)
    }

    /// # Errors
    /// No login, or one that is over.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Status> {
        let token = headers.get("token").or_else(|| headers.get("authorization"));
        let Some(token) = token.and_then(|value| value.to_str().ok()) else {
            return Err(Status::invalid_argument("etcdserver: user name is empty"));
        };
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        match logins.get_mut(token) {
            Some(end) if *end > Instant::now() => {
                *end = Instant::now() + LOGIN;
                Ok(())
            }
            _ => Err(Status::unauthenticated("etcdserver: invalid auth token")),
        }
    }
}

/// In a time that does not depend on where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

/// The Auth service, as far as it is for a store whose users are kept elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) engine: Engine,
    pub(crate) users: Option<Arc<Users>>,
}

impl Auth {
    /// Answers a request for `method`.
    pub(crate) async fn answer(self, method: String, request: http::Request<Body>) -> http::Response<Body> {
        match method.as_str() {
            "Authenticate" => {
                let codec = ProstCodec::<PbAuthenticateResponse, PbAuthenticateRequest>::default();
                tonic::server::Grpc::new(codec).unary(self, request).await
            }
            _ => Status::failed_precondition(
                "etcdserver: users of this store are kept in the file given with --users",
            )
            .into_http(),
        }
    }

    async fn authenticate(self, request: PbAuthenticateRequest) -> Result<PbAuthenticateResponse, Status> {
        let Some(users) = &self.users else {
            return Err(Status::failed_precondition("etcdserver: authentication is not enabled"));
        };
        let token = users.log_in(&request.name, &request.password)?;
        let header = self.engine.ask(|core: &mut Core| Ok(core.header(core.store.revision()))).await?;
        Ok(PbAuthenticateResponse { header: Some(header), token })
    }
}

impl tonic::server::UnaryService<PbAuthenticateRequest> for Auth {
    type Response = PbAuthenticateResponse;
    type Future = BoxFuture<'static, Result<Response<PbAuthenticateResponse>, Status>>;

    fn call(&mut self, request: Request<PbAuthenticateRequest>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move { own.authenticate(request.into_inner()).await.map(Response::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_lines() {
        let users = Users::parse("# people\nroot:se:cret\n\nguest:word\n").unwrap();
        let token = users.log_in("root", "se:cret").unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(users.check(&headers).unwrap_err().message(), "etcdserver: user name is empty");
        headers.insert("token", token.parse().unwrap());
        users.check(&headers).unwrap();
        headers.insert("token", "made-up".parse().unwrap());
        assert_eq!(users.check(&headers).unwrap_err().code(), tonic::Code::Unauthenticated);
        for (name, word) in [("root", "se:cres"), ("root", ""), ("nobody", "word"), ("", "")] {
            assert_eq!(users.log_in(name, word).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
        assert!(!format!("{users:?}").contains("word"));
    }

    #[test]
    fn a_file_that_is_none_is_refused_by_line() {
        for (text, says) in [("", "no user"), ("a:b\nc", "line 2"), (":x", "line 1"), ("a:b\na:c", "twice")] {
            assert!(Users::parse(text).unwrap_err().contains(says), "{text:?}");
        }
    }
}

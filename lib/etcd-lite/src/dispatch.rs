//! Which service answers which request: one tower service for every connection, and for clients in the same process.

use crate::auth::{Auth, Users};
use crate::cluster::{Cluster, Urls};
use crate::gateway::Gateway;
use crate::jobs::Engine;
use crate::kv::{Kv, MAX_REQUEST};
use crate::lease::Lease;
use crate::maintenance::Maintenance;
use crate::metrics::{self, Calls, Traffic};
use crate::watch::{Watch, WatchCodec};
use etcd_client::proto::{PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer};
use futures::future::BoxFuture;
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// Largest message that is read: a request and etcd's overhead for gRPC.
const MAX_MESSAGE: usize = MAX_REQUEST + (512 << 10);

#[derive(Clone)]
pub(crate) struct Dispatch {
    kv: PbKvServer<Kv>,
    watch: Watch,
    lease: PbLeaseServer<Lease>,
    cluster: PbClusterServer<Cluster>,
    maintenance: PbMaintenanceServer<Maintenance>,
    auth: Auth,
    gateway: Gateway,
    users: Option<Arc<Users>>,
    calls: Arc<Calls>,
    engine: Engine,
}

impl Dispatch {
    pub(crate) fn new(engine: &Engine, users: Option<Arc<Users>>, urls: Urls, traffic: Arc<Traffic>) -> Self {
        let calls = Arc::new(Calls::default());
        Self {
            kv: PbKvServer::new(Kv(engine.clone())).max_decoding_message_size(MAX_MESSAGE),
            watch: Watch(engine.clone()),
            lease: PbLeaseServer::new(Lease(engine.clone())),
            cluster: PbClusterServer::new(Cluster { engine: engine.clone(), urls }),
            maintenance: PbMaintenanceServer::new(Maintenance(engine.clone())),
            auth: Auth { engine: engine.clone(), users: users.clone() },
            gateway: Gateway::new(engine.clone(), users.clone(), Arc::clone(&calls), traffic),
            users,
            calls,
            engine: engine.clone(),
        }
    }

    /// Whether a request needs no login. As in etcd, these do not.
    fn is_open(path: &str) -> bool {
        matches!(
            path,
            "/etcdserverpb.Auth/Authenticate"
                | "/etcdserverpb.Maintenance/Status"
                | "/etcdserverpb.Cluster/MemberList"
        )
    }
}

type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

fn ready(response: Response<Body>) -> Answer {
    Box::pin(std::future::ready(Ok(response)))
}

impl Service<Request<Body>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let kind = request.headers().get(http::header::CONTENT_TYPE);
        // a client in the same process need not say what it speaks
        let plain = request.version() < http::Version::HTTP_2
            && !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let path = request.uri().path();
        if plain || !path.starts_with("/etcdserverpb.") {
            let gateway = self.gateway.clone();
            return Box::pin(async move { Ok(gateway.answer(request).await) });
        }
        let path = path.to_owned();
        self.calls.started(&path);
        let refused = match &self.users {
            Some(users) if !Self::is_open(&path) => users.check(request.headers()).err(),
            _ => None,
        };
        let answer = match refused {
            Some(status) => ready(status.into_http()),
            None => self.serve(&path, request),
        };
        let calls = Arc::clone(&self.calls);
        Box::pin(async move { Ok(metrics::counted(calls, path, answer.await?)) })
    }
}

impl Dispatch {
    /// Has a service answer a request that may be asked.
    fn serve(&mut self, path: &str, request: Request<Body>) -> Answer {
        match path.trim_start_matches("/etcdserverpb.").split_once('/') {
            Some(("KV", _)) => {
                let arrived = self.engine.arrived();
                let answer = self.kv.call(request);
                Box::pin(async move {
                    let answer = answer.await;
                    drop(arrived);
                    answer
                })
            }
            Some(("Watch", "Watch")) => {
                let watch = self.watch.clone();
                Box::pin(async move {
                    Ok(tonic::server::Grpc::new(WatchCodec)
                        .apply_max_message_size_config(Some(MAX_MESSAGE), None)
                        .streaming(watch, request)
                        .await)
                })
            }
            Some(("Lease", _)) => self.lease.call(request),
            Some(("Maintenance", _)) => self.maintenance.call(request),
            Some(("Cluster", _)) => self.cluster.call(request),
            Some(("Auth", method)) => {
                let (auth, method) = (self.auth.clone(), method.to_owned());
                Box::pin(async move { Ok(auth.answer(method, request).await) })
            }
            _ => ready(Status::unimplemented(format!("unknown service {path}")).into_http()),
        }
    }
}

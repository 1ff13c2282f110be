//! What etcd answers over plain HTTP beside gRPC: `/health`, `/version`, `/metrics`, and the JSON form of the KV service.

use crate::auth::Users;
use crate::engine::Core;
use crate::jobs::Engine;
use crate::kv::{Kv, MAX_REQUEST};
use crate::maintenance::VERSION;
use crate::metrics::{Calls, Text, Traffic};
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use etcd_client::proto::{
    PbCompactionRequest, PbDeleteRequest, PbKeyValue, PbPutRequest, PbRangeRequest, PbResponseHeader,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::{Value, json};
use std::sync::Arc;
use tonic::Status;
use tonic::body::Body;

#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    engine: Engine,
    users: Option<Arc<Users>>,
    calls: Arc<Calls>,
    traffic: Arc<Traffic>,
}

impl Gateway {
    pub(crate) fn new(
        engine: Engine,
        users: Option<Arc<Users>>,
        calls: Arc<Calls>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self { engine, users, calls, traffic }
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match parts.uri.path() {
            "/health" => {
                let healthy = self.healthy(parts.uri.query().unwrap_or_default()).await;
                let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                respond(status, "application/json", format!("{{\"health\":\"{healthy}\"}}"))
            }
            "/version" => {
                let text = json!({"etcdserver": VERSION, "etcdcluster": "3.4.0"}).to_string();
                respond(StatusCode::OK, "application/json", text)
            }
            "/metrics" => respond(StatusCode::OK, "text/plain; version=0.0.4", self.metrics().await),
            path => match self.call(path, &parts.headers, body).await {
                Ok(Some(value)) => respond(StatusCode::OK, "application/json", value.to_string()),
                Ok(None) => respond(StatusCode::NOT_FOUND, "text/plain", "404 page not found\n".to_owned()),
                Err(status) => {
                    let code = i32::from(status.code());
                    let text = status.message();
                    let value = json!({"error": text, "message": text, "code": code});
                    respond(http_code(status.code()), "application/json", value.to_string())
                }
            },
        }
    }

    /// As in etcd a store without space is not healthy, unless `exclude=NOSPACE` is asked for.
    async fn healthy(&self, query: &str) -> bool {
        let excluded = query.split('&').any(|part| part == "exclude=NOSPACE");
        let work = move |core: &mut Core| {
            let healthy = excluded || !core.no_space();
            core.stats.healthy += u64::from(healthy);
            core.stats.unhealthy += u64::from(!healthy);
            Ok(healthy)
        };
        self.engine.ask(work).await.unwrap_or(false)
    }

    async fn metrics(&self) -> String {
        let (reply, text) = tokio::sync::oneshot::channel();
        // told even while the disk fails
        let asked = self.engine.after_commit(|core| {
            let mut text = Text::default();
            text.store(core);
            // whoever asked may have gone
            let _ = reply.send(text);
        });
        let mut text = if asked.is_ok() { text.await.unwrap_or_default() } else { Text::default() };
        text.calls(&self.calls, &self.traffic);
        text.process();
        text.finish()
    }

    async fn call(&self, path: &str, headers: &http::HeaderMap, body: Body) -> Result<Option<Value>, Status> {
        const METHODS: [&str; 5] =
            ["kv/range", "kv/put", "kv/deleterange", "kv/compaction", "auth/authenticate"];
        let Some(method) = path.strip_prefix("/v3/").filter(|method| METHODS.contains(method)) else {
            return Ok(None);
        };
        // base64 makes four bytes of three
        let body = Limited::new(body, MAX_REQUEST * 2).collect().await;
        let body = body.map_err(|_| Status::from(Refusal::TooLarge))?.to_bytes();
        let given: Value =
            serde_json::from_slice(&body).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let given = Given(&given);
        if method == "auth/authenticate" {
            let Some(users) = &self.users else {
                return Err(Status::failed_precondition("etcdserver: authentication is not enabled"));
            };
            return Ok(Some(json!({"token": users.log_in(given.text("name"), given.text("password"))?})));
        }
        if let Some(users) = &self.users {
            users.check(headers)?;
        }
        self.kv(method, &given).await.map(Some)
    }

    async fn kv(&self, method: &str, given: &Given<'_>) -> Result<Value, Status> {
        let kv = Kv(self.engine.clone());
        let (key, range_end) = (given.bytes("key")?, given.bytes("range_end")?);
        Ok(match method {
            "kv/range" => {
                let request = PbRangeRequest {
                    key,
                    range_end,
                    limit: given.number("limit")?,
                    revision: given.number("revision")?,
                    keys_only: given.flag("keys_only"),
                    count_only: given.flag("count_only"),
                    ..PbRangeRequest::default()
                };
                let answer = kv.do_range(request).await?;
                let kvs: Vec<Value> = answer.kvs.iter().map(pair).collect();
                json!({"header": header(answer.header), "kvs": kvs, "more": answer.more,
                       "count": answer.count.to_string()})
            }
            "kv/put" => {
                let request = PbPutRequest {
                    key,
                    value: given.bytes("value")?,
                    lease: given.number("lease")?,
                    prev_kv: given.flag("prev_kv"),
                    ..PbPutRequest::default()
                };
                let answer = kv.do_put(request).await?;
                let header = header(answer.header);
                match &answer.prev_kv {
                    Some(before) => json!({"header": header, "prev_kv": pair(before)}),
                    None => json!({"header": header}),
                }
            }
            "kv/deleterange" => {
                let request = PbDeleteRequest { key, range_end, prev_kv: given.flag("prev_kv") };
                let answer = kv.do_delete(request).await?;
                let prevs: Vec<Value> = answer.prev_kvs.iter().map(pair).collect();
                json!({"header": header(answer.header), "deleted": answer.deleted.to_string(),
                       "prev_kvs": prevs})
            }
            _ => {
                let request = PbCompactionRequest {
                    revision: given.number("revision")?,
                    physical: given.flag("physical"),
                };
                json!({"header": header(kv.do_compact(request).await?.header)})
            }
        })
    }
}

/// Fields of a request: bytes in base64, numbers as such or as text.
struct Given<'a>(&'a Value);

impl Given<'_> {
    fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn bytes(&self, field: &str) -> Result<Vec<u8>, Status> {
        BASE64_STANDARD
            .decode(self.text(field))
            .map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
    }

    fn number(&self, field: &str) -> Result<i64, Status> {
        match self.0.get(field) {
            None | Some(Value::Null) => Some(0),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_i64(),
        }
        .ok_or_else(|| Status::invalid_argument(format!("{field}: expected a number")))
    }

    fn flag(&self, field: &str) -> bool {
        self.0.get(field).and_then(Value::as_bool).unwrap_or(false)
    }
}

fn header(header: Option<PbResponseHeader>) -> Value {
    let header = header.unwrap_or_default();
    json!({"cluster_id": header.cluster_id.to_string(), "member_id": header.member_id.to_string(),
           "revision": header.revision.to_string(), "raft_term": header.raft_term.to_string()})
}

fn pair(kv: &PbKeyValue) -> Value {
    json!({"key": BASE64_STANDARD.encode(&kv.key), "value": BASE64_STANDARD.encode(&kv.value),
           "create_revision": kv.create_revision.to_string(), "mod_revision": kv.mod_revision.to_string(),
           "version": kv.version.to_string(), "lease": kv.lease.to_string()})
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

fn http_code(code: tonic::Code) -> StatusCode {
    match code {
        tonic::Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        tonic::Code::NotFound => StatusCode::NOT_FOUND,
        tonic::Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        tonic::Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

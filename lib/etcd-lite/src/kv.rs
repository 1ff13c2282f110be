//! etcd's KV service.

use crate::convert;
use crate::jobs::Engine;
use crate::refusal::Refusal;
use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService, PbPutRequest,
    PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse, PbTxnRequest, PbTxnResponse,
};
use mvcc::{Op, Txn};
use prost::Message;
use tonic::{Request, Response, Status};

/// etcd's bound on a request (`--max-request-bytes`).
pub(crate) const MAX_REQUEST: usize = 3 << 19;

#[derive(Clone, Debug)]
pub(crate) struct Kv(pub(crate) Engine);

fn bounded(message: &impl Message) -> Result<usize, Refusal> {
    let bytes = message.encoded_len();
    if bytes > MAX_REQUEST { Err(Refusal::TooLarge) } else { Ok(bytes) }
}

/// Whether a transaction may put something; only that needs room.
fn puts(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Put(_) => true,
        Op::Range(_) | Op::Delete(_) => false,
        Op::Txn(inner) => puts(inner),
    })
}

impl Kv {
    pub(crate) async fn do_range(&self, request: PbRangeRequest) -> Result<PbRangeResponse, Refusal> {
        let request = convert::range(request);
        let work = move |core: &mut crate::engine::Core| {
            let response = core.store.range(&request)?;
            core.stats.ranges += 1;
            Ok((core.header(response.revision), response))
        };
        let (header, response) = self.0.ask(work).await?;
        Ok(convert::range_response(header, response))
    }

    pub(crate) async fn do_put(&self, request: PbPutRequest) -> Result<PbPutResponse, Refusal> {
        let bytes = bounded(&request)?;
        let request = convert::put(request);
        let work = move |core: &mut crate::engine::Core| {
            core.admit(bytes)?;
            let response = core.store.put(&request)?;
            core.stats.puts += 1;
            Ok((core.header(response.revision), response))
        };
        let (header, response) = self.0.ask(work).await?;
        Ok(convert::put_response(header, response))
    }

    pub(crate) async fn do_delete(&self, request: PbDeleteRequest) -> Result<PbDeleteResponse, Refusal> {
        let request = convert::delete(request);
        let work = move |core: &mut crate::engine::Core| {
            let response = core.store.delete(&request)?;
            core.stats.deletes += 1;
            Ok((core.header(response.revision), response))
        };
        let (header, response) = self.0.ask(work).await?;
        Ok(convert::delete_response(header, response))
    }

    pub(crate) async fn do_txn(&self, request: PbTxnRequest) -> Result<PbTxnResponse, Refusal> {
        let bytes = bounded(&request)?;
        let request = convert::txn(request)?;
        let work = move |core: &mut crate::engine::Core| {
            if puts(&request) {
                core.admit(bytes)?;
            }
            let response = core.store.txn(&request)?;
            core.stats.count_txn(&response);
            Ok((core.header(response.revision), response))
        };
        let (header, response) = self.0.ask(work).await?;
        Ok(convert::txn_response(header, response))
    }

    pub(crate) async fn do_compact(
        &self,
        request: PbCompactionRequest,
    ) -> Result<PbCompactionResponse, Refusal> {
        let work = move |core: &mut crate::engine::Core| {
            core.compact(request.revision)?;
            Ok(core.header(core.store.revision()))
        };
        let header = self.0.ask_first(work).await?;
        Ok(PbCompactionResponse { header: Some(header) })
    }
}

#[tonic::async_trait]
impl PbKvService for Kv {
    async fn range(&self, request: Request<PbRangeRequest>) -> Result<Response<PbRangeResponse>, Status> {
        Ok(Response::new(self.do_range(request.into_inner()).await?))
    }

    type RangeStreamStream = futures::stream::Empty<Result<PbRangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("unknown method RangeStream for service etcdserverpb.KV"))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        Ok(Response::new(self.do_put(request.into_inner()).await?))
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        Ok(Response::new(self.do_delete(request.into_inner()).await?))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        Ok(Response::new(self.do_txn(request.into_inner()).await?))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        Ok(Response::new(self.do_compact(request.into_inner()).await?))
    }
}

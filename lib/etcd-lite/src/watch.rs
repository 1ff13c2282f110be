//! etcd's Watch service: requests of a stream become jobs of the owner, its queue becomes the stream's answers.

use crate::convert;
use crate::hub::{StreamId, Wish};
use crate::jobs::Engine;
use crate::outbox::{Frame, Next, Outbox};
use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion};
use futures::{Stream, StreamExt};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status, Streaming};

#[derive(Clone, Debug)]
pub(crate) struct Watch(pub(crate) Engine);

impl Watch {
    async fn open(&self, inbound: Streaming<PbWatchRequest>) -> Result<Answers, Status> {
        self.0.waking().help();
        let outbox = Arc::new(Outbox::new(Arc::clone(self.0.waking())));
        let (reply, id) = oneshot::channel();
        let theirs = Arc::clone(&outbox);
        // whoever asked may have gone
        self.0.after_commit(move |core| {
            let _ = reply.send(core.hub.open(theirs));
        })?;
        let id = id.await.map_err(|_| Status::unavailable("etcdserver: server stopped"))?;
        tokio::spawn(listen(self.0.clone(), id, inbound, Arc::clone(&outbox)));
        Ok(Answers { engine: self.0.clone(), id, outbox })
    }
}

/// Passes on what the client asks; ends the stream when the client has nothing more to ask.
async fn listen(engine: Engine, id: StreamId, mut inbound: Streaming<PbWatchRequest>, outbox: Arc<Outbox>) {
    while let Some(Ok(request)) = inbound.next().await {
        outbox.room().await;
        let Some(union) = request.request_union else { continue };
        if engine.after_commit(move |core| carry_out(core, id, union)).is_err() {
            break;
        }
    }
    let _ = engine.after_commit(move |core| core.hub.close(id));
}

fn carry_out(core: &mut crate::engine::Core, id: StreamId, union: PbWatchRequestUnion) {
    let header = core.header(core.store.revision());
    match union {
        PbWatchRequestUnion::CreateRequest(request) => {
            // no key means the first possible one
            let key = if request.key.is_empty() { vec![0] } else { request.key };
            let wish = Wish {
                range: convert::key_range(key, request.range_end),
                start: request.start_revision,
                id: request.watch_id,
                prev_kv: request.prev_kv,
                progress: request.progress_notify,
                fragment: request.fragment,
                no_put: request.filters.contains(&0),
                no_delete: request.filters.contains(&1),
            };
            core.hub.create(id, wish, &core.store, header);
        }
        PbWatchRequestUnion::CancelRequest(request) => core.hub.cancel(id, request.watch_id, header),
        PbWatchRequestUnion::ProgressRequest(_) => core.hub.progress(id, &header),
    }
}

/// The answers of one stream.
pub(crate) struct Answers {
    engine: Engine,
    id: StreamId,
    outbox: Arc<Outbox>,
}

impl Stream for Answers {
    type Item = Result<Frame, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(self.outbox.poll(context)) {
                Next::Send(frame) => return Poll::Ready(Some(Ok(frame))),
                Next::End => return Poll::Ready(None),
                Next::Resume => {
                    let id = self.id;
                    let resumed = self.engine.after_commit(move |core| {
                        let header = core.header(core.store.revision());
                        core.hub.catch_up(id, &core.store, &header);
                    });
                    if resumed.is_err() {
                        return Poll::Ready(None);
                    }
                }
            }
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let id = self.id;
        let _ = self.engine.after_commit(move |core| core.hub.close(id));
    }
}

impl tonic::server::StreamingService<PbWatchRequest> for Watch {
    type Response = Frame;
    type ResponseStream = Answers;
    type Future = futures::future::BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<PbWatchRequest>>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move { own.open(request.into_inner()).await.map(Response::new) })
    }
}

/// Reads requests as messages, writes frames, which are encoded already but for their head.
#[derive(Debug, Default)]
pub(crate) struct WatchCodec;

impl Codec for WatchCodec {
    type Encode = Frame;
    type Decode = PbWatchRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for WatchCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        frame.encode(to);
        Ok(())
    }
}

impl Decoder for WatchCodec {
    type Item = PbWatchRequest;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<PbWatchRequest>, Status> {
        PbWatchRequest::decode(from).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

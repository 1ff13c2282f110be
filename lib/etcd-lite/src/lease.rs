//! etcd's Lease service.

use crate::engine::Core;
use crate::jobs::Engine;
use crate::refusal::Refusal;
use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseService,
    PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

#[derive(Clone, Debug)]
pub(crate) struct Lease(pub(crate) Engine);

/// About what a lease takes on disk.
const LEASE_BYTES: usize = 64;

impl Lease {
    async fn renew(&self, request: PbLeaseKeepAliveRequest) -> Result<PbLeaseKeepAliveResponse, Refusal> {
        let work = move |core: &mut Core| {
            let now = core.now();
            // a lease that has gone is told by a time to live of 0, not by an error
            let ttl = core.store.lease_keep_alive(request.id, now).unwrap_or(0);
            core.stats.renewed += u64::from(ttl > 0);
            let header = Some(core.header(core.store.revision()));
            Ok(PbLeaseKeepAliveResponse { header, id: request.id, ttl })
        };
        self.0.ask(work).await
    }
}

#[tonic::async_trait]
impl PbLeaseService for Lease {
    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let request = request.into_inner();
        let work = move |core: &mut Core| {
            core.admit(LEASE_BYTES)?;
            let now = core.now();
            let wanted = match request.id {
                // ids that were ever used must not come again after a restart
                0 => (uuid::Uuid::new_v4().as_u64_pair().0 >> 1).cast_signed(),
                id => id,
            };
            let (id, ttl) = core.store.lease_grant(wanted, request.ttl, now)?;
            core.lease_changed(id);
            core.stats.granted += 1;
            let header = Some(core.header(core.store.revision()));
            Ok(PbLeaseGrantResponse { header, id, ttl, error: String::new() })
        };
        Ok(Response::new(self.0.ask(work).await?))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let id = request.into_inner().id;
        let work = move |core: &mut Core| {
            let revision = core.store.lease_revoke(id)?;
            core.stats.revoked += 1;
            core.lease_changed(id);
            Ok(PbLeaseRevokeResponse { header: Some(core.header(revision)) })
        };
        Ok(Response::new(self.0.ask(work).await?))
    }

    type LeaseKeepAliveStream = BoxStream<'static, Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let own = self.clone();
        let answers = request.into_inner().then(move |request| {
            let own = own.clone();
            async move { Ok(own.renew(request?).await?) }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        let work = move |core: &mut Core| {
            let header = Some(core.header(core.store.revision()));
            let now = core.now();
            Ok(match core.store.lease_info(request.id, now) {
                Ok(info) => PbLeaseTimeToLiveResponse {
                    header,
                    id: info.id,
                    ttl: info.remaining,
                    granted_ttl: info.granted_ttl,
                    keys: if request.keys {
                        info.keys.iter().map(|key| key.to_vec()).collect()
                    } else {
                        Vec::new()
                    },
                },
                Err(_) => PbLeaseTimeToLiveResponse {
                    header,
                    id: request.id,
                    ttl: -1,
                    ..PbLeaseTimeToLiveResponse::default()
                },
            })
        };
        Ok(Response::new(self.0.ask(work).await?))
    }

    async fn lease_leases(
        &self,
        _: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let work = move |core: &mut Core| {
            let header = Some(core.header(core.store.revision()));
            let leases = core.store.leases().map(|id| PbLeaseStatus { id }).collect();
            Ok(PbLeaseLeasesResponse { header, leases })
        };
        Ok(Response::new(self.0.ask(work).await?))
    }
}

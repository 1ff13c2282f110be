//! etcd's Cluster service: one member, now and always.

use crate::engine::Core;
use crate::jobs::Engine;
use etcd_client::proto::{
    PbClusterService, PbMember, PbMemberAddRequest, PbMemberAddResponse, PbMemberListRequest,
    PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse, PbMemberRemoveRequest,
    PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
};
use std::sync::{Arc, RwLock};
use tonic::{Request, Response, Status};

/// The URLs the store is served at.
pub(crate) type Urls = Arc<RwLock<Vec<String>>>;

#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) engine: Engine,
    pub(crate) urls: Urls,
}

fn single<T>() -> Result<Response<T>, Status> {
    Err(Status::failed_precondition("etcdserver: this store has one member; for a cluster use etcd"))
}

#[tonic::async_trait]
impl PbClusterService for Cluster {
    async fn member_list(
        &self,
        _: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        let urls = self.urls.read().map(|urls| urls.clone()).unwrap_or_default();
        let work = move |core: &mut Core| {
            let member = PbMember {
                id: core.identity.member,
                name: "default".to_owned(),
                client_ur_ls: urls,
                ..PbMember::default()
            };
            Ok(PbMemberListResponse {
                header: Some(core.header(core.store.revision())),
                members: vec![member],
            })
        };
        Ok(Response::new(self.engine.ask(work).await?))
    }

    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        single()
    }

    async fn member_remove(
        &self,
        _: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        single()
    }

    async fn member_update(
        &self,
        _: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        single()
    }

    async fn member_promote(
        &self,
        _: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        single()
    }
}

//! etcd's Maintenance service.

use crate::backup::Writer;
use crate::engine::Core;
use crate::jobs::Engine;
use crate::load::Reader;
use crate::refusal::Refusal;
use etcd_client::proto::{
    PbAlarmMember, PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse, PbResponseHeader,
    PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
};
use futures::stream::BoxStream;
use mvcc::{Error, Record, Revision};
use sha2::{Digest, Sha256};
use std::io::Write;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

/// The release of etcd whose behaviour this is.
pub(crate) const VERSION: &str = "3.4.23";
/// etcd's number of the alarm for want of space.
const NOSPACE: i32 = 1;
/// Bytes of a message of a snapshot.
const SNAPSHOT_PART: usize = 32 << 10;
/// Messages of a snapshot under way.
const SNAPSHOT_AHEAD: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Maintenance(pub(crate) Engine);

impl Maintenance {
    pub(crate) async fn do_status(&self) -> Result<PbStatusResponse, Refusal> {
        let work = |core: &mut Core| {
            let size = i64::try_from(core.size()).unwrap_or(i64::MAX);
            let revision = core.store.revision();
            let applied = u64::try_from(revision).unwrap_or(0);
            let header = core.header(revision);
            let errors = if core.no_space() { vec![alarm_text(core)] } else { Vec::new() };
            Ok(PbStatusResponse {
                version: VERSION.to_owned(),
                db_size: size,
                db_size_in_use: i64::try_from(core.in_use()).unwrap_or(i64::MAX),
                leader: header.member_id,
                raft_index: applied,
                raft_applied_index: applied,
                raft_term: header.raft_term,
                header: Some(header),
                errors,
                ..PbStatusResponse::default()
            })
        };
        self.0.ask(work).await
    }

    async fn records(
        &self,
        revision: Revision,
    ) -> Result<(PbResponseHeader, Revision, Vec<Record>), Refusal> {
        let work = move |core: &mut Core| {
            let newest = core.store.revision();
            if revision > newest {
                return Err(Error::FutureRevision { newest }.into());
            }
            let oldest = core.store.compacted();
            if revision > 0 && revision < oldest {
                return Err(Error::Compacted { oldest }.into());
            }
            let upto = if revision > 0 { revision } else { newest };
            let records = core.store.records_after(0).take_while(|record| record.revision <= upto);
            Ok((core.header(newest), oldest, records.collect::<Vec<_>>()))
        };
        self.0.ask(work).await
    }
}

fn alarm_text(core: &Core) -> String {
    format!("memberID:{} alarm:NOSPACE ", core.identity.member)
}

/// The same for any two stores with the same writes.
fn hash(records: &[Record]) -> u32 {
    let mut hash = Sha256::new();
    for record in records {
        hash.update(crate::rows::row_key(record.revision, &record.key));
        hash.update(crate::rows::row_value(record));
    }
    hash.finalize().first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Cuts what is written into messages.
struct Parts {
    to: mpsc::Sender<Result<PbSnapshotResponse, Status>>,
    header: PbResponseHeader,
    part: Vec<u8>,
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= SNAPSHOT_PART {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let message = PbSnapshotResponse {
            header: Some(self.header),
            blob: std::mem::take(&mut self.part),
            ..PbSnapshotResponse::default()
        };
        self.to.blocking_send(Ok(message)).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

fn write_snapshot(reader: &Reader, to: Parts) {
    let failed = to.to.clone();
    let write = || {
        let mut writer = Writer::new(to)?;
        reader.pieces(|piece| writer.piece(piece))?;
        writer.finish().map(drop)
    };
    if let Err(error) = write() {
        // when the client has gone nobody hears it
        let _ =
            failed.blocking_send(Err(Status::unavailable(format!("etcdserver: snapshot failed: {error}"))));
    }
}

#[tonic::async_trait]
impl PbMaintenanceService for Maintenance {
    /// An alarm is on as long as there is no space; nothing has to be disarmed.
    async fn alarm(&self, _: Request<PbAlarmRequest>) -> Result<Response<PbAlarmResponse>, Status> {
        let work = |core: &mut Core| {
            let alarm = PbAlarmMember { member_id: core.identity.member, alarm: NOSPACE };
            let alarms = if core.no_space() { vec![alarm] } else { Vec::new() };
            Ok(PbAlarmResponse { header: Some(core.header(core.store.revision())), alarms })
        };
        Ok(Response::new(self.0.ask(work).await?))
    }

    async fn status(&self, _: Request<PbStatusRequest>) -> Result<Response<PbStatusResponse>, Status> {
        Ok(Response::new(self.do_status().await?))
    }

    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        let work = |core: &mut Core| {
            core.defragment()?;
            Ok(PbDefragmentResponse { header: Some(core.header(core.store.revision())) })
        };
        Ok(Response::new(self.0.ask_first(work).await?))
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        let (header, _, records) = self.records(0).await?;
        Ok(Response::new(PbHashResponse { header: Some(header), hash: hash(&records) }))
    }

    async fn hash_kv(&self, request: Request<PbHashKvRequest>) -> Result<Response<PbHashKvResponse>, Status> {
        let (header, compact_revision, records) = self.records(request.into_inner().revision).await?;
        Ok(Response::new(PbHashKvResponse {
            header: Some(header),
            hash: hash(&records),
            compact_revision,
            ..PbHashKvResponse::default()
        }))
    }

    type SnapshotStream = BoxStream<'static, Result<PbSnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let work = |core: &mut Core| Ok((core.header(core.store.revision()), core.reader()?));
        let (header, reader) = self.0.ask_first(work).await?;
        let (to, mut parts) = mpsc::channel(SNAPSHOT_AHEAD);
        let to = Parts { to, header, part: Vec::new() };
        tokio::task::spawn_blocking(move || write_snapshot(&reader, to));
        Ok(Response::new(Box::pin(futures::stream::poll_fn(move |context| parts.poll_recv(context)))))
    }

    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(Status::failed_precondition("etcdserver: bad leader transferee"))
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(Status::unimplemented("unknown method Downgrade for service etcdserverpb.Maintenance"))
    }
}

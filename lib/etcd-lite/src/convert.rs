//! etcd's messages to the store's vocabulary and back; the two mean the same, field by field.

use crate::refusal::Refusal;
use bytes::Bytes;
use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbDeleteResponse, PbEvent, PbKeyValue, PbPutRequest, PbPutResponse,
    PbRangeRequest, PbRangeResponse, PbResponseHeader, PbResponseOp, PbTargetUnion, PbTxnOpRequest,
    PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use mvcc::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, Event, EventKind, KeyRange,
    KeyValue, Op, OpResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, Revision, SortOrder,
    SortTarget, Txn, TxnResponse,
};

pub(crate) fn key_range(key: Vec<u8>, end: Vec<u8>) -> KeyRange {
    KeyRange { key: Bytes::from(key), end: (!end.is_empty()).then(|| Bytes::from(end)) }
}

pub(crate) fn range(request: PbRangeRequest) -> RangeRequest {
    RangeRequest {
        range: key_range(request.key, request.range_end),
        limit: request.limit,
        revision: request.revision,
        order: match request.sort_order {
            1 => SortOrder::Ascend,
            2 => SortOrder::Descend,
            _ => SortOrder::None,
        },
        target: match request.sort_target {
            1 => SortTarget::Version,
            2 => SortTarget::Create,
            3 => SortTarget::Mod,
            4 => SortTarget::Value,
            _ => SortTarget::Key,
        },
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    }
}

pub(crate) fn put(request: PbPutRequest) -> PutRequest {
    PutRequest {
        key: Bytes::from(request.key),
        value: Bytes::from(request.value),
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

pub(crate) fn delete(request: PbDeleteRequest) -> DeleteRequest {
    DeleteRequest { range: key_range(request.key, request.range_end), prev_kv: request.prev_kv }
}

/// # Errors
/// An operation that is none.
pub(crate) fn txn(request: PbTxnRequest) -> Result<Txn, Refusal> {
    let ops = |list: Vec<PbTxnRequestOp>| list.into_iter().map(op).collect::<Result<Vec<_>, _>>();
    Ok(Txn {
        compare: request.compare.into_iter().map(compare).collect(),
        success: ops(request.success)?,
        failure: ops(request.failure)?,
    })
}

fn op(op: PbTxnRequestOp) -> Result<Op, Refusal> {
    Ok(match op.request.ok_or(Refusal::EmptyOperation)? {
        PbTxnOpRequest::RequestRange(request) => Op::Range(range(request)),
        PbTxnOpRequest::RequestPut(request) => Op::Put(put(request)),
        PbTxnOpRequest::RequestDeleteRange(request) => Op::Delete(delete(request)),
        PbTxnOpRequest::RequestTxn(request) => Op::Txn(Box::new(txn(request)?)),
    })
}

/// The field is named by the target; a value for another field counts as none, as in etcd.
fn compare(compare: PbCompare) -> Compare {
    let union = compare.target_union;
    let number = |wanted: i32| match &union {
        Some(PbTargetUnion::Version(number)) if wanted == 0 => *number,
        Some(PbTargetUnion::CreateRevision(number)) if wanted == 1 => *number,
        Some(PbTargetUnion::ModRevision(number)) if wanted == 2 => *number,
        Some(PbTargetUnion::Lease(number)) if wanted == 4 => *number,
        _ => 0,
    };
    let target = match compare.target {
        1 => CompareTarget::Create(number(1)),
        2 => CompareTarget::Mod(number(2)),
        3 => match union {
            Some(PbTargetUnion::Value(value)) => CompareTarget::Value(Bytes::from(value)),
            _ => CompareTarget::Value(Bytes::new()),
        },
        4 => CompareTarget::Lease(number(4)),
        _ => CompareTarget::Version(number(0)),
    };
    let result = match compare.result {
        1 => CompareResult::Greater,
        2 => CompareResult::Less,
        3 => CompareResult::NotEqual,
        _ => CompareResult::Equal,
    };
    Compare { range: key_range(compare.key, compare.range_end), target, result }
}

pub(crate) fn pair(kv: KeyValue) -> PbKeyValue {
    PbKeyValue {
        key: kv.key.to_vec(),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value.to_vec(),
        lease: kv.lease,
    }
}

pub(crate) fn event(event: Event) -> PbEvent {
    PbEvent {
        r#type: match event.kind {
            EventKind::Put => 0,
            EventKind::Delete => 1,
        },
        kv: Some(pair(event.kv)),
        prev_kv: event.prev.map(pair),
    }
}

pub(crate) fn range_response(header: PbResponseHeader, response: RangeResponse) -> PbRangeResponse {
    PbRangeResponse {
        header: Some(header),
        kvs: response.kvs.into_iter().map(pair).collect(),
        more: response.more,
        count: response.count,
    }
}

pub(crate) fn put_response(header: PbResponseHeader, response: PutResponse) -> PbPutResponse {
    PbPutResponse { header: Some(header), prev_kv: response.prev.map(pair) }
}

pub(crate) fn delete_response(header: PbResponseHeader, response: DeleteResponse) -> PbDeleteResponse {
    PbDeleteResponse {
        header: Some(header),
        deleted: response.deleted,
        prev_kvs: response.prevs.into_iter().map(pair).collect(),
    }
}

pub(crate) fn txn_response(header: PbResponseHeader, response: TxnResponse) -> PbTxnResponse {
    PbTxnResponse {
        header: Some(header),
        succeeded: response.succeeded,
        responses: response.responses.into_iter().map(op_response).collect(),
    }
}

/// Answers inside a transaction carry a revision and nothing of the server; a nested transaction's not even that.
fn op_response(response: OpResponse) -> PbResponseOp {
    let only = |revision: Revision| PbResponseHeader { revision, ..PbResponseHeader::default() };
    PbResponseOp {
        response: Some(match response {
            OpResponse::Range(response) => {
                PbTxnOpResponse::ResponseRange(range_response(only(response.revision), response))
            }
            OpResponse::Put(response) => {
                PbTxnOpResponse::ResponsePut(put_response(only(response.revision), response))
            }
            OpResponse::Delete(response) => {
                PbTxnOpResponse::ResponseDeleteRange(delete_response(only(response.revision), response))
            }
            OpResponse::Txn(response) => PbTxnOpResponse::ResponseTxn(txn_response(only(0), response)),
        }),
    }
}

//! Our vocabulary to the client library's and back; the two mean the same, field by field.

use bytes::Bytes;
use etcd_client as etcd;
use mvcc::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, Event, EventKind, KeyValue, Op,
    OpResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, Revision, SortOrder, SortTarget, Txn,
    TxnResponse, WatchRequest,
};

/// Whether a transaction changes nothing.
pub(super) fn only_reads(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match op {
        Op::Range(_) => true,
        Op::Put(_) | Op::Delete(_) => false,
        Op::Txn(inner) => only_reads(inner),
    })
}

/// Key and options of a read.
pub(super) fn range(request: &RangeRequest) -> (Vec<u8>, etcd::GetOptions) {
    let mut options = etcd::GetOptions::new()
        .with_limit(request.limit)
        .with_revision(request.revision)
        .with_min_mod_revision(request.min_mod_revision)
        .with_max_mod_revision(request.max_mod_revision)
        .with_min_create_revision(request.min_create_revision)
        .with_max_create_revision(request.max_create_revision);
    if let Some(end) = &request.range.end {
        options = options.with_range(end.to_vec());
    }
    if request.order != SortOrder::None || request.target != SortTarget::Key {
        options = options.with_sort(sort_target(request.target), sort_order(request.order));
    }
    if request.keys_only {
        options = options.with_keys_only();
    }
    if request.count_only {
        options = options.with_count_only();
    }
    (request.range.key.to_vec(), options)
}

fn sort_target(target: SortTarget) -> etcd::SortTarget {
    match target {
        SortTarget::Key => etcd::SortTarget::Key,
        SortTarget::Version => etcd::SortTarget::Version,
        SortTarget::Create => etcd::SortTarget::Create,
        SortTarget::Mod => etcd::SortTarget::Mod,
        SortTarget::Value => etcd::SortTarget::Value,
    }
}

fn sort_order(order: SortOrder) -> etcd::SortOrder {
    match order {
        SortOrder::None => etcd::SortOrder::None,
        SortOrder::Ascend => etcd::SortOrder::Ascend,
        SortOrder::Descend => etcd::SortOrder::Descend,
    }
}

/// A transaction.
pub(super) fn txn(txn: &Txn) -> etcd::Txn {
    let ops = |list: &[Op]| list.iter().map(op).collect::<Vec<_>>();
    let mut request = etcd::Txn::new();
    // the library insists on this order, and that each is given at most once
    if !txn.compare.is_empty() {
        request = request.when(txn.compare.iter().map(compare).collect::<Vec<_>>());
    }
    if !txn.success.is_empty() {
        request = request.and_then(ops(&txn.success));
    }
    if !txn.failure.is_empty() {
        request = request.or_else(ops(&txn.failure));
    }
    request
}

fn op(op: &Op) -> etcd::TxnOp {
    match op {
        Op::Range(request) => {
            let (key, options) = range(request);
            etcd::TxnOp::get(key, Some(options))
        }
        Op::Put(request) => {
            etcd::TxnOp::put(request.key.to_vec(), request.value.to_vec(), Some(put_options(request)))
        }
        Op::Delete(request) => etcd::TxnOp::delete(request.range.key.to_vec(), Some(delete_options(request))),
        Op::Txn(inner) => etcd::TxnOp::txn(txn(inner)),
    }
}

fn put_options(request: &PutRequest) -> etcd::PutOptions {
    let mut options = etcd::PutOptions::new().with_lease(request.lease);
    if request.prev_kv {
        options = options.with_prev_key();
    }
    if request.ignore_value {
        options = options.with_ignore_value();
    }
    if request.ignore_lease {
        options = options.with_ignore_lease();
    }
    options
}

fn delete_options(request: &DeleteRequest) -> etcd::DeleteOptions {
    let mut options = etcd::DeleteOptions::new();
    if let Some(end) = &request.range.end {
        options = options.with_range(end.to_vec());
    }
    if request.prev_kv {
        options = options.with_prev_key();
    }
    options
}

fn compare(compare: &Compare) -> etcd::Compare {
    let key = compare.range.key.to_vec();
    let relation = match compare.result {
        CompareResult::Equal => etcd::CompareOp::Equal,
        CompareResult::Greater => etcd::CompareOp::Greater,
        CompareResult::Less => etcd::CompareOp::Less,
        CompareResult::NotEqual => etcd::CompareOp::NotEqual,
    };
    let condition = match &compare.target {
        CompareTarget::Version(version) => etcd::Compare::version(key, relation, *version),
        CompareTarget::Create(revision) => etcd::Compare::create_revision(key, relation, *revision),
        CompareTarget::Mod(revision) => etcd::Compare::mod_revision(key, relation, *revision),
        CompareTarget::Value(value) => etcd::Compare::value(key, relation, value.to_vec()),
        CompareTarget::Lease(lease) => etcd::Compare::lease(key, relation, *lease),
    };
    match &compare.range.end {
        Some(end) => condition.with_range(end.to_vec()),
        None => condition,
    }
}

/// Options of a watch from `start` on.
pub(super) fn watch(request: &WatchRequest, start: Revision) -> (Vec<u8>, etcd::WatchOptions) {
    let mut options = etcd::WatchOptions::new().with_start_revision(start);
    if let Some(end) = &request.range.end {
        options = options.with_range(end.to_vec());
    }
    if request.prev_kv {
        options = options.with_prev_key();
    }
    if request.progress_notify {
        options = options.with_progress_notify();
    }
    let mut filters = Vec::new();
    if request.no_put {
        filters.push(etcd::WatchFilterType::NoPut);
    }
    if request.no_delete {
        filters.push(etcd::WatchFilterType::NoDelete);
    }
    (request.range.key.to_vec(), options.with_filters(filters))
}

/// One change.
pub(super) fn event(event: &etcd::Event) -> Option<Event> {
    let kind = match event.event_type() {
        etcd::EventType::Put => EventKind::Put,
        etcd::EventType::Delete => EventKind::Delete,
    };
    Some(Event { kind, kv: pair_ref(event.kv()?), prev: event.prev_kv().map(pair_ref) })
}

/// An answer to a read.
pub(super) fn range_response(mut answer: etcd::GetResponse) -> RangeResponse {
    RangeResponse {
        revision: revision(answer.header()),
        more: answer.more(),
        count: answer.count(),
        kvs: answer.take_kvs().into_iter().map(pair).collect(),
    }
}

/// An answer to a transaction. The server leaves out the revision of nested ones.
pub(super) fn txn_response(answer: &etcd::TxnResponse) -> TxnResponse {
    let mut response = branch(answer);
    response.settle(revision(answer.header()));
    response
}

fn branch(answer: &etcd::TxnResponse) -> TxnResponse {
    let response = |op: etcd::TxnOpResponse| match op {
        etcd::TxnOpResponse::Get(answer) => OpResponse::Range(range_response(answer)),
        etcd::TxnOpResponse::Put(mut answer) => OpResponse::Put(PutResponse {
            revision: revision(answer.header()),
            prev: answer.take_prev_key().map(pair),
        }),
        etcd::TxnOpResponse::Delete(mut answer) => OpResponse::Delete(DeleteResponse {
            revision: revision(answer.header()),
            deleted: answer.deleted(),
            prevs: answer.take_prev_kvs().into_iter().map(pair).collect(),
        }),
        etcd::TxnOpResponse::Txn(answer) => OpResponse::Txn(branch(&answer)),
    };
    TxnResponse {
        revision: 0,
        succeeded: answer.succeeded(),
        responses: answer.op_responses().into_iter().map(response).collect(),
    }
}

/// The revision in an answer's header.
pub(super) fn revision(header: Option<&etcd::ResponseHeader>) -> Revision {
    header.map_or(0, etcd::ResponseHeader::revision)
}

fn pair(kv: etcd::KeyValue) -> KeyValue {
    let counters = (kv.create_revision(), kv.mod_revision(), kv.version(), kv.lease());
    let (key, value) = kv.into_key_value();
    let (create_revision, mod_revision, version, lease) = counters;
    KeyValue {
        key: Bytes::from(key),
        value: Bytes::from(value),
        create_revision,
        mod_revision,
        version,
        lease,
    }
}

fn pair_ref(kv: &etcd::KeyValue) -> KeyValue {
    pair(kv.clone())
}

//! Records and leases as bytes: what a row of the database and a line of a backup hold.
//!
//! A row's key is the revision, eight bytes big-endian, and the key; its value 28 bytes of counters and the value.

use bytes::Bytes;
use mvcc::{Record, Revision};

const COUNTERS: usize = 28;

/// The key of a row.
pub(crate) fn row_key(revision: Revision, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + key.len());
    row.extend_from_slice(&revision.to_be_bytes());
    row.extend_from_slice(key);
    row
}

/// The value of a record's row.
pub(crate) fn row_value(record: &Record) -> Vec<u8> {
    let mut row = Vec::with_capacity(COUNTERS + record.value.len());
    row.extend_from_slice(&record.place.to_be_bytes());
    for number in [record.created, record.version, record.lease] {
        row.extend_from_slice(&number.to_be_bytes());
    }
    row.extend_from_slice(&record.value);
    row
}

/// About how many bytes a row takes.
pub(crate) fn size(key: &[u8], value: usize) -> u64 {
    (8 + key.len() + COUNTERS + value) as u64
}

/// The record of a row; `None` for what no record wrote. Key and value share one allocation.
pub(crate) fn record(row_key: &[u8], row_value: &[u8]) -> Option<Record> {
    let (revision, key) = row_key.split_first_chunk::<8>()?;
    let (place, rest) = row_value.split_first_chunk::<4>()?;
    let (created, rest) = rest.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (lease, value) = rest.split_first_chunk::<8>()?;
    let mut both = Vec::with_capacity(key.len() + value.len());
    both.extend_from_slice(key);
    both.extend_from_slice(value);
    let mut bytes = Bytes::from(both);
    let value = bytes.split_off(key.len());
    Some(Record {
        revision: i64::from_be_bytes(*revision),
        place: u32::from_be_bytes(*place),
        key: bytes,
        value,
        created: i64::from_be_bytes(*created),
        version: i64::from_be_bytes(*version),
        lease: i64::from_be_bytes(*lease),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_its_record() {
        for (key, value) in [("a", ""), ("/calico/x", "größer"), ("\0", "\0\0")] {
            let record_of = Record {
                revision: 300,
                place: 7,
                key: key.into(),
                value: value.into(),
                created: 2,
                version: 9,
                lease: -1,
            };
            assert_eq!(record(&row_key(300, key.as_bytes()), &row_value(&record_of)), Some(record_of));
        }
        assert!(row_key(2, b"z") < row_key(256, b"a"), "rows are in order of revisions");
        assert_eq!(record(b"short", b""), None);
        assert_eq!(record(b"12345678k", b"too short"), None);
    }
}

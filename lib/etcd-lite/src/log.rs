//! The log before the database: a commit is one durable write behind the last one, in a file that has its size already.
//!
//! A tree writes a page a level for each commit, at places that lie apart, and a disk takes several times as long for that. So
//! batches go into the log, and many of them together into the database when the log is full; then it begins anew.
//!
//! A frame begins at a sector: checksum (16 bytes of a SHA-256 over the rest), the store it belongs to, epoch, number within
//! the epoch (8 bytes each, big-endian), length of the content (4), content. The epoch counts how often the log began anew. The
//! database has it too, so frames that it holds are told from those that it does not. What was torn by a power cut can only be
//! the last frame, and nobody was answered; a bad frame before a good one is damage.

use crate::disk::Batch;
use crate::medium::{Medium, SECTOR};
use crate::rows;
use mvcc::Forgotten;
use sha2::{Digest, Sha256};
use std::io;

const CHECKSUM: usize = 16;
const HEAD: usize = CHECKSUM + 8 + 8 + 8 + 4;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the log is damaged before its end")]
    Damaged,
}

/// The open log.
#[derive(Debug)]
pub(crate) struct Log {
    medium: Box<dyn Medium>,
    size: usize,
    store: u64,
    epoch: u64,
    /// Number and place of the next frame.
    number: u64,
    end: usize,
    /// Used again for each frame.
    frame: Vec<u8>,
}

impl Log {
    /// A log that begins anew in a file whose bytes are not looked at.
    pub(crate) fn new(medium: Box<dyn Medium>, store: u64, epoch: u64) -> io::Result<Self> {
        let size = medium.size()?;
        Ok(Self { medium, size, store, epoch, number: 0, end: 0, frame: Vec::new() })
    }

    /// The log as it was left, and the batches in it.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub(crate) fn open(
        medium: Box<dyn Medium>,
        store: u64,
        epoch: u64,
    ) -> Result<(Self, Vec<Batch>), LogError> {
        let mut log = Self::new(medium, store, epoch)?;
        let bytes = log.medium.read()?;
        let mut batches = Vec::new();
        while let Some((number, content)) = bytes.get(log.end..).and_then(|rest| frame(rest, store, epoch))
            && number == log.number
        {
            batches.push(decode(content).ok_or(LogError::Damaged)?);
            log.number += 1;
            log.end += padded(HEAD + content.len());
        }
        let later = |at: usize| bytes.get(at..).and_then(|rest| frame(rest, store, epoch));
        let more = (log.end..log.size)
            .step_by(SECTOR)
            .any(|at| later(at).is_some_and(|(number, _)| number >= log.number));
        if more { Err(LogError::Damaged) } else { Ok((log, batches)) }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn size(&self) -> u64 {
        self.size as u64
    }

    /// Whether a quarter of it is free.
    pub(crate) fn has_room(&self) -> bool {
        self.end < self.size - self.size / 4
    }

    /// Begins anew: the database has everything, and knows of this epoch.
    pub(crate) fn restart(&mut self, epoch: u64) {
        (self.epoch, self.number, self.end) = (epoch, 0, 0);
    }

    /// Writes a batch, durable on return; `false` when there is no room for it.
    pub(crate) fn append(&mut self, batch: &Batch) -> io::Result<bool> {
        self.frame.clear();
        self.frame.resize(CHECKSUM, 0);
        for number in [self.store, self.epoch, self.number] {
            self.frame.extend_from_slice(&number.to_be_bytes());
        }
        self.frame.extend_from_slice(&[0; 4]);
        encode(batch, &mut self.frame);
        let length = self.frame.len() - HEAD;
        let Ok(bytes) = u32::try_from(length) else { return Ok(false) };
        if let Some(place) = self.frame.get_mut(HEAD - 4..HEAD) {
            place.copy_from_slice(&bytes.to_be_bytes());
        }
        let sum = checksum(self.frame.get(CHECKSUM..).unwrap_or_default());
        if let Some(place) = self.frame.first_chunk_mut::<CHECKSUM>() {
            *place = sum;
        }
        self.frame.resize(padded(HEAD + length), 0);
        if self.frame.len() > self.size - self.end {
            return Ok(false);
        }
        self.medium.write(self.end, &self.frame)?;
        self.number += 1;
        self.end += self.frame.len();
        Ok(true)
    }
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(SECTOR)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    Sha256::digest(bytes).first_chunk::<CHECKSUM>().copied().unwrap_or_default()
}

/// Number and content of a whole frame of this store and epoch at the beginning of `bytes`.
fn frame(bytes: &[u8], store: u64, epoch: u64) -> Option<(u64, &[u8])> {
    let (sum, rest) = bytes.split_first_chunk::<CHECKSUM>()?;
    let (of, tail) = rest.split_first_chunk::<8>()?;
    let (era, tail) = tail.split_first_chunk::<8>()?;
    if u64::from_be_bytes(*of) != store || u64::from_be_bytes(*era) != epoch {
        return None;
    }
    let (number, tail) = tail.split_first_chunk::<8>()?;
    let (length, tail) = tail.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let content = tail.get(..length)?;
    let whole = rest.get(..HEAD - CHECKSUM + length)?;
    (checksum(whole) == *sum).then(|| (u64::from_be_bytes(*number), content))
}

/// A batch as pieces of a kind (one byte) and its fields; keys and values are as in rows.
fn encode(batch: &Batch, to: &mut Vec<u8>) {
    let bytes = |to: &mut Vec<u8>, bytes: &[u8]| {
        to.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        to.extend_from_slice(bytes);
    };
    for record in &batch.records {
        to.push(b'r');
        bytes(to, &rows::row_key(record.revision, &record.key));
        bytes(to, &rows::row_value(record));
    }
    for forgotten in &batch.garbage {
        to.push(b'g');
        bytes(to, &rows::row_key(forgotten.revision, &forgotten.key));
    }
    for (id, state) in &batch.leases {
        to.push(if state.is_some() { b'l' } else { b'e' });
        to.extend_from_slice(&id.to_be_bytes());
        if let Some((ttl, end)) = state {
            to.extend_from_slice(&ttl.to_be_bytes());
            to.extend_from_slice(&end.to_be_bytes());
        }
    }
    if let Some(revision) = batch.compacted {
        to.push(b'c');
        to.extend_from_slice(&revision.to_be_bytes());
    }
    if let Some(exact) = batch.leases_exact {
        to.extend_from_slice(&[b'x', u8::from(exact)]);
    }
}

struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_be_bytes(self.array()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }
}

fn decode(content: &[u8]) -> Option<Batch> {
    let mut pieces = Pieces(content);
    let mut batch = Batch::default();
    while !pieces.0.is_empty() {
        match pieces.array::<1>()? {
            [b'r'] => batch.records.push(rows::record(pieces.bytes()?, pieces.bytes()?)?),
            [b'g'] => {
                let (revision, key) = pieces.bytes()?.split_first_chunk::<8>()?;
                let revision = i64::from_be_bytes(*revision);
                batch.garbage.push(Forgotten { revision, key: key.to_vec().into(), size: 0 });
            }
            [b'l'] => {
                let (id, ttl) = (pieces.number()?, pieces.number()?);
                batch.leases.push((id, Some((ttl, u64::from_be_bytes(pieces.array()?)))));
            }
            [b'e'] => batch.leases.push((pieces.number()?, None)),
            [b'c'] => batch.compacted = Some(pieces.number()?),
            [b'x'] => batch.leases_exact = Some(pieces.array::<1>()? == [1]),
            _ => return None,
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mvcc::Record;

    #[derive(Debug)]
    struct InMemory(Vec<u8>);

    impl Medium for InMemory {
        fn size(&self) -> io::Result<usize> {
            Ok(self.0.len())
        }

        fn read(&self) -> io::Result<Vec<u8>> {
            Ok(self.0.clone())
        }

        fn write(&mut self, at: usize, sectors: &[u8]) -> io::Result<()> {
            self.0[at..at + sectors.len()].copy_from_slice(sectors);
            Ok(())
        }
    }

    fn batch(number: i64) -> Batch {
        let record = |place| Record {
            revision: number,
            place,
            key: format!("k{place}").into(),
            value: vec![7; usize::try_from(number).unwrap() * 100].into(),
            created: number,
            version: 1,
            lease: 3,
        };
        Batch {
            records: (0..2).map(record).collect(),
            leases: vec![(3, Some((60, 99))), (4, None)],
            compacted: Some(number - 1),
            garbage: vec![Forgotten { revision: 1, key: "old".into(), size: 0 }],
            leases_exact: Some(number % 2 == 0),
        }
    }

    fn medium(bytes: &[u8]) -> Box<dyn Medium> {
        Box::new(InMemory(bytes.to_vec()))
    }

    /// What a file holds after four batches; and where each began.
    fn written() -> (Vec<u8>, Vec<usize>) {
        let mut log = Log::new(medium(&[0; 16 * SECTOR]), 1, 5).unwrap();
        let mut begun = Vec::new();
        for number in 0..4 {
            begun.push(log.end);
            assert!(log.append(&batch(number)).unwrap());
        }
        assert!(!log.append(&batch(400)).unwrap(), "more than fits");
        (log.medium.read().unwrap(), begun)
    }

    fn found(bytes: &[u8], store: u64, epoch: u64) -> Result<usize, LogError> {
        Log::open(medium(bytes), store, epoch).map(|(log, batches)| {
            assert_eq!(log.number, batches.len() as u64);
            for (number, found) in (0..).zip(&batches) {
                assert_eq!(format!("{found:?}"), format!("{:?}", batch(number)));
            }
            batches.len()
        })
    }

    #[test]
    fn a_log_gives_back_what_was_written_of_this_store_and_epoch() {
        let (bytes, _) = written();
        assert_eq!(found(&bytes, 1, 5).unwrap(), 4);
        assert_eq!(found(&bytes, 2, 5).unwrap(), 0);
        assert_eq!(found(&bytes, 1, 6).unwrap(), 0);
        assert_eq!(found(&[0; 4096], 1, 5).unwrap(), 0);
    }

    #[test]
    fn a_torn_end_is_no_damage_and_damage_no_torn_end() {
        let (bytes, begun) = written();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            let changed = begun.iter().rposition(|begin| *begin <= at).unwrap();
            match found(&flipped, 1, 5) {
                Ok(4) => {}
                Ok(3) => assert_eq!(changed, 3, "byte {at}"),
                Ok(count) => panic!("byte {at}: {count} batches without a word"),
                Err(error) => {
                    assert!(matches!(error, LogError::Damaged) && changed < 3, "byte {at}: {error}")
                }
            }
        }
        let mut torn = bytes;
        torn[begun[3] + SECTOR..].fill(0);
        assert_eq!(found(&torn, 1, 5).unwrap(), 3);
    }
}

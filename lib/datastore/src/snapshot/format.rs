//! A snapshot as bytes.
//!
//! ```text
//! "ocicat-s", version (2)                        what it is
//! source (4 + n), ranges (4 + n)                 of which datastore, and which keys
//! key length (4), value length (4),              a pair; pairs in the order of their keys
//!   create and mod revision, version (8 each),
//!   key, value
//! 0 (4), revision, written (8 each), pairs (8)   the end; written in milliseconds since 1970
//! SHA-256 over all before
//! ```
//!
//! Integers are big-endian. Nothing follows the checksum, so that a file that was cut, added to or changed is told from a
//! whole one.

use bytes::Bytes;
use mvcc::{KeyRange, KeyValue, Revision};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"ocicat-s";
/// Rises with every change of the format: a snapshot is replaced soon, so that nobody has to read an old one.
const VERSION: u16 = 1;
/// The longest text before the pairs.
const TEXT: usize = 1 << 20;

/// Whose pairs these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    source: String,
    ranges: Vec<u8>,
}

impl Scope {
    /// Pairs of these ranges in the datastore that `source` names.
    pub(crate) fn new<'a>(source: &str, ranges: impl IntoIterator<Item = &'a KeyRange>) -> Self {
        let mut sorted: Vec<(&[u8], Option<&[u8]>)> =
            ranges.into_iter().map(|range| (&*range.key, range.end.as_deref())).collect();
        sorted.sort_unstable();
        let mut text = Vec::new();
        for (key, end) in sorted {
            text.extend_from_slice(&length(key).to_be_bytes());
            text.extend_from_slice(key);
            // no end is not an empty one
            text.push(u8::from(end.is_some()));
            let end = end.unwrap_or_default();
            text.extend_from_slice(&length(end).to_be_bytes());
            text.extend_from_slice(end);
        }
        Self { source: source.to_owned(), ranges: text }
    }
}

/// Why a file is no snapshot that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is no snapshot")]
    Foreign,
    #[error("it has version {0}, and this program reads version {VERSION}")]
    Version(u16),
    #[error("it is of the datastore {0:?}")]
    Source(String),
    #[error("it holds other keys than this program follows")]
    Ranges,
    #[error("it is cut off or damaged: {0}")]
    Damaged(&'static str),
}

/// What a snapshot says of itself at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) revision: Revision,
    pub(crate) written_ms: i64,
}

/// Writes one.
pub(crate) struct Writer<W> {
    to: W,
    hash: Sha256,
    pairs: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn begin(to: W, scope: &Scope) -> io::Result<Self> {
        let mut writer = Self { to, hash: Sha256::new(), pairs: 0 };
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_be_bytes())?;
        for text in [scope.source.as_bytes(), &scope.ranges] {
            writer.put(&length(text).to_be_bytes())?;
            writer.put(text)?;
        }
        Ok(writer)
    }

    /// The next pair, in the order of keys.
    pub(crate) fn pair(&mut self, pair: &KeyValue) -> io::Result<()> {
        self.put(&length(&pair.key).to_be_bytes())?;
        self.put(&length(&pair.value).to_be_bytes())?;
        for number in [pair.create_revision, pair.mod_revision, pair.version] {
            self.put(&number.to_be_bytes())?;
        }
        self.put(&pair.key)?;
        self.put(&pair.value)?;
        self.pairs += 1;
        Ok(())
    }

    pub(crate) fn end(mut self, end: End) -> io::Result<W> {
        self.put(&0u32.to_be_bytes())?;
        self.put(&end.revision.to_be_bytes())?;
        self.put(&end.written_ms.to_be_bytes())?;
        self.put(&self.pairs.to_be_bytes())?;
        let Self { mut to, hash, .. } = self;
        to.write_all(&hash.finalize())?;
        Ok(to)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }
}

/// Reads one, pair by pair. What it says is to be believed only after its end.
pub(crate) struct Reader<R> {
    from: R,
    hash: Sha256,
    pairs: u64,
    end: Option<End>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn begin(from: R, scope: &Scope) -> Result<Self, Unusable> {
        let mut reader = Self { from, hash: Sha256::new(), pairs: 0, end: None };
        if reader.array().map_err(|_| Unusable::Foreign)? != *MAGIC {
            return Err(Unusable::Foreign);
        }
        match u16::from_be_bytes(reader.array()?) {
            VERSION => {}
            other => return Err(Unusable::Version(other)),
        }
        let source = reader.text()?;
        if source != scope.source.as_bytes() {
            return Err(Unusable::Source(String::from_utf8_lossy(&source).into_owned()));
        }
        if reader.text()? != scope.ranges {
            return Err(Unusable::Ranges);
        }
        Ok(reader)
    }

    /// The next pair; `None` at the end, which is then known to be right.
    pub(crate) fn pair(&mut self) -> Result<Option<KeyValue>, Unusable> {
        if self.end.is_some() {
            return Ok(None);
        }
        let key = u32::from_be_bytes(self.array()?);
        if key == 0 {
            self.take_end()?;
            return Ok(None);
        }
        let value = u32::from_be_bytes(self.array()?);
        let mut number = || self.array().map(i64::from_be_bytes);
        let (create_revision, mod_revision, version) = (number()?, number()?, number()?);
        let (key, value) = (self.bytes(key)?, self.bytes(value)?);
        self.pairs += 1;
        Ok(Some(KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision,
            mod_revision,
            version,
            lease: 0,
        }))
    }

    /// What it says of itself, once all pairs have been read.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    fn take_end(&mut self) -> Result<(), Unusable> {
        let (revision, written_ms) = (i64::from_be_bytes(self.array()?), i64::from_be_bytes(self.array()?));
        if u64::from_be_bytes(self.array()?) != self.pairs {
            return Err(Unusable::Damaged("it does not hold as many pairs as it says"));
        }
        let expected = std::mem::take(&mut self.hash).finalize();
        let mut checksum = [0; 32];
        self.from.read_exact(&mut checksum).map_err(short)?;
        if expected[..] != checksum {
            return Err(Unusable::Damaged("its checksum is another"));
        }
        if self.from.read(&mut [0])? != 0 {
            return Err(Unusable::Damaged("something follows its end"));
        }
        self.end = Some(End { revision, written_ms });
        Ok(())
    }

    fn text(&mut self) -> Result<Vec<u8>, Unusable> {
        let length = u32::from_be_bytes(self.array()?);
        if usize::try_from(length).is_ok_and(|length| length > TEXT) {
            return Err(Unusable::Damaged("a text is too long"));
        }
        self.bytes(length)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unusable> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(short)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    /// So many bytes; not more memory than there are, whatever a damaged length says.
    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, Unusable> {
        let mut bytes = Vec::new();
        let read = (&mut self.from).take(length.into()).read_to_end(&mut bytes)?;
        if u32::try_from(read) != Ok(length) {
            return Err(Unusable::Damaged("it ends too early"));
        }
        self.hash.update(&bytes);
        Ok(bytes)
    }
}

fn short(error: io::Error) -> Unusable {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Unusable::Damaged("it ends too early"),
        _ => error.into(),
    }
}

/// Keys and values are far below 4 GiB: etcd takes 1.5 MiB a request.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// What a snapshot holds after changes: the pairs of `base` and what became of them, in the order of keys.
pub(crate) fn merge<R: Read, W: Write>(
    mut base: Option<Reader<R>>,
    changes: &std::collections::BTreeMap<Bytes, Option<KeyValue>>,
    to: &mut Writer<W>,
) -> Result<(), Unusable> {
    let mut changes = changes.iter().peekable();
    while let Some(pair) = base.as_mut().map_or(Ok(None), Reader::pair)? {
        let mut stays = true;
        while let Some((key, change)) = changes.next_if(|(key, _)| **key <= pair.key) {
            stays &= *key != pair.key;
            change.iter().try_for_each(|change| to.pair(change))?;
        }
        if stays {
            to.pair(&pair)?;
        }
    }
    changes.filter_map(|(_, change)| change.as_ref()).try_for_each(|pair| to.pair(pair))?;
    Ok(())
}

#[cfg(test)]
mod tests;

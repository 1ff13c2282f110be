//! A snapshot read as if the store had been listed.

use super::Taken;
use super::format::{End, Reader, Scope, Unusable};
use mvcc::KeyValue;
use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use syncer::{Page, RootId, Syncer};

/// Pairs told at one go.
const PAGE: usize = 500;

/// The pages of a snapshot, root by root.
pub(super) struct Pages {
    file: File,
    reader: Reader<BufReader<File>>,
    taken: Taken,
    /// A pair of the next page.
    ahead: Option<KeyValue>,
    /// The root whose pairs are being told.
    current: Option<RootId>,
    /// Roots of which nothing has been told.
    untold: Vec<RootId>,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Pages {
    /// Looks at a snapshot from its beginning to its end, and at nothing of what it says before; `None` where there is none.
    ///
    /// # Errors
    /// It is none of ours, or damaged.
    pub(super) fn open(path: &Path, scope: &Scope, syncer: &Syncer) -> Result<Option<Self>, Unusable> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut reader = Reader::begin(BufReader::new(file.try_clone()?), scope)?;
        while reader.pair()?.is_some() {}
        let End { revision, written_ms } = reader.end().ok_or(Unusable::Damaged("it has no end"))?;
        let since = Duration::from_millis(u64::try_from(written_ms).unwrap_or_default());
        let mut again = file.try_clone()?;
        again.rewind()?;
        Ok(Some(Self {
            file,
            reader: Reader::begin(BufReader::new(again), scope)?,
            taken: Taken { revision, written: UNIX_EPOCH + since },
            ahead: None,
            current: None,
            untold: syncer.roots().map(|(root, _)| root).collect(),
        }))
    }

    pub(super) fn taken(&self) -> Taken {
        self.taken
    }

    /// The file, for whoever goes on from it.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The next page; roots without a pair have an empty one.
    ///
    /// # Errors
    /// The file is not any more what it was when it was opened.
    pub(super) fn next(&mut self, syncer: &Syncer) -> Result<Option<(RootId, Page)>, Unusable> {
        let revision = self.taken.revision;
        let (mut kvs, mut first) = (Vec::new(), false);
        loop {
            let next = match self.ahead.take() {
                Some(pair) => Some(pair),
                None => self.reader.pair()?,
            };
            let Some(pair) = next else {
                let whole = self.current.take().map(|root| (root, first));
                let rest = whole.or_else(|| self.untold.pop().map(|root| (root, true)));
                return Ok(rest.map(|(root, first)| (root, Page { revision, kvs, first, last: true })));
            };
            // a snapshot of these ranges has nothing else
            let Some(root) = syncer.roots().find(|(_, range)| range.contains(&pair.key)) else { continue };
            match self.current {
                None => {
                    (self.current, first) = (Some(root.0), true);
                    self.untold.retain(|other| *other != root.0);
                }
                Some(current) if current != root.0 => {
                    (self.ahead, self.current) = (Some(pair), None);
                    return Ok(Some((current, Page { revision, kvs, first, last: true })));
                }
                Some(_) => {}
            }
            kvs.push(pair);
            if kvs.len() >= PAGE {
                return Ok(Some((root.0, Page { revision, kvs, first, last: false })));
            }
        }
    }
}

//! Dense tables that grow a piece at a time: nothing is copied when they grow, so there is no moment at which they lie in
//! memory twice.

/// Entries of a piece.
const PIECE: usize = 4096;

/// A dense table by index. What was never written is `T::default()`, and reading it costs no memory.
#[derive(Debug, Clone)]
pub(crate) struct Chunked<T> {
    pieces: Vec<Box<[T; PIECE]>>,
    /// What reads beyond the end see.
    absent: T,
}

impl<T: Copy + Default> Default for Chunked<T> {
    fn default() -> Self {
        Chunked { pieces: Vec::new(), absent: T::default() }
    }
}

impl<T: Copy + Default> Chunked<T> {
    /// The entry at `index`.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> &T {
        let index = index as usize;
        let piece = self.pieces.get(index / PIECE);
        piece.and_then(|piece| piece.get(index % PIECE)).unwrap_or(&self.absent)
    }

    /// The entry at `index` to change; the table grows to hold it.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        while self.pieces.len() <= index / PIECE {
            self.grow();
        }
        let piece = self.pieces.get_mut(index / PIECE);
        piece.and_then(|piece| piece.get_mut(index % PIECE)).unwrap_or(&mut self.absent)
    }

    #[cold]
    fn grow(&mut self) {
        let piece = vec![T::default(); PIECE].into_boxed_slice();
        self.pieces.extend(Box::<[T; PIECE]>::try_from(piece).ok());
    }

    /// One beyond the highest index that was ever written, or more.
    pub(crate) fn end(&self) -> u32 {
        (self.pieces.len() * PIECE) as u32
    }

    /// Forgets everything and gives the memory back.
    pub(crate) fn clear(&mut self) {
        self.pieces = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_is_the_default_and_takes_no_memory() {
        let mut table = Chunked::<u32>::default();
        assert_eq!(*table.get(1_000_000), 0);
        assert_eq!(table.pieces.len(), 0);
        *table.get_mut(5000) = 7;
        assert_eq!((*table.get(5000), *table.get(4999), *table.get(5001)), (7, 0, 0));
        assert_eq!(table.pieces.len(), 2);
        table.clear();
        assert_eq!(*table.get(5000), 0);
    }
}

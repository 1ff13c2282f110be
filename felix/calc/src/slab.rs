//! Values under small numbers.

/// Values under small numbers that are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn add(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.entries.get_mut(index(id)) {
                    *slot = Some(value);
                }
                id
            }
            None => {
                self.entries.push(Some(value));
                count(self.entries.len() - 1)
            }
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.entries.get(index(id))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.entries.get_mut(index(id))?.as_mut()
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<T> {
        let value = self.entries.get_mut(index(id))?.take()?;
        self.free.push(id);
        Some(value)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        let used = |(at, entry): (usize, &Option<T>)| entry.as_ref().map(|_| count(at));
        self.entries.iter().enumerate().filter_map(used)
    }
}

/// A length as a number of a value.
pub(crate) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A number of a value as a place in a list.
pub(crate) fn index(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

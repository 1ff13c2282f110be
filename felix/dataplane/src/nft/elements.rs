//! The elements of one set: those wanted and there, those missing, those too many. A set of 100,000 addresses takes some
//! 3 MB: plain elements are their keys alone.

use foldhash::{HashMap, HashSet};
use netfilter::nft::{Data, Element};
use std::fmt;

/// Bytes of a key that need no allocation: an IPv6 address, an interface's name, an IPv4 address with protocol and port.
const SHORT: usize = 22;

/// What an element is known by in its set: its key and whether it begins, ends or is a range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Bytes {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

/// First byte of a key: what kind of element.
const POINT: u8 = 0;
const INTERVAL_END: u8 = 1;
const RANGE: u8 = 2;

impl Key {
    fn of(element: &Element) -> Self {
        let kind = match (&element.key_end, element.interval_end) {
            (Some(_), _) => RANGE,
            (None, true) => INTERVAL_END,
            (None, false) => POINT,
        };
        let end = element.key_end.as_deref().unwrap_or_default();
        let parts = [&[kind], element.key.as_slice(), end];
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut short = [0; SHORT];
        let (Some(room), Ok(count)) = (short.get_mut(..length), u8::try_from(length)) else {
            return Key(Bytes::Long(parts.concat().into()));
        };
        room.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        Key(Bytes::Short(count, short))
    }

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }

    fn element(&self, value: Option<&Value>) -> Element {
        let (kind, bytes) = self.bytes().split_first().map_or((POINT, [].as_slice()), |(k, rest)| (*k, rest));
        let middle = if kind == RANGE { bytes.len() / 2 } else { bytes.len() };
        let (key, end) = bytes.split_at(middle);
        Element {
            interval_end: kind == INTERVAL_END,
            key_end: (kind == RANGE).then(|| end.to_vec()),
            data: value.and_then(|value| value.data.clone()),
            comment: value.and_then(|value| value.comment.clone()),
            ..Element::key(key)
        }
    }

    /// Order of elements in a set of intervals: where one ends the next may begin.
    fn interval_order(&self) -> (&[u8], bool) {
        let bytes = self.bytes();
        (bytes.get(1..).unwrap_or_default(), bytes.first() != Some(&INTERVAL_END))
    }
}

impl fmt::Display for Key {
    /// An interface's name as it is, anything else in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes().get(1..).unwrap_or_default();
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let rest = bytes.get(name.len()..).unwrap_or_default();
        if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) && rest.iter().all(|byte| *byte == 0) {
            return f.write_str(&String::from_utf8_lossy(name));
        }
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What an element has beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    data: Option<Data>,
    comment: Option<String>,
}

fn split(element: Element) -> (Key, Option<Box<Value>>) {
    let key = Key::of(&element);
    let Element { data, comment, .. } = element;
    let plain = data.is_none() && comment.is_none();
    (key, (!plain).then(|| Box::new(Value { data, comment })))
}

/// Elements by key.
#[derive(Debug, Default)]
struct Members {
    plain: HashSet<Key>,
    rich: HashMap<Key, Box<Value>>,
}

impl Members {
    fn len(&self) -> usize {
        self.plain.len() + self.rich.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the element of this key is there, and like this.
    fn compare(&self, key: &Key, value: Option<&Value>) -> Option<bool> {
        if self.plain.contains(key) {
            return Some(value.is_none());
        }
        self.rich.get(key).map(|found| Some(&**found) == value)
    }

    fn insert(&mut self, key: Key, value: Option<Box<Value>>) {
        match value {
            None => {
                self.rich.remove(&key);
                self.plain.insert(key);
            }
            Some(value) => {
                self.plain.remove(&key);
                self.rich.insert(key, value);
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Option<Box<Value>>> {
        if self.plain.remove(key) {
            return Some(None);
        }
        self.rich.remove(key).map(Some)
    }

    fn iter(&self) -> impl Iterator<Item = (&Key, Option<&Value>)> {
        let rich = self.rich.iter().map(|(key, value)| (key, Some(&**value)));
        self.plain.iter().map(|key| (key, None)).chain(rich)
    }

    /// Takes all of these in; cheap where nothing is here yet.
    fn take_in(&mut self, mut others: Members) {
        if self.plain.is_empty() {
            std::mem::swap(&mut self.plain, &mut others.plain);
        }
        if self.rich.is_empty() {
            std::mem::swap(&mut self.rich, &mut others.rich);
        }
        self.plain.extend(others.plain);
        self.rich.extend(others.rich);
    }

    /// Gives memory back that a flood of elements took.
    fn shrink(&mut self) {
        if self.plain.capacity() > 64 && self.plain.len() < self.plain.capacity() / 4 {
            self.plain.shrink_to_fit();
        }
    }
}

/// See the module. A key in `same` is in neither of the others; one in both others differs in what it has beside.
#[derive(Debug, Default)]
pub struct Elements {
    same: Members,
    missing: Members,
    surplus: Members,
}

impl Elements {
    /// So many plain elements more may be wanted.
    pub fn reserve(&mut self, more: usize) {
        self.missing.plain.reserve(more);
    }

    /// This element is wanted.
    pub fn want(&mut self, element: Element) {
        let (key, value) = split(element);
        match self.same.compare(&key, value.as_deref()) {
            Some(true) => return,
            Some(false) => self.make_surplus(&key),
            None => {}
        }
        if self.surplus.compare(&key, value.as_deref()) == Some(true) {
            self.surplus.remove(&key);
            self.missing.remove(&key);
            self.same.insert(key, value);
        } else {
            self.missing.insert(key, value);
        }
    }

    /// The element of this key is not wanted.
    pub fn unwant(&mut self, element: &Element) {
        let key = Key::of(element);
        if self.missing.remove(&key).is_none() {
            self.make_surplus(&key);
        }
    }

    /// None is wanted.
    pub fn unwant_all(&mut self) {
        self.missing = Members::default();
        self.surplus.take_in(std::mem::take(&mut self.same));
    }

    /// What is there is not known, or is nothing.
    pub fn forget_actual(&mut self) {
        self.surplus = Members::default();
        self.missing.take_in(std::mem::take(&mut self.same));
    }

    /// This element is there.
    pub fn found(&mut self, element: Element) {
        let (key, value) = split(element);
        if self.missing.compare(&key, value.as_deref()) == Some(true) {
            self.missing.remove(&key);
            self.same.insert(key, value);
        } else if self.same.compare(&key, value.as_deref()) != Some(true) {
            self.surplus.insert(key, value);
        }
    }

    fn make_surplus(&mut self, key: &Key) {
        if let Some(value) = self.same.remove(key) {
            self.surplus.insert(key.clone(), value);
        }
    }

    /// Whether all that is wanted is there, and nothing else.
    pub fn is_in_sync(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty()
    }

    /// How many are missing or too many.
    pub fn pending(&self) -> usize {
        self.missing.len() + self.surplus.len()
    }

    /// Those to remove: too many, or unlike what is wanted.
    pub fn to_remove(&self) -> impl Iterator<Item = (&Key, Element)> {
        self.surplus.iter().map(|(key, value)| (key, key.element(value)))
    }

    /// Those to add once [`Elements::to_remove`] has gone.
    pub fn to_add(&self) -> impl Iterator<Item = (&Key, Element)> {
        self.missing.iter().map(|(key, value)| (key, key.element(value)))
    }

    /// All that are wanted, in the order a set of intervals takes them.
    pub fn wanted(&self) -> Vec<(&Key, Element)> {
        let mut all: Vec<(&Key, Option<&Value>)> = self.same.iter().chain(self.missing.iter()).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.interval_order().cmp(&b.interval_order()));
        all.into_iter().map(|(key, value)| (key, key.element(value))).collect()
    }

    /// These were added.
    pub fn added(&mut self, keys: Vec<Key>) {
        if keys.len() == self.missing.len() {
            self.same.take_in(std::mem::take(&mut self.missing));
            return;
        }
        for key in keys {
            if let Some(value) = self.missing.remove(&key) {
                self.same.insert(key, value);
            }
        }
        self.missing.shrink();
    }

    /// These were removed.
    pub fn removed(&mut self, keys: &[Key]) {
        for key in keys {
            self.surplus.remove(key);
        }
        self.surplus.shrink();
    }
}

#[cfg(test)]
mod tests;

//! Prefixes in messages (RFC 4271 §4.3, RFC 4760 §5, RFC 7911 §3): checked once, then read and written without allocation.

use crate::family::Family;
use crate::prefix::{Ipv4Prefix, Ipv6Prefix, Nlri, Prefix};

/// Octets of the longest NLRI: path identifier, length, an IPv6 address.
pub(crate) const MAX_NLRI: usize = 4 + 1 + 16;

/// Prefixes of one family as they stand in a message. They have been checked: every one of them can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NlriBytes<'a> {
    family: Family,
    add_path: bool,
    bytes: &'a [u8],
}

impl<'a> NlriBytes<'a> {
    /// Checks that `bytes` are whole prefixes of the family (RFC 7606 §5.3).
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(family: Family, add_path: bool, bytes: &'a [u8]) -> Result<Self, String> {
        let (mut rest, head) = (bytes, if add_path { 4 } else { 0 });
        while !rest.is_empty() {
            let Some(&bits) = rest.get(head) else { return Err("a path identifier is cut short".into()) };
            if bits > family.bits() {
                return Err(format!("prefix length {bits} of {family}, at most {}", family.bits()));
            }
            rest = rest.get(head + 1 + usize::from(bits.div_ceil(8))..).ok_or_else(|| {
                format!("the last prefix, of length {bits}, runs over the end of the field")
            })?;
        }
        Ok(NlriBytes { family, add_path, bytes })
    }

    /// Their family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many octets they take.
    pub(crate) fn octets(&self) -> usize {
        self.bytes.len()
    }

    /// Each of them, host bits cleared.
    pub fn iter(&self) -> NlriIter<'a> {
        NlriIter(*self)
    }
}

impl<'a> IntoIterator for NlriBytes<'a> {
    type Item = Nlri;
    type IntoIter = NlriIter<'a>;

    fn into_iter(self) -> NlriIter<'a> {
        NlriIter(self)
    }
}

/// Reads [`NlriBytes`] one by one.
#[derive(Debug, Clone)]
pub struct NlriIter<'a>(NlriBytes<'a>);

impl<'a> NlriIter<'a> {
    /// Path identifier and length of the next one, and what stands behind them.
    #[inline]
    fn head(&self) -> Option<(u32, u8, &'a [u8])> {
        let (mut path_id, mut rest) = (0, self.0.bytes);
        if self.0.add_path {
            let (id, after) = rest.split_first_chunk::<4>()?;
            (path_id, rest) = (u32::from_be_bytes(*id), after);
        }
        let (&bits, after) = rest.split_first()?;
        Some((path_id, bits, after))
    }

    /// Path identifier, octets of the address and length of the next one. `None` at the end, and where the family is another.
    #[inline]
    fn next_octets<const OCTETS: usize>(&mut self, family: Family) -> Option<(u32, [u8; OCTETS], u8)> {
        let (path_id, bits, after) = self.head().filter(|_| self.0.family == family)?;
        // Mostly more prefixes follow, so a whole address can be read whatever the length is.
        let len = usize::from(bits.div_ceil(8));
        let octets = match after.first_chunk::<OCTETS>() {
            Some(octets) => *octets,
            None => padded(after.get(..len)?),
        };
        self.0.bytes = after.get(len..)?;
        Some((path_id, octets, bits))
    }

    /// The next one as path identifier, address and length, for those who keep it in a table in these pieces: putting it
    /// together and taking it apart again costs more than reading it. `None` at the end, and where the family is another.
    #[inline]
    pub fn next_v4(&mut self) -> Option<(u32, u32, u8)> {
        let (path_id, octets, bits) = self.next_octets(Family::Ipv4Unicast)?;
        Some((path_id, Ipv4Prefix::from_bits(u32::from_be_bytes(octets), bits).addr().to_bits(), bits))
    }

    /// As [`NlriIter::next_v4`], for IPv6.
    #[inline]
    pub fn next_v6(&mut self) -> Option<(u32, u128, u8)> {
        let (path_id, octets, bits) = self.next_octets(Family::Ipv6Unicast)?;
        Some((path_id, Ipv6Prefix::from_bits(u128::from_be_bytes(octets), bits).addr().to_bits(), bits))
    }
}

impl Iterator for NlriIter<'_> {
    type Item = Nlri;

    #[inline]
    fn next(&mut self) -> Option<Nlri> {
        Some(match self.0.family {
            Family::Ipv4Unicast => {
                let (path_id, addr, len) = self.next_v4()?;
                Nlri { path_id, prefix: Prefix::V4(Ipv4Prefix::from_bits(addr, len)) }
            }
            Family::Ipv6Unicast => {
                let (path_id, addr, len) = self.next_v6()?;
                Nlri { path_id, prefix: Prefix::V6(Ipv6Prefix::from_bits(addr, len)) }
            }
        })
    }
}

fn padded<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut all = [0; N];
    all.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
    all
}

/// Octets one prefix takes in a message.
pub(crate) fn encoded_len(nlri: &Nlri, add_path: bool) -> usize {
    usize::from(nlri.prefix.len().div_ceil(8)) + if add_path { 5 } else { 1 }
}

/// Appends one prefix.
#[inline]
pub(crate) fn encode(nlri: &Nlri, add_path: bool, out: &mut Vec<u8>) {
    if add_path {
        out.extend_from_slice(&nlri.path_id.to_be_bytes());
    }
    let len = usize::from(nlri.prefix.len().div_ceil(8));
    // All octets are appended and those beyond the length taken away again: cheaper than a copy of unknown length.
    match nlri.prefix {
        Prefix::V4(prefix) => {
            let [a, b, c, d] = prefix.addr().octets();
            out.extend_from_slice(&[prefix.len(), a, b, c, d]);
            out.truncate(out.len() - 4 + len);
        }
        Prefix::V6(prefix) => {
            out.push(prefix.len());
            out.extend_from_slice(&prefix.addr().octets());
            out.truncate(out.len() - 16 + len);
        }
    }
}

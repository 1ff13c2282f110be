//! What can be done with a block: hand out, take back, let cool down.
//!
//! Pure functions over the stored form. They keep what makes a block valid: an ordinal is in `unallocated` exactly when
//! it has no allocation, every allocation points at an attribute, and `sequence_for` knows only allocated ordinals.
//! Each function that changes a block for a write also counts its sequence number up, as every update must.

use crate::request::{Assigned, HostReserved};
use crate::reservations::Reservations;
use jiff::{SignedDuration, Timestamp};
use model::ipam::{AllocationBlock, Attribute};
use model::key::Owner;
use model::net::{Cidr, Family};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Handle of the addresses a Windows node keeps for itself in each of its blocks; they do not make a block used.
pub(crate) const WINDOWS_RESERVED: &str = "windows-reserved-ipam-handle";

/// The address of an ordinal.
pub(crate) fn address_of(cidr: &Cidr, ordinal: usize) -> Option<IpAddr> {
    cidr.nth(u128::try_from(ordinal).ok()?)
}

/// The ordinal of an address.
pub(crate) fn ordinal_of(cidr: &Cidr, address: IpAddr) -> Option<usize> {
    usize::try_from(cidr.offset_of(address)?).ok()
}

/// The handle of an attribute. Handles that once came with a line end are known by what stands before it.
pub(crate) fn handle_of(attribute: &Attribute) -> Option<&str> {
    attribute.handle.as_deref().map(|handle| handle.split('\r').next().unwrap_or_default())
}

/// A block as its owner claims it: all free but for what the owner keeps of an IPv4 block. Its sequence number begins
/// at the time, but after `after`, that of a block it replaces; numbers never go back.
pub(crate) fn claimed(
    cidr: &Cidr,
    owner: &Owner,
    now: Timestamp,
    after: u64,
    kept: Option<&HostReserved>,
) -> Option<AllocationBlock> {
    let sequence_number = u64::try_from(now.as_nanosecond()).unwrap_or(0).max(after.saturating_add(1));
    let mut block = AllocationBlock::new(*cidr, Some(owner), Some(now), sequence_number)?;
    if let Some(kept) = kept.filter(|_| cidr.family() == Family::V4) {
        keep(&mut block, kept);
    }
    Some(block)
}

fn keep(block: &mut AllocationBlock, kept: &HostReserved) {
    let end = block.size().saturating_sub(kept.last);
    let is_kept = |ordinal: usize| ordinal < kept.first || ordinal >= end;
    block.attributes.push(Attribute {
        handle: Some(kept.handle.clone()),
        secondary: BTreeMap::from([("note".to_owned(), kept.note.clone())]),
        ..Attribute::default()
    });
    for (ordinal, slot) in block.allocations.iter_mut().enumerate() {
        if is_kept(ordinal) {
            *slot = Some(0);
        }
    }
    block.unallocated.retain(|ordinal| !is_kept(*ordinal));
}

/// Changes what is noted about an allocated ordinal, and only about it.
pub(crate) fn annotate(block: &mut AllocationBlock, ordinal: usize, attribute: &Attribute) {
    let index = index_of(block, attribute);
    if let Some(slot) = block.allocations.get_mut(ordinal)
        && slot.is_some()
    {
        *slot = Some(index);
    }
    drop_unused_attributes(block);
    touch(block);
}

/// The place of an attribute, which is added if need be.
fn index_of(block: &mut AllocationBlock, attribute: &Attribute) -> usize {
    let known = block.attributes.iter().position(|known| known == attribute);
    known.unwrap_or_else(|| {
        block.attributes.push(attribute.clone());
        block.attributes.len() - 1
    })
}

/// The addresses of a handle.
pub(crate) fn assigned_to(block: &AllocationBlock, handle: &str) -> Vec<Assigned> {
    let addresses =
        ordinals_of(block, handle).into_iter().filter_map(|ordinal| address_of(&block.cidr, ordinal));
    addresses.map(|address| Assigned { address, block: block.cidr }).collect()
}

/// Counts an update.
pub(crate) fn touch(block: &mut AllocationBlock) {
    block.sequence_number = block.sequence_number.wrapping_add(1);
}

/// Assigns up to `count` free addresses outside the reservations, in the block's own order, and returns their
/// ordinals. A block that has none stays untouched.
pub(crate) fn assign_next(
    block: &mut AllocationBlock,
    count: usize,
    attribute: &Attribute,
    reserved: &Reservations,
) -> Vec<usize> {
    let cidr = block.cidr;
    let chosen: Vec<usize> = block
        .unallocated
        .iter()
        .copied()
        .filter(|ordinal| address_of(&cidr, *ordinal).is_some_and(|address| !reserved.contains(address)))
        .take(count)
        .collect();
    if !chosen.is_empty() {
        allocate(block, &chosen, attribute);
    }
    chosen
}

/// Assigns one ordinal; false, and nothing changed, when it is not free.
pub(crate) fn assign_at(block: &mut AllocationBlock, ordinal: usize, attribute: &Attribute) -> bool {
    assign_all(block, &[ordinal], attribute)
}

/// Assigns these ordinals in one update; false, and nothing changed, when one of them is not free.
pub(crate) fn assign_all(block: &mut AllocationBlock, ordinals: &[usize], attribute: &Attribute) -> bool {
    let free = ordinals.iter().all(|ordinal| block.allocations.get(*ordinal) == Some(&None));
    if free && !ordinals.is_empty() {
        allocate(block, ordinals, attribute);
    }
    free
}

fn allocate(block: &mut AllocationBlock, ordinals: &[usize], attribute: &Attribute) {
    let index = index_of(block, attribute);
    for ordinal in ordinals {
        if let Some(slot) = block.allocations.get_mut(*ordinal) {
            *slot = Some(index);
            block.sequence_for.insert(*ordinal, block.sequence_number);
        }
    }
    block.unallocated.retain(|ordinal| !ordinals.contains(ordinal));
    touch(block);
}

/// Takes back allocated ordinals: they cool down for `cooldown` seconds, which with 0 is no time at all.
/// `stamp` renews their sequence numbers, so that who knew the old one cannot release them again.
pub(crate) fn release(
    block: &mut AllocationBlock,
    ordinals: &[usize],
    stamp: bool,
    now: Timestamp,
    cooldown: i64,
) {
    let index = block.attributes.len();
    block.attributes.push(Attribute { released_at: Some(now), ..Attribute::default() });
    for ordinal in ordinals {
        if let Some(slot) = block.allocations.get_mut(*ordinal)
            && slot.is_some()
        {
            *slot = Some(index);
            if stamp {
                block.sequence_for.insert(*ordinal, block.sequence_number);
            }
        }
    }
    free_cooled(block, now, cooldown);
    drop_unused_attributes(block);
    touch(block);
}

/// Frees what has cooled down; not a write by itself: it is kept with the next one.
pub(crate) fn free_cooled(block: &mut AllocationBlock, now: Timestamp, cooldown: i64) {
    let horizon = now.saturating_sub(SignedDuration::from_secs(cooldown.max(0))).unwrap_or(Timestamp::MIN);
    let cooled = |at: Timestamp| cooldown <= 0 || at < horizon;
    if !block.attributes.iter().any(|a| a.released_at.is_some_and(cooled)) {
        return;
    }
    for ordinal in 0..block.size() {
        if block.attribute(ordinal).and_then(|a| a.released_at).is_some_and(cooled) {
            if let Some(slot) = block.allocations.get_mut(ordinal) {
                *slot = None;
            }
            block.unallocated.push(ordinal);
            block.sequence_for.remove(&ordinal);
        }
    }
    drop_unused_attributes(block);
}

fn drop_unused_attributes(block: &mut AllocationBlock) {
    let mut used = vec![false; block.attributes.len()];
    for index in block.allocations.iter().flatten() {
        if let Some(used) = used.get_mut(*index) {
            *used = true;
        }
    }
    let mut next = 0;
    let places: Vec<usize> = used
        .iter()
        .map(|used| {
            let place = next;
            next += usize::from(*used);
            place
        })
        .collect();
    for index in block.allocations.iter_mut().flatten() {
        *index = places.get(*index).copied().unwrap_or(*index);
    }
    let mut used = used.into_iter();
    block.attributes.retain(|_| used.next().unwrap_or(true));
}

/// Ordinals of a handle.
pub(crate) fn ordinals_of(block: &AllocationBlock, handle: &str) -> Vec<usize> {
    (0..block.size())
        .filter(|ordinal| block.attribute(*ordinal).and_then(handle_of) == Some(handle))
        .collect()
}

/// Whether nobody uses an address of the block; one that cools down is still used.
pub(crate) fn is_empty(block: &AllocationBlock) -> bool {
    (0..block.size())
        .all(|ordinal| block.attribute(ordinal).is_none_or(|a| a.handle.as_deref() == Some(WINDOWS_RESERVED)))
}

/// Whether an address of the block can be handed out.
pub(crate) fn has_free(block: &AllocationBlock, reserved: &Reservations) -> bool {
    free(block, reserved).next().is_some()
}

/// Addresses that can be given, in the order in which they are.
pub(crate) fn free<'a>(
    block: &'a AllocationBlock,
    reserved: &'a Reservations,
) -> impl Iterator<Item = IpAddr> + 'a {
    let addresses = block.unallocated.iter().filter_map(|ordinal| address_of(&block.cidr, *ordinal));
    addresses.filter(|address| !reserved.contains(*address))
}

//! Whether own blocks have addresses for what comes next, and what has to be made room for where they have not.

use super::{Known, Warm};
use crate::request::AutoAssignRequest;
use model::net::Family;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Addresses that a node should have free beyond what it was asked for: those who come while another block is claimed.
const AHEAD: usize = 8;

impl Warm {
    /// What to [make room](crate::make_room) for so that so many requests like this can be met; `None` where they can be, or
    /// where it is no matter of room.
    pub fn lacks(&self, request: &AutoAssignRequest, requests: usize) -> Option<AutoAssignRequest> {
        let plain = self.is_plain(request);
        self.room(request, |family, _| request.wanted(family).saturating_mul(requests)).filter(|_| plain)
    }

    /// The same for those who come after a request that has been met: [`AHEAD`], but not more than half a block, so that a node
    /// has at most one block of a pool without an address in use.
    pub fn runs_short(&self, request: &AutoAssignRequest) -> Option<AutoAssignRequest> {
        self.room(request, |_, block| AHEAD.min(block / 2))
    }

    /// Addresses that requests have got and that are not written yet.
    pub fn spoken_for(&self) -> BTreeSet<IpAddr> {
        self.picked.clone()
    }

    /// `need`: how many addresses of a family have to be free, where a block has so many.
    fn room(
        &self,
        request: &AutoAssignRequest,
        need: impl Fn(Family, usize) -> usize,
    ) -> Option<AutoAssignRequest> {
        let known = self.known.as_ref()?;
        let of = |family: Family| match request.wanted(family) {
            0 => Some(0),
            _ => self.missing(known, family, request, |block| need(family, block)),
        };
        let (v4, v6) = (of(Family::V4)?, of(Family::V6)?);
        let room =
            AutoAssignRequest { handle: None, attributes: Default::default(), v4, v6, ..request.clone() };
        (v4 + v6 > 0).then_some(room)
    }

    /// How many addresses have to be free where there are not as many; else 0. `None`: the request may use no pool.
    fn missing(
        &self,
        known: &Known,
        family: Family,
        request: &AutoAssignRequest,
        need: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        let (mut free, mut size) = (0, 0);
        for own in known.usable(&self.owner, family, request)? {
            size = own.block.allocations.len();
            free += self.free(known, own).take(need(size).saturating_sub(free)).count();
        }
        Some(if free >= need(size) { 0 } else { need(size) })
    }
}

//! Changes of links, addresses, routes and neighbours as they happen.

use super::{Message, decode};
use crate::api::{EventGroups, KernelError, KernelEvent};
use crate::multicast::{self, filter::Filter};
use crate::netns::Netns;
use futures::stream::Stream;
use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use rtnetlink::MulticastGroup;
use std::collections::VecDeque;

/// Follows the changes of a namespace from now on; `own` is the port of the handle's other socket.
pub(super) fn follow(
    netns: &Netns,
    groups: EventGroups,
    own: u32,
) -> Result<impl Stream<Item = KernelEvent> + Send + use<>, KernelError> {
    let filter = groups.others_only.then(|| Filter::routes_of_others(own));
    let groups: Vec<u32> = members(groups).into_iter().map(|group| group as u32).collect();
    let read = |datagram: &[u8], into: &mut VecDeque<KernelEvent>| take(datagram, into);
    multicast::follow(netns, NETLINK_ROUTE, &groups, filter.as_ref(), || KernelEvent::Overrun, read)
}

fn members(groups: EventGroups) -> Vec<MulticastGroup> {
    use MulticastGroup::{Ipv4Ifaddr, Ipv4Route, Ipv6Ifaddr, Ipv6Route, Link, Neigh};
    let mut members = Vec::new();
    let mut join = |wanted: bool, these: &[MulticastGroup]| {
        if wanted {
            members.extend_from_slice(these);
        }
    };
    join(groups.links, &[Link]);
    join(groups.addresses, &[Ipv4Ifaddr, Ipv6Ifaddr]);
    join(groups.routes, &[Ipv4Route, Ipv6Route]);
    join(groups.neighbours, &[Neigh]);
    members
}

/// Takes the events of a datagram. One that cannot be read counts as lost.
fn take(datagram: &[u8], into: &mut VecDeque<KernelEvent>) {
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = match NetlinkBuffer::new_checked(rest) {
            Ok(frame) => frame.length() as usize,
            Err(_) => {
                into.push_back(KernelEvent::Overrun);
                return;
            }
        };
        let (frame, behind) = rest.split_at(length.min(rest.len()));
        match Message::deserialize(frame) {
            Ok(message) => into.extend(event(message)),
            Err(error) => {
                tracing::debug!(%error, "a kernel event cannot be read");
                into.push_back(KernelEvent::Overrun);
            }
        }
        // Messages begin at multiples of four bytes.
        rest = behind.get((length.next_multiple_of(4) - length).min(behind.len())..).unwrap_or_default();
    }
}

fn event(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<KernelEvent> {
    use RouteNetlinkMessage::{
        DelAddress, DelLink, DelNeighbour, DelRoute, NewAddress, NewLink, NewNeighbour, NewRoute,
    };
    match message.payload {
        NetlinkPayload::Overrun(_) => Some(KernelEvent::Overrun),
        NetlinkPayload::InnerMessage(inner) => match inner {
            NewLink(link) => decode::link(&link).map(KernelEvent::Link),
            DelLink(link) => decode::link(&link).map(KernelEvent::LinkGone),
            NewAddress(address) => decode::address(&address).map(KernelEvent::Address),
            DelAddress(address) => decode::address(&address).map(KernelEvent::AddressGone),
            NewRoute(route) => decode::route(&route).map(KernelEvent::Route),
            DelRoute(route) => decode::route(&route).map(KernelEvent::RouteGone),
            NewNeighbour(neighbour) => decode::neighbour(&neighbour).map(KernelEvent::Neighbour),
            DelNeighbour(neighbour) => decode::neighbour(&neighbour).map(KernelEvent::NeighbourGone),
            _ => None,
        },
        _ => None,
    }
}

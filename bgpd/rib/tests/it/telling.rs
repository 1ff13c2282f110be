//! How neighbours are told: refreshes, neighbours that do not keep up, and the counts of it all.

use crate::neighbor::{Neighbor, session};
use bgp_rib::{PeerSettings, Rib, RibConfig};
use bgp_wire::{AsPath, Attributes, Family, Nlri, Origin, PerFamily, Prefix, RefreshSubtype};
use std::net::Ipv4Addr;

const FAMILY: Family = Family::Ipv4Unicast;

fn rib(log_limit: usize) -> Rib {
    Rib::new(RibConfig { log_limit, ..RibConfig::new(Ipv4Addr::new(10, 255, 0, 254)) })
}

fn add(rib: &mut Rib, number: u8, change: impl FnOnce(&mut bgp_rib::Session)) -> Neighbor {
    let id = rib.add_peer(PeerSettings::new(format!("peer {number}"), [192, 0, 2, 100 + number].into()));
    let mut session = session(true, 65000 + u32::from(number), number);
    change(&mut session);
    let mut neighbor = Neighbor::new(id, session);
    neighbor.up(rib);
    neighbor.read_all(rib);
    neighbor
}

fn with_add_path(session: &mut bgp_rib::Session) {
    session.codec.add_path_send = PerFamily { ipv4: true, ipv6: true };
}

fn routes(count: u32) -> Vec<Nlri> {
    let prefix = |n: u32| Prefix::new(Ipv4Addr::from(0x0a00_0000 + (n << 8)).into(), 24).unwrap();
    (0..count).map(|n| Nlri { path_id: 0, prefix: prefix(n) }).collect()
}

/// Attributes that a neighbour announces with; `n` makes them differ.
fn attributes(neighbor: &Neighbor, n: u32) -> Attributes {
    let path = AsPath::sequence(&[neighbor.session.remote_as, 65100 + n]);
    Attributes::new(Origin::Igp, path, [192, 0, 2, 1].into())
}

#[test]
fn a_refresh_that_begins_with_a_mark_is_sent_whole_to_a_neighbour_that_has_read_everything() {
    for marked in [false, true] {
        let mut rib = rib(1 << 20);
        let one = add(&mut rib, 1, |_| {});
        let mut two = add(&mut rib, 2, |session| session.enhanced_refresh = marked);
        one.announce(&mut rib, &routes(3), &attributes(&one, 0));
        rib.flush();
        two.read_all(&mut rib);
        let updates = two.updates;
        rib.refresh(two.id, FAMILY, RefreshSubtype::Request);
        // The mark lies there to be read already; it must not be taken for all that there is to say.
        assert!(rib.wants_flush(), "marked: {marked}");
        assert_eq!(rib.flush(), [two.id]);
        two.read_all(&mut rib);
        assert_eq!((two.updates, two.refreshed), (updates + 1, usize::from(marked)));
        assert_eq!(two.told.len(), 3);
    }
}

#[test]
fn many_that_do_not_keep_up_leave_the_log_together_and_end_with_what_there_is() {
    for add_path in [false, true] {
        let mut rib = rib(4 << 10);
        let mut source = add(&mut rib, 1, |_| {});
        let change = if add_path { with_add_path } else { |_: &mut bgp_rib::Session| {} };
        let mut slow: Vec<Neighbor> = (2..20).map(|n| add(&mut rib, n, change)).collect();
        let all = routes(2000);
        for round in 0..6 {
            // Each has read another part, some of them up to the middle of a message.
            for (n, one) in slow.iter_mut().enumerate() {
                one.read(&mut rib, n * 37 * usize::from(round % 2 == 0));
            }
            let part = &all[300 * round as usize..];
            source.announce(&mut rib, &part[..300], &attributes(&source, round));
            source.withdraw(&mut rib, &all[..50 * round as usize]);
            // One that is among the slow is a source too, of routes that the others are told of and it is not.
            slow[3].announce(&mut rib, &part[250..280], &attributes(&slow[3], round));
            rib.flush();
        }
        source.read_all(&mut rib);
        for one in &mut slow {
            one.read_all(&mut rib);
            let mut wanted: Vec<Nlri> = rib.sent(one.id, FAMILY).map(|(nlri, _)| nlri).collect();
            wanted.sort();
            assert_eq!(one.told.keys().copied().collect::<Vec<_>>(), wanted, "ADD-PATH: {add_path}");
            assert!(wanted.len() > 1000);
        }
    }
}

#[test]
fn counts_are_those_of_the_tables_neighbour_by_neighbour() {
    for add_path in [false, true] {
        let mut rib = rib(1 << 20);
        let mut all: Vec<Neighbor> = (1..5)
            .map(|n| {
                add(&mut rib, n, |session| {
                    if add_path && n > 2 {
                        with_add_path(session)
                    }
                })
            })
            .collect();
        let routes = routes(40);
        for (n, one) in all.iter().enumerate() {
            one.announce(&mut rib, &routes[n * 5..n * 5 + 20], &attributes(one, n as u32));
        }
        all[1].withdraw(&mut rib, &routes[5..9]);
        rib.flush();
        all.iter_mut().for_each(|one| one.read_all(&mut rib));
        let counts = rib.counts(FAMILY);
        for one in &all {
            let mine: Vec<_> = rib.routes(FAMILY).filter(|(_, known)| known.peer == one.id).collect();
            let counts = counts[one.id.index()];
            let best = mine.iter().filter(|(_, known)| known.best).count();
            assert_eq!((counts.received, counts.best), (mine.len(), best));
            assert_eq!(counts.sent, one.told.len(), "ADD-PATH: {add_path}");
        }
        assert_eq!(rib.path_count(FAMILY), 76);
    }
}

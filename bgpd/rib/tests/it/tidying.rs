//! What is no more: not seen by anybody from the flush on, forgotten later; and reading the table in pieces meanwhile.

use crate::neighbor::{Neighbor, session};
use bgp_rib::{Listed, PeerSettings, Rib, RibConfig};
use bgp_wire::{AsPath, Attributes, Family, Nlri, Origin, Prefix};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const FAMILY: Family = Family::Ipv4Unicast;

fn rib() -> Rib {
    Rib::new(RibConfig::new(Ipv4Addr::new(10, 255, 0, 254)))
}

fn add(rib: &mut Rib, number: u8) -> Neighbor {
    let id = rib.add_peer(PeerSettings::new(format!("peer {number}"), [192, 0, 2, 100 + number].into()));
    let mut neighbor = Neighbor::new(id, session(true, 65000 + u32::from(number), number));
    neighbor.up(rib);
    neighbor.read_all(rib);
    neighbor
}

fn prefix(n: u32) -> Prefix {
    Prefix::new(Ipv4Addr::from(0x0a00_0000 + (n << 8)).into(), 24).unwrap()
}

fn routes(numbers: impl IntoIterator<Item = u32>) -> Vec<Nlri> {
    numbers.into_iter().map(|n| Nlri { path_id: 0, prefix: prefix(n) }).collect()
}

fn attributes(neighbor: &Neighbor, n: u32) -> Attributes {
    let path = AsPath::sequence(&[neighbor.session.remote_as, 65100 + n]);
    Attributes::new(Origin::Igp, path, [192, 0, 2, 1].into())
}

/// The whole table, page by page; `between` happens before each page but the first.
fn pages(
    rib: &mut Rib,
    within: Option<Prefix>,
    most: usize,
    mut between: impl FnMut(&mut Rib),
) -> Vec<Listed> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let (page, next) = rib.page(FAMILY, within, from, most);
        all.extend(page);
        let Some(next) = next else { return all };
        assert!(next > from, "it ends");
        from = next;
        between(rib);
    }
}

#[test]
fn what_is_withdrawn_is_gone_for_everybody_before_it_is_forgotten() {
    let mut rib = rib();
    let (one, mut two) = (add(&mut rib, 1), add(&mut rib, 2));
    one.announce(&mut rib, &routes(0..100), &attributes(&one, 0));
    rib.flush();
    one.withdraw(&mut rib, &routes(0..99));
    rib.flush();
    two.read_all(&mut rib);
    assert_eq!((rib.len(FAMILY), rib.path_count(FAMILY), two.told.len()), (1, 1, 1));
    assert!(rib.is_untidy());
    assert_eq!(rib.explain(prefix(7)), None);
    assert_eq!(pages(&mut rib, None, 10, |_| {}).len(), 1);
    // Who comes now is told of what there is.
    let mut three = add(&mut rib, 3);
    rib.flush();
    three.read_all(&mut rib);
    assert_eq!(three.told.len(), 1);
    while rib.tidy(3) {}
    assert_eq!((rib.len(FAMILY), rib.is_untidy()), (1, false));
    assert!(rib.explain(prefix(99)).is_some());
}

#[test]
fn what_comes_back_before_it_is_forgotten_is_as_if_it_had_never_gone() {
    let mut rib = rib();
    let (one, mut two) = (add(&mut rib, 1), add(&mut rib, 2));
    for round in 0..5 {
        one.announce(&mut rib, &routes(0..50), &attributes(&one, round));
        rib.flush();
        two.read_all(&mut rib);
        assert_eq!((rib.len(FAMILY), two.told.len()), (50, 50));
        one.withdraw(&mut rib, &routes(0..50));
        // Withdrawn and announced within one flush, too.
        one.announce(&mut rib, &routes(0..10), &attributes(&one, round));
        rib.flush();
        rib.tidy(if round % 2 == 0 { 0 } else { 20 });
        two.read_all(&mut rib);
        assert_eq!((rib.len(FAMILY), two.told.len()), (10, 10));
    }
    one.withdraw(&mut rib, &routes(0..10));
    rib.flush();
    while rib.tidy(7) {}
    two.read_all(&mut rib);
    assert_eq!((rib.set_count(), two.told.len()), (0, 0));
    assert!(rib.is_empty());
}

#[test]
fn others_take_the_place_of_what_went_although_nobody_ever_has_time() {
    let mut rib = rib();
    let one = add(&mut rib, 1);
    for round in 0..50 {
        let mine = routes(round * 100..(round + 1) * 100);
        one.announce(&mut rib, &mine, &attributes(&one, round));
        rib.flush();
        one.withdraw(&mut rib, &mine);
        rib.flush();
    }
    // Two rounds' at most, of fifty: a set that came in and the one that goes out.
    assert!(rib.set_count() <= 4, "{} sets", rib.set_count());
    let places = pages(&mut rib, None, 1, |_| {});
    assert_eq!(places, []);
}

#[test]
fn pages_have_everything_once_although_routes_come_and_go_between_them() {
    let mut rib = rib();
    let one = add(&mut rib, 1);
    let two = add(&mut rib, 2);
    one.announce(&mut rib, &routes(0..200), &attributes(&one, 0));
    two.announce(&mut rib, &routes((0..200).step_by(3)), &attributes(&two, 0));
    rib.flush();
    let mut next = 0;
    let all = pages(&mut rib, None, 16, |rib| {
        // The odd ones go one by one, others come.
        one.withdraw(rib, &routes([next * 2 + 1]));
        one.announce(rib, &routes([1000 + next]), &attributes(&one, 1));
        next += 1;
        rib.flush();
        rib.tidy(5);
    });
    let mut seen: BTreeMap<Prefix, usize> = BTreeMap::new();
    all.iter().for_each(|listed| *seen.entry(listed.prefix).or_default() += 1);
    assert!(seen.values().all(|count| *count == 1));
    for n in (0..200).step_by(2) {
        let listed = all.iter().find(|listed| listed.prefix == prefix(n)).unwrap();
        assert_eq!(listed.paths, if n % 3 == 0 { 2 } else { 1 }, "{n}");
        assert!(listed.best.as_ref().is_some_and(|best| best.best));
    }
    let within = Prefix::new(Ipv4Addr::from(0x0a00_0000).into(), 20).unwrap();
    let inside = pages(&mut rib, Some(within), 7, |_| {});
    assert!(inside.iter().all(|listed| within.covers(listed.prefix)));
    assert_eq!(inside.iter().filter(|listed| all.contains(listed)).count(), 8, "the even ones of sixteen");
}

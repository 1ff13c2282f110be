//! The order of candidates, and reservations, against naive lists.

use super::{World, cidr};
use crate::candidates::{Taken, Walk};
use crate::pool::Pool;
use crate::reservations::Reservations;
use model::net::Cidr;
use model::{Kind, Resource};
use proptest::prelude::*;
use serde_json::json;

fn pool(cidr: &str, block_size: u8) -> Pool {
    let value = json!({"metadata": {"name": "p"}, "spec": {"cidr": cidr, "blockSize": block_size}});
    Pool::read(&Resource::from_object(Kind::IPPool, value.as_object().unwrap().clone())).unwrap()
}

fn walk(pool: &Pool, name: &str) -> Walk {
    Walk::new(pool, name, World::bare().now).unwrap()
}

/// Every block in the order in which the owner would claim them all.
fn whole_way(pool: &Pool, name: &str, taken: &mut Taken, reserved: &Reservations) -> Vec<Cidr> {
    let walk = walk(pool, name);
    let mut way = Vec::new();
    while let Some(block) = walk.first_free(taken, reserved) {
        taken.insert(block);
        way.push(block);
    }
    way
}

#[test]
fn an_owner_begins_somewhere_and_goes_round() {
    let pool = pool("10.80.0.0/24", 28);
    let way = whole_way(&pool, "node-1", &mut Taken::default(), &Reservations::default());
    assert_eq!(way.len(), 16);
    let index = |block: &Cidr| pool.cidr.offset_of(block.addr()).unwrap() / 16;
    let start = index(&way[0]);
    for (step, block) in way.iter().enumerate() {
        assert_eq!(index(block), (start + step as u128) % 16);
    }
    assert_eq!(
        way,
        whole_way(&pool, "node-1", &mut Taken::default(), &Reservations::default()),
        "always the same"
    );
    let starts: std::collections::BTreeSet<Cidr> = (0..50)
        .map(|n| whole_way(&pool, &format!("node-{n}"), &mut Taken::default(), &Reservations::default())[0])
        .collect();
    assert!(starts.len() > 10, "owners spread: {starts:?}");
}

#[test]
fn existing_blocks_come_in_the_same_order() {
    let pool = pool("10.80.0.0/24", 28);
    let mut taken = Taken::default();
    let way = whole_way(&pool, "node-1", &mut taken, &Reservations::default());
    assert_eq!(taken.in_pool(&pool, &walk(&pool, "node-1")), way);
    taken.insert(cidr("10.81.0.0/28"));
    assert_eq!(taken.in_pool(&pool, &walk(&pool, "node-1")).len(), 16, "another pool's is not among them");
}

#[test]
fn blocks_of_one_address_begin_anywhere() {
    let pool = pool("10.80.0.0/24", 32);
    let mut now = World::bare().now;
    let starts: std::collections::BTreeSet<_> = (0..20)
        .map(|_| {
            now += jiff::SignedDuration::from_millis(7);
            Walk::new(&pool, "node-1", now).unwrap().first_free(&Taken::default(), &Reservations::default())
        })
        .collect();
    assert!(starts.len() > 5);
}

#[test]
fn a_huge_pool_and_a_huge_reservation_cost_nothing() {
    let pool = pool("fd00::/16", 122);
    let almost_all: Reservations =
        ["fd00::/17", "fd00:8000::/18", "fd00:c000::/19"].map(cidr).into_iter().collect();
    let block = walk(&pool, "node-1").first_free(&Taken::default(), &almost_all).unwrap();
    assert!(cidr("fd00:e000::/19").covers(&block), "{block}");
    let all: Reservations = [cidr("fd00::/16")].into_iter().collect();
    assert_eq!(walk(&pool, "node-1").first_free(&Taken::default(), &all), None);
}

#[test]
fn a_pool_smaller_than_its_blocks_has_none() {
    assert_eq!(Walk::new(&pool("10.80.0.0/30", 26), "node-1", World::bare().now), None);
}

#[test]
fn blocks_of_another_size_are_in_the_way() {
    let pool = pool("10.80.0.0/28", 30);
    let mut taken: Taken = [cidr("10.80.0.0/29"), cidr("10.80.0.9/32")].into_iter().collect();
    let way = whole_way(&pool, "node-1", &mut taken, &Reservations::default());
    assert_eq!(way, [cidr("10.80.0.12/30")]);
}

proptest! {
    #[test]
    fn free_blocks_are_those_that_no_list_names(
        name in "[a-z]{1,8}",
        taken in prop::collection::btree_set(0..32u8, 0..32),
        reserved in prop::collection::vec((0..=255u8, 25..=32u8), 0..6),
    ) {
        let pool = pool("10.80.0.0/24", 29);
        let block = |index: u8| Cidr::new(pool.cidr.nth(u128::from(index) * 8).unwrap(), 29).unwrap();
        let cidrs: Vec<Cidr> =
            reserved.iter().map(|(last, prefix)| Cidr::new([10, 80, 0, *last].into(), *prefix).unwrap()).collect();
        let union: Reservations = cidrs.iter().copied().collect();
        let inside = |address| cidrs.iter().any(|cidr| cidr.contains(address));
        for offset in 0..256 {
            let address = pool.cidr.nth(offset).unwrap();
            prop_assert_eq!(union.contains(address), inside(address));
        }
        let count = (0..256).filter(|offset| inside(pool.cidr.nth(*offset).unwrap())).count();
        prop_assert_eq!(union.count_in(&pool.cidr), count as u128);

        let mut map: Taken = taken.iter().map(|index| block(*index)).collect();
        let mut found = whole_way(&pool, &name, &mut map, &union);
        found.sort_unstable();
        let whole = |block: &Cidr| (0..8).all(|offset| inside(block.nth(offset).unwrap()));
        let free: Vec<Cidr> =
            (0..32).filter(|index| !taken.contains(index)).map(block).filter(|block| !whole(block)).collect();
        prop_assert_eq!(found, free);
    }
}

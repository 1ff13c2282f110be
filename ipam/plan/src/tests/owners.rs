//! Owners of an address that moves from pod to pod: `ipam.md` §8.

use super::{World, text};
use crate::request::AutoAssignRequest;
use crate::{Belief, OwnerChange, OwnerUpdate, PlanError, Pod, change_owner};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn notes(pod: &str) -> BTreeMap<String, String> {
    [("namespace", "vms"), ("pod", pod), ("node", "n")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

fn pod(name: &str) -> Pod {
    Pod { namespace: "vms".into(), name: name.into() }
}

/// Two addresses of one machine in one block: they share what is noted about them.
fn machine(world: &mut World) -> [IpAddr; 2] {
    let request = AutoAssignRequest {
        handle: Some("vm".into()),
        attributes: notes("source"),
        ..AutoAssignRequest::for_workload("node-1", 2, 0)
    };
    let outcome = world.auto(request).unwrap();
    [outcome.v4.assigned[0].address, outcome.v4.assigned[1].address]
}

fn change(address: IpAddr, update: OwnerUpdate) -> OwnerChange {
    OwnerChange {
        address,
        handle: "vm".into(),
        active: Belief::Anything,
        alternate: Belief::Anything,
        update,
    }
}

fn owners(world: &mut World, address: IpAddr) -> (String, String) {
    let found = world.run(crate::lookup(address)).unwrap().unwrap();
    let pod = |notes: &BTreeMap<String, String>| notes.get("pod").cloned().unwrap_or_default();
    (pod(&found.attributes), pod(&found.alternate))
}

fn to(from: &str, alternate: &str) -> (String, String) {
    (from.to_owned(), alternate.to_owned())
}

#[test]
fn a_migration_from_beginning_to_end() {
    let mut world = World::small();
    let [address, other] = machine(&mut world);
    world.run(change_owner(change(address, OwnerUpdate::Alternate(notes("target"))))).unwrap();
    assert_eq!(world.writes(), ["owner"]);
    assert_eq!(owners(&mut world, address), to("source", "target"));
    assert_eq!(owners(&mut world, other), to("source", ""), "what was shared is shared no longer");
    let promote = || change_owner(OwnerChange::promote(address, "vm", pod("target")));
    world.run(promote()).unwrap();
    assert_eq!(owners(&mut world, address), to("target", "source"));
    world.run(promote()).unwrap();
    assert_eq!(world.writes(), Vec::<&str>::new(), "promoted already");
    // DEL of the old pod: its own notes go, and nothing else.
    let mut clear = change(address, OwnerUpdate::Alternate(BTreeMap::new()));
    clear.alternate = Belief::Pod(pod("source"));
    world.run(change_owner(clear.clone())).unwrap();
    assert_eq!(owners(&mut world, address), to("target", ""));
    assert_eq!(
        text(world.run(change_owner(clear))),
        format!("the alternate owner of IP {address} is nobody: nothing changed")
    );
    assert_eq!(
        world.handle("vm").unwrap().as_object().unwrap().len(),
        1,
        "handles count addresses, not owners"
    );
    assert_eq!(world.del("vm"), Some(2));
}

#[test]
fn notes_that_become_equal_are_one_again() {
    let mut world = World::small();
    let [address, other] = machine(&mut world);
    world.run(change_owner(change(address, OwnerUpdate::Active(notes("next"))))).unwrap();
    let block = world.run(crate::lookup(address)).unwrap().unwrap().block.to_string();
    assert_eq!(world.block(&block).unwrap().attributes.len(), 2);
    let before = world.block(&block).unwrap();
    world.run(change_owner(change(other, OwnerUpdate::Active(notes("next"))))).unwrap();
    let after = world.block(&block).unwrap();
    assert_eq!(after.attributes.len(), 1);
    assert_eq!(after.sequence_number, before.sequence_number + 1);
    assert_eq!(after.sequence_for, before.sequence_for, "nobody got an address");
}

#[test]
fn beliefs_that_do_not_hold_change_nothing() {
    let mut world = World::small();
    let [address, _] = machine(&mut world);
    let set = OwnerUpdate::Alternate(notes("target"));
    let refused = |active, alternate, world: &mut World| {
        let change = OwnerChange { active, alternate, ..change(address, set.clone()) };
        text(world.run(change_owner(change)))
    };
    let active = format!("the active owner of IP {address} is pod vms/source: nothing changed");
    assert_eq!(refused(Belief::Nobody, Belief::Anything, &mut world), active);
    assert_eq!(refused(Belief::Pod(pod("x")), Belief::Anything, &mut world), active);
    let elsewhere = Pod { namespace: "other".into(), name: "source".into() };
    assert_eq!(refused(Belief::Pod(elsewhere), Belief::Anything, &mut world), active);
    assert!(refused(Belief::Anything, Belief::Pod(pod("x")), &mut world).contains("alternate owner"));
    assert_eq!(refused(Belief::Pod(pod("source")), Belief::Nobody, &mut world), "no error");
    let promote = OwnerChange::promote(address, "vm", pod("x"));
    let refusal = text(world.run(change_owner(promote)));
    assert!(refusal.contains("is pod vms/target"), "{refusal}");
}

#[test]
fn an_address_of_nobodys_or_of_another_handle_has_no_owner_to_change() {
    let mut world = World::small();
    world.configure(json!({"auto_allocate_blocks": true, "ipCooldownSeconds": 60}));
    let [address, other] = machine(&mut world);
    let set = |address| change(address, OwnerUpdate::Active(notes("x")));
    let wrong = OwnerChange { handle: "vm2".into(), ..set(address) };
    assert_eq!(
        text(world.run(change_owner(wrong))),
        format!("IP {address} is not assigned to handle vm2 (current handle: vm)")
    );
    world.run(crate::release_ips(vec![crate::Release::unconditional(other)])).unwrap();
    assert_eq!(text(world.run(change_owner(set(other)))), format!("address {other} is in cooldown"));
    let free = "10.80.0.7".parse().unwrap();
    let unassigned = PlanError::NotAssigned(free).to_string();
    assert_eq!(text(world.run(change_owner(set(free)))), unassigned);
    let nowhere: IpAddr = "192.0.2.1".parse().unwrap();
    assert!(text(world.run(change_owner(set(nowhere)))).contains("IP is unassigned"));
}

#[test]
fn who_loses_a_race_looks_again() {
    let mut world = World::small();
    let [address, _] = machine(&mut world);
    world.interference.push(Box::new(move |world: &mut World| {
        world.run(change_owner(change(address, OwnerUpdate::Alternate(notes("faster"))))).unwrap();
    }));
    let mut mine = change(address, OwnerUpdate::Alternate(notes("target")));
    mine.alternate = Belief::Nobody;
    let refusal = text(world.run(change_owner(mine)));
    assert!(refusal.contains("is pod vms/faster"), "{refusal}");
    assert_eq!(owners(&mut world, address), to("source", "faster"));
}

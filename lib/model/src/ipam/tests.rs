use super::*;
use crate::key::{Key, Owner};
use crate::net::Cidr;
use jiff::Timestamp;
use serde_json::{Value, json};

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn block(value: Value) -> Result<AllocationBlock, crate::StoredError> {
    let cidr = value["cidr"].as_str().and_then(|c| c.parse().ok()).unwrap_or(cidr("10.80.0.0/30"));
    AllocationBlock::decode(&cidr, value.to_string().as_bytes())
}

fn stored(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn a_block_comes_back_as_it_was_stored() {
    let value = json!({
        "cidr": "192.168.84.128/30", "affinity": "host:node-1", "affinity_claim_time": "2026-08-22T10:00:01Z",
        "allocations": [0, null, 1, 2], "unallocated": [1],
        "attributes": [
            {"handle_id": "ipip-tunnel-addr-node-1", "secondary": {"node": "node-1", "type": "ipipTunnelAddress"}},
            {"handle_id": "vm", "secondary": {"node": "a"}, "alternateOwnerAttrs": {"node": "b"}},
            {"releasedAt": "2026-08-22T10:00:02Z"}],
        "sequenceNumber": 1755856801123456791u64,
        "sequenceNumberForAllocation": {"0": 1755856801123456789u64, "2": 1755856801123456790u64},
        "deleted": false, "fromTheFuture": {"a": [1, 2]}
    });
    let block = block(value.clone()).unwrap();
    assert_eq!(block.owner(), Some(Owner::Host("node-1".into())));
    assert_eq!(block.sequence_number, 1755856801123456791);
    assert_eq!(block.attribute(2).unwrap().alternate["node"], "b");
    assert_eq!(block.attribute(1), None);
    assert_eq!(block.attribute(99), None);
    assert_eq!(stored(&block.encode()), value);
}

#[test]
fn a_new_block_is_all_free_and_says_so_in_full() {
    let now: Timestamp = "2026-11-21T03:13:00.9Z".parse().unwrap();
    let block = AllocationBlock::new(
        cidr("fd00::40/126"),
        Some(&Owner::Virtual("load-balancer".into())),
        Some(now),
        7,
    )
    .unwrap();
    assert_eq!(
        stored(&block.encode()),
        json!({"cidr": "fd00::40/126", "affinity": "virtual:load-balancer", "affinity_claim_time": "2026-11-21T03:13:00Z",
            "allocations": [null, null, null, null], "unallocated": [0, 1, 2, 3], "attributes": [],
            "sequenceNumber": 7, "sequenceNumberForAllocation": {}, "deleted": false})
    );
    assert_eq!(AllocationBlock::new(cidr("fd00::/64"), None, None, 0), None, "a pool is not a block");
}

#[test]
fn blocks_of_old_releases_are_read_and_what_only_they_wrote_goes() {
    let old = json!({"cidr": "10.80.0.0/30", "hostAffinity": "node-1", "strictAffinity": true,
        "allocations": [0, null, null, null], "unallocated": null, "attributes": [{"handle_id": null, "secondary": null}],
        "sequenceNumberForAllocation": null});
    let block = block(old).unwrap();
    assert_eq!(block.owner(), Some(Owner::Host("node-1".into())));
    assert_eq!(
        stored(&block.encode()),
        json!({"cidr": "10.80.0.0/30", "affinity": "host:node-1", "allocations": [0, null, null, null], "unallocated": [],
            "attributes": [{}], "sequenceNumber": 0, "sequenceNumberForAllocation": {}, "deleted": false})
    );
    let newer = json!({"cidr": "10.80.0.0/30", "affinity": "host:b", "hostAffinity": "a"});
    assert_eq!(self::block(newer).unwrap().owner(), Some(Owner::Host("b".into())));
    let orphan = json!({"cidr": "10.80.0.0/30", "affinity": null});
    assert_eq!(stored(&self::block(orphan).unwrap().encode())["affinity"], Value::Null);
}

#[test]
fn damaged_lists_cannot_give_an_address_out_twice() {
    let damaged = json!({"cidr": "10.80.0.0/30", "affinity": null, "allocations": [5, null],
        "unallocated": [0, 1, 1, 3, 9], "attributes": []});
    let block = block(damaged).unwrap();
    assert_eq!(block.allocations, [Some(0), None, None, None]);
    assert_eq!(block.unallocated, [1, 3], "taken, doubled and foreign ordinals are not free");
    assert_eq!(block.attribute(0), Some(&Attribute::default()), "a lost attribute leaves the address taken");
}

#[test]
fn unreadable_values_name_their_key() {
    let error = AllocationBlock::decode(&cidr("10.80.0.0/30"), b"{not json").unwrap_err();
    assert_eq!(error.key, "/calico/ipam/v2/assignment/ipv4/block/10.80.0.0-30");
    for (value, reason) in [
        (json!({"cidr": "banana"}), "cidr: invalid CIDR address: banana"),
        (json!({"cidr": "10.80.0.4/30"}), "the value is that of block 10.80.0.4/30"),
        (json!({"cidr": "10.0.0.0/8"}), "too large for a block"),
        (json!({"cidr": "10.80.0.0/30", "affinity_claim_time": "yesterday"}), "yesterday"),
        (json!([]), "struct"),
    ] {
        let error = AllocationBlock::decode(&cidr("10.80.0.0/30"), value.to_string().as_bytes()).unwrap_err();
        assert!(error.reason.contains(reason), "{value}: {}", error.reason);
    }
    let affinity = Key::Affinity(Owner::Host("n".into()), cidr("10.80.0.0/30"));
    assert!(BlockAffinity::decode(&affinity, b"7").is_err());
    assert!(Handle::decode(&Key::Handle("h".into()), b"{\"block\":3}").is_err());
    assert!(IpamConfig::decode(b"").is_err());
}

#[test]
fn a_block_of_zero_bytes_is_nobodys() {
    let block = AllocationBlock::decode(&cidr("10.80.0.0/30"), b"").unwrap();
    assert_eq!((block.affinity, block.unallocated.len()), (None, 4));
}

#[test]
fn affinities_in_every_state() {
    let key = Key::Affinity(Owner::Host("n".into()), cidr("10.80.0.0/30"));
    for (value, state, usable) in [
        ("", AffinityState::Unset, true),
        ("{}", AffinityState::Unset, true),
        (r#"{"state":null}"#, AffinityState::Unset, true),
        (r#"{"state":"","deleted":false}"#, AffinityState::Unset, true),
        (r#"{"state":"pending","deleted":false}"#, AffinityState::Pending, false),
        (r#"{"state":"confirmed","deleted":false}"#, AffinityState::Confirmed, true),
        (r#"{"state":"pendingDeletion","deleted":false}"#, AffinityState::PendingDeletion, false),
        (r#"{"state":"odd","deleted":false}"#, AffinityState::Other("odd".into()), false),
    ] {
        let affinity = BlockAffinity::decode(&key, value.as_bytes()).unwrap();
        assert_eq!((affinity.state.clone(), affinity.state.usable()), (state, usable), "{value}");
        if value.contains("deleted") {
            assert_eq!(String::from_utf8(affinity.encode()).unwrap(), value);
        }
    }
}

#[test]
fn handles_count_per_block() {
    let key = Key::Handle("net.c1".into());
    let mut handle =
        Handle::decode(&key, br#"{"block":{"10.80.0.0/30":2,"fd00::/122":1},"deleted":false}"#).unwrap();
    assert_eq!(handle.blocks().collect::<Vec<_>>(), [cidr("10.80.0.0/30"), cidr("fd00::/122")]);
    assert_eq!((handle.count(&cidr("10.80.0.0/30")), handle.count(&cidr("10.80.0.4/30"))), (2, 0));
    handle.set_count(&cidr("10.80.0.0/30"), 0);
    handle.set_count(&cidr("10.80.0.4/30"), 3);
    assert_eq!(
        stored(&handle.encode()),
        json!({"block": {"10.80.0.4/30": 3, "fd00::/122": 1}, "deleted": false})
    );
    assert!(Handle::decode(&key, br#"{"block":null}"#).unwrap().block.is_empty());
    assert!(Handle::decode(&key, b"").unwrap().block.is_empty());
}

#[test]
fn settings_write_what_differs_from_zero() {
    let text = |config: &IpamConfig| String::from_utf8(config.encode()).unwrap();
    assert_eq!(
        text(&IpamConfig::default()),
        r#"{"auto_allocate_blocks":true,"kubeVirtVMAddressPersistence":"Enabled"}"#
    );
    let full = r#"{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":-1,"kubeVirtVMAddressPersistence":"Disabled","ipCooldownSeconds":30}"#;
    assert_eq!(text(&IpamConfig::decode(full.as_bytes()).unwrap()), full);
    let bare = IpamConfig::decode(b"{}").unwrap();
    assert!(!bare.auto_allocate_blocks, "a missing field of a present object is false");
    assert_eq!(bare.vm_address_persistence, VmAddressPersistence::Enabled);
}

#[test]
fn moments_as_go_prints_them() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(go_time_text(at("2026-11-21T03:13:00.86168271Z")), "2026-11-21 03:13:00.86168271 +0000 UTC");
    assert_eq!(go_time_text(at("2026-08-22T10:00:02.1Z")), "2026-08-22 10:00:02.1 +0000 UTC");
    assert_eq!(go_time_text(at("2026-08-22T10:00:02Z")), "2026-08-22 10:00:02 +0000 UTC");
    assert_eq!(rfc3339_seconds(at("2026-08-22T10:00:02.9Z")), "2026-08-22T10:00:02Z");
}

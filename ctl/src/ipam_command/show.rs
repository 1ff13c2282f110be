//! `ipam show`. Source: `calicoctl.md` §6.1 of the contract.

use super::{address as parse_address, failed};
use crate::io::{Failure, Io};
use crate::print::grid::{Align, grid};
use ipam::{BlockUtilization, Ipam, ORPHANS, PlanError, PoolUtilization};
use model::ipam::{AllocationBlock, Attribute};
use model::key::Owner;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// More addresses than this are shown as this many, as calicoctl does.
const MOST: u128 = i64::MAX as u128;

/// Pools, with their blocks if asked for.
///
/// # Errors
/// A datastore that cannot be read.
pub async fn usage(ipam: &Ipam, blocks: bool, io: &mut Io) -> Result<(), Failure> {
    let pools = ipam.utilization(Vec::new()).await.map_err(failed)?;
    io.print(&usage_table(&pools, blocks))
}

fn usage_table(pools: &[PoolUtilization], with_blocks: bool) -> String {
    let headings = [
        ("GROUPING", Align::Left),
        ("CIDR", Align::Left),
        ("IPS TOTAL", Align::Right),
        ("IPS IN USE", Align::Right),
        ("IPS RESERVED", Align::Right),
        ("IPS FREE", Align::Right),
    ];
    let mut rows = Vec::new();
    for pool in pools {
        if pool.name != ORPHANS {
            let whole = BlockUtilization {
                cidr: pool.cidr,
                capacity: pool.capacity,
                in_use: pool.in_use,
                reserved: pool.reserved,
                available: pool.available,
            };
            rows.push(usage_row("IP Pool", &whole));
        }
        if with_blocks {
            rows.extend(pool.blocks.iter().map(|block| usage_row("Block", block)));
        }
    }
    grid(&headings, &rows)
}

fn usage_row(grouping: &str, usage: &BlockUtilization) -> Vec<String> {
    let total = usage.capacity.min(MOST);
    let share = |part: u128| {
        let part = part.min(MOST);
        format!("{} ({:.0}%)", five_digits(part as f64), 100.0 * part as f64 / total as f64)
    };
    vec![
        grouping.to_owned(),
        usage.cidr.to_string(),
        five_digits(total as f64),
        share(usage.in_use),
        share(usage.reserved),
        share(usage.available),
    ]
}

/// A count with at most five digits (C's `%.5g`): `65536`, `4.1943e+06`.
fn five_digits(count: f64) -> String {
    const DIGITS: i32 = 5;
    let rounded = format!("{count:.4e}");
    let Some((mantissa, exponent)) = rounded.split_once('e') else { return rounded };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (0..DIGITS).contains(&exponent) || count == 0.0 {
        return format!("{count}");
    }
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    format!("{mantissa}e+{exponent:02}")
}

/// Addresses that nodes have from blocks of others.
///
/// # Errors
/// A datastore that cannot be read.
pub async fn borrowed(ipam: &Ipam, io: &mut Io) -> Result<(), Failure> {
    let blocks = ipam.blocks().await.map_err(failed)?;
    let found = find_borrowed(&blocks);
    let headings = ["IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO"];
    io.print(&grid(&headings.map(|heading| (heading, Align::Left)), &found.rows))?;
    if found.without_node > 0 {
        io.line(&format!(
            "Note: {} address(es) name no node, so that it cannot be told whether they are borrowed.",
            found.without_node
        ))?;
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Borrowed {
    rows: Vec<Vec<String>>,
    without_node: usize,
}

fn find_borrowed(blocks: &[AllocationBlock]) -> Borrowed {
    let mut found = Borrowed::default();
    for block in blocks {
        // Blocks of virtual owners (load balancers) belong to no node and lend nothing.
        let owner = match block.owner() {
            Some(Owner::Virtual(_)) => continue,
            Some(Owner::Host(host)) => host,
            None => String::new(),
        };
        for (address, attribute) in allocations(block) {
            match attribute.secondary.get("node") {
                None => found.without_node += 1,
                Some(node) if *node != owner => {
                    let (kind, holder) = holder(&attribute.secondary);
                    let row = [
                        address.to_string(),
                        node.clone(),
                        block.cidr.to_string(),
                        owner.clone(),
                        kind,
                        holder,
                    ];
                    found.rows.push(row.to_vec());
                }
                Some(_) => {}
            }
        }
    }
    found
}

/// Addresses in use with what is noted about them; those that cool down belong to nobody.
fn allocations(block: &AllocationBlock) -> impl Iterator<Item = (IpAddr, &Attribute)> {
    (0..block.size()).filter_map(|ordinal| {
        let attribute = block.attribute(ordinal).filter(|attribute| attribute.released_at.is_none())?;
        Some((block.cidr.nth(ordinal as u128)?, attribute))
    })
}

/// Who has an address: its type and name.
fn holder(attributes: &BTreeMap<String, String>) -> (String, String) {
    let noted = |key: &str| attributes.get(key).map(String::as_str).unwrap_or_default();
    let within = |name: &str| format!("{}/{name}", noted("namespace"));
    match (noted("vmi-name"), noted("pod")) {
        ("", "") => (noted("type").to_owned(), String::new()),
        ("", pod) => ("pod".to_owned(), within(pod)),
        (vmi, _) => ("vmi".to_owned(), within(vmi)),
    }
}

/// The settings.
///
/// # Errors
/// A datastore that cannot be read.
pub async fn configuration(ipam: &Ipam, io: &mut Io) -> Result<(), Failure> {
    let config = ipam.config().await.map_err(failed)?;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("StrictAffinity", config.strict_affinity.to_string()),
        row("AutoAllocateBlocks", config.auto_allocate_blocks.to_string()),
        row("MaxBlocksPerHost", config.max_blocks_per_host.to_string()),
        row("KubeVirtVMAddressPersistence", format!("{:?}", config.vm_address_persistence)),
        row("IPCooldownSeconds", config.ip_cooldown_seconds.to_string()),
    ];
    io.print(&grid(&[("PROPERTY", Align::Left), ("VALUE", Align::Left)], &rows))
}

/// Who has one address.
///
/// # Errors
/// An address that is none; a datastore that cannot be read.
pub async fn address(ipam: &Ipam, text: &str, io: &mut Io) -> Result<(), Failure> {
    let address = parse_address(text)?;
    let found = match ipam.lookup(address).await {
        Ok(found) => found,
        Err(error) if matches!(error.refusal(), Some(PlanError::InCooldown(_))) => {
            return io.line(&error.to_string());
        }
        Err(error) => return Err(failed(error)),
    };
    let Some(found) = found else { return io.line(&format!("{address} is not assigned")) };
    io.line(&format!("IP {address} is in use"))?;
    io.line(&format!("Handle ID: {}", found.handle.as_deref().unwrap_or("<none>")))?;
    if found.attributes.is_empty() {
        io.line("No Active Owner attributes defined")?;
    } else {
        owner_lines("Active", &found.attributes, io)?;
    }
    if found.alternate.is_empty() { Ok(()) } else { owner_lines("Alternate", &found.alternate, io) }
}

fn owner_lines(which: &str, attributes: &BTreeMap<String, String>, io: &mut Io) -> Result<(), Failure> {
    io.line(&format!("{which} Owner Attributes:"))?;
    attributes.iter().try_for_each(|(key, value)| io.line(&format!("  {key}: {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usage(cidr: &str, capacity: u128, in_use: u128, reserved: u128, available: u128) -> BlockUtilization {
        let cidr = cidr.parse().expect("cidr");
        BlockUtilization { cidr, capacity, in_use, reserved, available }
    }

    fn pool(name: &str, whole: BlockUtilization, blocks: Vec<BlockUtilization>) -> PoolUtilization {
        PoolUtilization {
            name: name.into(),
            cidr: whole.cidr,
            capacity: whole.capacity,
            in_use: whole.in_use,
            reserved: whole.reserved,
            available: whole.available,
            blocks,
        }
    }

    #[test]
    fn counts_have_five_digits() {
        for (count, text) in [
            (0.0, "0"),
            (8.0, "8"),
            (65536.0, "65536"),
            (99999.0, "99999"),
            (100_000.0, "1e+05"),
            (4_194_304.0, "4.1943e+06"),
            (1_048_576.0, "1.0486e+06"),
            (MOST as f64, "9.2234e+18"),
        ] {
            assert_eq!(five_digits(count), text);
        }
    }

    #[test]
    fn pools_and_blocks_as_recorded() {
        let v6 = usage("fd00:80::/64", 1 << 64, 0, 0, 1 << 64);
        let v4 = usage("10.80.0.0/29", 8, 6, 1, 2);
        let block = usage("10.80.0.4/30", 4, 4, 0, 0);
        let orphan = usage("10.99.0.0/26", 64, 1, 0, 63);
        let none = usage("0.0.0.0/0", 0, 0, 0, 0);
        let pools =
            [pool("six", v6, vec![]), pool("small", v4, vec![block]), pool(ORPHANS, none, vec![orphan])];
        let expected = "\
+----------+--------------+------------+------------+--------------+-------------------+
| GROUPING | CIDR         | IPS TOTAL  | IPS IN USE | IPS RESERVED | IPS FREE          |
+----------+--------------+------------+------------+--------------+-------------------+
| IP Pool  | fd00:80::/64 | 9.2234e+18 |     0 (0%) |       0 (0%) | 9.2234e+18 (100%) |
| IP Pool  | 10.80.0.0/29 |          8 |    6 (75%) |      1 (12%) |           2 (25%) |
| Block    | 10.80.0.4/30 |          4 |   4 (100%) |       0 (0%) |            0 (0%) |
| Block    | 10.99.0.0/26 |         64 |     1 (2%) |       0 (0%) |          63 (98%) |
+----------+--------------+------------+------------+--------------+-------------------+
";
        assert_eq!(usage_table(&pools, true), expected);
        let narrow = usage_table(&pools, false);
        assert!(!narrow.contains("Block") && narrow.lines().count() == 6, "{narrow}");
    }

    #[test]
    fn borrowed_addresses() {
        let block = json!({
            "cidr": "10.80.0.0/30", "affinity": "host:node-2", "allocations": [0, 1, 2, 3], "unallocated": [],
            "attributes": [
                {"handle_id": "a", "secondary": {"node": "node-2"}},
                {"handle_id": "b", "secondary": {"node": "node-1", "pod": "web-0", "namespace": "shop"}},
                {"handle_id": "c", "secondary": {"node": "node-1", "type": "ipipTunnelAddress"}},
                {"handle_id": "d"},
            ],
        });
        let orphan = json!({
            "cidr": "10.80.0.4/30", "affinity": null, "allocations": [0, 1, null, null], "unallocated": [2, 3],
            "attributes": [{"secondary": {"node": "node-1", "vmi-name": "vm", "namespace": "v"}}, {"releasedAt": "2026-01-01T00:00:00Z"}],
        });
        let virtual_owner = json!({"cidr": "10.80.0.8/30", "affinity": "virtual:load-balancer", "allocations": [0],
            "attributes": [{"secondary": {"type": "LoadBalancer"}}]});
        let blocks: Vec<AllocationBlock> = [block, orphan, virtual_owner]
            .into_iter()
            .map(|value| serde_json::from_value(value).expect("block"))
            .collect();
        let found = find_borrowed(&blocks);
        let rows: Vec<String> = found.rows.iter().map(|row| row.join("|")).collect();
        assert_eq!(
            rows,
            [
                "10.80.0.1|node-1|10.80.0.0/30|node-2|pod|shop/web-0",
                "10.80.0.2|node-1|10.80.0.0/30|node-2|ipipTunnelAddress|",
                "10.80.0.4|node-1|10.80.0.4/30||vmi|v/vm",
            ]
        );
        assert_eq!(found.without_node, 1);
    }
}

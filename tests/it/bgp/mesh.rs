//! A node of ours in a mesh with a BIRD that is configured as Calico's is (`bgp.md` §3–§7 of the contract), in BIRD 2's words:
//! one protocol a family, the string-wise larger address connects, local preferences from metrics, blocks aggregated.

use super::*;
use ocicat_tests::router::table::bird_protocol;
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::speaker::Speaker;
use std::fmt::Write;

/// Priority 1024 and 512 as local preferences.
const ORDINARY: u64 = 2_147_482_623;
const ELEVATED: u64 = 2_147_483_135;

/// What the two nodes have of a family: each its block, and addresses: a workload of its own, one borrowed from the other's
/// block, one that is being moved to it (elevated).
struct Addresses {
    pool: &'static str,
    block: [&'static str; 2],
    own: [&'static str; 2],
    borrowed: [&'static str; 2],
    elevated: [&'static str; 2],
}

fn addresses(family: Family) -> Addresses {
    match family {
        Family::Ipv4 => Addresses {
            pool: "10.244.0.0/16",
            block: ["10.244.0.0/26", "10.244.1.0/26"],
            own: ["10.244.0.7/32", "10.244.1.7/32"],
            borrowed: ["10.244.1.5/32", "10.244.0.5/32"],
            elevated: ["10.244.0.9/32", "10.244.1.9/32"],
        },
        Family::Ipv6 => Addresses {
            pool: "fd00:244::/64",
            block: ["fd00:244::/122", "fd00:244::40/122"],
            own: ["fd00:244::7/128", "fd00:244::47/128"],
            borrowed: ["fd00:244::45/128", "fd00:244::5/128"],
            elevated: ["fd00:244::9/128", "fd00:244::49/128"],
        },
    }
}

/// Calico's configuration of the second node. `passive` by the rule: when the neighbour's address is the larger string.
fn calico(us: Place, them: Place) -> String {
    let mut text = format!(
        "router id {};\nlog stderr all;\nprotocol device {{ scan time 2; }}\n",
        them.address(Family::Ipv4)
    );
    for family in Family::ALL {
        let channel = if family == Family::Ipv4 { "ipv4" } else { "ipv6" };
        let Addresses { pool, block: [_, block], .. } = addresses(family);
        let (local, remote) = (them.address(family), us.address(family));
        let passive = if remote > local { "passive on;" } else { "" };
        let _ = write!(
            text,
            "protocol direct direct_{channel} {{ {channel}; interface -\"cali*\", -\"kube-ipvs*\", \"*\"; }}
filter program_{channel} {{
  if (defined(source) && (source = RTS_BGP) && !defined(krt_metric)) then {{
    krt_metric = 1024;
    if (defined(bgp_local_pref)) then {{ krt_metric = 2147483647 - bgp_local_pref; }}
    if (krt_metric < 1024) then {{ preference = 200; }}
  }}
  accept;
}}
filter import_{channel} {{
  if (defined(bgp_local_pref) && (bgp_local_pref > {ORDINARY})) then preference = 200;
  accept;
}}
filter export_{channel} {{
  if (defined(source) && source = RTS_BGP && defined(bgp_local_pref)) then {{
    krt_metric = 2147483647 - bgp_local_pref;
  }} else {{
    if (!defined(krt_metric)) then {{ krt_metric = 1024; }}
    bgp_local_pref = 2147483647 - krt_metric;
  }}
  if (net = {block}) then {{ accept; }}
  if (net ~ {block} && krt_metric < 1024) then {{ accept; }}
  if (net ~ {block}) then {{ reject; }}
  if (net ~ {pool}) then {{ accept; }}
  reject;
}}
protocol kernel kernel_{channel} {{
  learn; persist; scan time 2; merge paths on; graceful restart;
  {channel} {{ import all; export filter program_{channel}; }};
}}
protocol static static_{channel} {{ {channel}; route {block} blackhole; }}
protocol bgp {} {{
  local as {US_AS}; neighbor {remote} as {US_AS}; source address {local};
  ttl security off; multihop; graceful restart; {passive}
  connect delay time 2; connect retry time 5; error wait time 5,30;
  {channel} {{ gateway recursive; add paths on; import filter import_{channel}; export filter export_{channel}; }};
}}
",
            bird_protocol(&remote)
        );
    }
    text
}

/// Our node's resources in that mesh: nothing but what Calico has, no options of ours.
fn resources(us: Place, them: Place) -> String {
    let node = |name: &str, place: Place| {
        format!(
            "{HEAD} Node\nmetadata: {{name: {name}}}\nspec: {{bgp: {{ipv4Address: {}/24, ipv6Address: '{}/64'}}}}\n---\n",
            place.address(Family::Ipv4),
            place.address(Family::Ipv6)
        )
    };
    node("us", us) + &node("them", them) + BLOCKS.trim_start_matches("---\n")
}

/// Routes as Felix has them for workloads, on a device that is named as theirs.
fn workloads(place: Place, side: usize) -> Result<()> {
    let netns = place.netns();
    let ip = |line: &str| tool("ip", &format!("-n {netns} {line}").split_whitespace().collect::<Vec<_>>());
    ip("link add cali12345 type veth peer name inside")?;
    ip("link set inside up")?;
    ip("link set cali12345 up")?;
    for family in Family::ALL {
        let all = addresses(family);
        for (address, metric) in [(all.own, 1024), (all.borrowed, 1024), (all.elevated, 512)] {
            ip(&format!("route add {} dev cali12345 proto 80 metric {metric}", address[side]))?;
        }
    }
    Ok(())
}

/// What one side tells the other.
fn told(family: Family, from: Place, side: usize) -> Table {
    let all = addresses(family);
    let entry = |local_pref| Entry {
        next_hop: from.address(family),
        local_pref: Some(local_pref),
        ..Entry::default()
    };
    table([
        (all.block[side].to_owned(), entry(ORDINARY)),
        (all.borrowed[side].to_owned(), entry(ORDINARY)),
        (all.elevated[side].to_owned(), entry(ELEVATED)),
    ])
}

fn mesh(us: Place, them: Place) {
    on_one_link(&[us, them], || {
        workloads(us, 0)?;
        workloads(them, 1)?;
        let bird = Router::start(Kind::Bird, Some(&them.netns()), &calico(us, them))?;
        let speaker = Speaker::start(&us.netns(), "us", &resources(us, them), &[])?;
        speaker.wait_established(&them.both().each_ref().map(String::as_str))?;
        for family in Family::ALL {
            let from_them = told(family, them, 1);
            wait_until("what Calico's BIRD told us", &from_them, || {
                let mut found = speaker.routes(family)?;
                found.values_mut().flatten().for_each(|entry| entry.med = entry.med.filter(|med| *med != 0));
                // Our own block and workloads are no routes of BGP.
                found.retain(|_, paths| paths.iter().any(|path| path.next_hop == them.address(family)));
                Ok(found)
            });
            wait_until("what we told it", &told(family, us, 0), || bird.learnt(family, &us.address(family)));
            let peer = speaker.peer(&them.address(family))?;
            let larger_connects = them.address(family) > us.address(family);
            assert_eq!(peer["passive"], larger_connects, "the larger string connects: {peer}");
            // Installed as Calico installs them: by metric.
            let all = addresses(family);
            let wanted = [(all.block[1], 1024), (all.borrowed[1], 1024), (all.elevated[1], 512)];
            for (prefix, metric) in wanted {
                let bare = prefix.trim_end_matches("/32").trim_end_matches("/128");
                wait_for(&format!("{prefix} in the kernel"), PATIENCE, || {
                    let option = if family == Family::Ipv4 { "-4" } else { "-6" };
                    let shown =
                        tool("ip", &["-n", &us.netns(), option, "route", "show", "proto", "81", prefix])
                            .ok()?;
                    let route = format!("{bare} via {} dev eth0", them.address(family));
                    (shown.contains(&route) && shown.contains(&format!("metric {metric}"))).then_some(())
                })
                .unwrap_or_else(|error| {
                    panic!("{error:#}: {}", tool("ip", &["-n", &us.netns(), "route", "show"]).unwrap())
                });
            }
        }
        Ok(())
    });
}

#[test]
fn calicos_bird_connects_to_us() {
    mesh(Place(1), Place(2));
}

#[test]
fn we_connect_to_calicos_bird() {
    // As strings, 10.0.0.9 is larger than 10.0.0.10 and fd00::9 than fd00::10.
    mesh(Place(9), Place(10));
}

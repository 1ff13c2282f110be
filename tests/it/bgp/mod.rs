//! Our speaker beside those of Debian's packages, in namespaces on one link: both sides' tables, entry by entry.

mod alike;
mod ao;
mod daemon;
mod families;
mod limits;
mod mesh;
mod paths;
mod reflection;
mod restart;
mod sessions;

use anyhow::Result;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::router::table::{Entry, Family, Table};
use ocicat_tests::sandbox;
use std::time::Duration;

/// For what takes a few timers of the other side.
const PATIENCE: Duration = Duration::from_secs(90);

/// AS number of our node.
const US_AS: u32 = 64512;

/// A speaker's place on the link: the last part of its addresses, which its namespace and its routes are named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u8);

/// Ours.
const US: Place = Place(1);

impl Place {
    fn netns(self) -> String {
        format!("at-{}", self.0)
    }

    fn address(self, family: Family) -> String {
        match family {
            Family::Ipv4 => format!("10.0.0.{}", self.0),
            Family::Ipv6 => format!("fd00::{}", self.0),
        }
    }

    fn both(self) -> [String; 2] {
        Family::ALL.map(|family| self.address(family))
    }

    /// A route that it originates with every attribute there is to set, and one without any.
    fn routes(self, family: Family) -> [String; 2] {
        match family {
            Family::Ipv4 => [format!("10.{}.1.0/24", 100 + self.0), format!("10.{}.2.0/25", 100 + self.0)],
            Family::Ipv6 => [format!("fd{:02x}:1::/64", self.0), format!("fd{:02x}:2::/80", self.0)],
        }
    }
}

/// Runs `work` where all these places are namespaces on one link.
fn on_one_link(places: &[Place], work: impl FnOnce() -> Result<()> + Send) {
    sandbox::within("bgp", programs(Build::Plain).unwrap(), || {
        let ip = |line: &str| tool("ip", &line.split_whitespace().collect::<Vec<_>>());
        ip("link add lan type bridge")?;
        ip("link set lan up")?;
        for place in places {
            let netns = place.netns();
            sandbox::add_netns(&netns)?;
            ip(&format!("link add to-{} type veth peer name eth0 netns {netns}", place.0))?;
            ip(&format!("link set to-{} master lan up", place.0))?;
            ip(&format!("-n {netns} addr add {}/24 dev eth0", place.address(Family::Ipv4)))?;
            // Nobody else has it: no waiting for duplicates.
            ip(&format!("-n {netns} addr add {}/64 dev eth0 nodad", place.address(Family::Ipv6)))?;
            ip(&format!("-n {netns} link set eth0 up"))?;
        }
        work()
    })
    .unwrap();
}

/// Waits until `look` gives what is wanted; a failure shows what it gave last.
fn wait_until(what: &str, wanted: &Table, mut look: impl FnMut() -> Result<Table>) {
    let mut last = Ok(Table::new());
    let came = wait_for(what, PATIENCE, || {
        last = look();
        last.as_ref().is_ok_and(|found| found == wanted).then_some(())
    });
    if came.is_err() {
        match last {
            Ok(found) => assert_eq!(found, *wanted, "{what}: left found, right wanted"),
            Err(error) => panic!("{what}: {error:#}"),
        }
    }
}

/// Only what means the same on both sides of every session: no LOCAL_PREF of our own, a MED of 0 is none.
fn plain(mut table: Table) -> Table {
    for entry in table.values_mut().flatten() {
        entry.local_pref = None;
        entry.med = entry.med.filter(|med| *med != 0);
    }
    table
}

/// The YAML of our node: its addresses, the mesh off, timers that make tests short, a pool and a block of each family.
fn resources(node: &str) -> String {
    format!(
        "{HEAD} Node
metadata: {{name: us}}
spec: {{bgp: {{ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::1/64', asNumber: {US_AS}{node}}}}}
---
{HEAD} BGPConfiguration
metadata:
  name: default
  annotations: {{{SHORT}}}
spec: {{nodeToNodeMeshEnabled: false}}
{BLOCKS}"
    )
}

/// What every document begins with.
const HEAD: &str = "apiVersion: projectcalico.org/v3\nkind:";

/// Annotations that make sessions come up soon.
const SHORT: &str = "bgp.ocicat.io/connect-delay-time: 100ms, bgp.ocicat.io/connect-retry-time: 1s, \
    bgp.ocicat.io/error-wait-time: '1s,2s'";

const BLOCKS: &str = "---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: four}
spec: {cidr: 10.244.0.0/16}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: six}
spec: {cidr: 'fd00:244::/64'}
---
apiVersion: projectcalico.org/v3
kind: BlockAffinity
metadata: {name: us-four}
spec: {node: us, state: confirmed, cidr: 10.244.0.0/26, deleted: 'false'}
---
apiVersion: projectcalico.org/v3
kind: BlockAffinity
metadata: {name: us-six}
spec: {node: us, state: confirmed, cidr: 'fd00:244::/122', deleted: 'false'}
";

/// The block of our node.
fn our_block(family: Family) -> String {
    match family {
        Family::Ipv4 => "10.244.0.0/26".to_owned(),
        Family::Ipv6 => "fd00:244::/122".to_owned(),
    }
}

/// BGPPeers for both sessions with a place; `spec` is more of their specification.
fn peers(place: Place, asn: u32, annotations: &str, spec: &str) -> String {
    let one = |family: Family, name: &str| {
        format!(
            "---\n{HEAD} BGPPeer\nmetadata: {{name: {name}-{}, annotations: {{{annotations}}}}}\n\
             spec: {{node: us, peerIP: '{}', asNumber: {asn}{spec}}}\n",
            place.0,
            place.address(family)
        )
    };
    one(Family::Ipv4, "four") + &one(Family::Ipv6, "six")
}

/// One path for each of these prefixes.
fn table(rows: impl IntoIterator<Item = (String, Entry)>) -> Table {
    rows.into_iter().map(|(prefix, entry)| (prefix, vec![entry])).collect()
}

/// A BGPFilter by which what neighbours told leaves too, in no pool as it is (`bgp.md` §10 of the contract); for [`peers`]' `spec`.
fn everything_leaves() -> String {
    let all = "[{action: Accept, source: RemotePeers}]";
    format!("---\n{HEAD} BGPFilter\nmetadata: {{name: all}}\nspec: {{exportV4: {all}, exportV6: {all}}}\n")
}

/// What a BGPPeer says to use it.
const EVERYTHING: &str = ", filters: [all]";

/// How many connections of a place are at port 179, either end.
fn connections(place: Place) -> usize {
    let said = tool("ip", &["netns", "exec", &place.netns(), "ss", "-Htn", "state", "established"]).unwrap();
    said.lines().filter(|line| line.contains(":179")).count()
}

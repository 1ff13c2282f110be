//! What ADD promises where an agent runs: policy is in force before the first packet, and is not waited for after it.

use anyhow::Context;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, Node};
use ocicat_tests::node_agent::{NodeAgent, enforces, log, uplink};
use ocicat_tests::process::wait_for;
use ocicat_tests::sandbox::{self, in_netns};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Workloads that come and go.
const WORKLOADS: u32 = 200;
/// The port that policy allows, and one that it does not.
const ALLOWED: u16 = 53;
const DENIED: u16 = 54;
/// Between two packets of a workload to each port.
const BETWEEN: Duration = Duration::from_micros(250);

/// Where policies are stored.
const POLICIES: &str = "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/";

/// Every workload may send to, and hear, the others on one port alone.
const ONE_PORT: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: one-port}
spec:
  selector: has(net-a)
  ingress: [{action: Allow, protocol: UDP, source: {selector: has(net-a)}, destination: {ports: [53]}}]
  egress: [{action: Allow, protocol: UDP, destination: {selector: has(net-a), ports: [53]}}]
";

/// Policies that come and change without a pause, and say nothing about the traffic here.
fn churn(node: &Node, over: &AtomicBool) -> anyhow::Result<u32> {
    let mut changes = 0;
    while !over.load(Ordering::Relaxed) {
        let name = format!("other-{}", changes % 7);
        let net = format!("198.18.{}.0/24", changes % 256);
        let policy = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": format!("default.{name}"), "uid": "3c0ffee0-0000-4000-8000-000000000001"},
            "spec": {"tier": "default", "order": 10, "selector": "all()", "types": ["Ingress"],
                "ingress": [{"action": "Deny", "source": {"nets": [net]}}]}
        });
        node.server().client.put(&format!("{POLICIES}default.{name}"), &policy.to_string())?;
        changes += 1;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(changes)
}

/// When which packet of which workload arrived.
type Arrived = Mutex<BTreeMap<u32, BTreeMap<u32, Instant>>>;

/// Notes what arrives at a port.
fn listen(port: u16, arrived: &Arrived, over: &AtomicBool) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut bytes = [0; 8];
    while !over.load(Ordering::Relaxed) {
        let Ok(8) = socket.recv(&mut bytes) else { continue };
        let number = |part: &[u8]| u32::from_be_bytes(part.try_into().unwrap());
        let (workload, packet) = (number(&bytes[..4]), number(&bytes[4..]));
        arrived.lock().unwrap().entry(workload).or_default().insert(packet, Instant::now());
    }
    Ok(())
}

/// Sends to both ports from before there is an interface until `over`; when each packet left that did.
fn send(workload: u32, server: IpAddr, over: &AtomicBool) -> anyhow::Result<Vec<Instant>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut left = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let number = u32::try_from(left.len())?;
        let packet = [workload.to_be_bytes(), number.to_be_bytes()].concat();
        let now = Instant::now();
        if socket.send_to(&packet, SocketAddr::new(server, ALLOWED)).is_ok() {
            left.push(now);
        }
        let _ = socket.send_to(&packet, SocketAddr::new(server, DENIED));
        thread::sleep(BETWEEN);
    }
    Ok(left)
}

fn four(addresses: &[IpAddr]) -> IpAddr {
    *addresses.iter().find(|address| address.is_ipv4()).expect("an IPv4 address")
}

#[test]
fn policy_is_in_force_from_the_first_packet_and_is_not_waited_for_after_add() {
    sandbox::within("host", programs(Build::Plain).unwrap(), || {
        uplink()?;
        let node = Node::start()?;
        node.apply(ONE_PORT)?;
        let agent = NodeAgent::start(&node, None)?;
        enforces(&node)?;
        let listener = Container::start("listener")?;
        let server = four(&node.add(&listener)?);
        let (allowed, denied) = (Arrived::default(), Arrived::default());
        let over = AtomicBool::new(false);
        thread::scope(|scope| -> anyhow::Result<()> {
            let _ends = Ends(&over);
            for (port, arrived) in [(ALLOWED, &allowed), (DENIED, &denied)] {
                let over = &over;
                scope.spawn(move || in_netns("listener", || listen(port, arrived, over)).unwrap().unwrap());
            }
            let churning = scope.spawn(|| churn(&node, &over));
            let mut first = Vec::new();
            for number in 0..WORKLOADS {
                first.push(one(&node, number, server, &allowed)?);
            }
            first.sort();
            println!(
                "after ADD the first packet took {:?} in the median, {:?} at most",
                first[first.len() / 2],
                first.last()
            );
            over.store(true, Ordering::Relaxed);
            let changes = churning.join().unwrap()?;
            assert!(changes > WORKLOADS, "only {changes} changes of policy are no churn");
            Ok(())
        })?;
        let denied = denied.into_inner().unwrap();
        assert!(denied.is_empty(), "packets got past the policy, of these workloads: {:?}", denied.keys());
        assert!(!log().contains("are not in force"), "an ADD was not acknowledged in time");
        node.del(&listener)?;
        // links go a little later than DEL returns
        wait_for("the last link to go", PATIENCE, || node.loose().ok()?.is_empty().then_some(()))
            .with_context(|| format!("{:?}", node.loose()))?;
        agent.kill()
    })
    .unwrap();
}

/// Whatever happens, nobody goes on.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A workload comes, sends all the time, and goes; how long after ADD its first packet took to arrive.
fn one(node: &Node, number: u32, server: IpAddr, arrived: &Arrived) -> anyhow::Result<Duration> {
    let container = Container::start(&format!("w{number}"))?;
    let over = AtomicBool::new(false);
    let (returned, left) = thread::scope(|scope| -> anyhow::Result<_> {
        let ends = Ends(&over);
        let sending = scope.spawn(|| in_netns(&container.netns, || send(number, server, &over)));
        node.add(&container)?;
        let returned = Instant::now();
        // Some more packets, of which none may be missing.
        thread::sleep(Duration::from_millis(10));
        drop(ends);
        Ok((returned, sending.join().unwrap()??))
    })?;
    let after = (0..).zip(&left).filter(|(_, left)| **left > returned);
    let sent_after: BTreeSet<u32> = after.map(|(packet, _)| packet).collect();
    assert!(!sent_after.is_empty(), "nothing was sent after ADD");
    let heard = || arrived.lock().unwrap().get(&number).cloned().unwrap_or_default();
    let missing = || sent_after.difference(&heard().into_keys().collect()).count();
    let all = wait_for("all packets", Duration::from_secs(2), || (missing() == 0).then_some(()));
    assert!(
        all.is_ok(),
        "{} of {} packets sent after ADD {number} are lost: {}",
        missing(),
        sent_after.len(),
        log()
    );
    node.del(&container)?;
    sandbox::del_netns(&container.netns)?;
    let first = heard().into_values().min();
    Ok(first.map(|at| at.saturating_duration_since(returned)).unwrap_or_default())
}

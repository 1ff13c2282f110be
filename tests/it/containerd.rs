//! Pods as a kubelet has them: Debian's containerd and runc make sandboxes, delete them and lose them, and our plugin asks the
//! node's agent each time.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::cri::Containerd;
use ocicat_tests::node::{NAME, Node, PATIENCE};
use ocicat_tests::node_agent::{NodeAgent, log, uplink};
use ocicat_tests::process::wait_for;
use ocicat_tests::sandbox;
use serde_json::json;

fn network(node: &Node) -> String {
    let mut calico = node.configuration();
    for key in ["cniVersion", "name"] {
        calico.as_object_mut().unwrap().remove(key);
    }
    // asked for its address only
    calico["kubernetes"] = json!({"k8s_api_root": "http://127.0.0.1:1"});
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [calico]}).to_string()
}

#[test]
fn sandboxes_are_made_deleted_and_lost() {
    let work = || -> Result<()> {
        uplink()?;
        let node = Node::start()?;
        let agent = NodeAgent::start(&node, None)?;
        let containerd = Containerd::start(&network(&node))?;
        let pods = ["web-0", "web-1", "web-2"];
        let mut ids = Vec::new();
        for pod in pods {
            ids.push(containerd.run_sandbox("shop", pod)?);
        }
        let held = node.held()?;
        for pod in ["web--0", "web--1", "web--2"] {
            let endpoint = format!("/workloadendpoints/shop/node--1-k8s-{pod}-eth0");
            ensure!(held.iter().any(|key| key.ends_with(&endpoint)), "{endpoint} in {held:?}");
        }
        ensure!(held.len() == 6, "{held:?}");
        wait_for("owners of everything", PATIENCE, || node.loose().ok()?.is_empty().then_some(()))?;
        // made again under its name, at once
        containerd.remove_sandbox(&ids[0])?;
        ids[0] = containerd.run_sandbox("shop", "web-0")?;
        ensure!(node.held()?.len() == 6, "{:?}", node.held()?);
        // lost: its process dies and its namespace goes, and nobody says so
        let lost = containerd.process_of(&ids[1])?;
        let spaces = || sandbox::netns_names();
        let before = spaces();
        kill(Pid::from_raw(lost), Signal::SIGKILL)?;
        for name in before {
            sandbox::del_netns(&name)?;
        }
        for id in &ids {
            containerd.remove_sandbox(id)?;
        }
        node.wait_for_nothing("after all are removed")?;
        agent.kill()
    };
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || work().with_context(log)).unwrap();
}

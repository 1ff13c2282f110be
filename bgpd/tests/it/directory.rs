//! From files to plans: what `--resources DIR` makes a speaker do.

use bgp_config::{NodePlan, RouterId};
use bgpd::source::Source;
use datastore::Datastore;
use datastore::directory::DirectoryStore;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

const NODE: &str = "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: tor}\nspec: {bgp: {ipv4Address: 192.0.2.1/31, asNumber: 65000}}\n";

fn peer(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {{name: {name}}}\nspec: {{peerIP: {ip}, asNumber: 65001, sourceAddress: None}}\n"
    )
}

fn block(cidr: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: BlockAffinity\nmetadata: {{name: block}}\nspec: {{node: tor, state: confirmed, cidr: {cidr}}}\n"
    )
}

/// The next plan that has so many sessions and blocks.
async fn plan(source: &mut Source, sessions: usize, blocks: usize) -> Arc<NodePlan> {
    let found = async {
        loop {
            let plan = source.next().await;
            if (plan.sessions.len(), plan.blocks.len()) == (sessions, blocks) {
                return plan;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("the plan")
}

#[tokio::test]
async fn files_are_followed_into_plans() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("node.yaml", NODE);
    write("peers.yaml", &peer("a", "192.0.2.0"));
    write("blocks.yaml", &block("10.64.0.0/26"));
    let store = Arc::new(DirectoryStore::open(directory.path()).await.unwrap());
    let mut source = Source::new(Arc::clone(&store) as Arc<dyn Datastore>, "tor", RouterId::Address);
    let first = plan(&mut source, 1, 1).await;
    assert_eq!((first.local_as, first.router_id.unwrap().to_string().as_str()), (65000, "192.0.2.1"));
    write("peers.yaml", &format!("{}---\n{}", peer("a", "192.0.2.0"), peer("b", "198.51.100.0")));
    let second = plan(&mut source, 2, 1).await;
    let kept = first.sessions.first_key_value().unwrap();
    assert!(Arc::ptr_eq(kept.1, &second.sessions[kept.0]), "the session that was there is left alone");
    // the file is bad, so its peers stay; the other file counts
    write("peers.yaml", &peer("a", "192.0.2.300"));
    let mut problems = store.problems();
    let told =
        tokio::time::timeout(Duration::from_secs(20), problems.wait_for(|told| !told.is_empty())).await;
    assert!(told.unwrap().unwrap()[0].to_string().contains("192.0.2.300"));
    write("blocks.yaml", &block("10.64.0.64/26"));
    fs::rename(directory.path().join("node.yaml"), directory.path().join("self.yml")).unwrap();
    let third = plan(&mut source, 2, 1).await;
    assert_eq!(third.blocks.first().unwrap().to_string(), "10.64.0.64/26");
    let settings = |plan: &NodePlan| plan.sessions.values().map(|s| s.settings.clone()).collect::<Vec<_>>();
    assert_eq!(settings(&third), settings(&second));
}

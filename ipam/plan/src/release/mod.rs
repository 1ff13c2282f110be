//! Giving addresses back, by address or by handle (`ipam.md` §7 of the contract).
//!
//! The block and the handles that count in it change in one transaction, so that an address is never without its
//! handle nor counted without being there. A block that nobody owns goes with its last address, and one whose owner
//! its pool does not select any more goes back to the pool.

mod by_address;
mod by_handle;

pub use by_address::release_ips;
pub(crate) use by_address::run;
pub use by_handle::{ips_by_handle, release_by_handles};

use crate::PlanError;
use crate::block;
use crate::plan::Port;
use crate::pool::enabled_pool_of;
use crate::scene::{Scene, labels};
use crate::workspace::{Workspace, pairs};
use model::Kind;
use model::key::{Key, Owner};
use model::net::Cidr;
use mvcc::RangeRequest;
use std::collections::BTreeMap;

/// What is known about nodes while addresses go back.
#[derive(Default)]
struct Nodes(BTreeMap<String, Option<BTreeMap<String, String>>>);

impl Nodes {
    /// Looks up the owners of blocks that may have to change hands after a release: those in pools that do not select
    /// every node. Usually there are none, and nothing is read.
    async fn look_up(
        &mut self,
        port: &Port,
        workspace: &mut Workspace,
        scene: &Scene,
        blocks: &[Cidr],
    ) -> Result<(), PlanError> {
        let mut affinities = Vec::new();
        for cidr in blocks {
            let Some(owner) = workspace.block(cidr).and_then(|block| block.owner()) else { continue };
            let selective =
                enabled_pool_of(&scene.pools, cidr.addr()).is_some_and(|pool| !pool.selects_every_node());
            if let (true, Owner::Host(name)) = (selective, &owner) {
                if !self.0.contains_key(name) {
                    let key = Key::resource(Kind::Node, "", name);
                    let answer = port.read(vec![RangeRequest::key(key.path())]).await;
                    self.0.insert(name.clone(), pairs(&answer.responses, 0).first().map(labels));
                }
                affinities.push(Key::Affinity(owner, *cidr));
            }
        }
        workspace.load(affinities).await
    }

    /// Whether the pool of a block has stopped to select the node that owns it. A node that does not exist is left to
    /// whoever cleans up after nodes; a selector that cannot be read selects as before.
    fn gone_astray(&self, scene: &Scene, cidr: &Cidr, owner: &Owner) -> bool {
        let Owner::Host(name) = owner else { return false };
        let Some(Some(labels)) = self.0.get(name) else { return false };
        enabled_pool_of(&scene.pools, cidr.addr())
            .is_some_and(|pool| matches!(pool.selects_node(labels), Ok(false)))
    }
}

/// After addresses of a block were given back on the working copy: what becomes of the block.
fn settle(workspace: &mut Workspace, scene: &Scene, nodes: &Nodes, cidr: &Cidr) {
    let Some(block) = workspace.block(cidr) else { return };
    if !block::is_empty(block) {
        return;
    }
    match block.owner() {
        None if block.affinity.is_none() => workspace.delete_block(cidr),
        Some(owner) if nodes.gone_astray(scene, cidr, &owner) => {
            workspace.delete_block(cidr);
            workspace.delete_affinity(&owner, cidr);
        }
        _ => {}
    }
}

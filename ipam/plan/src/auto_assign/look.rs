//! One look at the store: what is read before anything is decided, and the working copy that is decided on.

use super::Verdict;
use crate::block;
use crate::plan::Port;
use crate::pool::{self, Asker, Pool, enabled_pool_of};
use crate::request::{AutoAssignOutcome, AutoAssignRequest};
use crate::scene::{Scene, affinity_cidr, labels};
use crate::workspace::{Workspace, pairs};
use crate::{PlanError, candidates::Taken};
use model::Kind;
use model::ipam::Attribute;
use model::key::{Key, Owner, affinity_prefix};
use model::net::{Cidr, Family};
use mvcc::RangeRequest;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Blocks of the owner that are read ahead, a family.
const AHEAD: usize = 8;

/// Blocks a host may have where neither the request nor the cluster says.
const DEFAULT_LIMIT: usize = 20;

/// What is decided for a family, and on.
pub(super) struct FamilyView {
    pub(super) family: Family,
    /// Pools the request may use.
    pub(super) pools: Vec<Pool>,
    /// Blocks the owner has an affinity to, in these pools, in listing order.
    pub(super) candidates: Vec<Cidr>,
    /// Blocks it has an affinity to in pools that do not select its node any more.
    pub(super) unselected: Vec<Cidr>,
    /// All blocks there are, once that has been asked.
    pub(super) taken: Option<Taken>,
}

/// Kinds of transaction this operation writes, the more telling later; the greatest that occurs names the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    Assign,
    Resume,
    Claim,
    Borrow,
    Steal,
}

/// What has to be put right whether or not the request can be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// An affinity to a block that is somebody else's goes.
    Stale(Cidr),
    /// An affinity left half claimed or half given up becomes confirmed.
    Confirm(Cidr),
    /// An empty block in a pool that does not select the node any more goes.
    Unselected(Cidr),
}

/// What a look is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Aim {
    /// Addresses.
    Addresses,
    /// A block with an address free; it stands in the outcome for an address.
    Block,
    /// So many addresses free in own blocks besides these; they stand in the outcome and stay free.
    Room(BTreeSet<IpAddr>),
}

pub(super) struct Look<'a> {
    pub(super) aim: Aim,
    pub(super) port: &'a Port,
    pub(super) request: &'a AutoAssignRequest,
    pub(super) scene: Scene,
    pub(super) workspace: Workspace,
    families: Vec<FamilyView>,
    pub(super) attribute: Attribute,
    /// Blocks the owner may have of a family.
    pub(super) limit: usize,
    /// No race was lost since the lists were read.
    pub(super) fresh: bool,
    pub(super) deed: Deed,
    pub(super) repairs: Vec<Repair>,
}

impl<'a> Look<'a> {
    pub(super) async fn new(
        port: &'a Port,
        request: &'a AutoAssignRequest,
        aim: Aim,
    ) -> Result<Look<'a>, PlanError> {
        let wanted: Vec<Family> =
            [Family::V4, Family::V6].into_iter().filter(|family| request.wanted(*family) > 0).collect();
        let mut reads: Vec<RangeRequest> = wanted
            .iter()
            .map(|family| RangeRequest::prefix(affinity_prefix(&request.owner, *family)))
            .collect();
        let node = match &request.owner {
            Owner::Host(name) => Some(Key::resource(Kind::Node, "", name)),
            Owner::Virtual(_) => None,
        };
        let handle = request.handle.clone().map(Key::Handle);
        reads.extend(handle.iter().chain(&node).map(|key| RangeRequest::key(key.path())));

        let (scene, answers) = Scene::read(port, reads).await?;
        if request.host_reserved.is_some() && !scene.config.strict_affinity {
            return Err(PlanError::StrictAffinityNeeded);
        }
        let mut workspace = Workspace::new(port.clone(), scene.config.ip_cooldown_seconds);
        let mut next = wanted.len();
        if let Some(handle) = handle {
            workspace.learn(handle, pairs(&answers, next).first())?;
            next += 1;
        }
        let node_labels = match (&node, pairs(&answers, next).first()) {
            (None, _) => None,
            (Some(_), Some(stored)) => Some(labels(stored)),
            (Some(_), None) => return Err(PlanError::NoNode(request.owner.name().to_owned())),
        };
        let asker = Asker {
            name: request.owner.name(),
            node_labels: node_labels.as_ref(),
            namespace_labels: &request.namespace_labels,
            intended: request.intended_use,
            host_reserved: request.host_reserved.as_ref(),
        };
        let mut families = Vec::new();
        for (index, family) in wanted.into_iter().enumerate() {
            let pools = pool::select(&scene.pools, family, request.pools(family), &asker)?;
            let (mut candidates, mut unselected) = (Vec::new(), Vec::new());
            for stored in pairs(&answers, index) {
                let Some(cidr) = affinity_cidr(&stored.key) else { continue };
                workspace.learn(Key::Affinity(request.owner.clone(), cidr), Some(stored))?;
                if pools.iter().any(|pool| pool.cidr.covers(&cidr)) {
                    candidates.push(cidr);
                } else if let (Some(pool), Some(labels)) =
                    (enabled_pool_of(&scene.pools, cidr.addr()), &node_labels)
                    && !pool.selects_node(labels)?
                {
                    unselected.push(cidr);
                }
            }
            families.push(FamilyView { family, pools, candidates, unselected, taken: None });
        }
        let limit = block_limit(request.max_blocks, scene.config.max_blocks_per_host);
        let attribute = Attribute {
            handle: request.handle.clone(),
            secondary: request.attributes.clone(),
            ..Attribute::default()
        };
        let mut look = Look {
            aim,
            port,
            request,
            scene,
            workspace,
            families,
            attribute,
            limit,
            fresh: true,
            deed: Deed::Assign,
            repairs: Vec::new(),
        };
        look.read_ahead().await?;
        Ok(look)
    }

    /// Reads in one request, for both families, the blocks that are certain or likely to be looked at.
    async fn read_ahead(&mut self) -> Result<(), PlanError> {
        let mut blocks: Vec<Cidr> = Vec::new();
        for view in &self.families {
            blocks.extend(view.candidates.iter().take(AHEAD));
            blocks.extend(&view.unselected);
        }
        if let Some(handle) = self.request.handle.as_deref()
            && self.request.max_per_handle > 0
        {
            blocks.extend(self.workspace.handle(handle).into_iter().flat_map(|handle| handle.blocks()));
        }
        blocks.sort_unstable();
        blocks.dedup();
        self.workspace.load(blocks.into_iter().map(Key::Block)).await
    }

    /// Decides, on the working copy, what to assign besides what `trial` already has.
    pub(super) async fn decide(&mut self, trial: &mut AutoAssignOutcome) -> Result<Verdict, PlanError> {
        self.workspace.reset();
        self.repairs.clear();
        self.deed = Deed::Assign;
        let mut families = std::mem::take(&mut self.families);
        let mut verdict = Ok(Verdict::Complete);
        for view in &mut families {
            for cidr in &view.unselected {
                self.repair(Repair::Unselected(*cidr));
            }
            let outcome = match view.family {
                Family::V4 => &mut trial.v4,
                Family::V6 => &mut trial.v6,
            };
            verdict = self.fill(view, outcome).await;
            if !matches!(verdict, Ok(Verdict::Complete)) {
                break;
            }
        }
        self.families = families;
        verdict
    }

    /// Writes what was decided; false if a race was lost.
    pub(super) async fn commit(&mut self) -> Result<bool, PlanError> {
        let step = match self.deed {
            Deed::Assign => "assign",
            Deed::Resume => "resume",
            Deed::Claim => "claim",
            Deed::Borrow => "borrow",
            Deed::Steal => "steal",
        };
        let won = self.workspace.commit(step).await?;
        self.fresh &= won;
        Ok(won)
    }

    /// Whether what this look read can be decided on again after a lost race: the refused transaction brought the keys
    /// it touched up to date, which is enough as long as only the owner's own blocks are in question.
    pub(super) fn can_go_on(&self) -> bool {
        self.families.iter().all(|view| view.taken.is_none())
    }

    /// Writes only the repairs. A lost race is of no matter: whoever comes next sees them again.
    pub(super) async fn mend_only(&mut self) -> Result<(), PlanError> {
        self.workspace.reset();
        for repair in std::mem::take(&mut self.repairs) {
            self.repair(repair);
        }
        self.workspace.commit("repair").await.map(|_| ())
    }

    /// Puts something right on the working copy.
    pub(super) fn repair(&mut self, repair: Repair) {
        let owner = &self.request.owner;
        let workspace = &mut self.workspace;
        match repair {
            Repair::Stale(cidr) => {
                workspace.guard(&Key::Block(cidr));
                workspace.delete_affinity(owner, &cidr);
            }
            Repair::Confirm(cidr) => {
                // writing the block makes whoever is giving it up lose the race
                if let Some(block) = workspace.edit_block(&cidr) {
                    block::touch(block);
                }
                workspace.confirm(owner, &cidr);
            }
            Repair::Unselected(cidr) => {
                let ours = Some(owner.affinity_text());
                match workspace.block(&cidr) {
                    Some(block) if block.affinity == ours && !block::is_empty(block) => return,
                    Some(block) if block.affinity == ours => workspace.delete_block(&cidr),
                    _ => workspace.guard(&Key::Block(cidr)),
                }
                workspace.delete_affinity(owner, &cidr);
            }
        }
        self.repairs.push(repair);
    }
}

/// The stricter of the limits that are set.
fn block_limit(request: u32, cluster: i64) -> usize {
    let set = |limit: usize| (limit > 0).then_some(limit);
    let request = set(usize::try_from(request).unwrap_or(usize::MAX));
    let cluster = set(usize::try_from(cluster).unwrap_or(0));
    match (request, cluster) {
        (Some(request), Some(cluster)) => request.min(cluster),
        (one, other) => one.or(other).unwrap_or(DEFAULT_LIMIT),
    }
}

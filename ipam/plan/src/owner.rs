//! Who uses an address that outlives its user: a virtual machine keeps its address while it moves from one pod to
//! another (`ipam.md` §8 of the contract).
//!
//! The pod it runs in is the active owner, the pod it moves to the alternate one. When the move is over the agent of
//! the new node promotes the alternate owner; each pod's DEL takes its own notes away, and the one that finds no
//! other's left, and the machine gone, releases the handle.

use crate::block;
use crate::inspect::locate;
use crate::plan::{Plan, Port};
use crate::scene::Scene;
use crate::workspace::Workspace;
use crate::{MAX_CONFLICTS, PlanError};
use model::ipam::Attribute;
use model::key::Key;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Names of the notes that tell a pod.
const NAMESPACE: &str = "namespace";
const POD: &str = "pod";

/// A pod that owns an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Pod {
    /// Whether notes about an owner are about this pod.
    pub fn is_in(&self, notes: &BTreeMap<String, String>) -> bool {
        notes.get(NAMESPACE) == Some(&self.namespace) && notes.get(POD) == Some(&self.name)
    }
}

/// What the caller believes about an owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Belief {
    /// Nothing.
    #[default]
    Anything,
    /// There is none.
    Nobody,
    /// It is this pod.
    Pod(Pod),
}

impl Belief {
    fn check(
        &self,
        address: IpAddr,
        which: &'static str,
        notes: &BTreeMap<String, String>,
    ) -> Result<(), PlanError> {
        let holds = match self {
            Belief::Anything => true,
            Belief::Nobody => notes.is_empty(),
            Belief::Pod(pod) => pod.is_in(notes),
        };
        if holds {
            return Ok(());
        }
        let found = match (notes.get(NAMESPACE), notes.get(POD)) {
            (Some(namespace), Some(pod)) => format!("pod {namespace}/{pod}"),
            _ if notes.is_empty() => "nobody".to_owned(),
            _ => "no pod".to_owned(),
        };
        Err(PlanError::OtherOwner { address, which, found })
    }
}

/// What becomes of the notes about the two owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerUpdate {
    /// These are the active owner's from now on; empty: there is none.
    Active(BTreeMap<String, String>),
    /// These are the alternate owner's from now on; empty: there is none.
    Alternate(BTreeMap<String, String>),
    /// The alternate owner becomes the active one, and the active one the alternate, whose DEL is still to come.
    Promote,
}

/// A change of the owners of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerChange {
    /// The address.
    pub address: IpAddr,
    /// The handle it must belong to.
    pub handle: String,
    /// Refuse unless the active owner is as believed.
    pub active: Belief,
    /// Refuse unless the alternate owner is as believed.
    pub alternate: Belief,
    /// The change.
    pub update: OwnerUpdate,
}

impl OwnerChange {
    /// The end of a migration: `target` becomes the active owner, if it is the alternate one.
    pub fn promote(address: IpAddr, handle: &str, target: Pod) -> Self {
        Self {
            address,
            handle: handle.to_owned(),
            active: Belief::Anything,
            alternate: Belief::Pod(target),
            update: OwnerUpdate::Promote,
        }
    }
}

/// Changes the owners of an address.
pub fn change_owner(change: OwnerChange) -> Plan<Result<(), PlanError>> {
    Plan::new(|port| run(port, change))
}

async fn run(port: Port, change: OwnerChange) -> Result<(), PlanError> {
    let address = change.address;
    let (scene, _) = Scene::read(&port, Vec::new()).await?;
    let places = locate(&port, &scene, &[address]).await;
    let cidr = places.first().copied().flatten().ok_or(PlanError::NotAssigned(address))?;
    let mut workspace = Workspace::new(port, scene.config.ip_cooldown_seconds);
    workspace.load([Key::Block(cidr)]).await?;
    for _ in 0..MAX_CONFLICTS {
        let found = workspace.block(&cidr).zip(block::ordinal_of(&cidr, address));
        let attribute = found.and_then(|(block, ordinal)| Some((ordinal, block.attribute(ordinal)?)));
        let (ordinal, old) = attribute.ok_or(PlanError::NotAssigned(address))?;
        let new = changed(old, &change)?;
        if new == *old {
            return Ok(());
        }
        if let Some(block) = workspace.edit_block(&cidr) {
            block::annotate(block, ordinal, &new);
        }
        if workspace.commit("owner").await? {
            return Ok(());
        }
    }
    Err(PlanError::TooManyConflicts)
}

fn changed(old: &Attribute, change: &OwnerChange) -> Result<Attribute, PlanError> {
    if old.released_at.is_some() {
        return Err(PlanError::InCooldown(change.address));
    }
    let actual = block::handle_of(old).unwrap_or_default();
    if actual != change.handle {
        return Err(PlanError::OtherHandle {
            address: change.address,
            given: change.handle.clone(),
            actual: actual.to_owned(),
        });
    }
    if let (OwnerUpdate::Promote, Belief::Pod(target)) = (&change.update, &change.alternate)
        && target.is_in(&old.secondary)
    {
        // promoted already
        return Ok(old.clone());
    }
    change.active.check(change.address, "active", &old.secondary)?;
    change.alternate.check(change.address, "alternate", &old.alternate)?;
    let mut new = old.clone();
    match &change.update {
        OwnerUpdate::Active(notes) => new.secondary = notes.clone(),
        OwnerUpdate::Alternate(notes) => new.alternate = notes.clone(),
        OwnerUpdate::Promote => std::mem::swap(&mut new.secondary, &mut new.alternate),
    }
    Ok(new)
}

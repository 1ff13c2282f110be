//! A link taken out of service: at once, by steps that cost nothing, and deleted later.
//!
//! The host's end goes down: from then on the kernel drops what comes out of the container, and has forgotten the routes and
//! neighbours of that link. Then both ends get names of their own, so that others may have theirs, and go to the graveyard.

use super::Agent;
use super::graveyard::{GROUP, Grave, name_of};
use super::record::{HostEnd, Record};
use super::turns::Taken;
use crate::bounded::{self, within};
use crate::detach::{Detached, detach};
use crate::failpoint::failpoint;
use crate::host::Host;
use cni_protocol::CniError;
use kernel::{Kernel, KernelError, Link, Namespaces, Op};
use std::sync::Arc;

/// A host's end that is down.
pub(super) struct Cut {
    here: Arc<dyn Kernel>,
    link: Link,
}

/// What became of an attachment's link.
pub(super) enum Severed {
    /// Its host's end is down, and not deleted yet.
    Cut(Cut),
    /// There is nothing left of it.
    Gone,
    /// Nobody knows: it is in no record, and its namespace cannot be entered.
    Unknown,
}

impl Agent {
    /// Cuts an attachment off: when this returns its container can send nothing, and no route of this host leads to it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) async fn sever(&self, host: &Host, record: &Record) -> Result<Severed, CniError> {
        let Some(end) = &record.host_end else {
            // from the container's side, as without an agent
            return Ok(match detach(host, &record.netns, &record.key.interface).await? {
                Detached::Gone => Severed::Gone,
                Detached::NoNamespace => Severed::Unknown,
            });
        };
        let here = host.namespaces.current().map_err(CniError::internal)?;
        let looking = within(bounded::KERNEL, "looking for the link", async {
            self.link_of(record, end, &*here).await.map_err(CniError::internal)
        });
        let Some(link) = looking.await? else { return Ok(Severed::Gone) };
        let cutting = async { done(&*here, vec![Op::down(link.index)]).await.map_err(CniError::internal) };
        within(bounded::KERNEL, "taking the link down", cutting).await?;
        failpoint("agent-del-cut");
        Ok(Severed::Cut(Cut { here, link }))
    }

    /// The link that a record means, also where it was put aside already.
    async fn link_of(
        &self,
        record: &Record,
        end: &HostEnd,
        here: &dyn Kernel,
    ) -> Result<Option<Link>, KernelError> {
        let found = here.link(&end.name).await?.filter(|link| self.is_of(record, end, link));
        match end.index.filter(|_| found.is_none() && end.boot == self.0.boot) {
            Some(index) => Ok(here.link(&name_of(index)).await?.filter(|link| link.index == index)),
            None => Ok(found),
        }
    }

    /// Whether a link of the right name is the one that a record means. Where an ADD never came to note its index it is, if no
    /// other attachment has taken the name since.
    pub(super) fn is_of(&self, record: &Record, end: &HostEnd, link: &Link) -> bool {
        if let Some(index) = end.index {
            return index == link.index && end.boot == self.0.boot;
        }
        let records = self.records();
        let has = |other: &Record| other.host_end.as_ref().is_some_and(|other| other.name == end.name);
        !records.all().any(|other| other.key != record.key && has(other))
    }

    /// Gives both ends of a cut link names of their own, and has them deleted with others. Nobody waits for the container's end but
    /// who comes for the same container and interface after this `turn`. A kernel that refuses the names only makes an ADD that
    /// wants them wait for the deletion.
    pub(super) async fn put_aside(&self, host: &Host, cut: Cut, record: &Record, turn: Option<Arc<Taken>>) {
        let Cut { here, link } = cut;
        if !record.netns.is_empty() {
            let (namespaces, record) = (Arc::clone(&host.namespaces), record.clone());
            let freeing = async move {
                kept(&record, free_container_name(&*namespaces, &record, link.index).await);
                drop(turn);
            };
            tokio::spawn(freeing);
        }
        kept(record, rename(&*here, link.index).await);
        let grave = Grave { index: link.index, addresses: record.addresses.clone(), key: record.key.clone() };
        failpoint("agent-del-aside");
        self.0.graveyard.bury(grave);
    }
}

/// Says that a link has kept its name.
fn kept(record: &Record, renamed: Result<(), CniError>) {
    if let Err(error) = renamed {
        tracing::warn!(attachment = %record.key, %error, "the link keeps its name until it is deleted");
    }
}

/// Takes the interface's name from the container's end, so that an ADD may use it again.
async fn free_container_name(
    namespaces: &dyn Namespaces,
    record: &Record,
    peer: u32,
) -> Result<(), CniError> {
    // A namespace that cannot be entered any more takes nobody's name.
    let Ok(container) = namespaces.open(&record.netns) else { return Ok(()) };
    let renaming = async {
        let found = container.link(&record.key.interface).await?;
        let Some(link) = found.filter(|link| link.peer == Some(peer)) else { return Ok(()) };
        // down: its routes and addresses go, which the next one needs
        done(&*container, vec![Op::down(link.index), aside(link.index)]).await
    };
    within(bounded::KERNEL, "renaming the link in the container", async {
        renaming.await.map_err(CniError::internal)
    })
    .await
}

fn aside(index: u32) -> Op {
    Op::PutAside { link: index, name: name_of(index), group: GROUP }
}

async fn rename(kernel: &dyn Kernel, index: u32) -> Result<(), CniError> {
    let renaming = async { done(kernel, vec![aside(index)]).await.map_err(CniError::internal) };
    within(bounded::KERNEL, "renaming the link", renaming).await
}

/// Operations; a link that is gone needs no more.
async fn done(kernel: &dyn Kernel, ops: Vec<Op>) -> Result<(), KernelError> {
    let failed = kernel.apply(ops, false).await.into_iter().filter_map(Result::err);
    failed.filter(|error| !error.is_gone()).reduce(|first, _| first).map_or(Ok(()), Err)
}

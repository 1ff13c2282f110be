//! The backend in force, the one that comes, and what is left of others.
//!
//! A backend that comes is told everything and put into force beside the one that is there; until it is whole both are told
//! what changes, and a packet passes only where both let it. Then the old one goes.

use super::choice::{self, Choice, Found};
use super::{Backend, open};
use crate::endpoints::Refused;
use crate::nft::{Affected, Step};
use crate::stock::Stock;
use failpoint::failpoint;
use felix_calc::Changes;
use felix_calc::endpoint::EndpointKey;
use felix_render::wish::Wish;
use felix_render::{Render, Settings};
use futures::future::{FutureExt, select_all};
use kernel::{KernelError, Netfilter};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub struct Backends {
    netfilter: Box<dyn Netfilter>,
    settings: Settings,
    /// What the choice was made for.
    wish: Wish,
    choice: Choice,
    why: String,
    current: Box<dyn Backend>,
    incoming: Option<Incoming>,
    /// What goes once the one in force guards.
    leaving: Option<Box<dyn Backend>>,
    /// Nothing was told yet: there is nothing to exchange.
    fresh: bool,
}

struct Incoming {
    choice: Choice,
    backend: Box<dyn Backend>,
    /// It knows everything.
    told: bool,
}

impl Backends {
    /// Chooses, and changes nothing yet. Within a tokio runtime.
    ///
    /// # Errors
    /// The kernel cannot be followed.
    pub async fn open(
        netfilter: Box<dyn Netfilter>,
        settings: Settings,
        wish: Wish,
    ) -> Result<Self, KernelError> {
        let (choice, why, found) = choice::decide(&*netfilter, wish).await;
        tracing::info!("the backend is {choice}: {why}");
        let current = open(choice, &*netfilter, &settings)?;
        let leaving = left_over(choice, &*netfilter, &settings, &found)?;
        Ok(Self { netfilter, settings, wish, choice, why, current, incoming: None, leaving, fresh: true })
    }

    /// The one in force, and why it is.
    pub fn choice(&self) -> (Choice, &str) {
        (self.choice, &self.why)
    }

    /// The settings are these now.
    pub fn set_settings(&mut self, settings: &Settings) {
        self.settings = settings.clone();
        self.renderers().for_each(|renderer| renderer.set_settings(settings.clone()));
    }

    /// Another backend may be wished for now. `interfaces` are the node's.
    pub async fn set_wish(&mut self, wish: Wish, interfaces: &[(Arc<str>, Vec<IpAddr>)]) {
        if wish == self.wish {
            return;
        }
        let (choice, why, found) = choice::decide(&*self.netfilter, wish).await;
        tracing::info!("the backend is to be {choice}: {why}");
        (self.wish, self.why) = (wish, why);
        let begun = match self.fresh {
            true => self.begin_with(choice, interfaces, &found),
            false => self.begin(choice, interfaces),
        };
        if let Err(error) = begun {
            tracing::warn!(%error, "the other backend cannot be opened, which is tried with the next change of settings");
        }
    }

    /// Before anything was told, and so before anything was written.
    fn begin_with(
        &mut self,
        choice: Choice,
        interfaces: &[(Arc<str>, Vec<IpAddr>)],
        found: &Found,
    ) -> Result<(), KernelError> {
        self.current = self.opened(choice, interfaces)?;
        self.leaving = left_over(choice, &*self.netfilter, &self.settings, found)?;
        self.choice = choice;
        Ok(())
    }

    fn opened(
        &self,
        choice: Choice,
        interfaces: &[(Arc<str>, Vec<IpAddr>)],
    ) -> Result<Box<dyn Backend>, KernelError> {
        let mut backend = open(choice, &*self.netfilter, &self.settings)?;
        if let Some(renderer) = backend.renderer_mut() {
            interfaces.iter().for_each(|(name, addresses)| renderer.set_interface(name, Some(addresses)));
        }
        Ok(backend)
    }

    fn begin(&mut self, choice: Choice, interfaces: &[(Arc<str>, Vec<IpAddr>)]) -> Result<(), KernelError> {
        if let Some(mut incoming) = self.incoming.take() {
            if incoming.backend.become_choice(choice) {
                incoming.choice = choice;
                self.incoming = Some(incoming);
                return Ok(());
            }
            // what it has put into the kernel already goes again
            incoming.backend.unwant_all();
            self.leaving = Some(incoming.backend);
        }
        if self.current.become_choice(choice) {
            self.choice = choice;
            return Ok(());
        }
        let backend = self.opened(choice, interfaces)?;
        // one of its kind that is still going is this one's affair now
        self.leaving = None;
        self.incoming = Some(Incoming { choice, backend, told: false });
        Ok(())
    }

    /// Whether there is one that has to be told everything.
    pub fn wants_whole(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| !incoming.told)
    }

    /// Everything that was told, for the one that comes.
    pub fn on_whole(&mut self, whole: &Changes) {
        if let Some(incoming) = self.incoming.as_mut().filter(|incoming| !incoming.told) {
            incoming.backend.renderer_mut().into_iter().for_each(|renderer| renderer.apply(whole));
            incoming.told = true;
        }
    }

    /// What the calculation says.
    pub fn on_changes(&mut self, changes: &Changes) {
        self.fresh = false;
        let told = self.incoming.as_mut().filter(|incoming| incoming.told);
        let backends = [&mut self.current].into_iter().chain(told.map(|incoming| &mut incoming.backend));
        backends.filter_map(|backend| backend.renderer_mut()).for_each(|renderer| renderer.apply(changes));
    }

    /// An interface of the node is there with these addresses, or (`None`) is gone.
    pub fn set_interface(&mut self, name: &str, addresses: Option<&[IpAddr]>) {
        self.renderers().for_each(|renderer| renderer.set_interface(name, addresses));
    }

    /// Puts what is wanted into the kernel, as far as it takes it.
    pub async fn apply(&mut self, now: impl Fn() -> Duration) {
        drive(&mut *self.current, &now).await;
        if let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.told) {
            drive(&mut *incoming.backend, &now).await;
            if incoming.backend.guards()
                && let Some(incoming) = self.incoming.take()
            {
                tracing::info!("the backend is {} now", incoming.choice);
                self.choice = incoming.choice;
                failpoint("felix-backend-comes");
                let mut before = std::mem::replace(&mut self.current, incoming.backend);
                before.unwant_all();
                self.leaving = Some(before);
            }
        }
        if self.current.guards()
            && let Some(leaving) = &mut self.leaving
        {
            drive(&mut **leaving, &now).await;
            if leaving.is_in_sync() {
                failpoint("felix-backend-left");
                self.leaving = None;
            }
        }
    }

    /// Which host endpoint each interface has, the one for all interfaces apart.
    pub fn host_interfaces(&self) -> BTreeMap<Arc<str>, EndpointKey> {
        self.current.renderer().map(Render::host_interfaces).unwrap_or_default()
    }

    /// Whom it concerns that something is refused.
    pub fn concerned(&self) -> Refused {
        let Affected { all, chains, keys } = self.current.affected();
        let endpoints = self.current.renderer().map(|renderer| renderer.endpoints_of(&chains, &keys));
        Refused { all, endpoints: endpoints.unwrap_or_default() }
    }

    /// Whether all that is wanted is in the kernel, and nothing of other backends.
    pub fn is_in_sync(&self) -> bool {
        self.incoming.is_none() && self.leaving.is_none() && self.current.is_in_sync()
    }

    /// Whether what is wanted is in the kernel, but for what is refused, and packets are judged.
    pub fn is_in_force(&self) -> bool {
        let but_refused = self.is_settled() && self.refused().next().is_some();
        self.guards() && (self.is_in_sync() || but_refused)
    }

    /// Whether all that is wanted is in the kernel, or is refused.
    pub fn is_settled(&self) -> bool {
        self.current.is_settled()
    }

    /// Whether packets are judged.
    pub fn guards(&self) -> bool {
        self.current.guards()
    }

    /// What is refused, with the words about it.
    pub fn refused(&self) -> impl Iterator<Item = (String, &str)> {
        let incoming = self.incoming.iter().map(|incoming| &incoming.backend);
        [&self.current].into_iter().chain(incoming).chain(&self.leaving).flat_map(|backend| backend.refused())
    }

    /// Counts what of ours is in the kernel, of all that are there.
    pub fn measure(&self, stock: &mut Stock) {
        let incoming = self.incoming.iter().map(|incoming| &incoming.backend);
        let all = [&self.current].into_iter().chain(incoming).chain(&self.leaving);
        all.for_each(|backend| backend.measure(stock));
    }

    /// When the next apply may have something to do.
    pub fn next_try(&self) -> Option<Duration> {
        // those that wait for something else have nothing to try
        let told = self.incoming.as_ref().filter(|incoming| incoming.told);
        let incoming = told.and_then(|incoming| incoming.backend.next_try());
        let leaving = self.leaving.as_ref().filter(|_| self.current.guards());
        let leaving = leaving.and_then(|backend| backend.next_try());
        [self.current.next_try(), incoming, leaving].into_iter().flatten().min()
    }

    /// Waits until somebody else changes something of ours. Nothing is lost when the returned future is dropped.
    pub async fn changed(&mut self) {
        select_all(self.all().map(|backend| backend.changed().boxed())).await;
    }

    fn renderers(&mut self) -> impl Iterator<Item = &mut dyn Render> {
        self.all().filter_map(|backend| backend.renderer_mut())
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Box<dyn Backend>> {
        let incoming = self.incoming.iter_mut().map(|incoming| &mut incoming.backend);
        [&mut self.current].into_iter().chain(incoming).chain(&mut self.leaving)
    }
}

async fn drive(backend: &mut dyn Backend, now: &impl Fn() -> Duration) {
    while backend.step(now()).await == Step::More {
        tokio::task::yield_now().await;
    }
}

/// What a life before, or Calico, may have left of the other kind. What is ours in iptables' tables was seen, or there is
/// nothing: no program is started to find nothing.
fn left_over(
    choice: Choice,
    netfilter: &dyn Netfilter,
    settings: &Settings,
    found: &Found,
) -> Result<Option<Box<dyn Backend>>, KernelError> {
    let other = match choice {
        Choice::Iptables(_) => Choice::Nftables,
        Choice::Nftables if found.nft.ours || found.legacy.ours => Choice::Iptables(kernel::Variant::Nft),
        Choice::Nftables => return Ok(None),
    };
    let mut backend = open(other, netfilter, settings)?;
    backend.unwant_all();
    Ok(Some(backend))
}

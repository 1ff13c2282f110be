//! Our own tables of nf_tables.

use super::{Backend, Choice};
use crate::endpoints::Refused;
use crate::nft::{Affected, NftDriver, Ours, Step};
use felix_calc::Changes;
use felix_calc::endpoint::EndpointKey;
use felix_render::Settings;
use felix_render::nft::Renderer;
use futures::future::{BoxFuture, FutureExt, ready};
use kernel::{KernelError, Netfilter};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(super) struct Nftables {
    /// `None` when nothing is wanted any more.
    renderer: Option<Renderer>,
    driver: NftDriver,
}

impl Nftables {
    pub(super) fn open(netfilter: &dyn Netfilter, settings: Settings) -> Result<Self, KernelError> {
        let driver = NftDriver::open(netfilter.nftables()?, Ours::RULES)?;
        Ok(Self { renderer: Some(Renderer::new(settings)), driver })
    }
}

impl Backend for Nftables {
    fn set_settings(&mut self, settings: &Settings) {
        if let Some(renderer) = &mut self.renderer {
            renderer.set_settings(settings.clone());
        }
    }

    fn set_interface(&mut self, name: &str, addresses: Option<&[IpAddr]>) {
        if let Some(renderer) = &mut self.renderer {
            renderer.set_interface(name, addresses);
        }
    }

    fn on_changes(&mut self, changes: &Changes) {
        if let Some(renderer) = &mut self.renderer {
            renderer.apply(changes);
        }
    }

    fn unwant_all(&mut self) {
        self.renderer = None;
        self.driver.unwant_all();
    }

    fn become_choice(&mut self, choice: Choice) -> bool {
        choice == Choice::Nftables
    }

    fn host_interfaces(&self) -> BTreeMap<Arc<str>, EndpointKey> {
        self.renderer.as_ref().map(Renderer::host_interfaces).unwrap_or_default()
    }

    fn concerned(&self) -> Refused {
        let Affected { all, chains, keys } = self.driver.affected();
        let endpoints = self.renderer.as_ref().map(|renderer| renderer.endpoints_of(&chains, &keys));
        Refused { all, endpoints: endpoints.unwrap_or_default() }
    }

    fn step(&mut self, now: Duration) -> BoxFuture<'_, Step> {
        if let Some(renderer) = &mut self.renderer {
            self.driver.update(renderer.take());
        }
        ready(self.driver.step(now)).boxed()
    }

    fn is_in_sync(&self) -> bool {
        self.driver.is_in_sync()
    }

    fn is_settled(&self) -> bool {
        self.driver.is_settled()
    }

    fn guards(&self) -> bool {
        self.driver.guards()
    }

    fn refused(&self) -> Box<dyn Iterator<Item = (String, &str)> + '_> {
        Box::new(self.driver.refused())
    }

    fn next_try(&self) -> Option<Duration> {
        self.driver.next_try()
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        self.driver.changed().boxed()
    }
}

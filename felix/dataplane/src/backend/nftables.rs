//! Our own tables of nf_tables.

use super::{Backend, Choice};
use crate::nft::{Affected, NftDriver, Ours, Step};
use crate::stock::Stock;
use felix_render::nft::Renderer;
use felix_render::{Render, Settings};
use futures::future::{BoxFuture, FutureExt, ready};
use kernel::{KernelError, Netfilter};
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
    fn renderer(&self) -> Option<&dyn Render> {
        self.renderer.as_ref().map(|renderer| renderer as _)
    }

    fn renderer_mut(&mut self) -> Option<&mut dyn Render> {
        self.renderer.as_mut().map(|renderer| renderer as _)
    }

    fn unwant_all(&mut self) {
        self.renderer = None;
        self.driver.unwant_all();
    }

    fn become_choice(&mut self, choice: Choice) -> bool {
        choice == Choice::Nftables
    }

    fn affected(&self) -> Affected {
        self.driver.affected()
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

    fn measure(&self, stock: &mut Stock) {
        self.driver.measure(stock);
    }

    fn next_try(&self) -> Option<Duration> {
        self.driver.next_try()
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        self.driver.changed().boxed()
    }
}

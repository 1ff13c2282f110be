//! Calico's chains in iptables' tables, IP sets, and Calico's table of ARP where the kernel has nf_tables.

use super::{Backend, Choice};
use crate::iptables::IptablesDriver;
use crate::nft::{Affected, NftDriver, Ours, Step};
use crate::stock::Stock;
use felix_render::iptables::Renderer;
use felix_render::{Render, Settings};
use futures::future::{BoxFuture, FutureExt};
use kernel::{KernelError, Netfilter, Variant};
use std::time::Duration;

/// See the module.
pub(super) struct Iptables {
    /// `None` when nothing is wanted any more.
    renderer: Option<Renderer>,
    driver: IptablesDriver,
    /// `None` where the kernel has no nf_tables.
    arp: Option<NftDriver>,
}

impl Iptables {
    pub(super) fn open(
        netfilter: &dyn Netfilter,
        settings: Settings,
        variant: Variant,
    ) -> Result<Self, KernelError> {
        let (programs, sets) = (netfilter.programs(), netfilter.sets()?);
        let driver = IptablesDriver::open(programs, sets, netfilter.nftables()?, variant)?;
        let mut nft = netfilter.nftables()?;
        let arp = match nft.generation() {
            Ok(_) => Some(NftDriver::open(nft, Ours::CALICO_ARP)?),
            Err(_) => None,
        };
        Ok(Self { renderer: Some(Renderer::new(settings)), driver, arp })
    }
}

impl Backend for Iptables {
    fn renderer(&self) -> Option<&dyn Render> {
        self.renderer.as_ref().map(|renderer| renderer as _)
    }

    fn renderer_mut(&mut self) -> Option<&mut dyn Render> {
        self.renderer.as_mut().map(|renderer| renderer as _)
    }

    fn unwant_all(&mut self) {
        self.renderer = None;
        self.driver.unwant_all();
        self.arp.iter_mut().for_each(NftDriver::unwant_all);
    }

    fn become_choice(&mut self, choice: Choice) -> bool {
        let Choice::Iptables(variant) = choice else { return false };
        self.driver.set_variant(variant);
        true
    }

    fn affected(&self) -> Affected {
        self.driver.affected()
    }

    fn step(&mut self, now: Duration) -> BoxFuture<'_, Step> {
        if let Some(renderer) = &mut self.renderer {
            self.driver.update(renderer.take());
            let updates = renderer.take_arp();
            self.arp.iter_mut().for_each(|arp| arp.update(updates.clone()));
        }
        async move {
            let arp = self.arp.as_mut().map_or(Step::Idle, |arp| arp.step(now));
            if self.driver.step(now).await == Step::More { Step::More } else { arp }
        }
        .boxed()
    }

    fn is_in_sync(&self) -> bool {
        self.driver.is_in_sync() && self.arp.iter().all(NftDriver::is_in_sync)
    }

    fn is_settled(&self) -> bool {
        self.driver.is_settled()
    }

    fn guards(&self) -> bool {
        self.driver.guards()
    }

    fn refused(&self) -> Box<dyn Iterator<Item = (String, &str)> + '_> {
        Box::new(self.driver.refused().chain(self.arp.iter().flat_map(NftDriver::refused)))
    }

    fn measure(&self, stock: &mut Stock) {
        self.driver.measure(stock);
        self.arp.iter().for_each(|arp| arp.measure(stock));
    }

    fn next_try(&self) -> Option<Duration> {
        let arp = self.arp.as_ref().and_then(NftDriver::next_try);
        self.driver.next_try().into_iter().chain(arp).min()
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        async move {
            let arp = async {
                match &mut self.arp {
                    Some(arp) => arp.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.driver.changed() => {}
                () = arp => {}
            }
        }
        .boxed()
    }
}

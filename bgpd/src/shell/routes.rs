//! Between the RIB and the kernel: next hops and local routes one way, the FIB the other.

use super::Shell;
use crate::fib::Target;
use crate::next_hop::Resolution;
use crate::speaker::Speaker;
use bgp_rib::{FibRoute, FibTarget, Hop, NextHop, PeerId, Wanted};
use bgp_wire::Prefix;

impl Shell {
    /// Tells the RIB what changed in the kernel.
    pub(super) fn kernel_changes(&mut self) {
        let changes = self.kernel.tracker().changes();
        if changes.is_empty() {
            return;
        }
        if changes.links {
            self.links_again();
        }
        let Some(speaker) = &mut self.speaker else { return };
        let rib = speaker.rib_mut();
        for (address, resolution) in changes.next_hops {
            rib.next_hop(NextHop { address, peer: None }, resolution);
        }
        for (prefix, local) in changes.local {
            // The sources of one destination exclude each other here: what was told before goes.
            let now = local.as_ref().map(|local| local.source);
            for source in crate::next_hop::SOURCES.into_iter().filter(|source| Some(*source) != now) {
                rib.withdraw_origin(prefix, source);
            }
            if let Some(local) = local {
                rib.originate(prefix, local);
            }
        }
        self.devices_again();
        self.static_routes();
    }

    /// Answers which next hops lead where, for those that became interesting.
    pub(super) fn resolve_wanted(&mut self) {
        let Some(speaker) = &mut self.speaker else { return };
        for wanted in speaker.rib_mut().take_wanted() {
            match wanted {
                Wanted::Track(next_hop) => {
                    let resolution = match next_hop.peer {
                        None => self.kernel.tracker().want(next_hop.address),
                        Some(peer) => {
                            self.on_links.insert(next_hop);
                            on_link(speaker, peer, next_hop)
                        }
                    };
                    speaker.rib_mut().next_hop(next_hop, resolution);
                }
                Wanted::Forget(NextHop { address, peer: None }) => self.kernel.tracker().forget(address),
                Wanted::Forget(next_hop) => drop(self.on_links.remove(&next_hop)),
            }
        }
    }

    /// Links are others: neighbours on one by its name are looked for again, and so are the next hops there.
    fn links_again(&mut self) {
        let Some(plan) = self.plan.clone() else { return };
        for (key, session) in plan.sessions.iter().filter(|(_, session)| session.interface.is_some()) {
            self.change(*key, session);
        }
        let Some(speaker) = &mut self.speaker else { return };
        for next_hop in &self.on_links {
            if let Some(peer) = next_hop.peer {
                let resolution = on_link(speaker, peer, *next_hop);
                speaker.rib_mut().next_hop(*next_hop, resolution);
            }
        }
    }

    /// Takes the RIB's changes for the kernel.
    pub(super) fn program(&mut self) {
        let Some(speaker) = &mut self.speaker else { return };
        let mut changes: Vec<(Prefix, Option<FibRoute>)> = Vec::new();
        speaker.rib_mut().drain_fib(|prefix, route| changes.push((prefix, route)));
        for (prefix, route) in changes {
            self.program_one(prefix, route);
        }
    }

    fn program_one(&mut self, prefix: Prefix, route: Option<FibRoute>) {
        self.waiting_for_device.remove(&prefix);
        let target = route.as_ref().and_then(|route| self.target(route));
        if let (Some(waiting), None) = (&route, &target) {
            self.waiting_for_device.insert(prefix, waiting.clone());
        }
        let Some(fib) = self.kernel.fib_mut() else { return };
        match (target, route) {
            (Some(target), Some(route)) => fib.set(prefix, route.metric, target),
            _ => fib.remove(prefix),
        }
    }

    /// Where a route leads, as the kernel is told; `None` while its device is not there.
    fn target(&mut self, route: &FibRoute) -> Option<Target> {
        match (&route.target, &route.device) {
            (FibTarget::Blackhole, _) => Some(Target::Blackhole),
            (FibTarget::Via(hops), None) => Some(Target::Via(hops.clone())),
            (FibTarget::Via(hops), Some(device)) => {
                // A tunnel: the gateway is the other end, which no network on the device tells.
                let link = self.kernel.tracker().link_index(device)?;
                Some(Target::via(hops.iter().map(|hop| Hop { gateway: hop.gateway, link, onlink: true })))
            }
        }
    }

    /// Devices may have come.
    fn devices_again(&mut self) {
        for (prefix, route) in std::mem::take(&mut self.waiting_for_device) {
            self.program_one(prefix, Some(route));
        }
    }

    /// Routes to neighbours by a gateway (`reachableBy`), which are in the kernel for TCP's sake.
    pub(super) fn static_routes(&mut self) {
        let Some(plan) = self.plan.clone() else { return };
        for (prefix, gateway) in &plan.static_routes {
            let resolution = self.kernel.tracker().resolve(*gateway);
            let Some(fib) = self.kernel.fib_mut() else { return };
            match resolution {
                Resolution::Via { hops, .. } => fib.set(*prefix, 0, Target::Via(hops)),
                Resolution::Unreachable => fib.remove(*prefix),
            }
        }
    }
}

/// The way to a link-local next hop: on the link its neighbour is on.
fn on_link(speaker: &Speaker, peer: PeerId, next_hop: NextHop) -> Resolution {
    match speaker.settings(peer).and_then(|settings| settings.scope) {
        None => Resolution::Unreachable,
        Some(link) => {
            let hop = Hop { gateway: Some(next_hop.address), link, onlink: false };
            Resolution::Via { metric: 0, hops: [hop].into() }
        }
    }
}

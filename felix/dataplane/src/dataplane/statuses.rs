//! What each endpoint of this node is: up when its packets pass as they should.

use super::Dataplane;
use crate::endpoints::{self, Status};
use felix_calc::endpoint::Endpoint;
use model::net::Cidr;
use std::net::IpAddr;

impl Dataplane {
    pub(super) fn check_statuses(&mut self) {
        // what waits for a look or an answer may concern anybody
        let settled = self.backends.is_settled();
        let hosts = self.backends.host_interfaces();
        self.endpoints.set_refused(self.backends.concerned());
        let (links, routes, sysctls, settings) = (&self.links, &self.routes, &self.sysctls, &self.settings);
        let is_up = |name: &str| links.named(name).is_some_and(|(_, link)| link.up);
        let wanted = &self.wanted;
        self.endpoints.check(|key, endpoint| match endpoint {
            Endpoint::Workload(workload) => {
                let name = &*workload.interface;
                let reached = |address: IpAddr| routes.is_installed(&Cidr::host(address));
                let works = settled
                    && is_up(name)
                    && sysctls.is_applied(name)
                    && (!settings.route_sync || wanted.addresses_of(key).all(reached));
                if works { Status::Up } else { Status::Down }
            }
            Endpoint::Host(host) => {
                let about = hosts.iter().filter(|(_, of)| *of == key);
                endpoints::of_host(host, about.map(|(name, _)| is_up(name)))
            }
        });
    }
}

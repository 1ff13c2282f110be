//! ADD where an agent knows its blocks: nothing is asked before. The addresses are known at once, so that the pair is made while one
//! transaction writes addresses, handle and endpoint, for as many calls as there are. What that transaction relies on it compares:
//! when it is not so, the link is taken back and ADD begins the way that asks.

use super::{Job, asked, pool_names};
use crate::address::{Own, is_own, prefixed, result};
use crate::agent::{self, Agent};
use crate::attach::{attach, random_mac};
use crate::bounded::{self, store_failed, within};
use crate::endpoint::{self, Fresh};
use crate::failpoint::failpoint;
use crate::host::Host;
use crate::meanwhile::let_it_be_sent;
use crate::session::{Facts, still_ready};
use crate::undo::{Done, Undo};
use crate::{acknowledge, delegate};
use cni_protocol::config::CALICO_IPAM;
use cni_protocol::identity::Identity;
use cni_protocol::result::CniResult;
use cni_protocol::{CniError, Request};
use datastore::Datastore;
use ipam::{Ipam, Offer};
use model::net::Cidr;
use model::{Key, Kind};
use mvcc::{Compare, CompareResult, CompareTarget, KeyRange};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses for a workload of which nothing is stored, as long as these conditions hold.
pub(super) struct Offered {
    offer: Offer,
    conditions: Vec<Compare>,
    /// CIDRs of the pools that the configuration names.
    pools: BTreeMap<String, Cidr>,
}

impl Offered {
    /// What is taken for true until the transaction has compared it.
    pub(super) fn facts(&self) -> Facts {
        Facts { profile: true, pools: self.pools.clone(), ..Facts::default() }
    }
}

/// Addresses that the agent has at hand; none where there is no agent, or the call wants anything out of the ordinary. The first
/// call for a datastore asks whether it is ready: its answers are returned too.
///
/// # Errors
/// Those of the way that asks.
pub(super) async fn offer(
    host: &Host,
    request: &Request,
    id: &Identity,
    store: &Arc<dyn Datastore>,
) -> Result<(Option<Offered>, Option<Facts>), CniError> {
    let Some(agent) = host.agent.as_ref().filter(|agent| is_own(&request.conf) && !agent.has(request)) else {
        return Ok((None, None));
    };
    let mut facts = None;
    if agent.shared(store, &id.node).is_none() {
        let asked = asked(host, request, id, store).await?;
        let plain = asked.endpoints.is_empty() && !asked.handle && asked.profile;
        facts = Some(asked);
        if !plain {
            return Ok((None, facts));
        }
    }
    Ok((at_hand(agent, request, id, store).await?, facts))
}

async fn at_hand(
    agent: &Agent,
    request: &Request,
    id: &Identity,
    store: &Arc<dyn Datastore>,
) -> Result<Option<Offered>, CniError> {
    let conf = &request.conf;
    let Some((shared, ready)) = agent.shared(store, &id.node) else { return Ok(None) };
    let mut pools = BTreeMap::new();
    shared.known().await;
    for name in pool_names(request) {
        let Some(cidr) = shared.pool(&name) else { return Ok(None) };
        pools.insert(name, cidr);
    }
    delegate::find(CALICO_IPAM, &request.environment.path)?;
    let own = Own::new(Ipam::new(Arc::clone(store)), request, id, &pools)?;
    let Some(wanted) = own.wanted() else { return Ok(None) };
    let Some(offer) = shared.offer(&wanted).await else { return Ok(None) };
    let none_of_it = Compare {
        range: KeyRange::prefix(endpoint::search_prefix(id)?),
        target: CompareTarget::Version(0),
        result: CompareResult::Equal,
    };
    let mut conditions = vec![still_ready(ready), none_of_it];
    if conf.policy_type.is_empty() {
        conditions.push(Compare::exists(Key::resource(Kind::Profile, "", &id.network).path()));
    }
    Ok(Some(Offered { offer, conditions, pools }))
}

impl Job<'_> {
    /// Attaches the workload with these addresses. `None`: what was taken for true is not, and nothing is left.
    ///
    /// # Errors
    /// As [`super::add`].
    pub(super) async fn take(&self, offered: Offered) -> Result<Option<CniResult>, CniError> {
        let mut noted = agent::add::begin(self.host, self.request, &self.id, None)?;
        let mut undo = Undo::default();
        let result = self.attach_offered(offered, &mut undo, &mut noted).await;
        let result = match result {
            Ok(Some(result)) => Ok(result),
            Ok(None) => match undo.run().await {
                true => return Ok(None),
                false => {
                    let error =
                        CniError::try_again("a link that was made in vain cannot be removed".to_owned());
                    noted.end(self.host, &Err(error.clone()), false).await?;
                    return Err(error);
                }
            },
            Err(error) => {
                let whole = undo.run().await;
                noted.end(self.host, &Err(error.clone()), whole).await?;
                return Err(error);
            }
        };
        noted.end(self.host, &result, true).await?;
        result.map(Some)
    }

    async fn attach_offered(
        &self,
        Offered { offer, conditions, .. }: Offered,
        undo: &mut Undo,
        noted: &mut agent::add::Noted,
    ) -> Result<Option<CniResult>, CniError> {
        let interface =
            self.id.host_interface(&self.host.variable("FELIX_INTERFACEPREFIX").unwrap_or_default());
        let given = result(&prefixed(offer.addresses()));
        let addresses: Vec<IpAddr> = given.ips.iter().map(|ip| ip.address.addr).collect();
        let dataplane = acknowledge::dataplane(self.host, self.request, &self.id);
        let mac = random_mac();
        let attachment = self.attachment(&interface, &given, dataplane.is_none(), mac);
        let Fresh { key, value, mut along } =
            endpoint::fresh(&self.wanted(&interface, &given, &mac.to_string()))?;
        along.compare.extend(conditions);
        let mut written = Undo::default();
        written.push(Done::Addresses(self.source()?));
        let store = Arc::clone(&self.store);
        written.push(Done::Endpoint { store, key: key.clone(), ours: value.clone(), before: None });
        let making = async {
            let_it_be_sent().await;
            noted.wait_until_free(&addresses).await?;
            noted.made(attach(self.host, &attachment, undo).await?);
            Ok(())
        };
        let writing = within(bounded::IPAM, "writing addresses and endpoint", async {
            offer.take(along).await.map_err(|error| store_failed(&error, &error))
        });
        // Both to their ends: what was done has to be known.
        let (revision, made) = futures::join!(writing, making);
        let revision = match revision {
            Ok(Some(revision)) => revision,
            Ok(None) => return Ok(None),
            Err(error) => {
                undo.put_under(written);
                return Err(error);
            }
        };
        undo.put_under(written);
        made?;
        failpoint("agent-add-shared");
        if let Some(dataplane) = dataplane {
            acknowledge::wait(&*dataplane, endpoint::put_at(key, value, revision), self.request).await?;
        }
        self.wait_for_policy(None).await;
        Ok(Some(self.result(interface, given, mac.to_string())))
    }
}

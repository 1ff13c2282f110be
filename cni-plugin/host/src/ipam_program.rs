//! `calico-ipam` by itself, as another main plugin would execute it (`ipam.md` §9 of the contract). It does not look for the
//! node's name file unless it needs it: the main plugin did.

use crate::add::pool_names;
use crate::address::{Own, Source};
use crate::endpoint;
use crate::host::Host;
use crate::node;
use crate::session::{self, Questions};
use cni_protocol::identity::Identity;
use cni_protocol::result::CniResult;
use cni_protocol::{CniError, Request};
use ipam::Ipam;

/// Gives addresses.
///
/// # Errors
/// Ready to be printed; nothing is given then.
pub(crate) async fn add(host: &Host, request: &Request) -> Result<CniResult, CniError> {
    let id = node::identity(host, request);
    let store = session::connect(host, &request.conf).await?;
    let questions = Questions { pools: pool_names(request), ..unspecific(&id)? };
    let facts = session::ask(&store, &questions).await?;
    Source::Own(Box::new(Own::new(Ipam::new(store), request, &id, &facts.pools)?)).assign().await
}

/// Takes addresses back.
///
/// # Errors
/// Ready to be printed; to be repeated.
pub(crate) async fn del(host: &Host, request: &Request) -> Result<(), CniError> {
    let id = node::identity(host, request);
    let store = session::connect(host, &request.conf).await?;
    session::ask(&store, &unspecific(&id)?).await?;
    Source::Own(Box::new(Own::to_release(Ipam::new(store), &request.conf, &id, true))).release().await
}

/// Nothing but whether the datastore is ready.
fn unspecific(id: &Identity) -> Result<Questions, CniError> {
    Ok(Questions { endpoints: endpoint::own_key(id)?.path(), exact: true, ..Questions::default() })
}

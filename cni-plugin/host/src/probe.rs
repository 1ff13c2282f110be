//! `calico -t`: whether the datastore can be reached with a configuration.

use crate::host::Host;
use crate::session::{self, Questions};
use cni_protocol::error::code;
use cni_protocol::{CniError, request};
use std::time::Duration;

/// How long the datastore may take to answer (`cni.md` §1 of the contract).
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects and reads.
///
/// # Errors
/// Code 100 when the datastore does not answer; as for ADD when the configuration is wrong.
pub(crate) async fn probe(host: &Host, stdin: &[u8]) -> Result<(), CniError> {
    let conf = request::read_conf(stdin)?;
    let reading = async {
        let store = session::connect(host, &conf).await?;
        session::ask(
            &store,
            &Questions { endpoints: model::key::ROOT.to_owned(), exact: true, ..Questions::default() },
        )
        .await
    };
    let failed =
        |reason: String| CniError::new(code::DATASTORE, "data store connection failed").with_details(reason);
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

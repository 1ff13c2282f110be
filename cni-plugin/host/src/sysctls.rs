//! Kernel parameters of both ends (`cni.md` §6.2 of the contract): one row each.

use cni_protocol::CniError;
use kernel::{Kernel, KernelError};

/// Which addresses the workload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Families {
    /// IPv4.
    pub(crate) v4: bool,
    /// IPv6.
    pub(crate) v6: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    V4,
    V6,
    Always,
}

/// What it means where a parameter cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// ADD fails.
    Error,
    /// ADD goes on.
    Warn,
}

/// Path below /proc/sys with `{}` for the link, value, when, and what a failure means.
type Row = (&'static str, &'static str, When, Failure);

const HOST: [Row; 9] = [
    ("net/ipv4/conf/{}/route_localnet", "1", When::V4, Failure::Error),
    ("net/ipv4/neigh/{}/proxy_delay", "0", When::V4, Failure::Warn),
    ("net/ipv4/conf/{}/proxy_arp", "1", When::V4, Failure::Error),
    ("net/ipv4/conf/{}/forwarding", "1", When::V4, Failure::Error),
    ("net/ipv6/conf/{}/accept_dad", "0", When::V6, Failure::Error),
    ("net/ipv6/conf/{}/disable_ipv6", "0", When::V6, Failure::Error),
    ("net/ipv6/conf/{}/proxy_ndp", "1", When::V6, Failure::Error),
    ("net/ipv6/conf/{}/forwarding", "1", When::V6, Failure::Error),
    ("net/ipv6/conf/{}/accept_ra", "0", When::Always, Failure::Warn),
];

/// Those of the host's end that matter when it goes up.
const BEFORE_UP: [&str; 2] = ["/accept_dad", "/disable_ipv6"];

/// Inside the container, before its link goes up.
const CONTAINER: [Row; 4] = [
    ("net/ipv6/conf/{}/accept_dad", "0", When::V6, Failure::Error),
    ("net/ipv6/conf/all/disable_ipv6", "0", When::V6, Failure::Error),
    ("net/ipv6/conf/default/disable_ipv6", "0", When::V6, Failure::Error),
    ("net/ipv6/conf/lo/disable_ipv6", "0", When::V6, Failure::Error),
];

/// Whether the container forwards; the value is the configuration's.
const FORWARDING: [(&str, When); 2] =
    [("net/ipv4/ip_forward", When::V4), ("net/ipv6/conf/all/forwarding", When::V6)];

/// Parameters to be set: path below /proc/sys, value, and what a failure means.
pub(crate) type Values = Vec<(String, String, Failure)>;

/// Those of the host's end; where an agent routes to it, only those that it has to have before it goes up: the agent sets the others
/// before it routes.
pub(crate) fn of_host(link: &str, families: Families, routed_by_agent: bool) -> Values {
    let mut values = values(&HOST, link, families);
    values.retain(|(key, ..)| !routed_by_agent || BEFORE_UP.iter().any(|last| key.ends_with(last)));
    values
}

/// Those inside the container.
pub(crate) fn of_container(link: &str, families: Families, forward: bool) -> Values {
    let mut values = values(&CONTAINER, link, families);
    let forwarding = FORWARDING.iter().filter(|(_, when)| applies(*when, families));
    values.extend(
        forwarding
            .map(|(key, _)| ((*key).to_owned(), if forward { "1" } else { "0" }.to_owned(), Failure::Error)),
    );
    values
}

fn applies(when: When, families: Families) -> bool {
    match when {
        When::V4 => families.v4,
        When::V6 => families.v6,
        When::Always => true,
    }
}

fn values(table: &[Row], link: &str, families: Families) -> Values {
    table
        .iter()
        .filter(|(_, _, when, _)| applies(*when, families))
        .map(|(key, value, _, failure)| (key.replace("{}", link), (*value).to_owned(), *failure))
        .collect()
}

/// Sets them.
///
/// # Errors
/// One that has to work does not.
pub(crate) async fn set(kernel: &dyn Kernel, values: Values) -> Result<(), CniError> {
    if values.is_empty() {
        return Ok(());
    }
    let failures: Vec<Failure> = values.iter().map(|(_, _, failure)| *failure).collect();
    let values = values.into_iter().map(|(key, value, _)| (key, value)).collect();
    for (result, failure) in kernel.set_sysctls(values).await.into_iter().zip(failures) {
        match (result, failure) {
            (Ok(()), _) => {}
            (Err(error), Failure::Warn) => tracing::warn!(%error, "kernel parameter not set"),
            (Err(error), Failure::Error) => return Err(failed(&error)),
        }
    }
    Ok(())
}

fn failed(error: &KernelError) -> CniError {
    CniError::internal(format!("cannot set kernel parameter: {error}"))
}

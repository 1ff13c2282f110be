//! One etcd member: its address, how to trust it, and the connection made at the first request.

use super::EtcdOptions;
use crate::system_authorities;
use etcd_client::{
    Certificate, Client, ConnectOptions, Identity, KvClient, LeaseClient, TlsOptions, WatchClient,
};
use std::time::Duration;
use tokio::sync::Mutex;

/// Largest answer that is accepted; a page of the largest objects stays far below.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;
/// Longest wait for a connection. Source: `datamodel.md` §1 of the contract, like the two below.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to trust and how to show who we are; all PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Authorities; those of the system when absent.
    pub authority: Option<String>,
    /// Client certificate and its key.
    pub identity: Option<(String, String)>,
}

/// Why a list of endpoints cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The list is empty.
    #[error("no etcd endpoints specified")]
    None,
    /// Not an address.
    #[error("etcd endpoint \"{endpoint}\" {reason}; write http://<host>:<port> or https://<host>:<port>")]
    Form {
        /// As given.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// TLS without any authority.
    #[error(
        "etcd endpoint \"{endpoint}\" needs an authority to trust, and this system has none: give the CA certificate"
    )]
    NoAuthority {
        /// As given.
        endpoint: String,
    },
}

/// Clients for one member over one connection.
#[derive(Clone)]
pub(super) struct Connected {
    pub(super) kv: KvClient,
    pub(super) watch: WatchClient,
    pub(super) lease: LeaseClient,
}

pub(super) struct Endpoint {
    url: String,
    options: ConnectOptions,
    user: Option<(String, String)>,
    /// A connection given by the caller, instead of one to the address.
    given: Option<Client>,
    connected: Mutex<Option<Connected>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(super) fn new(endpoint: &str, all: &EtcdOptions) -> Result<Self, EndpointError> {
        let refuse =
            |reason: &str| EndpointError::Form { endpoint: endpoint.to_owned(), reason: reason.to_owned() };
        let (secure, address) = match endpoint.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(refuse(&format!("has the unknown scheme \"{scheme}\""))),
            None => (false, endpoint),
        };
        let address = address.trim_end_matches('/');
        let (host, port) = split_port(address).ok_or_else(|| refuse("is not an address"))?;
        if !endpoint.contains("://") && port.is_none() {
            return Err(refuse("has neither scheme nor port"));
        }
        let members = u32::try_from(all.endpoints.len()).unwrap_or(u32::MAX).max(1);
        let mut options = ConnectOptions::new()
            .with_connect_timeout((all.timeout / members).min(DIAL_TIMEOUT))
            .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE_TIMEOUT)
            // a member cut off from its cluster must not leave watchers waiting
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if secure {
            options = options.with_tls(tls_options(endpoint, host, &all.tls)?);
        }
        let scheme = if secure { "https" } else { "http" };
        Ok(Self {
            url: format!("{scheme}://{address}"),
            options,
            user: all.user.clone(),
            given: None,
            connected: Mutex::new(None),
        })
    }

    /// What a client is connected to already.
    pub(super) fn over(client: Client) -> Self {
        Self {
            url: "this process".to_owned(),
            options: ConnectOptions::new(),
            user: None,
            given: Some(client),
            connected: Mutex::new(None),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Carries out `work` over this endpoint's connection.
    pub(super) async fn run<T, F, R>(&self, work: &F) -> Result<T, etcd_client::Error>
    where
        F: Fn(Connected) -> R,
        R: Future<Output = Result<T, etcd_client::Error>>,
    {
        work(self.connected().await?).await
    }

    /// Drops the connection and its login.
    pub(super) async fn forget(&self) {
        *self.connected.lock().await = None;
    }

    async fn connected(&self) -> Result<Connected, etcd_client::Error> {
        let mut slot = self.connected.lock().await;
        if let Some(connected) = &*slot {
            return Ok(connected.clone());
        }
        let client = self.connect().await?;
        let connected = Connected {
            kv: client.kv_client().max_decoding_message_size(MAX_MESSAGE),
            watch: client.watch_client().max_decoding_message_size(MAX_MESSAGE),
            lease: client.lease_client(),
        };
        *slot = Some(connected.clone());
        Ok(connected)
    }

    /// Talks to the server only to log in.
    pub(super) async fn connect(&self) -> Result<Client, etcd_client::Error> {
        if let Some(client) = &self.given {
            return Ok(client.clone());
        }
        let Some((user, password)) = &self.user else {
            return Client::connect([&self.url], Some(self.options.clone())).await;
        };
        let options = self.options.clone().with_user(user, password);
        match Client::connect([&self.url], Some(options)).await {
            // a server without users lets everybody in
            Err(etcd_client::Error::GRpcStatus(status))
                if status.message().contains("authentication is not enabled") =>
            {
                Client::connect([&self.url], Some(self.options.clone())).await
            }
            result => result,
        }
    }
}

/// Host without brackets, and the port if there is one.
fn split_port(address: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (address, None),
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(letters)).then_some((host, port))
}

fn tls_options(endpoint: &str, host: &str, tls: &Tls) -> Result<TlsOptions, EndpointError> {
    let authority = match &tls.authority {
        Some(pem) => pem.clone(),
        None => system_authorities()
            .ok_or_else(|| EndpointError::NoAuthority { endpoint: endpoint.to_owned() })?,
    };
    let mut options = TlsOptions::new().domain_name(host).ca_certificate(Certificate::from_pem(authority));
    if let Some((certificate, key)) = &tls.identity {
        options = options.identity(Identity::from_pem(certificate, key));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Result<String, String> {
        let options = EtcdOptions { endpoints: vec![text.into()], ..EtcdOptions::default() };
        Endpoint::new(text, &options).map(|e| e.url().to_owned()).map_err(|e| e.to_string())
    }

    #[test]
    fn addresses() {
        assert_eq!(endpoint("http://127.0.0.1:2379").unwrap(), "http://127.0.0.1:2379");
        assert_eq!(endpoint("http://etcd-1.example:2379/").unwrap(), "http://etcd-1.example:2379");
        assert_eq!(endpoint("127.0.0.1:2379").unwrap(), "http://127.0.0.1:2379");
        assert_eq!(endpoint("http://[::1]:2379").unwrap(), "http://[::1]:2379");
        assert_eq!(endpoint("http://etcd").unwrap(), "http://etcd");
        assert_eq!(
            endpoint("127.0.0.1").unwrap_err(),
            "etcd endpoint \"127.0.0.1\" has neither scheme nor port; \
             write http://<host>:<port> or https://<host>:<port>"
        );
        for bad in
            ["", "http://", "http://a b:1", "http://a:port", "http://a:99999", "unix:///x", "http://::1:2379"]
        {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_list_is_calicos_error() {
        let error = super::super::EtcdStore::new(&EtcdOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "no etcd endpoints specified");
    }
}

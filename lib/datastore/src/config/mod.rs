//! Where the datastore is: settings from a file or from the environment, never from both.
//! Source: `datamodel.md` §1 and `calicoctl.md` §2 of the contract.

mod file;

use crate::Datastore;
use crate::etcd::{Discovery, EndpointError, EtcdOptions, EtcdStore, Tls};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long one request may take, connecting included, unless the caller says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of the connection; empty for what is not given. Named as in `CalicoAPIConfig`.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectConfig {
    /// `etcdv3` or `kubernetes`; when empty, the former if there are etcd endpoints.
    pub datastore_type: String,
    /// Comma-separated URLs.
    pub etcd_endpoints: String,
    /// DNS domain that lists the members.
    pub etcd_discovery_srv: String,
    /// User; used only together with the password.
    pub etcd_username: String,
    /// Password.
    pub etcd_password: String,
    /// File of the client's key.
    pub etcd_key_file: String,
    /// File of the client's certificate.
    pub etcd_cert_file: String,
    /// File of the authorities' certificates.
    pub etcd_ca_cert_file: String,
    /// The client's key itself, PEM.
    pub etcd_key: String,
    /// The client's certificate itself, PEM.
    pub etcd_cert: String,
    /// The authorities' certificates themselves, PEM.
    pub etcd_ca_cert: String,
    /// Bound of one request, connecting included.
    pub timeout: Duration,
}

impl fmt::Debug for ConnectConfig {
    /// Without what must not get into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectConfig")
            .field("datastore_type", &self.datastore_type)
            .field("etcd_endpoints", &self.etcd_endpoints)
            .field("etcd_username", &self.etcd_username)
            .field("etcd_ca_cert_file", &self.etcd_ca_cert_file)
            .field("etcd_cert_file", &self.etcd_cert_file)
            .field("etcd_key_file", &self.etcd_key_file)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Default for ConnectConfig {
    fn default() -> Self {
        Self {
            datastore_type: String::new(),
            etcd_endpoints: String::new(),
            etcd_discovery_srv: String::new(),
            etcd_username: String::new(),
            etcd_password: String::new(),
            etcd_key_file: String::new(),
            etcd_cert_file: String::new(),
            etcd_ca_cert_file: String::new(),
            etcd_key: String::new(),
            etcd_cert: String::new(),
            etcd_ca_cert: String::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

/// Why no datastore can be opened from some settings.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The settings file is not YAML or JSON of the right shape.
    #[error("syntax error in {path}: failed to parse config as YAML/JSON: {reason}")]
    Syntax {
        /// The file.
        path: String,
        /// What is wrong where.
        reason: String,
    },
    /// The file is something else.
    #[error("syntax error in {path}: invalid config file: {reason}")]
    Shape {
        /// The file.
        path: String,
        /// What it is.
        reason: String,
    },
    /// A type that does not exist.
    #[error("unknown datastore type: {0}")]
    UnknownType(String),
    /// The Kubernetes API is not a datastore of this release.
    #[error("{0}")]
    Kubernetes(&'static str),
    /// Settings that exclude each other or need each other.
    #[error("{0}")]
    Contradiction(String),
    /// Wrong endpoints.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// One setting: its name in the file, its variable if it has one, and its place. The one table behind both sources.
type Setting = (&'static str, Option<&'static str>, fn(&mut ConnectConfig) -> &mut String);

const SETTINGS: [Setting; 11] = [
    ("datastoreType", Some("DATASTORE_TYPE"), |c| &mut c.datastore_type),
    ("etcdEndpoints", Some("ETCD_ENDPOINTS"), |c| &mut c.etcd_endpoints),
    ("etcdDiscoverySrv", Some("ETCD_DISCOVERY_SRV"), |c| &mut c.etcd_discovery_srv),
    ("etcdUsername", Some("ETCD_USERNAME"), |c| &mut c.etcd_username),
    ("etcdPassword", Some("ETCD_PASSWORD"), |c| &mut c.etcd_password),
    ("etcdKeyFile", Some("ETCD_KEY_FILE"), |c| &mut c.etcd_key_file),
    ("etcdCertFile", Some("ETCD_CERT_FILE"), |c| &mut c.etcd_cert_file),
    ("etcdCACertFile", Some("ETCD_CA_CERT_FILE"), |c| &mut c.etcd_ca_cert_file),
    ("etcdKey", None, |c| &mut c.etcd_key),
    ("etcdCert", None, |c| &mut c.etcd_cert),
    ("etcdCACert", None, |c| &mut c.etcd_ca_cert),
];

impl ConnectConfig {
    /// Settings from the environment: each variable bare or with the prefix `CALICO_`, which wins.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut config = Self::default();
        for (_, variable, place) in SETTINGS {
            let Some(variable) = variable else { continue };
            let prefixed = env(&format!("CALICO_{variable}")).filter(|value| !value.is_empty());
            if let Some(value) = prefixed.or_else(|| env(variable)) {
                *place(&mut config) = value;
            }
        }
        config
    }

    /// Settings from a file of kind `CalicoAPIConfig`, YAML or JSON. Unknown fields are an error.
    ///
    /// # Errors
    /// `Read`, `Syntax` or `Shape`.
    pub fn from_file(path: &Path) -> Result<Self, ConnectError> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => file::parse(&text, &name),
            Err(source) => Err(ConnectError::Read { path: name, source }),
        }
    }

    /// The same settings with another bound of one request.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What the etcd backend needs, files read.
    ///
    /// # Errors
    /// Settings that do not describe an etcd.
    ///
    /// # Errors
    /// Settings that contradict each other, or files that cannot be read.
    pub fn etcd_options(&self) -> Result<EtcdOptions, ConnectError> {
        let contradiction = |text: &str| Err(ConnectError::Contradiction(text.to_owned()));
        if !self.etcd_discovery_srv.is_empty() && !self.etcd_endpoints.is_empty() {
            return contradiction(
                "multiple discovery or bootstrap options specified, use either \"etcdEndpoints\" or \"etcdDiscoverySrv\"",
            );
        }
        let files = [&self.etcd_key_file, &self.etcd_cert_file, &self.etcd_ca_cert_file];
        let inline = [&self.etcd_key, &self.etcd_cert, &self.etcd_ca_cert];
        let given = |all: [&String; 3]| all.iter().any(|text| !text.is_empty());
        if given(files) && given(inline) {
            return contradiction(
                "etcdKeyFile, etcdCertFile and etcdCACertFile may not be mixed with etcdKey, etcdCert and etcdCACert",
            );
        }
        let authority = pem(&self.etcd_ca_cert, &self.etcd_ca_cert_file)?;
        let identity =
            match (pem(&self.etcd_cert, &self.etcd_cert_file)?, pem(&self.etcd_key, &self.etcd_key_file)?) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                (Some(_), None) => {
                    return contradiction("an etcd client certificate is given without its key");
                }
                (None, Some(_)) => {
                    return contradiction("an etcd client key is given without its certificate");
                }
            };
        let both = !self.etcd_username.is_empty() && !self.etcd_password.is_empty();
        Ok(EtcdOptions {
            endpoints: self
                .etcd_endpoints
                .split(',')
                .map(str::trim)
                .filter(|url| !url.is_empty())
                .map(str::to_owned)
                .collect(),
            discovery: (!self.etcd_discovery_srv.is_empty())
                .then(|| Discovery::of_system(&self.etcd_discovery_srv)),
            user: both.then(|| (self.etcd_username.clone(), self.etcd_password.clone())),
            tls: Tls { authority, identity },
            timeout: self.timeout,
        })
    }
}

/// A PEM text, given itself or by its file.
fn pem(inline: &str, file: &str) -> Result<Option<String>, ConnectError> {
    match (inline, file) {
        ("", "") => Ok(None),
        ("", path) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|source| ConnectError::Read { path: path.to_owned(), source }),
        (text, _) => Ok(Some(text.to_owned())),
    }
}

/// Opens the datastore that the settings describe. Nothing is sent before the first request.
///
/// # Errors
/// Settings that describe none.
pub fn connect(config: &ConnectConfig) -> Result<Arc<dyn Datastore>, ConnectError> {
    let kind = match config.datastore_type.as_str() {
        "" if config.etcd_endpoints.is_empty() && config.etcd_discovery_srv.is_empty() => {
            return Err(ConnectError::Kubernetes(
                "no datastore configured: set ETCD_ENDPOINTS or etcdEndpoints (the Kubernetes API is not supported as datastore)",
            ));
        }
        "" => "etcdv3",
        kind => kind,
    };
    match kind {
        "etcdv3" => Ok(Arc::new(EtcdStore::new(&config.etcd_options()?)?)),
        "kubernetes" => Err(ConnectError::Kubernetes(
            "the Kubernetes API is not supported as datastore: use datastore type etcdv3",
        )),
        other => Err(ConnectError::UnknownType(other.to_owned())),
    }
}

#[cfg(test)]
mod tests;

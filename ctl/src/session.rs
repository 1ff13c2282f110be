//! A connection to the datastore, as the command line and the environment ask for it.
//! Source: `calicoctl.md` §1.1 and §2 of the contract.

use crate::cli::{ConfigArgs, DEFAULT_CONFIG, Global};
use crate::io::Failure;
use crate::persona::Persona;
use crate::version::{self, Stamp};
use datastore::{CLUSTER_INFORMATION, Client, ClientError, ConnectConfig, StoreError};
use model::Kind;
use model::v3::ClusterInformationSpec;
use std::path::Path;

/// A variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why there is no connection.
#[derive(Debug)]
pub enum OpenError {
    /// The file named on the command line is not there.
    NoConfigFile(String),
    /// The settings are wrong, or nobody answers.
    NoClient(String),
}

impl OpenError {
    /// The failure of a command that cannot work without: calicoctl says so on standard output.
    pub fn into_failure(self) -> Failure {
        match self {
            OpenError::NoConfigFile(path) => Failure::OnStdout(format!("Error reading config file: {path}")),
            OpenError::NoClient(reason) => {
                Failure::OnStdout(format!("Failed to create Calico API client: {reason}"))
            }
        }
    }
}

/// Connects as the configuration file says, or the environment where there is no file.
///
/// # Errors
/// When the settings are wrong or the datastore cannot be reached in time.
pub fn connect(args: &ConfigArgs, global: &Global, env: Environment<'_>) -> Result<Client, OpenError> {
    let path = Path::new(&args.config);
    let config = if path.exists() {
        ConnectConfig::from_file(path).map_err(|error| OpenError::NoClient(error.to_string()))?
    } else if args.config == DEFAULT_CONFIG {
        let context = global.context.as_deref();
        ConnectConfig::from_env(&|name| match (name, context) {
            ("K8S_CURRENT_CONTEXT", Some(context)) => Some(context.to_owned()),
            (name, _) => env(name),
        })
    } else {
        return Err(OpenError::NoConfigFile(args.config.clone()));
    };
    let store = datastore::connect(&config).map_err(|error| OpenError::NoClient(error.to_string()))?;
    Ok(Client::new(store))
}

/// What a command that works on the datastore stands on.
pub struct Session {
    /// Under which name we were called.
    pub persona: Persona,
    /// The datastore's resources.
    pub client: Client,
}

impl Session {
    /// Connects and compares versions.
    ///
    /// # Errors
    /// As [`connect`]; the refusal of another version; a datastore that does not answer.
    pub async fn open(
        persona: Persona,
        args: &ConfigArgs,
        global: &Global,
        env: Environment<'_>,
    ) -> Result<Session, Failure> {
        let client = connect(args, global, env).map_err(OpenError::into_failure)?;
        let session = Session { persona, client };
        if persona.is_calicoctl() && !global.allow_version_mismatch {
            session.check_version(&version::stamp(persona, env)).await?;
        }
        Ok(session)
    }

    /// calicoctl refuses a cluster of another version. We do not under our own name: skew is normal.
    async fn check_version(&self, own: &Stamp) -> Result<(), Failure> {
        let cluster = match self.client.get(Kind::ClusterInformation, "", CLUSTER_INFORMATION).await {
            Ok(information) => information.typed_spec::<ClusterInformationSpec>().unwrap_or_default(),
            // Nothing else will get through either; say it once, and now.
            Err(ClientError::Store(error @ StoreError::Unavailable(_))) => {
                return Err(Failure::message(error.to_string()));
            }
            Err(_) => return Ok(()),
        };
        match own.mismatch(&cluster.calico_version) {
            Some(text) => Err(Failure::Message(text)),
            None => Ok(()),
        }
    }
}

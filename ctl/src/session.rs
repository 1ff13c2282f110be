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
    let config = settings(args, global, env)?;
    let store = datastore::connect(&config).map_err(|error| OpenError::NoClient(error.to_string()))?;
    Ok(Client::new(store))
}

/// The connection settings of the configuration file, or of the environment where there is no file.
///
/// # Errors
/// A file named on the command line that is not there, or cannot be understood.
pub fn settings(
    args: &ConfigArgs,
    global: &Global,
    env: Environment<'_>,
) -> Result<ConnectConfig, OpenError> {
    let path = Path::new(&args.config);
    if path.exists() {
        ConnectConfig::from_file(path).map_err(|error| OpenError::NoClient(error.to_string()))
    } else if args.config == DEFAULT_CONFIG {
        let context = global.context.as_deref();
        Ok(ConnectConfig::from_env(&|name| match (name, context) {
            ("K8S_CURRENT_CONTEXT", Some(context)) => Some(context.to_owned()),
            (name, _) => env(name),
        }))
    } else {
        Err(OpenError::NoConfigFile(args.config.clone()))
    }
}

/// The node's name where nobody gives it: what Calico's programs ask (`bgp.md` §14 of the contract).
pub fn node_name(env: Environment<'_>) -> Option<String> {
    let file = || std::fs::read_to_string("/var/lib/calico/nodename").ok().map(|name| name.trim().to_owned());
    let host = || env("HOSTNAME").map(|name| name.to_lowercase());
    [env("NODENAME"), file(), host()].into_iter().flatten().find(|name| !name.is_empty())
}

/// What is said about an error: its own text, with what to do about a datastore that does not answer. Calico's programs
/// wait for ever there, so that no text of theirs is fixed.
pub fn explain(error: &ClientError) -> String {
    match error {
        ClientError::Store(StoreError::Unavailable(_)) => {
            format!(
                "{error}; does etcd run there? The address comes from ETCD_ENDPOINTS, or from the file named by -c"
            )
        }
        error => error.to_string(),
    }
}

/// Passes over errors that the command itself will meet, or need not mind; a datastore that does not answer ends it.
///
/// # Errors
/// The datastore does not answer: nothing else would get through, so it is said once, and now.
pub fn unless_unreachable(error: &ClientError) -> Result<(), Failure> {
    match error {
        ClientError::Store(StoreError::Unavailable(_)) => Err(Failure::Message(explain(error))),
        _ => Ok(()),
    }
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
            Err(error) => return unless_unreachable(&error),
        };
        match own.mismatch(&cluster.calico_version) {
            Some(text) => Err(Failure::Message(text)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datastore::Bootstrap;
    use datastore::memory::MemoryStore;
    use std::sync::Arc;

    const GLOBAL: Global = Global { log_level: None, context: None, allow_version_mismatch: false };

    fn refused(config: &str, env: &[(&str, &str)]) -> Failure {
        let args = ConfigArgs { config: config.to_owned() };
        let env =
            |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        connect(&args, &GLOBAL, &env).map(drop).expect_err("refused").into_failure()
    }

    #[test]
    fn settings_that_cannot_work_are_told_on_standard_output() {
        let said = |text: &str| Failure::OnStdout(text.to_owned());
        assert_eq!(refused("nosuch.cfg", &[]), said("Error reading config file: nosuch.cfg"));
        assert_eq!(
            refused(DEFAULT_CONFIG, &[("DATASTORE_TYPE", "zookeeper")]),
            said("Failed to create Calico API client: unknown datastore type: zookeeper")
        );
        assert_eq!(
            refused(DEFAULT_CONFIG, &[("DATASTORE_TYPE", "etcdv3"), ("ETCD_ENDPOINTS", "")]),
            said("Failed to create Calico API client: no etcd endpoints specified")
        );
    }

    #[tokio::test]
    async fn another_version_is_refused() {
        let session =
            Session { persona: Persona::Calicoctl, client: Client::new(Arc::new(MemoryStore::new())) };
        let own = Stamp { version: "v3.33.0".into(), commit: String::new() };
        assert_eq!(session.check_version(&own).await, Ok(()), "nothing is there yet");
        let bootstrap = |version: &str| Bootstrap { version: version.into(), ..Bootstrap::default() };
        session.client.ensure_initialized(bootstrap("")).await.expect("initialised");
        assert_eq!(session.check_version(&own).await, Ok(()), "no version is recorded");
        session.client.ensure_initialized(bootstrap("v3.33.0-0.dev")).await.expect("initialised");
        assert_eq!(session.check_version(&own).await, Ok(()));
        session.client.ensure_initialized(bootstrap("v3.30.2")).await.expect("initialised");
        let Err(Failure::Message(text)) = session.check_version(&own).await else { panic!("not refused") };
        assert!(text.starts_with("version mismatch.\n") && text.contains("3.30.2"), "{text}");
    }
}

//! Which build this is, which release of Calico it speaks, and `version`.
//! Source: `calicoctl.md` §1.1 and §10 of the contract.

use crate::cli::{ConfigArgs, Global};
use crate::io::{Failure, Io};
use crate::persona::Persona;
use crate::session::{self, Environment, OpenError};
use datastore::{CLUSTER_INFORMATION, Client, ClientError};
use model::Kind;
use model::v3::ClusterInformationSpec;
use std::io::Write;
use std::time::Duration;

/// Own version with the commit it was built from, as `ocicat --version` prints it.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("OCICAT_BUILD_ID"), ")");

/// The release of Calico whose layout, defaults and texts we follow; what we answer to as `calicoctl`.
pub const CALICO_RELEASE: &str = "v3.33.0";

/// Variable that makes `calicoctl` say it is another build: `VERSION COMMIT`, either may be missing. For clusters whose
/// scripts insist on an exact version.
const STAMP_VARIABLE: &str = "OCICAT_CALICOCTL_STAMP";

/// A program's version and the commit it was built from; empty for unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Such as `v3.33.0`.
    pub version: String,
    /// Such as `87c15906f20c`.
    pub commit: String,
}

/// What this program says it is.
pub fn stamp(persona: Persona, env: Environment<'_>) -> Stamp {
    let (version, commit) = match (persona.is_calicoctl(), env(STAMP_VARIABLE)) {
        (true, Some(stamp)) => {
            let mut words = stamp.split_whitespace().map(str::to_owned);
            (words.next().unwrap_or_default(), words.next().unwrap_or_default())
        }
        (true, None) => (CALICO_RELEASE.to_owned(), env!("OCICAT_BUILD_ID").to_owned()),
        (false, _) => {
            (concat!("v", env!("CARGO_PKG_VERSION")).to_owned(), env!("OCICAT_BUILD_ID").to_owned())
        }
    };
    Stamp { version, commit }
}

impl Stamp {
    /// What calicoctl says when the cluster's version is another; an unknown version of the cluster fits all.
    pub fn mismatch(&self, cluster: &str) -> Option<String> {
        let cluster = compared(cluster);
        if cluster.is_empty() || cluster == compared(&self.version) {
            return None;
        }
        Some(format!(
            "version mismatch.\nClient Version:   {}\nCluster Version:  {cluster}\nUse --allow-version-mismatch to override",
            self.version
        ))
    }
}

/// The part of a version that counts: without a leading `v` and what follows the first dash.
fn compared(version: &str) -> &str {
    let version = version.strip_prefix('v').unwrap_or(version);
    version.split('-').next().unwrap_or(version)
}

/// `version`
///
/// # Errors
/// A bad interval, wrong settings, a cluster that cannot be read.
pub async fn run(
    persona: Persona,
    (client_only, poll): (bool, Option<&str>),
    args: &ConfigArgs,
    global: &Global,
    env: Environment<'_>,
    io: &mut Io,
) -> Result<(), Failure> {
    let poll = match poll {
        None | Some("") => None,
        Some(text) => Some(
            model::schema::scalar::parse_duration(text)
                .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
                .map(Duration::from_nanos)
                .ok_or_else(|| Failure::message(format!("invalid poll duration specified: {text}")))?,
        ),
    };
    let own = stamp(persona, env);
    io.line(&format!("Client Version:    {}", own.version))?;
    io.line(&format!("Git commit:        {}", own.commit))?;
    if !persona.is_calicoctl() {
        io.line(&format!("Calico release:    {CALICO_RELEASE}"))?;
    }
    if client_only {
        return Ok(());
    }
    io.flush()?;
    let client = session::connect(args, global, env).map_err(|error| match error {
        OpenError::NoClient(reason) => Failure::Message(reason),
        missing => missing.into_failure(),
    })?;
    let Some(interval) = poll else {
        let text = cluster_lines(&client).await.map_err(Failure::Message)?;
        return io.print(&text);
    };
    let mut last = None;
    loop {
        match cluster_lines(&client).await {
            Ok(text) if last.as_ref() != Some(&text) => {
                io.print(&text)?;
                io.flush()?;
                last = Some(text);
            }
            Ok(_) => {}
            Err(error) => {
                let _ = writeln!(io.err, "{error}");
            }
        }
        tokio::time::sleep(interval).await;
    }
}

async fn cluster_lines(client: &Client) -> Result<String, String> {
    let information = match client.get(Kind::ClusterInformation, "", CLUSTER_INFORMATION).await {
        Ok(information) => information.typed_spec::<ClusterInformationSpec>(),
        Err(ClientError::DoesNotExist { .. }) => Ok(ClusterInformationSpec::default()),
        Err(error) => {
            return Err(format!("unable to retrieve Cluster Version or Type: {}", session::explain(&error)));
        }
    };
    let spec = information.map_err(|error| format!("unable to retrieve Cluster Version or Type: {error}"))?;
    let known = |text: &str| if text.is_empty() { "unknown" } else { text }.to_owned();
    Ok(format!(
        "Cluster Version:   {}\nCluster Type:      {}\n",
        known(&spec.calico_version),
        known(&spec.cluster_type)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(version: &str) -> Stamp {
        Stamp { version: version.to_owned(), commit: String::new() }
    }

    #[test]
    fn versions_compare_without_their_tails() {
        assert_eq!(own("v3.33.0-0.dev").mismatch("v3.33.0"), None);
        assert_eq!(own("v3.33.0").mismatch(""), None);
        assert_eq!(own("").mismatch(""), None);
        assert_eq!(
            own("v3.33.0-0.dev").mismatch("v3.30.2-0.dev").as_deref(),
            Some(
                "version mismatch.\nClient Version:   v3.33.0-0.dev\nCluster Version:  3.30.2\nUse --allow-version-mismatch to \
                 override"
            )
        );
        assert!(
            own("").mismatch("v3.33.0").is_some(),
            "a client without a version fits no cluster that has one"
        );
    }

    const GLOBAL: Global = Global { log_level: None, context: None, allow_version_mismatch: false };

    async fn said(
        persona: Persona,
        client_only: bool,
        poll: Option<&str>,
        env: &[(&str, &str)],
    ) -> (String, Option<Failure>) {
        let (mut io, out, _) = crate::io::captured::io("");
        let env =
            |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let args = ConfigArgs { config: crate::cli::DEFAULT_CONFIG.to_owned() };
        let end = run(persona, (client_only, poll), &args, &GLOBAL, &env, &mut io).await.err();
        (out.take(), end)
    }

    #[tokio::test]
    async fn the_clients_part_needs_no_cluster() {
        let unstamped = [(STAMP_VARIABLE, "")];
        let lines = "Client Version:    \nGit commit:        \n".to_owned();
        assert_eq!(said(Persona::Calicoctl, true, None, &unstamped).await, (lines.clone(), None));
        let unknown_type = [(STAMP_VARIABLE, ""), ("DATASTORE_TYPE", "zookeeper")];
        assert_eq!(
            said(Persona::Calicoctl, false, None, &unknown_type).await,
            (lines, Some(Failure::message("unknown datastore type: zookeeper")))
        );
        let own = said(Persona::Ocicat, true, None, &[]).await.0;
        assert!(own.contains(CALICO_RELEASE) && own.contains("Client Version:    v"), "{own}");
    }

    #[tokio::test]
    async fn an_interval_that_is_none_is_refused_first() {
        let refused = (String::new(), Some(Failure::message("invalid poll duration specified: x")));
        assert_eq!(said(Persona::Calicoctl, false, Some("x"), &[]).await, refused);
    }

    #[tokio::test]
    async fn what_is_unknown_of_a_cluster() {
        let client = Client::new(std::sync::Arc::new(datastore::memory::MemoryStore::new()));
        let lines = |version: &str, kind: &str| {
            Ok(format!("Cluster Version:   {version}\nCluster Type:      {kind}\n"))
        };
        assert_eq!(cluster_lines(&client).await, lines("unknown", "unknown"));
        let known = datastore::Bootstrap { version: "v3.33.0".into(), cluster_type: "k8s,bgp".into() };
        client.ensure_initialized(known).await.expect("initialised");
        assert_eq!(cluster_lines(&client).await, lines("v3.33.0", "k8s,bgp"));
    }

    #[test]
    fn stamps() {
        let none = |_: &str| None;
        assert_eq!(stamp(Persona::Calicoctl, &none).version, CALICO_RELEASE);
        assert!(stamp(Persona::Ocicat, &none).version.starts_with("v0."));
        let set = |name: &str| (name == STAMP_VARIABLE).then(|| "v3.33.0-0.dev 87c15906f20c".to_owned());
        assert_eq!(
            stamp(Persona::Calicoctl, &set),
            Stamp { version: "v3.33.0-0.dev".into(), commit: "87c15906f20c".into() }
        );
        let empty = |name: &str| (name == STAMP_VARIABLE).then(String::new);
        assert_eq!(stamp(Persona::Calicoctl, &empty), own(""));
    }
}

//! `bgpd`: the BGP speaker as a program of its own.

use crate::cli::{BgpdArgs, Global};
use crate::io::Failure;
use crate::session;
use bgpd::{Config, RouterId};
use datastore::Datastore;
use datastore::directory::{DirectoryStore, FileProblem};
use kernel::{Namespaces, SystemNamespaces};
use observe::health::Health;
use observe::shutdown::Shutdown;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Runs the speaker until SIGTERM or SIGINT.
///
/// # Errors
/// Settings that cannot work; a socket or the kernel that cannot be opened.
pub async fn run(args: &BgpdArgs, global: &Global, env: session::Environment<'_>) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Message(format!("ocicat bgpd: {error}"));
    let node = node_name(args, env)?;
    let router_id = env(RouterId::VARIABLE).unwrap_or_default();
    let router_id = RouterId::parse(&router_id).map_err(|error| failed(&error))?;
    let (store, source, problems) = open_store(args, global, env).await?;
    let kernel = SystemNamespaces.current().map_err(|error| failed(&error))?;
    let shutdown = Shutdown::default();
    shutdown.on_signals().map_err(|error| failed(&error))?;
    let config = Config {
        node,
        store,
        source,
        // a node's agent has a place for it
        snapshot: None,
        problems,
        kernel,
        programs_kernel: !args.no_fib,
        socket: args.socket.clone(),
        router_id,
        secrets: args.secrets.clone(),
        endpoint_status: endpoint_status(env),
        health: Health::default(),
    };
    bgpd::run(config, shutdown).await.map_err(|error| failed(&error))
}

/// `--node`, or what Calico's programs ask.
fn node_name(args: &BgpdArgs, env: session::Environment<'_>) -> Result<String, Failure> {
    args.node.clone().or_else(|| session::node_name(env)).ok_or_else(|| {
        Failure::message("ocicat bgpd: which node is this? Give its name with --node, or in NODENAME")
    })
}

/// Where Felix puts the status files of endpoints (`felix.md` §8 of the contract).
pub fn endpoint_status(env: session::Environment<'_>) -> PathBuf {
    let prefix = env("CALICO_ENDPOINT_STATUS_PATH_PREFIX").filter(|path| !path.is_empty());
    PathBuf::from(prefix.unwrap_or_else(|| "/var/run/calico".to_owned())).join("endpoint-status")
}

/// What is wrong with a directory's files, as it changes.
type Problems = watch::Receiver<Vec<FileProblem>>;

async fn open_store(
    args: &BgpdArgs,
    global: &Global,
    env: session::Environment<'_>,
) -> Result<(Arc<dyn Datastore>, String, Option<Problems>), Failure> {
    if let Some(directory) = &args.resources {
        let store = DirectoryStore::open(directory)
            .await
            .map_err(|error| Failure::Message(format!("ocicat bgpd: --resources: {error}")))?;
        let problems = store.problems();
        return Ok((Arc::new(store), format!("directory {}", directory.display()), Some(problems)));
    }
    let client = session::connect(&args.config, global, env).map_err(session::OpenError::into_failure)?;
    Ok((Arc::clone(client.store()), "etcd".to_owned(), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_files_are_where_felix_puts_them() {
        assert_eq!(endpoint_status(&|_| None), PathBuf::from("/var/run/calico/endpoint-status"));
        let env = |name: &str| (name == "CALICO_ENDPOINT_STATUS_PATH_PREFIX").then(|| "/x".to_owned());
        assert_eq!(endpoint_status(&env), PathBuf::from("/x/endpoint-status"));
    }
}

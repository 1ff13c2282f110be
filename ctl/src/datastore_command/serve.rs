//! `datastore --data-dir`: the embedded store as a program of its own.

use crate::cli::StoreArgs;
use crate::io::Failure;
use etcd_lite::{Options, Server, Tls, Users};
use model::schema::scalar::parse_duration;
use observe::shutdown::Shutdown;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;

/// Where etcd listens too.
const DEFAULT_LISTEN: &str = "http://127.0.0.1:2379";
/// Shorter, and whoever pages through a list would lose its revision.
const SHORTEST_RETENTION: Duration = Duration::from_secs(1);

/// Serves the store until SIGTERM or SIGINT.
///
/// # Errors
/// Settings that cannot work; a directory that is in use or damaged; an address that is taken.
pub async fn serve(args: &StoreArgs) -> Result<(), Failure> {
    let data_dir = args.data_dir.clone().unwrap_or_default();
    let listen = args.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    let tls = tls(args)?;
    let address = address(listen, tls.is_some())?;
    let users = match &args.users {
        Some(file) => Some(
            Users::parse(&read(file)?)
                .map_err(|reason| failed(format!("--users {}: {reason}", file.display())))?,
        ),
        None => None,
    };
    let shutdown = Shutdown::default();
    shutdown.on_signals().map_err(failed)?;
    // bound before the store is read: whoever waits for the port waits for the answer then
    let listener =
        TcpListener::bind(&address).await.map_err(|error| failed(format!("--listen {listen}: {error}")))?;
    let retention = retention(&args.auto_compaction_retention)?;
    let options = Options { quota: args.quota, users, retention, ..Options::new(data_dir) };
    let server = Server::open(options).map_err(failed)?;
    tracing::info!(listen, "serving the datastore");
    let result = tokio::select! {
        result = server.serve(listener, listen, tls.as_ref()) => result.map_err(failed),
        () = shutdown.wait() => Ok(()),
    };
    server.stop();
    result
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Message(format!("ocicat datastore: {error}"))
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| failed(format!("{}: {error}", file.display())))
}

fn tls(args: &StoreArgs) -> Result<Option<Tls>, Failure> {
    let text = |file: &PathBuf| read(file);
    match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => Ok(Some(Tls {
            certificate: text(cert)?,
            key: text(key)?,
            client_ca: args.client_ca.as_ref().map(text).transpose()?,
        })),
        (None, None) if args.client_ca.is_none() => Ok(None),
        _ => Err(failed("--cert and --key belong together, and --client-ca needs them")),
    }
}

/// How long history is kept; `None` for ever.
fn retention(text: &str) -> Result<Option<Duration>, Failure> {
    let nanoseconds = parse_duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
    match nanoseconds.map(Duration::from_nanos) {
        Some(Duration::ZERO) => Ok(None),
        Some(time) if time >= SHORTEST_RETENTION => Ok(Some(time)),
        _ => Err(failed(format!(
            "--auto-compaction-retention {text}: expected a duration of a second or more, such as 5m or 1h30m, or 0 to keep \
             everything"
        ))),
    }
}

/// `host:port` of an URL.
fn address(listen: &str, secure: bool) -> Result<String, Failure> {
    let scheme = if secure { "https" } else { "http" };
    let refused = |reason: &str| failed(format!("--listen {listen}: {reason}; write {scheme}://HOST:PORT"));
    let rest = match listen.split_once("://") {
        Some((given, rest)) if given == scheme => rest,
        Some(("https", _)) => return Err(refused("https needs --cert and --key")),
        Some(("http", _)) => return Err(refused("with --cert it is served over https only")),
        _ => return Err(refused("is no URL of a server")),
    };
    let rest = rest.trim_end_matches('/');
    match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(rest.to_owned()),
        _ => Err(refused("has no host or port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_history_is_kept() {
        for (text, kept) in
            [("5m", Some(300)), ("1h30m", Some(5400)), ("1s", Some(1)), ("0", None), ("0s", None)]
        {
            assert_eq!(retention(text).expect("fine"), kept.map(Duration::from_secs), "{text}");
        }
        for text in ["", "5", "-5m", "500ms", "soon"] {
            let Err(Failure::Message(said)) = retention(text) else { panic!("{text} is taken") };
            assert!(said.contains("--auto-compaction-retention") && said.contains("5m"), "{said}");
        }
    }

    #[test]
    fn where_to_listen() {
        assert_eq!(address("http://127.0.0.1:2379", false).expect("fine"), "127.0.0.1:2379");
        assert_eq!(address("https://[::1]:2379/", true).expect("fine"), "[::1]:2379");
        for (url, secure, says) in [
            ("https://a:1", false, "needs --cert"),
            ("http://a:1", true, "https only"),
            ("127.0.0.1:2379", false, "no URL"),
            ("http://a", false, "no host or port"),
            ("http://:1", false, "no host or port"),
            ("http://a:99999", false, "no host or port"),
        ] {
            let Err(Failure::Message(text)) = address(url, secure) else { panic!("{url} is taken") };
            assert!(text.contains(says) && text.contains(url), "{text}");
        }
    }
}

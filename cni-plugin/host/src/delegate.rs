//! Another IPAM plugin, executed from `CNI_PATH` (`cni.md` §3 of the contract).

use crate::bounded::{self, within};
use cni_protocol::delegate as rules;
use cni_protocol::error::code;
use cni_protocol::handover::{Execute, Executed};
use cni_protocol::{CniError, CniResult, Command as Verb, Request, Version};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Who executes plugins: the process that was called by the runtime, never the agent.
pub trait Executor: Send + Sync {
    /// Executes a program to its end.
    fn execute(&self, program: Execute) -> BoxFuture<'_, Executed>;
}

/// This process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemExecutor;

impl Executor for SystemExecutor {
    fn execute(&self, program: Execute) -> BoxFuture<'_, Executed> {
        Box::pin(async move {
            spawn(&program)
                .await
                .unwrap_or_else(|error| Executed { ending: error.to_string(), ..Executed::default() })
        })
    }
}

/// A plugin, ready to be executed for one workload.
#[derive(Clone)]
pub(crate) struct Delegate {
    executor: Arc<dyn Executor>,
    name: String,
    file: PathBuf,
    stdin: Vec<u8>,
    variables: Vec<(String, String)>,
    version: Version,
}

/// The plugin's file in one of the directories of `CNI_PATH`.
///
/// # Errors
/// When there is none, or the name is none.
pub(crate) fn find(plugin: &str, path: &str) -> Result<PathBuf, CniError> {
    rules::check_name(plugin)?;
    rules::directories(path)
        .into_iter()
        .map(|directory| Path::new(directory).join(plugin))
        .find(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()))
        .ok_or_else(|| rules::not_found(plugin, path))
}

impl Delegate {
    /// The plugin that the request names, to be given `conf`, the configuration with the pod CIDRs put in.
    ///
    /// # Errors
    /// When it cannot be found.
    pub(crate) fn new(
        executor: &Arc<dyn Executor>,
        request: &Request,
        conf: &Map<String, Value>,
    ) -> Result<Self, CniError> {
        let name = request.conf.ipam.plugin.clone();
        let environment = &request.environment;
        let mut variables: Vec<(String, String)> = [
            ("CNI_CONTAINERID", &environment.container_id),
            ("CNI_NETNS", &environment.netns),
            ("CNI_IFNAME", &environment.ifname),
            ("CNI_ARGS", &environment.args),
            ("CNI_PATH", &environment.path),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into();
        variables
            .extend(request.conf.datastore.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Ok(Self {
            executor: Arc::clone(executor),
            file: find(&name, &environment.path)?,
            name,
            stdin: serde_json::to_vec(conf).unwrap_or_default(),
            variables,
            version: request.version,
        })
    }

    /// Has it give addresses. Where it fails it is told to take back what it did, as the CNI specification asks.
    ///
    /// # Errors
    /// Its own, with its code.
    pub(crate) async fn add(&self) -> Result<CniResult, CniError> {
        let result = match self.execute(Verb::Add).await {
            Ok(stdout) => CniResult::from_json(&stdout, self.version)
                .map_err(|error| CniError::internal(format!("IPAM plugin {}: {error}", self.name))),
            Err(error) => Err(error),
        };
        if result.is_err()
            && let Err(error) = self.del().await
        {
            tracing::warn!(plugin = self.name, %error, "IPAM plugin failed, and failed to clean up");
        }
        result
    }

    /// Has it take addresses back.
    ///
    /// # Errors
    /// Its own, with its code.
    pub(crate) async fn del(&self) -> Result<(), CniError> {
        self.execute(Verb::Del).await.map(drop)
    }

    /// Asks whether it could give addresses now.
    ///
    /// # Errors
    /// Its own, with its code.
    pub(crate) async fn status(&self) -> Result<(), CniError> {
        self.execute(Verb::Status).await.map(drop)
    }

    /// Hands it the list of what is still attached.
    ///
    /// # Errors
    /// Its own, with its code.
    pub(crate) async fn gc(&self) -> Result<(), CniError> {
        self.execute(Verb::Gc).await.map(drop)
    }

    async fn execute(&self, verb: Verb) -> Result<Vec<u8>, CniError> {
        let what = format!("IPAM plugin {}", self.file.display());
        let mut variables: std::collections::BTreeMap<_, _> = self.variables.iter().cloned().collect();
        variables.insert("CNI_COMMAND".to_owned(), verb.text().to_owned());
        let program = Execute {
            file: self.file.display().to_string(),
            variables,
            stdin: String::from_utf8_lossy(&self.stdin).into_owned(),
        };
        let executing = async { Ok(self.executor.execute(program).await) };
        let done = within(bounded::PLUGIN, &what, executing).await?;
        if done.good { Ok(done.stdout.into_bytes()) } else { Err(failure(&what, &done)) }
    }
}

async fn spawn(program: &Execute) -> std::io::Result<Executed> {
    let mut child = Command::new(&program.file)
        .envs(&program.variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that does not read its input has an error to tell.
        let _ = stdin.write_all(program.stdin.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    Ok(Executed {
        good: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        ending: output.status.to_string(),
    })
}

/// What a failed plugin says, with its code; what it says otherwise is quoted.
fn failure(what: &str, done: &Executed) -> CniError {
    let said: Option<Value> = serde_json::from_str(&done.stdout).ok();
    let text = |field: &str| said.as_ref().and_then(|said| said.get(field)).and_then(Value::as_str);
    match text("msg") {
        Some(msg) => {
            let number = said.as_ref().and_then(|said| said.get("code")).and_then(Value::as_u64);
            let number = number.and_then(|number| u32::try_from(number).ok()).unwrap_or(code::INTERNAL);
            CniError::new(number, msg).with_details(text("details").unwrap_or_default())
        }
        None => {
            let said: String = done.stdout.trim().chars().take(200).collect();
            CniError::internal(format!("{what} failed ({}): {said:?}", done.ending))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Plugin(tempfile::TempDir);

    impl Plugin {
        fn new(script: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("fake-ipam");
            fs::write(&file, format!("#!/bin/sh\ncd {}\n{script}\n", directory.path().display())).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            Self(directory)
        }

        fn delegate(&self) -> Delegate {
            let conf = json!({"name": "net-a", "mtu": 5, "etcd_endpoints": "http://a", "x": {"y": [1]}, "ipam": {"type": "fake-ipam"}});
            let mut request = request("ADD", conf);
            request.environment.path = format!("/nonexistent:{}", self.0.path().display());
            let raw = request.conf.raw().clone();
            Delegate::new(&(Arc::new(SystemExecutor) as Arc<dyn Executor>), &request, &raw).unwrap()
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
        }
    }

    #[tokio::test]
    async fn gets_everything_and_is_believed() {
        let plugin = Plugin::new(
            r#"cat > stdin; env > env; echo '{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.70.0.2/24"}]}'"#,
        );
        let result = plugin.delegate().add().await.unwrap();
        assert_eq!(result.ips[0].address.to_string(), "10.70.0.2/24");
        let stdin: Value = serde_json::from_str(&plugin.read("stdin")).unwrap();
        assert_eq!(stdin["x"]["y"][0], 1, "fields nobody knows go along");
        let env = plugin.read("env");
        for line in
            ["CNI_COMMAND=ADD", "CNI_IFNAME=eth0", "CNI_ARGS=IgnoreUnknown=1", "ETCD_ENDPOINTS=http://a"]
        {
            assert!(env.lines().any(|l| l == line), "{line} in {env}");
        }
    }

    #[tokio::test]
    async fn its_errors_keep_their_code_and_it_is_told_to_clean_up() {
        let plugin = Plugin::new(
            r#"echo $CNI_COMMAND >> calls; [ $CNI_COMMAND = DEL ] || { echo '{"code":11,"msg":"busy","details":"later"}'; exit 1; }"#,
        );
        let error = plugin.delegate().add().await.unwrap_err();
        assert_eq!((error.code, error.msg.as_str(), error.details.as_str()), (11, "busy", "later"));
        assert_eq!(plugin.read("calls"), "ADD\nDEL\n");
    }

    #[tokio::test]
    async fn rubbish_is_quoted() {
        let plugin = Plugin::new("echo hello; exit 3");
        let error = plugin.delegate().del().await.unwrap_err();
        assert_eq!(error.code, 999);
        assert!(error.msg.contains("fake-ipam failed (exit status: 3): \"hello\""), "{error}");
        let plugin = Plugin::new("echo hello");
        assert!(plugin.delegate().add().await.unwrap_err().msg.contains("result is not JSON"));
    }

    #[test]
    fn only_files_in_the_path_are_found() {
        let plugin = Plugin::new("");
        let directory = plugin.0.path().display().to_string();
        assert!(find("fake-ipam", &directory).is_ok());
        fs::create_dir(plugin.0.path().join("folder")).unwrap();
        assert!(find("folder", &directory).is_err());
        assert_eq!(find("", &directory).unwrap_err().msg, "no plugin name provided");
        assert_eq!(
            find("no-such-ipam", "/opt/cni/bin").unwrap_err().msg,
            r#"failed to find plugin "no-such-ipam" in path [/opt/cni/bin]"#
        );
    }
}

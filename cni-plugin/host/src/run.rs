//! One call of a plugin, from what the runtime gave to what it gets.

use crate::host::Host;
use crate::{add, agent, available, del, ipam_program, log, probe, upgrade};
use cni_protocol::request::{self, Call};
use cni_protocol::version::{VERSION_REPLY, Version};
use cni_protocol::{CniError, Program, Request};
use futures::FutureExt;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// What a plugin prints and ends with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// For standard output: a result or an error, as JSON.
    pub stdout: String,
    /// For standard error, besides the log.
    pub stderr: String,
    /// Exit code.
    pub exit: u8,
}

impl Output {
    fn said(stdout: impl Into<String>) -> Self {
        Self { stdout: stdout.into(), ..Self::default() }
    }

    fn failed(error: &CniError) -> Self {
        Self { stdout: error.to_json(), exit: 1, ..Self::default() }
    }
}

/// Carries out one call: `args` are the program's arguments, `stdin` is what it was given. Needs a tokio runtime with time
/// and I/O. A panic becomes an error, so that the runtime always gets an answer.
pub async fn run(program: Program, args: &[String], host: &Host, stdin: &[u8]) -> Output {
    match args {
        [] => {}
        [flag] if flag == "-v" || flag == "--v" => {
            return Output::said(concat!(env!("CARGO_PKG_VERSION"), "\n"));
        }
        [flag] if (flag == "-t" || flag == "--t") && program == Program::Calico => {
            return match probe::probe(host, stdin).await {
                Ok(()) => Output::default(),
                Err(error) => Output::failed(&error),
            };
        }
        [flag] if (flag == "-upgrade" || flag == "--upgrade") && program == Program::CalicoIpam => {
            return upgrade::upgrade(host)
                .map_or_else(|error| Output::failed(&error), |()| Output::default());
        }
        other => {
            let flags = if program == Program::Calico { "-v, -t" } else { "-v, -upgrade" };
            return Output::failed(&CniError::internal(format!(
                "unknown arguments {other:?}; known: {flags}"
            )));
        }
    }
    let get = |name: &str| host.variable(name);
    if get("CNI_COMMAND").is_none_or(|command| command.is_empty()) {
        return Output { stderr: about(program), ..Output::default() };
    }
    let call = match request::read(&get, stdin) {
        Ok(call) => call,
        Err(error) => return Output::failed(&error),
    };
    match call {
        Call::Version => Output::said(VERSION_REPLY),
        Call::Check(request) => {
            let (Program::Calico, Some(agent)) = (program, &host.agent) else {
                return Output::said(if program == Program::Calico { "OK\n" } else { "" });
            };
            let request = match request {
                Ok(request) => request,
                Err(error) => return Output::failed(&error),
            };
            let result = logged(host, "CHECK", &request, agent::check::check(host, agent, &request));
            result.await.map_or_else(|error| Output::failed(&error), |()| Output::said("OK\n"))
        }
        Call::Status(request) => {
            let result = logged(host, "STATUS", &request, available::status(host, &request));
            ended(result.await)
        }
        // Nothing is recorded where there is no agent, nor of addresses alone.
        Call::Gc(request) => match (program, &host.agent) {
            (Program::Calico, Some(agent)) => {
                ended(logged(host, "GC", &request, agent::gc::gc(host, agent, &request)).await)
            }
            _ => Output::default(),
        },
        Call::Add(request) => {
            let result = logged(host, "ADD", &request, async {
                // boxed: what a call keeps is large, and whoever carries several has it on its stack
                let result = match (program, &host.agent) {
                    (Program::Calico, Some(agent)) => {
                        Box::pin(agent::add::add(host, agent, &request)).await?
                    }
                    (Program::Calico, None) => Box::pin(add::add(host, &request)).await?,
                    (Program::CalicoIpam, Some(agent)) => {
                        agent::add::paid(host, agent, &request, ipam_program::add(host, &request)).await?
                    }
                    (Program::CalicoIpam, None) => ipam_program::add(host, &request).await?,
                };
                Ok(result.to_json(request.version))
            });
            result.await.map_or_else(|error| Output::failed(&error), Output::said)
        }
        Call::Del(request) => {
            let result = logged(host, "DEL", &request, async {
                match (program, &host.agent) {
                    (Program::Calico, Some(agent)) => Box::pin(agent::del::del(host, agent, &request)).await,
                    (Program::Calico, None) => del::del(host, &request).await,
                    (Program::CalicoIpam, Some(agent)) => {
                        agent::add::paid(host, agent, &request, ipam_program::del(host, &request)).await
                    }
                    (Program::CalicoIpam, None) => ipam_program::del(host, &request).await,
                }
            });
            ended(result.await)
        }
    }
}

fn ended(result: Result<(), CniError>) -> Output {
    result.map_or_else(|error| Output::failed(&error), |()| Output::default())
}

/// What a person sees who starts the plugin by hand, as the CNI library has it.
fn about(program: Program) -> String {
    format!(
        "Calico CNI plugin {} of Ocicat {}: to be executed by a container runtime\nCNI protocol versions supported: {}\n",
        program.name(),
        env!("CARGO_PKG_VERSION"),
        Version::texts().join(", ")
    )
}

/// Sets the log up, runs the verb, and logs how it went.
async fn logged<T>(
    host: &Host,
    verb: &str,
    request: &Request,
    work: impl Future<Output = Result<T, CniError>>,
) -> Result<T, CniError> {
    if host.own_log {
        log::init(&request.conf.log);
    }
    let environment = &request.environment;
    let (container, interface) = (environment.container_id.as_str(), environment.ifname.as_str());
    tracing::info!(verb, container, interface, network = request.conf.name, "called");
    let start = Instant::now();
    let result = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            Err(CniError::internal(format!("Calico CNI panicked during {verb}: {}", said(&*panic))))
        }
    };
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &result {
        Ok(_) => tracing::info!(verb, container, interface, milliseconds, "done"),
        Err(error) => tracing::error!(verb, container, interface, milliseconds, %error, "failed"),
    }
    result
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

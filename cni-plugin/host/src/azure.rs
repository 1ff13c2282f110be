//! The IPAM plugin `azure-vnet-ipam` has to be told what it gave before: the subnet on every ADD but the first, subnet and
//! address on DEL. They are kept in files, in Calico's layout (`cni.md` §3 of the contract):
//!
//! ```text
//! <directory>/<network>/network.json              {"Name":"net","Subnets":["10.1.0.0/16"]}
//! <directory>/<network>/<container>-<interface>   {"Network":"net","ContainerID":"…","Interface":"eth0","Addresses":["10.1.0.4"]}
//! ```

use crate::delegate::{Delegate, Executor};
use crate::host::Host;
use cni_protocol::{CniError, CniResult, Request};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The plugin that all of this is for.
pub(crate) const AZURE_IPAM: &str = "azure-vnet-ipam";
/// Where Calico keeps the files.
pub(crate) const NETWORKS: &str = "/var/run/calico/azure/networks";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    name: String,
    subnets: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    network: String,
    #[serde(rename = "ContainerID")]
    container_id: String,
    interface: String,
    addresses: Vec<String>,
}

/// The plugin, and the files of one workload.
#[derive(Clone)]
pub(crate) struct Azure {
    executor: Arc<dyn Executor>,
    request: Request,
    network: PathBuf,
    endpoint: PathBuf,
}

impl Azure {
    /// For the workload of this request.
    pub(crate) fn new(host: &Host, request: &Request) -> Self {
        let directory = &host.azure_networks;
        let environment = &request.environment;
        // A network's name begins with a letter or digit and has no slash: it is one directory below.
        let directory = directory.join(&request.conf.name);
        Self {
            executor: Arc::clone(&host.executor),
            request: request.clone(),
            network: directory.join("network.json"),
            endpoint: directory.join(format!("{}-{}", environment.container_id, environment.ifname)),
        }
    }

    /// Has the plugin give addresses, and remembers them.
    ///
    /// # Errors
    /// Its own, or a file's; then nothing is left of the addresses that this call could still take back.
    pub(crate) async fn add(&self) -> Result<CniResult, CniError> {
        let network: Network = load(&self.network)?;
        let plugin = self.plugin(&[("subnet", network.subnets.first())])?;
        let given = plugin.add().await?;
        if let Err(error) = self.remember(&given) {
            if let Err(error) = plugin.del().await {
                tracing::warn!(%error, "{AZURE_IPAM} does not take its addresses back");
            }
            return Err(error);
        }
        Ok(given)
    }

    /// Has the plugin take back what is remembered. Nothing remembered is nothing to do.
    ///
    /// # Errors
    /// Its own, or a file's; what is remembered stays.
    pub(crate) async fn del(&self) -> Result<(), CniError> {
        let endpoint: Endpoint = load(&self.endpoint)?;
        let Some(address) = endpoint.addresses.first() else { return Ok(()) };
        let network: Network = load(&self.network)?;
        // The plugin takes an address without a length.
        let address = address.split('/').next().unwrap_or_default().to_owned();
        let plugin = match network.subnets.first() {
            Some(subnet) => self.plugin(&[("ipAddress", Some(&address)), ("subnet", Some(subnet))])?,
            None => self.plugin(&[])?,
        };
        plugin.del().await?;
        fs::remove_file(&self.endpoint).map_err(|error| failed("remove", &self.endpoint, &error))
    }

    /// The plugin with these fields in its `ipam` section.
    fn plugin(&self, fields: &[(&str, Option<&String>)]) -> Result<Delegate, CniError> {
        let mut document = self.request.conf.raw().clone();
        if let Some(Value::Object(ipam)) = document.get_mut("ipam") {
            for (name, value) in fields {
                if let Some(value) = value {
                    ipam.insert((*name).to_owned(), Value::from(value.as_str()));
                }
            }
        }
        Delegate::new(&self.executor, &self.request, &document)
    }

    fn remember(&self, given: &CniResult) -> Result<(), CniError> {
        let Some(first) = given.ips.first() else { return Ok(()) };
        let name = self.request.conf.name.clone();
        let subnet = model::net::Cidr::new(first.address.addr, first.address.prefix)
            .ok_or_else(|| CniError::internal(format!("{AZURE_IPAM} gave {}", first.address)))?;
        let environment = &self.request.environment;
        let endpoint = Endpoint {
            network: name.clone(),
            container_id: environment.container_id.clone(),
            interface: environment.ifname.clone(),
            addresses: given.ips.iter().map(|ip| ip.address.addr.to_string()).collect(),
        };
        store(&self.network, &Network { name, subnets: vec![subnet.to_string()] })?;
        store(&self.endpoint, &endpoint)
    }
}

/// What a file holds; the default where there is none.
fn load<T: DeserializeOwned + Default>(path: &Path) -> Result<T, CniError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(failed("read", path, &error)),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        CniError::internal(format!("{}: {error}; remove the file if it cannot be mended", path.display()))
    })
}

/// Writes a file, whole or not at all.
fn store(path: &Path, value: &impl Serialize) -> Result<(), CniError> {
    let write = || -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        // Of several at once each has its own.
        let part = path.with_file_name(format!(".{}.part", std::process::id()));
        fs::write(&part, serde_json::to_vec(value)?)?;
        fs::rename(part, path)
    };
    write().map_err(|error| failed("write", path, &error))
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> CniError {
    CniError::internal(format!("cannot {verb} {}: {error}", path.display()))
}

//! The address manager's settings.

use super::{to_bytes, unreadable};
use crate::key::Key;
use crate::resource::StoredError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whether a virtual machine keeps its addresses over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum VmAddressPersistence {
    /// It does.
    #[default]
    Enabled,
    /// It does not.
    Disabled,
}

/// Value of `/calico/ipam/v2/config`.
///
/// `default()` is what holds while the key does not exist. In an existing object a missing field means false or
/// zero, also for `auto_allocate_blocks`; only missing persistence means enabled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IpamConfig {
    /// No host may take an address from another's block.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strict_affinity: bool,
    /// A host whose blocks are full may claim another.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_allocate_blocks: bool,
    /// Blocks one host may have; zero and less mean "not set here".
    #[serde(default, rename = "maxBlocksPerHost", skip_serializing_if = "is_zero")]
    pub max_blocks_per_host: i64,
    /// Addresses of virtual machines.
    #[serde(default, rename = "kubeVirtVMAddressPersistence")]
    pub vm_address_persistence: VmAddressPersistence,
    /// Seconds a released address stays unusable.
    #[serde(default, rename = "ipCooldownSeconds", skip_serializing_if = "is_zero")]
    pub ip_cooldown_seconds: i64,
    /// Fields we do not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Default for IpamConfig {
    fn default() -> Self {
        Self {
            strict_affinity: false,
            auto_allocate_blocks: true,
            max_blocks_per_host: 0,
            vm_address_persistence: VmAddressPersistence::Enabled,
            ip_cooldown_seconds: 0,
            rest: Map::new(),
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl IpamConfig {
    /// Reads a stored value.
    pub fn decode(value: &[u8]) -> Result<Self, StoredError> {
        serde_json::from_slice(value).map_err(|e| unreadable(&Key::IpamConfig, &e))
    }

    /// The value to store.
    pub fn encode(&self) -> Vec<u8> {
        to_bytes(self)
    }
}

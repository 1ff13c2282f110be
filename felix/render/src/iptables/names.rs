//! Names of chains and sets (`felix.md` §4, §7 of the contract).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use felix_calc::policy::PolicyKey;
use model::net::Family;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Longest name of a chain (`XT_EXTENSION_MAXNAMELEN`, its terminating zero apart).
const CHAIN_MAX: usize = 28;
/// Longest name of an IP set (`IPSET_MAXNAMELEN`, its terminating zero apart).
const SET_MAX: usize = 31;

/// To a workload.
pub const TO_WORKLOAD: &str = "cali-tw-";
/// From a workload.
pub const FROM_WORKLOAD: &str = "cali-fw-";
/// From the host by a host endpoint.
pub const TO_HOST_ENDPOINT: &str = "cali-th-";
/// To the host by a host endpoint.
pub const FROM_HOST_ENDPOINT: &str = "cali-fh-";
/// Forwarded, out by a host endpoint.
pub const TO_HOST_ENDPOINT_FORWARDED: &str = "cali-thfw-";
/// Forwarded, in by a host endpoint.
pub const FROM_HOST_ENDPOINT_FORWARDED: &str = "cali-fhfw-";
/// Ingress rules of a policy.
pub const POLICY_IN: &str = "cali-pi-";
/// Egress rules of a policy.
pub const POLICY_OUT: &str = "cali-po-";
/// Ingress rules of a profile.
pub const PROFILE_IN: &str = "cali-pri-";
/// Egress rules of a profile.
pub const PROFILE_OUT: &str = "cali-pro-";
/// Ingress policies of a group.
pub const GROUP_IN: &str = "cali-gi-";
/// Egress policies of a group.
pub const GROUP_OUT: &str = "cali-go-";

/// Where packets from workloads find their chain.
pub const FROM_WORKLOADS: &str = "cali-from-wl-dispatch";
/// Where packets to workloads find their chain.
pub const TO_WORKLOADS: &str = "cali-to-wl-dispatch";
/// Where packets find the chain of the host endpoint by which they come.
pub const FROM_HOST_ENDPOINTS: &str = "cali-from-host-endpoint";
/// Where packets find the chain of the host endpoint by which they leave.
pub const TO_HOST_ENDPOINTS: &str = "cali-to-host-endpoint";
/// The same for what is forwarded.
pub const FROM_HOST_ENDPOINTS_FORWARDED: &str = "cali-from-hep-forward";
/// The same for what is forwarded.
pub const TO_HOST_ENDPOINTS_FORWARDED: &str = "cali-to-hep-forward";
/// Ports of the host that no policy closes.
pub const FAILSAFE_IN: &str = "cali-failsafe-in";
/// Ports of others that no policy closes.
pub const FAILSAFE_OUT: &str = "cali-failsafe-out";

/// A chain's name: readable where it fits, else a hash.
pub fn chain(prefix: &str, suffix: &str) -> Arc<str> {
    let length = prefix.len() + suffix.len();
    // what looks like a hash is one
    let fits = length < CHAIN_MAX || (length == CHAIN_MAX && !suffix.starts_with('_'));
    let fits = fits && is_word(suffix);
    match suffix {
        "" => format!("{prefix}_").into(),
        _ if fits => format!("{prefix}{suffix}").into(),
        _ => {
            let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(suffix));
            let room = CHAIN_MAX.saturating_sub(prefix.len() + 1);
            format!("{prefix}_{}", hash.get(..room).unwrap_or(&hash)).into()
        }
    }
}

/// Whether the tools read it as one word. Stored names are other words only where somebody went around validation.
pub fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'))
}

/// A policy as names of chains call it.
pub fn policy(key: &PolicyKey) -> String {
    let kind = key.kind.short_name();
    match key.namespace.as_str() {
        "" => format!("{kind}/{}", key.name),
        namespace => format!("{kind}/{namespace}/{}", key.name),
    }
}

/// The main name of an IP set.
pub fn set(id: &str, family: Family) -> Arc<str> {
    let name = format!("cali{}0{id}", family.number());
    let end = (0..=SET_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or(&name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_recorded_ones() {
        assert_eq!(&*chain(TO_WORKLOAD, "caliweb1"), "cali-tw-caliweb1");
        assert_eq!(&*chain(FROM_HOST_ENDPOINT, "any-interface-at-all"), "cali-fh-any-interface-at-all");
        let forwarded = chain(FROM_HOST_ENDPOINT_FORWARDED, "any-interface-at-all");
        assert_eq!(&*forwarded, "cali-fhfw-_Nqh4HyA73udmyanQI");
        assert_eq!(&*chain(PROFILE_IN, ""), "cali-pri-_");
        let full = "_2345678901234567890";
        assert_ne!(&*chain(POLICY_IN, full), format!("{POLICY_IN}{full}"));
        assert_eq!(chain(POLICY_IN, full).len(), CHAIN_MAX);
        assert_eq!(&*chain(POLICY_IN, "12345678901234567890"), "cali-pi-12345678901234567890");
        for odd in ["a b", "a\"b", "a\nb", "ä"] {
            assert!(
                chain(POLICY_IN, odd).starts_with("cali-pi-_") && chain(POLICY_IN, odd).len() == CHAIN_MAX
            );
        }
        assert_eq!(&*set("s:cttW8MqAIeVWez-m8dwR9b3xyz", Family::V4), "cali40s:cttW8MqAIeVWez-m8dwR9b3");
        assert_eq!(&*set("network-ip-pools", Family::V6), "cali60network-ip-pools");
    }
}

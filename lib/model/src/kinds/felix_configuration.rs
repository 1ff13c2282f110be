//! FelixConfiguration. Source: `resources.md` §3 of the contract.

mod checks;
mod ebpf;
mod patterns;
mod routing;
mod table;

use super::is_set;
use crate::admission::Operation;
use crate::error::ValidationError;
use crate::kind::Kind;
use crate::resource::Resource;
use crate::schema::KindSchema;
use serde_json::json;

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    cel: Some(checks::whole),
    prepare: Some(prepare),
    ..KindSchema::new(Kind::FelixConfiguration, &table::SPEC)
};

/// The fields of a spec that set a parameter of the agent; all but `nodeSelector`.
pub(crate) fn fields() -> &'static [crate::schema::Field] {
    table::SPEC.fields
}

/// What Calico's client fills in, on every name; the deprecated flag speaks for the two settings that replaced it.
fn prepare(resource: &mut Resource, _: Operation<'_>) -> Result<(), ValidationError> {
    let spec = resource.spec_mut();
    let mut default = |field: &str, value: &str| {
        spec.entry(field.to_owned()).or_insert_with(|| json!(value));
    };
    default("floatingIPs", "Disabled");
    default("bpfConnectTimeLoadBalancing", "TCP");
    default("bpfHostNetworkedNATWithoutCTLB", "Enabled");
    if spec.contains_key("bpfConnectTimeLoadBalancingEnabled") {
        let mode = if is_set(spec, "bpfConnectTimeLoadBalancingEnabled") { "Enabled" } else { "Disabled" };
        spec.insert("bpfConnectTimeLoadBalancing".to_owned(), json!(mode));
        spec.insert("bpfHostNetworkedNATWithoutCTLB".to_owned(), json!("Disabled"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

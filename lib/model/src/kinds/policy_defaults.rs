//! What Calico's client fills in when a policy is written. Source: `resources.md` §1.2–§1.4 of the contract.

use super::{items_of, text_of};
use crate::admission::Operation;
use crate::error::ValidationError;
use crate::resource::Resource;
use serde_json::json;

/// Label that carries a policy's tier.
pub const TIER_LABEL: &str = "projectcalico.org/tier";
/// Tier of policies that name none.
pub const DEFAULT_TIER: &str = "default";

/// Directions and tier label of a policy.
pub(super) fn fill(resource: &mut Resource, _: Operation<'_>) -> Result<(), ValidationError> {
    fill_types(resource);
    let tier = match text_of(resource.spec_mut(), "tier") {
        "" => DEFAULT_TIER.to_owned(),
        tier => tier.to_owned(),
    };
    resource.set_meta_entry("labels", TIER_LABEL, &tier);
    Ok(())
}

/// As for a policy, but a staged deletion has no directions, not even given ones.
pub(super) fn fill_staged(resource: &mut Resource, operation: Operation<'_>) -> Result<(), ValidationError> {
    fill(resource, operation)?;
    if text_of(resource.spec_mut(), "stagedAction") == "Delete" {
        resource.spec_mut().shift_remove("types");
    }
    Ok(())
}

/// A policy without directions has those it has rules for, and ingress when it has none.
fn fill_types(resource: &mut Resource) {
    let spec = resource.spec_mut();
    let has = |field: &str| items_of(spec, field).next().is_some();
    if has("types") {
        return;
    }
    let types = match (has("ingress"), has("egress")) {
        (_, false) => json!(["Ingress"]),
        (false, true) => json!(["Egress"]),
        (true, true) => json!(["Ingress", "Egress"]),
    };
    spec.insert("types".to_owned(), types);
}

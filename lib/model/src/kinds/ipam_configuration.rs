//! IPAMConfiguration as a resource. Source: `resources.md` §1.13 of the contract.

use crate::error::FieldError;
use crate::kind::Kind;
use crate::schema::field::{flag, int32, text};
use crate::schema::{Check, Context, KindSchema, Object, Path};
use serde_json::{Map, Value};

static SPEC: Object = Object::new(&[
    flag("strictAffinity").always(),
    int32("maxBlocksPerHost").check(Check::Min(0)).check(Check::Max(1_000_000)),
    flag("autoAllocateBlocks").always(),
    text("kubeVirtVMAddressPersistence").pointer().check(Check::Enum(&["Enabled", "Disabled"])),
    int32("ipCooldownSeconds").check(Check::Min(0)).check(Check::Max(1200)),
])
.rule(rule);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    finish: Some(|resource, _| super::only_default(resource, "an IPAMConfiguration")),
    ..KindSchema::new(Kind::IPAMConfiguration, &SPEC)
};

fn rule(_: &Context<'_>, spec: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    if let Some(number) = spec.get("maxBlocksPerHost").and_then(Value::as_i64).filter(|number| *number < 0) {
        out.push(FieldError::new(
            "MaxBlocksPerHost",
            number.to_string(),
            "must be greater than or equal to 0",
        ));
    }
}

//! ICMP types and codes. Source: `resources.md` §1.1 of the contract.

use crate::error::FieldError;
use crate::schema::field::int;
use crate::schema::{Check, Context, Object, Path, tags};
use serde_json::{Map, Value};

/// `icmp` and `notICMP` of a rule.
pub(super) static ICMP: Object = Object::new(&[
    int("type")
        .pointer()
        .tag(tags::at_least::<0>())
        .tag(tags::at_most::<254>())
        .check(Check::Min(0))
        .check(Check::Max(254)),
    int("code")
        .pointer()
        .tag(tags::at_least::<0>())
        .tag(tags::at_most::<255>())
        .check(Check::Min(0))
        .check(Check::Max(255)),
])
.cel(cel);

fn cel(_: &Context<'_>, icmp: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    if icmp.contains_key("code") && !icmp.contains_key("type") {
        out.push(FieldError::at(path.to_string(), "ICMP code specified without an ICMP type"));
    }
}

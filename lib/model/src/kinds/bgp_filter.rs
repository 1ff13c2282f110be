//! BGPFilter. Source: `resources.md` §1.17 of the contract.

use super::{community, text_of};
use crate::error::FieldError;
use crate::kind::Kind;
use crate::schema::field::{TEXT, int32, list, object, text};
use crate::schema::text::is_interface_pattern;
use crate::schema::{Check, Context, Field, KindSchema, Object, Path, Tag, Type, tags};
use serde_json::{Map, Value};

const COMMUNITY: Check = Check::Pattern(community::PATTERN, community::has_form);

static COMMUNITIES: Object = Object::new(&[list("values", COMMUNITY_VALUE)
    .always()
    .check(Check::MinItems(1))
    .check(Check::MaxItems(1))]);

static ADD_COMMUNITY: Object = Object::new(&[text("value").always().check(COMMUNITY)]);
static PREPEND: Object =
    Object::new(&[list("prefix", AS_NUMBER).always().check(Check::MinItems(1)).check(Check::MaxItems(10))]);
static SET_PRIORITY: Object = Object::new(&[priority("value").always()]);

static OPERATION: Object = Object::new(&[
    object("addCommunity", &ADD_COMMUNITY).pointer(),
    object("prependASPath", &PREPEND).pointer(),
    object("setPriority", &SET_PRIORITY).pointer(),
]);

const COMMUNITY_VALUE: &Field = &TEXT.check(COMMUNITY);
const AS_NUMBER: &Field = &Field::item(Type::AsNumber).check(Check::Int32);
const OPERATIONS: &Field =
    &Field::item(Type::Object(&OPERATION)).check(Check::MinProperties(1)).check(Check::MaxProperties(1));
const INTERFACE: Tag = Tag::new("bgpFilterInterface", |value| tags::on_text(value, is_interface_pattern));

const fn priority(name: &'static str) -> Field {
    int32(name).check(Check::Min(1)).check(Check::Max(2_147_483_646))
}

/// Lengths of prefixes of a family.
const fn lengths(tag: Tag, bits: i64) -> [Field; 2] {
    [
        int32("min").pointer().tag(tag).check(Check::Min(0)).check(Check::Max(bits)),
        int32("max").pointer().tag(tag).check(Check::Min(0)).check(Check::Max(bits)),
    ]
}

const LENGTH_V4: Tag =
    Tag::new("bgpFilterPrefixLengthV4", |value| value.as_i64().is_some_and(|n| (0..=32).contains(&n)));
const LENGTH_V6: Tag =
    Tag::new("bgpFilterPrefixLengthV6", |value| value.as_i64().is_some_and(|n| (0..=128).contains(&n)));

static LENGTHS_V4: Object = Object::new(&lengths(LENGTH_V4, 32));
static LENGTHS_V6: Object = Object::new(&lengths(LENGTH_V6, 128));

/// The fields of a rule, which differ between the families in what a prefix is.
const fn rule_fields(net: Tag, lengths: &'static Object) -> [Field; 11] {
    [
        text("cidr").go("CIDR").tag(net),
        object("prefixLength", lengths).pointer(),
        text("source").check(Check::Enum(&["RemotePeers"])),
        text("interface").tag(INTERFACE),
        text("matchOperator").check(Check::Enum(&["Equal", "NotEqual", "In", "NotIn"])),
        text("peerType").check(Check::Enum(&["eBGP", "iBGP"])),
        object("communities", &COMMUNITIES).pointer(),
        list("asPathPrefix", AS_NUMBER),
        priority("priority").pointer(),
        text("action").always().tag(Tag::REQUIRED).check(Check::Enum(&["Accept", "Reject"])),
        list("operations", OPERATIONS).check(Check::MinItems(1)).check(Check::MaxItems(10)),
    ]
}

static RULE_V4: Object = Object::new(&rule_fields(tags::NET_V4, &LENGTHS_V4)).cel(rule_cel);
static RULE_V6: Object = Object::new(&rule_fields(tags::NET_V6, &LENGTHS_V6)).cel(rule_cel);

const RULES_V4: &Field = &Field::item(Type::Object(&RULE_V4));
const RULES_V6: &Field = &Field::item(Type::Object(&RULE_V6));

static SPEC: Object = Object::new(&[
    list("exportV4", RULES_V4),
    list("importV4", RULES_V4),
    list("exportV6", RULES_V6),
    list("importV6", RULES_V6),
]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema::new(Kind::BGPFilter, &SPEC);

fn rule_cel(_: &Context<'_>, rule: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let given = |field: &str| !text_of(rule, field).is_empty();
    let rules = [
        (given("cidr") != given("matchOperator"), "cidr and matchOperator must both be set or both be empty"),
        (rule.contains_key("prefixLength") && !given("cidr"), "prefixLength requires cidr to be set"),
        (
            rule.contains_key("operations") && text_of(rule, "action") != "Accept",
            "operations may only be used with action Accept",
        ),
    ];
    out.extend(
        rules.iter().filter(|(broken, _)| *broken).map(|(_, text)| FieldError::at(path.to_string(), *text)),
    );
}

#[cfg(test)]
mod tests;

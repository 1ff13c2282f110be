//! What absence becomes on write, as the tables say.

use super::field::{Default, Object, Type};
use super::kind::KindSchema;
use crate::resource::Resource;
use serde_json::{Map, Value};

/// Fills in the table's defaults; the order of fields is restored by the next [`super::normalise`].
pub(crate) fn apply(schema: &KindSchema, resource: &mut Resource) {
    if let Some(spec) = schema.spec {
        fill(spec, resource.spec_mut());
    }
}

fn fill(object: &'static Object, fields: &mut Map<String, Value>) {
    for field in object.fields {
        if matches!(fields.get(field.name), None | Some(Value::Null))
            && let Some(default) = value(field.default)
        {
            fields.insert(field.name.to_owned(), default);
        }
        match (field.ty, fields.get_mut(field.name)) {
            (Type::Object(object), Some(Value::Object(nested))) => fill(object, nested),
            (Type::List(item), Some(Value::Array(items))) => {
                if let Type::Object(object) = item.ty {
                    items.iter_mut().filter_map(Value::as_object_mut).for_each(|nested| fill(object, nested));
                }
            }
            _ => {}
        }
    }
}

fn value(default: Default) -> Option<Value> {
    match default {
        Default::None => None,
        Default::Text(text) => Some(text.into()),
        Default::Texts(texts) => Some(texts.iter().copied().map(Value::from).collect()),
    }
}

//! The configuration for people.

use crate::proto::{Param, ParamsResponse};
use felix_config::{Configuration, is_acted_on};

/// Every parameter with its value and origin, and what is wrong.
pub fn describe(configuration: &Configuration) -> ParamsResponse {
    let param = |value: &felix_config::Value| {
        let parameter = value.row.parameter;
        Param {
            name: value.row.name.clone(),
            field: value.row.field.unwrap_or_default().to_owned(),
            r#type: parameter.syntax.describe(),
            default: parameter.default.to_owned(),
            local: parameter.local,
            acted_on: is_acted_on(&value.row.name),
            value: value.text.clone(),
            origin: value.origin.to_string(),
            doc: parameter.doc.to_owned(),
        }
    };
    ParamsResponse {
        params: configuration.values.iter().map(param).collect(),
        problems: configuration.problems.iter().map(ToString::to_string).collect(),
    }
}

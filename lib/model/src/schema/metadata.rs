//! Metadata every resource has, and what is checked in it. Source: `resources.md` §0.2 of the contract.

use super::field::{Context, Field, Object, TEXT, Type, int, list, text, text_map};
use super::text::{is_dns_label_text, is_name_part, is_subdomain};
use crate::error::FieldError;

/// Kubernetes' ObjectMeta.
pub static METADATA: Object = Object::new(&[
    text("name"),
    text("generateName"),
    text("namespace"),
    text("selfLink"),
    text("uid"),
    text("resourceVersion"),
    int("generation"),
    text("creationTimestamp"),
    text("deletionTimestamp"),
    int("deletionGracePeriodSeconds").pointer(),
    text_map("labels"),
    text_map("annotations"),
    Field::new("ownerReferences", Type::Any),
    list("finalizers", TEXT),
    Field::new("managedFields", Type::Any),
]);

/// What Calico says about a name that is no DNS subdomain.
pub const SUBDOMAIN_TEXT: &str = "name must consist of lower case alphanumeric characters, '-' or '.' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)";

/// What Calico says about a name that is no DNS label.
pub const LABEL_TEXT: &str =
    "name must consist of lower case alphanumeric characters or '-' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?)";

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Name, labels and annotations.
pub fn check(context: &Context<'_>, out: &mut Vec<FieldError>) {
    let resource = context.resource;
    let name = resource.name();
    if name.len() > MAX_NAME {
        let reason = format!("name is too long by {} bytes", name.len() - MAX_NAME);
        out.push(FieldError::new("Metadata.Name", name, reason));
    }
    if !name.split('.').all(is_dns_label_text) {
        out.push(FieldError::new("Metadata.Name", name, SUBDOMAIN_TEXT));
    }
    check_labels(context, out);
    check_annotations(context, out);
}

/// Keys and values of labels. Calico runs this twice on kinds whose own validator repeats it.
pub fn check_labels(context: &Context<'_>, out: &mut Vec<FieldError>) {
    for (key, value) in context.resource.labels() {
        qualified_name(key, |reason| out.push(FieldError::new("Metadata.Labels (label)", key, reason)));
        if value.len() > MAX_LABEL {
            out.push(FieldError::new("Metadata.Labels (value)", value, too_long(MAX_LABEL)));
        }
        if !value.is_empty() && !is_name_part(value) {
            let reason = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
            out.push(FieldError::new("Metadata.Labels (value)", value, reason));
        }
    }
}

/// Keys of annotations, and their total size.
pub fn check_annotations(context: &Context<'_>, out: &mut Vec<FieldError>) {
    check_annotation_map(context.resource.annotations(), out);
}

/// Keys of annotations wherever they stand, and their total size.
pub fn check_annotation_map<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
    out: &mut Vec<FieldError>,
) {
    let mut size = 0;
    for (key, value) in annotations {
        size += key.len() + value.len();
        let lower = key.to_ascii_lowercase();
        qualified_name(&lower, |reason| out.push(FieldError::new("Metadata.Annotations (key)", key, reason)));
    }
    if size > MAX_ANNOTATIONS {
        let reason = format!("total size of annotations is too large by {} bytes", size - MAX_ANNOTATIONS);
        out.push(FieldError::at("Metadata.Annotations (key)", reason));
    }
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// Whether a key is a qualified name.
pub fn is_qualified_name(key: &str) -> bool {
    let mut good = true;
    qualified_name(key, |_| good = false);
    good
}

/// Whether a value may be a label's.
pub fn is_label_value(value: &str) -> bool {
    value.len() <= MAX_LABEL && (value.is_empty() || is_name_part(value))
}

/// Kubernetes' qualified name: `[dns-subdomain/]name`.
fn qualified_name(key: &str, mut report: impl FnMut(String)) {
    let part = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let name = match key.split_once('/') {
        None => key,
        Some((_, name)) if name.contains('/') => {
            report(format!(
                "a qualified name {part} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return;
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                report("prefix part must be non-empty".to_owned());
            } else if !is_subdomain(prefix) {
                report("prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".to_owned());
            }
            name
        }
    };
    if name.is_empty() {
        report("name part must be non-empty".to_owned());
    } else if name.len() > MAX_LABEL {
        report(format!("name part {}", too_long(MAX_LABEL)));
    }
    if !is_name_part(name) {
        report(format!("name part {part}"));
    }
}

#[cfg(test)]
mod tests;

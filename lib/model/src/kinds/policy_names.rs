//! Names of policies and tiers. Source: `resources.md` §0.2 of the contract.

use crate::error::FieldError;
use crate::resource::Resource;
use crate::schema::metadata::LABEL_TEXT;
use crate::schema::text::is_dns_label_text as is_label;

/// Longest name of an object.
const LONGEST_NAME: usize = 253;
/// Longest name that fits in a label's value, as a tier's must.
const LONGEST_LABEL: usize = 63;

/// Checks the name of a namespaced policy: one or two labels, or a name mirrored from Kubernetes.
pub(super) fn check_namespaced(resource: &Resource, out: &mut Vec<FieldError>) {
    let mirrored = ["knp.default.", "ossg.default."]
        .iter()
        .filter_map(|prefix| resource.name().strip_prefix(prefix))
        .any(|rest| rest.split('.').all(is_label));
    check_name(resource, LONGEST_NAME, mirrored || is_one_or_two_labels(resource.name()), out);
}

/// Checks the name of a global policy: one or two labels.
pub(super) fn check_global(resource: &Resource, out: &mut Vec<FieldError>) {
    check_name(resource, LONGEST_NAME, is_one_or_two_labels(resource.name()), out);
}

/// Checks the name of a tier: one label, since it becomes a part of other names.
pub(super) fn check_tier(resource: &Resource, out: &mut Vec<FieldError>) {
    check_name(resource, LONGEST_LABEL, is_label(resource.name()), out);
}

/// Checks that a name is not too long for an object.
pub(super) fn check_length(resource: &Resource, out: &mut Vec<FieldError>) {
    check_name(resource, LONGEST_NAME, true, out);
}

fn check_name(resource: &Resource, longest: usize, well_formed: bool, out: &mut Vec<FieldError>) {
    let name = resource.name();
    if name.len() > longest {
        let reason = format!("name is too long by {} bytes", name.len() - longest);
        out.push(FieldError::new("Metadata.Name", name, reason));
    }
    if !well_formed {
        out.push(FieldError::new("Metadata.Name", name, LABEL_TEXT));
    }
}

/// No limit of 63 characters: that holds for tiers only.
fn is_one_or_two_labels(name: &str) -> bool {
    match name.split_once('.') {
        Some((first, second)) => is_label(first) && is_label(second),
        None => is_label(name),
    }
}

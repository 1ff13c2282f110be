//! What is really evaluated for the selectors a policy is written with (`felix.md` §3.1 of the contract).
//!
//! Namespaces and service accounts are labels that endpoints inherit from profiles, under the prefixes `pcns.` and
//! `pcsa.`; here their selectors become selectors over endpoints. The texts are composed as upstream composes them,
//! because a set's name is made from the canonical form of the whole.

use model::v3::{EntityRule, ServiceAccountMatch};
use selector::{ParseError, Selector};

/// The label that tells an endpoint's namespace.
pub const NAMESPACE: &str = "projectcalico.org/namespace";
/// The label that tells who made an endpoint.
pub const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
/// The label that tells an endpoint's service account.
pub const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";
/// Before labels of namespaces.
pub(crate) const NAMESPACE_PREFIX: &str = "pcns.";
/// Before labels of service accounts.
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "pcsa.";

/// Where a policy lives, which limits what its rules' selectors see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// In a namespace.
    Namespace(&'a str),
    /// In none.
    Cluster,
}

/// A selector that cannot be read, and the field it stands in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {source}")]
pub struct SelectorError {
    /// The field, below the spec or rule.
    pub field: &'static str,
    /// What is wrong.
    #[source]
    pub source: ParseError,
}

fn parse(field: &'static str, text: &str) -> Result<Selector, SelectorError> {
    Selector::parse(text).map_err(|source| SelectorError { field, source })
}

/// The selector a policy's endpoints are found by.
///
/// # Errors
/// When one of the parts cannot be read.
pub fn of_policy(
    scope: Scope<'_>,
    selector: &str,
    namespace_selector: &str,
    service_account_selector: &str,
) -> Result<Selector, SelectorError> {
    parse("selector", selector)?;
    let mut text = selector.to_owned();
    match scope {
        Scope::Namespace(namespace) => text = and(&text, &in_namespace(namespace)),
        Scope::Cluster if !namespace_selector.is_empty() => {
            let namespaces =
                parse("namespaceSelector", namespace_selector)?.with_label_prefix(NAMESPACE_PREFIX);
            text = and(&text, &namespaces.to_string());
            // every `all()` becomes "is in a namespace", in the policy's own selector too, as upstream's
            text = text.replace("all()", &format!("has({NAMESPACE})"));
        }
        Scope::Cluster => {}
    }
    if !service_account_selector.is_empty() {
        let accounts = parse("serviceAccountSelector", service_account_selector)?
            .with_label_prefix(SERVICE_ACCOUNT_PREFIX);
        text = and(&text, &accounts.to_string());
        if scope == Scope::Cluster {
            text = text.replace("all()", &format!("has({SERVICE_ACCOUNT})"));
        }
    }
    parse("selector", &text)
}

/// What one side of a rule selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Members match.
    pub positive: Option<Selector>,
    /// Members do not match; only without a positive selector, else it is part of that one.
    pub negative: Option<Selector>,
}

/// What the selectors of one side of a rule mean.
///
/// # Errors
/// When one of them cannot be read.
pub fn of_side(scope: Scope<'_>, side: &EntityRule) -> Result<Selected, SelectorError> {
    let accounts = side.service_accounts.as_ref().map(service_accounts).transpose()?.flatten();
    if !side.selector.is_empty() {
        parse("selector", &side.selector)?;
    }
    let rest = match (accounts, side.selector.as_str()) {
        (None, "") => None,
        (None, selector) => Some(selector.to_owned()),
        (Some(accounts), "") => Some(accounts),
        (Some(accounts), selector) => Some(format!("({accounts}) && ({selector})")),
    };
    let says_something =
        rest.is_some() || !side.not_selector.is_empty() || !side.namespace_selector.is_empty();
    let namespaces = match (says_something, side.namespace_selector.as_str(), scope) {
        (false, ..) => None,
        (true, "", Scope::Namespace(namespace)) => Some(in_namespace(namespace)),
        (true, "", Scope::Cluster) => None,
        (true, text, _) => Some(in_namespaces(text)?),
    };
    let positive = match (namespaces, rest) {
        (None, rest) => rest,
        (Some(namespaces), None) => Some(namespaces),
        (Some(namespaces), Some(rest)) => Some(format!("({namespaces}) && ({rest})")),
    };
    let negative = match side.not_selector.as_str() {
        "" => None,
        text => Some(parse("notSelector", text)?),
    };
    Ok(match (positive, negative) {
        (Some(positive), Some(_)) => Selected {
            positive: Some(parse("selector", &format!("({positive}) && (!({}))", side.not_selector))?),
            negative: None,
        },
        (positive, negative) => {
            Selected { positive: positive.map(|text| parse("selector", &text)).transpose()?, negative }
        }
    })
}

fn and(text: &str, other: &str) -> String {
    if text.is_empty() { other.to_owned() } else { format!("({text}) && {other}") }
}

fn in_namespace(namespace: &str) -> String {
    format!("{NAMESPACE} == '{namespace}'")
}

fn in_namespaces(text: &str) -> Result<String, SelectorError> {
    let selector = parse("namespaceSelector", text)?;
    if selector.is_global() {
        return Ok(format!("!has({NAMESPACE})"));
    }
    let prefixed = selector.with_label_prefix(NAMESPACE_PREFIX).to_string();
    Ok(prefixed
        .replace("all()", &format!("has({NAMESPACE})"))
        .replace("global()", &format!("!has({NAMESPACE})")))
}

fn service_accounts(accounts: &ServiceAccountMatch) -> Result<Option<String>, SelectorError> {
    let by_labels = match accounts.selector.as_str() {
        "" => None,
        text => {
            let selector = parse("serviceAccounts.selector", text)?.with_label_prefix(SERVICE_ACCOUNT_PREFIX);
            Some(selector.to_string().replace("all()", &format!("has({SERVICE_ACCOUNT})")))
        }
    };
    let by_names = (!accounts.names.is_empty()).then(|| {
        let names: Vec<String> = accounts.names.iter().map(|name| format!("'{name}'")).collect();
        format!("{SERVICE_ACCOUNT} in {{ {} }}", names.join(","))
    });
    Ok(match (by_labels, by_names) {
        (Some(labels), Some(names)) => Some(format!("({labels}) && ({names})")),
        (labels, names) => labels.or(names),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(edit: impl FnOnce(&mut EntityRule)) -> EntityRule {
        let mut side = EntityRule::default();
        edit(&mut side);
        side
    }

    fn positive(scope: Scope<'_>, edit: impl FnOnce(&mut EntityRule)) -> Option<String> {
        of_side(scope, &side(edit)).unwrap().positive.map(|selector| selector.to_string())
    }

    const SHOP: Scope<'_> = Scope::Namespace("shop");

    #[test]
    fn the_name_of_a_set_is_the_recorded_one() {
        // `felix.md` §3.1 gives this set's name
        let selected =
            of_side(Scope::Namespace("default"), &side(|s| s.selector = "app == 'web'".into())).unwrap();
        let id = selected.positive.unwrap().unique_id();
        assert!(id.starts_with("s:cttW8MqAIeVWez-m8dwR9b3"), "{id}");
    }

    #[test]
    fn a_policy_in_a_namespace_sees_endpoints_of_it() {
        let text = |selector| of_policy(SHOP, selector, "", "").unwrap().to_string();
        assert_eq!(text("a == 'b'"), r#"(a == "b" && projectcalico.org/namespace == "shop")"#);
        assert_eq!(text(""), r#"projectcalico.org/namespace == "shop""#);
        let with = of_policy(SHOP, "a == 'b'", "", "team == 'x'").unwrap().to_string();
        assert_eq!(with, r#"((a == "b" && projectcalico.org/namespace == "shop") && pcsa.team == "x")"#);
    }

    #[test]
    fn a_cluster_policy_is_limited_by_namespaces_and_accounts_only_when_it_says_so() {
        let text = |selector, namespaces, accounts| {
            of_policy(Scope::Cluster, selector, namespaces, accounts).unwrap().to_string()
        };
        assert_eq!(text("all()", "", ""), "all()");
        assert_eq!(text("all()", "x == 'y'", ""), r#"(has(projectcalico.org/namespace) && pcns.x == "y")"#);
        assert_eq!(text("a == 'b'", "all()", ""), r#"(a == "b" && has(projectcalico.org/namespace))"#);
        assert_eq!(text("", "", "all()"), "has(projectcalico.org/serviceaccount)");
    }

    #[test]
    fn an_empty_side_means_everything_also_in_a_namespace() {
        for scope in [SHOP, Scope::Cluster] {
            assert_eq!(
                of_side(scope, &EntityRule::default()).unwrap(),
                Selected { positive: None, negative: None }
            );
            assert_eq!(positive(scope, |s| s.nets = vec!["10.0.0.0/8".into()]), None);
        }
    }

    #[test]
    fn namespaces_of_a_side() {
        let namespaces = |text: &str| positive(SHOP, |s| s.namespace_selector = text.into()).unwrap();
        assert_eq!(namespaces("all()"), "has(projectcalico.org/namespace)");
        assert_eq!(namespaces("global()"), "!has(projectcalico.org/namespace)");
        assert_eq!(namespaces("x == 'y'"), r#"pcns.x == "y""#);
        assert_eq!(
            positive(SHOP, |s| {
                s.namespace_selector = "x == 'y'".into();
                s.selector = "a == 'b'".into();
            })
            .unwrap(),
            r#"(pcns.x == "y" && a == "b")"#
        );
    }

    #[test]
    fn accounts_of_a_side() {
        let accounts = |names: &[&str], selector: &str| ServiceAccountMatch {
            names: names.iter().map(ToString::to_string).collect(),
            selector: selector.into(),
        };
        assert_eq!(
            positive(Scope::Cluster, |s| s.service_accounts = Some(accounts(&["a", "b"], "t == 'x'")))
                .unwrap(),
            r#"(pcsa.t == "x" && projectcalico.org/serviceaccount in {"a", "b"})"#
        );
        // a match that says nothing selects nothing in particular
        assert_eq!(positive(Scope::Cluster, |s| s.service_accounts = Some(accounts(&[], ""))), None);
    }

    #[test]
    fn a_negative_selector_is_part_of_the_positive_one_or_stands_alone() {
        let in_namespace = of_side(SHOP, &side(|s| s.not_selector = "a == 'b'".into())).unwrap();
        assert_eq!(
            in_namespace.positive.unwrap().to_string(),
            r#"(projectcalico.org/namespace == "shop" && !a == "b")"#
        );
        assert_eq!(in_namespace.negative, None);
        let alone = of_side(Scope::Cluster, &side(|s| s.not_selector = "a == 'b'".into())).unwrap();
        assert_eq!(
            (alone.positive, alone.negative.map(|s| s.to_string())),
            (None, Some(r#"a == "b""#.into()))
        );
    }

    #[test]
    fn what_cannot_be_read_names_its_field() {
        let error = of_side(SHOP, &side(|s| s.not_selector = "a ==".into())).unwrap_err();
        assert!(error.to_string().starts_with("notSelector: "), "{error}");
        let error = of_policy(Scope::Cluster, "a == 'b'", "((", "").unwrap_err();
        assert_eq!(error.field, "namespaceSelector");
    }
}

//! Which namespace a command means. Source: `calicoctl.md` §3.2 of the contract.

use model::Kind;

/// Namespace of namespaced resources where nothing names one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What the flags say.
#[derive(Debug, Clone, Default)]
pub struct NamespaceFlags {
    /// `-n`
    pub one: Option<String>,
    /// `-A`
    pub all: bool,
}

impl NamespaceFlags {
    /// Only `-n`.
    pub fn one(namespace: Option<String>) -> Self {
        Self { one: namespace.filter(|namespace| !namespace.is_empty()), all: false }
    }

    /// Whether a table shows namespaces.
    pub fn shown(&self) -> bool {
        self.all || self.one.is_some()
    }

    /// The namespace of one resource, empty for cluster-scoped kinds; `own` is what the resource says.
    ///
    /// # Errors
    /// Flags that contradict the resource, its kind or each other.
    pub fn of_resource(&self, kind: Kind, own: &str) -> Result<String, String> {
        if kind.namespaced() && self.all {
            return Err(if self.one.is_some() { both() } else { single() });
        }
        self.check_scope(kind, own)?;
        match (&self.one, own) {
            _ if !kind.namespaced() => Ok(String::new()),
            (Some(flag), "") => Ok(flag.clone()),
            (Some(flag), own) if own != flag => {
                Err(format!("resource namespace does not match client namespace. {own} != {flag}"))
            }
            (None, "") => Ok(DEFAULT_NAMESPACE.to_owned()),
            (_, own) => Ok(own.to_owned()),
        }
    }

    /// The namespace to list; none for all of them and for cluster-scoped kinds.
    ///
    /// # Errors
    /// Flags that contradict the kind or each other.
    pub fn of_list(&self, kind: Kind) -> Result<Option<String>, String> {
        if kind.namespaced() && self.all {
            return if self.one.is_some() { Err(both()) } else { Ok(None) };
        }
        self.check_scope(kind, "")?;
        Ok(kind.namespaced().then(|| self.one.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())))
    }

    fn check_scope(&self, kind: Kind, own: &str) -> Result<(), String> {
        let name = kind.name();
        if kind.namespaced() {
            Ok(())
        } else if !own.is_empty() {
            Err(format!(
                "namespace should not be specified for a non-namespaced resource. {name} is not a namespaced resource"
            ))
        } else if self.shown() {
            Err(format!("{name} is not namespaced"))
        } else {
            Ok(())
        }
    }
}

fn both() -> String {
    "cannot use both --namespace and --all-namespaces flags at the same time".to_owned()
}

fn single() -> String {
    "cannot use --all-namespace flag for getting a single resource".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(one: &str, all: bool) -> NamespaceFlags {
        NamespaceFlags { all, ..NamespaceFlags::one(Some(one.to_owned())) }
    }

    #[test]
    fn of_resources() {
        for (kind, own, flag, expected) in [
            (Kind::NetworkPolicy, "", "", Ok("default")),
            (Kind::NetworkPolicy, "", "shop", Ok("shop")),
            (Kind::NetworkPolicy, "shop", "", Ok("shop")),
            (Kind::NetworkPolicy, "shop", "shop", Ok("shop")),
            (
                Kind::NetworkPolicy,
                "a",
                "b",
                Err("resource namespace does not match client namespace. a != b"),
            ),
            (Kind::IPPool, "", "", Ok("")),
            (Kind::IPPool, "", "shop", Err("IPPool is not namespaced")),
            (
                Kind::IPPool,
                "shop",
                "",
                Err(
                    "namespace should not be specified for a non-namespaced resource. IPPool is not a namespaced resource",
                ),
            ),
        ] {
            let found = flags(flag, false).of_resource(kind, own);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{kind:?} {own} {flag}");
        }
        assert_eq!(flags("", true).of_resource(Kind::NetworkPolicy, ""), Err(single()));
        assert_eq!(flags("x", true).of_resource(Kind::NetworkPolicy, ""), Err(both()));
    }

    #[test]
    fn of_lists() {
        assert_eq!(flags("", false).of_list(Kind::NetworkPolicy), Ok(Some("default".to_owned())));
        assert_eq!(flags("shop", false).of_list(Kind::NetworkPolicy), Ok(Some("shop".to_owned())));
        assert_eq!(flags("", true).of_list(Kind::NetworkPolicy), Ok(None));
        assert_eq!(flags("shop", true).of_list(Kind::NetworkPolicy), Err(both()));
        assert_eq!(flags("", false).of_list(Kind::IPPool), Ok(None));
        assert_eq!(flags("", true).of_list(Kind::IPPool), Err("IPPool is not namespaced".to_owned()));
    }
}

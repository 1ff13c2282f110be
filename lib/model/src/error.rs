//! What is wrong with a resource, in Calico's words. Source: `datamodel.md` §13 of the contract.

use std::fmt;

/// One field that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field: a Go path (`IPPool.Spec.CIDR`) or a JSON path (`spec.cidr`), as Calico names it.
    /// Empty for a refusal of the resource as a whole, whose text is then `reason` alone.
    pub name: String,
    /// The value as Go prints it; absent where Calico shows none.
    pub value: Option<String>,
    /// Why it is refused.
    pub reason: Option<String>,
}

impl FieldError {
    /// A field with its value and a reason.
    pub fn new(name: impl Into<String>, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()), reason: Some(reason.into()) }
    }

    /// A field with a reason, without its value.
    pub fn at(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), value: None, reason: Some(reason.into()) }
    }

    /// A refusal of the resource as a whole.
    pub fn whole(reason: impl Into<String>) -> Self {
        Self::at("", reason)
    }

    /// A value that fails the validator tag `tag`; `field` is the Go field, with an index for list items.
    pub fn tag(field: &str, value: impl Into<String>, tag: &str) -> Self {
        // the blank before the closing bracket is Calico's
        Self::new(field, value, format!("Reason: failed to validate Field: {field} because of Tag: {tag} "))
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            return f.write_str(self.reason.as_deref().unwrap_or_default());
        }
        f.write_str(&self.name)?;
        if let Some(value) = &self.value {
            write!(f, " = '{value}'")?;
        }
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// A resource that is refused, with every field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationError {
    /// At least one; validator tags first, then schema, then rules across fields.
    pub fields: Vec<FieldError>,
}

impl ValidationError {
    /// A refusal of one field.
    pub fn one(field: FieldError) -> Self {
        Self { fields: vec![field] }
    }

    /// `Ok` when nothing was found wrong.
    pub fn check(fields: Vec<FieldError>) -> Result<(), Self> {
        if fields.is_empty() { Ok(()) } else { Err(Self { fields }) }
    }
}

impl std::error::Error for ValidationError {}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fields.as_slice() {
            [field] if field.name.is_empty() => write!(f, "{field}"),
            [field] => write!(f, "error with field {field}"),
            fields => {
                f.write_str("error with the following fields:\n")?;
                fields.iter().try_for_each(|field| writeln!(f, "-  {field}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_calicos() {
        let one = ValidationError::one(FieldError::tag("CIDR", "10.0.0.0/33", "net"));
        assert_eq!(
            one.to_string(),
            "error with field CIDR = '10.0.0.0/33' (Reason: failed to validate Field: CIDR because of Tag: net )"
        );
        let two =
            ValidationError { fields: vec![FieldError::at("spec", "no"), FieldError::new("A", "", "b")] };
        assert_eq!(two.to_string(), "error with the following fields:\n-  spec (no)\n-  A = '' (b)\n");
        assert_eq!(ValidationError::one(FieldError::whole("Cannot do it")).to_string(), "Cannot do it");
    }

    #[test]
    fn nothing_wrong_is_ok() {
        assert_eq!(ValidationError::check(Vec::new()), Ok(()));
        assert!(ValidationError::check(vec![FieldError::whole("x")]).is_err());
    }
}

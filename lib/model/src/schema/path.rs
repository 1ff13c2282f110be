//! Where in a document a value stands, without allocating until it has to be printed.

use std::fmt;

/// A place in a JSON document: `spec.ingress[0].action`.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The whole document; prints as nothing.
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    /// A field of this object.
    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// An item of this list.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            if matches!(self.step, Step::Field(_)) && !parent.is_root() {
                f.write_str(".")?;
            }
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_calico_writes_them() {
        let spec = Path::ROOT.field("spec");
        let rules = spec.field("ingress");
        let rule = rules.index(3);
        assert_eq!(rule.field("action").to_string(), "spec.ingress[3].action");
        assert_eq!(Path::ROOT.to_string(), "");
    }
}

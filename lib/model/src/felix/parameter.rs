//! One parameter: how it is called, what it looks like, what it is when nobody says anything.

use super::syntax::Syntax;

/// What the table says about a parameter of the node agent.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name, where it is not the Go name of its field in FelixConfiguration; empty otherwise.
    name: &'static str,
    /// What its value looks like in the environment, in a file and in the datastore's flat form.
    pub syntax: Syntax,
    /// What it is when no source has it, written like any value; empty for "not set".
    pub default: &'static str,
    /// Only environment and file may set it.
    pub local: bool,
    /// A value that cannot be read ends the agent, rather than being the default.
    pub fatal: bool,
    /// `none` is no value of it.
    pub required: bool,
    /// What it does.
    pub doc: &'static str,
}

impl Parameter {
    /// With a name of its own.
    pub(crate) const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Only environment and file may set it.
    pub(crate) const fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// A value that cannot be read ends the agent.
    pub(crate) const fn fatal(mut self) -> Self {
        self.fatal = true;
        self
    }

    /// `none` is no value of it.
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(super) fn own_name(&self) -> Option<&'static str> {
        (!self.name.is_empty()).then_some(self.name)
    }
}

/// A parameter of this syntax.
pub(crate) const fn given(syntax: Syntax, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name: "", syntax, default, local: false, fatal: false, required: false, doc }
}

/// True or false.
pub(crate) const fn boolean(default: &'static str, doc: &'static str) -> Parameter {
    given(Syntax::Bool, default, doc)
}

/// A whole number without bounds of its own.
pub(crate) const fn whole(default: &'static str, doc: &'static str) -> Parameter {
    given(Syntax::INT, default, doc)
}

/// A time in seconds.
pub(crate) const fn seconds(default: &'static str, doc: &'static str) -> Parameter {
    given(Syntax::Seconds, default, doc)
}

/// One of some words.
pub(crate) const fn words(
    words: &'static [&'static str],
    default: &'static str,
    doc: &'static str,
) -> Parameter {
    given(Syntax::Words(words), default, doc)
}

/// Any text.
pub(crate) const fn free(default: &'static str, doc: &'static str) -> Parameter {
    given(Syntax::Text, default, doc)
}

//! Values by type, and a memory of what was asked for: that is what the agent acts on.

use crate::resolve::Configuration;
use model::felix::{FailsafePort, Setting};
use model::net::Cidr;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Reads parameters of a configuration.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    configuration: &'a Configuration,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(configuration: &'a Configuration) -> Self {
        Self { configuration, asked: RefCell::default() }
    }

    /// What was asked for so far.
    pub(crate) fn asked(self) -> BTreeSet<&'static str> {
        self.asked.into_inner()
    }

    pub(crate) fn get(&self, name: &'static str) -> &'a Setting {
        self.asked.borrow_mut().insert(name);
        self.configuration.get(name)
    }

    /// Whether a source sets it.
    pub(crate) fn given(&self, name: &'static str) -> bool {
        self.configuration.is_given(name)
    }

    /// False where unset.
    pub(crate) fn flag(&self, name: &'static str) -> bool {
        self.get(name) == &Setting::Bool(true)
    }

    pub(crate) fn optional_flag(&self, name: &'static str) -> Option<bool> {
        match self.get(name) {
            Setting::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The nearest value the type has; zero where unset.
    pub(crate) fn number<N: TryFrom<i64> + Default>(&self, name: &'static str) -> N {
        match self.get(name) {
            Setting::Int(number) => N::try_from(*number).unwrap_or_default(),
            _ => N::default(),
        }
    }

    pub(crate) fn duration(&self, name: &'static str) -> Duration {
        match self.get(name) {
            Setting::Duration(duration) => *duration,
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn text(&self, name: &'static str) -> &'a str {
        match self.get(name) {
            Setting::Text(text) => text,
            _ => "",
        }
    }

    /// None where empty.
    pub(crate) fn optional_text(&self, name: &'static str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Whether it is this word.
    pub(crate) fn is(&self, name: &'static str, word: &str) -> bool {
        self.text(name).eq_ignore_ascii_case(word)
    }

    pub(crate) fn address(&self, name: &'static str) -> Option<IpAddr> {
        match self.get(name) {
            Setting::Address(address) => Some(*address),
            _ => None,
        }
    }

    pub(crate) fn texts(&self, name: &'static str) -> &'a [String] {
        match self.get(name) {
            Setting::Texts(texts) => texts,
            _ => &[],
        }
    }

    pub(crate) fn cidrs(&self, name: &'static str) -> &'a [Cidr] {
        match self.get(name) {
            Setting::Cidrs(cidrs) => cidrs,
            _ => &[],
        }
    }

    pub(crate) fn failsafe_ports(&self, name: &'static str) -> &'a [FailsafePort] {
        match self.get(name) {
            Setting::FailsafePorts(ports) => ports,
            _ => &[],
        }
    }
}

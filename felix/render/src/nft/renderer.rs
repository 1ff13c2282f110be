//! Changes in, updates out.

use super::ruleset::Update;
use super::settings::Settings;
use felix_calc::Changes;
use std::net::IpAddr;

/// The desired ruleset of one node. Everything it says is a function of what it was told last, never of the way there:
/// after any history the updates add up to those of a fresh renderer.
#[derive(Debug, Default)]
pub struct Renderer {
    settings: Settings,
}

impl Renderer {
    /// Nothing known but the settings.
    pub fn new(settings: Settings) -> Self {
        Renderer { settings }
    }

    /// The settings are these now.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// An interface of the node is there with these addresses, or (`None`) is gone. Those of workloads may be told or not.
    pub fn set_interface(&mut self, _name: &str, _addresses: Option<&[IpAddr]>) {}

    /// What the calculation says.
    pub fn apply(&mut self, _changes: &Changes) {}

    /// The updates since it was asked last; committed as one.
    pub fn take(&mut self) -> Vec<Update> {
        Vec::new()
    }
}

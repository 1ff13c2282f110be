//! The configuration as it is now: local sources given at the start, the datastore's followed.

use felix_calc::Changes;
use felix_config::{Configuration, Local, Problem, Settings, Stored, resolve};
use felix_dataplane::settings::PROTOCOL;
use model::Key;
use model::kind::Kind;
use model::v3::ClusterInformationSpec;
use std::collections::BTreeSet;

/// See the module.
#[derive(Debug)]
pub(crate) struct Current {
    node: String,
    local: Local,
    stored: Stored,
    configuration: Configuration,
    settings: Settings,
    /// ClusterInformation says that the datastore may be used.
    ready: bool,
    /// Problems that were logged.
    logged: BTreeSet<Problem>,
}

impl Current {
    /// What the local sources say.
    pub(crate) fn new(node: &str, local: Local) -> Self {
        let stored = Stored::default();
        let configuration = resolve(&local, &stored, node);
        let settings = Settings::of(&configuration);
        let mut current = Self {
            node: node.to_owned(),
            local,
            stored,
            configuration,
            settings,
            ready: false,
            logged: BTreeSet::new(),
        };
        current.log();
        current
    }

    /// What it comes to.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The values behind it.
    pub(crate) fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Whether the datastore may be used (`felix.md` §1 of the contract).
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Takes what changed; whether the settings are others now.
    pub(crate) fn take(&mut self, changes: &Changes) -> bool {
        if changes.settings.is_empty() {
            return false;
        }
        for (key, resource) in &changes.settings {
            let Key::Resource { kind, name, .. } = key else { continue };
            match kind {
                Kind::FelixConfiguration => self.stored.set(name, resource.clone()),
                Kind::Node => {
                    let labels = resource.iter().flat_map(|node| node.labels());
                    self.stored.set_labels(labels);
                }
                Kind::ClusterInformation => {
                    let spec = resource.as_ref().map(|info| info.typed_spec::<ClusterInformationSpec>());
                    let ready = spec.and_then(Result::ok).and_then(|spec| spec.datastore_ready) == Some(true);
                    if ready != self.ready {
                        tracing::info!(ready, "ClusterInformation: datastoreReady");
                    }
                    self.ready = ready;
                }
                _ => {}
            }
        }
        self.configuration = resolve(&self.local, &self.stored, &self.node);
        let settings = Settings::of(&self.configuration);
        self.log();
        if settings == self.settings {
            return false;
        }
        self.settings = settings;
        true
    }

    /// Each problem is said once, and once more when it is gone.
    fn log(&mut self) {
        let problems: BTreeSet<Problem> = self.configuration.problems.iter().cloned().collect();
        for problem in problems.difference(&self.logged) {
            tracing::warn!("{problem}");
        }
        for problem in self.logged.difference(&problems) {
            tracing::info!("mended: {problem}");
        }
        self.logged = problems;
    }
}

/// What the dataplane acts on.
pub(crate) fn of_dataplane(settings: &Settings) -> felix_dataplane::Settings {
    let host = &settings.host;
    felix_dataplane::Settings {
        backend: settings.backend,
        rules: settings.rules.clone(),
        device_route_protocol: host.route_protocol.unwrap_or(PROTOCOL),
        device_route_source: host.route_source,
        device_route_source_v6: host.route_source_v6,
        route_metric: host.route_metric,
        route_metric_v6: host.route_metric_v6,
        remove_external_routes: host.removes_external_routes,
        route_sync: host.programs_routes,
        ip_forwarding: host.forwards,
    }
}

//! What this machine says itself: environment and file.

use crate::ini::{self, FileError};
use model::felix::{Setting, Settings};
use std::collections::BTreeMap;

/// Variables that begin so, in any case, are parameters.
pub const PREFIX: &str = "FELIX_";

/// The local sources, by parameter name in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    /// Of the environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Of the file.
    pub(crate) file: BTreeMap<String, String>,
}

/// How the datastore is reached, as far as the agent's own parameters say; the rest is Calico's usual environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// `etcdv3` or `kubernetes`.
    pub datastore: Option<String>,
    /// etcd's URLs.
    pub endpoints: Option<String>,
    /// File of the authority that signed etcd's certificate.
    pub authority: Option<String>,
    /// File of our certificate.
    pub certificate: Option<String>,
    /// File of its key.
    pub key: Option<String>,
}

impl Local {
    /// The parameters among these variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let environment = variables.into_iter().filter_map(|(name, value)| {
            let (prefix, rest) = name.split_at_checked(PREFIX.len())?;
            prefix.eq_ignore_ascii_case(PREFIX).then(|| (rest.to_ascii_lowercase(), value))
        });
        Self { environment: environment.collect(), file: BTreeMap::new() }
    }

    /// With what a configuration file says.
    ///
    /// # Errors
    /// A line that is not `name = value`.
    pub fn with_file(mut self, text: &str) -> Result<Self, FileError> {
        self.file = ini::parse(text)?;
        Ok(self)
    }

    /// What a parameter that only local sources may set is set to; none where they say nothing, or nothing that can be
    /// read ([`crate::resolve()`] tells about that).
    pub fn text(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let text = self.environment.get(&name).or_else(|| self.file.get(&name))?;
        let (settings, errors) = Settings::read([(&*name, &**text)]);
        let row = model::felix::find(&name).filter(|_| errors.is_empty())?;
        match settings.get(&row.name) {
            Setting::Text(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Setting::Texts(texts) => Some(texts.join(",")).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// How the datastore is reached.
    pub fn connection(&self) -> Connection {
        let by_address = || {
            let scheme = self.text("EtcdScheme").unwrap_or_else(|| "http".to_owned());
            self.text("EtcdAddr").map(|address| format!("{scheme}://{address}"))
        };
        Connection {
            datastore: self.text("DatastoreType"),
            endpoints: self.text("EtcdEndpoints").or_else(by_address),
            authority: self.text("EtcdCaFile"),
            certificate: self.text("EtcdCertFile"),
            key: self.text("EtcdKeyFile"),
        }
    }

    /// The node's name, where it is not the host's.
    pub fn node(&self) -> Option<String> {
        self.text("FelixHostname")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(variables: &[(&str, &str)]) -> Local {
        Local::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_prefix_and_the_name_may_have_any_case() {
        let local = local(&[
            ("FELIX_LOGPREFIX", "a"),
            ("Felix_HealthPort", "1"),
            ("PATH", "b"),
            ("FELIX", "c"),
            ("é", ""),
        ]);
        assert_eq!(
            local.environment.into_iter().collect::<Vec<_>>(),
            [("healthport".to_owned(), "1".to_owned()), ("logprefix".to_owned(), "a".to_owned())]
        );
    }

    #[test]
    fn the_datastore_is_found_by_urls_or_by_address() {
        assert_eq!(local(&[]).connection(), Connection::default());
        let given = local(&[("FELIX_ETCDADDR", "etcd:2379"), ("FELIX_ETCDSCHEME", "https")]).connection();
        assert_eq!(given.endpoints.as_deref(), Some("https://etcd:2379"));
        let both = [("FELIX_ETCDADDR", "etcd:2379"), ("FELIX_ETCDENDPOINTS", "http://a:1,http://b:2")];
        assert_eq!(local(&both).connection().endpoints.as_deref(), Some("http://a:1,http://b:2"));
        let files = local(&[
            ("FELIX_ETCDCAFILE", "/ca"),
            ("FELIX_ETCDKEYFILE", "/k"),
            ("FELIX_ETCDCERTFILE", "none"),
        ]);
        assert_eq!(files.connection().authority.as_deref(), Some("/ca"));
        assert_eq!((files.connection().key.as_deref(), files.connection().certificate), (Some("/k"), None));
    }

    #[test]
    fn the_environment_is_stronger_than_the_file() {
        let file = "FelixHostname = of-file\nEtcdCaFile = /file\n";
        let both = local(&[("FELIX_FELIXHOSTNAME", "of-env")]).with_file(file).unwrap();
        assert_eq!(
            (both.node().as_deref(), both.text("etcdcafile").as_deref()),
            (Some("of-env"), Some("/file"))
        );
    }
}

//! Calico's variables: from the environment of the process, and from one file of the same form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A variable that a starting node reads.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it means when nobody says anything.
    pub default: &'static str,
    /// What it says.
    pub help: &'static str,
}

const fn row(name: &'static str, default: &'static str, help: &'static str) -> Variable {
    Variable { name, default, help }
}

/// Every variable a start reads itself (`bgp.md` §2 and §14 of the contract).
pub static VARIABLES: &[Variable] = &[
    row("NODENAME", "/var/lib/calico/nodename, then the host's name", "name of this node"),
    row("CALICO_NETWORKING_BACKEND", "bird", "none: no BGP, and the node's addresses are left alone"),
    row("IP", "what is stored, else detected", "IPv4 address: ADDRESS[/LENGTH], autodetect or none"),
    row("IP6", "none", "IPv6 address: ADDRESS[/LENGTH], autodetect or none"),
    row("IP_AUTODETECTION_METHOD", "first-found", "how the IPv4 address is found"),
    row("IP6_AUTODETECTION_METHOD", "first-found", "how the IPv6 address is found"),
    row("AUTODETECT_POLL_INTERVAL", "60s", "how often a detected address is looked at again; 0: never"),
    row("AS", "what is stored, else the cluster's", "AS number"),
    row("CALICO_ROUTER_ID", "the IPv4 address", "BGP identifier: an address, or hash"),
    row("DISABLE_NODE_IP_CHECK", "false", "do not mind another node with this address"),
    row("CALICO_K8S_NODE_REF", "", "name of this node in Kubernetes"),
    row("CLUSTER_TYPE", "", "words added to the cluster's type"),
    row("OCICAT_LOG_FORMAT", "text", "shape of the log: text or json"),
    row("WAIT_FOR_DATASTORE", "false", "wait until the datastore answers"),
    row("NO_DEFAULT_POOLS", "false", "make no default pools"),
    row("CALICO_IPV4POOL_CIDR", "192.168.0.0/16 or another private one", "default IPv4 pool, or none"),
    row("CALICO_IPV6POOL_CIDR", "a random fd00::/8 one", "default IPv6 pool, or none"),
    row("CALICO_IPV4POOL_BLOCK_SIZE", "26", "length of its blocks"),
    row("CALICO_IPV6POOL_BLOCK_SIZE", "122", "length of its blocks"),
    row("CALICO_IPV4POOL_IPIP", "Never", "its ipipMode"),
    row("CALICO_IPV4POOL_VXLAN", "Never", "its vxlanMode"),
    row("CALICO_IPV6POOL_VXLAN", "Never", "its vxlanMode"),
    row("CALICO_IPV4POOL_NAT_OUTGOING", "true", "its natOutgoing"),
    row("CALICO_IPV6POOL_NAT_OUTGOING", "false", "its natOutgoing"),
    row("CALICO_IPV4POOL_DISABLE_BGP_EXPORT", "false", "its disableBGPExport"),
    row("CALICO_IPV6POOL_DISABLE_BGP_EXPORT", "false", "its disableBGPExport"),
    row("CALICO_IPV4POOL_NODE_SELECTOR", "all()", "its nodeSelector"),
    row("CALICO_IPV6POOL_NODE_SELECTOR", "all()", "its nodeSelector"),
];

/// Beginnings of variables that others read: Felix's parameters, the connection to the datastore.
const OTHERS: [&str; 5] = ["FELIX_", "ETCD_", "K8S_", "DATASTORE_TYPE", "CALICO_ENDPOINT_STATUS_PATH_PREFIX"];

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An option of the command line.
    Option,
    /// The environment of the process.
    Environment,
    /// The file, in this line.
    File(usize),
}

/// The variables of a process and its file; options win over the environment, that over the file. An empty value is no
/// value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    options: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, (String, usize)>,
}

/// A line of the file that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} is no NAME=value")]
pub struct FileError {
    /// Its number, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl Variables {
    /// Those of a process.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { environment: environment.into_iter().collect(), ..Self::default() }
    }

    /// With what an option of the command line says in the place of a variable.
    pub fn with_option(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With those of a file as systemd and docker read it: a line each, `NAME=value`, the value in quotes or without; `#`
    /// begins a comment line. The last line of a name counts.
    ///
    /// # Errors
    /// A line that is none of that.
    pub fn with_file(mut self, text: &str) -> Result<Self, FileError> {
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            let named = trimmed.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
            let Some((name, value)) = named.filter(|(name, _)| is_name(name)) else {
                return Err(FileError { line: index + 1, text: line.to_owned() });
            };
            self.file.insert(name.to_owned(), (unquoted(value).to_owned(), index + 1));
        }
        Ok(self)
    }

    /// What a variable says, and who said it.
    pub fn look(&self, name: &str) -> Option<(&str, Origin)> {
        let option = self.options.get(name).map(|value| (value.as_str(), Origin::Option));
        let environment = self.environment.get(name).map(|value| (value.as_str(), Origin::Environment));
        let file = self.file.get(name).map(|(value, line)| (value.as_str(), Origin::File(*line)));
        [option, environment, file].into_iter().flatten().find(|(value, _)| !value.is_empty())
    }

    /// What a variable says.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.look(name).map(|(value, _)| value)
    }

    /// All that is said, each name once, with the word that counts.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let names: BTreeSet<&str> = self
            .options
            .keys()
            .chain(self.environment.keys())
            .chain(self.file.keys())
            .map(String::as_str)
            .collect();
        names.into_iter().filter_map(|name| Some((name, self.get(name)?)))
    }

    /// Names in the file that nobody reads, with their lines: most likely misspelt.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, usize)> {
        let known = |name: &str| {
            VARIABLES.iter().any(|row| row.name == name) || OTHERS.iter().any(|begin| name.starts_with(begin))
        };
        self.file.iter().filter(move |(name, _)| !known(name)).map(|(name, (_, line))| (name.as_str(), *line))
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unquoted(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Option => f.write_str("option"),
            Origin::Environment => f.write_str("environment"),
            Origin::File(line) => write!(f, "file, line {line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(environment: &[(&str, &str)], file: &str) -> Result<Variables, FileError> {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Variables::new(pairs).with_file(file)
    }

    #[test]
    fn the_environment_wins_and_empty_is_nothing() {
        let file = "# a comment\n; another\n\nIP = 192.0.2.1\nAS=\"64513\"\nNODENAME='n 1'\nAS=64514\n";
        let variables = of(&[("IP", "none"), ("NODENAME", ""), ("HOME", "/")], file).unwrap();
        assert_eq!(variables.look("IP"), Some(("none", Origin::Environment)));
        assert_eq!(variables.look("AS"), Some(("64514", Origin::File(7))));
        assert_eq!(variables.look("NODENAME"), Some(("n 1", Origin::File(6))));
        assert_eq!(variables.look("IP6"), None);
        let all: Vec<_> = variables.all().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(all, [("AS", "64514"), ("HOME", "/"), ("IP", "none"), ("NODENAME", "n 1")]);
        assert_eq!(
            variables.with_option("IP", "autodetect").look("IP"),
            Some(("autodetect", Origin::Option))
        );
    }

    #[test]
    fn a_line_that_says_nothing_is_named() {
        for (text, line) in [("IP", 1), ("\nexport IP=1", 2), ("=1", 1), ("1A=b", 1), ("A B=c", 1)] {
            let error = of(&[], text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
        assert_eq!(of(&[], "IP").unwrap_err().to_string(), "line 1: \"IP\" is no NAME=value");
    }

    #[test]
    fn misspelt_names_are_found_in_the_file_only() {
        let file = "IPP=1\nFELIX_LOGSEVERITYSCREEN=debug\nETCD_ENDPOINTS=http://a:1\nIP=none\n";
        let variables = of(&[("HOME", "/")], file).unwrap();
        assert_eq!(variables.unknown().collect::<Vec<_>>(), [("IPP", 1)]);
    }

    #[test]
    fn every_name_stands_once() {
        let names: std::collections::BTreeSet<_> = VARIABLES.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), VARIABLES.len());
    }
}

//! The variables a runtime sets, and the checks the CNI library makes on them before anything else.

use crate::error::{CniError, code};

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Look whether it is as it was.
    Check,
    /// Which versions are spoken.
    Version,
    /// Whether ADD would work.
    Status,
    /// Remove what is not in a list.
    Gc,
}

impl Command {
    /// The verb of this text.
    pub fn parse(text: &str) -> Option<Command> {
        match text {
            "ADD" => Some(Command::Add),
            "DEL" => Some(Command::Del),
            "CHECK" => Some(Command::Check),
            "VERSION" => Some(Command::Version),
            "STATUS" => Some(Command::Status),
            "GC" => Some(Command::Gc),
            _ => None,
        }
    }

    /// Its text.
    pub fn text(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Version => "VERSION",
            Command::Status => "STATUS",
            Command::Gc => "GC",
        }
    }
}

/// The variables, as given; an absent one is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// `CNI_COMMAND`, also when it is no verb we know.
    pub command: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_NETNS`
    pub netns: String,
    /// `CNI_IFNAME`
    pub ifname: String,
    /// `CNI_ARGS`, with `IgnoreUnknown=1` before what was given.
    pub args: String,
    /// `CNI_PATH`
    pub path: String,
}

/// Longest interface name that is taken, in bytes.
const MAX_IFNAME: usize = 15;

impl Environment {
    /// Reads and checks the variables.
    ///
    /// # Errors
    /// Code 4: a variable that the verb needs is missing, or has characters it may not have.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Environment, CniError> {
        let value = |name: &str| get(name).unwrap_or_default();
        let command = value("CNI_COMMAND");
        let verb = Command::parse(&command);
        let (attach, detach, any) = match verb {
            Some(Command::Add | Command::Check) => (true, true, true),
            Some(Command::Del) => (false, true, true),
            Some(Command::Gc | Command::Status) => (false, false, true),
            Some(Command::Version) | None => (false, false, false),
        };
        let mut missing = Vec::new();
        let mut need = |name: &'static str, needed: bool, check: Option<Check>| {
            let value = value(name);
            if value.is_empty() && needed {
                missing.push(name);
            } else if needed && let Some(check) = check {
                check(&value)?;
            }
            Ok::<String, CniError>(value)
        };
        let environment = Environment {
            command: need("CNI_COMMAND", true, None)?,
            container_id: need("CNI_CONTAINERID", detach, Some(check_container_id))?,
            netns: need("CNI_NETNS", attach, None)?,
            ifname: need("CNI_IFNAME", detach, Some(check_ifname))?,
            args: ignore_unknown(&need("CNI_ARGS", false, None)?),
            path: need("CNI_PATH", any, None)?,
        };
        if !missing.is_empty() {
            return Err(bad(format!("required env variables [{}] missing", missing.join(","))));
        }
        Ok(environment)
    }

    /// The verb.
    ///
    /// # Errors
    /// Code 4 for a word that is none.
    pub fn verb(&self) -> Result<Command, CniError> {
        Command::parse(&self.command).ok_or_else(|| bad(format!("unknown CNI_COMMAND: {}", self.command)))
    }
}

type Check = fn(&str) -> Result<(), CniError>;

fn bad(msg: impl Into<String>) -> CniError {
    CniError::new(code::INVALID_ENVIRONMENT, msg)
}

fn ignore_unknown(args: &str) -> String {
    if args.is_empty() { "IgnoreUnknown=1".to_owned() } else { format!("IgnoreUnknown=1;{args}") }
}

/// Whether a text is made of letters, digits, `_`, `.` and `-` and begins with a letter or digit.
pub fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn check_container_id(id: &str) -> Result<(), CniError> {
    if is_identifier(id) { Ok(()) } else { Err(bad("invalid characters in containerID").with_details(id)) }
}

fn check_ifname(name: &str) -> Result<(), CniError> {
    if name.len() > MAX_IFNAME {
        return Err(bad("interface name is too long")
            .with_details("interface name should be less than 16 characters"));
    }
    if name == "." || name == ".." {
        return Err(bad("interface name is . or .."));
    }
    if name.chars().any(|c| c == '/' || c == ':' || c.is_whitespace()) {
        return Err(bad("interface name contains / or : or whitespace characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FULL: [(&str, &str); 5] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "pod1-0123456789abcdef"),
        ("CNI_NETNS", "/var/run/netns/pod1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Environment, CniError> {
        let mut all: Vec<(&str, &str)> = FULL.to_vec();
        all.retain(|(name, _)| changes.iter().all(|(n, _)| n != name));
        all.extend(changes);
        Environment::read(&|name| {
            all.iter().find(|(n, v)| *n == name && !v.is_empty()).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn the_full_set_is_taken() {
        let environment = read(&[]).unwrap();
        assert_eq!(environment.verb().unwrap(), Command::Add);
        assert_eq!(environment.args, "IgnoreUnknown=1");
        assert_eq!(read(&[("CNI_ARGS", "IP=10.0.0.1")]).unwrap().args, "IgnoreUnknown=1;IP=10.0.0.1");
    }

    #[test]
    fn what_a_verb_needs() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("ADD", &["CNI_CONTAINERID"], "CNI_CONTAINERID"),
            ("ADD", &["CNI_NETNS"], "CNI_NETNS"),
            ("ADD", &["CNI_PATH", "CNI_IFNAME"], "CNI_IFNAME,CNI_PATH"),
            ("CHECK", &["CNI_NETNS"], "CNI_NETNS"),
            ("DEL", &["CNI_IFNAME"], "CNI_IFNAME"),
            ("STATUS", &["CNI_PATH", "CNI_IFNAME"], "CNI_PATH"),
            ("", &[], "CNI_COMMAND"),
        ];
        for (command, absent, named) in cases {
            let mut changes = vec![("CNI_COMMAND", *command)];
            changes.extend(absent.iter().map(|name| (*name, "")));
            let error = read(&changes).unwrap_err();
            assert_eq!(error.code, 4);
            assert_eq!(error.msg, format!("required env variables [{named}] missing"));
        }
        assert!(read(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")]).is_ok());
        let nothing = Environment::read(&|name| (name == "CNI_COMMAND").then(|| "VERSION".to_owned()));
        assert_eq!(nothing.unwrap().verb().unwrap(), Command::Version);
        assert!(read(&[("CNI_COMMAND", "GC"), ("CNI_CONTAINERID", "")]).is_ok());
    }

    #[test]
    fn an_unknown_verb_is_named() {
        let error = read(&[("CNI_COMMAND", "FLY"), ("CNI_PATH", "")]).unwrap().verb().unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (4, "unknown CNI_COMMAND: FLY"));
    }

    #[test]
    fn bad_names() {
        let cases = [
            (
                "CNI_IFNAME",
                "an-interface-name-too-long",
                "interface name is too long",
                "interface name should be less than 16 characters",
            ),
            ("CNI_IFNAME", "a/b", "interface name contains / or : or whitespace characters", ""),
            ("CNI_IFNAME", "a b", "interface name contains / or : or whitespace characters", ""),
            ("CNI_IFNAME", "a:b", "interface name contains / or : or whitespace characters", ""),
            ("CNI_IFNAME", "..", "interface name is . or ..", ""),
            ("CNI_CONTAINERID", "a/b", "invalid characters in containerID", "a/b"),
            ("CNI_CONTAINERID", "-a", "invalid characters in containerID", "-a"),
        ];
        for (name, value, msg, details) in cases {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!((error.code, error.msg.as_str(), error.details.as_str()), (4, msg, details));
        }
        assert!(read(&[("CNI_IFNAME", "exactly-15-long")]).is_ok());
    }

    #[test]
    fn verbs_have_one_text() {
        for text in ["ADD", "DEL", "CHECK", "VERSION", "STATUS", "GC"] {
            assert_eq!(Command::parse(text).unwrap().text(), text);
        }
        assert_eq!(Command::parse("add"), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused_with_code_4(
            values in proptest::collection::vec(proptest::option::of("(ADD|DEL|CHECK|GC|\\PC{0,20})"), 6)
        ) {
            let names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
            let result = Environment::read(&|name| {
                names.iter().position(|n| *n == name).and_then(|i| values.get(i).cloned().flatten())
            });
            match result {
                Ok(environment) => prop_assert!(!environment.command.is_empty()),
                Err(error) => prop_assert_eq!(error.code, 4),
            }
        }
    }
}

//! One call of a plugin: environment and standard input, checked in the CNI library's order.

use crate::args::CniArgs;
use crate::config::NetConf;
use crate::environment::{Command, Environment, is_identifier};
use crate::error::{CniError, code};
use crate::reader::{FieldError, Section};
use crate::version::{Version, at_least};
use serde_json::{Map, Value};

/// The two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `calico`: attaches workloads.
    Calico,
    /// `calico-ipam`: gives addresses.
    CalicoIpam,
}

impl Program {
    /// The program of this name.
    pub fn parse(name: &str) -> Option<Program> {
        match name {
            "calico" => Some(Program::Calico),
            "calico-ipam" => Some(Program::CalicoIpam),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Program::Calico => "calico",
            Program::CalicoIpam => "calico-ipam",
        }
    }
}

/// A call that passed the library's checks.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// ADD
    Add(Box<Request>),
    /// DEL
    Del(Box<Request>),
    /// CHECK, of a version that has it. Who looks at nothing does not care whether the configuration can be read.
    Check(Result<Box<Request>, CniError>),
    /// STATUS
    Status(Box<Request>),
    /// GC
    Gc(Box<Request>),
    /// VERSION
    Version,
}

/// What the verbs work on.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The variables.
    pub environment: Environment,
    /// The pairs of `CNI_ARGS`.
    pub args: CniArgs,
    /// The configuration.
    pub conf: NetConf,
    /// The version of the result.
    pub version: Version,
}

/// Checks a call as the CNI library does: environment, configuration, verb, version, and then reads it whole.
///
/// # Errors
/// Ready to be printed; see `cni.md` §1 of the contract for codes and texts.
pub fn read(get: &dyn Fn(&str) -> Option<String>, stdin: &[u8]) -> Result<Call, CniError> {
    let environment = Environment::read(get)?;
    if environment.command == Command::Version.text() {
        return Ok(Call::Version);
    }
    let document = read_document(stdin)?;
    let asked = check_document(&document)?;
    match environment.verb()? {
        Command::Add => Ok(Call::Add(request(environment, document, &asked)?)),
        Command::Del => Ok(Call::Del(request(environment, document, &asked)?)),
        Command::Check => {
            if !at_least(library_version(&asked), [0, 4, 0])? {
                return Err(too_old(Command::Check));
            }
            Version::negotiate(&asked)?;
            Ok(Call::Check(request(environment, document, &asked)))
        }
        verb @ (Command::Status | Command::Gc) => {
            if !at_least(library_version(&asked), [1, 1, 0])? {
                return Err(too_old(verb));
            }
            let request = request(environment, document, &asked)?;
            Ok(if verb == Command::Gc { Call::Gc(request) } else { Call::Status(request) })
        }
        Command::Version => Ok(Call::Version),
    }
}

/// The configuration alone, as `-t` gets it.
///
/// # Errors
/// As [`read`], without those of the environment.
pub fn read_conf(stdin: &[u8]) -> Result<NetConf, CniError> {
    let document = read_document(stdin)?;
    check_document(&document)?;
    load(document)
}

fn request(
    environment: Environment,
    document: Map<String, Value>,
    asked: &str,
) -> Result<Box<Request>, CniError> {
    let version = Version::negotiate(asked)?;
    let conf = load(document)?;
    let args = CniArgs::parse(&environment.args).map_err(CniError::internal)?;
    Ok(Box::new(Request { environment, args, conf, version }))
}

fn load(document: Map<String, Value>) -> Result<NetConf, CniError> {
    NetConf::read(document).map_err(|error| CniError::internal(format!("failed to load netconf: {error}")))
}

fn too_old(verb: Command) -> CniError {
    CniError::new(code::INCOMPATIBLE_VERSION, format!("config version does not allow {}", verb.text()))
}

/// The CNI library takes a configuration without a version for the oldest one.
fn library_version(asked: &str) -> &str {
    if asked.is_empty() { "0.1.0" } else { asked }
}

fn decoding(reason: impl std::fmt::Display) -> CniError {
    CniError::new(code::DECODING, format!("error unmarshall network config: {reason}"))
}

fn read_document(stdin: &[u8]) -> Result<Map<String, Value>, CniError> {
    match serde_json::from_slice::<Value>(stdin) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(decoding("expected a JSON object such as {\"name\": …}")),
        Err(error) if error.is_eof() => Err(decoding("unexpected end of JSON input")),
        Err(error) => Err(decoding(error)),
    }
}

/// Checks what the library itself reads, and returns the version asked for.
fn check_document(document: &Map<String, Value>) -> Result<String, CniError> {
    let head = || -> Result<(String, String), FieldError> {
        let root = Section::root(document);
        root.text("type")?;
        root.section("ipam")?.text("type")?;
        root.section("dns")?;
        root.section("capabilities")?;
        Ok((root.text("name")?, root.text("cniVersion")?))
    };
    let (name, asked) = head().map_err(decoding)?;
    if name.is_empty() {
        return Err(CniError::new(code::INVALID_CONFIG, "missing network name"));
    }
    if !is_identifier(&name) {
        let error = CniError::new(code::INVALID_CONFIG, "invalid characters found in network name");
        return Err(error.with_details(name));
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(command: &str, stdin: &str) -> Result<Call, CniError> {
        let get = |name: &str| {
            let value = match name {
                "CNI_COMMAND" => command,
                "CNI_CONTAINERID" => "c1",
                "CNI_NETNS" => "/var/run/netns/c1",
                "CNI_IFNAME" => "eth0",
                "CNI_PATH" => "/opt/cni/bin",
                _ => return None,
            };
            Some(value.to_owned())
        };
        read(&get, stdin.as_bytes())
    }

    fn refusal(command: &str, stdin: &str) -> (u32, String, String) {
        let error = call(command, stdin).unwrap_err();
        (error.code, error.msg, error.details)
    }

    #[test]
    fn input_that_is_no_configuration() {
        for stdin in ["", "{", "{\"name\": \"a"] {
            assert_eq!(
                refusal("ADD", stdin),
                (6, "error unmarshall network config: unexpected end of JSON input".into(), String::new())
            );
        }
        for stdin in ["[]", "1", "\"x\"", "{\"name\": 5}", "{\"name\": \"a\", \"ipam\": 1}", "{,}", "\u{0}"] {
            let (code, msg, _) = refusal("DEL", stdin);
            assert_eq!(code, 6, "{stdin}");
            assert!(msg.starts_with("error unmarshall network config: "), "{msg}");
        }
    }

    #[test]
    fn names_of_networks() {
        assert_eq!(refusal("ADD", "{}"), (7, "missing network name".into(), String::new()));
        assert_eq!(refusal("ADD", "null"), (7, "missing network name".into(), String::new()));
        assert_eq!(
            refusal("ADD", "{\"name\": \"net a\"}"),
            (7, "invalid characters found in network name".into(), "net a".into())
        );
    }

    #[test]
    fn version_needs_no_configuration() {
        assert_eq!(call("VERSION", "").unwrap(), Call::Version);
    }

    #[test]
    fn verbs_and_versions() {
        let conf = |version: &str| format!("{{\"name\": \"a\", \"cniVersion\": \"{version}\"}}");
        for verb in ["ADD", "DEL"] {
            let (code, msg, details) = refusal(verb, &conf("1.2.0"));
            assert_eq!((code, msg.as_str()), (1, "incompatible CNI versions"));
            assert!(details.starts_with("config is \"1.2.0\", plugin supports [\"0.1.0\" "), "{details}");
        }
        for version in ["0.4.0", "1.0.0", "1.1.0"] {
            assert!(matches!(call("CHECK", &conf(version)), Ok(Call::Check(Ok(_)))), "{version}");
        }
        assert!(matches!(call("STATUS", &conf("1.1.0")), Ok(Call::Status(_))));
        assert!(matches!(call("GC", &conf("1.1.0")), Ok(Call::Gc(_))));
        let unread = r#"{"name": "a", "cniVersion": "1.0.0", "mtu": "many"}"#;
        assert!(matches!(call("CHECK", unread), Ok(Call::Check(Err(_)))), "Calico answers OK to it");
        assert_eq!(refusal("CHECK", &conf("1.2.0")).1, "incompatible CNI versions");
        for (verb, version, msg) in [
            ("CHECK", "0.3.1", "config version does not allow CHECK"),
            ("CHECK", "", "config version does not allow CHECK"),
            ("STATUS", "1.2.0", "incompatible CNI versions"),
            ("STATUS", "1.0.0", "config version does not allow STATUS"),
            ("GC", "", "config version does not allow GC"),
        ] {
            let (code, said, _) = refusal(verb, &conf(version));
            assert_eq!((code, said.as_str()), (1, msg), "{verb} {version}");
        }
        assert_eq!(refusal("FLY", &conf("1.0.0")).1, "unknown CNI_COMMAND: FLY");
        assert_eq!(refusal("CHECK", &conf("new")).0, 6);
    }

    #[test]
    fn add_reads_the_whole_configuration() {
        let (code, msg, _) =
            refusal("ADD", "{\"name\": \"a\", \"ipam\": {\"type\": \"calico-ipam\", \"assign_ipv4\": true}}");
        assert_eq!(code, 999);
        assert_eq!(
            msg,
            "failed to load netconf: ipam.assign_ipv4: expected the text \"true\" or \"false\", in double quotes, found true"
        );
        let Call::Add(request) = call("ADD", "{\"name\": \"a\", \"mtu\": 1400}").unwrap() else { panic!() };
        assert_eq!((request.version, request.conf.mtu), (Version::V020, 1400));
        assert_eq!(read_conf(b"{\"name\": \"a\"}").unwrap().name, "a");
        assert_eq!(read_conf(b"").unwrap_err().code, 6);
    }

    #[test]
    fn programs_have_one_name() {
        for name in ["calico", "calico-ipam"] {
            assert_eq!(Program::parse(name).unwrap().name(), name);
        }
        assert_eq!(Program::parse("host-local"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(
            command in "(ADD|DEL|CHECK|STATUS|GC|VERSION|X)",
            stdin in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = call(&command, &String::from_utf8_lossy(&stdin));
            let _ = read_conf(&stdin);
        }

        #[test]
        fn any_json_like_text_is_answered(stdin in "(\\{|\\}|\\[|\\]|:|,|\"|name|ipam|type|[0-9]{1,3}| ){0,40}") {
            for command in ["ADD", "CHECK", "STATUS"] {
                let _ = call(command, &stdin);
            }
        }
    }
}

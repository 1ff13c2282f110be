//! `CNI_ARGS`: pairs that a runtime hands through. Unknown ones are ignored, because the plugin itself asks for
//! that (`cni.md` §1 of the contract); who switches it off again by a later `IgnoreUnknown=0` is refused them.

use crate::text;
use std::net::IpAddr;

/// The pairs we know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CniArgs {
    /// `IP`: the address asked for.
    pub ip: Option<IpAddr>,
    /// `K8S_POD_NAME`
    pub pod: String,
    /// `K8S_POD_NAMESPACE`
    pub namespace: String,
    /// `K8S_POD_INFRA_CONTAINER_ID`
    pub infra_container: String,
}

/// Why the pairs cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// No `=`, or more than one.
    #[error("ARGS: invalid pair {}", text::quote(.0))]
    Pair(String),
    /// A value of the wrong form.
    #[error("ARGS: error parsing value of pair {}: {reason}", text::quote(pair))]
    Value {
        /// The pair.
        pair: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Pairs nobody asked for.
    #[error("ARGS: unknown args {}", text::quote_list(.0))]
    Unknown(Vec<String>),
}

impl CniArgs {
    /// Reads `KEY=value` pairs joined by `;`. A later pair of the same key wins.
    ///
    /// # Errors
    /// Names the pair.
    pub fn parse(args: &str) -> Result<CniArgs, ArgsError> {
        let mut known = CniArgs::default();
        let mut unknown = Vec::new();
        let mut ignore = false;
        if args.is_empty() {
            return Ok(known);
        }
        for pair in args.split(';') {
            let (key, value) = match pair.split_once('=') {
                Some((key, value)) if !value.contains('=') => (key, value),
                _ => return Err(ArgsError::Pair(pair.to_owned())),
            };
            let wrong = |reason: String| ArgsError::Value { pair: pair.to_owned(), reason };
            match key {
                "IgnoreUnknown" => {
                    ignore = switch(value).ok_or_else(|| wrong(format!("invalid boolean: {value}")))?
                }
                "IP" => {
                    let ip = parse_ip(value).ok_or_else(|| wrong(format!("invalid IP address: {value}")))?;
                    known.ip = Some(ip);
                }
                "K8S_POD_NAME" => known.pod = value.to_owned(),
                "K8S_POD_NAMESPACE" => known.namespace = value.to_owned(),
                "K8S_POD_INFRA_CONTAINER_ID" => known.infra_container = value.to_owned(),
                _ => unknown.push(pair.to_owned()),
            }
        }
        if unknown.is_empty() || ignore { Ok(known) } else { Err(ArgsError::Unknown(unknown)) }
    }

    /// Whether the workload is a pod: both its names are given.
    pub fn is_pod(&self) -> bool {
        !self.pod.is_empty() && !self.namespace.is_empty()
    }
}

fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_pairs() {
        let args = CniArgs::parse(
            "IgnoreUnknown=1;IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc;X=y",
        )
        .unwrap();
        assert!(args.is_pod());
        assert_eq!((args.namespace.as_str(), args.pod.as_str()), ("shop", "web-0"));
        assert_eq!(args.infra_container, "abc");
        let args = CniArgs::parse("IgnoreUnknown=1;IP=10.80.0.9;K8S_POD_NAME=x").unwrap();
        assert_eq!(args.ip, Some("10.80.0.9".parse().unwrap()));
        assert!(!args.is_pod(), "a pod without a namespace is none");
        assert_eq!(CniArgs::parse("").unwrap(), CniArgs::default());
        assert_eq!(CniArgs::parse("IP=::ffff:10.0.0.1").unwrap().ip, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(CniArgs::parse("IP=10.0.0.1;IP=fd00::1").unwrap().ip, Some("fd00::1".parse().unwrap()));
    }

    #[test]
    fn refused_pairs_are_named() {
        for (args, message) in [
            ("IP=banana", r#"ARGS: error parsing value of pair "IP=banana": invalid IP address: banana"#),
            ("IP=", r#"ARGS: error parsing value of pair "IP=": invalid IP address: "#),
            ("IgnoreUnknown=1;a", r#"ARGS: invalid pair "a""#),
            ("IgnoreUnknown=1;", r#"ARGS: invalid pair """#),
            ("a=b=c", r#"ARGS: invalid pair "a=b=c""#),
            ("a=b;c=d", r#"ARGS: unknown args ["a=b" "c=d"]"#),
            ("IgnoreUnknown=1;IgnoreUnknown=0;a=b", r#"ARGS: unknown args ["a=b"]"#),
            (
                "IgnoreUnknown=maybe",
                r#"ARGS: error parsing value of pair "IgnoreUnknown=maybe": invalid boolean: maybe"#,
            ),
        ] {
            assert_eq!(CniArgs::parse(args).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(args in "\\PC{0,40}|([A-Z]{0,3}=?[a-z0-9.]{0,3};?){0,6}") {
            let _ = CniArgs::parse(&args);
        }
    }
}

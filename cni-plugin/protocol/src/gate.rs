//! Readiness gates: addresses that must answer before ADD goes on (`cni.md` §2 of the contract).

use crate::text;
use std::fmt;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Whether it is asked over TLS.
    pub secure: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub target: String,
}

/// A gate that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid URL set for ReadinessGates:{url} Error:parse {}: {reason}", text::quote(url))]
pub struct GateError {
    /// The text.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Gate {
    /// Reads an address of the form `http[s]://host[:port][/path]`.
    ///
    /// # Errors
    /// Names the address and what is wrong with it.
    pub fn parse(url: &str) -> Result<Gate, GateError> {
        let wrong = |reason: &str| GateError { url: url.to_owned(), reason: reason.to_owned() };
        if url.starts_with(':') {
            return Err(wrong("missing protocol scheme"));
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("invalid URI for request"))?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(wrong("unsupported protocol scheme; use http or https"));
        }
        if url.chars().any(|c| c.is_control() || c == ' ') {
            return Err(wrong("invalid character in URL"));
        }
        let (authority, target) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(|| wrong("missing ']' in host"))?,
            None => match authority.rfind(':') {
                Some(at) => authority.split_at(at),
                None => (authority, ""),
            },
        };
        if host.is_empty() {
            return Err(wrong("missing host"));
        }
        let port = match port.strip_prefix(':').unwrap_or(port) {
            "" => {
                if secure {
                    443
                } else {
                    80
                }
            }
            port => port.parse().map_err(|_| wrong("invalid port"))?,
        };
        Ok(Gate { secure, host: host.to_owned(), port, target })
    }

    /// The request to send.
    pub fn request(&self) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ocicat\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.target,
            self.authority()
        )
    }

    /// Host and port as they stand in an address.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

/// Whether an answer that begins with these bytes means ready: its status is 2xx or 3xx.
pub fn is_ready(answer: &[u8]) -> bool {
    let line = answer.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    words.next().is_some_and(|protocol| protocol.starts_with(b"HTTP/"))
        && words.next().is_some_and(|status| {
            status.len() == 3
                && matches!(status.first(), Some(b'2' | b'3'))
                && status.iter().all(u8::is_ascii_digit)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses() {
        for (url, host, port, target) in [
            ("http://localhost:9099/readiness", "localhost", 9099, "/readiness"),
            ("HTTP://10.0.0.1", "10.0.0.1", 80, "/"),
            ("http://[::1]:9099/a?b=c#d", "::1", 9099, "/a?b=c"),
            ("http://[::1]", "::1", 80, "/"),
            ("http://user:pw@h?x", "h", 80, "/?x"),
            ("https://h/ready", "h", 443, "/ready"),
            ("https://h:9443", "h", 9443, "/"),
        ] {
            let gate = Gate::parse(url).unwrap();
            assert_eq!((gate.host.as_str(), gate.port, gate.target.as_str()), (host, port, target), "{url}");
            assert_eq!(gate.secure, url.starts_with("https"), "{url}");
        }
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(
            Gate::parse("::not a url").unwrap_err().to_string(),
            r#"invalid URL set for ReadinessGates:::not a url Error:parse "::not a url": missing protocol scheme"#
        );
        for (url, reason) in [
            ("localhost", "invalid URI for request"),
            ("ftp://h", "unsupported protocol scheme; use http or https"),
            ("http://", "missing host"),
            ("http://h:port", "invalid port"),
            ("http://h:99999", "invalid port"),
            ("http://[::1", "missing ']' in host"),
            ("http://h/a b", "invalid character in URL"),
            ("http://h/\r\nX: y", "invalid character in URL"),
        ] {
            assert_eq!(Gate::parse(url).unwrap_err().reason, reason, "{url}");
        }
    }

    #[test]
    fn the_request_names_the_host() {
        let request = Gate::parse("http://[::1]:9099/readiness").unwrap().request();
        assert!(request.starts_with("GET /readiness HTTP/1.1\r\nHost: [::1]:9099\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n"));
        assert_eq!(Gate::parse("https://h?x").unwrap().to_string(), "https://h:443/?x");
    }

    #[test]
    fn statuses() {
        for ready in ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 204\r\n", "HTTP/1.1 302 Found"] {
            assert!(is_ready(ready.as_bytes()), "{ready}");
        }
        for not in ["", "HTTP/1.1 503 x\r\n", "HTTP/1.1 2000 x", "SSH-2.0 200", "HTTP/1.1"] {
            assert!(!is_ready(not.as_bytes()), "{not}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(url in "(http|:|/|\\[|\\]|@|#|\\?|[a-z0-9.]|\\PC){0,20}", answer in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(gate) = Gate::parse(&url) {
                prop_assert!(gate.target.starts_with('/') && !gate.host.is_empty());
            }
            let _ = is_ready(&answer);
        }
    }
}

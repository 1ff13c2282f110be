//! Passwords where there is no Kubernetes API to ask: in files, as Secrets are mounted, or in the environment.
//!
//! A reference to key `k` of secret `s` is the file `<directory>/s/k`, without the line end an editor leaves; or else the
//! variable `OCICAT_SECRET_S_K`, upper-case, with `_` for all that is neither letter nor digit. What is nowhere is
//! no password, as Calico has it (`bgp.md` §11 of the contract): the session runs unsigned until it appears.

use bgp_config::SecretRef;
use std::path::Path;

/// Where passwords lie unless said otherwise.
pub const DEFAULT_SECRETS: &str = "/etc/ocicat/secrets";

const VARIABLE: &str = "OCICAT_SECRET";

/// What a reference leads to now.
pub(crate) fn read(directory: &Path, secret: &SecretRef) -> Option<Vec<u8>> {
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    // Names come from the datastore: they lead nowhere but into the directory.
    if !plain(&secret.name) || !plain(&secret.key) {
        return None;
    }
    let file = std::fs::read(directory.join(&secret.name).join(&secret.key)).ok().map(without_line_end);
    file.or_else(|| std::env::var(variable(secret)).ok().map(String::into_bytes))
        .filter(|password| !password.is_empty())
}

fn without_line_end(mut text: Vec<u8>) -> Vec<u8> {
    while text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        text.pop();
    }
    text
}

fn variable(secret: &SecretRef) -> String {
    let word = |text: &str| -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        text.chars().map(letter).collect()
    };
    format!("{VARIABLE}_{}_{}", word(&secret.name), word(&secret.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, key: &str) -> SecretRef {
        SecretRef { name: name.into(), key: key.into() }
    }

    #[test]
    fn a_file_is_a_key_of_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bgp")).unwrap();
        std::fs::write(folder.path().join("bgp/tor"), "s3cret\n").unwrap();
        std::fs::write(folder.path().join("bgp/empty"), "\n").unwrap();
        assert_eq!(read(folder.path(), &secret("bgp", "tor")), Some(b"s3cret".to_vec()));
        for (name, key) in
            [("bgp", "empty"), ("bgp", "no"), ("no", "tor"), ("..", "x"), ("bgp", "../bgp/tor"), ("", "")]
        {
            assert_eq!(read(folder.path(), &secret(name, key)), None, "{name} {key}");
        }
    }

    #[test]
    fn the_variable_is_named_after_both() {
        assert_eq!(variable(&secret("bgp-peers", "tor.1")), "OCICAT_SECRET_BGP_PEERS_TOR_1");
    }
}

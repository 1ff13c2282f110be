//! Certificates for tests of TLS: two authorities; a server on loopback and a client of the first, a stranger of the second.

use crate::process::tool;
use anyhow::Result;
use std::fs;
use std::path::Path;

/// Makes `ca`, `other-ca`, `server`, `client` and `stranger` (of the other authority) in `directory`, `.crt` and `.key` each.
///
/// # Errors
/// Package `openssl` is missing, or it refuses.
pub fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let path = |name: &str| directory.join(name).display().to_string();
    fs::write(path("san"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")?;
    for authority in ["ca", "other-ca"] {
        let (key, cert) = (path(&format!("{authority}.key")), path(&format!("{authority}.crt")));
        let subject = format!("/CN={authority}");
        let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject];
        tool("openssl", &[&make[..], &["-keyout", &key, "-out", &cert]].concat())?;
    }
    for (name, authority) in [("server", "ca"), ("client", "ca"), ("stranger", "other-ca")] {
        let file = |ending: &str| path(&format!("{name}.{ending}"));
        let subject = format!("/CN={name}");
        let ask = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject];
        tool("openssl", &[&ask[..], &["-keyout", &file("key"), "-out", &file("csr")]].concat())?;
        let (ca, ca_key) = (path(&format!("{authority}.crt")), path(&format!("{authority}.key")));
        let sign = ["x509", "-req", "-days", "2", "-CAcreateserial", "-CA", &ca, "-CAkey", &ca_key];
        let files = ["-extfile", &path("san"), "-in", &file("csr"), "-out", &file("crt")];
        tool("openssl", &[&sign[..], &files].concat())?;
    }
    Ok(())
}

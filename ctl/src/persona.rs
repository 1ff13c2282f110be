//! Under which name the program was called.

use std::ffi::OsString;
use std::path::Path;

/// The name answers are given under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persona {
    /// Our own: more output formats, errors with positions, no version refusal.
    Ocicat,
    /// A drop-in `calicoctl`: its commands, texts and refusals and nothing else.
    Calicoctl,
    /// `calicoctl` as a plugin of kubectl (a file name that begins with `kubectl-`).
    KubectlPlugin,
}

impl Persona {
    /// The persona of `argv[0]`; ours where it says nothing.
    pub fn of_program(argv0: Option<&OsString>) -> Persona {
        let name = argv0.and_then(|path| Path::new(path).file_name()).and_then(|name| name.to_str());
        match name {
            Some("calicoctl") => Persona::Calicoctl,
            Some(name) if name.starts_with("kubectl-") => Persona::KubectlPlugin,
            _ => Persona::Ocicat,
        }
    }

    /// The name of the root command in messages.
    pub fn name(self) -> &'static str {
        match self {
            Persona::Ocicat => "ocicat",
            Persona::Calicoctl => "calicoctl",
            Persona::KubectlPlugin => "kubectl-calico",
        }
    }

    /// Whether answers keep to what calicoctl says.
    pub fn is_calicoctl(self) -> bool {
        self != Persona::Ocicat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_decides() {
        let of = |path: &str| Persona::of_program(Some(&path.into()));
        assert_eq!(of("/usr/local/bin/calicoctl"), Persona::Calicoctl);
        assert_eq!(of("calicoctl"), Persona::Calicoctl);
        assert_eq!(of("bin/kubectl-calico"), Persona::KubectlPlugin);
        assert_eq!(of("/opt/calicoctl/ocicat"), Persona::Ocicat);
        assert_eq!(of(""), Persona::Ocicat);
        assert_eq!(Persona::of_program(None), Persona::Ocicat);
    }
}

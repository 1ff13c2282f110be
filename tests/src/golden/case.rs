//! A case file, as `tests/golden/README.md` describes it.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One recorded case: steps that run in order against one store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its title.
    pub case: String,
    /// What it is about.
    pub about: String,
    /// What was done, and what came of it.
    pub steps: Vec<Step>,
    /// Answers of the module lists, for verbs that are not replayed yet.
    #[serde(default)]
    pub lsmod: Option<serde_json::Value>,
    /// As `lsmod`.
    #[serde(default, rename = "modules.builtin")]
    pub modules_builtin: Option<serde_json::Value>,
}

/// One step; the README's table says what each field means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Why this step is there.
    #[serde(default)]
    pub note: Option<String>,
    /// Program and arguments.
    #[serde(default)]
    pub run: Vec<String>,
    /// A program with a version stamped in was used.
    #[serde(default)]
    pub stamped: bool,
    /// Environment besides the datastore's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Files in the working directory.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Files that were new after it.
    #[serde(default)]
    pub wrote: BTreeMap<String, String>,
    /// Standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// How it ended.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Standard output.
    #[serde(default)]
    pub stdout: Option<String>,
    /// Standard error; absent for CNI programs.
    #[serde(default)]
    pub stderr: Option<String>,
    /// What changed in etcd.
    #[serde(default)]
    pub etcd: Option<EtcdChange>,
    /// Planted values.
    #[serde(default)]
    pub put: Vec<Pair>,
    /// Keys removed behind the program's back.
    #[serde(default)]
    pub del: Vec<String>,
    /// A command that prepares links, files or namespaces.
    #[serde(default)]
    pub shell: Option<String>,
    /// What the Kubernetes API lists from here on.
    #[serde(default)]
    pub services: Option<serde_json::Value>,
    /// Every IPAM key at the end.
    #[serde(default)]
    pub ipam_keys: Option<Vec<Pair>>,
    /// The kernel's state: `container` and `host`, each with named dumps.
    #[serde(default)]
    pub kernel: Option<BTreeMap<String, BTreeMap<String, Dump>>>,
}

/// A recorded exit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Exit {
    /// The code.
    Code(i32),
    /// `timeout`: still running after 40 s.
    Word(String),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "{code}"),
            Exit::Word(word) => f.write_str(word),
        }
    }
}

/// Changed and removed keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdChange {
    /// New and changed keys.
    #[serde(default)]
    pub put: Vec<Pair>,
    /// Keys that are gone.
    #[serde(default)]
    pub del: Vec<String>,
}

/// A key and its exact value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
    /// Bound to a lease.
    #[serde(default)]
    pub lease: bool,
}

/// One dump of the kernel's state.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Dump {
    /// JSON objects, one a line.
    Lines(String),
    /// Sysctls by name; `absent` where the kernel has none.
    Sysctls(BTreeMap<String, String>),
}

/// A case and where it stands in the corpus, for instance `cni/bad/pool`.
#[derive(Debug, Clone)]
pub struct Located {
    /// Path below the corpus without its ending.
    pub path: String,
    /// The case.
    pub case: Case,
}

/// The corpus that came with this source.
pub fn corpus_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Cases of another form, which the tests of the BGP speaker and of the node agent read.
const OTHERS: [&str; 2] = ["bgp", "felix"];

/// Reads every case file below `root`, in the order of their paths.
///
/// # Errors
/// A file cannot be read or is no case; the text names it.
pub fn load(root: &Path) -> Result<Vec<Located>> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.retain(|file| OTHERS.iter().all(|other| !file.starts_with(root.join(other))));
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let path = file.strip_prefix(root)?.with_extension("").to_string_lossy().into_owned();
            let text = fs::read_to_string(&file)?;
            let case = parse(&text).with_context(|| file.display().to_string())?;
            Ok(Located { path, case })
        })
        .collect()
}

/// Parses one case file.
///
/// # Errors
/// It is no YAML, or has fields the README does not know.
pub fn parse(text: &str) -> Result<Case> {
    Ok(serde_saphyr::from_str(text)?)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_corpus_is_a_case() {
        let cases = load(&corpus_dir()).unwrap();
        assert_eq!(cases.len(), 440);
        assert_eq!(cases.iter().map(|located| located.case.steps.len()).sum::<usize>(), 1689);
    }

    #[test]
    fn texts_keep_their_exact_bytes() {
        let case = parse(
            "case: c\nabout: a\nsteps:\n- run: [calicoctl, get, '-o', yaml]\n  exit: timeout\n  stdout: |+\n    A  \n\n  \
             stderr: |-\n    no end\n",
        )
        .unwrap();
        assert_eq!(case.steps[0].stdout.as_deref(), Some("A  \n\n"));
        assert_eq!(case.steps[0].stderr.as_deref(), Some("no end"));
        assert_eq!(case.steps[0].exit, Some(Exit::Word("timeout".to_owned())));
    }

    #[test]
    fn a_field_nobody_reads_is_refused() {
        assert!(parse("case: c\nabout: a\nsteps: [{run: [x], colour: red}]").is_err());
    }
}

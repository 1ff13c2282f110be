use super::*;
use crate::io::captured;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Directories of a host, and what is to be installed there.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(place.path("calico"), "plugin one").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn args(&self, force: bool) -> InstallArgs {
        InstallArgs {
            place: PlaceArgs { force, record: self.path("state/record.json") },
            bin_dir: self.path("bin"),
            conf_dir: self.path("net.d"),
            conf_name: None,
            config: None,
            plugin: Some(self.path("calico")),
        }
    }

    fn install(&self, force: bool, env: &[(&str, &str)]) -> Result<String, String> {
        said(|io| install(&self.args(force), &variables(env), io))
    }

    fn uninstall(&self, force: bool) -> Result<String, String> {
        said(|io| uninstall(&self.args(force).place, io))
    }

    /// Every file below, but the source.
    fn files(&self) -> BTreeMap<String, String> {
        fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.path().is_dir() { walk(&entry.path(), found) } else { found.push(entry.path()) }
            }
        }
        let mut found = Vec::new();
        walk(self.directory.path(), &mut found);
        let name = |path: &Path| path.strip_prefix(self.directory.path()).unwrap().display().to_string();
        let all = found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap()));
        all.filter(|(name, _)| name != "calico").collect()
    }

    fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }
}

const ALL: [&str; 4] = ["bin/calico", "bin/calico-ipam", "net.d/10-calico.conflist", "state/record.json"];
const ETCD: (&str, &str) = ("ETCD_ENDPOINTS", "http://192.0.2.10:2379");

fn variables<'a>(env: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn said(run: impl FnOnce(&mut Io) -> Result<(), Failure>) -> Result<String, String> {
    let (mut io, out, _) = captured::io("");
    match run(&mut io) {
        Ok(()) => Ok(out.take()),
        Err(Failure::Message(text)) => Err(text),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn files_come_with_their_permissions_twice_is_once_and_go_without_a_trace() {
    let place = Place::new();
    fs::create_dir_all(place.path("bin")).unwrap();
    fs::write(place.path("bin/portmap"), "another plugin").unwrap();
    let out = place.install(false, &[ETCD]).unwrap();
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(out.lines().last().unwrap().ends_with("10-calico.conflist"), "{out}");
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(ALL[0]), mode(ALL[1]), mode(ALL[2])), (0o755, 0o755, 0o600));
    let text = place.files().remove(ALL[2]).unwrap();
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["plugins"][0]["etcd_endpoints"], "http://192.0.2.10:2379");
    assert_eq!(list["plugins"][1]["type"], "portmap", "it is there, and bandwidth is not");
    assert_eq!(list["plugins"].as_array().unwrap().len(), 2);

    assert_eq!(place.install(false, &[ETCD]).unwrap(), "nothing to do\n");
    fs::set_permissions(place.path(ALL[0]), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(place.install(false, &[ETCD]).unwrap().lines().count(), 1);
    assert_eq!(mode(ALL[0]), 0o755);

    // a newer build and another configuration are ours as well
    fs::write(place.path("calico"), "plugin two").unwrap();
    place.install(false, &[("ETCD_ENDPOINTS", "http://192.0.2.11:2379")]).unwrap();
    assert_eq!(place.files()[ALL[0]], "plugin two");

    let out = place.uninstall(false).unwrap();
    assert!(out.lines().next().unwrap().ends_with("10-calico.conflist"), "{out}");
    assert_eq!(place.names(), ["bin/portmap"]);
    assert_eq!(place.uninstall(false).unwrap(), "nothing to do\n");
}

#[test]
fn what_is_somebody_elses_stays() {
    let place = Place::new();
    fs::create_dir_all(place.path("bin")).unwrap();
    fs::write(place.path("bin/calico"), "Calico's own").unwrap();
    let error = place.install(false, &[ETCD]).unwrap_err();
    assert!(error.contains("bin/calico: not written by") && error.contains("--force"), "{error}");
    assert_eq!(place.names(), ["bin/calico"], "nothing is half done");
    place.install(true, &[ETCD]).unwrap();
    assert_eq!(place.files()["bin/calico"], "plugin one");

    fs::write(place.path(ALL[2]), "{}").unwrap();
    for error in [place.install(false, &[ETCD]).unwrap_err(), place.uninstall(false).unwrap_err()] {
        assert!(error.contains("10-calico.conflist") && error.contains("changed since"), "{error}");
    }
    assert_eq!(place.files()[ALL[2]], "{}");
    fs::remove_file(place.path(ALL[2])).unwrap();
    place.uninstall(false).unwrap();
    assert_eq!(place.names(), [""; 0]);

    // the same bytes need no permission
    fs::write(place.path("bin/calico"), "plugin one").unwrap();
    fs::set_permissions(place.path("bin/calico"), fs::Permissions::from_mode(0o755)).unwrap();
    place.install(false, &[ETCD]).unwrap();
}

/// Whether a runtime that looks now finds a network only with its plugins.
fn assert_usable(place: &Place, when: &str) {
    let files = place.files();
    if files.contains_key(ALL[2]) {
        for plugin in &ALL[..2] {
            assert!(
                files.get(*plugin).is_some_and(|bytes| bytes.starts_with("plugin ")),
                "{when}: {files:?}"
            );
        }
        assert!(serde_json::from_str::<serde_json::Value>(&files[ALL[2]]).is_ok(), "{when}");
    }
}

/// A call dies after any of its steps, and in the middle of writing; the next one, of either kind, ends as if it had not.
#[test]
fn a_call_that_died_is_finished_by_the_next() {
    let prepare = |upgrade: bool| {
        let place = Place::new();
        if upgrade {
            place.install(false, &[("ETCD_ENDPOINTS", "http://192.0.2.99:2379")]).unwrap();
            fs::write(place.path("calico"), "plugin two").unwrap();
        }
        place
    };
    let finished = |upgrade: bool| {
        let place = prepare(upgrade);
        place.install(false, &[ETCD]).unwrap();
        place.files()
    };
    let steps_of = |place: &Place, installs: bool| {
        let args = place.args(false);
        if installs {
            plan_install(&Wanted::of(&args, &variables(&[ETCD])).unwrap(), None, &args.place).unwrap()
        } else {
            plan_uninstall(&args.place).unwrap()
        }
    };
    let contents = |files: &BTreeMap<String, String>| {
        files
            .iter()
            .filter(|(name, _)| !name.contains("record"))
            .map(|(_, text)| text.clone())
            .collect::<Vec<_>>()
    };
    for upgrade in [false, true] {
        for (dies_installing, then_install) in [(true, true), (true, false), (false, true), (false, false)] {
            for died_after in 0.. {
                let place = prepare(upgrade);
                if !dies_installing {
                    place.install(false, &[ETCD]).unwrap();
                }
                let steps = steps_of(&place, dies_installing);
                for step in &steps[..died_after.min(steps.len())] {
                    step.carry_out().unwrap();
                    assert_usable(&place, &format!("after {step:?}"));
                }
                if let Some(Step::Write { path, .. }) = steps.get(died_after) {
                    let half = format!(".{}.ocicat-new", path.file_name().unwrap().display());
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path.with_file_name(half), "plug").unwrap();
                }
                let when = format!("upgrade {upgrade}, installing {dies_installing}, after {died_after}");
                // what is left half written is written over by the installation that follows
                if then_install {
                    place.install(false, &[ETCD]).unwrap_or_else(|error| panic!("{when}: {error}"));
                    assert_eq!(contents(&place.files()), contents(&finished(upgrade)), "{when}");
                } else {
                    place.uninstall(false).unwrap_or_else(|error| panic!("{when}: {error}"));
                    assert_eq!(place.names(), [""; 0], "{when}");
                }
                if died_after >= steps.len() {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_directory_that_takes_nothing_is_named_and_no_network_appears() {
    let place = Place::new();
    // root may write anywhere but where there is no directory
    fs::write(place.path("net.d"), "a file").unwrap();
    let error = place.install(false, &[ETCD]).unwrap_err();
    assert!(error.contains("net.d"), "{error}");
    assert!(!place.names().iter().any(|name| name.ends_with("conflist") || name.contains("ocicat-new")));
    fs::remove_file(place.path("net.d")).unwrap();
    place.install(false, &[ETCD]).unwrap();
    fs::write(place.path("state/record.json"), "[]").unwrap();
    let error = place.install(false, &[ETCD]).unwrap_err();
    assert!(error.contains("record.json") && error.contains("--force"), "{error}");
}

#[test]
fn calicos_variables() {
    let place = Place::new();
    fs::create_dir_all(place.path("tls")).unwrap();
    fs::create_dir_all(place.path("net.d")).unwrap();
    fs::write(place.path("tls/etcd-ca"), "authority").unwrap();
    fs::write(place.path("tls/etcd-key"), "key").unwrap();
    fs::write(place.path("net.d/05-old.conflist"), "{}").unwrap();
    let tls = place.path("tls").display().to_string();
    let template = r#"{"name": "a", "plugins": [{"type": "calico", "mtu": __CNI_MTU__, "log_level": "__LOG_LEVEL__",
        "etcd_ca_cert_file": "__ETCD_CA_CERT_FILE__", "nodename": "__KUBERNETES_NODE_NAME__"}]}"#;
    let env = [
        ("CNI_NETWORK_CONFIG", template),
        ("CNI_CONF_NAME", "20-mine.conflist"),
        ("CNI_OLD_CONF_NAME", "05-old.conflist"),
        ("CNI_NET_DIR", "/etc/cni/net.d"),
        ("TLS_ASSETS_DIR", &tls),
        ("SKIP_CNI_BINARIES", "bandwidth, calico-ipam"),
        ("KUBERNETES_NODE_NAME", "no\"de"),
        ("CNI_MTU", "1410"),
    ];
    place.install(false, &env).unwrap();
    let files = place.files();
    let list: serde_json::Value = serde_json::from_str(&files["net.d/20-mine.conflist"]).unwrap();
    let plugin = &list["plugins"][0];
    assert_eq!(plugin["mtu"], 1410);
    assert_eq!(plugin["log_level"], "info");
    assert_eq!(plugin["nodename"], "no\"de");
    assert_eq!(plugin["etcd_ca_cert_file"], "/etc/cni/net.d/calico-tls/etcd-ca");
    assert_eq!(files["net.d/calico-tls/etcd-key"], "key");
    assert!(
        !files.contains_key("net.d/05-old.conflist") && !files.contains_key("bin/calico-ipam"),
        "{files:?}"
    );
    // what is not wanted any more goes
    place.install(false, &[ETCD]).unwrap();
    let left = place.names();
    assert_eq!(
        left.iter().filter(|name| !name.starts_with("tls/")).collect::<Vec<_>>(),
        ALL.iter().collect::<Vec<_>>()
    );
    place.uninstall(false).unwrap();

    // what is there stays as it is: ours, and somebody else's
    place.install(false, &[ETCD]).unwrap();
    let kept = [ETCD, ("UPDATE_CNI_BINARIES", "false")];
    assert_eq!(place.install(false, &kept).unwrap(), "nothing to do\n");
    assert_eq!(place.names().iter().filter(|name| name.starts_with("bin/")).count(), 2);
    place.uninstall(false).unwrap();
    fs::create_dir_all(place.path("bin")).unwrap();
    fs::write(place.path("bin/calico"), "pinned").unwrap();
    place.install(false, &kept).unwrap();
    assert_eq!(place.files()["bin/calico"], "pinned");
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let place = Place::new();
    for (env, says) in [
        (("CNI_NETWORK_CONFIG", "{"), "is no JSON"),
        (("CNI_NETWORK_CONFIG", r#"{"plugins": []}"#), "a name, and type or plugins"),
        (
            ("CNI_NETWORK_CONFIG", r#"{"name": "a", "type": "__ETCD_ENDPOINTS__"}"#),
            "ETCD_ENDPOINTS is not set",
        ),
        (
            ("CNI_NETWORK_CONFIG", r#"{"name": "a", "type": "__SERVICEACCOUNT_TOKEN__"}"#),
            "__SERVICEACCOUNT_TOKEN__",
        ),
        (("CNI_NETWORK_CONFIG_FILE", "/nowhere"), "/nowhere"),
        (("CNI_CONF_NAME", "../x.conflist"), "CNI_CONF_NAME=\"../x.conflist\""),
        (("CNI_CONF_NAME", "calico.txt"), "ends with .conflist"),
    ] {
        let error = place.install(false, &[env]).unwrap_err();
        assert!(error.contains(says), "{env:?}: {error}");
    }
    assert_eq!(place.names(), [""; 0]);
    fs::remove_file(place.path("calico")).unwrap();
    assert!(place.install(false, &[ETCD]).unwrap_err().contains("give the thin plugin with --plugin"));
}

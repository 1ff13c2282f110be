use super::*;
use proptest::prelude::*;

fn refused(line: &str) -> String {
    match parse(Persona::Calicoctl, line.split(' ').map(OsString::from).collect()) {
        Err(Failure::Message(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn admin(line: &str) -> Admin {
    match parse(Persona::Ocicat, line.split(' ').map(OsString::from).collect()) {
        Ok(Asked::Command(_, command)) => match *command {
            Command::Admin(admin) => admin,
            other => panic!("{line}: {other:?}"),
        },
        other => panic!("{line}: {other:?}"),
    }
}

fn text(persona: Persona, line: &str) -> String {
    match parse(persona, line.split(' ').map(OsString::from).collect()) {
        Ok(Asked::Text(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_tree_is_sound() {
    OcicatRoot::command().debug_assert();
    CalicoctlRoot::command().debug_assert();
    for persona in [Persona::Ocicat, Persona::Calicoctl, Persona::KubectlPlugin] {
        root(persona).debug_assert();
    }
}

#[test]
fn refusals_are_in_cobras_words() {
    assert_eq!(
        refused("calicoctl fetch"),
        "unknown command \"fetch\" for \"calicoctl\"\n\nDid you mean this?\n\tpatch\n"
    );
    assert_eq!(refused("calicoctl convert -f -"), "unknown command \"convert\" for \"calicoctl\"");
    assert_eq!(refused("calicoctl get ippool --shape round"), "unknown flag: --shape");
    assert_eq!(refused("calicoctl get ippool --shape=round"), "unknown flag: --shape");
    assert_eq!(refused("calicoctl get ippool -z"), "unknown shorthand flag: 'z' in -z");
    assert_eq!(refused("calicoctl create -f"), "flag needs an argument: 'f' in -f");
    assert_eq!(refused("calicoctl ipam show --ip"), "flag needs an argument: --ip");
    assert_eq!(
        refused("calicoctl --log-level loud get ippool"),
        "unknown log level: loud, expected one of: panic, fatal, error, warn, info, debug"
    );
    assert_eq!(
        refused("calicoctl create --skip-exists=perhaps"),
        "invalid argument \"perhaps\" for \"--skip-exists\" flag: parsing boolean: invalid syntax"
    );
}

#[test]
fn calicoctl_has_only_what_calicoctl_has() {
    assert_eq!(
        refused("calicoctl lab up"),
        "unknown command \"lab\" for \"calicoctl\"\n\nDid you mean this?\n\tlabel\n"
    );
    assert_eq!(refused("calicoctl --version"), "unknown flag: --version");
    assert!(text(Persona::Ocicat, "ocicat --version").starts_with("ocicat "));
    assert!(!text(Persona::Calicoctl, "calicoctl").contains("  lab "));
    assert!(text(Persona::Calicoctl, "calicoctl").contains("calicoctl"));
}

#[test]
fn groups_without_a_command_show_their_help() {
    for line in ["ocicat ipam", "ocicat ipam --help"] {
        assert!(text(Persona::Ocicat, line).contains("configure"), "{line}");
    }
    assert!(text(Persona::Calicoctl, "calicoctl ipam frobnicate").contains("configure"));
    let unknown =
        parse(Persona::Ocicat, ["ocicat", "datastore", "migrate", "luck"].map(OsString::from).to_vec());
    let text_of = |asked| match asked {
        Err(Failure::Message(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text_of(unknown),
        "unknown command \"luck\" for \"ocicat datastore migrate\"\n\nDid you mean this?\n\tlock\n"
    );
    assert!(text(Persona::Ocicat, "ocicat datastore").contains("migrate"));
    assert!(text(Persona::Ocicat, "ocicat datastore migrate").contains("unlock"));
}

#[test]
fn flags_stand_anywhere_and_the_last_counts() {
    let Admin::Get { words, output, all_namespaces, place, .. } =
        admin("ocicat get -o yaml np -a a --output=json b -n x --all-namespaces=false")
    else {
        panic!("not get")
    };
    assert_eq!(words, ["np", "a", "b"]);
    assert_eq!(output, "json");
    assert!(!all_namespaces);
    assert_eq!(place.namespace.as_deref(), Some("x"));
    assert_eq!(place.config.config, DEFAULT_CONFIG);
}

#[test]
fn values_and_words_may_begin_with_a_dash() {
    let Admin::Ipam { command: Some(IpamCommand::Configure { max_blocks_per_host, .. }) } =
        admin("ocicat ipam configure --max-blocks-per-host -1")
    else {
        panic!("not configure")
    };
    assert_eq!(max_blocks_per_host.as_deref(), Some("-1"));
    let Admin::Label { words, .. } = admin("ocicat label gnetsets s1 -- -a=b") else { panic!("not label") };
    assert_eq!(words, ["gnetsets", "s1", "-a=b"]);
}

#[test]
fn files_may_be_several() {
    let Admin::Create { files, .. } = admin("ocicat create -f a -f - --filename=c") else {
        panic!("not create")
    };
    assert_eq!(files.filename, ["a", "-", "c"]);
}

proptest! {
    /// Any words are understood or refused with a text.
    #[test]
    fn any_command_line_is_answered(words in prop::collection::vec(
        prop_oneof!["[a-z]{1,4}", "-{1,2}[a-zA-Z=]{0,6}", Just("get".to_owned()), Just("ipam".to_owned()), Just("datastore".to_owned()),
            Just("--".to_owned()), Just("-f".to_owned()), Just("--help".to_owned()), any::<String>()], 0..6)) {
        for name in ["ocicat", "calicoctl"] {
            let persona = Persona::of_program(Some(&name.into()));
            let line = std::iter::once(name.to_owned()).chain(words.clone()).map(OsString::from).collect();
            match parse(persona, line) {
                Ok(Asked::Text(text)) => prop_assert!(text.ends_with('\n')),
                Ok(Asked::Command(..)) => {}
                Err(Failure::Message(text)) => prop_assert!(!text.is_empty()),
                Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
    }
}

use super::*;
use std::os::unix::fs::PermissionsExt;

/// Programs that do as they are told, in a folder of their own; run where the test is.
fn scripts(script: &str, deadline: Duration) -> (Programs, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for program in ["iptables-legacy-restore", "ip6tables-nft-save"] {
        let path = folder.path().join(program);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let netns = Netns::current().unwrap();
    (Programs::of(&netns).in_folder(folder.path().to_str().unwrap(), deadline), folder)
}

fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn restore(programs: &Programs, input: &str) -> Result<Restored, XTablesError> {
    block_on(programs.restore(Family::V4, Variant::Legacy, input.to_owned()))
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn input_goes_in_and_output_comes_out() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (args, input) = (folder.path().join("args"), folder.path().join("input"));
    let script =
        format!("echo \"$@\" >{}; cat >{}; echo words; echo noise >&2", args.display(), input.display());
    let (programs, _folder) = scripts(&script, LONG);
    let long = "-A x\n".repeat(100_000);
    restore(&programs, &long).unwrap();
    assert_eq!(std::fs::read_to_string(&args).unwrap().trim(), "--noflush --wait=10");
    assert!(std::fs::read_to_string(&input).unwrap() == long);
    let saved = block_on(programs.save(Family::V6, Variant::Nft, Some("raw"))).unwrap();
    assert_eq!(saved, "words\n");
    assert_eq!(std::fs::read_to_string(&args).unwrap().trim(), "-t raw");
}

#[test]
fn a_failure_is_told_in_the_programs_words_with_the_line() {
    if !root() {
        return;
    }
    let told = [
        ("iptables-restore: line 7 failed", Some(7)),
        ("iptables-restore v1.8.9 (nf_tables): \\nline 12: RULE_APPEND failed (No such file)", Some(12)),
        (
            "iptables-restore v1.8.9 (legacy): no match foo\\n\\nError occurred at line: 31\\nTry help",
            Some(31),
        ),
        ("Another app is currently holding the xtables lock; still -9s", None),
    ];
    for (said, expected) in told {
        let (programs, _folder) = scripts(&format!("printf '{said}\\n' >&2; exit 3"), LONG);
        let error = restore(&programs, "").unwrap_err();
        let XTablesError::Failed { words, line, program } = &error else { panic!("{error:?}") };
        assert_eq!((*line, program.as_str()), (expected, "iptables-legacy-restore"), "{words}");
        assert!(said.contains(words.split(';').next().unwrap()), "{words}");
    }
    // silence, and a flood
    let (programs, _folder) = scripts("exit 4", LONG);
    assert!(restore(&programs, "").unwrap_err().to_string().contains("exit status: 4"));
    let (programs, _folder) = scripts("yes a flood of words | head -c 1000000 >&2; exit 1", LONG);
    let error = restore(&programs, "").unwrap_err().to_string();
    assert!(error.len() < 5000 && error.contains("a flood of words"), "{}", error.len());
}

#[test]
fn a_lock_that_another_program_holds_is_waited_for_and_then_told() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    let file = std::fs::File::create(&lock).unwrap();
    file.lock().unwrap();
    // the real one, with a lock of its own and less patience
    let script = format!(
        "export XTABLES_LOCKFILE={}; exec unshare -n $(command -v iptables-legacy-restore) --noflush --wait=1",
        lock.display()
    );
    let (programs, _folder) = scripts(&script, LONG);
    let input = "*filter\n:cali-x - [0:0]\nCOMMIT\n";
    let error = restore(&programs, input).unwrap_err();
    assert!(matches!(&error, XTablesError::Failed { line: None, .. }), "{error:?}");
    assert!(error.to_string().contains("holding the xtables lock"), "{error}");
    file.unlock().unwrap();
    restore(&programs, input).unwrap();
}

#[test]
fn what_hangs_is_killed_and_what_was_killed_is_uncertain() {
    if !root() {
        return;
    }
    let (programs, _folder) = scripts("exec sleep 1000", Duration::from_millis(200));
    let error = restore(&programs, "").unwrap_err();
    assert!(matches!(&error, XTablesError::Uncertain { .. }), "{error:?}");
    assert!(error.to_string().contains("did not end in time"), "{error}");
    let (programs, _folder) = scripts("kill -9 $$", LONG);
    let error = restore(&programs, "").unwrap_err();
    assert!(matches!(&error, XTablesError::Uncertain { .. }), "{error:?}");
    // it closes its output and stays
    let (programs, _folder) = scripts("exec >&- 2>&-; exec sleep 1000", Duration::from_millis(200));
    assert!(restore(&programs, "").is_err());
}

#[test]
fn a_missing_program_names_the_package() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs::of(&Netns::current().unwrap()).in_folder(folder.path().to_str().unwrap(), LONG);
    let error = restore(&programs, "").unwrap_err().to_string();
    assert_eq!(error, "iptables-legacy-restore is not installed: install the package iptables");
}

#[test]
fn both_variants_write_and_read_tables_of_the_namespace() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n");
    let netns = Netns::create_at(&path).unwrap();
    let programs = Programs::of(&netns);
    for variant in [Variant::Legacy, Variant::Nft] {
        for family in [Family::V4, Family::V6] {
            let input = "*filter\n:cali-x - [0:0]\n-A cali-x -j DROP\n-I FORWARD -j cali-x\nCOMMIT\n";
            block_on(programs.restore(family, variant, input.to_owned())).unwrap();
            for table in [None, Some("filter")] {
                let saved = block_on(programs.save(family, variant, table)).unwrap();
                assert!(saved.contains("-A FORWARD -j cali-x\n-A cali-x -j DROP\n"), "{saved}");
            }
            let bad = "*filter\n:cali-y - [0:0]\n-A cali-y -m set --match-set gone src -j DROP\nCOMMIT\n";
            let error = block_on(programs.restore(family, variant, bad.to_owned())).unwrap_err();
            assert!(matches!(error, XTablesError::Failed { line: Some(3), .. }), "{error:?}");
            let saved = block_on(programs.save(family, variant, None)).unwrap();
            assert!(!saved.contains("cali-y"), "all or nothing: {saved}");
        }
    }
    let _ = Netns::delete_at(&path);
}

//! Files and directories that the program refuses: in words, and without touching them.

use super::{embedded, ocicat};
use anyhow::{Result, ensure};
use std::fs;

/// How `ocicat datastore` explains a directory it does not serve.
fn refusal(data: &std::path::Path) -> Result<String> {
    let data = data.display().to_string();
    let output = ocicat(&["datastore", "--data-dir", &data, "--listen", "http://127.0.0.1:0"], "", &[])?;
    ensure!(output.ending == ocicat_tests::process::Ending::Exit(1), "{output:?}");
    ensure!(output.stderr.lines().count() <= 2, "one message, no trace: {}", output.stderr);
    Ok(output.stderr)
}

#[test]
fn torn_and_foreign_databases_are_refused_in_words_and_left_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = embedded(folder.path())?;
    for n in 0..300 {
        server.client.put(&format!("/k/{n}"), &"v".repeat(500))?;
    }
    let in_use = refusal(folder.path())?;
    ensure!(in_use.contains("in use by another process") && in_use.contains("stop that one"), "{in_use}");
    server.stop()?;
    let file = folder.path().join("store.redb");
    let whole = fs::read(&file)?;
    let mut flipped = whole.clone();
    // a database's pages have checksums, which a start after a crash looks at; its head has one that is always looked at
    flipped[70..200].fill(0xa5);
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("empty", Vec::new(), "is empty"),
        ("cut in its header", whole[..100].to_vec(), "damaged or of another program"),
        ("cut in half", whole[..whole.len() / 2].to_vec(), "damaged or of another program"),
        ("damaged in its header", flipped, "damaged or of another program"),
        ("zeros", vec![0; whole.len()], "damaged or of another program"),
        (
            "foreign",
            b"SQLite format 3\0, and more than a page of it. ".repeat(200),
            "damaged or of another program",
        ),
    ];
    for (case, bytes, says) in cases {
        fs::write(&file, &bytes)?;
        let refused = refusal(folder.path())?;
        ensure!(refused.contains(&file.display().to_string()), "{case}: {refused}");
        ensure!(refused.contains(says), "{case}: {refused}");
        ensure!(
            refused.contains("left as it is") && refused.contains("restore a backup"),
            "{case}: {refused}"
        );
        ensure!(fs::read(&file)? == bytes, "{case}: the file was changed");
    }
    fs::write(&file, &whole)?;
    ensure!(embedded(folder.path())?.client.snapshot()?.len() == 300, "the whole one is served again");
    Ok(())
}

#[test]
fn a_log_that_is_missing_cut_or_damaged_is_refused_in_words() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (database, log) = (folder.path().join("store.redb"), folder.path().join("store.log"));
    let server = embedded(folder.path())?;
    for n in 0..50 {
        server.client.put(&format!("/k/{n}"), &"v".repeat(700))?;
    }
    // killed: what it wrote last is in the log only
    drop(server);
    let (tables, frames) = (fs::read(&database)?, fs::read(&log)?);
    let mut flipped = frames.clone();
    flipped[10_000] ^= 1;
    let whole = || fs::write(&database, &tables).and_then(|()| fs::write(&log, &frames));
    type Damage<'a> = Box<dyn Fn() -> std::io::Result<()> + 'a>;
    let cases: [(Damage<'_>, &str); 4] = [
        (Box::new(|| fs::remove_file(&log)), "the log is missing"),
        (Box::new(|| fs::write(&log, &frames[..5000])), "the log is cut off"),
        (Box::new(|| fs::write(&log, &flipped)), "the log is damaged before its end"),
        (Box::new(|| fs::remove_file(&database)), "the database it belongs to, is missing"),
    ];
    for (damage, says) in cases {
        whole()?;
        damage()?;
        let refused = refusal(folder.path())?;
        ensure!(refused.contains(&log.display().to_string()) && refused.contains(says), "{says}: {refused}");
        ensure!(refused.contains("left as it is"), "{says}: {refused}");
    }
    whole()?;
    ensure!(embedded(folder.path())?.client.snapshot()?.len() == 50, "with both it is served, nothing lost");
    Ok(())
}

#[test]
fn what_is_no_backup_is_refused_and_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = |name: &str| folder.path().join(name).display().to_string();
    let server = embedded(&folder.path().join("ours"))?;
    for n in 0..100 {
        server.client.put(&format!("/k/{n}"), &"v".repeat(100))?;
    }
    ocicat(&["datastore", "backup", &text("file")], &server.url(), &[])?.expect_ok("backup")?;
    let whole = fs::read(text("file"))?;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(text("cut"), &whole[..2000])?;
    fs::write(text("flipped"), flipped)?;
    fs::write(text("foreign"), "no backup at all, but a text of some length")?;
    let target = text("new");
    for (name, says) in [
        ("cut", "cut off"),
        ("flipped", "checksum is wrong"),
        ("foreign", "does not begin as one"),
        ("nowhere", "No such file"),
    ] {
        let refused = ocicat(&["datastore", "restore", &text(name), "--data-dir", &target], "", &[])?;
        ensure!(!refused.ok() && refused.stderr.contains(says), "{name}: {}", refused.stderr);
        ensure!(refused.stderr.contains(&text(name)), "{name}: {}", refused.stderr);
    }
    let left =
        fs::read_dir(&target)?.filter_map(Result::ok).filter(|entry| entry.file_name() != "lock").count();
    ensure!(left == 0, "a refused restore left something");
    let words = ["datastore", "restore", &text("file"), "--data-dir", &text("ours")];
    let busy = ocicat(&words, "", &[])?;
    ensure!(!busy.ok() && busy.stderr.contains("in use by another process"), "{}", busy.stderr);
    server.stop()?;
    let taken = ocicat(&words, "", &[])?;
    ensure!(!taken.ok() && taken.stderr.contains("holds a datastore already"), "{}", taken.stderr);
    Ok(())
}

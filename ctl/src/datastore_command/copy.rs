//! Copies of whole datastores: `backup`, `restore`, `migrate --to`.

use crate::cli::{Global, SourceArgs};
use crate::io::{Failure, Io};
use crate::session::{Environment, OpenError, settings};
use datastore::etcd::{EtcdOptions, whole_store_client};
use etcd_lite::transfer::{self, Copied};
use etcd_lite::{DirectoryLock, Options, Server, backup as form};
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::Path;

/// `datastore backup FILE`: of a running datastore (a real etcd too), or of a directory that nothing serves.
///
/// # Errors
/// The datastore does not answer; the file is there already or cannot be written.
pub async fn backup(
    file: &Path,
    source: &SourceArgs,
    global: &Global,
    env: Environment<'_>,
    io: &mut Io,
) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Message(format!("{}: {error}", file.display()));
    let to = File::create_new(file).map_err(|error| failed(&error))?;
    let done = async {
        let (to, copied) = read_all(source, global, env, BufWriter::new(to)).await?;
        to.into_inner().map_err(|error| failed(&error))?.sync_all().map_err(|error| failed(&error))?;
        Ok(copied)
    };
    match done.await {
        Ok(copied) => io.line(&format!(
            "Backed up {} keys and {} leases as of revision {} to {}.",
            copied.keys,
            copied.leases,
            copied.source_revision,
            file.display()
        )),
        Err(failure) => {
            // half a backup is none
            let _ = std::fs::remove_file(file);
            Err(failure)
        }
    }
}

/// `datastore restore FILE --data-dir DIR`.
///
/// # Errors
/// The directory is in use or has a datastore; the file is no backup, or damaged: then nothing is left behind.
pub fn restore(file: &Path, data_dir: &Path, io: &mut Io) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Message(format!("{}: {error}", file.display()));
    let from = File::open(file).map_err(|error| failed(&error))?;
    let _lock = DirectoryLock::take(data_dir).map_err(|error| Failure::Message(error.to_string()))?;
    let done = form::restore(BufReader::new(from), data_dir).map_err(|error| failed(&error))?;
    io.line(&format!(
        "Restored {} writes and {} leases to {}. Its newest revision is {}, as in the backup: resource versions stay. \
         Clients that watched the old datastore must list anew.",
        done.records,
        done.leases,
        data_dir.display(),
        done.revision
    ))
}

/// `datastore migrate --to URL`: everything into an empty etcd.
///
/// # Errors
/// Source or target do not answer; the target is not empty.
pub async fn migrate_to(
    to: &str,
    source: &SourceArgs,
    global: &Global,
    env: Environment<'_>,
    io: &mut Io,
) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Message(format!("--to {to}: {error}"));
    let options = EtcdOptions {
        endpoints: vec![to.to_owned()],
        discovery: None,
        ..target_settings(source, global, env)?
    };
    let mut target = whole_store_client(&options).await.map_err(|error| failed(&error))?;
    // the copy lies on disk between the two, so that it is whole before the first write
    let between = unnamed_file().map_err(|error| Failure::Message(format!("a temporary file: {error}")))?;
    let (between, read) = read_all(source, global, env, BufWriter::new(between)).await?;
    let mut between = between.into_inner().map_err(|error| failed(&error.into_error()))?;
    between.rewind().map_err(|error| failed(&error))?;
    let wrote =
        transfer::import(&mut target, BufReader::new(between)).await.map_err(|error| failed(&error))?;
    io.line(&format!(
        "Copied {} keys and {} leases, as of revision {} of the source, to {to}, whose newest revision is now {}.",
        wrote.keys, wrote.leases, read.source_revision, wrote.target_revision
    ))?;
    io.line(
        "Every datastore counts revisions of its own: resource versions are new, each key begins at version 1, history \
         is left behind. Stop what wrote to the source, point it to the target, and let it list anew.",
    )
}

/// For a target the certificates and user of the configuration serve, if there is one.
fn target_settings(
    source: &SourceArgs,
    global: &Global,
    env: Environment<'_>,
) -> Result<EtcdOptions, Failure> {
    let config = settings(&source.config, global, env).map_err(OpenError::into_failure)?;
    config.etcd_options().map_err(|error| Failure::Message(error.to_string()))
}

/// Everything in the source, as a backup.
async fn read_all<W: Write>(
    source: &SourceArgs,
    global: &Global,
    env: Environment<'_>,
    to: W,
) -> Result<(W, Copied), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Message(format!("the datastore cannot be read: {error}"));
    let Some(directory) = &source.from_dir else {
        let options = target_settings(source, global, env)?;
        let mut client = whole_store_client(&options).await.map_err(|error| failed(&error))?;
        return transfer::export(&mut client, to).await.map_err(|error| failed(&error));
    };
    if !directory.is_dir() {
        return Err(Failure::Message(format!(
            "--from-dir {}: there is no such directory",
            directory.display()
        )));
    }
    let server = Server::open(Options::new(directory)).map_err(|error| failed(&error))?;
    let mut client = server.client().await.map_err(|error| failed(&error))?;
    let result = transfer::export(&mut client, to).await.map_err(|error| failed(&error));
    server.stop();
    result
}

/// A file that goes with the process.
fn unnamed_file() -> std::io::Result<File> {
    let name = std::env::temp_dir().join(format!("ocicat-migrate-{}", uuid::Uuid::new_v4()));
    let file = File::options().read(true).write(true).create_new(true).open(&name)?;
    std::fs::remove_file(&name)?;
    Ok(file)
}

//! The words of `ocicat datastore`.

use super::ConfigArgs;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// `datastore` as a server.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Serve the datastore in this directory to etcd's clients; it is made when it is not there
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to serve it: http://HOST:PORT, or https:// with --cert and --key
    #[arg(long, value_name = "URL")]
    pub listen: Option<String>,
    /// The server's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Clients must have a certificate of this authority
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// Clients must log in: lines of NAME:PASSWORD
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// Keep superseded values for so long, then forget them; 0: for ever
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub auto_compaction_retention: String,
    /// Refuse writes once the database is larger
    #[arg(long, value_name = "BYTES")]
    pub quota: Option<u64>,
}

/// `datastore`.
#[derive(Debug, Subcommand)]
pub enum DatastoreCommand {
    /// Write everything in a datastore into a file
    Backup {
        /// The file to write; it must not exist
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where from.
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Make a datastore from a backup, or from a snapshot that etcdctl saved from one of ours
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The directory of the new datastore
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Lock the datastore for maintenance and unlock it
    Migrate {
        /// Copy everything into the empty etcd at this URL
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        /// Where from.
        #[command(flatten)]
        source: SourceArgs,
        /// What to do.
        #[command(subcommand)]
        command: Option<MigrateCommand>,
    },
    /// Give policies that releases before v3.32 stored as default.NAME their plain name
    MigratePolicyNames {
        /// Where from.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// An unknown word.
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

/// Which datastore a copy is made of.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The one in this directory, which nothing serves now; else that of the configuration
    #[arg(long = "from-dir", value_name = "DIR")]
    pub from_dir: Option<PathBuf>,
    /// Where from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `datastore migrate`.
#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// No addresses are given out and no policy changes until unlocked
    Lock {
        /// Where from.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Back to normal
    Unlock {
        /// Where from.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// An unknown word.
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

//! `ocicat datastore` as people run it: killed at any moment, over TLS, its copies, what it refuses, how it grows.

mod bounded;
mod copies;
mod crash;
mod operator;
mod refused;
mod secure;

use anyhow::Result;
use datastore::etcd::{EtcdOptions, EtcdStore};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::etcd::{Server, Store, free_port};
use ocicat_tests::process::{Output, run};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The embedded store as a program of its own.
fn embedded(data: &Path) -> Result<Server> {
    Server::start_as(Store::Embedded, data, free_port()?, "http", &[])
}

fn client(server: &Server) -> Result<EtcdStore> {
    client_within(server, PATIENCE)
}

/// A client that gives a request up after `timeout`.
fn client_within(server: &Server, timeout: Duration) -> Result<EtcdStore> {
    let endpoints = vec![server.url()];
    Ok(EtcdStore::new(&EtcdOptions { endpoints, timeout, ..EtcdOptions::default() })?)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// `ocicat WORD…` on the store at `url`, with more of the environment.
fn ocicat(words: &[&str], url: &str, more: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(programs(Build::Plain)?.join("ocicat"));
    command.env_clear().args(words).env("DATASTORE_TYPE", "etcdv3").env("ETCD_ENDPOINTS", url);
    command.envs(more.iter().copied());
    run(command, "", PATIENCE)
}

/// Debian's etcdctl; `endpoint` as a person writes it, with or without a scheme.
fn etcdctl(endpoint: &str, words: &[&str]) -> Result<Output> {
    let mut command = Command::new("/usr/bin/etcdctl");
    command.env_clear().env("ETCDCTL_API", "3").args(["--endpoints", endpoint]).args(words);
    run(command, "", PATIENCE)
}

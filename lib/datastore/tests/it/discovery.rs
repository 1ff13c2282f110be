//! Members found by their domain's service records: a name server of the test, a real etcd.

use crate::etcd::Etcd;
use crate::options;
use datastore::etcd::{Discovery, EtcdOptions, EtcdStore};
use datastore::{Datastore, StoreError};
use mvcc::RangeRequest;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// Answers every question for the service without TLS: `localhost`, this port. There is no other service.
async fn name_server(port: u16) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
            let mut message = bytes[..length].to_vec();
            message[2] = 0x80;
            if message[12..].starts_with(b"\x0c_etcd-client\x04_tcp") {
                message[7] = 1;
                message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 17, 0, 0, 0, 0]);
                message.extend(port.to_be_bytes());
                message.extend(b"\x09localhost\0");
            } else {
                message[3] = 3;
            }
            socket.send_to(&message, from).await.unwrap();
        }
    });
    address
}

fn store(servers: &[SocketAddr]) -> EtcdStore {
    let discovery = Discovery { domain: "example.org".into(), servers: servers.to_vec() };
    EtcdStore::new(&EtcdOptions { discovery: Some(discovery), ..options(&[]) }).unwrap()
}

#[tokio::test]
async fn a_cluster_is_found_by_its_domain() {
    let server = Etcd::start();
    let port = server.url().rsplit(':').next().unwrap().parse().unwrap();
    let store = store(&[name_server(port).await]);
    assert!(store.range(RangeRequest::key("/nothing")).await.unwrap().kvs.is_empty());
}

#[tokio::test]
async fn a_domain_that_is_not_found_is_looked_for_again() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = socket.local_addr().unwrap();
    drop(socket);
    let store = store(&[silent]);
    for _ in 0..2 {
        match store.range(RangeRequest::key("/nothing")).await {
            Err(StoreError::Unavailable(reason)) => assert!(
                reason.starts_with(
                    "failed to discover etcd endpoints through SRV discovery: _etcd-client-ssl._tcp"
                ),
                "{reason}"
            ),
            other => panic!("{other:?}"),
        }
    }
}

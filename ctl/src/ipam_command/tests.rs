use super::*;
use crate::cli::ConfigArgs;
use crate::io::captured;
use crate::persona::Persona;
use datastore::memory::MemoryStore;
use datastore::{Bootstrap, Client};
use ipam::AutoAssignRequest;
use model::Kind;
use model::schema::decode_strict;
use serde_json::{Value, json};

async fn session() -> Session {
    let client = Client::new(Arc::new(MemoryStore::new()));
    client.ensure_initialized(Bootstrap::default()).await.expect("initialised");
    create(&client, Kind::Node, "n1", json!({})).await;
    create(&client, Kind::IPPool, "small", json!({"cidr": "10.80.0.0/29", "blockSize": 30})).await;
    Session { persona: Persona::Calicoctl, client }
}

async fn create(client: &Client, kind: Kind, name: &str, spec: Value) {
    let object = json!({"metadata": {"name": name}, "spec": spec});
    client.create(decode_strict(kind, object).expect("decoded")).await.expect("created");
}

async fn assign(session: &Session, handle: &str, attributes: &[(&str, &str)]) -> String {
    let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let request = AutoAssignRequest {
        handle: Some(handle.into()),
        attributes: attributes.collect(),
        ..AutoAssignRequest::for_workload("n1", 1, 0)
    };
    let outcome = Ipam::new(Arc::clone(session.client.store())).auto_assign(request).await.expect("assigned");
    outcome.v4.assigned.first().expect("an address").address.to_string()
}

fn config() -> ConfigArgs {
    ConfigArgs { config: String::new() }
}

fn show(ip: Option<&str>, blocks: bool, borrowed: bool, configuration: bool) -> IpamCommand {
    IpamCommand::Show {
        ip: ip.map(str::to_owned),
        show_blocks: blocks,
        show_borrowed: borrowed,
        show_configuration: configuration,
        config: config(),
    }
}

fn release(ip: Option<&str>) -> IpamCommand {
    IpamCommand::Release { ip: ip.map(str::to_owned), config: config() }
}

fn configure(strict: Option<&str>, most: Option<&str>) -> IpamCommand {
    IpamCommand::Configure {
        strictaffinity: strict.map(str::to_owned),
        max_blocks_per_host: most.map(str::to_owned),
        kubevirt_ip_persistence: None,
        ip_cooldown_seconds: None,
        config: config(),
    }
}

async fn said(session: &Session, command: IpamCommand) -> (String, Option<Failure>) {
    let (mut io, out, _) = captured::io("");
    let end = run(session, &command, &mut io).await.err();
    (out.take(), end)
}

fn message(text: &str) -> Option<Failure> {
    Some(Failure::Message(text.to_owned()))
}

#[tokio::test]
async fn an_address_from_assignment_to_release() {
    let session = session().await;
    let ip = assign(&session, "h1", &[("node", "n1"), ("pod", "web-0"), ("namespace", "shop")]).await;
    let (text, end) = said(&session, show(Some(&ip), true, true, true)).await;
    assert_eq!(end, None);
    assert_eq!(
        text,
        format!(
            "IP {ip} is in use\nHandle ID: h1\nActive Owner Attributes:\n  namespace: shop\n  node: n1\n  pod: web-0\n"
        )
    );
    let usage = said(&session, show(None, true, true, false)).await.0;
    assert!(
        usage.contains("| IP Pool  | 10.80.0.0/29 |         8 |    1 (12%) |       0 (0%) |  7 (88%) |"),
        "{usage}"
    );
    assert!(usage.contains("| Block    "), "{usage}");
    assert!(!said(&session, show(None, false, false, false)).await.0.contains("Block"));

    assert_eq!(
        said(&session, release(Some(&ip))).await,
        (format!("Successfully released IP address {ip}\n"), None)
    );
    let again = said(&session, release(Some(&ip))).await;
    assert_eq!(again, (String::new(), message(&format!("IP address {ip} is not assigned"))));
    assert_eq!(
        said(&session, show(Some(&ip), false, false, false)).await.0,
        format!("{ip} is not assigned\n")
    );
}

#[tokio::test]
async fn an_address_without_notes() {
    let session = session().await;
    let ip = assign(&session, "h1", &[]).await;
    let text = said(&session, show(Some(&ip), false, false, false)).await.0;
    assert_eq!(text, format!("IP {ip} is in use\nHandle ID: h1\nNo Active Owner attributes defined\n"));
    let borrowed = said(&session, show(None, false, true, false)).await.0;
    assert!(borrowed.contains("Note: 1 address(es) name no node"), "{borrowed}");
}

#[tokio::test]
async fn what_is_no_address_is_told_on_standard_output() {
    let session = session().await;
    let bad = "Error executing command: invalid IP address specified: 10.0.0.300".to_owned();
    for command in [show(Some("10.0.0.300"), false, false, false), release(Some("10.0.0.300"))] {
        assert_eq!(said(&session, command).await, (String::new(), Some(Failure::OnStdout(bad.clone()))));
    }
    assert_eq!(said(&session, release(None)).await, (String::new(), None), "nothing asked, nothing done");
}

#[tokio::test]
async fn settings_change_together_or_not_at_all() {
    let session = session().await;
    let refused = said(&session, configure(None, Some("3"))).await;
    assert_eq!(
        refused,
        (String::new(), message("error: MaxBlocksPerHost requires StrictAffinity to be enabled"))
    );
    let text = said(&session, configure(Some("true"), Some("3"))).await;
    let lines = "Successfully set StrictAffinity to: true\nSuccessfully set MaxBlocksPerHost to: 3\n";
    assert_eq!(text, (lines.to_owned(), None));
    let table = said(&session, show(None, false, false, true)).await.0;
    assert!(table.contains("| StrictAffinity               | true    |"), "{table}");
    assert!(table.contains("| MaxBlocksPerHost             | 3       |"), "{table}");
    assert!(table.contains("| KubeVirtVMAddressPersistence | Enabled |"), "{table}");
}

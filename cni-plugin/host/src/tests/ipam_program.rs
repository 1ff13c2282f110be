//! `calico-ipam` by itself, and what both programs answer besides ADD and DEL.

use crate::testing::{Node, message};
use cni_protocol::Program;
use model::Kind;
use serde_json::{Value, json};

async fn call(node: &Node, command: &str, container: &str, conf: &Value) -> crate::Output {
    node.call_with(Program::CalicoIpam, command, container, conf, &[]).await
}

#[tokio::test]
async fn gives_addresses_with_the_length_of_their_block() {
    let node = Node::new().await;
    let mut conf = node.dual();
    conf["cniVersion"] = json!("1.0.0");
    conf["nodename_file"] = json!("/nonexistent");
    conf["nodename"] = json!("node-1");
    let output = call(&node, "ADD", "c1", &conf).await;
    let result: Value = serde_json::from_str(&output.stdout).unwrap();
    let addresses: Vec<&str> =
        result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect();
    assert!(addresses[0].ends_with("/28") && addresses[1].ends_with("/122"), "{result}");
    let routes: Vec<&str> =
        result["routes"].as_array().unwrap().iter().map(|r| r["dst"].as_str().unwrap()).collect();
    assert_eq!(routes, addresses);
    assert_eq!(result.as_object().unwrap().len(), 3, "{result}");
    // Called again it gives another one: the main plugin asked twice.
    let again: Value = serde_json::from_str(&call(&node, "ADD", "c1", &conf).await.stdout).unwrap();
    assert_ne!(again["ips"], result["ips"]);
    let output = call(&node, "DEL", "c1", &conf).await;
    assert_eq!((output.exit, output.stdout.as_str()), (0, ""));
    assert_eq!(node.held().await, Vec::<String>::new());
    assert_eq!(call(&node, "DEL", "c1", &conf).await.exit, 0);
}

#[tokio::test]
async fn addresses_of_old_releases_are_released_too() {
    let node = Node::new().await;
    let ipam = ipam::Ipam::new(node.client.store().clone());
    let mut request = ipam::AutoAssignRequest::for_workload("node-1", 1, 0);
    request.handle = Some("c1".into());
    ipam.auto_assign(request).await.unwrap();
    assert_eq!(call(&node, "DEL", "c1", &node.conf()).await.exit, 0);
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_asked_for_nothing_given() {
    let node = Node::new().await;
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.0.0");
    conf["ipam"] = json!({"type": "calico-ipam", "assign_ipv4": "false"});
    let output = call(&node, "ADD", "c1", &conf).await;
    assert_eq!(output.stdout, "{\n    \"cniVersion\": \"1.0.0\"\n}");
    node.container("c1");
    assert_eq!(node.refusal("ADD", "c1", &conf).await, "IPAM plugin returned missing IP config");
}

#[tokio::test]
async fn refusals() {
    let node = Node::new().await;
    node.client.delete(Kind::IPPool, "", "six", Default::default()).await.unwrap();
    assert_eq!(message(&call(&node, "ADD", "c1", &node.dual()).await), "cannot find a qualified ippool");
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn other_verbs_and_flags() {
    let node = Node::new().await;
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.0.0");
    for (program, ok) in [(Program::Calico, "OK\n"), (Program::CalicoIpam, "")] {
        let output = node.call_with(program, "CHECK", "c1", &conf, &[]).await;
        assert_eq!((output.exit, output.stdout.as_str()), (0, ok));
        let output = node.call_with(program, "VERSION", "c1", &conf, &[]).await;
        assert!(output.stdout.starts_with(r#"{"cniVersion":"1.1.0","supportedVersions":["0.1.0","#));
        let output = node.call_with(program, "", "c1", &conf, &[]).await;
        assert_eq!((output.exit, output.stdout.as_str()), (0, ""));
        assert!(output.stderr.contains("0.1.0, 0.2.0"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn flags() {
    let node = Node::new().await;
    let run = |program, args: &'static [&'static str], conf: Value| {
        let node = &node;
        async move {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            crate::run(program, &args, &node.host(), conf.to_string().as_bytes()).await
        }
    };
    let version = run(Program::Calico, &["-v"], json!(null)).await;
    assert_eq!(version.stdout, format!("{}\n", env!("CARGO_PKG_VERSION")));
    let test = run(Program::Calico, &["-t"], node.conf()).await;
    assert_eq!((test.exit, test.stdout.as_str()), (0, ""));
    for (program, args, code, words) in [
        (Program::CalicoIpam, &["-t"][..], 999, "unknown arguments"),
        (Program::CalicoIpam, &["-upgrade"], 999, "KUBERNETES_NODE_NAME not specified"),
        (Program::Calico, &["-upgrade"], 999, "unknown arguments"),
        (Program::Calico, &["a", "b"], 999, "known: -v, -t"),
    ] {
        let output = run(program, args, node.conf()).await;
        let error: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!((output.exit, error["code"].as_u64()), (1, Some(code)));
        assert!(error["msg"].as_str().unwrap().contains(words), "{error}");
    }
    let mut host = node.host();
    host.variables.insert("KUBERNETES_NODE_NAME".into(), "node-1".into());
    let flag = ["-upgrade".to_owned()];
    let upgrade = || crate::run(Program::CalicoIpam, &flag, &host, b"");
    assert_eq!(upgrade().await, crate::Output::default(), "nothing to move");
    std::fs::create_dir(&host.host_local_state).unwrap();
    let refused = upgrade().await;
    assert!(refused.exit == 1 && refused.stdout.contains("host-local"), "{refused:?}");
    let empty = Node::empty();
    let output =
        crate::run(Program::Calico, &["-t".into()], &empty.host(), node.conf().to_string().as_bytes()).await;
    let error: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (error["code"].as_u64(), error["msg"].as_str()),
        (Some(100), Some("data store connection failed"))
    );
    assert!(error["details"].as_str().unwrap().contains("ClusterInformation"), "{error}");
}

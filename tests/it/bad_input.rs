//! Bad input of every kind: refused with Calico's code and a clear message, in bounded time, and harming nothing else.

use anyhow::{Context, Result};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::certificates;
use ocicat_tests::etcd::{Server, Snapshot, changes, free_port};
use ocicat_tests::node::{Call, Container, NAME, Node, documents};
use ocicat_tests::process::{Ending, Output};
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What is wrong with the input is seen before anything else is asked.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A store that does not answer is given up on within this time.
const GIVEN_UP: Duration = Duration::from_secs(35);

/// Runs a test in a sandbox of its own.
fn on_a_host(work: impl FnOnce() -> Result<()> + Send) {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), work).unwrap();
}

/// The output must be a CNI error with this code (any for 0) whose text holds `words`; returns the text.
#[track_caller]
fn refused(output: &Output, code: u64, words: &str, limit: Duration) -> String {
    assert_eq!(output.ending, Ending::Exit(1), "{output:?}");
    assert!(output.took < limit, "took {:?}: {output:?}", output.took);
    assert!(!output.stderr.contains("panicked"), "{output:?}");
    let error: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|problem| panic!("no CNI error ({problem}): {output:?}"));
    let text =
        format!("{} {}", error["msg"].as_str().unwrap(), error["details"].as_str().unwrap_or_default());
    assert!(code == 0 || error["code"] == code, "code {code} expected: {error}");
    assert!(text.contains(words) && text.len() > 5, "{words:?} expected in: {error}");
    text
}

/// `ocicat` must refuse, say why, and not panic.
#[track_caller]
fn said_no(output: &Output, words: &str) {
    assert_eq!(output.ending, Ending::Exit(1), "{output:?}");
    assert!(output.took < AT_ONCE, "took {:?}", output.took);
    assert!(!output.stderr.contains("panicked"), "{output:?}");
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains(words) && said.trim().len() > 5, "{words:?} expected in: {output:?}");
}

fn unchanged(before: &Snapshot, node: &Node) -> Result<()> {
    let after = node.server().client.snapshot()?;
    let changed = changes(before, &after);
    assert!(changed.put.is_empty() && changed.del.is_empty(), "{changed:?}");
    Ok(())
}

#[test]
fn broken_network_configurations() {
    on_a_host(|| {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        let before = node.server().client.snapshot()?;
        let add = node.call("ADD", &container);
        let whole = node.configuration().to_string();
        // every place at which a runtime may have been cut off
        for end in (0..whole.len()).step_by(7) {
            let call = Call { stdin: whole[..end].to_owned(), ..add.clone() };
            refused(&call.run()?, 6, "", AT_ONCE);
        }
        let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
        for text in [
            "[]",
            "\"x\"",
            "17",
            "{}{}",
            "{\"name\": \"net-a\"",
            "\u{feff}{}",
            "{\"name\":\"\\ud800\"}",
            &deep,
        ] {
            let call = Call { stdin: text.to_owned(), ..add.clone() };
            refused(&call.run()?, 0, "", AT_ONCE);
        }
        unchanged(&before, &node)?;
        node.assert_whole("after all refusals")
    });
}

#[test]
fn keys_of_a_configuration_with_values_of_a_wrong_type() {
    on_a_host(|| {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        let before = node.server().client.snapshot()?;
        let wrong = [
            ("/name", json!(17)),
            ("/name", json!("a b")),
            ("/name", json!("")),
            ("/cniVersion", json!("7.7.7")),
            ("/cniVersion", json!({})),
            ("/mtu", json!("1500")),
            ("/etcd_endpoints", json!(["http://127.0.0.1:2379"])),
            ("/etcd_endpoints", json!("ftp://127.0.0.1:2379")),
            ("/device_type", json!("tap")),
            ("/datastore_type", json!("zookeeper")),
            ("/ipam", json!("calico-ipam")),
            ("/ipam/type", json!("")),
            ("/ipam/type", json!("../../../bin/sh")),
            ("/ipam/assign_ipv4", json!(true)),
            ("/ipam/ipv4_pools", json!("10.64.0.0/20")),
            ("/ipam/ipv4_pools", json!(["10.0.0.0/33"])),
            ("/ipam/ipv4_pools", json!(["fd5f:64::/112"])),
            ("/ipam/ipv4_pools", json!(["nowhere"])),
            ("/ipam/ipv6_pools", json!(["10.64.0.0/20"])),
            ("/policy", json!([])),
            ("/readiness_gates", json!([":::"])),
        ];
        for (pointer, value) in wrong {
            let mut configuration = node.configuration();
            let (parent, last) = pointer.rsplit_once('/').context("a pointer")?;
            configuration.pointer_mut(parent).context("its parent")?[last] = value.clone();
            let output = node.call("ADD", &container).configuration(&configuration).run()?;
            eprintln!("{pointer} = {value}");
            refused(&output, 0, "", AT_ONCE);
        }
        unchanged(&before, &node)?;
        node.assert_whole("after all refusals")
    });
}

#[test]
fn environments_of_no_runtime() {
    on_a_host(|| {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        let before = node.server().client.snapshot()?;
        let add = node.call("ADD", &container);
        for (name, value, code, words) in [
            ("CNI_COMMAND", "EAT", 4, "EAT"),
            ("CNI_CONTAINERID", "", 4, "CNI_CONTAINERID"),
            ("CNI_CONTAINERID", "a b/c", 0, ""),
            ("CNI_IFNAME", "a-very-long-interface-name", 4, "interface name"),
            ("CNI_IFNAME", "a/b", 4, "interface name"),
            ("CNI_IFNAME", "..", 4, ""),
            ("CNI_NETNS", "/var/run/netns/nowhere", 0, "nowhere"),
            ("CNI_NETNS", "/etc/passwd", 0, "/etc/passwd"),
            ("CNI_NETNS", "/proc/1/ns/mnt", 0, ""),
            ("CNI_ARGS", "IP", 0, ""),
            ("CNI_ARGS", "IP=300.1.1.1", 0, "300.1.1.1"),
        ] {
            eprintln!("{name}={value}");
            refused(&add.clone().env(name, value).run()?, code, words, AT_ONCE);
        }
        unchanged_but_profile(&before, &node)?;
        node.assert_whole("after all refusals")
    });
}

/// Calico makes a network's profile and claims a block before it looks at the namespace; neither holds an address.
fn unchanged_but_profile(before: &Snapshot, node: &Node) -> Result<()> {
    let after = node.server().client.snapshot()?;
    let changed = changes(before, &after);
    let held: Vec<&String> = changed
        .put
        .keys()
        .filter(|key| key.contains("/ipam/v2/handle/") || key.contains("/workloadendpoints/"))
        .collect();
    assert!(held.is_empty() && changed.del.is_empty(), "{changed:?}");
    Ok(())
}

#[test]
fn documents_that_are_none() {
    on_a_host(|| {
        let node = Node::start()?;
        let before = node.server().client.snapshot()?;
        let pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: ";
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let bomb = bomb();
        for text in [
            "\t- a",
            "a: [",
            "a: 1\na: 2",
            "kind: Sheep\napiVersion: projectcalico.org/v3",
            "apiVersion: projectcalico.org/v9\nkind: IPPool",
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: 7",
            "\u{0}\u{1}",
            "*nowhere",
            &format!("{pool}{{cidr: 10.0.0.0/99}}"),
            &format!("{pool}{{cidr: 10.0.0.0/24, colour: red}}"),
            &format!("{pool}{{cidr: [10.0.0.0/24]}}"),
            &format!("{pool}{{cidr: 10.0.0.0/24, blockSize: 99999999999999999999999}}"),
            &deep,
            &bomb,
        ] {
            for verb in ["validate", "apply"] {
                eprintln!("{verb} {}", text.chars().take(60).collect::<String>());
                said_no(&node.ocicat(&[verb, "-f", "-"], text)?, "");
            }
        }
        said_no(&node.ocicat(&["apply", "-f", "/nowhere.yaml"], "")?, "/nowhere.yaml");
        fs::write("/run/bytes.yaml", [0xff, 0xfe, 0x00, 0x80])?;
        said_no(&node.ocicat(&["apply", "-f", "/run/bytes.yaml"], "")?, "");
        unchanged(&before, &node)
    });
}

/// Aliases of aliases: a few lines that would become gigabytes.
fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    text
}

#[test]
fn selectors_that_are_none() {
    on_a_host(|| {
        let node = Node::start()?;
        let before = node.server().client.snapshot()?;
        let deep = format!("{}has(a){}", "(".repeat(50_000), ")".repeat(50_000));
        let long = vec!["!"; 100_000].concat();
        for selector in [
            "a = b",
            "has(",
            "a in {",
            "all() &&",
            "a == \"b",
            "has(a b)",
            "a in {b}",
            "a == b",
            "((((",
            "\u{1F411}",
            &deep,
            &long,
        ] {
            let policy = json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
                "metadata": {"name": "p"}, "spec": {"selector": selector}});
            for verb in ["validate", "apply"] {
                said_no(&node.ocicat(&[verb, "-f", "-"], &policy.to_string())?, "elector");
            }
        }
        unchanged(&before, &node)
    });
}

#[test]
fn corrupt_values_in_the_store_are_named_and_harm_nobody_else() {
    on_a_host(|| {
        let node = Node::start()?;
        let store = &node.server().client;
        let (first, second) = (Container::start("pod1")?, Container::start("pod2")?);
        node.add(&first)?;
        let whole = store.snapshot()?;
        let kinds = [
            "/ipam/v2/assignment/ipv4/",
            "/ipam/v2/handle/",
            "/ippools/four",
            "/nodes/",
            "/clusterinformations/",
        ];
        for part in kinds {
            let (key, stored) = whole.iter().find(|(key, _)| key.contains(part)).context(part)?;
            for bad in ["", "{", "[]", "17", "{\"kind\": 7}", "{\"cidr\": \"x\", \"spec\": []}", "\u{0}"] {
                if bad.is_empty() && part.contains("/assignment/") {
                    // defined (`AllocationBlock::decode`): a block that nobody owns, whose affinity goes as stale
                    continue;
                }
                store.put(key, bad)?;
                let output = node.call("ADD", &second).run()?;
                eprintln!("{key} = {bad:?}: {} {}", output.ending, output.stdout);
                if !output.ok() {
                    refused(&output, 0, "", GIVEN_UP);
                }
                node.call("DEL", &second).run()?;
                let listed = node.ocicat(&["get", "ippools,nodes", "-o", "yaml"], "")?;
                assert!(!listed.stderr.contains("panicked"), "{listed:?}");
                store.put(key, &stored.value)?;
            }
            node.add(&second).with_context(|| format!("after {key} was mended"))?;
            node.del(&second)?;
            node.assert_whole("after the value was mended")?;
        }
        Ok(())
    });
}

#[test]
fn a_store_that_is_away_or_silent() {
    on_a_host(|| {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        let mut nobody = node.configuration();
        nobody["etcd_endpoints"] = json!(format!("http://{}", free_port()?));
        for verb in ["ADD", "DEL"] {
            let output = node.call(verb, &container).configuration(&nobody).run()?;
            refused(&output, 0, "", GIVEN_UP);
        }
        node.server().process().signal(nix::sys::signal::Signal::SIGSTOP)?;
        for verb in ["ADD", "DEL"] {
            refused(&node.call(verb, &container).run()?, 0, "", GIVEN_UP);
        }
        let silent = node.ocicat(&["get", "nodes"], "")?;
        assert!(!silent.ok() && silent.took < GIVEN_UP, "{silent:?}");
        node.server().process().signal(nix::sys::signal::Signal::SIGCONT)?;
        node.assert_whole("after the store came back")?;
        node.add(&container)?;
        node.assert_whole("after ADD")
    });
}

#[test]
fn a_full_pool() {
    on_a_host(|| {
        let node = Node::without_resources()?;
        node.apply(&documents(&[NAME], &[("small", "10.9.0.0/30", 30)]))?;
        let mut configuration = node.configuration();
        configuration["ipam"] = json!({"type": "calico-ipam"});
        let call = |verb: &str, container: &Container| {
            node.call(verb, container).configuration(&configuration).run()
        };
        let containers: Vec<Container> =
            (0..5).map(|n| Container::start(&format!("pod{n}"))).collect::<Result<_>>()?;
        let (late, early) = containers.split_last().context("five")?;
        for container in early {
            call("ADD", container)?.expect_ok("ADD")?;
        }
        refused(&call("ADD", late)?, 0, "", AT_ONCE);
        node.assert_whole("after the refusal")?;
        call("DEL", &containers[0])?.expect_ok("DEL")?;
        call("ADD", late)?.expect_ok("ADD")?;
        node.assert_whole("after an address became free")
    });
}

#[test]
fn certificates_that_do_not_fit() {
    on_a_host(|| {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        let tls = Path::new("/run/tls");
        certificates::make(tls)?;
        let file = |name: &str| tls.join(name).display().to_string();
        let data = Path::new("/run/etcd-tls");
        fs::create_dir_all(data)?;
        let server = Server::start_with(
            data,
            free_port()?,
            "https",
            &[
                format!("--cert-file={}", file("server.crt")),
                format!("--key-file={}", file("server.key")),
                format!("--trusted-ca-file={}", file("ca.crt")),
                "--client-cert-auth".to_owned(),
            ],
        )?;
        let mut good = node.configuration();
        good["etcd_endpoints"] = json!(format!("https://{}", server.address()));
        good["etcd_ca_cert_file"] = json!(file("ca.crt"));
        good["etcd_cert_file"] = json!(file("client.crt"));
        good["etcd_key_file"] = json!(file("client.key"));
        for (key, value) in [
            ("etcd_ca_cert_file", file("other-ca.crt")),
            ("etcd_ca_cert_file", file("nowhere.crt")),
            ("etcd_ca_cert_file", file("client.key")),
            ("etcd_cert_file", file("stranger.crt")),
            ("etcd_key_file", file("nowhere.key")),
            ("etcd_key_file", file("stranger.key")),
        ] {
            let mut bad = good.clone();
            bad[key] = json!(value);
            let output = node.call("ADD", &container).configuration(&bad).run()?;
            eprintln!("{key} = {value}: {}", output.stdout);
            refused(&output, 0, "", GIVEN_UP);
        }
        let mut unnamed = good.clone();
        unnamed["etcd_cert_file"] = json!("");
        unnamed["etcd_key_file"] = json!("");
        refused(&node.call("ADD", &container).configuration(&unnamed).run()?, 0, "", GIVEN_UP);
        // The right ones reach the store, which has no ClusterInformation.
        let output = node.call("ADD", &container).configuration(&good).run()?;
        refused(&output, 999, "ClusterInformation", AT_ONCE);
        node.assert_whole("after all refusals")
    });
}

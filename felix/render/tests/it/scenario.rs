//! A recorded scenario (`tests/golden/README.md`), and our renderer fed with it.

use felix_calc::{Feed, Options};
use felix_config::{Local, Settings, Stored, resolve};
use felix_render::Render;
use felix_render::iptables::Renderer;
use model::admission::{Operation, admit};
use model::schema::decode_strict;
use model::{Key, Kind, document};
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The node whose calculation it is.
const NODE: &str = "node-1";

/// Interfaces of the recorded host and their addresses.
const INTERFACES: [(&str, &[&str]); 3] = [
    ("lo", &["127.0.0.1", "::1"]),
    ("eth0", &["192.0.2.11", "2001:db8::11", "fe80::ff:fe00:10"]),
    ("eth1", &["198.51.100.11", "fe80::ff:fe00:11"]),
];

/// `case.yaml`.
pub struct Scenario {
    /// Its name.
    pub name: String,
    documents: String,
    environment: Vec<(String, String)>,
    /// What was deleted while the agent ran: kinds and names.
    pub then: Vec<(String, String)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/felix")
}

/// All scenarios but those about tunnels, which are not carried.
pub fn all() -> Vec<Scenario> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.retain(|name| !name.starts_with("routes-vxlan"));
    names.iter().map(|name| Scenario::read(name)).collect()
}

impl Scenario {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(folder().join(name).join("case.yaml")).unwrap();
        let case = document::parse(&text, name).unwrap().remove(0).value;
        let step = |words: &Value| {
            let words: Vec<&str> =
                words.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            let ["delete", kind, name] = words[..] else { panic!("{words:?}") };
            (kind.to_owned(), name.to_owned())
        };
        let variables = case["agent_environment"].as_object().into_iter().flatten();
        Scenario {
            name: name.to_owned(),
            documents: case["datastore"].as_str().unwrap().to_owned(),
            environment: variables
                .map(|(name, text)| (name.clone(), text.as_str().unwrap().into()))
                .collect(),
            then: case["then"].as_array().into_iter().flatten().map(step).collect(),
        }
    }

    /// A recorded file; `None` where the agent gave up before.
    pub fn file(&self, backend: &str, name: &str) -> Option<String> {
        std::fs::read_to_string(folder().join(&self.name).join(backend).join(name)).ok()
    }

    /// A node in this scenario.
    pub fn node(&self) -> Node {
        let mut stored = Stored::default();
        let mut pairs = Vec::new();
        for document in document::parse(&self.documents, &self.name).unwrap() {
            for raw in document.resources(&self.name).unwrap() {
                let mut resource = decode_strict(raw.kind, raw.value).unwrap();
                admit(&mut resource, Operation::Create).unwrap();
                if resource.kind() == Kind::FelixConfiguration {
                    stored.set(resource.name(), Some(Arc::new(resource.clone())));
                }
                let key = resource.key().path();
                pairs.push((key, Value::Object(resource.into_object()).to_string()));
            }
        }
        let configuration = resolve(&Local::new(self.environment.clone()), &stored, NODE);
        let settings = Settings::of(&configuration);
        let mut node = Node::new(&settings);
        for (key, value) in pairs {
            node.feed.push(key.into(), Some(value.into_bytes().into()));
        }
        node.settle();
        node
    }
}

/// The calculation and the renderer behind it.
pub struct Node {
    feed: Feed,
    pub renderer: Renderer,
}

impl Node {
    fn new(settings: &Settings) -> Self {
        let options: Options = settings.calc.clone();
        let mut renderer = Renderer::new(settings.rules.clone());
        for (name, addresses) in INTERFACES {
            let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            renderer.set_interface(name, Some(&addresses));
        }
        Node { feed: Feed::new(NODE, options), renderer }
    }

    fn settle(&mut self) {
        assert_eq!(self.feed.work(usize::MAX), 0);
        self.renderer.apply(&self.feed.take());
    }

    /// Deletes a resource.
    pub fn delete(&mut self, kind: &str, name: &str) {
        let key = Key::resource(Kind::from_alias(kind).unwrap(), "default", name).path();
        self.feed.push(key.into(), None);
        self.settle();
    }
}

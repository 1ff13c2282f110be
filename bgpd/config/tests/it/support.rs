//! Views made of texts.

use bgp_config::{NodePlan, RouterId, SessionPlan, View};
use model::schema::decode_strict;
use model::{Resource, document};
use std::net::IpAddr;
use std::sync::Arc;

/// The resources of a text of documents; `apiVersion` may be left out.
pub fn resources(text: &str) -> Vec<Resource> {
    let mut resources = Vec::new();
    for chunk in text.split("---\n").filter(|chunk| !chunk.trim().is_empty()) {
        let text = format!("apiVersion: projectcalico.org/v3\n{}", unindented(chunk));
        for document in document::parse(&text, "test").unwrap_or_else(|e| panic!("{e}:\n{text}")) {
            for raw in document.resources("test").unwrap_or_else(|e| panic!("{e}:\n{text}")) {
                resources.push(decode_strict(raw.kind, raw.value).unwrap_or_else(|e| panic!("{e}:\n{text}")));
            }
        }
    }
    resources
}

fn unindented(text: &str) -> String {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let depth = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines().map(|line| format!("{}\n", &line[depth..])).collect()
}

/// What `node` sees of these resources.
pub fn view(node: &str, text: &str) -> View {
    let mut view = View::new(node, RouterId::Address);
    add(&mut view, text);
    view
}

/// Sets these resources.
pub fn add(view: &mut View, text: &str) {
    resources(text).iter().for_each(|resource| view.set(resource));
}

/// The plan of `node` with these resources.
pub fn plan(node: &str, text: &str) -> Arc<NodePlan> {
    view(node, text).plan()
}

/// The session with this address, which is the only one.
pub fn session<'a>(plan: &'a NodePlan, address: &str) -> &'a SessionPlan {
    let address: IpAddr = address.parse().unwrap();
    let mut found = plan.sessions.values().filter(|session| session.settings.remote_address == address);
    let session = found.next().unwrap_or_else(|| panic!("no session with {address}: {:?}", names(plan)));
    assert!(found.next().is_none(), "more than one session with {address}");
    session
}

/// Names of all sessions, sorted.
pub fn names(plan: &NodePlan) -> Vec<&str> {
    let mut names: Vec<&str> = plan.sessions.values().map(|session| session.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// Everything that is wrong, as people read it.
pub fn warnings(plan: &NodePlan) -> Vec<String> {
    plan.warnings.iter().map(ToString::to_string).collect()
}

/// A node with addresses; the rest of its spec and labels as YAML in braces.
pub fn node(name: &str, v4: &str, v6: &str, bgp: &str, labels: &str) -> String {
    let v4 = if v4.is_empty() { String::new() } else { format!("ipv4Address: {v4}/24, ") };
    let v6 = if v6.is_empty() { String::new() } else { format!("ipv6Address: '{v6}/64', ") };
    format!(
        "---\nkind: Node\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec: {{bgp: {{{v4}{v6}{bgp}}}}}\n"
    )
}

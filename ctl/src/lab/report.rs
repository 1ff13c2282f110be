//! What `lab up` has to show in the end.

use super::directory::Directory;
use super::matrix::{self, Probe};
use super::plan::POLICIES;
use super::policy::{self, Shown};
use super::progress::Progress;
use super::state::State;
use super::tool::ocicat;
use serde_json::{Value, json};

/// What is shown of the datastore and the first node's speaker: the words after `ocicat`.
const SHOWN: [&[&str]; 4] = [
    &["ipam", "show", "--show-blocks"],
    &["get", "wep", "-o", "wide"],
    &["node", "status"],
    &["bgp", "routes"],
];

/// What to try next; `ocicat` is called as this program was, which need not be in `PATH`.
const NEXT: [(&str, &str); 9] = [
    ("exec w1 -- ip route", "a workload's way out"),
    ("exec node-1 -- ip neigh", "its neighbours on the node, all permanent"),
    ("exec node-1 -- ocicat get ippools -o wide", "the pools"),
    ("exec node-1 -- ocicat get nodes -o yaml", "the node"),
    ("exec node-1 -- ocicat bgp peers", "who it speaks BGP with"),
    ("exec node-1 -- nft list ruleset", "what its agent told the kernel"),
    ("exec node-1 -- ocicat get networkpolicy -o yaml", "a policy; edit it, and `ocicat apply -f` it"),
    ("status", "what runs"),
    ("down", "takes all of it away"),
];

fn next(program: &str) -> String {
    let width = NEXT.iter().map(|(words, _)| words.len()).max().unwrap_or(0);
    let lines = NEXT.iter().map(|(words, what)| format!("  {program} lab {words:width$}  {what}\n"));
    format!("What to try next:\n{}", lines.collect::<String>())
}

/// The results.
pub struct Report<'a> {
    state: &'a State,
    probes: &'a [Probe],
    policies: &'a Shown,
    progress: &'a Progress,
    /// Command lines and what they printed.
    shown: Vec<(String, String)>,
}

impl<'a> Report<'a> {
    /// Gathers them; runs `ocicat` on the first node for what the datastore has.
    pub fn new(
        directory: &Directory,
        state: &'a State,
        probes: &'a [Probe],
        policies: &'a Shown,
        progress: &'a Progress,
    ) -> Self {
        let plan = state.plan();
        let shown = SHOWN.iter().map(|words| {
            let said = ocicat(directory, &plan, words, "");
            (format!("ocicat {}", words.join(" ")), said.unwrap_or_else(|error| format!("{error:#}\n")))
        });
        Self { state, probes, policies, progress, shown: shown.collect() }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::from("\nReal packets, sender by row, receiver by column:\n\n");
        for family in [4, 6] {
            text.push_str(&matrix::table(self.probes, family, &|_, _| false));
            text.push('\n');
        }
        text.push_str(&format!("$ ocicat apply -f policy.yaml\n{POLICIES}\n{}\n\n", self.policies.applied));
        text.push_str("The same packets afterwards:\n\n");
        let plan = self.state.plan();
        for family in [4, 6] {
            let denied = |from: &str, to: &str| policy::denied(&plan, from, to);
            text.push_str(&matrix::table(&self.policies.packets, family, &denied));
            text.push('\n');
        }
        for (line, out) in &self.policies.why {
            text.push_str(&format!("$ {line}\n{}\n\n", out.trim_end()));
        }
        for (line, out) in &self.shown {
            text.push_str(&format!("$ {line}\n{}\n\n", out.trim_end()));
        }
        let program = std::env::args().next().unwrap_or_else(|| "ocicat".to_string());
        text.push_str(&next(&program));
        text
    }

    /// For machines.
    pub fn json(&self) -> String {
        let steps: Vec<Value> =
            self.progress.steps().iter().map(|(what, at)| json!({"what": what, "atSeconds": at})).collect();
        let shown: Vec<Value> =
            self.shown.iter().map(|(line, out)| json!({"command": line, "output": out})).collect();
        let plan = self.state.plan();
        let node = |node: &super::plan::Node| json!({"name": node.name, "ipv4": node.ipv4().1.to_string(), "ipv6": node.ipv6().1.to_string()});
        let all = json!({
            "ok": matrix::complete(self.probes) && self.policies.as_policies_say,
            "seconds": self.progress.seconds(),
            "shape": self.state.shape,
            "etcdEndpoints": self.state.etcd.endpoints(),
            "nodes": plan.nodes.iter().map(node).collect::<Vec<_>>(),
            "workloads": self.state.workloads,
            "packets": self.probes,
            "policy": self.policies,
            "shown": shown,
            "steps": steps,
        });
        format!("{all:#}\n")
    }
}

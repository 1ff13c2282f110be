//! What an agent tells, as tables and as JSON.

use crate::bgp::age;
use crate::print::table;
use felix::proto::{Param, ParamsResponse, StatusResponse};
use serde_json::{Value, json};

/// Most characters of a value in a table.
const WIDEST: usize = 32;

pub(super) fn status_text(status: &StatusResponse) -> String {
    let head =
        [("node", status.node.clone()), ("up for", age(status.uptime_ms)), ("resources", resources(status))];
    lines_text(head.into_iter().chain(enforced_lines(status)))
}

fn resources(status: &StatusResponse) -> String {
    match snapshot(status) {
        Some(snapshot) => format!("{}, from {snapshot}: the store does not answer", status.source),
        None => format!("{}{}", status.source, if status.in_sync { "" } else { ", not read yet" }),
    }
}

/// Which snapshot is in force in the place of the store.
pub(crate) fn snapshot(status: &StatusResponse) -> Option<String> {
    let snapshot = status.snapshot?;
    let written = jiff::Timestamp::from_millisecond(snapshot.written_ms).unwrap_or_default();
    Some(format!("the snapshot of {written:.0}, revision {}", snapshot.revision))
}

/// The same for programs.
pub(crate) fn snapshot_json(status: &StatusResponse) -> Value {
    status.snapshot.map_or(Value::Null, |snapshot| {
        let written = jiff::Timestamp::from_millisecond(snapshot.written_ms).unwrap_or_default();
        json!({"revision": snapshot.revision, "written": written.to_string()})
    })
}

/// Words before a colon, and what there is to say about them.
pub(crate) fn lines_text(lines: impl IntoIterator<Item = (&'static str, String)>) -> String {
    lines.into_iter().map(|(what, text)| format!("{:<12}{text}\n", format!("{what}:"))).collect()
}

/// What is enforced, and what is not.
pub(crate) fn enforced_lines(status: &StatusResponse) -> Vec<(&'static str, String)> {
    let counts = status.counts.unwrap_or_default();
    let same = status.known_revision == status.enforced_revision;
    let enforces = match (status.waiting.as_str(), same) {
        ("", true) if status.snapshot.is_some() => {
            format!("what the datastore had held at revision {}", status.enforced_revision)
        }
        ("", true) => format!("what the datastore held at revision {}", status.enforced_revision),
        ("", false) => {
            format!("revision {} of {} known", status.enforced_revision, status.known_revision)
        }
        (reason, _) => format!("nothing new: {reason}"),
    };
    let endpoints =
        [("up", status.endpoints_up), ("down", status.endpoints_down), ("error", status.endpoints_error)];
    let endpoints: Vec<String> = endpoints.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let mut lines = vec![
        ("enforces", enforces),
        ("endpoints", format!("{} of this node: {}", counts.local_endpoints, endpoints.join(", "))),
        (
            "policies",
            format!(
                "{} of {} apply here, in {} tiers; {} profiles, {} sets",
                counts.active_policies, counts.policies, counts.tiers, counts.profiles, counts.sets
            ),
        ),
        (
            "cluster",
            format!("{} nodes, {} endpoints and network sets", counts.nodes, counts.endpoints_and_sets),
        ),
    ];
    if !status.snapshot_trouble.is_empty() {
        lines.push(("snapshot", status.snapshot_trouble.clone()));
    }
    lines.extend(status.endpoints_not_up.iter().map(|text| ("endpoint", text.clone())));
    lines.extend(status.objects.iter().map(|text| ("object", text.clone())));
    lines.extend(status.configuration.iter().map(|text| ("parameter", text.clone())));
    lines.extend(status.refused.iter().map(|text| ("kernel", format!("refuses {text}"))));
    lines
}

pub(crate) fn status_json(status: &StatusResponse) -> Value {
    let counts = status.counts.unwrap_or_default();
    json!({
        "node": status.node,
        "uptimeMs": status.uptime_ms,
        "source": status.source,
        "inSync": status.in_sync,
        "waiting": status.waiting,
        "storeTrouble": status.store_trouble,
        "storeSinceMs": status.store_since_ms,
        "snapshot": snapshot_json(status),
        "snapshotTrouble": status.snapshot_trouble,
        "knownRevision": status.known_revision,
        "enforcedRevision": status.enforced_revision,
        "endpoints": {"up": status.endpoints_up, "down": status.endpoints_down, "error": status.endpoints_error},
        "counts": {
            "nodes": counts.nodes,
            "endpointsAndSets": counts.endpoints_and_sets,
            "localEndpoints": counts.local_endpoints,
            "policies": counts.policies,
            "activePolicies": counts.active_policies,
            "tiers": counts.tiers,
            "profiles": counts.profiles,
            "sets": counts.sets,
        },
        "endpointsNotUp": status.endpoints_not_up,
        "objects": status.objects,
        "configuration": status.configuration,
        "refused": status.refused,
    })
}

pub(super) fn params_text(answer: &ParamsResponse) -> String {
    let mut rows =
        vec![["NAME", "VALUE", "FROM", "ACTED ON", "DEFAULT", "SCOPE", "TYPE"].map(str::to_owned).to_vec()];
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { short(text) };
    rows.extend(answer.params.iter().map(|param| {
        vec![
            param.name.clone(),
            or_dash(&param.value),
            param.origin.clone(),
            if param.acted_on { "yes" } else { "no" }.to_owned(),
            or_dash(&param.default),
            scope(param).to_owned(),
            param.r#type.clone(),
        ]
    }));
    let table = table::table(&rows);
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    let problems = answer.problems.iter().map(|problem| format!("warning: {problem}\n"));
    lines.chain(problems).collect()
}

pub(super) fn params_json(answer: &ParamsResponse) -> Value {
    let param = |param: &Param| {
        json!({
            "name": param.name,
            "field": param.field,
            "value": param.value,
            "from": param.origin,
            "actedOn": param.acted_on,
            "default": param.default,
            "scope": scope(param),
            "type": param.r#type,
            "meaning": param.doc,
        })
    };
    json!({"params": answer.params.iter().map(param).collect::<Vec<_>>(), "problems": answer.problems})
}

/// What fits into a table; the JSON has it whole.
fn short(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Who may set it.
fn scope(param: &Param) -> &'static str {
    match (param.local, param.field.is_empty()) {
        (true, _) => "local",
        (false, true) => "local or annotation",
        (false, false) => "local or FelixConfiguration",
    }
}

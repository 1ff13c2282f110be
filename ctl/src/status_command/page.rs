//! The page, as text and as JSON.

use super::Told;
use crate::bgp::{age, show as bgp};
use crate::felix_command::show as policy;
use crate::print::table;
use felix::proto::StatusResponse as Felix;
use observe::proto::Part;
use serde_json::{Value, json};

/// A part whose last report is as old as this has not reported at all.
const NEVER: u64 = u64::MAX;

/// For people.
pub(super) fn text(told: &Told) -> String {
    let mut lines = vec![("node", node(told))];
    match &told.felix {
        Ok(felix) => {
            lines.push(("store", store(felix)));
            lines.push(("dataplane", format!("{}: {}", felix.backend, felix.backend_reason)));
        }
        Err(reason) => lines.push(("policy", format!("does not answer: {reason}"))),
    }
    lines.push(("routes", routes(told)));
    if let Ok(felix) = &told.felix {
        lines.extend(policy::enforced_lines(felix));
    }
    if let Ok((speaker, _)) = &told.bgp {
        if speaker.refused_routes > 0 {
            lines.push((
                "kernel",
                format!("refuses {} routes, which are tried again", speaker.refused_routes),
            ));
        }
        lines.extend(speaker.warnings.iter().map(|text| ("warning", text.clone())));
    }
    let mut text = policy::lines_text(lines);
    text.push('\n');
    text.push_str(&parts(&told.health.parts));
    if let Ok((_, peers)) = &told.bgp {
        text.push('\n');
        text.push_str(&bgp::peers_text(peers));
    }
    text
}

/// For programs.
pub(super) fn json(told: &Told) -> Value {
    let part = |part: &Part| {
        json!({
            "name": part.name,
            "live": part.live,
            "ready": part.ready,
            "reason": part.reason,
            "reportedMsAgo": (part.age_ms != NEVER).then_some(part.age_ms),
        })
    };
    let absent = |reason: &str| json!({"error": reason});
    let store = told.felix.as_ref().ok().map(|felix| {
        json!({
            "source": felix.source,
            "reachable": felix.store_trouble.is_empty(),
            "sinceMs": felix.store_since_ms,
            "trouble": felix.store_trouble,
            "revision": felix.known_revision,
            "snapshot": policy::snapshot_json(felix),
            "snapshotTrouble": felix.snapshot_trouble,
        })
    });
    json!({
        "node": name(told),
        "live": told.health.live,
        "ready": told.health.ready,
        "parts": told.health.parts.iter().map(part).collect::<Vec<_>>(),
        "store": store,
        "dataplane": told.felix.as_ref().ok().map(|felix| json!({"backend": felix.backend, "why": felix.backend_reason})),
        "policy": told.felix.as_ref().map_or_else(|reason| absent(reason), policy::status_json),
        "bgp": told.bgp.as_ref().map_or_else(|reason| absent(reason), |(speaker, _)| bgp::status_json(speaker)),
        "sessions": told.bgp.as_ref().ok().map(|(_, peers)| peers.iter().map(bgp::peer_json).collect::<Vec<_>>()),
    })
}

fn name(told: &Told) -> &str {
    match (&told.felix, &told.bgp) {
        (Ok(felix), _) => &felix.node,
        (Err(_), Ok((speaker, _))) => &speaker.node,
        (Err(_), Err(_)) => "",
    }
}

/// Name, age and state in one line; what waits is in the table.
fn node(told: &Told) -> String {
    let up = match (&told.felix, &told.bgp) {
        (Ok(felix), _) => felix.uptime_ms,
        (Err(_), Ok((speaker, _))) => speaker.uptime_ms,
        (Err(_), Err(_)) => 0,
    };
    let parts = &told.health.parts;
    let unready: Vec<&str> = parts.iter().filter(|part| !part.ready).map(|part| part.name.as_str()).collect();
    let state =
        if unready.is_empty() { "ready".to_owned() } else { format!("not ready ({})", unready.join(", ")) };
    format!("{}, up for {}, {state}", name(told), age(up))
}

fn store(felix: &Felix) -> String {
    let since = age(felix.store_since_ms);
    let Felix { source, store_trouble, known_revision, .. } = felix;
    if let Some(snapshot) = policy::snapshot(felix) {
        return format!("{source}, from {snapshot}; the store is unreachable for {since}: {store_trouble}");
    }
    match (store_trouble.as_str(), felix.in_sync) {
        ("", true) => format!("{source}, answers for {since}, at revision {known_revision}"),
        ("", false) => format!("{source}, answers for {since}, and is being read"),
        (trouble, true) => {
            format!(
                "{source}, away for {since}: {trouble}; what revision {known_revision} held stays in force"
            )
        }
        (trouble, false) => format!("{source}, away for {since}: {trouble}; nothing of it is known yet"),
    }
}

fn routes(told: &Told) -> String {
    let has_part = told.health.parts.iter().any(|part| part.name.contains("bgpd"));
    match &told.bgp {
        Ok((speaker, _)) => {
            let id = if speaker.router_id.is_empty() { "none, so no sessions" } else { &speaker.router_id };
            let restart = if speaker.restarting { ", restarting" } else { "" };
            format!(
                "BGP, AS {}, router ID {id}, {} destinations{restart}",
                speaker.local_as, speaker.destinations
            )
        }
        Err(reason) if has_part => format!("the BGP speaker does not answer: {reason}"),
        Err(_) => "no BGP here: CALICO_NETWORKING_BACKEND is none, or policy runs by itself".to_owned(),
    }
}

fn parts(parts: &[Part]) -> String {
    let mut rows = vec![["PART", "LIVE", "READY", "REPORTED", "REASON"].map(str::to_owned).to_vec()];
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    rows.extend(parts.iter().map(|part| {
        let reported =
            if part.age_ms == NEVER { "never".to_owned() } else { format!("{} ago", age(part.age_ms)) };
        vec![part.name.clone(), word(part.live), word(part.ready), reported, part.reason.clone()]
    }));
    table::table(&rows).lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

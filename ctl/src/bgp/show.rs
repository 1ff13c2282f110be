//! What a speaker tells, as tables and as JSON.

use crate::print::table;
use bgpd::proto::{FamilyCount, Peer, Route, StatusResponse};
use serde_json::{Value, json};

/// The rows as lines without blanks at their ends.
fn trimmed(rows: &[Vec<String>]) -> Vec<String> {
    table::table(rows).lines().map(|line| line.trim_end().to_owned()).collect()
}

fn text_of(rows: &[Vec<String>]) -> String {
    trimmed(rows).join("\n") + "\n"
}

/// A span of time as people say it.
pub fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

pub(super) fn status_text(status: &StatusResponse) -> String {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    let mut lines = vec![
        ("node", status.node.clone()),
        ("AS number", status.local_as.to_string()),
        ("router ID", or(&status.router_id, "none, so there are no sessions: the node has no address")),
        ("listens at", or(&status.listen.join(", "), "nothing")),
        ("up for", age(status.uptime_ms)),
        ("resources", format!("{}{}", status.source, if status.in_sync { "" } else { ", not read yet" })),
        ("routes", format!("{} destinations, {} paths", status.destinations, status.paths)),
    ];
    if !status.cluster_id.is_empty() {
        lines.push(("cluster ID", status.cluster_id.clone()));
    }
    let kernel = match (status.programs_kernel, status.refused_routes) {
        (false, _) => "nothing is put there (--no-fib)".to_owned(),
        (true, 0) => "has what it should".to_owned(),
        (true, refused) => format!("refuses {refused} routes, which are tried again"),
    };
    lines.push(("kernel", kernel));
    if status.restarting {
        lines.push(("restart", "routes of before are kept until the neighbours have told theirs".to_owned()));
    }
    lines.extend(status.warnings.iter().map(|warning| ("warning", warning.clone())));
    lines.into_iter().map(|(what, text)| format!("{:<12}{text}\n", format!("{what}:"))).collect()
}

pub(crate) fn status_json(status: &StatusResponse) -> Value {
    json!({
        "node": status.node,
        "asNumber": status.local_as,
        "routerID": status.router_id,
        "clusterID": status.cluster_id,
        "listen": status.listen,
        "uptimeMs": status.uptime_ms,
        "source": status.source,
        "inSync": status.in_sync,
        "restarting": status.restarting,
        "programsKernel": status.programs_kernel,
        "refusedRoutes": status.refused_routes,
        "destinations": status.destinations,
        "paths": status.paths,
        "warnings": status.warnings,
    })
}

pub(crate) fn peers_text(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "no sessions are configured\n".to_owned();
    }
    let mut rows = vec![
        ["NAME", "ADDRESS", "AS", "STATE", "SINCE", "RECEIVED", "BEST", "SENT", "INFO"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for peer in peers {
        let count = |pick: fn(&FamilyCount) -> u64| peer.families.iter().map(pick).sum::<u64>().to_string();
        rows.push(vec![
            peer.name.clone(),
            peer.address.clone(),
            if peer.remote_as == 0 { "any".to_owned() } else { peer.remote_as.to_string() },
            peer.state.clone(),
            age(peer.since_ms),
            count(|family| family.received),
            count(|family| family.best),
            count(|family| family.sent),
            if peer.last_end.is_empty() { peer.origin.clone() } else { peer.last_end.clone() },
        ]);
    }
    text_of(&rows)
}

pub(crate) fn peer_json(peer: &Peer) -> Value {
    let session = peer.session.as_ref().map(|session| {
        json!({
            "routerID": session.router_id,
            "localAddress": session.local_address,
            "holdTime": session.hold_time,
            "keepaliveTime": session.keepalive_time,
            "gracefulRestart": session.graceful_restart,
            "routeRefresh": session.route_refresh,
            "enhancedRefresh": session.enhanced_refresh,
            "extendedMessages": session.extended_messages,
            "fourOctetAS": session.four_octet_as,
            "addPathReceive": session.add_path_receive,
            "addPathSend": session.add_path_send,
        })
    });
    let family = |family: &FamilyCount| {
        json!({
            "family": family.family,
            "received": family.received,
            "best": family.best,
            "sent": family.sent,
            "stale": family.stale,
        })
    };
    json!({
        "name": peer.name,
        "address": peer.address,
        "port": peer.port,
        "type": peer.r#type,
        "origin": peer.origin,
        "localAS": peer.local_as,
        "remoteAS": peer.remote_as,
        "state": peer.state,
        "sinceMs": peer.since_ms,
        "lastEnd": peer.last_end,
        "passive": peer.passive,
        "dynamic": peer.dynamic,
        "session": session,
        "families": peer.families.iter().map(family).collect::<Vec<_>>(),
    })
}

pub(super) fn routes_text(routes: &[Route]) -> String {
    if routes.is_empty() {
        return "no routes\n".to_owned();
    }
    let mut rows = vec![
        ["PREFIX", "FROM", "NEXT HOP", "PREF", "AS PATH", "PATHS", "KERNEL"].map(str::to_owned).to_vec(),
    ];
    for route in routes {
        rows.push(vec![
            route.prefix.clone(),
            route.source.clone(),
            route.next_hop.clone(),
            if route.next_hop.is_empty() { String::new() } else { route.local_pref.to_string() },
            route.as_path.clone(),
            route.paths.to_string(),
            route.kernel.clone(),
        ]);
    }
    text_of(&rows)
}

pub(super) fn route_json(route: &Route) -> Value {
    json!({
        "prefix": route.prefix,
        "source": route.source,
        "nextHop": route.next_hop,
        "asPath": route.as_path,
        "localPref": route.local_pref,
        "med": route.med,
        "communities": route.communities,
        "kernel": route.kernel,
        "paths": route.paths,
    })
}

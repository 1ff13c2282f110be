use super::show::*;
use super::*;
use crate::io::captured;
use bgpd::proto::{FamilyCount, Peer, StatusResponse};

fn peer(state: &str, last_end: &str) -> Peer {
    Peer {
        name: "Mesh_192_0_2_1".into(),
        address: "192.0.2.1".into(),
        port: 179,
        origin: "BGPConfiguration default".into(),
        remote_as: 64512,
        state: state.into(),
        since_ms: 61_500,
        last_end: last_end.into(),
        families: vec![FamilyCount {
            family: "ipv4-unicast".into(),
            received: 3,
            best: 2,
            sent: 4,
            stale: false,
        }],
        ..Peer::default()
    }
}

#[test]
fn peers_are_a_table_that_says_why_a_session_is_down() {
    let text = peers_text(&[peer("Established", ""), peer("Active", "Connection refused")]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("NAME") && lines[0].ends_with("INFO"));
    assert!(
        lines[1].contains("Established")
            && lines[1].contains("1m1s")
            && lines[1].ends_with("BGPConfiguration default")
    );
    assert!(lines[2].ends_with("Connection refused"), "{text}");
    assert_eq!(peers_text(&[]), "no sessions are configured\n");
    let value = peer_json(&peer("Active", "x"));
    assert_eq!((&value["state"], &value["session"]), (&json!("Active"), &serde_json::Value::Null));
    assert_eq!(value["families"][0]["best"], 2);
}

#[test]
fn ages_are_as_people_say_them() {
    for (milliseconds, text) in
        [(999, "0s"), (59_000, "59s"), (3_599_000, "59m59s"), (3_600_000, "1h0m"), (90_000_000, "1d1h")]
    {
        assert_eq!(age(milliseconds), text);
    }
}

#[test]
fn a_status_tells_what_is_wrong() {
    let status = StatusResponse {
        node: "n1".into(),
        local_as: 64512,
        source: "etcd".into(),
        programs_kernel: true,
        refused_routes: 2,
        warnings: vec!["BGPPeer x: no".into()],
        ..StatusResponse::default()
    };
    let text = status_text(&status);
    for expected in [
        "router ID:  none",
        "etcd, not read yet",
        "refuses 2 routes",
        "warning:    BGPPeer x: no",
        "up for:     0s",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_speaker_that_does_not_run_is_told_by_its_socket() {
    let args = BgpArgs { socket: "/no/such.sock".into(), output: "ps".into() };
    let (mut io, _, _) = captured::io("");
    let Err(Failure::Message(text)) = run(&BgpCommand::Peers { args }, &mut io).await else {
        panic!("answered")
    };
    assert!(text.contains("/no/such.sock") && text.contains("running"), "{text}");
}

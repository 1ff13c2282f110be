use super::*;
use crate::admission::validate;
use crate::schema::decode_strict;
use serde_json::json;

fn names(spec: Value, status: Value) -> Vec<String> {
    let document = json!({"metadata": {"name": "a"}, "spec": spec, "status": status});
    let resource = decode_strict(Kind::Node, document).unwrap();
    validate(&resource).err().into_iter().flat_map(|e| e.fields).map(|field| field.name).collect()
}

#[test]
fn addresses_are_of_their_family() {
    assert_eq!(names(json!({"bgp": {"ipv4Address": "10.0.0.1"}}), json!({})), Vec::<String>::new());
    assert_eq!(names(json!({"bgp": {"ipv6Address": "10.0.0.1/24"}}), json!({})), ["IPv6Address"]);
    assert_eq!(names(json!({"ipv4VXLANTunnelAddr": "10.0.0.1/24"}), json!({})), ["IPv4VXLANTunnelAddr"]);
    assert_eq!(names(json!({"vxlanTunnelMACAddrV6": "x"}), json!({})), ["VXLANTunnelMACAddrV6"]);
    assert_eq!(
        names(json!({"wireguard": {"interfaceIPv6Address": "10.0.0.1"}}), json!({})),
        ["InterfaceIPv6Address"]
    );
    assert_eq!(names(json!({}), json!({"wireguardPublicKey": "short"})), ["WireguardPublicKey"]);
}

#[test]
fn an_empty_bgp_section_is_refused_and_kept() {
    assert_eq!(names(json!({"bgp": {}}), json!({})), ["BGP"]);
    assert_eq!(names(json!({"bgp": {"asNumber": 0}}), json!({})), Vec::<String>::new());
}

use super::*;
use proptest::prelude::*;

#[test]
fn names() {
    for good in ["a", "a-b", "a.b", "0", "a--b", "node-1.example"] {
        assert!(is_subdomain(good), "{good}");
    }
    for bad in ["", "-a", "a-", "A", "a..b", ".a", "a.", "a_b", "é"] {
        assert!(!is_subdomain(bad), "{bad}");
    }
    assert!(is_subdomain(&"a".repeat(300)));
    assert!(is_name_part("A_b.c-D") && !is_name_part("_a") && !is_name_part("a b") && !is_name_part(""));
    assert!(is_container_id("Ab-0") && !is_container_id("-a") && !is_container_id("a_b"));
    assert!(is_service_name("http-alt") && !is_service_name("80") && !is_service_name("a--b"));
    assert!(!is_service_name("Web_Port") && !is_service_name("abcdefghijklmnop"));
    assert!(
        is_interface("eth0.5")
            && !is_interface("")
            && !is_interface("abcdefghijklmnop")
            && !is_interface("eth*")
    );
    assert!(is_interface_pattern("eth*") && !is_interface_pattern("eth+"));
}

#[test]
fn addresses() {
    assert!(is_net("10.0.0.0/8") && is_net("10.0.0.1") && !is_net("10.0.0.1/8") && !is_net("x"));
    assert!(is_cidr("10.0.0.1/8") && is_cidr("fd00::1") && !is_cidr("10.0.0.0/33"));
    assert!(is_cidr_of("10.0.0.1/8", Family::V4) && !is_cidr_of("fd00::1/64", Family::V4));
    assert!(is_net_of("fd00::/8", Family::V6) && !is_net_of("fd00::1/8", Family::V6));
    assert!(is_written_cidr("10.0.0.7/24") && !is_written_cidr("10.0.0.7"));
    assert!(is_ip_of("::1", Family::V6) && !is_ip_of("::1", Family::V4) && !is_ip("10.0.0.0/8"));
}

#[test]
fn peers_have_an_optional_port() {
    for good in ["192.0.2.3", "192.0.2.3:179", "fd00::1", "[fd00::1]:1790"] {
        assert!(ip_of_peer(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "192.0.2.300",
        "192.0.2.3:70000",
        "192.0.2.3:0",
        "192.0.2.3:",
        "[fd00::1]",
        "[192.0.2.3]:1",
        "[::1]:x",
    ] {
        assert!(ip_of_peer(bad).is_none(), "{bad}");
    }
}

#[test]
fn mac_addresses_as_go_reads_them() {
    for good in ["0a:1b:2c:3d:4e:5f", "0A-1B-2C-3D-4E-5F", "0a1b.2c3d.4e5f", "00:00:5e:00:53:01:00:01"] {
        assert!(is_mac(good), "{good}");
    }
    for bad in ["", "0a:1b", "0a:1b:2c:3d:4e:5g", "0a:1b-2c:3d:4e:5f", "a:b:c:d:e:f"] {
        assert!(!is_mac(bad), "{bad}");
    }
}

#[test]
fn keys_and_words() {
    assert!(is_wireguard_key("jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY="));
    assert!(!is_wireguard_key("short=") && !is_wireguard_key(""));
    assert!(is_any_case_or_empty("", &["Info"]) && is_any_case_or_empty("iNFO", &["Info"]));
    assert!(!is_any_case_or_empty("Inf", &["Info"]));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = (is_subdomain(&text), is_mac(&text), is_net(&text), ip_of_peer(&text), is_wireguard_key(&text));
        let _ = (is_service_name(&text), is_interface(&text), is_selector(&text));
    }

    #[test]
    fn every_written_address_is_one(bits: u128, port in 1u16..) {
        let v4 = std::net::Ipv4Addr::from(bits as u32);
        let v6 = std::net::Ipv6Addr::from(bits);
        prop_assert_eq!(ip_of_peer(&format!("{v4}:{port}")), Some(v4.into()));
        prop_assert_eq!(ip_of_peer(&format!("[{v6}]:{port}")), Some(v6.into()));
    }
}

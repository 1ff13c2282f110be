use super::*;
use proptest::prelude::*;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn texts() {
    for (given, masked) in [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("255.255.255.255/0", "0.0.0.0/0"),
        ("10.0.0.1/32", "10.0.0.1/32"),
        ("FD5F:009C::1/64", "fd5f:9c::/64"),
        ("::1/0", "::/0"),
        ("2001:db8::1/128", "2001:db8::1/128"),
    ] {
        assert_eq!(Cidr::parse_masked(given).unwrap().to_string(), masked);
        assert_eq!(
            given.parse::<Cidr>().is_ok(),
            parse_parts(given).unwrap().0 == cidr(masked).addr(),
            "{given}"
        );
    }
    for bad in [
        "",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "::/129",
        "10.0.0/8",
        "x/8",
        "10.0.0.0/8/8",
    ] {
        assert_eq!(Cidr::parse_masked(bad), Err(CidrError(bad.to_owned())));
    }
    assert_eq!(CidrError("x".into()).to_string(), "invalid CIDR address: x");
}

#[test]
fn dashes_in_keys() {
    for text in ["192.168.84.128/26", "fd00::40/122", "::/0"] {
        let dashed = cidr(text).dashed();
        assert!(!dashed.contains('/'));
        assert_eq!(Cidr::from_dashed(&dashed).unwrap(), cidr(text));
    }
    assert!(Cidr::from_dashed("10.0.0.0").is_err() && Cidr::from_dashed("-8").is_err());
}

#[test]
fn the_widest_prefixes() {
    let (v4, v6) = (cidr("0.0.0.0/0"), cidr("::/0"));
    assert_eq!((v4.size(), v6.size()), (1 << 32, u128::MAX));
    assert!(!v4.overlaps(&v6) && !v4.contains("::".parse().unwrap()));
    assert_eq!(v4.nth(u128::from(u32::MAX)), Some("255.255.255.255".parse().unwrap()));
    assert_eq!(v4.nth(1 << 32), None);
    assert_eq!(Cidr::new("10.0.0.0".parse().unwrap(), 33), None);
}

/// An address and a prefix length of its family.
fn any_parts() -> impl Strategy<Value = (IpAddr, u8)> {
    prop_oneof![
        (any::<u32>(), 0u8..=32).prop_map(|(bits, prefix)| (IpAddr::from(bits.to_be_bytes()), prefix)),
        (any::<u128>(), 0u8..=128).prop_map(|(bits, prefix)| (IpAddr::from(bits.to_be_bytes()), prefix)),
        // few bits, so that prefixes meet
        (0u32..8, 28u8..=32).prop_map(|(bits, prefix)| (IpAddr::from(bits.to_be_bytes()), prefix)),
    ]
}

/// The address as a text of zeros and ones.
fn bits(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(v4) => format!("{:032b}", u32::from(v4)),
        IpAddr::V6(v6) => format!("{:0128b}", u128::from(v6)),
    }
}

fn naive_contains(cidr: &Cidr, addr: IpAddr) -> bool {
    let (net, addr) = (bits(cidr.addr()), bits(addr));
    net.len() == addr.len() && net[..usize::from(cidr.prefix())] == addr[..usize::from(cidr.prefix())]
}

proptest! {
    #[test]
    fn masking_keeps_the_leading_bits((addr, prefix) in any_parts()) {
        let cidr = Cidr::new(addr, prefix).unwrap();
        let expected = format!("{:0<width$}", &bits(addr)[..usize::from(prefix)], width = bits(addr).len());
        prop_assert_eq!(bits(cidr.addr()), expected);
        prop_assert_eq!(cidr.to_string().parse::<Cidr>(), Ok(cidr));
        prop_assert_eq!(Cidr::from_dashed(&cidr.dashed()), Ok(cidr));
    }

    #[test]
    fn containment_is_a_common_beginning((addr, prefix) in any_parts(), (other, other_prefix) in any_parts()) {
        let (a, b) = (Cidr::new(addr, prefix).unwrap(), Cidr::new(other, other_prefix).unwrap());
        prop_assert_eq!(a.contains(other), naive_contains(&a, other));
        prop_assert!(a.contains(addr));
        prop_assert_eq!(a.covers(&b), b.prefix() >= a.prefix() && naive_contains(&a, b.addr()));
        prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
        prop_assert_eq!(a.overlaps(&b), a.covers(&b) || b.covers(&a));
    }

    #[test]
    fn places_and_addresses_are_one_to_one((addr, prefix) in any_parts(), place: u128) {
        let cidr = Cidr::new(addr, prefix).unwrap();
        let offset = cidr.offset_of(addr).unwrap();
        prop_assert!(offset <= cidr.size());
        if offset < cidr.size() {
            prop_assert_eq!(cidr.nth(offset), Some(addr));
        }
        prop_assert_eq!(cidr.nth(place).and_then(|addr| cidr.offset_of(addr)), Some(place).filter(|p| *p < cidr.size()));
    }

    #[test]
    fn wider_prefixes_cover((addr, prefix) in any_parts(), to in 0u8..=128) {
        let cidr = Cidr::new(addr, prefix).unwrap();
        match cidr.widen(to) {
            Some(wider) => prop_assert!(wider.covers(&cidr) && wider.prefix() == to),
            None => prop_assert!(to > prefix),
        }
    }

    #[test]
    fn no_text_panics(text in "[0-9a-f:./-]{0,30}") {
        let _ = (Cidr::parse_masked(&text), Cidr::from_dashed(&text));
    }
}

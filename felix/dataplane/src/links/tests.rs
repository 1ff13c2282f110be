use super::*;
use kernel::{IpNet, Scope};

fn link(index: u32, name: &str, up: bool, carrier: bool) -> Link {
    let (kind, mtu) = ("veth".to_owned(), 1500 + index);
    Link { index, name: name.into(), alias: None, mac: None, mtu, up, carrier, kind, peer: None }
}

fn address(link: u32, text: &str) -> Address {
    let net = IpNet::host(text.parse().unwrap());
    Address { link, net, scope: Scope::Universe, tentative: false }
}

const NOW: Duration = Duration::from_secs(1);

fn changed(links: &mut Links) -> Vec<String> {
    links.take_changed().iter().map(ToString::to_string).collect()
}

#[test]
fn events_and_a_list_come_to_the_same() {
    let mut told = Links::default();
    for event in [
        KernelEvent::Link(link(1, "eth0", false, false)),
        KernelEvent::Link(link(1, "eth0", true, true)),
        KernelEvent::Address(address(1, "192.0.2.1")),
        KernelEvent::Link(link(2, "cali1", true, false)),
        KernelEvent::Link(link(3, "gone", true, true)),
        KernelEvent::LinkGone(link(3, "gone", true, true)),
    ] {
        told.event(&event, NOW);
    }
    let mut listed = Links::default();
    let links = [link(1, "eth0", true, true), link(2, "cali1", true, false)];
    listed.replace(&links, &[address(1, "192.0.2.1")], NOW);
    assert_eq!(told.links, listed.links);
    assert_eq!(told.by_name, listed.by_name);
    assert_eq!(changed(&mut told), ["cali1", "eth0", "gone"]);
    assert!(!told.named("cali1").unwrap().1.up && told.named("eth0").unwrap().1.up);
    assert_eq!(told.with_address("192.0.2.1".parse().unwrap()).unwrap().0, 1);
    // a list without it
    told.replace(&links[..1], &[], NOW);
    assert!(told.named("cali1").is_none());
    assert_eq!(changed(&mut told), ["cali1", "eth0"]);
}

#[test]
fn what_takes_routes_along_is_told() {
    let mut links = Links::default();
    links.replace(&[link(1, "a", true, true), link(2, "b", true, true)], &[], NOW);
    links.event(&KernelEvent::Link(link(1, "a", true, false)), NOW);
    assert!(links.take_flushed().is_empty(), "without carrier routes stay");
    links.event(&KernelEvent::Link(link(1, "a", false, false)), NOW);
    links.event(&KernelEvent::LinkGone(link(2, "b", true, true)), NOW);
    assert_eq!(links.take_flushed(), [1, 2].into());
    links.event(&KernelEvent::Address(address(1, "192.0.2.1")), NOW);
    links.event(&KernelEvent::AddressGone(address(1, "192.0.2.1")), NOW);
    assert_eq!(links.take_flushed(), [1].into());
}

#[test]
fn another_name_is_another_interface_and_a_name_may_be_taken_over() {
    let mut links = Links::default();
    links.event(&KernelEvent::Link(link(1, "a", true, true)), NOW);
    links.take_changed();
    links.event(&KernelEvent::Link(link(1, "b", true, true)), NOW * 2);
    assert_eq!(changed(&mut links), ["a", "b"]);
    assert!(links.named("a").is_none());
    assert_eq!(links.named("b").unwrap().1.since, NOW * 2);
    // the new one of a name is told before the old one goes
    links.event(&KernelEvent::Link(link(2, "b", true, true)), NOW);
    links.event(&KernelEvent::LinkGone(link(1, "b", true, true)), NOW);
    assert_eq!(links.named("b").unwrap().0, 2);
    // nothing new
    links.take_changed();
    links.event(&KernelEvent::Link(link(2, "b", true, true)), NOW);
    assert!(links.take_changed().is_empty());
}

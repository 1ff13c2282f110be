//! IP sets of the real kernel, with `ipset` as the independent view.

use super::nftables::Rig;
use super::root;
use crate::{IpSets, RefusedMember, SetSocket};
use netfilter::ipset::{Family, Member, SetKind};
use std::net::IpAddr;

/// `IPSET_ERR_FIND_TYPE`
const NO_SUCH_TYPE: i32 = 4098;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str, length: u8) -> Member {
    Member::Net { address: ip(text), length }
}

fn port(text: &str, protocol: u8, port: u16) -> Member {
    Member::Port { address: ip(text), protocol, port }
}

/// What `ipset save` says, sorted, without sizes of tables.
fn saved(rig: &Rig) -> Vec<String> {
    let text = rig.run("ipset", &["save"]);
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let sizes = ["hashsize", "bucketsize", "initval"];
            let hidden = |place: usize| {
                let before = place.checked_sub(1).and_then(|place| words.get(place));
                sizes.contains(&words[place]) || before.is_some_and(|before| sizes.contains(before))
            };
            let kept = (0..words.len()).filter(|place| !hidden(*place)).map(|place| words[place]);
            kept.collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.sort();
    lines
}

fn create(sets: &mut SetSocket, name: &str, kind: SetKind, family: Family) {
    sets.create(name, kind, family, 1000).unwrap();
}

#[test]
fn ipset_sees_what_we_made_and_we_see_what_ipset_made() {
    if !root() {
        return;
    }
    let (ours, theirs) = (Rig::new(), Rig::new());
    let mut sets = SetSocket::open(&ours.netns).unwrap();
    let pair = Member::Pair { from: (ip("10.0.0.0"), 8), to: (ip("192.0.2.1"), 32) };
    let wanted: [(&str, SetKind, Family, Vec<Member>); 6] = [
        ("cali40s:a", SetKind::Net, Family::V4, vec![net("10.0.0.0", 8), net("10.1.2.3", 32)]),
        ("cali60s:a", SetKind::Net, Family::V6, vec![net("fd00::", 8), net("fd00::1", 128)]),
        ("cali40host", SetKind::Ip, Family::V4, vec![net("127.0.0.1", 32)]),
        ("cali60host", SetKind::Ip, Family::V6, vec![net("::1", 128)]),
        ("cali40n:p", SetKind::IpPort, Family::V4, vec![port("10.0.0.1", 6, 80), port("10.0.0.1", 132, 9)]),
        ("cali40pairs", SetKind::NetNet, Family::V4, vec![pair]),
    ];
    let mut absent = Vec::new();
    for (name, kind, family, members) in &wanted {
        match sets.create(name, *kind, *family, 1000) {
            // not every kernel is built with every type
            Err(error) if error.errno() == Some(NO_SUCH_TYPE) => {
                eprintln!("the kernel has no sets of type {}, which is left out", kind.name());
                absent.push(*name);
                continue;
            }
            made => made.unwrap(),
        }
        assert_eq!(sets.add(name, members).unwrap(), []);
        // what is there is no error
        assert_eq!(sets.add(name, members).unwrap(), []);
        theirs.run("ipset", &["create", name, kind.name(), "family", &family.to_string(), "maxelem", "1000"]);
        for member in members {
            theirs.run("ipset", &["add", name, &member.to_string()]);
        }
    }
    assert_eq!(saved(&ours), saved(&theirs));
    let mut theirs = SetSocket::open(&theirs.netns).unwrap();
    let (mut headers, mut of_theirs) = (sets.list().unwrap(), theirs.list().unwrap());
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    of_theirs.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(headers, of_theirs);
    for (name, kind, family, members) in wanted.iter().filter(|set| !absent.contains(&set.0)) {
        let header = of_theirs.iter().find(|header| header.name == *name).unwrap();
        assert_eq!((header.kind, header.family, header.max), (Some(*kind), Some(*family), 1000));
        let mut there = theirs.members(name).unwrap();
        there.sort();
        let mut should = members.clone();
        should.sort();
        assert_eq!(there, should, "{name}");
        assert_eq!(theirs.remove(name, members).unwrap(), []);
        assert_eq!(theirs.remove(name, members).unwrap(), []);
        assert_eq!(theirs.members(name).unwrap(), []);
        theirs.destroy(name).unwrap();
    }
    assert_eq!(theirs.list().unwrap(), []);
}

#[test]
fn a_set_larger_than_any_message_is_filled_read_and_swapped() {
    if !root() {
        return;
    }
    let rig = Rig::new();
    let mut sets = SetSocket::open(&rig.netns).unwrap();
    let all: Vec<Member> =
        (0..20_000u32).map(|n| net(&IpAddr::from((0x0a00_0000 + n).to_be_bytes()).to_string(), 32)).collect();
    sets.create("big", SetKind::Net, Family::V4, 1 << 20).unwrap();
    sets.create("small", SetKind::Net, Family::V4, 1 << 20).unwrap();
    assert_eq!(sets.add("big", &all).unwrap(), []);
    let mut there = sets.members("big").unwrap();
    there.sort();
    assert!(there == all);
    sets.swap("big", "small").unwrap();
    assert_eq!(sets.members("big").unwrap(), []);
    assert_eq!(sets.members("small").unwrap().len(), all.len());
    let left = &all[..5];
    assert_eq!(sets.remove("small", &all[5..]).unwrap(), []);
    let mut there = sets.members("small").unwrap();
    there.sort();
    assert_eq!(there, left);
}

#[test]
fn a_refused_member_is_named_and_holds_no_other_back() {
    if !root() {
        return;
    }
    let rig = Rig::new();
    let mut sets = SetSocket::open(&rig.netns).unwrap();
    create(&mut sets, "s", SetKind::Net, Family::V4);
    let members = [net("10.0.0.1", 32), net("0.0.0.0", 0), net("fd00::", 8), net("10.0.0.2", 32)];
    let refused = sets.add("s", &members).unwrap();
    let places: Vec<usize> = refused.iter().map(|refused| refused.place).collect();
    assert_eq!(places, [1, 2], "{refused:?}");
    assert!(refused.iter().all(|refused| refused.errno != 0), "{refused:?}");
    assert_eq!(
        saved(&rig),
        ["add s 10.0.0.1", "add s 10.0.0.2", "create s hash:net family inet maxelem 1000"]
    );
    // a full set
    sets.create("full", SetKind::Ip, Family::V4, 64).unwrap();
    let many: Vec<Member> = (0..2000u32).map(|n| net(&format!("10.1.{}.{}", n / 250, n % 250), 32)).collect();
    let refused = sets.add("full", &many).unwrap();
    assert!(refused.iter().all(|refused: &RefusedMember| refused.errno == 4352), "{:?}", refused.first());
    assert_eq!(sets.members("full").unwrap().len() + refused.len(), many.len());
}

#[test]
fn errors_are_in_words() {
    if !root() {
        return;
    }
    let rig = Rig::new();
    let mut sets = SetSocket::open(&rig.netns).unwrap();
    assert_eq!(sets.list().unwrap(), []);
    let gone = sets.members("gone").unwrap_err();
    assert_eq!(gone.errno(), Some(2), "{gone}");
    assert_eq!(sets.add("gone", &[net("10.0.0.1", 32)]).unwrap_err().errno(), Some(2));
    create(&mut sets, "s", SetKind::Net, Family::V4);
    rig.run("iptables-nft", &["-A", "INPUT", "-m", "set", "--match-set", "s", "src", "-j", "DROP"]);
    let used = sets.destroy("s").unwrap_err().to_string();
    assert!(used.contains("destroy IP set s") && used.contains("in use"), "{used}");
    create(&mut sets, "other", SetKind::Ip, Family::V4);
    let differs = sets.swap("s", "other").unwrap_err().to_string();
    assert!(differs.contains("not of one type"), "{differs}");
    let twice = sets.create("s", SetKind::Net, Family::V4, 1).unwrap_err().to_string();
    assert!(twice.contains("create IP set s"), "{twice}");
    assert_eq!(sets.list().unwrap().iter().find(|header| header.name == "s").unwrap().references, 1);
}

//! The driver against the real kernel, with `nft` as the independent view.

mod faults;
mod model;

use super::{NftDriver, Ours, Step};
use crate::testing::{Space, as_root};
use felix_render::nft::ruleset::{Chain, Update};
use kernel::NftKernel;
use model::{Model, Random, Wanted, actual, hook, judgement, rule, shape, updates};
use netfilter::nft::{DataType, Element, Expression, Family, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn open(space: &Space) -> NftDriver {
    NftDriver::open(Box::new(space.nftables()), Ours::RULES).unwrap()
}

/// Steps until nothing is left to do, in a time of its own that jumps to the next try.
fn settle(driver: &mut NftDriver, now: &mut Duration) {
    for _ in 0..10_000 {
        if driver.step(*now) == Step::More {
            continue;
        }
        match driver.next_try() {
            Some(next) if !driver.is_in_sync() => *now = next.max(*now + Duration::from_millis(1)),
            _ => return,
        }
    }
    panic!("never settles: {driver:?}");
}

fn apply(driver: &mut NftDriver, before: &Wanted, after: &Wanted, now: &mut Duration) {
    driver.update(updates(before, after));
    settle(driver, now);
    assert!(driver.is_in_sync(), "{driver:?}");
}

fn random_model(seed: u64, changes: usize) -> Model {
    let (mut random, mut model) = (Random(seed), Model::default());
    (0..changes).for_each(|_| model.change(&mut random));
    model
}

/// A wait with an end.
async fn soon(what: &str, mut happens: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if happens() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} does not happen");
}

/// Tables as other programs of a node make them.
const FOREIGN: &str = r#"
table ip kube-proxy {
    map service-ips { type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.0.1 . tcp . 443 : goto service-a }
    }
    set cluster-ips { type ipv4_addr; elements = { 10.96.0.1, 10.96.0.10 }
    }
    chain service-a { numgen random mod 2 vmap { 0 : goto endpoint-a, 1 : goto endpoint-b }
    }
    chain endpoint-a { ip saddr 10.0.0.1 meta mark set mark or 0x4000
        meta l4proto tcp dnat to 10.0.0.1:6443
    }
    chain endpoint-b { meta l4proto tcp dnat to 10.0.0.2:6443
    }
    chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept
        ip daddr . meta l4proto . th dport vmap @service-ips
    }
    chain filter-forward { type filter hook forward priority -110; policy accept
        ct state new ip daddr @cluster-ips reject
    }
}
table ip nat {
    chain DOCKER { iifname "docker0" counter return
    }
    chain PREROUTING { type nat hook prerouting priority dstnat; policy accept
        fib daddr type local counter jump DOCKER
    }
    chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept
        ip saddr 172.17.0.0/16 oifname != "docker0" counter masquerade
    }
}
table inet firewalld {
    set trusted { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 }
    }
    chain filter_INPUT { type filter hook input priority filter + 10; policy accept
        ct state { established, related } accept
        iifname "lo" accept
        ip saddr @trusted jump filter_IN_public
        reject with icmpx admin-prohibited
    }
    chain filter_IN_public { tcp dport 22 ct state new accept
    }
}
table ip6 ocicat-not-ours {
    chain from-cali0 { counter drop
    }
}
"#;

#[test]
fn a_thousand_random_changes_end_where_a_fresh_driver_ends_and_foreign_tables_stay() {
    as_root(async {
        let (old, fresh) = (Space::new(), Space::new());
        old.nft(FOREIGN);
        fresh.nft(FOREIGN);
        let foreign = old.nft("list ruleset");
        let mut driver = open(&old);
        let mut now = Duration::ZERO;
        let (mut random, mut model) = (Random(0x5eed), Model::default());
        let mut before = Wanted::default();
        let mut chance = 0;
        for turn in 0..1000 {
            model.change(&mut random);
            // some changes come together
            if random.below(3) == 0 && turn != 999 {
                continue;
            }
            let after = model.wanted();
            driver.update(updates(&before, &after));
            before = after;
            // and some before the batch is done
            if random.below(4) == 0 {
                driver.step(now);
                chance += 1;
                continue;
            }
            settle(&mut driver, &mut now);
        }
        settle(&mut driver, &mut now);
        assert!(driver.is_in_sync() && chance > 50, "{driver:?}");
        let mut other = open(&fresh);
        apply(&mut other, &Wanted::default(), &before, &mut Duration::ZERO.clone());
        // no assert_eq: what differs drowns in what does not
        let (is, should) = (old.canonical(), fresh.canonical());
        let differs = is.lines().zip(should.lines()).find(|(is, should)| is != should);
        assert!(is == should, "{differs:?}");
        assert!(old.canonical().contains("policy 1"), "the model made policies");
        apply(&mut driver, &before, &Wanted::default(), &mut now);
        assert_eq!(old.nft("list ruleset"), foreign, "foreign tables are as they were, ours are gone");
    });
}

#[test]
fn a_restart_with_everything_in_place_writes_nothing() {
    as_root(async {
        let space = Space::new();
        let wanted = random_model(7, 300).wanted();
        let mut now = Duration::ZERO;
        apply(&mut open(&space), &Wanted::default(), &wanted, &mut now);
        let generation = space.nftables().generation().unwrap();
        let mut restarted = open(&space);
        let mut events = NftKernel::events_of_others(&space.nftables()).unwrap();
        apply(&mut restarted, &Wanted::default(), &wanted, &mut Duration::ZERO.clone());
        assert_eq!(space.nftables().generation().unwrap(), generation);
        let none = futures::FutureExt::now_or_never(futures::StreamExt::next(&mut events));
        assert!(none.is_none(), "{none:?}");
        // and it knows the handles: a change of one chain is a difference inside it
        let mut changed = wanted.clone();
        let (key, chain) = wanted.chains.iter().find(|((_, name), _)| name.starts_with("from-")).unwrap();
        let mut longer = (**chain).clone();
        longer.rules.insert(0, rule(vec![Expression::counter()], "new"));
        changed.chains.insert(key.clone(), Arc::new(longer));
        apply(&mut restarted, &wanted, &changed, &mut now);
        assert_eq!(judgement(&actual(&mut space.nftables())), judgement(&changed));
    });
}

#[test]
fn rules_that_stay_keep_handle_and_counters() {
    as_root(async {
        let space = Space::new();
        let counting = |name: &str| rule(vec![Expression::counter()], name);
        let with = |names: &[&str]| {
            let rules = names.iter().map(|name| counting(name)).collect();
            let mut wanted = Wanted::default();
            let chain = Chain { hook: Some(hook(3, 0)), rules };
            wanted.chains.insert((Family::Ipv4, "out".into()), Arc::new(chain));
            wanted
        };
        let mut driver = open(&space);
        let mut now = Duration::ZERO;
        let first = with(&["a", "b", "c", "d"]);
        apply(&mut driver, &Wanted::default(), &first, &mut now);
        space.run("ip", &["link", "set", "lo", "up"]);
        let send =
            || std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:9").map(|_| ());
        space.netns.run(send).unwrap().unwrap();
        let listed = |space: &Space| -> BTreeMap<String, (String, bool)> {
            let text = space.run("nft", &["-a", "list", "chain", "ip", "ocicat", "out"]);
            let lines = text.lines().filter(|line| line.contains("comment"));
            let of = |line: &str| {
                let name = line.split('"').nth(1).unwrap().to_owned();
                (name, (line.split("handle ").nth(1).unwrap().to_owned(), !line.contains("packets 0 ")))
            };
            lines.map(of).collect()
        };
        let before = listed(&space);
        assert!(before.values().all(|(_, counted)| *counted), "{before:?}");
        let second = with(&["new", "a", "c", "x", "y", "d", "b"]);
        apply(&mut driver, &first, &second, &mut now);
        let after = listed(&space);
        for kept in ["a", "c", "d"] {
            assert_eq!(after[kept], before[kept]);
        }
        assert!(["new", "x", "y", "b"].iter().all(|name| !after[*name].1), "{after:?}");
        let text = space.nft("list chain ip ocicat out");
        let order: Vec<&str> = text.lines().filter_map(|line| line.split('"').nth(1)).collect();
        assert_eq!(order, ["new", "a", "c", "x", "y", "d", "b"]);
    });
}

#[test]
fn what_others_do_to_our_tables_is_repaired() {
    as_root(async {
        let space = Space::new();
        let wanted = random_model(3, 200).wanted();
        let mut driver = open(&space);
        let mut now = Duration::ZERO;
        apply(&mut driver, &Wanted::default(), &wanted, &mut now);
        let is = judgement(&wanted);
        let set = wanted
            .sets
            .keys()
            .find(|(family, name)| *family == Family::Ipv4 && name.starts_with("s-"))
            .unwrap();
        let set = set.1.to_string();
        let damages = [
            "flush chain ip ocicat forward".to_owned(),
            "insert rule ip ocicat forward counter accept".to_owned(),
            "add chain ip ocicat theirs".to_owned(),
            format!("flush set ip ocicat {set}"),
            format!("add element ip ocicat {set} {{ 192.0.2.99 }}"),
            "flush map ip6 ocicat workloads".to_owned(),
            "add set ip6 ocicat theirs { type ipv4_addr; }".to_owned(),
            "add table ip ocicat { flags dormant; }".to_owned(),
            "delete table ip6 ocicat".to_owned(),
            "delete table ip ocicat; add table ip ocicat; add chain ip ocicat forward".to_owned(),
            "flush ruleset".to_owned(),
        ];
        for damage in damages {
            space.nft(&damage);
            tokio::time::timeout(Duration::from_secs(10), driver.changed()).await.expect(&damage);
            settle(&mut driver, &mut now);
            assert_eq!(judgement(&actual(&mut space.nftables())), is, "{damage}");
            assert!(!space.nft("list ruleset").contains("theirs"), "{damage}");
            assert!(!space.nft("list ruleset").contains("dormant"), "{damage}");
        }
        // what happens to tables of others is nobody's business
        space.nft(FOREIGN);
        soon("nothing", || driver.step(now) == Step::Idle && driver.is_in_sync()).await;
    });
}

#[test]
fn what_the_kernel_refuses_holds_nothing_else_back() {
    as_root(async {
        let space = Space::new();
        let mut wanted = random_model(11, 200).wanted();
        let mut driver = open(&space);
        let mut now = Duration::ZERO;
        apply(&mut driver, &Wanted::default(), &wanted, &mut now);
        let before = wanted.clone();
        let key = |name: &str| (Family::Ipv4, Arc::<str>::from(name));
        // masquerading is for NAT chains alone
        let bad = rule(vec![Expression::Masquerade { flags: 0, ports: None }], "refused");
        let chain = |rules: Vec<felix_render::nft::ruleset::Rule>| Arc::new(Chain { hook: None, rules });
        let goto = |to: &str| rule(vec![Expression::Verdict(Verdict::Goto(to.into()))], to);
        wanted.chains.insert(key("bad"), chain(vec![bad]));
        wanted.chains.insert(key("needs-bad"), chain(vec![goto("bad")]));
        wanted.chains.insert(key("good"), chain(vec![rule(vec![Expression::counter()], "good")]));
        let base = &wanted.chains[&key("forward")];
        let mut longer = (**base).clone();
        longer.rules.insert(1, goto("needs-bad"));
        wanted.chains.insert(key("forward"), Arc::new(longer));
        driver.update(updates(&before, &wanted));
        for _ in 0..20 {
            driver.step(now);
        }
        let refused: Vec<String> = driver.refused().map(|(object, _)| object).collect();
        assert!(!driver.is_in_sync() && driver.is_settled());
        assert!(
            refused.iter().any(|object| object.contains("forward") || object.contains("bad")),
            "{refused:?}"
        );
        let is = actual(&mut space.nftables());
        assert!(is.chains.contains_key(&key("good")), "the others are there");
        assert!(driver.next_try().is_some());
        // the base chain is as it was, or whole
        assert!(is.chains[&key("forward")].rules.len() >= 3);
        // mended: tried at once
        let broken = wanted.clone();
        wanted
            .chains
            .insert(key("bad"), chain(vec![rule(vec![Expression::Verdict(Verdict::Drop)], "mended")]));
        driver.update(updates(&broken, &wanted));
        settle(&mut driver, &mut now);
        assert!(driver.is_in_sync() && driver.refused().next().is_none(), "{driver:?}");
        assert_eq!(judgement(&actual(&mut space.nftables())), judgement(&wanted));
    });
}

#[test]
fn a_refused_object_that_is_not_wanted_any_more_is_forgotten() {
    as_root(async {
        let space = Space::new();
        let mut driver = open(&space);
        let bad = rule(vec![Expression::Masquerade { flags: 0, ports: None }], "refused");
        let mut wanted = Wanted::default();
        let chain = Chain { hook: Some(hook(2, 0)), rules: vec![bad] };
        wanted.chains.insert((Family::Ipv4, "forward".into()), Arc::new(chain));
        driver.update(updates(&Wanted::default(), &wanted));
        let mut now = Duration::ZERO;
        (0..5).for_each(|_| assert!(driver.step(now) == Step::More || driver.refused().next().is_some()));
        assert!(!driver.guards(), "a chain the kernel calls is missing");
        driver.update(updates(&wanted, &Wanted::default()));
        settle(&mut driver, &mut now);
        assert!(driver.is_in_sync() && driver.guards() && driver.next_try().is_none(), "{driver:?}");
        assert_eq!(space.nft("list ruleset"), "");
    });
}

#[test]
fn another_hook_another_policy_and_another_shape_are_taken_over() {
    as_root(async {
        let space = Space::new();
        let mut driver = open(&space);
        let mut now = Duration::ZERO;
        let wanted = random_model(5, 200).wanted();
        apply(&mut driver, &Wanted::default(), &wanted, &mut now);
        let key = (Family::Ipv4, Arc::<str>::from("forward"));
        let mut moved = wanted.clone();
        let mut chain = (*wanted.chains[&key]).clone();
        chain.hook = Some(hook(2, -5));
        moved.chains.insert(key.clone(), Arc::new(chain.clone()));
        apply(&mut driver, &wanted, &moved, &mut now);
        assert_eq!(judgement(&actual(&mut space.nftables())), judgement(&moved));
        let mut strict = moved.clone();
        chain.hook.as_mut().unwrap().policy = netfilter::nft::Policy::Drop;
        strict.chains.insert(key, Arc::new(chain));
        apply(&mut driver, &moved, &strict, &mut now);
        assert_eq!(judgement(&actual(&mut space.nftables())), judgement(&strict));
        // as after an update of the program: a set of the same name has another shape
        drop(driver);
        let mut other = strict.clone();
        for (_, (shape, _)) in other.sets.iter_mut().filter(|((_, name), _)| name.starts_with("s-")) {
            *shape = Arc::new(felix_render::nft::ruleset::SetShape { size: Some(2048), ..(**shape).clone() });
        }
        let mut newer = open(&space);
        apply(&mut newer, &Wanted::default(), &other, &mut now);
        let is = actual(&mut space.nftables());
        assert_eq!(judgement(&is), judgement(&other));
        assert!(
            is.sets.iter().any(|((_, name), (shape, _))| name.starts_with("s-") && shape.size == Some(2048))
        );
    });
}

#[test]
fn a_hundred_thousand_members_are_split_and_come_back_whole() {
    as_root(async {
        let space = Space::new();
        let members =
            |range: std::ops::Range<u32>| range.map(|n| Element::key((0x0a00_0000 + n).to_be_bytes()));
        let sized = felix_render::nft::ruleset::SetShape {
            size: Some(200_000),
            ..shape(&[DataType::IPV4], None, false)
        };
        let name: Arc<str> = "s-many".into();
        let family = Family::Ipv4;
        let told = || {
            let added = members(0..100_000).collect();
            [
                Update::Set { family, name: name.clone(), shape: Some(Arc::new(sized.clone())) },
                Update::Elements { family, set: name.clone(), added, removed: vec![] },
            ]
        };
        let (faulty, plan) = crate::testing::Faulty::new(space.nftables());
        let mut driver = NftDriver::open(Box::new(faulty), Ours::RULES).unwrap();
        driver.update(told());
        let mut now = Duration::ZERO;
        settle(&mut driver, &mut now);
        assert!(driver.is_in_sync(), "{driver:?}");
        let commits = plan.lock().unwrap().commits.clone();
        assert!(commits.len() > 5, "{commits:?}");
        let added = members(100_000..100_001).collect();
        driver.update([Update::Elements {
            family,
            set: name.clone(),
            added,
            removed: members(0..2).collect(),
        }]);
        settle(&mut driver, &mut now);
        let generation = space.nftables().generation().unwrap();
        let mut restarted = open(&space);
        restarted.update(told());
        let added = members(100_000..100_001).collect();
        restarted.update([Update::Elements {
            family,
            set: name.clone(),
            added,
            removed: members(0..2).collect(),
        }]);
        settle(&mut restarted, &mut Duration::ZERO.clone());
        assert!(restarted.is_in_sync());
        assert_eq!(space.nftables().generation().unwrap(), generation, "all came back");
    });
}

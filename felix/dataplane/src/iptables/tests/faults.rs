//! Any order of updates, changes by others and failures ends where it should, and never touches what is not ours.

use super::fake::{Chains, Fault, Key, Set, World};
use super::model::{Random, SHAPE, Wanted, member, rule, set_name, updates};
use super::{apply, open, settle};
use crate::nft::Step;
use crate::testing::block_on;
use felix_render::iptables::{Hook, Table};
use kernel::Variant;
use model::net::Family;
use netfilter::ipset::{self, SetKind};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const KEYS: [Key; 4] = [
    (ipset::Family::V4, Variant::Nft, "filter"),
    (ipset::Family::V6, Variant::Nft, "raw"),
    (ipset::Family::V4, Variant::Legacy, "nat"),
    (ipset::Family::V6, Variant::Legacy, "filter"),
];

/// Others do something: to what is theirs, or to what is ours.
fn others(world: &World, random: &mut Random) {
    let key = KEYS[random.below(KEYS.len())];
    let number = random.below(1000);
    match random.below(7) {
        0 => world.table(key, |chains| {
            let name = format!("DOCKER-{}", random.below(3));
            chains
                .entry(name.clone())
                .or_default()
                .push(format!("-m comment --comment \"their {number}\" -j RETURN"));
            let chain = if chains.contains_key("FORWARD") { "FORWARD" } else { "PREROUTING" };
            chains.get_mut(chain).unwrap().insert(0, format!("-j {name}"));
        }),
        1 => world.table(key, |chains| {
            for rules in chains.values_mut().filter(|rules| !rules.is_empty()) {
                rules.push(format!("-m comment --comment \"calico? {number}\" -j ACCEPT"));
            }
        }),
        2 => world.table(key, |chains| {
            // all that is ours in it, or a life before it
            chains.retain(|name, _| !name.starts_with("cali-"));
            chains.values_mut().for_each(|rules| rules.retain(|rule| !rule.contains("cali")));
            chains.insert("felix-FORWARD".into(), vec!["-j ACCEPT".into()]);
        }),
        3 => world.table(key, |chains| {
            let ours: Vec<String> = chains.keys().filter(|name| name.starts_with("cali-")).cloned().collect();
            if let Some(name) = ours.get(random.below(ours.len().max(1))) {
                let rules = chains.get_mut(name).unwrap();
                rules.insert(random.below(rules.len() + 1), "-j ACCEPT".into());
            }
        }),
        4 => world.table(key, |chains| {
            // a rule of ours where it does not belong
            let stray = "-m comment --comment \"cali:abcdefghijklmnop\" -j ACCEPT".to_owned();
            chains.entry("DOCKER-0".into()).or_default().push(stray);
        }),
        5 => {
            let mut inner = world.lock();
            if let Some((_, set)) = inner.state.sets.iter_mut().nth(random.below(5)) {
                set.members.clear();
                set.members.insert(member(Family::V4, 77));
            }
        }
        _ => {
            let names =
                ["cali50s:x", "felix-x", "KUBE-SET", "cali40s:old", "cali6t4", "felix-masq-ipam-pools"];
            let set = Set { kind: SetKind::Ip, family: ipset::Family::V4, max: 5, members: BTreeSet::new() };
            world.lock().state.sets.entry(names[random.below(names.len())].into()).or_insert(set);
        }
    }
}

/// The chains that are left of tables that were empty.
fn used(tables: &BTreeMap<Key, Chains>) -> BTreeMap<Key, Chains> {
    let is_used = |chains: &Chains| chains.values().any(|rules| !rules.is_empty()) || chains.len() > 5;
    tables.iter().filter(|(_, chains)| is_used(chains)).map(|(key, chains)| (*key, chains.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_history_ends_where_it_should(seed in 1u64.., changes in 1usize..60, legacy in any::<bool>()) {
        block_on(async {
            let mut random = Random(seed);
            let world = World::default();
            let mut variant = if legacy { Variant::Legacy } else { Variant::Nft };
            let mut driver = open(&world, variant);
            let mut now = Duration::ZERO;
            let (mut wanted, mut told) = (Wanted::default(), Wanted::default());
            for _ in 0..changes {
                match random.below(8) {
                    0 | 1 => others(&world, &mut random),
                    2 => {
                        let at = world.lock().calls + random.below(6);
                        world.lock().fault = Some((at, [Fault::Lost, Fault::Killed][random.below(2)]));
                    }
                    3 => now += Duration::from_millis(random.below(50_000) as u64),
                    4 => {
                        let steps = random.below(5);
                        for _ in 0..steps {
                            driver.step(now).await;
                        }
                    }
                    5 if random.below(4) == 0 => {
                        variant = if variant == Variant::Nft { Variant::Legacy } else { Variant::Nft };
                        driver.set_variant(variant);
                    }
                    _ => {
                        wanted.change(&mut random);
                        driver.update(updates(&told, &wanted));
                        told = wanted.clone();
                    }
                }
            }
            world.lock().fault = None;
            settle(&mut driver, &mut now).await;
            // a life after this one sees what no event told of, as the look from time to time does
            let before = world.lock().state.clone();
            let mut driver = open(&world, variant);
            apply(&mut driver, &Wanted::default(), &wanted, &mut now).await;
            let mut expected = wanted.over(&before, variant);
            for (key, chains) in wanted.tables(variant) {
                expected.tables.entry(key).or_insert(chains);
            }
            let is = world.lock().state.clone();
            assert_eq!(used(&is.tables), used(&wanted.over(&is, variant).tables));
            assert_eq!(is.sets, expected.sets);
            // theirs is as they left it, in its order
            assert_eq!(used(&Wanted::default().over(&is, variant).tables), used(&Wanted::default().over(&before, variant).tables));
            // and all of ours goes
            driver.unwant_all();
            settle(&mut driver, &mut now).await;
            assert!(driver.is_in_sync());
            let left = world.lock().state.clone();
            assert_eq!(used(&left.tables), used(&Wanted::default().over(&left, variant).tables));
            assert!(left.sets.keys().all(|name| !crate::iptables::sets::is_ours(name)), "{:?}", left.sets.keys());
        });
    }
}

/// Two endpoints' chains below a dispatch chain.
fn two_policies() -> Wanted {
    let mut wanted = Wanted::default();
    let place = (Family::V4, Table::Filter);
    let mut chain = |name: &str, rules: &[&str]| {
        wanted.chains.insert((place, name.to_owned()), rules.iter().map(|text| rule(text)).collect());
    };
    chain("cali-FORWARD", &["--jump cali-from-wl-dispatch"]);
    chain(
        "cali-from-wl-dispatch",
        &["-i cali1 --goto cali-fw-cali1", "-i cali2 --goto cali-fw-cali2", "--jump DROP"],
    );
    chain("cali-fw-cali1", &["--jump cali-po-a"]);
    chain("cali-fw-cali2", &["--jump cali-po-b"]);
    chain("cali-po-a", &["-m set --match-set cali40s:1 dst --jump ACCEPT"]);
    chain("cali-po-b", &["--jump ACCEPT"]);
    let hook = Hook { inserted: vec![rule("--jump cali-FORWARD")], appended: Vec::new() };
    wanted.hooks.insert((place, "FORWARD"), hook);
    let members = (1..4).map(|number| member(Family::V4, number)).collect();
    wanted.sets.insert((Family::V4, set_name(Family::V4, 1)), (SHAPE, members));
    wanted
}

#[test]
fn a_refused_rule_closes_its_chain_alone_and_names_whom_it_concerns() {
    block_on(async {
        let world = World::default();
        world.lock().refuses = Some("-A cali-po-b -m comment".to_owned());
        let mut driver = open(&world, Variant::Legacy);
        let mut now = Duration::ZERO;
        let wanted = two_policies();
        driver.update(updates(&Wanted::default(), &wanted));
        while driver.step(now).await == Step::More {}
        assert!(driver.is_settled() && !driver.is_in_sync() && driver.guards());
        let key = (ipset::Family::V4, Variant::Legacy, "filter");
        world.table(key, |chains| {
            assert_eq!(chains["cali-po-b"], ["--jump DROP"], "it lets nothing through");
            assert_eq!(chains["cali-po-a"].len(), 1, "the other one is in force");
            assert_eq!(chains["cali-from-wl-dispatch"].len(), 3);
        });
        let told: Vec<String> = driver.refused().map(|(what, words)| format!("{what}: {words}")).collect();
        assert!(
            told[0].starts_with("chain cali-po-b of iptables table filter: iptables-restore: refused"),
            "{told:?}"
        );
        let affected = driver.affected();
        let chains: Vec<&str> = affected.chains.iter().map(|name| &**name).collect();
        assert_eq!((affected.all, chains), (false, vec!["cali-fw-cali2", "cali-po-b"]));
        // a change of it that is refused too leaves the old rules of one that is in force
        world.lock().refuses = Some("-A cali-po-a -m comment".to_owned());
        let mut other = wanted.clone();
        let place = (Family::V4, Table::Filter);
        other.chains.insert((place, "cali-po-a".to_owned()), vec![rule("--jump RETURN")]);
        driver.update(updates(&wanted, &other));
        now += Duration::from_secs(60);
        for _ in 0..50 {
            driver.step(now).await;
        }
        let text = |rule_text: &str| crate::iptables::table::marked(&rule(rule_text));
        world.table(key, |chains| {
            assert_eq!(chains["cali-po-a"], [text("-m set --match-set cali40s:1 dst --jump ACCEPT")]);
            assert_eq!(chains["cali-po-b"], [text("--jump ACCEPT")], "tried again");
        });
        world.lock().refuses = None;
        settle(&mut driver, &mut now).await;
        assert!(driver.is_in_sync() && driver.refused().next().is_none());
    });
}

const FILTER: Key = (ipset::Family::V4, Variant::Legacy, "filter");

/// The kernel takes a table of the legacy variant as a whole, and does not say what of it it does not take.
#[test]
fn what_the_kernel_refuses_is_found_and_holds_nothing_else_back() {
    block_on(async {
        let world = World::default();
        let mut driver = open(&world, Variant::Legacy);
        let mut now = Duration::ZERO;
        let mut wanted = two_policies();
        let place = (Family::V4, Table::Filter);
        for more in 0..100 {
            let name = format!("cali-pi-{more}");
            wanted.chains.insert((place, name), vec![rule(&format!("-p tcp --dport {more} --jump ACCEPT"))]);
        }
        apply(&mut driver, &Wanted::default(), &wanted, &mut now).await;
        // everything changes, and the kernel dislikes one of the changes, one of what comes, and knows no reason
        let mut other = wanted.clone();
        for ((_, name), rules) in &mut other.chains {
            if name.starts_with("cali-pi-") {
                rules.push(rule(&format!("--jump LOG --log-prefix {name}-")));
            }
        }
        other.chains.insert((place, "cali-pi-new".into()), vec![rule("--jump LOG --log-prefix cali-pi-7-")]);
        other.chains.insert((place, "cali-fw-cali1".into()), vec![rule("--jump cali-pi-new")]);
        // and something is to go that others still lead to where their change is refused
        other.chains.remove(&(place, "cali-po-a".into()));
        world.lock().kernel_refuses = Some("cali-pi-7-".to_owned());
        let programs = world.lock().programs;
        driver.update(updates(&wanted, &other));
        while driver.step(now).await == Step::More {}
        let told: Vec<String> = driver.refused().map(|(what, words)| format!("{what}: {words}")).collect();
        let refused = ["cali-pi-7", "cali-pi-new"];
        assert_eq!(told.len(), refused.len(), "{told:?}");
        for (told, name) in told.iter().zip(refused) {
            let object = format!("chain {name} of iptables table filter: iptables-restore: line failed");
            assert!(told.starts_with(&object), "{told}");
        }
        assert!(driver.is_settled() && driver.guards() && !driver.is_in_sync());
        assert_eq!(
            driver.affected().chains.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["cali-fw-cali1", "cali-pi-7", "cali-pi-new"]
        );
        let tries = world.lock().programs - programs;
        assert!(tries < 40, "{tries} programs");
        world.table(FILTER, |chains| {
            assert_eq!(chains["cali-pi-7"].len(), 1, "it keeps its rules");
            assert_eq!(chains["cali-pi-new"], ["--jump DROP"]);
            assert_eq!(chains["cali-pi-8"].len(), 2);
            assert_eq!(chains["cali-po-a"].len(), 1, "what goes keeps its rules too");
        });
        world.lock().kernel_refuses = None;
        settle(&mut driver, &mut now).await;
        assert!(driver.is_in_sync() && driver.refused().next().is_none());
        world.table(FILTER, |chains| {
            assert!(chains["cali-pi-7"].len() == 2 && !chains.contains_key("cali-po-a"));
        });
    });
}

/// Where the kernel refuses whatever it is given, that is found out soon, and tried again with pauses.
#[test]
fn a_kernel_that_refuses_everything_is_not_asked_without_end() {
    block_on(async {
        let world = World::default();
        world.lock().kernel_refuses = Some("COMMIT".to_owned());
        let mut driver = open(&world, Variant::Legacy);
        let mut now = Duration::ZERO;
        let mut wanted = two_policies();
        let place = (Family::V4, Table::Filter);
        (0..1000).for_each(|more| drop(wanted.chains.insert((place, format!("cali-pi-{more}")), Vec::new())));
        driver.update(updates(&Wanted::default(), &wanted));
        while driver.step(now).await == Step::More {}
        assert!(!driver.guards());
        assert!(world.lock().programs < 200, "{} programs", world.lock().programs);
        assert!(
            driver.refused().any(|(what, _)| what == "iptables table filter"),
            "{:?}",
            driver.refused().collect::<Vec<_>>()
        );
        assert!(driver.next_try().is_some_and(|at| at > now));
        world.lock().kernel_refuses = None;
        settle(&mut driver, &mut now).await;
        assert!(driver.is_in_sync() && driver.guards());
    });
}

/// Nobody is shut out of the node by a rule that the program does not know.
#[test]
fn a_refused_chain_that_every_packet_comes_to_is_led_to_by_nothing() {
    block_on(async {
        let world = World::default();
        world.lock().refuses = Some("-A cali-FORWARD -m comment".to_owned());
        let mut driver = open(&world, Variant::Legacy);
        let mut now = Duration::ZERO;
        let wanted = two_policies();
        driver.update(updates(&Wanted::default(), &wanted));
        while driver.step(now).await == Step::More {}
        assert!(driver.is_settled() && !driver.guards() && driver.affected().all);
        world.table(FILTER, |chains| assert!(chains["FORWARD"].is_empty(), "{chains:?}"));
        world.lock().refuses = None;
        settle(&mut driver, &mut now).await;
        assert!(driver.is_in_sync() && driver.guards());
        world.table(FILTER, |chains| assert_eq!(chains["FORWARD"].len(), 1));
    });
}

#[test]
fn a_full_set_is_told_with_its_endpoints_and_filled_when_there_is_room() {
    block_on(async {
        let world = World::default();
        let mut driver = open(&world, Variant::Nft);
        let mut now = Duration::ZERO;
        let mut wanted = two_policies();
        wanted.sets.get_mut(&(Family::V4, set_name(Family::V4, 1))).unwrap().0.max = 2;
        driver.update(updates(&Wanted::default(), &wanted));
        while driver.step(now).await == Step::More {}
        assert!(driver.is_settled() && driver.guards());
        let told: Vec<String> = driver.refused().map(|(what, words)| format!("{what}: {words}")).collect();
        assert!(told[0].starts_with("IP set cali40s:1: 10.0.0.3: the set is full"), "{told:?}");
        let affected = driver.affected();
        assert!(!affected.all && affected.chains.contains("cali-fw-cali1"), "{affected:?}");
        assert!(!affected.chains.contains("cali-fw-cali2"), "{affected:?}");
        let mut more = wanted.clone();
        more.sets.get_mut(&(Family::V4, set_name(Family::V4, 1))).unwrap().0.max = 100;
        apply(&mut driver, &wanted, &more, &mut now).await;
        let inner = world.lock();
        assert_eq!(inner.state.sets["cali40s:1"].members.len(), 3);
        assert_eq!(inner.state.sets.len(), 1, "nothing is left beside it");
    });
}

/// A set of a life before, which a rule of others keeps in the kernel, with members that nobody wants.
#[test]
fn a_set_that_was_to_go_and_is_wanted_again_has_no_members_of_its_life_before() {
    block_on(async {
        let world = World::default();
        let name = set_name(Family::V4, 1);
        let old = Set {
            kind: SetKind::Net,
            family: ipset::Family::V4,
            max: SHAPE.max,
            members: [member(Family::V4, 99)].into(),
        };
        world.lock().state.sets.insert(name.clone(), old);
        world.table(FILTER, |chains| {
            chains.get_mut("OUTPUT").unwrap().push(format!("-m set --match-set {name} src -j ACCEPT"));
        });
        let mut driver = open(&world, Variant::Legacy);
        let mut now = Duration::ZERO;
        while driver.step(now).await == Step::More {}
        assert_eq!(driver.refused().count(), 1, "it is in use");
        apply(&mut driver, &Wanted::default(), &two_policies(), &mut now).await;
        assert_eq!(world.lock().state.sets[&name].members.len(), 3);
        assert!(now < Duration::from_secs(20), "before a look would find it: {now:?}");
    });
}

/// Answers about sets that are lost do not let all be asked again, without an end where there are many.
#[test]
fn lost_answers_about_many_sets_are_asked_for_again() {
    block_on(async {
        let world = World::default();
        let mut wanted = Wanted::default();
        for number in 0..100 {
            wanted
                .sets
                .insert((Family::V4, set_name(Family::V4, number)), (SHAPE, [member(Family::V4, 1)].into()));
        }
        let mut now = Duration::ZERO;
        apply(&mut open(&world, Variant::Nft), &Wanted::default(), &wanted, &mut now).await;
        world.lock().lost_each = Some(17);
        let mut driver = open(&world, Variant::Nft);
        apply(&mut driver, &Wanted::default(), &wanted, &mut now).await;
    });
}

#[test]
fn a_chain_that_another_rule_names_stays_empty_and_holds_nothing_back() {
    block_on(async {
        let world = World::default();
        let mut driver = open(&world, Variant::Nft);
        let mut now = Duration::ZERO;
        let wanted = two_policies();
        apply(&mut driver, &Wanted::default(), &wanted, &mut now).await;
        let key = (ipset::Family::V4, Variant::Nft, "filter");
        world.table(key, |chains| chains.get_mut("OUTPUT").unwrap().push("-j cali-po-b".to_owned()));
        driver.update(updates(&wanted, &Wanted::default()));
        while driver.step(now).await == Step::More {}
        let left = world.table(key, |chains| {
            chains.iter().filter(|(name, _)| name.starts_with("cali-")).map(foreign).collect::<Vec<_>>()
        });
        assert_eq!(left, [("cali-po-b".to_owned(), 0)]);
        assert_eq!(driver.refused().count(), 1);
        world.table(key, |chains| chains.get_mut("OUTPUT").unwrap().clear());
        settle(&mut driver, &mut now).await;
        assert!(driver.is_in_sync());
    });
}

fn foreign((name, rules): (&String, &Vec<String>)) -> (String, usize) {
    (name.clone(), rules.len())
}

#[test]
fn nothing_is_started_while_nothing_happens_but_for_the_look_from_time_to_time() {
    block_on(async {
        for (variant, programs) in [(Variant::Nft, 0), (Variant::Legacy, 2)] {
            let world = World::default();
            let mut driver = open(&world, variant);
            let mut now = Duration::ZERO;
            let mut wanted = two_policies();
            // in every table
            for table in Table::ALL {
                wanted.chains.insert(((Family::V4, table), "cali-x".into()), Vec::new());
                wanted.chains.insert(((Family::V6, table), "cali-x".into()), Vec::new());
            }
            apply(&mut driver, &Wanted::default(), &wanted, &mut now).await;
            let started = world.lock().programs;
            while driver.step(now).await == Step::More {}
            let next = driver.next_try().unwrap();
            assert!(
                next > now + Duration::from_secs(26) && next <= now + Duration::from_secs(30),
                "{next:?}"
            );
            assert_eq!(driver.step(next - Duration::from_millis(1)).await, Step::Idle);
            assert_eq!(world.lock().programs, started);
            // a member that somebody took away comes back
            world.lock().state.sets.get_mut("cali40s:1").unwrap().members.clear();
            while driver.step(next).await == Step::More {}
            assert_eq!(world.lock().programs, started + programs, "{variant}");
            assert_eq!(world.lock().state.sets["cali40s:1"].members.len(), 3);
        }
    });
}

#[test]
fn the_other_variant_is_left_after_the_new_one_is_whole() {
    block_on(async {
        let world = World::default();
        let mut driver = open(&world, Variant::Legacy);
        let mut now = Duration::ZERO;
        let wanted = two_policies();
        apply(&mut driver, &Wanted::default(), &wanted, &mut now).await;
        let whole = wanted.over(&world.lock().state, Variant::Legacy).tables;
        world.lock().history = Some(Vec::new());
        driver.set_variant(Variant::Nft);
        settle(&mut driver, &mut now).await;
        assert!(driver.is_in_sync());
        let history = world.lock().history.take().unwrap();
        let rules = |state: &super::fake::State, variant| {
            state.tables.get(&(ipset::Family::V4, variant, "filter")).cloned().unwrap_or_default()
        };
        let expected = &whole[&(ipset::Family::V4, Variant::Legacy, "filter")];
        for state in &history {
            let is_whole = |variant| rules(state, variant) == *expected;
            assert!(is_whole(Variant::Legacy) || is_whole(Variant::Nft), "{state:?}");
            assert_eq!(state.sets["cali40s:1"].members.len(), 3);
        }
        let last = world.lock().state.clone();
        assert_eq!(rules(&last, Variant::Nft), *expected);
        assert!(rules(&last, Variant::Legacy).values().all(Vec::is_empty));
    });
}

//! Both variants of the real programs, in a namespace.

use super::model::{SHAPE, Wanted, member, rule, set_name};
use super::{apply, settle, updates};
use crate::iptables::IptablesDriver;
use crate::nft::Step;
use crate::testing::{Space, as_root};
use felix_render::iptables::{Hook, Table};
use futures::future::BoxFuture;
use kernel::{Programs, Restored, SetSocket, Variant, XTables, XTablesError};
use model::net::Family;
use netfilter::ipset;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const VARIANTS: [Variant; 2] = [Variant::Legacy, Variant::Nft];

/// Counts the programs.
struct Counted(Programs, Arc<AtomicUsize>);

impl XTables for Counted {
    fn save(
        &self,
        family: ipset::Family,
        variant: Variant,
        table: Option<&'static str>,
    ) -> BoxFuture<'static, Result<String, XTablesError>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.save(family, variant, table)
    }

    fn restore(
        &self,
        family: ipset::Family,
        variant: Variant,
        input: String,
    ) -> BoxFuture<'static, Result<Restored, XTablesError>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.restore(family, variant, input)
    }
}

fn open(space: &Space, variant: Variant) -> (IptablesDriver, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let programs = Arc::new(Counted(Programs::of(&space.netns), count.clone()));
    let sets = Box::new(SetSocket::open(&space.netns).unwrap());
    (IptablesDriver::open(programs, sets, Box::new(space.nftables()), variant).unwrap(), count)
}

fn wanted() -> Wanted {
    let mut wanted = Wanted::default();
    for family in [Family::V4, Family::V6] {
        let set = set_name(family, 1);
        let members = (1..4).map(|number| member(family, number)).collect();
        wanted.sets.insert((family, set.clone()), (SHAPE, members));
        let place = (family, Table::Filter);
        let mut chain = |name: &str, rules: &[&str]| {
            wanted.chains.insert((place, name.to_owned()), rules.iter().map(|text| rule(text)).collect());
        };
        chain("cali-FORWARD", &["-i cali+ --jump cali-fw", "--jump MARK --set-mark 0x0/0x1b0000"]);
        chain("cali-fw", &[&format!("-m set --match-set {set} src --jump ACCEPT"), "--jump DROP"]);
        let hook = Hook {
            inserted: vec![rule("--jump cali-FORWARD")],
            appended: vec![rule("-m mark --mark 0x10000/0x10000 --jump ACCEPT")],
        };
        wanted.hooks.insert((place, "FORWARD"), hook);
        let place = (family, Table::Nat);
        wanted.chains.insert((place, "cali-POSTROUTING".to_owned()), Vec::new());
        let hook = Hook { inserted: Vec::new(), appended: vec![rule("--jump cali-POSTROUTING")] };
        wanted.hooks.insert((place, "POSTROUTING"), hook);
    }
    wanted
}

fn program(variant: Variant, family: Family) -> String {
    format!("{}-{variant}", if family == Family::V4 { "iptables" } else { "ip6tables" })
}

/// Rules of others, in our hooks and in chains of their own.
fn foreign(space: &Space, variant: Variant) {
    for family in [Family::V4, Family::V6] {
        let iptables = |arguments: &str| {
            space.run(&program(variant, family), &arguments.split(' ').collect::<Vec<_>>());
        };
        iptables("-N DOCKER-USER");
        iptables("-A FORWARD -j DOCKER-USER");
        iptables("-A DOCKER-USER -i docker0 -j RETURN");
        iptables("-t nat -N KUBE-POSTROUTING");
        iptables("-t nat -A POSTROUTING -m comment --comment \"kubernetes\" -j KUBE-POSTROUTING");
    }
}

/// What is saved of both families, without counters and comments.
fn saved(space: &Space, variant: Variant) -> String {
    let mut all = String::new();
    for family in [Family::V4, Family::V6] {
        let text = space.run(&format!("{}-save", program(variant, family)), &[]);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            all += line.split(" [").next().unwrap();
            all += "\n";
        }
    }
    all
}

#[test]
fn tables_and_sets_are_made_repaired_and_taken_away_and_foreign_ones_stay() {
    as_root(async {
        for variant in VARIANTS {
            let space = Space::new();
            foreign(&space, variant);
            let before = saved(&space, variant);
            let (mut driver, _) = open(&space, variant);
            let mut now = Duration::ZERO;
            apply(&mut driver, &Wanted::default(), &wanted(), &mut now).await;
            let there = saved(&space, variant);
            let place = |text: &str| there.find(text).unwrap_or_else(|| panic!("{text}: {there}"));
            assert!(place("-j cali-FORWARD") < place("-A FORWARD -j DOCKER-USER"));
            assert!(place("-A FORWARD -j DOCKER-USER") < place("--mark 0x10000/0x10000 -j ACCEPT"));
            assert!(place("-j KUBE-POSTROUTING") < place("-j cali-POSTROUTING"));
            assert!(there.contains("-m set --match-set cali60s:1 src -j ACCEPT"));
            assert_eq!(space.run("ipset", &["save"]).matches("\nadd cali").count(), 6);
            // a life after this one finds all in place and writes nothing
            let (mut next, count) = open(&space, variant);
            apply(&mut next, &Wanted::default(), &wanted(), &mut now).await;
            assert_eq!(count.load(Ordering::SeqCst), 4, "two looks at each variant");
            assert_eq!(saved(&space, variant), there);
            // others do harm
            let iptables = |arguments: &str| {
                space.run(&program(variant, Family::V4), &arguments.split(' ').collect::<Vec<_>>());
            };
            iptables("-F cali-fw");
            iptables("-I FORWARD 1 -i eth7 -j ACCEPT");
            iptables("-A FORWARD -i eth8 -j ACCEPT");
            iptables("-t nat -F POSTROUTING");
            space.run("ipset", &["flush", "cali40s:1"]);
            now += Duration::from_secs(31);
            while next.step(now).await == Step::More {}
            settle(&mut next, &mut now).await;
            let repaired = saved(&space, variant);
            let forward: Vec<&str> =
                repaired.lines().filter(|line| line.starts_with("-A FORWARD")).take(5).collect();
            let expected = ["-j cali-FORWARD", "-i eth7", "-j DOCKER-USER", "-i eth8", "0x10000/0x10000"];
            let alike = forward.iter().zip(expected).all(|(line, text)| line.contains(text));
            assert!(alike, "{forward:#?}");
            assert!(
                repaired.contains("src -j ACCEPT\n-A cali-fw") && repaired.contains("-j cali-POSTROUTING")
            );
            assert_eq!(space.run("ipset", &["save"]).matches("\nadd cali").count(), 6);
            iptables("-D FORWARD -i eth7 -j ACCEPT");
            iptables("-D FORWARD -i eth8 -j ACCEPT");
            iptables("-t nat -A POSTROUTING -m comment --comment \"kubernetes\" -j KUBE-POSTROUTING");
            next.update(updates(&wanted(), &Wanted::default()));
            settle(&mut next, &mut now).await;
            assert!(next.is_in_sync());
            assert_eq!(saved(&space, variant), before);
            assert_eq!(space.run("ipset", &["save"]), "");
        }
    });
}

#[test]
fn a_change_starts_one_program_a_family_and_its_own_events_start_none() {
    as_root(async {
        for variant in VARIANTS {
            let space = Space::new();
            let (mut driver, count) = open(&space, variant);
            let mut now = Duration::ZERO;
            apply(&mut driver, &Wanted::default(), &wanted(), &mut now).await;
            while driver.step(now).await == Step::More {}
            let before = count.load(Ordering::SeqCst);
            let mut other = wanted();
            other.chains.get_mut(&((Family::V4, Table::Filter), "cali-fw".to_owned())).unwrap().pop();
            apply(&mut driver, &wanted(), &other, &mut now).await;
            now += Duration::from_secs(1);
            while driver.step(now).await == Step::More {}
            assert_eq!(count.load(Ordering::SeqCst), before + 1, "{variant}");
            let nothing = tokio::time::timeout(Duration::from_millis(100), driver.changed()).await;
            assert!(nothing.is_err() && driver.is_in_sync(), "{driver:?}");
        }
    });
}

#[test]
fn an_event_tells_of_others_in_the_nft_variant() {
    as_root(async {
        let space = Space::new();
        let (mut driver, count) = open(&space, Variant::Nft);
        let mut now = Duration::ZERO;
        apply(&mut driver, &Wanted::default(), &wanted(), &mut now).await;
        let there = saved(&space, Variant::Nft);
        while driver.step(now).await == Step::More {}
        let before = count.load(Ordering::SeqCst);
        // chains of others do not concern us
        space.run("iptables-nft", &["-N", "OTHER"]);
        space.run("iptables-nft", &["-A", "OTHER", "-j", "ACCEPT"]);
        now += Duration::from_secs(1);
        while driver.step(now).await == Step::More {}
        assert_eq!(count.load(Ordering::SeqCst), before);
        space.run("iptables-nft", &["-F", "OTHER"]);
        space.run("iptables-nft", &["-X", "OTHER"]);
        for harm in [["-F", "cali-fw"], ["-F", "FORWARD"]] {
            space.run("iptables-nft", &harm);
            // who waits is told, and not only by the next look
            tokio::time::timeout(Duration::from_secs(10), driver.changed()).await.unwrap();
            while driver.step(now).await == Step::More {}
            assert!(driver.is_in_sync());
            assert_eq!(saved(&space, Variant::Nft), there);
            now += Duration::from_secs(1);
        }
        // a whole table
        space.nft("delete table ip filter");
        while driver.step(now).await == Step::More {}
        assert!(driver.is_in_sync());
        assert!(saved(&space, Variant::Nft).contains("-A cali-fw"));
    });
}

/// By the program, which names the line; and by the kernel, whose words say nothing of which rule it is.
#[test]
fn a_rule_that_is_refused_holds_no_other_back() {
    as_root(async {
        let all =
            [("-m nonsense --jump ACCEPT", "nonsense"), ("-p tcp --jump TPROXY --on-port 80", "failed")];
        for (variant, (text, words)) in VARIANTS.into_iter().flat_map(|variant| all.map(|one| (variant, one)))
        {
            let space = Space::new();
            let (mut driver, _) = open(&space, variant);
            let now = Duration::ZERO;
            let mut bad = wanted();
            let place = (Family::V4, Table::Filter);
            for (name, text) in [("cali-bad", text), ("cali-good", "-p tcp --jump REJECT")] {
                bad.chains.insert((place, name.into()), vec![rule(text)]);
                let calling = bad.chains.get_mut(&(place, "cali-fw".to_owned())).unwrap();
                calling.push(rule(&format!("--jump {name}")));
            }
            driver.update(updates(&Wanted::default(), &bad));
            while driver.step(now).await == Step::More {}
            let told: Vec<String> =
                driver.refused().map(|(what, words)| format!("{what}: {words}")).collect();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with("chain cali-bad of iptables table filter: iptables-"), "{told:?}");
            assert!(told[0].contains(words), "{told:?}");
            assert!(driver.is_settled() && driver.guards());
            let there = saved(&space, variant);
            assert!(there.contains("-A cali-bad -j DROP\n") && there.contains("-j cali-FORWARD"), "{there}");
            assert!(there.contains("-j REJECT --reject-with"), "{there}");
        }
    });
}

#[test]
fn the_variants_are_exchanged() {
    as_root(async {
        let space = Space::new();
        let (mut driver, _) = open(&space, Variant::Legacy);
        let mut now = Duration::ZERO;
        foreign(&space, Variant::Legacy);
        let empty = saved(&space, Variant::Legacy);
        apply(&mut driver, &Wanted::default(), &wanted(), &mut now).await;
        let whole = saved(&space, Variant::Legacy);
        for (to, from) in [(Variant::Nft, Variant::Legacy), (Variant::Legacy, Variant::Nft)] {
            driver.set_variant(to);
            settle(&mut driver, &mut now).await;
            assert!(driver.is_in_sync(), "{driver:?}");
            assert!(saved(&space, to).contains("-A cali-fw"));
            assert!(!saved(&space, from).contains("cali"), "{}", saved(&space, from));
            assert_eq!(space.run("ipset", &["save"]).matches("\nadd cali").count(), 6);
        }
        assert_eq!(saved(&space, Variant::Legacy), whole);
        driver.unwant_all();
        settle(&mut driver, &mut now).await;
        assert_eq!(saved(&space, Variant::Legacy), empty);
    });
}

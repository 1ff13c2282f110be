//! Passwords, collisions and several paths a prefix, with every daemon that has them.

use super::daemon::Setup;
use super::*;
use ocicat_tests::router::table::bird_protocol;
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::speaker::Speaker;

const THEM: Place = Place(2);

fn with_password(setup: Setup<'_>) -> String {
    let password = ", password: {secretKeyRef: {name: bgp, key: word}}";
    resources("") + &peers(THEM, setup.asn, "", password)
}

fn signed(kind: Kind) {
    on_one_link(&[US, THEM], || {
        let setup = Setup { password: Some("first"), ..Setup::external(kind, THEM) };
        let them = setup.start()?;
        let us = Speaker::start(&US.netns(), "us", &with_password(setup), &[])?;
        // Without the right password the kernel drops what it says: no session for a while of trying.
        us.set_secret("bgp", "word", "wrong")?;
        let early = wait_for("a session with the wrong password", Duration::from_secs(4), || {
            us.peer("10.0.0.2").is_ok_and(|peer| peer["state"] == "Established").then_some(())
        });
        assert!(early.is_err(), "a wrong password must not do");
        us.set_secret("bgp", "word", "first")?;
        us.wait_established(&THEM.both().each_ref().map(String::as_str))?;
        for family in Family::ALL {
            wait_until("with a password", &setup.told(family), || Ok(plain(us.routes(family)?)));
        }
        // Another password on both sides while our speaker runs on.
        drop(them);
        us.set_secret("bgp", "word", "second")?;
        let _them = Setup { password: Some("second"), ..setup }.start()?;
        us.wait_established(&THEM.both().each_ref().map(String::as_str))
    });
}

#[test]
fn a_bird_with_a_password() {
    signed(Kind::Bird);
}

#[test]
fn an_frr_with_a_password() {
    signed(Kind::FrrAlone);
}

#[test]
fn a_gobgp_with_a_password() {
    signed(Kind::Gobgp);
}

/// Both sides connect whenever they can; whatever collides, one connection a session is left and it lasts.
#[test]
fn sessions_that_collide_settle() {
    on_one_link(&[US, THEM], || {
        let setup = Setup::external(Kind::Bird, THEM);
        let them = setup.start()?;
        let us = Speaker::start(&US.netns(), "us", &(resources("") + &peers(THEM, setup.asn, "", "")), &[])?;
        for _ in 0..5 {
            us.wait_established(&THEM.both().each_ref().map(String::as_str))?;
            wait_for("one connection a session", PATIENCE, || (connections(US) == 2).then_some(()))?;
            for family in Family::ALL {
                wait_until("routes", &setup.told(family), || Ok(plain(us.routes(family)?)));
                them.query(&format!("restart {}", bird_protocol(&US.address(family))))?;
            }
        }
        Ok(())
    });
}

/// Two neighbours tell the same prefix; one that takes several paths hears of both.
fn several_paths(kind: Kind) {
    let (second, third) = (Place(3), Place(4));
    on_one_link(&[US, THEM, second, third], || {
        let same = "10.99.0.0/24";
        let tellers = [Setup::external(Kind::Bird, THEM), Setup::external(Kind::Bird, second)];
        let mut all = resources("") + &everything_leaves();
        let mut running = Vec::new();
        for teller in &tellers {
            let [rich, _] = teller.place.routes(Family::Ipv4);
            let configuration = teller.bird().replace(&rich, same);
            running.push(Router::start(Kind::Bird, Some(&teller.place.netns()), &configuration)?);
            all.push_str(&peers(teller.place, teller.asn, "", ""));
        }
        let hearer = Setup { add_path: true, ..Setup::external(kind, third) };
        let hears = hearer.start()?;
        all.push_str(&peers(third, hearer.asn, "bgp.ocicat.io/add-path: both", EVERYTHING));
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        us.wait_established(&["10.0.0.2", "10.0.0.3", "10.0.0.4"])?;
        let paths = vec![format!("{US_AS} {}", tellers[0].asn), format!("{US_AS} {}", tellers[1].asn)];
        let heard = || -> Option<Vec<String>> {
            let table = hears.learnt(Family::Ipv4, "10.0.0.1").ok()?;
            let mut found: Vec<String> = table.get(same)?.iter().map(|entry| entry.as_path.clone()).collect();
            found.sort();
            Some(found)
        };
        wait_for("both paths", PATIENCE, || (heard()? == paths).then_some(()))
            .unwrap_or_else(|error| panic!("{kind:?}: {error:#}: {:?}", heard()));
        // One teller goes: one path is left.
        drop(running.pop());
        wait_for("one path", PATIENCE, || (heard()? == paths[..1]).then_some(()))?;
        Ok(())
    });
}

#[test]
fn a_bird_hears_of_several_paths() {
    several_paths(Kind::Bird);
}

#[test]
fn an_frr_hears_of_several_paths() {
    several_paths(Kind::FrrAlone);
}

#[test]
fn a_gobgp_hears_of_several_paths() {
    several_paths(Kind::Gobgp);
}

/// RFC 5082 on both sides; a neighbour without it sends with a TTL that no other than a near one can be told by.
#[test]
fn packets_come_from_the_link_or_not_at_all() {
    on_one_link(&[US, THEM], || {
        let near = Setup { ttl_security: true, ..Setup::external(Kind::Bird, THEM) };
        let all = resources("") + &peers(THEM, near.asn, "", ", ttlSecurity: 1");
        let them = Setup { ttl_security: false, ..near }.start()?;
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        let up = || us.peer("10.0.0.2").is_ok_and(|peer| peer["state"] == "Established").then_some(());
        assert!(wait_for("a session", Duration::from_secs(4), up).is_err(), "its TTL is too small");
        drop(them);
        let _them = near.start()?;
        us.wait_established(&THEM.both().each_ref().map(String::as_str))
    });
}

/// Neighbours nobody has named, by the prefix they come from.
#[test]
fn neighbours_come_from_a_prefix() {
    let second = Place(3);
    on_one_link(&[US, THEM, second], || {
        let options =
            "bgp.ocicat.io/dynamic-neighbors: '10.0.0.0/28,fd00::/120', bgp.ocicat.io/remote-as: external";
        let all = resources("")
            + &format!(
                "---\n{HEAD} BGPPeer\nmetadata: {{name: racks, annotations: {{{options}}}}}\nspec: {{node: us}}\n"
            );
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        let setups = [Setup::external(Kind::Bird, THEM), Setup::external(Kind::Gobgp, second)];
        let _daemons = setups.iter().map(Setup::start).collect::<Result<Vec<_>>>()?;
        for family in Family::ALL {
            let told = setups.iter().flat_map(|setup| setup.told(family)).collect();
            wait_until("what all of them told", &told, || Ok(plain(us.routes(family)?)));
        }
        for address in setups.iter().flat_map(|setup| setup.place.both()) {
            assert_eq!(us.peer(&address)?["dynamic"], true, "{address}");
        }
        Ok(())
    });
}

/// More than fit into many messages, told on from one neighbour to another, and taken back.
#[test]
fn thousands_of_routes_go_through_and_leave() {
    let second = Place(3);
    on_one_link(&[US, THEM, second], || {
        let many: Vec<String> = (0..5000).map(|n| format!("172.{}.{}.0/24", 16 + n / 250, n % 250)).collect();
        let teller = Setup::external(Kind::Bird, THEM);
        let routes: String = many.iter().map(|prefix| format!("route {prefix} blackhole;\n")).collect();
        let configuration = teller.bird() + &format!("protocol static many {{ ipv4; {routes} }}\n");
        let tells = Router::start(Kind::Bird, Some(&THEM.netns()), &configuration)?;
        let hearer = Setup::external(Kind::Bird, second);
        let hears = hearer.start()?;
        let all = resources("")
            + &everything_leaves()
            + &peers(THEM, teller.asn, "", "")
            + &peers(second, hearer.asn, "", EVERYTHING);
        let _us = Speaker::start(&US.netns(), "us", &all, &[])?;
        // AS numbers of both hops, next hop ours: it is an external session.
        let path = format!("{US_AS} {}", teller.asn);
        let entry = Entry { next_hop: US.address(Family::Ipv4), as_path: path, ..Entry::default() };
        let wanted = table(many.iter().map(|prefix| (prefix.clone(), entry.clone())));
        let heard = || {
            let mut table = plain(hears.learnt(Family::Ipv4, "10.0.0.1")?);
            table.retain(|prefix, _| prefix.starts_with("172."));
            Ok(table)
        };
        wait_until("all of them", &wanted, heard);
        tells.query("disable many")?;
        wait_until("none of them", &Table::new(), heard);
        Ok(())
    });
}

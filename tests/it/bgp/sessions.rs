//! Passwords, collisions, distances and neighbours by prefix, with every daemon that has them.

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

/// Both sides take another password while the session runs (RFC 2385 §4.5 leaves the way to them). BIRD, FRR and GoBGP end
/// a session whose password is changed, so the other side is a speaker of ours: what does not fall is told by both.
#[test]
fn a_password_changes_under_a_session() {
    on_one_link(&[US, THEM], || {
        let password = ", password: {secretKeyRef: {name: bgp, key: word}}";
        let ours = resources("") + &peers(THEM, US_AS, "", password);
        let theirs = format!(
            "{HEAD} Node
metadata: {{name: them}}
spec: {{bgp: {{ipv4Address: 10.0.0.2/24, ipv6Address: 'fd00::2/64', asNumber: {US_AS}}}}}
---
{HEAD} BGPConfiguration
metadata: {{name: default, annotations: {{{SHORT}}}}}
spec: {{nodeToNodeMeshEnabled: false}}
"
        ) + &peers(US, US_AS, "", password).replace("node: us", "node: them");
        let us = Speaker::start(&US.netns(), "us", &ours, &[])?;
        us.set_secret("bgp", "word", "first")?;
        let mut them = Speaker::start(&THEM.netns(), "them", &theirs, &[])?;
        them.set_secret("bgp", "word", "first")?;
        us.wait_established(&THEM.both().each_ref().map(String::as_str))?;
        let moved = ours.replace("cidr: 10.244.0.0/26", "cidr: 10.244.9.0/26");
        for (word, resources, block) in
            [("second", &moved, "10.244.9.0/26"), ("third", &ours, "10.244.0.0/26")]
        {
            // For a moment the two differ: what is lost then is sent again by TCP.
            us.set_secret("bgp", "word", word)?;
            us.set_resources(resources)?;
            them.set_secret("bgp", "word", word)?;
            wait_for("the block of the new password", PATIENCE, || {
                them.routes(Family::Ipv4).ok()?.contains_key(block).then_some(())
            })?;
        }
        let ends = [us.log(), them.log()].map(|log| log.matches("session is down").count());
        assert_eq!(ends, [0, 0], "no session falls:\n{}\n{}", us.log(), them.log());
        // It is the new password that counts: one who knows it comes back, one who knows the old one does not.
        for (word, comes) in [("first", false), ("third", true)] {
            them.kill();
            them.set_secret("bgp", "word", word)?;
            wait_for("the end of the session", PATIENCE, || {
                us.peer("10.0.0.2").is_ok_and(|peer| peer["state"] != "Established").then_some(())
            })?;
            them.launch()?;
            let up = || us.peer("10.0.0.2").is_ok_and(|peer| peer["state"] == "Established").then_some(());
            let limit = if comes { PATIENCE } else { Duration::from_secs(4) };
            assert_eq!(wait_for("a session", limit, up).is_ok(), comes, "with password {word:?}");
        }
        Ok(())
    });
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
        let daemons = setups.iter().map(Setup::start).collect::<Result<Vec<_>>>()?;
        for family in Family::ALL {
            let told = setups.iter().flat_map(|setup| setup.told(family)).collect();
            wait_until("what all of them told", &told, || Ok(plain(us.routes(family)?)));
        }
        for address in setups.iter().flat_map(|setup| setup.place.both()) {
            assert_eq!(us.peer(&address)?["dynamic"], true, "{address}");
        }
        // Held down: those that came are told why and go, nobody else comes.
        us.set_resources(&all.replace(options, &format!("{options}, bgp.ocicat.io/shutdown: 'new cables'")))?;
        for family in Family::ALL {
            wait_until("nothing while it is held down", &Table::new(), || us.routes(family));
        }
        wait_for("the reason", PATIENCE, || daemons[0].log().contains("new cables").then_some(()))?;
        assert_eq!(us.peer("10.0.0.0/28")?["state"], "Idle");
        us.set_resources(&all)?;
        for family in Family::ALL {
            let told = setups.iter().flat_map(|setup| setup.told(family)).collect();
            wait_until("what all of them told again", &told, || Ok(plain(us.routes(family)?)));
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

/// A neighbour with a link-local address on a link that is not there at the start, goes, and comes again as another one.
#[test]
fn a_neighbour_comes_with_its_link() {
    on_one_link(&[US, THEM], || {
        let ip = |line: &str| tool("ip", &line.split_whitespace().collect::<Vec<_>>());
        let route = "fd02:1::/64";
        let configuration = format!(
            "router id 10.0.0.2;\nlog stderr all;\nprotocol device {{ scan time 1; }}\n\
             protocol static {{ ipv6; route {route} blackhole; }}\n\
             protocol bgp n_late {{ local fe80::2 as 65002; neighbor fe80::1 % 'late' as {US_AS}; connect delay time 1;\n\
             connect retry time 1; error wait time 1,2; ipv6 {{ import all; export all; }}; }}\n"
        );
        let _them = Router::start(Kind::Bird, Some(&THEM.netns()), &configuration)?;
        let all = resources("")
            + &format!(
                "---\n{HEAD} BGPPeer\nmetadata: {{name: late, annotations: {{bgp.ocicat.io/interface: late}}}}\n\
                 spec: {{node: us, peerIP: 'fe80::2', asNumber: 65002, sourceAddress: None}}\n"
            );
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        for round in 0..2 {
            ip(&format!(
                "link add late netns {} type veth peer name late netns {}",
                US.netns(),
                THEM.netns()
            ))?;
            for place in [US, THEM] {
                ip(&format!("-n {} addr add fe80::{}/64 dev late nodad", place.netns(), place.0))?;
                ip(&format!("-n {} link set late up", place.netns()))?;
            }
            us.wait_established(&["fe80::2"])?;
            let shown = || ip(&format!("-n {} -6 route show proto 81 {route}", US.netns()));
            wait_for("its route in the kernel", PATIENCE, || {
                shown().ok().filter(|shown| shown.contains("via fe80::2 dev late"))
            })
            .unwrap_or_else(|error| panic!("{error:#}, round {round}: {:?}\n{}", shown(), us.log()));
            ip(&format!("-n {} link del late", US.netns()))?;
            wait_for("the end of the session", PATIENCE, || {
                us.peer("fe80::2").is_ok_and(|peer| peer["state"] != "Established").then_some(())
            })?;
        }
        Ok(())
    });
}

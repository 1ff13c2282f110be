//! What a restarted speaker waits for.

use super::*;
use Deferred::{Selection, StaleRoutes};
use Family::{Ipv4Unicast, Ipv6Unicast};

const RESTART: Duration = Duration::from_secs(120);

/// A restart at second 1000 with these peers, all IPv4.
fn restart(peers: &[u32]) -> Deferral<u32> {
    let mut deferral = Deferral::new(peers.iter().map(|peer| (*peer, IPV4)), RESTART, secs(1000));
    assert_eq!(
        deferral.poll(secs(1000))[..2],
        [Selection(Ipv6Unicast), StaleRoutes(Ipv6Unicast)],
        "nobody has IPv6"
    );
    deferral
}

fn up(restarting: bool, capability: bool) -> Negotiated {
    let (mut bench, _) = Bench::established(settings(), their_open());
    let mut negotiated = bench.peer.established().unwrap().1.clone();
    bench.drain();
    negotiated.graceful_restart = negotiated.graceful_restart.filter(|_| capability);
    if let Some(gr) = &mut negotiated.graceful_restart {
        gr.restarting = restarting;
    }
    negotiated
}

#[test]
fn everything_waits_for_every_end_of_rib() {
    let mut deferral = restart(&[1, 2]);
    deferral.established(&1, &up(false, true));
    deferral.established(&2, &up(false, true));
    deferral.end_of_rib(&1, Ipv4Unicast);
    assert_eq!(deferral.poll(secs(1001)), []);
    assert!(deferral.waits_for(Selection(Ipv4Unicast)));
    deferral.end_of_rib(&2, Ipv4Unicast);
    assert_eq!(deferral.poll(secs(1001)), [Selection(Ipv4Unicast), StaleRoutes(Ipv4Unicast)]);
    assert!(deferral.is_done());
    assert_eq!(deferral.poll(secs(1002)), [], "told once");
    assert_eq!(deferral.deadline(secs(1002)), None);
}

#[test]
fn without_peers_nothing_waits() {
    let mut deferral = Deferral::<u32>::new([], RESTART, secs(0));
    assert_eq!(deferral.poll(secs(0)).len(), 4);
}

#[test]
fn a_dead_peer_keeps_stale_routes_but_not_the_rest_silent() {
    let mut deferral = restart(&[1, 2]);
    deferral.established(&1, &up(false, true));
    deferral.end_of_rib(&1, Ipv4Unicast);
    assert_eq!(deferral.deadline(secs(1000)), Some(secs(1030)));
    assert_eq!(deferral.poll(secs(1029)), []);
    assert_eq!(deferral.poll(secs(1030)), [Selection(Ipv4Unicast)]);
    assert_eq!(deferral.deadline(secs(1030)), Some(secs(1120)));
    assert_eq!(deferral.poll(secs(1119)), []);
    assert_eq!(deferral.poll(secs(1120)), [StaleRoutes(Ipv4Unicast)]);
}

#[test]
fn a_slow_peer_that_is_up_is_waited_for() {
    let mut deferral = restart(&[1]);
    deferral.established(&1, &up(false, true));
    assert_eq!(deferral.poll(secs(1119)), []);
    assert_eq!(deferral.poll(secs(1120)).len(), 2);
}

#[test]
fn one_that_restarts_itself_or_cannot_say_is_not_waited_for() {
    for negotiated in [up(true, true), up(false, false)] {
        let mut deferral = restart(&[1]);
        deferral.established(&1, &negotiated);
        assert_eq!(deferral.poll(secs(1001)).len(), 2);
    }
}

#[test]
fn one_that_falls_again_owes_all_again_and_one_that_is_removed_nothing() {
    let mut deferral = restart(&[1, 2]);
    deferral.established(&1, &up(false, true));
    deferral.end_of_rib(&1, Ipv4Unicast);
    deferral.down(&1);
    deferral.established(&2, &up(false, true));
    deferral.end_of_rib(&2, Ipv4Unicast);
    assert_eq!(deferral.poll(secs(1001)), []);
    deferral.removed(&1);
    assert_eq!(deferral.poll(secs(1001)).len(), 2);
}

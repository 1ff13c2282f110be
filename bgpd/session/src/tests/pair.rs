//! Two machines against each other, through a network that does what networks do.

use super::world::World;
use super::*;
use proptest::prelude::*;

fn pair() -> [Settings; 2] {
    [settings(), their_settings()]
}

fn started(settings: [Settings; 2], seed: u64) -> World {
    let mut world = World::new(settings, seed);
    world.event(0, Event::Start);
    world.event(1, Event::Start);
    world
}

#[test]
fn two_active_peers_come_up_with_one_session() {
    for seed in 0..200 {
        let mut world = started(pair(), seed);
        world.converge(secs(20));
        world.run(secs(1000));
        assert!(world.common_session().is_some());
    }
}

#[test]
fn one_may_be_passive() {
    for passive in [0, 1] {
        let mut settings = pair();
        settings[passive].passive = true;
        let mut world = started(settings, 7);
        assert!(world.converge(secs(20)) < secs(3));
        world.run(secs(1000));
        assert_eq!(world.sessions, [1, 1], "there is no collision");
    }
}

#[test]
fn two_passive_peers_wait_for_ever() {
    let mut settings = pair();
    settings.iter_mut().for_each(|s| s.passive = true);
    let mut world = started(settings, 7);
    world.run(secs(1000));
    assert_eq!(world.sessions, [0, 0]);
}

#[test]
fn a_simultaneous_start_collides_and_the_greater_identifier_wins() {
    // no delay before connecting: both SYNs are under way when the first arrives
    for greater in [0, 1] {
        for seed in 0..100 {
            let mut settings = pair();
            settings.iter_mut().for_each(|s| s.timers.connect_delay = Duration::ZERO);
            settings[greater].router_id = Ipv4Addr::new(10, 9, 9, 9);
            let mut world = started(settings, seed);
            let took = world.converge(secs(20));
            assert!(took < secs(1), "settled at once, without another attempt: {took:?}");
            assert_eq!(world.sessions, [1, 1], "seed {seed}: nobody saw a session end");
        }
    }
}

#[test]
fn a_partition_longer_than_the_hold_time_ends_the_session_and_it_comes_back() {
    let mut world = started(pair(), 3);
    world.converge(secs(20));
    world.partitioned_until = world.now + secs(600);
    world.run(secs(600));
    assert_eq!(world.established, [false, false]);
    let reasons: Vec<_> = world.downs.iter().map(|(_, down)| down.reason.to_string()).collect();
    assert_eq!(reasons, ["sent: Hold Timer Expired", "sent: Hold Timer Expired"]);
    world.converge(secs(60));
}

#[test]
fn a_short_partition_is_not_noticed() {
    let mut world = started(pair(), 3);
    world.converge(secs(20));
    world.partitioned_until = world.now + secs(100);
    world.run(secs(1000));
    assert_eq!(world.sessions, [1, 1]);
}

/// What happens to the network or the sides, and how long until the next thing does.
#[derive(Debug, Clone)]
enum Trouble {
    Break,
    Partition(u64),
    Bounce(usize, Stop),
    Reset(usize),
    Reconfigure(usize, u16),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let stop = prop_oneof![
        Just(Stop::Shutdown("maintenance".into())),
        Just(Stop::Deconfigured),
        Just(Stop::Restart)
    ];
    prop_oneof![
        Just(Trouble::Break),
        (1u64..500).prop_map(Trouble::Partition),
        (0usize..2, stop).prop_map(|(side, stop)| Trouble::Bounce(side, stop)),
        (0usize..2).prop_map(Trouble::Reset),
        (0usize..2, 3u16..300).prop_map(|(side, hold)| Trouble::Reconfigure(side, hold)),
    ]
}

fn kind() -> impl Strategy<Value = (bool, bool, Option<u64>, bool)> {
    (any::<bool>(), any::<bool>(), proptest::option::of(1u64..30), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn after_any_trouble_there_is_one_session_again(
        seed: u64,
        kinds in [kind(), kind()],
        delay in 1u64..400,
        lose in prop_oneof![Just(0u64), 2u64..6],
        troubles in proptest::collection::vec((trouble(), 0u64..120), 0..12),
    ) {
        let mut settings = pair();
        for (side, (passive, graceful, delay_open, greater)) in kinds.into_iter().enumerate() {
            settings[side].passive = passive && side == 0;
            settings[side].graceful_restart = settings[side].graceful_restart.filter(|_| graceful);
            settings[side].timers.delay_open = delay_open.map(secs);
            if greater {
                settings[side].router_id = Ipv4Addr::new(10, 200, 0, side as u8 + 1);
            }
        }
        let mut world = started(settings, seed);
        (world.delay, world.lose) = (delay, lose);
        for (trouble, pause) in troubles {
            match trouble {
                Trouble::Break => world.break_all(),
                Trouble::Partition(time) => world.partitioned_until = world.now + secs(time),
                Trouble::Bounce(side, stop) => {
                    world.event(side, Event::Stop(stop));
                    world.run(secs(1));
                    world.event(side, Event::Start);
                }
                Trouble::Reset(side) => world.event(side, Event::Reset(Reset::Administrative("test".into()))),
                Trouble::Reconfigure(side, hold_time) => {
                    let mut settings = world.peers[side].settings().clone();
                    settings.timers.hold_time = hold_time;
                    let now = world.now;
                    world.peers[side].configure(settings, now);
                    world.event(side, Event::Timer);
                }
            }
            world.run(secs(pause));
        }
        world.lose = 0;
        world.converge(secs(1500));
        world.run(secs(2000));
        prop_assert!(world.common_session().is_some());
    }
}

//! Against the real kernel, with `nft` as the independent view.

use super::{Named, in_runtime_as_root};
use crate::{CommitError, Conntrack, Flows, Netns, NewRule, NftEvent, NftKernel, Nftables};
use futures::StreamExt;
use netfilter::nft::{
    Chain, ChainKind, Change, Comparison, CtKey, Data, DataType, Element, Expression, Family, FibResult,
    Hook, LogLevel, MapData, MapTarget, MetaKey, NatKind, Object, PayloadBase, Place, Policy, Presence,
    Query, Register, Reject, Rule, Set, SetUpdate, Table, TableRef, Verdict,
};
use nix::errno::Errno;
use std::process::Command;
use std::time::Duration;

pub(super) struct Rig {
    pub netns: Netns,
    nft: Nftables,
    _name: Named,
    _folder: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        let netns = Netns::create_at(&path).unwrap();
        Self { nft: Nftables::open(&netns).unwrap(), netns, _name: Named(path), _folder: folder }
    }

    fn commit(&mut self, changes: &[Change]) {
        self.nft.commit(changes, None).unwrap();
    }

    /// What `nft` shows.
    fn listed(&self, arguments: &[&str]) -> String {
        self.run("nft", arguments)
    }

    /// What a program says inside.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let name = program.to_owned();
        let run = move || Command::new(&name).args(arguments).output();
        let package = match program {
            "nft" => "nftables",
            "ipset" => "ipset",
            _ => "iptables",
        };
        let output = self.netns.run(run).unwrap();
        let output =
            output.unwrap_or_else(|_| panic!("{program} cannot be run: install the package {package}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn rules(&mut self) -> Vec<Rule> {
        let rules = self.nft.read(&Query::Rules(table())).unwrap();
        rules
            .into_iter()
            .map(|object| match object {
                Object::Rule(rule) => rule,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn table() -> TableRef {
    TableRef { family: Family::Inet, name: "t".into() }
}

fn add_table() -> Change {
    Change::AddTable(Table { table: table(), flags: 0, comment: None })
}

fn add_chain(name: &str, hook: Option<Hook>) -> Change {
    Change::AddChain(Chain {
        table: table(),
        name: name.into(),
        handle: None,
        hook,
        comment: Some(format!("about {name}")),
    })
}

fn forward() -> Option<Hook> {
    Some(Hook { number: 2, priority: 0, kind: ChainKind::Filter, policy: Policy::Accept })
}

fn rule(chain: &str, expressions: Vec<Expression>, comment: &str) -> Change {
    let comment = Some(comment.to_string());
    Change::AddRule(
        Rule { table: table(), chain: chain.into(), handle: None, expressions, comment },
        Place::Last,
    )
}

fn set(name: &str, key: &[DataType], data: Option<MapData>, interval: bool) -> Set {
    Set {
        table: table(),
        name: name.into(),
        handle: None,
        key: key.to_vec(),
        data,
        interval,
        dynamic: false,
        timeout: false,
        counter: false,
        size: None,
        comment: None,
    }
}

const R: Register = Register::FIRST;
const R2: Register = Register(4);

fn network(v4: bool) -> [Expression; 2] {
    [
        Expression::Meta { key: MetaKey::NetworkProtocol, to: R },
        Expression::Compare { from: R, op: Comparison::Equal, value: vec![if v4 { 2 } else { 10 }] },
    ]
}

fn compare(op: Comparison, value: &[u8]) -> Expression {
    Expression::Compare { from: R, op, value: value.to_vec() }
}

/// Every expression in a rule the kernel accepts.
fn all_rules() -> Vec<Change> {
    let v4 = |rest: Vec<Expression>| [network(true).to_vec(), rest].concat();
    let address = |offset| Expression::Payload { base: PayloadBase::Network, offset, len: 4, to: R };
    let tcp = [Expression::Meta { key: MetaKey::TransportProtocol, to: R }, compare(Comparison::Equal, &[6])];
    vec![
        rule(
            "forward",
            vec![
                Expression::Ct { key: CtKey::State, direction: None, to: R },
                Expression::Bitwise { from: R, to: R, mask: 6u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
                compare(Comparison::NotEqual, &[0; 4]),
                Expression::counter(),
                Expression::Verdict(Verdict::Accept),
            ],
            "established",
        ),
        rule(
            "forward",
            vec![
                Expression::Meta { key: MetaKey::InName, to: R },
                Expression::Lookup {
                    set: "dispatch".into(),
                    from: R,
                    to: Some(MapTarget::Verdict),
                    invert: false,
                },
            ],
            "dispatch",
        ),
        rule(
            "forward",
            v4(vec![
                address(12),
                Expression::Lookup { set: "members".into(), from: R, to: None, invert: true },
                Expression::Immediate { to: R2, value: 5u32.to_ne_bytes().to_vec() },
                Expression::SetMeta { key: MetaKey::Mark, from: R2 },
                Expression::Verdict(Verdict::Jump("pod".into())),
            ]),
            "not a member",
        ),
        rule(
            "pod",
            v4([
                tcp.to_vec(),
                vec![
                    Expression::Payload { base: PayloadBase::Transport, offset: 2, len: 2, to: R },
                    Expression::Range { from: R, outside: false, low: vec![0, 80], high: vec![0, 90] },
                    Expression::Limit { rate: 10, unit: 1, burst: 5, bytes: false, over: false },
                    Expression::Log { prefix: Some("denied: ".into()), level: LogLevel::Info },
                    Expression::Reject(Reject::AnyFamily(3)),
                ],
            ]
            .concat()),
            "ports",
        ),
        rule("pod", [tcp.to_vec(), vec![Expression::Reject(Reject::TcpReset)]].concat(), "reset"),
        rule(
            "pod",
            v4(vec![
                Expression::LogGroup { group: 1, prefix: Some("D".into()), snaplen: Some(80) },
                Expression::Reject(Reject::Unreachable(13)),
            ]),
            "tell",
        ),
        rule(
            "pod",
            vec![Expression::ConnLimit { count: 5, over: true }, Expression::Verdict(Verdict::Drop)],
            "connections",
        ),
        rule(
            "pod",
            v4(vec![
                address(12),
                Expression::UpdateSet {
                    set: "seen".into(),
                    op: SetUpdate::Update,
                    key: R,
                    data: None,
                    timeout: Some(60_000),
                    expressions: vec![],
                },
                Expression::Verdict(Verdict::Return),
            ]),
            "seen",
        ),
        rule(
            "pre",
            vec![
                Expression::Fib { result: FibResult::OutIndex, flags: 1 | 8, to: R },
                compare(Comparison::Equal, &[0; 4]),
                Expression::Verdict(Verdict::Drop),
            ],
            "no way back",
        ),
        rule("pre", vec![Expression::Notrack], "untracked"),
        rule("post", v4(vec![Expression::Masquerade { flags: 0, ports: None }]), "masquerade"),
        rule(
            "dst",
            v4(vec![
                Expression::Immediate { to: R, value: vec![10, 0, 0, 1] },
                Expression::Immediate { to: R2, value: vec![0, 80] },
                Expression::Nat {
                    kind: NatKind::Destination,
                    family: 2,
                    addresses: Some((R, R)),
                    ports: None,
                    flags: 0,
                },
            ]),
            "floating",
        ),
        rule(
            "forward",
            vec![
                Expression::Ct { key: CtKey::Status, direction: None, to: R },
                Expression::Bitwise { from: R, to: R, mask: 32u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
                compare(Comparison::Equal, &[0; 4]),
                Expression::Verdict(Verdict::Goto("pod".into())),
            ],
            "not translated",
        ),
    ]
}

fn everything() -> Vec<Change> {
    let mut seen = set("seen", &[DataType::IPV4], None, false);
    (seen.dynamic, seen.timeout, seen.size) = (true, true, Some(1000));
    let mut changes = vec![
        add_table(),
        add_chain("forward", forward()),
        add_chain("pod", None),
        add_chain(
            "pre",
            Some(Hook { number: 0, priority: -300, kind: ChainKind::Filter, policy: Policy::Accept }),
        ),
        add_chain(
            "dst",
            Some(Hook { number: 0, priority: -100, kind: ChainKind::Nat, policy: Policy::Accept }),
        ),
        add_chain(
            "post",
            Some(Hook { number: 4, priority: 100, kind: ChainKind::Nat, policy: Policy::Accept }),
        ),
        Change::AddSet(set("members", &[DataType::IPV4], None, false)),
        Change::AddSet(set("dispatch", &[DataType::LINK_NAME], Some(MapData::Verdict), false)),
        Change::AddSet(seen),
    ];
    changes.extend(all_rules());
    changes
}

#[test]
fn what_was_written_is_read_back_equal() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        rig.commit(&everything());
        let mut written: Vec<Rule> = all_rules()
            .into_iter()
            .map(|change| match change {
                Change::AddRule(rule, _) => rule,
                other => panic!("{other:?}"),
            })
            .collect();
        let mut read: Vec<Rule> = rig.rules().into_iter().map(|rule| Rule { handle: None, ..rule }).collect();
        for rules in [&mut written, &mut read] {
            rules.sort_by_key(|rule| rule.chain.clone());
        }
        assert_eq!(read, written);

        let sets = rig.nft.read(&Query::Sets(table())).unwrap();
        let dispatch = sets.iter().find_map(|object| match object {
            Object::Set(set) if set.name == "dispatch" => Some(Set { handle: None, ..set.clone() }),
            _ => None,
        });
        assert_eq!(dispatch, Some(set("dispatch", &[DataType::LINK_NAME], Some(MapData::Verdict), false)));
    });
}

#[test]
fn nft_lists_names_comments_and_keys() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        rig.commit(&everything());
        let mut link = b"cali123".to_vec();
        link.resize(16, 0);
        let entry = Element {
            comment: Some("pod default/web".into()),
            ..Element::entry(link, Data::Verdict(Verdict::Goto("pod".into())))
        };
        rig.commit(&[
            Change::AddElements { table: table(), set: "dispatch".into(), elements: vec![entry] },
            Change::AddElements {
                table: table(),
                set: "members".into(),
                elements: vec![Element::key([10, 0, 0, 7])],
            },
        ]);
        let listed = rig.listed(&["list", "ruleset"]);
        for expected in [
            "ct state established,related",
            "iifname vmap @dispatch",
            "\"cali123\" comment \"pod default/web\" : goto pod",
            "10.0.0.7",
            "ip saddr != @members",
            "tcp dport 80-90",
            "reject with icmpx admin-prohibited",
            "fib saddr . iif oif 0 drop",
            "comment \"about forward\"",
            "comment \"not a member\"",
            "update @seen { ip saddr timeout 1m }",
            "dnat ip to 10.0.0.1",
            "masquerade",
        ] {
            assert!(listed.contains(expected), "{expected:?} is missing in\n{listed}");
        }
    });
}

#[test]
fn a_refused_change_undoes_the_whole_batch_and_is_named() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        rig.commit(&[add_table()]);
        let gone = Change::DeleteSet { table: table(), name: "nobody".into() };
        let error = rig.nft.commit(&[add_chain("a", None), gone, add_chain("b", None)], None).unwrap_err();
        let CommitError::Refused(refused) = &error else { panic!("{error}") };
        assert_eq!(
            refused.iter().map(|one| (one.change, one.errno)).collect::<Vec<_>>(),
            [(1, Errno::ENOENT as i32)]
        );
        assert!(error.to_string().starts_with("change 1: No such file"), "{error}");
        let chains = rig.nft.read(&Query::Chains(Family::Inet)).unwrap();
        assert_eq!(chains, []);
        // the socket is not left with an answer of the failed batch
        rig.commit(&[add_chain("a", None)]);
        assert_eq!(rig.nft.read(&Query::Chains(Family::Inet)).unwrap().len(), 1);
    });
}

#[test]
fn a_batch_for_an_older_generation_is_stale() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        let generation = rig.nft.generation().unwrap();
        rig.nft.commit(&[add_table()], Some(generation)).unwrap();
        let error = rig.nft.commit(&[add_chain("a", None)], Some(generation)).unwrap_err();
        assert!(matches!(error, CommitError::Stale), "{error}");
        assert_eq!(rig.nft.read(&Query::Chains(Family::Inet)).unwrap(), []);
    });
}

#[test]
fn a_hundred_thousand_elements_go_in_one_batch_and_come_back() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        // a hash without a size is still growing when it is read, and the kernel leaves elements out then
        let many = Set { size: Some(100_000), ..set("many", &[DataType::IPV4], None, false) };
        rig.commit(&[add_table(), Change::AddSet(many)]);
        let elements: Vec<Element> =
            (0u32..100_000).map(|n| Element::key((0x0a00_0000 + n).to_be_bytes())).collect();
        rig.commit(&[Change::AddElements { table: table(), set: "many".into(), elements: elements.clone() }]);
        let read = rig.nft.read(&Query::Elements { table: table(), set: "many".into() }).unwrap();
        let mut keys: Vec<Vec<u8>> = read
            .into_iter()
            .flat_map(|object| match object {
                Object::Elements { elements, .. } => elements,
                other => panic!("{other:?}"),
            })
            .map(|element| element.key)
            .collect();
        keys.sort();
        assert!(
            keys == elements.into_iter().map(|element| element.key).collect::<Vec<_>>(),
            "{} came back",
            keys.len()
        );
    });
}

#[test]
fn ranges_of_one_field_and_of_several_read_back() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        let concatenated = set("pairs", &[DataType::IPV4, DataType::PORT], None, true);
        rig.commit(&[
            add_table(),
            Change::AddSet(set("nets", &[DataType::IPV4], None, true)),
            Change::AddSet(concatenated),
            Change::AddElements {
                table: table(),
                set: "nets".into(),
                elements: vec![
                    Element::key([10, 1, 0, 0]),
                    Element { interval_end: true, ..Element::key([10, 2, 0, 0]) },
                ],
            },
            Change::AddElements {
                table: table(),
                set: "pairs".into(),
                elements: vec![Element {
                    key_end: Some(vec![10, 255, 255, 255, 0, 90, 0, 0]),
                    ..Element::key([10, 0, 0, 0, 0, 80, 0, 0])
                }],
            },
        ]);
        let listed = rig.listed(&["list", "ruleset"]);
        assert!(listed.contains("10.1.0.0/16"), "{listed}");
        assert!(listed.contains("10.0.0.0/8 . 80-90"), "{listed}");
        let pairs = rig.nft.read(&Query::Elements { table: table(), set: "pairs".into() }).unwrap();
        let Some(Object::Elements { elements, .. }) = pairs.first() else { panic!("{pairs:?}") };
        assert_eq!(elements[0].key_end.as_deref(), Some(&[10, 255, 255, 255, 0, 90, 0, 0][..]));
    });
}

#[test]
fn what_others_change_is_told_with_their_port() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        let mut events = Box::pin(rig.nft.events().unwrap());
        rig.commit(&[add_table(), add_chain("forward", forward())]);
        rig.listed(&["flush", "chain", "inet", "t", "forward"]);
        rig.listed(&["delete", "chain", "inet", "t", "forward"]);
        let mut ours = Vec::new();
        loop {
            let event =
                tokio::time::timeout(Duration::from_secs(5), events.next()).await.expect("an event").unwrap();
            let NftEvent::Change { port, presence, object } = event else { panic!("{event:?}") };
            match object {
                Object::Chain(chain) if presence == Presence::Gone => {
                    assert_eq!(chain.name, "forward");
                    assert_ne!(port, rig.nft.port());
                    break;
                }
                Object::Chain(_) | Object::Table(_) => {
                    assert_eq!(port, rig.nft.port());
                    ours.push(presence);
                }
                _ => {}
            }
        }
        assert_eq!(ours, [Presence::There, Presence::There]);
    });
}

#[test]
fn a_table_that_is_not_there_is_enoent() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        let error = rig.nft.read(&Query::Elements { table: table(), set: "s".into() }).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT as i32), "{error}");
    });
}

#[test]
fn added_rules_tell_their_handles_wherever_they_go() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        let plain = |comment: &str| rule("pod", vec![Expression::counter()], comment);
        let new =
            rig.nft.commit(&[add_table(), add_chain("pod", None), plain("a"), plain("b")], None).unwrap();
        assert_eq!(new.iter().map(|new| new.change).collect::<Vec<_>>(), [2, 3]);
        let by_handle = |rig: &mut Rig, new: &[NewRule]| -> Vec<Option<String>> {
            let rules = rig.rules();
            let of = |new: &NewRule| rules.iter().find(|rule| rule.handle == Some(new.handle)).unwrap();
            new.iter().map(|new| of(new).comment.clone()).collect()
        };
        assert_eq!(by_handle(&mut rig, &new), [Some("a".to_string()), Some("b".to_string())]);
        let Change::AddRule(rule, _) = plain("between") else { panic!() };
        let place = Place::Before(new[1].handle);
        let more = rig.nft.commit(&[Change::AddRule(rule, place)], None).unwrap();
        assert_eq!(by_handle(&mut rig, &more), [Some("between".to_string())]);
        let order: Vec<_> = rig.rules().into_iter().filter_map(|rule| rule.comment).collect();
        assert_eq!(order, ["a", "between", "b"]);
        let of_chain = rig.nft.read(&Query::RulesOf { table: table(), chain: "pod".into() }).unwrap();
        assert_eq!(of_chain.len(), 3);
        rig.commit(&[add_chain("other", None)]);
        assert_eq!(rig.nft.read(&Query::RulesOf { table: table(), chain: "other".into() }).unwrap(), []);
    });
}

#[test]
fn ten_thousand_rules_tell_all_their_handles() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        let mut changes = vec![add_table(), add_chain("pod", None)];
        changes.extend((0..10_000).map(|n| rule("pod", vec![Expression::counter()], &format!("rule {n}"))));
        assert_eq!(rig.nft.commit(&changes, None).unwrap().len(), 10_000);
    });
}

#[test]
fn who_follows_others_does_not_hear_itself() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        let mut events = rig.nft.events_of_others().unwrap();
        rig.commit(&[add_table(), add_chain("pod", None)]);
        rig.listed(&["add", "chain", "inet", "t", "theirs"]);
        let first =
            tokio::time::timeout(Duration::from_secs(5), events.next()).await.expect("an event").unwrap();
        let NftEvent::Change { object: Object::Chain(chain), .. } = first else { panic!("{first:?}") };
        assert_eq!(chain.name, "theirs");
    });
}

#[test]
fn connections_of_an_address_are_forgotten_and_no_others() {
    in_runtime_as_root(async {
        let mut rig = Rig::new();
        let output = Hook { number: 3, priority: 0, kind: ChainKind::Filter, policy: Policy::Accept };
        let tracked = vec![Expression::Ct { key: CtKey::State, direction: None, to: R }];
        rig.commit(&[add_table(), add_chain("out", Some(output)), rule("out", tracked, "tracks")]);
        let kernel = crate::Netlink::open(&rig.netns).unwrap();
        crate::Kernel::apply(&kernel, vec![crate::Op::up("lo")], false).await.pop().unwrap().unwrap();
        let talk = |from: &'static str, to: &'static str| {
            let send = move || {
                let socket = std::net::UdpSocket::bind((from, 0)).unwrap();
                socket.send_to(b"x", (to, 9)).unwrap();
            };
            rig.netns.run(send).unwrap();
        };
        let mut flows = Conntrack::open(&rig.netns).unwrap();
        let ip = |text: &str| -> std::net::IpAddr { text.parse().unwrap() };
        talk("127.0.0.1", "127.0.0.2");
        talk("127.0.0.2", "127.0.0.3");
        talk("127.0.0.4", "127.0.0.5");
        talk("::1", "::1");
        // sends in the first, would answer in the second
        assert_eq!(flows.forget(&[ip("127.0.0.2")]).unwrap(), 2);
        assert_eq!(flows.forget(&[ip("127.0.0.2"), ip("127.0.0.9")]).unwrap(), 0);
        let many: Vec<_> = (1..20).map(|n| ip(&format!("127.0.0.{n}"))).chain([ip("::1")]).collect();
        assert_eq!(flows.forget(&many).unwrap(), 2);
        assert_eq!(flows.forget(&many).unwrap(), 0);
    });
}

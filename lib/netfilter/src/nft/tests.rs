use super::*;
use crate::wire::{Replies, Reply};
use proptest::prelude::*;

fn table() -> TableRef {
    TableRef { family: Family::Inet, name: "ocicat".into() }
}

/// The objects in the messages of a batch, as the kernel would dump them.
fn sent(changes: &[Change]) -> Vec<(Presence, Object)> {
    let mut batch = Batch::new(1, None);
    changes.iter().for_each(|change| batch.push(change));
    Replies::new(&batch.finish().bytes).filter_map(|reply| read(&reply)).collect()
}

fn bytes(len: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), len)
}

fn register() -> impl Strategy<Value = Register> {
    (0u8..16).prop_map(Register)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_-]{0,30}"
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Drop),
        Just(Verdict::Accept),
        Just(Verdict::Continue),
        Just(Verdict::Return),
        name().prop_map(Verdict::Jump),
        name().prop_map(Verdict::Goto),
    ]
}

fn range() -> impl Strategy<Value = Option<(Register, Register)>> {
    proptest::option::of((register(), register()))
}

fn expression() -> impl Strategy<Value = Expression> {
    let plain = prop_oneof![
        (one_of(MetaKey::ALL), register()).prop_map(|(key, to)| Expression::Meta { key, to }),
        (one_of(MetaKey::ALL), register()).prop_map(|(key, from)| Expression::SetMeta { key, from }),
        (one_of(PayloadBase::ALL), any::<u32>(), any::<u32>(), register())
            .prop_map(|(base, offset, len, to)| Expression::Payload { base, offset, len, to }),
        (register(), 0usize..6, bytes(1..=16)).prop_map(|(from, op, value)| Expression::Compare {
            from,
            op: [
                Comparison::Equal,
                Comparison::NotEqual,
                Comparison::Less,
                Comparison::LessOrEqual,
                Comparison::Greater,
                Comparison::GreaterOrEqual,
            ][op],
            value,
        }),
        (register(), register(), bytes(4..=4), bytes(4..=4))
            .prop_map(|(from, to, mask, xor)| Expression::Bitwise { from, to, mask, xor }),
        (register(), any::<bool>(), bytes(2..=2), bytes(2..=2))
            .prop_map(|(from, outside, low, high)| Expression::Range { from, outside, low, high }),
        (name(), register(), 0usize..3, register(), any::<bool>()).prop_map(
            |(set, from, target, to, invert)| {
                let to = [None, Some(MapTarget::Verdict), Some(MapTarget::Register(to))][target];
                Expression::Lookup { set, from, to, invert }
            }
        ),
        (register(), bytes(1..=16)).prop_map(|(to, value)| Expression::Immediate { to, value }),
        verdict().prop_map(Expression::Verdict),
        (one_of(CtKey::ALL), proptest::option::of(0u8..2), register())
            .prop_map(|(key, direction, to)| Expression::Ct { key, direction, to }),
        (one_of(CtKey::ALL), register()).prop_map(|(key, from)| Expression::SetCt { key, from }),
        (any::<u64>(), any::<u64>()).prop_map(|(packets, bytes)| Expression::Counter { packets, bytes }),
        (proptest::option::of(name()), one_of(LogLevel::ALL))
            .prop_map(|(prefix, level)| Expression::Log { prefix, level }),
        (any::<u16>(), proptest::option::of(name()), proptest::option::of(any::<u32>()))
            .prop_map(|(group, prefix, snaplen)| Expression::LogGroup { group, prefix, snaplen }),
        any::<u8>().prop_map(|code| Expression::Reject(Reject::Unreachable(code))),
        Just(Expression::Reject(Reject::TcpReset)),
        any::<u8>().prop_map(|code| Expression::Reject(Reject::AnyFamily(code))),
        (any::<bool>(), prop_oneof![Just(2u8), Just(10)], range(), range()).prop_map(
            |(destination, family, addresses, ports)| Expression::Nat {
                kind: if destination { NatKind::Destination } else { NatKind::Source },
                family,
                addresses,
                ports,
                flags: 0,
            }
        ),
        (prop_oneof![Just(0u32), Just(4), Just(16)], range())
            .prop_map(|(flags, ports)| Expression::Masquerade { flags, ports }),
        (one_of(FibResult::ALL), 1u32..64, register()).prop_map(|(result, flags, to)| Expression::Fib {
            result,
            flags,
            to
        }),
        (any::<u64>(), any::<u64>(), any::<u32>(), any::<bool>(), any::<bool>()).prop_map(
            |(rate, unit, burst, bytes, over)| Expression::Limit { rate, unit, burst, bytes, over }
        ),
        (any::<u32>(), any::<bool>()).prop_map(|(count, over)| Expression::ConnLimit { count, over }),
        Just(Expression::Notrack),
        (any::<u32>(), name()).prop_map(|(kind, name)| Expression::Object { kind, name }),
        (register(), register(), any::<bool>(), any::<u32>(), any::<u32>()).prop_map(
            |(from, to, to_network, len, size)| Expression::ByteOrder { from, to, to_network, len, size }
        ),
    ];
    plain.prop_recursive(1, 4, 2, |inner| {
        (
            name(),
            0usize..3,
            register(),
            proptest::option::of(register()),
            proptest::option::of(1u64..),
            proptest::collection::vec(inner, 0..3),
        )
            .prop_map(|(set, op, key, data, timeout, expressions)| Expression::UpdateSet {
                set,
                op: [SetUpdate::Add, SetUpdate::Update, SetUpdate::Delete][op],
                key,
                data,
                timeout,
                expressions,
            })
    })
}

fn comment() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[ -~]{0,120}")
}

proptest! {
    #[test]
    fn a_rule_reads_back_equal(expressions in proptest::collection::vec(expression(), 0..8), comment in comment()) {
        let rule = Rule { table: table(), chain: "c".into(), handle: None, expressions, comment };
        prop_assert_eq!(
            sent(&[Change::AddRule(rule.clone(), Place::Last)]),
            [(Presence::There, Object::Rule(rule))]
        );
    }

    #[test]
    fn elements_read_back_equal_over_however_many_messages(
        keys in proptest::collection::vec((bytes(4..=4), any::<bool>(), comment(), proptest::option::of(verdict())), 0..300)
    ) {
        let elements: Vec<Element> = keys
            .into_iter()
            .map(|(key, interval_end, comment, verdict)| Element {
                interval_end,
                comment,
                data: verdict.map(Data::Verdict),
                ..Element::key(key)
            })
            .collect();
        let change = Change::AddElements { table: table(), set: "s".into(), elements: elements.clone() };
        let read: Vec<Element> = sent(&[change])
            .into_iter()
            .flat_map(|(_, object)| match object {
                Object::Elements { elements, .. } => elements,
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(read, elements);
    }

    #[test]
    fn bytes_of_any_kind_are_read_without_a_panic(mut junk in bytes(0..=200), kind in 0u16..30, len in any::<bool>()) {
        // a header that fits half of the time, so that the body is reached
        if junk.len() >= 20 && len {
            let length = u32::try_from(junk.len()).unwrap();
            junk[..4].copy_from_slice(&length.to_ne_bytes());
            junk[4..6].copy_from_slice(&(SUBSYSTEM << 8 | kind).to_ne_bytes());
            junk[16] = 2;
        }
        for reply in Replies::new(&junk) {
            let _ = read(&reply);
        }
    }
}

#[test]
fn tables_chains_and_sets_read_back_equal() {
    let comment = Some("what it is for".to_string());
    let of_table = Table { table: table(), flags: 0, comment: comment.clone() };
    let base = Chain {
        table: table(),
        name: "forward".into(),
        handle: None,
        hook: Some(Hook { number: 2, priority: -300, kind: ChainKind::Filter, policy: Policy::Drop }),
        comment: comment.clone(),
    };
    let plain = Chain { name: "to-pod".into(), hook: None, comment: None, ..base.clone() };
    let set = Set {
        table: table(),
        name: "members".into(),
        handle: None,
        key: vec![DataType::IPV4, DataType::PROTOCOL, DataType::PORT],
        data: None,
        interval: true,
        dynamic: false,
        timeout: true,
        counter: true,
        size: Some(70_000),
        comment,
    };
    let map = Set {
        name: "dispatch".into(),
        key: vec![DataType::LINK_NAME],
        data: Some(MapData::Verdict),
        interval: false,
        timeout: false,
        counter: false,
        size: None,
        ..set.clone()
    };
    let nat = Set { name: "nat".into(), data: Some(MapData::Values(vec![DataType::IPV4])), ..map.clone() };
    let changes = [
        Change::AddTable(of_table.clone()),
        Change::AddChain(base.clone()),
        Change::AddChain(plain.clone()),
        Change::AddSet(set.clone()),
        Change::AddSet(map.clone()),
        Change::AddSet(nat.clone()),
    ];
    let objects: Vec<Object> = sent(&changes).into_iter().map(|(_, object)| object).collect();
    assert_eq!(
        objects,
        [
            Object::Table(of_table),
            Object::Chain(base),
            Object::Chain(plain),
            Object::Set(set),
            Object::Set(map),
            Object::Set(nat),
        ]
    );
}

#[test]
fn a_list_of_elements_over_an_attributes_limit_becomes_several_messages() {
    let elements: Vec<Element> = (0u32..10_000).map(|n| Element::key(n.to_be_bytes())).collect();
    let change = Change::AddElements { table: table(), set: "s".into(), elements };
    let messages = sent(std::slice::from_ref(&change));
    assert!(messages.len() > 2, "{}", messages.len());
    let sizes: usize = messages
        .iter()
        .map(|(_, object)| match object {
            Object::Elements { elements, .. } => elements.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(sizes, 10_000);
    let mut batch = Batch::new(100, None);
    batch.push(&Change::AddTable(Table { table: table(), flags: 0, comment: None }));
    batch.push(&change);
    let batch = batch.finish();
    let sequences: Vec<u32> = Replies::new(&batch.bytes)
        .filter_map(|reply| match reply {
            Reply::Data { sequence, .. } => Some(sequence),
            _ => None,
        })
        .collect();
    assert_eq!(sequences, (100..batch.next).collect::<Vec<_>>());
    // begin, table, then every message of the elements names the second change
    assert_eq!(batch.change_of(100), None);
    assert_eq!(batch.change_of(101), Some(0));
    assert!((102..batch.next - 1).all(|sequence| batch.change_of(sequence) == Some(1)));
    assert_eq!(batch.change_of(batch.next), None);
}

/// `NF_NAT_RANGE_PROTO_SPECIFIED`, without which the kernel takes any port.
#[test]
fn masquerading_to_ports_says_that_they_count() {
    let flags = |ports| {
        let expressions = vec![Expression::Masquerade { flags: 16, ports }];
        let rule = Rule { table: table(), chain: "c".into(), handle: None, expressions, comment: None };
        let mut batch = Batch::new(1, None);
        batch.push(&Change::AddRule(rule, Place::Last));
        let bytes = batch.finish().bytes;
        let attribute =
            |flags: u32| [&8u16.to_ne_bytes()[..], &1u16.to_ne_bytes(), &flags.to_be_bytes()].concat();
        (0..32).find(|flags| bytes.windows(8).any(|window| window == attribute(*flags)))
    };
    assert_eq!(flags(None), Some(16));
    assert_eq!(flags(Some((Register(1), Register(2)))), Some(16 | 2));
}

#[test]
fn no_elements_are_no_message() {
    // a removal without a list would empty the set
    assert_eq!(sent(&[Change::DeleteElements { table: table(), set: "s".into(), elements: vec![] }]), []);
}

#[test]
fn a_long_comment_is_cut_between_characters() {
    let long = "ü".repeat(200);
    let rule =
        Rule { table: table(), chain: "c".into(), handle: None, expressions: vec![], comment: Some(long) };
    let [(_, Object::Rule(read))] = &sent(&[Change::AddRule(rule, Place::Last)])[..] else { panic!() };
    let kept = read.comment.as_deref().unwrap();
    assert_eq!(kept.chars().count(), COMMENT_MAX / 2);
    assert!(kept.chars().all(|c| c == 'ü'));
}

#[test]
fn an_expression_we_do_not_write_is_kept_as_it_is() {
    let foreign = Expression::Unknown { name: "xfrm".into(), data: vec![8, 0, 1, 0, 0, 0, 0, 5] };
    let rule =
        Rule { table: table(), chain: "c".into(), handle: None, expressions: vec![foreign], comment: None };
    assert_eq!(sent(&[Change::AddRule(rule.clone(), Place::Last)]), [(Presence::There, Object::Rule(rule))]);
}

#[test]
fn counters_do_not_count_in_a_comparison() {
    let counted = Expression::UpdateSet {
        set: "s".into(),
        op: SetUpdate::Add,
        key: Register::FIRST,
        data: None,
        timeout: None,
        expressions: vec![Expression::Counter { packets: 4, bytes: 400 }],
    };
    let Expression::UpdateSet { expressions, .. } = counted.without_counts() else { panic!() };
    assert_eq!(expressions, [Expression::counter()]);
}

#[test]
fn registers_have_the_numbers_the_kernel_reports() {
    let numbers: Vec<u32> = (0..16).map(|word| Register(word).number()).collect();
    assert_eq!(numbers, [1, 9, 10, 11, 2, 13, 14, 15, 3, 17, 18, 19, 4, 21, 22, 23]);
    assert!((0..16).all(|word| Register::from_number(Register(word).number()) == Some(Register(word))));
    assert_eq!(Register::from_number(0), None);
}

#[test]
fn the_number_of_a_concatenation_holds_its_fields() {
    let fields = [DataType::IPV4, DataType::PROTOCOL, DataType::PORT];
    let number = types::number_of(&fields);
    assert_eq!(number, (7 << 12) | (12 << 6) | 13);
    assert_eq!(types::from_number(number), fields);
    assert_eq!(types::length_of(&fields), 12);
    assert_eq!(types::length_of(&[DataType::PORT]), 2);
    // 63 is nobody's: the whole key is unknown
    assert_eq!(types::from_number(63 << 6 | 7), []);
}

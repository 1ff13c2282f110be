use super::*;
use crate::kind::Kind;
use crate::schema::field::{Check, Field, Object, Type};
use crate::schema::{decode_patched, decode_strict};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

#[test]
fn what_cannot_be_read_is_a_validation_error_with_its_path() {
    let mut pool = Resource::new(Kind::IPPool, "", "p");
    pool.spec_mut().insert("cidr".into(), json!(5));
    let error = admit(&mut pool, Operation::Create).unwrap_err();
    assert_eq!(error.to_string(), "error with field spec.cidr (the number 5 where text is wanted)");
    assert_eq!(pool.name(), "p");
}

#[test]
fn fields_written_in_any_order_are_stored_in_gos() {
    let mut node = Resource::new(Kind::Node, "", "n");
    node.object_mut().insert("status".into(), json!({}));
    node.spec_mut().insert("addresses".into(), json!([{"type": "InternalIP", "address": "10.0.0.1"}]));
    node.spec_mut().insert("bgp".into(), json!({"ipv6Address": "", "ipv4Address": "10.0.0.1/24"}));
    admit(&mut node, Operation::Create).unwrap();
    assert_eq!(
        node.spec().to_string(),
        r#"{"bgp":{"ipv4Address":"10.0.0.1/24"},"addresses":[{"address":"10.0.0.1","type":"InternalIP"}]}"#
    );
}

#[test]
fn singletons_have_one_name() {
    for kind in [Kind::IPAMConfiguration, Kind::ClusterInformation, Kind::KubeControllersConfiguration] {
        assert_eq!(admit(&mut Resource::new(kind, "", "default"), Operation::Create), Ok(()));
        let error = admit(&mut Resource::new(kind, "", "mine"), Operation::Create).unwrap_err();
        assert!(error.to_string().ends_with("resource with a name other than \"default\""), "{error}");
        assert_eq!(validate(&Resource::new(kind, "", "mine")), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_json_panics(kind in any_kind(), value in any_json()) {
        if let Ok(mut resource) = decode_strict(kind, value) {
            let _ = validate(&resource);
            let _ = admit(&mut resource, Operation::Create);
        }
    }

    #[test]
    fn what_is_read_is_in_stored_form(kind in any_kind(), seed: u64) {
        let document = Dice(seed).resource(kind);
        let Ok(read) = decode_strict(kind, document) else { return Ok(()) };
        let mut again = read.clone();
        prop_assert_eq!(normalise(&mut again), Ok(()));
        prop_assert_eq!(text(&again), text(&read));
        let reread = decode_strict(kind, Value::Object(read.object().clone()));
        prop_assert_eq!(reread.as_ref().map(text), Ok(text(&read)));
    }

    #[test]
    fn admitting_twice_is_admitting_once(kind in any_kind(), seed: u64) {
        let Some(once) = admitted(kind, seed) else { return Ok(()) };
        let mut twice = once.clone();
        prop_assert_eq!(admit(&mut twice, Operation::Create), Ok(()));
        prop_assert_eq!(text(&twice), text(&once));
        prop_assert_eq!(admit(&mut twice, Operation::Update { old: &once }), Ok(()));
        prop_assert_eq!(text(&twice), text(&once));
        prop_assert_eq!(validate(&once), Ok(()));
    }

    #[test]
    fn fields_of_newer_versions_survive(kind in any_kind(), seed: u64) {
        let Some(old) = admitted(kind, seed) else { return Ok(()) };
        let mut newer = Value::Object(old.object().clone());
        let marks = mark(&mut newer);
        let Value::Object(object) = newer.clone() else { return Ok(()) };
        let mut stored = Resource::from_object(kind, object);
        prop_assert_eq!(admit(&mut stored, Operation::Update { old: &old }), Ok(()));
        prop_assert_eq!(count_marks(&Value::Object(stored.object().clone())), marks);

        let patched = decode_patched(newer, &stored).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(count_marks(&Value::Object(patched.into_object())), marks);
    }
}

#[test]
fn the_dice_also_make_good_resources() {
    let good = |kind: &Kind| (0..300).filter(|seed| admitted(*kind, *seed).is_some()).count();
    let never: Vec<_> = Kind::ALL.iter().filter(|kind| good(kind) == 0).map(|kind| kind.name()).collect();
    assert!(never.is_empty(), "the property tests never see a good {never:?}");
}

fn text(resource: &Resource) -> String {
    Value::Object(resource.object().clone()).to_string()
}

fn admitted(kind: Kind, seed: u64) -> Option<Resource> {
    let mut resource = decode_strict(kind, Dice(seed).resource(kind)).ok()?;
    admit(&mut resource, Operation::Create).ok()?;
    Some(resource)
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| json!(float)),
        ".{0,12}".prop_map(Value::from),
    ];
    let names = "spec|metadata|status|name|labels|cidr|node|ports|bgp|ingress|egress|source|nets|controllers|selector";
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

const MARK: &str = "fieldOfTheFuture";

/// Puts an unknown field into every object that has a table; how many.
fn mark(object: &mut Value) -> usize {
    let mut marks = 0;
    for section in ["spec", "metadata"] {
        if let Some(Value::Object(fields)) = object.get_mut(section) {
            fields.insert(MARK.into(), json!([1]));
            marks += 1;
        }
    }
    marks
}

fn count_marks(value: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            usize::from(fields.contains_key(MARK)) + fields.values().map(count_marks).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(count_marks).sum(),
        _ => 0,
    }
}

/// Random documents along the tables: mostly of the right types, often with good values.
struct Dice(u64);

impl Dice {
    fn next(&mut self, sides: usize) -> usize {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next(from.len())]
    }

    fn resource(&mut self, kind: Kind) -> Value {
        let schema = kind::of(kind);
        let mut metadata = json!({"name": self.pick(&["default", "default", "node.a"])});
        if kind.namespaced() {
            metadata["namespace"] = "shop".into();
        }
        if self.next(3) == 0 {
            metadata["labels"] = json!({"b": "x", "a": self.pick(&["1", ""])});
        }
        let mut document = json!({"metadata": metadata});
        if let Some(spec) = schema.spec {
            let rate = self.pick(&[1, 3, 8, 30]);
            document["spec"] = Value::Object(self.object(spec, rate));
        }
        if kind == Kind::WorkloadEndpoint {
            let identity = json!({"node": "n", "orchestrator": "k8s", "pod": "p-0", "endpoint": "eth0"});
            if let (Value::Object(spec), Value::Object(identity)) = (&mut document["spec"], identity) {
                spec.extend(identity);
            }
            document["metadata"]["name"] = "n-k8s-p--0-eth0".into();
        }
        document
    }

    /// Each field with a chance of one in `rate`, required ones nearly always.
    fn object(&mut self, object: &'static Object, rate: usize) -> Map<String, Value> {
        let mut fields = Map::new();
        for field in object.fields {
            let required =
                matches!(field.name, "cidr" | "action" | "node" | "interfaceName" | "classes" | "name");
            if self.next(if required { 1 } else { rate }) == 0 {
                let value = self.value(field, rate);
                fields.insert(field.name.to_owned(), value);
            }
        }
        fields
    }

    fn value(&mut self, field: &Field, rate: usize) -> Value {
        let words = field.checks.iter().flatten().find_map(|check| match check {
            Check::Enum(words) => Some(*words),
            _ => None,
        });
        if let Some(words) = words.filter(|_| self.next(20) > 0) {
            return self.pick(words).into();
        }
        if self.next(200) == 0 {
            return self.pick(&["", "x y", "\u{0}"]).into();
        }
        match field.ty {
            Type::Bool => self.pick(&[true, false]).into(),
            Type::Int { min, max } => self.pick(&[0, 1, 5, 30, 1000, 1024, min, max, -1]).into(),
            Type::Float => json!(self.pick(&[0.0, 1.0, -2.5, 1e9, 1e21, 0.1])),
            Type::Duration => self.pick(&["90s", "0s", "1h", "5m0s"]).into(),
            Type::Port | Type::IntOrText => {
                self.pick(&[json!(80), json!("80"), json!("1:2"), json!("http"), json!(0)].each_ref()).clone()
            }
            Type::Protocol | Type::Dscp => {
                self.pick(&[json!("TCP"), json!("17"), json!(6), json!("ICMP")].each_ref()).clone()
            }
            Type::AsNumber => self.pick(&[json!(64512), json!("1.10"), json!("65000")].each_ref()).clone(),
            Type::Text => self
                .pick(&[
                    "a",
                    "eth0",
                    "10.0.0.0/24",
                    "10.0.0.1/32",
                    "fd00::1",
                    "has(x)",
                    "192.0.2.1",
                    "1:2",
                    "all()",
                    "",
                ])
                .into(),
            Type::Object(object) => Value::Object(self.object(object, rate)),
            Type::List(item) => (0..self.next(3)).map(|_| self.value(item, rate)).collect(),
            Type::TextMap => json!({"b": "x", "a": ""}),
            Type::Map(item) => json!({"k": self.value(item, rate)}),
            Type::Any => json!({"kept": [1, null]}),
        }
    }
}

use crate::Kind;
use crate::kinds::testing::{refusals, stored_spec, unreadable};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What is wrong with one ingress rule of a GlobalNetworkPolicy.
fn ingress(rule: Value) -> Vec<String> {
    refusals(Kind::GlobalNetworkPolicy, "p", json!({"ingress": [rule]}))
}

fn egress(rule: Value) -> Vec<String> {
    refusals(Kind::GlobalNetworkPolicy, "p", json!({"egress": [rule]}))
}

/// An allowing rule with more fields.
fn allow(more: Value) -> Value {
    let mut rule = json!({"action": "Allow"});
    for (field, value) in more.as_object().expect("fields") {
        rule[field] = value.clone();
    }
    rule
}

fn source(entity: Value) -> Vec<String> {
    ingress(allow(json!({"source": entity})))
}

const PASS: &[&str] = &[];

#[test]
fn actions() {
    for action in ["Allow", "Deny", "Log", "Pass"] {
        assert_eq!(ingress(json!({"action": action})), PASS);
    }
    for action in [json!({"action": "allow"}), json!({"action": ""}), json!({}), json!({"action": "Drop"})] {
        assert_eq!(
            ingress(action),
            [r#"spec.ingress[0].action (supported values: "Allow", "Deny", "Log", "Pass")"#]
        );
    }
}

#[test]
fn each_rule_is_named_by_its_place() {
    let spec = json!({"ingress": [{"action": "Allow"}, {"action": "x"}], "egress": [{"action": "y"}]});
    let refused = refusals(Kind::GlobalNetworkPolicy, "p", spec);
    let places: Vec<&str> = refused.iter().filter_map(|r| r.split(' ').next()).collect();
    assert_eq!(places, ["spec.ingress[1].action", "spec.egress[0].action"]);
}

#[test]
fn ip_versions() {
    for version in [4, 6] {
        assert_eq!(ingress(allow(json!({"ipVersion": version}))), PASS);
    }
    for version in [0, 5, -4] {
        assert_eq!(
            ingress(allow(json!({"ipVersion": version}))),
            [r#"spec.ingress[0].ipVersion (supported values: "4", "6")"#]
        );
    }
}

#[test]
fn protocols() {
    for good in [json!("TCP"), json!("UDPLite"), json!("ICMPv6"), json!(1), json!(255), json!("17")] {
        assert_eq!(ingress(allow(json!({"protocol": good}))), PASS, "{good}");
        assert_eq!(ingress(allow(json!({"notProtocol": good}))), PASS, "{good}");
    }
    for bad in ["tcp", "GRE", "Tcp", "", "-1", "256"] {
        let expected = [format!("Protocol = '{bad}' (protocol name invalid)")];
        assert_eq!(ingress(allow(json!({"protocol": bad}))), expected);
        assert_eq!(ingress(allow(json!({"notProtocol": bad}))), expected);
    }
    assert_eq!(ingress(allow(json!({"protocol": 0}))), ["Protocol = '0' (protocol number invalid)"]);
    assert_eq!(ingress(allow(json!({"protocol": "0"}))), ["Protocol = '0' (protocol number invalid)"]);
    let error = unreadable(Kind::Profile, "p", json!({"ingress": [{"protocol": 256}]}));
    assert!(error.contains("spec.ingress[0].protocol") && error.contains("256"), "{error}");
}

#[test]
fn numeric_ports_need_a_protocol_that_has_ports() {
    let ports = |protocol: Option<Value>, ports: Value| {
        let mut rule = allow(json!({"destination": {"ports": ports}}));
        if let Some(protocol) = protocol {
            rule["protocol"] = protocol;
        }
        ingress(rule)
    };
    for protocol in [json!("TCP"), json!("UDP"), json!("SCTP"), json!(6), json!(17), json!(132)] {
        assert_eq!(ports(Some(protocol.clone()), json!([80, "90:100", "web"])), PASS, "{protocol}");
    }
    let reason = "rules that specify ports must set protocol to TCP or UDP or SCTP";
    for protocol in [json!("ICMP"), json!("UDPLite"), json!(47)] {
        for list in [json!([80]), json!(["web"])] {
            let shown = list[0].to_string().replace('"', "");
            assert_eq!(
                ports(Some(protocol.clone()), list),
                [format!("Destination.Ports = '[{shown}]' ({reason})")],
                "{protocol}"
            );
        }
    }
    assert_eq!(ports(None, json!(["web", "dns"])), PASS);
    assert_eq!(
        ports(None, json!(["web", "1:2", 80])),
        [
            "Destination.Ports = '[web 1:2 80]' (rules with numeric port or port range must set protocol to TCP or UDP or SCTP)"
        ]
    );
}

#[test]
fn all_four_lists_of_ports_are_looked_at() {
    let rule = allow(json!({
        "source": {"ports": [1], "notPorts": [2]}, "destination": {"ports": [3], "notPorts": [4]}
    }));
    let names: Vec<String> =
        ingress(rule).iter().filter_map(|r| r.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(names, ["Source.Ports", "Source.NotPorts", "Destination.Ports", "Destination.NotPorts"]);
}

#[test]
fn ports() {
    let port = |port: Value| ingress(allow(json!({"protocol": "TCP", "source": {"notPorts": [port]}})));
    for good in [json!(1), json!(65535), json!("1:65535"), json!("http-alt"), json!("8080"), json!("a")] {
        assert_eq!(port(good.clone()), PASS, "{good}");
    }
    for zero in [json!(0), json!("0"), json!("0:80")] {
        assert_eq!(port(zero), ["Port = '0' (port range invalid, port number must be between 1 and 65535)"]);
    }
    for name in ["Web_Port", "sixteen-letters-x", "-a", "a-", "a--b", "WEB", "1-2", "a.b"] {
        assert_eq!(
            port(json!(name)),
            [format!(
                "PortName = '{name}' (Reason: failed to validate Field: PortName because of Tag: portName )"
            )]
        );
    }
    for (bad, text) in [
        (json!("90:80"), "minimum port number (90) is greater than maximum port number (80) in port range"),
        (json!("1:70000"), "invalid maximum port number in range (1:70000)"),
        (json!("70000"), "invalid port format (70000)"),
        (json!("a b"), "invalid name for named port (a b)"),
        (json!(65536), "65536"),
        (json!(-1), "-1"),
        (json!(1.5), "1.5"),
        (json!({}), "source.notPorts[0]"),
    ] {
        let error = unreadable(Kind::Profile, "p", json!({"ingress": [{"source": {"notPorts": [bad]}}]}));
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn lists_are_bounded() {
    let entity = |field: &str, item: Value, count: usize| {
        let rule = allow(json!({"protocol": "TCP", "source": {field: vec![item; count]}}));
        ingress(rule)
    };
    assert_eq!(entity("ports", json!(80), 50), PASS);
    assert_eq!(entity("ports", json!(80), 51), ["spec.ingress[0].source.ports (must have at most 50 items)"]);
    assert_eq!(entity("nets", json!("10.0.0.0/8"), 256), PASS);
    assert_eq!(
        entity("notNets", json!("10.0.0.0/8"), 257),
        ["spec.ingress[0].source.notNets (must have at most 256 items)"]
    );
    let rules = |count: usize| {
        refusals(Kind::GlobalNetworkPolicy, "p", json!({"ingress": vec![json!({"action": "Deny"}); count]}))
    };
    assert_eq!(rules(1024), PASS);
    assert_eq!(rules(1025), ["spec.ingress (must have at most 1024 items)"]);
}

#[test]
fn nets_have_no_host_bits_and_a_length() {
    for good in ["10.0.0.0/8", "192.0.2.7/32", "0.0.0.0/0", "fd00::/8", "2001:DB8:0:0::1/128"] {
        assert_eq!(source(json!({"nets": [good]})), PASS, "{good}");
    }
    for address in ["10.0.0.1", "fd00::1"] {
        assert_eq!(source(json!({"nets": [address]})), [format!("Source.Nets = '{address}' (invalid CIDR)")]);
    }
    let tag = "(Reason: failed to validate Field: Nets[0] because of Tag: net )";
    assert_eq!(source(json!({"nets": ["10.0.0.1/8"]})), [format!("Nets[0] = '10.0.0.1/8' {tag}")]);
    for bad in ["10.0.0.0/33", "x", "fd00::/129", "10.0.0/8"] {
        assert_eq!(
            source(json!({"nets": [bad]})),
            [format!("Nets[0] = '{bad}' {tag}"), format!("Source.Nets = '{bad}' (invalid CIDR)")]
        );
    }
}

#[test]
fn nets_of_a_rule_are_of_one_family() {
    let mixed = "(rule contains both IPv4 and IPv6 CIDRs)";
    assert_eq!(
        source(json!({"nets": ["10.0.0.0/8", "fd00::/8"]})),
        [format!("Source.Nets = '[10.0.0.0/8 fd00::/8]' {mixed}")]
    );
    let rule = allow(json!({"source": {"nets": ["10.0.0.0/8"]}, "destination": {"notNets": ["fd00::/8"]}}));
    assert_eq!(ingress(rule), [format!("Destination.NotNets = '[fd00::/8]' {mixed}")]);
    let rule = allow(json!({"source": {"nets": ["10.0.0.0/8"]}, "destination": {"nets": ["10.1.0.0/16"]}}));
    assert_eq!(ingress(rule), PASS);
}

#[test]
fn nets_are_of_the_rules_version() {
    let wrong = "(rule IP version doesn't match CIDR version)";
    let rule = |version: u8, side: &str, net: &str| {
        ingress(allow(json!({"ipVersion": version, side: {"nets": [net]}})))
    };
    assert_eq!(rule(4, "source", "10.0.0.0/8"), PASS);
    assert_eq!(rule(6, "destination", "fd00::/8"), PASS);
    assert_eq!(rule(6, "source", "10.0.0.0/8"), [format!("Source.Nets = '[10.0.0.0/8]' {wrong}")]);
    assert_eq!(rule(4, "destination", "fd00::/8"), [format!("Destination.Nets = '[]' {wrong}")]);
}

#[test]
fn everything_cannot_be_excluded() {
    let reason = "(catch-all CIDR in negation creates logical contradiction (matches no traffic))";
    for net in ["0.0.0.0/0", "::/0", "0::0/0"] {
        assert_eq!(source(json!({"notNets": [net]})), [format!("Source.NotNets = '{net}' {reason}")]);
        assert_eq!(source(json!({"nets": [net]})), PASS);
    }
    assert_eq!(source(json!({"notNets": ["0.0.0.0/1"]})), PASS);
}

#[test]
fn icmp() {
    let icmp = |fields: Value| ingress(allow(json!({"protocol": "ICMP", "icmp": fields})));
    for good in [json!({}), json!({"type": 0}), json!({"type": 254, "code": 255})] {
        assert_eq!(icmp(good.clone()), PASS, "{good}");
    }
    assert_eq!(
        icmp(json!({"type": 255})),
        [
            "Type = '255' (Reason: failed to validate Field: Type because of Tag: lte )",
            "spec.ingress[0].icmp.type (spec.ingress[0].icmp.type in body should be less than or equal to 254)"
        ]
    );
    assert_eq!(
        icmp(json!({"type": -1})),
        [
            "Type = '-1' (Reason: failed to validate Field: Type because of Tag: gte )",
            "spec.ingress[0].icmp.type (spec.ingress[0].icmp.type in body should be greater than or equal to 0)"
        ]
    );
    assert_eq!(icmp(json!({"code": 3})), ["spec.ingress[0].icmp (ICMP code specified without an ICMP type)"]);
    assert_eq!(
        ingress(allow(json!({"protocol": "ICMP", "notICMP": {"code": 3}}))),
        ["spec.ingress[0].notICMP (ICMP code specified without an ICMP type)"]
    );
}

#[test]
fn icmp_needs_its_protocol() {
    let reason = ["spec.ingress[0] (ICMP fields require protocol to be ICMP or ICMPv6)"];
    for protocol in [json!("ICMP"), json!("ICMPv6"), json!(1), json!(58)] {
        assert_eq!(ingress(allow(json!({"protocol": protocol, "icmp": {"type": 8}}))), PASS, "{protocol}");
    }
    assert_eq!(ingress(allow(json!({"icmp": {"type": 8}}))), reason);
    assert_eq!(ingress(allow(json!({"protocol": "TCP", "icmp": {"type": 8}}))), reason);
    // what must not be matched says nothing about the protocol
    assert_eq!(ingress(allow(json!({"notICMP": {"type": 8}}))), PASS);
}

#[test]
fn icmp_protocols_are_of_one_version() {
    for field in ["protocol", "notProtocol"] {
        for (protocol, version, text) in [
            (json!("ICMP"), 6, "protocol ICMP requires ipVersion 4"),
            (json!(1), 6, "protocol ICMP requires ipVersion 4"),
            (json!("ICMPv6"), 4, "protocol ICMPv6 requires ipVersion 6"),
            (json!(58), 4, "protocol ICMPv6 requires ipVersion 6"),
        ] {
            let rule = |version: u8| ingress(allow(json!({field: protocol, "ipVersion": version})));
            assert_eq!(rule(version), [format!("spec.ingress[0] ({text})")]);
            assert_eq!(rule(10 - version), PASS);
            assert_eq!(ingress(allow(json!({field: protocol}))), PASS);
        }
    }
}

#[test]
fn selectors_parse() {
    for field in ["selector", "notSelector", "namespaceSelector"] {
        assert_eq!(source(json!({field: "a == 'b'"})), PASS);
        let go = field.chars().next().map(|c| c.to_ascii_uppercase()).into_iter().collect::<String>();
        let go = format!("{go}{}", &field[1..]);
        assert_eq!(
            source(json!({field: "a = b"})),
            [format!("{go} = 'a = b' (Reason: failed to validate Field: {go} because of Tag: selector )")]
        );
        let long = format!("a == '{}'", "x".repeat(1024));
        assert_eq!(
            source(json!({field: long})),
            [format!("spec.ingress[0].source.{field} (may not be more than 1024 bytes)")]
        );
    }
    assert_eq!(
        source(json!({"serviceAccounts": {"selector": "("}})),
        ["Selector = '(' (Reason: failed to validate Field: Selector because of Tag: selector )"]
    );
}

#[test]
fn global_stands_alone_and_only_for_namespaces() {
    for good in ["global()", "global( )", " global()", "all()", "a == 'b'"] {
        assert_eq!(source(json!({"namespaceSelector": good})), PASS, "{good}");
    }
    for bad in ["has(a) && global()", "!global()", "(global())", "global() || global()", "a == 'global('"] {
        assert_eq!(
            source(json!({"namespaceSelector": bad})),
            [format!("NamespaceSelector field = '{bad}' (global() cannot be combined with other selectors)")]
        );
    }
    assert_eq!(
        source(json!({"selector": "global()"})),
        ["spec.ingress[0].source (global() can only be used in an EntityRule namespaceSelector)"]
    );
    assert_eq!(source(json!({"notSelector": "global()"})), PASS);
}

#[test]
fn services_exclude_everything_else() {
    let with = |more: Value| {
        let mut entity = json!({"services": {"name": "s", "namespace": "n"}});
        for (field, value) in more.as_object().expect("fields") {
            entity[field] = value.clone();
        }
        source(entity)
    };
    assert_eq!(with(json!({})), PASS);
    let at = |reason: &str| vec![format!("spec.ingress[0].source ({reason})")];
    for field in ["selector", "notSelector"] {
        assert_eq!(
            with(json!({field: "all()"})),
            at("cannot specify Selector/NotSelector and Services on the same rule")
        );
    }
    for field in ["nets", "notNets"] {
        assert_eq!(
            with(json!({field: ["10.0.0.0/8"]})),
            at("cannot specify Nets/NotNets and Services on the same rule")
        );
    }
    assert_eq!(
        with(json!({"namespaceSelector": "all()"})),
        at("cannot specify NamespaceSelector and Services on the same rule")
    );
    assert_eq!(
        with(json!({"serviceAccounts": {"names": ["x"]}})),
        at("cannot specify ServiceAccounts and Services on the same rule")
    );
    assert_eq!(
        source(json!({"services": {"namespace": "n"}})),
        at("no such key: name evaluating rule: services must specify a service name")
    );
}

#[test]
fn services_bring_their_own_ports() {
    let rule = |field: &str| {
        egress(allow(json!({
            "protocol": "TCP", "destination": {"services": {"name": "s", "namespace": "n"}, field: [80]}
        })))
    };
    for field in ["ports", "notPorts"] {
        assert_eq!(rule(field), ["spec.egress[0] (ports and notPorts cannot be specified with services)"]);
    }
}

#[test]
fn services_have_names() {
    for (field, name) in [("name", "Name"), ("namespace", "Namespace")] {
        let mut services = json!({"name": "s", "namespace": "n"});
        services[field] = "Bad_Name".into();
        assert_eq!(
            source(json!({"services": services})),
            [format!("{name} = 'Bad_Name' (Reason: failed to validate Field: {name} because of Tag: name )")]
        );
    }
}

#[test]
fn services_stand_for_the_far_end() {
    let services = json!({"services": {"name": "s", "namespace": "n"}});
    assert_eq!(ingress(allow(json!({"source": services}))), PASS);
    assert_eq!(egress(allow(json!({"destination": services}))), PASS);
    assert_eq!(
        ingress(allow(json!({"destination": services}))),
        ["Services = '&{s n}' (not allowed in ingress rule destination)"]
    );
    assert_eq!(
        egress(allow(json!({"source": services}))),
        ["Services = '&{s n}' (not allowed in egress rule source)"]
    );
}

#[test]
fn services_need_a_namespace_outside_of_one() {
    let services = json!({"services": {"name": "s"}});
    let missing = ["Namespace = '' (must specify a namespace)"];
    assert_eq!(ingress(allow(json!({"source": services}))), missing);
    assert_eq!(egress(allow(json!({"destination": services}))), missing);
    let spec = json!({"ingress": [{"action": "Allow", "source": services}]});
    assert_eq!(refusals(Kind::NetworkPolicy, "p", spec), PASS);
}

#[test]
fn http() {
    let rule = |http: Value| ingress(allow(json!({"http": http})));
    assert_eq!(rule(json!({"methods": ["GET", "PUT"], "paths": [{"exact": "/a"}, {"prefix": "/b"}]})), PASS);
    assert_eq!(
        rule(json!({"methods": ["GET", "PUT", "GET"]})),
        ["Methods = '[GET PUT GET]' (Invalid methods (duplicates): [GET PUT GET])"]
    );
    for (path, shown, reason) in [
        (
            json!({"exact": "/a", "prefix": "/b"}),
            "{/a /b}",
            "Invalid path match. Both 'exact' and 'prefix' are set",
        ),
        (json!({}), "{ }", "Invalid path match. Either 'exact' or 'prefix' must be set"),
        (json!({"exact": "a"}), "{a }", "Invalid path a. (must start with `/` and not contain `?` or `#`"),
        (
            json!({"prefix": "/a?b"}),
            "{ /a?b}",
            "Invalid path /a?b. (must start with `/` and not contain `?` or `#`",
        ),
        (
            json!({"prefix": "/a b"}),
            "{ /a b}",
            "Invalid path /a b. (must start with `/` and not contain `?` or `#`",
        ),
        (json!({"exact": "/#"}), "{/# }", "Invalid path /#. (must start with `/` and not contain `?` or `#`"),
    ] {
        assert_eq!(rule(json!({"paths": [path]})), [format!("Paths = '[{shown}]' ({reason})")]);
    }
    let many: Vec<String> = (0..21).map(|n| format!("M{n}")).collect();
    assert_eq!(rule(json!({"methods": many})), ["spec.ingress[0].http.methods (must have at most 20 items)"]);
    let many: Vec<Value> = (0..21).map(|n| json!({"exact": format!("/{n}")})).collect();
    assert_eq!(rule(json!({"paths": many})), ["spec.ingress[0].http.paths (must have at most 20 items)"]);
}

#[test]
fn http_goes_with_allow_tcp_and_ingress() {
    let http = json!({"methods": ["GET"]});
    for protocol in [json!("TCP"), json!(6)] {
        assert_eq!(ingress(allow(json!({"protocol": protocol, "http": http}))), PASS);
    }
    assert_eq!(
        ingress(allow(json!({"protocol": "UDP", "http": http}))),
        ["spec.ingress[0] (rules with HTTP match must have protocol TCP or unset)"]
    );
    for action in ["Deny", "Log", "Pass"] {
        assert_eq!(
            ingress(json!({"action": action, "http": http})),
            ["spec.ingress[0] (HTTP match is only valid on Allow rules)"]
        );
    }
    assert_eq!(egress(allow(json!({"http": http}))), ["HTTP = '&{[GET] []}' (not allowed in egress rules)"]);
    let spec = json!({"egress": [allow(json!({"http": {"paths": [{"prefix": "/x"}]}}))]});
    assert_eq!(
        refusals(Kind::NetworkPolicy, "p", spec),
        ["HTTP = '&{[] [{ /x}]}' (not allowed in egress rule)"]
    );
}

#[test]
fn annotations_of_rules_have_qualified_keys() {
    assert_eq!(ingress(allow(json!({"metadata": {"annotations": {"a.b/C_d": "free text, \"any\""}}}))), PASS);
    let refused = ingress(allow(json!({"metadata": {"annotations": {"bad key": "x"}}})));
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].starts_with("Metadata.Annotations (key) = 'bad key' (name part must consist of"),
        "{refused:?}"
    );
}

#[test]
fn stored_form_of_a_rule() {
    let spec = json!({"ingress": [{
        "destination": {"notPorts": ["90:90"], "ports": ["80"], "selector": "", "nets": []},
        "metadata": {}, "protocol": "17", "source": {}, "notICMP": {"code": 0, "type": 0}, "action": "Allow",
        "ipVersion": 4, "http": {}, "icmp": null,
    }]});
    let stored = stored_spec(Kind::Profile, "p", spec);
    assert_eq!(
        stored,
        "{\"ingress\":[{\"action\":\"Allow\",\"ipVersion\":4,\"protocol\":17,\"notICMP\":{\"type\":0,\"code\":0},\
         \"destination\":{\"ports\":[80],\"notPorts\":[90]},\"http\":{},\"metadata\":{}}]}"
    );
}

/// Any JSON that may be written where a rule belongs, with the fields rules have.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..300).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "Allow",
            "TCP",
            "ICMP",
            "0",
            "80",
            "1:2",
            "9:1",
            "web",
            "10.0.0.0/8",
            "::/0",
            "global()",
            "has(",
            "/a"
        ])
        .prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let fields = prop::sample::select(vec![
        "action",
        "ipVersion",
        "protocol",
        "notProtocol",
        "icmp",
        "notICMP",
        "type",
        "code",
        "source",
        "destination",
        "nets",
        "notNets",
        "ports",
        "notPorts",
        "selector",
        "notSelector",
        "namespaceSelector",
        "services",
        "name",
        "namespace",
        "serviceAccounts",
        "names",
        "http",
        "methods",
        "paths",
        "exact",
        "prefix",
        "metadata",
        "annotations",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(fields.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_rule_is_judged_without_panic(rule in anything(), direction in prop::sample::select(vec!["ingress", "egress"])) {
        use crate::admission::{Operation, admit, validate};
        for kind in [Kind::NetworkPolicy, Kind::GlobalNetworkPolicy, Kind::Profile, Kind::StagedNetworkPolicy] {
            let mut spec = json!({});
            spec[direction] = json!([rule]);
            let document = crate::kinds::testing::document(kind, "p", spec);
            if let Ok(mut resource) = crate::schema::decode_strict(kind, document.clone()) {
                let _ = validate(&resource);
                if admit(&mut resource, Operation::Create).is_ok() {
                    let again = resource.clone();
                    let update = Operation::Update { old: &again };
                    prop_assert!(admit(&mut resource, update).is_ok());
                    prop_assert_eq!(&resource, &again);
                }
            }
            // what is in the store may be anything
            let mut stored = crate::Resource::from_object(kind, document.as_object().cloned().unwrap_or_default());
            let _ = validate(&stored);
            let _ = admit(&mut stored, Operation::Create);
        }
    }
}

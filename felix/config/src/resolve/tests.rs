use super::*;
use model::Resource;
use model::kind::Kind;
use serde_json::{Value as Json, json};
use std::sync::Arc;

const NODE: &str = "node-1";

fn configuration(name: &str, created: &str, spec: Json) -> Arc<Resource> {
    let mut resource = Resource::new(Kind::FelixConfiguration, "", name);
    resource.set_meta_text("creationTimestamp", created);
    *resource.spec_mut() = spec.as_object().unwrap().clone();
    Arc::new(resource)
}

fn stored(resources: &[Arc<Resource>]) -> Stored {
    let mut stored = Stored::default();
    for resource in resources {
        stored.set(resource.name(), Some(Arc::clone(resource)));
    }
    stored.set_labels([("rack", "r1")]);
    stored
}

fn local(variables: &[(&str, &str)], file: &str) -> Local {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Local::new(variables).with_file(file).unwrap()
}

fn value<'a>(configuration: &'a Configuration, name: &str) -> &'a Value {
    configuration.values.iter().find(|value| value.row.name == name).unwrap()
}

/// All five sources say something about one parameter; they are taken away one by one, the strongest first.
#[test]
fn the_strongest_source_wins() {
    let priority = |metric: i64| json!({"ipv4NormalRoutePriority": metric, "nodeSelector": "rack == 'r1'"});
    let all = [
        configuration("node.node-1", "2026-01-03T00:00:00Z", json!({"ipv4NormalRoutePriority": 3})),
        configuration("racks", "2026-01-02T00:00:00Z", priority(4)),
        configuration("default", "2026-01-01T00:00:00Z", json!({"ipv4NormalRoutePriority": 5})),
    ];
    let name = "IPv4NormalRoutePriority";
    let variable = [("FELIX_IPv4NORMALROUTEPRIORITY", "1")];
    let file = "ipv4normalroutepriority = 2\n";
    /// Environment, file, FelixConfigurations, value, origin.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, usize, i64, Origin);
    let cases: [Case<'_>; 6] = [
        (&variable, file, 0, 1, Origin::Environment),
        (&[], file, 0, 2, Origin::File),
        (&[], "", 0, 3, Origin::Node),
        (&[], "", 1, 4, Origin::Selector("racks".to_owned())),
        (&[], "", 2, 5, Origin::Global),
        (&[], "", 3, 1024, Origin::Default),
    ];
    for (variables, file, without, number, origin) in cases {
        let found = resolve(&local(variables, file), &stored(&all[without..]), NODE);
        assert_eq!((found.get(name), &value(&found, name).origin), (&Setting::Int(number), &origin));
        assert_eq!(found.is_given(name), origin != Origin::Default);
        assert_eq!(found.problems, []);
    }
}

#[test]
fn a_source_that_does_not_say_it_leaves_it_to_the_next() {
    let all = [
        configuration("node.node-1", "", json!({"vxlanPort": 4790})),
        configuration("node.node-2", "", json!({"vxlanPort": 1})),
        configuration("default", "", json!({"vxlanPort": 2, "logPrefix": "of-all"})),
    ];
    let found = resolve(&Local::default(), &stored(&all), NODE);
    assert_eq!(found.get("VXLANPort"), &Setting::Int(4790));
    assert_eq!(found.get("LogPrefix"), &Setting::Text("of-all".to_owned()));
}

#[test]
fn of_several_selectors_the_oldest_that_matches_decides() {
    let scoped = |name, created, selector: &str, port: i64| {
        configuration(name, created, json!({"nodeSelector": selector, "vxlanPort": port}))
    };
    let all = [
        scoped("a-young", "2026-03-01T00:00:00Z", "rack == 'r1'", 1),
        scoped("b-old", "2026-02-01T00:00:00Z", "has(rack)", 2),
        scoped("c-oldest", "2026-01-01T00:00:00Z", "rack == 'r2'", 3),
        scoped("d-none", "2025-01-01T00:00:00Z", "", 4),
        scoped("e-bad", "2025-01-01T00:00:00Z", "rack ==", 5),
    ];
    let found = resolve(&Local::default(), &stored(&all), NODE);
    assert_eq!(value(&found, "VXLANPort").origin, Origin::Selector("b-old".to_owned()));
    assert_eq!(found.get("VXLANPort"), &Setting::Int(2));
    let [Problem::Selector { resource, .. }] = &found.problems[..] else { panic!("{:?}", found.problems) };
    assert_eq!(resource, "e-bad");
    let mut relabelled = stored(&all);
    relabelled.set_labels([("rack", "r2")]);
    assert_eq!(resolve(&Local::default(), &relabelled, NODE).get("VXLANPort"), &Setting::Int(3));
    relabelled.set_labels([]);
    assert_eq!(resolve(&Local::default(), &relabelled, NODE).get("VXLANPort"), &Setting::Int(4789));
}

#[test]
fn durations_lists_and_annotations_arrive_from_a_resource() {
    let mut resource = (*configuration(
        "default",
        "",
        json!({
            "reportingTTL": "1m30s",
            "failsafeInboundHostPorts": [],
            "failsafeOutboundHostPorts": [{"protocol": "UDP", "port": 53, "net": "10.0.0.0/8"}],
            "logPrefix": "of-field",
        }),
    ))
    .clone();
    resource.set_meta_entry("annotations", "config.projectcalico.org/LogPrefix", "of-annotation");
    let found = resolve(&Local::default(), &stored(&[Arc::new(resource)]), NODE);
    assert_eq!(found.get("ReportingTTLSecs"), &Setting::Duration(std::time::Duration::from_secs(90)));
    assert_eq!(found.get("FailsafeInboundHostPorts"), &Setting::FailsafePorts(Vec::new()));
    assert_eq!(found.get("LogPrefix"), &Setting::Text("of-annotation".to_owned()));
    let Setting::FailsafePorts(ports) = found.get("FailsafeOutboundHostPorts") else { panic!() };
    assert_eq!((ports.len(), &*ports[0].protocol, ports[0].port), (1, "udp", 53));
}

/// What cannot be read has the default, also where a weaker source has a good value.
#[test]
fn an_unreadable_value_is_named_and_has_the_default() {
    let all = [configuration("default", "", json!({"vxlanPort": 7, "chainInsertMode": "sideways"}))];
    let found = resolve(&local(&[("FELIX_VXLANPORT", "many")], ""), &stored(&all), NODE);
    assert_eq!(found.get("VXLANPort"), &Setting::Int(4789));
    assert_eq!(value(&found, "VXLANPort").origin, Origin::Default);
    let texts: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "ChainInsertMode in FelixConfiguration default: \"sideways\" is not one of append, insert; using the default",
            "VXLANPort in the environment: \"many\" is not a whole number; using the default",
        ]
    );
    assert!(!found.problems.iter().any(Problem::is_fatal), "a resource does not stop an agent");
    let found = resolve(&local(&[], "ChainInsertMode = sideways"), &Stored::default(), NODE);
    assert!(found.problems[0].is_fatal(), "Calico's does not start with it either");
}

#[test]
fn names_that_mean_nothing_and_places_that_do_not_count_are_told() {
    let mut resource = (*configuration("default", "", json!({}))).clone();
    resource.set_meta_entry("annotations", "config.projectcalico.org/EtcdEndpoints", "http://a:1");
    resource.set_meta_entry("annotations", "config.projectcalico.org/LogPrefiks", "x");
    let found = resolve(&local(&[("FELIX_HELATHPORT", "1")], ""), &stored(&[Arc::new(resource)]), NODE);
    let texts: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with("helathport in the environment: there is no such parameter"))
    );
    assert!(texts.iter().any(|text| text.starts_with("logprefiks in FelixConfiguration default")));
    assert!(texts.iter().any(|text| text.starts_with("EtcdEndpoints in FelixConfiguration default: only")));
    assert_eq!(value(&found, "EtcdEndpoints").origin, Origin::Default);
}

#[test]
fn what_is_not_acted_on_is_told_unless_it_is_the_default() {
    let stored_by_default = json!({"floatingIPs": "Disabled", "bpfConnectTimeLoadBalancing": "TCP", "bpfLogLevel": "",
        "bpfHostNetworkedNATWithoutCTLB": "Enabled", "nftablesMode": "Auto"});
    let found = resolve(&Local::default(), &stored(&[configuration("default", "", stored_by_default)]), NODE);
    let texts: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts, Vec::<String>::new(), "what Calico's client fills in is nobody's wish");
    let bpf = [configuration("default", "", json!({"bpfEnabled": true}))];
    let found = resolve(&Local::default(), &stored(&bpf), NODE);
    assert_eq!(
        found.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "BPFEnabled in FelixConfiguration default: \"true\" has no effect: this agent does not act on it yet"
        ]
    );
}

#[test]
fn a_mask_with_too_few_bits_is_told_and_the_default_counts() {
    let found = resolve(&local(&[("FELIX_IPTABLESMARKMASK", "0xf0")], ""), &Stored::default(), NODE);
    let [problem] = &found.problems[..] else { panic!("{:?}", found.problems) };
    assert!(problem.is_fatal());
    assert_eq!(
        problem.to_string(),
        "IptablesMarkMask in the environment: \"0xf0\" is not a mask of at least 5 bits"
    );
    assert_eq!(value(&found, "IptablesMarkMask").origin, Origin::Default);
    let settings = crate::Settings::of(&found);
    assert_eq!(settings.rules.iptables.marks, felix_render::iptables::Marks::default());
    let stored = stored(&[configuration("default", "", json!({"iptablesMarkMask": 0x1e}))]);
    let found = resolve(&Local::default(), &stored, NODE);
    assert!(found.problems.len() == 1 && !found.problems[0].is_fatal());
    let enough = resolve(&local(&[("FELIX_IPTABLESMARKMASK", "0x1f")], ""), &Stored::default(), NODE);
    assert_eq!(enough.problems, []);
}

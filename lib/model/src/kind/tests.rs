use super::*;
use std::collections::BTreeMap;

#[test]
fn names_and_plurals_lead_back() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        assert_eq!(Kind::from_plural(kind.plural()), Some(*kind));
        assert_eq!(kind.plural(), kind.plural().to_lowercase());
    }
    assert_eq!(Kind::from_name("ippool"), None);
    assert_eq!(Kind::from_plural("IPPools"), None);
    assert!(Kind::ALL.is_sorted_by_key(|kind| kind.name().to_lowercase()));
}

#[test]
fn words_of_the_command_line() {
    for (word, kind) in [
        ("IPPool", Kind::IPPool),
        ("ippools", Kind::IPPool),
        ("pool", Kind::IPPool),
        ("wep", Kind::WorkloadEndpoint),
        ("heps", Kind::HostEndpoint),
        ("no", Kind::Node),
        ("np", Kind::NetworkPolicy),
        ("pol", Kind::NetworkPolicy),
        ("gnp", Kind::GlobalNetworkPolicy),
        ("skpol", Kind::StagedKubernetesNetworkPolicy),
        ("spol", Kind::StagedNetworkPolicy),
        ("netsets", Kind::NetworkSet),
        ("gnetsets", Kind::GlobalNetworkSet),
        ("nodestatuses", Kind::CalicoNodeStatus),
        ("tiers", Kind::Tier),
        ("Tier", Kind::Tier),
        ("ipamconfig", Kind::IPAMConfiguration),
        ("bfs", Kind::BGPFilter),
    ] {
        assert_eq!(Kind::from_alias(word), Some(kind), "{word}");
    }
    for unknown in ["", "nps", "blockaffinity", "livemigrations", "ipamconfigss", "pods"] {
        assert_eq!(Kind::from_alias(unknown), None, "{unknown}");
    }
}

#[test]
fn no_word_means_two_kinds() {
    let mut owners: BTreeMap<String, Kind> = BTreeMap::new();
    for kind in Kind::ALL.iter().filter(|kind| kind.is_writable()) {
        let names = [kind.name().to_lowercase(), kind.plural().to_owned()];
        let words = kind.info().aliases.iter().map(|alias| (*alias).to_owned()).chain(names);
        for word in words {
            assert_eq!(Kind::from_alias(&word), Some(*kind), "{word}");
            if let Some(other) = owners.insert(word.clone(), *kind) {
                assert_eq!(other, *kind, "{word}");
            }
        }
    }
}

#[test]
fn few_kinds_live_in_namespaces() {
    let namespaced: Vec<_> =
        Kind::ALL.iter().filter(|kind| kind.namespaced()).map(|kind| kind.name()).collect();
    assert_eq!(
        namespaced,
        [
            "LiveMigration",
            "NetworkPolicy",
            "NetworkSet",
            "StagedKubernetesNetworkPolicy",
            "StagedNetworkPolicy",
            "WorkloadEndpoint"
        ]
    );
}

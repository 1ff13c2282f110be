use super::*;
use crate::testing::{Space, as_root};
use kernel::NetfilterOf;

fn auto() -> Wish {
    Wish::default()
}

fn found() -> Found {
    Found { nf_tables: true, ..Found::default() }
}

#[test]
fn what_is_said_is_done() {
    let all = [
        (NftablesMode::Enabled, IptablesBackend::Legacy, Choice::Nftables),
        (NftablesMode::Disabled, IptablesBackend::Legacy, Choice::Iptables(Variant::Legacy)),
        (NftablesMode::Disabled, IptablesBackend::Nft, Choice::Iptables(Variant::Nft)),
    ];
    let mut contrary = found();
    contrary.legacy.kube = true;
    contrary.kube_nftables = true;
    for (nftables, iptables, choice) in all {
        let (chosen, why) = choose(Wish { nftables, iptables }, &contrary);
        assert_eq!(chosen, choice, "{why}");
        assert!(!why.contains("Auto"), "{why}");
    }
}

#[test]
fn what_is_left_open_follows_what_others_use() {
    let variant = |kube, others| FoundVariant { kube, others, ..FoundVariant::default() };
    let (legacy, nft) = (Choice::Iptables(Variant::Legacy), Choice::Iptables(Variant::Nft));
    let disabled = Wish { nftables: NftablesMode::Disabled, ..Wish::default() };
    let all = [
        (auto(), found(), Choice::Nftables, "nothing on this node asks for iptables"),
        (auto(), Found::default(), legacy, "the kernel has no nf_tables"),
        (
            auto(),
            Found { kube_nftables: true, legacy: variant(true, 9), ..found() },
            Choice::Nftables,
            "kube-proxy uses nftables",
        ),
        (
            auto(),
            Found { legacy: variant(true, 9), ..found() },
            legacy,
            "Kubernetes' chains are in the legacy variant",
        ),
        (
            auto(),
            Found { nft: variant(true, 9), legacy: variant(false, 20), ..found() },
            nft,
            "Kubernetes' chains are in the nft variant",
        ),
        // Docker's rules alone do not ask for iptables
        (auto(), Found { nft: variant(false, 20), ..found() }, Choice::Nftables, "nothing on this node"),
        (
            disabled,
            Found { legacy: variant(false, 20), ..found() },
            legacy,
            "others on this node use the legacy variant",
        ),
        (disabled, found(), nft, "nothing on this node asks for the legacy variant"),
    ];
    for (wish, found, choice, because) in all {
        let (chosen, why) = choose(wish, &found);
        assert!(chosen == choice && why.contains(because), "{found:?}: {chosen} because {why}");
    }
}

#[test]
fn a_node_is_looked_at_without_changing_it() {
    as_root(async {
        let space = Space::new();
        let netfilter = NetfilterOf(space.netns.clone());
        assert_eq!(look_round(&netfilter).await, found());
        assert!(space.nft("list tables").is_empty());
        space.run("iptables-legacy", &["-t", "nat", "-N", "KUBE-SERVICES"]);
        space.run("iptables-legacy", &["-A", "FORWARD", "-j", "ACCEPT"]);
        space.run("iptables-nft", &["-N", "DOCKER"]);
        space.run("ip6tables-nft", &["-N", "cali-FORWARD"]);
        let expected = Found {
            nf_tables: true,
            kube_nftables: false,
            nft: FoundVariant { others: 1, ours: true, ..FoundVariant::default() },
            legacy: FoundVariant { kube: true, others: 1, ..FoundVariant::default() },
        };
        assert_eq!(look_round(&netfilter).await, expected);
        space.nft("add table ip6 kube-proxy");
        assert!(look_round(&netfilter).await.kube_nftables);
    });
}

/// kube-proxy's chains of the nft variant, and beside them in the same table a rule that only `nft` could have made: the
/// programs of iptables do not show that table any more.
#[test]
fn where_the_nft_variant_cannot_be_read_it_is_not_chosen() {
    as_root(async {
        let space = Space::new();
        let netfilter = NetfilterOf(space.netns.clone());
        space.run("iptables-nft", &["-t", "nat", "-N", "KUBE-SERVICES"]);
        let (choice, why, _) = decide(&netfilter, auto()).await;
        assert_eq!(choice, Choice::Iptables(Variant::Nft), "{why}");
        space.nft("add rule ip nat KUBE-SERVICES numgen random mod 2 0 accept");
        let disabled = Wish { nftables: NftablesMode::Disabled, ..Wish::default() };
        let said = Wish { iptables: IptablesBackend::Nft, ..disabled };
        let all = [
            (auto(), Choice::Nftables, "Table `nat' is incompatible, use 'nft' tool."),
            (Wish { iptables: IptablesBackend::Nft, ..auto() }, Choice::Nftables, "is incompatible"),
            (disabled, Choice::Iptables(Variant::Legacy), "the nft variant cannot work here"),
            (said, Choice::Iptables(Variant::Nft), "IptablesBackend is NFT"),
        ];
        for (wish, expected, because) in all {
            let (choice, why, _) = decide(&netfilter, wish).await;
            assert!(choice == expected && why.contains(because), "{wish:?}: {choice} because {why}");
        }
    });
}

use super::*;

/// No labels at all.
const NONE: &[(&str, &str)] = &[];

mod properties;

fn parse(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn error(text: &str) -> String {
    match Selector::parse(text) {
        Ok(selector) => panic!("{text:?} was read as {selector}"),
        Err(error) => error.to_string(),
    }
}

/// Examples 1 to 37 of `resources.md` §2.
#[test]
fn verdicts_of_the_contract() {
    type Example = (u32, &'static str, &'static [(&'static str, &'static str)], bool);
    let examples: [Example; 37] = [
        (1, "", &[], true),
        (2, "all()", &[], true),
        (3, "all( )", &[("a", "1")], true),
        (4, "!all()", &[], false),
        (5, "global()", &[], true),
        (6, "a == 'b'", &[("a", "b")], true),
        (7, "a == \"b\"", &[("a", "c")], false),
        (8, "a == 'b'", &[], false),
        (9, "a != 'b'", &[], true),
        (10, "a != 'b'", &[("a", "b")], false),
        (11, "has(a)", &[("a", "")], true),
        (12, "has( a )", &[], false),
        (13, "!has(a)", &[], true),
        (14, "!!has(a)", &[("a", "x")], true),
        (15, "a in {'x','y'}", &[("a", "y")], true),
        (16, "a in {'x','y'}", &[], false),
        (17, "a in {}", &[("a", "x")], false),
        (18, "a in {'x',}", &[("a", "x")], true),
        (19, "a not in {'x'}", &[], true),
        (20, "a not in {'x'}", &[("a", "x")], false),
        (21, "a notin {\"x\"}", &[("a", "z")], true),
        (22, "a contains 'bc'", &[("a", "abcd")], true),
        (23, "a contains ''", &[("a", "z")], true),
        (24, "a contains ''", &[], false),
        (25, "a starts with 'ab'", &[("a", "abc")], true),
        (26, "a startswith \"b\"", &[("a", "abc")], false),
        (27, "a ends with 'c'", &[("a", "abc")], true),
        (28, "a ends with 'c'", &[], false),
        (29, "a=='1'&&b=='2'", &[("a", "1"), ("b", "2")], true),
        (30, "a=='1' && b=='2' || c=='3'", &[("c", "3")], true),
        (31, "a=='1' && (b=='2' || c=='3')", &[("c", "3")], false),
        (32, "!(a=='1' || b=='2')", &[], true),
        (33, "! a == '1'", &[("a", "2")], true),
        (34, "k8s.io/x-y_z == 'v'", &[("k8s.io/x-y_z", "v")], true),
        (35, "a == \"it's\"", &[("a", "it's")], true),
        (36, "in in {'x'}", &[("in", "x")], true),
        (37, "has == 'x'", &[("has", "x")], true),
    ];
    for (number, text, labels, verdict) in examples {
        let selector = parse(text);
        assert_eq!(selector.matches(labels), verdict, "example {number}: {text}");
        assert_eq!(
            parse(&selector.to_string()).matches(labels),
            verdict,
            "canonical form of {number}: {selector}"
        );
    }
}

/// Examples 38 to 48 of `resources.md` §2, with the texts it lists.
#[test]
fn refusals_of_the_contract() {
    let examples = [
        (38, "a = 'b'", "expected =="),
        (39, "a == b", "expected string"),
        (40, "a", "expected operator after label \"a\""),
        (41, "(a == 'b'", "expected )"),
        (42, "a == 'b", "unterminated string"),
        (43, "a == 'b' c == 'd'", "unexpected content at end of selector c"),
        (44, "has(a", "no closing ')' after has("),
        (44, "has()", "expected identifier"),
        (45, "a & b", "expected &&"),
        (46, "a in {'x' 'y'}", "expected }"),
        (47, "a == 'b' &&", "unexpected token: end of selector"),
        (48, "a not {'x'}", "expected operator after label \"a\""),
    ];
    for (number, text, message) in examples {
        assert_eq!(error(text), message, "example {number}: {text}");
    }
}

#[test]
fn more_refusals() {
    let examples = [
        ("a in 'x'", "expected set literal"),
        ("a not in", "expected set literal"),
        ("a in {'x'", "expected }"),
        ("a in {,}", "expected }"),
        ("a in {'x',,}", "expected }"),
        ("a in {'x',", "expected }"),
        ("a in {b}", "expected }"),
        ("a contains", "expected string"),
        ("a != {'x'}", "expected string"),
        ("()", "unexpected token: )"),
        (")", "unexpected token: )"),
        ("has(a))", "unexpected content at end of selector )"),
        ("(has(a)", "expected )"),
        ("(has(a) has(b))", "expected )"),
        ("!", "unexpected token: end of selector"),
        ("&& has(a)", "unexpected token: &&"),
        ("has(a) || || has(b)", "unexpected token: ||"),
        ("'x' == a", "unexpected token: \"x\""),
        ("all ()", "expected operator after label \"all\""),
        ("a ! 'b'", "expected operator after label \"a\""),
        ("a && b", "expected operator after label \"a\""),
    ];
    for (text, message) in examples {
        assert_eq!(error(text), message, "{text}");
    }
}

#[test]
fn canonical_texts() {
    let examples = [
        ("", "all()"),
        ("  \t", "all()"),
        ("all( )", "all()"),
        ("global(\t)", "global()"),
        ("a=='b'", "a == \"b\""),
        ("a == 'say \"b\"'", "a == 'say \"b\"'"),
        ("a == \"it's\"", "a == \"it's\""),
        ("a in {'y','x','y',}", "a in {\"x\", \"y\"}"),
        ("a notin{}", "a not in {}"),
        ("a startswith 'x'", "a starts with \"x\""),
        ("a ends  with 'x'", "a ends with \"x\""),
        ("!!has( a )", "has(a)"),
        ("!!!has(a)", "!has(a)"),
        ("((has(a)))", "has(a)"),
        ("has(a)&&has(b)", "(has(a) && has(b))"),
        ("(has(a) && has(b)) && has(c)", "((has(a) && has(b)) && has(c))"),
        ("has(a) || has(b) && has(c) || has(d)", "(has(a) || (has(b) && has(c)) || has(d))"),
        ("! (has(a) || has(b))", "!(has(a) || has(b))"),
        ("a contains 'x' && a != 'xy'", "(a contains \"x\" && a != \"xy\")"),
        // what stands between two negations keeps them apart, as upstream prints it
        ("!(!has(a))", "!!has(a)"),
    ];
    for (text, canonical) in examples {
        assert_eq!(parse(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn identity_is_that_of_the_canonical_text() {
    // coreutils: printf 's:all()' | sha224sum | xxd -r -p | basenc --base64url | tr -d =
    assert_eq!(parse("").unique_id(), "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug");
    assert_eq!(parse("a == 'b'").unique_id(), "s:flMh0m0X_BowkAK_W3j3MgH8oQOsj3WxGDoXCQ");
    assert_eq!(parse("a in {'x','y'}").unique_id(), parse(" a in { \"y\", \"x\", \"x\" }").unique_id());
    assert_ne!(parse("has(a)").unique_id(), parse("has(b)").unique_id());
    assert_eq!(parse("has(a)").unique_id().len(), "s:".len() + 38);
}

/// Names of IP sets that Calico made from these selectors: `cali40s:` and the beginning of the hash.
#[test]
fn identity_is_the_recorded_one() {
    for (text, recorded) in [
        ("app == 'db'", "aTHMmtqeppKyLzbhenKiYRu"),
        ("set == 'mixed' || set == 'hundred'", "lJlKvcvX1o_LIdyetEzCRYY"),
        ("all()", "5y5I3VdRZfDU01O--xXAPx2"),
        ("has(app)", "Q5ZLn5bj-zp1lrrtrsI6dyz"),
        ("!has(projectcalico.org/namespace)", "Fzh1i67_WcThHYGTMl77luu"),
        ("(has(projectcalico.org/namespace)) && (app == 'mon')", "RdyDAG20Aly7rK3km-Bmce3"),
        ("(projectcalico.org/namespace == 'shop') && (pcsa.role == 'web')", "kzsNv4qAFiFWBc6jNGObnP-"),
        (
            "(has(pcns.team)) && (projectcalico.org/serviceaccount in { 'robot', 'other' })",
            "8PtgmOQrczVd0YPcpoUPva2",
        ),
    ] {
        assert!(parse(text).unique_id().starts_with(&format!("s:{recorded}")), "{text}");
    }
}

#[test]
fn equal_texts_are_equal_selectors() {
    assert_eq!(parse("a=='b' && has(c)"), parse("(a == \"b\") && has( c )"));
    assert_ne!(parse("has(a) && has(b)"), parse("has(a) || has(b)"));
}

#[test]
fn labels_a_selector_is_about() {
    let selector =
        parse("a == 'x' && !(has(b) || c in {'y'}) || all() && global() && a != 'z' && d not in {}");
    let mut labels: Vec<&str> = selector.labels().collect();
    labels.sort_unstable();
    assert_eq!(labels, ["a", "a", "b", "c", "d"]);
    assert!(parse("all()").labels().next().is_none());
}

#[test]
fn global_and_all() {
    for (text, mentions, alone) in [
        ("global()", true, true),
        ("((global( )))", true, true),
        ("!global()", true, false),
        ("has(a) && global()", true, false),
        ("a == 'global()'", false, false),
        ("", false, false),
    ] {
        let selector = parse(text);
        assert_eq!((selector.mentions_global(), selector.is_global()), (mentions, alone), "{text}");
    }
    assert!(parse("").is_all() && parse("all( )").is_all());
    assert!(!parse("!all()").is_all() && !parse("all() && all()").is_all());
}

#[test]
fn prefixed_labels() {
    let selector =
        parse("a == 'x' && !has(b) && (all() || c not in {'y'} || d in {'z'})").with_label_prefix("pcns.");
    assert_eq!(
        selector.to_string(),
        "(pcns.a == \"x\" && !has(pcns.b) && (all() || pcns.c not in {\"y\"} || pcns.d in {\"z\"}))"
    );
    assert!(selector.matches(&[("pcns.a", "x")]));
    assert!(!selector.matches(&[("a", "x")]));
}

#[test]
fn missing_labels_pass_only_negative_tests() {
    for text in ["a == ''", "a contains ''", "a starts with ''", "a ends with ''", "a in {''}", "has(a)"] {
        assert!(!parse(text).matches(NONE), "{text}");
        assert!(parse(text).matches(&[("a", "")]), "{text}");
    }
    for text in ["a != ''", "a not in {''}"] {
        assert!(parse(text).matches(NONE), "{text}");
        assert!(!parse(text).matches(&[("a", "")]), "{text}");
    }
}

#[test]
fn nesting_has_no_bound() {
    let depth = 200_000;
    let parens = format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(parse(&parens).to_string(), "has(a)");
    let nots = format!("{}has(a){}", "!(".repeat(depth), ")".repeat(depth));
    let selector = parse(&nots);
    assert!(selector.matches(&[("a", "")]));
    assert_eq!(selector.to_string(), format!("{}has(a)", "!".repeat(depth)));
    let groups = format!("{}has(a){}", "has(b) && (has(c) || ".repeat(depth), ")".repeat(depth));
    let selector = parse(&groups);
    assert!(selector.matches(&[("b", ""), ("a", "")]));
    assert!(!selector.matches(&[("b", "")]));
    assert!(!selector.matches(&[("a", "")]));
    assert_eq!(parse(&selector.to_string()).to_string(), selector.to_string());
    assert_eq!(error(&"(".repeat(depth)), "unexpected token: end of selector");
    assert_eq!(error(&"!(".repeat(depth)), "unexpected token: end of selector");
}

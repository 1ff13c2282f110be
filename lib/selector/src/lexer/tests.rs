use super::*;

fn lex(text: &str) -> Vec<Token<'_>> {
    tokens(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn error(text: &str) -> String {
    match tokens(text) {
        Ok(tokens) => panic!("{text:?} was read as {tokens:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn words_after_a_label_are_operators_and_others_are_labels() {
    assert_eq!(
        lex("in in {'in'} && not notin{} || has != ''"),
        [
            Token::Label("in"),
            Token::In,
            Token::LeftBrace,
            Token::Text("in"),
            Token::RightBrace,
            Token::And,
            Token::Label("not"),
            Token::NotIn,
            Token::LeftBrace,
            Token::RightBrace,
            Token::Or,
            Token::Label("has"),
            Token::Compare(Comparison::NotEquals),
            Token::Text(""),
        ]
    );
}

#[test]
fn two_word_operators_may_be_written_apart_or_together() {
    for text in ["a starts with 'x'", "a startswith 'x'", "a starts\t with'x'"] {
        assert_eq!(lex(text)[1], Token::Compare(Comparison::StartsWith), "{text}");
    }
    for text in ["a ends with 'x'", "a endswith\"x\""] {
        assert_eq!(lex(text)[1], Token::Compare(Comparison::EndsWith), "{text}");
    }
    for text in ["a not in {}", "a notin{}", "a not  in\t{}"] {
        assert_eq!(lex(text)[1], Token::NotIn, "{text}");
    }
}

#[test]
fn an_operator_must_not_run_on() {
    for text in [
        "a inx {}",
        "a containsx 'y'",
        "a in-side {}",
        "a starts withx 'y'",
        "a notin. {}",
        "a not in x",
        "a ends with y",
    ] {
        assert_eq!(error(text), "expected operator after label \"a\"", "{text}");
    }
}

#[test]
fn half_an_operator_is_none() {
    for text in ["a not {'x'}", "a starts 'x'", "a ends", "a b", "a has(b)", "a ü"] {
        assert_eq!(error(text), "expected operator after label \"a\"", "{text}");
    }
}

#[test]
fn blanks_are_space_and_tab_only() {
    assert_eq!(lex(" \t has( \ta\t ) "), [Token::Has("a")]);
    assert_eq!(error("\nhas(a)"), "expected identifier");
    assert_eq!(error("has(a)\n&& has(b)"), "expected identifier");
}

#[test]
fn calls_need_their_parenthesis_adjacent() {
    assert_eq!(lex("all( )global(\t)"), [Token::All, Token::Global]);
    assert_eq!(lex("all ()"), [Token::Label("all"), Token::LeftParen, Token::RightParen]);
    assert_eq!(lex("has (a)")[0], Token::Label("has"));
}

#[test]
fn calls_must_close() {
    assert_eq!(error("has(a"), "no closing ')' after has(");
    assert_eq!(error("has(a b)"), "no closing ')' after has(");
    assert_eq!(error("all(a)"), "no closing ')' after all(");
    assert_eq!(error("global("), "no closing ')' after global(");
    assert_eq!(error("has()"), "expected identifier");
    assert_eq!(error("has("), "expected identifier");
}

#[test]
fn lone_halves_of_operators() {
    assert_eq!(error("a = 'b'"), "expected ==");
    assert_eq!(error("a & b"), "expected &&");
    assert_eq!(error("has(a) | has(b)"), "expected ||");
    assert_eq!(error("="), "expected ==");
    assert_eq!(error("&"), "expected &&");
}

#[test]
fn quotes() {
    assert_eq!(lex("\"it's\""), [Token::Text("it's")]);
    assert_eq!(lex("'say \"x\"'"), [Token::Text("say \"x\"")]);
    assert_eq!(lex("'back\\slash'"), [Token::Text("back\\slash")]);
    assert_eq!(lex("'zwei\nZeilen, ü'"), [Token::Text("zwei\nZeilen, ü")]);
    assert_eq!(error("a == 'b"), "unterminated string");
    assert_eq!(error("a == 'b\""), "unterminated string");
}

#[test]
fn labels_have_a_longest_length() {
    let longest = "a".repeat(512);
    assert_eq!(lex(&longest), [Token::Label(&longest)]);
    let longer = "a".repeat(513);
    assert_eq!(error(&longer), format!("label too long: {longer}"));
    assert_eq!(error(&format!("has({longer})")), format!("label too long: {longer}"));
}

#[test]
fn characters_of_labels() {
    assert_eq!(lex("k8s.io/x-y_Z09"), [Token::Label("k8s.io/x-y_Z09")]);
    for text in ["ü", "@", "a == 'x' § b", "#"] {
        assert_eq!(error(text), "expected identifier", "{text}");
    }
}

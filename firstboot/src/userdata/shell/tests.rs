use super::grammar::COMMANDS;
use super::*;

fn shown(text: &str) -> (Vec<String>, bool) {
    let script = read(text);
    let command = |command: &Simple| {
        let words = command
            .words
            .iter()
            .map(|word| format!("{}{}", word.text().as_str(), if word.expands() { "$" } else { "" }));
        let sign = |output: &Output| match (output.is_standard, output.appends) {
            (true, true) => ">>",
            (true, false) => ">",
            (false, _) => "2>",
        };
        let output = command
            .outputs
            .iter()
            .map(|output| format!("{}{}", sign(output), output.path.text().as_str()));
        let input = command.input.iter().map(|word| format!("<{}", word.text().as_str()));
        let here = command.here.iter().map(|word| format!("<<{}", word.text().as_str()));
        words.chain(output).chain(input).chain(here).collect::<Vec<_>>().join("|")
    };
    (script.commands.iter().map(command).collect(), script.is_broken)
}

#[test]
fn simple_commands_are_told_apart() {
    for (text, expected) in [
        ("a b  c", vec!["a|b|c"]),
        ("a --x  && echo success > /run/f", vec!["a|--x", "echo|success|>/run/f"]),
        ("a;b|c||d&e\n(f)", vec!["a", "b", "c", "d", "e", "f"]),
        (r#"a 'b c' "d 'e' \"f\" \x" g\ h '' "#, vec![r#"a|b c|d 'e' "f" \x|g h|"#]),
        ("a $b \"${c}\" '$d' \\$e `f`", vec!["a|$b$|${c}$|$d|$e|`f`$"]),
        ("a # b\nc#d", vec!["a", "c#d"]),
        ("a \\\n  b\n\n", vec!["a|b"]),
        ("a 2>/dev/null >>/x 2>&1 </y b", vec!["a|b|2>/dev/null|>>/x|</y"]),
        ("a &>/x b", vec!["a|b|2>/x"]),
        ("a >&/x; b >&2; c >& 1", vec!["a|2>/x", "b", "c"]),
        ("a >|/x |& b", vec!["a|>/x", "b"]),
        ("{ a; } >> /x\n( b ) > /y\n> /z", vec!["{|a", "}|>>/x", "b", ">/y", ">/z"]),
        (
            "cat <<EOF > /f\nkubeadm join\n\tEOF\nEOF\nb <<-'E'\n\tx 'y\n\tE\nc <<<d",
            vec!["cat|>/f|<<kubeadm join\n\tEOF\n", "b|<<x 'y\n", "c|<<d\n"],
        ),
        ("f() { a; }\nfunction g { b; }", vec!["f", "{|a", "}", "function|g", "{|b", "}"]),
        ("{ f() { a; }; }", vec!["{", "f", "{|a", "}", "}"]),
        ("((N++)); A=(b 'c)') d", vec!["let|((N++))", "A=(b 'c)')$|d"]),
        (
            "a /etc/*.yaml {b,c} ~/d '*' [ x ] {} {e} f[1]",
            vec!["a|/etc/*.yaml$|{b,c}$|~/d$|*|[|x|]|{}|{e}|f[1]$"],
        ),
        ("a \"x$(b 'c)' \"d\" | e)/y\" $(f)g ${h%.*}", vec!["a|x$(b 'c)' \"d\" | e)/y$|$(f)g$|${h%.*}$"]),
        ("if a; then b; fi", vec!["if|a", "then|b", "fi"]),
        ("", vec![]),
    ] {
        assert_eq!(shown(text), (expected.iter().map(ToString::to_string).collect(), false), "{text}");
    }
}

#[test]
fn commands_know_what_is_before_them() {
    let after = |text| read(text).commands.iter().map(|command| command.after).collect::<Vec<_>>();
    let expected = [After::Anything, After::Success, After::Failure, After::Pipe, After::Anything];
    assert_eq!(after("a && b || c | d; e"), expected);
    assert_eq!(after("a &&\n b ||\n\n c |\n d\n e"), expected);
}

#[test]
fn what_is_not_whole_is_broken() {
    for text in
        ["a 'b", "a \"b", "a \"b\\", "a $(b", "a ${b", "a `b", "a <<E\nb\n", &"a\n".repeat(COMMANDS + 1)]
    {
        assert!(read(text).is_broken, "{text}");
    }
}

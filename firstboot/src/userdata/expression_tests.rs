use serde_json::json;

use super::*;

fn names(root: &str, steps: &[Step]) -> Result<Found> {
    let data = json!({
        "host": "n1.eu.example", "number": 7, "yes": true, "nothing": null, "empty": "", "list": ["a", "b"], "map": {"a-b": 1, "items": "x"},
    });
    Ok(walk(&data, &[&[Step::Item(root.to_owned())], steps].concat()))
}

#[test]
fn what_released_templates_use_is_evaluated() {
    for (expression, expected) in [
        ("host", "n1.eu.example"),
        ("host.split('.')[0]", "n1"),
        ("host.split(\".\", 1)[1]", "eu.example"),
        ("host.split('.')[-1].upper()", "EXAMPLE"),
        ("(host | replace('.', '-')).split('-')[1]", "eu"),
        ("map['a-b']", "1"),
        ("map.a_b", "1"),
        ("map[\"items\"]", "x"),
        ("list.1", "b"),
        ("map[\"a-b\"]", "1"),
        ("list[map.a_b]", "b"),
        ("map[('a.b' | replace('.', '-'))]", "1"),
        ("list | first", "a"),
        ("list | last | upper", "B"),
        ("number", "7"),
        ("yes", "True"),
        ("nope | default('x')", "x"),
        ("nope | d(host)", "n1.eu.example"),
        ("empty | default('x')", ""),
        ("empty | default('x', true)", "x"),
        ("nothing | default('x', boolean=True)", "x"),
        ("map.nope | default(\"it's\")", "it's"),
        ("'a\\'b'", "a'b"),
        ("host[0]", "n"),
        ("' a '.strip()", "a"),
    ] {
        let value = evaluate(&format!(" {expression} "), &names);
        assert_eq!(
            value.unwrap_or_else(|failure| panic!("{expression}: {failure}")),
            expected,
            "{expression}"
        );
    }
}

#[test]
fn everything_else_is_refused_by_name() {
    for (expression, expected) in [
        ("host | b64encode", "the filter b64encode"),
        ("host.title()", "a call of title"),
        ("host | canary", "the filter (hidden)"),
        ("canary()", "a call of (hidden)"),
        ("range(3)", "a call of range"),
        ("host ~ 'x'", "the sign ~"),
        ("number + 1", "the sign +"),
        ("host if yes else 'x'", "the word if"),
        ("host.split('')", "split with other arguments"),
        ("host[1:2]", "the sign :"),
        ("host[list]", "neither a key nor a position"),
        ("host[nope]", "nope has no value"),
        ("host[-x]", "no number behind -"),
        ("map.a-b", "the sign -"),
        ("list", "a list"),
        ("map", "a mapping"),
        ("nothing", "empty"),
        ("", "nothing"),
        ("host.", "nothing behind a dot"),
        ("'x", "a text without an end"),
        (&"(".repeat(NESTING + 1), "too deeply"),
        (&"x".repeat(LENGTH + 1), "longer than"),
        (&format!("'{0}' | replace('b', '{0}') | replace('b', '{0}')", "b".repeat(100)), "too long"),
    ] {
        let failure = evaluate(expression, &names).unwrap_err();
        assert!(failure.message.contains(expected), "{expression}: {failure}");
    }
}

#[test]
fn a_name_that_is_unknown_is_answered_with_those_that_are_near() {
    let failure = evaluate("map.a_bb", &names).unwrap_err();
    assert!(
        failure.message.contains("map.a_bb") && failure.message.contains("did you mean \"a_b\"?"),
        "{failure}"
    );
    let failure = evaluate("map.quite_different", &names).unwrap_err();
    assert!(failure.message.contains("there are a_b, items"), "{failure}");
    // jinja knows nothing behind what does not exist, whatever the default.
    assert!(evaluate("map.nope.deeper | default('x')", &names).is_err());
    // A method of mappings, as in jinja.
    assert!(evaluate("map.items", &names).is_err());
}

use serde_json::json;

use super::*;
use crate::instance_data::{Found, Step, walk};

fn names(root: &str, steps: &[Step]) -> Result<Found> {
    let data = json!({
        "local_hostname": "node-1",
        "instance_id": "i-0123",
        "v1": {"line": "a\nb", "quote": "a'b", "map": "a: b", "long": "x".repeat(VALUE + 1), "local_hostname": "node-1"},
        "ds": {"meta_data": {"local_hostname": "node-1.example", "network": [{"ip": "10.0.0.7"}]}},
    });
    Ok(walk(&data, &[&[Step::Item(root.to_owned())], steps].concat()))
}

fn rendered(body: &str) -> Result<Rendered> {
    render(&format!("## template: jinja\n{body}"), &names, &Budget::default())
}

#[test]
fn expressions_are_filled_in() {
    for (body, expected) in [
        ("#cloud-config\n", "#cloud-config\n"),
        ("a: '{{ local_hostname }}'\nb: {{instance_id}}", "a: 'node-1'\nb: i-0123"),
        ("{{ ds.meta_data.local_hostname }}{{ v1.local_hostname }}", "node-1.examplenode-1"),
        ("{{ ds.meta_data.local_hostname.split('.')[0] }}", "node-1"),
        ("{{ ds.meta_data.network[0].ip }}", "10.0.0.7"),
        ("{{ v1.nothing | default('}}') | replace('}}', 'x') }}", "x"),
        ("a \n {{- instance_id -}} \n b", "ai-0123b"),
        ("a{# b {{ c }} #}d", "ad"),
        ("a\n{# b #}\nd", "a\nd"),
        ("{% raw %}{{ a }}{%- x %}{% endraw %}{{ instance_id }}", "{{ a }}{%- x %}i-0123"),
        ("{% raw %}a{% endraw %}\nb", "ab"),
        ("{ {a} ${B} {", "{ {a} ${B} {"),
        ("é{{ instance_id }}é", "éi-0123é"),
        ("", ""),
    ] {
        let rendered = rendered(body).unwrap_or_else(|failure| panic!("{body}: {failure}"));
        assert_eq!(std::str::from_utf8(&rendered.text).unwrap(), expected, "{body}");
        assert_eq!(rendered.missing, [], "{body}");
    }
}

#[test]
fn an_expression_without_a_value_fails_who_uses_it() {
    for (expression, expected) in [
        ("v1.unknown", "line 4: the template variable v1.unknown has no value"),
        ("canary.canarycanarycana", "line 4: the template variable (hidden) has no value"),
        ("canary.0123456789012345", "line 4: the template variable canary[…] has no value"),
        ("canary.0canarycanarycan", "the template variable canary[0] has no value"),
        ("local_hostname | b64encode", "the filter b64encode"),
        ("local_hostname | canarycanarycana", "the filter (hidden)"),
        ("canarycanarycana()", "a call of (hidden)"),
        ("v1.line", "would change the document"),
        ("v1.quote", "would change the document"),
        ("v1.map", "would change the document"),
        ("v1.long", "would change the document"),
    ] {
        let rendered = rendered(&format!("a: {{{{ x.y }}}}\nb: 1\nc: {{{{ {expression} }}}}\n")).unwrap();
        let text = std::str::from_utf8(&rendered.text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        check(lines[1].as_bytes(), &rendered.missing).unwrap();
        assert!(check(lines[0].as_bytes(), &rendered.missing).unwrap_err().message.contains("x.y"));
        let failure = check(lines[2].as_bytes(), &rendered.missing).unwrap_err();
        assert!(
            failure.message.contains(expected) && !failure.message.contains("canarycanary"),
            "{expression}: {failure}"
        );
    }
}

#[test]
fn a_fact_is_one_word_wherever_it_ends() {
    let render = |value: &str| {
        let names = |_: &str, _: &[Step]| Ok(Found::Value(json!(value)));
        render("## template: jinja\na: {{ x.y }}", &names, &Budget::default()).unwrap()
    };
    for value in [
        "",
        "i-0abc",
        "eu-west-1a",
        "2001:db8::1",
        "aws:///a/i-0",
        "a.b_c~d@e",
        "rg(x)+y=",
        "größe",
        "Medium Instance",
        "ssh-rsa AAA/+= a@b",
    ] {
        let rendered = render(value);
        assert_eq!((rendered.text.as_slice(), rendered.missing.len()), (format!("a: {value}").as_bytes(), 0));
    }
    for value in [
        "a,b",
        "a,--flag=b",
        "a  b",
        "a -b",
        " a",
        "a ",
        "a: b c",
        "- a b",
        "--flag",
        "a\nb: c",
        "a: b",
        "a:",
        "a #b",
        "#",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "?",
        "%a",
        "@a",
        "`a`",
        "[a]",
        "{a}",
        "$(a)",
        "$a",
        "a;b",
        "a&b",
        "a|b",
        "a\"b",
        "a'b",
        "a\\b",
        "~",
        "a\u{a0}b",
        "a\u{202e}b",
    ] {
        let rendered = render(value);
        assert!(rendered.missing.len() == 1, "{value:?}");
        assert!(
            check(&rendered.text, &rendered.missing).unwrap_err().message.contains("would change"),
            "{value}"
        );
    }
}

#[test]
fn what_would_have_to_be_run_is_refused() {
    for (body, expected) in [
        ("a\n{% if canary %}b{% endif %}", "line 3: the template has the statement \"if\""),
        ("{% raw %}", "not closed"),
        ("{% raw %}{% x", "not closed"),
        ("{{ canary", "line 2: a template tag is not closed"),
        ("{{ 'canary }}", "line 2: a template tag is not closed"),
        ("{# canary", "not closed"),
        ("\u{e0f1}0\u{e0f1}", "U+E0F1"),
        (&"{{ x }}".repeat(MISSING + 1), "has no value"),
    ] {
        let failure = rendered(body).err().unwrap();
        assert!(
            failure.message.contains(expected) && !failure.message.contains("canary"),
            "{body}: {failure}"
        );
    }
}

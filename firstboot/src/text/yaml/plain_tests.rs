use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use testkit::not_run;

use super::*;

/// Reads a JSON list of words, and writes the type and the text of each as PyYAML has it.
const PYYAML: &str = r#"
import json, sys, yaml
from yaml.nodes import ScalarNode

def read(word):
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(ScalarNode(loader.resolve(ScalarNode, word, (True, False)), word))
    except Exception:
        return "refused", ""
    return type(value).__name__, str(value)

json.dump([read(word) for word in json.load(sys.stdin)], sys.stdout)
"#;

/// Words as they are written in the world, and at the edges of the rules.
const WORDS: &str = "08 09 12e3 1e3 1.5e+3 1.5e3 1.e+1 0o17 017 0x1F 0X1F 0x1_f -0x1f 1_000 1_0.5 1:30 190:20:30 1:60 0:30 01:30 \
    10:10 1000:1000 33:33 -1:30 1:30.5 1:30:5.25 -1:3.5 +1_0:05 0:0 .inf -.INF +.Inf .nan -.nan .NaN inf 2026-11-29 2026-1-9 \
    2026-11-29T10:00:00Z 2026-1-9t1:02:03.5 2026-11-29T10:00:00+01 2026-11-29T10:00:00-1:30 2026-11-29T10:00 2026-11-29T 20261129 \
    ~ = << null NULL nuLL y Y n N yes YES yEs on On oN off Off true tRUE 0b11 0b2 -0b11 0b 0x 0_ 0_7 00 0 -0 +0 +1 + - . -. 1. \
    .5 -.5 +.5 ._5 .5_ .5e3 .5e-3 1__0 _1 1_ 1_.5 644 0644 0o644 99999999999999999999 18446744073709551615 -9223372036854775808 \
    0xffffffffffffffffff 1e16 1.0e+15 1.0e+16 1.0e-4 1.0e-5 1.0e+999 0.1 100.0 123456789.125 1.2.3 10.0.0.1 1,5 12:30:45 0o8 é 1é";

fn type_of(number: &Number) -> &str {
    if number.is_f64() { "float" } else { "int" }
}

fn words() -> Vec<String> {
    const LETTERS: &str = "019_.:e+-xb";
    let mut words: Vec<String> = WORDS.split_whitespace().map(str::to_owned).collect();
    words.extend([
        "".to_owned(),
        "2026-11-29 10:00:00".to_owned(),
        "2026-11-29 \t 10:00:00.5 \t+01:00".to_owned(),
    ]);
    let mut last = vec![String::new()];
    for _ in 0..4 {
        last = last
            .iter()
            .flat_map(|word| LETTERS.chars().map(move |letter| format!("{word}{letter}")))
            .collect();
        words.extend(last.iter().cloned());
    }
    words
}

#[test]
fn plain_words_are_read_as_by_pyyaml() {
    let test = "plain_words_are_read_as_by_pyyaml";
    let found = Command::new("/usr/bin/python3").args(["-c", "import yaml"]).status();
    if !found.is_ok_and(|status| status.success()) {
        not_run(test, "no yaml for /usr/bin/python3");
        return;
    }
    let words = words();
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", PYYAML])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&words).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    let read: Vec<(String, String)> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read.len(), words.len());
    for (word, (kind, text)) in words.iter().zip(read) {
        let plain = Dialect::CloudInit.plain(word);
        let is_same = match (&plain, kind.as_str()) {
            (Plain::Text, kind) => {
                kind == "str" || (kind == "refused" && !word.chars().any(|c| "12".contains(c)))
            }
            (Plain::Refused(_), kind) => kind == "refused",
            // An impossible date is refused.
            (Plain::Otherwise(Value::Null), kind) => {
                ["date", "datetime", "float", "int", "refused"].contains(&kind)
            }
            (Plain::Value(Value::Null), kind) => kind == "NoneType",
            (Plain::Value(value @ Value::Bool(_)), "bool") => python_text(value) == Some(text.clone()),
            (Plain::Value(Value::Number(number)), kind) => kind == type_of(number) && *word == text,
            (Plain::Otherwise(value @ Value::Number(number)), kind) => {
                kind == type_of(number) && python_text(value).is_none_or(|written| written == text)
            }
            _ => false,
        };
        assert!(is_same, "{word}: {plain:?}, and {kind} {text} by PyYAML");
    }
}

/// As `kubeadm config validate` of 1.36.2 reads them: it names the type of each in its error.
#[test]
fn plain_words_are_read_as_by_kubeadm() {
    let numbers = [
        ("08", json!(8)),
        ("09.5", json!(9.5)),
        ("12e3", json!(12_000)),
        ("1.5e+3", json!(1500)),
        ("1E3", json!(1000)),
        ("1_e3", json!(1000)),
        ("0o17", json!(15)),
        ("0o1_7", json!(15)),
        ("017", json!(15)),
        ("-017", json!(-15)),
        ("018", json!(18)),
        ("0_14", json!(12)),
        ("0x1_F", json!(31)),
        ("0X1F", json!(31)),
        ("0B11", json!(3)),
        ("-0b11", json!(-3)),
        ("1_0.5", json!(10.5)),
        ("1__0", json!(10)),
        ("+1", json!(1)),
        ("1.", json!(1)),
        (".5", json!(0.5)),
        ("-.5", json!(-0.5)),
        (".1_0", json!(0.1)),
        (".5e3", json!(500)),
        ("0_", json!(0)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("99999999999999999999", json!(1e20)),
    ];
    for (word, number) in numbers {
        assert_eq!(Dialect::Kubernetes.plain(word), Plain::Value(number), "{word}");
    }
    let truths = [("y", true), ("YES", true), ("On", true), ("TRUE", true), ("n", false), ("Off", false)];
    for (word, truth) in truths {
        assert_eq!(Dialect::Kubernetes.plain(word), Plain::Value(truth.into()), "{word}");
    }
    let texts = "1:30 190:20:30 2026-11-29 = 0o08 _1 1e999 0x 0b 0x1.8p1 .e3 1e .1e_3 tRUE YeS oN << . .. - + _ é 1é .é 0xfffffffffffffffff";
    for word in texts.split(' ') {
        assert_eq!(Dialect::Kubernetes.plain(word), Plain::Text, "{word}");
    }
    for word in [".inf", "-.Inf", ".NaN"] {
        assert!(matches!(Dialect::Kubernetes.plain(word), Plain::Refused(_)), "{word}");
    }
}

//! Writes YAML like Kubernetes: block style, sorted keys, lists without indentation, quotes only where
//! needed.
//!
//! The readers of these files follow YAML 1.1, where `017`, `1_000` and `12:30` are numbers. A writer that
//! follows 1.2 leaves such strings bare. So this writer quotes everything that is not certainly a string in
//! both.

use serde_json::Value;

/// The document as text. Keys have the order of the map, which `serde_json` keeps sorted.
pub fn emit(document: &Value) -> String {
    let mut text = String::new();
    match document {
        Value::Object(map) if !map.is_empty() => map_lines(&mut text, map, 0, false),
        Value::Array(list) if !list.is_empty() => list_lines(&mut text, list, 0),
        flat => {
            text.push_str(&inline(flat));
            text.push('\n');
        }
    }
    text
}

/// `first_is_placed`: the first key follows the `- ` of a list.
fn map_lines(text: &mut String, map: &serde_json::Map<String, Value>, depth: usize, first_is_placed: bool) {
    for (position, (key, value)) in map.iter().enumerate() {
        if position > 0 || !first_is_placed {
            text.push_str(&"  ".repeat(depth));
        }
        text.push_str(&scalar(key));
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                map_lines(text, inner, depth + 1, false);
            }
            Value::Array(list) if !list.is_empty() => {
                text.push('\n');
                list_lines(text, list, depth);
            }
            flat => {
                text.push(' ');
                text.push_str(&inline(flat));
                text.push('\n');
            }
        }
    }
}

fn list_lines(text: &mut String, list: &[Value], depth: usize) {
    for value in list {
        text.push_str(&"  ".repeat(depth));
        match value {
            Value::Object(map) if !map.is_empty() => {
                text.push_str("- ");
                map_lines(text, map, depth + 1, true);
            }
            Value::Array(inner) if !inner.is_empty() => {
                text.push_str("-\n");
                list_lines(text, inner, depth + 1);
            }
            flat => {
                text.push_str("- ");
                text.push_str(&inline(flat));
                text.push('\n');
            }
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(string) => scalar(string),
        other => other.to_string(),
    }
}

/// A string: bare if no reader can take it for something else, otherwise in JSON's form, which is also YAML.
fn scalar(string: &str) -> String {
    if is_plain(string) { string.to_owned() } else { Value::from(string).to_string() }
}

fn is_plain(string: &str) -> bool {
    let (Some(first), Some(last)) = (string.bytes().next(), string.bytes().last()) else { return false };
    let harmless = string.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte));
    if !harmless || last == b':' || is_keyword(string) {
        return false;
    }
    match first {
        b'0'..=b'9' => is_plain_with_digit(string),
        first => first.is_ascii_alphabetic() || first == b'/',
    }
}

/// Words that are null, a boolean or a number in YAML 1.1 or 1.2.
fn is_keyword(string: &str) -> bool {
    ["true", "false", "null", "nan", "y", "yes", "on", "n", "no", "off"]
        .iter()
        .any(|word| string.eq_ignore_ascii_case(word))
}

/// `0s`, `5%`, `100Mi`, `10.96.0.10`: text that begins with a digit and is not a number, date or time.
fn is_plain_with_digit(string: &str) -> bool {
    let of_no_number = |byte: u8| {
        byte == b'%' || (byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit() && !b"xXoO".contains(&byte))
    };
    let is_address = string.bytes().filter(|byte| *byte == b'.').count() == 3
        && string.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    !string.contains(':') && (is_address || string.bytes().any(of_no_number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_blocks_with_sorted_keys() {
        let document = json!({
            "b": {"c": "unix:///x", "a": 1, "e": {}, "f": []},
            "a": ["x", {"y": "z", "k": [1, [2, 3], {}]}, null],
            "c": true,
        });
        let expected = "a:\n- x\n- k:\n  - 1\n  -\n    - 2\n    - 3\n  - {}\n  \"y\": z\n- null\nb:\n  a: 1\n  c: unix:///x\n  e: {}\n  f: []\nc: true\n";
        assert_eq!(emit(&document), expected);
        assert_eq!(serde_yaml_ng::from_str::<Value>(&emit(&document)).unwrap(), document);
        assert_eq!(
            (emit(&json!({})), emit(&json!([])), emit(&json!("a b"))),
            ("{}\n".into(), "[]\n".into(), "\"a b\"\n".into())
        );
    }

    #[test]
    fn quotes_what_could_be_read_as_something_else() {
        for plain in [
            "0s",
            "24h0m0s",
            "5%",
            "100Mi",
            "10.96.0.10",
            "Webhook",
            "/etc/kubernetes/pki/ca.crt",
            "fd00::10",
            "cluster.local",
            "none",
        ] {
            assert_eq!(scalar(plain), plain);
        }
        let numbers = "0|017|0x1f|0o17|1e3|1_000|1.5|12:30|2020-01-01|.5|+1|1.2.3.4:80|0b1";
        let others =
            "|y|Yes|on|n|NO|off|true|Null|NaN|~|-|-x|::1|a:|#a|a: b| a|a b|é|a\nb|\"|'|*a|&a|{|[|!x|=";
        for quoted in numbers.split('|').chain(others.split('|')) {
            assert_eq!(scalar(quoted), Value::from(quoted).to_string());
            assert_eq!(serde_yaml_ng::from_str::<String>(&scalar(quoted)).unwrap(), quoted);
        }
    }
}

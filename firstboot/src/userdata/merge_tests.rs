use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;

fn document(text: &str) -> Document {
    Document::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn merged(texts: &[&str]) -> Result<Vec<Value>> {
    let merged = merge(texts.iter().map(|text| document(text)).collect())?;
    Ok(documents::values(std::str::from_utf8(merged.bytes()).unwrap())
        .unwrap()
        .into_iter()
        .map(|(value, _)| value)
        .collect())
}

fn kubelet(rest: &str) -> String {
    format!("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{rest}")
}

#[test]
fn a_single_document_stays_as_it_is() {
    let text = "# comment\nkind: a\nkind: b\nnot even: [";
    assert_eq!(merge(vec![document(text)]).unwrap().bytes(), text.as_bytes());
    assert_eq!(merge(Vec::new()).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn documents_of_a_kind_are_merge_patches() {
    let base = kubelet(
        "maxPods: 10\nevictionHard: {memory.available: 5%, nodefs.available: 1%}\nclusterDNS: [a, b]\nx: null",
    );
    let other = "apiVersion: v1\nkind: ConfigMap\ndata: {a: \"017\", b: \"é\\t\\\"x\"}\n";
    let patch = kubelet(
        "maxPods: 20\nevictionHard: {memory.available: null, imagefs.available: 2%}\nclusterDNS: [c]",
    );
    let found = merged(&[&base, &format!("{other}---\n{patch}"), ""]);
    let expected = json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "017", "b": "é\t\"x"}},
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "maxPods": 20,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "2%"},
            "clusterDNS": ["c"],
            "x": null,
        },
    ]);
    assert_eq!(Value::from(found.unwrap()), expected);
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let token = "canary.canarycanarycana";
    for (texts, expected) in [
        (
            [kubelet(""), kubelet("").replace("v1beta1", "v1")],
            "node config 2: kubelet.config.k8s.io/v1, Kind=KubeletConfiguration is to be merged into",
        ),
        (
            [kubelet("a: 1"), kubelet("").replace("kubelet.", "canary.")],
            "node config 2: canary.config.k8s.io/v1beta1",
        ),
        ([kubelet("a: 1\na: 2"), kubelet("")], "node config 1: the field \"a\" occurs twice"),
        ([kubelet(""), format!("{}---\n{}", kubelet(""), kubelet(""))], "specified twice"),
        ([kubelet(""), "a: 1".to_owned()], "mandatory"),
        ([kubelet("a: \"x\\u0085y\""), kubelet("")], "characters that YAML cannot hold"),
        ([kubelet(""), format!("kind: {token}\napiVersion: a\n\"{token}")], "not valid YAML"),
        ([kubelet(""), format!("{}{token}: 1\n{token}: 2", kubelet(""))], "\"(hidden)\" occurs twice"),
    ] {
        let failure = merged(&[&texts[0], &texts[1]]).unwrap_err();
        assert!(
            failure.kind == ErrorKind::Config && failure.message.contains(expected),
            "{expected}: {failure}"
        );
        assert!(!format!("{failure:?}").contains(token), "{failure:?}");
    }
}

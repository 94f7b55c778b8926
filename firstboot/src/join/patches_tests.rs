use serde_json::json;

use super::*;

const NEWEST: &str = "v1.36.2";

fn parsed(name: &str, text: &str, kubelet: &str) -> Result<(Vec<Patch>, Vec<String>)> {
    parse(&[PatchFile { name: name.to_owned(), bytes: text.as_bytes().to_vec() }], kubelet.parse().unwrap())
}

fn patched(document: Value, name: &str, text: &str) -> Result<Value> {
    apply(document, &parsed(name, text, NEWEST)?.0)
}

#[test]
fn names_say_target_and_type() {
    let table = [
        ("kubeletconfiguration.yaml", "a: 1", "strategic"),
        ("kubeletconfiguration0-mine+strategic.yaml", "a: 1", "strategic"),
        ("kubeletconfiguration+merge.json", "{\"a\": 1}", "merge"),
        ("kubeletconfiguration+json.yaml", "- {op: remove, path: /a}", "json"),
        ("kubeletconfiguration.a.b+json.yaml", "a: 1", "strategic"),
        ("kubeletconfiguration+mergefoo.yaml", "a: 1", "merge"),
    ];
    for (name, text, expected) in table {
        let (patches, warnings) = parsed(name, text, NEWEST).unwrap();
        let kind = match patches[0].change {
            Change::Strategic(_) => "strategic",
            Change::Merge(_) => "merge",
            Change::Json(_) => "json",
        };
        assert_eq!((kind, warnings.len()), (expected, 0), "{name}");
    }
}

#[test]
fn what_kubeadm_ignores_is_ignored_with_a_warning() {
    for (name, text, kubelet, word) in [
        ("kubeletconfiguration.yml", "a: 1", NEWEST, "extension"),
        ("bogus.yaml", "a: 1", NEWEST, "target"),
        ("kubeletconfiguration.yaml", "", NEWEST, "empty"),
        ("kubeletconfiguration.yaml", "a: 1", "v1.24.17", "target"),
    ] {
        let (patches, warnings) = parsed(name, text, kubelet).unwrap();
        assert!(
            patches.is_empty() && warnings.len() == 1 && warnings[0].contains(word),
            "{name}: {warnings:?}"
        );
    }
    assert_eq!(
        parsed("etcd.yaml", "a: 1", NEWEST).unwrap(),
        (vec![], vec![]),
        "a known target of the control plane"
    );
}

#[test]
fn what_kubeadm_refuses_is_refused() {
    for (name, text) in [
        ("kubeletconfiguration+foo.yaml", "a: 1"),
        ("kubeletconfiguration+.yaml", "a: 1"),
        ("etcd+foo.yaml", "a: 1"),
        ("etcd.yaml", "a: ["),
        ("kubeletconfiguration.yaml", "a: ["),
        ("kubeletconfiguration.yaml", "foo"),
        ("kubeletconfiguration.yaml", "- 1"),
        ("kubeletconfiguration+json.yaml", "a: 1"),
    ] {
        let failure = parsed(name, text, NEWEST).unwrap_err();
        assert!(failure.kind == ErrorKind::Config && failure.message.contains(name), "{failure}");
    }
}

/// kubeadm 1.36.2 gave these results for the same patches.
#[test]
fn strategic_merge_is_kubeadms() {
    let document = || json!({"h": {"a": "1", "b": "2"}, "l": ["pods", "x"], "s": "t"});
    let table = [
        ("h: {a: null, c: \"3\"}", json!({"h": {"b": "2", "c": "3"}, "l": ["pods", "x"], "s": "t"})),
        ("l: [z]", json!({"h": {"a": "1", "b": "2"}, "l": ["z"], "s": "t"})),
        ("h: {$patch: delete}", json!({"h": {}, "l": ["pods", "x"], "s": "t"})),
        ("h: {$patch: replace, c: 1}", json!({"h": {"c": 1}, "l": ["pods", "x"], "s": "t"})),
        ("h: {$retainKeys: [b]}", json!({"h": {"b": "2"}, "l": ["pods", "x"], "s": "t"})),
        ("h: x", json!({"h": "x", "l": ["pods", "x"], "s": "t"})),
        ("h: [1]\nl: null\ns: {a: 1}", json!({"h": [1], "s": {"a": 1}})),
        ("$deleteFromPrimitiveList/l: [x]", json!({"h": {"a": "1", "b": "2"}, "l": ["pods"], "s": "t"})),
        ("$setElementOrder/l: [x, pods]", json!({"h": {"a": "1", "b": "2"}, "l": ["x", "pods"], "s": "t"})),
        (
            "$setElementOrder/l: [x, pods, q]\nl: [q]",
            json!({"h": {"a": "1", "b": "2"}, "l": ["q"], "s": "t"}),
        ),
        ("n: {$patch: delete, b: 1}\nm: {$patch: replace, b: 1}", document()),
        (
            "d: {e: null, f: {g: null}}\nk: null",
            json!({"d": {"f": {}}, "h": {"a": "1", "b": "2"}, "l": ["pods", "x"], "s": "t"}),
        ),
        (
            "l: [1, null, {x: null}]",
            json!({"h": {"a": "1", "b": "2"}, "l": [1, null, {"x": null}], "s": "t"}),
        ),
        ("$patch: replace\nm: 3", json!({"m": 3})),
        ("$patch: delete", json!({})),
        ("$retainKeys: [s]\ns: u", json!({"s": "u"})),
        ("null", document()),
        ("# nothing", document()),
        ("s: u\n---\n# nothing\n---\ns: v", json!({"h": {"a": "1", "b": "2"}, "l": ["pods", "x"], "s": "v"})),
    ];
    for (text, expected) in table {
        assert_eq!(patched(document(), "kubeletconfiguration.yaml", text).unwrap(), expected, "{text}");
    }
    for text in ["h: {$patch: merge}", "$patch: [1]", "h: {$retainKeys: [b], a: 1}", "$setElementOrder/l: 5"]
    {
        let failure = patched(document(), "kubeletconfiguration.yaml", text).unwrap_err();
        assert!(
            failure.kind == ErrorKind::Config && failure.message.contains("kubeletconfiguration.yaml"),
            "{text}: {failure}"
        );
    }
}

#[test]
fn merge_and_json_patches_follow_their_standards() {
    let document = || json!({"a": {"b": 1}, "l": [1]});
    let merged =
        patched(document(), "kubeletconfiguration+merge.yaml", "a: {b: null}\nd: {e: null, f: 1}").unwrap();
    assert_eq!(merged, json!({"a": {}, "d": {"f": 1}, "l": [1]}));
    let text = "- {op: add, path: /l/-, value: 2}\n---\n- {op: test, path: /l/1, value: 2}\n- {op: remove, path: /a}";
    assert_eq!(patched(document(), "kubeletconfiguration+json.yaml", text).unwrap(), json!({"l": [1, 2]}));
    for text in [
        "- {op: remove, path: /none}",
        "- {op: test, path: /a/b, value: 2}",
        "- {op: replace, path: \"\", value: 1}",
    ] {
        assert!(patched(document(), "kubeletconfiguration+json.yaml", text).is_err(), "{text}");
    }
}

#[test]
fn words_without_quotes_are_read_as_in_yaml_1_1() {
    let text = "failSwapOn: no\nclusterDomain: \"no\"\n";
    let patched = patched(json!({}), "kubeletconfiguration.yaml", text).unwrap();
    assert_eq!(patched, json!({"failSwapOn": false, "clusterDomain": "no"}));
    let (patches, _) = parsed("kubeletconfiguration.yaml", "\u{feff}# nothing\n", NEWEST).unwrap();
    assert_eq!(patches, []);
}

#[test]
fn the_folder_is_walked_in_order_and_links_to_folders_are_not_entered() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("m")).unwrap();
    for name in ["z.yaml", "m/b.yaml", "a.json"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    std::os::unix::fs::symlink(folder.path(), folder.path().join("circle")).unwrap();
    let names: Vec<String> = read(&Root::at(folder.path()), Path::new("/"))
        .unwrap()
        .into_iter()
        .map(|file| file.name)
        .collect();
    assert_eq!(names, ["a.json", "b.yaml", "z.yaml"]);
    assert!(
        read(&Root::default(), &folder.path().join("missing"))
            .unwrap_err()
            .message
            .contains("missing")
    );
}

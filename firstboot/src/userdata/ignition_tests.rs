use serde_json::json;

use super::*;
use crate::userdata::units::Unit;
use crate::userdata::workspace::Workspace;

fn read_value(value: &Value) -> Result<HostConfig> {
    read(value.to_string().as_bytes(), &Budget::default(), &|_| Ok(None))
}

fn with_file(file: Value) -> Value {
    json!({"ignition": {"version": "3.4.0"}, "storage": {"files": [file]}})
}

#[test]
fn files_are_read() {
    let sha256 = "sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let gzipped = "data:;base64,H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==";
    for (file, content, mode, user, appends) in [
        (json!({"path": "/a", "contents": {"source": "data:,hello"}}), "hello", 0o644, "root", false),
        (
            json!({"path": "/a", "mode": 384, "contents": {"source": gzipped, "compression": "gzip"}}),
            "hello",
            0o600,
            "root",
            false,
        ),
        (
            json!({"path": "/a", "contents": {"source": "data:,hello", "verification": {"hash": sha256}}}),
            "hello",
            0o644,
            "root",
            false,
        ),
        (
            json!({"path": "/a", "user": {"id": 500}, "append": [{"source": "data:,a"}, {"source": "data:,b"}]}),
            "ab",
            0o644,
            "500",
            true,
        ),
        (
            json!({"path": "/a", "user": {"name": "core"}, "append": true, "contents": {"source": "data:,a"}}),
            "a",
            0o644,
            "core",
            true,
        ),
        (
            json!({"path": "/a", "filesystem": "root", "contents": {"source": "", "verification": {}}}),
            "",
            0o644,
            "root",
            false,
        ),
        (json!({"path": "/a"}), "", 0o644, "root", false),
    ] {
        let host_config =
            read_value(&with_file(file.clone())).unwrap_or_else(|failure| panic!("{file}: {failure}"));
        let found = &host_config.files[0];
        let shown = (found.content.bytes(), found.mode, found.owner.user.as_str(), found.appends);
        assert_eq!(shown, (content.as_bytes(), mode, user, appends), "{file}");
    }
}

#[test]
fn content_elsewhere_gets_a_notice() {
    let canary = "https://canary/x";
    for (value, expected) in [
        (
            with_file(json!({"path": "/a", "contents": {"source": canary}})),
            "storage.files[0] comes from elsewhere and is not fetched",
        ),
        (
            with_file(json!({"path": "/a", "filesystem": "canary"})),
            "storage.files[0] is on another file system and is not written",
        ),
        (
            json!({"ignition": {"version": "2.3.0"}, "passwd": {"users": [{"name": "canary"}, {}]}}),
            "2 users are not made",
        ),
        (
            json!({"ignition": {"version": "2.3.0"}, "systemd": {"units": [{"name": "canary"}]}}),
            "1 systemd unit is not made",
        ),
    ] {
        let host_config = read_value(&value).unwrap();
        assert!(host_config.files.is_empty());
        assert_eq!(host_config.notices, [expected]);
    }
}

#[test]
fn configs_within_configs_are_read_first() {
    let inner = json!({"ignition": {"version": "3.0.0"}, "storage": {"files": [{"path": "/etc/hostname", "contents": {"source": "data:,n1%0A"}}]}});
    let source = format!("data:,{}", inner.to_string().replace('%', "%25"));
    let outer = |config: Value| json!({"ignition": {"version": "3.0.0", "config": config}, "storage": {"files": [{"path": "/b"}]}});
    for (config, expected) in [
        (json!({"merge": [{"source": source}]}), vec!["/etc/hostname", "/b"]),
        (json!({"append": [{"source": source}]}), vec!["/etc/hostname", "/b"]),
        (json!({"replace": {"source": source}}), vec!["/etc/hostname"]),
        (json!({"replace": {"source": null}}), vec!["/b"]),
    ] {
        let host_config = read_value(&outer(config)).unwrap();
        assert_eq!(host_config.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(host_config.hostname.as_deref(), (expected[0] == "/etc/hostname").then_some("n1"));
    }
    let mut nested = inner;
    for _ in 0..=NESTING {
        let source = format!("data:,{}", nested.to_string().replace('%', "%25"));
        nested = outer(json!({"merge": [{"source": source}]}));
    }
    assert!(read_value(&nested).err().unwrap().message.contains("nested too deeply"));
}

#[test]
fn enabled_units_start_commands() {
    let value = json!({
        "ignition": {"version": "2.2.0"},
        "systemd": {"units": [
            {"name": "a.service", "enabled": true, "contents": "[Service]\nExecStartPre=-/bin/true\nExecStart=/bin/bash /etc/a.sh\n"},
            {"name": "b.service", "contents": "[Service]\nExecStart=/etc/b.sh\n"},
            {"name": "c.service", "enabled": true, "dropins": [{"name": "x", "contents": "[Service]\nExecStart = /etc/c.sh"}]},
        ]},
    });
    let mut host_config = read_value(&value).unwrap();
    let budget = Budget::default();
    let started = std::mem::take(&mut host_config.units.started);
    let units = host_config.units.start(started, &Workspace::new(&budget));
    let commands = units.iter().flat_map(Unit::commands).map(|command| command.trim_end().to_owned());
    assert_eq!(commands.collect::<Vec<_>>(), ["'/bin/true'", "'/bin/bash' '/etc/a.sh'", "'/etc/c.sh'"]);
}

#[test]
fn links_start_units_and_mask_them() {
    let join =
        |name: &str| json!({"name": name, "contents": "[Service]\nExecStart=kubeadm join a:1 --token x"});
    let link =
        |path: &str, target: &str| json!({"path": format!("/etc/systemd/system/{path}"), "target": target});
    for (links, enabled, expected) in [
        (vec![("multi-user.target.wants/a.service", "/etc/systemd/system/a.service")], false, true),
        (vec![("default.target.requires/a.service", "../a.service")], false, true),
        (
            vec![("b.service", "a.service"), ("multi-user.target.wants/b.service", "../b.service")],
            false,
            true,
        ),
        (
            vec![("b.service.wants/a.service", "../a.service"), ("sysinit.target.wants/b.service", "x")],
            false,
            true,
        ),
        (vec![("rescue.target.wants/a.service", "../a.service")], false, false),
        (vec![("a.service", "/dev/null")], true, false),
        (vec![("multi-user.target.wants/a.service", "x"), ("a.service", "/dev/null")], false, false),
        (vec![], false, false),
    ] {
        let mut unit = join("a.service");
        unit["enabled"] = enabled.into();
        let all: Vec<Value> = links.iter().map(|(path, target)| link(path, target)).collect();
        let value = json!({
            "ignition": {"version": "3.0.0"}, "storage": {"links": all}, "systemd": {"units": [unit]},
        });
        let mut host_config = read_value(&value).unwrap();
        let found = host_config.find(&|_| None, &Budget::default()).unwrap();
        assert_eq!(found.is_some(), expected, "{links:?}");
        assert_eq!(host_config.unclear.is_some(), !expected, "{links:?}");
    }
}

#[test]
fn what_is_malformed_is_named_by_its_place() {
    for (value, expected) in [
        (json!({"ignition": {"version": "1.0.0"}}), "ignition.version is not one of spec 2 or 3"),
        (json!({"ignition": {}}), "ignition.version is not one"),
        (json!({"ignition": "canary"}), "ignition is not a map"),
        (json!({}), "ignition is not there"),
        (json!(["canary"]), "it is not a map"),
        (with_file(json!("canary")), "storage.files[0] is not a map"),
        (with_file(json!({"mode": 1})), "storage.files[0].path is not there"),
        (with_file(json!({"path": "canary"})), "storage.files[0]: the path"),
        (with_file(json!({"path": "/a", "mode": "canary"})), "storage.files[0].mode is not a mode"),
        (with_file(json!({"path": "/a", "mode": 65536})), "storage.files[0].mode is not a mode"),
        (
            with_file(json!({"path": "/a", "contents": {"source": "data:canary"}})),
            "storage.files[0]: a data: URL has no comma",
        ),
        (
            with_file(json!({"path": "/a", "contents": {"source": "data:,canary%"}})),
            "storage.files[0]: a data: URL has a %",
        ),
        (
            with_file(json!({"path": "/a", "contents": {"source": "data:,canary", "compression": "gzip"}})),
            "storage.files[0]: the gzip data",
        ),
        (
            with_file(json!({"path": "/a", "contents": {"source": "data:,a", "compression": "canary"}})),
            "contents.compression is not gzip",
        ),
        (
            with_file(
                json!({"path": "/a", "contents": {"source": "data:,a", "verification": {"hash": "canary"}}}),
            ),
            "verification.hash is not sha256",
        ),
        (
            with_file(
                json!({"path": "/a", "contents": {"source": "data:,a", "verification": {"hash": "sha256-00"}}}),
            ),
            "another digest",
        ),
    ] {
        let failure = read_value(&value).err().unwrap_or_else(|| panic!("{value}"));
        assert!(
            failure.message.contains(expected) && !format!("{failure:?}").contains("canary"),
            "{expected}: {failure}"
        );
    }
    for (text, expected) in [
        ("{\"canary", "not valid JSON: line 1"),
        ("{\"a\":\"\0\"}", "NUL"),
        (&"[".repeat(5000), "not valid JSON"),
    ] {
        let failure = read(text.as_bytes(), &Budget::default(), &|_| Ok(None)).err().unwrap();
        assert!(failure.message.contains(expected), "{failure}");
    }
}

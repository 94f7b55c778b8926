use std::fs;

use super::*;

const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  \
    tlsBootstrapToken: ${token}\nnodeRegistration:\n  name: n-${serial}\n";

fn identity(query: &str) -> Identity {
    Identity::parse(query).unwrap()
}

#[test]
fn the_file_of_the_mac_comes_first_and_the_default_last() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str| fs::write(folder.path().join(name), format!("# {name}\n")).unwrap();
    put("default.yaml");
    let (configs, notices) = Configs::open(folder.path(), false).unwrap();
    assert_eq!(notices.len(), 1, "{notices:?}");
    let machine = identity("mac=52:54:00:00:00:01&serial=S1&uuid=4c4c4544-0042-3510-8052-b4c04f4e4d31");
    let found = || configs.find(&machine).unwrap().unwrap().text.to_string();
    for name in [
        "default.yaml",
        "S1.yaml",
        "4c4c4544-0042-3510-8052-b4c04f4e4d31.yaml",
        "52-54-00-00-00-01.yaml",
        "52:54:00:00:00:01.yaml",
    ] {
        put(name);
        assert_eq!(found(), format!("# {name}\n"));
    }
    // One text that many machines are given is in memory once.
    let text = |query: &str| configs.find(&identity(query)).unwrap().unwrap().text;
    let first = text("mac=52:54:00:00:00:03&serial=S1");
    assert!(std::sync::Arc::ptr_eq(&first, &text("mac=52:54:00:00:00:04&serial=S1")));
    fs::remove_file(folder.path().join("default.yaml")).unwrap();
    assert!(configs.find(&identity("mac=52:54:00:00:00:02")).unwrap().is_none());
    for name in ["52-54-00-AB-CD-EF.yaml", "4C4C4544-0042-3510-8052-B4C04F4E4D3F.yaml"] {
        put(name);
    }
    assert!(configs.find(&identity("mac=52:54:00:ab:cd:ef")).unwrap().is_some());
    assert!(configs.find(&identity("uuid=4c4c4544-0042-3510-8052-b4c04f4e4d3f")).unwrap().is_some());
    let unheeded = || {
        let (_, notices) = Configs::open(folder.path(), false).unwrap();
        notices.iter().filter(|notice| notice.contains("no machine gets this file")).count()
    };
    assert_eq!(unheeded(), 0);
    let names = [
        "52:54:00:00:00:02.yml",
        "52-54-00-Ab-cd-ef.yaml",
        "4C4C4544-0042-3510-8052-b4c04f4e4d31.yaml",
        "Default.yaml",
    ];
    for (number, name) in names.into_iter().enumerate() {
        put(name);
        assert_eq!(unheeded(), number + 1, "{name}");
    }
    let empty = tempfile::tempdir().unwrap();
    let (_, notices) = Configs::open(empty.path(), false).unwrap();
    assert!(notices[0].contains("no file in it yet"), "{notices:?}");
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("join.yaml");
    let error = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        Configs::open(&path, false).unwrap_err().to_string()
    };
    assert!(error(JOIN.as_bytes()).contains("--token-command"));
    assert!(error(b" \n").contains("empty"));
    assert!(error(b"\xff").contains("no UTF-8"));
    assert!(error(&vec![b'x'; 1 << 21]).contains("longer"));
    assert!(Configs::open(&folder.path().join("none"), false).is_err());
}

#[test]
fn variables_have_values_or_are_named() {
    let machine = identity("mac=52:54:00:00:00:01&serial=S1");
    let config =
        Config::new(JOIN.into(), &machine, Some("abcdef.0123456789abcdef".to_owned()), None).unwrap();
    let text = config.text("x");
    assert!(text.contains("tlsBootstrapToken: abcdef.0123456789abcdef\n") && text.ends_with("name: n-S1\n"));
    let missing = |query: &str, token: Option<String>| {
        Config::new(JOIN.into(), &identity(query), token, None).unwrap_err()
    };
    assert_eq!(missing("serial=S1", None), "token");
    // YAML would read what is behind the line break.
    assert_eq!(missing("serial=S1%0ax:%20y", Some(String::new())), "serial");
    assert_eq!(missing("mac=52:54:00:00:00:01", Some(String::new())), "serial");
    let shell = Config::new("echo ${HOME}".into(), &machine, None, None).unwrap();
    assert_eq!(shell.text("x"), "echo ${HOME}");
}

#[test]
fn a_report_is_added_to_a_node_config_that_has_none() {
    let report = Arc::new(Report { base: "https://10.0.0.1:8443".to_owned(), authority: "A\nB\n".into() });
    let machine = identity("mac=52:54:00:00:00:01");
    let text = |template: &str| {
        Config::new(template.into(), &machine, None, Some(report.clone())).unwrap().text("7f")
    };
    let hook =
        "report:\n- kind: webhook\n  url: https://10.0.0.1:8443/report/7f\n  caCert: |\n    A\n    B\n";
    let join = "apiVersion: a/v1\nkind: JoinConfiguration\n";
    let agent = "apiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration # ours\n";
    for (template, expected) in [
        (join.to_owned(), format!("{join}---\napiVersion: firstboot.kiln/v1\nkind: {AGENT}\n{hook}")),
        (format!("{join}---\n{agent}deadline: 5m\n"), format!("{join}---\n{agent}{hook}deadline: 5m\n")),
        (format!("{agent}---\n{join}"), format!("{agent}{hook}---\n{join}")),
    ] {
        assert_eq!(text(&template), expected);
    }
    for unchanged in [
        format!("{join}---\n{agent}report: []\n"),
        format!("{join}---\n{{apiVersion: a, kind: {AGENT}}}\n"),
        "#cloud-config\nruncmd: []\n".to_owned(),
        "## template: jinja\napiVersion: a\nkind: b\n".to_owned(),
        "{\"ignition\": {\"version\": \"3.4.0\"}}".to_owned(),
        "just: yaml\n".to_owned(),
        "a: [\n".to_owned(),
    ] {
        assert_eq!(text(&unchanged), unchanged);
    }
}

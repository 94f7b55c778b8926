use zeroize::Zeroizing;

use super::*;
use crate::userdata::files::{Owner, content};

const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";

fn lookup(name: &str) -> Option<String> {
    match name {
        "COREOS_EC2_HOSTNAME" => Some("ip-10-0-0-1".to_owned()),
        _ => None,
    }
}

fn host_config(files: &[(&str, &str)], command: &str) -> HostConfig {
    let file = |(path, text): &(&str, &str)| {
        let bytes = content(Zeroizing::new(text.as_bytes().to_vec())).unwrap();
        ExtraFile::new(path, 0o600, Owner::default(), false, bytes).unwrap()
    };
    let scripts = vec![Zeroizing::new(command.to_owned())];
    HostConfig { files: files.iter().map(file).collect(), scripts, ..HostConfig::default() }
}

fn found(files: &[(&str, &str)], command: &str) -> Result<Option<EmbeddedConfig>> {
    host_config(files, command).find(&lookup, &Budget::default())
}

#[test]
fn the_node_config_is_the_file_that_counts() {
    let other = ("/opt/x", "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration # other\n");
    for (files, command, expected, left) in [
        (vec![("/run/k", "a"), other], "kubeadm join --config /run/k", Some("a"), vec!["/opt/x"]),
        (
            vec![("/run/k", "a"), ("/run/k", "b"), (paths::CLUSTER_API_PLACEHOLDER, "x")],
            "kubeadm join --config=/run/k",
            Some("b"),
            vec![],
        ),
        (vec![("/etc/firstboot/config.yaml", "a"), other], "true", Some("a"), vec!["/opt/x"]),
        (vec![other, ("/a", "b")], "true", Some(other.1), vec!["/a"]),
        (vec![("/a", "b")], "kubeadm join a:6443 --token x", None, vec!["/a"]),
    ] {
        let embedded = found(&files, command).unwrap().unwrap_or_else(|| panic!("{command}"));
        assert_eq!(embedded.document.as_ref().map(Document::bytes), expected.map(str::as_bytes), "{command}");
        assert_eq!(
            embedded.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            left,
            "{command}"
        );
    }
    for files in [
        vec![],
        vec![("/a", "b")],
        vec![("/a", "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration")],
    ] {
        assert!(found(&files, "true").unwrap().is_none());
    }
    for (files, command, expected) in [
        (vec![("/a", JOIN), ("/b", JOIN)], "true", "several files"),
        (vec![("/a", JOIN)], "kubeadm join --config /canary", "does not write"),
        (vec![("/a", JOIN)], "kubeadm join", "neither a config nor"),
    ] {
        let failure = found(&files, command).unwrap_err();
        assert!(
            failure.message.contains(expected) && !format!("{failure:?}").contains("canary"),
            "{failure}"
        );
    }
}

#[test]
fn variables_are_filled_in_where_a_command_does_it() {
    let fill = "envsubst < /k > /k.new; mv /k.new /k; kubeadm join --config /k";
    let filled = found(&[("/k", "a: ${COREOS_EC2_HOSTNAME}")], fill).unwrap().unwrap();
    assert_eq!(filled.document.unwrap().bytes(), b"a: ip-10-0-0-1");
    let failure = found(&[("/k", "a: ${COREOS_UNKNOWN}")], fill).unwrap_err();
    assert!(failure.message.contains("the variable COREOS_UNKNOWN of"), "{failure}");
    for command in ["kubeadm join --config /k", "envsubst < /other > /o; kubeadm join --config /k"] {
        let untouched = found(&[("/k", "${UNKNOWN}"), ("/other", "$X")], command).unwrap().unwrap();
        assert_eq!(untouched.document.unwrap().bytes(), b"${UNKNOWN}", "{command}");
    }
}

#[test]
fn a_file_that_names_a_join_and_is_not_started_is_not_nothing() {
    for (text, is_unclear) in [
        ("#!/bin/sh\nkubeadm join canary", true),
        ("[Service]\nExecStart=/usr/bin/kubeadm join canary", true),
        ("kubeadm: see join-defaults", false),
        ("hello", false),
    ] {
        let content = content(Zeroizing::new(text.as_bytes().to_vec())).unwrap();
        let file = ExtraFile::new("/x", 0o600, Owner::default(), false, content).unwrap();
        let mut host_config = HostConfig { files: vec![file], ..HostConfig::default() };
        assert!(host_config.find(&lookup, &Budget::default()).unwrap().is_none());
        assert_eq!(host_config.unclear.is_some(), is_unclear, "{text}");
        assert!(!format!("{:?}", host_config.unclear).contains("canary"));
    }
}

/// Neither does a config or a job of cron that commands write.
#[test]
fn a_join_in_a_file_that_commands_make_is_not_nothing() {
    for (command, is_unclear) in [
        ("printf '@reboot root kubeadm join canary' > /etc/cron.d/x", true),
        ("cat > /k.yaml <<E\nkind: JoinConfiguration\nE", true),
        ("echo 'kubeadm join canary' | tee /opt/x", true),
        ("echo 'kubeadm join canary' > /opt/x; cp /opt/x /etc/motd; rm /opt/x", false),
        ("echo 'kubeadm join canary' > /etc/motd", false),
        ("echo hello > /k.yaml", false),
    ] {
        let mut host_config = host_config(&[], command);
        assert!(host_config.find(&lookup, &Budget::default()).unwrap().is_none(), "{command}");
        assert_eq!(host_config.unclear.is_some(), is_unclear, "{command}");
        assert!(!format!("{:?}", host_config.unclear).contains("canary"));
    }
}

#[test]
fn a_join_beside_the_one_that_counts_says_the_same() {
    let counts = (
        "/etc/firstboot/config.yaml",
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\na: 10.0.0.1:6443 n1\n",
    );
    let other = ("/k", JOIN);
    let script = |line: &str| format!("#!/bin/sh\n{line}\n");
    let unit = |line: &str| format!("[Service]\nExecStart={line}\n");
    for (path, text, agrees) in [
        ("/j.sh", script("kubeadm join 10.0.0.1:6443 --token a --node-name n1"), true),
        ("/j.sh", script("kubeadm join --config /missing"), true),
        ("/j.sh", script("kubeadm join \"$@\""), true),
        ("/etc/systemd/system/j.service", unit("kubeadm join 10.0.0.1:6443 --token a"), true),
        ("/j.sh", script("kubeadm join 10.0.0.2:6443 --token a"), false),
        ("/j.sh", script("kubeadm join 10.0.0.1:6443 --token a --node-name n2"), false),
        ("/j.sh", script("kubeadm join --config /k"), false),
        ("/etc/systemd/system/j.service", unit("kubeadm join --config /k"), false),
    ] {
        // Nothing starts it, and the agent's own file counts.
        let files: Vec<(&str, &str)> = vec![counts, other, (path, &text)];
        let mut host_config = host_config(&files, "true");
        let found = host_config.find(&lookup, &Budget::default());
        match found {
            Ok(found) => {
                assert!(agrees && found.is_some(), "{text}");
                assert!(host_config.notices.contains(&RIVAL.to_owned()), "{text}: {:?}", host_config.notices);
            }
            Err(failure) => {
                assert!(!agrees && failure.message.contains("in another way"), "{text}: {failure}")
            }
        }
    }
    let mut both = host_config(&[counts, other], "kubeadm join --config /k");
    assert!(both.find(&lookup, &Budget::default()).unwrap().is_some());
    assert!(both.notices[0].contains("is written and not read"), "{:?}", both.notices);
}

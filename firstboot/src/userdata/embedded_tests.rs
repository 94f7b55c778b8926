use zeroize::Zeroizing;

use super::*;
use crate::userdata::files::{Owner, content};

const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";

fn lookup(name: &str) -> Option<String> {
    match name {
        "COREOS_EC2_HOSTNAME" => Some("ip-10-0-0-1".to_owned()),
        "QUOTE" => Some("a\"b".to_owned()),
        _ => None,
    }
}

fn found(files: &[(&str, &str)], command: &str) -> Result<Option<EmbeddedConfig>> {
    let file = |(path, text): &(&str, &str)| {
        let bytes = content(Zeroizing::new(text.as_bytes().to_vec())).unwrap();
        ExtraFile::new(path, 0o600, Owner::default(), false, bytes).unwrap()
    };
    let commands = vec![Command::Shell(Zeroizing::new(command.to_owned()))];
    let mut host_config =
        HostConfig { files: files.iter().map(file).collect(), commands, ..HostConfig::default() };
    host_config.find(&lookup, &Budget::default())
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
fn variables_are_filled_in_where_a_command_would() {
    for (text, expected) in [
        (
            "${COREOS_EC2_HOSTNAME} $COREOS_EC2_HOSTNAME.x $ ${a} $1 ${} $$a é",
            Ok("ip-10-0-0-1 ip-10-0-0-1.x $ ${a} $1 ${} $$a é"),
        ),
        ("${COREOS_UNKNOWN}", Err("the variable COREOS_UNKNOWN of")),
        ("p4$CANARY", Err("fills in a variable of")),
        ("$QUOTE", Err("fills in a variable of")),
    ] {
        let embedded = found(&[("/k", text)], "envsubst < /k > /k.new; kubeadm join --config /k");
        match expected {
            Ok(expected) => {
                assert_eq!(embedded.unwrap().unwrap().document.unwrap().bytes(), expected.as_bytes())
            }
            Err(expected) => assert!(embedded.unwrap_err().message.contains(expected)),
        }
    }
    let untouched = found(&[("/k", "${UNKNOWN}")], "kubeadm join --config /k").unwrap().unwrap();
    assert_eq!(untouched.document.unwrap().bytes(), b"${UNKNOWN}");
}

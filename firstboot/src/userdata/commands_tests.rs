use super::*;

const SENTINEL: &str = "/run/cluster-api/bootstrap-success.complete";

fn found(line: &str) -> Result<ParsedCommands> {
    read(&[Command::Shell(Zeroizing::new(line.to_owned()))])
}

#[test]
fn a_join_is_found() {
    let join = format!("kubeadm join --config /run/kubeadm/c.yaml  && echo success > {SENTINEL}");
    for (line, others) in [
        (join.clone(), 0),
        (join.replace("c.yaml", "c.yaml --v 5"), 0),
        (
            format!(
                "set -xe\nmkdir -p /run/cluster-api\nsudo /usr/bin/kubeadm join -v5 --config='/run/kubeadm/c.yaml'; echo success>{SENTINEL}"
            ),
            0,
        ),
        (format!("swapoff -a; if {join}; then touch /x; fi"), 2),
        (format!("A=b bash -xec \"{join}\""), 0),
        (format!("{join} || {join}"), 0),
        (format!("echo 'kubeadm join' # kubeadm init\ncat <<E\nkubeadm init\nE\n{join}"), 2),
        (format!("kubeadm reset -f; {join}"), 1),
    ] {
        let found = found(&line).unwrap_or_else(|failure| panic!("{line}: {failure}"));
        assert_eq!(found.join.unwrap().config.unwrap().to_str(), Some("/run/kubeadm/c.yaml"), "{line}");
        assert_eq!((found.sentinel.as_deref(), found.others), (Some(SENTINEL), others), "{line}");
    }
}

#[test]
fn words_are_as_good_as_a_line() {
    let words = |words: &[&str]| {
        Command::Words(words.iter().map(|word| Zeroizing::new((*word).to_owned())).collect())
    };
    let commands = [
        words(&["systemctl", "start", "x"]),
        words(&["sh", "-c", "kubeadm join a:6443 --token canary.canarycanarycana"]),
        words(&[]),
    ];
    let found = read(&commands).unwrap();
    let join = found.join.unwrap();
    assert_eq!(
        (join.endpoints, join.token.unwrap().reveal(), found.others),
        (vec!["a:6443".to_owned()], "canary.canarycanarycana", 1)
    );
}

#[test]
fn what_is_unclear_about_kubeadm_is_refused() {
    for (line, expected) in [
        ("kubeadm init --config /x", "joins workers"),
        ("kubeadm join --config $CANARY", "variables of the shell"),
        ("kubeadm join \"`canary`\":6443", "variables of the shell"),
        ("kubeadm join --canary", "flags"),
        ("kubeadm join phase preflight canary", "flags"),
        ("kubeadm join --config '/canary", "no end"),
        ("kubeadm join a:1; kubeadm join b:1", "twice"),
        ("kubeadm join \u{e0f1}0\u{e0f1}:1", "template expression"),
    ] {
        let failure = found(line).unwrap_err();
        let shown = format!("{failure:?}").to_lowercase();
        assert!(failure.message.contains(expected) && !shown.contains("canary"), "{line}: {shown}");
    }
}

#[test]
fn only_cluster_apis_own_file_is_a_sentinel() {
    for (line, expected) in [
        (format!("echo success >{SENTINEL}"), Some(SENTINEL)),
        ("echo x > /run/cluster-api/../bootstrap".to_owned(), None),
        ("echo x > /run/cluster-api/bootstrap-$X".to_owned(), None),
        ("echo x > /run/cluster-api/canary".to_owned(), None),
        ("echo x > /etc/bootstrap-success.complete".to_owned(), None),
        (format!("cat > {SENTINEL}"), None),
    ] {
        assert_eq!(found(&line).unwrap().sentinel.as_deref(), expected, "{line}");
    }
}

use super::*;
use crate::paths;
use crate::userdata::files::{ExtraFile, Owner};
use crate::userdata::workspace::document;

const SENTINEL: &str = "/run/cluster-api/bootstrap-success.complete";

const CONFIG: &str = "/run/kubeadm/c.yaml";

fn lookup(name: &str) -> Option<String> {
    match name {
        "v1.local_hostname" => Some("n7".to_owned()),
        "COREOS_EC2_HOSTNAME" => Some("ip-10.a.b".to_owned()),
        _ => None,
    }
}

/// What the commands find, before their files are looked at.
#[derive(Debug)]
pub(super) struct Found {
    pub join: Option<JoinFlags>,
    pub config: Option<String>,
    sentinel: Option<String>,
    others: usize,
    files: Vec<(String, String, bool)>,
}

fn found_of(scripts: &[&str], files: &[(&str, &str)]) -> Result<Found> {
    found_in(scripts, files, &lookup)
}

pub(super) fn found_in(
    scripts: &[&str],
    files: &[(&str, &str)],
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Found> {
    let mut all = Files::default();
    for (path, text) in files {
        let content = document(text.as_bytes()).unwrap();
        all.put(ExtraFile::new(path, 0o600, Owner::default(), false, content).unwrap()).unwrap();
    }
    let budget = Budget::default();
    let scripts = scripts.iter().map(|text| Zeroizing::new((*text).to_owned())).collect();
    let program = Program { scripts, ..Program::default() };
    let found = evaluate(program, all, Variables::new(lookup, None), &budget)?;
    let text = |document: &Document| String::from_utf8(document.bytes().to_vec()).unwrap();
    let files = found.workspace.finish()?;
    Ok(Found {
        join: found.join,
        config: found.config.as_ref().map(text),
        sentinel: found.sentinel,
        others: found.others,
        files: files.iter().map(|file| (file.path.clone(), text(&file.content), file.appends)).collect(),
    })
}

fn found_with(line: &str, files: &[(&str, &str)]) -> Result<Found> {
    found_of(&[line], files)
}

fn found(line: &str) -> Result<Found> {
    found_with(line, &[])
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
        (join.replace("kubeadm join", "kubeadm --v=5 join"), 0),
        (format!("curl https://canary/pre-kubeadminit.sh | bash -s v1\n{join}"), 2),
        (join.replace("kubeadm join", "kubeadm -v 5 join"), 0),
        (join.replace("kubeadm join", "sudo -E timeout 300 kubeadm join"), 0),
        (format!("eval '{join}'"), 0),
        (format!("bash -x -c \"{join}\""), 0),
        (format!("bash -o pipefail -c \"{join}\""), 0),
        (format!("sh <<'E'\n{join}\nE"), 0),
        (format!("cat > /j.sh <<'E'\n#!/bin/sh\n{join}\nE\nsh /j.sh"), 1),
        (format!("F=/run/kubeadm/c.yaml\n{}", join.replace("/run/kubeadm/c.yaml", "$F")), 0),
        (format!("kubeadm config images pull; kubeadm token create --print-join-command; {join}"), 2),
        (format!("f() {{\n  echo hi\n}}\nf; {join}"), 1),
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
        shell::quoted(&words.iter().map(|word| Zeroizing::new((*word).to_owned())).collect::<Vec<_>>())
    };
    assert_eq!(words(&["a", "it's $X", ""]).as_str(), "'a' 'it'\\''s $X' ''");
    let scripts = [
        words(&["systemctl", "start", "x"]),
        words(&["sh", "-c", "kubeadm join a:6443 --token canary.canarycanarycana"]),
        words(&[]),
    ];
    let found = found_of(&scripts.each_ref().map(|script| script.as_str()), &[]).unwrap();
    let join = found.join.unwrap();
    assert_eq!(
        (join.endpoints, join.token.unwrap().reveal(), found.others),
        (vec!["a:6443".to_owned()], "canary.canarycanarycana", 1)
    );
}

#[test]
fn what_is_unclear_about_kubeadm_is_refused() {
    for (line, expected) in [
        ("kubeadm init --pod-network-cidr canary", "flags"),
        ("kubeadm init phase certs all", "flags"),
        ("kubeadm init --config /x; kubeadm join a:1", "twice"),
        ("kubeadm join --config $CANARY", "variables of the shell"),
        ("kubeadm join \"`canary`\":6443", "variables of the shell"),
        ("kubeadm join --canary", "flags"),
        ("kubeadm join phase preflight canary", "flags"),
        ("kubeadm join --config '/canary", "no end"),
        ("kubeadm join a:1; kubeadm join b:1", "twice"),
        ("kubeadm join \u{e0f1}0\u{e0f1}:1", "template expression"),
        ("kubeadm\u{a0}join canary", "not understood"),
        ("retry 5 kubeadm join canary", "not understood"),
        ("$(which kubeadm) join canary", "not understood"),
        ("f() { kubeadm join canary; }", "leads to it"),
        ("exit 0\nkubeadm join canary", "leads to it"),
        ("alias k=kubeadm\nk join canary", "not understood"),
        ("A=(join canary)\nkubeadm \"${A[@]}\"", "not understood"),
        ("echo join canary | xargs kubeadm", "not understood"),
        ("echo kubeadm join canary | at now", "not understood"),
        ("kubeadm token create --print-join-command | sh", "not understood"),
        ("$(ssh canary kubeadm token create --print-join-command)", "not understood"),
        ("C='kubeadm join canary'; retry 5 $C", "not understood"),
        ("sudo -Z canary kubeadm join canary", "not understood"),
        ("ssh canary 'kubeadm init'", "not understood"),
        ("ssh canary <<E\nkubeadm join\nE", "not understood"),
        ("env -S 'kubeadm join canary'", "not understood"),
        ("echo 'kubeadm join' | xargs kubeadm join", "not understood"),
    ] {
        let failure = found(line).unwrap_err();
        let shown = format!("{failure:?}").to_lowercase();
        assert!(failure.message.contains(expected) && !shown.contains("canary"), "{line}: {shown}");
    }
}

#[test]
fn an_init_is_found_as_a_join_is() {
    for (line, expected) in [
        ("kubeadm init --config /run/kubeadm/kubeadm.yaml  && echo success > /x", &[][..]),
        ("timeout 300 kubeadm --v=5 init --upload-certs --config /x --v=3", &["--upload-certs"]),
        (
            "sudo kubeadm init --config=/x --skip-phases=a --skip-phases b,c",
            &["--skip-phases=a", "--skip-phases=b,c"],
        ),
    ] {
        let join = found(line).unwrap().join.unwrap();
        assert!(join.config.is_some(), "{line}");
        assert_eq!(join.init.unwrap(), expected, "{line}");
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

#[test]
fn simple_changes_of_the_config_are_made_and_others_refused() {
    let files = [(CONFIG, "name: n1\n"), ("/t", "x: @@HOSTNAME@@\n"), ("/e", "a: ${COREOS_EC2_HOSTNAME}\n")];
    for (change, expected) in [
        ("sed -i s/n1/n2/ CONFIG", Ok("name: n2\n")),
        ("sed -i.bak -e 's|n1|n2|g' CONFIG", Ok("name: n2\n")),
        ("sed -i \"s/n1/$(hostname)/g\" CONFIG", Ok("name: n7\n")),
        ("sed -i \"s/n1/${HOSTNAME}/\" CONFIG", Ok("name: n7\n")),
        ("X=$(hostname)-a; sed -i \"s/n1/$X/\" CONFIG", Ok("name: n7-a\n")),
        ("echo 'a: b' >> CONFIG", Ok("name: n1\na: b\n")),
        ("echo 'a: b' | tee -a CONFIG", Ok("name: n1\na: b\n")),
        ("printf 'a: %s\\n' b >> CONFIG", Ok("name: n1\na: b\n")),
        ("cat >> CONFIG <<EOF\na: $(hostname)\nEOF", Ok("name: n1\na: n7\n")),
        ("cat /t | sed s/@@HOSTNAME@@/q/ > CONFIG", Ok("x: q\n")),
        ("sed s/@@HOSTNAME@@/q/ /t > CONFIG", Ok("x: q\n")),
        ("sed s/n1/n3/ CONFIG > /tmp/c && mv /tmp/c CONFIG", Ok("name: n3\n")),
        ("cp -f /t CONFIG", Ok("x: @@HOSTNAME@@\n")),
        ("envsubst < /e > CONFIG", Ok("a: ip-10.a.b\n")),
        ("export COREOS_EC2_HOSTNAME=${COREOS_EC2_HOSTNAME%.*}; envsubst < /e > CONFIG", Ok("a: ip-10.a\n")),
        ("envsubst < /t > /u", Ok("name: n1\n")),
        ("envsubst < /e > /u; cp /e CONFIG", Ok("a: ip-10.a.b\n")),
        ("echo 'a: ${COREOS_UNKNOWN}' > CONFIG", Err("the variable COREOS_UNKNOWN")),
        ("chmod 600 CONFIG; grep -q n1 CONFIG; cat CONFIG; test -f CONFIG", Ok("name: n1\n")),
        ("yq '.name' CONFIG", Ok("name: n1\n")),
        (
            "export COREOS_EC2_HOSTNAME=$(canary); envsubst < /e > CONFIG",
            Err("sets the variable COREOS_EC2_HOSTNAME"),
        ),
        ("sed -i \"s/n1/$(canary)/\" CONFIG", Err("sed changes the file")),
        ("sed -i 's/n[0-9]/n2/' CONFIG", Err("sed changes the file")),
        ("sed -i 1d CONFIG", Err("sed changes the file")),
        ("yq -i '.name = \"canary\"' CONFIG", Err("yq changes the file")),
        ("echo $CANARY >> CONFIG", Err("echo changes the file")),
        ("canary > CONFIG", Err("a command changes the file")),
        ("/canary/hook CONFIG", Err("a command changes the file")),
        ("python3 -c \"open('CONFIG')\"", Err("python3 changes the file")),
        ("canary | tee CONFIG", Err("tee changes the file")),
        ("mv /canary CONFIG", Err("mv changes the file")),
        ("if canary; then sed -i s/n1/n2/ CONFIG; fi", Err("sed changes the file")),
        ("test -f /canary && sed -i s/n1/n2/ CONFIG", Err("sed changes the file")),
        ("mkdir /x || echo a >> CONFIG", Err("echo changes the file")),
    ] {
        let line =
            format!("{change}\nkubeadm join --config CONFIG\nyq -i x CONFIG").replace("CONFIG", CONFIG);
        match (found_with(&line, &files), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.config.as_deref(), Some(expected), "{change}"),
            (Err(failure), Err(expected)) => {
                assert!(failure.message.contains(expected), "{change}: {failure}");
                assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
            }
            (found, _) => panic!("{change}: {found:?}"),
        }
    }
}

#[test]
fn host_names_are_appended_to_the_machines_table() {
    let join = "kubeadm join a:1 --token x";
    let line = format!("echo '10.0.0.9 api.example' >> /etc/hosts\necho b | tee -a /etc/hosts\n{join}");
    let all = found(&line).unwrap();
    assert_eq!(all.files, [("/etc/hosts".to_owned(), "10.0.0.9 api.example\nb\n".to_owned(), true)]);
    assert_eq!(all.others, 0);
    for line in [
        "if [ -f /x ]; then echo a >> /etc/hosts; fi",
        "test -f /x && echo a >> /etc/hosts",
        "echo a > /etc/hosts",
        "echo $(date) >> /etc/hosts",
        "echo a >> /etc/other",
    ] {
        let found = found(&format!("{line}\n{join}")).unwrap();
        assert!(found.files.is_empty() && found.others > 0, "{line}: {found:?}");
    }
}

#[test]
fn scripts_of_the_user_data_are_evaluated_and_not_written() {
    let script = format!("#!/bin/bash\nset -e\nswapoff -a\nkubeadm join --config {CONFIG}\n");
    let retry = format!(
        "#!/bin/bash\nretry() {{\n  \"$@\" --config={CONFIG} -v 5\n}}\nretry kubeadm join phase preflight\n"
    );
    for (path, script, line) in [
        ("/opt/join.sh", &script, "/opt/join.sh"),
        ("/opt/join.sh", &script, "bash -x /opt/join.sh arg"),
        ("/opt/join.sh", &script, "sudo -E sh /opt/join.sh"),
        ("/opt/join.sh", &script, "chmod +x /opt/join.sh; . /opt/join.sh"),
        ("/opt/join.sh", &script, "bash -c /opt/join.sh"),
        (paths::CLUSTER_API_RETRY, &retry, paths::CLUSTER_API_RETRY),
    ] {
        let found = found_with(line, &[(path, script), (CONFIG, "c"), ("/other.sh", "#!/bin/sh")]).unwrap();
        assert_eq!(found.config.as_deref(), Some("c"), "{line}");
        let left: Vec<&str> = found.files.iter().map(|(path, ..)| path.as_str()).collect();
        assert_eq!(left, [CONFIG, "/other.sh"], "{line}");
    }
    let endless = found_with("/a", &[("/a", "#!/bin/sh\n/b"), ("/b", "#!/bin/sh\n/a\n")]).unwrap();
    assert!(endless.join.is_none());
}

#[test]
fn scripts_of_their_own_share_files_and_the_host_name_alone() {
    let first = format!("N=n2\nexport N\nf() {{ :; }}\nhostname n9\necho c > {CONFIG}\nexit 0\n");
    let join = format!("kubeadm join --config {CONFIG} --node-name");
    let with = |second: &str| found_of(&["N=n1", &first, second], &[]);
    let found = with(&format!("{join} $(hostname)")).unwrap();
    assert_eq!(found.join.unwrap().node_name.as_deref(), Some("n9"));
    assert_eq!(found.config.as_deref(), Some("c\n"));
    for name in ["$N", "x$N"] {
        with(&format!("{join} {name}")).unwrap_err();
    }
}

/// A unit counts where the command that starts it is reached, with what is in its file by then.
#[test]
fn units_run_where_a_command_starts_them() {
    const UNIT: &str = "/etc/systemd/system/j.service";
    let join = format!("[Service]\nExecStart=kubeadm join --config {CONFIG} --node-name n1\n");
    let joined = Some("n1");
    for (script, expected) in [
        ("systemctl enable --now j", joined),
        ("sudo systemctl --no-block restart x j.service", joined),
        ("U=j; systemctl start $U", joined),
        ("f() { systemctl start j; }; f", joined),
        ("if [ -f /x ]; then systemctl start j; fi", joined),
        ("echo 'systemctl start j' > /opt/s; sh /opt/s", joined),
        ("systemctl start j; systemctl start j", joined),
        ("sed -i s/n1/n2/ UNIT; systemctl start j", Some("n2")),
        ("systemctl start j; sed -i s/n1/n2/ UNIT", joined),
        (
            "mkdir -p UNIT.d; printf '[Service]\\nExecStart=\\nExecStart=kubeadm join a:1 --token x --node-name n3' > UNIT.d/a.conf; systemctl start j",
            Some("n3"),
        ),
        (
            "printf '[Service]\\nExecStart=kubeadm join a:1 --token x --node-name n4' > /etc/systemd/system/k.service; systemctl start k",
            Some("n4"),
        ),
        (
            "printf '[Install]\\nWantedBy=k.target' >> UNIT; systemctl enable j; systemctl start k.target",
            joined,
        ),
        ("curl -o UNIT x; systemctl start j", None),
        ("systemctl enable j", None),
        ("systemctl stop j", None),
        ("exit 0; systemctl start j", None),
        ("f() { systemctl start j; }", None),
        ("true || systemctl start j", None),
    ] {
        let script = script.replace("UNIT", UNIT);
        let found = found_with(&script, &[(UNIT, &join), (CONFIG, "c")]).unwrap();
        assert_eq!(found.join.and_then(|join| join.node_name).as_deref(), expected, "{script}");
    }
    let endless = "[Service]\nExecStart=systemctl start b\nExecStart=systemctl start a\n";
    let files = [("/etc/systemd/system/a.service", endless), ("/etc/systemd/system/b.service", endless)];
    assert!(found_with("systemctl start a", &files).unwrap().join.is_none());
}

#[test]
fn the_environment_of_a_unit_may_be_in_files() {
    const UNIT: &str = "/etc/systemd/system/j.service";
    let unit = "[Service]\nEnvironment=N=n1 M=m1\nEnvironmentFile=-/opt/env\nEnvironmentFile=/missing\n\
                ExecStartPre=sh -c 'echo O=o1 > /opt/env2'\nEnvironmentFile=/opt/env2\n\
                ExecStart=kubeadm join a:1 --token x --node-name ";
    for (environment, name, expected) in [
        ("N=n2\n", "${N}", Some("n2")),
        ("# N=n3\n; N=n4\n\n N = \"n 5\" \n", "${N}", Some("n 5")),
        ("N='$M'\n", "${N}", Some("$M")),
        ("X=x\n", "${N}${M}", Some("n1m1")),
        ("X=x\n", "${O}", Some("o1")),
        ("X=x\n", "a ; sh -c 'echo ${N}'", Some("a")),
        ("N=a\\\nb\n", "${N}", None),
        ("N=\"a\nM=\"\n", "${M}", None),
        ("X=x\n", "${UNKNOWN}", None),
    ] {
        let unit = format!("{unit}{name}\n");
        let found = found_with("systemctl start j", &[(UNIT, &unit), ("/opt/env", environment)]);
        let name = found.ok().and_then(|found| found.join?.node_name);
        assert_eq!(name.as_deref(), expected, "{environment}");
    }
}

/// Files that are written later are not there yet, and a host name that it sets does not stay.
#[test]
fn what_runs_before_the_files_sees_none_of_them() {
    let join = format!("kubeadm join --config {CONFIG}");
    let made = format!("mkdir -p /run/kubeadm; echo a > {CONFIG}");
    for (before, script, expected) in [
        ("kubeadm join a:1 --token x", "", Ok(None)),
        (&format!("{made}; {join}"), "", Ok(Some("a\n"))),
        (&made, &join, Ok(Some("written"))),
        (&made.replace("c.yaml", "d"), &join.replace("c.yaml", "d"), Ok(Some("a\n"))),
        ("echo b > /appended", &format!("cp /appended {CONFIG}; {join}"), Ok(Some("b\nmore"))),
        (&format!("sed -i s/w/x/ {CONFIG}"), &join, Ok(Some("written"))),
        ("N=n1; export N; exit 0", &format!("{join} --node-name x$N"), Err("variables of the shell")),
        ("curl x > /appended", &format!("cp /appended {CONFIG}; {join}"), Err("changes the file")),
        (&join, "", Err("bootcmd joins with a file that is not there yet")),
        ("kubeadm join a:1 --token x", &join, Err("twice")),
        (
            &join.replace("kubeadm join", "kubeadm init"),
            "",
            Err("bootcmd joins with a file that is not there yet"),
        ),
    ] {
        let file = |path: &str, text: &str, appends| {
            let content = document(text.as_bytes()).unwrap();
            ExtraFile::new(path, 0o600, Owner::default(), appends, content).unwrap()
        };
        let mut files = Files::default();
        files.put(file(CONFIG, "written", false)).unwrap();
        files.put(file("/appended", "more", true)).unwrap();
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let (before_files, scripts) = (Some(text(before)), vec![text(script)]);
        let program = Program { before_files, scripts, ..Program::default() };
        let budget = Budget::default();
        let found = evaluate(program, files, Variables::new(&lookup, None), &budget);
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert!(found.join.is_some(), "{before}");
                let config = found.config.as_ref().map(Document::bytes);
                assert_eq!(config, expected.map(str::as_bytes), "{before}");
            }
            (Err(failure), Err(expected)) => {
                assert!(failure.message.contains(expected), "{before}: {failure}")
            }
            (found, _) => panic!("{before}: {:?}", found.err()),
        }
    }
}

/// The time that this thread has had a processor: other programs do not lengthen it.
fn cpu_time() -> std::time::Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// 40,000 files, and as many words in one command; copies, patterns, values and variables that multiply.
#[test]
fn evaluation_takes_time_in_proportion_to_the_text() {
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
    let names: Vec<String> = (0..40_000).map(|number| format!("/f{number}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "#!x")).collect();
    let begin = cpu_time();
    found_with(&format!("hook {}", names.join(" ")), &files).unwrap();
    let elapsed = || cpu_time() - begin;
    assert!(elapsed() < LIMIT, "{:?}", elapsed());
    let many = |line: &str| line.repeat(5_000);
    let sources =
        |name: &str, word: &str| (0..60).map(|_| format!("{name}={word}$(x)\n")).collect::<String>();
    for script in [
        many("cp /a /b\n"),
        many("rm -r /x$Y*\n"),
        format!("A={}\nhook {}", "a".repeat(16_000), "$A".repeat(100_000)),
        format!("A={}\nbash -c \"{}\"", "a".repeat(16_000), "$A".repeat(100_000)),
        format!("{}{}{}{}", sources("A", "x"), sources("B", "$A"), sources("C", "$B"), many("hook $C\n")),
        format!(
            "{}{}",
            (0..9_000).map(|number| format!("V{number}=1\n")).collect::<String>(),
            many("(f; bash -c :)\n")
        ),
        format!("if x; then\n{}fi\n{}", many("f() { :; }\n"), many("f\n")),
    ] {
        _ = found_with(&script, &files[..10_000]);
        let words: String = script.chars().take(40).collect();
        assert!(elapsed() < LIMIT, "{words}: {:?}", elapsed());
    }
}

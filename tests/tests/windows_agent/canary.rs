//! Marked secrets in user data: they are in no output, log, event, serial console, status or other file,
//! whether the agent accepts the user data, refuses it or cannot read it.

use std::fs;
use std::os::unix::fs::symlink;

use kiln_tests::agent;
use kiln_tests::canary::{ID, Marks, SECRET};
use kiln_tests::wine::Windows;

/// Where NoCloud's files are on a machine without a disk.
const SEED: &str = "/var/lib/cloud/seed/nocloud";
/// Folders of the machine that programs besides Windows' own have.
const FOLDERS: [&str; 6] = ["ProgramData", "etc", "run", "usr", "users", "var"];

const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {name: n1}\n\
    discovery: {bootstrapToken: {apiServerEndpoint: '127.0.0.1:1', token: TOKEN, unsafeSkipCAVerification: true}}\n\
    ---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\ndeadline: 1s\n";
const FLAGS: &str =
    "kubeadm join 127.0.0.1:1 --token TOKEN --discovery-token-unsafe-skip-ca-verification --node-name n1";

struct Case {
    name: &'static str,
    /// `TOKEN` stands for a marked token.
    user_data: String,
    outcome: &'static str,
    class: Option<&'static str>,
    /// What the user data asks to be written, and may have the secret.
    asked_for: Option<&'static str>,
}

fn case(
    name: &'static str,
    user_data: String,
    outcome: &'static str,
    class: Option<&'static str>,
    asked_for: Option<&'static str>,
) -> Case {
    Case { name, user_data, outcome, class, asked_for }
}

fn cases() -> Vec<Case> {
    let message = format!(
        "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\nContent-Type: text/plain\n\n{JOIN}\n--b--\n"
    );
    let file = "/run/kubeadm/kubeadm-join-config.yaml";
    let cloud_config = serde_json::json!({
        "write_files": [{ "path": file, "content": JOIN }],
        "runcmd": [format!("kubeadm join --config {file}")],
    });
    let refused = ("failed", Some("config"));
    let tried = ("failed", Some("unreachable"));
    vec![
        case("a node config", JOIN.to_owned(), tried.0, tried.1, None),
        case("a message", message, tried.0, tried.1, None),
        case("a cloud-config", format!("#cloud-config\n{cloud_config}\n"), tried.0, tried.1, Some(file)),
        case("PowerShell that joins", format!("#ps1_sysnative\r\n& {FLAGS}\r\n"), refused.0, refused.1, None),
        case("a batch file that joins", format!("rem cmd\r\n{FLAGS}\r\n"), refused.0, refused.1, None),
        case(
            "EC2's script for something else",
            "<powershell>\nnet user a TOKEN\n</powershell>".to_owned(),
            "no-config",
            None,
            None,
        ),
        case("damaged YAML", format!("{JOIN}  x: [TOKEN\n"), refused.0, refused.1, None),
        case(
            "a field that is not known",
            format!(
                "{JOIN}TOKEN: TOKEN\n---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\nTOKEN: TOKEN\n"
            ),
            refused.0,
            refused.1,
            None,
        ),
    ]
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn secrets_of_user_data_are_nowhere_but_in_their_place() {
    let marks = Marks::of(&[SECRET]);
    for case in cases() {
        let machine = Windows::new();
        machine.write("/usr/lib/kiln/policy.json", r#"{"platform": "nocloud"}"#);
        machine.write("/usr/lib/kiln/image.json", r#"{"variables": {"kubernetes": "1.36.2"}}"#);
        machine.write(&format!("{SEED}/meta-data"), "instance-id: i1\n");
        let user_data = case.user_data.replace("TOKEN", &format!("{ID}.{SECRET}"));
        machine.write(&format!("{SEED}/user-data"), &user_data);
        let console = machine.path("/console");
        fs::write(&console, "").expect("the folder is the test's");
        let port = machine.path("/").join("../dosdevices/com1");
        let _ = fs::remove_file(&port);
        symlink(&console, port).expect("the folder is the test's");

        // As the service does, which ends with 0 where another try cannot help.
        let mut command = machine.agent(&["service", "run"]);
        // Wine says events on its standard error.
        let output = command.env("WINEDEBUG", "err+eventlog,warn+eventlog,trace+eventlog").output();
        let output = output.expect("wine starts");
        let log = machine.text("/var/log/firstboot/firstboot.log").unwrap_or_default();
        let verdict = agent::verdict(&log);
        let name = case.name;
        assert_eq!(
            (&verdict["outcome"], verdict["class"].as_str()),
            (&case.outcome.into(), case.class),
            "{name}: {log}"
        );
        let events = String::from_utf8_lossy(&output.stderr);
        assert!(events.contains("firstboot-verdict"), "{name}: an event has the verdict: {events}");

        for (what, bytes) in [("standard output", &output.stdout), ("events", &output.stderr)] {
            assert!(!marks.are_in(bytes), "{name}: the secret is in the {what}");
        }
        let places = FOLDERS.iter().flat_map(|folder| marks.places(&machine.path(folder)));
        let may_have = |place: &str| {
            place.ends_with(&format!("{SEED}/user-data"))
                || case.asked_for.is_some_and(|file| place.ends_with(file))
        };
        let others: Vec<_> = places.filter(|(place, _)| !may_have(place)).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
        assert!(!marks.are_in(&fs::read(&console).expect("the console is a file")), "{name}: the console");
        machine.restart();
        for file in ["system.reg", "user.reg"] {
            let registry =
                fs::read(machine.path("/").join("..").join(file)).expect("wine writes its registry");
            assert!(!marks.are_in(&registry), "{name}: {file}");
        }
        for command in [&["status"][..], &["status", "--json"], &["explain"], &["explain", "--json"]] {
            let said = machine.run(command);
            assert!(!marks.are_in(said.text.as_bytes()), "{name}: {command:?}: {}", said.text);
        }
    }
}
